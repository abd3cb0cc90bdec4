"""impasto vary: variations of an image, with some of its levels resampled."""

import itertools
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
    file_names,
    numbered,
    save_each,
    written,
)
from impasto.config import VARY_CONFIG, FuseConfig
from impasto.errors import ImpastoError

OMITTED = ("pixel", "orientation", "texture", "style", "level_weights", "max_side")
"""Settings of a fusion that are not flags of this command."""


@dataclass(frozen=True, kw_only=True)
class Vary:
    """Generate variations of images: some levels are resampled, the others are kept.

    impasto vary runs/emoji cat.png -n 8 --out cats

    impasto vary runs/emoji cat.png --resample stride16 stride8 --conditioning-scale 1 --out other-details
    """

    run_folder: Annotated[Positional[Path], arg(metavar="RUN", name="run", help=RUN_HELP)]
    images: Annotated[Positional[tuple[Path, ...]], arg(metavar="IMAGE ...", help_behavior_hint="(at least one)")]
    """The images to vary."""
    count: Annotated[int, arg(aliases=["-n"])] = 8
    """Number of variations of each image."""
    out: Out = OUT
    """Folder to write to."""
    resample: Annotated[tuple[str, ...], arg(metavar="LEVEL ...")] = ("style",)
    """Levels to resample: style, stride32, stride16, stride8."""
    settings: Annotated[FuseConfig, flags(omit=OMITTED)] = VARY_CONFIG
    device: FlowDeviceFlags = FLOW_DEVICE
    message: MessageFlags = MESSAGES

    def run(self) -> int:
        """Generate and write the variations; returns the exit code."""
        check_count(self.count)
        check_folder(self.out)
        if not self.images:
            raise ImpastoError("IMAGE is missing: name at least one image.")
        check_exist(self.images, "an image")
        from impasto.create.fuse import varied

        configs = [varied(image, self.resample, self.settings) for image in self.images]
        stems = file_names(map(str, self.images), "")
        wanted = [[self.out / f"{stem}-{number:04}.png" for number in range(self.count)] for stem in stems]
        total = [path for group in wanted for path in group]
        check_free(total)
        model = self.device.load(self.run_folder)
        progress = self.message.progress("varying", len(total))
        varied_images = (model.fuse(config, self.count, on_step=progress.on_step) for config in configs)
        timed = progress.over(image for images in varied_images for image in images)
        paths: list[Path] = []
        for group in wanted:
            group, images = numbered(group, itertools.islice(timed, self.count), range(self.count))
            for _ in save_each(group, images, self.message, progress):
                pass
            paths += group
        self.message.text(written(paths, total, self.out))
        return 0
