"""Settings: ranges, flat access, flags that cannot act, old names of flags, and the description of all for the page."""

import dataclasses
import doctest
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import impasto
from images import noise
from impasto.cli import flags as flags_module
from impasto.cli.main import main
from impasto.cli.vary import Vary
from impasto.config import (
    FILE_SETTINGS,
    FUSE_CONFIG,
    GENERATE_CONFIG,
    STYLIZE_CONFIG,
    STYLIZE_SAMPLING,
    VARY_CONFIG,
    ClipFormat,
    EvaluateConfig,
    Flow,
    FuseConfig,
    GenerateConfig,
    ModelConfig,
    Output,
    Sampling,
    Size,
    StylizeConfig,
    TrainConfig,
    build,
    flat,
)
from impasto.create import fuse as fuse_module
from impasto.create import stylize as stylize_module
from impasto.errors import ImpastoError, in_python
from impasto.model.impasto import load_model, save_model
from impasto.model.levels import LEVEL_NAMES
from impasto.settings import changed, kind_of, leaves

CONFIGS = (GENERATE_CONFIG, STYLIZE_CONFIG, FUSE_CONFIG, VARY_CONFIG, EvaluateConfig())
OTHER_VALUES: dict[str, Any] = {"seed": 1, "steps": 4, "temperature": 0.5, "guidance": 1.5, "internal_guidance": 1.0}
"""Another value for every leaf of the sampling."""


@pytest.fixture
def alone(run: Path) -> Path:
    """A model whose decoder stylizes without the flow, and an image."""
    network, styles = load_model(run / "model.safetensors")
    network.config = dataclasses.replace(network.config, decoder_only_stylization=True)
    save_model(network, run / "model.safetensors", styles=styles)
    noise(40, 40).save("x.png")
    return run


# Ranges and flat access


@pytest.mark.parametrize("settings", CONFIGS, ids=lambda settings: type(settings).__name__)
def test_every_setting_has_one_name_a_help_text_and_a_default_in_its_range(settings: Any) -> None:
    all_leaves = list(leaves(settings))
    assert len({leaf.name for leaf in all_leaves}) == len(all_leaves)
    for leaf in all_leaves:
        assert leaf.help.endswith(".") and "  " not in leaf.help, leaf.name
        assert leaf.of(settings) == leaf.default
        assert isinstance(leaf.default, tuple) or kind_of(leaf.hint).allows(leaf.default)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"steps": 0}, "--steps 0: use a whole number from 1 to 1000."),
        ({"seed": -1}, "--seed -1: use a whole number from 0 to 9223372036854775807."),
        ({"temperature": float("nan")}, "--temperature nan: use a number from 0."),
        ({"internal_guidance": float("inf")}, "--internal-guidance inf: use a number from 0."),
        ({"strength": 1.5}, "--strength 1.5: use a number from 0 to 1."),
        ({"num_shifts": 3}, "--num-shifts 3: use 1, 2, 4 or 8."),
        ({"max_side": 31}, "--max-side 31: use a whole number from 32 to 4096."),
        ({"pixel_art": 0}, "--pixel-art 0: use a whole number from 1 to 4096."),
        ({"negative_text": "x"}, "--negative-text needs --text: use both, or neither."),
        ({"flow": Flow.OFF, "text": "x"}, "--flow off: only the flow uses --text; use one of them."),
    ],
)
def test_a_value_out_of_range_names_its_flag(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ImpastoError) as caught:
        flat(StylizeConfig, **values)
    assert caught.value.command_line == message
    assert str(caught.value) == in_python(message) and "--" not in str(caught.value)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("--num-shifts 4: use it with --flow off.", "num_shifts 4: use it with flow off."),
        ("-n 0: use 1; see (--start).", "count 0: use 1; see (start)."),
        ("--no-temporal-smoothing does nothing", "temporal_smoothing=False does nothing"),
        ("use --objective.freeze-encoders-after 0.", "use objective.freeze_encoders_after 0."),
        (
            "try: impasto generate MODEL --style IMAGE. Or --flow on.",
            "try: impasto generate MODEL --style IMAGE. Or flow on.",
        ),
        ("run `impasto train x --text` or use --out", "run `impasto train x --text` or use out"),
        ('needs --text: pip install --no-deps -e ".[text]"', 'needs text: pip install --no-deps -e ".[text]"'),
        ("was not written by Impasto: use another --out", "was not written by Impasto: use another out"),
        ("a--b/--c.png is damaged", "a--b/--c.png is damaged"),
        ("--max-side: x-n and -north stay", "max_side: x-n and -north stay"),
    ],
)
def test_messages_in_python_name_settings_instead_of_flags(message: str, expected: str) -> None:
    error = ImpastoError(message)
    assert (str(error), error.command_line) == (expected, message)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: GenerateConfig(style=3),
            "GenerateConfig(style=3): use a name, a path, an image or a sequence of them.",
        ),
        (
            lambda: FuseConfig(pixel=[None]),
            "FuseConfig(pixel=None): use a name, a path, an image or a sequence of them.",
        ),
        (lambda: Sampling(steps="8"), "Sampling(steps='8'): use a whole number from 1 to 1000."),
        (lambda: Sampling(seed=1.5), "Sampling(seed=1.5): use a whole number from 0 to 9223372036854775807."),
        (lambda: StylizeConfig(flow="yes"), "StylizeConfig(flow='yes'): use auto, on or off."),
        (lambda: StylizeConfig(preserve_color=1), "StylizeConfig(preserve_color=1): use True or False."),
        (lambda: GenerateConfig(sampling=3), "GenerateConfig(sampling=3): use a value of type Sampling."),
        (lambda: FuseConfig(level_weights=1), "FuseConfig(level_weights=1): use 4 numbers from 0."),
        (lambda: TrainConfig(data=1, out="x"), "TrainConfig(data=1): use a path."),
        (lambda: TrainConfig(data="x", out="y", batch_size=2.5), "TrainConfig(batch_size=2.5): use a whole number."),
    ],
)
def test_wrong_types_name_the_argument(build: Callable[[], object], message: str) -> None:
    with pytest.raises(ImpastoError) as caught:
        build()
    assert str(caught.value) == message


