"""Clips that hold still: what is told of a frame hears the one before, and what is decoded follows what moves.

Told are Gaussians, which can be pooled with those of before where nothing moves. What moves is followed in the image:
the last painting is carried along the optical flow of the content (Ruder 2016, arXiv 1604.08610), and where the flow
does not explain how the content changed, the painting changes as the content did.
"""

import importlib
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from impasto.errors import ImpastoError
from impasto.model.blocks import Map
from impasto.model.decoder import clamp_valid
from impasto.model.encoder import Posterior
from impasto.model.levels import MAP_STRIDES, Levels
from impasto.model.views import luma

POSTERIOR_MEMORY = 0.85
"""Share of what was told before, where nothing moves."""
MOTION = 0.03
"""Change of a place, in [0, 1], at which the memory of what was told is down to a third."""
OUTPUT_MEMORY = 0.88
"""Share of what was decoded before, where the flow explains all change."""
UNEXPLAINED = 0.12
"""Change of a place beside its motion, in [0, 1], at which the memory of what was decoded is down to a third."""
AROUND = 9
"""Side of the square of pixels around a place over which that change is averaged."""
SMALLEST_FOLLOWED = 16
"""Pixels along the shorter side; in what is smaller the flow is not searched."""
CUT = 0.25
"""Mean change of an image from which it is another scene."""


class PosteriorSmoother:
    """Smooths the fused Gaussians of one frame after the other, place by place, and forgets at a cut."""

    def __init__(self) -> None:
        self._before: tuple[Map, Posterior] | None = None

    def __call__(self, image: Map, fused: Posterior) -> Posterior:
        """What to tell of ``image``, of which ``fused`` was said: a logarithmic opinion pool with the past."""
        if self._before is not None:
            seen, told = self._before
            change = (image - seen).abs().mean(1, keepdim=True)
            if float(change.mean()) < CUT:
                pairs = enumerate(fused.zip(told))
                fused = Levels.of(new.blend(old, _memory(change, level)) for level, (new, old) in pairs)
        self._before = image, fused
        return fused


class OutputSmoother:
    """Carries what was decoded along what moves, and forgets at a cut. All of it is on the CPU, where OpenCV is."""

    def __init__(self) -> None:
        self._before: tuple[Map, Map] | None = None

    def remember(self, image: Map, decoded: Map) -> None:
        """Go on from a frame that was decoded before."""
        self._before = image, decoded

    def __call__(self, image: Map, decoded: Map) -> Map:
        """What to show of ``image``, of which this was ``decoded``: both (1, channels, height, width) in [0, 1]."""
        if self._before is not None:
            seen, shown = self._before
            if float((image - seen).abs().mean()) < CUT:
                flow = _motion(image, seen)
                unexplained = image - _carried(seen, flow)
                change = unexplained.abs().mean(1, keepdim=True)
                change = F.avg_pool2d(change, AROUND, stride=1, padding=AROUND // 2, count_include_pad=False)
                memory = OUTPUT_MEMORY * torch.exp(-change / UNEXPLAINED)
                decoded = clamp_valid(torch.lerp(decoded, _carried(shown, flow) + unexplained, memory))
        self.remember(image, decoded)
        return decoded


def _memory(change: Map, level: int) -> Float[Tensor, "..."]:
    """The share of the past at a level: for the style one number an image, for a map one a position."""
    if level == 0:
        return POSTERIOR_MEMORY * torch.exp(-change.mean((1, 2, 3)) / MOTION)[:, None]
    stride = MAP_STRIDES[level - 1]
    # The most that moves within reach counts: what moves must not drag its past along.
    moved = F.max_pool2d(F.avg_pool2d(change, 4), stride // 4)
    moved = F.max_pool2d(moved, 3, stride=1, padding=1)
    return POSTERIOR_MEMORY * torch.exp(-moved / MOTION)


def _motion(now: Map, before: Map) -> Float[Tensor, "1 height width 2"]:
    """How many pixels right and down each place of an image lay in the one before (Kroeger 2016, arXiv 1603.03590)."""
    if min(now.shape[-2:]) < SMALLEST_FOLLOWED:
        return now.new_zeros(1, *now.shape[-2:], 2)
    cv2 = _opencv()
    grey = [(255 * luma(image)[0, 0]).round().byte().numpy() for image in (now, before)]
    search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    return torch.from_numpy(search.calc(*grey, None))[None]


def _carried(image: Map, flow: Float[Tensor, "1 height width 2"]) -> Map:
    """The image, each place taken from where ``flow`` says that it lay."""
    height, width = image.shape[-2:]
    places = flow + torch.stack(torch.meshgrid(torch.arange(width), torch.arange(height), indexing="xy"), -1)
    places = 2 * places / flow.new_tensor([max(1, width - 1), max(1, height - 1)]) - 1
    return F.grid_sample(image, places, mode="bicubic", padding_mode="border", align_corners=True)


def _opencv() -> Any:
    """OpenCV. Raises ImpastoError where the extra that brings it is missing."""
    try:
        return importlib.import_module("cv2")
    except ImportError as error:
        raise ImpastoError('steady clips need an extra: pip install "impasto[video]"') from error
