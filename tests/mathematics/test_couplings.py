"""What the prior is told while it learns: whose style, whose content, and how sure."""

import numpy as np
import torch

from impasto.model.autoencoder import NUM_EXPERTS, NUM_LEVELS
from impasto.model.fuser import fuse_level, pool
from impasto.model.gaussian import Gaussian
from impasto.objective.couplings import MAX_REFERENCES, Coupler, Coupling, CouplingConfig
from impasto.training.prior_stage import LatentCache

COLLECTIONS = np.array([0, 0, 0, 0, 1, 1, 1, 1, 2])
KEYS = np.array([0, 1, 2, -1, 0, 1, -1, -1, 0])


def draw(**settings: float) -> tuple[np.ndarray, Coupling]:
    """Many rows of couplings of nine pictures."""
    pictures = np.tile(np.arange(9), 200)
    coupler = Coupler(COLLECTIONS, KEYS, CouplingConfig(**settings))
    return pictures, coupler.draw(pictures, np.random.default_rng(0))


def test_every_expert_tells_a_whole_style_or_none() -> None:
    pictures, coupling = draw()
    told = coupling.style_weights.sum(1)
    assert np.all(np.isclose(told, 1, atol=1e-5) | (told == 0))
    assert (coupling.style[:, -1] == pictures).all()
    assert (COLLECTIONS[coupling.style] == COLLECTIONS[pictures][:, None]).all()
    assert 0.08 < (told.sum(1) == 0).mean() < 0.15


def test_mixed_styles_have_a_source_for_each_expert() -> None:
    _, coupling = draw(mixed_style=0.0, own_style=0.0, no_style=0.0)
    assert np.ptp(coupling.style_weights, axis=2).max() == 0  # all experts tell of the same pictures
    assert (coupling.style_weights[:, -1] == 0).all()
    _, coupling = draw(mixed_style=1.0, own_style=0.0, no_style=0.0)
    own = coupling.style_weights[:, -1]
    assert np.abs(own.mean(0) - 1 / 3).max() < 0.05
    assert np.abs((coupling.style_weights.sum(1) == 0).mean(0) - 1 / 3).max() < 0.05


def test_told_content_may_be_another_makers_drawing_of_the_same() -> None:
    pictures, coupling = draw(parallel_content=1.0)
    other = coupling.content != pictures
    assert (KEYS[coupling.content] == KEYS[pictures])[other].all()
    assert (COLLECTIONS[coupling.content] != COLLECTIONS[pictures])[other].all()
    parallel = (KEYS[pictures] >= 0) & (KEYS[pictures] != 2)  # nobody else has drawn number 2
    assert (other == parallel).all()
    assert coupling.weights.shape == (len(pictures), NUM_EXPERTS, NUM_LEVELS)
    assert (coupling.weights[:, :, 0] == 0).all()


def test_the_told_style_is_the_pool_of_the_references_fused_styles() -> None:
    torch.manual_seed(0)
    shapes = [(8,), (4, 1, 1), (4, 2, 2), (2, 4, 4)]
    cache = LatentCache.__new__(LatentCache)
    cache.said = [torch.randn(9, NUM_EXPERTS, 2, *shape) for shape in shapes]
    _, coupling = draw(mixed_style=0.0, no_style=0.0)
    told = cache.told(coupling, slice(0, 50), torch.device("cpu"))
    experts = [Gaussian(*cache.said[0][:, expert].unbind(1)) for expert in range(NUM_EXPERTS)]
    fused = fuse_level(experts, [torch.ones(9)] * NUM_EXPERTS)
    weights = torch.zeros(50, 9)
    for row in range(50):
        for place in range(MAX_REFERENCES + 1):
            weights[row, coupling.style[row, place]] += float(coupling.style_weights[row, place, 0])
    expected = pool(fused, weights)
    torch.testing.assert_close(told[0].mean, expected.mean, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(told[0].log_variance, expected.log_variance, atol=1e-5, rtol=1e-4)
    assert [tuple(level.mean.shape[1:]) for level in told] == shapes
