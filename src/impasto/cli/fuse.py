"""impasto fuse: the colours of one image, the structure of a second, the texture of a third."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from impasto.cli.flags import flags
from impasto.cli.outputs import check_free, counted
from impasto.cli.progress import Progress
from impasto.config import FUSE_CONFIG, FuseConfig
from impasto.errors import ImpastoError


@dataclass(frozen=True, kw_only=True)
class Fuse:
    """Combine images: the colours of some, the structure of others, the texture of a third.

    impasto fuse runs/emoji --pixel sunset.png --orientation cat.png --texture oil.png --out x.png

    impasto fuse runs/emoji --orientation cat.png --texture a.png:2 b.png -n 4 --conditioning-scale 0.6 --out cats.png

    What no source determines is sampled. The result has the size of the image that gives the structure.
    """

    run_folder: Annotated[Positional[Path], arg(metavar="RUN", name="run")]
    """Folder of the run."""
    out: Path
    """Image to write (.png, .webp or .jpg); with -n above 1: NAME-0000.png, NAME-0001.png, ..."""
    settings: Annotated[FuseConfig, flags()] = FUSE_CONFIG
    count: Annotated[int, arg(aliases=["-n"])] = 1
    """Number of images."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""

    def run(self) -> int:
        """Fuse and write; returns the exit code."""
        self.settings.check_sources()
        if not 1 <= self.count <= 1_000_000:
            raise ImpastoError(f"-n {self.count}: use a whole number from 1 to 1000000.")
        from impasto import api
        from impasto.create.recipe import check_suffix, save_image

        check_suffix(self.out)
        paths = [self.out]
        if self.count > 1:
            paths = [self.out.with_stem(f"{self.out.stem}-{number:04}") for number in range(self.count)]
        check_free(paths)
        progress = Progress("fusing", self.count)
        images = api.load(self.run_folder, self.device).fuse(self.settings, self.count, on_step=progress.on_step)
        for path, image in zip(paths, progress.over(images), strict=True):
            save_image(image.image, path, image.recipe)
        print(paths[0] if self.count == 1 else f"{counted(self.count, 'image')}: {paths[0]} to {paths[-1]}")
        return 0
