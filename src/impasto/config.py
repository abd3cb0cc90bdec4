"""Every setting of Impasto, as frozen dataclasses: the only source that flags, run folders and docs derive from."""

import dataclasses
import json
import math
import types
import typing
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from tyro.conf import Suppress

from impasto.errors import ImpastoError

T = TypeVar("T")

MAX_SIDE = 4096
"""Longest side of a picture that is made, in pixels."""


class Size(StrEnum):
    """How large a model to train: the one dial, from which every width and depth follows."""

    TINY = "tiny"
    SMALL = "small"
    BASE = "base"


class Fit(StrEnum):
    """How a picture that is not square becomes square."""

    AUTO = "auto"
    PAD = "pad"
    CROP = "crop"


class Repeat(StrEnum):
    """Along which axes copies of a picture meet without a seam."""

    NONE = "none"
    X = "x"
    Y = "y"
    XY = "xy"

    @property
    def along_x(self) -> bool:
        """Whether the left edge meets the right one."""
        return "x" in self.value

    @property
    def along_y(self) -> bool:
        """Whether the upper edge meets the lower one."""
        return "y" in self.value


class Flow(StrEnum):
    """Whether a redrawn picture goes along the prior flow, or from what is told of it straight to the decoder."""

    AUTO = "auto"
    ON = "on"
    OFF = "off"


class ClipFormat(StrEnum):
    """How clips are written: VP9 or AV1 with sound, or an animation with alpha and without sound."""

    WEBM = "webm"
    MP4 = "mp4"
    WEBP = "webp"


class Against(StrEnum):
    """Which real pictures samples are compared with."""

    HELD_OUT = "held-out"
    ALL = "all"


@dataclass(frozen=True)
class ModelConfig:
    """The shape of one model; stored in the header of its weights.

    Latent levels are listed coarse to fine: a style vector, then maps at strides 32, 16 and 8.
    """

    channels: int = 4
    """Image channels: 3 (RGB) or 4 (RGB over white, and alpha)."""
    resolution: int = 64
    """Side of the training images in pixels, a multiple of 32."""
    collections: tuple[str, ...] = ()
    """Names of the collections (styles) seen in training."""
    style_dim: int = 64
    map_channels: tuple[int, int, int] = (32, 16, 8)
    """Latent channels of the maps at strides 32, 16 and 8."""
    encoder_widths: tuple[int, int, int, int, int] = (32, 64, 128, 160, 160)
    """Channels of an encoder's three 5x5 stages and of its residual stages at strides 16 and 32."""
    pyramid_width: int = 96
    signed_edges: bool = False
    """Whether the orientation view includes on which side of an edge it is lighter."""
    decoder_only_stylization: bool = False
    """Whether the decoder was trained to stylize from the modes of the posterior, without the flow."""
    decoder_widths: tuple[int, int, int, int, int] = (192, 192, 160, 96, 48)
    """Channels of the decoder at strides 32, 16, 8, 4 and 2."""
    decoder_depths: tuple[int, int, int, int, int] = (1, 2, 2, 2, 1)
    """Residual blocks of the decoder at strides 32, 16, 8, 4 and 2."""
    text_dim: int = 0
    """Size of a text vector; 0 if the model was trained without captions."""
    prior_width: int = 384
    prior_depth: int = 8
    prior_head_dim: int = 64
    prior_patches: tuple[int, int, int] = (1, 2, 2)
    """Side of the square of latents that forms one token of the prior, at strides 32, 16 and 8."""


