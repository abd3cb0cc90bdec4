"""Migration of file formats: from every version that Impasto has written to the current one.

A file holds the version of its format. On reading, the changes from that version to `CURRENT` are applied one after the
other: keys are renamed or moved, values are converted, and retired keys are accepted only with the values that had no
effect. Dots denote nesting: ``settings.sampling.steps`` is ``values["settings"]["sampling"]["steps"]``.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

from impasto.errors import ImpastoError

V = TypeVar("V")

CURRENT = 2
"""Version of all formats that this version of Impasto writes."""


class Kind(StrEnum):
    """The content of a file."""

    MODEL = "model"
    """Config in the header of a model file."""
    RUN = "run"
    """config.json of a run folder."""
    STATE = "state"
    """Numbers in the header of a training state."""
    RECIPE = "recipe"
    """Recipe in an image or a clip."""
    STYLE = "style"
    """Header of a style file."""
    VECTORS = "vectors"
    """Header of a file of latents."""


@dataclass(frozen=True)
class Change:
    """The change from one version of a format to the next."""

    renamed: Mapping[str, str] = field(default_factory=dict)
    """Old key to new key."""
    converted: Mapping[str, Callable[[Any], Any]] = field(default_factory=dict)
    """New key to the function that converts its value."""
    retired: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    """Old key to the values with which it is dropped; any other value is an error."""
    added: Mapping[str, Any] = field(default_factory=dict)
    """New key to its value in files of the old version."""


def conditioning_scale_of(harmony: Any) -> Any:
    """``1 - harmony``, but above 0 for a harmony of 1, which still gave the sources the minimum weight."""
    if not isinstance(harmony, int | float) or isinstance(harmony, bool):
        return harmony  # the check of the settings reports the wrong type
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
                # The weight of a discriminator, 0.2 by default. Training has none any more.
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
        # In training states: names of modules, followed by those of their tensors.
        (r"^reader\.", "style_predictor."),
        (r"((?:weights|average)\.)look\.", r"\1statistics."),
        (r"((?:weights|average)\.)maker\.", r"\1collection."),
    ),
}
"""For each version, patterns in the names of tensors, and their replacements."""
DROPPED: dict[int, str] = {1: r"^judge\."}
"""For each version, the tensors and numbers of training states that are dropped: those of a discriminator."""


def migrate(kind: Kind | str, values: Mapping[str, Any], version: Any, source: str) -> dict[str, Any]:
    """Migrate the ``values`` of a file with this ``version`` to the current keys.

    ``source`` names the file in errors. Raises ImpastoError for an unknown or newer version, and for a retired key with
    a value that had an effect.
    """
    result = dict(values)
    for number in range(check_version(version, source), CURRENT):
        change = CHANGES[Kind(kind)][number]
        for key, accepted in change.retired.items():
            value = _take(result, key)
            if value is not _MISSING and value not in accepted:
                raise ImpastoError(f"{source}: {key} {value} is not supported any more; use Impasto 0.{number}.")
        # All old keys are removed before new ones are added: a new key may have the name of another old one.
        moved = {new: _take(result, old) for old, new in change.renamed.items()}
        for key, value in {**change.added, **moved}.items():
            if value is not _MISSING:
                convert = change.converted.get(key)
                _put(result, key, convert(value) if convert is not None else value, source)
    return result


def migrate_names(values: Mapping[str, V], version: Any, source: str) -> dict[str, V]:
    """Migrate the names of tensors, or of the numbers of a training state; see `migrate`."""
    result = dict(values)
    for number in range(check_version(version, source), CURRENT):
        result = {
            _renamed(name, TENSORS[number]): value
            for name, value in result.items()
            if not re.search(DROPPED[number], name)
        }
    return result


def check_version(version: Any, source: str) -> int:
    """The version of a format as a number; headers hold it as text. Raises ImpastoError if it is unknown or newer."""
    try:
        number = int(version) if isinstance(version, int | str) and not isinstance(version, bool) else 0
    except ValueError:
        number = 0
    if number < 1:
        raise ImpastoError(f"{source} names no format of Impasto.")
    if number > CURRENT:
        raise ImpastoError(
            f"{source} has format {number} of a newer Impasto; this version reads formats up to {CURRENT}."
        )
    return number


_MISSING = object()


def _take(values: dict[str, Any], key: str) -> Any:
    """Remove ``key`` and return its value. Nested dictionaries are copied: those of the caller do not change."""
    *parents, last = key.split(".")
    for parent in parents:
        inner = values.get(parent)
        if not isinstance(inner, Mapping):
            return _MISSING
        values[parent] = dict(inner)
        values = values[parent]
    return values.pop(last, _MISSING)


def _put(values: dict[str, Any], key: str, value: Any, source: str) -> None:
    *parents, last = key.split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
        if not isinstance(values, dict):
            raise ImpastoError(f"{source}: {parent}: {values!r} is not a JSON object.")
    values[last] = value


def _renamed(name: str, patterns: tuple[tuple[str, str], ...]) -> str:
    for pattern, replacement in patterns:
        name = re.sub(pattern, replacement, name)
    return name
