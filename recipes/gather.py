"""What the recipes beside this file share: several archives as one folder of images, and a training of it."""

import argparse
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
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


@dataclass(frozen=True)
class Course:
    """A part of a recipe: a training, or a script beside this file that takes the model of the course before."""

    minutes: float
    flags: dict[str, object] = field(default_factory=dict)
    """Further flags of `impasto train`, switches with an empty value."""
    script: str | None = None


def cook(
    doc: str | None,
    archives: Sequence[str],
    *courses: Course,
    batches: tuple[int, int],
    prior_learning_rate: float = 5e-4,
) -> None:
    """Make a built-in model as its recipe says; the same command again resumes.

    ``doc`` is the recipe's own, ``archives`` the names of what it is trained on. Each course begins with the weights of
    the one before, which lie beside the last. Their minutes and the ``batches`` of both stages can be changed by flags;
    learning rates go with the root of the batch, that of the prior from what it is at 64.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    default = [course.minutes for course in courses]
    parser.add_argument("--minutes", type=float, nargs=len(courses), default=default, help="of each course")
    parser.add_argument("--resolution", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=batches[0])
    parser.add_argument("--prior-batch-size", type=int, default=batches[1])
    parser.add_argument("--processes", type=int, default=1, help="that share each batch; on a CPU one for each core")
    arguments = parser.parse_args()
    out: Path = arguments.out
    images = gather([arguments.data / f"{name}.zip" for name in archives], out.with_name(f"{out.name}-images"))
    several = ["-m", "torch.distributed.run", "--nproc-per-node", str(arguments.processes)]
    trained = [sys.executable, *(several if arguments.processes > 1 else []), "-m", "impasto", "train", str(images)]
    common = {
        "--resolution": arguments.resolution,
        "--batch-size": arguments.batch_size,
        "--learning-rate": 1e-3 * min(1.5, (arguments.batch_size / 16) ** 0.5),
        "--prior-batch-size": arguments.prior_batch_size,
        "--prior-learning-rate": prior_learning_rate * min(1.6, (arguments.prior_batch_size / 64) ** 0.5),
    }
    folders = [out.with_name(f"{out.name}-course-{number}") for number in range(1, len(courses))] + [out]
    for number, (folder, course, minutes) in enumerate(zip(folders, courses, arguments.minutes, strict=True)):
        budget = {"--out": folder, "--minutes": minutes}
        if course.script is not None:
            script = Path(__file__).with_name(course.script)
            run([sys.executable, str(script), str(folders[number - 1]), str(images)], budget)
        else:
            start = {"--start-from": folders[number - 1]} if number else {}
            run(trained, budget | common | start | course.flags)


def run(command: list[str], flags: dict[str, object]) -> None:
    """Run it with the flags; what it fails with, this fails with."""
    parts = [str(part) for flag in flags.items() for part in flag if part != ""]
    done = subprocess.run([*command, *parts])
    if done.returncode:
        raise SystemExit(done.returncode)
