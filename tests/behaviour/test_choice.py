"""What a training chooses by itself."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from impasto.config import Fit, Size, TrainConfig
from impasto.data import prepare
from impasto.data.survey import MAX_SURVEYED, survey
from impasto.errors import ImpastoError
from impasto.training import choice
from impasto.training.choice import choose
from impasto.training.loop import train
from impasto.training.run import open_run


def write_images(folder: Path, sizes: list[tuple[int, int]], mode: str = "RGBA", suffix: str = "png") -> Path:
    """Images of these sizes; with alpha, a disc on a transparent ground."""
    folder.mkdir(parents=True)
    for number, (width, height) in enumerate(sizes):
        y, x = np.mgrid[:height, :width]
        rgba = np.full((height, width, 4), 10 * number % 250, np.uint8)
        rgba[..., 3] = 255 * (np.hypot(y - height / 2, x - width / 2) < min(height, width) / 2.5)
        Image.fromarray(rgba, "RGBA").convert(mode).save(folder / f"{number}.{suffix}")
    return folder


def config_for(folder: Path, **settings: object) -> TrainConfig:
    return TrainConfig(folder, folder.parent / "run", device="cpu", **settings)  # type: ignore[arg-type]


def test_small_sprites_keep_their_pixels(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "in", [(72, 72), (60, 72), (20, 30)])
    chosen = choose(config_for(folder, minutes=10, init="none"))
    assert (chosen.config.resolution, chosen.config.fit, chosen.config.size) == (96, Fit.KEEP, Size.TINY)
    assert chosen.config.init is None
    resolution, size = chosen.reasons
    assert "--resolution 96" in resolution and "72 px" in resolution
    assert "--size tiny" in size and "3 images and 10 minutes on a CPU" in size
    images = prepare(folder, resolution=96, fit=Fit.KEEP, cache=tmp_path / "cache")
    with Image.open(folder / "1.png") as sprite:
        pixels = np.asarray(sprite).transpose(2, 0, 1)
    row = next(row for row, entry in enumerate(images.entries) if entry.name == "1.png")
    padded = images.batch([row])[0]
    inner = padded[:, 12:84, 18:78]
    assert np.array_equal(inner[3], pixels[3])
    assert np.array_equal(inner[:3, pixels[3] > 0], pixels[:3, pixels[3] > 0])
    assert padded[3].sum() == inner[3].sum()


def test_few_images_begin_with_a_trained_autoencoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_images(tmp_path / "in", [(72, 72)] * 3)
    chosen = choose(config_for(folder))
    config = chosen.config
    assert (config.init, config.size, config.prior_size) == (Path("icons"), Size.SMALL, Size.TINY)
    assert (config.resolution, config.stage1_share) == (96, choice.FEW_IMAGES_SHARE)
    assert (
        "--init icons" in chosen.reasons[1] and "CC BY-SA" in chosen.reasons[1] and "--init none" in chosen.reasons[1]
    )
    given = choose(config_for(folder, stage1_share=0.5, prior_size=Size.SMALL)).config
    assert (given.stage1_share, given.prior_size) == (0.5, Size.SMALL)
    monkeypatch.setattr(choice, "FEW_IMAGES", 3)
    assert choose(config_for(folder)).config.init is None


def test_small_opaque_images_are_cropped_at_their_own_scale(tmp_path: Path) -> None:
    chosen = choose(config_for(write_images(tmp_path / "in", [(100, 80), (80, 80), (88, 120)], "RGB"))).config
    assert (chosen.resolution, chosen.fit) == (64, Fit.AUTO)
    assert chosen.zoom == pytest.approx(80 / 64)


@pytest.mark.parametrize(("mode", "suffix"), [("RGB", "jpg"), ("RGBA", "png")])
@pytest.mark.parametrize(("minutes", "expected"), [(10.0, 64), (120.0, 128)])
def test_large_images_are_scaled_down_to_what_the_budget_allows(
    mode: str, suffix: str, minutes: float, expected: int, tmp_path: Path
) -> None:
    folder = write_images(tmp_path / "in", [(640, 480)] * 3, mode, suffix)
    chosen = choose(config_for(folder, minutes=minutes))
    assert (chosen.config.resolution, chosen.config.fit) == (expected, Fit.AUTO)
    assert "640 px" in chosen.reasons[0]


def test_the_size_grows_with_images_and_budget_and_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_images(tmp_path / "in", [(32, 32)] * 2)
    monkeypatch.setattr(choice, "FEW_IMAGES", 2)
    assert choose(config_for(folder, minutes=10)).config.size is Size.TINY
    assert choose(config_for(folder, minutes=100)).config.size is Size.SMALL
    monkeypatch.setattr(choice, "choose_device", lambda device: ("cuda", "as if"))
    assert choose(config_for(folder, minutes=10)).config.size is Size.SMALL
    monkeypatch.setattr(choice, "MANY_IMAGES", 2)
    assert choose(config_for(folder, minutes=100)).config.size is Size.BASE


def test_what_is_given_is_kept(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "in", [(72, 72)] * 2)
    given = config_for(folder, size=Size.BASE, resolution=64)
    assert choose(given).config == given and not choose(given).reasons
    assert choose(config_for(folder, size=Size.BASE)).config.resolution == 96
    assert choose(config_for(folder, resolution=64)).config.fit is Fit.AUTO
    nothing = config_for(folder, size=Size.TINY, resolution=64, init="none")
    assert choose(nothing).config == dataclasses.replace(nothing, init=None)
    assert choose(config_for(folder, fit=Fit.PAD)).config.fit is Fit.PAD


def test_a_folder_without_images_fails_when_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "damaged.png").write_bytes(b"no image")
    for init in (None, "none"):
        assert choose(config_for(tmp_path / "in", init=init)).config.init is None
        with pytest.raises(ImpastoError, match="has no readable image"):
            train(config_for(tmp_path / "in", init=init))


def test_a_resumed_run_keeps_its_choices(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "in", [(72, 72)] * 2)
    first = choose(config_for(folder, minutes=10)).config
    open_run(first)
    write_images(folder / "more", [(300, 300)] * 9)
    again = choose(config_for(folder, minutes=100))
    assert again.config == dataclasses.replace(first, minutes=100) and not again.reasons
    open_run(again.config)


def test_a_model_to_begin_with_decides(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "in", [(72, 72)] * 2)
    initial = choose(config_for(folder, init="icons")).config
    assert (initial.size, initial.resolution) == (Size.SMALL, 128)
    finetuned = config_for(folder, finetune="icons")
    assert choose(finetuned).config == finetuned


def test_a_survey_opens_some_of_many_images(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "in", [(8, 9)] * (MAX_SURVEYED + 5))
    (folder / "damaged.png").write_bytes(b"no image")
    found = survey(folder, exclude=tmp_path / "none")
    assert found.count == MAX_SURVEYED + 6 and len(found.long_sides) <= MAX_SURVEYED
    assert set(found.long_sides) == {9} and set(found.short_sides) == {8} and found.share_with_alpha == 1
    with pytest.raises(ImpastoError, match="does not exist"):
        survey(tmp_path / "nowhere", exclude=tmp_path / "none")
