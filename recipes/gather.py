"""Several archives of pictures as one folder, each in a folder of its own, for the recipes beside this file."""

import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath


def gather(archives: Sequence[Path], folder: Path) -> Path:
    """Unpack archives below ``folder``, each once; metadata.jsonl in each goes on saying what is in it."""
    for archive in archives:
        target = folder / archive.stem
        done = folder / f".{archive.stem}.done"
        if done.exists():
            continue
        with zipfile.ZipFile(archive) as opened:
            for name in opened.namelist():
                if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                    raise SystemExit(f"{archive}: {name} leads out of the archive.")
            opened.extractall(target)
        done.touch()
    return folder


def train(*arguments: object) -> None:
    """`impasto train` with these arguments; the same command again resumes."""
    raise SystemExit(subprocess.run([sys.executable, "-m", "impasto", "train", *map(str, arguments)]).returncode)
