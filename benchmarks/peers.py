"""Impasto and its peers with equal images and equal training time: a table with ratios, sheets of samples, JSON.

python benchmarks/peers.py emoji128.zip --minutes 20 --out peers/emoji
python benchmarks/peers.py tiles32.zip --resolution 32 --minutes 5 --out peers/tiles
python benchmarks/peers.py emoji128.zip --minutes 60 --only impasto "diffusers pixel DDPM" --out peers/emoji-60

The systems train one after another with all threads, in the dtype that `impasto train` selects, on the same training
images (RGB over white). The same code evaluates them with the same seed on the same held-out images. The same command
resumes an interrupted benchmark and loses at most two minutes of training. The peers need an extra:
pip install -e ".[peers]".
"""

import json
import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from common import options, write
from impasto import api
from impasto.atomic import write_atomically
from impasto.config import Against, EvaluateConfig, GenerateConfig, Size, TrainConfig, flat
from impasto.create.grid import FONT_SIZE, GAP, INK
from impasto.data import ImageSet, prepare
from impasto.evaluate.evaluator import Evaluator, sheet_of
from impasto.evaluate.scores import Best, Measured, average
from impasto.evaluate.swap import Stylize, held_out_pairs, swap
from impasto.model.blocks import Map, to_images
from impasto.model.decoder import latent_shapes
from impasto.training.engine import Engine
from impasto.training.seeds import Order
from stylization import by_adain, by_impasto, references_from, styles_of
from systems.adain import AdaIn
from systems.diffusion import LatentDiffusion, PixelDiffusion
from systems.plain_vae import PlainVae
from systems.pythae_vaes import PythaeVae, PythaeVaegan
from systems.system import System

OURS = "impasto"
PEERS = (PlainVae, PythaeVae, PythaeVaegan, LatentDiffusion, PixelDiffusion, AdaIn)
SAVE_SECONDS = 120.0
HEADLINES = (
    "frechet_lite2",
    "kernel_lite2",
    "copy_rate_features",
    "psnr_db",
    "feature_distance",
    "probe_accuracy",
    "swap_distance",
)
SAMPLES_AT_A_TIME = 64
COLUMNS = 12
STRENGTH = EvaluateConfig().strength
"""Strength of Impasto's stylization."""
MAX_SWAPS = 256


@dataclass(frozen=True)
class Trained:
    """A system after training: facts for the report, and its functions."""

    facts: dict[str, object]
    sample: Callable[[Tensor, int], Tensor] | None = None
    """From (collections, number of the batch) to images, RGB over white in [0, 1]."""
    reconstruct: Callable[[Map], Map] | None = None
    stylize: Stylize | None = None


def build(kind: type[System], resolution: int, num_collections: int) -> System:
    """An untrained system; ``num_collections`` is for those that are conditioned on collections."""
    torch.manual_seed(0)
    if kind is AdaIn:
        return AdaIn()
    if kind in (LatentDiffusion, PixelDiffusion):
        return kind(resolution, num_collections)  # pyrefly: ignore
    return kind(resolution)  # pyrefly: ignore


def train(system: System, images: ImageSet, engine: Engine, seconds: float, state: Path) -> dict[str, float]:
    """Train for ``seconds`` in total over all resumes; returns images seen and minutes."""
    system.to(engine.device)
    images_seen, spent, last_saved = 0, 0.0, time.monotonic()
    if state.exists():
        saved = torch.load(state, weights_only=True, map_location=engine.device)
        system.load_state_dict(saved["system"])
        for name, optimizer in system.optimizers.items():
            optimizer.load_state_dict(saved["optimizers"][name])
        images_seen, spent = saved["images_seen"], saved["spent"]
    order = Order(images.train, 0, "peers")
    system.train()
    before = time.monotonic()
    while spent < seconds:
        indices = order.take(images_seen, system.batch_size)
        image = to_images(images.batch(indices, np.random.default_rng(images_seen))[:, :3], engine.device)
        labels = torch.from_numpy(images.collection_ids[indices]).to(engine.device)
        with engine.autocast():
            loss = system.step(image, labels, spent / seconds)
        images_seen += system.batch_size
        now = time.monotonic()
        spent, before = spent + now - before, now
        if now - last_saved > SAVE_SECONDS or spent >= seconds:
            optimizers = {name: optimizer.state_dict() for name, optimizer in system.optimizers.items()}
            whole = {
                "system": system.state_dict(),
                "optimizers": optimizers,
                "images_seen": images_seen,
                "spent": spent,
            }
            write_atomically(state, lambda temporary, whole=whole: torch.save(whole, temporary))
            print(f"  {spent / 60:5.1f} min  {images_seen:,} images  loss {loss:.4f}", flush=True)
            last_saved = before = time.monotonic()
    system.eval()
    return {"images_seen": images_seen, "minutes": seconds / 60}


