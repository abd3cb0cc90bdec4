"""impasto models: the built-in models."""

from dataclasses import dataclass
from typing import Annotated

from tyro.conf import Positional, arg

from impasto.built_in import built_in_models, read_card, whole_card


@dataclass(frozen=True)
class Models:
    """List the built-in models, or print the card of one.

    impasto models

    impasto models icons

    Commands accept these names as RUN: impasto generate icons --out new
    """

    name: Annotated[Positional[str | None], arg(metavar="[NAME]", help_behavior_hint="(default: all)")] = None
    """Name of a model; prints its card."""

    def run(self) -> int:
        """Print; returns the exit code."""
        if self.name is not None:
            print(whole_card(self.name).rstrip())
            return 0
        for card in map(read_card, built_in_models()):
            print(f"{card.name}: {card.about}")
            print(f"  {card.resolution} px, {card.megabytes:.0f} MB, {card.licence}")
            print(f"  data: {card.data}")
            print(f"  trained: {card.trained}")
            print(f"  by: {card.command}")
            for name, value in card.scores.items():
                print(f"  {name}: {value}")
        return 0
