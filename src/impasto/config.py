"""Every setting of Impasto, as frozen dataclasses: the only source that flags, run folders and docs derive from."""

import dataclasses
import json
import types
import typing
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from annotated_types import Ge, Interval, MultipleOf
from tyro.conf import Suppress

from impasto.errors import ImpastoError
from impasto.settings import Usual, check, choices_of, leaves
from impasto.settings import flat as flat

T = TypeVar("T")

MAX_SIDE = 4096
"""Longest side of an image that is made, in pixels."""

Seed = Annotated[int, Interval(ge=0, le=2**63 - 1)]
Share = Annotated[float, Interval(ge=0, le=1), Usual(1.0, 0.05)]
Weight = Annotated[float, Ge(0)]
Side = Annotated[int, Interval(ge=32, le=MAX_SIDE), MultipleOf(32)]
Resolution = Annotated[int, Interval(ge=32, le=512), MultipleOf(32)]
Minutes = Annotated[float, Interval(ge=0.001, le=60 * 24 * 30)]


class Size(StrEnum):
    """How large a model to train: the one dial, from which every width and depth follows."""

    TINY = "tiny"
    SMALL = "small"
    BASE = "base"


class Fit(StrEnum):
    """How an image that is not square becomes square."""

    AUTO = "auto"
    PAD = "pad"
    CROP = "crop"


class Repeat(StrEnum):
    """Along which axes copies of an image meet without a seam."""

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
    """Whether a stylized image goes along the prior flow, or from what is told of it straight to the decoder."""

    AUTO = "auto"
    ON = "on"
    OFF = "off"


class ClipFormat(StrEnum):
    """How clips are written: VP9 or AV1 with sound, or an animation with alpha and without sound."""

    WEBM = "webm"
    MP4 = "mp4"
    WEBP = "webp"


class Against(StrEnum):
    """Which real images samples are compared with."""

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
    attenuation_log10: tuple[float, float, float] = (0.3, 1.8, 3.6)
    """Powers of ten by which stylization at strength 1 attenuates the pixel and texture experts, at strides 32, 16,
    8."""
    own_style_power: int = 3
    """Stylization at strength s leaves (1 - s) to this power of an image's own style."""
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
    style_per_expert: float = 0.2
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
    resolution: Resolution = 64
    """Side of the images in pixels, a multiple of 32."""
    minutes: Minutes | None = None
    """Budget of both stages together; 30 if neither this nor --images is given."""
    images: int | None = None
    """Budget in images seen by both stages together: a reproducible length."""
    seed: Seed = 0
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
    """A run, model file or built-in model of the same --size whose weights initialise a new model."""
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
        check(self)
        if self.minutes is not None and self.images is not None:
            raise ImpastoError("--minutes and --images are two ways to give the budget: use one of them.")
        if self.finetune is not None and self.init is not None:
            raise ImpastoError("--finetune adapts a model, --init only takes its weights: use one of them.")
        if self.images is not None and self.images < 1:
            raise ImpastoError(f"--images {self.images}: use a number above 0.")
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
    """How a sample of the prior flow is drawn."""

    seed: Seed = 0
    """The same seed gives the same images."""
    steps: Annotated[int, Interval(ge=1, le=1000), Usual(100, 1)] = 8
    """Steps of the sampler: more are slower and finer."""
    temperature: Annotated[float, Ge(0), Usual(1.5, 0.05)] = 1.0
    """Scale of the noise: below 1 tamer, above 1 wilder."""
    guidance: Annotated[float, Ge(0), Usual(8.0, 0.1)] = 1.5
    """How strongly style and text are followed: 1 is as learned, and takes two thirds of the time."""
    internal_guidance: Annotated[float, Ge(0), Usual(8.0, 0.1)] = 4.0
    """Extrapolation from the model's intermediate head: 1 is as learned, higher is clearer; too high tears it."""

    def __post_init__(self) -> None:
        """Refuse values outside their ranges, naming the flag."""
        check(self)


SAMPLING = Sampling()
STYLIZE_SAMPLING = Sampling(guidance=1.0, internal_guidance=1.5)
"""The image gives most of what stylization needs, so little is left to be sampled."""
VARY_SAMPLING = Sampling(internal_guidance=1.5)
"""The same for variations and interpolations of images."""