@dataclass(frozen=True)
class ObjectiveConfig:
    """Weights of the losses and of their random inputs. A weight of zero switches a term off."""

    kl_weight: float = 4e-6
    """Weight of the KL divergence in nats against a mean absolute error in [0, 1]."""
    feature_weight: float = 0.1
    """Weight of the distance of frozen features."""
    feature_start: float = 0.5
    """Part of stage 1 after which the feature loss starts."""
    swap_weight: float = 0.0
    """Weight of swaps: the structure of one image, the colours and the texture of others."""
    destylized_weight: float = 0.0
    """Weight of destylised pairs: an image decoded from its smoothed, recoloured copy in its own style."""
    stylization_start: float = 0.5
    """Part of stage 1 after which swaps and destylised pairs start."""
    freeze_encoders_after: float = 0.7
    """Part of stage 1 after which the encoders are frozen and the decoder trains alone, in cheaper steps."""
    kl_warmup: Suppress[float] = 0.1
    """Part of stage 1 over which the weight of the KL divergence grows from a tenth to its full value."""
    linear_skip_weight: Suppress[float] = 0.3
    """Weight of the reconstruction from the decoder's linear skips alone, at a quarter and half of the size."""
    style_weight: Suppress[float] = 0.02
    """Weight of the auxiliary predictors of feature statistics and collection from the style vector."""
    swap_texture_weight: Suppress[float] = 2.0
    """Weight of the texture within a swap."""
    swap_colour_weight: Suppress[float] = 4.0
    """Weight of the colours within a swap."""
    swap_structure_weight: Suppress[float] = 0.3
    """Weight of the structure within a swap."""
    destylized_texture_weight: Suppress[float] = 0.3
    """Weight of the texture against the pixels within a destylised pair."""
    intermediate_weight: Suppress[float] = 0.5
    """Weight of the prior's intermediate head against its last one."""
    level_dropout: Suppress[float] = 0.25
    """Probability that an image keeps only a coarse prefix of its levels (nested dropout, Rippel 2014)."""
    single_expert: Suppress[float] = 0.15
    """Probability that an image is encoded by one expert alone."""
    random_experts: Suppress[float] = 0.15
    """Probability that an image is encoded by a random subset of experts with random weights."""
    shared_style: Suppress[float] = 0.5
    """Probability that an image's style is pooled from other images of its collection (Bouchacourt 2018)."""


@dataclass(frozen=True)
class CouplingConfig:
    """How often the source of the prior flow is conditioned on what, in stage 2."""

    no_style: float = 0.1
    """Probability of no style: the unconditional case of classifier-free guidance."""
    own_style: float = 0.1
    """Probability that the style is the image's own instead of its collection's."""
    mixed_style: float = 0.2
    """Probability that each expert takes the style from a source of its own: the colours of one image, the texture of
    others, or nothing."""
    no_content: float = 0.5
    """Probability of no content: pure generation."""
    parallel_content: float = 0.5
    """Probability that content comes from another collection's image with the same key, if there is one."""
    no_text: float = 0.2
    """Probability that the caption is dropped although a style is given."""
    min_weight_log10: float = -2.5
    """Content weights are log-uniform between ten to this power and one."""


