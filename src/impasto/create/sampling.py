"""Sample images from a condition: the last step of every command."""

from collections.abc import Sequence

import torch

from impasto.config import Repeat, Sampling
from impasto.model import tiles
from impasto.model.autoencoder import modes
from impasto.model.blocks import Map
from impasto.model.decoder import Latents
from impasto.model.encoder import Posterior
from impasto.model.guidance import ConditionedField, GuidedField, VelocityField
from impasto.model.impasto import Impasto
from impasto.model.prior import Condition
from impasto.model.sampler import StepCallback, draw_noise, sample, step_times
from impasto.model.windows import WindowedFlow


def sample_condition(
    field: VelocityField,
    condition: Condition,
    seeds: Sequence[int],
    settings: Sampling,
    on_step: StepCallback | None = None,
) -> Latents:
    """Integrate the guided flow from a sample of the condition's posterior, with one seed per image.

    The temperature scales the standard deviation of the source.
    """
    noise = draw_noise(seeds, condition.posterior)
    source = condition.posterior.map(lambda gaussian, n: gaussian.sample(n, settings.temperature), noise)
    guided = GuidedField(ConditionedField(field, condition), settings.guidance, settings.internal_guidance)
    return sample(guided, source, step_times(settings.steps), on_step)


@torch.no_grad()
def sample_images(
    model: Impasto,
    condition: Condition,
    seeds: Sequence[int],
    settings: Sampling,
    *,
    repeat: Repeat = Repeat.NONE,
    on_step: StepCallback | None = None,
) -> Map:
    """Sample latents from the prior flow and decode them to images in [0, 1].

    One seed per image determines its noise. The text vectors of ``condition`` may have one row for all images. Maps may
    have the training size or more. With ``repeat``, copies of an image meet without a seam.
    """

    def per_image(text: torch.Tensor | None) -> torch.Tensor | None:
        return text.expand(len(seeds), -1) if text is not None else None

    condition = Condition(condition.posterior, per_image(condition.text), per_image(condition.negative_text))
    latents = sample_condition(WindowedFlow(model.prior, repeat), condition, seeds, settings, on_step)
    return tiles.decode(model.autoencoder, latents, repeat)


@torch.no_grad()
def decode_modes(model: Impasto, posterior: Posterior, repeat: Repeat = Repeat.NONE) -> Map:
    """Decode the modes of a posterior to images in [0, 1], without the flow."""
    return tiles.decode(model.autoencoder, modes(posterior), repeat)