@dataclass(frozen=True)
class Prompt:
    """What an image shows; for models that have learned captions."""

    text: str | None = None
    """What to show, in English; for models that have learned captions."""
    negative_text: str | None = None
    """What not to show, in addition to --text."""

    def __post_init__(self) -> None:
        """Refuse a negative text alone."""
        if self.negative_text is not None and self.text is None:
            raise ImpastoError("--negative-text needs --text: what to show instead.")


PROMPT = Prompt()


@dataclass(frozen=True)
class Output:
    """How images are finished."""

    tile: Repeat = Repeat.NONE
    """Axes along which copies of an image meet without a seam: for textures, and panoramas (x)."""
    palette: str | None = None
    """Use these colours only: a number, ff0000,000000 or a file (.png, .gpl, .hex)."""
    pixel_art: Annotated[int, Interval(ge=1, le=MAX_SIDE)] | None = None
    """True pixels along the longer side, with hard alpha."""
    opaque: bool = False
    """White instead of transparent."""

    def __post_init__(self) -> None:
        """Refuse values outside their ranges, naming the flag."""
        check(self)


OUTPUT = Output()


@dataclass(frozen=True)
class EvaluateConfig:
    """One measurement of a model."""

    sampling: Sampling = SAMPLING
    against: Against = Against.HELD_OUT
    """Compare samples with held-out images, or with all (one half of them against the other half)."""
    samples: Annotated[int, Interval(ge=2, le=1_000_000)] = 2000
    """Number of samples."""
    strength: Share = 0.5
    """Strength of the style for swapped styles, 0 to 1; the sampling of these is that of stylize."""

    def __post_init__(self) -> None:
        """Refuse values outside their ranges, naming the flag."""
        check(self)


@dataclass(frozen=True)
class GenerateConfig:
    """How new images are made."""

    sampling: Sampling = SAMPLING
    prompt: Prompt = PROMPT
    output: Output = OUTPUT
    style: tuple[str, ...] = ()
    """Collections of the model, images or saved styles, each with an optional ":weight"; none for any style."""
    height: Side | None = None
    """In pixels, a multiple of 32: above the model's own, the flow goes through windows."""
    width: Side | None = None
    """The same for the width."""

    def __post_init__(self) -> None:
        """Refuse values outside their ranges, naming the flag."""
        check(self)


@dataclass(frozen=True)
class StylizeConfig:
    """How images are stylized in a style."""

    sampling: Sampling = STYLIZE_SAMPLING
    prompt: Prompt = PROMPT
    output: Output = OUTPUT
    style: tuple[str, ...] = ()
    """Collections of the model, images or saved styles, each with an optional ":weight"."""
    strength: Share = 0.5
    """0 keeps the image's own style and all its detail; 1 takes the style and keeps only the structure."""
    preserve_color: bool = False
    """Keep the colours of the image: only its lightness is stylized."""
    flow: Flow = Flow.AUTO
    """Whether to sample from the prior flow. auto: only for --text, and for models whose decoder cannot stylize alone;
    without the flow, stylization is many times as fast."""
    num_shifts: Literal[1, 2, 4, 8] = 1
    """Average the results of shifted copies of the image: 4 (or 2, 8) remove the grid artefacts of flat areas and some
    grain, and take as many times as long."""
    temporal_smoothing: bool = True
    """Keep clips steady: average what does not move over time, and carry the output along what moves."""
    max_side: Annotated[int, Interval(ge=32, le=MAX_SIDE)] = MAX_SIDE
    """Pixels along the longer side: larger images are scaled down."""

    def __post_init__(self) -> None:
        """Refuse values outside their ranges, and text without the flow, naming the flag."""
        check(self)
        if self.flow is Flow.OFF and self.prompt.text is not None:
            raise ImpastoError("--flow off: only the flow reads --text; use one of them.")

    def follows_flow(self, model: ModelConfig) -> bool:
        """Whether ``model`` stylizes along its flow."""
        if self.flow is Flow.AUTO:
            return self.prompt.text is not None or not model.decoder_only_stylization
        return self.flow is Flow.ON

    def check_style(self) -> None:
        """Raise ImpastoError if there is no style."""
        if not self.style:
            raise ImpastoError("--style is missing: name collections of the model, images or saved styles.")

    def check_model(self, model: ModelConfig) -> None:
        """Raise ImpastoError for settings that do nothing with ``model``, naming the flag and the way out."""
        if self.follows_flow(model):
            if self.num_shifts > 1:
                raise ImpastoError(
                    f"--num-shifts {self.num_shifts}: along the flow each shift would give another image; use it with "
                    "--flow off, or with a model that stylizes without the flow, like those built in."
                )
            return
        reason = "--flow off stylizes" if self.flow is Flow.OFF else "this model stylizes"
        for leaf in leaves(STYLIZE_SAMPLING):
            if leaf.of(self.sampling) != leaf.default:
                raise ImpastoError(
                    f"{reason} without the flow, so {leaf.flag} does nothing: leave it out, or use --flow on."
                )

    def check_clip(self, name: str, is_clip: bool, format: ClipFormat | None = None) -> None:
        """Raise ImpastoError for settings of clips, a ``format`` among them, if ``name`` is not a clip."""
        for flag, is_given in (
            ("--no-temporal-smoothing", not self.temporal_smoothing),
            (f"--clip {format}", format is not None),
        ):
            if is_given and not is_clip:
                raise ImpastoError(f"{flag} does nothing: {name} is not a clip; leave it out.")

    def without_idle(self, model: ModelConfig) -> "StylizeConfig":
        """The same for an image, without what `check_model` and `check_clip` refuse: versions before 0.2 took it."""
        sampling = self.sampling if self.follows_flow(model) else STYLIZE_SAMPLING
        return dataclasses.replace(self, sampling=sampling, temporal_smoothing=True)


