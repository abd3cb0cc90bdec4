"""impasto generate: more pictures in the style of a run, or one picture again from its recipe."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from impasto.cli.outputs import check_folder, check_free
from impasto.cli.progress import Progress
from impasto.config import Repeat, check_sampling
from impasto.errors import ImpastoError

if TYPE_CHECKING:
    from PIL import Image

    from impasto.create.recipe import Recipe

MAX_GRID_PICTURES = 400
"""Most pictures on a grid; it keeps them all in memory."""
DECIDED_BY_RECIPE = frozenset(
    "count style seed start steps temperature guidance height width tile palette pixel_art".split()
)
GRID_CELL = 128
"""Least side of a grid's cell in pixels."""


class Format(StrEnum):
    """How pictures are written: PNG and WebP without loss and with alpha, JPEG with loss over white."""

    PNG = "png"
    WEBP = "webp"
    JPEG = "jpeg"


@dataclass(frozen=True)
class Generate:
    """Make pictures in the style of a run; each carries the recipe that makes it again.

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
    """How many pictures."""
    style: Annotated[tuple[str, ...], arg(metavar="STYLE ...", help_behavior_hint="(default: any)")] = ()
    """Collections of the run, or pictures, each with an optional ":weight"."""
    seed: int = 0
    """The same seed gives the same pictures."""
    start: int = 0
    """Number of the first picture: --start 16 goes on where the first 16 ended."""
    steps: int = 16
    """Steps of the sampler: more are slower and finer."""
    temperature: float = 1.0
    """Below 1 tamer, above 1 wilder."""
    guidance: float = 1.5
    """How strongly the style is followed; 1 is as learned."""
    height: Annotated[int | None, arg(help_behavior_hint="(default: the model's)")] = None
    """In pixels, a multiple of 32: higher than in training, the flow goes through windows."""
    width: Annotated[int | None, arg(help_behavior_hint="(default: the model's)")] = None
    """The same for the width."""
    tile: Repeat = Repeat.NONE
    """Along which axes copies of a picture meet without a seam: for textures, and panoramas (x)."""
    palette: Annotated[str | None, arg(metavar="N|COLOURS|FILE", help_behavior_hint="(default: any colours)")] = None
    """No other colours than these: a number, ff0000,000000 or a file (.png, .gpl, .hex)."""
    pixel_art: Annotated[int | None, arg(help_behavior_hint="(default: off)")] = None
    """So many true pixels along the longer side, with hard alpha."""
    grid: bool = False
    """Write grid.png as well, with all pictures labelled by style."""
    recipe: Annotated[Path | None, arg(metavar="PICTURE", help_behavior_hint="(default: none)")] = None
    """Make exactly the picture again that is in this file."""
    format: Format = Format.PNG
    """png and webp are lossless and keep transparency; jpeg does neither."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""

    def run(self) -> int:
        """Generate and write the pictures; returns the exit code."""
        plan, wanted = (self, None) if self.recipe is None else self._from_recipe(self.recipe)
        plan._check()
        paths = [self.out / f"seed{plan.seed}-{plan.start + i:04}.{_suffix(self.format)}" for i in range(plan.count)]
        sheet = self.out / "grid.png"
        check_folder(self.out)
        check_free([*paths, sheet] if self.grid else paths)
        plan._write(paths, sheet if self.grid else None, wanted)
        return 0

    def _check(self) -> None:
        if self.run_folder is None:
            raise ImpastoError("RUN is missing: name the folder of a run, or a picture with --recipe.")
        if not 1 <= self.count <= 1_000_000:
            raise ImpastoError(f"-n {self.count}: use a whole number from 1 to 1000000.")
        if not 0 <= self.start < 2**31:
            raise ImpastoError(f"--start {self.start}: use a whole number from 0.")
        if self.grid and self.count > MAX_GRID_PICTURES:
            raise ImpastoError(f"--grid: a grid holds at most {MAX_GRID_PICTURES} pictures, and -n is {self.count}.")
        check_sampling(self.seed, self.steps, self.temperature, self.guidance, prefix="--")

    def _size(self, resolution: int) -> tuple[int, int] | None:
        if self.height is None and self.width is None:
            return None
        return self.height or resolution, self.width or resolution

    def _from_recipe(self, picture: Path) -> "tuple[Generate, Recipe]":
        """The command that the recipe stands for."""
        from impasto.create.recipe import read_recipe

        for field in dataclasses.fields(self):
            name = field.name
            given = getattr(self, name) != field.default
            if given and name in DECIDED_BY_RECIPE:
                flag = "-n" if name == "count" else f"--{name.replace('_', '-')}"
                raise ImpastoError(f"{flag} cannot stand beside --recipe: the recipe decides it.")
        recipe = read_recipe(picture)
        if recipe.content is not None:
            raise ImpastoError(f"{picture} was redrawn from {recipe.content}: make it again with impasto stylize.")
        if self.run_folder is None and not Path(recipe.model).is_dir():
            raise ImpastoError(f"{picture}: its model {recipe.model!r} is not here: put its RUN before --recipe.")
        plan = dataclasses.replace(
            self,
            run_folder=self.run_folder or Path(recipe.model),
            count=1,
            style=recipe.style,
            seed=recipe.seed,
            start=recipe.index,
            steps=recipe.steps,
            temperature=recipe.temperature,
            guidance=recipe.guidance,
            height=recipe.size[0] if recipe.size else None,
            width=recipe.size[1] if recipe.size else None,
            tile=recipe.tile,
            palette=recipe.palette,
            pixel_art=recipe.pixel_art,
        )
        return plan, recipe

    def _write(self, paths: Sequence[Path], sheet: Path | None, wanted: "Recipe | None") -> None:
        from impasto import api
        from impasto.create.recipe import save_picture

        assert self.run_folder is not None
        model = api.load(self.run_folder, self.device)
        if wanted is not None and model.identity != wanted.identity:
            raise ImpastoError(
                f"{self.recipe} was made by another model: its recipe names weights {wanted.identity}, "
                f"and {self.run_folder} has {model.identity}."
            )
        progress = Progress("generating", self.count)
        made = model.generate(
            self.count,
            style=self.style,
            seed=self.seed,
            steps=self.steps,
            temperature=self.temperature,
            guidance=self.guidance,
            start=self.start,
            size=self._size(model.config.resolution),
            tile=self.tile,
            palette=self.palette,
            pixel_art=self.pixel_art,
            on_step=progress.on_step,
        )
        shown: list[tuple[str, Image.Image]] = []
        for path, picture in zip(paths, progress.over(made), strict=True):
            if wanted is not None and picture.recipe.style_hashes != wanted.style_hashes:
                raise ImpastoError(f"{self.recipe}: a style picture of its recipe ({wanted.style}) has changed.")
            save_picture(picture.image, path, picture.recipe)
            if sheet is not None:
                shown.append((", ".join(picture.recipe.style) or "any style", picture.image))
        if sheet is not None:
            save_picture(_grid_by_style(shown), sheet)
        print(paths[0] if self.count == 1 else f"{self.count} pictures in {self.out}")


def _suffix(format: Format) -> str:
    return "jpg" if format is Format.JPEG else format.value


def _grid_by_style(pictures: "Sequence[tuple[str, Image.Image]]") -> "Image.Image":
    """A sheet about as wide as high, where each style starts a row and is its label."""
    from impasto.create.grid import grid

    num_columns = max(1, round(len(pictures) ** 0.5))
    by_style: dict[str, list[Image.Image]] = {}
    for style, image in pictures:
        by_style.setdefault(style, []).append(image)
    rows, labels = [], []
    for style, images in by_style.items():
        for first in range(0, len(images), num_columns):
            rows.append(images[first : first + num_columns])
            labels.append("" if first else style)
    return grid(rows, labels, cell=max(GRID_CELL, *(max(image.size) for _, image in pictures)))
