"""Load test of the studio: 64 clients poll, upload and queue jobs for a minute; responses and memory, as JSON.

python benchmarks/clients.py runs/emoji --out clients.json

The benchmark starts a studio in a temporary folder with the model RUN. It fails if a job is lost, a response has a
status of 500 or above, or memory grows between the first and the last quarter of the time.
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

from PIL import Image

from common import options, write

try:
    import httpx
except ImportError:
    sys.exit('error: this benchmark needs httpx: pip install -e ".[dev]"')

PAUSE_SECONDS = 0.2
"""Mean pause of a client between two requests."""
SERVER_START_SECONDS = 30.0
DRAIN_SECONDS = 300.0
MAX_GROWTH = 1.15
"""Maximum memory in the last quarter against that in the first."""


def png(seed: int) -> bytes:
    """A small image file."""
    data = io.BytesIO()
    Image.new("RGB", (48, 48), (seed % 256, 90, 160)).save(data, "PNG")
    return data.getvalue()


class Client:
    """One client, which polls, uploads and queues jobs at random."""

    def __init__(self, number: int, port: int, model: str, responses: Counter[str], accepted: set[str]) -> None:
        self.random = random.Random(number)
        self.polled = (
            f"http://127.0.0.1:{port}/api/jobs",
            f"http://127.0.0.1:{port}/api/pictures",
            f"http://127.0.0.1:{port}/api/models",
        )
        self.model = model
        self.responses = responses
        """Numbers of responses by request and status."""
        self.accepted = accepted
        """Ids of the jobs that the studio accepted."""

    async def run(self, http: httpx.AsyncClient, until: float) -> None:
        """Send requests until the time ``until``."""
        while time.monotonic() < until:
            await self.random.choices((self.poll, self.upload, self.queue), weights=(6, 2, 1))[0](http)
            await asyncio.sleep(self.random.random() * 2 * PAUSE_SECONDS)

    async def poll(self, http: httpx.AsyncClient) -> None:
        """Get the list of jobs, images or models."""
        self._count("poll", await http.get(self.random.choice(self.polled)))

    async def upload(self, http: httpx.AsyncClient) -> None:
        """Upload an image."""
        files = {"file": ("image.png", png(self.random.randrange(256)))}
        self._count("upload", await http.post("/api/uploads", files=files))

    async def queue(self, http: httpx.AsyncClient) -> None:
        """Queue a job of one image; if the queue is full, wait as long as the response demands, at most a second."""
        settings = {"sampling": {"steps": 1, "guidance": 1}}
        body = {"kind": "generate", "model": self.model, "count": 1, "settings": settings}
        response = await http.post("/api/jobs", json=body)
        self._count("job", response)
        if response.status_code == 202:
            self.accepted.add(response.json()["id"])
        elif response.status_code == 429:
            await asyncio.sleep(min(1.0, float(response.headers["Retry-After"])))

    def _count(self, request: str, response: httpx.Response) -> None:
        self.responses[f"{request} {response.status_code}"] += 1


async def memory(process: int, samples: list[float], until: float) -> None:
    """Append the resident memory of the studio in MiB to ``samples`` once a second (Linux)."""
    while time.monotonic() < until:
        status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
        samples.append(int(status.split("VmRSS:")[1].split()[0]) / 1024)
        await asyncio.sleep(1)


async def load(port: int, process: int, model: str, num_clients: int, seconds: float) -> dict[str, object]:
    """Run all clients for ``seconds``, then wait for the accepted jobs."""
    responses: Counter[str] = Counter()
    accepted: set[str] = set()
    samples: list[float] = []
    limits = httpx.Limits(max_connections=num_clients, keepalive_expiry=2)  # shorter than the server's
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60, limits=limits) as http:
        start = time.monotonic()
        while True:
            try:
                await http.get("/api/models")
                break
            except httpx.TransportError:
                if time.monotonic() - start > SERVER_START_SECONDS:
                    raise
                await asyncio.sleep(0.05)
        seconds_to_start = time.monotonic() - start
        until = time.monotonic() + seconds
        clients = [Client(number, port, model, responses, accepted).run(http, until) for number in range(num_clients)]
        await asyncio.gather(memory(process, samples, until), *clients)
        deadline = time.monotonic() + DRAIN_SECONDS
        states: dict[str, str] = {}
        while time.monotonic() < deadline:
            states = {id: (await http.get(f"/api/jobs/{id}")).json()["state"] for id in accepted}
            if all(state in ("done", "failed", "cancelled") for state in states.values()):
                break
            await asyncio.sleep(1)
    quarter = max(1, len(samples) // 4)
    return {
        "clients": num_clients,
        "seconds": seconds,
        "seconds_until_the_first_response": seconds_to_start,
        "responses": dict(sorted(responses.items())),
        "jobs_accepted": len(accepted),
        "jobs_done": sum(state == "done" for state in states.values()),
        "server_errors": sum(count for name, count in responses.items() if name.split()[1].startswith("5")),
        "memory_mib_first_quarter": max(samples[:quarter]),
        "memory_mib_last_quarter": max(samples[-quarter:]),
    }


def main() -> None:
    """Start a studio, load it, write the result."""
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
                result = asyncio.run(load(port, studio.pid, "model", arguments.clients, arguments.seconds))
            finally:
                studio.terminate()
    write(result, arguments.out)
    growth = result["memory_mib_last_quarter"] / result["memory_mib_first_quarter"]  # pyrefly: ignore
    if result["jobs_done"] != result["jobs_accepted"] or result["server_errors"] or growth > MAX_GROWTH:
        raise SystemExit("a job was lost, a response was an error, or memory grew: see --out")


if __name__ == "__main__":
    main()
