"""Photos stylized in the manner of painters: how far the look comes, how much structure stays, and AdaIN beside it.

python benchmarks/painters.py runs/painter painter-images photos-measure-only.zip --out painters

The photos are any that the model has not seen; the painters are the collections with most held-out works, but for
those that --without names: photos of the training images.

look       how much of the way from the photos to a painter's held-out works is gone: distances of early statistics to
           the mean of the painter's works; 0 as far as photos, 1 as near as those held out
structure  cosine of edges with those of the photo, as a part of what the model's reconstruction has

AdaIN is trained on the same images for as long as the run was, or --minutes; with 0 it is left out. Interrupted, its
training goes on.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from common import options, write
from impasto import api
from impasto.config import TrainConfig, from_json
from impasto.data import ImageSet, evenly_spaced, prepare
from impasto.evaluate.evaluator import BATCH, COLUMNS, Evaluator, sheet_of
from impasto.evaluate.swap import Stylize
from impasto.model.blocks import Map
from impasto.training.engine import Engine
from impasto.training.run import Run
from peers import train as train_peer
from stylization import Eye, by_adain, by_impasto, by_shifts, references_from, structure_kept, styles_of
from systems.adain import AdaIn

STRENGTHS = (0.3, 0.5, 0.7, 1.0)
NUM_SHIFTS = (2, 4)
PAINTERS = 10


@dataclass(frozen=True)
class Painter:
    """Whose works, and how they look."""

    number: int
    name: str
    goal: Tensor
    """Mean statistics of the works to train on."""
    own: float
    """Mean distance of the held-out works to it."""


class Bench:
    """The evaluator, the photos and the painters."""

    def __init__(self, images: ImageSet, photos: Map, without: list[str], max_side: int | None, cache: Path) -> None:
        self.evaluator = Evaluator(images, photos.device, 0, max_side=most, cache=cache)
        self.photos = photos
        self.eye = Eye(self.evaluator)
        train_ids, held_ids = (
            torch.from_numpy(images.collection_ids[chosen])
            for chosen in (self.evaluator.train_indices, self.evaluator.held_out_indices)
        )
        order = held_ids.bincount(minlength=len(images.collections)).argsort(descending=True, stable=True).tolist()
        self.painters = []
        for number in [number for number in order if images.collections[number] not in without][:PAINTERS]:
            goal = self.eye.train[train_ids == number].mean(0)
            own = float((self.eye.held_out[held_ids == number] - goal).norm(dim=1).mean())
            self.painters.append(Painter(number, images.collections[number], goal, own))
        self.seen = self.eye(photos)

    def measure(self, way: Stylize, reconstruction: Map, sheet: Path) -> dict[str, object]:
        """Scores of one way to stylize, by painter and averaged; and a sheet to look at."""
        bound = structure_kept(reconstruction, self.photos)
        shown, labels = [self.photos[:COLUMNS]], ["photo"]
        features, structures = {}, {}
        for painter in self.painters:
            made = way(self.photos, np.full(len(self.photos), painter.number), np.arange(len(self.photos)))
            before, after = ((seen - painter.goal).norm(dim=1).mean() for seen in (self.seen, self.eye(made)))
            features[painter.name] = float((before - after) / (before - painter.own))
            kept = structure_kept(made, self.photos[:, : made.shape[1]])
            structures[painter.name] = float(kept.mean() / bound.mean())
            shown.append(made[:COLUMNS])
            labels.append(painter.name)
        sheet_of(shown, labels).save(sheet)
        return {
            "look": float(np.mean(list(features.values()))),
            "structure": float(np.mean(list(structures.values()))),
            "look by painter": features,
            "structure by painter": structures,
        }


@torch.no_grad()
def main() -> None:
    """Train AdaIN, stylize, measure, print."""
    parser = options(__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("images", type=Path, help="what the run was trained on")
    parser.add_argument("photos", type=Path)
    parser.add_argument("--without", nargs="*", default=["clothing", "kodak", "skimage_data"], metavar="COLLECTION")
    parser.add_argument("--count", type=int, default=48, help="photos to stylize")
    parser.add_argument("--real", type=int, help="training images that the evaluator features at (default: all)")
    parser.add_argument("--minutes", type=float, help="of training for AdaIN (default: those of the run)")
    parser.add_argument("--device", default="auto")
    parser.set_defaults(out=Path("painters"))
    arguments = parser.parse_args()
    folder: Path = arguments.out
    folder.mkdir(parents=True, exist_ok=True)
    model = api.load(arguments.run, arguments.device)
    settings = Run(arguments.run).config
    trained = from_json(TrainConfig, settings.read_text(encoding="utf-8"), str(settings))
    minutes = trained.minutes if arguments.minutes is None else arguments.minutes
    if minutes is None:
        parser.error("the run has no --minutes: say how many AdaIN shall have.")
    images = prepare(
        arguments.images,
        resolution=trained.resolution,
        fit=trained.fit,
        zoom=trained.zoom,
        cache=folder / "cache",
    )
    engine = Engine(arguments.device)

    seen = torch.from_numpy(model.read([arguments.photos]).pixels)
    photos = seen[evenly_spaced(np.arange(len(seen)), arguments.count)].to(model.device).float() / 255
    bench = Bench(images, photos, arguments.without, arguments.real, folder / "cache")
    reconstruction = torch.cat([model.network.autoencoder.reconstruct(part) for part in photos.split(BATCH)])
    styles = styles_of(model, images)
    ways = {f"impasto, strength {strength:g}": by_impasto(model, styles, strength) for strength in STRENGTHS}
    if model.config.redraws_alone:
        ways |= {
            f"impasto, strength {strength:g}, {count} shifts": by_shifts(model, images.collections, strength, count)
            for count in NUM_SHIFTS
            for strength in STRENGTHS
        }
    if minutes:
        peer = AdaIn()
        with torch.enable_grad():
            train_peer(peer, images, engine, 60 * minutes, folder / "adain.pt")
        ways["AdaIN"] = by_adain(peer, references_from(images))
    result: dict[str, object] = {"painters": [p.name for p in bench.painters], "photos": len(photos)}
    result |= {"minutes": minutes, "device": engine.reason}
    for name, way in ways.items():
        scores = bench.measure(way, reconstruction, folder / f"{name.replace(', ', '-').replace(' ', '')}.png")
        result[name] = scores
        print(f"{name}: look {scores['look']:.3f}, structure {scores['structure']:.3f}", flush=True)
    write(result, folder / "painters.json")


if __name__ == "__main__":
    main()