@dataclass(frozen=True)
class TrainConfig:
    """One training run, from a folder of images to a model."""

    data: Path
    """Folder or archive of images."""
    out: Path
    """Run folder: created, or resumed."""
    size: Size = Size.SMALL
    """Size of the model: all widths and depths follow from it."""
    prior_size: Size | None = None
    """Size of the prior, if it differs: to stylize images a small one is enough, and many times as fast."""
    resolution: int = 64
    """Side of the images in pixels, a multiple of 32."""
    minutes: float | None = None
    """Budget of both stages together; 30 if neither this nor --images is given."""
    images: int | None = None
    """Budget in images seen by both stages together: a reproducible length."""
    seed: int = 0
    """Determines the initial weights, the order of the images and all noise."""
    batch_size: int = 16
    """Images per update of the autoencoder, over all processes."""
    learning_rate: float = 1e-3
    """Peak learning rate of the autoencoder."""
    prior_batch_size: int = 64
    """Images per update of the prior, over all processes."""
    prior_learning_rate: float | None = None
    """Peak learning rate of the prior; defaults to 0.192 / its width (Yang 2022): 5e-4 for small."""
    finetune: Path | None = None
    """A run, model file or built-in model to adapt to 4 to 500 images: styles, size and resolution are kept."""
    init: Path | None = None
    """A run, model file or built-in model of the same --size whose weights initialise the training on a large
    folder."""
    signed_edges: bool = False
    """Let the orientation encoder see on which side of an edge it is lighter: photos need it."""
    stage1_share: float = 0.35
    """Part of the budget for the autoencoder; the prior gets the rest. 1 keeps the prior of --init."""
    fit: Fit = Fit.AUTO
    """How images become square: auto pads those with transparency and crops the others."""
    zoom: float = 1.0
    """Factor by which cropped images are kept larger than --resolution: squares are cut from them at random."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    preview_minutes: float = 5.0
    """Between two preview sheets."""
    save_minutes: float = 2.0
    """Between two saves of the complete state."""
    text: bool = False
    """Learn captions too: they are the texts in metadata.jsonl (needs an extra)."""
    tensorboard: bool = False
    """Write the terms for TensorBoard as well (needs an extra)."""
    objective: ObjectiveConfig = dataclasses.field(default_factory=ObjectiveConfig)
    coupling: Suppress[CouplingConfig] = dataclasses.field(default_factory=CouplingConfig)

    def __post_init__(self) -> None:
        """Refuse values that could not train, naming the flag."""
        if self.resolution % 32 or not 32 <= self.resolution <= 512:
            raise ImpastoError(f"--resolution {self.resolution}: use a multiple of 32 from 32 to 512.")
        if self.minutes is not None and self.images is not None:
            raise ImpastoError("--minutes and --images are two ways to give the budget: use one of them.")
        if self.finetune is not None and self.init is not None:
            raise ImpastoError("--finetune adapts a model, --init only takes its weights: use one of them.")
        if self.minutes is not None and not 0 < self.minutes <= 60 * 24 * 30:
            raise ImpastoError(f"--minutes {self.minutes}: use a number above 0.")
        if self.images is not None and self.images < 1:
            raise ImpastoError(f"--images {self.images}: use a number above 0.")
        if not 0 <= self.seed < 2**63:
            raise ImpastoError(f"--seed {self.seed}: use a whole number from 0 to 2**63 - 1.")
        for name in ("batch_size", "prior_batch_size"):
            if not 1 <= getattr(self, name) <= 4096:
                raise ImpastoError(f"--{name.replace('_', '-')}: use a whole number from 1 to 4096.")
        if not 1 <= self.zoom <= 8:
            raise ImpastoError(f"--zoom {self.zoom}: use a number from 1 to 8.")
        if not 0 < self.stage1_share <= 1:
            raise ImpastoError(f"--stage1-share {self.stage1_share}: use a number above 0, at most 1.")
        if self.freeze_prior and (self.init is None or self.objective.freeze_encoders_after > 0):
            raise ImpastoError(
                "--stage1-share 1 keeps the prior: give the model that it belongs to with --init, and freeze the "
                "encoders too, with --objective.freeze-encoders-after 0."
            )

    @property
    def freeze_prior(self) -> bool:
        """Whether there is no stage 2: the prior is that of the initial model."""
        return self.stage1_share == 1


@dataclass(frozen=True)
class Sampling:
    """How the prior flow is followed to a picture; its fields are flags of every command that makes pictures."""

    seed: int = 0
    """The same seed gives the same pictures."""
    steps: int = 8
    """Steps of the sampler: more are slower and finer."""
    temperature: float = 1.0
    """Below 1 tamer, above 1 wilder."""
    guidance: float = 1.5
    """How strongly the style is followed; 1 is as learned."""
    internal_guidance: float = 4.0
    """How far beyond the model's own draft of a picture to go: 1 is as learned, higher is clearer, until it tears."""

    def __post_init__(self) -> None:
        """Refuse settings that cannot sample, naming the flag."""
        if not 0 <= self.seed < 2**63:
            raise ImpastoError(f"--seed {self.seed}: use a whole number from 0 to 2**63 - 1.")
        if not 1 <= self.steps <= 1000:
            raise ImpastoError(f"--steps {self.steps}: use a whole number from 1 to 1000.")
        for name in ("temperature", "guidance", "internal_guidance"):
            value = getattr(self, name)
            if not math.isfinite(value) or value < 0:
                raise ImpastoError(f"--{name} {value}: use a number from 0.")


