"""Encoders, decoder and prior: what reaches what, gradients, saving and loading."""

from pathlib import Path

import pytest
import torch

from impasto.backbone import Backbone, Lite
from impasto.config import ModelConfig, ObjectiveConfig, Sampling
from impasto.create.sampling import sample_condition
from impasto.errors import ImpastoError
from impasto.model.autoencoder import Autoencoder, modes
from impasto.model.blocks import Map
from impasto.model.decoder import clamp_valid, latent_shapes
from impasto.model.gaussian import Gaussian
from impasto.model.impasto import Impasto, load_model, save_model
from impasto.model.prior import Condition, attention
from impasto.model.sampler import draw_noise
from impasto.objective.autoencoder import Draws, MicroBatch, Term, autoencoder_terms
from impasto.objective.expert_weights import draw_style_sources
from impasto.objective.flow import flow_matching_loss
from impasto.objective.style import StylePredictor


@pytest.fixture(scope="module")
def features() -> Backbone:
    """The frozen network of the feature losses."""
    return Backbone(Lite.LITE1)


def micro_batch(
    model: Autoencoder, features: Backbone, image: Map, *, progress: float = 1.0, encoders_learn: bool = True
) -> MicroBatch:
    """A whole batch of images of one collection with everything drawn for it."""
    rows, collections = slice(0, len(image)), torch.zeros(len(image), dtype=torch.long)
    noise = draw_noise(range(len(image)), model.posterior(image).map(Gaussian.detach))
    generator = torch.Generator().manual_seed(0)
    draws = Draws.draw(ObjectiveConfig(), collections, noise, features.channels, generator)
    subset = slice(0, None, 4)
    drawn = draws.rows(rows, image.device)
    return MicroBatch(model, features, image, collections, drawn, subset, progress, encoders_learn)


def predictor_of(model: Autoencoder, features: Backbone) -> StylePredictor:
    """An untrained predictor for one collection."""
    size = 2 * sum(features.channels)
    return StylePredictor(model.config.style_dim, 1, torch.zeros(size), torch.ones(size))


def loss_of(batch: MicroBatch, terms: tuple[Term, ...]) -> torch.Tensor:
    """The weighted sum of the active terms."""
    return torch.stack([term.weight * term.compute(batch) for term in terms if term.is_active(batch)]).sum()


ALL_TERMS = ObjectiveConfig(swap_weight=0.1, destylized_weight=0.5, freeze_encoders_after=2.0)


def test_experts_add_precision_and_none_leaves_the_prior(tiny: ModelConfig) -> None:
    model, image = Autoencoder(tiny), torch.rand(2, 4, 32, 32)
    with torch.no_grad():
        alone = torch.zeros(2, 3, 4)
        alone[:, 0] = 1
        all_three, one = model.posterior(image), model.posterior(image, alone)
        for a, b in all_three.zip(one):
            assert (a.precision >= b.precision).all()
        nothing = model.posterior(image, torch.zeros(2, 3, 4))
        assert all((g.mean == 0).all() and (g.log_variance == 0).all() for g in nothing)


def test_gradients_reach_every_parameter(tiny: ModelConfig, features: Backbone) -> None:
    model, image = Impasto(tiny), torch.rand(8, 4, 32, 32)
    predictor = predictor_of(model.autoencoder, features)
    terms = autoencoder_terms(ALL_TERMS, predictor, [torch.ones(n) for n in features.channels])
    loss = loss_of(micro_batch(model.autoencoder, features, image), terms)
    posterior = model.autoencoder.posterior(image)
    target = modes(posterior.map(Gaussian.detach))
    flow = flow_matching_loss(model.prior, target, Condition(posterior), draw_noise(range(8), posterior), torch.rand(8))
    (loss + flow.final + flow.intermediate).backward()
    still = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert still == []
    assert all(p.grad is not None for p in predictor.statistics.parameters())


def test_every_term_is_active_in_its_part_of_the_stage(tiny: ModelConfig, features: Backbone) -> None:
    model, config = Autoencoder(tiny), ObjectiveConfig(swap_weight=0.1, destylized_weight=0.5)
    terms = autoencoder_terms(config, predictor_of(model, features), [torch.ones(n) for n in features.channels])

    def active(progress: float) -> set[str]:
        batch = micro_batch(model, features, torch.rand(4, 4, 32, 32), progress=progress)
        return {term.name for term in terms if term.is_active(batch)}

    always, style = {"reconstruction", "linear_skip", "kl"}, {"style_collection", "style_statistics"}
    late = {"features", "swap_texture", "swap_colours", "swap_structure", "destylized"}
    assert active(0.0) == always | style
    assert active(0.6) == always | style | late
    assert active(0.9) == always | late
    without = autoencoder_terms(ObjectiveConfig(), predictor_of(model, features), [torch.ones(1)])
    assert {term.name for term in without if term.weight == 0} == late - {"features"}


def test_frozen_encoders_get_no_gradient_and_the_same_loss(tiny: ModelConfig, features: Backbone) -> None:
    model, image = Autoencoder(tiny), torch.rand(4, 4, 32, 32)
    predictor = predictor_of(model, features)
    terms = autoencoder_terms(ObjectiveConfig(), predictor, [torch.ones(n) for n in features.channels])
    learning = loss_of(micro_batch(model, features, image), terms)
    frozen = loss_of(micro_batch(model, features, image, encoders_learn=False), terms)
    assert torch.equal(learning, frozen)
    frozen.backward()
    assert {name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None} == {"decoder"}


