"""Judge a model on a folder of pictures: every number beside what it must be compared with."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from impasto.backbone import Backbone, Lite
from impasto.config import Against
from impasto.create.generate import generate
from impasto.create.grid import grid
from impasto.create.picture import to_image
from impasto.data import PictureSet
from impasto.errors import ImpastoError
from impasto.evaluate import copies, likelihood, style
from impasto.evaluate.distances import (
    Estimate,
    frechet_distance,
    frechet_estimate,
    kernel_estimate,
    precision_and_recall,
    sliced_wasserstein_distance,
)
from impasto.evaluate.looks import Looks, look
from impasto.evaluate.reconstruction import Faithfulness, faithfulness
from impasto.evaluate.scores import Best, Score, Unmeasured, average, groups_of, share
from impasto.evaluate.swap import held_out_pairs, swap
from impasto.model.autoencoder import LEVEL_NAMES
from impasto.model.gaussian import Gaussian
from impasto.model.impasto import Impasto

BATCH = 32
MOST_RECONSTRUCTED = 512
MOST_LIKELIHOODS = 128
IMPORTANCE_SAMPLES = 16
MOST_SWAPS = 256
COLUMNS = 10
FEWEST_FOR_DISTRIBUTIONS = 20
"""Fewer pictures than this say nothing about a distribution."""

Measured = Score | Unmeasured
Progress = Callable[[str, int, int], None]
"""Told (what is being done, done, of how many)."""


@dataclass(frozen=True)
class Report:
    """What was measured, and pictures to look at."""

    settings: Mapping[str, object]
    groups: Mapping[str, tuple[Measured, ...]]
    sheets: Mapping[str, Image.Image]


def evaluate(
    model: Impasto,
    styles: Float[Tensor, "collection 2 style"],
    pictures: PictureSet,
    *,
    against: Against = Against.HELD_OUT,
    samples: int = 2000,
    seed: int = 0,
    steps: int = 16,
    temperature: float = 1.0,
    guidance: float = 1.5,
    trust: float = 0.3,
    progress: Progress = lambda what, done, total: None,
) -> Report:
    """Measure ``model`` on ``pictures``, whose held-out part it must not have seen.

    ``styles`` are the collections' pooled styles, in the order of the model's collections. A metric that cannot be had
    says why, and the others go on. Raises ImpastoError where the pictures do not fit the model.
    """
    if pictures.resolution != model.config.resolution or pictures.channels != model.config.channels:
        raise ImpastoError(
            f"the pictures are {pictures.channels} channels at {pictures.resolution} px, "
            f"the model has {model.config.channels} at {model.config.resolution} px."
        )
    settings = {
        "against": against,
        "samples": samples,
        "seed": seed,
        "steps": steps,
        "temperature": temperature,
        "guidance": guidance,
        "trust": trust,
        "train": len(pictures.train),
        "held_out": len(pictures.held_out),
    }
    judge = _Judge(model, styles, pictures, seed, progress)
    made, labels = judge.make(samples, steps=steps, temperature=temperature, guidance=guidance)
    groups: dict[str, tuple[Measured, ...]] = {
        "reconstruction": judge.reconstruction(),
        "generation": judge.generation(made, against),
        "style": judge.style(made, labels),
        "memorisation": judge.memorisation(made),
        "likelihood": judge.likelihood(),
        "swap": judge.swap(trust, steps),
    }
    progress("done", 1, 1)
    return Report(settings, groups, judge.sheets)


class _Judge:
    """The model, the pictures, and what the measuring network saw of them."""

    def __init__(self, model: Impasto, styles: Tensor, pictures: PictureSet, seed: int, progress: Progress) -> None:
        self.model = model
        self.styles = styles
        self.pictures = pictures
        self.seed = seed
        self.progress = progress
        self.device = next(model.parameters()).device
        self.backbone = Backbone(Lite.LITE2).to(self.device)
        self.sheets: dict[str, Image.Image] = {}
        self.train = look(self._real(pictures.train, "looking at training pictures"), self.backbone)
        self.held_out = look(self._real(pictures.held_out, "looking at held-out pictures"), self.backbone)

    def _real(self, indices: np.ndarray, what: str) -> Iterator[Tensor]:
        for start in range(0, len(indices), BATCH):
            self.progress(what, start, len(indices))
            yield torch.from_numpy(self.pictures.batch(indices[start : start + BATCH])).float() / 255

    def _spread(self, indices: np.ndarray, most: int) -> np.ndarray:
        """At most so many, evenly from all."""
        return indices[:: max(1, -(-len(indices) // most))]

    def make(self, samples: int, *, steps: int, temperature: float, guidance: float) -> tuple[Looks, Tensor]:
        """Samples, collections in the proportions of the training pictures, and the collection of each."""
        known = [n for n in self.pictures.collections if n in self.model.config.collections]
        ids = self.pictures.collection_ids[self.pictures.train]
        sizes = np.array([(ids == self.pictures.collections.index(name)).sum() for name in known])
        if not sizes.sum():
            raise ImpastoError("no collection of these pictures is one of the model's: evaluate it on its own folder.")
        counts = np.diff(np.round(np.concatenate([[0], np.cumsum(sizes)]) / sizes.sum() * samples)).astype(int)
        labels = torch.from_numpy(
            np.repeat([self.pictures.collections.index(name) for name in known], counts).astype(np.int64)
        )
        rows: list[list[Image.Image]] = []

        def batches() -> Iterator[Tensor]:
            done = 0
            for name, count in zip(known, counts.tolist(), strict=True):
                told = self.styles[self.model.config.collections.index(name)].to(self.device)
                made = generate(
                    self.model,
                    Gaussian(told[:1], told[1:]),
                    range(done, done + count),
                    seed=self.seed,
                    steps=steps,
                    temperature=temperature,
                    guidance=guidance,
                )
                shown: list[Image.Image] = []
                for array in made:
                    self.progress("making samples", done, samples)
                    if len(shown) < COLUMNS:
                        shown.append(to_image(array))
                    done += 1
                    yield torch.from_numpy(array[None])
                rows.append(shown)

        looks = look(batches(), self.backbone)
        self.sheets["Samples by collection"] = grid(rows, known)
        return looks, labels

    def reconstruction(self) -> tuple[Measured, ...]:
        """Held-out pictures from the posterior means of all levels, and from each coarse prefix."""
        chosen = self._spread(self.pictures.held_out, MOST_RECONSTRUCTED)
        found: list[list[Faithfulness]] = [[] for _ in LEVEL_NAMES]
        for start in range(0, len(chosen), BATCH):
            self.progress("reconstructing", start, len(chosen))
            picture = self._batch(chosen[start : start + BATCH])
            with torch.no_grad():
                for level in range(len(LEVEL_NAMES)):
                    painted = self.model.autoencoder.reconstruct(picture, level + 1)
                    found[level].append(faithfulness(painted, picture, self.backbone))
        psnr, ssim, feature = (
            [torch.cat([getattr(part, name) for part in level]).cpu() for level in found]
            for name in ("psnr", "ssim", "feature")
        )
        shown = self._batch(self._spread(self.pictures.held_out, COLUMNS))
        with torch.no_grad():
            prefixes = [self.model.autoencoder.reconstruct(shown, n + 1) for n in range(len(LEVEL_NAMES))]
        self.sheets["Held-out pictures and what each coarse prefix of levels keeps"] = _sheet(
            [shown, *prefixes], ["held out", *(f"to {name}" for name in LEVEL_NAMES)]
        )

        def of_prefixes(values: list[Tensor]) -> dict[str, float]:
            return {f"to {name}": float(v.mean()) for name, v in zip(LEVEL_NAMES[:-1], values, strict=False)}

        return (
            average("psnr_db", psnr[-1], Best.HIGH, of_prefixes(psnr)),
            average("ssim", ssim[-1], Best.HIGH, of_prefixes(ssim) | {"the picture itself": 1.0}),
            average("feature_distance", feature[-1], Best.LOW, of_prefixes(feature) | {"the picture itself": 0.0}),
        )

    def generation(self, made: Looks, against: Against) -> tuple[Measured, ...]:
        """Distances of samples to real pictures, beside those of as many other real pictures."""
        names = ("frechet_lite2", "kernel_lite2", "precision", "recall", "sliced_wasserstein")
        if against is Against.HELD_OUT:
            real, other = self.held_out, self._some(self.train, len(self.train))
        else:
            pooled = torch.cat([self.train.pooled, self.held_out.pooled])
            halves = groups_of(len(pooled), 2, self.seed)
            real, other = (_only_pooled(pooled[half]) for half in halves)
        count = min(len(real), len(other), len(made))
        real, other, made = (self._some(looks, count) for looks in (real, other, made))
        if count < 2:
            return tuple(Unmeasured(name, "it needs at least 2 real pictures and 2 samples") for name in names)
        self.progress("measuring distances", 0, 1)
        sliced = Score(
            "sliced_wasserstein",
            sliced_wasserstein_distance(real.pooled, made.pooled, seed=self.seed),
            Best.LOW,
            count,
            references={"other real pictures": sliced_wasserstein_distance(real.pooled, other.pooled, seed=self.seed)},
        )
        if count < FEWEST_FOR_DISTRIBUTIONS:
            reason = f"it needs at least {FEWEST_FOR_DISTRIBUTIONS} real pictures and samples, and there are {count}"
            return (*(Unmeasured(name, reason) for name in names[:-1]), sliced)
        frechet = frechet_estimate(real.pooled, made.pooled, self.seed)
        kernel = kernel_estimate(real.pooled, made.pooled, self.seed)
        precision, recall = precision_and_recall(real.pooled, made.pooled, seed=self.seed)
        best_precision, best_recall = precision_and_recall(real.pooled, other.pooled, seed=self.seed)

        def score(name: str, estimate: Estimate, reference: float) -> Score:
            references = {"other real pictures": reference}
            return Score(name, estimate.value, Best.LOW, count, estimate.interval, references)

        return (
            score(names[0], frechet, frechet_distance(real.pooled, other.pooled)),
            score(names[1], kernel, kernel_estimate(real.pooled, other.pooled, self.seed).value),
            Score(names[2], precision, Best.HIGH, count, references={"other real pictures": best_precision}),
            Score(names[3], recall, Best.HIGH, count, references={"other real pictures": best_recall}),
            sliced,
        )

    def style(self, made: Looks, labels: Tensor) -> tuple[Measured, ...]:
        """Are the samples as much of one style as the folder, and of the collection that was asked for?"""
        train_ids, held_ids = (
            torch.from_numpy(self.pictures.collection_ids[indices])
            for indices in (self.pictures.train, self.pictures.held_out)
        )
        scale = style.scale_of(self.train.statistics)
        ratios, held_ratios = [], []
        for collection in labels.unique().tolist():
            real = self.train.statistics[train_ids == collection]
            mine = made.statistics[labels == collection]
            held = self.held_out.statistics[held_ids == collection]
            if len(real) > 1 and len(mine) > 1:
                ratios.append(style.unity(mine, scale) / style.unity(real, scale))
                if len(held) > 1:
                    held_ratios.append(style.unity(held, scale) / style.unity(real, scale))
        unity = average(
            "set_unity",
            torch.stack(ratios) if ratios else torch.empty(0),
            Best.NEAR,
            {"held-out pictures": float(torch.stack(held_ratios).mean())} if held_ratios else {},
        )
        if len(train_ids.unique()) < 2:
            return unity, Unmeasured("probe_accuracy", "the folder has one collection: nothing to tell apart")
        self.progress("fitting the probe", 0, 1)
        probe = style.Probe(self.train.statistics, train_ids)
        right = probe(made.statistics) == labels
        held_right = probe(self.held_out.statistics) == held_ids
        names = self.pictures.collections
        each = [
            share(
                f"probe_accuracy of {names[collection]}",
                right[labels == collection],
                Best.HIGH,
                _mean_of("held-out pictures", held_right[held_ids == collection]),
            )
            for collection in labels.unique().tolist()
        ]
        chance = float(train_ids.bincount().max() / len(train_ids))
        references = _mean_of("held-out pictures", held_right) | {"always the largest collection": chance}
        return unity, share("probe_accuracy", right, Best.HIGH, references), *each

    def memorisation(self, made: Looks) -> tuple[Measured, ...]:
        """How many samples are nearer to a training picture than training pictures are to each other."""
        if len(self.train) < FEWEST_FOR_DISTRIBUTIONS:
            reason = f"it needs at least {FEWEST_FOR_DISTRIBUTIONS} training pictures, and there are {len(self.train)}"
            return Unmeasured("copy_rate_features", reason), Unmeasured("copy_rate_pixels", reason)
        self.progress("looking for copies", 0, 1)
        twins = {name for group in self.pictures.audit.duplicate_groups for name in group}
        is_single = torch.tensor([self.pictures.entries[i].name not in twins for i in self.pictures.train.tolist()])
        scores, pairs = [], []
        spaces = {
            "features": (self.train.pooled, made.pooled, self.held_out.pooled),
            "pixels": tuple(copies.thumbnails(looks.pixels) for looks in (self.train, made, self.held_out)),
        }
        for space, (train, samples, held_out) in spaces.items():
            threshold = copies.copy_threshold(train, is_single)
            found = copies.nearest(samples, train)
            held = copies.nearest(held_out, train)
            references = _mean_of("held-out pictures", held.distance < threshold)
            scores.append(share(f"copy_rate_{space}", found.distance < threshold, Best.LOW, references))
            closest = found.distance.argsort()[:COLUMNS]
            pairs += [made.pixels[closest], self.train.pixels[found.index[closest]]]
        labels = ["sample, by features", "nearest in training", "sample, by pixels", "nearest in training"]
        self.sheets["Samples closest to a training picture"] = _sheet([p.float() / 255 for p in pairs], labels)
        return tuple(scores)

    def likelihood(self) -> tuple[Measured, ...]:
        """Bounds on the likelihood of held-out pictures under the standard normal prior, in bits per dimension."""
        chosen = self._spread(self.pictures.held_out, MOST_LIKELIHOODS)
        generator = torch.Generator().manual_seed(self.seed)
        fit = self._batch(self._spread(self.pictures.train, MOST_LIKELIHOODS))
        scale = likelihood.fitted_scale(self.model.autoencoder, fit, generator)
        parts = []
        for start in range(0, len(chosen), BATCH):
            self.progress("bounding the likelihood", start, len(chosen))
            batch = self._batch(chosen[start : start + BATCH])
            parts.append(
                likelihood.bounds(self.model.autoencoder, batch, scale, samples=IMPORTANCE_SAMPLES, generator=generator)
            )
        elbo, weighted, distortion, rates = (
            torch.cat([getattr(part, name) for part in parts]).cpu()
            for name in ("negative_elbo", "importance_weighted", "distortion", "rates")
        )
        dimensions = self.model.config.channels * self.model.config.resolution**2
        uniform = {"8 bits a value, uncompressed": 8.0}
        return (
            average("negative_elbo_bits_per_dim", likelihood.bits_per_dimension(elbo, dimensions), Best.LOW, uniform),
            average(
                f"importance_weighted_bits_per_dim (of {IMPORTANCE_SAMPLES})",
                likelihood.bits_per_dimension(weighted, dimensions),
                Best.LOW,
                uniform,
            ),
            average("distortion_nats", distortion, Best.LOW),
            *(average(f"rate_{name}_nats", rates[:, i], Best.LOW) for i, name in enumerate(LEVEL_NAMES)),
        )

    def swap(self, trust: float, steps: int) -> tuple[Measured, ...]:
        """Content of one collection in the style of another, against the other's own drawing of the same thing."""
        pairs = held_out_pairs(self.pictures, MOST_SWAPS, self.seed)
        known = set(self.model.config.collections)
        if not set(self.pictures.collections) <= known:
            return (Unmeasured("swap_distance", "some collections are not the model's"),)
        if len(pairs.content) == 0:
            return (Unmeasured("swap_distance", "no held-out pictures of different collections share a key"),)
        self.progress("swapping styles", 0, 1)
        order = [self.model.config.collections.index(name) for name in self.pictures.collections]
        found = swap(
            self.model,
            self.pictures,
            pairs,
            self.styles[order],
            self.train.pooled,
            self.backbone,
            trust=trust,
            seed=self.seed,
            steps=steps,
        )
        chosen = np.linspace(0, len(pairs.content) - 1, min(COLUMNS, len(pairs.content))).astype(int)
        rows = [self._batch(pairs.content[chosen]), found.pictures[chosen], self._batch(pairs.target[chosen])]
        self.sheets["Content, redrawn in another collection's style, that collection's own drawing"] = _sheet(
            rows, ["content", "redrawn", "own drawing"]
        )
        references = {
            "copying the content": float(found.copied.mean()),
            "nearest other drawing": float(found.other.mean()),
            "own drawing reconstructed": float(found.reconstructed.mean()),
        }
        return (average("swap_distance", found.redrawn, Best.LOW, references),)

    def _some(self, looks: Looks, count: int) -> Looks:
        """So many, drawn by the seed."""
        return looks[groups_of(len(looks), 1, self.seed)[0][:count]]

    def _batch(self, indices: np.ndarray) -> Tensor:
        batch = torch.from_numpy(self.pictures.batch(indices)).to(self.device).float() / 255
        return batch.contiguous(memory_format=torch.channels_last)


def _only_pooled(pooled: Tensor) -> Looks:
    nothing = torch.empty(len(pooled), 0)
    return Looks(nothing.byte().reshape(len(pooled), 0, 1, 1), pooled, nothing)


def _mean_of(name: str, values: Tensor) -> dict[str, float]:
    return {name: float(values.double().mean())} if len(values) else {}


def _sheet(rows: list[Tensor], labels: list[str]) -> Image.Image:
    return grid([[to_image(p) for p in row.float().cpu().numpy()] for row in rows], labels)
