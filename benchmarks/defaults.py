"""Settings of `vary` and `fuse` compared: subject, variety, colours and texture, as a table, sheets and JSON.

python benchmarks/defaults.py icons emoji128.zip vary --conditioning-scale 0.7 0.9 1 --out vary.json
python benchmarks/defaults.py icons emoji128.zip fuse --guidance 1 1.5 --internal-guidance 1.5 4 --out fuse.json

All combinations of the values are measured, each on the same held-out images (`SOURCES`) and seeds. The sources of a
fusion are an image for the structure, and two others, further on in the list, for the colours and the texture.

retrieval   share of outputs whose nearest image, by features, is their source, among it and 99 others of its collection
similarity  cosine of the features of output and source, after subtraction of the collection's mean
variety     feature distance of early layers between outputs of the same source
change      feature distance of early layers between output and source
colours     share of outputs whose colour histogram is nearer to the source of the colours than to the structure's
texture     share of outputs whose style statistics are nearer to the source of the texture than to the structure's

References for the first two are the reconstructions of the sources, and other collections' drawings of their subjects.
"""

import argparse
import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from common import options, write
from impasto import api
from impasto.backbone import Backbone, Lite, channel_statistics, feature_distance
from impasto.config import FUSE_CONFIG, VARY_CONFIG, FuseConfig
from impasto.create.fuse import Fuser, Source
from impasto.create.sampling import sample_images
from impasto.data import ImageSet, Whole, evenly_spaced, prepare
from impasto.evaluate.evaluator import BATCH, sheet_of
from impasto.model.blocks import Map, to_images
from impasto.model.prior import Condition
from impasto.model.views import VIEW_NAMES

SOURCES = (
    "fluent-3d/bomb",
    "twemoji/bell-pepper",
    "noto/koala",
    "fluent-flat/telephone",
    "openmoji/motor-scooter",
    "noto/automobile",
    "twemoji/rhinoceros",
    "fluent-color/fire",
    "fluent-3d/ship",
    "openmoji/locomotive",
    "fluent-flat/sushi",
    "noto/bellhop-bell",
)
"""Held-out images of emoji128: collection and key."""
OFFSETS = (3, 7)
"""The sources of colours and texture follow that of the structure by these numbers."""
GALLERY = 100
"""Images among which the source is retrieved."""
COLOUR_BINS = 4
"""Bins of the colour histogram along each of red, green and blue."""


class Benchmark:
    """A model, its sources, and the features of the galleries."""

    def __init__(
        self, model: api.Pipeline, images: ImageSet, offsets: Sequence[int] = OFFSETS, first_seed: int = 0
    ) -> None:
        self.model, self.images, self.first_seed = model, images, first_seed
        self.colour_offset, self.texture_offset = offsets
        self.backbone = Backbone(Lite.LITE2).to(model.device)
        indices = {f"{entry.collection}/{entry.key}": index for index, entry in enumerate(images.entries)}
        self.indices = [indices[name] for name in SOURCES]
        assert set(self.indices) <= set(images.held_out.tolist()), "the model is trained on these images"
        self.sources = to_images(images.batch(self.indices), model.device)
        self.maps, pooled = self.backbone.maps_and_pooled(self.sources)
        self.galleries, self.means = [], []
        for index, own in zip(self.indices, pooled, strict=True):
            same_collection = images.collection_ids == images.collection_ids[index]
            (others,) = (same_collection & (images.key_ids != images.key_ids[index])).nonzero()
            features = torch.cat([own[None], self._pooled(evenly_spaced(others, GALLERY - 1))])
            self.means.append(features.mean(0))
            self.galleries.append(F.normalize(features - self.means[-1]))

    def _pooled(self, indices: np.ndarray) -> Tensor:
        batches = torch.from_numpy(indices).split(BATCH)
        parts = [to_images(self.images.batch(batch.numpy()), self.model.device) for batch in batches]
        return torch.cat([self.backbone.maps_and_pooled(part)[1] for part in parts])

    def outputs(self, config: FuseConfig, command: str, count: int) -> Iterator[Map]:
        """``count`` images for each source."""
        pixels, seeds = self.images.batch(self.indices), range(self.first_seed, self.first_seed + count)
        wholes = [Source(Whole(n, n, n, p), 1.0) for n, p in zip(SOURCES, pixels, strict=True)]
        for number in range(len(SOURCES)):
            offsets = dict.fromkeys(VIEW_NAMES, 0)
            if command == "fuse":
                offsets |= {"pixel": self.colour_offset, "texture": self.texture_offset}
            sources = {name: [wholes[(number + offset) % len(SOURCES)]] for name, offset in offsets.items()}
            condition = Fuser(self.model.network, sources, config).condition
            posterior = condition.posterior.map(lambda gaussian: gaussian.expand(count))
            yield sample_images(self.model.network, Condition(posterior), seeds, config.sampling)

    def retrieved(self, number: int, pooled: Tensor) -> tuple[Tensor, Tensor]:
        """Whether source ``number`` is nearest to each row of features, and its similarity."""
        cosines = F.normalize(pooled - self.means[number]) @ self.galleries[number].T
        return (cosines.argmax(1) == 0).double(), cosines[:, 0].double()

    def scores(self, outputs: Sequence[Map], command: str) -> dict[str, float]:
        """All scores of the outputs for all sources."""
        parts: dict[str, list[Tensor]] = {}
        for number, decoded in enumerate(outputs):
            maps, pooled = self.backbone.maps_and_pooled(decoded)
            retrieved, similarity = self.retrieved(number, pooled)
            first, second = torch.triu_indices(len(decoded), len(decoded), 1)
            values = {
                "retrieval": retrieved,
                "similarity": similarity,
                "variety": feature_distance([m[first] for m in maps], [m[second] for m in maps]),
                "change": feature_distance(
                    maps, [m[[number]].expand_as(d) for m, d in zip(self.maps, maps, strict=True)]
                ),
            }
            if command == "fuse":
                colours = colour_histogram(decoded) - colour_histogram(self.sources)[:, None]
                texture = channel_statistics(maps) - channel_statistics(self.maps)[:, None]
                for name, distances, offset in (
                    ("colours", colours.abs().sum(2), self.colour_offset),
                    ("texture", texture.norm(dim=2), self.texture_offset),
                ):
                    values[name] = (distances[(number + offset) % len(SOURCES)] < distances[number]).double()
            for name, value in values.items():
                parts.setdefault(name, []).append(value)
        return {name: float(torch.cat(values).mean()) for name, values in parts.items()}

    def references(self) -> dict[str, dict[str, float]]:
        """Retrieval and similarity of reconstructions, and of other collections' drawings of the same subjects."""
        reconstructed, others = [], []
        for number, index in enumerate(self.indices):
            decoded = self.model.network.autoencoder.reconstruct(self.sources[[number]])
            reconstructed.append(self.retrieved(number, self.backbone.maps_and_pooled(decoded)[1]))
            (same_key,) = (self.images.key_ids == self.images.key_ids[index]).nonzero()
            others.append(self.retrieved(number, self._pooled(same_key[same_key != index])))
        result = {}
        for name, parts in (("reconstructions", reconstructed), ("other collections", others)):
            retrieved, similarity = (float(torch.cat(values).mean()) for values in zip(*parts, strict=True))
            result[name] = {"retrieval": retrieved, "similarity": similarity}
        return result


