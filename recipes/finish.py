"""The last minutes of a decoder: it alone learns on, from latents all but free of noise, as the prior will give them.

python recipes/finish.py runs/icons-course-1 runs/icons-images --out runs/icons-course-2 --minutes 28

In training the decoder sees latents with all their noise, some levels left out, and hears a discriminator. Here it
only learns to paint cleanly what it is given. Encoders and prior stay as they are, so every latent keeps its meaning.
Interrupted, it begins again; done, it does nothing more.
"""

import argparse
import math
import time
from pathlib import Path

import torch

from impasto.backbone import Backbone, Lite, feature_distance
from impasto.data import ImageSet, prepare
from impasto.events import Stage
from impasto.model.autoencoder import Autoencoder
from impasto.model.decoder import possible
from impasto.model.impasto import load_model, save_model
from impasto.objective.reconstruction import reconstruction_loss
from impasto.training.autoencoder_stage import to_device
from impasto.training.engine import choose_device
from impasto.training.run import Run
from impasto.training.seeds import Order

NOISE = 0.3
"""Part of the posterior's deviation that is left."""
FEATURE_WEIGHT = 0.3
LEARNING_RATE = 3e-4
WARMUP = 30
DECAY = 0.995


def finish(autoencoder: Autoencoder, images: ImageSet, minutes: float, batch_size: int, seed: int) -> None:
    """Train the decoder for so long, on the device where it is; its averaged weights take its place."""
    decoder, device = autoencoder.decoder.requires_grad_(True), next(autoencoder.parameters()).device
    features = Backbone(Lite.LITE1).to(device)
    adam = torch.optim.AdamW(decoder.parameters(), LEARNING_RATE, betas=(0.9, 0.99), weight_decay=0.0, fused=True)
    average = torch.optim.swa_utils.AveragedModel(
        decoder,
        avg_fn=lambda old, new, count: torch.lerp(old, new, 1 - min(DECAY, (2 + int(count)) / (11 + int(count)))),
    )
    order, began, step = Order(images.train, seed, Stage.AUTOENCODER), time.monotonic(), 0
    while (progress := (time.monotonic() - began) / (60 * minutes)) < 1:
        for group in adam.param_groups:
            group["lr"] = LEARNING_RATE * min(1, (step + 1) / WARMUP) * 0.5 * (1 + math.cos(math.pi * progress))
        image = to_device(images.batch(order.take(step * batch_size, batch_size)), device)
        with torch.no_grad():
            latents = [g.sample(torch.randn_like(g.mean), NOISE) for g in autoencoder.posterior(image)]
            real = features(image)
        decoded = decoder((latents[0], latents[1], latents[2], latents[3]))
        pixels = reconstruction_loss(decoded, image).mean()
        look = feature_distance(features(possible(decoded)), real).mean()
        (pixels + FEATURE_WEIGHT * look).backward()
        torch.nn.utils.clip_grad_norm_(decoder.parameters(), 1.0)
        adam.step()
        adam.zero_grad(set_to_none=True)
        average.update_parameters(decoder)
        step += 1
        if step % 50 == 0:
            print(
                f"{100 * progress:.0f} %, {step * batch_size:,} images: {float(pixels):.4f}, {float(look):.4f}",
                flush=True,
            )
    decoder.load_state_dict(average.module.state_dict())


def main() -> None:
    """Read, finish, write."""
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
