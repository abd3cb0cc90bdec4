"""Images of any size, stylized in one style."""

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
from impasto.create.palette import check_pixel_art, finished, resolved
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
"""Places in a square of the finest map, in pixels: those that leave the weakest grid artefacts of `painter`."""


Shifted = tuple[tuple[Canvas, Experts], ...]
"""An image on canvases, at another place on each, and the experts' outputs there."""


@dataclass(frozen=True, eq=False)
class Encoded:
    """An image, and what the experts say of it, whatever the style and its strength."""

    image: Whole
    shifted: Shifted


class Stylizer:
    """One style at one strength: reads the references once, then stylizes any number of images."""

    def __init__(
        self,
        model: Impasto,
        style: Gaussian,
        recipe: Recipe,
        text: Text | None = None,
        negative_text: Text | None = None,
    ) -> None:
        """``style`` is the pooled style (1, style_dim) of the references; ``recipe`` all that is known
        beforehand. the texts are vectors, (1, text_dim).

        Raises ImpastoError for an unusable palette, and for settings that do nothing with ``model``.
        """
        assert isinstance(recipe.settings, StylizeConfig)
        self.model, self.style, self.config = model, style, recipe.settings
        self.config.check_model(model.config)
        self.text, self.negative_text = text, negative_text
        output, self.palette = resolved(self.config.output)
        self._recipe = dataclasses.replace(recipe, settings=dataclasses.replace(self.config, output=output))

    def recipe(self, image: Whole) -> Recipe:
        """What ``image`` is stylized by."""
        return self.recipe_of(image.path, image.content_hash)

    def recipe_of(self, path: str, content_hash: str) -> Recipe:
        """The recipe for the content at ``path``, which has this hash."""
        return dataclasses.replace(self._recipe, content=path, sources=self._recipe.sources | {path: content_hash})

    def __call__(self, image: Whole, on_step: StepCallback | None = None) -> Image.Image:
        """``image`` at its own size, stylized. Raises ImpastoError where its size does not allow what is asked."""
        return self.stylize(self.read(image), on_step)

    def read(self, image: Whole) -> Encoded:
        """``image`` as the encoders see it. Raises ImpastoError where its size does not allow what is asked."""
        height, width = image.pixels.shape[1:]
        check_pixel_art(self.config.output.pixel_art, height, width, image.name)
        return Encoded(image, self.seen(image.pixels))

    def seen(self, pixels: np.ndarray) -> Shifted:
        """uint8 (channels, height, width) as the encoders see it. Raises ImpastoError as `canvases` does."""
        canvases = self.canvases(*pixels.shape[1:])
        return tuple((canvas, self.encode(canvas.put(pixels))) for canvas in canvases)

    def canvases(self, height: int, width: int) -> list[Canvas]:
        """One for each shift of images of this size. Raises ImpastoError where it does not allow what is asked."""
        config = self.config
        canvas = Canvas.around(height, width, self.model.config.resolution, config.output.tile)
        return [canvas.moved(*shift, config.output.tile) for shift in shifts(config.num_shifts)]

    def stylize(self, seen: Encoded, on_step: StepCallback | None = None) -> Image.Image:
        """What was read at its own size, stylized."""
        return self.finished(self.decoded(seen.shifted, on_step), seen.image.pixels)

    def decoded(self, shifted: Shifted, on_step: StepCallback | None = None) -> np.ndarray:
        """float32 (channels, height, width) in [0, 1]: the mean over all shifts."""
        decoded = [canvas.take(self.output(self.posterior(experts), on_step)) for canvas, experts in shifted]
        return np.mean(decoded, 0)

    def encode(self, image: Map) -> Experts:
        """What the experts say of an image on its canvas."""
        image = image.to(self.style.mean.device, memory_format=torch.channels_last)
        return tiles.encode(self.model.autoencoder, image, self.config.output.tile)

    @torch.no_grad()
    def posterior(self, experts: Experts) -> Posterior:
        """Of the image's content and the style."""
        return stylize(experts, self.style, self.config.strength, self.model.config)

    def output(self, posterior: Posterior, on_step: StepCallback | None = None) -> Map:
        """The canvas in [0, 1]; the flow, if it is used, always starts from the same noise."""
        config = self.config
        if not config.follows_flow(self.model.config):
            return decode_modes(self.model, posterior, config.output.tile)
        condition = Condition(posterior, self.text, self.negative_text)
        seeds = [image_seed(config.sampling.seed, 0)]
        return sample_images(self.model, condition, seeds, config.sampling, repeat=config.output.tile, on_step=on_step)

    def finished(self, decoded: np.ndarray, original: np.ndarray) -> Image.Image:
        """The image: float32 ``decoded`` and uint8 ``original`` are both (channels, height, width)."""
        if self.config.preserve_color:
            decoded = with_colours_of(decoded, original.astype(np.float32) / 255)
        return finished(to_image(decoded), self.config.output, self.palette)


@torch.no_grad()
def stylize_batch(
    model: Impasto, image: Map, style: Gaussian, *, strength: float, seeds: Sequence[int], settings: Sampling
) -> Map:
    """Images in [0, 1] with the content of ``image`` (also in [0, 1]) and ``style``, one Gaussian each.

    ``strength`` is that of `impasto.model.fuser.stylize`. One seed per image determines the noise of the flow, which is
    left out if the model stylizes without it.
    """
    posterior = stylize(tiles.encode(model.autoencoder, image), style, strength, model.config)
    if model.config.decoder_only_stylization:
        return decode_modes(model, posterior)
    return sample_images(model, Condition(posterior), seeds, settings)


def shifts(num_shifts: int) -> list[tuple[int, int]]:
    """Pixels down and right of each of 1, 2, 4 or 8 shifts: to different places in the squares of all maps.

    The average over shifts has no artefacts of the grid of squares (Coifman 1995, "cycle spinning").

    >>> shifts(4)
    [(0, 0), (10, 27), (21, 18), (31, 13)]
    """
    fine, squares = MAP_STRIDES[-1], MAP_STRIDES[0] // MAP_STRIDES[-1]
    return [
        (down + fine * (k % squares), right + fine * (3 * k % squares))
        for k, (down, right) in enumerate(SHIFTS[num_shifts])
    ]