REDRAWING = Sampling(guidance=1.0, internal_guidance=1.5)
"""How a picture is redrawn where nothing else is said: most of it is told, so little is left to be decided."""


@dataclass(frozen=True)
class EvaluateConfig(Sampling):
    """One measurement of a model."""

    against: Against = Against.HELD_OUT
    """Compare samples with held-out pictures, or with all (half of them, beside the other half)."""
    samples: int = 2000
    """How many samples to make."""
    strength: float = 0.5
    """How strong the style is when styles are swapped, 0 to 1; they are redrawn as stylize does it."""

    def __post_init__(self) -> None:
        """Refuse values that nothing could be measured with, naming the flag."""
        super().__post_init__()
        if not 2 <= self.samples <= 1_000_000:
            raise ImpastoError(f"--samples {self.samples}: use a whole number from 2.")
        if not 0 <= self.strength <= 1:
            raise ImpastoError(f"--strength {self.strength}: use a number from 0 to 1.")


@dataclass(frozen=True)
class PictureConfig(Sampling):
    """What every command that makes pictures can be told."""

    tile: Repeat = Repeat.NONE
    """Along which axes copies of a picture meet without a seam: for textures, and panoramas (x)."""
    palette: str | None = None
    """No other colours than these: a number, ff0000,000000 or a file (.png, .gpl, .hex)."""
    pixel_art: int | None = None
    """So many true pixels along the longer side, with hard alpha."""
    opaque: bool = False
    """White instead of transparent."""
    text: str | None = None
    """What to show, in English, where the model has learned captions."""
    negative_text: str | None = None
    """What not to show, beside --text."""

    def __post_init__(self) -> None:
        """Refuse settings that no picture could be made with, naming the flag."""
        super().__post_init__()
        if self.pixel_art is not None and not 1 <= self.pixel_art <= MAX_SIDE:
            raise ImpastoError(f"--pixel-art {self.pixel_art}: use a whole number from 1 to {MAX_SIDE}.")
        if self.negative_text is not None and self.text is None:
            raise ImpastoError("--negative-text needs --text: what to show instead.")


@dataclass(frozen=True)
class GenerateConfig(PictureConfig):
    """How new pictures are made."""

    style: tuple[str, ...] = ()
    """Collections of the model, pictures or saved styles, each with an optional ":weight"; none for any style."""
    height: int | None = None
    """In pixels, a multiple of 32, the model's own where not given: the flow goes through windows where it is more."""
    width: int | None = None
    """The same for the width."""

    def __post_init__(self) -> None:
        """Refuse sizes that cannot be painted, naming the flag."""
        super().__post_init__()
        for name in ("height", "width"):
            length = getattr(self, name)
            if length is not None and (length % 32 or not 32 <= length <= MAX_SIDE):
                raise ImpastoError(f"--{name} {length}: use a multiple of 32 from 32 to {MAX_SIDE}.")


@dataclass(frozen=True)
class ToldConfig(PictureConfig):
    """The same where most of a picture is told, so that little is left to be decided."""

    internal_guidance: float = REDRAWING.internal_guidance
    """How far beyond the model's own draft of a picture to go: 1 is as learned, higher is clearer, until it tears."""