def test_the_kl_weight_warms_up_and_balances_levels(tiny: ModelConfig, features: Backbone) -> None:
    model = Autoencoder(tiny)
    terms = autoencoder_terms(ObjectiveConfig(), predictor_of(model, features), [torch.ones(1)])
    (kl,) = (term for term in terms if term.name == "kl")
    image = torch.rand(4, 4, 32, 32)
    start, full = (micro_batch(model, features, image, progress=progress) for progress in (0.0, 0.5))
    torch.testing.assert_close(kl.compute(full), full.rates.sum())
    share = start.rates + 0.05 * start.rates.sum() + 1e-6
    torch.testing.assert_close(kl.compute(start), 0.1 * (start.rates * share / share.mean()).sum())


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


def test_an_image_does_not_depend_on_its_neighbours(tiny: ModelConfig) -> None:
    model = Impasto(tiny).eval()
    with torch.no_grad():
        posterior = model.autoencoder.posterior(torch.rand(4, 4, 32, 32))
        seeds = [5, 6, 7, 8]
        all_four = sample_condition(model.prior, Condition(posterior), seeds, Sampling(steps=3))
        alone = Condition(posterior.map(lambda gaussian: gaussian[2:3]))
        one = sample_condition(model.prior, alone, seeds[2:3], Sampling(steps=3))
    for a, b in zip(all_four, one, strict=True):
        torch.testing.assert_close(a[2:3], b, atol=1e-4, rtol=1e-4)


def test_linear_skips_are_a_pyramid_that_fine_levels_refine(tiny: ModelConfig) -> None:
    decoder = Autoencoder(tiny).decoder
    latents = latent_shapes(tiny).map(lambda shape: torch.randn(2, *shape))
    drawn = decoder.linear_pyramid(latents)
    assert [image.shape[2] for image in drawn] == [8, 16, 32]
    changed = decoder.linear_pyramid(latents.prefix(3, lambda fine: fine + 1))
    assert torch.equal(drawn[0], changed[0]) and torch.equal(drawn[1], changed[1])
    assert not torch.allclose(drawn[2], changed[2])
    # The network adds to the last image of the pyramid.
    torch.nn.init.zeros_(decoder.image_out.project.weight)
    torch.testing.assert_close(decoder(latents), drawn[2])
    decoder.initialize_output(torch.tensor([0.9, 0.2, 0.5, 1.0]))
    empty = decoder.linear_pyramid(latents.map(torch.zeros_like))[2]
    torch.testing.assert_close(empty.mean((0, 2, 3)), torch.tensor([0.9, 0.2, 0.5, 1.0]))


def test_the_style_predictor_learns_statistics_and_collections() -> None:
    torch.manual_seed(0)
    statistics, collections = torch.randn(64, 12) * 3 + 1, torch.arange(64) % 3
    style = torch.cat([statistics, torch.nn.functional.one_hot(collections, 3).float()], 1)
    predictor = StylePredictor(15, 3, statistics.mean(0), statistics.std(0))
    before = predictor.statistics_error(style, statistics).item(), predictor.collection_error(style, collections).item()
    optimizer = torch.optim.Adam(predictor.parameters(), lr=0.05)
    for _ in range(300):
        optimizer.zero_grad()
        (predictor.statistics_error(style, statistics) + predictor.collection_error(style, collections)).backward()
        optimizer.step()
    assert predictor.statistics_error(style, statistics).item() < 0.05 < before[0]
    assert predictor.collection_error(style, collections).item() < 0.1 < before[1]
    alone = StylePredictor(15, 1, statistics.mean(0), statistics.std(0))
    assert alone.collection_error(style, collections * 0).item() == 0


def test_spelled_out_attention_is_the_fused_kernels() -> None:
    q, k, v = torch.randn(3, 2, 4, 7, 8, dtype=torch.float64)
    torch.testing.assert_close(attention(q, k, v), torch.nn.functional.scaled_dot_product_attention(q, k, v))


def test_the_intermediate_head_learns_too(tiny: ModelConfig) -> None:
    model = Impasto(tiny)
    posterior = model.autoencoder.posterior(torch.rand(2, 4, 32, 32))
    target = draw_noise([3, 4], posterior)
    noise = draw_noise([1, 2], posterior)
    loss = flow_matching_loss(model.prior, target, Condition(posterior), noise, torch.tensor([0.3, 0.8]))
    loss.intermediate.backward()
    learned = {name.split(".")[0] for name, p in model.prior.named_parameters() if p.grad is not None}
    assert {"lower", "intermediate_head"} <= learned and not {"upper", "head"} & learned


def test_save_and_load_are_identical(tiny: ModelConfig, tmp_path: Path) -> None:
    model, styles = Impasto(tiny), Gaussian.unstack(torch.rand(2, 2, tiny.style_dim))
    save_model(model, tmp_path / "m.safetensors", styles=styles)
    again, loaded_styles = load_model(tmp_path / "m.safetensors")
    assert again.config == tiny
    assert loaded_styles is not None and torch.equal(loaded_styles.stack(), styles.stack())
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


def test_over_white_nothing_is_darker_than_its_alpha_allows() -> None:
    output = clamp_valid(torch.tensor([0.2, 1.3, 0.5, 0.25]).reshape(1, 4, 1, 1))
    assert output.flatten().tolist() == pytest.approx([0.75, 1.0, 0.75, 0.25])
    assert clamp_valid(torch.tensor([-1.0, 0.5, 2.0]).reshape(1, 3, 1, 1)).flatten().tolist() == [0, 0.5, 1]
