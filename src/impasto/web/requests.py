"""Bodies of the REST interface, validated before a job is queued; their settings are those of `impasto.config`."""

import dataclasses
import re
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from impasto.config import (
    FILE_SETTINGS,
    FUSE_CONFIG,
    GENERATE_CONFIG,
    STYLIZE_CONFIG,
    ClipFormat,
    FuseConfig,
    GenerateConfig,
    ImageConfig,
    Minutes,
    Resolution,
    Seed,
    Size,
    StylizeConfig,
    TrainConfig,
)
from impasto.training.budget import DEFAULT_MINUTES

Id = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$", examples=["0123456789abcdef0123456789abcdef"])]
Name = Annotated[str, Field(pattern=r"^[\w][\w .-]{0,63}$", examples=["emoji"])]
Weight = Annotated[float, Field(ge=0, le=100)]
Count = Annotated[int, Field(ge=1, le=64, description="Number of images.")]
COLOURS = r"\d{1,3}|[0-9a-fA-F]{6}(,[0-9a-fA-F]{6}){1,255}"
"""Palettes that are not files."""
COUNT = 8
MAX_TEXT = 1000
"""Maximum length of a text, in characters. Recipes of the command line may hold longer ones."""
S = TypeVar("S", bound=ImageConfig)


class Body(BaseModel):
    """Rejects unknown fields and infinite numbers, in nested settings too."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


def _over(defaults: ImageConfig) -> BeforeValidator:
    """Complete the settings of a body from ``defaults``, also within a nested part."""
    values = dataclasses.asdict(defaults)
    return BeforeValidator(lambda body: _merged(values, body) if isinstance(body, dict) else body)


def _merged(defaults: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
    merged = dict(defaults)
    for name, value in body.items():
        part = defaults.get(name)
        merged[name] = _merged(part, value) if isinstance(part, dict) and isinstance(value, dict) else value
    return merged


def _check_settings(settings: S) -> S:
    """Refuse paths, as a request must not name files of the server, and texts that are too long."""
    for name in FILE_SETTINGS:
        if getattr(settings, name, ()):
            raise ValueError(f"{name} names files of the server: use the style and the sources of the request")
    palette = settings.output.palette
    if palette is not None and not re.fullmatch(COLOURS, palette):
        raise ValueError("output.palette: use a number of colours, or colours such as ff0000,000000")
    for name in ("text", "negative_text"):
        if len(getattr(settings.prompt, name) or "") > MAX_TEXT:
            raise ValueError(f"prompt.{name}: use at most {MAX_TEXT} characters")
    return settings


GenerateSettings = Annotated[GenerateConfig, _over(GENERATE_CONFIG), AfterValidator(_check_settings)]
StylizeSettings = Annotated[StylizeConfig, _over(STYLIZE_CONFIG), AfterValidator(_check_settings)]
FuseSettings = Annotated[FuseConfig, _over(FUSE_CONFIG), AfterValidator(_check_settings)]


class Reference(Body):
    """A source of style: a collection of the model, an uploaded image, or a saved style."""

    kind: Literal["collection", "upload", "style"]
    source: str = Field(max_length=200)
    weight: Weight = 1.0


class GenerateRequest(Body):
    """Generate images."""

    kind: Literal["generate"] = "generate"
    model: Name
    count: Count = COUNT
    style: list[Reference] = Field(default=[], max_length=64)
    settings: GenerateSettings = GENERATE_CONFIG


class StylizeRequest(Body):
    """Stylize an image, the images of an archive, or a clip."""

    kind: Literal["stylize"] = "stylize"
    model: Name
    source: Id
    style: list[Reference] = Field(min_length=1, max_length=64)
    settings: StylizeSettings = STYLIZE_CONFIG
    clip: ClipFormat | None = Field(None, description="Format of a stylized clip; by default webm.")


class PreviewRequest(Body):
    """Stylize a small version of an image; a preview limits `steps` and `max_side`."""

    model: Name
    source: Id
    style: list[Reference] = Field(min_length=1, max_length=64)
    settings: StylizeSettings = STYLIZE_CONFIG


class FuseSource(Body):
    """An uploaded image with its weights for each expert and for the style."""

    source: Id
    pixel: Weight = 0.0
    orientation: Weight = 0.0
    texture: Weight = 0.0
    style: Weight = 0.0


class FuseRequest(Body):
    """Combine images."""

    kind: Literal["fuse"] = "fuse"
    model: Name
    count: Count = COUNT
    sources: list[FuseSource] = Field(min_length=1, max_length=16)
    style: list[Reference] = Field(default=[], max_length=64)
    settings: FuseSettings = FUSE_CONFIG


class TrainRequest(Body):
    """Train a model on an uploaded archive, or adapt a model to it; see `impasto.config.TrainConfig`."""

    kind: Literal["train"] = "train"
    name: Name
    source: Id
    finetune: Name | None = None
    """The model to adapt; it determines the size and the resolution."""
    size: Size = TrainConfig.size
    minutes: Minutes = DEFAULT_MINUTES
    resolution: Resolution | None = TrainConfig.resolution
    seed: Seed = TrainConfig.seed
    text: bool = TrainConfig.text


JobRequest = Annotated[
    GenerateRequest | StylizeRequest | FuseRequest | TrainRequest,
    Field(discriminator="kind"),
]


class StyleRequest(Body):
    """Save a style under a name."""

    name: Name
    model: Name
    style: list[Reference] = Field(min_length=1, max_length=64)


class PictureChange(Body):
    """Change the mark of a picture of the gallery."""

    favourite: bool


class Selection(Body):
    """Pictures of the gallery."""

    pictures: list[Id] = Field(min_length=1, max_length=1000)
