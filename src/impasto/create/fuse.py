"""Fuse several images into one: the colours of some, the structure of others, the texture of a third.

Each source is encoded by one expert. On the style level every expert contributes the style of its sources. On the maps
the orientation expert contributes the structure. The other experts contribute to the maps only if they have the same
sources as the structure: other sources would add a second geometry. Colours are an exception: if they have other
sources, the pixel expert encodes the structure in their colours.
"""

import dataclasses
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from PIL import Image

from impasto.config import FuseConfig
from impasto.create.canvas import Canvas
from impasto.create.generate import image_seed, unconditional
from impasto.create.image import to_image
from impasto.create.palette import check_pixel_art, finish, resolve_palette
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
from impasto.references import ImageInput, as_references, with_weight

COLOUR_BINS = 64
"""Bins of the colour transfer along each of red, green and blue: pixels in the same bin move together."""
NUM_BASES = 30
"""Number of steps of the colour transfer, each in another basis of the colours."""
TRANSFER_RATE = 0.2
"""Length of a step of the colour transfer: at 1, similar colours separate, and gradients become bands."""
MIN_SOURCE_WEIGHT = 10**-2.5
"""Minimum weight above 0 of the sources' experts: the flow is not trained with smaller weights."""


@dataclass(frozen=True, eq=False)
class Source:
    """An image, and its weight among the sources of its expert."""

    image: Whole
    weight: float

    @property
    def key(self) -> tuple[str, float]:
        """Equal for equal sources. Sources are sorted by it, so that their order does not change the result."""
        return self.image.content_hash, self.weight


def varied(image: ImageInput, resampled: Collection[str], settings: FuseConfig) -> FuseConfig:
    """``settings`` for variations of one image: the levels named in ``resampled`` are sampled from the prior.

    Raises ImpastoError for an unknown level.
    """
    for name in resampled:
        if name not in LEVEL_NAMES:
            raise ImpastoError(f"--resample {name}: use one of {', '.join(LEVEL_NAMES)}.")
    style, coarse, middle, fine = (float(name not in resampled) for name in LEVEL_NAMES)
    weights = (style, coarse, middle, fine)
    return dataclasses.replace(_with_sources(as_references(image, "varied", "image"), settings), level_weights=weights)


def between(first: ImageInput, second: ImageInput, count: int, settings: FuseConfig) -> Iterator[FuseConfig]:
    """Yield ``settings`` for ``count`` interpolations between two images, both ends included.

    Each pools the two posteriors with shares that sum to one.
    """
    (start,), (end,) = as_references(first, "between", "first"), as_references(second, "between", "second")
    for number in range(count):
        share = number / max(1, count - 1)
        pair = with_weight(start, 1 - share), with_weight(end, share)
        yield _with_sources(pair, settings)


def _with_sources(images: tuple[str, ...], settings: FuseConfig) -> FuseConfig:
    return dataclasses.replace(settings, pixel=images, orientation=images, texture=images)


def source_weight(conditioning_scale: float) -> float:
    """Weight of the sources' experts: geometric from `MIN_SOURCE_WEIGHT` to 1; 0 ignores the sources.

    >>> source_weight(1), source_weight(0.2) > source_weight(0.1), source_weight(0)
    (1.0, True, 0.0)
    """
    return float(MIN_SOURCE_WEIGHT ** (1 - conditioning_scale)) if conditioning_scale > 0 else 0.0


