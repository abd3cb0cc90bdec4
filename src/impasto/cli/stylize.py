"""impasto stylize: an image, a clip, or a folder of images, stylized in a style."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from impasto.cli.flags import flags
from impasto.cli.outputs import check_folder, check_free, file_names, file_tree
from impasto.cli.progress import Progress
from impasto.config import STYLIZE_CONFIG, ClipFormat, StylizeConfig
from impasto.errors import ImpastoError

if TYPE_CHECKING:
    from impasto.api import Pipeline
    from impasto.create.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class Stylize:
    """Stylize an image, a clip, or every image of a folder in a style; each keeps its size, its name and its folder.

    impasto stylize runs/emoji cat.png --style openmoji --out stylized

    impasto stylize runs/paintings film.mp4 --style monet --out stylized --clip webm

    impasto stylize runs/paintings holiday --style monet mine:2 my.style --strength 0.8 --out decoded

    Stopped, the same command goes on: images that are there already, made in the same way, are not made again.
    """

    run_folder: Annotated[Positional[Path], arg(metavar="RUN", name="run")]
    """Folder of the run."""
    images: Annotated[Positional[Path], arg(metavar="IMAGES")]
    """An image, a folder, an archive or a clip (.mp4, .webm, .mov, .mkv, .avi, .gif)."""
    out: Path
    """Folder to write to."""
    settings: Annotated[StylizeConfig, flags(required=("style",))] = STYLIZE_CONFIG
    clip: Annotated[ClipFormat | None, arg(help_behavior_hint="(default: webm)")] = None
    """Format of stylized clips: webm (VP9) and mp4 (AV1) keep their sound, webp their transparency."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""

    def run(self) -> int:
        """Stylize and write the images; returns the exit code."""
        config = self.settings
        config.check_style()
        check_folder(self.out)
        from impasto import api
        from impasto.create.clip import is_clip
        from impasto.create.recipe import save_image
        from impasto.memory import memory_text

        config.check_clip(str(self.images), is_clip(self.images), self.clip)
        model = api.load(self.run_folder, self.device)
        if is_clip(self.images):
            return self._clip(model)
        found = model.whole_images(self.images, config.max_side)
        paths = dict(zip(found.names, (self.out / name for name in file_tree(found.names, ".png")), strict=True))
        check_free(paths.values())
        stylizer = model.stylizer(config)
        progress = Progress("stylization", len(found))
        failed: dict[str, str] = {}
        written = there = 0
        for image in progress.over(found):
            path, recipe = paths[image.name], stylizer.recipe(image)
            if _recipe_at(path) == recipe:
                there += 1
                continue
            try:
                stylized = stylizer(image, progress.on_step)
            except ImpastoError as error:
                failed[image.name] = str(error)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            save_image(stylized, path, recipe)
            written += 1
        failed |= found.skipped
        if not written and not there:
            raise ImpastoError("; ".join(f"{name}: {reason}" for name, reason in list(failed.items())[:5]))
        for name, reason in failed.items():
            print(f"warning: skipped {name}: {reason}", file=sys.stderr)
        said = f"{written} images in {self.out}" if len(paths) > 1 else f"{next(iter(paths.values()))}"
        said += f", {there} were there already" if there and len(paths) > 1 else ""
        print(f"{said}; memory at most {memory_text(model.device)}")
        return 0

    def _clip(self, model: "Pipeline") -> int:
        from impasto.memory import memory_text

        self.out.mkdir(parents=True, exist_ok=True)
        target = self.out / f"{file_names([self.images.name], '')[0]}.{self.clip or ClipFormat.WEBM}"
        made = model.stylize_clip(
            self.images, target, self.settings, watch=lambda frames, count: Progress("stylization", count).over(frames)
        )
        if made.broken_off:
            print(f"warning: {made.broken_off}", file=sys.stderr)
        said = "it was there already" if made.difference is None else f"frame difference {made.difference:.4f}"
        print(f"{made.path}: {made.frames} frames, {said}; memory at most {memory_text(model.device)}")
        return 0


def _recipe_at(path: Path) -> "Recipe | None":
    """The recipe of the image that is there already, None where there is none."""
    from impasto.create.recipe import read_recipe

    try:
        return read_recipe(path) if path.exists() else None
    except ImpastoError:
        return None
