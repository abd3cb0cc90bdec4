"""Training for real, tiny: it learns, resumes to the bit, survives kill -9, says what is wrong."""

import dataclasses
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from images import noise
from impasto.config import ModelConfig, Size, TrainConfig, from_json
from impasto.data import prepare
from impasto.errors import ImpastoError
from impasto.events import Event, Finished, Note, Previewed, Saved, Stage, Stepped, Warned, Working
from impasto.model.impasto import Impasto, load_model
from impasto.training import engine, processes
from impasto.training.autoencoder_stage import AutoencoderStage
from impasto.training.begin import copy_fitting_weights
from impasto.training.budget import StageClock
from impasto.training.checkpoint import read_checkpoint
from impasto.training.early_stop import EarlyStoppedPriorStage
from impasto.training.loop import train
from impasto.training.optimizer import GUARD_STEPS, Optimizer
from impasto.training.prior_stage import LatentCache
from impasto.training.run import Run, open_run, read_config
from impasto.training.seeds import Order


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two collections of twelve images: red discs and blue squares on a transparent ground."""
    rng = np.random.default_rng(0)
    for collection in ("discs", "squares"):
        (tmp_path / "images" / collection).mkdir(parents=True)
        for number in range(12):
            y, x = np.mgrid[:32, :32]
            cy, cx, radius = [*rng.integers(10, 22, 2).tolist(), rng.integers(5, 10)]
            far = np.hypot(y - cy, x - cx) if collection == "discs" else np.maximum(abs(y - cy), abs(x - cx))
            alpha = ((far < radius) * 255).astype(np.uint8)
            colour = (220, 40, 40) if collection == "discs" else (40, 60, 220)
            rgba = np.dstack([np.full((32, 32, 3), colour, np.uint8), alpha])
            Image.fromarray(rgba, "RGBA").save(tmp_path / "images" / collection / f"{number}.png")
    return tmp_path / "images"


def config_for(folder: Path, out: Path, **changes: object) -> TrainConfig:
    """A run of a few steps."""
    settings = dict(data=folder, out=out, size="tiny", resolution=32, images=128, batch_size=8)
    return from_json(
        TrainConfig, json.dumps(settings | {"prior_batch_size": 16, "device": "cpu"} | changes, default=str), "test"
    )


def tensors_of(path: Path) -> dict[str, torch.Tensor]:
    """The weights of a model file, by name."""
    return load_model(path)[0].state_dict()


def test_a_run_writes_all_it_promises_and_tells_it(folder: Path, tmp_path: Path) -> None:
    events: list[Event] = []
    run = train(config_for(folder, tmp_path / "run", preview_minutes=0.0001), [events.append])
    assert isinstance(events[-1], Finished) and events[-1].complete
    assert {type(e) for e in events} >= {Note, Stepped, Previewed, Saved, Finished}
    stages = [e.stage for e in events if isinstance(e, Stepped)]
    assert stages == sorted(stages, key=list(Stage).index)
    for path in (run.config, run.model, *map(run.state, Stage), run.log, run.audit):
        assert path.stat().st_size > 0
    assert read_config(run.config).images == 128
    assert json.loads(run.audit.read_text())
    with Image.open(max(run.previews.iterdir())) as sheet:
        assert sheet.width > 300
    for line in run.log.read_text().splitlines():
        json.loads(line)
    assert not list(tmp_path.rglob(".*-*"))  # no temporary file is left


@pytest.mark.slow
def test_both_stages_train_in_bfloat16(folder: Path, tmp_path: Path) -> None:
    terms: dict[Stage, dict[str, float]] = {}

    def listen(event: Event) -> None:
        if isinstance(event, Stepped):
            terms[event.stage] = dict(event.terms)

    run = train(config_for(folder, tmp_path / "run", images=256, dtype="bfloat16"), [listen])
    assert set(terms) == set(Stage)
    assert all(np.isfinite(value) for values in terms.values() for value in values.values())
    assert all(torch.isfinite(tensor).all() for tensor in tensors_of(run.model).values())


@pytest.mark.slow
def test_overfits_four_images(folder: Path, tmp_path: Path) -> None:
    for number in range(4, 12):
        for collection in ("discs", "squares"):
            (folder / collection / f"{number}.png").unlink()
    losses: list[float] = []

    def listen(event: Event) -> None:
        if isinstance(event, Stepped) and event.stage is Stage.AUTOENCODER and event.terms:
            losses.append(event.terms["reconstruction"])

    train(config_for(folder, tmp_path / "run", images=2400, stage1_share=0.9), [listen])
    assert np.mean(losses[-2:]) < 0.35 * losses[0]


@pytest.mark.slow
def test_images_are_decoded_from_their_destylised_copies(folder: Path, tmp_path: Path) -> None:
    terms: list[dict[str, float]] = []

    def listen(event: Event) -> None:
        if isinstance(event, Stepped) and event.stage is Stage.AUTOENCODER and event.terms:
            terms.append(event.terms)

    objective = {"destylized_weight": 1.0, "stylization_start": 0.3}
    train(config_for(folder, tmp_path / "run", images=800, stage1_share=0.9, objective=objective), [listen])
    errors = [found["destylized"] for found in terms if "destylized" in found]
    assert "destylized" not in terms[0] and len(errors) > 3 and "swap_colours" not in terms[-1]
    half = len(errors) // 2
    assert np.mean(errors[half:]) < 0.9 * np.mean(errors[:half])


@pytest.mark.slow
@pytest.mark.parametrize("stop_after", [3, 12])
def test_resumed_equals_uninterrupted_to_the_bit(folder: Path, tmp_path: Path, stop_after: int) -> None:
    whole = train(config_for(folder, tmp_path / "whole"))
    asked = 0

    def cancel() -> bool:
        nonlocal asked
        asked += 1
        return asked > stop_after

    events: list[Event] = []
    train(config_for(folder, tmp_path / "parts"), [events.append], cancel)
    assert isinstance(events[-1], Finished) and not events[-1].complete
    parts = train(config_for(folder, tmp_path / "parts"))
    resumed = tensors_of(parts.model)
    for name, tensor in tensors_of(whole.model).items():
        assert torch.equal(tensor, resumed[name]), name


@pytest.mark.slow
def test_an_interruption_evaluates_nothing_that_an_uninterrupted_run_does_not(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The loss is lowest where the second run is interrupted, between two evaluations.
    losses = {0: 9.0, 1: 1.0}
    monkeypatch.setattr(EarlyStoppedPriorStage, "held_out_loss", lambda self: losses.get(self.optimizer.updates, 5.0))
    whole = train(config_for(folder, tmp_path / "whole"))
    asked = iter([False] * 8)
    train(config_for(folder, tmp_path / "parts"), (), lambda: next(asked, True))
    interrupted = read_checkpoint(Run(tmp_path / "parts").state(Stage.PRIOR))
    assert interrupted is not None and interrupted.numbers["updates"] == 1
    parts = train(config_for(folder, tmp_path / "parts"))
    resumed = tensors_of(parts.model)
    for name, tensor in tensors_of(whole.model).items():
        assert torch.equal(tensor, resumed[name]), name


@pytest.mark.slow
def test_a_finished_run_can_be_asked_again_and_lengthened(folder: Path, tmp_path: Path) -> None:
    run = train(config_for(folder, tmp_path / "run"))
    before = tensors_of(run.model)
    events: list[Event] = []
    train(config_for(folder, tmp_path / "run"), [events.append])
    assert not any(isinstance(e, Stepped) for e in events)
    assert all(torch.equal(before[n], t) for n, t in tensors_of(run.model).items())
    longer = config_for(folder, tmp_path / "run", images=256)
    asked = iter([False, False])
    train(longer, [events.append], lambda: next(asked, True))  # stopped while stage 1 is lengthened
    train(longer, [events.append])
    assert {e.stage for e in events if isinstance(e, Stepped)} == set(Stage)
    spent = {e.stage: e.images_seen for e in events if isinstance(e, Stepped)}
    assert spent[Stage.AUTOENCODER] >= 0.35 * 256 and spent[Stage.PRIOR] >= 0.65 * 256
    for part in ("autoencoder.decoder", "prior."):
        assert any(not torch.equal(before[n], t) for n, t in tensors_of(run.model).items() if n.startswith(part))


def test_a_training_that_fails_leaves_no_run(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ImpastoError):
        train(config_for(tmp_path / "nowhere", tmp_path / "run"))
    assert not (tmp_path / "run").exists()
    (tmp_path / "run").mkdir()
    with pytest.raises(ImpastoError, match="no captions"):
        train(config_for(folder, tmp_path / "run", text=True))
    assert not any((tmp_path / "run").iterdir())
    (tmp_path / "run" / "mine.txt").touch()
    with pytest.raises(ImpastoError, match="is not a run"):
        train(config_for(folder, tmp_path / "run"))
    assert (tmp_path / "run" / "mine.txt").exists()


def test_a_budget_without_steps_is_refused_with_one_that_suffices(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ImpastoError, match=r"minutes 0\.002 is too short here: .* use minutes [\d.]+ or more") as error:
        train(config_for(folder, tmp_path / "run", images=None, minutes=0.002))
    assert not (tmp_path / "run").exists()
    assert "--minutes" in error.value.command_line


@pytest.mark.slow
def test_minutes_are_kept(folder: Path, tmp_path: Path) -> None:
    minutes = 1.2
    events: list[Event] = []
    started = time.monotonic()
    train(config_for(folder, tmp_path / "run", images=None, minutes=minutes), [events.append])
    assert 0.7 < (time.monotonic() - started) / 60 / minutes < 1.3
    assert isinstance(events[-1], Finished)
    autoencoder, prior, copies = events[-1].results
    assert "dB" in autoencoder and "held-out loss" in prior and copies.startswith("copies among")
    assert {e.task for e in events if isinstance(e, Working)} == {"reading images", "latents", "copy check"}


def test_other_settings_in_the_same_folder_are_refused(folder: Path, tmp_path: Path) -> None:
    open_run(config_for(folder, tmp_path / "run"))
    with pytest.raises(ImpastoError, match=r"seed 0, not 1"):
        open_run(config_for(folder, tmp_path / "run", seed=1))
    open_run(config_for(folder, tmp_path / "run", images=256))  # a longer budget is the same run
    with pytest.raises(ImpastoError, match="not a run"):
        open_run(config_for(folder, folder))


@pytest.mark.slow
def test_kill_minus_nine_leaves_a_state_that_resumes(folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    command = [sys.executable, "-m", "impasto", "train", str(folder), "--out", str(run), "--size", "tiny"]
    command += ["--resolution", "32", "--images", "100000", "--save-minutes", "0.0001", "--device", "cpu"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    state = Run(run).state(Stage.AUTOENCODER)
    deadline = time.monotonic() + 90
    while not state.exists() and time.monotonic() < deadline:
        time.sleep(0.2)
    time.sleep(1.0)  # in the middle of one save or another
    process.send_signal(signal.SIGKILL)
    process.wait()
    saved = read_checkpoint(state)
    assert saved is not None and saved.numbers["autoencoder.images_seen"] > 0
    load_model(run / "model.safetensors")


@pytest.mark.slow
def test_a_full_disk_is_an_error_with_a_way_out_and_keeps_the_last_state(folder: Path, tmp_path: Path) -> None:
    settings = ["--size", "tiny", "--resolution", "32", "--device", "cpu", "--images"]
    command = [sys.executable, "-m", "impasto", "train", str(folder), "--out", str(tmp_path / "run"), *settings]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run([*command, "64"], check=True, env=environment, capture_output=True)
    state = Run(tmp_path / "run").state(Stage.PRIOR).read_bytes()

    def limit_file_size() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))

    full = subprocess.run(
        [*command, "128"], env=environment, capture_output=True, text=True, preexec_fn=limit_file_size
    )
    assert full.returncode == 2, full.stderr
    assert "cannot write" in full.stderr and "Free some space" in full.stderr
    assert "Traceback" not in full.stderr
    assert Run(tmp_path / "run").state(Stage.PRIOR).read_bytes() == state
    subprocess.run([*command, "128"], check=True, env=environment, capture_output=True)


def command_for(folder: Path, out: Path, *flags: str) -> list[str]:
    """The command of a tiny training."""
    settings = ["--size", "tiny", "--resolution", "32", "--device", "cpu", "--prior-batch-size", "16"]
    return ["impasto", "train", str(folder), "--out", str(out), *settings, *flags]


@pytest.mark.slow
def test_two_processes_equal_one(folder: Path, tmp_path: Path) -> None:
    settings = ["--images", "96", "--batch-size", "16", "--save-minutes", "0.01", "--dtype", "float32"]
    settings += ["--objective.swap-weight", "0.1", "--objective.destylized-weight", "0.5"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    python = [sys.executable, "-m"]
    launchers = {
        "one": (python, ["--processes", "1"]),
        "two": (python, ["--processes", "2"]),
        "torchrun": ([*python, "torch.distributed.run", "--nproc-per-node", "2", "-m"], []),
    }
    for name, (launcher, flags) in launchers.items():
        command = [*launcher, *command_for(folder, tmp_path / name, *settings, *flags)]
        result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=400)
        assert result.returncode == 0, result.stderr
        assert "Warning" not in result.stderr or name == "torchrun"
    one, two, torchrun = (tensors_of(tmp_path / name / "model.safetensors") for name in launchers)
    assert all(torch.equal(two[name], torchrun[name]) for name in two)
    flat = [torch.cat([weights[name].flatten() for name in one]) for weights in (two, one)]
    # Halves of a batch are rounded otherwise, and where a gradient is all but zero, Adam steps by its sign.
    assert torch.isclose(*flat, atol=2e-4, rtol=2e-3).double().mean() > 0.999
    assert (flat[0] - flat[1]).norm() < 1e-3 * flat[1].norm()


def workers_of(process: subprocess.Popen) -> list[int]:
    """The process ids of the workers that ``process`` has started."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(number) for number in children.read_text().split()]


