"""Every setting of Impasto, as frozen dataclasses. Flags, REST bodies and the files of a run derive from them."""

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
from impasto.settings import Usual, check, choices_of, flag_of, leaves
from impasto.settings import flat as flat

T = TypeVar("T")

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in luma (ITU-R BT.601)."""
DTYPES = ("float32", "bfloat16")
"""Floating-point types of networks."""
MAX_SIDE = 4096
"""Maximum side of an output image, in pixels."""

Seed = Annotated[int, Interval(ge=0, le=2**63 - 1)]
Share = Annotated[float, Interval(ge=0, le=1), Usual(1.0, 0.05)]
Weight = Annotated[float, Ge(0)]
Side = Annotated[int, Interval(ge=32, le=MAX_SIDE), MultipleOf(32)]
Resolution = Annotated[int, Interval(ge=32, le=512), MultipleOf(32)]
Minutes = Annotated[float, Interval(ge=0.001, le=60 * 24 * 30)]


class Size(StrEnum):
    """Size of a model. It determines every width and depth. AUTO is replaced when training starts."""

    AUTO = "auto"
    TINY = "tiny"
    SMALL = "small"
    BASE = "base"


class Fit(StrEnum):
    """How images are made square. KEEP pads too, and never enlarges, so that pixel art keeps its pixels."""

    AUTO = "auto"
    PAD = "pad"
    CROP = "crop"
    KEEP = "keep"


class Augment(StrEnum):
    """How images are varied at random in training."""

    FLIP = "flip"
    SHIFT = "shift"
    HUE = "hue"


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
    """Whether stylization samples from the prior flow, or decodes the modes of the posterior."""

    AUTO = "auto"
    ON = "on"
    OFF = "off"


class ClipFormat(StrEnum):
    """Format of written clips: WebM (VP9) and MP4 (AV1) with sound, animated WebP with alpha and without sound."""

    WEBM = "webm"
    MP4 = "mp4"
    WEBP = "webp"


class Against(StrEnum):
    """The real images that samples are compared with."""

    HELD_OUT = "held-out"
    ALL = "all"


@dataclass(frozen=True)
class ModelConfig:
    """The shape of a model, stored in the header of its file.

    Latent levels are listed coarse to fine: the style vector, then the maps at strides 32, 16 and 8.
    """

    channels: int = 4
    """Image channels: 3 (RGB) or 4 (RGB over white, and alpha)."""
    resolution: int = 64
    """Side of the training images in pixels, a multiple of 32."""
    collections: tuple[str, ...] = ()
    """Names of the collections (styles) of the training images."""
    style_dim: int = 64
    """Size of the style vector."""
    map_channels: tuple[int, int, int] = (32, 16, 8)
    """Latent channels of the maps at strides 32, 16 and 8."""
    encoder_widths: tuple[int, int, int, int, int] = (32, 64, 128, 160, 160)
    """Channels of an encoder's three 5x5 stages and of its residual stages at strides 16 and 32."""
    pyramid_width: int = 96
    """Channels of an encoder's feature pyramid."""
    signed_edges: bool = False
    """Whether the orientation view includes which side of an edge is lighter."""
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
    """Features of a token of the prior."""
    prior_depth: int = 8
    """Transformer blocks of the prior."""
    prior_head_dim: int = 64
    """Features of one attention head."""
    prior_patches: tuple[int, int, int] = (1, 2, 2)
    """Side of the patch of latents that forms one token of the prior, at strides 32, 16 and 8."""


