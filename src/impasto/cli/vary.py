"""impasto vary: variations of an image, with some of its levels resampled."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from impasto.cli.flags import flags
from impasto.cli.outputs import check_folder, check_free, counted, file_names
from impasto.cli.progress import Progress
from impasto.config import VARY_CONFIG, FuseConfig
from impasto.errors import ImpastoError

OMITTED = ("pixel", "orientation", "texture", "style", "level_weights", "max_side")
"""Settings of a fusion that are not flags of this command."""


@dataclass(frozen=True, kw_only=True)
class Vary:
    """Generate variations of an image: some levels are resampled, the others are kept.

    impasto vary runs/emoji cat.png -n 8 --out cats

    impasto vary runs/emoji cat.png --resample style --out other-styles

    impasto vary runs/emoji cat.png --resample stride16 stride8 --conditioning-scale 1 --out other-details
    """

    run_folder: Annotated[Positional[Path], arg(metavar="RUN", name="run")]
    """Folder of the run."""
    image: Annotated[Positional[Path], arg(metavar="IMAGE")]
    """The image to vary."""
    out: Path
    """Folder to write to."""
    count: Annotated[int, arg(aliases=["-n"])] = 8
    """Number of variations."""
    resample: Annotated[tuple[str, ...], arg(metavar="LEVEL ...")] = ("stride8",)
    """Levels to resample: style, stride32, stride16, stride8."""
    settings: Annotated[FuseConfig, flags(omit=OMITTED)] = VARY_CONFIG
    device: str = "auto"
    """auto, cpu, cuda or mps."""

    def run(self) -> int:
        """Generate and write the variations; returns the exit code."""
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
        images = api.load(self.run_folder, self.device).fuse(config, self.count, on_step=progress.on_step)
        for path, image in zip(paths, progress.over(images), strict=True):
            save_image(image.image, path, image.recipe)
        print(f"{counted(self.count, 'image')} in {self.out}")
        return 0