def is_running(number: int) -> bool:
    """Whether a process runs; a zombie does not."""
    status = Path(f"/proc/{number}/stat")
    return status.exists() and status.read_text().rsplit(")", 1)[1].split()[0] != "Z"


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc")
@pytest.mark.parametrize("killed", ["main", "worker"])
def test_processes_end_together(folder: Path, tmp_path: Path, killed: str) -> None:
    command = command_for(folder, tmp_path / "run", "--images", "1000000", "--batch-size", "16", "--processes", "2")
    command += ["--save-minutes", "0.0001"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, "-m", *command], env=environment, stderr=subprocess.PIPE, text=True)
    state = Run(tmp_path / "run").state(Stage.AUTOENCODER)
    deadline = time.monotonic() + 120
    while not state.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    (worker,) = workers_of(process)
    os.kill(process.pid if killed == "main" else worker, signal.SIGKILL)
    _, errors = process.communicate(timeout=60)
    while is_running(worker) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not is_running(worker)
    assert read_checkpoint(state) is not None
    if killed == "worker":
        assert process.returncode == 2 and "Traceback" not in errors
        assert "a process of the training ended" in errors and "The same command resumes" in errors


@pytest.mark.slow
def test_ctrl_c_saves_and_ends_all_processes(folder: Path, tmp_path: Path) -> None:
    command = command_for(folder, tmp_path / "run", "--images", "1000000", "--batch-size", "16", "--processes", "2")
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", *command], env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    log, deadline = tmp_path / "run" / "log.jsonl", time.monotonic() + 120
    while not log.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "The same command resumes" in errors
    assert read_checkpoint(Run(tmp_path / "run").state(Stage.AUTOENCODER)) is not None


