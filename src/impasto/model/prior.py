"""The prior flow: the velocity field that transports a sample of the posterior to the latents of real images."""

import functools
import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from impasto.config import ModelConfig
from impasto.model.blocks import Vector, layer_norm, linear
from impasto.model.decoder import Latents
from impasto.model.encoder import Posterior
from impasto.model.gaussian import Gaussian
from impasto.model.levels import MAP_STRIDES, NUM_LEVELS, Levels

Text = Float[Tensor, "_batch _text"]
"""Text vectors of unit length, zero where there is no text."""
Tokens = Float[Tensor, "_batch _token _feature"]


@dataclass(frozen=True)
class Condition:
    """All that the prior flow is conditioned on, one row per image."""

    posterior: Posterior
    """The fused Gaussians of the sources; standard normal where nothing is known."""
    text: Text | None = None
    negative_text: Text | None = None
    """Replaces the empty text in the unconditional half of classifier-free guidance."""

    def without_style(self) -> "Condition":
        """The unconditional counterpart for guidance: no style, and the negative text, or none."""
        text = self.text
        if text is not None:
            text = torch.zeros_like(text) if self.negative_text is None else self.negative_text
        standard = Gaussian.standard(self.posterior.style.mean)
        return Condition(self.posterior.with_style(standard), text)


class Velocities(NamedTuple):
    """What the flow predicts for every level."""

    intermediate: Latents
    """From the intermediate head, half-way through the blocks."""
    final: Latents
    """From the last block."""