class Fuser:
    """Encodes all sources once, then samples any number of variations."""

    def __init__(
        self,
        model: Impasto,
        sources: Mapping[str, Sequence[Source]],
        config: FuseConfig,
        style: Gaussian | None = None,
        text: Text | None = None,
        negative_text: Text | None = None,
    ) -> None:
        """``sources`` maps the name of each expert (pixel, orientation, texture) to its sources.

        ``style``, (1, style_dim), is the style of the whole image. ``text`` and ``negative_text`` are vectors,
        (1, text_dim). The output has the size of the first orientation source, else of the first pixel source, else of
        the first texture source, even if its weight is 0. Raises ImpastoError if all weights of an expert are 0, the
        size does not fit ``config``, or the palette is not usable.
        """
        self.model, self.config = model, config
        for name in VIEW_NAMES:
            if sources[name] and not sum(source.weight for source in sources[name]) > 0:
                raise ImpastoError(f"--{name}: all weights are 0; omit it, or use a weight above 0.")
        self.output, self.palette = resolve_palette(config.output)
        """``output`` lists the colours of its palette instead of naming a file."""
        first = [*sources["orientation"], *sources["pixel"], *sources["texture"]][0].image
        height, width = first.pixels.shape[1:]
        check_pixel_art(config.output.pixel_art, height, width, first.name)
        self.canvas = Canvas.around(height, width, model.config.resolution, config.output.tile)
        posterior = self._posterior({name: sorted(sources[name], key=lambda s: s.key) for name in VIEW_NAMES})
        if style is not None:
            # The style counts as much as the one to three experts that have sources.
            has_sources = [bool(sources[name]) and config.conditioning_scale > 0 for name in VIEW_NAMES]
            share = sum(has_sources) / len(VIEW_NAMES)
            posterior = posterior.with_style(posterior.style.blend(style, 1 / (1 + share)))
        self.condition = Condition(posterior, text, negative_text)

    def __call__(self, index: int, on_step: StepCallback | None = None) -> Image.Image:
        """Variation number ``index``, from 0."""
        config, seeds = self.config, [image_seed(self.config.sampling.seed, index)]
        decoded = sample_images(
            self.model, self.condition, seeds, config.sampling, repeat=config.output.tile, on_step=on_step
        )
        return finish(to_image(self.canvas.take(decoded)), self.output, self.palette)

    def _posterior(self, sources: Mapping[str, Sequence[Source]]) -> Posterior:
        """The posterior of all sources."""
        structure = sources["orientation"] or sources["pixel"]
        weight = source_weight(self.config.conditioning_scale)
        experts, weights = [], []
        for number, name in enumerate(VIEW_NAMES):
            is_used = bool(sources[name]) and weight > 0
            has_structure = is_used and [s.key for s in sources[name]] == [s.key for s in structure]
            is_recoloured = is_used and name == "pixel" and not has_structure
            expert = self._pooled(sources[name], number, has_structure)
            if is_recoloured:
                expert = Levels(expert.style, self._pooled(_recoloured(structure, sources[name]), number, True).maps)
            map_weights = [weight * (has_structure or is_recoloured)] * (NUM_LEVELS - 1)
            experts.append(expert)
            weights.append([float(is_used), *map_weights])
        by_level = torch.tensor(weights) * torch.tensor(self.config.level_weights)
        return fuse(experts, by_level[None].to(experts[0].style.mean.device))

    @torch.no_grad()
    def _pooled(self, sources: Sequence[Source], expert: int, with_maps: bool) -> Posterior:
        """The logarithmic opinion pool of one expert's outputs for its sources.

        Unless ``with_maps``, only the style level is pooled. The sources may then have any size.
        """
        device = next(self.model.parameters()).device
        size = (self.canvas.canvas_height, self.canvas.canvas_width)
        standard = unconditional(self.model.config, 1, device, size)
        if not sources:
            return standard
        shares = torch.tensor([[source.weight for source in sources]], device=device)
        shares = shares / shares.sum()
        outputs = [self._expert_output(source.image, expert, with_maps) for source in sources]
        if not with_maps:
            return standard.with_style(Gaussian.cat([output.style for output in outputs]).pool(shares))
        first, *others = outputs
        return first.map(lambda *gaussians: Gaussian.cat(gaussians).pool(shares), *others)

    def _expert_output(self, image: Whole, expert: int, with_maps: bool) -> Posterior:
        height, width = image.pixels.shape[1:]
        canvas = self.canvas if with_maps else Canvas.around(height, width, self.model.config.resolution)
        pixels = image.pixels
        if (height, width) != (canvas.height, canvas.width):
            pixels = _cover(pixels, canvas.height, canvas.width)
        padded = canvas.put(pixels).to(next(self.model.parameters()).device)
        return tiles.encode(self.model.autoencoder, padded, self.config.output.tile)[expert]


def _recoloured(images: Sequence[Source], colours: Sequence[Source]) -> list[Source]:
    """``images``, each in the colours of all ``colours`` by their weights."""
    references = [(source.image.pixels, source.weight) for source in colours]
    recoloured = [transfer_colours(source.image.pixels, references) for source in images]
    return [
        Source(dataclasses.replace(source.image, pixels=pixels), source.weight)
        for source, pixels in zip(images, recoloured, strict=True)
    ]


