"""Pictures of any size, redrawn in one style."""

import dataclasses
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from impasto.config import StylizeConfig
from impasto.create.canvas import Canvas
from impasto.create.generate import picture_seed
from impasto.create.paint import paint, paint_told
from impasto.create.palette import check_pixel_art, finished, read_palette
from impasto.create.picture import to_image, with_colours_of
from impasto.create.recipe import Recipe
from impasto.data import Whole
from impasto.model import tiles
from impasto.model.autoencoder import Experts
from impasto.model.blocks import Map
from impasto.model.encoder import Hierarchy
from impasto.model.fuser import told
from impasto.model.gaussian import Gaussian
from impasto.model.impasto import Impasto
from impasto.model.prior import Text
from impasto.model.sampler import StepCallback


@dataclass(frozen=True, eq=False)
class Encoded:
    """A picture, and what the experts say of it, whatever the style and its strength."""

    picture: Whole
    canvas: Canvas
    experts: Experts


class Stylizer:
    """One style at one strength: reads the references once, then redraws any number of pictures."""

    def __init__(
        self,
        model: Impasto,
        style: Gaussian,
        recipe: Recipe,
        text: Text | None = None,
        away: Text | None = None,
    ) -> None:
        """``style`` is the pooled style (1, style_dim) of the references; ``recipe`` all that is known
        beforehand. ``text`` and ``away`` are as of `paint`.

        Raises ImpastoError for an unusable palette.
        """
        assert isinstance(recipe.settings, StylizeConfig)
        self.model, self.style, self.config = model, style, recipe.settings
        self.text, self.away = text, away
        self.palette = read_palette(self.config.palette) if self.config.palette is not None else None
        palette = str(self.palette) if self.palette is not None else None
        self._recipe = dataclasses.replace(recipe, settings=dataclasses.replace(self.config, palette=palette))

    def recipe(self, picture: Whole) -> Recipe:
        """What ``picture`` is redrawn by."""
        return self.recipe_of(picture.given, picture.content_hash)

    def recipe_of(self, path: str, content_hash: str) -> Recipe:
        """The recipe for the content at ``path``, which has this hash."""
        return dataclasses.replace(self._recipe, content=path, sources=self._recipe.sources | {path: content_hash})

    def __call__(self, picture: Whole, on_step: StepCallback | None = None) -> Image.Image:
        """``picture`` at its own size, redrawn. Raises ImpastoError where its size does not allow what is asked."""
        return self.redraw(self.read(picture), on_step)

    def read(self, picture: Whole) -> Encoded:
        """``picture`` as the encoders see it. Raises ImpastoError where its size does not allow what is asked."""
        height, width = picture.pixels.shape[1:]
        check_pixel_art(self.config.pixel_art, height, width, picture.name)
        canvas = Canvas.around(height, width, self.model.config.resolution, self.config.tile)
        return Encoded(picture, canvas, self.encode(canvas.put(picture.pixels)))

    def redraw(self, seen: Encoded, on_step: StepCallback | None = None) -> Image.Image:
        """What was read at its own size, redrawn."""
        painted = self.paint(self.told(seen.experts), on_step)
        return self.finished(seen.canvas.take(painted), seen.picture.pixels)

    def encode(self, picture: Map) -> Experts:
        """What the experts say of a picture on its canvas."""
        picture = picture.to(self.style.mean.device, memory_format=torch.channels_last)
        return tiles.encode(self.model.autoencoder, picture, self.config.tile)

    @torch.no_grad()
    def told(self, experts: Experts) -> Hierarchy:
        """What is told of the picture: its content, and the style."""
        return told(experts, self.style, self.config.strength)

    def paint(self, fused: Hierarchy, on_step: StepCallback | None = None) -> Map:
        """The canvas in [0, 1], from what was told; where the flow is followed, always from the same noise."""
        config = self.config
        if not config.follows_flow(self.model.config):
            return paint_told(self.model, fused, config.tile)
        return paint(
            self.model,
            fused,
            [picture_seed(config.seed, 0)],
            config,
            repeat=config.tile,
            text=self.text,
            away=self.away,
            on_step=on_step,
        )

    def finished(self, painted: np.ndarray, original: np.ndarray) -> Image.Image:
        """The picture: float32 ``painted`` and uint8 ``original`` are both (channels, height, width)."""
        if self.config.preserve_color:
            painted = with_colours_of(painted, original.astype(np.float32) / 255)
        return finished(to_image(painted), self.config, self.palette)
