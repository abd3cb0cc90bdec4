"""impasto reconstruct: images next to their reconstructions."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from impasto.cli.device import DEVICE, DeviceFlags
from impasto.cli.flags import RUN_HELP
from impasto.cli.messages import MESSAGES, MessageFlags
from impasto.cli.outputs import (
    OUT,
    Out,
    check_exist,
    check_folder,
    check_free,
    counted,
    file_names,
    free_for_image,
    written,
)

if TYPE_CHECKING:
    from PIL import Image

    from impasto.api import Reconstruction

CELL = 192
"""Minimum side of an image on the sheet in pixels."""
LEVEL_LABELS = ("style", "+ stride 32", "+ stride 16", "+ stride 8")
"""Labels of the prefixes of levels, coarse to fine."""


@dataclass(frozen=True)
class Reconstruct:
    """Encode and decode images; writes one sheet per image with the original and the reconstruction.

    impasto reconstruct runs/emoji mine/*.png --out sheets --levels
    """

    run_folder: Annotated[Positional[Path], arg(metavar="RUN", name="run", help=RUN_HELP)]
    images: Annotated[Positional[tuple[Path, ...]], arg(metavar="IMAGES ...", help_behavior_hint="(at least one)")]
    """Images to reconstruct: files, folders or archives."""
    out: Out = OUT
    """Folder to write to."""
    levels: Annotated[bool, arg(help_behavior_hint="")] = False
    """Show the reconstruction from 1, 2, 3 and 4 levels of the latents, coarse to fine."""
    device: DeviceFlags = DEVICE
    message: MessageFlags = MESSAGES

    def run(self) -> int:
        """Reconstruct and write one sheet per image; returns the exit code."""
        check_folder(self.out)
        check_exist(self.images)
        from impasto.create.recipe import save_image

        model = self.device.load(self.run_folder)
        loaded = model.read(self.images, [self.message.warn])
        wanted = [self.out / name for name in file_names(loaded.names, ".png")]
        check_free(wanted)
        progress = self.message.progress("reconstructing", len(wanted))
        results = progress.over(model.reconstruct(loaded, self.levels))
        paths: list[Path] = []
        for path, result in zip(wanted, results, strict=True):
            sheet = _sheet(result, self.levels)
            paths.append(free_for_image(path, sheet))
            save_image(sheet, paths[-1])
            self.message.record(path=paths[-1], image=result.name, seconds=progress.seconds)
        self.message.text(written(paths, wanted, self.out, "sheet"))
        return 0


def _sheet(result: "Reconstruction", levels: bool) -> "Image.Image":
    from impasto.create.grid import grid

    prefixes = result.prefixes if levels else result.prefixes[-1:]
    if not levels:
        labels = ["reconstruction"]
    elif len(prefixes) == len(LEVEL_LABELS):
        labels = list(LEVEL_LABELS)
    else:
        labels = [counted(count, "level") for count in range(1, len(prefixes) + 1)]
    row = [result.original, *prefixes]
    return grid([row], (), ["original", *labels], cell=max(CELL, *(max(image.size) for image in row)))
