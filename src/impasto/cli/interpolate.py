"""impasto interpolate: a sequence of images from one image to another."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from impasto.cli.flags import flags
from impasto.cli.outputs import check_folder, check_free, counted
from impasto.cli.progress import Progress
from impasto.cli.vary import OMITTED
from impasto.config import INTERPOLATE_CONFIG, FuseConfig
from impasto.errors import ImpastoError

if TYPE_CHECKING:
    from PIL import Image

MAX_FRAMES = 10_000


@dataclass(frozen=True, kw_only=True)
class Interpolate:
    """Interpolate between two images: numbered images, and a strip of them.

    impasto interpolate runs/emoji cat.png dog.png -n 9 --out steps

    The results have the size of the first image. All start from the same noise.
    """

    run_folder: Annotated[Positional[Path], arg(metavar="RUN", name="run")]
    """Folder of the run."""
    first: Annotated[Positional[Path], arg(metavar="FIRST")]
    """The first image."""
    second: Annotated[Positional[Path], arg(metavar="SECOND")]
    """The last image."""
    out: Path
    """Folder to write to."""
    count: Annotated[int, arg(aliases=["-n"])] = 9
    """Number of images, including both ends."""
    settings: Annotated[FuseConfig, flags(omit=OMITTED)] = INTERPOLATE_CONFIG
    device: str = "auto"
    """auto, cpu, cuda or mps."""

    def run(self) -> int:
        """Interpolate and write the images; returns the exit code."""
        if not 2 <= self.count <= MAX_FRAMES:
            raise ImpastoError(f"-n {self.count}: use a whole number from 2 to {MAX_FRAMES}.")
        check_folder(self.out)
        from impasto import api
        from impasto.create.fuse import between
        from impasto.create.grid import grid
        from impasto.create.recipe import save_image

        paths = [self.out / f"{number:04}.png" for number in range(self.count)]
        strip = self.out / "strip.png"
        check_free([*paths, strip])
        model = api.load(self.run_folder, self.device)
        progress = Progress("interpolating", self.count)
        frames: list[Image.Image] = []
        configs = between(str(self.first), str(self.second), self.count, self.settings)
        for path, config in zip(paths, progress.over(configs), strict=True):
            (image,) = model.fuse(config, on_step=progress.on_step)
            save_image(image.image, path, image.recipe)
            frames.append(image.image)
        save_image(grid([frames]), strip)
        print(f"{counted(self.count, 'image')} and strip.png in {self.out}")
        return 0
