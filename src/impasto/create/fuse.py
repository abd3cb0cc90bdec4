"""One image of several: the colours of some, the structure of others, the texture of a third.

Every source is heard through one expert. On the style level each expert tells its own source's style; on the maps the
orientation expert tells the structure. The other experts speak on the maps only where their sources are the structure's
own: elsewhere they would paste a second geometry into the image. Colours are an exception: where they roughly lie is
said softly on the coarsest map.
"""

import dataclasses
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from impasto.config import FuseConfig
from impasto.create.canvas import Canvas
from impasto.create.generate import image_seed, unconditional
from impasto.create.image import to_image
from impasto.create.palette import check_pixel_art, finished, resolved
from impasto.create.sampling import sample_images
from impasto.data import Whole
from impasto.errors import ImpastoError
from impasto.model import tiles
from impasto.model.encoder import Posterior
from impasto.model.fuser import fuse
from impasto.model.gaussian import Gaussian
from impasto.model.impasto import Impasto
from impasto.model.levels import LEVEL_NAMES, NUM_LEVELS, Levels
from impasto.model.prior import Condition, Text
from impasto.model.sampler import StepCallback
from impasto.model.views import VIEW_NAMES

ROUGH_TRUST = 0.1
"""Weight of the layout of colours against that of the structure."""
ROUGH_CELLS = 4
"""Colours are laid out in no more than so many cells a side."""
WEAKEST_TRUST = 10**-2.5
"""Least weight of the sources' experts above 0: the training of the flow has no smaller one."""


@dataclass(frozen=True, eq=False)
class Source:
    """An image, and how much it counts beside the others of its expert."""

    image: Whole
    weight: float

    @property
    def key(self) -> tuple[str, float]:
        """Equal for equal sources; sorts them, so that their order changes not even a bit of the result."""
        return self.image.content_hash, self.weight


def varied(image: str, resampled: Collection[str], settings: FuseConfig) -> FuseConfig:
    """``settings`` for variations of one image, whose levels with the names ``resampled`` are sampled again."""
    for name in resampled:
        if name not in LEVEL_NAMES:
            raise ImpastoError(f"--resample {name}: use one of {', '.join(LEVEL_NAMES)}.")
    style, coarse, middle, fine = (float(name not in resampled) for name in LEVEL_NAMES)
    weights = (style, coarse, middle, fine)
    return dataclasses.replace(_all_of((image,), settings), level_weights=weights)


def between(first: str, second: str, count: int, settings: FuseConfig) -> Iterator[FuseConfig]:
    """``settings`` for ``count`` images between two, both ends included: pools of the two posteriors."""
    for number in range(count):
        share = number / max(1, count - 1)
        yield _all_of((f"{first}:{1 - share:.6g}", f"{second}:{share:.6g}"), settings)


def _all_of(images: tuple[str, ...], settings: FuseConfig) -> FuseConfig:
    return dataclasses.replace(settings, pixel=images, orientation=images, texture=images)


def source_weight(conditioning_scale: float) -> float:
    """Weight of the sources' experts, geometric from `WEAKEST_TRUST` to 1; 0 ignores the sources.

    >>> source_weight(1), source_weight(0.2) > source_weight(0.1), source_weight(0)
    (1.0, True, 0.0)
    """
    return float(WEAKEST_TRUST ** (1 - conditioning_scale)) if conditioning_scale > 0 else 0.0


