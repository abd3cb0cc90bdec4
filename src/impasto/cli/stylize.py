"""impasto stylize: an image, a clip or a folder of images in another style."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from impasto.cli.flags import flags
from impasto.cli.outputs import check_folder, check_free, counted, file_names, file_tree
from impasto.cli.progress import Progress
from impasto.config import STYLIZE_CONFIG, ClipFormat, StylizeConfig
from impasto.errors import ImpastoError

if TYPE_CHECKING:
    from impasto.api import Pipeline
    from impasto.create.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class Stylize:
    """Stylize an image, a clip, or all images of a folder; sizes, names and subfolders are kept.

    impasto stylize runs/emoji cat.png --style openmoji --out stylized

    impasto stylize runs/paintings film.mp4 --style monet --out stylized --clip webm

    impasto stylize runs/paintings holiday --style monet mine:2 my.style --strength 0.8 --out stylized

    The same command resumes: it skips images that are already in --out with the same settings.
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
        images = model.whole_images(self.images, config.max_side)
        paths = dict(zip(images.names, (self.out / name for name in file_tree(images.names, ".png")), strict=True))
        check_free(paths.values())
        stylizer = model.stylizer(config)
        progress = Progress("stylizing", len(images))
        failed: dict[str, str] = {}
        num_written = num_kept = 0
        for image in progress.over(images):
            path, recipe = paths[image.name], stylizer.recipe(image)
            if _recipe_at(path) == recipe:
                num_kept += 1
                continue
            try:
                stylized = stylizer(image, progress.on_step)
            except ImpastoError as error:
                failed[image.name] = str(error)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            save_image(stylized, path, recipe)
            num_written += 1
        failed |= images.skipped
        if not num_written and not num_kept:
            raise ImpastoError("; ".join(f"{name}: {reason}" for name, reason in list(failed.items())[:5]))
        for name, reason in failed.items():
            print(f"warning: skipped {name}: {reason}", file=sys.stderr)
        if len(paths) == 1:
            result = f"{next(iter(paths.values()))}" + (" was there already" if num_kept else "")
        else:
            result = f"{counted(num_written, 'image')} in {self.out}"
            result += f", {num_kept:,} {'was' if num_kept == 1 else 'were'} there already" if num_kept else ""
        print(f"{result}; peak memory {memory_text(model.device)}")
        return 0

    def _clip(self, model: "Pipeline") -> int:
        from impasto.memory import memory_text

        self.out.mkdir(parents=True, exist_ok=True)
        target = self.out / f"{file_names([self.images.name], '')[0]}.{self.clip or ClipFormat.WEBM}"
        clip = model.stylize_clip(
            self.images, target, self.settings, watch=lambda frames, count: Progress("stylizing", count).over(frames)
        )
        if clip.decode_error:
            print(f"warning: {clip.decode_error}", file=sys.stderr)
        result = "it was there already" if clip.difference is None else f"frame difference {clip.difference:.4f}"
        print(f"{clip.path}: {counted(clip.frames, 'frame')}, {result}; peak memory {memory_text(model.device)}")
        return 0


def _recipe_at(path: Path) -> "Recipe | None":
    """The recipe of the image at ``path``; None if there is no image with a recipe."""
    from impasto.create.recipe import read_recipe

    try:
        return read_recipe(path) if path.exists() else None
    except ImpastoError:
        return None
