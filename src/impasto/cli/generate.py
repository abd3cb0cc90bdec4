"""impasto generate: more images in the style of a run, or one image again from its recipe."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from impasto.built_in import is_built_in
from impasto.cli.flags import flags, given
from impasto.cli.outputs import check_folder, check_free
from impasto.cli.progress import Progress
from impasto.config import GENERATE_CONFIG, GenerateConfig
from impasto.errors import ImpastoError

if TYPE_CHECKING:
    from PIL import Image

MAX_GRID_IMAGES = 400
"""Most images on a grid; it keeps them all in memory."""
DECIDED_BY_RECIPE = {"count": "-n", "start": "--start", "grid": "--grid"}
"""Fields of the command, and their flags, that cannot be used with --recipe; no settings can."""
GRID_CELL = 128
"""Least side of a grid's cell in pixels."""


class Format(StrEnum):
    """How images are written: PNG and WebP without loss and with alpha, JPEG with loss over white."""

    PNG = "png"
    WEBP = "webp"
    JPEG = "jpeg"


@dataclass(frozen=True, kw_only=True)
class Generate:
    """Make images in the style of a run; each carries the recipe that makes it again.

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
    """Folder of the run; --recipe knows it as well."""
    count: Annotated[int, arg(aliases=["-n"])] = 16
    """How many images."""
    settings: Annotated[GenerateConfig, flags()] = GENERATE_CONFIG
    start: int = 0
    """Number of the first image: --start 16 goes on where the first 16 ended."""
    grid: bool = False
    """Write grid.png as well, with all images labelled by style."""
    recipe: Annotated[Path | None, arg(metavar="IMAGE", help_behavior_hint="(default: none)")] = None
    """Make exactly the image again that is in this file, whichever command made it."""
    format: Format = Format.PNG
    """png and webp are lossless and keep transparency; jpeg does neither."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""

    def run(self) -> int:
        """Generate and write the images; returns the exit code."""
        check_folder(self.out)
        if self.recipe is not None:
            self._again(self.recipe)
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
        made = model.generate(self.count, self.settings, start=self.start, on_step=progress.on_step)
        shown: list[Image.Image] = []
        for path, image in zip(paths, progress.over(made), strict=True):
            save_image(image.image, path, image.recipe)
            if self.grid:
                shown.append(image.image)
        if self.grid:
            save_image(_sheet(shown, ", ".join(self.settings.style) or "any style"), sheet)
        print(paths[0] if self.count == 1 else f"{self.count} images in {self.out}")
        return 0

    def _again(self, image: Path) -> None:
        """Make the image again that the recipe stands for, whichever command made it."""
        own = [DECIDED_BY_RECIPE.get(f.name) for f in dataclasses.fields(self) if getattr(self, f.name) != f.default]
        for flag in [*filter(None, own), *given(self.settings, GENERATE_CONFIG)]:
            raise ImpastoError(f"{flag} cannot be used with --recipe: the recipe decides it.")
        from impasto import api
        from impasto.create.recipe import read_recipe, save_image

        recipe = read_recipe(image)
        run = self.run_folder or Path(recipe.model)
        if not run.exists() and not is_built_in(run):
            raise ImpastoError(f"{image}: its model {recipe.model!r} is not here: put its RUN before --recipe.")
        path = self.out / f"{image.stem}.{_suffix(self.format)}"
        check_free([path])
        try:
            made = api.load(run, self.device).again(recipe)
        except ImpastoError as error:
            raise ImpastoError(f"{image}: {error}") from error
        save_image(made.image, path, made.recipe)
        print(path)


def _suffix(format: Format) -> str:
    return "jpg" if format is Format.JPEG else format.value


def _sheet(images: "Sequence[Image.Image]", label: str) -> "Image.Image":
    """A sheet about as wide as high."""
    from impasto.create.grid import grid

    num_columns = max(1, round(len(images) ** 0.5))
    rows = [images[first : first + num_columns] for first in range(0, len(images), num_columns)]
    return grid(rows, [label], cell=max(GRID_CELL, *(max(image.size) for image in images)))
