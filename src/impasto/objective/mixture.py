"""What a mixture must show: the structure of one picture, the colours of a second, the texture of a third.

Nobody has painted the mixture, so there is nothing to compare it with as a whole. Each source is asked for what it gave
instead: where edges run, which colours there are, how early features are distributed. This teaches the decoder that
style and maps may come from different pictures, which reconstruction alone never shows it.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Generator, Tensor

from impasto.model.autoencoder import Experts
from impasto.model.blocks import Map
from impasto.model.encoder import Hierarchy
from impasto.model.fuser import fuse_level, told
from impasto.model.views import VIEW_NAMES, orientation

DIRECTIONS = ((1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1), (1, -1, 0), (0, 1, -1), (-1, 0, 1))
"""Of the space of colours, along which distributions are compared."""
ONE_STYLE = 0.5
"""Probability that colours and texture have one source, whose style is then told by every expert."""


@dataclass(frozen=True)
class Mixing:
    """What is random about mixtures, one for each picture of a batch: it gives the structure."""

    strength: Float[Tensor, "batch 1"]
    """How little of the picture's own colours and grain is told, see `told`; uniform in [0, 1)."""
    sources: Int[Tensor, "batch expert"]
    """For each expert the picture whose style it tells: others, or the picture itself where it gives no style."""

    @classmethod
    def draw(cls, batch: int, group: int, generator: Generator) -> "Mixing":
        """Sources come from the same ``group`` of so many rows. Drawn on the CPU: the same on any device."""
        uniform = torch.rand(4, batch, generator=generator)
        own = torch.arange(batch)
        first = own - own % group
        size = (batch - first).clamp(max=group)
        steps = 1 + (uniform[:2] * (size - 1)).long()
        colours, texture = first + (own - first + steps) % size
        is_one_style = uniform[2] < ONE_STYLE
        sources = {
            "pixel": colours,
            "orientation": torch.where(is_one_style, colours, own),
            "texture": torch.where(is_one_style, colours, texture),
        }
        return cls(uniform[3:].T, torch.stack([sources[name] for name in VIEW_NAMES], 1))

    def rows(self, rows: slice, few: slice) -> "Mixing":
        """The ``few`` of some rows, whose sources are numbered from the first on; others become the picture itself."""
        sources = self.sources[rows] - rows.start
        own = torch.arange(len(sources))[:, None]
        sources = torch.where((sources >= 0) & (sources < len(sources)), sources, own)
        return Mixing(self.strength[rows][few], sources[few])

    def of(self, expert: str) -> Int[Tensor, " batch"]:
        """The sources of one expert, by its name."""
        return self.sources[:, VIEW_NAMES.index(expert)]


def mixed(experts: Experts, few: slice, mixing: Mixing) -> Hierarchy:
    """The fused Gaussians of mixtures: the content of a ``few`` pictures as redrawing tells it, the sources' styles."""
    heard = experts[0][0].mean
    told_by = zip(experts, mixing.sources.to(heard.device).unbind(1), strict=True)
    styles = [expert[0][source] for expert, source in told_by]
    style = fuse_level(styles, [heard.new_ones(len(mixing.strength))] * len(styles))
    content = [tuple(level[few] for level in expert) for expert in experts]
    return told(content, style, mixing.strength.to(heard.device))  # pyrefly: ignore


def structure_error(painted: Map, picture: Map) -> Float[Tensor, " batch"]:
    """One minus the cosine between the double-angle channels of both pictures' edges, 0 to 2."""
    edges = [orientation(x.float()).unflatten(1, (-1, 3))[:, :, 1:].flatten(1) for x in (painted, picture)]
    return 1 - F.cosine_similarity(*edges, dim=1)


def colour_error(painted: Map, source: Map) -> Float[Tensor, " batch"]:
    """How far the colours of one picture must be moved to be distributed as those of another, averaged over directions.

    A sliced Wasserstein distance (Rabin 2011) between pixels at half the height and width. Transparent ones do not
    count, so shapes of any size can have the same colours.
    """
    values, masses = [], []
    for picture in (painted.float(), source.float()):
        small = F.avg_pool2d(picture, 2)
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
