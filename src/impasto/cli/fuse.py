"""impasto fuse: the colours of one image, the structure of a second, the texture of a third."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from impasto.cli.device import FLOW_DEVICE, FlowDeviceFlags
from impasto.cli.flags import RUN_HELP, flags
from impasto.cli.messages import MESSAGES, MessageFlags
from impasto.cli.outputs import OUT, Out, check_count, check_free, counted, image_path, numbered, save_each
from impasto.config import FUSE_CONFIG, FuseConfig


@dataclass(frozen=True, kw_only=True)
class Fuse:
    """Combine images: the colours of some, the structure of others, the texture of a third.

    impasto fuse runs/emoji --pixel sunset.png --orientation cat.png --texture oil.png --out x.png

    impasto fuse runs/emoji --orientation cat.png --texture a.png:2 b.png -n 4 --conditioning-scale 0.6 --out cats.png

    What no source determines is sampled. The result has the size of the image that gives the structure.
    """

    run_folder: Annotated[Positional[Path], arg(metavar="RUN", name="run", help=RUN_HELP)]
    settings: Annotated[FuseConfig, flags()] = FUSE_CONFIG
    count: Annotated[int, arg(aliases=["-n"])] = 1
    """Number of images."""
    out: Out = OUT
    """Image to write (.png, .webp or .jpg), or a folder for fused.png; with -n above 1 NAME-0000.png and so on."""
    device: FlowDeviceFlags = FLOW_DEVICE
    message: MessageFlags = MESSAGES

    def run(self) -> int:
        """Fuse and write; returns the exit code."""
        self.settings.check_sources()
        check_count(self.count)
        from impasto.create.recipe import check_suffix

        out = image_path(self.out, "fused.png")
        check_suffix(out)
        paths = [out]
        if self.count > 1:
            paths = [out.with_stem(f"{out.stem}-{number:04}") for number in range(self.count)]
        check_free(paths)
        progress = self.message.progress("fusing", self.count)
        fused = self.device.load(self.run_folder).fuse(self.settings, self.count, on_step=progress.on_step)
        paths, images = numbered(paths, progress.over(fused), range(self.count))
        for _ in save_each(paths, images, self.message, progress):
            pass
        self.message.text(paths[0] if self.count == 1 else f"{counted(self.count, 'image')}: {paths[0]} to {paths[-1]}")
        return 0