class Fuser:
    """Listens to all sources once, then paints any number of variations."""

    def __init__(
        self,
        model: Impasto,
        sources: Mapping[str, Sequence[Source]],
        config: FuseConfig,
        style: Gaussian | None = None,
        text: Text | None = None,
        negative_text: Text | None = None,
    ) -> None:
        """``sources`` are those of each expert by its name: pixel, orientation, texture.

        ``style`` (1, style_dim) is what all of it shall look like; the texts are vectors, (1, text_dim). A weight of
        0 is heard by nobody, and counts for the size. The result has the size of the first that gives structure, else
        colours, else texture. Raises ImpastoError for weights, sizes and palettes that do not allow what is asked.
        """
        self.model, self.config = model, config
        for name in VIEW_NAMES:
            if sources[name] and not sum(source.weight for source in sources[name]) > 0:
                raise ImpastoError(f"--{name}: all weights are 0; leave it out, or give one image a weight.")
        self.output, self.palette = resolved(config.output)
        """``output`` names colours instead of a file of them."""
        first = [*sources["orientation"], *sources["pixel"], *sources["texture"]][0].image
        height, width = first.pixels.shape[1:]
        check_pixel_art(config.output.pixel_art, height, width, first.name)
        self.canvas = Canvas.around(height, width, model.config.resolution, config.output.tile)
        posterior = self._fused({name: sorted(sources[name], key=lambda s: s.key) for name in VIEW_NAMES})
        if style is not None:
            # As much as the experts that have sources, of which there may be one to three.
            has_sources = [bool(sources[name]) and config.conditioning_scale > 0 for name in VIEW_NAMES]
            share = sum(has_sources) / len(VIEW_NAMES)
            posterior = posterior.with_style(posterior.style.blend(style, 1 / (1 + share)))
        self.condition = Condition(posterior, text, negative_text)

    def __call__(self, index: int, on_step: StepCallback | None = None) -> Image.Image:
        """Variation number ``index``."""
        config, seeds = self.config, [image_seed(self.config.sampling.seed, index)]
        decoded = sample_images(
            self.model, self.condition, seeds, config.sampling, repeat=config.output.tile, on_step=on_step
        )
        return finished(to_image(self.canvas.take(decoded)), self.output, self.palette)

    def _fused(self, sources: Mapping[str, Sequence[Source]]) -> Posterior:
        """The posterior of all sources."""
        structure = [source.key for source in sources["orientation"] or sources["pixel"]]
        trust = source_weight(self.config.conditioning_scale)
        experts, weights = [], []
        for number, name in enumerate(VIEW_NAMES):
            is_heard = bool(sources[name]) and trust > 0
            is_placed = is_heard and [source.key for source in sources[name]] == structure
            is_rough = is_heard and name == "pixel" and not is_placed
            expert = self._pooled(sources[name], number, is_placed or is_rough)
            experts.append(Levels(expert.style, (_rough(expert.maps[0]), *expert.maps[1:])) if is_rough else expert)
            heard = [ROUGH_TRUST * trust, 0.0, 0.0] if is_rough else [trust * is_placed] * (NUM_LEVELS - 1)
            weights.append([float(is_heard), *heard])
        by_level = torch.tensor(weights) * torch.tensor(self.config.level_weights)
        return fuse(experts, by_level[None].to(experts[0].style.mean.device))

    @torch.no_grad()
    def _pooled(self, sources: Sequence[Source], expert: int, is_placed: bool) -> Posterior:
        """The logarithmic opinion pool of one expert's output for its sources.

        Unless it ``is_placed``, it is left out on the maps: its sources may then have any size.
        """
        device = next(self.model.parameters()).device
        size = (self.canvas.canvas_height, self.canvas.canvas_width)
        nothing = unconditional(self.model.config, 1, device, size)
        if not sources:
            return nothing
        shares = torch.tensor([[source.weight for source in sources]], device=device)
        shares = shares / shares.sum()
        outputs = [self._expert_output(source.image, expert, is_placed) for source in sources]
        if not is_placed:
            return nothing.with_style(Gaussian.cat([output.style for output in outputs]).pool(shares))
        first, *others = outputs
        return first.map(lambda *gaussians: Gaussian.cat(gaussians).pool(shares), *others)

    def _expert_output(self, image: Whole, expert: int, is_placed: bool) -> Posterior:
        height, width = image.pixels.shape[1:]
        canvas = self.canvas if is_placed else Canvas.around(height, width, self.model.config.resolution)
        pixels = image.pixels
        if (height, width) != (canvas.height, canvas.width):
            pixels = _covering(pixels, canvas.height, canvas.width)
        placed = canvas.put(pixels).to(next(self.model.parameters()).device)
        return tiles.encode(self.model.autoencoder, placed, self.config.output.tile)[expert]


def _rough(output: Gaussian) -> Gaussian:
    """An expert's output for a map, averaged over at most ``ROUGH_CELLS`` cells a side."""
    height, width = output.mean.shape[2:]
    cells = min(ROUGH_CELLS, height), min(ROUGH_CELLS, width)
    coarse = output.average(lambda values: F.adaptive_avg_pool2d(values, cells))
    return coarse.apply(lambda values: F.interpolate(values, (height, width), mode="bilinear"))


def _covering(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """uint8 (channels, height, width) scaled to cover a size, its middle cut out."""
    scale = max(height / pixels.shape[1], width / pixels.shape[2])
    size = [max(height, round(scale * pixels.shape[1])), max(width, round(scale * pixels.shape[2]))]
    image = torch.from_numpy(pixels[None]).float()
    scaled = F.interpolate(image, size, mode="bilinear", antialias=True)[0].round().clamp(0, 255).byte().numpy()
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    return scaled[:, top : top + height, left : left + width]
