"""The best linear autoencoder, in closed form: the first weights of stage 1.

A variational autoencoder that is linear on both sides learns the principal components of its pictures (Lucas 2019,
"Don't blame the ELBO!"), and stochastic gradients take minutes over what an eigendecomposition finds in seconds. So
the decoder's sketches and the encoders' glances begin there, and the networks learn what is left.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impasto.model.autoencoder import Autoencoder
from impasto.model.blocks import Map
from impasto.model.decoder import SKETCH_SIDE
from impasto.model.encoder import LOG_VARIANCE_BOUND, Encoder, glanced_at
from impasto.model.views import VIEW_NAMES
from impasto.objective.reconstruction import SCALE_WEIGHTS, SOFTNESS

MOST_NOISE = 0.98
"""No number is taken for more noise than this part: none begins without a gradient."""
RIDGE = 1e-3
"""Added to the covariance of what a linear expert sees, in parts of its average."""
NETWORK_GAIN = 0.1
"""How loud the untrained networks are beside the linear code, against how they begin without one."""
FIT_SHARE = 0.75
"""Part of the pictures that the linear experts are fitted to; the others say how far they can be trusted."""


@torch.no_grad()
def start_linear(model: Autoencoder, picture: Map, kl_weight: float) -> None:
    """Give an untrained ``model`` the linear code of some pictures in [0, 1], and experts that say it.

    The code leaves as much to chance as pays at the weight of the rate: near zero the reconstruction loss is a square
    of the difference, which makes it the likelihood of a Gaussian with this variance.
    """
    noise = kl_weight * picture[0].numel() * SOFTNESS / sum(SCALE_WEIGHTS)
    codes = _start_sketches(model, picture, noise)
    model.decoder.paint.project.weight.mul_(NETWORK_GAIN)
    views = model.views(picture)
    for name, view in zip(VIEW_NAMES, views, strict=True):
        _start_glances(model.encoder(name), glanced_at(view), codes)


def _start_sketches(model: Autoencoder, picture: Map, noise: float) -> list[tuple[Tensor, Tensor]]:
    """Probabilistic principal components (Tipping & Bishop 1999) of each level of the pyramid, on top of the coarser.

    They are turned at random together, so that the strong ones have a part in every number of the code. Returns for
    every map the code of every square, with unit variance (square, number), and the part of each number that is noise
    (number,). ``noise`` is the variance of it in a value of the full-size picture.
    """
    half = F.avg_pool2d(picture, 2)
    drawn: Tensor | None = None
    codes = []
    for layer, target, area in zip(
        model.decoder.sketches, (F.avg_pool2d(half, 2), half, picture), (16, 4, 1), strict=True
    ):
        assert isinstance(layer, nn.Conv2d) and layer.bias is not None
        ground = F.interpolate(drawn, scale_factor=2, mode="bilinear") if drawn is not None else 0.5
        squares = F.pixel_unshuffle(target - ground, SKETCH_SIDE)
        rows, mean = _centred(squares)
        _, components = torch.linalg.eigh(rows.T @ rows / len(rows))
        count = layer.in_channels
        axes = components[:, -count:] @ torch.linalg.qr(torch.randn(count, count)).Q
        code = rows @ axes
        deviation = code.square().mean(0).sqrt().clamp(min=1e-4)
        code = code / deviation
        unsaid = (noise / area / deviation.square()).clamp(max=MOST_NOISE)
        layer.weight[:, :, 0, 0] = axes * deviation * (1 - unsaid).sqrt()
        layer.bias.copy_(mean)
        said = code * (1 - unsaid).sqrt()
        latent = said.reshape(len(picture), *squares.shape[2:], count).permute(0, 3, 1, 2)
        drawn = F.pixel_shuffle(layer(latent.to(layer.weight.device)).float(), SKETCH_SIDE) + ground
        codes.append((code, unsaid))
    return codes


def _start_glances(encoder: Encoder, seen: list[Map], codes: list[tuple[Tensor, Tensor]]) -> None:
    """Linear regression of the code on what an encoder sees, and an honest word on how well that does.

    A number z of variance one, of which a part v is noise to the expert, is told by a likelihood of precision
    1 / v - 1 and mean E[z] / (1 - v): fused with the prior, that gives E[z] and v.
    """
    for glance, head, squares, (code, noise) in zip(encoder.glances, encoder.heads, seen, codes, strict=True):
        assert isinstance(glance, nn.Conv2d) and isinstance(head, nn.Conv2d)
        assert glance.bias is not None and head.bias is not None
        rows, mean = _centred(squares)
        fit = max(1, int(FIT_SHARE * len(rows)))
        covariance = rows[:fit].T @ rows[:fit] / fit
        ridge = RIDGE * covariance.diagonal().mean() + 1e-8
        weight = torch.linalg.solve(covariance + ridge * torch.eye(len(covariance)), rows[:fit].T @ code[:fit] / fit)
        test = slice(fit, None) if fit < len(rows) else slice(None)
        unexplained = (code[test] - rows[test] @ weight).square().mean(0).clamp(0, MOST_NOISE)
        left = noise + (1 - noise) * unexplained
        precision = 1 / left - 1
        weight = weight / ((1 - noise).sqrt() * (1 - unexplained))
        glance.weight[:, :, 0, 0] = weight.T
        glance.bias.copy_(-mean @ weight)
        latent = glance.out_channels
        head.weight.mul_(NETWORK_GAIN)
        head.weight[:, -latent:] = 0
        head.weight[:latent, -latent:, 0, 0] = torch.eye(latent)
        raw = -precision.log().clamp(-0.9 * LOG_VARIANCE_BOUND, 0.9 * LOG_VARIANCE_BOUND)
        head.bias[latent:] = LOG_VARIANCE_BOUND * torch.atanh(raw / LOG_VARIANCE_BOUND)


def _centred(squares: Map) -> tuple[Tensor, Tensor]:
    """The squares as rows, their mean taken away, and that mean."""
    rows = squares.permute(0, 2, 3, 1).reshape(-1, squares.shape[1]).float().cpu()
    mean = rows.mean(0)
    return rows - mean, mean
