"""Views, encoders, decoder and prior: shapes, gradients, what each view sees, saving and loading."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from impasto.config import ModelConfig, ObjectiveConfig, Sampling, Size, sized_model
from impasto.errors import ImpastoError
from impasto.model.autoencoder import Autoencoder
from impasto.model.decoder import latent_shapes, possible
from impasto.model.encoder import LOG_VARIANCE_BOUND
from impasto.model.impasto import Impasto, load_model, save_model
from impasto.model.prior import attention
from impasto.model.sampler import PUSHED_UNTIL, draw_noise, sample, step_times
from impasto.model.schedule import level_times
from impasto.model.views import edge_signs, guided_filter, orientation, views_of
from impasto.objective.autoencoder import Draws, autoencoder_loss
from impasto.objective.experts import draw_style_sources, draw_weights
from impasto.objective.flow import DRAFT_WEIGHT, flow_matching_loss
from impasto.objective.style import StyleReader


def stripes(vertical: bool) -> torch.Tensor:
    wave = (torch.arange(64) % 8 < 4).float().expand(64, 64)
    picture = wave if vertical else wave.T
    return picture.expand(1, 3, 64, 64)


def test_orientation_tells_directions_apart_and_sees_no_colour() -> None:
    upright, level = orientation(stripes(True)), orientation(stripes(False))
    inside = (slice(None), slice(None), slice(8, 24), slice(8, 24))
    assert upright[inside][:, 1].mean() > 0.1  # strength x cos 2a at the finest scale
    assert level[inside][:, 1].mean() < -0.1
    picture = torch.rand(1, 3, 64, 64)
    luma = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
    grey = (picture * luma).sum(1, keepdim=True).expand_as(picture)
    torch.testing.assert_close(orientation(picture), orientation(grey), atol=1e-4, rtol=1e-3)


def test_orientation_sees_a_white_shape_on_a_transparent_ground() -> None:
    picture = torch.ones(1, 4, 64, 64)
    picture[:, 3, :, :32] = 0
    assert orientation(picture)[:, 0].max() > 0.3
    assert orientation(torch.ones(1, 4, 64, 64))[:, 0].max() < 0.01


def test_signs_tell_a_picture_from_its_negative_and_orientation_does_not() -> None:
    picture = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(orientation(1 - picture), orientation(picture), atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(edge_signs(1 - picture), -edge_signs(picture), atol=1e-4, rtol=1e-3)
    brighter = torch.linspace(0, 1, 64).expand(1, 3, 64, 64)
    along_x, along_y = edge_signs(brighter)[0, :2]
    assert along_x.min() > 0.05 and along_y.abs().max() < 1e-3
    torch.testing.assert_close(along_x.square(), orientation(brighter)[0, 0].square(), atol=1e-3, rtol=1e-2)


def test_guided_filter_keeps_edges_and_removes_grain() -> None:
    edge = torch.zeros(1, 1, 32, 32)
    edge[..., 16:] = 1
    grainy = edge + 0.03 * torch.randn_like(edge)
    smooth = guided_filter(grainy)
    assert (smooth - edge)[..., :12].std() < 0.5 * 0.03
    assert smooth[..., 18].mean() - smooth[..., 13].mean() > 0.9


def test_views_lose_nothing_between_them() -> None:
    picture = torch.rand(2, 4, 32, 32)
    views = views_of(picture, signed=True)
    residual = torch.nn.functional.pixel_shuffle(views.texture, 2) / 4
    torch.testing.assert_close(guided_filter(picture) + residual, picture)
    assert {tuple(v.shape[2:]) for v in views} == {(16, 16)}


@settings(max_examples=8, deadline=None)
@given(st.integers(1, 3), st.integers(1, 3), st.sampled_from([3, 4]), st.booleans())
def test_any_multiple_of_32_goes_in_and_comes_out(rows: int, columns: int, channels: int, signed: bool) -> None:
    shape = sized_model(Size.TINY, channels=channels, resolution=32, collections=(), signed_edges=signed)
    model = Autoencoder(shape)
    picture = torch.rand(1, channels, 32 * rows, 32 * columns)
    with torch.no_grad():
        assert model.reconstruct(picture).shape == picture.shape
        for level, gaussian in enumerate(model.posterior(picture)[1:]):
            assert gaussian.mean.shape[2:] == (rows * 2**level, columns * 2**level)
            assert gaussian.log_variance.abs().max() <= LOG_VARIANCE_BOUND


def test_the_same_view_is_not_shared_between_levels_of_trust(tiny: ModelConfig) -> None:
    model, picture = Autoencoder(tiny), torch.rand(2, 4, 32, 32)
    with torch.no_grad():
        alone = torch.zeros(2, 3, 4)
        alone[:, 0] = 1
        all_three, one = model.posterior(picture), model.posterior(picture, alone)
        for a, b in zip(all_three, one, strict=True):
            assert (a.precision >= b.precision).all()
        silent = model.posterior(picture, torch.zeros(2, 3, 4))
        assert all((g.mean == 0).all() and (g.log_variance == 0).all() for g in silent)


def test_gradients_reach_every_parameter(tiny: ModelConfig) -> None:
    model = Impasto(tiny)
    picture, generator = torch.rand(8, 4, 32, 32), torch.Generator().manual_seed(0)
    weights, keeps = draw_weights(ObjectiveConfig(), 8, generator)
    sources = draw_style_sources(ObjectiveConfig(), torch.zeros(8, dtype=torch.long), generator)
    posterior = model.autoencoder.posterior(picture)
    noise = draw_noise(range(8), posterior)
    loss = autoencoder_loss(model.autoencoder, picture, Draws(weights, keeps, sources, noise))
    flow = flow_matching_loss(model.prior, tuple(g.mean.detach() for g in posterior), posterior, noise, torch.rand(8))
    (loss.total(ObjectiveConfig(), 1.0) + flow.total).backward()
    still = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert still == []


def test_encoders_that_learn_no_more_hear_nothing_and_change_nothing(tiny: ModelConfig) -> None:
    model, picture, generator = Autoencoder(tiny), torch.rand(4, 4, 32, 32), torch.Generator().manual_seed(0)
    weights, keeps = draw_weights(ObjectiveConfig(), 4, generator)
    draws = Draws(weights, keeps, torch.eye(4), draw_noise(range(4), model.posterior(picture)))
    learning = autoencoder_loss(model, picture, draws)
    resting = autoencoder_loss(model, picture, draws, encoders_learn=False)
    assert torch.equal(learning.total(ObjectiveConfig(), 1.0), resting.total(ObjectiveConfig(), 1.0))
    resting.total(ObjectiveConfig(), 1.0).backward()
    heard = {name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None}
    assert heard == {"decoder"}
    with torch.no_grad():
        assert not autoencoder_loss(model, picture, draws).painted.requires_grad


def test_drawn_styles_are_pools_within_collections() -> None:
    collections = torch.tensor([0, 0, 0, 1, 1, 2])
    generator = torch.Generator().manual_seed(1)
    shared = 0
    for _ in range(50):
        sources = draw_style_sources(ObjectiveConfig(), collections, generator)
        torch.testing.assert_close(sources.sum(1), torch.ones(6))
        assert (sources[collections[:, None] != collections[None]] == 0).all()
        assert sources[5, 5] == 1  # alone in its collection
        shared += int((sources.diagonal()[:5] == 0).sum())
    assert 0.4 < shared / 250 < 0.6


def test_a_picture_does_not_depend_on_its_neighbours(tiny: ModelConfig) -> None:
    model = Impasto(tiny).eval()
    with torch.no_grad():
        posterior = model.autoencoder.posterior(torch.rand(4, 4, 32, 32))
        noise = draw_noise([5, 6, 7, 8], posterior)
        all_four = sample(model.prior, posterior, noise, Sampling(steps=3))
        told, alone = tuple(g[2:3] for g in posterior), tuple(n[2:3] for n in noise)
        one = sample(model.prior, told, alone, Sampling(steps=3))
    for a, b in zip(all_four, one, strict=True):
        torch.testing.assert_close(a[2:3], b, atol=1e-4, rtol=1e-4)


def test_the_sketch_is_a_pyramid_that_fine_levels_refine(tiny: ModelConfig) -> None:
    decoder = Autoencoder(tiny).decoder
    style, coarse, middle, fine = (torch.randn(2, *shape) for shape in latent_shapes(tiny))
    drawn = decoder.sketch((style, coarse, middle, fine))
    assert [sketch.shape[2] for sketch in drawn] == [8, 16, 32]
    changed = decoder.sketch((style, coarse, middle, fine + 1))
    assert torch.equal(drawn[0], changed[0]) and torch.equal(drawn[1], changed[1])
    assert not torch.allclose(drawn[2], changed[2])
    # The last sketch is the ground that the network paints on.
    torch.nn.init.zeros_(decoder.paint.project.weight)
    torch.testing.assert_close(decoder((style, coarse, middle, fine)), drawn[2])
    decoder.start_from(torch.tensor([0.9, 0.2, 0.5, 1.0]))
    empty = decoder.sketch((style * 0, coarse * 0, middle * 0, fine * 0))[2]
    torch.testing.assert_close(empty.mean((0, 2, 3)), torch.tensor([0.9, 0.2, 0.5, 1.0]))


def test_the_style_reader_pulls_looks_and_makers_out() -> None:
    torch.manual_seed(0)
    statistics, makers = torch.randn(64, 12) * 3 + 1, torch.arange(64) % 3
    told = torch.cat([statistics, torch.nn.functional.one_hot(makers, 3).float()], 1)
    reader = StyleReader(15, 3, statistics.mean(0), statistics.std(0))
    before = reader.look_error(told, statistics).item(), reader.maker_error(told, makers).item()
    optimizer = torch.optim.Adam(reader.parameters(), lr=0.05)
    for _ in range(300):
        optimizer.zero_grad()
        (reader.look_error(told, statistics) + reader.maker_error(told, makers)).backward()
        optimizer.step()
    assert reader.look_error(told, statistics).item() < 0.05 < before[0]
    assert reader.maker_error(told, makers).item() < 0.1 < before[1]
    alone = StyleReader(15, 1, statistics.mean(0), statistics.std(0))
    assert alone.maker_error(told, makers * 0).item() == 0


def test_spelled_out_attention_is_the_fused_kernels() -> None:
    q, k, v = torch.randn(3, 2, 4, 7, 8, dtype=torch.float64)
    torch.testing.assert_close(attention(q, k, v), torch.nn.functional.scaled_dot_product_attention(q, k, v))


def test_internal_guidance_and_guidance_push_side_by_side_and_only_at_first(tiny: ModelConfig) -> None:
    model = Impasto(tiny).eval()
    posterior = model.autoencoder.posterior(torch.rand(2, 4, 32, 32))
    noise = draw_noise([1, 2], posterior)

    def end(**settings: float) -> list[torch.Tensor]:
        return list(sample(model.prior, posterior, noise, Sampling(steps=1, **settings)))  # pyrefly: ignore

    as_learned, clear, guided, both = (
        end(guidance=1.0, internal_guidance=1.0),
        end(guidance=1.0, internal_guidance=3.0),
        end(guidance=2.0, internal_guidance=1.0),
        end(guidance=2.0, internal_guidance=3.0),
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


def test_the_draft_learns_too(tiny: ModelConfig) -> None:
    model = Impasto(tiny)
    posterior = model.autoencoder.posterior(torch.rand(2, 4, 32, 32))
    target = draw_noise([3, 4], posterior)
    loss = flow_matching_loss(model.prior, target, posterior, draw_noise([1, 2], posterior), torch.tensor([0.3, 0.8]))
    torch.testing.assert_close(loss.total, loss.velocity + DRAFT_WEIGHT * loss.draft)
    loss.total.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.prior.draft_head.parameters())


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


def test_save_and_load_are_identical(tiny: ModelConfig, tmp_path: Path) -> None:
    model, styles = Impasto(tiny), torch.rand(2, 2, tiny.style_dim)
    save_model(model, tmp_path / "m.safetensors", styles=styles)
    again, loaded_styles = load_model(tmp_path / "m.safetensors")
    assert again.config == tiny
    assert loaded_styles is not None and torch.equal(loaded_styles, styles)
    for (name, a), (other, b) in zip(model.state_dict().items(), again.state_dict().items(), strict=True):
        assert name == other and torch.equal(a, b)


def test_damaged_and_foreign_models_are_refused(tiny: ModelConfig, tmp_path: Path) -> None:
    whole = tmp_path / "m.safetensors"
    save_model(Impasto(tiny), whole)
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(whole.read_bytes()[:5000])
    with pytest.raises(ImpastoError, match=r"cut\.safetensors"):
        load_model(cut)
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    with pytest.raises(ImpastoError, match="not an Impasto model"):
        load_model(tmp_path / "foreign.safetensors")


def test_coarse_levels_lead_and_all_are_finished_in_the_end() -> None:
    time = torch.linspace(0, 1, 7)
    style, coarse, middle, fine = level_times(time, (0.0, 0.0, 0.25, 0.5))
    assert torch.equal(style, coarse) and (coarse >= middle).all() and (middle >= fine).all()
    assert float(fine[2]) == 0 < float(coarse[2]) < 1 and float(coarse[5]) == 1 > float(fine[5])
    assert all(float(times[0]) == 0 and float(times[-1]) == 1 for times in (style, coarse, middle, fine))
    together = level_times(time, (0.0, 0.0, 0.0, 0.0))
    assert all(torch.equal(times, time) for times in together)


def test_over_white_nothing_is_darker_than_its_alpha_allows() -> None:
    painted = possible(torch.tensor([0.2, 1.3, 0.5, 0.25]).reshape(1, 4, 1, 1))
    assert painted.flatten().tolist() == pytest.approx([0.75, 1.0, 0.75, 0.25])
    assert possible(torch.tensor([-1.0, 0.5, 2.0]).reshape(1, 3, 1, 1)).flatten().tolist() == [0, 0.5, 1]
