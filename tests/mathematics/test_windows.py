"""Windows of the prior: one is the prior itself, many agree with it on equal content."""

import dataclasses

import pytest
import torch

from impasto.config import ModelConfig, Repeat
from impasto.model.decoder import Latents
from impasto.model.gaussian import Gaussian
from impasto.model.levels import Levels
from impasto.model.prior import Condition, PriorFlow
from impasto.model.windows import WindowedFlow, _starts


def maps(config: ModelConfig, rows: int, columns: int, seed: int = 0) -> Latents:
    """Random latents of an image of so many positions of stride 32."""
    noise = torch.Generator().manual_seed(seed)
    style = torch.randn(2, config.style_dim, generator=noise)
    scales = tuple(
        torch.randn(2, channels, rows * scale, columns * scale, generator=noise)
        for channels, scale in zip(config.map_channels, (1, 2, 4), strict=True)
    )
    return Levels(style, scales)


def standard(x: Latents) -> Condition:
    """Nothing known of latents of these shapes."""
    return Condition(x.map(Gaussian.standard))


@pytest.fixture
def prior(tiny: ModelConfig) -> PriorFlow:
    """An untrained prior for images of 64 px."""
    return PriorFlow(dataclasses.replace(tiny, resolution=64, prior_width=64, prior_depth=1)).requires_grad_(False)


def test_one_window_is_the_prior(prior: PriorFlow, tiny: ModelConfig) -> None:
    x, time = maps(tiny, 2, 2), torch.tensor([0.3, 0.7])
    windowed, whole = WindowedFlow(prior)(x, time, standard(x)), prior(x, time, standard(x))
    for a, b in zip(windowed, whole, strict=True):
        torch.testing.assert_close(list(a), list(b))


def test_an_image_of_copies_flows_like_one_copy_where_windows_see_no_other(prior: PriorFlow, tiny: ModelConfig) -> None:
    x, time = maps(tiny, 2, 2), torch.tensor([0.3, 0.7])
    both_once = prior(x, time, standard(x))
    wide = Levels(x.style, tuple(z.repeat(1, 1, 1, 3) for z in x.maps))
    both_found = WindowedFlow(prior)(wide, time, standard(wide))
    for found, once in zip(both_found, both_once, strict=True):
        assert [z.shape for z in found] == [z.shape for z in wide]
        # Only the first window has the first column of the coarsest map.
        torch.testing.assert_close(found.maps[0][..., 0], once.maps[0][..., 0])


def test_a_repeating_image_flows_the_same_from_any_corner(prior: PriorFlow, tiny: ModelConfig) -> None:
    x, time = maps(tiny, 2, 3), torch.tensor([0.3, 0.7])
    flow = WindowedFlow(prior, Repeat.X)
    both_here = flow(x, time, standard(x))
    moved = Levels(x.style, tuple(torch.roll(z, scale, 3) for z, scale in zip(x.maps, (1, 2, 4), strict=True)))
    both_there = flow(moved, time, standard(moved))
    for here, there in zip(both_here, both_there, strict=True):
        for scale, a, b in zip((1, 2, 4), here.maps, there.maps, strict=True):
            torch.testing.assert_close(torch.roll(a, scale, 3), b, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(here.style, there.style, atol=1e-4, rtol=1e-4)


def test_windows_cover_everything() -> None:
    for length in range(1, 12):
        starts = _starts(length, 2, wraps=False)
        assert {p for s in starts for p in range(s, s + 2)} >= set(range(length))
    assert _starts(16, 4, wraps=False) == [0, 3, 6, 9, 12] and _starts(8, 4, wraps=True) == [0, 3, 6]
    assert _starts(5, 4, wraps=False) == [0, 1] and _starts(5, 2, wraps=True) == [0, 1, 2, 3, 4]
