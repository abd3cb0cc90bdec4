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
        self.collection_ids = collection_ids
        self.members = {int(c): np.flatnonzero(collection_ids == c) for c in np.unique(collection_ids)}
        order = np.argsort(key_ids, kind="stable")
        keys, starts = np.unique(key_ids[order], return_index=True)
        groups = np.split(order, starts[1:])
        self.parallel = [np.empty(0, np.int64)] * len(key_ids)
        for key, group in zip(keys, groups, strict=True):
            if key >= 0 and len(group) > 1:
                for picture in group:
                    self.parallel[picture] = group[group != picture]

    def draw(self, pictures: np.ndarray, rng: np.random.Generator) -> Coupling:
        """Conditions for ``pictures`` (indices into the set); the same for the same state of ``rng``."""
        config, batch = self.config, len(pictures)
        style = np.empty((batch, MAX_REFERENCES + 1), np.int64)
        style_weights = np.zeros((batch, MAX_REFERENCES + 1, NUM_EXPERTS), np.float32)
        content = pictures.copy()
        for row, picture in enumerate(pictures):
            members = self.members[int(self.collection_ids[picture])]
            style[row, :-1], style[row, -1] = rng.choice(members, MAX_REFERENCES), picture
            count = rng.integers(1, MAX_REFERENCES + 1)
            shares = np.zeros(MAX_REFERENCES + 1, np.float32)
            shares[:count] = rng.dirichlet(np.full(count, 4.0))
            own = np.eye(MAX_REFERENCES + 1, dtype=np.float32)[-1]
            style_weights[row] = (own if rng.random() < config.own_style else shares)[:, None]
            if rng.random() < config.mixed_style:
                sources = (shares, own, np.zeros_like(own))
                style_weights[row] = np.stack([sources[i] for i in rng.integers(0, 3, NUM_EXPERTS)], 1)
            if len(self.parallel[picture]) and rng.random() < config.parallel_content:
                content[row] = rng.choice(self.parallel[picture])
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
