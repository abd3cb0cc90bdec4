"""The processes of a training on one machine: on a CPU one single-threaded process per core.

Threads wait for each other by spinning, which costs a third of the speed alone and nearly all of it beside another busy
program; processes exchange gradients once per step and wait without computing.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO

import torch
import torch.distributed as dist

from impasto.config import TrainConfig, from_json, to_json
from impasto.device import choose_device
from impasto.errors import ImpastoError
from impasto.memory import with_huge_pages
from impasto.objective.autoencoder import STYLE_GROUP
from impasto.training.engine import ALONE, Rank

LOCALHOST = "127.0.0.1"
LOOPBACKS = ("lo", "lo0")
"""Names of the network interface of a machine with itself."""
WORKER_ENDED = 3
"""Exit code of a worker whose main process has ended."""


def num_processes(config: TrainConfig) -> int:
    """The number of processes that `train` starts for ``config``, itself included.

    By default one per core on a CPU, as far as each gets whole groups of images that share styles, and one on a GPU.
    Raises ImpastoError if the batches cannot be shared by ``config.processes``, or there are fewer GPUs.
    """
    device, _ = choose_device(config.device)
    if config.processes is not None:
        if device == "cuda" and config.processes > (num_gpus := torch.cuda.device_count()):
            raise ImpastoError(
                f"--processes {config.processes}: each needs a GPU of its own, and there are {num_gpus}."
            )
        for name, size in (("--batch-size", config.batch_size), ("--prior-batch-size", config.prior_batch_size)):
            if size % config.processes:
                raise ImpastoError(f"--processes {config.processes}: {name} {size} is not a multiple of it.")
        return config.processes
    if device != "cpu":
        return 1
    counts = range(2, num_cores() + 1)
    shared = [n for n in counts if not config.batch_size % (n * STYLE_GROUP) and not config.prior_batch_size % n]
    return max(shared, default=1)


def num_cores() -> int:
    """The cores that this process may use; OMP_NUM_THREADS limits them as it limits threads."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = os.environ.get("OMP_NUM_THREADS", "")
    return min(cores, int(limit)) if limit.isdigit() and int(limit) else cores


@contextmanager
def together(config: TrainConfig) -> Iterator[Rank]:
    """Start the other processes of a training and yield the rank of this one, the main process.

    Under torchrun the processes are there already. On exit the others have ended. Raises ImpastoError if one of them
    ended by itself, and for --processes under torchrun.
    """
    outside = Rank.of_environment()
    if outside.count > 1:
        if config.processes is not None:
            raise ImpastoError("--processes: torchrun has started the processes already; omit it.")
        yield outside
        return
    count = num_processes(config)
    if count == 1:
        yield ALONE
        return
    for _, name in socket.if_nameindex():
        if name in LOOPBACKS:
            os.environ.setdefault("GLOO_SOCKET_IFNAME", name)
    store = dist.TCPStore(LOCALHOST, 0, count, is_master=True, wait_for_workers=False)
    threads_before, threads = torch.get_num_threads(), max(1, num_cores() // count)
    workers = [_Worker(config, rank, count, store.port, threads) for rank in range(1, count)]
    torch.set_num_threads(threads)

    def wait_for_start() -> None:
        while not store.check([str(rank) for rank in range(1, count)]):
            for worker in workers:
                worker.check()
            time.sleep(0.02)

    try:
        yield Rank(0, count, 0, store, wait_for_start)
    except RuntimeError:
        # The exchange of tensors fails at once when a process is gone.
        for worker in workers:
            worker.check(patience=5)
        raise
    finally:
        for worker in workers:
            worker.end()
        if dist.is_initialized():
            dist.destroy_process_group()
        torch.set_num_threads(threads_before)


class _Worker:
    """Another process of a training. It ends when this one does, because it reads from a pipe that then closes."""

    def __init__(self, config: TrainConfig, rank: int, count: int, port: int, threads: int) -> None:
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115
        environment = os.environ | {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "passive"}
        environment["GLIBC_TUNABLES"] = with_huge_pages(environment.get("GLIBC_TUNABLES", ""))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "impasto.training.processes"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self.errors,
            env=environment,
        )
        task = {"rank": rank, "count": count, "port": port, "config": to_json(config)}
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(task).encode() + b"\n")
        self.process.stdin.flush()

    def check(self, patience: float = 0) -> None:
        """Raise ImpastoError if it has failed, or does within ``patience`` seconds."""
        try:
            code = self.process.wait(patience)
        except subprocess.TimeoutExpired:
            return
        if code == 0:
            return
        self.errors.seek(0)
        lines = self.errors.read().decode(errors="replace").strip().splitlines()
        reason = lines[-1] if lines else f"exit code {code}"
        raise ImpastoError(
            f"a process of the training ended ({reason}). The same command resumes from the last save; --processes 1 "
            "needs less memory."
        )

    def end(self) -> None:
        """Wait for its end, which comes after the last step at the latest; without one, make it end."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()
        self.errors.close()


def _end_with(pipe: BinaryIO) -> None:
    pipe.read()
    os._exit(WORKER_ENDED)


def work(run: Callable[[TrainConfig, Rank], object]) -> None:
    """Be a worker: read the task from stdin, and train along until it is done or the main process ends."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the main process decides
    task = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with, args=(sys.stdin.buffer,), daemon=True).start()
    config = from_json(TrainConfig, task["config"], "the task")
    store = dist.TCPStore(LOCALHOST, task["port"], task["count"], is_master=False)
    store.set(str(task["rank"]), "started")
    run(config, Rank(task["rank"], task["count"], task["rank"], store))


if __name__ == "__main__":
    from impasto.training.choice import Choice
    from impasto.training.loop import Training

    work(lambda config, rank: Training(Choice(config), (), lambda: False, rank).train())
