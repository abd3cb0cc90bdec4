"""The four ways to begin a run: fresh, resumed, finetuned from a model, or initialised with the weights of one."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from impasto.config import ModelConfig, TrainConfig, sized_model
from impasto.data import ImageSet
from impasto.errors import ImpastoError
from impasto.events import Stage
from impasto.model.blocks import channels_last
from impasto.model.impasto import Impasto, load_model
from impasto.text import TEXT_DIM
from impasto.training.budget import Budget
from impasto.training.checkpoint import Checkpoint, read_checkpoint
from impasto.training.engine import Engine
from impasto.training.finetune import Base, finetune_config, read_base, with_replay
from impasto.training.run import Run, model_file
from impasto.training.seeds import seed_of

FREE_TO_DIFFER = {"channels", "resolution", "collections", "text_dim", "signed_edges", "decoder_only_stylization"}
"""What may differ from the initial model: networks are convolutions and transformers, and leave these open."""
PRIOR_SHAPE = {"prior_width", "prior_depth"}
"""What may differ too: the prior then starts untrained."""


@dataclass(frozen=True)
class Start:
    """Where a run begins."""

    config: TrainConfig
    """The settings as they hold: a model to finetune determines some of them."""
    saved: Mapping[Stage, Checkpoint] = field(default_factory=dict)
    """The states to resume; that of a finished stage 1 too."""
    base: Base | None = None
    """The model to finetune."""
    initial: Impasto | None = None
    """The model whose weights initialise this one."""

    @property
    def stage(self) -> Stage:
        """The first stage to run."""
        return first_stage(self.config, self.saved)

    @property
    def is_lengthened(self) -> bool:
        """Whether stage 1 trains further after stage 2 has begun, because the budget has grown."""
        return Stage.PRIOR in self.saved and self.stage is Stage.AUTOENCODER

    @property
    def is_untrained(self) -> bool:
        """Whether no weights come from anywhere."""
        return not self.saved and self.base is None and self.initial is None

    @property
    def numbers(self) -> dict[str, float]:
        """The numbers of the state that was saved last; empty for a new run."""
        return max((state.numbers for state in self.saved.values()), key=_seconds_spent, default={})

    def images(
        self, given: ImageSet, progress: Callable[[int, int], None], is_enough: Callable[[float], bool]
    ) -> ImageSet:
        """The images to train on: the given ones, and in finetuning variants of them and samples of the old styles.

        ``progress`` is called with (samples, in total), ``is_enough`` with the seconds that sampling took.
        """
        return given if self.base is None else with_replay(given, self.base, self.config.seed, progress, is_enough)

    def model(self, images: ImageSet, engine: Engine) -> tuple[Impasto, float]:
        """The first model on the engine's device, and the part of its weights that ``initial`` gave."""
        torch.manual_seed(seed_of(self.config.seed, "weights"))
        if self.base is not None:
            network = self.base.network
            model = Impasto(dataclasses.replace(network.config, collections=images.collections))
            model.load_state_dict(network.state_dict())
        else:
            model = Impasto(model_shape(self.config, images.channels, images.collections))
        model = channels_last(model.to(engine.device))
        return model, 0.0 if self.initial is None else copy_fitting_weights(self.initial, model)


def begin(config: TrainConfig, engine: Engine) -> Start:
    """Determine how the run of ``config`` begins.

    Raises ImpastoError for a damaged state, and for a model that does not exist or does not fit.
    """
    saved = read_saved(Run(config.out))
    if config.finetune is not None:
        base = read_base(config.finetune, engine.device)
        return Start(finetune_config(config, base), saved, base)
    # Resuming stage 1 needs it too: the weights that stage 2 begins with are not in stage 1's state.
    if config.init is not None and first_stage(config, saved) is Stage.AUTOENCODER:
        return Start(config, saved, initial=read_initial(config))
    return Start(config, saved)


