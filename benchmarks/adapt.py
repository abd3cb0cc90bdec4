"""A collection that the model has never seen: 16 of its drawings and ten minutes, then its drawings of held-out things.

python benchmarks/adapt.py emoji128.zip --collection openmoji --base-minutes 60 --out adapt

Trains a model on all other collections of the archive (or takes --base, trained so), adapts it to so many drawings of
the collection, and trains AdaIN on the other collections for as long as both took. Then each stylizes what others drew
of held-out things in the collection's style: feature distances to the collection's own drawings, beside those of
copying and of the collection's nearest drawing. Interrupted, it goes on where it stopped.
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
from impasto.model.fuser import pool
from impasto.model.gaussian import Gaussian
from impasto.training.engine import Engine
from peers import train as train_peer
from stylization import by_adain, by_impasto
from systems.adain import AdaIn

STRENGTHS = (0.3, 0.6, 1.0)
"""Of stylization."""
MAX_PAIRS = 128


def unpack(archive: Path, folder: Path, names: list[str]) -> Path:
    """Some images of an archive, with their lines of metadata, in a folder of their own."""
    if folder.exists():
        return folder
    unfinished = folder.with_name(f"{folder.name}.part")
    with zipfile.ZipFile(archive) as opened:
        wanted = set(names)
        lines = opened.read("metadata.jsonl").decode().splitlines()
        kept = [line for line in lines if json.loads(line)["file_name"] in wanted]
        for name in names:
            if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                raise SystemExit(f"{archive}: {name} leads out of the archive.")
            opened.extract(name, unfinished)
    (unfinished / "metadata.jsonl").write_text("\n".join(kept) + "\n", encoding="utf-8")
    return unfinished.rename(folder)


def some_of(images: ImageSet, collection: str, count: int) -> list[str]:
    """Names of so many training images of a collection, evenly from all."""
    members = [i for i in images.train.tolist() if images.entries[i].collection == collection]
    return [images.entries[members[i]].name for i in np.linspace(0, len(members) - 1, count).astype(int)]


def pairs_for(images: ImageSet, collection: str) -> Pairs:
    """Held-out things that the collection and another have drawn: the other's drawing, and the collection's."""
    pairs = held_out_pairs(images, 1_000_000, 0)
    mine = np.flatnonzero(images.collection_ids[pairs.target] == images.collections.index(collection))
    chosen = mine[np.linspace(0, len(mine) - 1, min(MAX_PAIRS, len(mine))).astype(int)]
    return Pairs(pairs.content[chosen], pairs.target[chosen])


def ways(
    base: api.Pipeline, adapted: api.Pipeline, adain: AdaIn, images: ImageSet, mine: Path, collection: str
) -> Iterator[tuple[str, api.Pipeline | None, Stylize]]:
    """What is compared: by name, whose it is, and how it stylizes. Whatever style is wanted, it is the collection's."""
    seen = base.read([mine])
    pixels = torch.from_numpy(seen.pixels).to(base.device).float() / 255
    with torch.no_grad():
        references = base.network.autoencoder.posterior(pixels)[0]
    pooled = pool(references, pixels.new_full((len(images.collections), len(pixels)), 1 / len(pixels)))
    assert adapted.styles is not None
    own = adapted.styles[adapted.config.collections.index(collection)].to(adapted.device)
    learned = Gaussian(*own.expand(len(images.collections), 2, -1).unbind(1))
    for strength in STRENGTHS:
        yield f"un-adapted, strength {strength:g}", base, by_impasto(base, pooled, strength)
        yield f"adapted, strength {strength:g}", adapted, by_impasto(adapted, learned, strength)
    yield "AdaIN", None, by_adain(adain, lambda collection: pixels[:, :3])


def main() -> None:
    """Train, adapt, compare."""
    parser = options(__doc__)
    parser.add_argument("images", type=Path, help="a .zip whose metadata.jsonl names collections and keys")
    parser.add_argument("--collection", required=True)
    parser.add_argument("--references", type=int, default=16)
    parser.add_argument("--base", type=Path, help="a run on all other collections, instead of training one")
    parser.add_argument("--base-minutes", type=float, default=60.0)
    parser.add_argument("--minutes", type=float, default=10.0, help="of adaptation")
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
    mine = unpack(arguments.images, folder / "mine", some_of(images, collection, arguments.references))
    rest = unpack(arguments.images, folder / "others", others)
    base_run = arguments.base or folder / "base"
    if arguments.base is None:
        minutes, size, resolution = arguments.base_minutes, arguments.size, arguments.resolution
        settings = {"size": size, "resolution": resolution, "minutes": minutes, "device": device}
        api.train(TrainConfig(rest, base_run, stage1_share=0.25, **settings))
    base = api.load(base_run, device)
    adapted = api.train(TrainConfig(mine, folder / "adapted", init=base_run, minutes=arguments.minutes, device=device))
    engine = Engine(device)
    torch.manual_seed(0)
    adain = AdaIn()
    learned_from = prepare(rest, resolution=arguments.resolution, cache=folder / "others-cache")
    seconds = 60 * (arguments.base_minutes + arguments.minutes)
    train_peer(adain, learned_from, engine, seconds, folder / "adain.pt")

    evaluator = Evaluator(images, engine.device, 0, cache=folder / "cache")
    pairs = pairs_for(images, collection)
    result: dict[str, object] = {
        "collection": collection,
        "references": arguments.references,
        "pairs": len(pairs.content),
    }
    rows, labels = [evaluator.batch(pairs.content[:COLUMNS])], ["content"]
    for name, model, way in ways(base, adapted, adain, images, mine, collection):
        found = swap(evaluator, pairs, way, (model or base).network.autoencoder.reconstruct)
        stylized, copied = float(found.stylized.mean()), float(found.copied.mean())
        result[name] = {"stylized": stylized, "of copying": stylized / copied}
        result |= {"copied": copied, "nearest other drawing": float(found.other.mean())}
        print(name, result[name], flush=True)
        rows.append(found.images[:COLUMNS])
        labels.append(name)
    rows.append(evaluator.batch(pairs.target[:COLUMNS]))
    sheet_of(rows, [*labels, "the collection's own"]).save(folder / "stylized.png")
    write(result, folder / "adapt.json")


if __name__ == "__main__":
    main()