@dataclass(frozen=True)
class ObjectiveConfig:
    """Weights of the loss terms, and probabilities of their random inputs. A weight of 0 removes a term."""

    kl_weight: float = 4e-6
    """Weight of the KL divergence in nats, relative to a mean absolute error in [0, 1]."""
    feature_weight: float = 0.1
    """Weight of the distance between frozen features."""
    feature_start: float = 0.5
    """Share of stage 1 after which the feature loss starts."""
    swap_weight: float = 0.0
    """Weight of swaps: outputs with the structure of one image, and the colours and texture of others."""
    destylized_weight: float = 0.0
    """Weight of destylised pairs: an image, reconstructed from its smoothed, recoloured copy in its own style."""
    stylization_start: float = 0.5
    """Share of stage 1 after which swaps and destylised pairs start."""
    freeze_encoders_after: float = 0.7
    """Share of stage 1 after which the encoders are frozen and only the decoder trains, in faster steps."""
    kl_warmup: Suppress[float] = 0.1
    """Share of stage 1 in which the weight of the KL divergence grows from a tenth to its full value."""
    linear_skip_weight: Suppress[float] = 0.3
    """Weight of the reconstruction loss of the decoder's linear skips, at a quarter and half of the resolution."""
    style_weight: Suppress[float] = 0.02
    """Weight of the auxiliary predictors of feature statistics and collection from the style vector."""
    swap_texture_weight: Suppress[float] = 2.0
    """Weight of the texture within a swap."""
    swap_colour_weight: Suppress[float] = 4.0
    """Weight of the colours within a swap."""
    swap_structure_weight: Suppress[float] = 0.3
    """Weight of the structure within a swap."""
    destylized_texture_weight: Suppress[float] = 0.3
    """Weight of the texture within a destylised pair, relative to the pixels."""
    intermediate_weight: Suppress[float] = 0.5
    """Weight of the prior's intermediate head, relative to the last one."""
    level_dropout: Suppress[float] = 0.25
    """Probability that an image is decoded from a coarse prefix of its levels (nested dropout, Rippel 2014)."""
    single_expert: Suppress[float] = 0.15
    """Probability that an image is encoded by only one expert."""
    random_experts: Suppress[float] = 0.15
    """Probability that an image is encoded by a random subset of experts with random weights."""
    shared_style: Suppress[float] = 0.5
    """Probability that an image's style is pooled from other images of its collection (Bouchacourt 2018)."""

    def __post_init__(self) -> None:
        """Raise ImpastoError for a value of the wrong type, naming it."""
        check(self)


@dataclass(frozen=True)
class CouplingConfig:
    """Probabilities of the conditions of the prior flow, in stage 2."""

    no_style: float = 0.1
    """Probability of no style: the unconditional case of classifier-free guidance."""
    own_style: float = 0.1
    """Probability that the style is the image's own instead of its collection's."""
    style_per_expert: float = 0.2
    """Probability that each expert takes the style from another source: one image, several images, or none."""
    no_content: float = 0.5
    """Probability of no content: pure generation."""
    parallel_content: float = 0.5
    """Probability that the content is that of an image with the same key in another collection, if there is one."""
    no_text: float = 0.2
    """Probability that the caption is dropped although there is a style."""
    min_weight_log10: float = -2.5
    """Content weights are log-uniform between ten to this power and one."""

    def __post_init__(self) -> None:
        """Raise ImpastoError for a value of the wrong type, naming it."""
        check(self)


