"""How much does the autoencoder learn from so many images? Held-out PSNR and rates by level, as JSON.

python benchmarks/learning.py emoji128.zip --images 9600
python benchmarks/learning.py emoji128.zip --images 9600 --set sketch_weight=0 level_dropout=0.2

The quick experiment behind most rows of docs/lab-notes.md: stage 1 alone, without the losses that look at features
unless ``--features`` asks for them, always from the same seed, on the weights of the last step.
"""

import dataclasses
import tempfile
import time
from pathlib import Path

import torch
from impasto.training.measure import held_out_scores

from common import options, write
from impasto.config import ObjectiveConfig, Size, TrainConfig, sized_model
from impasto.data import prepare
from impasto.model.autoencoder import LEVEL_NAMES
from impasto.model.blocks import channels_last
from impasto.model.impasto import Impasto
from impasto.training.autoencoder_stage import AutoencoderStage
from impasto.training.engine import Engine


def main() -> None:
    """Train, measure, print."""
    parser = options(__doc__)
    parser.add_argument("images", type=Path)
    parser.add_argument("--images", type=int, default=9600, help="images seen")
    parser.add_argument("--size", type=Size, default=Size.SMALL)
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--features", action="store_true", help="with feature loss and discriminator")
    parser.add_argument("--linear-start", action="store_true", help="begin with the best linear autoencoder")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="weights of the objective")
    arguments = parser.parse_args()
    weights = {} if arguments.features else {"feature_weight": 0.0, "adversarial_weight": 0.0}
    weights |= {name: float(value) for name, value in (text.split("=") for text in arguments.set)}
    engine = Engine()
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        config = TrainConfig(
            arguments.images,
            Path(folder),
            size=arguments.size,
            resolution=arguments.resolution,
            batch_size=arguments.batch_size,
            learning_rate=arguments.learning_rate,
            linear_start=arguments.linear_start,
            objective=ObjectiveConfig(**weights),
        )
        images = prepare(config.images, resolution=config.resolution, cache=config.out)
        shape = sized_model(
            config.size,
            channels=images.channels,
            resolution=config.resolution,
            collections=images.collections,
            linear_experts=config.linear_start,
        )
        model = channels_last(Impasto(shape).to(engine.device)).autoencoder
        stage = AutoencoderStage(config, engine, model, images)
        stage.begin()
        steps, start = arguments.images // config.batch_size, time.monotonic()
        for step in range(steps):
            stage.step(step, step * config.batch_size, step / steps)
        seconds = time.monotonic() - start
        scores = held_out_scores(model, images, engine.device)
    print(f"{steps * config.batch_size / seconds:.1f} images/s, {stage.optimizer.skipped} updates skipped")
    print(scores.text())
    result = {
        "device": engine.reason,
        "images_seen": steps * config.batch_size,
        "size": config.size,
        "batch_size": config.batch_size,
        "learning_rate": config.learning_rate,
        "linear_start": config.linear_start,
        "objective": dataclasses.asdict(config.objective),
        "psnr_db_per_prefix": dict(zip(LEVEL_NAMES, scores.psnr_per_prefix, strict=True)),
        "rate_nats": dict(zip(LEVEL_NAMES, scores.rates, strict=True)),
    }
    write(result, arguments.out)


if __name__ == "__main__":
    main()
