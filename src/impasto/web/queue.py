"""One queue and one worker: jobs run one after the other, can be cancelled at every step, and outlive a restart."""

import dataclasses
import queue
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from impasto.errors import ImpastoError
from impasto.web.store import Job, State, Store

MAX_QUEUED = 64
"""More are refused until some are done."""
RESTARTED = "the studio was restarted while it ran; training goes on with the same run"


class CancelledError(Exception):
    """Raised in the worker when its job shall stop."""


class FullError(Exception):
    """Too many jobs are waiting."""


class Context:
    """What a running job may do: tell how far it is, and be stopped."""

    def __init__(self, job: Job, tell: Callable[..., None]) -> None:
        self.job = job
        self.cancelled = threading.Event()
        self._tell = tell

    def progress(self, done: int, total: int, message: str = "") -> None:
        """Say how far it is. Raises CancelledError where it shall stop."""
        if self.cancelled.is_set():
            raise CancelledError
        self.report(done, total, message)

    def report(self, done: int, total: int, message: str = "") -> None:
        """The same, for work that stops by itself."""
        self._tell(self.job.id, done=done, total=total, message=message)

    def made(self, kind: str, values: Mapping[str, Any]) -> None:
        """Say that something was made."""
        self._tell(self.job.id, event=kind, **values)


Work = Callable[[Context], None]


class JobQueue:
    """Runs jobs in the order in which they came, in one thread."""

    def __init__(self, store: Store, work: Work) -> None:
        """``work`` does one job; jobs that a crash left behind are queued again, but for training, which has failed."""
        self.store = store
        self._work = work
        self._waiting: dict[str, bool] = {}
        """Ids of the jobs that wait, next first; whoever takes one out of it decides what becomes of it."""
        self._calls: queue.Queue[str | None] = queue.Queue()
        self._contexts: dict[str, Context] = {}
        self._listeners: list[queue.Queue[dict[str, Any]]] = []
        self._lock = threading.Lock()
        self._seconds_of: dict[str, float] = {}
        left = store.jobs(limit=1_000_000, states=(State.QUEUED, State.RUNNING))
        for job in reversed(left):
            if job.kind == "train" and job.state is State.RUNNING:
                store.update_job(job.id, state=State.FAILED, ended=time.time(), message=RESTARTED)
                continue
            store.update_job(job.id, state=State.QUEUED, started=None, done=0)
            self._enqueue(job.id)
        self._thread = threading.Thread(target=self._run, name="impasto-worker", daemon=True)
        self._thread.start()

    def add(self, kind: str, request: Mapping[str, Any]) -> Job:
        """Queue a job. Raises FullError where too many wait."""
        with self._lock:
            if len(self._waiting) >= MAX_QUEUED:
                raise FullError
            job = self.store.add_job(kind, request)
            self._enqueue(job.id)
        self._publish(job.id)
        return job

    def _enqueue(self, id: str) -> None:
        self._waiting[id] = True
        self._calls.put(id)

    def position(self, job: Job) -> int:
        """How many jobs come before it; 0 for the one that runs."""
        waiting = list(self._waiting)
        return waiting.index(job.id) + bool(self._contexts) if job.id in waiting else 0

    def eta(self, job: Job) -> float | None:
        """Seconds until it is done, by how long jobs of its kind took and how far it has come; None where unknown."""
        typical = self._seconds_of.get(job.kind)
        if job.state is State.RUNNING and job.started is not None and job.total and job.done:
            spent = time.time() - job.started
            return spent * (job.total - job.done) / job.done
        return None if typical is None else typical * (1 + self.position(job))

    def cancel(self, id: str) -> bool:
        """Stop a job, or keep it from starting; False where it is over already."""
        job = self.store.job(id)
        if job is None or job.state.is_over:
            return False
        if self._waiting.pop(id, False):
            self.store.update_job(id, state=State.CANCELLED, ended=time.time())
            self._publish(id)
            return True
        context = self._contexts.get(id)
        if context is not None:
            context.cancelled.set()
        return context is not None

    def listen(self) -> "queue.Queue[dict[str, Any]]":
        """A queue on which every change is put."""
        listener: queue.Queue[dict[str, Any]] = queue.Queue(maxsize=1000)
        with self._lock:
            self._listeners.append(listener)
        return listener

    def unlisten(self, listener: "queue.Queue[dict[str, Any]]") -> None:
        """Stop putting changes there."""
        with self._lock:
            if listener in self._listeners:
                self._listeners.remove(listener)

    def close(self) -> None:
        """Stop the job that runs, and the worker."""
        self._calls.put(None)
        for context in list(self._contexts.values()):
            context.cancelled.set()
        self._thread.join(timeout=30)

    def _run(self) -> None:
        while (id := self._calls.get()) is not None:
            job = self.store.job(id)
            if job is not None:
                self._do(job)

    def _do(self, job: Job) -> None:
        began = time.time()
        context = Context(job, self._tell)
        self._contexts[job.id] = context
        if not self._waiting.pop(job.id, False):
            del self._contexts[job.id]
            return
        self.store.update_job(job.id, state=State.RUNNING, started=began)
        self._publish(job.id)
        try:
            self._work(context)
            state, message = State.DONE, ""
            self._seconds_of[job.kind] = time.time() - began
        except CancelledError:
            state, message = State.CANCELLED, ""
        except ImpastoError as error:
            state, message = State.FAILED, str(error)
        except Exception as error:  # a bug of ours must not stop the studio
            state, message = State.FAILED, f"{type(error).__name__}: {error}"
        finally:
            del self._contexts[job.id]
        self.store.update_job(job.id, state=state, ended=time.time(), message=message)
        self._publish(job.id)

    def _tell(self, id: str, *, event: str = "", **changes: object) -> None:
        if event:
            self._put({"type": event, "job": id} | changes)
            return
        self.store.update_job(id, **changes)
        self._publish(id)

    def _publish(self, id: str) -> None:
        job = self.store.job(id)
        if job is not None:
            self._put({"type": "job"} | self.describe(job))

    def describe(self, job: Job) -> dict[str, Any]:
        """A job as the page knows it."""
        values = dataclasses.asdict(job) | {
            "state": str(job.state),
            "position": self.position(job),
            "eta": self.eta(job),
        }
        return values | {"request": dict(job.request)}

    def _put(self, event: dict[str, Any]) -> None:
        with self._lock:
            listeners = list(self._listeners)
        for listener in listeners:
            try:
                listener.put_nowait(event)
            except queue.Full:
                self.unlisten(listener)  # nobody has read for long: the page will ask anew
