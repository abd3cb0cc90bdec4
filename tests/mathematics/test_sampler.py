"""The sampler against closed forms: step times, guidance, the time of each level, a known flow."""

import torch
from impasto.model.schedule import level_times

from impasto.config import ModelConfig, Sampling, Size, sized_model
from impasto.model.autoencoder import Autoencoder
from impasto.model.impasto import Impasto
from impasto.model.sampler import PUSHED_UNTIL, draw_noise, sample, step_times


def test_clarity_and_guidance_push_side_by_side_and_only_at_first(tiny: ModelConfig) -> None:
    model = Impasto(tiny).eval()
    posterior = model.autoencoder.posterior(torch.rand(2, 4, 32, 32))
    noise = draw_noise([1, 2], posterior)

    def end(**settings: float) -> list[torch.Tensor]:
        return list(sample(model.prior, posterior, noise, Sampling(steps=1, **settings)))  # pyrefly: ignore

    as_learned, clear, guided, both = (
        end(guidance=1.0, clarity=1.0),
        end(guidance=1.0, clarity=3.0),
        end(guidance=2.0, clarity=1.0),
        end(guidance=2.0, clarity=3.0),
    )
    for level, (a, c, g, b) in enumerate(zip(as_learned, clear, guided, both, strict=True)):
        assert not torch.allclose(a, c) and (level == 0) == torch.allclose(a, g)
        torch.testing.assert_close(b - a, (c - a) + (g - a), atol=1e-4, rtol=1e-3)
    with torch.no_grad():
        start = tuple(g.sample(n) for g, n in zip(posterior, noise, strict=True))
        draft, velocity = model.prior(start, torch.zeros(2), posterior)
    for x, a, c, d, v in zip(start, as_learned, clear, draft, velocity, strict=True):
        torch.testing.assert_close(a, x + v)
        torch.testing.assert_close(c, x + v + 2 * (v - d))
    rows: list[int] = []
    model.prior.register_forward_pre_hook(lambda module, inputs: rows.append(len(inputs[1])))
    sample(model.prior, posterior, noise, Sampling(steps=8, guidance=2.0))
    pushed = int((step_times(8)[:-1] < PUSHED_UNTIL).sum())
    assert 0 < pushed < 8 and rows == [4] * pushed + [2] * (8 - pushed), "guidance takes twice the rows"


def test_steps_are_short_at_first() -> None:
    times = step_times(8)
    durations = times.diff()
    assert float(times[0]) == 0 and float(times[-1]) == 1
    assert (durations.diff() > 0).all() and float(durations[0]) < 0.07 < 0.2 < float(durations[-1])


def test_sampler_follows_a_known_flow() -> None:
    class Towards(torch.nn.Module):
        """The exact flow to the point 3 from anywhere, each level in its own time: v = (3 - x) / (1 - t)."""

        delays = (0.0, 0.1, 0.25, 0.5)
        look_dim = 0

        def forward(self, latents, time, fused, text):
            times = level_times(time, self.delays)
            velocity = tuple(
                (3 - x) / (1 - t.clamp(max=0.999)).reshape(-1, *[1] * (x.dim() - 1))
                for x, t in zip(latents, times, strict=True)
            )
            return velocity, velocity

    config = sized_model(Size.TINY, channels=3, resolution=32, collections=())
    posterior = Autoencoder(config).posterior(torch.rand(2, 3, 32, 32))
    calls: list[tuple[int, int]] = []
    plain = Sampling(steps=8, guidance=1.0)
    latents = sample(Towards(), posterior, draw_noise([1, 2], posterior), plain, lambda *c: calls.append(c))
    for x in latents:
        torch.testing.assert_close(x, torch.full_like(x, 3.0), atol=1e-4, rtol=0)
    assert calls == [(i, 8) for i in range(1, 9)]


def test_coarse_levels_lead_and_all_are_finished_in_the_end() -> None:
    time = torch.linspace(0, 1, 7)
    style, coarse, middle, fine = level_times(time, (0.0, 0.0, 0.25, 0.5))
    assert torch.equal(style, coarse) and (coarse >= middle).all() and (middle >= fine).all()
    assert float(fine[2]) == 0 < float(coarse[2]) < 1 and float(coarse[5]) == 1 > float(fine[5])
    assert all(float(times[0]) == 0 and float(times[-1]) == 1 for times in (style, coarse, middle, fine))
    together = level_times(time, (0.0, 0.0, 0.0, 0.0))
    assert all(torch.equal(times, time) for times in together)
