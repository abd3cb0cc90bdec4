"""A number that says how good something is, never alone: beside it its interval and what it must be compared with."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import torch
from jaxtyping import Bool, Float
from torch import Tensor

NORMAL_95 = 1.96
OF_A_COLLECTION = " of "
"""Stands between name and collection of a score that every collection has."""


class Best(StrEnum):
    """Which values of a score are good."""

    HIGH = "high"
    LOW = "low"
    NEAR = "near its references"


@dataclass(frozen=True)
class Score:
    """One measured number."""

    name: str
    """What it is and its unit, as ``psnr_db``."""
    value: float
    best: Best
    count: int
    """Images (or pairs of images) that it was measured on."""
    interval: tuple[float, float] | None = None
    """About where 95 of 100 repetitions with other images would lie."""
    references: Mapping[str, float] = field(default_factory=dict)
    """The same number for something known: real images, the image itself, another drawing."""

    def record(self) -> dict[str, object]:
        """What it is in JSON, under its name."""
        record = dataclasses.asdict(self)
        del record["name"]
        return record


@dataclass(frozen=True)
class Unmeasured:
    """A number that could not be had."""

    name: str
    reason: str

    def record(self) -> dict[str, object]:
        """What it is in JSON, under its name."""
        return {"value": None, "reason": self.reason}


Measured = Score | Unmeasured
"""What comes of trying to measure."""


def average(
    name: str, values: Float[Tensor, " item"], best: Best, references: Mapping[str, float] | None = None
) -> Measured:
    """The mean of one value per image; its interval is 1.96 standard errors to either side."""
    if len(values) == 0:
        return Unmeasured(name, "no image to measure on")
    mean = float(values.double().mean())
    interval = None
    if len(values) > 1:
        interval = around(mean, float(values.double().std()) / math.sqrt(len(values)))
    return Score(name, mean, best, len(values), interval, references or {})


def share(
    name: str, hits: Bool[Tensor, " item"], best: Best, references: Mapping[str, float] | None = None
) -> Measured:
    """The part of images of which something is true, with Wilson's interval (1927)."""
    if len(hits) == 0:
        return Unmeasured(name, "no image to measure on")
    count, part, z = len(hits), float(hits.double().mean()), NORMAL_95
    centre = (part + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(part * (1 - part) / count + z * z / (4 * count * count))
    return Score(name, part, best, count, (max(0.0, centre - half), min(1.0, centre + half)), references or {})


def around(value: float, standard_error: float) -> tuple[float, float]:
    """The interval of 1.96 standard errors to either side of ``value``."""
    return value - NORMAL_95 * standard_error, value + NORMAL_95 * standard_error


def jackknife_error(left_out: Float[Tensor, " group"]) -> float:
    """Standard error, from the same number measured with one of the equal groups left out each time (Tukey 1958)."""
    groups = len(left_out)
    deviations = left_out.double() - left_out.double().mean()
    return math.sqrt((groups - 1) / groups * float(deviations.square().sum()))


def groups_of(count: int, groups: int, seed: int) -> list[Tensor]:
    """Indices 0 to ``count`` shuffled and cut into groups of nearly equal size."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    return list(order.tensor_split(groups))
