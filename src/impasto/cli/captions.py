"""impasto caption and impasto search: match images with sentences."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from impasto.cli.device import DEVICE, DeviceFlags
from impasto.cli.flags import RUN_HELP
from impasto.cli.messages import MESSAGES, MessageFlags
from impasto.cli.outputs import check_exist, counted
from impasto.errors import ImpastoError

MAX_SENTENCES = 100_000
CAPTIONED = "It must be trained with --text, as icons is."


@dataclass(frozen=True)
class Caption:
    """Caption images with the best matching sentences of a vocabulary.

    impasto caption runs/emoji mine/*.png

    impasto caption runs/emoji mine --vocabulary words.txt --top 1 --out vectors.npz
    """

    run_folder: Annotated[Positional[Path], arg(metavar="RUN", name="run", help=f"{RUN_HELP} {CAPTIONED}")]
    images: Annotated[Positional[tuple[Path, ...]], arg(metavar="IMAGES ...", help_behavior_hint="(at least one)")]
    """Files, folders or archives."""
    vocabulary: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="(default: training captions)")] = None
    """File of candidate sentences, one per line, in English."""
    top: int = 3
    """Number of sentences per image."""
    out: Annotated[Path | None, arg(aliases=["-o"], metavar="FILE.npz", help_behavior_hint="(default: none)")] = None
    """Write the names and text vectors too, as .npz or .parquet."""
    device: DeviceFlags = DEVICE
    message: MessageFlags = MESSAGES

    def run(self) -> int:
        """Print one line per image; returns the exit code."""
        if self.top < 1:
            raise ImpastoError(f"--top {self.top}: use a whole number from 1.")
        sentences = _lines(self.vocabulary) if self.vocabulary is not None else []
        check_exist(self.images)
        from impasto.create.vectors import Latents, check_writable

        if self.out is not None:
            check_writable(self.out)
        model = self.device.load(self.run_folder)
        loaded = model.read(self.images, [self.message.warn])
        for name, matches in model.caption(loaded, sentences, self.top):
            captions = [{"text": match.name, "cosine": match.cosine} for match in matches]
            self.message.record(image=name, captions=captions)
            self.message.text(f"{name}: " + ", ".join(f"{match.name} ({match.cosine:.2f})" for match in matches))
        if self.out is not None:
            names, vectors = model.text_vectors(loaded)
            Latents(names, {"text": vectors.numpy()}, model.fingerprint).save(self.out)
        return 0


@dataclass(frozen=True)
class Search:
    """Rank the images of a folder by how well they match a text.

    impasto search runs/emoji images --text "a smiling cat" --top 5
    """

    run_folder: Annotated[Positional[Path], arg(metavar="RUN", name="run", help=f"{RUN_HELP} {CAPTIONED}")]
    images: Annotated[Positional[tuple[Path, ...]], arg(metavar="IMAGES ...", help_behavior_hint="(at least one)")]
    """Files, folders or archives."""
    text: str
    """Text to search for, in English."""
    top: int = 20
    """Number of images to print."""
    device: DeviceFlags = DEVICE
    message: MessageFlags = MESSAGES

    def run(self) -> int:
        """Print the best matches, best first; returns the exit code."""
        if self.top < 1:
            raise ImpastoError(f"--top {self.top}: use a whole number from 1.")
        check_exist(self.images)
        model = self.device.load(self.run_folder)
        for match in model.search(model.read(self.images, [self.message.warn]), self.text)[: self.top]:
            self.message.record(image=match.name, cosine=match.cosine)
            self.message.text(f"{match.cosine:.3f}  {match.name}")
        return 0


def _lines(file: Path) -> list[str]:
    """The sentences of a vocabulary."""
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise ImpastoError(f"cannot read {file}: {error}.") from error
    sentences = [line for line in lines if line]
    if not 1 <= len(sentences) <= MAX_SENTENCES:
        raise ImpastoError(
            f"--vocabulary {file} has {counted(len(sentences), 'sentence')}: use 1 to {MAX_SENTENCES:,}."
        )
    return sentences
