"""Stylize clips: temporal smoothing, the sound of the original, and resuming after any frame."""

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

STATE_FILE = "last.safetensors"
"""Name of the `SmoothingState` in the folder of finished frames."""
Watch = Callable[[Iterable[Frame], int], Iterable[Frame]]
"""Wraps the frames of a clip and their approximate number: it can report progress, and raise to cancel."""


@dataclass(frozen=True)
class StylizedClip:
    """The result of stylizing a clip."""

    path: Path
    frames: int
    """Number of frames."""
    difference: float | None
    """See `impasto.create.clip.frame_difference`; None if the clip existed already, or is pixel art."""
    decode_error: str = ""
    """The error that ended the content early; empty if all of it was decoded."""


@dataclass(frozen=True)
class SmoothingState:
    """The last finished frame, all that resuming a clip needs to give the same bits."""

    number: int
    """Number of the frame, -1 if no frame is finished."""
    output: Tensor
    """(1, channels, height, width) in [0, 1], after smoothing."""


def stylize_clip(
    stylizer: Stylizer,
    clip: Clip,
    target: Path,
    *,
    watch: Watch = lambda frames, count: frames,
) -> StylizedClip:
    """Stylize ``clip`` and write it to ``target`` (.webm, .mp4 or .webp). After an interruption the same call resumes.

    The noise is the same in all frames. Temporal smoothing averages each frame with the previous ones
    (`impasto.create.temporal_smoothing`). Finished frames are stored in a hidden folder next to ``target`` until the
    clip is complete. Raises ImpastoError if ``target`` is a file that Impasto did not write, the clip cannot be read,
    or its size does not fit the settings.
    """
    recipe = stylizer.recipe_of(str(clip.path), _hash_of(clip.path))
    if target.exists():
        comment = comment_of(target)
        if comment == recipe.to_json():
            return StylizedClip(target, clip.count, None)
        if not comment.startswith('{"format": '):
            raise ImpastoError(f"--out: {target} exists and is not a clip that Impasto wrote; choose another folder.")
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
        ((_load(file), time) for file, time in zip(files, times, strict=True)),
        size=size,
        rate=clip.rate,
        sound_of=clip.path if has_sound else None,
        comment=recipe.to_json(),
    )
    same_size = size == (clip.width, clip.height)
    difference = frame_difference(map(_unit_rgb, files), (_unit(frame)[:3] for frame in clip)) if same_size else None
    shutil.rmtree(folder)
    return StylizedClip(target, len(times), difference, clip.decode_error)


def _stylize_frames(
    stylizer: Stylizer, canvases: Sequence[Canvas], frames: Iterable[Frame], folder: Path
) -> Iterator[float]:
    """Stylize the frames that ``folder`` lacks; yields the time of every frame in seconds."""
    smoothing, device = stylizer.config.temporal_smoothing, stylizer.style.mean.device
    posterior_smoothers = [PosteriorSmoother() for _ in canvases]
    output_smoother, state = OutputSmoother(), _read_state(folder)
    for number, frame in enumerate(frames):
        shifted, content = [], torch.from_numpy(_unit(frame)[None])
        for canvas, smooth in zip(canvases, posterior_smoothers, strict=True):
            # Finished frames are encoded too: the posterior of the next one is pooled with theirs.
            image = canvas.put(frame.pixels).to(device)
            posterior = stylizer.posterior(stylizer.encode(image))
            posterior = smooth(image, posterior) if smoothing else posterior
            if number > state.number:
                shifted.append(canvas.take(stylizer.output(posterior)))
        if number > state.number:
            output = torch.from_numpy(np.mean(shifted, 0)[None])
            output = output_smoother(content, output) if smoothing else output
            save_image(stylizer.finish(output[0].numpy(), frame.pixels), _frame_file(folder, number))
            _write_state(folder, SmoothingState(number, output))
        elif number == state.number:
            output_smoother.remember(content, state.output)
        yield frame.seconds


def _read_state(folder: Path) -> SmoothingState:
    try:
        tensors = load_file(folder / STATE_FILE)
    except (FileNotFoundError, SafetensorError):
        return SmoothingState(-1, torch.zeros(0))
    return SmoothingState(int(tensors["number"]), tensors["decoded"])


def _write_state(folder: Path, state: SmoothingState) -> None:
    tensors = {"number": torch.tensor(state.number), "decoded": state.output.contiguous()}
    write_atomically(folder / STATE_FILE, lambda temporary: save_file(tensors, temporary))


def _work_folder(target: Path, recipe: Recipe) -> Path:
    """The folder of finished frames, emptied if they belong to another recipe."""
    folder = target.with_name(f".{target.name}.frames")
    recipe_file = folder / "recipe.json"
    if recipe_file.exists() and recipe_file.read_text(encoding="utf-8") != recipe.to_json():
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_text_atomically(recipe_file, recipe.to_json())
    return folder


def _frame_file(folder: Path, number: int) -> Path:
    return folder / f"{number:06}.png"


def _load(file: Path) -> Image.Image:
    with Image.open(file) as image:
        image.load()
        return image


def _unit_rgb(file: Path) -> np.ndarray:
    return np.asarray(over_white(_load(file))).transpose(2, 0, 1).astype(np.float32) / 255


def _unit(frame: Frame) -> np.ndarray:
    return frame.pixels.astype(np.float32) / 255


def _hash_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
