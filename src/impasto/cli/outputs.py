"""Output of the commands: safe file names, no overwriting of foreign files, counts."""

import dataclasses
import itertools
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

from tyro.conf import arg

from impasto.errors import ImpastoError

if TYPE_CHECKING:
    from PIL import Image

    from impasto.api import Generated
    from impasto.cli.messages import Messages
    from impasto.cli.progress import Progress
    from impasto.create.recipe import Recipe

T = TypeVar("T")

OUT = Path("pictures")
"""Default of --out in commands that write images."""
Out = Annotated[Path, arg(aliases=["-o"])]
"""Type of --out."""


def check_folder(out: Path) -> None:
    """Raise ImpastoError if --out exists and is not a folder."""
    if out.exists() and not out.is_dir():
        raise ImpastoError(f"--out {out} is a file: use a folder.")


def check_count(count: int, minimum: int = 1, maximum: int = 1_000_000) -> None:
    """Raise ImpastoError if -n is outside its range."""
    if not minimum <= count <= maximum:
        raise ImpastoError(f"-n {count}: use a whole number from {minimum} to {maximum}.")


def check_exist(paths: Sequence[Path], kinds: str = "images, folders or archives (.zip, .tar)") -> None:
    """Raise ImpastoError without paths, and for the first that does not exist, naming what the command reads."""
    if not paths:
        raise ImpastoError("IMAGES is missing: name at least one image.")
    for path in paths:
        if not path.exists():
            raise ImpastoError(f"{path} does not exist: use {kinds}.")


def image_path(out: Path, default: str) -> Path:
    """The image that --out names: itself if it has a suffix and is no folder, else the image ``default`` in it.

    >>> image_path(Path("cat.webp"), "fused.png").as_posix(), image_path(Path("new"), "fused.png").as_posix()
    ('cat.webp', 'new/fused.png')
    """
    return out if out.suffix and not out.is_dir() else out / default


def check_free(paths: Iterable[Path]) -> None:
    """Raise ImpastoError if a path holds a file that Impasto did not write; its own images may be overwritten."""
    from impasto.create.recipe import made_by_impasto

    for path in paths:
        if path.exists() and not made_by_impasto(path):
            raise ImpastoError(f"--out: {path} exists and was not written by Impasto: use another folder.")


def free_paths(paths: Sequence[Path], is_same: Callable[[Path, int], bool]) -> list[Path]:
    """``paths``; or, if one of them holds another result, all with the next number for which none does.

    ``is_same`` tells whether the file at a path holds the result at this position of ``paths``; that file may be
    replaced, so a repeated command writes the same files.

    >>> here = Path(__file__)
    >>> [path.name for path in free_paths([here, here.with_stem("new")], lambda path, position: False)]
    ['outputs-2.py', 'new-2.py']
    >>> free_paths([here], lambda path, position: True) == [here]
    True
    """
    numbered, number = list(paths), 1
    while any(path.exists() and not is_same(path, position) for position, path in enumerate(numbered)):
        number += 1
        numbered = [path.with_stem(f"{path.stem}-{number}") for path in paths]
    return numbered


def free_for_recipes(paths: Sequence[Path], recipes: "Sequence[Recipe]") -> list[Path]:
    """`free_paths` of images with recipes: an equal recipe is the same result."""
    return free_paths(paths, lambda path, position: recipe_at(path) == recipes[position])


def free_for_image(path: Path, image: "Image.Image") -> Path:
    """`free_paths` of one image without a recipe, such as a sheet: equal pixels are the same result."""
    (free,) = free_paths([path], lambda path, position: _holds(path, image))
    return free


def recipe_at(path: Path) -> "Recipe | None":
    """The recipe of the image at ``path``; None if there is no image with a recipe."""
    from impasto.create.recipe import read_recipe

    try:
        return read_recipe(path) if path.exists() else None
    except ImpastoError:
        return None