def transfer_colours(pixels: np.ndarray, references: Sequence[tuple[np.ndarray, float]]) -> np.ndarray:
    """An image in the colours of others, each with its weight; alpha stays. All are uint8 (channels, height, width).

    Sliced optimal transport (Pitie 2007; Rabin 2012): in one random basis after the other, each coordinate of the
    colours moves towards that of the same rank in the references. Equal colours stay equal. The bases are the same in
    every call.
    """
    image = _Colours.of(pixels)
    parts = [(_Colours.of(reference), weight) for reference, weight in references if weight > 0]
    parts = [(part, weight) for part, weight in parts if part.visible.any()]
    if not image.visible.any() or not parts:
        return pixels
    goal = np.concatenate([part.bins for part, _ in parts])
    goal_shares = np.concatenate([weight * part.shares for part, weight in parts])
    goal_shares /= goal_shares.sum()
    bins, rng = image.bins, np.random.default_rng(0)
    for _ in range(NUM_BASES):
        basis = np.linalg.qr(rng.standard_normal((3, 3)))[0]
        current, wanted = bins @ basis, goal @ basis
        for axis in range(3):
            matched = _matched(current[:, axis], image.shares, wanted[:, axis], goal_shares)
            current[:, axis] += TRANSFER_RATE * (matched - current[:, axis])
        bins = current @ basis.T
    return image.moved(pixels, bins)


def _matched(
    values: Float[np.ndarray, " n"],
    shares: Float[np.ndarray, " n"],
    references: Float[np.ndarray, " m"],
    reference_shares: Float[np.ndarray, " m"],
) -> Float[np.ndarray, " n"]:
    """Optimal transport in one dimension: for each value the mean of the references of the same ranks."""
    order, reference_order = values.argsort(kind="stable"), references.argsort(kind="stable")
    ranks = np.cumsum(np.append(0, shares[order]))
    reference_ranks = np.cumsum(np.append(0, reference_shares[reference_order]))
    integral = np.cumsum(np.append(0, (reference_shares * references)[reference_order]))
    matched = np.empty_like(values)
    matched[order] = np.diff(np.interp(ranks, reference_ranks, integral)) / np.diff(ranks)
    return matched


@dataclass(frozen=True, eq=False)
class _Colours:
    """The colours of an image's visible pixels, and their histogram."""

    visible: np.ndarray
    """bool (height, width): pixels with an alpha above 0. The next three list them in reading order."""
    alpha: Float[np.ndarray, " pixel"]
    straight: Float[np.ndarray, "pixel 3"]
    """Straight colours in [0, 1]."""
    index: np.ndarray
    """int64: the index of each pixel's bin."""
    bins: Float[np.ndarray, "bin 3"]
    """Mean colours of the bins that hold pixels."""
    shares: Float[np.ndarray, " bin"]
    """Share of each bin in the image; they sum to 1. Every pixel counts by its alpha."""

    @classmethod
    def of(cls, pixels: np.ndarray) -> "_Colours":
        """The colours of an image, uint8 (channels, height, width): RGB over white, and alpha."""
        alpha = pixels[3] / 255 if len(pixels) == 4 else np.ones(pixels.shape[1:])
        visible = alpha > 0
        alpha = alpha[visible]
        straight = (1 - (1 - pixels[:3, visible].T / 255) / alpha[:, None]).clip(0, 1)
        digits = np.minimum(straight * COLOUR_BINS, COLOUR_BINS - 1).astype(np.int64)
        codes = digits @ (COLOUR_BINS**2, COLOUR_BINS, 1)
        counts = np.bincount(codes, alpha, COLOUR_BINS**3)
        sums = [np.bincount(codes, alpha * channel, COLOUR_BINS**3) for channel in straight.T]
        used = counts > 0
        index, counts = (np.cumsum(used) - 1)[codes], counts[used]
        return cls(visible, alpha, straight, index, np.stack(sums, 1)[used] / counts[:, None], counts / counts.sum())

    def moved(self, pixels: np.ndarray, bins: Float[np.ndarray, "bin 3"]) -> np.ndarray:
        """The same image with its bins moved to other colours."""
        straight = (self.straight + (bins - self.bins)[self.index]).clip(0, 1)
        result = pixels.copy()
        result[:3, self.visible] = np.rint(255 * (1 - (1 - straight.T) * self.alpha))
        return result


def _cover(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Scale an image, uint8 (channels, height, width), to cover a size in pixels, and crop the centre."""
    scale = max(height / pixels.shape[1], width / pixels.shape[2])
    size = [max(height, round(scale * pixels.shape[1])), max(width, round(scale * pixels.shape[2]))]
    image = torch.from_numpy(pixels[None]).float()
    scaled = F.interpolate(image, size, mode="bilinear", antialias=True)[0].round().clamp(0, 255).byte().numpy()
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    return scaled[:, top : top + height, left : left + width]
