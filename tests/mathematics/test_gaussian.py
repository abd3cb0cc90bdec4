"""Gaussians and the fuser against closed forms, in float64."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import Normal, kl_divergence

from impasto.model.gaussian import Gaussian


def gaussian(*shape: int, seed: int = 0) -> Gaussian:
    generator = torch.Generator().manual_seed(seed)
    mean, log_variance = torch.randn(2, *shape, generator=generator, dtype=torch.float64)
    return Gaussian(mean, log_variance)


@given(st.integers(0, 10_000))
def test_kl_is_the_closed_form_and_never_negative(seed: int) -> None:
    a, b = gaussian(3, 5, seed=seed), gaussian(3, 5, seed=seed + 1)
    ours = a.kl(b)
    reference = kl_divergence(Normal(a.mean, a.standard_deviation), Normal(b.mean, b.standard_deviation)).sum(1)
    torch.testing.assert_close(ours, reference)
    assert (ours >= 0).all()
    torch.testing.assert_close(a.kl(), a.kl(Gaussian.standard(a.mean)))
    torch.testing.assert_close(a.kl(a), torch.zeros(3, dtype=torch.float64))


def test_samples_have_the_stated_mean_and_deviation() -> None:
    one = Gaussian(torch.tensor([[2.0, -1.0]]), torch.tensor([[0.0, 1.4]]))
    many = Gaussian(one.mean.expand(200_000, 2), one.log_variance.expand(200_000, 2))
    samples = many.sample(torch.randn(200_000, 2))
    torch.testing.assert_close(samples.mean(0), one.mean[0], atol=0.02, rtol=0)
    torch.testing.assert_close(samples.std(0), one.standard_deviation[0], atol=0.02, rtol=0)
    torch.testing.assert_close(many.sample(torch.randn(200_000, 2), temperature=0.0), many.mean)


def test_product_is_the_product_of_densities() -> None:
    experts = [gaussian(2, 3, seed=s) for s in range(3)]
    weights = [torch.tensor([1.0, 0.3], dtype=torch.float64) * (s + 1) / 3 for s in range(3)]
    fused = Gaussian.product(experts, weights)
    x = torch.linspace(-3, 3, 7, dtype=torch.float64)[:, None, None]
    log_product = Normal(0, 1).log_prob(x).expand(7, 2, 3).clone()
    for expert, weight in zip(experts, weights, strict=True):
        log_product += weight[:, None] * Normal(expert.mean, expert.standard_deviation).log_prob(x)
    log_fused = Normal(fused.mean, fused.standard_deviation).log_prob(x)
    difference = log_fused - log_product  # the normalising constant alone
    torch.testing.assert_close(difference, difference[:1].expand_as(difference))


def test_experts_of_weight_zero_leave_the_prior() -> None:
    fused = Gaussian.product([gaussian(2, 3)], [torch.zeros(2, dtype=torch.float64)])
    assert (fused.mean == 0).all()
    assert (fused.log_variance == 0).all()


def test_a_product_is_more_precise_and_lies_between_its_experts() -> None:
    experts = [gaussian(2, 3, seed=s) for s in range(2)]
    fused = Gaussian.product(experts, [torch.ones(2, dtype=torch.float64)] * 2)
    for expert in experts:
        assert (fused.precision > expert.precision).all()
    means = torch.stack([torch.zeros(2, 3, dtype=torch.float64), *(e.mean for e in experts)])
    assert (fused.mean >= means.amin(0)).all() and (fused.mean <= means.amax(0)).all()


@pytest.mark.parametrize("count", [1, 3, 8])
def test_pool_strength_does_not_depend_on_the_number_of_equal_references(count: int) -> None:
    one = gaussian(1, 4)
    many = Gaussian(one.mean.expand(count, 4), one.log_variance.expand(count, 4))
    pooled = many.pool(torch.full((1, count), 1 / count, dtype=torch.float64))
    torch.testing.assert_close(pooled.mean, one.mean)
    torch.testing.assert_close(pooled.log_variance, one.log_variance)


def test_pool_ignores_order() -> None:
    references, weights = gaussian(5, 4), torch.tensor([[0.1, 0.2, 0.3, 0.15, 0.25]], dtype=torch.float64)
    order = torch.tensor([3, 1, 4, 0, 2])
    a, b = references.pool(weights), references[order].pool(weights[:, order])
    torch.testing.assert_close(a.mean, b.mean)
    torch.testing.assert_close(a.log_variance, b.log_variance)


def test_power_multiplies_the_precision_and_keeps_the_mode() -> None:
    one = gaussian(2, 3)
    squared = one.power(2.0)
    torch.testing.assert_close(squared.precision, 2 * one.precision)
    assert torch.equal(squared.mode, one.mode)
    # A product of powers is the product of the experts with these weights.
    weights = [torch.full((2,), 0.3, dtype=torch.float64)]
    weighted = Gaussian.product([one], weights)
    plain = Gaussian.product([one.power(0.3)], [torch.ones(2, dtype=torch.float64)])
    torch.testing.assert_close(weighted.mean, plain.mean)
    torch.testing.assert_close(weighted.log_variance, plain.log_variance)


def test_a_blend_of_two_is_their_pool() -> None:
    a, b = gaussian(1, 4, seed=1), gaussian(1, 4, seed=2)
    pooled = Gaussian.cat([a, b]).pool(torch.tensor([[0.75, 0.25]], dtype=torch.float64))
    blended = a.blend(b, 0.25)
    torch.testing.assert_close(blended.mean, pooled.mean)
    torch.testing.assert_close(blended.log_variance, pooled.log_variance)


def test_an_average_is_weighted_by_precision() -> None:
    certain, vague = (
        Gaussian(torch.zeros(1, 1), torch.full((1, 1), -4.0)),
        Gaussian(torch.ones(1, 1), torch.zeros(1, 1)),
    )
    mean = Gaussian.cat([certain, vague]).average(lambda values: values.mean(0, keepdim=True)).mean
    expected = 1 / (1 + torch.e**4)
    assert float(mean) == pytest.approx(expected, rel=1e-5)


def test_stacking_and_expanding_keep_the_numbers() -> None:
    one = gaussian(3, 2, 4)
    again = Gaussian.unstack(one.stack())
    assert torch.equal(again.mean, one.mean) and torch.equal(again.log_variance, one.log_variance)
    assert one[[1]].expand(5).mean.shape == (5, 2, 4) and len(one[1:]) == 2
