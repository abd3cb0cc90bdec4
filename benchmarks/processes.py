"""Speed of training with one process per core against threads, alone and beside a busy program, as JSON.

python benchmarks/processes.py --out processes.json

Short trainings on images of examples/shapes.py alternate between the ways, --repeats times. The speed of a stage is the
median of its reports after the first ones; the ratio of two ways is the median over the repetitions. `busy` adds a
program that computes on one core without a pause.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from common import options, write
from impasto.events import Stage

WARM_UP = 2
"""First reports of a stage that do not count."""
BUSY = "while True: sum(range(1000))"


@contextmanager
def busy_program(is_busy: bool) -> Iterator[None]:
    """A program that keeps one core busy."""
    process = subprocess.Popen([sys.executable, "-c", BUSY]) if is_busy else None
    try:
        yield
    finally:
        if process is not None:
            process.kill()
            process.wait()


def speeds(images: Path, run: Path, processes: int, cores: int, size: str, count: int) -> dict[str, float]:
    """Images per second of both stages, with ``cores`` divided among ``processes``."""
    command = [sys.executable, "-m", "impasto", "train", str(images), "--out", str(run), "--size", size]
    command += ["--resolution", "64", "--images", str(count), "--stage1-share", "0.25", "--device", "cpu"]
    environment = os.environ | {"OMP_NUM_THREADS": str(cores), "OMP_WAIT_POLICY": "passive"}
    subprocess.run([*command, "--processes", str(processes)], env=environment, check=True, capture_output=True)
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    rates: dict[str, list[float]] = {stage: [] for stage in Stage}
    for line in lines:
        if "stage" in line:
            rates[line["stage"]].append(line["images_per_second"])
    return {stage: median(values[WARM_UP:] or values[-1:]) for stage, values in rates.items()}


def main() -> None:
    """Measure and print."""
    parser = options(__doc__)
    parser.add_argument("--size", default="small")
    parser.add_argument("--images", type=int, default=12000, help="of each training")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cores", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    ways = {
        "threads": (1, False),
        "processes": (arguments.cores, False),
        "threads, busy": (1, True),
        "processes, busy": (arguments.cores, True),
    }
    results: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        script = Path(__file__).parents[1] / "examples" / "shapes.py"
        subprocess.run([sys.executable, script, folder / "shapes"], check=True, capture_output=True)
        for repeat in range(arguments.repeats):
            for way, (count, is_busy) in ways.items():
                with busy_program(is_busy):
                    run = folder / f"{way.replace(', ', '-')}-{repeat}"
                    images = arguments.images // (4 if is_busy else 1)
                    result = speeds(folder / "shapes", run, count, arguments.cores, arguments.size, images)
                results[way].append(result)
                print(way, {stage: round(value, 1) for stage, value in result.items()}, flush=True)
    ratios = {}
    for one, other in (("processes", "threads"), ("processes, busy", "processes"), ("threads, busy", "threads")):
        for stage in Stage:
            pairs = zip(results[one], results[other], strict=True)
            ratios[f"{one} / {other}, {stage}"] = median(a[stage] / b[stage] for a, b in pairs)
    for key, value in ratios.items():
        print(f"{value:6.2f}  {key}")
    write({"cores": arguments.cores, "size": arguments.size, "speeds": results, "ratios": ratios}, arguments.out)


if __name__ == "__main__":
    main()
