"""Token layouts of the prior compared at equal training time: Frechet distance, as JSON.

python benchmarks/layouts.py runs/emoji emoji128.zip --minutes 15 --out layouts.json

The benchmark trains a new prior for each layout on the latents of the run's autoencoder, one after another on the same
machine. An interrupted benchmark continues with the layouts that are missing in ``--out``.
"""

import dataclasses
import json
import time
from pathlib import Path

import torch

from common import options, write
from impasto import api
from impasto.config import Sampling, TrainConfig
from impasto.data import prepare
from impasto.evaluate.distances import frechet_distance
from impasto.evaluate.evaluator import Evaluator
from impasto.evaluate.samples import make_samples
from impasto.model.blocks import channels_last
from impasto.model.impasto import Impasto
from impasto.model.levels import MAP_STRIDES
from impasto.training.engine import Engine
from impasto.training.prior_stage import LatentCache, PriorStage

LAYOUTS = {
    "21 tokens: 1 + 4 + 16": (2, 2, 2),
    "24 tokens: 4 + 4 + 16": (1, 2, 2),
    "36 tokens: 4 + 16 + 16": (1, 1, 2),
    "84 tokens: 4 + 16 + 64": (1, 1, 1),
}
"""Patches of the maps at strides 32, 16 and 8. The names count the tokens of 64 px images, without the style token."""


def main() -> None:
    """Train a prior for each layout, measure, print."""
    parser = options(__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--real", type=int, help="maximum number of training images to compare with (default: all)")
    parser.add_argument("--width", type=int, help="of the prior (default: the run's)")
    parser.add_argument("--depth", type=int, help="of the prior (default: the run's)")
    parser.add_argument("--learning-rate", type=float, help="peak (default: from the width)")
    parser.add_argument("--only", nargs="*", default=list(LAYOUTS), choices=list(LAYOUTS), metavar="LAYOUT")
    arguments = parser.parse_args()
    model = api.load(arguments.run, "cpu")
    assert model.styles is not None
    for name in arguments.only:
        sides = [model.config.resolution // stride for stride in MAP_STRIDES]
        if any(side % patch for side, patch in zip(sides, LAYOUTS[name], strict=True)):
            raise SystemExit(f"{name}: its patches do not fit the maps of {model.config.resolution} px; see --only.")
    width, depth = arguments.width or model.config.prior_width, arguments.depth or model.config.prior_depth
    engine = Engine("cpu")
    results = json.loads(arguments.out.read_text()) if arguments.out and arguments.out.exists() else {}
    with model.cache() as folder:
        images = prepare(arguments.images, resolution=model.config.resolution, cache=folder)
        evaluator = Evaluator(images, engine.device, 0, max_images=arguments.real, cache=folder)
        cache = LatentCache(model.network.autoencoder, images, engine)
    config = TrainConfig(
        data=arguments.images,
        out=arguments.run,
        resolution=model.config.resolution,
        prior_learning_rate=arguments.learning_rate,
    )
    for name in arguments.only:
        if name in results:
            continue
        torch.manual_seed(0)
        shape = dataclasses.replace(
            model.config, prior_patches=LAYOUTS[name], prior_width=width, prior_depth=depth, text_dim=0
        )
        network = channels_last(Impasto(shape))
        network.prior.dtype = engine.dtype
        network.autoencoder.load_state_dict(model.network.autoencoder.state_dict())
        network.autoencoder.eval().requires_grad_(False)
        stage = PriorStage(config, engine, network.prior, cache, images)
        images_seen, start, limit = 0, time.monotonic(), 60 * arguments.minutes
        losses: list[float] = []
        while (elapsed := time.monotonic() - start) < limit:
            terms, _ = stage.step(images_seen // stage.batch_size, images_seen, elapsed / limit)
            images_seen += stage.batch_size
            losses.append(terms.get("flow", losses[-1] if losses else 0.0))
        network.prior.load_state_dict(stage.averaged())
        samples = make_samples(network.eval(), model.styles, evaluator, arguments.samples, Sampling())
        samples.sheet.save((arguments.out or Path("layouts.json")).with_suffix(f".{list(LAYOUTS).index(name)}.png"))
        last_tenth = losses[-max(1, len(losses) // 10) :]
        results[name] = {
            "minutes": arguments.minutes,
            "width": width,
            "depth": depth,
            "learning_rate": arguments.learning_rate,
            "parameters": sum(p.numel() for p in network.prior.parameters()),
            "images_per_second": images_seen / limit,
            "loss_of_last_tenth": sum(last_tenth) / max(1, len(last_tenth)),
            "frechet_lite2": frechet_distance(evaluator.train.pooled, samples.features.pooled),
        }
        print(name, results[name], flush=True)
        write(results, arguments.out)


if __name__ == "__main__":
    main()