@pytest.mark.parametrize(
    ("cores", "batch", "prior_batch", "expected"),
    [(2, 16, 64, 2), (8, 16, 64, 2), (8, 64, 64, 8), (4, 12, 64, 1), (4, 4, 64, 1), (4, 16, 7, 1)],
)
def test_processes_by_default(
    cores: int, batch: int, prior_batch: int, expected: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "num_cores", lambda: cores)
    config = config_for(folder, Path("run"), batch_size=batch, prior_batch_size=prior_batch)
    assert processes.num_processes(config) == expected
    with pytest.raises(ImpastoError, match=r"processes 5: .*batch_size .* is not a multiple"):
        processes.num_processes(dataclasses.replace(config, processes=5))


def test_each_process_needs_a_gpu(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "choose_device", lambda device: ("cuda", "as if"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    config = config_for(folder, Path("run"), batch_size=16)
    assert processes.num_processes(config) == processes.num_processes(dataclasses.replace(config, processes=1)) == 1
    with pytest.raises(ImpastoError, match="processes 2: each needs a GPU of its own, and there are 1"):
        processes.num_processes(dataclasses.replace(config, processes=2))


def test_omp_num_threads_limits_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert processes.num_cores() == 1
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert processes.num_cores() >= 1


def test_memory_that_runs_out_halves_the_micro_batch(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss = AutoencoderStage.loss

    def limited(self, batch, rows, progress):
        if rows.stop - rows.start > 4:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")
        return loss(self, batch, rows, progress)

    monkeypatch.setattr(AutoencoderStage, "loss", limited)
    events: list[Event] = []
    train(config_for(folder, tmp_path / "run"), [events.append])
    lines = [e.text for e in events if isinstance(e, Warned | Note)]
    assert any("4 images at a time" in line for line in lines)
    assert isinstance(events[-1], Finished) and events[-1].complete


def test_memory_that_never_suffices_is_an_error_with_a_way_out(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(self, batch, rows, progress):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(AutoencoderStage, "loss", never)
    with pytest.raises(ImpastoError, match="smaller size"):
        train(config_for(folder, tmp_path / "run"))


def test_spikes_and_losses_that_are_not_finite_are_skipped_and_counted() -> None:
    module = torch.nn.Linear(2, 1)
    optimizer = Optimizer(module, 1e-3)

    def changes(scale: float) -> bool:
        before = [p.clone() for p in module.parameters()]
        (module(torch.ones(1, 2)).sum() * scale).backward()
        optimizer.update(0.0)
        return not all(torch.equal(a, b) for a, b in zip(before, module.parameters(), strict=True))

    assert all(changes(1.0) for _ in range(GUARD_STEPS)) and optimizer.skipped == 0
    steps = optimizer.adam.state[module.bias]["step"].clone()
    assert not changes(float("nan"))
    assert not changes(1000.0)
    assert optimizer.skipped == 2 and torch.equal(optimizer.adam.state[module.bias]["step"], steps)
    assert changes(1.0) and optimizer.skipped == 2


def test_large_gradients_are_clipped() -> None:
    clipped, scaled = (torch.nn.Linear(2, 1) for _ in range(2))
    scaled.load_state_dict(clipped.state_dict())
    for module, scale in ((clipped, 1000.0), (scaled, 1.0)):
        optimizer = Optimizer(module, 1e-2)
        for _ in range(3):
            loss = module(torch.ones(1, 2)).sum() * scale  # the gradients have the norm scale * 3 ** 0.5
            loss.backward()
            optimizer.update(0.2)
    torch.testing.assert_close(clipped.state_dict(), scaled.state_dict())


def test_optimizer_state_round_trip_continues_equally() -> None:
    def stepped(optimizer: Optimizer, times: int) -> None:
        for _ in range(times):
            optimizer.module(torch.ones(1, 2)).square().sum().backward()
            optimizer.update(0.1)

    torch.manual_seed(1)
    one = Optimizer(torch.nn.Linear(2, 1), 1e-2)
    two = Optimizer(torch.nn.Linear(2, 1), 1e-2)
    stepped(one, 5)
    two.restore(*one.state())
    stepped(one, 5)
    stepped(two, 5)
    for a, b in zip(one.state()[0].items(), two.state()[0].items(), strict=True):
        assert a[0] == b[0] and torch.equal(a[1], b[1])


def test_order_shows_each_image_once_an_epoch_and_needs_no_memory() -> None:
    order = Order(np.arange(10, 17), seed=3, stage=Stage.PRIOR)
    sequence = np.concatenate([order.take(p, 3) for p in range(0, 21, 3)])
    for epoch in sequence.reshape(3, 7):
        assert sorted(epoch) == list(range(10, 17))
    again = Order(np.arange(10, 17), seed=3, stage=Stage.PRIOR)
    assert (again.take(9, 3) == sequence[9:12]).all()


def test_clock_counts_time_or_images() -> None:
    clock = StageClock(limit=100, counts_images=True, images_seen=25, seconds=10)
    assert clock.progress == 0.25 and clock.seconds_left == 30
    timed = StageClock(limit=60, counts_images=False, seconds=15)
    assert timed.progress == 0.25 and timed.seconds_left == 45


def test_damaged_state_is_named(folder: Path, tmp_path: Path) -> None:
    config = config_for(folder, tmp_path / "run")
    run = open_run(config)
    run.state(Stage.PRIOR).parent.mkdir()
    run.state(Stage.PRIOR).write_bytes(b"not a state")
    with pytest.raises(ImpastoError, match=r"prior\.safetensors is damaged"):
        train(config)


def test_larger_images_are_cut_and_the_prior_knows_several_cuts(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(6):
        noise(100, 80, seed=number).save(folder / f"{number}.png")
    config = config_for(folder, tmp_path / "run", fit="crop", zoom=2.0, images=64)
    run = train(config)
    images = prepare(folder, resolution=32, fit=config.fit, zoom=2.0, cache=run.cache)
    assert tuple(images.sides[0]) == (64, 80)
    cache = LatentCache(load_model(run.model)[0].autoencoder, images, engine.Engine("cpu"))
    assert cache.num_crops == 5 and len(cache.fused.style) == 5 * len(images.train)
    first = cache.rows(np.array([0, 1]), np.array([0, 2]))
    assert first.tolist() == [0, 1 + 2 * len(images.train)]
    assert not torch.equal(cache.fused.maps[0][0], cache.fused.maps[0][len(images.train)]), (
        "another crop is another image"
    )
    whole = prepare(folder, resolution=32, fit=config.fit, cache=run.cache)
    assert LatentCache(load_model(run.model)[0].autoencoder, whole, engine.Engine("cpu")).num_crops == 1


@pytest.mark.slow
def test_a_run_that_begins_with_another_models_weights(folder: Path, tmp_path: Path) -> None:
    first = train(config_for(folder, tmp_path / "first"))
    events: list[Event] = []
    flat = tmp_path / "opaque"
    for file in folder.rglob("*.png"):
        target = flat / file.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.open(file).convert("RGB").save(target)
    settings = config_for(flat, tmp_path / "second", init=first.folder, images=128)
    settings = dataclasses.replace(settings, learning_rate=1e-9, prior_learning_rate=1e-9)
    train(settings, [events.append], cancel=lambda: True)
    assert any(isinstance(e, Note) and "100% of the initial weights" in e.text for e in events)
    train(settings, [events.append])
    (before, _), (after, _) = load_model(first.model), load_model(Run(tmp_path / "second").model)
    assert before.config.channels == 4 and after.config.channels == 3
    known = before.state_dict()
    for name, weights in after.state_dict().items():
        leading = known[name][tuple(slice(length) for length in weights.shape)]
        torch.testing.assert_close(weights, leading, atol=1e-5, rtol=1e-4, msg=name)


@pytest.mark.slow
def test_a_prior_of_another_size_begins_untrained(folder: Path, tmp_path: Path) -> None:
    first = train(config_for(folder, tmp_path / "first"))
    settings = config_for(folder, tmp_path / "second", init=first.folder, prior_size="small", images=2)
    second = train(dataclasses.replace(settings, learning_rate=1e-9, batch_size=1, prior_batch_size=1))
    (before, _), (after, _) = load_model(first.model), load_model(second.model)
    assert (after.config.prior_width, after.config.prior_depth) == (384, 8) and after.config.style_dim == 32
    known, prior = before.autoencoder.state_dict(), before.prior.state_dict()
    for name, weights in after.autoencoder.state_dict().items():
        torch.testing.assert_close(weights, known[name], atol=1e-5, rtol=1e-4, msg=name)
    begun = after.prior.state_dict()["lower.0.expand.weight"]
    there = prior["lower.0.expand.weight"]
    assert not torch.allclose(begun[: len(there), : there.shape[1]], there, atol=0.01)


@pytest.mark.slow
def test_a_course_of_stage_1_alone_leaves_the_prior_as_it_is(folder: Path, tmp_path: Path) -> None:
    first = train(config_for(folder, tmp_path / "first"))
    only_decoder = {
        "freeze_encoders_after": 0.0,
        "feature_start": 0.0,
        "destylized_weight": 0.5,
        "stylization_start": 0.0,
    }
    settings = config_for(
        folder, tmp_path / "second", init=first.folder, images=320, stage1_share=1, objective=only_decoder
    )
    events: list[Event] = []
    train(settings, [events.append], cancel=lambda: True)
    second = train(settings, [events.append])
    assert isinstance(events[-1], Finished) and events[-1].complete
    assert {event.stage for event in events if isinstance(event, Stepped)} == {Stage.AUTOENCODER}
    assert not any(isinstance(event, Note) and "stage prior" in event.text for event in events)
    (before, _), (after, styles) = load_model(first.model), load_model(second.model)
    assert after.config == dataclasses.replace(before.config, decoder_only_stylization=True) and styles is not None
    known = before.state_dict()
    changed = {name.split(".")[1] for name, weights in after.state_dict().items() if not weights.equal(known[name])}
    assert changed == {"decoder"}


def test_a_course_of_stage_1_alone_needs_a_prior_that_goes_with_it(folder: Path, tmp_path: Path) -> None:
    first, still = train(config_for(folder, tmp_path / "first")), {"freeze_encoders_after": 0.0}
    for settings in ({"objective": still}, {"init": first.folder}):
        with pytest.raises(ImpastoError, match="name its model with init, and freeze the encoders"):
            config_for(folder, tmp_path / "second", stage1_share=1, **settings)
    settings = config_for(folder, tmp_path / "second", init=first.folder, stage1_share=1, objective=still)
    with pytest.raises(ImpastoError, match=r"its prior_width is .* as its prior is kept"):
        train(dataclasses.replace(settings, prior_size=Size.SMALL))
    with pytest.raises(ImpastoError, match=r"stage1_share 1\.5: use a number above 0"):
        config_for(folder, tmp_path / "second", stage1_share=1.5)
    assert not (tmp_path / "second").exists()


def test_what_a_model_sees_in_addition_counts_for_nothing_at_first(tiny: ModelConfig) -> None:
    known, model = Impasto(tiny), Impasto(dataclasses.replace(tiny, signed_edges=True))
    image = torch.rand(2, 4, 32, 32)
    assert copy_fitting_weights(known, model) == 1
    torch.testing.assert_close(model.autoencoder.reconstruct(image), known.autoencoder.reconstruct(image))
    first = model.autoencoder.encoder("orientation").stage1.weight
    assert first.shape[1] == 15 and not first[:, 9:].any()


def test_weights_of_another_shape_are_no_beginning(folder: Path, tmp_path: Path) -> None:
    first = train(config_for(folder, tmp_path / "first"))
    with pytest.raises(ImpastoError, match=r"init .*: its style_dim is 32, that of this run 64"):
        train(config_for(folder, tmp_path / "second", size="small", init=first.folder))
    with pytest.raises(ImpastoError, match="nowhere: there is no such run"):
        train(config_for(folder, tmp_path / "third", init=tmp_path / "nowhere"))
    assert not (tmp_path / "second").exists() and not (tmp_path / "third").exists()
    with pytest.raises(ImpastoError, match="use one of them"):
        config_for(folder, tmp_path / "fourth", init=first.folder, finetune=first.folder)