class PriorBlock(nn.Module):
    """Attention and a feed-forward net, both modulated by the condition (DiT, Peebles & Xie 2023).

    The modulation is one projection shared by all blocks plus this block's own table of offsets (PixArt-alpha, Chen
    2024): a third of the weights of DiT's, and of the time that the optimizer spends on them.
    """

    def __init__(self, width: int, head_dim: int) -> None:
        super().__init__()
        self.num_heads = width // head_dim
        self.scale_shift_table = nn.Parameter(torch.randn(6, width) / math.sqrt(width))
        self.query_key_value = linear(width, 3 * width)
        self.attn_out = linear(width, width, gain=0.5)
        self.expand = linear(width, 4 * width)
        self.mlp_out = linear(4 * width, width, gain=0.5)

    def forward(self, x: Tokens, modulation: Float[Tensor, "batch 6 width"]) -> Tokens:
        """Same shape in and out."""
        modulation = modulation + self.scale_shift_table.to(modulation.dtype)
        shift1, scale1, gate1, shift2, scale2, gate2 = modulation[:, :, None].unbind(1)
        x = torch.addcmul(x, gate1, self._attend(_modulated(x, shift1, scale1)))
        hidden = F.silu(self.expand(_modulated(x, shift2, scale2)))
        return torch.addcmul(x, gate2, self.mlp_out(hidden))

    def _attend(self, x: Tokens) -> Tokens:
        q, k, v = self.query_key_value(x).unflatten(2, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        return self.attn_out(attention(q, k, v).transpose(1, 2).flatten(2))


class VelocityHead(nn.Module):
    """From tokens to the velocity of every level: modulated by the condition, then one projection a level."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.prior_width
        self.patches = config.prior_patches
        self.modulation = linear(width, 2 * width, gain=0.5)
        self.style = linear(width, config.style_dim, gain=0.1)
        self.maps = nn.ModuleList([linear(width, size, gain=0.1) for size in _token_sizes(config)])

    def forward(self, x: Tokens, condition: Vector, grids: list[tuple[int, int]]) -> Latents:
        """``x`` holds the style token, then those of each map; ``grids`` is their number along height and width."""
        shift, scale = self.modulation(condition)[:, None].chunk(2, 2)
        style, *maps = _modulated(x, shift, scale).split([1, *(h * w for h, w in grids)], 1)
        return Levels(
            self.style(style[:, 0]),
            tuple(
                _to_map(project(tokens), grid, patch)
                for project, tokens, grid, patch in zip(self.maps, maps, grids, self.patches, strict=True)
            ),
        )


class PriorFlow(nn.Module):
    """The velocity field of a flow over the latents of all levels (Lipman 2023; Albergo 2023 for its source).

    The source is a sample of the posterior; its means and log-variances are inputs too, so that the flow knows what is
    given and how certain it is. Maps are cut into squares (DiT); the style vector is one more token, and also the
    condition that modulates every block.

    Half-way through the blocks an intermediate head predicts the same velocity. It gives the lower blocks a loss of
    their own, and sampling can extrapolate from it towards the final prediction ("internal guidance", Zhou 2025, arXiv
    2512.24176).
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.prior_width
        self.width = width
        self.patches = config.prior_patches
        self.resolution = config.resolution
        self.dtype = torch.float32
        """Floating-point type for sampling; training sets its own autocast."""
        self.embed_style = linear(3 * config.style_dim, width)
        self.embed_maps = nn.ModuleList([linear(3 * size, width) for size in _token_sizes(config)])
        self.level_embedding = nn.Parameter(0.5 * torch.randn(NUM_LEVELS, width))
        self.time_hidden = linear(256, width)
        self.condition_style = linear(2 * config.style_dim, width)
        self.condition_text = linear(config.text_dim, width) if config.text_dim else None
        self.condition_hidden = linear(width, width)
        self.modulation = linear(width, 6 * width, gain=0.5)
        blocks = [PriorBlock(width, config.prior_head_dim) for _ in range(config.prior_depth)]
        self.lower = nn.ModuleList(blocks[: config.prior_depth // 2])
        self.upper = nn.ModuleList(blocks[config.prior_depth // 2 :])
        self.intermediate_head = VelocityHead(config)
        self.head = VelocityHead(config)

    def forward(self, latents: Latents, time: Float[Tensor, " batch"], condition: Condition) -> Velocities:
        """As `predict`, under autocast to this flow's `dtype`; the result is float32."""
        with torch.autocast(time.device.type, self.dtype, enabled=self.dtype != torch.float32):
            intermediate, final = self.predict(latents, time, condition)
        return Velocities(intermediate.map(Tensor.float), final.map(Tensor.float))

    def predict(self, latents: Latents, time: Float[Tensor, " batch"], condition: Condition) -> Velocities:
        """The velocities of ``latents`` at ``time`` in [0, 1] (0 source, 1 latents of real images).

        The negative text of ``condition`` is not used here, see `impasto.model.guidance`.
        """
        text = condition.text
        given = condition.posterior.map(lambda gaussian: torch.cat([gaussian.mean, gaussian.log_variance], 1))
        features = self.time_hidden(_fourier(time)) + self.condition_style(given.style)
        if self.condition_text is not None and text is not None:
            # The numbers of a unit vector are small; these have a variance of one.
            features = features + self.condition_text(math.sqrt(text.shape[1]) * text)
        features = F.silu(features + self.condition_hidden(F.silu(features)))

        style = self.embed_style(torch.cat([latents.style, given.style], 1))[:, None] + self.level_embedding[0]
        tokens, grids = [style], []
        for level, (latent, known) in enumerate(zip(latents.maps, given.maps, strict=True)):
            patch = self.patches[level]
            grid = (latent.shape[2] // patch, latent.shape[3] // patch)
            inputs = _to_tokens(torch.cat([latent, known], 1), patch)
            step = MAP_STRIDES[level] * patch / self.resolution
            position = _positions(grid, step, self.width, inputs.device, inputs.dtype)
            tokens.append(self.embed_maps[level](inputs) + position + self.level_embedding[1 + level])
            grids.append(grid)

        x = torch.cat(tokens, 1).to(features.dtype)
        modulation = self.modulation(features).unflatten(1, (6, -1))
        for block in self.lower:
            x = block(x, modulation)
        intermediate = self.intermediate_head(x, features, grids)
        for block in self.upper:
            x = block(x, modulation)
        return Velocities(intermediate, self.head(x, features, grids))


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Scaled dot-product attention of (batch, head, token, feature).

    On CPUs spelled out: for so few tokens the fused kernel's backward pass in bfloat16 takes five times as long.
    """
    if q.device.type != "cpu":
        return F.scaled_dot_product_attention(q, k, v)
    return torch.softmax(q @ (k.transpose(2, 3) / math.sqrt(q.shape[-1])), -1) @ v


def _modulated(x: Tokens, shift: Tensor, scale: Tensor) -> Tokens:
    return torch.addcmul(shift, layer_norm(x), 1 + scale)


def _token_sizes(config: ModelConfig) -> list[int]:
    """Numbers in a token of each map."""
    return [channels * patch**2 for channels, patch in zip(config.map_channels, config.prior_patches, strict=True)]


def _fourier(time: Float[Tensor, " batch"], features: int = 256) -> Vector:
    frequencies = torch.exp(torch.linspace(0, math.log(1000), features // 2, device=time.device))
    angles = time.float()[:, None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], 1)


@functools.lru_cache(maxsize=32)
def _positions(
    grid: tuple[int, int], step: float, width: int, device: torch.device, dtype: torch.dtype
) -> Float[Tensor, "token width"]:
    """Sines and cosines of the centres of squares, in units of the side of a training image."""
    y, x = torch.meshgrid(*(step * (torch.arange(n, device=device) + 0.5) for n in grid), indexing="ij")
    frequencies = math.pi * torch.exp2(torch.linspace(0, 5, width // 4, device=device))
    angles = torch.stack([y, x], -1).reshape(-1, 2, 1) * frequencies
    return torch.cat([angles.cos(), angles.sin()], 2).flatten(1).to(dtype)


def _to_tokens(x: Float[Tensor, "batch channel height width"], patch: int) -> Tokens:
    return F.pixel_unshuffle(x, patch).flatten(2).transpose(1, 2)


def _to_map(x: Tokens, grid: tuple[int, int], patch: int) -> Float[Tensor, "batch channel height width"]:
    return F.pixel_shuffle(x.transpose(1, 2).unflatten(2, grid), patch)
