"""Stylize images of any size."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from impasto.config import Sampling, StylizeConfig
from impasto.create.canvas import Canvas
from impasto.create.generate import image_seed
from impasto.create.image import to_image, with_colours_of
from impasto.create.palette import check_pixel_art, finish, resolve_palette
from impasto.create.recipe import Recipe
from impasto.create.sampling import decode_modes, sample_images
from impasto.data import Whole
from impasto.model import tiles
from impasto.model.autoencoder import Experts
from impasto.model.blocks import Map
from impasto.model.encoder import Posterior
from impasto.model.fuser import stylize
from impasto.model.gaussian import Gaussian
from impasto.model.impasto import Impasto
from impasto.model.levels import MAP_STRIDES
from impasto.model.prior import Condition, Text
from impasto.model.sampler import StepCallback

SHIFTS = {
    1: ((0, 0),),
    2: ((0, 0), (3, 6)),
    4: ((0, 0), (2, 3), (5, 2), (7, 5)),
    8: ((0, 0), (5, 3), (4, 6), (2, 1), (1, 5), (7, 4), (3, 2), (6, 7)),
}
"""Shifts in pixels, down and right, within a position of the finest map. These leave the weakest grid artefacts of the
built-in model `painter`."""

ShiftedExperts = tuple[tuple[Canvas, Experts], ...]
"""For each shift of an image: its canvas, and the expert outputs for it."""


@dataclass(frozen=True, eq=False)
class Encoded:
    """An image and its expert outputs, which depend neither on the style nor on its strength."""

    image: Whole
    experts: ShiftedExperts


class Stylizer:
    """Stylizes any number of images in one style, which is pooled once."""

    def __init__(
        self,
        model: Impasto,
        style: Gaussian,
        recipe: Recipe,
        text: Text | None = None,
        negative_text: Text | None = None,
    ) -> None:
        """``style`` is the pooled style, (1, style_dim). ``recipe`` holds the settings, and lacks the content.

        ``text`` and ``negative_text`` are vectors, (1, text_dim). Raises ImpastoError for a palette that is not usable,
        and for settings that have no effect with ``model``.
        """
        assert isinstance(recipe.settings, StylizeConfig)
        self.model, self.style, self.config = model, style, recipe.settings
        self.config.check_model(model.config)
        self.text, self.negative_text = text, negative_text
        output, self.palette = resolve_palette(self.config.output)
        self._recipe = dataclasses.replace(recipe, settings=dataclasses.replace(self.config, output=output))

    def __call__(self, image: Whole, on_step: StepCallback | None = None) -> Image.Image:
        """Stylize ``image`` at its own size. Raises ImpastoError if its size does not fit the settings."""
        return self.stylize(self.read(image), on_step)

    def read(self, image: Whole) -> Encoded:
        """Encode ``image``. Raises ImpastoError if its size does not fit the settings."""
        height, width = image.pixels.shape[1:]
        check_pixel_art(self.config.output.pixel_art, height, width, image.name)
        return Encoded(image, self.encode_shifts(image.pixels))

    def stylize(self, encoded: Encoded, on_step: StepCallback | None = None) -> Image.Image:
        """Stylize an encoded image at its own size."""
        return self.finish(self.decode_shifts(encoded.experts, on_step), encoded.image.pixels)

    def recipe(self, image: Whole) -> Recipe:
        """The recipe of the stylized ``image``."""
        return self.recipe_of(image.path, image.content_hash)

    def recipe_of(self, path: str, content_hash: str) -> Recipe:
        """The recipe for the content at ``path``, which has this hash."""
        return dataclasses.replace(self._recipe, content=path, sources=self._recipe.sources | {path: content_hash})

    def canvases(self, height: int, width: int) -> list[Canvas]:
        """One canvas per shift, for images of this size in pixels.

        Raises ImpastoError if the image repeats, and its size is not a multiple of 32 px.
        """
        config = self.config
        canvas = Canvas.around(height, width, self.model.config.resolution, config.output.tile)
        return [canvas.moved(*shift, config.output.tile) for shift in shifts(config.num_shifts)]

    def encode_shifts(self, pixels: np.ndarray) -> ShiftedExperts:
        """Encode each shift of an image, uint8 (channels, height, width). Raises as `canvases` does."""
        canvases = self.canvases(*pixels.shape[1:])
        return tuple((canvas, self.encode(canvas.put(pixels))) for canvas in canvases)

    def decode_shifts(self, shifted: ShiftedExperts, on_step: StepCallback | None = None) -> np.ndarray:
        """The mean output over all shifts: float32 (channels, height, width) in [0, 1]."""
        outputs = [canvas.take(self.output(self.posterior(experts), on_step)) for canvas, experts in shifted]
        return np.mean(outputs, 0)

    def encode(self, image: Map) -> Experts:
        """The expert outputs for an image on its canvas."""
        image = image.to(self.style.mean.device, memory_format=torch.channels_last)
        return tiles.encode(self.model.autoencoder, image, self.config.output.tile)

    @torch.no_grad()
    def posterior(self, experts: Experts) -> Posterior:
        """The posterior of the content in the new style."""
        return stylize(experts, self.style, self.config.strength, self.model.config)

    def output(self, posterior: Posterior, on_step: StepCallback | None = None) -> Map:
        """Decode a posterior to a canvas in [0, 1]. The noise of the flow is the same in every call."""
        config = self.config
        if not config.follows_flow(self.model.config):
            return decode_modes(self.model, posterior, config.output.tile)
        condition = Condition(posterior, self.text, self.negative_text)
        seeds = [image_seed(config.sampling.seed, 0)]
        return sample_images(self.model, condition, seeds, config.sampling, repeat=config.output.tile, on_step=on_step)

    def finish(self, decoded: np.ndarray, original: np.ndarray) -> Image.Image:
        """Convert the output, float32 (channels, height, width), to an image.

        ``original``, uint8 of the same shape, gives the colours if the settings preserve them.
        """
        if self.config.preserve_color:
            decoded = with_colours_of(decoded, original.astype(np.float32) / 255)
        return finish(to_image(decoded), self.config.output, self.palette)


@torch.no_grad()
def stylize_batch(
    model: Impasto, image: Map, style: Gaussian, *, strength: float, seeds: Sequence[int], settings: Sampling
) -> Map:
    """Stylize a batch of images in [0, 1] at the training size; ``style`` is (batch, style_dim).

    ``strength`` in [0, 1] is that of `impasto.model.fuser.stylize`. One seed per image determines the noise of the
    flow. Models with decoder-only stylization do not use the flow.
    """
    posterior = stylize(tiles.encode(model.autoencoder, image), style, strength, model.config)
    if model.config.decoder_only_stylization:
        return decode_modes(model, posterior)
    return sample_images(model, Condition(posterior), seeds, settings)


def shifts(num_shifts: int) -> list[tuple[int, int]]:
    """Shifts in pixels, down and right; ``num_shifts`` is 1, 2, 4 or 8.

    They differ within a position of every map, so the mean over shifts has no grid artefacts (Coifman & Donoho 1995,
    "cycle spinning").

    >>> shifts(4)
    [(0, 0), (10, 27), (21, 18), (31, 13)]
    """
    fine, positions = MAP_STRIDES[-1], MAP_STRIDES[0] // MAP_STRIDES[-1]
    return [
        (down + fine * (k % positions), right + fine * (3 * k % positions))
        for k, (down, right) in enumerate(SHIFTS[num_shifts])
    ]
