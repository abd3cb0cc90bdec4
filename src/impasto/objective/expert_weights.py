"""Random weights of experts, levels and styles for the images of a batch.

A product of experts is only usable one expert at a time if it was trained so: each batch holds full sets, single
experts and random subsets with random weights. Fine levels are dropped at random (nested dropout, Rippel 2014), so that
each coarse prefix decodes to the best image it can. Styles often come from other images of the collection (Bouchacourt
2018).
"""

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor

from impasto.config import ObjectiveConfig
from impasto.model.autoencoder import NUM_EXPERTS
from impasto.model.levels import NUM_LEVELS


def draw_weights(
    config: ObjectiveConfig, batch: int, generator: Generator
) -> tuple[Float[Tensor, "batch expert level"], Float[Tensor, "batch level"]]:
    """Weights of the experts, and 1 for each level that an image keeps, 0 for those that are dropped.

    Drawn on the CPU from ``generator``, so that they are the same on any device.
    """
    weights = torch.ones(batch, NUM_EXPERTS, NUM_LEVELS)
    kind = torch.rand(batch, generator=generator)
    alone = torch.randint(NUM_EXPERTS, (batch,), generator=generator)
    subset = torch.rand(batch, NUM_EXPERTS, NUM_LEVELS, generator=generator)
    present = torch.rand(batch, NUM_EXPERTS, 1, generator=generator) < 0.67
    is_alone = kind < config.single_expert
    is_subset = ~is_alone & (kind < config.single_expert + config.random_experts)
    weights[is_alone] = torch.nn.functional.one_hot(alone, NUM_EXPERTS)[is_alone][:, :, None].float()
    weights[is_subset] = (subset * present)[is_subset]

    keeps = torch.ones(batch, NUM_LEVELS)
    drops = torch.rand(batch, generator=generator) < config.level_dropout
    prefix = torch.randint(1, NUM_LEVELS, (batch,), generator=generator)
    keeps[drops] = (torch.arange(NUM_LEVELS) < prefix[:, None])[drops].float()
    return weights, keeps


def draw_style_sources(
    config: ObjectiveConfig, collections: Int[Tensor, " batch"], generator: Generator
) -> Float[Tensor, "batch batch"]:
    """For each image, the shares (summing to one) of the batch's images whose pooled style it is decoded with.

    Itself, or with probability ``shared_style`` one to four other images of its collection.
    """
    batch = len(collections)
    sources = torch.eye(batch)
    shares = torch.rand(batch, generator=generator) < config.shared_style
    scores = torch.rand(batch, batch, generator=generator)
    counts = torch.randint(1, 5, (batch,), generator=generator)
    allowed = (collections[:, None] == collections[None, :]) & ~torch.eye(batch, dtype=torch.bool)
    ranks = scores.masked_fill(~allowed, -1).argsort(1, descending=True).argsort(1)
    chosen = ((ranks < counts[:, None]) & allowed).float()
    found = shares & (chosen.sum(1) > 0)
    sources[found] = (chosen / chosen.sum(1, keepdim=True).clamp(min=1))[found]
    return sources