def _holds(path: Path, image: "Image.Image") -> bool:
    """Whether the file at ``path`` is what `save_image` would write for ``image``."""
    from impasto.create.recipe import save_image

    with tempfile.TemporaryDirectory() as folder:
        again = Path(folder) / path.name
        save_image(image, again)
        return again.read_bytes() == path.read_bytes()


def with_first(items: Iterable[T]) -> tuple[T, Iterator[T]]:
    """The first of ``items``, and all of them.

    >>> first, items = with_first("abc")
    >>> first, list(items)
    ('a', ['a', 'b', 'c'])
    """
    iterator = iter(items)
    first = next(iterator)
    return first, itertools.chain([first], iterator)


def numbered(
    wanted: Sequence[Path], generated: "Iterable[Generated]", indices: Iterable[int]
) -> "tuple[list[Path], Iterator[Generated]]":
    """`free_for_recipes` of images whose recipes differ only in their index; and the images."""
    first, images = with_first(generated)
    return free_for_recipes(wanted, [dataclasses.replace(first.recipe, index=index) for index in indices]), images


def save_each(
    paths: Sequence[Path], generated: "Iterable[Generated]", message: "Messages", progress: "Progress"
) -> "Iterator[Image.Image]":
    """Write each image with its recipe, record it, and yield it."""
    from impasto.create.recipe import save_image

    for path, image in zip(paths, generated, strict=True):
        save_image(image.image, path, image.recipe)
        seed = image.recipe.settings.sampling.seed
        message.record(path=path, seed=seed, index=image.recipe.index, seconds=progress.seconds)
        yield image.image


def written(paths: Sequence[Path], wanted: Sequence[Path], out: Path, noun: str = "image") -> str:
    """One line about written files, with their names if these are not the ``wanted`` ones.

    >>> written([Path("o/a-2.png"), Path("o/b-2.png")], [Path("o/a.png"), Path("o/b.png")], Path("o"))
    '2 images in o: a-2.png to b-2.png'
    """
    if len(paths) == 1:
        return str(paths[0])
    names = "" if list(paths) == list(wanted) else f": {paths[0].name} to {paths[-1].name}"
    return f"{counted(len(paths), noun)} in {out}{names}"


def file_names(names: Iterable[str], suffix: str) -> list[str]:
    """One file name per name, which may be a path of any system; the names differ on case-insensitive file systems too.

    >>> file_names(["cats/tom.png", "dogs/tom.jpg", "../.."], ".png")
    ['tom.png', 'tom-2.png', 'image.png']
    """
    return _different([_safe(re.split(r"[/\\]", name)[-1].rsplit(".", 1)[0]) for name in names], suffix)


def file_tree(names: Iterable[str], suffix: str) -> list[str]:
    """Like `file_names`, but with the folders of the names.

    >>> file_tree(["cats/tom.png", "dogs/tom.jpg", "dogs/tom.webp", "../tom.png"], ".png")
    ['cats/tom.png', 'dogs/tom.png', 'dogs/tom-2.png', 'image/tom.png']
    """
    parts = (re.split(r"[/\\]", name.rsplit(".", 1)[0]) for name in names)
    return _different(["/".join(map(_safe, path)) for path in parts], suffix)


def _safe(name: str) -> str:
    return re.sub(r'[<>:"|?*\x00-\x1f\x7f-\x9f\ud800-\udfff]', "_", name).strip(" .")[:80] or "image"


def _different(stems: Iterable[str], suffix: str) -> list[str]:
    taken: set[str] = set()
    result = []
    for stem in stems:
        candidate, number = stem, 1
        while candidate.lower() in taken:
            number += 1
            candidate = f"{stem}-{number}"
        taken.add(candidate.lower())
        result.append(candidate + suffix)
    return result


def counted(number: int, noun: str) -> str:
    """A number with its noun in the singular or plural.

    >>> counted(1, "image"), counted(2000, "image")
    ('1 image', '2,000 images')
    """
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
