"""Stage 1: what one batch of pictures costs the autoencoder, term by term."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from impasto.config import ObjectiveConfig
from impasto.model.autoencoder import LEVEL_NAMES, Autoencoder, Experts
from impasto.model.blocks import Map
from impasto.model.decoder import Latents
from impasto.model.fuser import fuse, pool
from impasto.objective.reconstruction import charbonnier, reconstruction_loss


@dataclass(frozen=True)
class Draws:
    """Everything random about one batch, drawn beforehand so that it can be shared out over processes."""

    weights: Float[Tensor, "batch expert level"]
    keeps: Float[Tensor, "batch level"]
    style_sources: Float[Tensor, "batch batch"]
    noise: Latents

    def rows(self, rows: slice, device: torch.device) -> "Draws":
        """The draws of some rows; a style that comes from other rows becomes the picture's own."""
        sources = self.style_sources[rows, rows]
        alone = sources.sum(1, keepdim=True) == 0
        sources = torch.where(alone, torch.eye(len(sources)), sources / sources.sum(1, keepdim=True).clamp(min=1e-9))
        style, coarse, middle, fine = (n[rows].to(device) for n in self.noise)
        return Draws(
            self.weights[rows].to(device),
            self.keeps[rows].to(device),
            sources.to(device),
            (style, coarse, middle, fine),
        )


@dataclass(frozen=True)
class AutoencoderLoss:
    """The terms of stage 1 before weighting, averaged over the batch."""

    painted: Map
    """The decoder's pictures, for the losses that look at features."""
    style: Float[Tensor, "batch style"]
    """The sampled styles that they were painted in."""
    experts: Experts
    """What was said of the pictures, for mixtures of them."""
    reconstruction: Float[Tensor, ""]
    sketch: Float[Tensor, ""]
    """How far the linear sketches of the coarse prefixes are from the picture, at their own resolutions."""
    rates: Float[Tensor, " level"]
    """KL divergence of each level from the prior in nats; dropped levels count as zero."""

    def total(self, config: ObjectiveConfig, progress: float) -> Float[Tensor, ""]:
        """Reconstruction plus the weighted rate; ``progress`` is the part of the stage that is over.

        While the weight warms up, levels that carry more than their share of the rate pay more of it (Vahdat & Kautz
        2020).
        """
        distortion = self.reconstruction + config.sketch_weight * self.sketch
        warmth = min(1.0, progress / config.kl_warmup) if config.kl_warmup > 0 else 1.0
        weight = config.kl_weight * (0.1 + 0.9 * warmth)
        if warmth < 1:
            share = self.rates.detach() + 0.05 * self.rates.detach().sum() + 1e-6
            return distortion + weight * (self.rates * (warmth + (1 - warmth) * share / share.mean())).sum()
        return distortion + weight * self.rates.sum()

    def terms(self) -> dict[str, Tensor]:
        """The terms by name, for the log."""
        rates = {f"rate_{name}": rate.detach() for name, rate in zip(LEVEL_NAMES, self.rates, strict=True)}
        return {"reconstruction": self.reconstruction.detach(), "sketch": self.sketch.detach(), **rates}


def autoencoder_loss(model: Autoencoder, picture: Map, draws: Draws, *, encoders_learn: bool = True) -> AutoencoderLoss:
    """Encode ``picture`` (values in [0, 1]) under the drawn experts, levels and styles, paint it again, and compare.

    Where the encoders do not learn, no gradient reaches them.
    """
    with torch.set_grad_enabled(encoders_learn and torch.is_grad_enabled()):
        experts = model.experts(picture)
        posterior = list(fuse(experts, draws.weights))
    posterior[0] = pool(posterior[0], draws.style_sources)
    kept = draws.keeps.unbind(1)
    samples = [g.sample(n) for g, n in zip(posterior, draws.noise, strict=True)]
    latents = [z * keep.reshape(-1, *[1] * (z.dim() - 1)) for z, keep in zip(samples, kept, strict=True)]
    painted = model.decoder((latents[0], latents[1], latents[2], latents[3]))
    half = F.avg_pool2d(picture, 2)
    coarse, middle, _ = model.decoder.sketch((samples[0], samples[1], samples[2], samples[3].detach()))
    sketch = charbonnier(coarse - F.avg_pool2d(half, 2)).mean() + charbonnier(middle - half).mean()
    rates = torch.stack([(g.kl() * keep).mean() for g, keep in zip(posterior, kept, strict=True)])
    fidelity = reconstruction_loss(painted, picture).mean()
    return AutoencoderLoss(painted, samples[0], experts, fidelity, sketch, rates)
