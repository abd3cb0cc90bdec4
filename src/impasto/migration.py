"""Older formats: the keys that were renamed since, and the values that now mean something else."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

from impasto.errors import ImpastoError

Rule = str | tuple[str, Callable[[Any], Any]]
"""The new place of a value, a dotted path, and what becomes of the value."""

HARMONY_OF_1 = 1e-9
"""Format 1 gave sources their least weight at harmony 1; a conditioning scale of 0 now ignores them."""


def conditioning_scale_of(harmony: Any) -> Any:
    """The conditioning scale that weighs sources as ``harmony`` did: 1 - harmony, and above 0."""
    if not isinstance(harmony, int | float) or isinstance(harmony, bool):
        return harmony  # not a number: the check of the settings reports it
    return max(HARMONY_OF_1, 1 - harmony) if harmony <= 1 else 1 - harmony


_SAMPLING = ("seed", "steps", "temperature", "guidance")
_OUTPUT = ("tile", "palette", "pixel_art", "opaque")
_RECIPE: dict[str, Rule] = {
    "identity": "fingerprint",
    "precision": "dtype",
    **{f"settings.{name}": f"settings.sampling.{name}" for name in _SAMPLING},
    "settings.clarity": "settings.sampling.internal_guidance",
    **{f"settings.{name}": f"settings.output.{name}" for name in _OUTPUT},
    "settings.text": "settings.prompt.text",
    "settings.negative_text": "settings.prompt.negative_text",
}
_COMMANDS: dict[str, dict[str, Rule]] = {
    "generate": {},
    "stylize": {
        "settings.passes": "settings.num_shifts",
        "settings.steady": "settings.temporal_smoothing",
        "settings.most": "settings.max_side",
    },
    "fuse": {
        "settings.harmony": ("settings.conditioning_scale", conditioning_scale_of),
        "settings.most": "settings.max_side",
    },
}
_IDENTITY: dict[str, Rule] = {"identity": "fingerprint"}


def migrate(kind: str, version: int, values: Mapping[str, Any], source: str) -> dict[str, Any]:
    """``values`` of a file of format ``version``, with the keys of the present format.

    ``kind`` is recipe, vectors or style; ``source`` names the file in error messages. Keys that are missing stay
    missing, and unknown keys stay as they are: the reader reports both.
    """
    migrated = copy.deepcopy(dict(values))
    if version >= 2:
        return migrated
    rules = _IDENTITY
    if kind == "recipe":
        rules = _RECIPE | _COMMANDS.get(str(values.get("command")), {})
    for old, rule in rules.items():
        new, convert = (rule, lambda value: value) if isinstance(rule, str) else rule
        _move(migrated, old.split("."), new.split("."), convert, source)
    return migrated


def _move(values: dict[str, Any], old: list[str], new: list[str], convert: Callable[[Any], Any], source: str) -> None:
    """Move the value at the path ``old`` to the path ``new``, if there is one."""
    place: Any = values
    for key in old[:-1]:
        place = place.get(key) if isinstance(place, dict) else None
    if not isinstance(place, dict) or old[-1] not in place:
        return
    value = convert(place.pop(old[-1]))
    target = values
    for key in new[:-1]:
        target = target.setdefault(key, {})
        if not isinstance(target, dict):
            raise ImpastoError(f"{source}: {key}: {target!r} is not an object.")
    target[new[-1]] = value
