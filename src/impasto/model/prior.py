"""The prior flow: a transformer that carries a sample of the fused Gaussians onto the manifold of real latents."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from impasto.config import ModelConfig
from impasto.model.blocks import Vector, layer_norm, linear
from impasto.model.decoder import MAP_STRIDES, Latents
from impasto.model.encoder import Hierarchy

Text = Float[Tensor, "_batch _text"]
"""Text vectors of unit length, zero where nothing is said."""
Tokens = Float[Tensor, "_batch _token _feature"]


class PriorBlock(nn.Module):
    """Attention and a feed-forward net, both modulated by the condition (DiT, Peebles & Xie 2023).

    The modulation is one projection shared by all blocks plus this block's own offset (PixArt-alpha, Chen 2024): a
    third of the weights of DiT's, and of the time that the optimizer spends on them.
    """

    def __init__(self, width: int, head_dim: int) -> None:
        super().__init__()
        self.num_heads = width // head_dim
        self.offset = nn.Parameter(torch.randn(6, width) / math.sqrt(width))
        self.query_key_value = linear(width, 3 * width)
        self.attended = linear(width, width, gain=0.5)
        self.expand = linear(width, 4 * width)
        self.contract = linear(4 * width, width, gain=0.5)

    def forward(self, x: Tokens, modulation: Float[Tensor, "batch 6 width"]) -> Tokens:
        """Same shape in and out."""
        modulation = modulation + self.offset.to(modulation.dtype)
        shift1, scale1, gate1, shift2, scale2, gate2 = modulation[:, :, None].unbind(1)
        x = torch.addcmul(x, gate1, self._attend(_modulated(x, shift1, scale1)))
        hidden = F.silu(self.expand(_modulated(x, shift2, scale2)))
        return torch.addcmul(x, gate2, self.contract(hidden))

    def _attend(self, x: Tokens) -> Tokens:
        q, k, v = self.query_key_value(x).unflatten(2, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        return self.attended(attention(q, k, v).transpose(1, 2).flatten(2))


class VelocityHead(nn.Module):
    """From tokens to the velocity of every level: modulated by the condition, then one projection a level."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.prior_width
        self.patches = config.prior_patches
        self.modulation = linear(width, 2 * width, gain=0.5)
        self.style = linear(width, config.style_dim + config.prior_look_dim, gain=0.1)
        self.maps = nn.ModuleList([linear(width, size, gain=0.1) for size in _token_sizes(config)])

    def forward(self, x: Tokens, condition: Vector, grids: list[tuple[int, int]]) -> Latents:
        """``x`` holds the style's token, then those of each map; ``grids`` says how many along height and width."""
        shift, scale = self.modulation(condition)[:, None].chunk(2, 2)
        style, *maps = _modulated(x, shift, scale).split([1, *(h * w for h, w in grids)], 1)
        coarse, middle, fine = (
            _to_map(project(tokens), grid, patch)
            for project, tokens, grid, patch in zip(self.maps, maps, grids, self.patches, strict=True)
        )
        return self.style(style[:, 0]), coarse, middle, fine


