"""Large images tile by tile, and images that tile themselves: the same numbers as from the whole, in bounded memory.

Only the style's statistics depend on the whole image; they are summed over the tiles. Every tile is computed with a
margin as wide as the receptive field, so that no seam appears. Where an image repeats, the margin at its edge comes
from the opposite edge, so that copies of it meet without a seam.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from impasto.config import ModelConfig, Repeat
from impasto.model.autoencoder import Autoencoder, Experts
from impasto.model.blocks import Map
from impasto.model.decoder import Latents
from impasto.model.encoder import Encoder, Features, Posterior, mean_and_deviation, moments
from impasto.model.levels import MAP_STRIDES, Levels
from impasto.model.views import VIEW_NAMES

STRIDE = MAP_STRIDES[0]
"""Tiles and margins are counted in positions of the coarsest map."""
TILE = 32
"""Side of a tile: with its margin it takes about 2 GiB in a model of size base. An image with no more pixels is not
cut."""
ENCODER_MARGIN = 7
"""Receptive field of an expert to each side: views 28 px, convolutions and pooling 187 px."""
STAGE_STRIDES = (2, 4)


@dataclass(frozen=True)
class Span:
    """One tile along one axis, in positions of stride 32."""

    start: int
    stop: int
    first: int
    """Where its margin begins; negative if the image tiles."""
    last: int
    length: int
    """Of the whole axis, in positions of stride 32."""

    def reach(self, stride: int, device: torch.device) -> Tensor:
        """Indices of tile and margin in a map of this stride."""
        scale = STRIDE // stride
        return torch.arange(scale * self.first, scale * self.last, device=device) % (scale * self.length)

    def inner(self, stride: int) -> slice:
        """The tile within its margin."""
        scale = STRIDE // stride
        return slice(scale * (self.start - self.first), scale * (self.stop - self.first))

    def outer(self, stride: int) -> slice:
        """The tile within the image."""
        scale = STRIDE // stride
        return slice(scale * self.start, scale * self.stop)


@dataclass(frozen=True)
class Tile:
    """A rectangle and its margin."""

    rows: Span
    columns: Span

    @property
    def share(self) -> float:
        """Its part of the image's area."""
        rows, columns = self.rows, self.columns
        return (rows.stop - rows.start) * (columns.stop - columns.start) / (rows.length * columns.length)

    def cut(self, x: Map, stride: int) -> Map:
        """Tile and margin, from a map of this stride."""
        rows, columns = self.rows.reach(stride, x.device), self.columns.reach(stride, x.device)
        return x[:, :, rows][:, :, :, columns].contiguous(memory_format=torch.channels_last)

    def keep(self, x: Map, stride: int) -> Map:
        """The tile without its margin, from a map computed on both."""
        return x[:, :, self.rows.inner(stride), self.columns.inner(stride)]

    def place(self, whole: Map, x: Map, stride: int) -> None:
        """Write the tile into the whole map."""
        whole[:, :, self.rows.outer(stride), self.columns.outer(stride)] = x


def tiles(height: int, width: int, margin: int, repeat: Repeat, size: int) -> Iterator[Tile]:
    """The tiles of an image of ``height`` x ``width`` pixels, both multiples of 32."""
    for rows in _spans(height // STRIDE, margin, repeat.along_y, size):
        for columns in _spans(width // STRIDE, margin, repeat.along_x, size):
            yield Tile(rows, columns)


def _spans(length: int, margin: int, repeats: bool, size: int) -> Iterator[Span]:
    for start in range(0, length, size):
        stop = min(start + size, length)
        first, last = start - margin, stop + margin
        yield Span(start, stop, *((first, last) if repeats else (max(0, first), min(length, last))), length)


def decoder_margin(config: ModelConfig) -> int:
    """Receptive field of a pixel to each side: two 3x3 convolutions a block, and those that join the stages."""
    pixels = 4 + sum(2 * depth * stride for depth, stride in zip(config.decoder_depths, (32, 16, 8, 4, 2), strict=True))
    return math.ceil(pixels / STRIDE)


@torch.no_grad()
def encode(model: Autoencoder, image: Map, repeat: Repeat = Repeat.NONE, size: int = TILE) -> Experts:
    """The expert output for images in [0, 1] whose height and width are multiples of 32; as `Autoencoder.experts`."""
    height, width = image.shape[2:]
    if height * width <= (STRIDE * size) ** 2 and repeat is Repeat.NONE:
        return model.experts(image)
    whole = {name: _WholeFeatures(height, width) for name in VIEW_NAMES}
    for tile in tiles(height, width, ENCODER_MARGIN, repeat, size):
        for name, view in zip(VIEW_NAMES, model.views(tile.cut(image, 1)), strict=True):
            whole[name].add(tile, model.encoder(name).features(view))
    return tuple(features.expert(model.encoder(name)) for name, features in whole.items())


class _WholeFeatures:
    """An encoder's features over all tiles: the whole pyramid, and the moments of the large first stages."""

    def __init__(self, height: int, width: int) -> None:
        self.height, self.width = height, width
        self.pyramid: dict[int, Map] = {}
        self.moments = [torch.zeros(()), torch.zeros(())]

    def add(self, tile: Tile, features: Features) -> None:
        """The features of one tile and its margin."""
        for stage, (x, stride) in enumerate(zip(features.stages, STAGE_STRIDES, strict=True)):
            self.moments[stage] = self.moments[stage] + tile.share * torch.stack(moments(tile.keep(x, stride)))
        for x, stride in zip(features.pyramid, MAP_STRIDES, strict=True):
            if stride not in self.pyramid:
                shape = (*x.shape[:2], self.height // stride, self.width // stride)
                self.pyramid[stride] = x.new_empty(shape).contiguous(memory_format=torch.channels_last)
            tile.place(self.pyramid[stride], tile.keep(x, stride), stride)

    def expert(self, encoder: Encoder) -> Posterior:
        """The encoder's output for the whole image."""
        pyramid = [self.pyramid[stride] for stride in MAP_STRIDES]
        every = [*(m.unbind(0) for m in self.moments), *map(moments, pyramid)]
        style = encoder.style(torch.cat([mean_and_deviation(*m) for m in every], 1))
        return Levels(style, encoder.maps(pyramid))


@torch.no_grad()
def decode(model: Autoencoder, latents: Latents, repeat: Repeat = Repeat.NONE, size: int = TILE) -> Map:
    """Images in [0, 1] from latents whose maps may have any size; as `Autoencoder.decode`."""
    rows, columns = latents.maps[0].shape[2:]
    if rows * columns <= size**2 and repeat is Repeat.NONE:
        return model.decode(latents)
    height, width = STRIDE * rows, STRIDE * columns
    image: Map | None = None
    for tile in tiles(height, width, decoder_margin(model.config), repeat, size):
        maps = tuple(tile.cut(z, stride) for z, stride in zip(latents.maps, MAP_STRIDES, strict=True))
        decoded = tile.keep(model.decode(Levels(latents.style, maps)), 1)
        if image is None:
            image = decoded.new_empty(*decoded.shape[:2], height, width)
        tile.place(image, decoded, 1)
    assert image is not None
    return image
