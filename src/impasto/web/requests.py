"""What the page may ask for: bodies of the REST interface, checked before anything is queued."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from impasto.config import REDRAWING, ClipFormat, Repeat, Sampling, Size

Id = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$", examples=["0123456789abcdef0123456789abcdef"])]
Name = Annotated[str, Field(pattern=r"^[\w][\w .-]{0,63}$", examples=["emoji"])]
Weight = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Steps = Annotated[int, Field(ge=1, le=200)]
Factor = Annotated[float, Field(ge=0, le=20, allow_inf_nan=False)]
Side = Annotated[int, Field(ge=32, le=4096, multiple_of=32)]


class Body(BaseModel):
    """No field that nobody knows."""

    model_config = ConfigDict(extra="forbid")


class Reference(Body):
    """Something that gives a style: a collection of the model, an uploaded picture, or a saved style."""

    kind: Literal["collection", "upload", "style"]
    source: str = Field(max_length=200)
    weight: Weight = 1.0


class PictureRequest(Body):
    """What all jobs that make pictures can be told."""

    model: Name
    count: int = Field(1, ge=1, le=64)
    seed: int | None = Field(None, ge=0, lt=2**53, description="drawn anew where not given")
    steps: Steps = Sampling.steps
    temperature: Factor = 1.0
    guidance: Factor = Sampling.guidance
    internal_guidance: Factor = Sampling.internal_guidance
    tile: Repeat = Repeat.NONE
    palette: str | None = Field(None, pattern=r"^(\d{1,3}|[0-9a-fA-F]{6}(,[0-9a-fA-F]{6}){1,255})$")
    pixel_art: int | None = Field(None, ge=1, le=4096)
    opaque: bool = Field(False, description="white instead of transparent")
    text: str | None = Field(None, max_length=1000)
    negative_text: str | None = Field(None, max_length=1000)


class GenerateRequest(PictureRequest):
    """New pictures."""

    kind: Literal["generate"] = "generate"
    style: list[Reference] = Field(default=[], max_length=64)
    width: Side | None = None
    height: Side | None = None


class StylizeRequest(PictureRequest):
    """A picture, the pictures of an archive, or a clip, redrawn."""

    kind: Literal["stylize"] = "stylize"
    source: Id
    guidance: Factor = REDRAWING.guidance
    internal_guidance: Factor = REDRAWING.internal_guidance
    style: list[Reference] = Field(min_length=1, max_length=64)
    strength: Share = 0.5
    preserve_color: bool = False
    passes: Literal[1, 2, 4, 8] = 1
    clip: ClipFormat = ClipFormat.WEBM


class PreviewRequest(Body):
    """A first impression of a picture, redrawn."""

    model: Name
    source: Id
    style: list[Reference] = Field(min_length=1, max_length=64)
    strength: Share = 0.5
    preserve_color: bool = False
    guidance: Factor = REDRAWING.guidance
    seed: int = Field(0, ge=0, lt=2**53)


class FuseSource(Body):
    """An uploaded picture and how much each expert hears of it."""

    source: Id
    pixel: Weight = 0.0
    orientation: Weight = 0.0
    texture: Weight = 0.0
    style: Weight = 0.0


class FuseRequest(PictureRequest):
    """One picture of several."""

    kind: Literal["fuse"] = "fuse"
    sources: list[FuseSource] = Field(min_length=1, max_length=16)
    style: list[Reference] = Field(default=[], max_length=64)
    harmony: Share = 0.2
    level_weights: tuple[Share, Share, Share, Share] = (1.0, 1.0, 1.0, 1.0)


class TrainRequest(Body):
    """A model of an uploaded archive, or another model adapted to it."""

    kind: Literal["train"] = "train"
    name: Name
    source: Id
    init: Name | None = None
    """The model to adapt: it decides size and resolution."""
    size: Size = Size.SMALL
    minutes: float = Field(30, gt=0, le=60 * 24 * 7, allow_inf_nan=False)
    resolution: int = Field(64, ge=32, le=512, multiple_of=32)
    seed: int = Field(0, ge=0, lt=2**53)
    text: bool = False


JobRequest = Annotated[
    GenerateRequest | StylizeRequest | FuseRequest | TrainRequest,
    Field(discriminator="kind"),
]


class StyleRequest(Body):
    """A style to save under a name."""

    name: Name
    model: Name
    style: list[Reference] = Field(min_length=1, max_length=64)


class PictureChange(Body):
    """What can be changed about a picture of the gallery."""

    favourite: bool


class Chosen(Body):
    """Some pictures of the gallery."""

    pictures: list[Id] = Field(min_length=1, max_length=1000)