@dataclass(frozen=True)
class TrainConfig:
    """A training run, from a folder of images to a model."""

    data: Path
    """Folder or archive of images."""
    out: Path
    """Run folder. An existing run is resumed."""
    size: Size = Size.AUTO
    """Size of the model, which determines all widths and depths; auto chooses by images, budget and machine."""
    prior_size: Size | None = None
    """Size of the prior, if it differs. For stylization a small prior is enough, and many times as fast."""
    resolution: Resolution | None = None
    """Side of the images in pixels, a multiple of 32; by default their own, or as large as the budget allows."""
    minutes: Minutes | None = None
    """Budget of both stages together, in minutes; 30 without --images."""
    images: int | None = None
    """Budget of both stages together, in images seen: a reproducible length."""
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
    """A run, model file or built-in model of the same --size whose weights initialise a new model. For fewer than 1,000
    images and --size auto it is the built-in model icons; none begins with nothing."""
    signed_edges: bool = False
    """Let the orientation encoder see which side of an edge is lighter; for photos."""
    stage1_share: float = 0.35
    """Share of the budget for the autoencoder; the prior gets the rest. 1 keeps the prior of --init."""
    fit: Fit = Fit.AUTO
    """How images become square: auto pads those with transparency and crops the others."""
    zoom: float = 1.0
    """Size of cropped images relative to --resolution; random squares are cut from them."""
    augment: tuple[Augment, ...] = ()
    """Random variants of the images: flip (mirrored), shift (by a few pixels), hue (other colours). They help if there
    are few images, and appear in what is generated."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    dtype: str = "auto"
    """Floating-point type of the networks: auto (the faster one on this machine), bfloat16 or float32."""
    processes: int | None = None
    """Processes that share each batch; defaults to one per core on a CPU, and one on a GPU."""
    preview_minutes: float = 5.0
    """Minutes between two preview sheets."""
    save_minutes: float = 2.0
    """Minutes between two saves of the complete state."""
    text: bool = False
    """Learn captions, which are the texts in metadata.jsonl (needs the extra text)."""
    tensorboard: bool = False
    """Write the log for TensorBoard too (needs the extra tensorboard)."""
    objective: ObjectiveConfig = dataclasses.field(default_factory=ObjectiveConfig)
    coupling: Suppress[CouplingConfig] = dataclasses.field(default_factory=CouplingConfig)

    def __post_init__(self) -> None:
        """Raise ImpastoError for values outside their ranges and flags that exclude each other, naming the flag."""
        check(self)
        if self.minutes is not None and self.images is not None:
            raise ImpastoError("--minutes and --images both set the budget: use one of them.")
        if self.finetune is not None and self.init is not None:
            raise ImpastoError("--finetune adapts a model, --init only copies its weights: use one of them.")
        if self.images is not None and self.images < 1:
            raise ImpastoError(f"--images {self.images}: use a number above 0.")
        for name in ("batch_size", "prior_batch_size"):
            if not 1 <= getattr(self, name) <= 4096:
                raise ImpastoError(f"{flag_of(name)}: use a whole number from 1 to 4096.")
        if self.processes is not None and not 1 <= self.processes <= 1024:
            raise ImpastoError(f"--processes {self.processes}: use a whole number from 1 to 1024.")
        if not 1 <= self.zoom <= 8:
            raise ImpastoError(f"--zoom {self.zoom}: use a number from 1 to 8.")
        if not 0 < self.stage1_share <= 1:
            raise ImpastoError(f"--stage1-share {self.stage1_share}: use a number above 0, at most 1.")
        if self.freeze_prior and (self.init is None or self.objective.freeze_encoders_after > 0):
            raise ImpastoError(
                "--stage1-share 1 keeps the prior: name its model with --init, and freeze the encoders with "
                "--objective.freeze-encoders-after 0."
            )

    @property
    def freeze_prior(self) -> bool:
        """Whether stage 2 is omitted: the prior is that of the initial model."""
        return self.stage1_share == 1


@dataclass(frozen=True)
class Sampling:
    """Settings of the sampler."""

    seed: Seed = 0
    """Determines all noise: the same seed gives the same images."""
    steps: Annotated[int, Interval(ge=1, le=1000), Usual(100, 1)] = 8
    """Number of sampler steps: more steps are slower and give finer images."""
    temperature: Annotated[float, Ge(0), Usual(1.5, 0.05)] = 1.0
    """Scale of the noise: values below 1 reduce variety, values above 1 increase it."""
    guidance: Annotated[float, Ge(0), Usual(8.0, 0.1)] = 1.5
    """Scale of classifier-free guidance: how closely style and text are followed. 1 turns it off, and takes 2/3 of
    the time."""
    internal_guidance: Annotated[float, Ge(0), Usual(8.0, 0.1)] = 4.0
    """Scale of internal guidance: extrapolation from the intermediate head. 1 turns it off, higher values give clearer
    images, very high values distort them."""

    def __post_init__(self) -> None:
        """Raise ImpastoError for a value outside its range, naming the flag."""
        check(self)


SAMPLING = Sampling()
STYLIZE_SAMPLING = Sampling(guidance=1.0, internal_guidance=1.5)
"""Defaults of stylization: the content determines most of the image, so weaker guidance is enough."""
FUSE_SAMPLING = Sampling(internal_guidance=1.5)
"""Defaults of fusions and interpolations of images: stronger internal guidance leads away from the subject."""
VARY_SAMPLING = Sampling(guidance=1.0, internal_guidance=1.5)
"""Defaults of variations of images."""


@dataclass(frozen=True)
class Prompt:
    """The text condition; for models that were trained with captions."""

    text: str | None = None
    """Description of the image, in English; for models that were trained with captions."""
    negative_text: str | None = None
    """Description of what guidance leads away from; needs --text."""

    def __post_init__(self) -> None:
        """Raise ImpastoError for a negative text without a text."""
        if self.negative_text is not None and self.text is None:
            raise ImpastoError("--negative-text needs --text: use both, or neither.")


PROMPT = Prompt()


@dataclass(frozen=True)
class Output:
    """Settings of the output file."""

    tile: Repeat = Repeat.NONE
    """Axes along which copies of the image meet without a seam: xy for textures, x for panoramas."""
    palette: str | None = None
    """Restrict the colours: a number, a list such as ff0000,000000, or a file (.png, .gpl, .hex)."""
    pixel_art: Annotated[int, Interval(ge=1, le=MAX_SIDE)] | None = None
    """Pixels along the longer side of pixel art, with hard alpha."""
    opaque: bool = False
    """Replace transparency by white."""

    def __post_init__(self) -> None:
        """Raise ImpastoError for a value outside its range, naming the flag. A number of colours may be an int."""
        if type(self.palette) is int:
            object.__setattr__(self, "palette", str(self.palette))
        check(self)


OUTPUT = Output()


@dataclass(frozen=True)
class EvaluateConfig:
    """Settings of an evaluation."""

    sampling: Sampling = SAMPLING
    against: Against = Against.HELD_OUT
    """Compare samples with held-out images, or with all (one half of them against the other half)."""
    samples: Annotated[int, Interval(ge=2, le=1_000_000)] = 2000
    """Number of samples."""
    strength: Share = 0.5
    """Strength of stylization to other styles, 0 to 1; the sampler settings of these images are those of stylize."""

    def __post_init__(self) -> None:
        """Raise ImpastoError for a value outside its range, naming the flag."""
        check(self)


@dataclass(frozen=True)
class GenerateConfig:
    """Settings of generation."""

    sampling: Sampling = SAMPLING
    prompt: Prompt = PROMPT
    output: Output = OUTPUT
    style: tuple[str, ...] = ()
    """Collections of the model, images or saved styles, each with an optional ":weight"; by default any style."""
    height: Side | None = None
    """Height in pixels, a multiple of 32, at least the model's resolution; larger images are sampled in windows."""
    width: Side | None = None
    """Width in pixels, a multiple of 32, at least the model's resolution."""

    def __post_init__(self) -> None:
        """Raise ImpastoError for a value outside its range, naming the flag."""
        check(self)