def test_values_are_converted_to_the_types_of_the_settings() -> None:
    config = TrainConfig(data="emoji", out="runs/x", size="tiny", minutes=3)
    assert config == TrainConfig(Path("emoji"), Path("runs/x"), Size.TINY, minutes=3.0)
    assert isinstance(config.data, Path) and config.size is Size.TINY and type(config.minutes) is float
    assert GenerateConfig(style="noto") == GenerateConfig(style=("noto",)) == GenerateConfig(style=["noto"])
    assert GenerateConfig(style=[Path("a.png"), ("b.png", 0.5)]).style == ("a.png", "b.png:0.5")
    assert StylizeConfig(flow="on").flow is Flow.ON
    assert FuseConfig(level_weights=[1, 0, 0, 0]).level_weights == (1.0, 0.0, 0.0, 0.0)
    assert Output(palette=16).palette == "16" and Output(palette=Path("a.hex")).palette == "a.hex"
    assert type(Sampling(steps=np.int64(3)).steps) is int


def test_ranges_of_tuples_and_multiples() -> None:
    with pytest.raises(ImpastoError, match=r"level_weights -1\.0: use numbers from 0\."):
        FuseConfig(level_weights=(1, 1, 1, -1))
    with pytest.raises(ImpastoError, match=r"height 65: use a multiple of 32 from 32 to 4096\."):
        GenerateConfig(height=65)


def test_flat_keeps_the_defaults_of_the_job_and_refuses_unknown_names() -> None:
    assert flat(StylizeConfig, seed=3).sampling == dataclasses.replace(STYLIZE_SAMPLING, seed=3)
    assert flat(GenerateConfig, seed=3).sampling == Sampling(seed=3)
    assert changed(VARY_CONFIG, steps=2).sampling.internal_guidance == VARY_CONFIG.sampling.internal_guidance
    with pytest.raises(TypeError, match="clarity"):
        flat(GenerateConfig, clarity=1)
    with pytest.raises(ImpastoError, match=r"num_shifts: '3' is not"):
        build(StylizeConfig, {"num_shifts": "3"}, "x")


def test_the_default_of_resample_is_that_of_the_page() -> None:
    default = {field.name: field.default for field in dataclasses.fields(Vary)}["resample"]
    assert VARY_CONFIG.level_weights == tuple(float(name not in default) for name in LEVEL_NAMES)


