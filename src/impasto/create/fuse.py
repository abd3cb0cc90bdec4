"""One picture of several: the colours of some, the structure of others, the texture of a third.

Every source is heard through one expert. On the style level each expert tells its own source's style; on the maps the
orientation expert tells the structure. The other experts speak on the maps only where their sources are the structure's
own: elsewhere they would paste a second geometry into the picture. Colours are an exception: where they roughly lie is
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
from impasto.create.generate import picture_seed
from impasto.create.paint import paint
from impasto.create.palette import check_pixel_art, finished, resolved
from impasto.create.picture import to_image
from impasto.data import Whole
from impasto.errors import ImpastoError
from impasto.model import tiles
from impasto.model.autoencoder import LEVEL_NAMES, NUM_LEVELS
from impasto.model.decoder import latent_shapes
from impasto.model.encoder import Hierarchy
from impasto.model.fuser import blend, fuse, pool
from impasto.model.gaussian import Gaussian
from impasto.model.impasto import Impasto
from impasto.model.prior import Text
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
    """A picture, and how much it counts beside the others of its expert."""

    picture: Whole
    weight: float

    @property
    def key(self) -> tuple[str, float]:
        """Equal for equal sources; sorts them, so that their order changes not even a bit of the result."""
        return self.picture.content_hash, self.weight


def varied(picture: str, resampled: Collection[str], settings: FuseConfig) -> FuseConfig:
    """``settings`` for variations of one image, whose levels with the names ``resampled`` are sampled again."""
    for name in resampled:
        if name not in LEVEL_NAMES:
            raise ImpastoError(f"--resample {name}: use one of {', '.join(LEVEL_NAMES)}.")
    style, coarse, middle, fine = (float(name not in resampled) for name in LEVEL_NAMES)
    weights = (style, coarse, middle, fine)
    return dataclasses.replace(_all_of((picture,), settings), level_weights=weights)


def between(first: str, second: str, count: int, settings: FuseConfig) -> Iterator[FuseConfig]:
    """``settings`` for ``count`` images between two, both ends included: pools of the two posteriors."""
    for number in range(count):
        share = number / max(1, count - 1)
        yield _all_of((f"{first}:{1 - share:.6g}", f"{second}:{share:.6g}"), settings)


def _all_of(pictures: tuple[str, ...], settings: FuseConfig) -> FuseConfig:
    return dataclasses.replace(settings, pixel=pictures, orientation=pictures, texture=pictures)


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
        away: Text | None = None,
    ) -> None:
        """``sources`` are those of each expert by its name: pixel, orientation, texture.

        ``style`` (1, style_dim) is what all of it shall look like; ``text`` and ``away`` are as of `paint`. A weight of
        0 is heard by nobody, and counts for the size. The result has the size of the first that gives structure, else
        colours, else texture. Raises ImpastoError for weights, sizes and palettes that do not allow what is asked.
        """
        self.model, self.config, self.text, self.away = model, config, text, away
        for name in VIEW_NAMES:
            if sources[name] and not sum(source.weight for source in sources[name]) > 0:
                raise ImpastoError(f"--{name}: all weights are 0; leave it out, or give one picture a weight.")
        self.output, self.palette = resolved(config.output)
        """``output`` names colours instead of a file of them."""
        first = [*sources["orientation"], *sources["pixel"], *sources["texture"]][0].picture
        height, width = first.pixels.shape[1:]
        check_pixel_art(config.output.pixel_art, height, width, first.name)
        self.canvas = Canvas.around(height, width, model.config.resolution, config.output.tile)
        own, *maps = self._listen({name: sorted(sources[name], key=lambda s: s.key) for name in VIEW_NAMES})
        if style is not None:
            # As much as the experts that are heard on it, of which there may be one to three.
            scale = self.config.conditioning_scale
            heard = sum(bool(sources[name]) for name in VIEW_NAMES) / len(VIEW_NAMES) if scale > 0 else 0.0
            own = blend(own, style, 1 / (1 + heard))
        self.fused: Hierarchy = own, maps[0], maps[1], maps[2]

    def __call__(self, index: int, on_step: StepCallback | None = None) -> Image.Image:
        """Variation number ``index``."""
        seeds = [picture_seed(self.config.sampling.seed, index)]
        painted = paint(
            self.model,
            self.fused,
            seeds,
            self.config.sampling,
            repeat=self.config.output.tile,
            text=self.text,
            away=self.away,
            on_step=on_step,
        )
        return finished(to_image(self.canvas.take(painted)), self.output, self.palette)

    def _listen(self, sources: Mapping[str, Sequence[Source]]) -> Hierarchy:
        """What all sources tell together."""
        structure = [source.key for source in sources["orientation"] or sources["pixel"]]
        trust = source_weight(self.config.conditioning_scale)
        experts, weights = [], []
        for number, name in enumerate(VIEW_NAMES):
            is_heard = bool(sources[name]) and trust > 0
            is_placed = is_heard and [source.key for source in sources[name]] == structure
            is_rough = is_heard and name == "pixel" and not is_placed
            expert = self._pooled(sources[name], number, is_placed or is_rough)
            experts.append((expert[0], _rough(expert[1]), *expert[2:]) if is_rough else expert)
            heard = [ROUGH_TRUST * trust, 0.0, 0.0] if is_rough else [trust * is_placed] * (NUM_LEVELS - 1)
            weights.append([float(is_heard), *heard])
        told = torch.tensor(weights) * torch.tensor(self.config.level_weights)
        return fuse(experts, told[None].to(experts[0][0].mean.device))

    @torch.no_grad()
    def _pooled(self, sources: Sequence[Source], expert: int, is_placed: bool) -> Hierarchy:
        """The logarithmic opinion pool of what one expert says of its sources.

        On the maps it is silent where it ``is_placed`` nowhere: its sources may then have any size.
        """
        device = next(self.model.parameters()).device
        size = (self.canvas.canvas_height, self.canvas.canvas_width)
        style, *maps = (
            Gaussian.standard(torch.zeros(1, *shape, device=device)) for shape in latent_shapes(self.model.config, size)
        )
        if sources:
            shares = torch.tensor([[source.weight for source in sources]], device=device)
            shares = shares / shares.sum()
            said = [self._said(source.picture, expert, is_placed) for source in sources]
            style = _pool([hierarchy[0] for hierarchy in said], shares)
            if is_placed:
                maps = [_pool([hierarchy[level] for hierarchy in said], shares) for level in range(1, NUM_LEVELS)]
        coarse, middle, fine = maps
        return style, coarse, middle, fine

    def _said(self, picture: Whole, expert: int, is_placed: bool) -> Hierarchy:
        height, width = picture.pixels.shape[1:]
        canvas = self.canvas if is_placed else Canvas.around(height, width, self.model.config.resolution)
        pixels = picture.pixels
        if (height, width) != (canvas.height, canvas.width):
            pixels = _covering(pixels, canvas.height, canvas.width)
        placed = canvas.put(pixels).to(next(self.model.parameters()).device)
        return tiles.encode(self.model.autoencoder, placed, self.config.output.tile)[expert]


def _rough(said: Gaussian) -> Gaussian:
    """What is said of a map, pooled over ``ROUGH_CELLS`` cells a side where it has more positions."""
    height, width = said.mean.shape[2:]
    cells = min(ROUGH_CELLS, height), min(ROUGH_CELLS, width)
    precision = F.adaptive_avg_pool2d(said.precision, cells)
    mean = F.adaptive_avg_pool2d(said.precision * said.mean, cells) / precision
    mean, log_variance = (F.interpolate(x, (height, width), mode="bilinear") for x in (mean, -torch.log(precision)))
    return Gaussian(mean, log_variance)


def _covering(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """uint8 (channels, height, width) scaled to cover a size, its middle cut out."""
    scale = max(height / pixels.shape[1], width / pixels.shape[2])
    size = [max(height, round(scale * pixels.shape[1])), max(width, round(scale * pixels.shape[2]))]
    picture = torch.from_numpy(pixels[None]).float()
    scaled = F.interpolate(picture, size, mode="bilinear", antialias=True)[0].round().clamp(0, 255).byte().numpy()
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    return scaled[:, top : top + height, left : left + width]


def _pool(gaussians: Sequence[Gaussian], shares: torch.Tensor) -> Gaussian:
    """`impasto.model.fuser.pool` of Gaussians of any shape, to a batch of one."""
    shape = gaussians[0].mean.shape
    flat = Gaussian(*(torch.cat([getattr(g, n).flatten(1) for g in gaussians]) for n in ("mean", "log_variance")))
    pooled = pool(flat, shares)
    return Gaussian(pooled.mean.reshape(shape), pooled.log_variance.reshape(shape))
