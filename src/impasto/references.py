"""References in settings: names, paths and images in memory, each with an optional weight, as text that JSON holds."""

import hashlib
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeGuard, Union

from impasto.errors import ImpastoError

if TYPE_CHECKING:
    from PIL import Image

ImageInput = Union[str, Path, "Image.Image"]
"""An image: its path, or an image of Pillow in any mode. A path may also name a folder or an archive."""
ImageInputs = ImageInput | Sequence[ImageInput]
"""One image, folder or archive, or several."""
References = ImageInput | tuple[ImageInput, float] | Sequence[ImageInput | tuple[ImageInput, float]]
"""One or several references: names, paths and images, each alone or in a pair with its weight."""
Location = Union[Path, "MemoryImage"]
"""Where images are read from."""

IMAGES = "a path, an image or a sequence of them"
"""The accepted values of a setting that takes images, for an error message."""
REFERENCES = f"a name, {IMAGES}"
_IN_MEMORY = re.compile(r"<image [0-9a-f]{16}>")
_PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")
_TIFF_MODES = ("I", "I;16B", "I;16L", "F")
_PREMULTIPLIED = {"La": "LA", "RGBa": "RGBA", "PA": "RGBA"}


class MemoryImage(str):
    """The text ``<image HASH>``, which names an image in memory, optionally with ``:WEIGHT``; and the image itself.

    Settings and recipes hold the text. An image of a recipe that was read from a file is not in memory any more.
    """

    data: bytes
    """The image as a file (PNG or TIFF without compression), so that it is read as other files are."""

    def __new__(cls, text: str, data: bytes) -> Self:
        """Attach the bytes of a file to the text that names it."""
        self = super().__new__(cls, text)
        self.data = data
        return self

    @classmethod
    def of(cls, image: "Image.Image") -> "MemoryImage":
        """Copy an image of any mode, with the orientation of its EXIF data applied.

        Raises ImpastoError for an empty image, and for one of a file that cannot be decoded.
        """
        try:
            data = _encoded(image)
        except Exception as error:  # Pillow's readers raise almost any exception on damaged files
            size = f"{image.width} x {image.height} px"
            raise ImpastoError(f"the image of {size} cannot be read: {error or type(error).__name__}.") from error
        return cls(f"<image {hashlib.sha256(data).hexdigest()[:16]}>", data)

    def weighted(self, weight: float) -> "MemoryImage":
        """The same image with a weight."""
        return MemoryImage(f"{self}:{weight:.6g}", self.data)

    def without_weight(self) -> "MemoryImage":
        """The same image without a weight."""
        return MemoryImage(self.partition(":")[0], self.data)

    def __copy__(self) -> "MemoryImage":
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> "MemoryImage":
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return MemoryImage, (str(self), self.data)


def is_image(value: Any) -> "TypeGuard[Image.Image]":
    """Whether ``value`` is an image of Pillow."""
    if isinstance(value, (str, Path, int, float, list, tuple, type(None))):
        return False
    from PIL import Image  # here, as the command line does not need it

    return isinstance(value, Image.Image)


def refused(call: str, name: str, value: Any, accepted: str) -> ImpastoError:
    """The error for an argument that is not one of the ``accepted`` values.

    >>> str(refused("GenerateConfig", "style", 3, REFERENCES))
    'GenerateConfig(style=3): use a name, a path, an image or a sequence of them.'
    """
    text = repr(value)
    return ImpastoError(f"{call}({name}={text if len(text) <= 80 else text[:77] + '...'}): use {accepted}.")


def location(value: ImageInput, call: str, name: str) -> Location:
    """Where an image, folder or archive is read from.

    Raises ImpastoError for other types, naming the function ``call`` and its argument ``name``.
    """
    if is_image(value):
        return MemoryImage.of(value)
    if isinstance(value, MemoryImage):
        return value.without_weight()
    if isinstance(value, (str, Path)):
        check_stored(str(value))
        return Path(value)
    raise refused(call, name, value, IMAGES)


def locations(values: ImageInputs, call: str, name: str) -> list[Location]:
    """Where one or several images, folders or archives are read from; raises as `location` does."""
    if isinstance(values, (str, Path)) or is_image(values):
        return [location(values, call, name)]
    if isinstance(values, (set, frozenset, dict)) or not hasattr(values, "__iter__"):
        raise refused(call, name, values, IMAGES)
    return [location(value, call, name) for value in values]  # pyrefly: ignore


def as_references(values: Any, call: str, name: str) -> tuple[str, ...]:
    """References as text: of one name, path or image, of a pair (one of these, weight), or of a sequence of these.

    Raises ImpastoError for other types, see `location`.
    """
    if isinstance(values, (str, Path)) or is_image(values) or _is_pair(values):
        values = (values,)
    if isinstance(values, (set, frozenset, dict)) or not hasattr(values, "__iter__"):
        raise refused(call, name, values, REFERENCES)
    return tuple(_as_reference(value, call, name) for value in values)


def with_weight(reference: str, weight: float) -> str:
    """A reference without a weight, with this one."""
    if isinstance(reference, MemoryImage):
        return reference.weighted(weight)
    return f"{reference}:{weight:.6g}"


def check_stored(text: str) -> None:
    """Raise ImpastoError if ``text`` names an image that is not in memory any more."""
    if _IN_MEMORY.match(text):
        raise ImpastoError(f"{text} was an image in memory, which no file holds: use the image itself, or a path.")


def _is_pair(value: Any) -> bool:
    return (
        isinstance(value, tuple)
        and len(value) == 2
        and isinstance(value[1], (int, float))
        and not isinstance(value[1], bool)
    )


def _as_reference(value: Any, call: str, name: str) -> str:
    if _is_pair(value):
        reference, weight = value
        return with_weight(_as_reference(reference, call, name), float(weight))
    if is_image(value):
        return MemoryImage.of(value)
    if isinstance(value, str):
        return value
    if isinstance(value, Path):
        return str(value)
    raise refused(call, name, value, REFERENCES)


def _encoded(image: "Image.Image") -> bytes:
    """The upright image as a file without compression; the same conversion to colours follows as for other files."""
    from PIL import ImageOps

    upright = ImageOps.exif_transpose(image)
    mode = upright.mode
    if mode not in _PNG_MODES + _TIFF_MODES:
        upright = upright.convert(_PREMULTIPLIED.get(mode, "RGB"))
    buffer = io.BytesIO()
    if mode in _TIFF_MODES:
        upright.save(buffer, "TIFF", compression=None)
    else:
        upright.save(buffer, "PNG", compress_level=0)
    return buffer.getvalue()
