"""What a training chooses by itself, and why: size, resolution and fit, from the images, the budget and the machine.

The rules follow from docs/experiments/2026-11-28-routes.md.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from impasto.built_in import read_card
from impasto.config import Fit, Size, TrainConfig, sized_model
from impasto.data.survey import Survey, survey
from impasto.device import choose_device
from impasto.errors import ImpastoError
from impasto.model.impasto import read_shape
from impasto.training.budget import DEFAULT_MINUTES
from impasto.training.run import Run, model_file, read_config

GRID = 32
"""Resolutions are multiples of the coarsest stride, in pixels."""
MAX_NATIVE_SIDE = 128
"""Images up to this side keep their own pixels."""
SMALL_RESOLUTION, LARGE_RESOLUTION = 64, 128
"""For larger images, with little and with much time."""
LONG_MINUTES = 60.0
"""On a CPU; a GPU has much time in any case."""
FEW_IMAGES, MANY_IMAGES = 1000, 5000
BUILT_IN = Path("icons")
"""The model whose autoencoder few images begin with."""
NO_MODEL = Path("none")
"""As --init: begin with nothing."""
FEW_IMAGES_SHARE = 0.2
"""Share of stage 1 for a trained autoencoder."""
CHOSEN = ("size", "prior_size", "resolution", "fit", "zoom", "init", "stage1_share")
MIN_ALPHA_SHARE = 0.5
"""Above it most images are things on a transparent ground, which are padded and not cropped."""


@dataclass(frozen=True)
class Choice:
    """Settings without open questions, and the reasons for what was chosen, a line each."""

    config: TrainConfig
    reasons: tuple[str, ...] = ()


def choose(config: TrainConfig) -> Choice:
    """Choose what ``config`` leaves open: size, resolution, and whether to begin with the weights of a built-in model.

    A run that is resumed keeps its choices. Raises ImpastoError if the images cannot be read.
    """
    is_open = config.size is Size.AUTO or config.resolution is None
    if config.finetune is not None or not is_open:
        return Choice(_without_none(config))
    run = Run(config.out)
    if run.config.exists():
        return Choice(_without_none(_as_before(config, read_config(run.config))))
    if config.init is not None and config.init != NO_MODEL:
        return Choice(_like_initial(config))
    images = survey(config.data, exclude=run.cache)
    if len(images.long_sides) == 0:
        # Reading the images fails, with a reason.
        return Choice(_without_none(dataclasses.replace(config, size=Size.TINY, resolution=SMALL_RESOLUTION)))
    reasons = []
    is_fast = choose_device(config.device)[0] != "cpu"
    minutes = DEFAULT_MINUTES if config.minutes is None else config.minutes
    if config.resolution is None:
        config, reason = _with_resolution(config, images, is_long=is_fast or minutes >= LONG_MINUTES)
        reasons.append(reason)
    if config.size is Size.AUTO:
        if config.init is None and images.count < FEW_IMAGES:
            config, reason = _with_built_in_autoencoder(config, images.count)
        else:
            size, reason = _size(images.count, minutes, is_fast)
            config = dataclasses.replace(config, size=size)
        reasons.append(reason)
    return Choice(_without_none(config), tuple(reasons))


def _without_none(config: TrainConfig) -> TrainConfig:
    return dataclasses.replace(config, init=None) if config.init == NO_MODEL else config


def _as_before(config: TrainConfig, before: TrainConfig) -> TrainConfig:
    """The settings that have their defaults as in the run that is resumed."""
    defaults = {entry.name: entry.default for entry in dataclasses.fields(TrainConfig)}
    kept = [name for name in CHOSEN if getattr(config, name) == defaults[name]]
    return dataclasses.replace(config, **{name: getattr(before, name) for name in kept})


def _with_built_in_autoencoder(config: TrainConfig, count: int) -> tuple[TrainConfig, str]:
    """Begin with a trained autoencoder, which then needs little of the time, and a prior that learns fast."""
    share = FEW_IMAGES_SHARE if config.stage1_share == TrainConfig.stage1_share else config.stage1_share
    config = dataclasses.replace(
        config, init=BUILT_IN, size=Size.SMALL, prior_size=config.prior_size or Size.TINY, stage1_share=share
    )
    licence = read_card(str(BUILT_IN)).licence
    return config, (
        f"--init {BUILT_IN} --size small --prior-size {config.prior_size}, chosen: {count:,} images are few to learn "
        f"from nothing. The licence of its weights, {licence}, extends to this model; --init none begins with nothing"
    )


def _like_initial(config: TrainConfig) -> TrainConfig:
    """The open settings as in the model whose weights are copied."""
    assert config.init is not None
    shape = read_shape(model_file(config.init))
    size = config.size
    if size is Size.AUTO:
        widths = {which: _widths(which) for which in Size if which is not Size.AUTO}
        size = next((which for which, width in widths.items() if width == shape.encoder_widths), None)
        if size is None:
            raise ImpastoError(f"--init {config.init}: its shape is none of --size {', '.join(widths)}.")
    return dataclasses.replace(config, size=size, resolution=config.resolution or shape.resolution)


def _widths(size: Size) -> tuple[int, ...]:
    return sized_model(size, channels=4, resolution=GRID, collections=()).encoder_widths


def _with_resolution(config: TrainConfig, images: Survey, is_long: bool) -> tuple[TrainConfig, str]:
    """The resolution, and the fit and zoom that go with it where they are open."""
    longest, shortest = int(images.long_sides.max()), int(images.short_sides.min())
    is_padded = config.fit in (Fit.PAD, Fit.KEEP) or (
        config.fit is Fit.AUTO and images.share_with_alpha >= MIN_ALPHA_SHARE
    )
    if is_padded and longest <= MAX_NATIVE_SIDE:
        resolution = -(-longest // GRID) * GRID
        fit = Fit.KEEP if config.fit is Fit.AUTO else config.fit
        reason = f"the images have up to {longest} px; they are padded and keep their pixels"
        return dataclasses.replace(config, resolution=resolution, fit=fit), _because("resolution", resolution, reason)
    if not is_padded and shortest >= GRID and longest <= MAX_NATIVE_SIDE:
        resolution = shortest // GRID * GRID
        zoom = max(config.zoom, float(np.median(images.short_sides)) / resolution)
        reason = f"the images have {shortest} px or more and keep their pixels"
        return dataclasses.replace(config, resolution=resolution, zoom=zoom), _because("resolution", resolution, reason)
    resolution = LARGE_RESOLUTION if is_long and longest > SMALL_RESOLUTION else SMALL_RESOLUTION
    reason = f"images of up to {longest} px are scaled down" if longest > resolution else f"up to {longest} px"
    return dataclasses.replace(config, resolution=resolution), _because("resolution", resolution, reason)


def _size(count: int, minutes: float, is_fast: bool) -> tuple[Size, str]:
    machine = "a GPU" if is_fast else "a CPU"
    reason = f"{count:,} images and {minutes:g} minutes on {machine}"
    if is_fast:
        is_large = count >= MANY_IMAGES and minutes >= LONG_MINUTES
        size = Size.BASE if is_large else Size.SMALL
    else:
        size = Size.TINY if count < FEW_IMAGES or minutes < LONG_MINUTES else Size.SMALL
    return size, _because("size", size, reason)


def _because(name: str, value: object, reason: str) -> str:
    return f"--{name} {value}, chosen: {reason}"
