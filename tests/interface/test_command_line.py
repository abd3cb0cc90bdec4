import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import impasto
from impasto.cli import flags as flags_module
from impasto.cli import inspect, main, outputs, terminal, train
from impasto.training import budget

GOLDEN = Path(__file__).parents[1] / "golden" / "flags.txt"
RENEW = "IMPASTO_RENEW_GOLDEN"
COMMANDS = tuple(
    "train;generate;stylize;fuse;vary;interpolate;mix;style save;style show;reconstruct;encode;decode;caption;search;"
    "serve;models;inspect;evaluate".split(";")
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
        assert re.search(r"  +[\w\"]+,? [\w-]+", line), line


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


def test_the_module_prints_the_version() -> None:
    result = run("--version")
    assert (result.returncode, result.stdout) == (0, f"impasto {impasto.__version__}\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "Expected one of"),
        (("draw",), "draw"),
        (("generate", "run", "--out", "o", "--colour", "red"), "--colour"),
        (("train", "images"), "--out"),
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


@pytest.mark.parametrize("module", [budget, flags_module, outputs, terminal, train])
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
