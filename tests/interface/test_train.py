import io
import json
import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

import pytest

import impasto
from impasto.cli.main import main
from impasto.config import Fit, Size, TrainConfig, to_json
from impasto.errors import ImpastoError
from impasto.events import Finished, Listener, Note, Previewed, Saved, Stage, Stepped, Warned, Working
from impasto.terminal import Terminal, duration

RUN = Path("runs/a b")


def stepped(progress: float = 0.25, **changes: object) -> Stepped:
    values = {
        "stage": Stage.PRIOR,
        "images_seen": 12345,
        "stage_progress": 0.1,
        "total_progress": progress,
        "seconds_left": 308.0,
        "images_per_second": 98.76,
        "terms": {"flow [x]": 1.23456, "rate": 1300.0},
        "skipped_updates": 0,
    }
    return Stepped(**(values | changes))


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def fake_api(monkeypatch: pytest.MonkeyPatch, train: Callable[..., object]) -> None:
    module = ModuleType("impasto.api")
    module.train = train
    monkeypatch.setitem(sys.modules, "impasto.api", module)
    monkeypatch.setattr(impasto, "api", module, raising=False)


def test_plain_lines_come_every_ten_seconds() -> None:
    stream, clock = io.StringIO(), Clock()
    with Terminal(stream, clock) as listener:
        listener(Note("216 images in [pets]"))
        for second in range(31):
            clock.now = second
            listener(stepped(second / 31, skipped_updates=second // 20))
        listener(Saved(RUN, 5))
        listener(Warned("level stride8 is dying"))
        listener(Previewed(RUN / "previews/1.png"))
        listener(Finished(RUN, complete=True, seconds=7500))
    assert stream.getvalue().splitlines() == [
        "216 images in [pets]",
        "  0%  prior  12,345 images  98.8/s  5m08s left  flow [x] 1.235  rate 1300",
        " 32%  prior  12,345 images  98.8/s  5m08s left  flow [x] 1.235  rate 1300",
        " 65%  prior  12,345 images  98.8/s  5m08s left  flow [x] 1.235  rate 1300  skipped updates 1",
        " 97%  prior  12,345 images  98.8/s  5m08s left  flow [x] 1.235  rate 1300  skipped updates 1",
        "warning: level stride8 is dying",
        "preview: runs/a b/previews/1.png",
        "Done in 2h05m. Generate images with: impasto generate 'runs/a b' --grid",
    ]


def test_a_cancelled_run_names_the_command_that_resumes() -> None:
    stream = io.StringIO()
    Terminal(stream)(Finished(RUN, complete=False, seconds=8))
    assert stream.getvalue() == "Stopped after 8s and saved in 'runs/a b'. The same command resumes.\n"


def test_work_outside_the_steps_has_a_line_every_ten_seconds_and_results_end_the_run() -> None:
    stream, clock = io.StringIO(), Clock()
    with Terminal(stream, clock) as listener:
        for second in range(26):
            clock.now = second
            listener(Working("reading images", second * 100, 2600))
        for second in range(26, 30):
            clock.now = second
            listener(Working("checks", second - 26, 4))  # quick work has no line
        listener(Finished(RUN, complete=True, seconds=308, results=("autoencoder: 900 images", "prior: 80 images")))
    assert stream.getvalue().splitlines() == [
        "reading images: 1,000 of 2,600",
        "reading images: 2,000 of 2,600",
        "autoencoder: 900 images",
        "prior: 80 images",
        "Done in 5m08s. Generate images with: impasto generate 'runs/a b' --grid",
    ]


class FakeTerminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_live_bar_shows_the_step_and_lines_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TERM", "xterm")
    stream = FakeTerminal()
    before = sys.stderr
    with Terminal(stream) as listener:
        listener(Note("216 images in [red]pets[/nothing] :smile:"))
        listener(stepped(0.25, skipped_updates=3))
        listener(Warned("[bold] " + "long " * 60))
        listener(stepped(0.5, skipped_updates=3))
        listener(Finished(RUN, complete=True, seconds=1))
    text = stream.getvalue()
    assert "216 images in [red]pets[/nothing] :smile:" in text
    assert "warning: [bold] " + "long " * 59 in text
    assert " 50%" in text and "12,345 images" in text and "5m08s left" in text
    assert "flow [x] 1.235" in text and "skipped updates 3" in text
    assert "impasto generate 'runs/a b'" in text
    assert sys.stderr is before
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") >= 1  # the cursor is back


@pytest.mark.parametrize("finishes", [True, False])
def test_live_bar_shows_work_and_then_results(finishes: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TERM", "xterm")
    stream = FakeTerminal()
    with Terminal(stream) as listener:
        listener(stepped(0.5))
        listener(Working("reading [images]", 1200, 2600))
        if finishes:
            listener(Finished(RUN, complete=True, seconds=1, results=("prior: [80] images",)))
    text = stream.getvalue()
    assert "reading [images]  1,200 of 2,600" in text and text.count("\x1b[?25l") == text.count("\x1b[?25h") >= 1
    if finishes:
        assert text.index("1,200 of 2,600") < text.index("prior: [80] images\nDone in 1s.")


def test_the_terminal_is_restored_after_an_error() -> None:
    stream = FakeTerminal()
    with pytest.raises(RuntimeError), Terminal(stream) as listener:
        listener(stepped())
        raise RuntimeError
    assert stream.getvalue().count("\x1b[?25l") == stream.getvalue().count("\x1b[?25h")


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), -1.0])
def test_unknown_durations(seconds: float) -> None:
    assert duration(seconds) == "?"


