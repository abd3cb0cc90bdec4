"""Windows of the prior: one is the prior itself, many agree with it where they see the same."""

import dataclasses

import pytest
import torch

from impasto.config import ModelConfig, Repeat
from impasto.model.decoder import Latents
from impasto.model.gaussian import Gaussian
from impasto.model.prior import PriorFlow
from impasto.model.windows import WindowedFlow, _starts


def maps(config: ModelConfig, rows: int, columns: int, seed: int = 0) -> Latents:
    """Random latents of a picture of so many positions of stride 32."""
    noise = torch.Generator().manual_seed(seed)
    style = torch.randn(2, config.style_dim, generator=noise)
    coarse, middle, fine = (
        torch.randn(2, channels, rows * scale, columns * scale, generator=noise)
        for channels, scale in zip(config.map_channels, (1, 2, 4), strict=True)
    )
    return style, coarse, middle, fine


@pytest.fixture
def prior(tiny: ModelConfig) -> PriorFlow:
    """An untrained prior for pictures of 64 px."""
    return PriorFlow(dataclasses.replace(tiny, resolution=64, prior_width=64, prior_depth=1)).requires_grad_(False)


def test_one_window_is_the_prior(prior: PriorFlow, tiny: ModelConfig) -> None:
    x, time = maps(tiny, 2, 2), torch.tensor([0.3, 0.7])
    fused = tuple(Gaussian.standard(z) for z in x)
    torch.testing.assert_close(WindowedFlow(prior)(x, time, fused), prior(x, time, fused))


def test_a_picture_of_copies_flows_like_one_copy_where_windows_see_no_other(
    prior: PriorFlow, tiny: ModelConfig
) -> None:
    x, time = maps(tiny, 2, 2), torch.tensor([0.3, 0.7])
    both_once = prior(x, time, tuple(Gaussian.standard(z) for z in x))
    wide = (x[0], *(z.repeat(1, 1, 1, 3) for z in x[1:]))
    both_found = WindowedFlow(prior)(wide, time, tuple(Gaussian.standard(z) for z in wide))
    for found, once in zip(both_found, both_once, strict=True):
        assert [z.shape for z in found] == [z.shape for z in wide]
        # Only the first window has the first column of the coarsest map.
        torch.testing.assert_close(found[1][..., 0], once[1][..., 0])


def test_a_repeating_picture_flows_the_same_from_any_corner(prior: PriorFlow, tiny: ModelConfig) -> None:
    x, time = maps(tiny, 2, 3), torch.tensor([0.3, 0.7])
    flow = WindowedFlow(prior, Repeat.X)
    both_here = flow(x, time, tuple(Gaussian.standard(z) for z in x))
    moved = (x[0], *(torch.roll(z, scale, 3) for z, scale in zip(x[1:], (1, 2, 4), strict=True)))
    both_there = flow(moved, time, tuple(Gaussian.standard(z) for z in moved))
    for here, there in zip(both_here, both_there, strict=True):
        for scale, a, b in zip((1, 2, 4), here[1:], there[1:], strict=True):
            torch.testing.assert_close(torch.roll(a, scale, 3), b, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(here[0], there[0], atol=1e-4, rtol=1e-4)


def test_windows_cover_everything() -> None:
    for length in range(1, 12):
        starts = _starts(length, 2, repeats=False)
        assert {p for s in starts for p in range(s, s + 2)} >= set(range(length))
    assert _starts(16, 4, repeats=False) == [0, 3, 6, 9, 12] and _starts(8, 4, repeats=True) == [0, 3, 6]
    assert _starts(5, 4, repeats=False) == [0, 1] and _starts(5, 2, repeats=True) == [0, 1, 2, 3, 4]
