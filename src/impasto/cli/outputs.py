"""Where a command writes: under safe names, and never over a file that Impasto did not make."""

import re
import sys
from collections.abc import Iterable
from pathlib import Path

from impasto.errors import ImpastoError
from impasto.events import Event, Warned


def check_folder(out: Path) -> None:
    """Refuse an --out that is no folder, before anything slow starts."""
    if out.exists() and not out.is_dir():
        raise ImpastoError(f"--out {out}: it is a file, and a folder is needed.")


def check_free(paths: Iterable[Path]) -> None:
    """Refuse to write over files that Impasto did not make; its own images may be made again."""
    from impasto.create.recipe import made_by_impasto

    for path in paths:
        if path.exists() and not made_by_impasto(path):
            raise ImpastoError(f"--out: {path} exists and is not an image that Impasto made; choose another folder.")


def file_names(names: Iterable[str], suffix: str) -> list[str]:
    """One file name per name (a path, perhaps of another system), different even where case is ignored.

    >>> file_names(["cats/tom.png", "dogs/tom.jpg", "../.."], ".png")
    ['tom.png', 'tom-2.png', 'image.png']
    """
    return _different([_safe(re.split(r"[/\\]", name)[-1].rsplit(".", 1)[0]) for name in names], suffix)


def file_tree(names: Iterable[str], suffix: str) -> list[str]:
    """The same with the folders that the names are in.

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


def warn(event: Event) -> None:
    """A listener that prints warnings to stderr: what was skipped, and why."""
    if isinstance(event, Warned):
        print(f"warning: {event.text}", file=sys.stderr)
