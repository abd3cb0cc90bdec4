"""The last minutes of a decoder: it alone trains, on almost noise-free latents, as the prior will generate them.

python recipes/finish.py runs/icons-phase-1 runs/icons-images --out runs/icons-phase-2 --minutes 28

In `impasto train` the decoder sees latents with their full noise, and with some levels dropped. Here the noise is
small and no level is dropped. Encoders and prior are kept, so every latent keeps its meaning. An interrupted run starts
again; a finished one does nothing.
"""

import argparse
import math
import time
from pathlib import Path

import torch

from impasto.backbone import Backbone, Lite, feature_distance
from impasto.data import ImageSet, prepare
from impasto.device import choose_device
from impasto.events import Stage
from impasto.model.autoencoder import Autoencoder
from impasto.model.blocks import to_images
from impasto.model.decoder import clamp_valid
from impasto.model.impasto import load_model, save_model
from impasto.objective.reconstruction import reconstruction_loss
from impasto.training.run import Run
from impasto.training.seeds import Order

TEMPERATURE = 0.3
"""Factor on the posterior's standard deviation."""
FEATURE_WEIGHT = 0.3
LEARNING_RATE = 3e-4
WARMUP = 30
DECAY = 0.995
"""Of the moving average of the weights."""


def finish(autoencoder: Autoencoder, images: ImageSet, minutes: float, batch_size: int, seed: int) -> None:
    """Train the decoder for ``minutes`` on its device, then replace its weights by their moving average."""
    decoder, device = autoencoder.decoder.requires_grad_(True), next(autoencoder.parameters()).device
    features = Backbone(Lite.LITE1).to(device)
    adam = torch.optim.AdamW(decoder.parameters(), LEARNING_RATE, betas=(0.9, 0.99), weight_decay=0.0, fused=True)
    average = torch.optim.swa_utils.AveragedModel(
        decoder,
        avg_fn=lambda old, new, count: torch.lerp(old, new, 1 - min(DECAY, (2 + int(count)) / (11 + int(count)))),
    )
    order, started, step = Order(images.train, seed, Stage.AUTOENCODER), time.monotonic(), 0
    while (progress := (time.monotonic() - started) / (60 * minutes)) < 1:
        for group in adam.param_groups:
            group["lr"] = LEARNING_RATE * min(1, (step + 1) / WARMUP) * 0.5 * (1 + math.cos(math.pi * progress))
        image = to_images(images.batch(order.take(step * batch_size, batch_size)), device)
        with torch.no_grad():
            posterior = autoencoder.posterior(image)
            latents = posterior.map(lambda gaussian: gaussian.sample(torch.randn_like(gaussian.mean), TEMPERATURE))
            target = features(image)
        output = decoder(latents)
        reconstruction = reconstruction_loss(output, image).mean()
        distance = feature_distance(features(clamp_valid(output)), target).mean()
        (reconstruction + FEATURE_WEIGHT * distance).backward()
        torch.nn.utils.clip_grad_norm_(decoder.parameters(), 1.0)
        adam.step()
        adam.zero_grad(set_to_none=True)
        average.update_parameters(decoder)
        step += 1
        if step % 50 == 0:
            print(
                f"{100 * progress:.0f} %, {step * batch_size:,} images: reconstruction {float(reconstruction):.4f}, "
                f"features {float(distance):.4f}",
                flush=True,
            )
    decoder.load_state_dict(average.module.state_dict())


def main() -> None:
    """Read the model, train its decoder, write the model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--minutes", type=float, default=28.0)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, required=True, help="folder for the weights")
    arguments = parser.parse_args()
    target = Run(arguments.out).model
    if target.exists():
        return
    torch.manual_seed(arguments.seed)
    run = Run(arguments.run)
    model, styles = load_model(run.model)
    device, _ = choose_device(arguments.device)
    model.to(device)
    images = prepare(arguments.images, resolution=model.config.resolution, cache=run.cache)
    finish(model.autoencoder, images, arguments.minutes, arguments.batch_size, arguments.seed)
    arguments.out.mkdir(parents=True, exist_ok=True)
    save_model(model, target, styles=styles, half=True)
    print(target)


if __name__ == "__main__":
    main()
