"""The sampler and guidance against closed forms: step times, guidance and its interval, a known flow."""

import torch
from torch import Tensor

from impasto.config import ModelConfig, Sampling
from impasto.create.sampling import sample_condition
from impasto.model.decoder import Latents
from impasto.model.guidance import GUIDANCE_INTERVAL, ConditionedField, GuidedField
from impasto.model.impasto import Impasto
from impasto.model.levels import Levels
from impasto.model.prior import Condition
from impasto.model.sampler import draw_noise, sample, step_times


def test_guidance_and_internal_guidance_add_up_and_act_in_the_interval_only(tiny: ModelConfig) -> None:
    model = Impasto(tiny).eval()
    posterior = model.autoencoder.posterior(torch.rand(2, 4, 32, 32))
    condition, seeds = Condition(posterior), [1, 2]

    def end(guidance: float, internal: float) -> list[Tensor]:
        settings = Sampling(steps=1, guidance=guidance, internal_guidance=internal)
        return list(sample_condition(model.prior, condition, seeds, settings))

    unguided, internal, free, both = end(1.0, 1.0), end(1.0, 3.0), end(2.0, 1.0), end(2.0, 3.0)
    for level, (a, c, g, b) in enumerate(zip(unguided, internal, free, both, strict=True)):
        assert not torch.allclose(a, c) and (level == 0) == torch.allclose(a, g)
        torch.testing.assert_close(b - a, (c - a) + (g - a), atol=1e-4, rtol=1e-3)
    with torch.no_grad():
        start = posterior.map(lambda g, n: g.sample(n), draw_noise(seeds, posterior))
        intermediate, final = model.prior(start, torch.zeros(2), condition)
    for x, a, c, d, v in zip(start, unguided, internal, intermediate, final, strict=True):
        torch.testing.assert_close(a, x + v)
        torch.testing.assert_close(c, x + v + 2 * (v - d))
    rows: list[int] = []
    model.prior.register_forward_pre_hook(lambda module, inputs: rows.append(len(inputs[1])))
    sample_condition(model.prior, condition, seeds, Sampling(steps=8, guidance=2.0))
    start_time, stop_time = GUIDANCE_INTERVAL
    times = step_times(8)[:-1]
    guided = int(((start_time <= times) & (times < stop_time)).sum())
    assert 0 < guided < 8 and rows == [4] * guided + [2] * (8 - guided), "guidance takes twice the rows"


def test_the_negative_text_takes_the_place_of_the_empty_one(tiny: ModelConfig) -> None:
    seen: list[Condition] = []

    class Recorder:
        def __call__(self, latents, time, condition):
            seen.append(condition)
            return latents, latents

    posterior = Impasto(tiny).autoencoder.posterior(torch.rand(1, 4, 32, 32))
    text, negative = torch.ones(1, 384), torch.full((1, 384), -1.0)
    x = draw_noise([0], posterior)
    for condition, expected in (
        (Condition(posterior, text), torch.zeros(1, 384)),
        (Condition(posterior, text, negative), negative),
    ):
        GuidedField(ConditionedField(Recorder(), condition), 2.0, 1.0)(x, 0.0)
        assert torch.equal(seen[-1].text, torch.cat([text, expected]))
        assert not seen[-1].posterior.style.mean[1].any(), "the unconditional half has no style"


def test_steps_are_short_at_first() -> None:
    times = step_times(8)
    durations = times.diff()
    assert float(times[0]) == 0 and float(times[-1]) == 1
    assert (durations.diff() > 0).all() and float(durations[0]) < 0.07 < 0.2 < float(durations[-1])


def test_sampler_follows_a_known_flow() -> None:
    """The exact flow to the point 3 from anywhere: v = (3 - x) / (1 - t)."""

    def towards(latents: Latents, time: float) -> Latents:
        return latents.map(lambda x: (3 - x) / (1 - min(time, 0.999)))

    source = Levels(torch.randn(2, 5), (torch.randn(2, 3, 1, 1), torch.randn(2, 3, 2, 2)))
    calls: list[tuple[int, int]] = []
    for x in sample(towards, source, step_times(8), lambda *call: calls.append(call)):
        torch.testing.assert_close(x, torch.full_like(x, 3.0), atol=1e-4, rtol=0)
    assert calls == [(i, 8) for i in range(1, 9)]


def test_a_constant_velocity_is_integrated_exactly() -> None:
    source = Levels(torch.randn(2, 5), (torch.randn(2, 3, 2, 2),))
    for x, end in zip(source, sample(lambda z, t: z.map(torch.ones_like), source, step_times(3)), strict=True):
        torch.testing.assert_close(end, x + 1)
