"""Couplings: what the prior flow is conditioned on in training, drawn at random for each image."""

from dataclasses import dataclass

import numpy as np

from impasto.config import CouplingConfig
from impasto.model.autoencoder import NUM_EXPERTS
from impasto.model.levels import NUM_LEVELS

MAX_REFERENCES = 4


@dataclass(frozen=True)
class Coupling:
    """Conditions of one batch; rows are images."""

    content: np.ndarray
    """int64 (batch,): the image whose experts give the content."""
    weights: np.ndarray
    """float32 (batch, expert, level): their weights; zero on the style level, and everywhere without content."""
    style: np.ndarray
    """int64 (batch, references): the images whose styles are pooled; the last is the image itself."""
    style_weights: np.ndarray
    """float32 (batch, references, expert): share of each reference in each expert's pool; for every expert they sum to
    one, or are all zero if the expert is left out."""
    has_text: np.ndarray
    """bool (batch,): whether the caption is given."""


class Coupler:
    """Draws couplings for a fixed set of training images, from their collections and keys."""

    def __init__(self, collection_ids: np.ndarray, key_ids: np.ndarray, config: CouplingConfig | None = None) -> None:
        self.config = config or CouplingConfig()
        self.members = _Groups(collection_ids)
        # An image without a key shares it with no other.
        alone = key_ids.max(initial=-1) + 1 + np.arange(len(key_ids))
        self.parallel = _Groups(np.where(key_ids < 0, alone, key_ids))

    def draw(self, images: np.ndarray, rng: np.random.Generator) -> Coupling:
        """Conditions for ``images`` (indices into the set); the same for the same state of ``rng``."""
        config, batch = self.config, len(images)
        references = self.members.any_of(images, rng.random((batch, MAX_REFERENCES)))
        style = np.concatenate([references, images[:, None]], 1)

        # Shares of the references: a symmetric Dirichlet distribution over a random number of them.
        shares = np.zeros((batch, MAX_REFERENCES + 1))
        shares[:, :-1] = rng.standard_gamma(4.0, (batch, MAX_REFERENCES))
        shares[np.arange(MAX_REFERENCES + 1) >= rng.integers(1, MAX_REFERENCES + 1, batch)[:, None]] = 0
        shares /= shares.sum(1, keepdims=True)
        own = np.broadcast_to(np.eye(MAX_REFERENCES + 1)[-1], shares.shape)
        is_own = rng.random(batch) < config.own_style
        is_per_expert = rng.random(batch) < config.style_per_expert
        together = np.where(is_own, 1, 0)[:, None]
        source_of_expert = np.where(is_per_expert[:, None], rng.integers(0, 3, (batch, NUM_EXPERTS)), together)
        sources = np.stack([shares, own, np.zeros_like(shares)], 1)
        style_weights = (
            np.take_along_axis(sources, source_of_expert[:, :, None], 1).transpose(0, 2, 1).astype(np.float32)
        )

        is_parallel = rng.random(batch) < config.parallel_content
        content = np.where(is_parallel, self.parallel.other_than(images, rng.random(batch)), images)
        unconditional = rng.random(batch) < config.no_style
        style_weights[unconditional] = 0
        # Without style there is mostly no text either: guidance extrapolates from both.
        has_text = rng.random(batch) >= np.where(unconditional, 0.5, config.no_text)

        strength = 10 ** rng.uniform(config.min_weight_log10, 0, (batch, 1, 1))
        expert_scale = 10 ** rng.uniform(-0.5, 0, (batch, NUM_EXPERTS, NUM_LEVELS))
        present = rng.random((batch, NUM_EXPERTS, 1)) < 0.67
        has_content = rng.random((batch, 1, 1)) >= config.no_content
        weights = (strength * expert_scale * present * has_content).astype(np.float32)
        weights[:, :, 0] = 0
        return Coupling(content, weights, style, style_weights, has_text)


class _Groups:
    """Images in groups, to be drawn by uniform numbers in [0, 1)."""

    def __init__(self, group_ids: np.ndarray) -> None:
        self.order = np.argsort(group_ids, kind="stable")
        _, inverse, counts = np.unique(group_ids, return_inverse=True, return_counts=True)
        self.start = (np.cumsum(counts) - counts)[inverse]
        self.count = counts[inverse]
        self.place = np.argsort(self.order) - self.start
        """Of every image in its group."""

    def any_of(self, images: np.ndarray, uniform: np.ndarray) -> np.ndarray:
        """For each image (batch,) one of its group per uniform number (batch, n)."""
        return self.order[self.start[images, None] + (uniform * self.count[images, None]).astype(np.int64)]

    def other_than(self, images: np.ndarray, uniform: np.ndarray) -> np.ndarray:
        """For each image another one of its group; itself if there is none."""
        count = self.count[images]
        step = 1 + (uniform * (count - 1)).astype(np.int64)
        return self.order[self.start[images] + (self.place[images] + step) % count]
