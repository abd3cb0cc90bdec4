"""Database of the studio: jobs, pictures, uploads and styles, in one SQLite file. Contents are plain files."""

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
    """State of a job."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_over(self) -> bool:
        """Whether the job has ended."""
        return self in (State.DONE, State.FAILED, State.CANCELLED)


@dataclass(frozen=True)
class Job:
    """One job and its progress."""

    id: str
    kind: str
    request: Mapping[str, Any]
    state: State
    created: float
    started: float | None = None
    ended: float | None = None
    done: int = 0
    """Steps done, of ``total``; both are 0 if unknown."""
    total: int = 0
    message: str = ""
    """Reason of a failure, or current activity."""


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
    """File name in the folder of pictures."""
    label: str
    """Text that the gallery searches."""


@dataclass(frozen=True)
class Upload:
    """One uploaded file."""

    id: str
    kind: str
    """picture, clip or archive."""
    name: str
    """Original name; never used as a path."""
    file: str
    created: float


@dataclass
class Store:
    """The database; a lock serialises its threads."""

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
        """Close the database."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            yield self._connection

    # Jobs

    def add_job(self, kind: str, request: Mapping[str, Any]) -> Job:
        """Add a job."""
        job = Job(uuid.uuid4().hex, kind, request, State.QUEUED, time.time())
        with self._open() as db:
            db.execute(
                "insert into jobs (id, kind, request, state, created) values (?, ?, ?, ?, ?)",
                (job.id, kind, json.dumps(request), job.state, job.created),
            )
        return job

    def update_job(self, id: str, **changes: object) -> None:
        """Change columns of a job."""
        columns = ", ".join(f"{name} = ?" for name in changes)
        with self._open() as db:
            db.execute(f"update jobs set {columns} where id = ?", (*changes.values(), id))  # names are not user input

    def job(self, id: str) -> Job | None:
        """The job with this id."""
        with self._open() as db:
            row = db.execute("select * from jobs where id = ?", (id,)).fetchone()
        return _job(row) if row else None

    def jobs(self, limit: int = 100, states: tuple[State, ...] = ()) -> list[Job]:
        """Jobs, newest first; only those in ``states`` unless it is empty."""
        where = f"where state in ({', '.join('?' * len(states))})" if states else ""
        with self._open() as db:
            rows = db.execute(f"select * from jobs {where} order by created desc limit ?", (*states, limit)).fetchall()
        return [_job(row) for row in rows]

    # Pictures

    def add_picture(self, picture: Picture) -> None:
        """Add a picture; its file exists."""
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
        """The picture with this id."""
        with self._open() as db:
            row = db.execute("select * from pictures where id = ?", (id,)).fetchone()
        return _picture(row) if row else None

    def pictures(
        self, *, job: str = "", favourite: bool = False, label: str = "", before: float = 1e18, limit: int = 60
    ) -> list[Picture]:
        """Pictures older than ``before``, newest first."""
        with self._open() as db:
            rows = db.execute(
                "select * from pictures where created < ? and (? = '' or job = ?) and favourite >= ? "
                "and (? = '' or instr(lower(label), lower(?)) > 0) order by created desc, id limit ?",
                (before, job, job, int(favourite), label, label, limit),
            ).fetchall()
        return [_picture(row) for row in rows]

    def set_favourite(self, id: str, favourite: bool) -> None:
        """Mark or unmark a picture as a favourite."""
        with self._open() as db:
            db.execute("update pictures set favourite = ? where id = ?", (int(favourite), id))

    def remove_picture(self, id: str) -> None:
        """Delete a picture, but not its file."""
        with self._open() as db:
            db.execute("delete from pictures where id = ?", (id,))

    # Uploads and styles

    def add_upload(self, kind: str, name: str, file: str) -> Upload:
        """Add an uploaded file."""
        upload = Upload(uuid.uuid4().hex, kind, name, file, time.time())
        with self._open() as db:
            db.execute("insert into uploads values (?, ?, ?, ?, ?)", (upload.id, kind, name, file, upload.created))
        return upload

    def upload(self, id: str) -> Upload | None:
        """The upload with this id."""
        with self._open() as db:
            row = db.execute("select * from uploads where id = ?", (id,)).fetchone()
        return Upload(**dict(row)) if row else None

    def add_style(self, name: str, model: str, file: str) -> None:
        """Add a saved style, or replace the one of this name."""
        with self._open() as db:
            db.execute("insert or replace into styles values (?, ?, ?, ?)", (name, model, file, time.time()))

    def styles(self) -> list[dict[str, Any]]:
        """Saved styles, newest first."""
        with self._open() as db:
            return [dict(row) for row in db.execute("select * from styles order by created desc").fetchall()]

    def remove_style(self, name: str) -> None:
        """Delete a saved style, but not its file."""
        with self._open() as db:
            db.execute("delete from styles where name = ?", (name,))


def _job(row: sqlite3.Row) -> Job:
    values = dict(row)
    return Job(**values | {"request": json.loads(values["request"]), "state": State(values["state"])})


def _picture(row: sqlite3.Row) -> Picture:
    values = dict(row)
    return Picture(**values | {"favourite": bool(values["favourite"])})
