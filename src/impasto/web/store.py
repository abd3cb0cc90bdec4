"""What the studio remembers over restarts: jobs, pictures and uploads, in one SQLite file beside plain files."""

import json
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

SCHEMA = """
create table if not exists jobs (
    id text primary key, kind text not null, request text not null, state text not null, created real not null,
    started real, ended real, done integer not null default 0, total integer not null default 0,
    message text not null default ''
);
create table if not exists pictures (
    id text primary key, job text not null, created real not null, favourite integer not null default 0,
    width integer not null, height integer not null, file text not null, label text not null
);
create index if not exists pictures_by_time on pictures (created desc, id);
create table if not exists uploads (
    id text primary key, kind text not null, name text not null, file text not null, created real not null
);
create table if not exists styles (name text primary key, model text not null, file text not null, created real);
"""
VERSION = 1


class State(StrEnum):
    """What has become of a job."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen."""
        return self in (State.DONE, State.FAILED, State.CANCELLED)


@dataclass(frozen=True)
class Job:
    """One wish, and how far it has come."""

    id: str
    kind: str
    request: Mapping[str, Any]
    state: State
    created: float
    started: float | None = None
    ended: float | None = None
    done: int = 0
    """Steps done, of ``total``; both are zero where nobody knows."""
    total: int = 0
    message: str = ""
    """Why it failed, or what is being done."""


@dataclass(frozen=True)
class Picture:
    """One picture of the gallery."""

    id: str
    job: str
    created: float
    favourite: bool
    width: int
    height: int
    file: str
    """Name in the folder of pictures, or of clips."""
    label: str


@dataclass(frozen=True)
class Upload:
    """One file that came through the page."""

    id: str
    kind: str
    """picture, clip or archive."""
    name: str
    """As its owner called it; never used as a path."""
    file: str
    created: float


@dataclass
class Store:
    """One file of tables, used by one thread at a time."""

    path: Path
    _lock: threading.RLock = field(default_factory=threading.RLock, init=False, repr=False)

    def __post_init__(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(self.path, check_same_thread=False, isolation_level=None)
        self._connection.row_factory = sqlite3.Row
        self._connection.execute("pragma journal_mode = wal")
        self._connection.execute("pragma synchronous = normal")
        self._connection.executescript(SCHEMA)
        self._connection.execute(f"pragma user_version = {VERSION}")

    def close(self) -> None:
        """Release the file."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            yield self._connection

    # Jobs

    def add_job(self, kind: str, request: Mapping[str, Any]) -> Job:
        """Remember a wish."""
        job = Job(uuid.uuid4().hex, kind, request, State.QUEUED, time.time())
        with self._open() as db:
            db.execute(
                "insert into jobs (id, kind, request, state, created) values (?, ?, ?, ?, ?)",
                (job.id, kind, json.dumps(request), job.state, job.created),
            )
        return job

    def update_job(self, id: str, **changes: object) -> None:
        """Change some columns of a job."""
        columns = ", ".join(f"{name} = ?" for name in changes)
        with self._open() as db:
            db.execute(f"update jobs set {columns} where id = ?", (*changes.values(), id))  # names are ours

    def job(self, id: str) -> Job | None:
        """The job of this id."""
        with self._open() as db:
            row = db.execute("select * from jobs where id = ?", (id,)).fetchone()
        return _job(row) if row else None

    def jobs(self, limit: int = 100, states: tuple[State, ...] = ()) -> list[Job]:
        """The newest jobs first; only those in ``states``, where some are given."""
        where = f"where state in ({', '.join('?' * len(states))})" if states else ""
        with self._open() as db:
            rows = db.execute(f"select * from jobs {where} order by created desc limit ?", (*states, limit)).fetchall()
        return [_job(row) for row in rows]

    # Pictures

    def add_picture(self, picture: Picture) -> None:
        """Remember a picture whose file is written."""
        with self._open() as db:
            db.execute(
                "insert into pictures (id, job, created, favourite, width, height, file, label) "
                "values (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    picture.id,
                    picture.job,
                    picture.created,
                    picture.favourite,
                    picture.width,
                    picture.height,
                    picture.file,
                    picture.label,
                ),
            )

    def picture(self, id: str) -> Picture | None:
        """The picture of this id."""
        with self._open() as db:
            row = db.execute("select * from pictures where id = ?", (id,)).fetchone()
        return _picture(row) if row else None

    def pictures(
        self, *, job: str = "", favourite: bool = False, label: str = "", before: float = 1e18, limit: int = 60
    ) -> list[Picture]:
        """The newest pictures first, older than ``before``."""
        with self._open() as db:
            rows = db.execute(
                "select * from pictures where created < ? and (? = '' or job = ?) and favourite >= ? "
                "and (? = '' or instr(lower(label), lower(?)) > 0) order by created desc, id limit ?",
                (before, job, job, int(favourite), label, label, limit),
            ).fetchall()
        return [_picture(row) for row in rows]

    def set_favourite(self, id: str, favourite: bool) -> None:
        """Whether somebody likes it."""
        with self._open() as db:
            db.execute("update pictures set favourite = ? where id = ?", (int(favourite), id))

    def remove_picture(self, id: str) -> None:
        """Forget a picture."""
        with self._open() as db:
            db.execute("delete from pictures where id = ?", (id,))

    # Uploads and styles

    def add_upload(self, kind: str, name: str, file: str) -> Upload:
        """Remember a file that came through the page."""
        upload = Upload(uuid.uuid4().hex, kind, name, file, time.time())
        with self._open() as db:
            db.execute("insert into uploads values (?, ?, ?, ?, ?)", (upload.id, kind, name, file, upload.created))
        return upload

    def upload(self, id: str) -> Upload | None:
        """The upload of this id."""
        with self._open() as db:
            row = db.execute("select * from uploads where id = ?", (id,)).fetchone()
        return Upload(**dict(row)) if row else None

    def add_style(self, name: str, model: str, file: str) -> None:
        """Remember a saved style."""
        with self._open() as db:
            db.execute("insert or replace into styles values (?, ?, ?, ?)", (name, model, file, time.time()))

    def styles(self) -> list[dict[str, Any]]:
        """Saved styles, newest first."""
        with self._open() as db:
            return [dict(row) for row in db.execute("select * from styles order by created desc").fetchall()]

    def remove_style(self, name: str) -> None:
        """Forget a saved style."""
        with self._open() as db:
            db.execute("delete from styles where name = ?", (name,))


def _job(row: sqlite3.Row) -> Job:
    values = dict(row)
    return Job(**values | {"request": json.loads(values["request"]), "state": State(values["state"])})


def _picture(row: sqlite3.Row) -> Picture:
    values = dict(row)
    return Picture(**values | {"favourite": bool(values["favourite"])})