def colour_histogram(image: Map) -> Tensor:
    """The share of opaque pixels in each of `COLOUR_BINS` cubed bins, (image, bin)."""
    bins = (image[:, :3] * COLOUR_BINS).long().clamp(0, COLOUR_BINS - 1)
    index = ((bins[:, 0] * COLOUR_BINS + bins[:, 1]) * COLOUR_BINS + bins[:, 2]).flatten(1)
    opaque = (image[:, 3] > 0.5).double().flatten(1)
    counts = opaque.new_zeros(len(image), COLOUR_BINS**3).scatter_add_(1, index, opaque)
    return counts / opaque.sum(1, keepdim=True).clamp(min=1)


def weights_from(text: str) -> tuple[float, ...]:
    """Level weights from a text such as 1,1,1,0."""
    values = tuple(float(value) for value in text.split(","))
    if len(values) != len(FUSE_CONFIG.level_weights):
        raise argparse.ArgumentTypeError("use four numbers, such as 1,1,1,0")
    return values


@torch.no_grad()
def main() -> None:
    """Measure and print."""
    parser = options(__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("command", choices=["vary", "fuse"])
    parser.add_argument("--conditioning-scale", type=float, nargs="+")
    parser.add_argument("--level-weights", type=weights_from, nargs="+")
    parser.add_argument("--guidance", type=float, nargs="+")
    parser.add_argument("--internal-guidance", type=float, nargs="+")
    parser.add_argument("--count", type=int, default=4, help="images for each source")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first image of each source")
    parser.add_argument(
        "--offsets",
        type=int,
        nargs=2,
        default=OFFSETS,
        help="how far the sources of colours and texture follow that of the structure",
    )
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    default = VARY_CONFIG if arguments.command == "vary" else FUSE_CONFIG
    model = api.load(arguments.run, arguments.device)
    with model.cache() as cache:
        images = prepare(arguments.images, resolution=model.config.resolution, cache=cache)
        benchmark = Benchmark(model, images, arguments.offsets, arguments.seed)
        results = benchmark.references()
        print(results, flush=True)
        combinations = itertools.product(
            arguments.conditioning_scale or [default.conditioning_scale],
            arguments.level_weights or [default.level_weights],
            arguments.guidance or [default.sampling.guidance],
            arguments.internal_guidance or [default.sampling.internal_guidance],
        )
        for scale, weights, guidance, internal in combinations:
            sampling = dataclasses.replace(default.sampling, guidance=guidance, internal_guidance=internal)
            config = dataclasses.replace(default, conditioning_scale=scale, level_weights=weights, sampling=sampling)
            outputs = list(benchmark.outputs(config, arguments.command, arguments.count))
            levels = ",".join(f"{weight:g}" for weight in weights)
            name = f"scale {scale:g}, levels {levels}, guidance {guidance:g}, internal {internal:g}"
            results[name] = benchmark.scores(outputs, arguments.command)
            print(f"{name}: {', '.join(f'{k} {v:.3f}' for k, v in results[name].items())}", flush=True)
            if arguments.out:
                order = [0] if arguments.command == "vary" else [0, *arguments.offsets]
                rows = [benchmark.sources.roll(-offset, 0) for offset in order]
                rows += [torch.stack(row) for row in zip(*outputs, strict=True)]
                sheet_of(rows, ["source", "colours", "texture"][: len(order)]).save(
                    arguments.out.with_suffix(f".{len(results) - 2}.png")
                )
        write(dict(results), arguments.out)


if __name__ == "__main__":
    main()
