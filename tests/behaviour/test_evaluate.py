"""`impasto evaluate`, end to end: planted copies, samples of the wrong collection, scores that cannot be measured."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from images import noise
from impasto import api
from impasto.cli.main import main
from impasto.config import Against, EvaluateConfig, ModelConfig, Sampling, Size, flat, sized_model
from impasto.data import ImageSet, prepare
from impasto.errors import ImpastoError
from impasto.evaluate import evaluate as module
from impasto.evaluate import samples as sampling
from impasto.evaluate.evaluator import Evaluator
from impasto.evaluate.report import to_html, to_json, to_text
from impasto.evaluate.scores import Best, Measured, Score, Unmeasured
from impasto.model.gaussian import Gaussian
from impasto.model.impasto import Impasto, save_model


def write_folder(folder: Path, count: int) -> Path:
    """Two collections: blobs, and the same blobs with dark stripes; images of the same number share a key."""
    lines = []
    for number in range(count):
        for collection in ("plain", "striped"):
            image = np.asarray(noise(32, 32, seed=number)).copy()
            if collection == "striped":
                image[::4] = image[1::4] = 0
            path = folder / collection / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            api.Image.fromarray(image).save(path)
            lines.append(json.dumps({"file_name": f"{collection}/{number}.png", "key": str(number)}))
    (folder / "metadata.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return folder


@pytest.fixture
def images(tmp_path: Path) -> ImageSet:
    """A hundred images, with held-out ones."""
    return prepare(write_folder(tmp_path / "in", 50), resolution=32, cache=tmp_path / "cache")


def model_of(config: ModelConfig) -> tuple[Impasto, Gaussian]:
    """An untrained model, and styles of its collections."""
    styles = Gaussian.standard(torch.zeros(len(config.collections), config.style_dim))
    return Impasto(config).eval().requires_grad_(False), styles


def replay(images: ImageSet, indices: Sequence[int], noise_scale: float):
    """A replacement of `generate_each` that yields real images with noise."""

    def generate_each(model: Impasto, styles: Gaussian, settings: Sampling) -> Iterator[torch.Tensor]:
        rng = np.random.default_rng(0)
        rows = [indices[number % len(indices)] for number in range(len(styles))]
        image = images.batch(rows).astype(np.float32) / 255
        yield torch.from_numpy(image + noise_scale * rng.standard_normal(image.shape).astype(np.float32)).clamp(0, 1)

    return generate_each


def scores_of(report: module.Report) -> dict[str, Measured]:
    """All scores by name."""
    return {score.name: score for _, group in report.scores.groups() for score in group}


def value_of(report: module.Report, name: str) -> float:
    """The value of a measured score."""
    score = scores_of(report)[name]
    assert isinstance(score, Score), score
    return score.value


def test_features_of_real_images_are_cached(tmp_path: Path, images: ImageSet) -> None:
    cpu, tasks = torch.device("cpu"), []
    first = Evaluator(images, cpu, 0, cache=tmp_path)
    again = Evaluator(images, cpu, 0, lambda task, done, total: tasks.append(task), cache=tmp_path)
    assert tasks == []
    for name in ("pixels", "pooled", "statistics"):
        assert torch.equal(getattr(first.train, name), getattr(again.train, name))
        assert torch.equal(getattr(first.held_out, name), getattr(again.held_out, name))
    for file in tmp_path.glob("features-*"):
        file.write_bytes(file.read_bytes()[:100])  # damaged files are computed again
    repaired = Evaluator(images, cpu, 0, lambda task, done, total: tasks.append(task), cache=tmp_path)
    assert tasks and torch.equal(repaired.train.pooled, first.train.pooled)


def test_planted_copies_and_the_wrong_collection_are_detected(
    images: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = sized_model(Size.TINY, channels=3, resolution=32, collections=images.collections)
    model, styles = model_of(config)
    training = images.train.tolist()
    monkeypatch.setattr(sampling, "generate_each", replay(images, training, 0.002))
    with_copies = module.evaluate(model, styles, images, flat(EvaluateConfig, samples=40, steps=2))
    monkeypatch.setattr(sampling, "generate_each", replay(images, images.held_out.tolist(), 0.0))
    without_copies = module.evaluate(model, styles, images, flat(EvaluateConfig, samples=40, steps=2))
    assert value_of(with_copies, "copy_rate_pixels") > 0.9
    assert value_of(with_copies, "copy_rate_features") > 0.5
    assert value_of(without_copies, "copy_rate_pixels") < 0.3
    # All samples are of one collection, so the probe rejects those requested of the other.
    plain = [i for i in training if images.collection_ids[i] == 0]
    monkeypatch.setattr(sampling, "generate_each", replay(images, plain, 0.0))
    one_collection = module.evaluate(model, styles, images, flat(EvaluateConfig, samples=40, steps=2))
    assert value_of(one_collection, "probe_accuracy of plain") > 0.8
    assert value_of(one_collection, "probe_accuracy of striped") < 0.2


def test_a_terminal_shows_the_lowest_of_many_collections() -> None:
    each = tuple(Score(f"probe_accuracy of {n}", n / 20, Best.HIGH, 5) for n in range(20))
    scores = module.Scores((), (), (Score("probe_accuracy", 0.5, Best.HIGH, 100), *each), (), (), ())
    report = module.Report({}, scores, {})
    text = to_text(report)
    assert "probe_accuracy of 7 " in text and "probe_accuracy of 8 " not in text and "and 12 higher scores" in text
    assert "probe_accuracy of 19" in to_json(report) and "probe_accuracy of 19" in to_html(report, "t")


@pytest.mark.slow
def test_every_group_is_measured_or_gives_a_reason(images: ImageSet) -> None:
    shape = sized_model(Size.TINY, channels=3, resolution=32, collections=images.collections)
    model, styles = model_of(shape)
    config = flat(EvaluateConfig, samples=30, steps=2, against=Against.ALL)
    tasks: list[str] = []
    report = module.evaluate(
        model,
        styles,
        images,
        config,
        progress=lambda task, done, total: tasks.append(task),
    )
    scores = scores_of(report)
    assert all(group for _, group in report.scores.groups())
    for name in ("psnr_db", "frechet_lite2", "kernel_lite2", "precision", "recall", "set_unity", "swap_distance"):
        assert isinstance(scores[name], Score), scores[name]
    frechet = scores["frechet_lite2"]
    assert isinstance(frechet, Score) and frechet.interval is not None
    assert frechet.value > frechet.references["other real images"] >= 0
    assert frechet.references["training images reconstructed"] > frechet.references["other real images"]
    probe = scores["probe_accuracy"]
    assert isinstance(probe, Score) and 0 <= probe.references["training images reconstructed"] <= 1
    assert "generating samples" in tasks and tasks[-1] == "done"
    again = module.evaluate(model, styles, images, config)
    assert to_json(again) == to_json(report)
    few = module.evaluate(model, styles, images, flat(EvaluateConfig, samples=4, steps=1))
    missing = [s for s in scores_of(few).values() if isinstance(s, Unmeasured)]
    assert any("at least 20" in s.reason for s in missing)
    assert "not measured: it needs at least 20" in to_text(few) and "not measured" in to_html(few, "t")


def test_images_that_do_not_fit_the_model_are_refused(images: ImageSet) -> None:
    config = sized_model(Size.TINY, channels=4, resolution=32, collections=images.collections)
    with pytest.raises(ImpastoError, match="3 channels at 32 px"):
        module.evaluate(*model_of(config), images)
    config = sized_model(Size.TINY, channels=3, resolution=32, collections=("other",))
    with pytest.raises(ImpastoError, match="its own folder"):
        module.evaluate(*model_of(config), images)


def test_the_command_writes_a_self_contained_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_folder(tmp_path / "in", 12)
    config = sized_model(Size.TINY, channels=3, resolution=32, collections=("plain", "striped"))
    model, styles = model_of(config)
    save_model(model, tmp_path / "model.safetensors", styles=styles)
    arguments = [str(tmp_path / "model.safetensors"), str(folder), "--samples", "6", "--steps", "1"]
    assert main(["evaluate", *arguments, "--out", str(tmp_path / "report")]) == 0
    printed = capsys.readouterr().out
    assert "psnr_db" in printed and "report.html" in printed
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") >= 3
    assert "http" not in page and "<script" not in page
    saved = json.loads((tmp_path / "report" / "report.json").read_text(encoding="utf-8"))
    assert saved["format"] == 1 and saved["settings"]["samples"] == 6
    assert saved["scores"]["reconstruction"]["psnr_db"]["count"] >= 1
    assert main(["evaluate", *arguments, "--out", str(tmp_path / "model.safetensors")]) == 2
    assert main(["evaluate", *arguments, "--samples", "1", "--out", str(tmp_path / "x")]) == 2
    assert "--samples 1" in capsys.readouterr().err