def train_peer(kind: type[System], images: ImageSet, engine: Engine, minutes: float, folder: Path) -> Trained:
    """Train a peer."""
    system = build(kind, images.resolution, len(images.collections))
    trained = train(system, images, engine, 60 * minutes, folder / "state.pt")
    facts: dict[str, object] = {"settings": kind.settings, "latent_numbers": system.latent_numbers(), **trained}
    facts["parameters"] = sum(p.numel() for p in system.parameters() if p.requires_grad)

    @torch.no_grad()
    def sample(labels: Tensor, number: int) -> Tensor:
        with engine.autocast():
            return system.sample(labels.to(engine.device), torch.Generator().manual_seed(number)).float().cpu()

    @torch.no_grad()
    def reconstruct(image: Map) -> Map:
        decoded = system.reconstruct(image[:, :3])
        assert decoded is not None
        return decoded

    if isinstance(system, AdaIn):
        return Trained(facts, stylize=by_adain(system, references_from(images)))
    probe = system.reconstruct(torch.zeros(1, 3, images.resolution, images.resolution, device=engine.device))
    return Trained(facts, sample, reconstruct if probe is not None else None)


def train_ours(source: Path, images: ImageSet, engine: Engine, minutes: float, folder: Path, size: Size) -> Trained:
    """Train Impasto as `impasto train` does, or resume its training."""
    config = TrainConfig(source, folder / "run", size=size, resolution=images.resolution, minutes=minutes)
    model = api.train(config)
    latent_numbers = sum(math.prod(shape) for shape in latent_shapes(model.config))
    lines = [json.loads(line) for line in (folder / "run" / "log.jsonl").read_text().splitlines()]
    seen = {line["stage"]: line["images_seen"] for line in lines if "images_seen" in line and "stage" in line}
    facts: dict[str, object] = {
        "settings": f"impasto train --size {size} --minutes {minutes:g}",
        "latent_numbers": latent_numbers,
        "images_seen": seen,
        "minutes": minutes,
        "parameters": sum(p.numel() for p in model.network.parameters()),
    }

    def sample(labels: Tensor, number: int) -> Tensor:
        start, samples = number * SAMPLES_AT_A_TIME, []
        for label, count in zip(*labels.unique_consecutive(return_counts=True), strict=True):
            config = flat(GenerateConfig, style=(images.collections[int(label)],))
            samples += [_over_white(new.image) for new in model.generate(int(count), config, start=start)]
            start += int(count)
        return torch.stack(samples)

    def reconstruct(image: Map) -> Map:
        return model.network.autoencoder.reconstruct(image)

    return Trained(facts, sample, reconstruct, by_impasto(model, styles_of(model, images), STRENGTH))


def _over_white(image: Image.Image) -> Tensor:
    ground = Image.new("RGBA", image.size, "white")
    ground.alpha_composite(image.convert("RGBA"))
    return torch.from_numpy(np.asarray(ground.convert("RGB")).copy()).permute(2, 0, 1).float() / 255


def evaluate_system(evaluator: Evaluator, trained: Trained, samples: int, folder: Path) -> dict[str, object]:
    """All scores that apply to the system; writes sheets of images."""
    scores: list[Measured] = []
    if trained.sample is not None:
        scores += evaluate_samples(evaluator, trained, samples, folder)
    if trained.reconstruct is not None:
        reconstruct = trained.reconstruct
        measured, sheet = evaluator.reconstruction(lambda image: [reconstruct(image)], ["reconstruction"])
        scores += measured
        sheet.save(folder / "reconstructions.png")
    pairs = held_out_pairs(evaluator.images, MAX_SWAPS, 0)
    if trained.stylize is not None and len(pairs.content):
        swaps = swap(evaluator, pairs, trained.stylize, trained.reconstruct or (lambda image: image))
        bounds = {"copying the content": swaps.copied, "nearest other drawing": swaps.other}
        references = {name: float(values.mean()) for name, values in bounds.items()}
        scores.append(average("swap_distance", swaps.stylized, Best.LOW, references))
        content, target = (evaluator.batch(i[:COLUMNS]) for i in (pairs.content, pairs.target))
        rows = [content, swaps.images[:COLUMNS], target]
        sheet_of(rows, ["content", "stylized", "own drawing"]).save(folder / "swaps.png")
    return {score.name: score.record() for score in scores}


def evaluate_samples(evaluator: Evaluator, trained: Trained, samples: int, folder: Path) -> list[Measured]:
    """Scores of samples, with the collections in the proportions of the training images."""
    sample = trained.sample
    assert sample is not None
    labels = evaluator.labels(evaluator.images.collections, samples)
    kept: list[Tensor] = []

    def batches() -> Iterator[Tensor]:
        for number, chunk in enumerate(labels.split(SAMPLES_AT_A_TIME)):
            samples_of_chunk = sample(chunk, number)
            kept.append(samples_of_chunk)
            yield samples_of_chunk

    features = evaluator.features_of(batches(), "generating samples", samples)
    copies, closest = evaluator.memorisation(features)
    if closest is not None:
        closest.save(folder / "closest.png")
    images = torch.cat(kept)
    sheet_of([images[labels == c][:COLUMNS] for c in labels.unique()], evaluator.images.collections).save(
        folder / "samples.png"
    )
    reconstructed = (
        evaluator.reconstructed_set(trained.reconstruct, samples) if trained.reconstruct is not None else None
    )
    return [
        *evaluator.generation(features, Against.ALL, reconstructed),
        *evaluator.style(features, labels, reconstructed),
        *copies,
    ]


