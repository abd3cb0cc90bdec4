"""impasto stylize: an image, a clip or a folder of images in another style."""

import dataclasses
import hashlib
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from impasto.cli.device import FLOW_DEVICE, FlowDeviceFlags
from impasto.cli.flags import RUN_HELP, flags
from impasto.cli.messages import MESSAGES, MessageFlags
from impasto.cli.outputs import (
    OUT,
    Out,
    check_exist,
    check_folder,
    check_free,
    counted,
    file_tree,
    free_for_recipes,
    free_paths,
)
from impasto.config import STYLIZE_CONFIG, ClipFormat, StylizeConfig
from impasto.errors import ImpastoError

if TYPE_CHECKING:
    from impasto.api import Pipeline
    from impasto.create.clip import Clip
    from impasto.create.stylize import Stylizer
    from impasto.data import WholeImages
    from impasto.data.loaded import Whole


@dataclass(frozen=True, kw_only=True)
class Stylize:
    """Stylize images, clips and all images of folders; sizes, names and subfolders are kept.

    impasto stylize runs/emoji cat.png --style openmoji --out stylized

    impasto stylize runs/paintings film.mp4 --style monet --out stylized --clip webm

    impasto stylize runs/paintings cat.png holiday --style monet mine:2 my.style --strength 0.8 --out stylized

    The same command resumes: it skips images that are already in --out with the same settings. Images with other
    settings stay, and the new ones get a number.
    """

    run_folder: Annotated[Positional[Path], arg(metavar="RUN", name="run", help=RUN_HELP)]
    images: Annotated[Positional[tuple[Path, ...]], arg(metavar="IMAGES ...", help_behavior_hint="(at least one)")]
    """Images, folders, archives (.zip, .tar) and clips (.mp4, .webm, .mov, .mkv, .avi, .gif)."""
    settings: Annotated[StylizeConfig, flags(required=("style",))] = STYLIZE_CONFIG
    out: Out = OUT
    """Folder to write to."""
    clip: Annotated[ClipFormat | None, arg(help_behavior_hint="(default: webm)")] = None
    """Format of stylized clips: webm (VP9) and mp4 (AV1) keep their sound, webp their transparency."""
    device: FlowDeviceFlags = FLOW_DEVICE
    message: MessageFlags = MESSAGES

    def run(self) -> int:
        """Stylize and write the images; returns the exit code."""
        config = self.settings
        config.check_style()
        check_folder(self.out)
        if not self.images:
            raise ImpastoError("IMAGES is missing: name at least one image, folder, archive or clip.")
        from impasto.create.clip import Clip, is_clip
        from impasto.data import WholeImages

        names = str(self.images[0]) if len(self.images) == 1 else "IMAGES"
        config.check_clip(names, any(map(is_clip, self.images)), self.clip)
        check_exist(self.images, "images, folders, archives (.zip, .tar) or clips (.mp4, .webm, .gif)")
        model = self.device.load(self.run_folder)
        inputs: list[WholeImages | Clip] = [
            Clip(path, max_side=config.max_side, channels=model.config.channels)
            if is_clip(path)
            else model.whole_images(path, config.max_side)
            for path in self.images
        ]
        targets = self._targets(inputs)
        check_free(path for group in targets for path in group if path.suffix == ".png")
        stylizer = model.stylizer(dataclasses.replace(config, temporal_smoothing=True))
        total = Outcome()
        pairs = zip(inputs, targets, strict=True)
        images = [(source, paths) for source, paths in pairs if isinstance(source, WholeImages)]
        self._images(images, stylizer, total)
        for source, paths in zip(inputs, targets, strict=True):
            if isinstance(source, Clip):
                with total.failure_of(source.path, is_only=len(inputs) == 1):
                    self._clip(model, source.path, paths[0], total)
        if not total.written and not total.kept:
            raise ImpastoError("; ".join(f"{name}: {reason}" for name, reason in list(total.failed.items())[:5]))
        for name, reason in total.failed.items():
            self.message.warn(f"skipped {name}: {reason}")
        self.message.text(total.summary(self.out))
        return 0

    def _targets(self, inputs: "Sequence[WholeImages | Clip]") -> "list[list[Path]]":
        """The path of each output, for each input; all differ. With several inputs, folders keep their own name."""
        from impasto.data import WholeImages
        from impasto.data.folder import SingleFile

        names: list[str] = []
        counts: list[int] = []
        for source in inputs:
            if isinstance(source, WholeImages):
                has_folder = len(inputs) > 1 and not isinstance(source.source, SingleFile)
                folder = f"{source.source.stem}/" if has_folder else ""
                group = [folder + name for name in source.names]
            else:
                group = [source.path.name]
            names += group
            counts.append(len(group))
        stems = iter(file_tree(names, ""))
        suffixes = [".png" if isinstance(s, WholeImages) else f".{self.clip or ClipFormat.WEBM}" for s in inputs]
        return [
            [self.out / f"{next(stems)}{suffix}" for _ in range(count)]
            for suffix, count in zip(suffixes, counts, strict=True)
        ]

    def _images(
        self, inputs: "Sequence[tuple[WholeImages, list[Path]]]", stylizer: "Stylizer", total: "Outcome"
    ) -> None:
        """Stylize the images of files, folders and archives."""
        from impasto.create.recipe import save_image

        progress = self.message.progress("stylizing", sum(len(paths) for _, paths in inputs))
        for image, path in progress.over(self._read(inputs, total)):
            recipe = stylizer.recipe(image)
            seed = recipe.settings.sampling.seed
            (path,) = free_for_recipes([path], [recipe])
            if path.exists():
                total.kept.append(path)
                self.message.record(path=path, image=image.path, seed=seed, kept=True)
                continue
            start = time.monotonic()
            try:
                stylized = stylizer(image, progress.on_step)
            except ImpastoError as error:
                total.failed[image.name] = error.command_line
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            save_image(stylized, path, recipe)
            total.written.append(path)
            seconds = round(time.monotonic() - start, 3)
            self.message.record(path=path, image=image.path, seed=seed, seconds=seconds)

    def _read(
        self, inputs: "Sequence[tuple[WholeImages, list[Path]]]", total: "Outcome"
    ) -> "Iterator[tuple[Whole, Path]]":
        """Yield each image with its output."""
        for images, paths in inputs:
            path_of = dict(zip(images.names, paths, strict=True))
            with total.failure_of(images.path, is_only=len(self.images) == 1):
                for image in images:
                    yield image, path_of[image.name]
            total.failed |= images.skipped

    def _clip(self, model: "Pipeline", clip: Path, path: Path, total: "Outcome") -> None:
        """Stylize one clip."""
        path = self._free_clip(model, clip, path)
        path.parent.mkdir(parents=True, exist_ok=True)
        start = time.monotonic()
        stylized = model.stylize_clip(
            clip,
            path,
            self.settings,
            watch=lambda frames, count: self.message.progress("stylizing", count).over(frames),
        )
        if stylized.decode_error:
            self.message.warn(stylized.decode_error)
        (total.kept if stylized.difference is None else total.written).append(path)
        self.message.record(
            path=path,
            clip=clip,
            frames=stylized.frames,
            frame_difference=stylized.difference,
            seconds=round(time.monotonic() - start, 3),
        )
        difference = stylized.difference
        result = "it was there already" if difference is None else f"frame difference {difference:.4f}"
        total.details[path] = f"{counted(stylized.frames, 'frame')}, {result}"

    def _free_clip(self, model: "Pipeline", clip: Path, path: Path) -> Path:
        """``path``, or the next number of it that is free, if it holds a clip that was stylized in another way."""
        if not path.exists():
            return path
        from impasto.create.clip import comment_of

        with clip.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        recipe = model.stylizer(self.settings).recipe_of(str(clip), digest).to_json()

        def is_same(path: Path, position: int) -> bool:
            comment = comment_of(path)
            # The check of a foreign clip, which names no recipe, is that of the work itself.
            return comment == recipe or not comment.startswith("{")

        return free_paths([path], is_same)[0]


