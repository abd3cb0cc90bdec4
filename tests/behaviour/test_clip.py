"""Clips: frames, times and sound are read and written; stylization smooths, resumes, and refuses other files."""

import struct
import wave
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import impasto
from images import noise
from impasto.cli.main import main
from impasto.config import StylizeConfig, flat
from impasto.create.clip import Clip, comment_of, frame_difference, write_clip
from impasto.create.stylize import Stylizer
from impasto.create.temporal_smoothing import OutputSmoother, PosteriorSmoother
from impasto.errors import ImpastoError
from impasto.model.encoder import Posterior
from impasto.model.gaussian import Gaussian
from impasto.model.levels import Levels

av = pytest.importorskip("av")
RATE = Fraction(10)


def scene(count: int, size: tuple[int, int] = (48, 40)) -> list[Image.Image]:
    """A still background, and a square that moves."""
    frames = []
    for number in range(count):
        frame = noise(*size)
        frame.paste((255, 0, 0), (2 * number, 8, 2 * number + 12, 20))
        frames.append(frame)
    return frames


def write_scene(path: Path, count: int = 4) -> Path:
    """Write the scene as a clip of ten frames per second."""
    write_clip(path, [(frame, n / 10) for n, frame in enumerate(scene(count))], size=(48, 40), rate=RATE)
    return path


def add_sound(path: Path, codec: str, suffix: str) -> Path:
    """Write the clip with a tone of one second to another file."""
    with wave.open(str(path.with_suffix(".wav")), "wb") as tone:
        tone.setparams((1, 2, 48_000, 0, "NONE", ""))
        tone.writeframes(b"".join(struct.pack("<h", int(9000 * np.sin(n / 20))) for n in range(48_000)))
    target = path.with_name(f"sounding{suffix}")
    with av.open(str(path)) as video, av.open(str(path.with_suffix(".wav"))) as tone, av.open(str(target), "w") as out:
        image = out.add_stream_from_template(video.streams.video[0])
        sound = out.add_stream(codec, rate=48_000)
        for packet in video.demux(video.streams.video[0]):
            if packet.dts is not None:
                packet.stream = image
                out.mux(packet)
        for frame in tone.decode(audio=0):
            out.mux(sound.encode(frame))
        out.mux(sound.encode())
    return target


def sound_seconds(path: Path) -> float:
    """Duration of the sound of a clip."""
    with av.open(str(path)) as container:
        return sum(frame.samples / frame.sample_rate for frame in container.decode(audio=0))


@pytest.mark.parametrize("suffix", [".webm", ".mp4"])
def test_frames_come_back_with_their_times(tmp_path: Path, suffix: str) -> None:
    clip = Clip(write_scene(tmp_path / f"a{suffix}"), max_side=4096, channels=4)
    assert (clip.width, clip.height, clip.count, clip.has_sound) == (48, 40, 4, False)
    frames = list(clip)
    assert [round(frame.seconds, 2) for frame in frames] == [0, 0.1, 0.2, 0.3]
    assert frames[0].pixels.shape == (4, 40, 48) and (frames[0].pixels[3] == 255).all()
    for frame, original in zip(frames, scene(4), strict=True):
        assert np.abs(frame.pixels[:3].transpose(1, 2, 0).astype(int) - np.asarray(original)).mean() < 12
    half = Clip(tmp_path / f"a{suffix}", max_side=24, channels=3)
    assert (half.width, half.height) == (24, 20) and next(iter(half)).pixels.shape == (3, 20, 24)


def test_an_animation_keeps_alpha_and_times(tmp_path: Path) -> None:
    frames = [(noise(32, 32, mode="RGBA", seed=n), n / 5) for n in range(3)]
    write_clip(tmp_path / "a.webp", frames, size=(32, 32), rate=Fraction(5), comment="x")
    with Image.open(tmp_path / "a.webp") as animation:
        assert animation.n_frames == 3 and animation.mode == "RGBA"  # pyrefly: ignore
        animation.load()
        assert animation.info["duration"] == 200
    assert comment_of(tmp_path / "a.webp") == "x"


