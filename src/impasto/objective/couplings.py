"""What the prior flow is told about a picture while it learns to finish it: which experts, how sure, in whose style."""

from dataclasses import dataclass

import numpy as np

from impasto.model.autoencoder import NUM_EXPERTS, NUM_LEVELS

MAX_REFERENCES = 4


@dataclass(frozen=True)
class CouplingConfig:
    """How often the flow's source knows what."""

    no_style: float = 0.1
    """Probability that nothing is said of the style: what classifier-free guidance needs."""
    own_style: float = 0.1
    """Probability that the style is the picture's own, not its collection's."""
    mixed_style: float = 0.2
    """Probability that every expert's word on the style has a source of its own: the colours of one picture, the
    texture of others, or nothing."""
    no_content: float = 0.5
    """Probability that nothing is said of the content: pure generation."""
    parallel_content: float = 0.5
    """Probability that told content comes from another collection's picture of the same thing, where there is one."""
    no_text: float = 0.2
    """Probability that a picture's caption is not told, besides where nothing is said of the style."""
    weakest_log10: float = -2.5
    """Content weights are drawn log-uniformly between ten to this power and one."""


@dataclass(frozen=True)
class Coupling:
    """One batch of conditions: rows are pictures."""

    content: np.ndarray
    """int64 (batch,): the picture whose experts tell the content."""
    weights: np.ndarray
    """float32 (batch, expert, level): their weights; zero on the style level and where nothing is told."""
    style: np.ndarray
    """int64 (batch, references): the pictures whose styles are told; the last is the picture itself."""
    style_weights: np.ndarray
    """float32 (batch, references, expert): how much of each reference's style each expert tells; for every expert they
    sum to one, or are all zero where it tells nothing."""
    tells_text: np.ndarray
    """bool (batch,): whether the picture's caption is told."""


class Coupler:
    """Draws couplings for a fixed set of training pictures, from their collections and keys."""

    def __init__(self, collection_ids: np.ndarray, key_ids: np.ndarray, config: CouplingConfig | None = None) -> None:
        self.config = config or CouplingConfig()
        self.members = _Groups(collection_ids)
        # A picture without a key is alone with it.
        alone = key_ids.max(initial=-1) + 1 + np.arange(len(key_ids))
        self.parallel = _Groups(np.where(key_ids < 0, alone, key_ids))

    def draw(self, pictures: np.ndarray, rng: np.random.Generator) -> Coupling:
        """Conditions for ``pictures`` (indices into the set); the same for the same state of ``rng``."""
        config, batch = self.config, len(pictures)
        references = self.members.any_of(pictures, rng.random((batch, MAX_REFERENCES)))
        style = np.concatenate([references, pictures[:, None]], 1)

        # Shares of the references: a symmetric Dirichlet distribution over as many as are told.
        shares = np.zeros((batch, MAX_REFERENCES + 1))
        shares[:, :-1] = rng.standard_gamma(4.0, (batch, MAX_REFERENCES))
        shares[np.arange(MAX_REFERENCES + 1) >= rng.integers(1, MAX_REFERENCES + 1, batch)[:, None]] = 0
        shares /= shares.sum(1, keepdims=True)
        own = np.broadcast_to(np.eye(MAX_REFERENCES + 1)[-1], shares.shape)
        is_own = rng.random(batch) < config.own_style
        is_mixed = rng.random(batch) < config.mixed_style
        together = np.where(is_own, 1, 0)[:, None]
        chosen = np.where(is_mixed[:, None], rng.integers(0, 3, (batch, NUM_EXPERTS)), together)
        sources = np.stack([shares, own, np.zeros_like(shares)], 1)
        style_weights = np.take_along_axis(sources, chosen[:, :, None], 1).transpose(0, 2, 1).astype(np.float32)

        is_parallel = rng.random(batch) < config.parallel_content
        content = np.where(is_parallel, self.parallel.other_than(pictures, rng.random(batch)), pictures)
        silent = rng.random(batch) < config.no_style
        style_weights[silent] = 0
        # Where style is not told, text mostly is not either: guidance goes away from both.
        tells_text = rng.random(batch) >= np.where(silent, 0.5, config.no_text)

        strength = 10 ** rng.uniform(config.weakest_log10, 0, (batch, 1, 1))
        spread = 10 ** rng.uniform(-0.5, 0, (batch, NUM_EXPERTS, NUM_LEVELS))
        present = rng.random((batch, NUM_EXPERTS, 1)) < 0.67
        told = rng.random((batch, 1, 1)) >= config.no_content
        weights = (strength * spread * present * told).astype(np.float32)
        weights[:, :, 0] = 0
        return Coupling(content, weights, style, style_weights, tells_text)


class _Groups:
    """Pictures in groups, to be drawn from by uniform numbers in [0, 1)."""

    def __init__(self, group_ids: np.ndarray) -> None:
        self.order = np.argsort(group_ids, kind="stable")
        _, inverse, counts = np.unique(group_ids, return_inverse=True, return_counts=True)
        self.start = (np.cumsum(counts) - counts)[inverse]
        self.count = counts[inverse]
        self.place = np.argsort(self.order) - self.start
        """Of every picture in its group."""

    def any_of(self, pictures: np.ndarray, uniform: np.ndarray) -> np.ndarray:
        """For each picture (batch,) as many of its group as there are numbers (batch, n)."""
        return self.order[self.start[pictures, None] + (uniform * self.count[pictures, None]).astype(np.int64)]

    def other_than(self, pictures: np.ndarray, uniform: np.ndarray) -> np.ndarray:
        """For each picture another of its group; itself where there is none."""
        count = self.count[pictures]
        step = 1 + (uniform * (count - 1)).astype(np.int64)
        return self.order[self.start[pictures] + (self.place[pictures] + step) % count]
