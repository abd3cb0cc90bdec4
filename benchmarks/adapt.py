"""Finetuning on a new collection: 16 of its images and ten minutes, measured on held-out images, as JSON.

python benchmarks/adapt.py emoji128.zip --collection openmoji --base-minutes 60 --out adapt

The benchmark trains a model on all other collections of the archive (or uses --base, such a model), finetunes it on
--references images of the collection, and trains AdaIN on the other collections for as long as both together. Each
method then stylizes held-out images of other collections in the style of the collection. The measure is the feature
distance to the collection's own drawing of the same subject; references are the unchanged content and the nearest
other drawing of the collection. The same command resumes an interrupted benchmark.
"""

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np
import torch

from common import options, write
from impasto import api
from impasto.config import Size, TrainConfig
from impasto.data import ImageSet, prepare
from impasto.evaluate.evaluator import COLUMNS, Evaluator, sheet_of
from impasto.evaluate.swap import Pairs, Stylize, held_out_pairs, swap
from impasto.model.blocks import to_images
from impasto.training.engine import Engine
from peers import train as train_peer
from stylization import by_adain, by_impasto
from systems.adain import AdaIn

STRENGTHS = (0.3, 0.6, 1.0)
MAX_PAIRS = 128


def extract(archive: Path, folder: Path, names: list[str]) -> Path:
    """Extract the images ``names`` of an archive, with their lines of metadata. Returns ``folder``."""
    if folder.exists():
        return folder
    unfinished = folder.with_name(f"{folder.name}.part")
    with zipfile.ZipFile(archive) as opened:
        kept = set(names)
        lines = opened.read("metadata.jsonl").decode().splitlines()
        lines = [line for line in lines if json.loads(line)["file_name"] in kept]
        for name in names:
            if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                raise SystemExit(f"{archive}: {name} leads out of the archive.")
            opened.extract(name, unfinished)
    (unfinished / "metadata.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return unfinished.rename(folder)


def spaced_names(images: ImageSet, collection: str, count: int) -> list[str]:
    """Names of ``count`` evenly spaced training images of a collection."""
    members = [i for i in images.train.tolist() if images.entries[i].collection == collection]
    return [images.entries[members[i]].name for i in np.linspace(0, len(members) - 1, count).astype(int)]


def pairs_for(images: ImageSet, collection: str) -> Pairs:
    """Pairs of held-out images of the same subject: of another collection, and of ``collection``."""
    pairs = held_out_pairs(images, 1_000_000, 0)
    rows = np.flatnonzero(images.collection_ids[pairs.target] == images.collections.index(collection))
    rows = rows[np.linspace(0, len(rows) - 1, min(MAX_PAIRS, len(rows))).astype(int)]
    return Pairs(pairs.content[rows], pairs.target[rows])


def methods(
    base: api.Pipeline, finetuned: api.Pipeline, adain: AdaIn, num_collections: int, references: Path, collection: str
) -> Iterator[tuple[str, api.Pipeline, Stylize]]:
    """Yield the name of each method, the model for its references, and its function.

    The style is always that of ``collection``.
    """
    image = to_images(base.read([references]).pixels, base.device)
    with torch.no_grad():
        pooled = base.network.autoencoder.styles(image).pool(image.new_full((1, len(image)), 1 / len(image)))
    assert finetuned.styles is not None
    learned = finetuned.styles[[finetuned.config.collections.index(collection)]].to(finetuned.device)
    for strength in STRENGTHS:
        yield f"base, strength {strength:g}", base, by_impasto(base, pooled.expand(num_collections), strength)
        styles = learned.expand(num_collections)
        yield f"finetuned, strength {strength:g}", finetuned, by_impasto(finetuned, styles, strength)
    yield "AdaIN", base, by_adain(adain, lambda collection: image[:, :3])


def main() -> None:
    """Train, finetune, compare."""
    parser = options(__doc__)
    parser.add_argument("images", type=Path, help="a .zip whose metadata.jsonl names collections and keys")
    parser.add_argument("--collection", required=True)
    parser.add_argument("--references", type=int, default=16)
    parser.add_argument("--base", type=Path, help="a run on all other collections, instead of training one")
    parser.add_argument("--base-minutes", type=float, default=60.0)
    parser.add_argument("--minutes", type=float, default=10.0, help="of finetuning")
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--size", type=Size, default=Size.SMALL)
    parser.add_argument("--device", default="auto")
    parser.set_defaults(out=Path("adapt"))
    arguments = parser.parse_args()
    folder: Path = arguments.out
    folder.mkdir(parents=True, exist_ok=True)
    collection, device = arguments.collection, arguments.device

    images = prepare(arguments.images, resolution=arguments.resolution, cache=folder / "cache")
    if collection not in images.collections:
        raise SystemExit(f"--collection {collection}: use one of {', '.join(images.collections)}.")
    others = [entry.name for entry in images.entries if entry.collection != collection]
    names = spaced_names(images, collection, arguments.references)
    references = extract(arguments.images, folder / "references", names)
    rest = extract(arguments.images, folder / "others", others)
    base_run: Path = arguments.base or folder / "base"
    if arguments.base is None:
        settings = {"size": arguments.size, "resolution": arguments.resolution, "minutes": arguments.base_minutes}
        api.train(TrainConfig(rest, base_run, stage1_share=0.25, device=device, **settings))
    base = api.load(base_run, device)
    finetuning = TrainConfig(
        references, folder / "finetuned", finetune=base_run, minutes=arguments.minutes, device=device
    )
    finetuned = api.train(finetuning)
    engine = Engine(device)
    torch.manual_seed(0)
    adain = AdaIn()
    training_images = prepare(rest, resolution=arguments.resolution, cache=folder / "others-cache")
    seconds = 60 * (arguments.base_minutes + arguments.minutes)
    train_peer(adain, training_images, engine, seconds, folder / "adain.pt")

    evaluator = Evaluator(images, engine.device, 0, cache=folder / "cache")
    pairs = pairs_for(images, collection)
    result: dict[str, object] = {
        "collection": collection,
        "references": arguments.references,
        "pairs": len(pairs.content),
    }
    rows, labels = [evaluator.batch(pairs.content[:COLUMNS])], ["content"]
    for name, model, stylize in methods(base, finetuned, adain, len(images.collections), references, collection):
        swaps = swap(evaluator, pairs, stylize, model.network.autoencoder.reconstruct)
        stylized, copied = float(swaps.stylized.mean()), float(swaps.copied.mean())
        result[name] = {"stylized": stylized, "relative to copying": stylized / copied}
        result |= {"copied": copied, "nearest other drawing": float(swaps.other.mean())}
        print(name, result[name], flush=True)
        rows.append(swaps.images[:COLUMNS])
        labels.append(name)
    rows.append(evaluator.batch(pairs.target[:COLUMNS]))
    sheet_of(rows, [*labels, "the collection's own drawing"]).save(folder / "stylized.png")
    write(result, folder / "adapt.json")


if __name__ == "__main__":
    main()
