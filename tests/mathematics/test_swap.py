"""Swaps, destylised copies, textures and the affine augmentation."""

import pytest
import torch
import torch.nn.functional as F

from impasto.config import ModelConfig
from impasto.model.autoencoder import NUM_EXPERTS, Autoencoder
from impasto.model.fuser import fuse, stylize
from impasto.model.levels import NUM_LEVELS
from impasto.model.views import VIEW_NAMES
from impasto.objective.augmentation import AffineAugmentation
from impasto.objective.destylize import Destylization
from impasto.objective.swap import DIRECTIONS, SwapSources, colour_error, structure_error, swapped
from impasto.objective.texture import NUM_SLICES, Slices


def test_colours_are_compared_as_distributions_of_what_is_opaque() -> None:
    stats = pytest.importorskip("scipy.stats")
    a, b = torch.rand(2, 2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    small = [F.avg_pool2d(image, 2)[0] for image in (a, b)]
    expected = 0.0
    for direction in F.normalize(torch.tensor(DIRECTIONS).float(), dim=1):
        along = [torch.einsum("c,chw->hw", direction, image[:3]).flatten() for image in small]
        masses = [image[3].flatten() for image in small]
        expected += stats.wasserstein_distance(along[0], along[1], masses[0], masses[1]) / len(DIRECTIONS)
    # Its quantiles are those in the middle of each pixel's mass.
    assert float(colour_error(a, b)[0]) == pytest.approx(expected, rel=0.05)


def test_place_and_size_of_a_shape_do_not_change_its_colours() -> None:
    large, small = torch.ones(2, 1, 4, 16, 16)
    large[:, 3], small[:, 3] = 0.0, 0.0
    large[:, :3, 2:14, 2:14], large[:, 3, 2:14, 2:14] = torch.tensor([0.8, 0.1, 0.1])[:, None, None], 1.0
    small[:, :3, 10:14, 4:8], small[:, 3, 10:14, 4:8] = torch.tensor([0.8, 0.1, 0.1])[:, None, None], 1.0
    assert float(colour_error(large, small)) < 0.01
    blue = small.clone()
    blue[:, :3, 10:14, 4:8] = torch.tensor([0.1, 0.1, 0.8])[:, None, None]
    assert float(colour_error(large, blue)) > 0.2


def test_structure_is_edges_without_colours() -> None:
    stripes = (torch.arange(32) // 8 % 2).float().expand(1, 3, 32, 32)
    assert float(structure_error(stripes, stripes)) == pytest.approx(0, abs=1e-5)
    assert float(structure_error(1 - 0.5 * stripes, stripes)) < 0.05
    assert float(structure_error(stripes.transpose(2, 3), stripes)) > 0.9


def test_sources_are_others_of_the_same_group() -> None:
    swap = SwapSources.draw(64, 8, torch.Generator().manual_seed(0))
    own = torch.arange(64)
    for expert in ("pixel", "texture"):
        assert (swap.of(expert) // 8 == own // 8).all() and (swap.of(expert) != own).all()
    gives_style = swap.of("orientation") != own
    assert 0.3 < gives_style.double().mean() < 0.7
    for expert in VIEW_NAMES:
        assert torch.equal(swap.of(expert)[gives_style], swap.of("pixel")[gives_style])
    assert torch.equal(SwapSources.draw(1, 8, torch.Generator()).sources, torch.zeros(1, NUM_EXPERTS, dtype=torch.long))


def test_a_share_of_a_batch_swaps_the_same_images() -> None:
    swap, every_fourth = SwapSources.draw(16, 8, torch.Generator().manual_seed(0)), slice(0, None, 4)
    whole = swap.rows(slice(0, 16), every_fourth)
    first, second = (swap.rows(slice(n, n + 8), every_fourth) for n in (0, 8))
    assert torch.equal(torch.cat([first.sources, second.sources + 8]), whole.sources)
    cut = swap.rows(slice(0, 4), slice(0, None))
    assert ((cut.sources >= 0) & (cut.sources < 4)).all()


def test_a_swap_with_one_source_is_a_stylization(tiny: ModelConfig) -> None:
    model = Autoencoder(tiny)
    experts = model.experts(torch.rand(4, 4, 32, 32))
    swap = SwapSources(torch.full((2, 1), 0.6), torch.tensor([[3] * NUM_EXPERTS, [1] * NUM_EXPERTS]))
    style = fuse(experts, torch.ones(4, NUM_EXPERTS, NUM_LEVELS)).style[torch.tensor([3, 1])]
    subset = tuple(expert.map(lambda gaussian: gaussian[0::2]) for expert in experts)
    for found, expected in swapped(experts, slice(0, None, 2), swap, tiny).zip(stylize(subset, style, 0.6, tiny)):
        torch.testing.assert_close(found.mean, expected.mean)
        torch.testing.assert_close(found.log_variance, expected.log_variance)


def test_a_destylised_copy_keeps_strong_edges_white_and_alpha() -> None:
    torch.manual_seed(0)
    image = torch.ones(8, 4, 32, 32)
    image[:, 3] = 0
    image[:, :, 8:24, 8:24] = torch.tensor([0.9, 0.2, 0.1, 1.0])[:, None, None]
    image[:, :3, 8:24, 8:24] += 0.02 * torch.randn(8, 3, 16, 16)
    destylization = Destylization.draw(8, torch.Generator().manual_seed(0))
    plain = destylization(image)
    assert plain.shape == image.shape and plain.min() >= 0 and plain.max() <= 1
    torch.testing.assert_close(plain[:, :3, :2], torch.ones(8, 3, 2, 32))
    assert (plain[:, 3, 0, 0] == 0).all() and (plain[:, 3, 15, 15] > 0.98).all()
    inside = slice(13, 19)
    grain = [p[:, 0, inside, inside].flatten(1).std(1) for p in (image, plain)]
    assert (grain[1] < 0.5 * grain[0]).all()
    colours = plain[:, :3, 15, 15]
    assert (colours[1:] - colours[:-1]).abs().amax(1).min() > 0.01, "each has other colours"
    assert (1 - plain[:, 1, 15, 4:12].min(1).values > 0.3).all(), "the edge is there"
    torch.testing.assert_close(destylization[2:4](image[2:4]), plain[2:4])


def test_the_augmentation_is_the_same_for_two_images_of_a_row() -> None:
    image = torch.rand(8, 4, 32, 32, requires_grad=True)
    augment = AffineAugmentation.draw(8, torch.Generator().manual_seed(0), torch.device("cpu"))
    seen = augment(image)
    assert seen.shape == image.shape and ((seen >= 0) & (seen <= 1)).all()
    torch.testing.assert_close(augment(0.5 * image), 0.5 * seen)
    torch.testing.assert_close(augment[2:4](image[2:4]), seen[2:4])
    (gradient,) = torch.autograd.grad(seen.sum(), image)
    assert (gradient.flatten(1).norm(dim=1) > 0).all()
    ramp = torch.linspace(0, 1, 32).expand(8, 3, 32, 32)
    steps = augment(ramp).diff(dim=3)[:, 0, 16, 12:20].mean(1) * 31
    assert (steps.abs() > 0.7).all() and (steps.abs() < 1.1).all(), "nearer, or a little further"
    assert len(set(steps.sign().tolist())) == 2, "some are mirrored"


def test_textures_are_compared_as_distributions_of_features() -> None:
    stats = pytest.importorskip("scipy.stats")
    generator = torch.Generator().manual_seed(0)
    slices = Slices.draw((3, 5), generator, torch.device("cpu"))
    a, b = ([torch.rand(2, n, side, side, generator=generator) for n, side in ((3, 8), (5, 4))] for _ in range(2))
    scale = [torch.full((3,), 0.5), torch.ones(5)]
    expected = 0.0
    for first, second, directions, unit in zip(a, b, slices.directions, scale, strict=True):
        for direction in directions / unit:
            along = (torch.einsum("c,chw->hw", direction, maps[1]).flatten() for maps in (first, second))
            expected += stats.wasserstein_distance(*along) / NUM_SLICES / 2
    assert float(slices.error(a, b, scale)[1]) == pytest.approx(expected, rel=1e-4)
    moved = [maps.flip(3).roll(1, 2) for maps in a]
    assert slices.error(moved, a, scale).max() < 1e-6, "where a feature is seen does not matter"


def test_spikes_do_not_make_a_texture() -> None:
    """Means and deviations of both are the same, and would say that they look alike."""
    slices = Slices.draw((1,), torch.Generator().manual_seed(0), torch.device("cpu"))
    spikes = torch.zeros(1, 1, 16, 16)
    spikes[..., ::8, ::8] = 1
    grain = torch.randn(1, 1, 16, 16)
    grain = (grain - grain.mean()) / grain.std(correction=0) * spikes.std(correction=0) + spikes.mean()
    unit = [spikes.std(correction=0)[None]]
    assert float(slices.error([spikes], [grain], unit)) > 0.5
