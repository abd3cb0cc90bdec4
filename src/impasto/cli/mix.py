"""impasto mix: a sheet of images in several styles or strengths."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from impasto.cli.device import FLOW_DEVICE, FlowDeviceFlags
from impasto.cli.flags import RUN_HELP, flags
from impasto.cli.messages import MESSAGES, MessageFlags
from impasto.cli.outputs import OUT, Out, check_exist, check_free, counted, free_for_image, image_path
from impasto.config import STYLIZE_CONFIG, StylizeConfig
from impasto.errors import ImpastoError

if TYPE_CHECKING:
    from PIL import Image

MAX_CELLS = 400
"""Limit of a sheet, whose images are all in memory."""
GRID_CELL = 128
"""Minimum side of a cell in pixels, so that labels fit."""
MIX_CONFIG = dataclasses.replace(STYLIZE_CONFIG, max_side=512)
"""Defaults for images on a sheet."""


@dataclass(frozen=True, kw_only=True)
class Mix:
    """Write a comparison sheet: each image in each style, or in all styles together at several strengths.

    impasto mix runs/emoji cat.png house.png --style noto openmoji mine.png --out sheet.png

    impasto mix runs/emoji cat.png --style openmoji --strengths 0 0.2 0.4 0.6 0.8 1 --out strip.png
    """

    run_folder: Annotated[Positional[Path], arg(metavar="RUN", name="run", help=RUN_HELP)]
    images: Annotated[Positional[tuple[Path, ...]], arg(metavar="IMAGE ...", help_behavior_hint="(at least one)")]
    """Images, folders or archives; each image is one row."""
    settings: Annotated[StylizeConfig, flags(omit=("temporal_smoothing",), required=("style",))] = MIX_CONFIG
    strengths: Annotated[tuple[float, ...], arg(metavar="STRENGTH ...", help_behavior_hint="(default: off)")] = ()
    """One column per strength, with all styles together, instead of one column per style."""
    out: Out = OUT
    """Sheet to write (.png, .webp or .jpg), or a folder for sheet.png."""
    device: FlowDeviceFlags = FLOW_DEVICE
    message: MessageFlags = MESSAGES

    def run(self) -> int:
        """Stylize the images and write the sheet; returns the exit code."""
        config = self.settings
        config.check_style()
        if self.strengths and config.strength != MIX_CONFIG.strength:
            raise ImpastoError("--strength does nothing with --strengths: use one of them.")
        if not self.images:
            raise ImpastoError("IMAGE is missing: name at least one image.")
        columns = {f"strength {value:g}": dataclasses.replace(config, strength=value) for value in self.strengths}
        columns = columns or {style: dataclasses.replace(config, style=(style,)) for style in config.style}
        _check_cells(len(self.images) * len(columns))
        check_exist(self.images)
        from impasto.create.grid import grid
        from impasto.create.image import to_image
        from impasto.create.recipe import check_suffix, save_image

        out = image_path(self.out, "sheet.png")
        check_suffix(out)
        check_free([out])
        model = self.device.load(self.run_folder)
        inputs = [model.whole_images(path, config.max_side) for path in self.images]
        _check_cells(sum(map(len, inputs)) * len(columns))
        stylizers = [model.stylizer(column) for column in columns.values()]
        images = [image for files in inputs for image in files]
        for name, reason in [skipped for files in inputs for skipped in files.skipped.items()]:
            self.message.warn(f"skipped {name}: {reason}")
        progress = self.message.progress("stylizing", len(images) * len(stylizers))
        jobs = progress.over((image, stylizer) for image in images for stylizer in stylizers)
        stylized = [stylizer(image, progress.on_step) for image, stylizer in jobs]
        rows: list[list[Image.Image]] = []
        for number, image in enumerate(images):
            start = number * len(stylizers)
            rows.append([to_image(image.pixels), *stylized[start : start + len(stylizers)]])
        cell = max(GRID_CELL, *(max(image.size) for row in rows for image in row))
        sheet = grid(rows, column_labels=["", *columns], cell=cell)
        out = free_for_image(out, sheet)
        save_image(sheet, out)
        self.message.record(path=out, rows=len(rows), columns=["original", *columns])
        self.message.text(out)
        return 0


def _check_cells(cells: int) -> None:
    """Raise ImpastoError for a sheet of too many images."""
    if cells > MAX_CELLS:
        raise ImpastoError(f"a sheet of {counted(cells, 'image')}: use at most {MAX_CELLS}.")
