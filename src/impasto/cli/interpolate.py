"""impasto interpolate: a sequence of images from one image to another."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from impasto.cli.device import FLOW_DEVICE, FlowDeviceFlags
from impasto.cli.flags import RUN_HELP, flags
from impasto.cli.messages import MESSAGES, MessageFlags
from impasto.cli.outputs import (
    OUT,
    Out,
    check_count,
    check_exist,
    check_folder,
    check_free,
    free_for_image,
    free_for_recipes,
    save_each,
    with_first,
    written,
)
from impasto.cli.vary import OMITTED
from impasto.config import INTERPOLATE_CONFIG, FuseConfig

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

        wanted = [self.out / f"{number:04}.png" for number in range(self.count)]
        strip = self.out / "strip.png"
        check_free([*wanted, strip])
        model = self.device.load(self.run_folder)
        progress = self.message.progress("interpolating", self.count)
        configs = list(between(str(self.first), str(self.second), self.count, self.settings))
        fused = (image for config in configs for image in model.fuse(config, on_step=progress.on_step))
        first, images = with_first(progress.over(fused))
        # The recipes name the colours of a palette instead of its file.
        settings = [dataclasses.replace(config, output=first.recipe.settings.output) for config in configs]
        paths = free_for_recipes(wanted, [dataclasses.replace(first.recipe, settings=each) for each in settings])
        frames = list(save_each(paths, images, self.message, progress))
        drawn = grid([frames])
        strip = free_for_image(strip, drawn)
        save_image(drawn, strip)
        self.message.record(path=strip)
        self.message.text(f"{written(paths, wanted, self.out)}, and {strip.name}")
        return 0
