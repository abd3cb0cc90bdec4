"""impasto styles: the styles of a model, as names and as a sheet of samples."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from impasto.cli.device import FLOW_DEVICE, FlowDeviceFlags
from impasto.cli.flags import RUN_HELP, changed_flags, flags
from impasto.cli.messages import MESSAGES, MessageFlags
from impasto.cli.outputs import check_count, check_folder, check_free, free_for_image
from impasto.config import GENERATE_CONFIG, GenerateConfig
from impasto.errors import ImpastoError

if TYPE_CHECKING:
    from PIL import Image

    from impasto.api import Pipeline

CELL = 192
"""Minimum side of a sample on the sheet in pixels, so that the names of styles fit."""
MAX_SAMPLES = 16
"""Samples per style."""
SHEET = "styles.png"


@dataclass(frozen=True, kw_only=True)
class Styles:
    """List the styles of a model, one per line; with --out also write a sheet with a sample of each.

    impasto styles icons

    impasto styles icons --text "red apple" -n 4 --out sheets
    """

    run_folder: Annotated[Positional[Path], arg(metavar="RUN", name="run", help=RUN_HELP)]
    settings: Annotated[GenerateConfig, flags(omit=("style", "height", "width"))] = GENERATE_CONFIG
    count: Annotated[int, arg(aliases=["-n"])] = 1
    """Number of samples per style on the sheet."""
    out: Annotated[Path | None, arg(aliases=["-o"], help_behavior_hint="(default: no sheet)")] = None
    """Folder for styles.png, a sheet of generated images of each style."""
    device: FlowDeviceFlags = FLOW_DEVICE
    message: MessageFlags = MESSAGES

    def run(self) -> int:
        """List the styles and write the sheet; returns the exit code."""
        check_count(self.count, maximum=MAX_SAMPLES)
        if self.out is None:
            counts = ["-n"] if self.count != 1 else []
            for flag in [*changed_flags(self.settings, GENERATE_CONFIG), *counts]:
                raise ImpastoError(f"{flag} needs --out, the folder for the sheet: add --out, or omit {flag}.")
        else:
            check_folder(self.out)
            check_free([self.out / SHEET])
        model = self.device.load(self.run_folder)
        names = model.config.collections
        if not names:
            raise ImpastoError(f"{self.run_folder} has no styles: use --style with images instead.")
        for name in names:
            self.message.record(style=name)
            self.message.text(name)
        if self.out is not None:
            self._write_sheet(model, self.out / SHEET)
        return 0

    def _write_sheet(self, model: "Pipeline", path: Path) -> None:
        from impasto.create.grid import grid
        from impasto.create.recipe import save_image

        names = model.config.collections
        progress = self.message.progress("generating", len(names))
        cells: list[Image.Image] = []
        for name in progress.over(names):
            config = dataclasses.replace(self.settings, style=(name,))
            samples = [sample.image for sample in model.generate(self.count, config, on_step=progress.on_step)]
            side = max(CELL, *(max(image.size) for image in samples))
            cells.append(grid(_near_square(samples), (), [name], cell=side))
        sheet = grid(_near_square(cells))
        path = free_for_image(path, sheet)
        save_image(sheet, path)
        self.message.record(path=path, seed=self.settings.sampling.seed, styles=len(names), images_per_style=self.count)
        self.message.text(path)


def _near_square(images: "Sequence[Image.Image]") -> "list[Sequence[Image.Image]]":
    """``images`` in rows, with about as many rows as columns."""
    num_columns = math.ceil(len(images) ** 0.5)
    return [images[first : first + num_columns] for first in range(0, len(images), num_columns)]
