"""What a run writes while it trains: log lines, timers, speed."""

import json
from pathlib import Path

import pytest

from impasto.config import TrainConfig
from impasto.events import Note, Stage, Stepped, Warned
from impasto.training import budget, log
from impasto.training.budget import IntervalTimer, Speedometer, StageClock, clocks
from impasto.training.log import json_log


def stepped(images_seen: int) -> Stepped:
    return Stepped(Stage.PRIOR, images_seen, 0.5, 0.75, 10.0, 100.0, {"flow": 0.25}, 3)


def test_the_log_has_a_line_per_interval_and_every_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(log.time, "time", lambda: now[0])
    listen = json_log(tmp_path / "log.jsonl")
    for second, event in enumerate([stepped(1), stepped(2), Warned("spike"), Note("not logged"), stepped(3)]):
        now[0] = 1000.0 + 2 * second
        listen(event)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line.get("images_seen", line.get("warning")) for line in lines] == [1, "spike", 3]
    assert lines[0]["flow"] == 0.25 and lines[0]["skipped_updates"] == 3


def test_a_timer_is_due_after_its_interval_and_not_too_often(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(budget.time, "monotonic", lambda: now[0])
    timer = IntervalTimer(minutes=1)
    assert not timer.due()
    now[0] = 60.0
    assert timer.due()
    with timer:
        now[0] += 10.0  # took ten seconds: at most a twentieth of the time
    now[0] += 100.0
    assert not timer.due()
    now[0] += 90.0
    assert timer.due()


def test_the_speedometer_reports_speed_progress_and_average_terms(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(budget.time, "monotonic", lambda: now[0])
    config = TrainConfig(Path("in"), Path("out"), images=1000, stage1_share=0.4)
    running = clocks(config)
    speedometer = Speedometer(config, running)
    running[Stage.AUTOENCODER].start()
    speedometer.add(16, {"a": 1.0})
    assert speedometer.read(Stage.AUTOENCODER, 0) is None
    running[Stage.AUTOENCODER].images_seen = 200
    speedometer.add(16, {"a": 3.0, "b": 5.0})
    now[0] = 2.0
    report = speedometer.read(Stage.AUTOENCODER, 1)
    assert report is not None and report.images_per_second == 16 and report.terms == {"a": 2.0, "b": 5.0}
    assert report.stage_progress == 0.5 and report.total_progress == 0.2
    # Two seconds for the second half of this stage, and 600 images of the next at the present speed.
    assert report.seconds_left == pytest.approx(2 + 600 / 16)


def test_clocks_share_the_budget() -> None:
    config = TrainConfig(Path("in"), Path("out"), minutes=10, stage1_share=0.25)
    running = clocks(config)
    assert [clock.limit for clock in running.values()] == [150, 450]
    assert not any(clock.counts_images for clock in running.values())
    assert isinstance(running[Stage.PRIOR], StageClock)
