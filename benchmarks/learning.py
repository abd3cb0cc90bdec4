"""Stage 1 at a fixed number of images: held-out PSNR and rates by level, as JSON.

python benchmarks/learning.py emoji128.zip --images 9600
python benchmarks/learning.py emoji128.zip --images 9600 --set linear_skip_weight=0 level_dropout=0.2

This is the quick experiment behind most entries of docs/experiments: stage 1 alone, with the same seed, measured on the
weights of the last step. The feature loss is off unless ``--features`` is given.
"""

import dataclasses
import tempfile
import time
from pathlib import Path

import torch

from common import options, write
from impasto.config import ObjectiveConfig, Size, TrainConfig, sized_model
from impasto.data import prepare
from impasto.model.blocks import channels_last
from impasto.model.impasto import Impasto
from impasto.model.levels import LEVEL_NAMES
from impasto.training.autoencoder_stage import AutoencoderStage
from impasto.training.engine import Engine
from impasto.training.preview import held_out_scores


def main() -> None:
    """Train, measure, print."""
    parser = options(__doc__)
    parser.add_argument("data", type=Path, metavar="IMAGES")
    parser.add_argument("--images", type=int, default=9600, metavar="N", help="images seen")
    parser.add_argument("--size", type=Size, default=Size.SMALL)
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--features", action="store_true", help="with the feature loss")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="settings of the objective")
    arguments = parser.parse_args()
    weights = {} if arguments.features else {"feature_weight": 0.0}
    weights |= {name: float(value) for name, value in (text.split("=") for text in arguments.set)}
    engine = Engine()
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        config = TrainConfig(
            arguments.data,
            Path(folder),
            size=arguments.size,
            resolution=arguments.resolution,
            batch_size=arguments.batch_size,
            learning_rate=arguments.learning_rate,
            objective=ObjectiveConfig(**weights),
        )
        images = prepare(config.data, resolution=config.resolution, cache=config.out)
        shape = sized_model(
            config.size, channels=images.channels, resolution=config.resolution, collections=images.collections
        )
        model = channels_last(Impasto(shape).to(engine.device)).autoencoder
        stage = AutoencoderStage(config, engine, model, images)
        stage.initialize()
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
        "objective": dataclasses.asdict(config.objective),
        "psnr_db_per_prefix": dict(zip(LEVEL_NAMES, scores.psnr_per_prefix, strict=True)),
        "rate_nats": dict(zip(LEVEL_NAMES, scores.rates, strict=True)),
    }
    write(result, arguments.out)


if __name__ == "__main__":
    main()