@dataclass(frozen=True)
class StylizeConfig(ToldConfig):
    """How pictures are redrawn in a style."""

    guidance: float = REDRAWING.guidance
    """How strongly style and text are followed; 1 is as learned, and takes two thirds of the time."""
    style: tuple[str, ...] = ()
    """Collections of the model, pictures or saved styles, each with an optional ":weight"."""
    strength: float = 0.5
    """How much of the style and how little of the picture's own word, 0 to 1."""
    preserve_color: bool = False
    """Keep the colours of the picture: only its lightness is redrawn."""
    flow: Flow = Flow.AUTO
    """Whether the prior flow adds what is not told: auto leaves it out where the decoder has learned to redraw alone,
    which is many times as fast, and nothing is said with --text."""
    passes: int = 1
    """How many times a picture is painted, each time moved a little, and averaged: 4 (or 2, 8) take the weave off flat
    grounds, with some of the grain, and as many times as long."""
    steady: bool = True
    """Hold clips still: what is told of places that do not move is averaged over time, and what was painted is carried
    along what moves."""
    most: int = MAX_SIDE
    """Pixels along the longer side: larger pictures are scaled down."""

    def __post_init__(self) -> None:
        """Refuse values that nothing could be redrawn with, naming the flag."""
        super().__post_init__()
        if not 0 <= self.strength <= 1:
            raise ImpastoError(f"--strength {self.strength}: use a number from 0 to 1.")
        if not self.style:
            raise ImpastoError("--style is missing: name collections of the model, pictures or saved styles.")
        if self.passes not in (1, 2, 4, 8):
            raise ImpastoError(f"--passes {self.passes}: use 1, 2, 4 or 8.")
        if self.flow is Flow.OFF and self.text is not None:
            raise ImpastoError("--flow off: only the flow hears --text; use one of them.")
        check_most(self.most)

    def follows_flow(self, model: ModelConfig) -> bool:
        """Whether ``model`` redraws along its flow."""
        if self.flow is Flow.AUTO:
            return self.text is not None or not model.decoder_only_stylization
        return self.flow is Flow.ON


@dataclass(frozen=True)
class FuseConfig(PictureConfig):
    """How one picture is made of several: the colours of some, the structure of others, the texture of a third."""

    pixel: tuple[str, ...] = ()
    """Pictures that give the colours, each with an optional ":weight"."""
    orientation: tuple[str, ...] = ()
    """Pictures that give the structure, each with an optional ":weight"."""
    texture: tuple[str, ...] = ()
    """Pictures that give the texture, each with an optional ":weight"."""
    style: tuple[str, ...] = ()
    """Collections of the model, pictures or saved styles that all of it shall look like, with optional weights."""
    harmony: float = 0.2
    """Freedom of the model against trust in the sources, 0 to 1."""
    level_weights: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)
    """How much is heard on each level: style, stride 32, stride 16, stride 8; 0 leaves a level to the model."""
    most: int = MAX_SIDE
    """Pixels along the longer side: larger pictures are scaled down."""

    def __post_init__(self) -> None:
        """Refuse values that nothing could be fused with, naming the flag."""
        super().__post_init__()
        if not (self.pixel or self.orientation or self.texture):
            raise ImpastoError("nothing to fuse: give pictures with --pixel, --orientation or --texture.")
        if not 0 <= self.harmony <= 1:
            raise ImpastoError(f"--harmony {self.harmony}: use a number from 0 to 1.")
        for weight in self.level_weights:
            if not (math.isfinite(weight) and weight >= 0):
                raise ImpastoError(f"--level-weights {weight}: use numbers from 0.")
        check_most(self.most)


def check_most(most: int) -> None:
    """Refuse a size to scale down to that no picture could have."""
    if not 32 <= most <= MAX_SIDE:
        raise ImpastoError(f"--most {most}: use a number from 32 to {MAX_SIDE}.")


def settings_of(cls: type[T], command: Any) -> T:
    """The plain ``cls`` that a command was given, which inherits its fields."""
    return cls(**{field.name: getattr(command, field.name) for field in dataclasses.fields(cls)})  # pyrefly: ignore


