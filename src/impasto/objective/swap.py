"""Swaps: the structure of one image, the colours of a second, the texture of a third (Park 2020).

A swap has no target image. Each source is compared in what it gives: the orientation of edges, the distribution of
colours, the distribution of early features. This teaches the decoder that style and maps may come from different
images, which reconstruction alone never shows.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Generator, Tensor

from impasto.config import ModelConfig
from impasto.model.autoencoder import Experts
from impasto.model.blocks import Map
from impasto.model.encoder import Posterior
from impasto.model.fuser import stylize
from impasto.model.gaussian import Gaussian
from impasto.model.views import VIEW_NAMES, orientation

DIRECTIONS = ((1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1), (1, -1, 0), (0, 1, -1), (-1, 0, 1))
"""Directions in colour space along which distributions are compared."""
ONE_SOURCE = 0.5
"""Probability that colours and texture come from one image, whose style every expert then gives."""


@dataclass(frozen=True)
class SwapSources:
    """The random part of swaps, one row per image of a batch, which gives the structure."""

    strength: Float[Tensor, "batch 1"]
    """Strength of the stylization, see `impasto.model.fuser.stylize`; uniform in [0, 1)."""
    sources: Int[Tensor, "batch expert"]
    """For each expert the image that gives its style: another one, or the image itself."""

    @classmethod
    def draw(cls, batch: int, group: int, generator: Generator) -> "SwapSources":
        """Sources are in the same ``group`` of consecutive rows. Drawn on the CPU: the same on any device."""
        uniform = torch.rand(4, batch, generator=generator)
        own = torch.arange(batch)
        first = own - own % group
        size = (batch - first).clamp(max=group)
        steps = 1 + (uniform[:2] * (size - 1)).long()
        colours, texture = first + (own - first + steps) % size
        is_one_source = uniform[2] < ONE_SOURCE
        sources = {
            "pixel": colours,
            "orientation": torch.where(is_one_source, colours, own),
            "texture": torch.where(is_one_source, colours, texture),
        }
        return cls(uniform[3:].T, torch.stack([sources[name] for name in VIEW_NAMES], 1))

    def rows(self, rows: slice, subset: slice) -> "SwapSources":
        """The ``subset`` of some rows, with sources numbered from the first; those outside become the image itself."""
        sources = self.sources[rows] - rows.start
        own = torch.arange(len(sources))[:, None]
        sources = torch.where((sources >= 0) & (sources < len(sources)), sources, own)
        return SwapSources(self.strength[rows][subset], sources[subset])

    def to(self, device: torch.device) -> "SwapSources":
        """The same numbers on ``device``."""
        return SwapSources(self.strength.to(device), self.sources.to(device))

    def of(self, expert: str) -> Int[Tensor, " batch"]:
        """The sources of one expert, by its name."""
        return self.sources[:, VIEW_NAMES.index(expert)]


def swapped(experts: Experts, subset: slice, swap: SwapSources, config: ModelConfig) -> Posterior:
    """The posterior of swaps: the content of a ``subset`` of images, stylized in the styles of the sources."""
    styles = [expert.style[source] for expert, source in zip(experts, swap.sources.unbind(1), strict=True)]
    style = Gaussian.product(styles, [swap.strength.new_ones(len(swap.strength))] * len(styles))
    content = [expert.map(lambda gaussian: gaussian[subset]) for expert in experts]
    return stylize(content, style, swap.strength, config)


def structure_error(output: Map, source: Map) -> Float[Tensor, " batch"]:
    """One minus the cosine between the double-angle channels of both images' edges, 0 to 2."""
    edges = [orientation(x.float()).unflatten(1, (-1, 3))[:, :, 1:].flatten(1) for x in (output, source)]
    return 1 - F.cosine_similarity(*edges, dim=1)


def colour_error(output: Map, source: Map) -> Float[Tensor, " batch"]:
    """Distance between the colour distributions of two images, averaged over directions.

    A sliced Wasserstein distance (Rabin 2011) between pixels at half the height and width. Transparent pixels do not
    count, so that shapes of any size can have the same colours.
    """
    values, masses = [], []
    for image in (output.float(), source.float()):
        small = F.avg_pool2d(image, 2)
        directions = F.normalize(small.new_tensor(DIRECTIONS), dim=1)
        along = torch.einsum("dc,bchw->bdhw", directions, small[:, :3]).flatten(2)
        mass = small[:, 3:].detach().clamp(min=1e-4) if small.shape[1] > 3 else torch.ones_like(small[:, :1])
        along, order = along.sort(2)
        mass = mass.flatten(2).expand_as(along).gather(2, order)
        values.append(along)
        masses.append(mass / mass.sum(2, keepdim=True))
    below = masses[0].cumsum(2) - masses[0] / 2
    match = torch.searchsorted(masses[1].cumsum(2), below).clamp(max=values[1].shape[2] - 1)
    return (masses[0] * (values[0] - values[1].gather(2, match)).abs()).sum(2).mean(1)
