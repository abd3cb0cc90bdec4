"""A clip, stylized in one style: steady over time, its sound kept, resumable frame by frame."""

import hashlib
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from impasto.atomic import write_atomically, write_text_atomically
from impasto.config import ClipFormat
from impasto.create.canvas import Canvas
from impasto.create.clip import Clip, Frame, comment_of, frame_difference, write_clip
from impasto.create.image import over_white
from impasto.create.palette import check_pixel_art
from impasto.create.recipe import Recipe, save_image
from impasto.create.stylize import Stylizer
from impasto.create.temporal_smoothing import OutputSmoother, PosteriorSmoother
from impasto.errors import ImpastoError

LAST = "last.safetensors"
"""In the folder of finished frames."""
Watch = Callable[[Iterable[Frame], int], Iterable[Frame]]
"""Given the frames of a clip and about how many they are, yields them: a bar counts here, and a raise cancels."""


@dataclass(frozen=True)
class StylizedClip:
    """What came of a clip."""

    path: Path
    frames: int
    difference: float | None
    """How differently it moves from its content, see `impasto.create.clip.frame_difference`; None where it was made
    before, or as pixel art."""
    broken_off: str = ""
    """Why the content ended early."""


@dataclass(frozen=True)
class Last:
    """The last frame that is finished, as it was decoded: all that a stopped clip needs to go on to the bit."""

    number: int
    decoded: Tensor


def stylize_clip(
    stylizer: Stylizer,
    clip: Clip,
    target: Path,
    *,
    watch: Watch = lambda frames, count: frames,
) -> StylizedClip:
    """Stylize ``clip`` into ``target`` (.webm, .mp4 or .webp); stopped, the same call goes on.

    The style is read once, and every frame starts from the same noise. Temporal smoothing averages each frame with
    those before it (`impasto.create.temporal_smoothing`). Finished frames wait in a folder beside ``target``. Raises
    ImpastoError where ``target`` is a file that Impasto did not make, and where the clip cannot be read or stylized as
    asked.
    """
    recipe = stylizer.recipe_of(str(clip.path), _hash_of(clip.path))
    if target.exists():
        before = comment_of(target)
        if before == recipe.to_json():
            return StylizedClip(target, clip.count, None)
        if not before.startswith('{"format": '):
            raise ImpastoError(f"--out: {target} exists and is not a clip that Impasto made; choose another folder.")
    check_pixel_art(stylizer.config.output.pixel_art, clip.height, clip.width, clip.path.name)
    folder = _work_folder(target, recipe)
    canvases = stylizer.canvases(clip.height, clip.width)
    frames = watch(clip, clip.count)
    times = list(_stylize_frames(stylizer, canvases, frames, folder))
    files = [_frame_file(folder, number) for number in range(len(times))]
    with Image.open(files[0]) as first:
        size = first.size
    has_sound = clip.has_sound and target.suffix != f".{ClipFormat.WEBP}"
    write_clip(
        target,
        ((_opened(file), time) for file, time in zip(files, times, strict=True)),
        size=size,
        rate=clip.rate,
        sound_of=clip.path if has_sound else None,
        comment=recipe.to_json(),
    )
    same_size = size == (clip.width, clip.height)
    difference = frame_difference(map(_unit_rgb, files), (_unit(frame)[:3] for frame in clip)) if same_size else None
    shutil.rmtree(folder)
    return StylizedClip(target, len(times), difference, clip.broken_off)


def _stylize_frames(
    stylizer: Stylizer, canvases: Sequence[Canvas], frames: Iterable[Frame], folder: Path
) -> Iterator[float]:
    """Stylize the frames that are not in ``folder`` yet; yields the time of each."""
    smoothing, device = stylizer.config.temporal_smoothing, stylizer.style.mean.device
    told, shown, last = [PosteriorSmoother() for _ in canvases], OutputSmoother(), _read_last(folder)
    for number, frame in enumerate(frames):
        passes, content = [], torch.from_numpy(_unit(frame)[None])
        for canvas, hears in zip(canvases, told, strict=True):
            # Also of frames that are there already: the next one hears it.
            image = canvas.put(frame.pixels).to(device)
            fused = stylizer.posterior(stylizer.encode(image))
            fused = hears(image, fused) if smoothing else fused
            if number > last.number:
                passes.append(canvas.take(stylizer.output(fused)))
        if number > last.number:
            decoded = torch.from_numpy(np.mean(passes, 0)[None])
            decoded = shown(content, decoded) if smoothing else decoded
            save_image(stylizer.finished(decoded[0].numpy(), frame.pixels), _frame_file(folder, number))
            _write_last(folder, Last(number, decoded))
        elif number == last.number:
            shown.remember(content, last.decoded)
        yield frame.seconds


def _read_last(folder: Path) -> Last:
    """The last frame that is finished; number -1 where there is none."""
    try:
        found = load_file(folder / LAST)
    except (FileNotFoundError, SafetensorError):
        return Last(-1, torch.zeros(0))
    return Last(int(found["number"]), found["decoded"])


def _write_last(folder: Path, last: Last) -> None:
    tensors = {"number": torch.tensor(last.number), "decoded": last.decoded.contiguous()}
    write_atomically(folder / LAST, lambda temporary: save_file(tensors, temporary))


def _work_folder(target: Path, recipe: Recipe) -> Path:
    """Where finished frames wait; emptied where they were made by another recipe."""
    folder = target.with_name(f".{target.name}.frames")
    note = folder / "recipe.json"
    if note.exists() and note.read_text(encoding="utf-8") != recipe.to_json():
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_text_atomically(note, recipe.to_json())
    return folder


def _frame_file(folder: Path, number: int) -> Path:
    return folder / f"{number:06}.png"


def _opened(file: Path) -> Image.Image:
    with Image.open(file) as image:
        image.load()
        return image


def _unit_rgb(file: Path) -> np.ndarray:
    return np.asarray(over_white(_opened(file))).transpose(2, 0, 1).astype(np.float32) / 255


def _unit(frame: Frame) -> np.ndarray:
    return frame.pixels.astype(np.float32) / 255


def _hash_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
