"""A plain convolutional VAE with as many parameters as Impasto's autoencoder and prior together."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from systems.system import Images, Labels, System, annealed


class PlainVae(System):
    """Strided convolutions to one vector and back, group normalisation, one Gaussian; no levels, experts or flow."""

    name = "plain VAE"
    settings = (
        "five strided 4x4 convolutions (64 to 512 channels), group normalisation, SiLU; 256 latent numbers; absolute "
        "error, KL weight 2e-5 against the mean absolute error; AdamW 1e-3, cosine to zero, batch 32"
    )
    batch_size = 32
    widths = (64, 128, 256, 512)
    latent = 256

    def __init__(self, resolution: int) -> None:
        super().__init__()
        side = resolution // 2 ** len(self.widths)
        down: list[nn.Module] = []
        for before, after in zip((3, *self.widths), self.widths, strict=False):
            down += [nn.Conv2d(before, after, 4, 2, 1), nn.GroupNorm(8, after), nn.SiLU()]
        last = self.widths[-1]
        self.encoder = nn.Sequential(*down, nn.Flatten(), nn.Linear(last * side**2, 2 * self.latent))
        up: list[nn.Module] = [nn.Linear(self.latent, last * side**2), nn.Unflatten(1, (last, side, side))]
        for before, after in zip(self.widths[::-1], (*self.widths[-2::-1], 64), strict=True):
            up += [
                nn.Upsample(scale_factor=2),
                nn.Conv2d(before, after, 3, 1, 1),
                nn.GroupNorm(8, after),
                nn.SiLU(),
                nn.Conv2d(after, after, 3, 1, 1),
                nn.GroupNorm(8, after),
                nn.SiLU(),
            ]
        self.decoder = nn.Sequential(*up, nn.Conv2d(64, 3, 3, 1, 1))
        self.optimizers["adam"] = torch.optim.AdamW(self.parameters(), lr=1e-3)

    def step(self, image: Images, labels: Labels, progress: float) -> float:
        """Absolute error plus KL divergence."""
        annealed(self.optimizers["adam"], 1e-3, progress)
        mean, log_variance = self._encode(image)
        z = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        rate = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1).mean()
        loss = (self._decode(z) - image).abs().mean() + 2e-5 * rate
        self.optimizers["adam"].zero_grad()
        loss.backward()
        self.optimizers["adam"].step()
        return loss.item()

    def sample(self, labels: Labels, generator: torch.Generator) -> Images:
        """Decoded samples of the standard normal prior."""
        noise = torch.randn(len(labels), self.latent, generator=generator)
        return self._decode(noise.to(labels.device)).clamp(0, 1)

    def reconstruct(self, image: Images) -> Images:
        """Decoded posterior means."""
        return self._decode(self._encode(image)[0]).clamp(0, 1)

    def latent_numbers(self) -> int:
        """The dimension of the vector."""
        return self.latent

    def _encode(self, image: Images) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.encoder(image * 2 - 1).float().chunk(2, 1)
        return mean, F.hardtanh(log_variance, -10, 10)

    def _decode(self, z: Tensor) -> Images:
        return self.decoder(z).float() + 0.5