@pytest.mark.parametrize(
    ("codec", "suffix", "target"),
    [("libopus", ".webm", ".webm"), ("aac", ".mkv", ".webm"), ("aac", ".mkv", ".mp4"), ("libmp3lame", ".mkv", ".mp4")],
)
def test_the_sound_is_kept(tmp_path: Path, codec: str, suffix: str, target: str) -> None:
    source = add_sound(write_scene(tmp_path / "a.webm", 10), codec, suffix)
    assert Clip(source, max_side=4096, channels=3).has_sound
    frames = [(frame, n / 10) for n, frame in enumerate(scene(10))]
    write_clip(tmp_path / f"out{target}", frames, size=(48, 40), rate=RATE, sound_of=source)
    assert abs(sound_seconds(tmp_path / f"out{target}") - 1) < 0.1


def test_a_gif_is_a_clip(tmp_path: Path) -> None:
    first, *rest = scene(3)
    first.save(tmp_path / "a.gif", save_all=True, append_images=rest, duration=100)
    frames = list(Clip(tmp_path / "a.gif", max_side=4096, channels=3))
    assert len(frames) == 3 and abs(frames[2].seconds - 0.2) < 0.02


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.mp4", None, "does not exist"),
        ("text.mp4", b"#EXTM3U\nhttp://127.0.0.1/x.ts\n", "not a readable clip"),
        ("empty.webm", b"", "not a readable clip"),
    ],
)
def test_a_file_that_is_not_a_clip_is_named(
    run: Path, name: str, content: bytes | None, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        Path(name).write_bytes(content)
    assert main(["stylize", "run", name, "--style", "a", "--out", "new", "--device", "cpu"]) == 2
    error = capsys.readouterr().err
    assert message in error and name in error


def test_a_clip_without_video_is_refused(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with av.open("sound.mp4", "w") as out:
        stream = out.add_stream("aac", rate=48_000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 48_000
        out.mux(stream.encode(frame))
        out.mux(stream.encode())
    assert main("stylize run sound.mp4 --style a --out new --device cpu".split()) == 2
    assert "sound.mp4 has no video stream" in capsys.readouterr().err


def test_a_damaged_clip_is_stylized_up_to_the_damage_with_a_warning(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = write_scene(Path("a.webm"), 8).read_bytes()
    with av.open("a.webm") as container:
        packets = [packet.pos for packet in container.demux(video=0) if packet.size]
    broken = bytearray(whole)
    for position in packets[4:]:
        broken[position + 4 : position + 40] = b"\xff" * 36
    Path("a.webm").write_bytes(bytes(broken))
    assert main("stylize run a.webm --style a --out new --steps 1 --device cpu".split()) == 0
    captured = capsys.readouterr()
    assert "a.webm cannot be decoded after" in captured.err
    assert 0 < len(list(Clip(Path("new/a.webm"), max_side=4096, channels=3))) < 8


def test_a_stylized_clip_holds_its_recipe_and_is_not_stylized_again(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_scene(Path("a.webm"), 3)
    command = "stylize run a.webm --style a --out new --steps 1 --device cpu"
    assert main(command.split()) == 0
    assert "3 frames, frame difference 0." in capsys.readouterr().out
    stylized = Clip(Path("new/a.webm"), max_side=4096, channels=3)
    assert (stylized.width, stylized.height) == (48, 40) and len(list(stylized)) == 3
    assert not list(Path("new").glob(".*")), "the folder of finished frames is removed"
    assert main(command.split()) == 0
    assert "there already" in capsys.readouterr().out
    write_scene(Path("new/a.webm"), 2)
    assert main(command.split()) == 2
    assert "not a clip that Impasto wrote" in capsys.readouterr().err


def test_an_interrupted_clip_is_resumed(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_scene(Path("a.webm"), 4)
    model, config = impasto.load("run", "cpu"), flat(StylizeConfig, style=("a",), steps=1)
    decoded: list[int] = []
    original = Stylizer.output

    def counted(self: Stylizer, *arguments: object) -> object:
        if len(decoded) == 2 and not Path("go").exists():
            raise KeyboardInterrupt
        decoded.append(1)
        return original(self, *arguments)  # pyrefly: ignore

    monkeypatch.setattr(Stylizer, "output", counted)
    with pytest.raises(KeyboardInterrupt):
        model.stylize_clip(Path("a.webm"), Path("resumed.webm"), config)
    Path("go").touch()
    model.stylize_clip(Path("a.webm"), Path("resumed.webm"), config)
    assert len(decoded) == 4, "finished frames are not decoded again"
    model.stylize_clip(Path("a.webm"), Path("whole.webm"), config)
    for a, b in zip(*(Clip(Path(p), max_side=99, channels=3) for p in ("resumed.webm", "whole.webm")), strict=True):
        assert (a.pixels == b.pixels).all()


def test_posteriors_are_averaged_over_time_without_motion_and_reset_at_a_cut() -> None:
    shapes = Levels((1, 4), ((1, 4, 2, 2), (1, 4, 4, 4), (1, 4, 8, 8)))

    def posterior(value: float) -> Posterior:
        return shapes.map(lambda shape: Gaussian(torch.full(shape, value), torch.zeros(shape)))

    smooth, still = PosteriorSmoother(), torch.full((1, 3, 64, 64), 0.5)
    assert torch.equal(smooth(still, posterior(1.0)).maps[0].mean, posterior(1.0).maps[0].mean)
    assert smooth(still, posterior(0.0)).maps[2].mean.min() > 0.8, "no motion"
    changed = still.clone()
    changed[..., :32, :32] = 0.9
    fine = smooth(changed, posterior(0.0)).maps[2].mean
    assert fine[..., 1, 1].max() < 0.01 and fine[..., 7, 7].min() > 0.6, "only positions that change are reset"
    assert smooth(torch.zeros(1, 3, 64, 64), posterior(5.0)).maps[0].mean.min() == 5, "a cut"


def test_outputs_follow_the_optical_flow_and_are_reset_at_a_cut() -> None:
    ground = torch.from_numpy(np.array(noise(96, 64).resize((192, 128)))).permute(2, 0, 1)[None] / 255
    frames = [ground[..., 32:96, 4 * number : 4 * number + 128] for number in range(6)]
    random = torch.Generator().manual_seed(0)
    flickering = [(frame + 0.1 * torch.randn(frame.shape, generator=random)).clamp(0, 1) for frame in frames]
    smooth = OutputSmoother()
    smoothed = [smooth(frame, decoded) for frame, decoded in zip(frames, flickering, strict=True)]
    assert torch.equal(smoothed[0], flickering[0])

    def error(images: list[torch.Tensor]) -> float:
        return float((images[-1] - frames[-1])[..., 16:-32].abs().mean())

    assert error(smoothed) < 0.6 * error(flickering), "the flicker is averaged, without a trail"
    dark = torch.zeros_like(ground[..., 32:96, :128])
    assert torch.equal(smooth(dark, dark), dark), "a cut"


def test_frame_difference_measures_flicker() -> None:
    content = [np.asarray(f).transpose(2, 0, 1) / 255 for f in scene(6)]
    assert frame_difference([0.5 * c for c in content], [0.5 * c for c in content]) == 0
    flicker = [c + 0.1 * (n % 2) for n, c in enumerate(content)]
    assert frame_difference(flicker, content) == pytest.approx(0.1)
    assert frame_difference(content[:1], content[:1]) == 0


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ImpastoError, match=r"\.\[video\]"):
        Clip(tmp_path / "a.mp4", max_side=99, channels=3)
    monkeypatch.setitem(sys.modules, "cv2", None)
    smooth, frame = OutputSmoother(), torch.zeros(1, 3, 64, 64)
    smooth(frame, frame)
    with pytest.raises(ImpastoError, match=r"\.\[video\]"):
        smooth(frame, frame)
