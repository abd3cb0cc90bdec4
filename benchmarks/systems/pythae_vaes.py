"""pythae's VAE and VAEGAN with its own benchmark networks (Chadebec 2022)."""

from typing import Any

import torch
from torch import nn

from systems.system import Images, Labels, System


def _networks(resolution: int) -> Any:
    """pythae's own networks for 64 px (CelebA) and 32 px (CIFAR)."""
    if resolution == 64:
        from pythae.models.nn.benchmarks.celeba import (
            Decoder_Conv_AE_CELEBA as Decoder,
        )
        from pythae.models.nn.benchmarks.celeba import Discriminator_Conv_CELEBA as Discriminator
        from pythae.models.nn.benchmarks.celeba import Encoder_Conv_VAE_CELEBA as Encoder
    elif resolution == 32:
        from pythae.models.nn.benchmarks.cifar import Decoder_Conv_AE_CIFAR as Decoder
        from pythae.models.nn.benchmarks.cifar import Discriminator_Conv_CIFAR as Discriminator
        from pythae.models.nn.benchmarks.cifar import Encoder_Conv_VAE_CIFAR as Encoder
    else:
        raise SystemExit(f"pythae has networks for 32 and 64 px, not for {resolution}")
    return Encoder, Decoder, Discriminator


class PythaeVae(System):
    """Its VAE: one Gaussian, squared error."""

    name = "pythae VAE"
    settings = (
        "pythae 0.1.2, its CelebA-64 / CIFAR networks, latent_dim 64 as in its benchmark, Adam; 5e-4 and batch 16 "
        "instead of its trainer's 1e-4 and 64, which reach ten updates a minute on two cores"
    )
    batch_size = 16
    learning_rate = 5e-4

    def __init__(self, resolution: int) -> None:
        super().__init__()
        from pythae.models import VAE, VAEConfig

        encoder, decoder, _ = _networks(resolution)
        config = VAEConfig(input_dim=(3, resolution, resolution), latent_dim=64)
        self.model: Any = VAE(config, encoder=encoder(config), decoder=decoder(config))
        self.latent = config.latent_dim
        self.optimizers["adam"] = torch.optim.Adam(self.model.parameters(), lr=self.learning_rate)

    def step(self, image: Images, labels: Labels, progress: float) -> float:
        """pythae's own loss."""
        loss = self.model({"data": image}).loss
        self.optimizers["adam"].zero_grad()
        loss.backward()
        self.optimizers["adam"].step()
        return loss.item()

    def sample(self, labels: Labels, generator: torch.Generator) -> Images:
        """Its NormalSampler: decoded samples of N(0, 1)."""
        noise = torch.randn(len(labels), self.latent, generator=generator).to(labels.device)
        return self.model.decoder(noise).reconstruction.float().clamp(0, 1)

    def reconstruct(self, image: Images) -> Images:
        """Decoded posterior means."""
        return self.model.decoder(self.model.encoder(image).embedding).reconstruction.float().clamp(0, 1)

    def latent_numbers(self) -> int:
        """The dimension of the vector."""
        return self.latent


class PythaeVaegan(PythaeVae):
    """Its VAEGAN (Larsen 2016): errors in the discriminator's features, three optimizers."""

    name = "pythae VAEGAN"
    settings = (
        "pythae 0.1.2, its CelebA-64 / CIFAR networks, latent_dim 64, adversarial_loss_scale 0.8 and "
        "reconstruction_layer 3 as in its benchmark; Adam 3e-4 and batch 16 instead of 1e-4 and 64, for the same reason"
    )

    def __init__(self, resolution: int) -> None:
        System.__init__(self)
        from pythae.models import VAEGAN, VAEGANConfig

        encoder, decoder, discriminator = _networks(resolution)
        size = (3, resolution, resolution)
        config = VAEGANConfig(
            input_dim=size,
            latent_dim=64,
            adversarial_loss_scale=0.8,
            reconstruction_layer=3,
            discriminator_input_dim=size,
            uses_default_discriminator=False,
        )
        self.model = VAEGAN(
            config, encoder=encoder(config), decoder=decoder(config), discriminator=discriminator(config)
        )
        self.latent = config.latent_dim
        for part in ("encoder", "decoder", "discriminator"):
            network: nn.Module = getattr(self.model, part)
            self.optimizers[part] = torch.optim.Adam(network.parameters(), lr=3e-4)

    def step(self, image: Images, labels: Labels, progress: float) -> float:
        """The updates of its CoupledOptimizerAdversarialTrainer, each part's gradients from its own loss."""
        output = self.model({"data": image})
        gradients = {}
        for part, optimizer in self.optimizers.items():
            if output[f"update_{part}"]:
                parameters = [p for group in optimizer.param_groups for p in group["params"]]
                loss = output[f"{part}_loss"]
                gradients[part] = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
        for part, derivatives in gradients.items():
            optimizer = self.optimizers[part]
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            for parameter, gradient in zip(parameters, derivatives, strict=True):
                parameter.grad = gradient
            optimizer.step()
        return output.recon_loss.item()