def table(results: dict[str, dict]) -> str:
    """Markdown: the headline scores of every system, with ratios to Impasto's; first the references, in brackets."""
    lines = ["| system | parameters | latent numbers | images seen | " + " | ".join(HEADLINES) + " |"]
    lines.append("|---" * (len(HEADLINES) + 4) + "|")
    ours = results.get(OURS, {}).get("scores", {})
    references = [ours.get(headline, {}).get("references", {}) for headline in HEADLINES]
    for name in sorted({name for by_name in references for name in by_name}):
        values = [by_name.get(name) for by_name in references]
        cells = ["-" if value is None else f"{value:.4g}" for value in values]
        lines.append("| " + " | ".join([f"({name})", "", "", "", *cells]) + " |")
    for name, result in results.items():
        counts = result["images_seen"]
        seen = " + ".join(f"{count:,}" for count in counts.values()) if isinstance(counts, dict) else f"{counts:,}"
        numbers = result["latent_numbers"]
        cells = [name, f"{result['parameters'] / 1e6:.1f} M", f"{numbers:,}" if numbers else "-", seen]
        for headline in HEADLINES:
            value = result["scores"].get(headline, {}).get("value")
            own = ours.get(headline, {}).get("value")
            ratio = f" ({value / own:.2f}x)" if value is not None and own and name != OURS else ""
            cells.append("-" if value is None else f"{value:.4g}{ratio}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def sample_sheet(folder: Path, names: Iterable[str]) -> Image.Image | None:
    """The sheets of samples of all systems in one image, with their names; None if there are none."""
    sheets = {name: folder_of(folder, name) / "samples.png" for name in names}
    opened = {name: Image.open(sheet).convert("RGB") for name, sheet in sheets.items() if sheet.exists()}
    if not opened:
        return None
    title = FONT_SIZE + 2 * GAP
    height = sum(sheet.height + title for sheet in opened.values())
    whole = Image.new("RGB", (max(sheet.width for sheet in opened.values()), height), "white")
    draw, top = ImageDraw.Draw(whole), 0
    for name, sheet in opened.items():
        draw.text((GAP, top + GAP), name, INK, ImageFont.load_default(size=FONT_SIZE))
        whole.paste(sheet, (0, top + title))
        top += title + sheet.height
    return whole


def folder_of(folder: Path, name: str) -> Path:
    """The folder of a system's state and sheets."""
    return folder / name.replace(" ", "-")


def main() -> None:
    """Train, evaluate, print."""
    names = [OURS, *(kind.name for kind in PEERS)]
    parser = options(__doc__)
    parser.add_argument("images", type=Path)
    parser.add_argument("--minutes", type=float, default=20.0, help="of training for each system")
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--size", type=Size, default=Size.SMALL, help="of Impasto's model")
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--only", nargs="*", default=names, choices=names, metavar="SYSTEM")
    parser.add_argument("--device", default="auto")
    parser.set_defaults(out=Path("peers"))
    arguments = parser.parse_args()
    folder: Path = arguments.out
    folder.mkdir(parents=True, exist_ok=True)
    engine = Engine(arguments.device)
    print(engine.reason)
    images = prepare(arguments.images, resolution=arguments.resolution, cache=folder / "cache")
    evaluator: Evaluator | None = None
    results_file = folder / "results.json"
    results = json.loads(results_file.read_text()) if results_file.exists() else {}
    for name in arguments.only:
        if name in results:
            continue
        print(name, flush=True)
        own_folder = folder_of(folder, name)
        own_folder.mkdir(exist_ok=True)
        if name == OURS:
            trained = train_ours(arguments.images, images, engine, arguments.minutes, own_folder, arguments.size)
        else:
            kind = next(kind for kind in PEERS if kind.name == name)
            trained = train_peer(kind, images, engine, arguments.minutes, own_folder)
        evaluator = evaluator or Evaluator(images, engine.device, 0, cache=folder / "cache")
        scores = evaluate_system(evaluator, trained, arguments.samples, own_folder)
        results[name] = trained.facts | {"device": engine.reason, "scores": scores}
        write(results, results_file)
        (folder / "table.md").write_text(table(results), encoding="utf-8")
        if (sheet := sample_sheet(folder, results)) is not None:
            sheet.save(folder / "samples.png")
    print(table(results))


if __name__ == "__main__":
    main()
