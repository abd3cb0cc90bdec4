"""The encoder's statistics against autograd."""

import pytest
import torch

from impasto.model.encoder import mean_and_deviation, moments


def plain_moments(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The same, differentiated by autograd."""
    x = x.float()
    return x.mean((2, 3)), x.square().mean((2, 3))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.bfloat16, 1e-2)])
def test_moments_and_their_gradients_are_those_of_autograd(dtype: torch.dtype, tolerance: float) -> None:
    x = torch.randn(2, 3, 8, 4).add(0.5).to(dtype).contiguous(memory_format=torch.channels_last).requires_grad_()
    results = [function(x) for function in (moments, plain_moments)]
    torch.testing.assert_close(*results)
    weights = torch.randn(2, 6)
    gradients = [torch.autograd.grad((weights * mean_and_deviation(*result)).sum(), x)[0] for result in results]
    torch.testing.assert_close(*gradients, atol=tolerance * float(gradients[1].abs().max()), rtol=tolerance)
    assert gradients[0].dtype == dtype
    assert gradients[0].is_contiguous(memory_format=torch.channels_last)


def test_moments_of_which_one_is_used_have_a_gradient() -> None:
    x = torch.randn(2, 3, 4, 4, requires_grad=True)
    (gradient,) = torch.autograd.grad(moments(x)[1].sum(), x)
    torch.testing.assert_close(gradient, x.detach() / 8)