@pytest.mark.parametrize("module", [flags_module, fuse_module, stylize_module])
def test_examples_in_docstrings(module: object) -> None:
    result = doctest.testmod(module)
    assert result.attempted > 0 and result.failed == 0


# Flags that cannot act


@pytest.mark.parametrize("name", OTHER_VALUES)
@pytest.mark.parametrize("command", ["stylize run x.png --style a --out new", "mix run x.png --style a --out new.png"])
def test_sampling_is_refused_without_the_flow(
    alone: Path, command: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    flag = f"--{name.replace('_', '-')}"
    arguments = [*command.split(), "--device", "cpu", flag, str(OTHER_VALUES[name])]
    assert main(arguments) == 2
    assert capsys.readouterr().err == (
        f"error: this model stylizes without the flow, so {flag} does nothing: omit it, or use --flow on.\n"
    )
    assert not Path("new").exists() and not Path("new.png").exists()
    assert main([*arguments, "--flow", "off"]) == 2
    assert f"--flow off stylizes without the flow, so {flag} does nothing" in capsys.readouterr().err
    assert main([*command.split(), "--device", "cpu"]) == 0


@pytest.mark.parametrize("name", OTHER_VALUES)
def test_python_refuses_it_too_and_the_flow_takes_it(alone: Path, tiny: ModelConfig, name: str) -> None:
    model = impasto.load(alone, "cpu")
    config = flat(StylizeConfig, style=("a",), **{name: OTHER_VALUES[name]})
    with pytest.raises(ImpastoError, match="without the flow"):
        next(model.stylize(Path("x.png"), config))
    with pytest.raises(ImpastoError, match="without the flow"):
        model.stylizer(config)
    dataclasses.replace(config, flow=Flow.ON).check_model(model.config)
    config.check_model(tiny)
    assert config.without_unused(model.config) == StylizeConfig(style=("a",))
    assert config.without_unused(tiny) == config


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--no-temporal-smoothing", "--no-temporal-smoothing does nothing: x.png is not a clip; omit it."),
        ("--clip webm", "--clip webm does nothing: x.png is not a clip; omit it."),
        ("--clip mp4", "--clip mp4 does nothing: x.png is not a clip; omit it."),
    ],
)
def test_settings_of_clips_are_refused_for_images(
    alone: Path, flag: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["stylize", "run", "x.png", "--style", "a", "--out", "new", *flag.split()]) == 2
    assert capsys.readouterr().err == f"error: {message}\n"
    STYLIZE_CONFIG.check_clip("x.webm", True, ClipFormat.MP4)
    with pytest.raises(ImpastoError, match=r"x\.png is not a clip"):
        next(impasto.load(alone, "cpu").stylize(Path("x.png"), StylizeConfig(style=("a",), temporal_smoothing=False)))


