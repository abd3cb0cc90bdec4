"""Every format that Impasto has ever written, and the way from each to the present one.

A file carries the version of its format. Reading it walks through the changes from that version to `CURRENT`: keys are
renamed or moved, values converted, and retired keys accepted only at the values under which they did nothing. Keys are
written with dots: ``settings.sampling.steps`` is ``values["settings"]["sampling"]["steps"]``.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

from impasto.errors import ImpastoError

V = TypeVar("V")

CURRENT = 2
"""Version of every format that is written now."""


class Kind(StrEnum):
    """What a file holds."""

    MODEL = "model"
    """Config in the header of a weights file."""
    RUN = "run"
    """config.json of a run folder."""
    STATE = "state"
    """Numbers in the header of a training state."""
    RECIPE = "recipe"
    STYLE = "style"
    VECTORS = "vectors"


@dataclass(frozen=True)
class Change:
    """From one version of a format to the next."""

    renamed: Mapping[str, str] = field(default_factory=dict)
    """Old key to new key."""
    converted: Mapping[str, Callable[[Any], Any]] = field(default_factory=dict)
    """New key to the function that converts its value."""
    retired: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    """Old key to the values at which it is dropped; any other is an error."""
    added: Mapping[str, Any] = field(default_factory=dict)
    """New key to its value in files that did not have it yet."""


def conditioning_scale_of(harmony: Any) -> Any:
    """``1 - harmony``, but above 0 for a harmony of 1, which still gave the sources their least weight."""
    if not isinstance(harmony, int | float) or isinstance(harmony, bool):
        return harmony  # not a number: the check of the settings reports it
    return max(1e-9, 1 - harmony) if harmony <= 1 else 1 - harmony


SETTINGS = {
    "settings.seed": "settings.sampling.seed",
    "settings.steps": "settings.sampling.steps",
    "settings.temperature": "settings.sampling.temperature",
    "settings.guidance": "settings.sampling.guidance",
    "settings.clarity": "settings.sampling.internal_guidance",
    "settings.text": "settings.prompt.text",
    "settings.negative_text": "settings.prompt.negative_text",
    "settings.tile": "settings.output.tile",
    "settings.palette": "settings.output.palette",
    "settings.pixel_art": "settings.output.pixel_art",
    "settings.opaque": "settings.output.opaque",
    "settings.passes": "settings.num_shifts",
    "settings.steady": "settings.temporal_smoothing",
    "settings.most": "settings.max_side",
    "settings.harmony": "settings.conditioning_scale",
    "identity": "fingerprint",
    "precision": "dtype",
}

CHANGES: dict[Kind, dict[int, Change]] = {
    Kind.MODEL: {
        1: Change(
            renamed={"redraws_alone": "decoder_only_stylization"},
            added={"attenuation_log10": [0.3, 1.8, 3.6], "own_style_power": 3},
            retired={
                "linear_experts": (False,),
                "prior_look_dim": (0,),
                "prior_delays": ([0.0, 0.0, 0.0, 0.0], [0, 0, 0, 0]),
            },
        )
    },
    Kind.RUN: {
        1: Change(
            renamed={
                "pictures": "data",
                "start_from": "init",
                "init": "finetune",
                "objective.sketch_weight": "objective.linear_skip_weight",
                "objective.mixture_weight": "objective.swap_weight",
                "objective.mixture_start": "objective.stylization_start",
                "objective.twin_weight": "objective.destylized_weight",
                "objective.encoders_until": "objective.freeze_encoders_after",
            },
            retired={
                "linear_start": (False,),
                "measure_minutes": (0.0, 0),
                # 0.2 was the default: a discriminator, which no training has any more.
                "objective.adversarial_weight": (0.2, 0.0, 0),
                "objective.adversarial_start": (0.7,),
            },
        )
    },
    Kind.STATE: {1: Change(renamed={"looks_since": "evaluations_since"})},
    Kind.RECIPE: {1: Change(renamed=SETTINGS, converted={"settings.conditioning_scale": conditioning_scale_of})},
    Kind.STYLE: {1: Change(renamed={"identity": "fingerprint"})},
    Kind.VECTORS: {1: Change(renamed={"identity": "fingerprint"})},
}

TENSORS: dict[int, tuple[tuple[str, str], ...]] = {
    1: (
        (r"decoder\.enter\.", "decoder.latent_in."),
        (r"decoder\.sketches\.", "decoder.linear_skips."),
        (r"decoder\.paint\.", "decoder.image_out."),
        (r"\.offset$", ".scale_shift_table"),
        (r"\.attended\.", ".attn_out."),
        (r"\.contract\.", ".mlp_out."),
        (r"draft_head\.", "intermediate_head."),
        (r"^captions\.", "caption_predictor."),
        # Of training states: the module that learns is named before its tensors.
        (r"^reader\.", "style_predictor."),
        (r"((?:weights|average)\.)look\.", r"\1statistics."),
        (r"((?:weights|average)\.)maker\.", r"\1collection."),
    ),
}
"""For each version, patterns in names of tensors and what replaces them."""
DROPPED: dict[int, str] = {1: r"^judge\."}
"""For each version, tensors and numbers of training states that no part of Impasto reads any more: a discriminator."""


def migrate(kind: Kind | str, values: Mapping[str, Any], version: Any, source: str) -> dict[str, Any]:
    """The ``values`` of a file of this ``version`` with the keys of today.

    ``source`` names the file in errors. Raises ImpastoError for an unknown or newer version, and for a retired key
    whose value cannot be honoured.
    """
    result = dict(values)
    for number in range(check_version(version, source), CURRENT):
        change = CHANGES[Kind(kind)][number]
        for key, accepted in change.retired.items():
            value = _take(result, key)
            if value is not _MISSING and value not in accepted:
                raise ImpastoError(f"{source}: {key} {value} is not supported any more; use Impasto 0.{number}.")
        # All old values leave before the new ones enter: two keys may swap their names.
        moved = {new: _take(result, old) for old, new in change.renamed.items()}
        for key, value in {**change.added, **moved}.items():
            if value is not _MISSING:
                convert = change.converted.get(key)
                _put(result, key, convert(value) if convert is not None else value)
    return result


def migrate_names(values: Mapping[str, V], version: Any, source: str) -> dict[str, V]:
    """Tensors (or numbers of a training state) under the names of today; see `migrate`."""
    result = dict(values)
    for number in range(check_version(version, source), CURRENT):
        kept = {name: value for name, value in result.items() if not re.search(DROPPED[number], name)}
        result = {_renamed(name, TENSORS[number]): value for name, value in kept.items()}
    return result


def check_version(version: Any, source: str) -> int:
    """The version of a format, which headers hold as text. Raises ImpastoError for one that cannot be read."""
    try:
        number = int(version) if not isinstance(version, bool) else 0
    except (TypeError, ValueError):
        number = 0
    if number < 1:
        raise ImpastoError(f"{source} names no format of Impasto.")
    if number > CURRENT:
        raise ImpastoError(f"{source} has format {number}, of a newer Impasto; this one reads up to {CURRENT}.")
    return number


_MISSING = object()


def _take(values: dict[str, Any], key: str) -> Any:
    """Remove ``key`` and return its value; parents are copied, so that the caller's values stay."""
    *parents, last = key.split(".")
    for parent in parents:
        inner = values.get(parent)
        if not isinstance(inner, Mapping):
            return _MISSING
        values[parent] = dict(inner)
        values = values[parent]
    return values.pop(last, _MISSING)


def _put(values: dict[str, Any], key: str, value: Any) -> None:
    *parents, last = key.split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
    values[last] = value


def _renamed(name: str, patterns: tuple[tuple[str, str], ...]) -> str:
    for pattern, replacement in patterns:
        name = re.sub(pattern, replacement, name)
    return name
