"""impasto models: the built-in models."""

import shutil
import textwrap
from dataclasses import dataclass
from typing import Annotated, Any

from tyro.conf import Positional, arg

from impasto.built_in import Card, built_in_models, read_card, style_names, whole_card
from impasto.cli.messages import MESSAGES, MessageFlags

MAX_STYLES = 16
"""Styles of a model that the list names."""
MAX_COLUMNS = 100


@dataclass(frozen=True)
class Models:
    """List the built-in models, or print the card of one.

    impasto models

    impasto models icons

    Commands accept these names as RUN: impasto generate icons --out new
    """

    name: Annotated[Positional[str | None], arg(metavar="[NAME]", help_behavior_hint="(default: all)")] = None
    """Name of a model; prints its card, with scores."""
    message: MessageFlags = MESSAGES

    def run(self) -> int:
        """Print; returns the exit code."""
        if self.name is not None:
            card = read_card(self.name)
            details = {"data": card.data, "command": card.command, "trained": card.trained, "scores": card.scores}
            self.message.record(**_summary(card), **details, card=whole_card(card.name))
            self.message.text(whole_card(card.name).rstrip())
            return 0
        for card in map(read_card, built_in_models()):
            self.message.record(**_summary(card))
            self.message.text(_entry(card))
        if not self.message.json:
            self.message.note("Scores: impasto models NAME. Samples of the styles: impasto styles NAME --out FOLDER.")
        return 0


def _summary(card: Card) -> dict[str, Any]:
    """A model in JSON."""
    return {
        "name": card.name,
        "about": card.about,
        "resolution": card.resolution,
        "megabytes": round(card.megabytes, 1),
        "licence": card.licence,
        "styles": style_names(card.name),
    }


def _entry(card: Card) -> str:
    """A few lines about a model."""
    names = style_names(card.name)
    styles = f"{len(names)} styles: {', '.join(names[:MAX_STYLES])}"
    if (more := len(names) - MAX_STYLES) > 0:
        styles += f", ... {more} more: impasto styles {card.name}"
    columns = min(shutil.get_terminal_size().columns, MAX_COLUMNS)
    wrapped = textwrap.fill(
        styles, columns, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False, break_long_words=False
    )
    size = f"{card.resolution} px, {card.megabytes:.0f} MB, {card.licence}"
    return f"{card.name}: {card.about}\n  {size}\n{wrapped}"
