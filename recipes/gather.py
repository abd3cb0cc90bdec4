"""The common part of the recipes: several archives become one folder of images, and phases train on it in turn."""

import argparse
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

Flags = dict[str, object]
"""Flags with their values; the value of a switch is empty."""


@dataclass(frozen=True)
class Phase:
    """A part of a recipe: a training, or a script in this folder that takes the model of the previous phase."""

    minutes: float
    flags: Flags = field(default_factory=dict)
    """Further flags of `impasto train`."""
    script: str | None = None


@dataclass(frozen=True)
class Recipe:
    """How a built-in model is trained. Each phase starts from the weights of the previous one."""

    archives: tuple[str, ...]
    """Names of the archives of images."""
    phases: tuple[Phase, ...]
    batch_size: int
    prior_batch_size: int
    prior_learning_rate: float = 5e-4
    """Of a prior batch of 64 images."""
    resolution: int = 128

    def commands(self, images: Path, out: Path, minutes: Sequence[float]) -> list[list[str]]:
        """One command line for each phase, with its ``minutes``.

        The last phase writes to ``out``, the others to folders next to it. Learning rates grow with the square root of
        the batch size.
        """
        common: Flags = {
            "--size": "small",
            "--resolution": self.resolution,
            "--batch-size": self.batch_size,
            "--learning-rate": 1e-3 * min(1.5, (self.batch_size / 16) ** 0.5),
            "--prior-batch-size": self.prior_batch_size,
            "--prior-learning-rate": self.prior_learning_rate * min(1.6, (self.prior_batch_size / 64) ** 0.5),
        }
        train = [sys.executable, "-m", "impasto", "train", str(images)]
        folders = [out.with_name(f"{out.name}-phase-{number}") for number in range(1, len(self.phases))] + [out]
        lines = []
        for number, (folder, phase, limit) in enumerate(zip(folders, self.phases, minutes, strict=True)):
            budget: Flags = {"--out": folder, "--minutes": limit}
            if phase.script is not None:
                script = Path(__file__).with_name(phase.script)
                command = [sys.executable, str(script), str(folders[number - 1]), str(images)]
                lines.append([*command, *arguments_of(budget | phase.flags)])
            else:
                init: Flags = {"--init": folders[number - 1]} if number else {}
                lines.append([*train, *arguments_of(budget | common | init | phase.flags)])
        return lines


def arguments_of(flags: Flags) -> list[str]:
    """The flags as arguments of a command line."""
    return [str(part) for flag in flags.items() for part in flag if part != ""]


def gather(archives: Sequence[Path], folder: Path) -> Path:
    """Extract each archive once, into a folder of its own in ``folder``. Returns ``folder``.

    Raises SystemExit, naming them, if archives are missing.
    """
    if missing := [str(archive) for archive in archives if not archive.is_file()]:
        raise SystemExit(f"error: {', '.join(missing)} does not exist: DATA is the folder with these archives.")
    for archive in archives:
        done = folder / f".{archive.stem}.done"
        if done.exists():
            continue
        with zipfile.ZipFile(archive) as opened:
            for name in opened.namelist():
                if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                    raise SystemExit(f"{archive}: {name} leads out of the archive.")
            opened.extractall(folder / archive.stem)
        done.touch()
    return folder


def main(recipe: Recipe, doc: str | None) -> None:
    """Train a built-in model; the same command resumes. ``doc`` is the description for --help."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    minutes = [phase.minutes for phase in recipe.phases]
    parser.add_argument("--minutes", type=float, nargs=len(minutes), default=minutes, help="of each phase")
    parser.add_argument("--resolution", type=int, default=recipe.resolution)
    parser.add_argument("--batch-size", type=int, default=recipe.batch_size)
    parser.add_argument("--prior-batch-size", type=int, default=recipe.prior_batch_size)
    parser.add_argument("--dry-run", action="store_true", help="print the commands, do not run them")
    arguments = parser.parse_args()
    out: Path = arguments.out
    images = out.with_name(f"{out.name}-images")
    changed = Recipe(
        recipe.archives,
        recipe.phases,
        arguments.batch_size,
        arguments.prior_batch_size,
        recipe.prior_learning_rate,
        arguments.resolution,
    )
    commands = changed.commands(images, out, arguments.minutes)
    if arguments.dry_run:
        print("\n".join(" ".join(command) for command in commands))
        return
    gather([arguments.data / f"{name}.zip" for name in recipe.archives], images)
    for command in commands:
        if code := subprocess.run(command).returncode:
            raise SystemExit(code)