def read_saved(run: Run) -> dict[Stage, Checkpoint]:
    """The states in a run folder. Raises ImpastoError if one is damaged."""
    saved = {stage: state for stage in Stage if (state := read_checkpoint(run.state(stage))) is not None}
    if not saved and (state := read_checkpoint(run.old_state)) is not None:
        saved[list(Stage)[int(state.numbers["stage"])]] = state
    return saved


def first_stage(config: TrainConfig, saved: Mapping[Stage, Checkpoint]) -> Stage:
    """The stage to resume: stage 1 if it can be lengthened, because the budget has grown since stage 2 began."""
    if Stage.PRIOR not in saved:
        return Stage.AUTOENCODER
    budget = saved[Stage.PRIOR].numbers.get("budget", math.inf)
    can_be_lengthened = Stage.AUTOENCODER in saved and Budget(config).total > budget
    return Stage.AUTOENCODER if can_be_lengthened else Stage.PRIOR


def _seconds_spent(numbers: Mapping[str, float]) -> float:
    return numbers.get("overhead", 0.0) + sum(
        numbers[f"{stage}.seconds"] for stage in Stage if f"{stage}.seconds" in numbers
    )


def model_shape(config: TrainConfig, channels: int, collections: tuple[str, ...]) -> ModelConfig:
    """The shape of the model that ``config`` trains on images of ``channels``."""
    assert config.resolution is not None
    return sized_model(
        config.size,
        prior_size=config.prior_size,
        channels=channels,
        resolution=config.resolution,
        collections=collections,
        text_dim=TEXT_DIM if config.text else 0,
        signed_edges=config.signed_edges,
        decoder_only_stylization=config.objective.destylized_weight > 0,
    )


def read_initial(config: TrainConfig) -> Impasto:
    """The model or run of --init. Raises ImpastoError if there is none, or its shape does not fit."""
    assert config.init is not None
    initial, _ = load_model(model_file(config.init))
    wanted = model_shape(config, channels=3, collections=())
    free = FREE_TO_DIFFER - {"text_dim"} if config.freeze_prior else FREE_TO_DIFFER | PRIOR_SHAPE
    flags = (
        "the same --size, --prior-size and --text, as its prior is kept" if config.freeze_prior else "the same --size"
    )
    for entry in dataclasses.fields(ModelConfig):
        mine, its = getattr(wanted, entry.name), getattr(initial.config, entry.name)
        if entry.name not in free and mine != its:
            raise ImpastoError(
                f"--init {config.init}: its {entry.name} is {its}, that of this run {mine}; use {flags}."
            )
    return initial


@torch.no_grad()
def copy_fitting_weights(initial: Impasto, model: Impasto) -> float:
    """Copy the weights of a trained model that fit into an untrained one; returns the part of them that did.

    Of weights for four channels those for the first three are taken; additional inputs start at zero.
    """
    source, taken, total = initial.state_dict(), 0, 0
    same_prior = all(getattr(initial.config, name) == getattr(model.config, name) for name in PRIOR_SHAPE)
    for name, weights in model.state_dict().items():
        fits = same_prior or not name.startswith("prior.")
        fitted = _fitted(source.get(name), weights) if fits else None
        if fitted is not None:
            weights.copy_(fitted)
            taken += weights.numel()
        total += weights.numel()
    return taken / total


def _fitted(weights: Tensor | None, like: Tensor) -> Tensor | None:
    """The first of ``weights`` along every dimension, in the shape of another tensor; None if there are too few.

    Only along the second dimension, that of inputs, there may be fewer: the others are zero.
    """
    if weights is None or weights.dim() != like.dim():
        return None
    if any(has < needs for dim, (has, needs) in enumerate(zip(weights.shape, like.shape, strict=True)) if dim != 1):
        return None
    common = tuple(slice(min(has, needs)) for has, needs in zip(weights.shape, like.shape, strict=True))
    fitted = torch.zeros_like(like)
    fitted[common] = weights[common]
    return fitted