@dataclass
class Outcome:
    """What was done with the inputs."""

    written: list[Path] = field(default_factory=list)
    kept: list[Path] = field(default_factory=list)
    """Outputs with the same settings that were there already."""
    failed: dict[str, str] = field(default_factory=dict)
    """The reason for each input."""
    details: dict[Path, str] = field(default_factory=dict)
    """Frames of clips."""

    @contextmanager
    def failure_of(self, source: object, is_only: bool) -> Iterator[None]:
        """Record an ImpastoError of one input; it is raised if there is no other input."""
        try:
            yield
        except ImpastoError as error:
            if is_only:
                raise
            self.failed[str(source)] = error.command_line.removeprefix(f"{source}: ")

    def summary(self, out: Path) -> str:
        """One line for the user; several for clips."""
        if len(self.written) + len(self.kept) == 1:
            (path,) = (*self.written, *self.kept)
            details = f": {self.details[path]}" if path in self.details else ""
            return f"{path}{details}" + (" was there already" if self.kept and not details else "")
        result = f"{counted(len(self.written), 'file' if self.details else 'image')} in {out}"
        if self.kept:
            result += f", {len(self.kept):,} {'was' if len(self.kept) == 1 else 'were'} there already"
        return "\n".join([result, *(f"{path}: {details}" for path, details in self.details.items())])
