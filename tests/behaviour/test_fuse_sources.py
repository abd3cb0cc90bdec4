"""Sources of a fusion: the structure in the colours of other images, and the experts that contribute to the maps."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from PIL import Image

from images import colours_of, composite, noise
from impasto.config import FuseConfig, ModelConfig
from impasto.create.fuse import Fuser, Source, transfer_colours
from impasto.data import Whole
from impasto.model.encoder import Posterior
from impasto.model.gaussian import Gaussian
from impasto.model.impasto import Impasto

RED, BLUE, GREY, WHITE = (255, 0, 0), (0, 0, 255), (120, 120, 120), (255, 255, 255)


def pixels_of(image: Image.Image) -> np.ndarray:
    """Pixels as sources hold them: uint8 (channels, height, width), RGB over white, and alpha."""
    if image.mode == "RGB":
        return np.asarray(image).transpose(2, 0, 1).copy()
    return np.rint(255 * composite(image)).astype(np.uint8)


def mean_of(pixels: np.ndarray) -> np.ndarray:
    """The mean colour of opaque pixels."""
    return pixels[:3].reshape(3, -1)[:, pixels[3].ravel() == 255].mean(1)


def stripes(*colours: tuple[int, int, int], width: int = 12) -> np.ndarray:
    """Opaque pixels in vertical stripes of equal width, RGBA."""
    rows = np.repeat(np.array([[*colour, 255] for colour in colours], np.uint8), width, 0)
    return np.repeat(rows[None], 20, 0).transpose(2, 0, 1)


# Colour transfer


def test_colours_become_those_of_the_reference_and_alpha_stays() -> None:
    image, reference = (pixels_of(noise(48, 40, mode="RGBA", seed=seed)) for seed in (1, 2))
    before = image.copy()
    result = transfer_colours(image, [(reference, 1.0)])
    assert np.array_equal(image, before) and result.dtype == np.uint8
    assert np.array_equal(result[3], image[3])
    assert np.array_equal(result[:, image[3] == 0], image[:, image[3] == 0]), "transparent pixels stay white"
    assert abs(mean_of(result) - mean_of(reference)).max() < 2
    assert abs(mean_of(image) - mean_of(reference)).max() > 20
    assert np.array_equal(result, transfer_colours(image, [(reference, 1.0)]))


def test_an_image_in_its_own_colours_stays_the_same() -> None:
    for image in (noise(48, 40, mode="RGBA"), noise(48, 40), Image.new("RGB", (1, 1), GREY)):
        pixels = pixels_of(image)
        result = transfer_colours(pixels, [(pixels, 1.0)])
        assert abs(result.astype(int) - pixels).max() <= 1


def test_flat_areas_stay_flat_in_the_order_of_their_lightness() -> None:
    result = transfer_colours(stripes((10, 10, 10), GREY, WHITE), [(stripes((0, 0, 60), RED, (255, 255, 0)), 1.0)])
    colours = result[:3, 0, ::12].T.astype(int)
    assert (result[:3] == np.repeat(result[:3, :1, ::12], 12, 2)).all()
    assert abs(colours - [(0, 0, 60), RED, (255, 255, 0)]).max() <= 6


def test_references_are_pooled_by_their_weights_whatever_their_size() -> None:
    image = np.full((3, 9, 9), 128, np.uint8)
    red, blue = (pixels_of(Image.new("RGB", size, colour)) for size, colour in (((3, 3), RED), ((40, 40), BLUE)))
    mixed = transfer_colours(image, [(red, 3.0), (blue, 1.0)])[:, 0, 0]
    assert abs(mixed - [0.75 * 255, 0, 0.25 * 255]).max() <= 2
    alone = transfer_colours(image, [(red, 3.0), (blue, 0.0)])[:, 0, 0]
    assert abs(alone.astype(int) - RED).max() <= 2


def test_translucent_pixels_get_the_straight_colours() -> None:
    glass = pixels_of(Image.new("RGBA", (8, 8), (*GREY, 128)))
    red = pixels_of(Image.new("RGBA", (8, 8), (*RED, 128)))
    assert abs(transfer_colours(glass, [(red, 1.0)]).astype(int) - red).max() <= 2
    opaque = transfer_colours(pixels_of(Image.new("RGB", (8, 8), GREY)), [(red, 1.0)])
    assert abs(opaque[:, 0, 0].astype(int) - RED).max() <= 2


def test_without_visible_pixels_nothing_changes() -> None:
    image, empty = pixels_of(noise(mode="RGBA")), pixels_of(Image.new("RGBA", (5, 4)))
    assert np.array_equal(transfer_colours(image, [(empty, 1.0)]), image)
    assert np.array_equal(transfer_colours(empty, [(image, 1.0)]), empty)
    assert np.array_equal(
        transfer_colours(image, [(empty, 1.0), (image, 1.0)]), transfer_colours(image, [(image, 1.0)])
    )


def test_one_colour_gives_one_colour() -> None:
    flat = transfer_colours(pixels_of(noise(mode="RGBA")), [(stripes(RED), 1.0)])
    image = Image.fromarray(flat.transpose(1, 2, 0))
    assert all(abs(np.array(colour) - RED).max() <= 2 for colour in colours_of(image, 255))


# Experts on the maps


@pytest.fixture
def model(tiny: ModelConfig) -> Impasto:
    """A model of random weights."""
    return Impasto(tiny).eval()


def source(pixels: np.ndarray, name: str, weight: float = 1.0) -> Source:
    return Source(Whole(name, name, name, pixels), weight)


def posterior(
    model: Impasto,
    pixel: Sequence[Source] = (),
    orientation: Sequence[Source] = (),
    texture: Sequence[Source] = (),
    scale: float = 1.0,
) -> Posterior:
    sources = {"pixel": pixel, "orientation": orientation, "texture": texture}
    return Fuser(model, sources, FuseConfig(conditioning_scale=scale)).condition.posterior


@torch.no_grad()
def test_the_pixel_expert_sees_the_structure_in_the_colours_of_its_own_source(model: Impasto) -> None:
    a, b, c = (pixels_of(noise(64, 32, mode="RGBA", seed=seed)) for seed in range(3))
    fused = posterior(model, [source(a, "a")], [source(b, "b")], [source(c, "c")])
    recoloured = torch.from_numpy(transfer_colours(b, [(a, 1.0)])[None]).float() / 255
    pixel = model.autoencoder.experts(recoloured)[0]
    orientation = model.autoencoder.experts(torch.from_numpy(b[None]).float() / 255)[1]
    one = [torch.ones(1), torch.ones(1)]
    for level, *experts in zip(fused.maps, pixel.maps, orientation.maps, strict=True):
        expected = Gaussian.product(experts, one)
        torch.testing.assert_close(level.mean, expected.mean, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(level.log_variance, expected.log_variance, atol=1e-5, rtol=1e-4)


def test_the_layout_of_the_colours_has_no_effect_on_the_maps(model: Impasto) -> None:
    a, b = (pixels_of(noise(64, 32, seed=seed)) for seed in range(2))
    structure = [source(np.concatenate([b, np.full_like(b[:1], 255)]), "b")]
    a = np.concatenate([a, np.full_like(a[:1], 255)])
    mirrored = np.ascontiguousarray(a[:, ::-1, ::-1])
    one, other = (posterior(model, [source(pixels, "a")], structure) for pixels in (a, mirrored))
    for x, y in zip(one.maps, other.maps, strict=True):
        torch.testing.assert_close(x.mean, y.mean, atol=1e-3, rtol=1e-3)
    assert not torch.equal(one.style.mean, other.style.mean), "the style is that of the image itself"


def test_colours_of_any_size_and_several_images_keep_the_size_of_the_structure(model: Impasto) -> None:
    large, small = (pixels_of(noise(*size, mode="RGBA", seed=1)) for size in ((100, 70), (3, 5)))
    structure = [source(pixels_of(noise(64, 32, mode="RGBA")), "b")]
    several = [source(large, "large", 2.0), source(small, "small")]
    fused = posterior(model, several, structure)
    assert fused.maps[0].mean.shape[2:] == (1, 2)
    reordered = posterior(model, several[::-1], structure)
    assert all(torch.equal(x.mean, y.mean) for x, y in zip(fused, reordered, strict=True))
    heavier = posterior(model, [source(large, "large", 9.0), source(small, "small")], structure)
    assert not torch.equal(fused.maps[0].mean, heavier.maps[0].mean)


def test_a_conditioning_scale_of_0_ignores_the_colours(model: Impasto) -> None:
    a, b = (pixels_of(noise(32, 32, mode="RGBA", seed=seed)) for seed in range(2))
    ignored = posterior(model, [source(a, "a")], [source(b, "b")], scale=0.0)
    assert all((level.mean == 0).all() and (level.log_variance == 0).all() for level in ignored)
