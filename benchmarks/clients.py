"""Many clients at once: 64 of them poll, upload and queue jobs for a minute. No job may be lost, no answer be a 5xx.

python benchmarks/clients.py runs/emoji --out clients.json

Starts a studio of its own in a temporary folder, with the model RUN, and prints what it answered and the memory that it
needed in the first and in the last quarter of the time. Ends with an error where something was lost.
"""

import asyncio
import io
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import httpx
from PIL import Image

from common import options, write

PAUSE_SECONDS = 0.2
"""Of a client between two wishes."""
SERVER_START_SECONDS = 30.0
DRAIN_SECONDS = 300.0
MAX_GROWTH = 1.15
"""Memory in the last quarter against that in the first."""


def picture(seed: int) -> bytes:
    """A small picture file."""
    data = io.BytesIO()
    Image.new("RGB", (48, 48), (seed % 256, 90, 160)).save(data, "PNG")
    return data.getvalue()


class Client:
    """One visitor: asks, uploads and queues at random until the time is over."""

    def __init__(self, number: int, model: str, answers: Counter[str], accepted: set[str]) -> None:
        self.random = random.Random(number)
        self.model = model
        self.answers = answers
        self.accepted = accepted

    async def visit(self, http: httpx.AsyncClient, until: float) -> None:
        """Until the time is over."""
        while time.monotonic() < until:
            await self.random.choices((self.poll, self.upload, self.queue), weights=(6, 2, 1))[0](http)
            await asyncio.sleep(self.random.random() * 2 * PAUSE_SECONDS)

    async def poll(self, http: httpx.AsyncClient) -> None:
        """Signature at jobs, pictures or models."""
        self._count("poll", await http.get(self.random.choice(("/api/jobs", "/api/pictures", "/api/models"))))

    async def upload(self, http: httpx.AsyncClient) -> None:
        """Bring a picture."""
        files = {"file": ("mine.png", picture(self.random.randrange(256)))}
        self._count("upload", await http.post("/api/uploads", files=files))

    async def queue(self, http: httpx.AsyncClient) -> None:
        """Ask for a picture; where the queue is full, come back when told to."""
        body = {"kind": "generate", "model": self.model, "count": 1, "steps": 1, "guidance": 1}
        answer = await http.post("/api/jobs", json=body)
        self._count("job", answer)
        if answer.status_code == 202:
            self.accepted.add(answer.json()["id"])
        elif answer.status_code == 429:
            await asyncio.sleep(min(1.0, float(answer.headers["Retry-After"])))

    def _count(self, what: str, answer: httpx.Response) -> None:
        self.answers[f"{what} {answer.status_code}"] += 1


async def memory(process: int, samples: list[float], until: float) -> None:
    """MiB that the studio holds, once a second (Linux)."""
    while time.monotonic() < until:
        status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
        samples.append(int(status.split("VmRSS:")[1].split()[0]) / 1024)
        await asyncio.sleep(1)


async def drive(address: str, process: int, model: str, clients: int, seconds: float) -> dict[str, object]:
    """All clients for so many seconds, then wait for the jobs that were accepted."""
    answers: Counter[str] = Counter()
    accepted: set[str] = set()
    samples: list[float] = []
    limits = httpx.Limits(max_connections=clients, keepalive_expiry=2)  # sooner than the server's
    async with httpx.AsyncClient(base_url=address, timeout=60, limits=limits) as http:
        began = time.monotonic()
        while True:
            try:
                await http.get("/api/models")
                break
            except httpx.TransportError:
                if time.monotonic() - began > SERVER_START_SECONDS:
                    raise
                await asyncio.sleep(0.05)
        started = time.monotonic() - began
        until = time.monotonic() + seconds
        visitors = [Client(number, model, answers, accepted).visit(http, until) for number in range(clients)]
        await asyncio.gather(memory(process, samples, until), *visitors)
        deadline = time.monotonic() + DRAIN_SECONDS
        states: dict[str, str] = {}
        while time.monotonic() < deadline:
            states = {id: (await http.get(f"/api/jobs/{id}")).json()["state"] for id in accepted}
            if all(state in ("done", "failed", "cancelled") for state in states.values()):
                break
            await asyncio.sleep(1)
    quarter = max(1, len(samples) // 4)
    return {
        "clients": clients,
        "seconds": seconds,
        "seconds_until_the_first_answer": started,
        "answers": dict(sorted(answers.items())),
        "jobs_accepted": len(accepted),
        "jobs_done": sum(state == "done" for state in states.values()),
        "server_errors": sum(count for name, count in answers.items() if name.split()[1].startswith("5")),
        "memory_mib_first_quarter": max(samples[:quarter]),
        "memory_mib_last_quarter": max(samples[-quarter:]),
    }


def main() -> None:
    """Start, drive, print."""
    parser = options(__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.set_defaults(out=Path("clients.json"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, socket.socket() as free:
        models = Path(folder) / "runs"
        (models / "model").mkdir(parents=True)
        shutil.copy(arguments.run / "model.safetensors", models / "model")
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        command = [sys.executable, "-m", "impasto", "serve", "--no-browser", "--port", str(port)]
        command += ["--models", str(models), "--folder", f"{folder}/studio"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as studio:
            try:
                address = f"http://127.0.0.1:{port}"
                found = asyncio.run(drive(address, studio.pid, "model", arguments.clients, arguments.seconds))
            finally:
                studio.terminate()
    write(found, arguments.out)
    growth = found["memory_mib_last_quarter"] / found["memory_mib_first_quarter"]  # pyrefly: ignore
    if found["jobs_done"] != found["jobs_accepted"] or found["server_errors"] or growth > MAX_GROWTH:
        raise SystemExit("something was lost, went wrong or grew")


if __name__ == "__main__":
    main()
