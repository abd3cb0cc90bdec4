"""Read and write clips: frames with their times, and the sound. PyAV brings FFmpeg with VP9 and AV1."""

import importlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from impasto.atomic import write_atomically
from impasto.config import ClipFormat
from impasto.create.image import over_white
from impasto.errors import ImpastoError

DEMUXERS = {
    ".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".webm": "matroska", ".mkv": "matroska", ".avi": "avi", ".gif": "gif",
}  # fmt: skip
"""FFmpeg's demuxer for each suffix. FFmpeg must not detect the format: a playlist with the name of a clip would make it
open other files."""
TIME_BASE = Fraction(1, 90_000)
"""Unit of time in written clips, in seconds."""
MAX_FRAMES = 200_000
IMAGE_DESCRIPTION = 0x010E
"""EXIF tag."""
VIDEO_CODECS = {
    ClipFormat.WEBM: ("libvpx-vp9", {"crf": "24", "b": "0", "row-mt": "1", "cpu-used": "4"}),
    ClipFormat.MP4: ("libsvtav1", {"crf": "28", "preset": "8"}),
}
SOUND_CODECS = {ClipFormat.WEBM: ("opus", "vorbis"), ClipFormat.MP4: ("aac", "mp3", "opus", "ac3", "flac", "alac")}
"""Codecs of sound that each format holds. Sound in another codec is encoded with Opus."""


@dataclass(frozen=True)
class Frame:
    """One image of a clip."""

    pixels: np.ndarray
    """uint8 (channels, height, width): RGB over white, and alpha if the clip has four channels."""
    seconds: float
    """Time from the beginning of the clip."""


class Clip:
    """A clip in a file.

    Raises ImpastoError if it cannot be read, has no video stream, or the extra ``video`` is not installed.
    """

    def __init__(self, path: Path, *, max_side: int, channels: int) -> None:
        """Frames with a longer side above ``max_side`` pixels are scaled down. ``channels`` is 3 or 4."""
        self.path, self.channels = path, channels
        with _open(path) as container:
            video = _video(container, path)
            if not video.width or not video.height:
                raise ImpastoError(f"{path}: its video stream has no size; the file is damaged.")
            scale = min(1.0, max_side / max(video.width, video.height))
            self.width, self.height = (max(1, round(side * scale)) for side in (video.width, video.height))
            self.rate: Fraction = Fraction(video.average_rate or video.guessed_rate or 25)
            """Frames per second."""
            duration = container.duration / 1e6 if container.duration else 0.0
            self.count: int = video.frames or max(1, round(duration * self.rate))
            """Number of frames; an estimate for some formats."""
            self.has_sound = bool(container.streams.audio)
        self.decode_error = ""
        """The error that ended iteration early; empty if every frame was decoded."""

    def __iter__(self) -> Iterator[Frame]:
        """Decode the frames in display order."""
        av = _av()
        with _open(self.path) as container:
            video = _video(container, self.path)
            video.thread_type = "AUTO"
            first, number = None, 0
            try:
                for frame in container.decode(video):
                    if number == MAX_FRAMES:
                        raise ImpastoError(f"{self.path} has more than {MAX_FRAMES:,} frames: cut it into parts.")
                    time = float(frame.time) if frame.time is not None else number / float(self.rate)
                    first = time if first is None else first
                    yield Frame(self._pixels(frame), max(0.0, time - first))
                    number += 1
            except av.FFmpegError as error:
                if number == 0:
                    raise ImpastoError(f"{self.path} cannot be decoded: {error.strerror}.") from error
                # Many clips are truncated. The frames before the damage are intact.
                self.decode_error = f"{self.path} cannot be decoded after {number} frames: {error.strerror}"
        if number == 0:
            raise ImpastoError(f"{self.path} has no frames.")

    def _pixels(self, frame: Any) -> np.ndarray:
        rgba = frame.to_ndarray(format="rgba", width=self.width, height=self.height).transpose(2, 0, 1)
        alpha = rgba[3:].astype(np.uint16)
        rgb = (rgba[:3] * alpha + 255 * (255 - alpha) + 127) // 255
        return np.concatenate([rgb, alpha]).astype(np.uint8)[: self.channels]


def write_clip(
    path: Path,
    frames: Iterable[tuple[Image.Image, float]],
    *,
    size: tuple[int, int],
    rate: Fraction,
    sound_of: Path | None = None,
    comment: str = "",
) -> None:
    """Write images and their times in seconds to a .webm, .mp4 or .webp file, atomically.

    ``size`` is (width, height) in pixels, ``rate`` frames per second. The sound is copied from the clip ``sound_of``.
    ``comment`` is stored in the metadata of the file.
    """
    format = ClipFormat(path.suffix.removeprefix("."))
    if format is ClipFormat.WEBP:
        write_atomically(path, lambda temporary: _write_animation(temporary, frames, rate, comment))
    else:
        write_atomically(path, lambda temporary: _write_video(temporary, format, frames, size, rate, sound_of, comment))


def is_clip(path: Path) -> bool:
    """Whether the suffix is that of a clip."""
    return path.suffix.lower() in DEMUXERS


