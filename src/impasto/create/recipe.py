"""Recipes: all settings that reproduce an image, stored inside its file."""

import dataclasses
import json
import struct
import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image, PngImagePlugin

from impasto.atomic import write_atomically
from impasto.config import DTYPES, FuseConfig, GenerateConfig, ImageConfig, StylizeConfig, build
from impasto.create.image import over_white
from impasto.errors import ImpastoError
from impasto.migration import CURRENT, Kind, migrate
from impasto.version import __version__

JOBS: dict[str, type[ImageConfig]] = {"generate": GenerateConfig, "stylize": StylizeConfig, "fuse": FuseConfig}
"""Commands that write images with recipes, and the class of their settings."""
KEY = "impasto"
"""Keyword of the PNG text chunk, and first word of the EXIF comment in WebP and JPEG."""
MAX_CHARACTERS = 1_000_000
"""Maximum length of a recipe. Pillow refuses larger text chunks."""
MAX_JPEG_CHARACTERS = 60_000
"""Maximum length of a recipe in JPEG, whose EXIF data holds 64 KB."""
IMAGE_FORMATS = {".png": "PNG", ".webp": "WEBP", ".jpg": "JPEG", ".jpeg": "JPEG"}

_SOFTWARE, _EXIF_IFD, _USER_COMMENT = 0x0131, 0x8769, 0x9286
_ASCII = b"ASCII\0\0\0"


@dataclass(frozen=True)
class Recipe:
    """All settings that reproduce one image. Raises ImpastoError for an unknown dtype and a negative index."""

    model: str
    """The run folder or model file as named on the command line, or the name of a built-in model."""
    fingerprint: str
    """The first 16 hexadecimal digits of the SHA-256 of the model file; another model is refused."""
    settings: ImageConfig
    """All settings of the command. Their class determines the command."""
    index: int = 0
    """Number of the image among those of its seed, from 0."""
    content: str | None = None
    """Path of the stylized image or clip, as named by the user, or the text of an image in memory; None for other
    commands."""
    dtype: str = "float32"
    """Floating-point format of the flow: another gives a slightly different image."""
    sources: dict[str, str] = field(default_factory=dict)
    """Path of every file that the image depends on, as named by the user, and the hash of its content; for an image in
    memory its text (`impasto.references.MemoryImage`) instead of the path."""
    impasto: str = __version__
    """Version of Impasto that wrote the image."""

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise ImpastoError(f"dtype {self.dtype[:80]!r}: use one of {', '.join(DTYPES)}.")
        if self.index < 0:
            raise ImpastoError(f"index {self.index}: use a whole number from 0.")

    @property
    def command(self) -> str:
        """Name of the command."""
        return next(name for name, job in JOBS.items() if type(self.settings) is job)

    def to_json(self) -> str:
        """The recipe as one line of ASCII JSON, which every image format can hold."""
        return json.dumps({"format": CURRENT, "command": self.command} | dataclasses.asdict(self))


def save_image(image: Image.Image, path: Path | str, recipe: Recipe | None = None) -> None:
    """Write an image with its recipe to ``path`` (.png, .webp or .jpg), atomically.

    PNG and WebP are lossless and keep alpha. JPEG has a white background. Without a recipe the file still names Impasto
    as its software. Raises ImpastoError for another suffix, a recipe that is too long, and a file that cannot be
    written.
    """
    path = Path(path)
    kind = _image_format(path)
    text = "" if recipe is None else recipe.to_json()
    limit = MAX_JPEG_CHARACTERS if kind == "JPEG" else MAX_CHARACTERS
    if len(text) > limit:
        remedy = "use --format png" if kind == "JPEG" else "use fewer style images"
        raise ImpastoError(f"cannot write {path}: its recipe has {len(text)} characters, more than {limit}; {remedy}.")
    if kind == "PNG":
        chunks = PngImagePlugin.PngInfo()
        chunks.add_text("Software", f"Impasto {__version__}")
        if text:
            chunks.add_itxt(KEY, text)
        write_atomically(path, lambda temporary: image.save(temporary, "PNG", pnginfo=chunks))
        return
    exif = Image.Exif()
    exif[_SOFTWARE] = f"Impasto {__version__}"
    if text:
        exif.get_ifd(_EXIF_IFD)[_USER_COMMENT] = _ASCII + f"{KEY} {text}".encode("ascii")
    if kind == "JPEG":
        flat = over_white(image)
        write_atomically(path, lambda temporary: flat.save(temporary, "JPEG", exif=exif, quality=95, subsampling=0))
    else:
        write_atomically(path, lambda temporary: image.save(temporary, "WEBP", exif=exif, lossless=True, exact=True))


