"""A queue with one worker thread: jobs run in order, can be cancelled at each step, and survive a restart."""

import dataclasses
import queue
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from impasto.errors import ImpastoError
from impasto.web.store import Job, State, Store

MAX_QUEUED = 64
"""Limit of waiting jobs."""
RESTARTED = "the studio was restarted during this training; start it again under the same name to resume"


class CancelledError(Exception):
    """Raised in the worker thread to stop its job."""


class FullError(Exception):
    """The queue has `MAX_QUEUED` waiting jobs."""


class Context:
    """Interface of a running job to the queue: progress and cancellation."""

    def __init__(self, job: Job, update: Callable[..., None]) -> None:
        self.job = job
        self.cancelled = threading.Event()
        self._update = update

    def progress(self, done: int, total: int, message: str = "") -> None:
        """Report the progress. Raises CancelledError if the job is cancelled."""
        if self.cancelled.is_set():
            raise CancelledError
        self.report(done, total, message)

    def report(self, done: int, total: int, message: str = "") -> None:
        """Report the progress; for work that checks ``cancelled`` itself."""
        self._update(self.job.id, done=done, total=total, message=message)

    def publish(self, kind: str, values: Mapping[str, Any]) -> None:
        """Send an event of this kind to all listeners."""
        self._update(self.job.id, event=kind, **values)


Work = Callable[[Context], None]


class JobQueue:
    """Runs jobs in order, in one thread."""

    def __init__(self, store: Store, work: Work) -> None:
        """``work`` runs one job. Jobs interrupted by a crash are queued again, but a training is marked as failed."""
        self.store = store
        self._work = work
        self._waiting: dict[str, bool] = {}
        """Ids of the waiting jobs, next first. Removing an id claims its job, to run or to cancel it."""
        self._calls: queue.Queue[str | None] = queue.Queue()
        self._contexts: dict[str, Context] = {}
        self._listeners: list[queue.Queue[dict[str, Any]]] = []
        self._lock = threading.Lock()
        self._seconds_of: dict[str, float] = {}
        unfinished = store.jobs(limit=1_000_000, states=(State.QUEUED, State.RUNNING))
        for job in reversed(unfinished):
            if job.kind == "train" and job.state is State.RUNNING:
                store.update_job(job.id, state=State.FAILED, ended=time.time(), message=RESTARTED)
                continue
            store.update_job(job.id, state=State.QUEUED, started=None, done=0)
            self._enqueue(job.id)
        self._thread = threading.Thread(target=self._run, name="impasto-worker", daemon=True)
        self._thread.start()

    def add(self, kind: str, request: Mapping[str, Any]) -> Job:
        """Queue a job. Raises FullError if the queue is full."""
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
        """Number of jobs before this one; 0 if it is running."""
        waiting = list(self._waiting)
        return waiting.index(job.id) + bool(self._contexts) if job.id in waiting else 0

    def eta(self, job: Job) -> float | None:
        """Seconds until the job ends, from its progress or the time of the last job of its kind; None if unknown."""
        typical = self._seconds_of.get(job.kind)
        if job.state is State.RUNNING and job.started is not None and job.total and job.done:
            spent = time.time() - job.started
            return spent * (job.total - job.done) / job.done
        return None if typical is None else typical * (1 + self.position(job))

    def cancel(self, id: str) -> bool:
        """Stop a job, or remove it from the queue; False if it is over."""
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
        """Subscribe to all events; they arrive in the returned queue."""
        listener: queue.Queue[dict[str, Any]] = queue.Queue(maxsize=1000)
        with self._lock:
            self._listeners.append(listener)
        return listener

    def unlisten(self, listener: "queue.Queue[dict[str, Any]]") -> None:
        """Unsubscribe."""
        with self._lock:
            if listener in self._listeners:
                self._listeners.remove(listener)

    def close(self) -> None:
        """Stop the running job and the worker thread."""
        self._calls.put(None)
        for context in list(self._contexts.values()):
            context.cancelled.set()
        self._thread.join(timeout=30)

    def _run(self) -> None:
        while (id := self._calls.get()) is not None:
            job = self.store.job(id)
            if job is not None:
                self._run_job(job)

    def _run_job(self, job: Job) -> None:
        started = time.time()
        context = Context(job, self._update)
        self._contexts[job.id] = context
        if not self._waiting.pop(job.id, False):
            del self._contexts[job.id]
            return
        self.store.update_job(job.id, state=State.RUNNING, started=started)
        self._publish(job.id)
        try:
            self._work(context)
            state, message = State.DONE, ""
            self._seconds_of[job.kind] = time.time() - started
        except CancelledError:
            state, message = State.CANCELLED, ""
        except ImpastoError as error:
            state, message = State.FAILED, str(error)
        except Exception as error:  # a bug must not stop the studio
            state, message = State.FAILED, f"{type(error).__name__}: {error}"
        finally:
            del self._contexts[job.id]
        self.store.update_job(job.id, state=state, ended=time.time(), message=message)
        self._publish(job.id)

    def _update(self, id: str, *, event: str = "", **changes: object) -> None:
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
        """A job as JSON values, with its position and remaining time."""
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
                self.unlisten(listener)  # it does not read; the page reconnects and reloads