def comment_of(path: Path) -> str:
    """The comment that `write_clip` stored in a file; empty if there is none."""
    if path.suffix == f".{ClipFormat.WEBP}":
        try:
            with Image.open(path, formats=("WEBP",)) as image:
                return str(image.getexif().get(IMAGE_DESCRIPTION, ""))
        except OSError:
            return ""
    try:
        with _open(path) as container:
            metadata = {name.lower(): value for name, value in container.metadata.items()}
    except ImpastoError:
        return ""
    return metadata.get("comment", "")


def frame_difference(stylized: Iterable[np.ndarray], content: Iterable[np.ndarray]) -> float:
    """Mean absolute difference between the changes of a stylized clip from frame to frame and those of its content.

    Values of both are in [0, 1]. The result is 0 for equal changes (Wang 2021, arXiv 2102.05822).
    """
    previous: tuple[np.ndarray, np.ndarray] | None = None
    total, count = 0.0, 0
    for a, b in zip(stylized, content, strict=True):
        if previous is not None:
            total += float(np.abs((a - previous[0]) - (b - previous[1])).mean())
            count += 1
        previous = a, b
    return total / max(1, count)


def _write_animation(path: Path, frames: Iterable[tuple[Image.Image, float]], rate: Fraction, comment: str) -> None:
    images, times = zip(*frames, strict=True)
    ends = [*times[1:], times[-1] + 1 / float(rate)]
    durations = [max(1, round(1000 * (b - a))) for a, b in zip(times, ends, strict=True)]
    exif = Image.Exif()
    exif[IMAGE_DESCRIPTION] = comment
    options = {"append_images": images[1:], "duration": durations, "exif": exif}
    # Lossless: some builds of libwebp drop the alpha of lossy animations.
    images[0].save(path, "WEBP", save_all=True, loop=0, lossless=True, **options)


def _write_video(
    path: Path,
    format: ClipFormat,
    frames: Iterable[tuple[Image.Image, float]],
    size: tuple[int, int],
    rate: Fraction,
    sound_of: Path | None,
    comment: str,
) -> None:
    av = _av()
    codec, options = VIDEO_CODECS[format]
    with av.open(str(path), "w", format=format.value) as output:
        output.metadata["comment"] = comment
        video = output.add_stream(codec, rate=rate, options=options)
        video.width, video.height = (side + side % 2 for side in size)  # 4:2:0 needs even sides
        video.pix_fmt = "yuv420p"
        video.codec_context.time_base = TIME_BASE
        sound = _Sound(output, sound_of, format) if sound_of is not None else None
        for image, seconds in frames:
            if sound is not None:
                sound.mux_until(seconds)
            pixels = np.asarray(over_white(image))
            odd = [(0, side % 2) for side in pixels.shape[:2]]
            frame = av.VideoFrame.from_ndarray(np.pad(pixels, [*odd, (0, 0)], mode="edge"), format="rgb24")
            frame.pts, frame.time_base = round(seconds / TIME_BASE), TIME_BASE
            output.mux(video.encode(frame))
        output.mux(video.encode())
        if sound is not None:
            sound.finish()


class _Sound:
    """Copies the sound of one clip into another, packet by packet."""

    def __init__(self, output: Any, source: Path, format: ClipFormat) -> None:
        self._output = output
        self._input = _open(source)
        self._source = self._input.streams.audio[0]
        self._is_copied = self._source.codec_context.name in SOUND_CODECS[format]
        if self._is_copied:
            self._target = output.add_stream_from_template(self._source)
        else:
            self._target = output.add_stream("libopus", rate=48_000)
            self._resampler = _av().AudioResampler(format="flt", layout="stereo", rate=48_000)
        self._packets = self._input.demux(self._source)
        self._pending: Any = next(self._packets, None)

    def mux_until(self, seconds: float) -> None:
        """Write the packets that start before this time."""
        while self._pending is not None:
            packet = self._pending
            if packet.pts is not None and packet.pts * packet.time_base > seconds:
                return
            self._mux(packet)
            self._pending = next(self._packets, None)

    def finish(self) -> None:
        """Write the remaining packets and flush the encoder."""
        self.mux_until(float("inf"))
        if not self._is_copied:
            for frame in self._resampler.resample(None):
                self._output.mux(self._target.encode(frame))
            self._output.mux(self._target.encode())
        self._input.close()

    def _mux(self, packet: Any) -> None:
        if not self._is_copied:
            for frame in packet.decode():
                for resampled in self._resampler.resample(frame):
                    self._output.mux(self._target.encode(resampled))
        elif packet.dts is not None:
            packet.stream = self._target
            self._output.mux(packet)


def _open(path: Path) -> Any:
    av = _av()
    if not path.is_file():
        raise ImpastoError(f"{path} does not exist: use an image, a folder, an archive or a clip.")
    try:
        return av.open(str(path), format=DEMUXERS[path.suffix.lower()], options={"protocol_whitelist": "file"})
    except av.FFmpegError as error:
        raise ImpastoError(f"{path} is not a readable clip: {error.strerror}.") from error


def _video(container: Any, path: Path) -> Any:
    if not container.streams.video:
        raise ImpastoError(f"{path} has no video stream.")
    return container.streams.video[0]


def _av() -> Any:
    os.environ.setdefault("SVT_LOG", "1")  # the AV1 encoder then logs errors only
    try:
        return importlib.import_module("av")
    except ImportError as error:
        raise ImpastoError('clips need the extra video: pip install -e ".[video]"') from error
