"""Ways to learn the style of 50 to 500 images, compared at equal minutes, as JSON and sheets.

python benchmarks/routes.py sprites icons textures --minutes 5 15 --out routes

Each folder holds images of one style. Each route trains on it for the given minutes, in one process, then generates
--samples images of the style with the default settings. They are compared with all images of the folder, at 128 px over
white, by features of the evaluation network: kernel distance, precision, recall, and the share of copies of training
images (beside that of held-out images). The two halves of the folder are the reference. A sheet shows unchosen samples
of every route below real images. The same command resumes an interrupted benchmark.
"""

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image

from common import options, write
from impasto import api
from impasto.backbone import Backbone, Lite
from impasto.config import Augment, Fit, GenerateConfig, Size, TrainConfig
from impasto.create.grid import grid
from impasto.create.image import to_image
from impasto.data import WholeImages, prepare
from impasto.evaluate.copies import find_copies
from impasto.evaluate.distances import kernel_estimate, precision_and_recall
from impasto.training import finetune, loop

SIDE = 128
SHOWN = 16
NATIVE = {"fit": Fit.KEEP}
ROUTES = {
    "from nothing, tiny": {"size": Size.TINY} | NATIVE,
    "from nothing, small": {"size": Size.SMALL} | NATIVE,
    "from nothing, tiny, shifted": {"size": Size.TINY, "augment": (Augment.SHIFT,)} | NATIVE,
    "finetune: decoder slowly, conditioning of the prior": {"finetune": Path("icons")},
    "finetune: decoder and prior": {"finetune": Path("icons")},
    "init: everything": {"init": Path("icons"), "size": Size.SMALL, "resolution": 128},
    "init: everything, own resolution": {"init": Path("icons"), "size": Size.SMALL, "stage1_share": 0.2} | NATIVE,
    "init: autoencoder, tiny prior": {
        "init": Path("icons"),
        "size": Size.SMALL,
        "prior_size": Size.TINY,
        "stage1_share": 0.2,
    }
    | NATIVE,
}
"""Settings of training by the name of the route. Those with `NATIVE` keep the pixels of the images."""


@contextmanager
def whole_prior(route: str) -> Iterator[None]:
    """Let all weights of the prior and the decoder at its full rate train, in the route that is named so."""
    if route != "finetune: decoder and prior":
        yield
        return
    kept = loop.only_conditioning, finetune.LEARNING_RATE_FACTOR
    loop.only_conditioning, finetune.LEARNING_RATE_FACTOR = (lambda prior: prior), 1.0
    try:
        yield
    finally:
        loop.only_conditioning, finetune.LEARNING_RATE_FACTOR = kept


def on_white(image: Image.Image) -> torch.Tensor:
    """(3, SIDE, SIDE) in [0, 1]: padded to a square and resized, over white."""
    image = image.convert("RGBA")
    side = max(image.size)
    square = Image.new("RGBA", (side, side), "white")
    square.alpha_composite(image, ((side - image.width) // 2, (side - image.height) // 2))
    data = torch.frombuffer(bytearray(square.convert("RGB").tobytes()), dtype=torch.uint8)
    pixels = data.reshape(side, side, 3).permute(2, 0, 1).float() / 255
    return F.interpolate(pixels[None], SIDE, mode="bicubic", antialias=True, align_corners=False)[0].clamp(0, 1)


def crop(image: Image.Image, side: int) -> Image.Image:
    """The central square of ``side`` pixels."""
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))


def features(images: torch.Tensor) -> torch.Tensor:
    """Pooled features of the evaluation network: (image, feature)."""
    backbone = Backbone(Lite.LITE2)
    with torch.no_grad():
        return torch.cat([backbone.maps_and_pooled(part)[1] for part in images.split(16)])


def real_images(folder: Path, run: Path) -> tuple[list[Image.Image], list[bool]]:
    """The images of a folder, and whether each is held out."""
    image_set = prepare(folder, resolution=SIDE, cache=run.parent / "cache")
    held_out = {image_set.entries[row].name for row in image_set.held_out.tolist()}
    images = [(image.name, to_image(image.pixels)) for image in WholeImages(folder, max_side=SIDE, channels=4)]
    return [image for _, image in images], [name in held_out for name, _ in images]


def compare(real: torch.Tensor, is_held_out: torch.Tensor, generated: torch.Tensor) -> dict[str, object]:
    """Scores of generated images by their features."""
    distance = kernel_estimate(real, generated)
    precision, recall = precision_and_recall(real, generated)
    copies = find_copies(real[~is_held_out], generated, real[is_held_out])
    return {
        "kernel_distance": distance.value,
        "interval": distance.interval,
        "precision": precision,
        "recall": recall,
        "copies": float(copies.is_copy.float().mean()),
        "held_out_copies": float(copies.held_out_is_copy.float().mean()),
    }


def main() -> None:
    """Train, generate, compare."""
    parser: argparse.ArgumentParser = options(__doc__)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--minutes", type=float, nargs="+", default=[5.0])
    parser.add_argument("--routes", nargs="+", default=list(ROUTES), choices=list(ROUTES))
    parser.add_argument("--samples", type=int, default=160)
    parser.add_argument("--seed", type=int, default=0)
    parser.set_defaults(out=Path("routes"))
    arguments = parser.parse_args()
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    for minutes in arguments.minutes:
        for folder in arguments.folders:
            images, held_out = real_images(folder, out / "run")
            real, is_held_out = features(torch.stack([on_white(i) for i in images])), torch.tensor(held_out)
            shuffled = torch.randperm(len(real), generator=torch.Generator().manual_seed(0))
            halves = kernel_estimate(*real[shuffled].tensor_split(2))
            print(f"{folder.name}: two halves of the folder {halves.value:.4f}", flush=True)
            rows, labels = [images[:: max(1, len(images) // SHOWN)][:SHOWN]], ["real"]
            for route in arguments.routes:
                name = f"{folder.name}-{minutes:g}-{list(ROUTES).index(route)}-{arguments.seed}"
                result, run = out / f"{name}.json", out / name
                started = time.monotonic()
                side = max(max(image.size) for image in images)
                settings = ROUTES[route]
                is_native = "fit" in settings
                settings = ({"resolution": -(-side // 32) * 32} if is_native else {}) | settings
                config = TrainConfig(folder, run, minutes=minutes, seed=arguments.seed, processes=1, **settings)
                with whole_prior(route):
                    model = api.load(run) if result.exists() else api.train(config, ())
                taken = (time.monotonic() - started) / 60
                wanted = GenerateConfig(style=(folder.name,))
                generated = [g.image for g in model.generate(SHOWN if result.exists() else arguments.samples, wanted)]
                if is_native:  # without the padding
                    generated = [crop(image, side) for image in generated]
                rows.append(generated[:SHOWN])
                labels.append(f"{route}, {minutes:g} min")
                if not result.exists():
                    scores = compare(real, is_held_out, features(torch.stack([on_white(i) for i in generated])))
                    head = {"folder": folder.name, "route": route, "minutes": minutes, "minutes_taken": taken}
                    write(head | {"halves": halves.value} | scores, result)
                print(result.read_text().strip(), flush=True)
            grid(rows, labels, cell=96).save(out / f"{folder.name}-{minutes:g}.png")


if __name__ == "__main__":
    main()