def sized_model(
    size: Size,
    *,
    prior_size: Size | None = None,
    channels: int,
    resolution: int,
    collections: tuple[str, ...],
    text_dim: int = 0,
    signed_edges: bool = False,
    decoder_only_stylization: bool = False,
) -> ModelConfig:
    """The shape of a model of ``size``; ``prior_size`` may differ."""
    widths: dict[Size, dict[str, Any]] = {
        Size.TINY: dict(
            style_dim=32,
            map_channels=(16, 16, 8),
            encoder_widths=(16, 32, 64, 64, 64),
            pyramid_width=48,
            decoder_widths=(96, 96, 64, 48, 24),
            decoder_depths=(1, 1, 1, 1, 1),
        ),
        Size.SMALL: {},
        Size.BASE: dict(
            style_dim=96,
            map_channels=(48, 32, 16),
            encoder_widths=(48, 96, 192, 256, 256),
            pyramid_width=160,
            decoder_widths=(384, 384, 256, 160, 80),
            decoder_depths=(2, 3, 3, 3, 2),
        ),
    }
    priors: dict[Size, dict[str, Any]] = {
        Size.TINY: dict(prior_width=192, prior_depth=4),
        Size.SMALL: {},
        Size.BASE: dict(prior_width=640, prior_depth=12),
    }
    return ModelConfig(
        channels=channels,
        resolution=resolution,
        collections=collections,
        text_dim=text_dim,
        signed_edges=signed_edges,
        decoder_only_stylization=decoder_only_stylization,
        **widths[size],
        **priors[prior_size or size],
    )


def to_json(config: Any) -> str:
    """A config dataclass, or a dictionary of its values, as indented JSON."""
    values = config if isinstance(config, dict) else dataclasses.asdict(config)
    return json.dumps(values, indent=2, default=str, ensure_ascii=False)


def from_json(cls: type[T], text: str, source: str) -> T:
    """Read a config dataclass from JSON; ``source`` names the file in error messages.

    Unknown keys, missing keys and values of the wrong kind are errors: a typo never becomes a default.
    """
    try:
        values = json.loads(text)
    except ValueError as error:
        raise ImpastoError(f"{source} is not JSON: {error}") from error
    return build(cls, values, source)


def build(cls: type[T], values: Any, source: str) -> T:
    """A config dataclass from what JSON holds; see `from_json`."""
    if not isinstance(values, dict):
        raise ImpastoError(f"{source}: expected an object for {cls.__name__}, found {values!r}.")
    hints = typing.get_type_hints(cls)
    if unknown := sorted(set(values) - set(hints)):
        raise ImpastoError(f"{source}: unknown keys {unknown}; it may come from a newer Impasto.")
    try:
        return cls(**{name: _convert(hints[name], value, f"{source}: {name}") for name, value in values.items()})
    except TypeError as error:
        raise ImpastoError(f"{source}: {error}") from error


def _convert(hint: Any, value: Any, source: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:
        if value is None:
            return None
        return _convert(next(a for a in arguments if a is not types.NoneType), value, source)
    if origin is tuple and isinstance(value, list):
        inner = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else list(arguments)
        if len(inner) == len(value):
            return tuple(_convert(h, v, source) for h, v in zip(inner, value, strict=True))
    elif dataclasses.is_dataclass(hint):
        return value if isinstance(value, hint) else build(hint, value, source)  # pyrefly: ignore
    elif hint == dict[str, str] and isinstance(value, dict) and all(isinstance(v, str) for v in value.values()):
        return value
    elif hint is Path and isinstance(value, str):
        return Path(value)
    elif isinstance(hint, type) and issubclass(hint, StrEnum) and value in list(hint):
        return hint(value)
    elif hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    elif hint in (bool, int, str) and type(value) is hint:
        return value
    raise ImpastoError(f"{source}: {value!r} is not a {getattr(hint, '__name__', hint)}.")
