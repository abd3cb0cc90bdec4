"""Flags that all commands that make pictures share."""

from dataclasses import dataclass
from typing import Annotated

from tyro.conf import arg


@dataclass(frozen=True, kw_only=True)
class PictureFlags:
    """Mixed into the settings of a command before them, it says how people write them."""

    palette: Annotated[str | None, arg(metavar="N|COLOURS|FILE", help_behavior_hint="(default: any colours)")] = None
    """No other colours than these: a number, ff0000,000000 or a file (.png, .gpl, .hex)."""
    pixel_art: Annotated[int | None, arg(help_behavior_hint="(default: off)")] = None
    """So many true pixels along the longer side, with hard alpha."""
    text: Annotated[str | None, arg(metavar="TEXT", help_behavior_hint="(default: anything)")] = None
    """What to show, in English, where the model has learned captions."""
    negative_text: Annotated[str | None, arg(metavar="TEXT", help_behavior_hint="(default: none)")] = None
    """What not to show, beside --text."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""

    def __post_init__(self) -> None:
        """Leave the checks to ``run``, where a mistake is reported as every command reports it."""
