"""impasto vary: one image again, with some of its levels sampled again."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from impasto.cli.flags import flags
from impasto.cli.outputs import check_folder, check_free, file_names
from impasto.cli.progress import Progress
from impasto.config import VARY_CONFIG, FuseConfig
from impasto.errors import ImpastoError

DECIDED = ("pixel", "orientation", "texture", "style", "level_weights", "max_side")
"""Settings of a fusion that the command decides."""


@dataclass(frozen=True, kw_only=True)
class Vary:
    """Make variations of an image: some levels are sampled again, the others are kept.

    impasto vary runs/emoji cat.png -n 8 --out cats

    impasto vary runs/emoji cat.png --resample style --out other-styles

    impasto vary runs/emoji cat.png --resample stride16 stride8 --conditioning-scale 1 --out other-details
    """

    run_folder: Annotated[Positional[Path], arg(metavar="RUN", name="run")]
    """Folder of the run."""
    image: Annotated[Positional[Path], arg(metavar="IMAGE")]
    """The image."""
    out: Path
    """Folder to write to."""
    count: Annotated[int, arg(aliases=["-n"])] = 8
    """How many variations."""
    resample: Annotated[tuple[str, ...], arg(metavar="LEVEL ...")] = ("stride8",)
    """Levels that are sampled again: style, stride32, stride16, stride8."""
    settings: Annotated[FuseConfig, flags(omit=DECIDED)] = VARY_CONFIG
    device: str = "auto"
    """auto, cpu, cuda or mps."""

    def run(self) -> int:
        """Make and write the variations; returns the exit code."""
        if not 1 <= self.count <= 1_000_000:
            raise ImpastoError(f"-n {self.count}: use a whole number from 1 to 1000000.")
        check_folder(self.out)
        from impasto import api
        from impasto.create.fuse import varied
        from impasto.create.recipe import save_image

        config = varied(str(self.image), self.resample, self.settings)
        (name,) = file_names([str(self.image)], "")
        paths = [self.out / f"{name}-{number:04}.png" for number in range(self.count)]
        check_free(paths)
        progress = Progress("varying", self.count)
        made = api.load(self.run_folder, self.device).fuse(config, self.count, on_step=progress.on_step)
        for path, image in zip(paths, progress.over(made), strict=True):
            save_image(image.image, path, image.recipe)
        print(f"{self.count} images in {self.out}")
        return 0
