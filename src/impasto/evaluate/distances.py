"""How far two sets of images are apart: distances between their features as samples of two distributions."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from impasto.evaluate.scores import around, groups_of, jackknife_error

Features = Float[Tensor, "_image feature"]
JACKKNIFE_GROUPS = 5
SUBSETS = 100


class _Given(nn.Module):
    """Lets torchmetrics work on features that are there already."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, features: Features) -> Features:
        """The features themselves."""
        return features


@dataclass(frozen=True)
class Estimate:
    """A distance and its interval of about 95 %."""

    value: float
    interval: tuple[float, float]


def frechet_distance(real: Features, made: Features) -> float:
    """|| mean_r - mean_m ||^2 + tr(C_r + C_m - 2 (C_r C_m)^(1/2)) (Dowson & Landau 1982; Heusel 2017).

    With n images the estimate is too high by about a constant / n: compare equal numbers only. On other features
    than Inception's it cannot be compared with published FID.
    """
    from torchmetrics.image.fid import FrechetInceptionDistance

    metric = FrechetInceptionDistance(feature=_Given(real.shape[1]), normalize=True)
    metric.update(real, real=True)
    metric.update(made, real=False)
    return float(metric.compute())


def frechet_estimate(real: Features, made: Features, seed: int = 0) -> Estimate:
    """`frechet_distance` and an interval, from the same with a fifth of ``made`` left out each time."""
    value = frechet_distance(real, made)
    groups = groups_of(len(made), JACKKNIFE_GROUPS, seed)
    kept = [torch.cat([g for g in groups if g is not left_out]) for left_out in groups]
    left_out = torch.tensor(_frechet_distances(real, [made[rows] for rows in kept]))
    return Estimate(value, around(value, jackknife_error(left_out)))


def _frechet_distances(real: Features, sets: Sequence[Features]) -> list[float]:
    """`frechet_distance` to several sets, in a tenth of the time: C_r^(1/2) C_m C_r^(1/2), which is symmetric, has the
    eigenvalues of C_r C_m."""
    real = real.double()
    covariance = torch.cov(real.T)
    values, vectors = torch.linalg.eigh(covariance)
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    found = []
    for made in sets:
        other = torch.cov(made.double().T)
        overlap = torch.linalg.eigvalsh(root @ other @ root).clamp(min=0).sqrt().sum()
        apart = (real.mean(0) - made.double().mean(0)).square().sum()
        found.append(float(apart + covariance.trace() + other.trace() - 2 * overlap))
    return found


def kernel_distance(real: Features, made: Features, seed: int = 0) -> float:
    """The unbiased squared maximum mean discrepancy with a cubic kernel (Binkowski 2018, "KID")."""
    return _kernel_distances(real, made, seed, subsets=1, size=min(len(real), len(made)))[0]


def kernel_estimate(real: Features, made: Features, seed: int = 0) -> Estimate:
    """`kernel_distance` and an interval, from many random halves: their spread, shrunk to the whole size (Politis &
    Romano 1994)."""
    value = kernel_distance(real, made, seed)
    _, deviation = _kernel_distances(real, made, seed, subsets=SUBSETS, size=min(len(real), len(made)) // 2)
    return Estimate(value, around(value, deviation * math.sqrt(0.5)))


def _kernel_distances(real: Features, made: Features, seed: int, *, subsets: int, size: int) -> tuple[float, float]:
    """Mean and deviation over random subsets."""
    from torchmetrics.image.kid import KernelInceptionDistance

    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Metric `Kernel Inception Distance` will save all")
        torch.manual_seed(seed)
        metric = KernelInceptionDistance(
            feature=_Given(real.shape[1]), subsets=subsets, subset_size=size, normalize=True
        )
        metric.update(real, real=True)
        metric.update(made, real=False)
        mean, deviation = metric.compute()
    return float(mean), float(deviation)


def precision_and_recall(real: Features, made: Features, neighbours: int = 3, seed: int = 0) -> tuple[float, float]:
    """Part of ``made`` near real images, and part of ``real`` near made ones (Kynkaanniemi 2019).

    Near: within the distance from some image of the other set to its own third-nearest neighbour. Sets of different
    sizes do not compare: of the larger, as many as the smaller has are drawn.
    """
    smaller = min(len(real), len(made))
    real, made = (f[groups_of(len(f), 1, seed)[0][:smaller]].double() for f in (real, made))
    between = torch.cdist(made, real)
    real_radius = _radius(real, neighbours)
    made_radius = _radius(made, neighbours)
    precision = (between <= real_radius[None]).any(1).double().mean()
    recall = (between <= made_radius[:, None]).any(0).double().mean()
    return float(precision), float(recall)


def sliced_wasserstein_distance(real: Features, made: Features, projections: int = 128, seed: int = 0) -> float:
    """Earth mover's distance along random directions, averaged (Rabin 2012): defined however few images there are."""
    from scipy.stats import wasserstein_distance

    directions = torch.randn(real.shape[1], projections, generator=torch.Generator().manual_seed(seed))
    directions = directions / directions.norm(dim=0)
    a, b = (real @ directions).numpy(), (made @ directions).numpy()
    return float(np.mean([wasserstein_distance(a[:, i], b[:, i]) for i in range(projections)]))


def _radius(features: Features, neighbours: int) -> Float[Tensor, " image"]:
    # The nearest of all is the image itself.
    return torch.cdist(features, features).kthvalue(neighbours + 1, 1).values
