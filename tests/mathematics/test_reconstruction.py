"""The reconstruction loss against closed forms."""

import pytest
import torch

from impasto.evaluate.reconstruction import peak_signal_to_noise
from impasto.objective.reconstruction import SCALE_WEIGHTS, SOFTNESS, charbonnier, reconstruction_loss


def test_charbonnier_is_quadratic_near_zero_and_linear_far_away() -> None:
    small, large = torch.full((1, 3, 4, 4), 1e-3), torch.full((1, 3, 4, 4), 10.0)
    assert float(charbonnier(small)) == pytest.approx(1e-6 / (2 * SOFTNESS), rel=1e-2)
    assert float(charbonnier(large)) == pytest.approx(10 - SOFTNESS, rel=1e-3)
    assert float(charbonnier(torch.zeros(1, 3, 4, 4))) == 0


def test_a_constant_difference_counts_alike_at_every_scale() -> None:
    image = torch.rand(2, 4, 16, 16)
    loss = reconstruction_loss(image + 0.2, image)
    torch.testing.assert_close(loss, sum(SCALE_WEIGHTS) * charbonnier(torch.full((2, 4, 16, 16), 0.2)))


def test_noise_counts_less_at_coarse_scales() -> None:
    image, noise = torch.full((1, 3, 32, 32), 0.5), 0.2 * torch.randn(1, 3, 32, 32)
    assert float(reconstruction_loss(image + noise, image)) < sum(SCALE_WEIGHTS) * float(charbonnier(noise))


def test_psnr_of_a_known_error() -> None:
    image = torch.rand(2, 4, 8, 8) * 0.5
    other = image.clone()
    other[:, :3] += 0.1
    other[:, 3] += 0.4  # alpha does not count
    torch.testing.assert_close(peak_signal_to_noise(other, image), torch.full((2,), 20.0), atol=1e-3, rtol=0)
    assert peak_signal_to_noise(image, image).tolist() == pytest.approx([100.0, 100.0])