def read_recipe(path: Path | str) -> Recipe:
    """Read the recipe in the image at ``path``.

    Raises ImpastoError if the file is not a PNG, WebP or JPEG image, or its recipe is missing, damaged or of a newer
    format.
    """
    path = Path(path)
    text, _ = _embedded(path)
    if text is None:
        raise ImpastoError(f"{path} holds no recipe: Impasto did not write it, or another program removed the recipe.")
    if len(text) > MAX_CHARACTERS:
        raise ImpastoError(f"{path}: its recipe has {len(text)} characters, more than {MAX_CHARACTERS}.")
    source = f"{path}: its recipe"
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ImpastoError(f"{source} is not JSON.") from error
    if not isinstance(values, dict):
        raise ImpastoError(f"{source} is not a JSON object.")
    try:
        return _recipe(migrate(Kind.RECIPE, values, values.get("format"), source), source)
    except OverflowError as error:
        raise ImpastoError(f"{source} holds a number that is too large.") from error
    except ImpastoError as error:
        # The checks of the settings do not name the file.
        message = error.command_line
        raise ImpastoError(message if message.startswith(source) else f"{source}: {message}") from error


def _recipe(values: dict[str, Any], source: str) -> Recipe:
    job = JOBS.get(str(values.get("command")))
    if job is None:
        raise ImpastoError(f"{source} names no command that writes images.")
    rest = {key: value for key, value in values.items() if key not in ("format", "command")}
    _check_complete({field.name for field in dataclasses.fields(Recipe)}, rest, source)
    settings = rest["settings"]
    if not isinstance(settings, dict):
        raise ImpastoError(f"{source} has settings that are not a JSON object.")
    defaults = job()
    names = {field.name: getattr(defaults, field.name) for field in dataclasses.fields(job)}
    _check_complete(names, settings, source)
    for name, part in names.items():
        if dataclasses.is_dataclass(part) and isinstance(settings[name], dict):
            _check_complete({field.name for field in dataclasses.fields(part)}, settings[name], source)
    return build(Recipe, rest | {"settings": build(job, settings, source)}, source)


def _check_complete(names: Collection[str], values: Mapping[str, Any], source: str) -> None:
    """Raise ImpastoError for missing values: a later version may have other defaults."""
    if missing := sorted(set(names) - set(values)):
        raise ImpastoError(f"{source} lacks {missing}.")


def check_suffix(path: Path) -> None:
    """Raise ImpastoError if the suffix is not that of an image format."""
    _image_format(path)


def made_by_impasto(path: Path) -> bool:
    """Whether the image at ``path`` names Impasto as its software, so that it may be replaced."""
    try:
        _, software = _embedded(path)
    except ImpastoError:
        return False
    return software.startswith("Impasto ")


def _image_format(path: Path) -> str:
    if kind := IMAGE_FORMATS.get(path.suffix.lower()):
        return kind
    raise ImpastoError(f"cannot write {path}: use one of {', '.join(IMAGE_FORMATS)}.")


def _embedded(path: Path) -> tuple[str | None, str]:
    """The text of the recipe, or None, and the name of the software. Pixels are not decoded."""
    # Any damage must end in an error that names the file. A huge size is allowed, as pixels are not decoded.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(path, formats=tuple(set(IMAGE_FORMATS.values()))) as image:
                return _png_text(image) if image.format == "PNG" else _exif_text(image)
        except OSError as error:
            if error.strerror:
                raise ImpastoError(f"cannot read {path}: {error.strerror}.") from error
            raise ImpastoError(f"{path} is not a PNG, WebP or JPEG image.") from error
        except (
            ValueError,
            SyntaxError,
            struct.error,
            LookupError,
            TypeError,
            EOFError,
            Image.DecompressionBombError,
        ) as error:
            raise ImpastoError(f"{path} is damaged: {error}.") from error


def _png_text(image: Image.Image) -> tuple[str | None, str]:
    text, software = image.info.get(KEY), image.info.get("Software")
    return (str(text) if isinstance(text, str) else None), (str(software) if isinstance(software, str) else "")


def _exif_text(image: Image.Image) -> tuple[str | None, str]:
    exif = image.getexif()
    comment, software = exif.get_ifd(_EXIF_IFD).get(_USER_COMMENT), exif.get(_SOFTWARE)
    start = _ASCII + f"{KEY} ".encode("ascii")
    text = None
    if isinstance(comment, bytes) and comment.startswith(start):
        text = comment[len(start) :].decode("ascii", "replace")
    return text, software if isinstance(software, str) else ""
