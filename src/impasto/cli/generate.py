"""impasto generate: new images in the style of a run, or one image reproduced from its recipe."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from impasto.built_in import is_built_in
from impasto.cli.flags import changed_flags, flags
from impasto.cli.outputs import check_folder, check_free, counted
from impasto.cli.progress import Progress
from impasto.config import GENERATE_CONFIG, GenerateConfig
from impasto.errors import ImpastoError

if TYPE_CHECKING:
    from PIL import Image

MAX_GRID_IMAGES = 400
"""Limit of a grid, whose images are all in memory."""
SET_BY_RECIPE = {"count": "-n", "start": "--start", "grid": "--grid"}
"""Fields of the command that cannot be used with --recipe, and their flags; no setting can be used with it."""
GRID_CELL = 128
"""Minimum side of a grid cell in pixels."""


class Format(StrEnum):
    """File format of images: PNG and WebP are lossless with alpha, JPEG is lossy over white."""

    PNG = "png"
    WEBP = "webp"
    JPEG = "jpeg"


@dataclass(frozen=True, kw_only=True)
class Generate:
    """Generate images in the style of a run; each file contains the recipe that reproduces it.

    impasto generate runs/emoji -n 16 --out new

    impasto generate runs/emoji --style noto openmoji:0.5 mine/smile.png --out new --grid

    impasto generate runs/bricks --width 512 --height 512 --tile xy --out walls

    impasto generate runs/sprites --pixel-art 32 --palette pico-8.hex --out sprites

    impasto generate --recipe new/seed0-0003.png --out again
    """

    out: Path
    """Folder to write to."""
    run_folder: Annotated[
        Positional[Path | None],
        arg(metavar="[RUN]", name="run", help_behavior_hint="(required without --recipe)"),
    ] = None
    """Folder of the run; optional with --recipe, which contains it."""
    count: Annotated[int, arg(aliases=["-n"])] = 16
    """Number of images."""
    settings: Annotated[GenerateConfig, flags()] = GENERATE_CONFIG
    start: int = 0
    """Number of the first image: --start 16 continues after the first 16."""
    grid: bool = False
    """Write grid.png too, a sheet of all images."""
    recipe: Annotated[Path | None, arg(metavar="IMAGE", help_behavior_hint="(default: none)")] = None
    """Reproduce this image exactly, from the recipe in it; it may come from any command."""
    format: Format = Format.PNG
    """png and webp are lossless and keep transparency; jpeg is lossy, on white."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""

    def run(self) -> int:
        """Generate and write the images; returns the exit code."""
        check_folder(self.out)
        if self.recipe is not None:
            self._reproduce(self.recipe)
            return 0
        if self.run_folder is None:
            raise ImpastoError("RUN is missing: name the folder of a run, or an image with --recipe.")
        if not 1 <= self.count <= 1_000_000:
            raise ImpastoError(f"-n {self.count}: use a whole number from 1 to 1000000.")
        if not 0 <= self.start < 2**31:
            raise ImpastoError(f"--start {self.start}: use a whole number from 0.")
        if self.grid and self.count > MAX_GRID_IMAGES:
            raise ImpastoError(f"--grid: a grid holds at most {MAX_GRID_IMAGES} images, and -n is {self.count}.")
        seed = self.settings.sampling.seed
        paths = [self.out / f"seed{seed}-{self.start + i:04}.{_suffix(self.format)}" for i in range(self.count)]
        sheet = self.out / "grid.png"
        check_free([*paths, sheet] if self.grid else paths)
        from impasto import api
        from impasto.create.recipe import save_image

        progress = Progress("generating", self.count)
        model = api.load(self.run_folder, self.device)
        generated = model.generate(self.count, self.settings, start=self.start, on_step=progress.on_step)
        cells: list[Image.Image] = []
        for path, image in zip(paths, progress.over(generated), strict=True):
            save_image(image.image, path, image.recipe)
            if self.grid:
                cells.append(image.image)
        if self.grid:
            save_image(_sheet(cells, ", ".join(self.settings.style) or "any style"), sheet)
        print(paths[0] if self.count == 1 else f"{counted(self.count, 'image')} in {self.out}")
        return 0

    def _reproduce(self, image: Path) -> None:
        """Write the image of the recipe in ``image``, which may come from any command."""
        own_flags = [SET_BY_RECIPE.get(f.name) for f in dataclasses.fields(self) if getattr(self, f.name) != f.default]
        for flag in [*filter(None, own_flags), *changed_flags(self.settings, GENERATE_CONFIG)]:
            raise ImpastoError(f"{flag} cannot be used with --recipe: the recipe decides it.")
        from impasto import api
        from impasto.create.recipe import read_recipe, save_image

        recipe = read_recipe(image)
        run = self.run_folder or Path(recipe.model)
        if not run.exists() and not is_built_in(run):
            raise ImpastoError(f"{image}: its model {recipe.model!r} does not exist: name its RUN before --recipe.")
        path = self.out / f"{image.stem}.{_suffix(self.format)}"
        check_free([path])
        try:
            generated = api.load(run, self.device).again(recipe)
        except ImpastoError as error:
            raise ImpastoError(f"{image}: {error}") from error
        save_image(generated.image, path, generated.recipe)
        print(path)


def _suffix(format: Format) -> str:
    return "jpg" if format is Format.JPEG else format.value


def _sheet(images: "Sequence[Image.Image]", label: str) -> "Image.Image":
    """A sheet with about as many rows as columns."""
    from impasto.create.grid import grid

    num_columns = max(1, round(len(images) ** 0.5))
    rows = [images[first : first + num_columns] for first in range(0, len(images), num_columns)]
    return grid(rows, [label], cell=max(GRID_CELL, *(max(image.size) for image in images)))
