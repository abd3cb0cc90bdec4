"""Photos stylized in the styles of painters: style score and structure of Impasto and AdaIN, as JSON.

python benchmarks/painters.py runs/painter painter-images photos-measure-only.zip --out painters

The photos must not be training images. The painters are the collections with the most held-out works, except those in
--without: collections of photos.

style score  distance of the style statistics to the mean of the painter's training images, on a scale from 0 (photos)
             to 1 (the painter's held-out works)
structure    cosine of the edges with those of the photo, divided by the same cosine of the model's reconstruction

AdaIN trains on the same images for as long as the run, or for --minutes; 0 leaves it out. The same command resumes its
training.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from common import options, write
from impasto import api
from impasto.data import ImageSet, evenly_spaced, prepare
from impasto.evaluate.evaluator import BATCH, COLUMNS, Evaluator, sheet_of
from impasto.evaluate.swap import Stylize
from impasto.model.blocks import Map, to_images
from impasto.training.engine import Engine
from impasto.training.run import Run, read_config
from peers import train as train_peer
from stylization import (
    StyleStatistics,
    by_adain,
    by_impasto,
    by_shifts,
    references_from,
    structure_kept,
    styles_of,
)
from systems.adain import AdaIn

STRENGTHS = (0.3, 0.5, 0.7, 1.0)
NUM_SHIFTS = (2, 4)
PAINTERS = 10


@dataclass(frozen=True)
class Painter:
    """A collection and its style statistics."""

    collection: int
    name: str
    mean: Tensor
    """Mean statistics of the training images."""
    held_out_distance: float
    """Mean distance of the held-out works to that mean."""


class Benchmark:
    """The evaluator, the photos and the painters."""

    def __init__(self, images: ImageSet, photos: Map, without: list[str], max_images: int | None, cache: Path) -> None:
        self.evaluator = Evaluator(images, photos.device, 0, max_images=max_images, cache=cache)
        self.photos = photos
        self.statistics = StyleStatistics(self.evaluator)
        self.photo_statistics = self.statistics(photos)
        train_ids, held_out_ids = (
            torch.from_numpy(images.collection_ids[indices])
            for indices in (self.evaluator.train_indices, self.evaluator.held_out_indices)
        )
        order = held_out_ids.bincount(minlength=len(images.collections)).argsort(descending=True, stable=True).tolist()
        self.painters = []
        for number in [number for number in order if images.collections[number] not in without][:PAINTERS]:
            mean = self.statistics.train[train_ids == number].mean(0)
            distance = float((self.statistics.held_out[held_out_ids == number] - mean).norm(dim=1).mean())
            self.painters.append(Painter(number, images.collections[number], mean, distance))

    def measure(self, stylize: Stylize, reconstruction: Map, sheet: Path) -> dict[str, object]:
        """Scores of one method, by painter and averaged; writes a sheet of images."""
        bound = structure_kept(reconstruction, self.photos)
        rows, labels = [self.photos[:COLUMNS]], ["photo"]
        styles, structures = {}, {}
        for painter in self.painters:
            collections = np.full(len(self.photos), painter.collection)
            output = stylize(self.photos, collections, np.arange(len(self.photos)))
            before, after = (
                (statistics - painter.mean).norm(dim=1).mean()
                for statistics in (self.photo_statistics, self.statistics(output))
            )
            styles[painter.name] = float((before - after) / (before - painter.held_out_distance))
            kept = structure_kept(output, self.photos[:, : output.shape[1]])
            structures[painter.name] = float(kept.mean() / bound.mean())
            rows.append(output[:COLUMNS])
            labels.append(painter.name)
        sheet_of(rows, labels).save(sheet)
        return {
            "style score": float(np.mean(list(styles.values()))),
            "structure": float(np.mean(list(structures.values()))),
            "style score by painter": styles,
            "structure by painter": structures,
        }


@torch.no_grad()
def main() -> None:
    """Train AdaIN, stylize, measure, print."""
    parser = options(__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("images", type=Path, help="the training images of the run")
    parser.add_argument("photos", type=Path)
    parser.add_argument("--without", nargs="*", default=["clothing", "kodak", "skimage_data"], metavar="COLLECTION")
    parser.add_argument("--count", type=int, default=48, help="photos to stylize")
    parser.add_argument("--real", type=int, help="maximum number of training images to compare with (default: all)")
    parser.add_argument("--minutes", type=float, help="of training of AdaIN (default: those of the run)")
    parser.add_argument("--device", default="auto")
    parser.set_defaults(out=Path("painters"))
    arguments = parser.parse_args()
    folder: Path = arguments.out
    folder.mkdir(parents=True, exist_ok=True)
    model = api.load(arguments.run, arguments.device)
    config = read_config(Run(model.path).config)
    minutes = config.minutes if arguments.minutes is None else arguments.minutes
    if minutes is None:
        parser.error("the config of the run has no minutes: give those of AdaIN with --minutes.")
    images = prepare(
        arguments.images,
        resolution=config.resolution,
        fit=config.fit,
        zoom=config.zoom,
        cache=folder / "cache",
    )
    engine = Engine(arguments.device)

    pixels = model.read([arguments.photos]).pixels
    photos = to_images(pixels[evenly_spaced(np.arange(len(pixels)), arguments.count)], model.device)
    benchmark = Benchmark(images, photos, arguments.without, arguments.real, folder / "cache")
    reconstruction = torch.cat([model.network.autoencoder.reconstruct(part) for part in photos.split(BATCH)])
    styles = styles_of(model, images)
    methods = {f"impasto, strength {strength:g}": by_impasto(model, styles, strength) for strength in STRENGTHS}
    if model.config.decoder_only_stylization:
        methods |= {
            f"impasto, strength {strength:g}, {count} shifts": by_shifts(model, images.collections, strength, count)
            for count in NUM_SHIFTS
            for strength in STRENGTHS
        }
    if minutes:
        peer = AdaIn()
        with torch.enable_grad():
            train_peer(peer, images, engine, 60 * minutes, folder / "adain.pt")
        methods["AdaIN"] = by_adain(peer, references_from(images))
    result: dict[str, object] = {"painters": [p.name for p in benchmark.painters], "photos": len(photos)}
    result |= {"minutes": minutes, "device": engine.reason}
    for name, stylize in methods.items():
        scores = benchmark.measure(stylize, reconstruction, folder / f"{name.replace(', ', '-').replace(' ', '')}.png")
        result[name] = scores
        print(f"{name}: style score {scores['style score']:.3f}, structure {scores['structure']:.3f}", flush=True)
    write(result, folder / "painters.json")


if __name__ == "__main__":
    main()
