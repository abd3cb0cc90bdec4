"""diffusers' building blocks: a pixel DDPM, and an AutoencoderKL with a latent diffusion prior."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from impasto.backbone import Backbone, Lite, feature_distance
from systems.system import Images, Labels, System, annealed

SAMPLING_STEPS = 50


def _unet(side: int, channels: int, num_collections: int, widths: tuple[int, ...]) -> Any:
    """diffusers' UNet2DModel with attention in its two coarse levels, conditioned on the collection."""
    from diffusers import UNet2DModel

    plain = len(widths) - 2
    return UNet2DModel(
        sample_size=side,
        in_channels=channels,
        out_channels=channels,
        block_out_channels=widths,
        layers_per_block=2,
        down_block_types=("DownBlock2D",) * plain + ("AttnDownBlock2D",) * 2,
        up_block_types=("AttnUpBlock2D",) * 2 + ("UpBlock2D",) * plain,
        num_class_embeds=num_collections,
    )


class _Diffusion(System):
    """The common part of both systems: velocity prediction, moving average, deterministic sampling.

    Noise prediction, as in the example script, is too inaccurate at high noise after a few minutes of training:
    deterministic samplers diverge.
    """

    def __init__(self, unet: Any, shape: tuple[int, int, int], *, clip: bool) -> None:
        """``clip`` limits predictions of clean data to [-1, 1]."""
        super().__init__()
        from diffusers import DDIMScheduler, DDPMScheduler
        from diffusers.training_utils import EMAModel

        self.unet = unet
        self.shape = shape
        schedule: dict[str, Any] = {"beta_schedule": "linear", "prediction_type": "v_prediction", "clip_sample": clip}
        self.noiser = DDPMScheduler(num_train_timesteps=1000, **schedule)
        self.sampler = DDIMScheduler(num_train_timesteps=1000, timestep_spacing="trailing", **schedule)
        self.average = EMAModel(self.unet.parameters(), decay=0.9995, use_ema_warmup=True, inv_gamma=1.0, power=0.75)
        self.optimizers["unet"] = torch.optim.AdamW(
            self.unet.parameters(), lr=1e-4, betas=(0.95, 0.999), weight_decay=1e-6, eps=1e-8
        )

    def get_extra_state(self) -> dict[str, Any]:
        """The moving average, which is not a module."""
        return self.average.state_dict()

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """The inverse of `get_extra_state`."""
        self.average.load_state_dict(state)

    def denoise(self, clean: Tensor, labels: Labels, rate: float, progress: float) -> float:
        """One update of the network on clean data of about unit variance."""
        annealed(self.optimizers["unet"], rate, progress)
        noise = torch.randn_like(clean)
        times = torch.randint(0, 1000, (len(clean),), device=clean.device)
        noisy = self.noiser.add_noise(clean, noise, times)  # pyrefly: ignore
        velocity = self.noiser.get_velocity(clean, noise, times)  # pyrefly: ignore
        loss = F.mse_loss(self.unet(noisy, times, class_labels=labels).sample.float(), velocity)
        self.optimizers["unet"].zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.unet.parameters(), 1.0)
        self.optimizers["unet"].step()
        self.average.step(self.unet.parameters())
        return loss.item()

    def draw(self, labels: Labels, generator: torch.Generator) -> Tensor:
        """Samples of the averaged network with DDIM (Song 2021)."""
        self.average.store(self.unet.parameters())
        self.average.copy_to(self.unet.parameters())
        x = torch.randn((len(labels), *self.shape), generator=generator).to(labels.device)
        self.sampler.set_timesteps(SAMPLING_STEPS)
        for time in self.sampler.timesteps:
            predicted = self.unet(x, time, class_labels=labels).sample.float()
            x = self.sampler.step(predicted, time, x).prev_sample  # pyrefly: ignore
        self.average.restore(self.unet.parameters())
        return x