def test_a_sheet_has_no_settings_of_clips_and_one_kind_of_strength(
    alone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = "mix run x.png --style a --out new.png --device cpu"
    with pytest.raises(SystemExit) as caught:
        main([*command.split(), "--no-temporal-smoothing"])
    assert caught.value.code == 2 and "--no-temporal-smoothing" in capsys.readouterr().err
    assert main([*command.split(), "--strengths", "0", "1", "--strength", "0.7"]) == 2
    assert "--strength does nothing with --strengths" in capsys.readouterr().err


def test_python_needs_a_style_and_sources(run: Path) -> None:
    model = impasto.load(run, "cpu")
    with pytest.raises(ImpastoError, match=r"^style is missing"):
        model.stylizer(StylizeConfig())
    with pytest.raises(ImpastoError, match="nothing to fuse"):
        next(model.fuse(FuseConfig()))


# Old names of flags


@pytest.mark.parametrize(
    ("old", "new", "name"),
    [
        ("--clarity 2", "--internal-guidance 2", "--internal-guidance"),
        ("--clarity=2", "--internal-guidance 2", "--internal-guidance"),
        ("--most 64", "--max-side 64", "--max-side"),
        ("--harmony 0.4", "--conditioning-scale 0.6", "--conditioning-scale"),
        ("--harmony=0", "--conditioning-scale 1", "--conditioning-scale"),
        ("--harmony 1", "--conditioning-scale 1e-9", "--conditioning-scale"),
    ],
)
def test_old_flags_work_and_are_noted(
    run: Path, old: str, new: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    noise(40, 40).save("x.png")
    command = "fuse run --orientation x.png --steps 1 --device cpu --out"
    assert main([*command.split(), "old.png", *old.split()]) == 0
    flag = old.replace("=", " ").split()[0]
    assert f"{flag} is now {name}; the old name works until 0.3\n" in capsys.readouterr().err
    assert main([*command.split(), "new.png", *new.split()]) == 0
    assert "is now" not in capsys.readouterr().err
    assert Path("old.png").read_bytes() == Path("new.png").read_bytes()


def test_old_flags_of_stylization_work(alone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main("stylize run x.png --style a --passes 2 --out new --device cpu".split()) == 0
    assert capsys.readouterr().err.startswith("--passes is now --num-shifts;")
    assert main("stylize run x.png --style a --no-steady --out new --device cpu".split()) == 2
    captured = capsys.readouterr().err
    assert captured.startswith("--no-steady is now --no-temporal-smoothing;") and "x.png is not a clip" in captured
    with pytest.raises(SystemExit) as caught:
        main("stylize run x.png --style a --num-shifts 3 --out new".split())
    assert caught.value.code == 2 and "--num-shifts" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main("fuse run --orientation x.png --harmony much --out y.png".split())
    assert "much" in capsys.readouterr().err


def test_a_renamed_flag_may_belong_to_one_command(capsys: pytest.CaptureFixture[str]) -> None:
    renamed = [flags_module.RenamedFlag("--start-from", "--init", "0.3", commands=("train",))]
    line = ["--start-from", "x"]
    assert flags_module.with_new_names(["train", *line], renamed) == ["train", "--init", "x"]
    assert flags_module.with_new_names(["generate", *line], renamed) == ["generate", *line]
    assert capsys.readouterr().err == "--start-from is now --init; the old name works until 0.3\n"


# The description for the page


def test_the_description_is_that_of_the_dataclasses() -> None:
    pytest.importorskip("fastapi")
    from impasto.web.requests import TrainRequest
    from impasto.web.settings import describe_settings

    described = describe_settings()
    jobs = {"generate": GENERATE_CONFIG, "stylize": STYLIZE_CONFIG, "fuse": FUSE_CONFIG, "vary": VARY_CONFIG}
    assert set(described) == {*jobs, "train"}
    for job, settings in jobs.items():
        rows = {row["path"]: row for row in described[job] if row["path"].startswith("settings.")}
        expected = {".".join(("settings", *leaf.path)): leaf for leaf in leaves(settings)}
        assert set(rows) == {path for path, leaf in expected.items() if leaf.name not in FILE_SETTINGS}
        for path, row in rows.items():
            leaf, kind = expected[path], kind_of(expected[path].hint)
            assert (row["name"], row["default"], row["help"]) == (leaf.name, leaf.default, leaf.help)
            assert (row["minimum"], row["maximum"], row["multiple_of"]) == (
                kind.minimum,
                kind.maximum,
                kind.multiple_of,
            )
    trained = {row["name"]: row for row in described["train"]}
    assert set(trained) == {"size", "minutes", "resolution", "seed", "text"}
    assert trained["size"]["choices"] == ["auto", "tiny", "small", "base"] and trained["resolution"]["minimum"] == 32
    assert all(row["default"] == TrainRequest.model_fields[name].default for name, row in trained.items())


@pytest.mark.parametrize("name", ["text", "negative_text"])
def test_requests_limit_texts_and_recipes_do_not(name: str) -> None:
    pydantic = pytest.importorskip("pydantic")
    requests = pytest.importorskip("impasto.web.requests")
    body = {"model": "a", "settings": {"prompt": {"text": "x"} | {name: 1000 * "x"}}}
    requests.GenerateRequest.model_validate(body)
    body["settings"]["prompt"][name] += "x"
    with pytest.raises(pydantic.ValidationError, match=rf"prompt\.{name}: use at most 1000 characters"):
        requests.GenerateRequest.model_validate(body)
    flat(GenerateConfig, **body["settings"]["prompt"])