@dataclass(frozen=True)
class StylizeConfig:
    """Settings of stylization."""

    sampling: Sampling = STYLIZE_SAMPLING
    prompt: Prompt = PROMPT
    output: Output = OUTPUT
    style: tuple[str, ...] = ()
    """Collections of the model, images or saved styles, each with an optional ":weight"."""
    strength: Share = 0.5
    """How much of the image is replaced by the style: 0 keeps all of it, 1 keeps only its structure."""
    preserve_color: bool = False
    """Keep the colours of the image, and stylize only its lightness."""
    flow: Flow = Flow.AUTO
    """Whether to sample from the prior flow. auto: only with --text, and for models without decoder-only stylization.
    Stylization without the flow is many times as fast."""
    num_shifts: Literal[1, 2, 4, 8] = 1
    """Number of shifted copies of the image whose outputs are averaged. 2, 4 and 8 remove grid artefacts in flat areas
    and some texture; the time is proportional."""
    temporal_smoothing: bool = True
    """Reduce flicker in clips: average over time, along the optical flow."""
    max_side: Annotated[int, Interval(ge=32, le=MAX_SIDE)] = MAX_SIDE
    """Maximum longer side in pixels; larger images are scaled down."""

    def __post_init__(self) -> None:
        """Raise ImpastoError for a value outside its range, and for text without the flow, naming the flag."""
        check(self)
        if self.flow is Flow.OFF and self.prompt.text is not None:
            raise ImpastoError("--flow off: only the flow uses --text; use one of them.")

    def follows_flow(self, model: ModelConfig) -> bool:
        """Whether stylization with ``model`` samples from its flow."""
        if self.flow is Flow.AUTO:
            return self.prompt.text is not None or not model.decoder_only_stylization
        return self.flow is Flow.ON

    def check_style(self) -> None:
        """Raise ImpastoError if there is no style."""
        if not self.style:
            raise ImpastoError("--style is missing: name collections of the model, images or saved styles.")

    def check_model(self, model: ModelConfig) -> None:
        """Raise ImpastoError for settings that have no effect with ``model``, naming the flag and the alternative."""
        if self.follows_flow(model):
            if self.num_shifts > 1:
                raise ImpastoError(
                    f"--num-shifts {self.num_shifts}: along the flow each shift would give another image; use it with "
                    "--flow off, or with a model that stylizes without the flow, such as painter."
                )
            return
        reason = "--flow off stylizes" if self.flow is Flow.OFF else "this model stylizes"
        for leaf in leaves(STYLIZE_SAMPLING):
            if leaf.of(self.sampling) != leaf.default:
                raise ImpastoError(
                    f"{reason} without the flow, so {leaf.flag} does nothing: omit it, or use --flow on."
                )

    def check_clip(self, name: str, is_clip: bool, format: ClipFormat | None = None) -> None:
        """Raise ImpastoError for settings of clips, including a ``format``, if the file ``name`` is not a clip."""
        for flag, is_given in (
            ("--no-temporal-smoothing", not self.temporal_smoothing),
            (f"--clip {format}", format is not None),
        ):
            if is_given and not is_clip:
                raise ImpastoError(f"{flag} does nothing: {name} is not a clip; omit it.")

    def without_unused(self, model: ModelConfig) -> "StylizeConfig":
        """The same settings without those that `check_model` and `check_clip` refuse: version 0.1 ignored them."""
        sampling = self.sampling if self.follows_flow(model) else STYLIZE_SAMPLING
        return dataclasses.replace(self, sampling=sampling, temporal_smoothing=True)


