"""Temporal smoothing of stylized clips: posteriors are pooled over time, and outputs follow the optical flow.

A posterior is pooled with that of the previous frame, with a share that falls as a position changes. The previous
output is warped along the optical flow of the content (Ruder 2016, arXiv 1604.08610). The change of the content that
the flow does not explain is added to the warped output.
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
"""Share of the previous posterior for positions without change."""
POSTERIOR_CHANGE = 0.03
"""Change of a position, in [0, 1], that reduces the share of the previous posterior by a factor of e."""
OUTPUT_MEMORY = 0.88
"""Share of the previous output for pixels whose change the optical flow explains."""
OUTPUT_CHANGE = 0.12
"""Unexplained change of a pixel, in [0, 1], that reduces the share of the previous output by a factor of e."""
CHANGE_WINDOW = 9
"""Side in pixels of the square over which the unexplained change is averaged."""
MIN_FLOW_SIDE = 16
"""Minimum shorter side in pixels of frames for which the optical flow is estimated."""
CUT_CHANGE = 0.25
"""Minimum mean change between two frames, in [0, 1], that counts as a cut."""


class PosteriorSmoother:
    """Pools the posterior of each frame with the past, position by position. A cut resets it."""

    def __init__(self) -> None:
        self._previous: tuple[Map, Posterior] | None = None

    def __call__(self, image: Map, posterior: Posterior) -> Posterior:
        """The logarithmic opinion pool of the ``posterior`` of ``image`` with the previous result."""
        if self._previous is not None:
            previous_image, previous_posterior = self._previous
            change = (image - previous_image).abs().mean(1, keepdim=True)
            if float(change.mean()) < CUT_CHANGE:
                pairs = enumerate(posterior.zip(previous_posterior))
                posterior = Levels.of(new.blend(old, _memory(change, level)) for level, (new, old) in pairs)
        self._previous = image, posterior
        return posterior


class OutputSmoother:
    """Averages each output with the previous one, warped along the optical flow. A cut resets it.

    It computes on the CPU, as OpenCV does.
    """

    def __init__(self) -> None:
        self._previous: tuple[Map, Map] | None = None

    def remember(self, image: Map, decoded: Map) -> None:
        """Set the previous frame and its output."""
        self._previous = image, decoded

    def __call__(self, image: Map, decoded: Map) -> Map:
        """The smoothed output for ``image``; both are (1, channels, height, width) in [0, 1]."""
        if self._previous is not None:
            previous_image, previous_output = self._previous
            if float((image - previous_image).abs().mean()) < CUT_CHANGE:
                flow = _optical_flow(image, previous_image)
                unexplained = image - _warp(previous_image, flow)
                change = unexplained.abs().mean(1, keepdim=True)
                change = F.avg_pool2d(
                    change, CHANGE_WINDOW, stride=1, padding=CHANGE_WINDOW // 2, count_include_pad=False
                )
                memory = OUTPUT_MEMORY * torch.exp(-change / OUTPUT_CHANGE)
                decoded = clamp_valid(torch.lerp(decoded, _warp(previous_output, flow) + unexplained, memory))
        self.remember(image, decoded)
        return decoded


def _memory(change: Map, level: int) -> Float[Tensor, "..."]:
    """The share of the past at a level: one number per image for the style, one per position for a map."""
    if level == 0:
        return POSTERIOR_MEMORY * torch.exp(-change.mean((1, 2, 3)) / POSTERIOR_CHANGE)[:, None]
    stride = MAP_STRIDES[level - 1]
    # The maximum over the neighbourhood: a moving object must not leave a trail.
    largest = F.max_pool2d(F.avg_pool2d(change, 4), stride // 4)
    largest = F.max_pool2d(largest, 3, stride=1, padding=1)
    return POSTERIOR_MEMORY * torch.exp(-largest / POSTERIOR_CHANGE)


def _optical_flow(image: Map, previous: Map) -> Float[Tensor, "1 height width 2"]:
    """Displacement in pixels, right and down, from each pixel to its position in the previous frame.

    Dense inverse search (Kroeger 2016, arXiv 1603.03590); zero for very small frames.
    """
    if min(image.shape[-2:]) < MIN_FLOW_SIDE:
        return image.new_zeros(1, *image.shape[-2:], 2)
    cv2 = _opencv()
    grey = [(255 * luma(frame)[0, 0]).round().byte().numpy() for frame in (image, previous)]
    search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    return torch.from_numpy(search.calc(*grey, None))[None]


def _warp(image: Map, flow: Float[Tensor, "1 height width 2"]) -> Map:
    """Sample an image at each pixel's position plus ``flow``."""
    height, width = image.shape[-2:]
    positions = flow + torch.stack(torch.meshgrid(torch.arange(width), torch.arange(height), indexing="xy"), -1)
    positions = 2 * positions / flow.new_tensor([max(1, width - 1), max(1, height - 1)]) - 1
    return F.grid_sample(image, positions, mode="bicubic", padding_mode="border", align_corners=True)


def _opencv() -> Any:
    """The module cv2. Raises ImpastoError if the extra ``video`` is not installed."""
    try:
        return importlib.import_module("cv2")
    except ImportError as error:
        raise ImpastoError('temporal smoothing needs the extra video: pip install -e ".[video]"') from error