@dataclass(frozen=True)
class FuseConfig:
    """How one image is made from several: the colours of some, the structure of others, the texture of a third."""

    sampling: Sampling = SAMPLING
    prompt: Prompt = PROMPT
    output: Output = OUTPUT
    pixel: tuple[str, ...] = ()
    """Images that give the colours, each with an optional ":weight"."""
    orientation: tuple[str, ...] = ()
    """Images that give the structure, each with an optional ":weight"."""
    texture: tuple[str, ...] = ()
    """Images that give the texture, each with an optional ":weight"."""
    style: tuple[str, ...] = ()
    """Collections of the model, images or saved styles for the whole image, each with an optional ":weight"."""
    conditioning_scale: Share = 0.8
    """How closely the sources are followed: 1 follows them, 0 ignores them."""
    level_weights: tuple[Weight, Weight, Weight, Weight] = (1.0, 1.0, 1.0, 1.0)
    """Weights of the sources on the levels: style, stride 32, stride 16, stride 8; 0 leaves a level to the model."""
    max_side: Annotated[int, Interval(ge=32, le=MAX_SIDE)] = MAX_SIDE
    """Pixels along the longer side: larger images are scaled down."""

    def __post_init__(self) -> None:
        """Refuse values outside their ranges, naming the flag."""
        check(self)

    def check_sources(self) -> None:
        """Raise ImpastoError if there is nothing to fuse."""
        if not (self.pixel or self.orientation or self.texture):
            raise ImpastoError("nothing to fuse: give images with --pixel, --orientation or --texture.")


EVALUATE_CONFIG = EvaluateConfig()
GENERATE_CONFIG = GenerateConfig()
STYLIZE_CONFIG = StylizeConfig()
FUSE_CONFIG = FuseConfig()
VARY_CONFIG = FuseConfig(sampling=VARY_SAMPLING, conditioning_scale=0.7, level_weights=(1.0, 1.0, 1.0, 0.0))
"""Defaults of variations: the finest level of one image is sampled again."""
INTERPOLATE_CONFIG = FuseConfig(sampling=VARY_SAMPLING, conditioning_scale=0.7)
"""Defaults of interpolations between two images."""
FILE_SETTINGS = ("style", "pixel", "orientation", "texture")
"""Settings that name files."""

ImageConfig = GenerateConfig | StylizeConfig | FuseConfig
"""The settings of a command that makes images."""


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
    if origin in (types.UnionType, typing.Union):
        if value is None:
            return None
        if any(type(value) is argument and dataclasses.is_dataclass(argument) for argument in arguments):
            return value
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
    elif (hint in (bool, int, str) and type(value) is hint) or (type(value) is int and value in choices_of(hint)):
        return value
    raise ImpastoError(f"{source}: {value!r} is not a {getattr(hint, '__name__', hint)}.")
