"""The latent hierarchy: order, maps over levels, prefixes."""

import pytest
import torch

from impasto.config import ModelConfig, Size, sized_model
from impasto.model.decoder import latent_shapes
from impasto.model.levels import LEVEL_NAMES, MAP_STRIDES, NUM_LEVELS, Levels


def test_names_and_strides_go_from_coarse_to_fine() -> None:
    assert LEVEL_NAMES == ("style", "stride32", "stride16", "stride8") and len(LEVEL_NAMES) == NUM_LEVELS
    assert list(MAP_STRIDES) == sorted(MAP_STRIDES, reverse=True)


def test_levels_are_mapped_zipped_and_cut() -> None:
    levels = Levels.of(range(4))
    assert list(levels) == [0, 1, 2, 3] and levels.style == 0 and levels.maps == (1, 2, 3)
    assert list(levels.map(lambda a, b: 10 * a + b, Levels.of(range(4)))) == [0, 11, 22, 33]
    assert list(levels.zip(Levels.of("abcd"))) == [(0, "a"), (1, "b"), (2, "c"), (3, "d")]
    assert [list(levels.prefix(k, lambda value: -value)) for k in (1, 4)] == [[0, -1, -2, -3], [0, 1, 2, 3]]
    assert list(levels.with_style(7)) == [7, 1, 2, 3]


def test_levels_of_different_depth_do_not_go_together() -> None:
    with pytest.raises(ValueError, match="zip"):
        Levels.of(range(4)).map(max, Levels.of(range(3)))


@pytest.mark.parametrize("size", [size for size in Size if size is not Size.AUTO])
def test_shapes_follow_the_strides(size: Size) -> None:
    config: ModelConfig = sized_model(size, channels=4, resolution=64, collections=())
    shapes = latent_shapes(config, (96, 160))
    assert shapes.style == (config.style_dim,)
    expected = [(c, 96 // s, 160 // s) for c, s in zip(config.map_channels, MAP_STRIDES, strict=True)]
    assert list(shapes.maps) == expected
    assert latent_shapes(config).map(lambda shape: torch.zeros(shape)).maps[0].shape == (config.map_channels[0], 2, 2)
