"""impasto generate: new images in the style of a run, or one image reproduced from its recipe."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import OmitArgPrefixes, Positional, arg

from impasto.built_in import built_in_models, is_built_in
from impasto.cli.device import FLOW_DEVICE, FlowDeviceFlags
from impasto.cli.flags import changed_flags, flags
from impasto.cli.messages import MESSAGES, MessageFlags
from impasto.cli.outputs import (
    OUT,
    Out,
    check_count,
    check_folder,
    check_free,
    free_for_image,
    free_for_recipes,
    numbered,
    save_each,
    written,
)
from impasto.config import GENERATE_CONFIG, GenerateConfig
from impasto.errors import ImpastoError

if TYPE_CHECKING:
    from PIL import Image

MAX_GRID_IMAGES = 400
"""Limit of a grid, whose images are all in memory."""
GRID_CELL = 128
"""Minimum side of a grid cell in pixels."""


class Format(StrEnum):
    """File format of images: PNG and WebP are lossless with alpha, JPEG is lossy over white."""

    PNG = "png"
    WEBP = "webp"
    JPEG = "jpeg"


@dataclass(frozen=True)
class Files:
    """Numbers and formats of the written images."""

    start: int = 0
    """Number of the first image: --start 16 continues after the first 16."""
    grid: Annotated[bool, arg(help_behavior_hint="")] = False
    """Write grid.png too, a sheet of all images."""
    format: Format = Format.PNG
    """png and webp are lossless and keep transparency; jpeg is lossy, on white."""


FILES = Files()


@dataclass(frozen=True, kw_only=True)
class Generate:
    """Generate images in the style of a run; each file contains the recipe that reproduces it.

    impasto generate runs/emoji -n 16 --out new

    impasto generate runs/emoji --style noto openmoji:0.5 mine/smile.png --out new --grid

    impasto generate runs/bricks --width 512 --height 512 --tile xy --out walls

    impasto generate runs/sprites --pixel-art 32 --palette pico-8.hex --out sprites

    impasto generate --recipe new/seed0-0003.png --out again
    """

    run_folder: Annotated[
        Positional[Path | None],
        arg(metavar="[RUN]", name="run", help_behavior_hint="(required without --recipe)"),
    ] = None
    """Folder of a run, model file or built-in model (icons, painter); optional with --recipe, which contains it."""
    settings: Annotated[GenerateConfig, flags()] = GENERATE_CONFIG
    count: Annotated[int, arg(aliases=["-n"])] = 16
    """Number of images."""
    out: Out = OUT
    """Folder to write to."""
    recipe: Annotated[Path | None, arg(metavar="IMAGE", help_behavior_hint="(default: none)")] = None
    """Reproduce this image exactly, from the recipe in it; it may come from any command."""
    files: Annotated[Files, OmitArgPrefixes, arg(name="output", help="")] = FILES
    device: FlowDeviceFlags = FLOW_DEVICE
    message: MessageFlags = MESSAGES

    def run(self) -> int:
        """Generate and write the images; returns the exit code."""
        check_folder(self.out)
        if self.recipe is not None:
            self._reproduce(self.recipe)
            return 0
        if self.run_folder is None:
            raise ImpastoError(
                f"RUN is missing: name the folder of a run, a built-in model ({', '.join(built_in_models())}), or an "
                "image with --recipe."
            )
        check_count(self.count)
        if not 0 <= self.files.start < 2**31:
            raise ImpastoError(f"--start {self.files.start}: use a whole number from 0.")
        if self.files.grid and self.count > MAX_GRID_IMAGES:
            raise ImpastoError(f"--grid: a grid holds at most {MAX_GRID_IMAGES} images, and -n is {self.count}.")
        seed = self.settings.sampling.seed
        indices = range(self.files.start, self.files.start + self.count)
        wanted = [self.out / f"seed{seed}-{index:04}.{_suffix(self.files.format)}" for index in indices]
        sheet = self.out / "grid.png"
        check_free([*wanted, sheet] if self.files.grid else wanted)
        from impasto.create.recipe import save_image

        progress = self.message.progress("generating", self.count)
        model = self.device.load(self.run_folder)
        generated = model.generate(self.count, self.settings, start=self.files.start, on_step=progress.on_step)
        paths, images = numbered(wanted, progress.over(generated), indices)
        cells = [image for image in save_each(paths, images, self.message, progress) if self.files.grid]
        if self.files.grid:
            drawn = _sheet(cells, ", ".join(self.settings.style) or "any style")
            sheet = free_for_image(sheet, drawn)
            save_image(drawn, sheet)
            self.message.record(path=sheet)
        self.message.text(written(paths, wanted, self.out))
        return 0

    def _reproduce(self, image: Path) -> None:
        """Write the image of the recipe in ``image``, which may come from any command."""
        decided = {
            "-n": self.count != Generate.count,
            "--start": self.files.start != FILES.start,
            "--grid": self.files.grid,
            "--dtype": self.device.dtype != FLOW_DEVICE.dtype,
        }
        used = [flag for flag, is_used in decided.items() if is_used]
        for flag in [*used, *changed_flags(self.settings, GENERATE_CONFIG)]:
            raise ImpastoError(f"{flag} cannot be used with --recipe: the recipe decides it; omit {flag}.")
        from impasto.create.recipe import read_recipe, save_image

        recipe = read_recipe(image)
        run = self.run_folder or Path(recipe.model)
        if not run.exists() and not is_built_in(run):
            raise ImpastoError(f"{image}: its model {recipe.model!r} does not exist: name its RUN before --recipe.")
        path = self.out / f"{image.stem}.{_suffix(self.files.format)}"
        check_free([path])
        try:
            generated = self.device.load(run).again(recipe)
        except ImpastoError as error:
            raise ImpastoError(f"{image}: {error.command_line}") from error
        (path,) = free_for_recipes([path], [generated.recipe])
        save_image(generated.image, path, generated.recipe)
        seed = generated.recipe.settings.sampling.seed
        self.message.record(path=path, seed=seed, index=generated.recipe.index)
        self.message.text(path)


def _suffix(format: Format) -> str:
    return "jpg" if format is Format.JPEG else format.value


def _sheet(images: "Sequence[Image.Image]", label: str) -> "Image.Image":
    """A sheet with about as many rows as columns."""
    from impasto.create.grid import grid

    num_columns = max(1, round(len(images) ** 0.5))
    rows = [images[first : first + num_columns] for first in range(0, len(images), num_columns)]
    return grid(rows, [label], cell=max(GRID_CELL, *(max(image.size) for image in images)))
