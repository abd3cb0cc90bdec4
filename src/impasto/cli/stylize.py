"""impasto stylize: a picture, or a folder of them, redrawn in a style."""

import dataclasses
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from impasto.cli.outputs import check_folder, check_free, file_tree
from impasto.cli.progress import Progress
from impasto.config import StylizeConfig
from impasto.errors import ImpastoError

if TYPE_CHECKING:
    from impasto.api import Model
    from impasto.data import Whole, WholePictures


@dataclass(frozen=True, kw_only=True)
class Stylize(StylizeConfig):
    """Redraw a picture, or every picture of a folder, in a style; each keeps its size, its name and its folder.

    impasto stylize runs/emoji cat.png --style openmoji --out redrawn

    impasto stylize runs/paintings holiday --style monet/*.jpg:2 my.style --strength 0.8 --out painted

    Stopped, the same command goes on: pictures that are there already, made in the same way, are not made again.
    """

    run_folder: Annotated[Positional[Path], arg(metavar="RUN", name="run")]
    """Folder of the run."""
    pictures: Annotated[Positional[Path], arg(metavar="PICTURES")]
    """A picture, a folder or an archive."""
    out: Path
    """Folder to write to."""
    style: Annotated[tuple[str, ...], arg(metavar="STYLE ...", help_behavior_hint="(required)")] = ()
    """Collections of the run, pictures or saved styles, each with an optional ":weight"."""
    palette: Annotated[str | None, arg(metavar="N|COLOURS|FILE", help_behavior_hint="(default: any colours)")] = None
    """No other colours than these: a number, ff0000,000000 or a file (.png, .gpl, .hex)."""
    pixel_art: Annotated[int | None, arg(help_behavior_hint="(default: off)")] = None
    """So many true pixels along the longer side, with hard alpha."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""

    def __post_init__(self) -> None:
        """Leave the checks to ``config``, where a mistake is reported as every command reports it."""

    def config(self) -> StylizeConfig:
        """The plain settings."""
        return StylizeConfig(**{field.name: getattr(self, field.name) for field in dataclasses.fields(StylizeConfig)})

    def run(self) -> int:
        """Redraw and write the pictures; returns the exit code."""
        config = self.config()
        check_folder(self.out)
        from impasto import api
        from impasto.create.recipe import save_picture

        model = api.load(self.run_folder, self.device)
        found = model.whole_pictures(self.pictures, most=config.most)
        paths = {name: self.out / path for name, path in zip(found.names, file_tree(found.names, ".png"), strict=True)}
        check_free(paths.values())
        progress = Progress("redrawing", len(found))
        written = 0
        wanted = self._wanted(model, found, paths, config)
        for made in progress.over(model.stylize(wanted, config, on_step=progress.on_step)):
            assert made.recipe.content is not None
            path = paths[made.recipe.content]
            path.parent.mkdir(parents=True, exist_ok=True)
            save_picture(made.image, path, made.recipe)
            written += 1
        for name, reason in found.skipped.items():
            print(f"warning: skipped {name}: {reason}", file=sys.stderr)
        there = len(found) - written - sum(name in paths for name in found.skipped)
        if not written and not there:
            raise ImpastoError(f"none of the pictures of {self.pictures} could be read.")
        said = f"{next(iter(paths.values()))}" if len(paths) == 1 else f"{written} pictures in {self.out}"
        print(said + (f", {there} were there already" if there and len(paths) > 1 else ""))
        return 0

    def _wanted(
        self, model: "Model", found: "WholePictures", paths: dict[str, Path], config: StylizeConfig
    ) -> "Iterator[Whole]":
        """The pictures that are not there yet as they would be made now."""
        from impasto.create.recipe import read_recipe

        for whole in found:
            if paths[whole.name].exists():
                try:
                    before = read_recipe(paths[whole.name])
                except ImpastoError:
                    before = None
                if before == model.recipe_of(whole, config, before.style_hashes if before else ()):
                    continue
            yield whole
