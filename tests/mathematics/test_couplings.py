"""Couplings: which style and content the prior is conditioned on in training, and with which weights."""

import numpy as np
import torch

from impasto.config import CouplingConfig
from impasto.model.autoencoder import NUM_EXPERTS
from impasto.model.gaussian import Gaussian
from impasto.model.levels import NUM_LEVELS, Levels
from impasto.objective.couplings import MAX_REFERENCES, Coupler, Coupling
from impasto.training.prior_stage import LatentCache

COLLECTIONS = np.array([0, 0, 0, 0, 1, 1, 1, 1, 2])
KEYS = np.array([0, 1, 2, -1, 0, 1, -1, -1, 0])


def draw(**settings: float) -> tuple[np.ndarray, Coupling]:
    """Many rows of couplings of nine images."""
    images = np.tile(np.arange(9), 200)
    coupler = Coupler(COLLECTIONS, KEYS, CouplingConfig(**settings))
    return images, coupler.draw(images, np.random.default_rng(0))


def test_every_expert_has_a_whole_style_or_none() -> None:
    images, coupling = draw()
    totals = coupling.style_weights.sum(1)
    assert np.all(np.isclose(totals, 1, atol=1e-5) | (totals == 0))
    assert (coupling.style[:, -1] == images).all()
    assert (COLLECTIONS[coupling.style] == COLLECTIONS[images][:, None]).all()
    assert 0.08 < (totals.sum(1) == 0).mean() < 0.15


def test_mixed_styles_have_a_source_for_each_expert() -> None:
    _, coupling = draw(style_per_expert=0.0, own_style=0.0, no_style=0.0)
    assert np.ptp(coupling.style_weights, axis=2).max() == 0  # all experts have the same images
    assert (coupling.style_weights[:, -1] == 0).all()
    _, coupling = draw(style_per_expert=1.0, own_style=0.0, no_style=0.0)
    own = coupling.style_weights[:, -1]
    assert np.abs(own.mean(0) - 1 / 3).max() < 0.05
    assert np.abs((coupling.style_weights.sum(1) == 0).mean(0) - 1 / 3).max() < 0.05


def test_content_may_be_another_collections_image_of_the_same_key() -> None:
    images, coupling = draw(parallel_content=1.0)
    other = coupling.content != images
    assert (KEYS[coupling.content] == KEYS[images])[other].all()
    assert (COLLECTIONS[coupling.content] != COLLECTIONS[images])[other].all()
    parallel = (KEYS[images] >= 0) & (KEYS[images] != 2)  # no other collection has key 2
    assert (other == parallel).all()
    assert coupling.weights.shape == (len(images), NUM_EXPERTS, NUM_LEVELS)
    assert (coupling.weights[:, :, 0] == 0).all()


def test_the_coupled_style_is_the_pool_of_the_references_fused_styles() -> None:
    torch.manual_seed(0)
    shapes = Levels((8,), ((4, 1, 1), (4, 2, 2), (2, 4, 4)))
    cache = LatentCache.__new__(LatentCache)
    cache.experts = shapes.map(lambda shape: torch.randn(9, NUM_EXPERTS, 2, *shape))
    _, coupling = draw(style_per_expert=0.0, no_style=0.0)
    posterior = cache.coupled(coupling, slice(0, 50), torch.device("cpu"))
    experts = [Gaussian.unstack(cache.experts.style[:, expert]) for expert in range(NUM_EXPERTS)]
    fused = Gaussian.product(experts, [torch.ones(9)] * NUM_EXPERTS)
    weights = torch.zeros(50, 9)
    for row in range(50):
        for place in range(MAX_REFERENCES + 1):
            weights[row, coupling.style[row, place]] += float(coupling.style_weights[row, place, 0])
    expected = fused.pool(weights)
    torch.testing.assert_close(posterior.style.mean, expected.mean, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(posterior.style.log_variance, expected.log_variance, atol=1e-5, rtol=1e-4)
    assert posterior.map(lambda gaussian: tuple(gaussian.mean.shape[1:])) == shapes
