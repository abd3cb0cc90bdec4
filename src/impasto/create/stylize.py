"""Pictures of any size, redrawn in one style."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

from impasto.config import StylizeConfig
from impasto.create.canvas import Canvas
from impasto.create.generate import picture_seed
from impasto.create.palette import finished, read_palette
from impasto.create.picture import to_image, with_colours_of
from impasto.create.recipe import Recipe
from impasto.create.redraw import redraw
from impasto.data import Whole
from impasto.errors import ImpastoError
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
            content=picture.name,
            content_hash=picture.content_hash,
            strength=config.strength,
            preserve_color=config.preserve_color,
            most=config.most,
        )

    def __call__(self, picture: Whole, on_step: StepCallback | None = None) -> Image.Image:
        """``picture`` at its own size, redrawn. Raises ImpastoError where its size does not allow what is asked."""
        config = self.config
        height, width = picture.pixels.shape[1:]
        if config.pixel_art is not None and config.pixel_art > max(height, width):
            raise ImpastoError(f"--pixel-art {config.pixel_art}: {picture.name} is only {width} x {height} px.")
        canvas = Canvas.around(height, width, self.model.config.resolution, config.tile)
        painted = redraw(
            self.model,
            canvas.put(picture.pixels).to(self.style.mean.device, memory_format=torch.channels_last),
            self.style,
            trust=WEAKEST_TRUST**config.strength,
            own_style=1 - config.strength,
            seeds=[picture_seed(config.seed, 0)],
            steps=config.steps,
            guidance=config.guidance,
            temperature=config.temperature,
            repeat=config.tile,
            on_step=on_step,
        )
        array = canvas.take(painted)
        if config.preserve_color:
            array = with_colours_of(array, picture.pixels.astype(np.float32) / 255)
        return finished(to_image(array), self.palette, config.pixel_art)
