import dataclasses
import doctest
import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import impasto
from impasto import terminal
from impasto.cli import flags as flags_module
from impasto.cli import inspect, main, outputs, train, usage
from impasto.config import TrainConfig
from impasto.settings import flag_of
from impasto.text import TEXT_DIM, TextEncoder
from impasto.training import budget

GOLDEN = Path(__file__).parents[1] / "golden" / "flags.txt"
RENEW = "IMPASTO_RENEW_GOLDEN"
COMMANDS = tuple(
    "train;generate;stylize;fuse;vary;interpolate;mix;style save;style show;reconstruct;encode;decode;caption;search;"
    "serve;models;styles;inspect;evaluate".split(";")
)


def run(*arguments: str, code: str | None = None) -> subprocess.CompletedProcess[str]:
    """``python -m impasto`` with ``arguments``, or ``code`` in a process of its own."""
    start = ["-m", "impasto"] if code is None else ["-c", code]
    return subprocess.run([sys.executable, *start, *arguments], capture_output=True, text=True, timeout=60)


def flags(command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """All arguments in the help of ``command``, with their choices or type."""
    monkeypatch.setenv("COLUMNS", "110")  # a wider help has two columns
    with pytest.raises(SystemExit) as caught:
        main.main([*command.split(), "--help"])
    assert caught.value.code == 0
    # Boxes are drawn on a terminal and in UTF-8 only.
    lines = re.findall(r"^[│ ] ((?:-|\[?[A-Z]{2}).*?)(?:  |$)", capsys.readouterr().out, re.MULTILINE)
    return [line.strip() for line in lines if not line.startswith("---")]


def test_flags_are_these_and_no_others(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The golden list changes only on purpose: run this test with IMPASTO_RENEW_GOLDEN=1 to renew it."""
    found = "".join(f"{command} {flag}\n" for command in COMMANDS for flag in flags(command, capsys, monkeypatch))
    if os.environ.get(RENEW):
        GOLDEN.write_text(found, encoding="utf-8")
    assert found == GOLDEN.read_text(encoding="utf-8")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_flag_has_a_help_text_and_every_command_an_example(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    with pytest.raises(SystemExit):
        main.main([*command.split(), "--help"])
    text = capsys.readouterr().out
    assert re.search(rf"^impasto {command} .*\w$", text, re.MULTILINE)
    if command == "train":
        return  # the help texts are those of the settings
    # A long flag has its text on the next line.
    text = re.sub(r"^([│ ] -{1,2}\w[^│\n]*?) *│?\n[│ ] {6,}(?=\S)", r"\1  ", text, flags=re.MULTILINE)
    lines = re.findall(r"^[│ ] (-{1,2}\w.*?) *│?$", text, re.MULTILINE)
    assert lines
    for line in lines:
        assert re.search(r"  +[\w\"-]+,? [\w-]+", line), line


def test_help_is_quick_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; from impasto.cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit as end: assert end.code == 0\n"
        "print(sorted({'torch', 'numpy', 'PIL', 'rich'} & set(sys.modules)))"
    )
    seconds = []
    for _ in range(3):
        start = os.times()
        result = run(code=code)
        end = os.times()
        # Processor time and not wall time, so that other processes do not fail the test.
        seconds.append(end.children_user + end.children_system - start.children_user - start.children_system)
    assert result.stdout.splitlines()[-1] == "[]", result.stderr
    assert all(command.split()[0] in result.stdout for command in COMMANDS)
    assert min(seconds) < 0.5


def help_of(*command: str, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as caught:
        main.main([*command, "--help"])
    assert caught.value.code == 0
    return capsys.readouterr().out


def test_help_fits_a_screen_with_one_line_per_command(capsys: pytest.CaptureFixture[str]) -> None:
    lines = help_of(capsys=capsys).splitlines()
    assert len(lines) <= 45 and max(map(len, lines)) <= 100
    names = [match[1] for line in lines if (match := re.match(r"  ([a-z]+)  +\S", line))]
    assert sorted(names) == sorted({command.split()[0] for command in COMMANDS})
    actions = re.findall(r"^  ([a-z]+) ", help_of("style", capsys=capsys), re.MULTILINE)
    assert [f"style {action}" for action in actions] == [c for c in COMMANDS if c.startswith("style ")]


def boxes(text: str) -> dict[str, set[str]]:
    """The flags in each box of a help text."""
    result: dict[str, set[str]] = {}
    title = ""
    for line in text.splitlines():
        if match := re.match(r"(?:╭─)? ([a-z ]+?) (?:─+╮)?$", line.rstrip() + " "):
            title = match[1]
        elif match := re.match(r"[│ ] +(-[a-zA-Z-].*?)(?:  |$)", line):
            result.setdefault(title, set()).update(re.findall(r"--[\w-]+", match[1]))
    return result


def test_flags_are_in_groups(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "110")
    groups = boxes(help_of("generate", capsys=capsys))
    assert groups["sampling options"] == {
        "--seed",
        "--steps",
        "--temperature",
        "--guidance",
        "--internal-guidance",
    }
    assert groups["output options"] == {
        "--tile",
        "--palette",
        "--pixel-art",
        "--opaque",
        "--start",
        "--grid",
        "--format",
    }
    assert groups["device options"] == {"--device", "--dtype"}
    assert groups["message options"] == {"--quiet", "--json"}
    assert {"--style", "--text", "--count", "--out", "--width"} <= groups["options"]
    for command in COMMANDS:
        if command != "serve":
            assert boxes(help_of(*command.split(), capsys=capsys))["message options"] == {"--quiet", "--json"}


def test_flags_of_training_are_in_groups(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "110")
    text = help_of("train", capsys=capsys)
    groups = boxes(text)
    options = "--help --out --minutes --images --size --resolution --finetune --init --preset --text --seed"
    assert groups["options"] >= set(options.split())
    assert groups["image options"] == {"--fit", "--zoom", "--augment"}
    assert groups["model options"] == {"--prior-size", "--signed-edges"}
    assert {"--batch-size", "--stage1-share", "--save-minutes", "--tensorboard"} <= groups["training options"]
    assert groups["device options"] == {"--device", "--dtype", "--processes"}
    assert {flag.partition(".")[0] for flag in groups["objective options"]} == {"--objective"}
    assert "(default: None)" not in text and "(default: False)" not in text
    words = " ".join(re.sub(r"[│\n]", " ", text).split())
    for hint in ("(default: the images' own)", "(default: one per core)", "(default: 30)", "(default: runs/NAME)"):
        assert hint in words


def test_every_setting_of_training_has_a_flag() -> None:
    """The table of boxes names them, so a new setting could be forgotten."""
    golden = GOLDEN.read_text(encoding="utf-8")
    flags = set(re.findall(r"^train.*(--[\w-]+)", golden, re.MULTILINE))
    names = {field.name for field in dataclasses.fields(TrainConfig)} - {"data", "objective", "coupling"}
    assert {flag_of(name) for name in names} <= flags


def test_help_reads_well(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = help_of("stylize", capsys=capsys)
    example = (
        "impasto stylize runs/paintings cat.png holiday --style monet mine:2 my.style --strength 0.8 --out stylized"
    )
    assert example in text.splitlines(), "an example is one line, whatever the width"
    assert "(default: True)" not in text and "(default: False)" not in text
    words = " ".join(re.sub(r"[│\n]", " ", text).split())
    assert "--no-temporal-smoothing Do not smooth clips." in words
    assert "Folder of a run, model file or built-in model (icons, painter)." in words


@pytest.mark.parametrize("command", COMMANDS)
def test_lines_of_help_break_only_at_the_width(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")  # a wider help has two columns
    text = help_of(*command.split(), capsys=capsys)
    start = re.search(r"^(╭─)? (positional|options)", text, re.MULTILINE)
    assert start
    lines = [line.rstrip(" │") for line in text[start.start() :].splitlines()]
    num_breaks = 0
    for before, line in itertools.pairwise(lines):
        word = re.match(r"[│ ] {6,}(\S+)", line)
        if word and re.search(r"\S {2,}\S|^[│ ] {6,}\S", before):  # a long flag has its text on the next line
            num_breaks += 1
            assert len(before) + 1 + len(word[1]) > 120 - len(" │"), f"{before} / {line}"
    assert num_breaks or command != "train"


def test_the_text_encoder_prints_nothing_and_leaves_the_switches_of_its_library(
    capfd: pytest.CaptureFixture[str],
) -> None:
    logging = pytest.importorskip("transformers.utils.logging")
    logging.enable_progress_bar()
    assert TextEncoder()(["a cat"]).shape == (1, TEXT_DIM)
    assert capfd.readouterr() == ("", "")
    assert logging.is_progress_bar_enabled()


def test_the_advice_fits_the_reason(tmp_path: Path) -> None:
    from impasto.atomic import write_text_atomically
    from impasto.errors import ImpastoError

    (tmp_path / "file").touch()
    with pytest.raises(ImpastoError) as caught:
        write_text_atomically(tmp_path / "file" / "x.txt", "x")
    assert "Choose another --out" in caught.value.command_line and "space" not in caught.value.command_line


def test_the_module_prints_the_version() -> None:
    result = run("--version")
    assert (result.returncode, result.stdout) == (0, f"impasto {impasto.__version__}\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "COMMAND is missing: see impasto --help."),
        (("draw",), "impasto has no command draw. See impasto --help."),
        (("genrate", "icons"), "impasto has no command genrate. Did you mean generate? See impasto --help."),
        (("style", "shwo", "x"), "impasto style has no command shwo. Did you mean show? See impasto style --help."),
        (("--versio",), "impasto has no flag --versio. See impasto --help."),
        (
            ("generate", "icons", "--styl", "noto"),
            "impasto generate has no flag --styl. Did you mean --style? See impasto generate --help.",
        ),
        (("style", "save", "icons", "a", "--uot=x"), "Did you mean --out? See impasto style save --help."),
        (("fuse", "icons", "a.png", "b.png"), "unexpected arguments: a.png, b.png. See impasto fuse --help."),
        (("generate", "run", "--out", "o", "--colour", "red"), "--colour"),
        (("train",), "IMAGES"),
        (("train", "images", "--prior-size", "auto"), "auto"),
        (("train", "images", "--dtype", "float16"), "float16"),
        (("generate", "run", "--out", "o", "-n", "many"), "-n"),
        (("train", "images", "--out", "o", "--size", "huge"), "huge"),
        (("decode", "run", "--out", "o"), "VECTORS"),
    ],
)
def test_wrong_command_lines(arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main.main(arguments)
    captured = capsys.readouterr()
    assert caught.value.code == 2
    assert message in captured.err and captured.out == ""
    assert captured.err.startswith("error: ") and captured.err.count("\n") == 1


def test_an_input_error_is_one_line_without_traceback(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_text("no image")
    result = run("inspect", str(tmp_path / "x.png"))
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr == f"error: {tmp_path}/x.png is not a PNG, WebP or JPEG image.\n"


def patched_run(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail(self: object) -> int:
        raise error

    monkeypatch.setattr(inspect.Inspect, "run", fail)


def test_interrupt(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    patched_run(monkeypatch, KeyboardInterrupt())
    assert main.main(["inspect", "x"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    patched_run(monkeypatch, ZeroDivisionError("a bug"))
    with pytest.raises(ZeroDivisionError, match="a bug"):
        main.main(["inspect", "x"])


@pytest.mark.parametrize("action", ["print('x' * 1000000)", "print('x')", "main(['--help'])"])
def test_a_closed_output_pipe_is_no_error(action: str) -> None:
    code = (
        "import sys; from impasto.cli import inspect; from impasto.cli.main import main\n"
        f"inspect.Inspect.run = lambda self: {action} or 0\n"
        "sys.stdin.readline()\n"
        "sys.exit(main(['--help'] if 'help' in sys.argv[1] else ['inspect', 'x']))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, action],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin and process.stdout and process.stderr
    process.stdout.close()
    process.stdin.write(b"\n")
    process.stdin.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(30) == main.BROKEN_PIPE


@pytest.mark.parametrize("module", [budget, flags_module, outputs, terminal, train, usage])
def test_examples_in_docstrings(module: object) -> None:
    result = doctest.testmod(module)
    assert result.attempted > 0 and result.failed == 0


@pytest.mark.parametrize(
    "name",
    ["../../etc/passwd", "..\\..\\x.png", "/a/b.png", "", ".", "..", "\x1b[2J.png", "a" * 400, "x\udcff"],
)
def test_untrusted_names_stay_in_the_folder(name: str, tmp_path: Path) -> None:
    (safe,) = outputs.file_names([name], ".png")
    assert (tmp_path / safe).resolve().parent == tmp_path.resolve()
    assert safe.isprintable() and len(safe) < 100
    (tmp_path / safe).write_text("")


def test_equal_names_become_different() -> None:
    names = outputs.file_names(["a/x.png", "b/X.jpg", "x-2.png", "x.png"], ".png")
    assert len({name.lower() for name in names}) == 4


def test_a_count_of_one_is_singular() -> None:
    assert [outputs.counted(number, "image") for number in (0, 1, 2)] == ["0 images", "1 image", "2 images"]
