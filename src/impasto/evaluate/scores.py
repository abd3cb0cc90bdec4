"""Scores: measured numbers with confidence intervals and reference values."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import torch
from jaxtyping import Bool, Float
from torch import Tensor

NORMAL_95 = 1.96
OF_COLLECTION = " of "
"""Separates the name of a score and the collection, in scores of single collections."""


class Best(StrEnum):
    """Which values of a score are best."""

    HIGH = "high"
    LOW = "low"
    NEAR = "near its references"


@dataclass(frozen=True)
class Score:
    """A measured number."""

    name: str
    """The quantity and its unit, as in ``psnr_db``."""
    value: float
    best: Best
    count: int
    """Number of images (or pairs of images) in the measurement."""
    interval: tuple[float, float] | None = None
    """The 95 % confidence interval, approximately."""
    references: Mapping[str, float] = field(default_factory=dict)
    """The same quantity for known images: real images, the image itself, another drawing."""

    def record(self) -> dict[str, object]:
        """The value of its entry in the JSON report; the key is the name."""
        record = dataclasses.asdict(self)
        del record["name"]
        return record


@dataclass(frozen=True)
class Unmeasured:
    """A quantity that could not be measured, with the reason."""

    name: str
    reason: str

    def record(self) -> dict[str, object]:
        """The value of its entry in the JSON report; the key is the name."""
        return {"value": None, "reason": self.reason}


Measured = Score | Unmeasured
"""The result of a measurement."""


def average(
    name: str, values: Float[Tensor, " item"], best: Best, references: Mapping[str, float] | None = None
) -> Measured:
    """The mean of one value per image, with an interval of 1.96 standard errors on both sides."""
    if len(values) == 0:
        return Unmeasured(name, "there are no images for it")
    mean = float(values.double().mean())
    interval = None
    if len(values) > 1:
        interval = normal_interval(mean, float(values.double().std()) / math.sqrt(len(values)))
    return Score(name, mean, best, len(values), interval, references or {})


def proportion(
    name: str, hits: Bool[Tensor, " item"], best: Best, references: Mapping[str, float] | None = None
) -> Measured:
    """The proportion of ``hits``, with Wilson's score interval (1927)."""
    if len(hits) == 0:
        return Unmeasured(name, "there are no images for it")
    count, p, z = len(hits), float(hits.double().mean()), NORMAL_95
    centre = (p + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(p * (1 - p) / count + z * z / (4 * count * count))
    return Score(name, p, best, count, (max(0.0, centre - half), min(1.0, centre + half)), references or {})


def normal_interval(value: float, standard_error: float) -> tuple[float, float]:
    """The interval of 1.96 standard errors on both sides of ``value``."""
    return value - NORMAL_95 * standard_error, value + NORMAL_95 * standard_error


def jackknife_error(estimates: Float[Tensor, " group"]) -> float:
    """The standard error, from ``estimates`` that each leave out one of equal groups (jackknife, Tukey 1958)."""
    groups = len(estimates)
    deviations = estimates.double() - estimates.double().mean()
    return math.sqrt((groups - 1) / groups * float(deviations.square().sum()))


def random_groups(count: int, groups: int, seed: int) -> list[Tensor]:
    """The indices 0 to ``count`` - 1, shuffled and split into groups of almost equal size."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    return list(order.tensor_split(groups))