@dataclass(frozen=True)
class FuseConfig:
    """Settings of fusion: the colours of some images, the structure of others, the texture of a third."""

    sampling: Sampling = FUSE_SAMPLING
    prompt: Prompt = PROMPT
    output: Output = OUTPUT
    pixel: tuple[str, ...] = ()
    """Images for the colours, each with an optional ":weight"."""
    orientation: tuple[str, ...] = ()
    """Images for the structure, each with an optional ":weight"."""
    texture: tuple[str, ...] = ()
    """Images for the texture, each with an optional ":weight"."""
    style: tuple[str, ...] = ()
    """Collections of the model, images or saved styles for the whole image, each with an optional ":weight"."""
    conditioning_scale: Share = 0.8
    """How closely the sources are followed: 1 follows them, 0 ignores them."""
    level_weights: tuple[Weight, Weight, Weight, Weight] = (1.0, 1.0, 1.0, 1.0)
    """Weights of the sources at the levels style, stride 32, stride 16, stride 8; at 0 a level is sampled from the
    prior."""
    max_side: Annotated[int, Interval(ge=32, le=MAX_SIDE)] = MAX_SIDE
    """Maximum longer side in pixels; larger images are scaled down."""

    def __post_init__(self) -> None:
        """Raise ImpastoError for a value outside its range, naming the flag."""
        check(self)

    def check_sources(self) -> None:
        """Raise ImpastoError if there are no sources."""
        if not (self.pixel or self.orientation or self.texture):
            raise ImpastoError("there is nothing to fuse: name images with --pixel, --orientation or --texture.")


EVALUATE_CONFIG = EvaluateConfig()
GENERATE_CONFIG = GenerateConfig()
STYLIZE_CONFIG = StylizeConfig()
FUSE_CONFIG = FuseConfig()
VARY_CONFIG = FuseConfig(sampling=VARY_SAMPLING, conditioning_scale=0.15, level_weights=(0.0, 1.0, 1.0, 1.0))
"""Defaults of variations: the style of one image is sampled from the prior, and its maps are followed loosely."""
INTERPOLATE_CONFIG = FuseConfig(conditioning_scale=0.7)
"""Defaults of interpolations between two images."""
FILE_SETTINGS = ("style", "pixel", "orientation", "texture")
"""Settings that can name files, or hold images in memory; see `impasto.references`."""

ImageConfig = GenerateConfig | StylizeConfig | FuseConfig
"""The settings of a command that writes images with recipes."""


def settings_of(cls: type[T], command: Any) -> T:
    """The settings ``cls`` of a command that inherits their fields."""
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
    """The shape of a model of ``size``, which is not AUTO; ``prior_size`` defaults to it."""
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
    """Read a config dataclass from JSON; ``source`` names the file in errors.

    Raises ImpastoError for unknown keys, missing keys and values of the wrong type: a typo never becomes a default.
    """
    try:
        values = json.loads(text)
    except ValueError as error:
        raise ImpastoError(f"{source} is not JSON: {error}") from error
    return build(cls, values, source)


def build(cls: type[T], values: Any, source: str) -> T:
    """Build a config dataclass from the values of a JSON object; see `from_json`."""
    if not isinstance(values, dict):
        raise ImpastoError(f"{source}: expected an object for {cls.__name__}, not {values!r}.")
    hints = typing.get_type_hints(cls)
    if unknown := sorted(set(values) - set(hints)):
        raise ImpastoError(f"{source}: unknown keys {unknown}; a newer version of Impasto may have written it.")
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
