"""Pictures of any size, redrawn in one style."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

from impasto.config import StylizeConfig
from impasto.create.canvas import Canvas
from impasto.create.generate import picture_seed
from impasto.create.paint import paint
from impasto.create.palette import finished, read_palette
from impasto.create.picture import to_image, with_colours_of
from impasto.create.recipe import Recipe
from impasto.create.redraw import told
from impasto.data import Whole
from impasto.errors import ImpastoError
from impasto.model.blocks import Map
from impasto.model.encoder import Hierarchy
from impasto.model.gaussian import Gaussian
from impasto.model.impasto import Impasto
from impasto.model.sampler import StepCallback

WEAKEST_TRUST = 10**-2.5
"""Weight of the content's experts at full strength: the least that the flow has learned to listen to."""


class Stylizer:
    """One style at one strength: reads the references once, then redraws any number of pictures."""

    def __init__(
        self,
        model: Impasto,
        style: Gaussian,
        style_hashes: Sequence[str],
        config: StylizeConfig,
        path: str,
        identity: str,
    ) -> None:
        """``style`` is the pooled style (1, style_dim) of the references that have ``style_hashes``.

        ``path`` and ``identity`` are the model's, for the recipes. Raises ImpastoError for an unusable palette.
        """
        self.model, self.style, self.style_hashes, self.config = model, style, tuple(style_hashes), config
        self.path, self.identity = path, identity
        self.palette = read_palette(config.palette) if config.palette is not None else None

    def recipe(self, picture: Whole) -> Recipe:
        """What ``picture`` is redrawn by."""
        return self.recipe_of(picture.name, picture.content_hash)

    def recipe_of(self, name: str, content_hash: str) -> Recipe:
        """The recipe for content of this name and hash."""
        config = self.config
        return Recipe(
            model=self.path,
            identity=self.identity,
            seed=config.seed,
            index=0,
            steps=config.steps,
            temperature=config.temperature,
            guidance=config.guidance,
            style=config.style,
            style_hashes=self.style_hashes if any(self.style_hashes) else (),
            tile=config.tile,
            palette=str(self.palette) if self.palette is not None else None,
            pixel_art=config.pixel_art,
            content=name,
            content_hash=content_hash,
            strength=config.strength,
            preserve_color=config.preserve_color,
            most=config.most,
        )

    def __call__(self, picture: Whole, on_step: StepCallback | None = None) -> Image.Image:
        """``picture`` at its own size, redrawn. Raises ImpastoError where its size does not allow what is asked."""
        height, width = picture.pixels.shape[1:]
        self.check_size(picture.name, height, width)
        canvas = Canvas.around(height, width, self.model.config.resolution, self.config.tile)
        fused = self.told(canvas.put(picture.pixels))
        return self.finished(canvas.take(self.paint(fused, on_step)), picture.pixels)

    def check_size(self, name: str, height: int, width: int) -> None:
        """Refuse pictures with fewer pixels than pixel art shall have."""
        if self.config.pixel_art is not None and self.config.pixel_art > max(height, width):
            raise ImpastoError(f"--pixel-art {self.config.pixel_art}: {name} is only {width} x {height} px.")

    @torch.no_grad()
    def told(self, picture: Map) -> Hierarchy:
        """What is told of a picture on its canvas: its content, and the style."""
        picture = picture.to(self.style.mean.device, memory_format=torch.channels_last)
        strength = self.config.strength
        return told(self.model, picture, self.style, WEAKEST_TRUST**strength, 1 - strength, self.config.tile)

    def paint(self, fused: Hierarchy, on_step: StepCallback | None = None) -> Map:
        """The canvas in [0, 1], from what was told; always from the same noise."""
        config = self.config
        return paint(
            self.model,
            fused,
            [picture_seed(config.seed, 0)],
            steps=config.steps,
            guidance=config.guidance,
            temperature=config.temperature,
            repeat=config.tile,
            on_step=on_step,
        )

    def finished(self, painted: np.ndarray, original: np.ndarray) -> Image.Image:
        """The picture: float32 ``painted`` and uint8 ``original`` are both (channels, height, width)."""
        if self.config.preserve_color:
            painted = with_colours_of(painted, original.astype(np.float32) / 255)
        return finished(to_image(painted), self.palette, self.config.pixel_art)