class PriorFlow(nn.Module):
    """The velocity field of a flow over the latents of all levels (Lipman 2023; Albergo 2023 for its source).

    The source is a sample of the fused Gaussians; their means and log-variances are inputs too, so that the flow
    knows what the experts said and how sure they are. Maps are cut into squares (DiT); the style vector is one more
    token, and also the condition that modulates every block.

    Beside the style, its first level may hold a *look*: numbers that a frozen network reads from a picture, and that
    say what it shows. They are drawn with the latents and then dropped: what is shown is decided before how (ReDi,
    Kouzelis 2025, arXiv 2504.16064).

    Half-way through the blocks a second head reads a draft of the velocity. It learns the same, so that the lower
    blocks are told sooner what is wanted, and sampling can go beyond the draft in the direction in which the upper
    blocks improve on it ("internal guidance", Zhou 2025, arXiv 2512.24176).
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.prior_width
        self.width = width
        self.patches = config.prior_patches
        self.resolution = config.resolution
        self.delays = config.prior_delays
        self.look_dim = config.prior_look_dim
        style_dim = config.style_dim + config.prior_look_dim
        self.precision = torch.float32
        """Number format in which the flow is followed; training decides for itself."""
        self.embed_style = linear(3 * style_dim, width)
        self.embed_maps = nn.ModuleList([linear(3 * size, width) for size in _token_sizes(config)])
        self.level_embedding = nn.Parameter(0.5 * torch.randn(4, width))
        self.time_hidden = linear(256, width)
        self.condition_style = linear(2 * style_dim, width)
        self.condition_text = linear(config.text_dim, width) if config.text_dim else None
        self.condition_hidden = linear(width, width)
        self.modulation = linear(width, 6 * width, gain=0.5)
        blocks = [PriorBlock(width, config.prior_head_dim) for _ in range(config.prior_depth)]
        self.lower = nn.ModuleList(blocks[: config.prior_depth // 2])
        self.upper = nn.ModuleList(blocks[config.prior_depth // 2 :])
        self.draft_head = VelocityHead(config)
        self.head = VelocityHead(config)

    def forward(
        self, latents: Latents, time: Float[Tensor, " batch"], fused: Hierarchy, text: Text | None = None
    ) -> tuple[Latents, Latents]:
        """What `both` gives, computed in this flow's `precision`, as float32."""
        with torch.autocast(time.device.type, self.precision, enabled=self.precision != torch.float32):
            draft, velocity = self.both(latents, time, fused, text)
        return _as_float32(draft), _as_float32(velocity)

    def both(
        self, latents: Latents, time: Float[Tensor, " batch"], fused: Hierarchy, text: Text | None = None
    ) -> tuple[Latents, Latents]:
        """A draft of the velocity, after half of the blocks, and the velocity, after all.

        Those of ``latents`` at ``time`` in [0, 1] (0 source, 1 real latents), told ``fused`` and ``text``. Each level
        has its own velocity, over its own time; see `impasto.model.schedule`.
        """
        told = [torch.cat([g.mean, g.log_variance], 1) for g in fused]
        condition = self.time_hidden(_fourier(time)) + self.condition_style(told[0])
        if self.condition_text is not None and text is not None:
            # The numbers of a unit vector are small; these have a variance of one.
            condition = condition + self.condition_text(math.sqrt(text.shape[1]) * text)
        condition = F.silu(condition + self.condition_hidden(F.silu(condition)))

        style = self.embed_style(torch.cat([latents[0], told[0]], 1))[:, None] + self.level_embedding[0]
        tokens, grids = [style], []
        for level, (latent, message) in enumerate(zip(latents[1:], told[1:], strict=True)):
            patch = self.patches[level]
            grid = (latent.shape[2] // patch, latent.shape[3] // patch)
            inputs = _to_tokens(torch.cat([latent, message], 1), patch)
            step = MAP_STRIDES[level] * patch / self.resolution
            position = _positions(grid, step, self.width, inputs)
            tokens.append(self.embed_maps[level](inputs) + position + self.level_embedding[1 + level])
            grids.append(grid)

        x = torch.cat(tokens, 1).to(condition.dtype)
        modulation = self.modulation(condition).unflatten(1, (6, -1))
        for block in self.lower:
            x = block(x, modulation)
        draft = self.draft_head(x, condition, grids)
        for block in self.upper:
            x = block(x, modulation)
        return draft, self.head(x, condition, grids)


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Scaled dot-product attention of (batch, head, token, feature).

    On CPUs spelled out: for so few tokens the fused kernel's backward pass in bfloat16 takes five times as long.
    """
    if q.device.type != "cpu":
        return F.scaled_dot_product_attention(q, k, v)
    return torch.softmax(q @ (k.transpose(2, 3) / math.sqrt(q.shape[-1])), -1) @ v


def _modulated(x: Tokens, shift: Tensor, scale: Tensor) -> Tokens:
    return torch.addcmul(shift, layer_norm(x), 1 + scale)


def _as_float32(latents: Latents) -> Latents:
    style, coarse, middle, fine = (z.float() for z in latents)
    return style, coarse, middle, fine


def _token_sizes(config: ModelConfig) -> list[int]:
    """Numbers in a token of each map."""
    return [channels * patch**2 for channels, patch in zip(config.map_channels, config.prior_patches, strict=True)]


def _fourier(time: Float[Tensor, " batch"], features: int = 256) -> Vector:
    frequencies = torch.exp(torch.linspace(0, math.log(1000), features // 2, device=time.device))
    angles = time.float()[:, None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], 1)


def _positions(grid: tuple[int, int], step: float, width: int, like: Tensor) -> Float[Tensor, "token width"]:
    """Sines and cosines of the centres of squares, in units of the training picture's side."""
    y, x = torch.meshgrid(*(step * (torch.arange(n, device=like.device) + 0.5) for n in grid), indexing="ij")
    frequencies = math.pi * torch.exp2(torch.linspace(0, 5, width // 4, device=like.device))
    angles = torch.stack([y, x], -1).reshape(-1, 2, 1) * frequencies
    return torch.cat([angles.cos(), angles.sin()], 2).flatten(1).to(like.dtype)


def _to_tokens(x: Float[Tensor, "batch channel height width"], patch: int) -> Tokens:
    return F.pixel_unshuffle(x, patch).flatten(2).transpose(1, 2)


def _to_map(x: Tokens, grid: tuple[int, int], patch: int) -> Float[Tensor, "batch channel height width"]:
    return F.pixel_shuffle(x.transpose(1, 2).unflatten(2, grid), patch)
