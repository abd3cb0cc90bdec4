"""What a run writes while it trains: log lines, timers, speed."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from impasto.config import TrainConfig
from impasto.events import Note, Stage, Stepped, Warned
from impasto.training import budget, log
from impasto.training.budget import Budget, IntervalTimer, ProcessorShare, Speedometer
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
    spent = Budget(config)
    clock, speedometer = spent.clocks[Stage.AUTOENCODER], Speedometer(spent)
    clock.start()
    speedometer.add(16, {"a": torch.tensor(1.0)})
    assert speedometer.read(Stage.AUTOENCODER, lambda: pytest.fail("read too early")) is None
    clock.images_seen = 200
    speedometer.add(8, {"a": torch.tensor(3.0), "b": torch.tensor(5.0)})
    speedometer.add(8, {"a": torch.tensor(torch.nan), "c": torch.tensor(torch.inf)})
    now[0] = 2.0
    report = speedometer.read(Stage.AUTOENCODER, lambda: 1)
    assert report is not None and report.images_per_second == 16 and report.terms == {"a": 2.0, "b": 5.0}
    assert report.stage_progress == 0.5 and report.total_progress == 0.2
    # Two seconds for the second half of this stage, and 600 images of the next at the present speed.
    assert report.seconds_left == pytest.approx(2 + 600 / 16)


def test_stages_share_what_overhead_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(budget.time, "monotonic", lambda: now[0])
    config = TrainConfig(Path("in"), Path("out"), minutes=10, stage1_share=0.25)
    spent = Budget(config)
    spent.expected_after = {Stage.AUTOENCODER: 20.0, Stage.PRIOR: 40.0}
    now[0] = 60.0  # of preparation
    first = spent.clocks[Stage.AUTOENCODER]
    assert spent.limit_of(Stage.AUTOENCODER) == (600 - 60 - 20 - 40) / 4
    first.start()
    now[0] = 180.0
    first.stop()
    now[0] = 230.0  # 50 seconds between the stages instead of 20
    assert first.seconds == 120 and spent.overhead == 110 and spent.seconds_left == 600 - 230
    assert spent.limit_of(Stage.PRIOR) == 600 - 230 - 40
    resumed = Budget(dataclasses.replace(config, minutes=20))
    resumed.restore(spent.numbers())
    now[0] = 240.0
    assert resumed.overhead == 120 and resumed.clocks[Stage.AUTOENCODER].seconds == 120
    assert resumed.limit_of(Stage.AUTOENCODER) == (1200 - 120 - 60) / 4  # a longer budget lengthens both stages
    speedometer = Speedometer(resumed)
    now[0] = 250.0
    report = speedometer.read(Stage.PRIOR, lambda: 0)
    assert report is not None and report.seconds_left == resumed.seconds_left == 1200 - 250


def test_a_budget_in_images_is_shared_whatever_the_time() -> None:
    config = TrainConfig(Path("in"), Path("out"), images=1000, stage1_share=0.25)
    assert [Budget(config).limit_of(stage) for stage in Stage] == [250, 750]


def test_a_disturbed_training_says_so_once(monkeypatch: pytest.MonkeyPatch) -> None:
    now, used = [0.0], [0.0]
    monkeypatch.setattr(budget.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(budget.time, "process_time", lambda: used[0])
    share = ProcessorShare(1)
    report = Stepped(Stage.PRIOR, 1, 0.5, 0.5, 600.0, 31.0, {}, 0)
    warnings = []
    for seconds in (5, 20, 20, 9, 9, 20):  # of processor time in each half minute
        now[0], used[0] = now[0] + 30, used[0] + seconds + 5
        warnings.append(share.warning(report))
    assert [warning is not None for warning in warnings] == [True, False, False, True, False, False]
    assert warnings[0] is not None and "33%" in warnings[0] and "31 images/s, 10 minutes left" in warnings[0]