def test_flags_become_settings(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    seen = []

    def train(config: TrainConfig, listeners: Sequence[Listener], cancel: Callable[[], bool]) -> None:
        seen.append((config, cancel()))
        for listener in listeners:
            listener(Finished(config.out, complete=True, seconds=1))

    fake_api(monkeypatch, train)
    before = signal.getsignal(signal.SIGINT)
    line = ["train", "pics", "--out", "run", "--size", "tiny", "--resolution", "96", "--minutes", "2.5"]
    assert main([*line, "--tensorboard", "--objective.kl-weight", "1e-5"]) == 0
    ((config, cancelled),) = seen
    assert type(config) is TrainConfig and not cancelled
    assert (config.data, config.out, config.size) == (Path("pics"), Path("run"), Size.TINY)
    assert (config.resolution, config.minutes, config.tensorboard) == (96, 2.5, True)
    assert config.objective.kl_weight == 1e-5
    assert config.learning_rate == TrainConfig(Path(), Path()).learning_rate
    assert "Done in 1s" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--resolution 65", "--resolution 65"),
        ("--seed -1", "--seed -1"),
        ("--minutes 1 --images 1", "--minutes and --images"),
        ("--batch-size 0", "--batch-size"),
    ],
)
def test_invalid_settings_are_refused_before_training(
    flags: str, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_api(monkeypatch, lambda *a: pytest.fail("trained"))
    assert main(["train", "pics", "--out", "run", *flags.split()]) == 2
    assert capsys.readouterr().err.startswith(f"error: {message}")


def test_errors_of_training(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def train(*arguments: object) -> None:
        raise ImpastoError("pics: no images here.")

    fake_api(monkeypatch, train)
    assert main(["train", "pics", "--out", "run"]) == 2
    assert capsys.readouterr().err == "error: pics: no images here.\n"


def test_other_ranks_are_quiet(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    def train(config: TrainConfig, listeners: Sequence[Listener], cancel: Callable[[], bool]) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        assert cancel()
        for listener in listeners:
            listener(Note("hello"))
            listener(Finished(config.out, complete=False, seconds=1))

    fake_api(monkeypatch, train)
    monkeypatch.setenv("RANK", "1")
    assert main(["train", "pics", "--out", "run"]) == 130
    assert capfd.readouterr() == ("", "")


def eventful(config: TrainConfig, listeners: Sequence[Listener], cancel: Callable[[], bool]) -> None:
    """A training of one event of each kind."""
    for listener in listeners:
        listener(Note("216 images"))
        listener(Warned("level stride8 is dying"))
        listener(stepped())
        listener(Working("checks", 1, 2))
        listener(Previewed(RUN / "previews/1.png"))
        listener(Finished(config.out, not cancel(), 12.5, ("prior: 80 images",)))


END = "prior: 80 images\nDone in 12s. Generate images with: impasto generate run --grid\n"


@pytest.mark.parametrize(
    "line", ["--quiet train pics -o run", "train --quiet pics -o run", "train pics -o run --quiet"]
)
def test_quiet_shows_warnings_and_the_results(
    line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_api(monkeypatch, eventful)
    assert main(line.split()) == 0
    assert capsys.readouterr() == ("", f"warning: level stride8 is dying\n{END}")


@pytest.mark.parametrize("line", ["--json train pics --out run", "train pics --out run --json"])
def test_the_end_as_json(line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    fake_api(monkeypatch, eventful)
    assert main(line.split()) == 0
    captured = capsys.readouterr()
    (record,) = map(json.loads, captured.out.splitlines())
    assert record == {"run": "run", "complete": True, "seconds": 12.5, "results": ["prior: 80 images"]}
    assert captured.err.startswith("216 images\n") and captured.err.endswith(END)
    assert main(["--quiet", *line.split()]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out) == record and captured.err == f"warning: level stride8 is dying\n{END}"


def test_a_stopped_run_as_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def train(config: TrainConfig, listeners: Sequence[Listener], cancel: Callable[[], bool]) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        eventful(config, listeners, cancel)

    fake_api(monkeypatch, train)
    assert main("train pics --out run --json".split()) == 130
    assert json.loads(capsys.readouterr().out)["complete"] is False


@pytest.mark.parametrize(
    ("images", "run"),
    [
        ("art/my pics", "my pics"),
        ("art/pics.v2", "pics.v2"),
        ("pics.tar.gz", "pics"),
        ("a.b.zip", "a.b"),
        (".", "here"),
    ],
)
def test_without_out_the_run_has_the_name_of_the_images(
    images: str, run: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[TrainConfig] = []
    fake_api(monkeypatch, lambda config, listeners, cancel: seen.append(config))
    (tmp_path / "here/art/my pics").mkdir(parents=True)
    (tmp_path / "here/art/pics.v2").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert main(["train", images, "--minutes", "10"]) == 0
    assert seen[-1].out == Path("runs") / run
    # The same command resumes; other images of the same name do not.
    seen[-1].out.mkdir(parents=True)
    (seen[-1].out / "config.json").write_text(to_json(seen[-1]), encoding="utf-8")
    assert main(["train", images, "--minutes", "20"]) == 0
    assert seen[-1].out == Path("runs") / run
    other = f"other/{Path(images).resolve().name}"
    (Path("other") / Path(images).resolve().name).mkdir(parents=True)
    if Path("runs", Path(other).name) == seen[-1].out:
        assert main(["train", other, "--minutes", "10"]) == 2
        assert f"runs/{run} holds a run on {images}, not {other}" in capsys.readouterr().err
        assert main(["train", other, "--minutes", "10", "--out", f"runs/{run}"]) == 0


def test_images_without_a_name_need_out(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    fake_api(monkeypatch, lambda *a: pytest.fail("trained"))
    assert main(["train", "/"]) == 2
    assert capsys.readouterr().err == "error: / has no name: use --out to name the run folder.\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("complete", [True, False])
def test_first_signal_cancels(
    number: int, complete: bool, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def train(config: TrainConfig, listeners: Sequence[Listener], cancel: Callable[[], bool]) -> None:
        assert not cancel()
        os.kill(os.getpid(), number)
        assert cancel()
        for listener in listeners:
            listener(Finished(config.out, complete=complete, seconds=1))

    fake_api(monkeypatch, train)
    assert main(["train", "pics", "--out", "run"]) == (0 if complete else 130)
    error = capfd.readouterr().err
    assert "finishing the step, then saving" in error
    assert ("same command resumes" in error) is not complete


def test_second_signal_exits_at_once(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    def train(config: TrainConfig, listeners: Sequence[Listener], cancel: Callable[[], bool]) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        pytest.fail("continued after the second signal")

    fake_api(monkeypatch, train)
    assert main(["train", "pics", "--out", "run"]) == 130
    assert capfd.readouterr().err.endswith("interrupted\n")


SCRIPT = """
import sys, time, types
import impasto
from impasto.events import Finished, Stage, Stepped
def train(config, listeners, cancel):
    for step in range(600):
        for listener in listeners:
            listener(Stepped(Stage.AUTOENCODER, step, 0, step / 600, 1, 1, {}, 0))
        if cancel():
            break
        time.sleep(0.05)
    for listener in listeners:
        listener(Finished(config.out, not cancel(), 1))
impasto.api = sys.modules["impasto.api"] = types.ModuleType("impasto.api")
impasto.api.train = train
from impasto.cli.main import main
sys.exit(main(["train", "pics", "--out", "run"]))
"""


def test_ctrl_c_on_a_real_terminal() -> None:
    """The bar is drawn on a pseudo-terminal; the interrupt comes after the first step."""
    parent, child = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        stdin=child,
        stdout=child,
        stderr=child,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "100"},
        start_new_session=True,
    )
    os.close(child)
    seen = b""
    killer = threading.Timer(30, process.kill)
    killer.start()
    try:
        sent = False
        while True:
            try:
                part = os.read(parent, 65536)
            except OSError:  # the other side is closed
                break
            if not part:
                break
            seen += part
            if not sent and b"autoencoder" in seen:
                sent = True
                process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130, seen
    finally:
        killer.cancel()
        process.kill()
        process.wait()
        os.close(parent)
    assert b"finishing the step, then saving" in seen
    assert b"The same command resumes" in seen
    assert b"Traceback" not in seen


def test_flags_take_precedence_over_those_of_a_preset(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[TrainConfig] = []
    fake_api(monkeypatch, lambda config, listeners, cancel: seen.append(config))
    assert main("train art --out runs/a --preset painter".split()) == 0
    assert main("train art --out runs/a --resolution 64 --preset=painter --zoom=1".split()) == 0
    assert (seen[0].resolution, seen[0].fit, seen[0].zoom, seen[0].stage1_share) == (128, Fit.CROP, 1.75, 0.65)
    assert seen[0].prior_size is Size.TINY and seen[0].signed_edges
    objective = seen[0].objective
    assert (objective.swap_weight, objective.destylized_weight) == (0.1, 0.5)
    assert (seen[1].resolution, seen[1].fit, seen[1].zoom) == (64, Fit.CROP, 1.0)
    with pytest.raises(SystemExit):
        main("train art --out runs/a --preset sculptor".split())


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        ("--start-from base", "init", Path("base")),
        ("--objective.mixture-weight 0.2", "swap_weight", 0.2),
        ("--objective.mixture-start=0.4", "stylization_start", 0.4),
        ("--objective.twin_weight 0.6", "destylized_weight", 0.6),
        ("--objective.encoders-until 0.8", "freeze_encoders_after", 0.8),
    ],
)
def test_old_flags_of_training_work_with_a_note(
    line: str, name: str, value: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[TrainConfig] = []
    fake_api(monkeypatch, lambda config, listeners, cancel: seen.append(config))
    assert main(["train", "art", "--out", "runs/a", *line.split()]) == 0
    assert {**vars(seen[0]), **vars(seen[0].objective)}[name] == value
    note = capsys.readouterr().err
    assert "is now --" in note and note.endswith("the old name works until 0.3\n") and note.count("\n") == 1


def test_init_of_train_prints_what_it_means_now(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[TrainConfig] = []
    fake_api(monkeypatch, lambda config, listeners, cancel: seen.append(config))
    for line in ("--init base", "--init=base"):
        assert main(["train", "art", "--out", "runs/a", *line.split()]) == 0
        error = capsys.readouterr().err
        assert "--init now initialises a new model" in error and "--finetune" in error and error.count("\n") == 1
    assert main("train art --out runs/a --finetune base".split()) == 0
    assert capsys.readouterr().err == ""
    assert [config.init for config in seen] == [Path("base"), Path("base"), None]


@pytest.mark.parametrize(
    "flag", ["--linear-start", "--measure-minutes 1", "--objective.adversarial-weight 0", "--objective.kl-warmup 0.1"]
)
def test_removed_flags_are_refused(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["train", "art", "--out", "runs/a", *flag.split()])
    assert caught.value.code == 2 and flag.split()[0] in capsys.readouterr().err
