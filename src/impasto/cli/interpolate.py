"""impasto interpolate: a sequence of images from one image to another."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from impasto.cli.device import FLOW_DEVICE, FlowDeviceFlags
from impasto.cli.flags import RUN_HELP, flags
from impasto.cli.messages import MESSAGES, MessageFlags
from impasto.cli.outputs import OUT, Out, check_count, check_exist, check_folder, check_free, counted
from impasto.cli.vary import OMITTED
from impasto.config import INTERPOLATE_CONFIG, FuseConfig

if TYPE_CHECKING:
    from PIL import Image

MAX_FRAMES = 10_000


@dataclass(frozen=True, kw_only=True)
class Interpolate:
    """Interpolate between two images: numbered images, and a strip of them.

    impasto interpolate runs/emoji cat.png dog.png -n 9 --out steps

    The results have the size of the first image. All start from the same noise.
    """

    run_folder: Annotated[Positional[Path], arg(metavar="RUN", name="run", help=RUN_HELP)]
    first: Annotated[Positional[Path], arg(metavar="FIRST")]
    """The first image."""
    second: Annotated[Positional[Path], arg(metavar="SECOND")]
    """The last image."""
    count: Annotated[int, arg(aliases=["-n"])] = 9
    """Number of images, including both ends."""
    out: Out = OUT
    """Folder to write to."""
    settings: Annotated[FuseConfig, flags(omit=OMITTED)] = INTERPOLATE_CONFIG
    device: FlowDeviceFlags = FLOW_DEVICE
    message: MessageFlags = MESSAGES

    def run(self) -> int:
        """Interpolate and write the images; returns the exit code."""
        check_count(self.count, 2, MAX_FRAMES)
        check_folder(self.out)
        check_exist([self.first, self.second], "an image")
        from impasto.create.fuse import between
        from impasto.create.grid import grid
        from impasto.create.recipe import save_image

        paths = [self.out / f"{number:04}.png" for number in range(self.count)]
        strip = self.out / "strip.png"
        check_free([*paths, strip])
        model = self.device.load(self.run_folder)
        progress = self.message.progress("interpolating", self.count)
        frames: list[Image.Image] = []
        configs = between(str(self.first), str(self.second), self.count, self.settings)
        for path, config in zip(paths, progress.over(configs), strict=True):
            (image,) = model.fuse(config, on_step=progress.on_step)
            save_image(image.image, path, image.recipe)
            frames.append(image.image)
            self.message.record(
                path=path, seed=config.sampling.seed, index=image.recipe.index, seconds=progress.seconds
            )
        save_image(grid([frames]), strip)
        self.message.record(path=strip)
        self.message.text(f"{counted(self.count, 'image')} and strip.png in {self.out}")
        return 0
