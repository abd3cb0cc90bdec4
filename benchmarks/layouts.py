"""Which token layout of the prior gives the best images for the same minutes? Frechet distance, as JSON.

python benchmarks/layouts.py runs/emoji emoji128.zip --minutes 15 --out layouts.json

Every layout is trained from nothing on the latents of the run's autoencoder, one after another, on the same machine.
Interrupted, it goes on with the layouts that ``--out`` does not hold yet.
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
from impasto.model.impasto import Impasto
from impasto.training.engine import Engine
from impasto.training.prior_stage import LatentCache, PriorStage

LAYOUTS = {
    "21 tokens: 1 + 4 + 16": (2, 2, 2),
    "24 tokens: 4 + 4 + 16": (1, 2, 2),
    "36 tokens: 4 + 16 + 16": (1, 1, 2),
    "84 tokens: 4 + 16 + 64": (1, 1, 1),
}
"""Sides of the squares that make one token at strides 32, 16 and 8; counted for images of 64 px, without style."""


def main() -> None:
    """Train each layout, measure, print."""
    parser = options(__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--real", type=int, help="training images to compare with (default: all)")
    parser.add_argument("--width", type=int, help="of the prior (default: the run's)")
    parser.add_argument("--depth", type=int, help="of the prior (default: the run's)")
    parser.add_argument("--delays", type=float, nargs=4, default=[0.0] * 4, help="of the levels, coarse to fine")
    parser.add_argument("--look-dim", type=int, default=0, help="numbers that say what an image shows, drawn first")
    parser.add_argument("--learning-rate", type=float, help="highest (default: by the width)")
    parser.add_argument("--only", nargs="*", default=list(LAYOUTS))
    arguments = parser.parse_args()
    model = api.load(arguments.run, "cpu")
    assert model.styles is not None
    images = prepare(arguments.images, resolution=model.config.resolution, cache=arguments.run / "cache")
    config = TrainConfig(
        images=arguments.images,
        out=arguments.run,
        resolution=model.config.resolution,
        prior_learning_rate=arguments.learning_rate,
    )
    width, depth = arguments.width or model.config.prior_width, arguments.depth or model.config.prior_depth
    engine = Engine("cpu")
    evaluator = Evaluator(images, engine.device, 0, max_side=arguments.real, cache=arguments.run / "cache")
    cache = LatentCache(model.network.autoencoder, images, engine)
    results = json.loads(arguments.out.read_text()) if arguments.out and arguments.out.exists() else {}
    for name in arguments.only:
        if name in results:
            continue
        torch.manual_seed(0)
        shape = dataclasses.replace(
            model.config,
            prior_patches=LAYOUTS[name],
            prior_width=width,
            prior_depth=depth,
            prior_delays=tuple(arguments.delays),
            prior_look_dim=arguments.look_dim,
        )
        network = Impasto(shape)
        network.prior.precision = engine.precision
        network.autoencoder.load_state_dict(model.network.autoencoder.state_dict())
        network.to(memory_format=torch.channels_last).autoencoder.eval().requires_grad_(False)
        stage = PriorStage(config, engine, network.prior, cache, images)
        seen, start, limit = 0, time.monotonic(), 60 * arguments.minutes
        losses: list[float] = []
        while (elapsed := time.monotonic() - start) < limit:
            terms, _ = stage.step(seen // stage.batch_size, seen, elapsed / limit)
            seen += stage.batch_size
            losses.append(terms.get("flow", losses[-1] if losses else 0.0))
        network.prior.load_state_dict(stage.optimizer.average.module.state_dict())
        made = make_samples(network.eval(), model.styles, evaluator, arguments.samples, Sampling())
        made.sheet.save((arguments.out or Path("layouts.json")).with_suffix(f".{list(LAYOUTS).index(name)}.png"))
        results[name] = {
            "minutes": arguments.minutes,
            "width": width,
            "depth": depth,
            "delays": arguments.delays,
            "look_dim": arguments.look_dim,
            "learning_rate": arguments.learning_rate,
            "parameters": sum(p.numel() for p in network.prior.parameters()),
            "images_per_second": seen / limit,
            "loss_of_last_tenth": sum(losses[-len(losses) // 10 :]) / max(1, len(losses[-len(losses) // 10 :])),
            "frechet_lite2": frechet_distance(evaluator.train.pooled, made.features.pooled),
        }
        print(name, results[name], flush=True)
        write(results, arguments.out)


if __name__ == "__main__":
    main()