class PixelDiffusion(_Diffusion):
    """A DDPM on pixels (Ho 2020)."""

    name = "diffusers pixel DDPM"
    settings = (
        "diffusers 0.42.1 UNet2DModel, widths 32/64/64/128 instead of its example's 128/128/256/256/512/512, attention "
        "in the two coarse levels, collections as class labels; the example script's AdamW (0.95, 0.999), batch 16, "
        "gradient clipping and EMA; rate 1e-3 instead of 1e-4 (tried on two cores, tiles32, 90 s: noise predicted with "
        "an error of 0.271 at 1e-4, 0.152 at 4e-4, 0.118 at 1e-3; 64/128/128/256 sees a third of the images and has "
        "0.271 at 1e-4, 0.151 at 4e-4); velocity prediction, because with noise prediction DDIM gave only noise "
        "after five minutes; DDIM, 50 steps"
    )
    batch_size = 16

    def __init__(self, resolution: int, num_collections: int) -> None:
        unet = _unet(resolution, 3, num_collections, (32, 64, 64, 128))
        super().__init__(unet, (3, resolution, resolution), clip=True)

    def step(self, image: Images, labels: Labels, progress: float) -> float:
        """One update."""
        return self.denoise(image * 2 - 1, labels, 1e-3, progress)

    def sample(self, labels: Labels, generator: torch.Generator) -> Images:
        """New images of these collections."""
        return (self.draw(labels, generator) / 2 + 0.5).clamp(0, 1)


class LatentDiffusion(_Diffusion):
    """An AutoencoderKL, then a diffusion prior on its latents (Rombach 2022)."""

    name = "diffusers AutoencoderKL + latent UNet"
    settings = (
        "diffusers 0.42.1 AutoencoderKL (4 times smaller maps of 8 channels; widths 64/128/128, 32/64/64 from 64 px, "
        "which sees three times the images on two cores, with a similar error after 75 s), absolute error + feature "
        "loss (Lite1, weight 0.1) + KL 1e-6, AdamW 4e-4; a third of the budget; then UNet2DModel (widths 64/128/128; "
        "128/256/256 sees a third of the images) on scaled latents, collections as class labels, velocity "
        "prediction, AdamW 5e-4, batch 16, EMA; DDIM, 50 steps"
    )
    batch_size = 16
    channels = 8
    stage1_share = 1 / 3

    def __init__(self, resolution: int, num_collections: int) -> None:
        from diffusers import AutoencoderKL

        side = resolution // 4
        unet = _unet(side, self.channels, num_collections, (64, 128, 128))
        super().__init__(unet, (self.channels, side, side), clip=False)
        self.autoencoder: Any = AutoencoderKL(
            block_out_channels=(64, 128, 128) if resolution < 64 else (32, 64, 64),
            down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
            latent_channels=self.channels,
            layers_per_block=1,
            sample_size=resolution,
        )
        self.register_buffer("scale", torch.zeros(()))
        self.scale: Tensor
        # Frozen: not part of the state.
        self.__dict__["features"] = Backbone(Lite.LITE1)
        self.optimizers["autoencoder"] = torch.optim.AdamW(self.autoencoder.parameters(), lr=4e-4)

    def step(self, image: Images, labels: Labels, progress: float) -> float:
        """One update of the autoencoder, or later of the prior."""
        if progress < self.stage1_share:
            return self._autoencode(image, progress / self.stage1_share)
        with torch.no_grad():
            latent = self.autoencoder.encode(image * 2 - 1).latent_dist.sample().float()
            if float(self.scale) == 0:
                self.scale.copy_(1 / latent.std())
        rest = (progress - self.stage1_share) / (1 - self.stage1_share)
        return self.denoise(latent * self.scale, labels, 5e-4, rest)

    def _autoencode(self, image: Images, progress: float) -> float:
        annealed(self.optimizers["autoencoder"], 4e-4, progress)
        posterior = self.autoencoder.encode(image * 2 - 1).latent_dist
        decoded = self.autoencoder.decode(posterior.sample()).sample.float() / 2 + 0.5
        features: Backbone = self.__dict__["features"].to(image.device)
        distance = feature_distance(features(decoded[::4]), features(image[::4])).mean()
        loss = (decoded - image).abs().mean() + 0.1 * distance + 1e-6 * posterior.kl().mean()
        self.optimizers["autoencoder"].zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.autoencoder.parameters(), 1.0)
        self.optimizers["autoencoder"].step()
        return loss.item()

    def sample(self, labels: Labels, generator: torch.Generator) -> Images:
        """New images of these collections."""
        latent = self.draw(labels, generator) / self.scale
        return (self.autoencoder.decode(latent).sample.float() / 2 + 0.5).clamp(0, 1)

    def reconstruct(self, image: Images) -> Images:
        """Decoded posterior means."""
        latent = self.autoencoder.encode(image * 2 - 1).latent_dist.mode()
        return (self.autoencoder.decode(latent).sample.float() / 2 + 0.5).clamp(0, 1)

    def latent_numbers(self) -> int:
        """The dimensions of the map."""
        return self.shape[0] * self.shape[1] * self.shape[2]
