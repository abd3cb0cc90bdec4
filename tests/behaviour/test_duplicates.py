"""Near-duplicates: visually identical images."""

import numpy as np
from PIL import Image, ImageDraw

from images import noise
from impasto.data.duplicates import Signature, near_duplicates, signature_of


def signature(image: Image.Image) -> Signature:
    return signature_of(np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1)))


def test_a_noisy_copy_is_a_duplicate_and_other_images_are_not():
    rng = np.random.default_rng(0)
    images = [noise(64, 64, seed=seed) for seed in range(50)]
    noisy = np.clip(np.asarray(images[7]).astype(int) + rng.integers(-5, 6, (64, 64, 3)), 0, 255)
    signatures = [signature(image) for image in [*images, Image.fromarray(noisy.astype(np.uint8))]]
    assert near_duplicates(signatures) == [[7, 50]]


def test_flat_images_of_different_colours_are_different():
    colours = [(200, 0, 0), (0, 200, 0), (0, 0, 200), (200, 200, 200), (200, 0, 0)]
    assert near_duplicates([signature(Image.new("RGB", (32, 32), colour)) for colour in colours]) == [[0, 4]]


def test_small_icons_on_white_are_different():
    signatures = []
    for index in range(9):
        icon = Image.new("RGB", (64, 64), "white")
        ImageDraw.Draw(icon).rectangle((8 + 4 * index, 20, 16 + 4 * index, 30), fill="black")
        signatures.append(signature(icon))
    assert near_duplicates(signatures) == []


def test_white_shapes_on_transparent_background_differ_by_their_alpha():
    signatures = []
    for left in (0, 32):
        image = Image.new("RGBA", (64, 64), (255, 255, 255, 0))
        image.paste((255, 255, 255, 255), (left, 0, left + 32, 64))
        signatures.append(signature(image))
    assert near_duplicates(signatures) == []
    assert near_duplicates([signatures[0], signatures[0]]) == [[0, 1]]


def test_thousands_of_copies_form_one_group():
    one, other = signature(noise(seed=1)), signature(noise(seed=2))
    groups = near_duplicates([one] * 3000 + [other])
    assert len(groups) == 1 and len(groups[0]) == 3000


def test_sets_of_fewer_than_two_images_have_no_duplicates():
    assert near_duplicates([]) == [] and near_duplicates([signature(noise())]) == []
