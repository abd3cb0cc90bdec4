"""Speed and memory of Impasto and its peers, as a table and as JSON.

python benchmarks/speed.py --out speed.json

The systems run one after another, each in its own process. The benchmark measures the import time, training steps on
images of examples/shapes.py (those of `benchmarks/peers.py`, in the dtype that `impasto train` selects) and their share
of the peak of `benchmarks/throughput.py`, the time of generation by number of images, and the peak memory.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from common import options, write

OURS = "impasto"
COUNTS = (1, 4, 16)
STEPS = (8, 16, 32)


def measure(name: str, resolution: int, seconds: float) -> dict[str, Any]:
    """All measurements of one system; run it in a new process."""
    start = time.perf_counter()
    from peers import PEERS, build

    import_seconds = time.perf_counter() - start
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from impasto.data import prepare
    from impasto.training.engine import Engine
    from throughput import seconds_of

    engine = Engine()
    result: dict[str, Any] = {"import_seconds": import_seconds, "device": engine.reason}
    with tempfile.TemporaryDirectory() as folder:
        script = Path(__file__).parents[1] / "examples" / "shapes.py"
        subprocess.run([sys.executable, script, f"{folder}/shapes", "--count", "120"], check=True, capture_output=True)
        images = prepare(Path(folder) / "shapes", resolution=resolution, cache=Path(folder) / "cache")
    if name == OURS:
        result |= _ours(images, engine, resolution, seconds)
    else:
        kind = next(kind for kind in PEERS if kind.name == name)
        system = build(kind, resolution, len(images.collections)).to(engine.device).train()
        indices = images.train[: system.batch_size]
        image = torch.from_numpy(images.batch(indices)[:, :3]).to(engine.device).float() / 255
        labels = torch.from_numpy(images.collection_ids[indices]).to(engine.device)
        result["training"] = {}
        for progress in (0.2, 0.8):

            def step(progress: float = progress) -> None:
                with engine.autocast():
                    system.step(image, labels, progress)

            with FlopCounterMode(display=False) as counter:
                step()
            times = seconds_of(step, engine.device, seconds)
            result["training"][f"progress {progress}"] = {
                "images_per_second": system.batch_size * len(times) / sum(times),
                "gflop_per_second": counter.get_total_flops() * len(times) / sum(times) / 1e9,
            }
        if kind.name != "AdaIN":
            system.eval()

            def sample(count: int) -> None:
                with torch.no_grad(), engine.autocast():
                    labels = torch.zeros(count, dtype=torch.long, device=engine.device)
                    system.sample(labels, torch.Generator().manual_seed(0))

            result["generation_seconds"] = {
                f"{count} images": min(seconds_of(lambda n=count: sample(n), engine.device, 0)) for count in COUNTS
            }
    scale = 1 if sys.platform == "darwin" else 1024
    result["memory_gib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / 2**30
    return result


def _ours(images: Any, engine: Any, resolution: int, seconds: float) -> dict[str, Any]:
    import torch

    from impasto.api import Pipeline
    from impasto.config import GenerateConfig, Size, TrainConfig, flat, sized_model
    from impasto.model.blocks import channels_last
    from impasto.model.gaussian import Gaussian
    from impasto.model.impasto import Impasto
    from impasto.training.autoencoder_stage import AutoencoderStage
    from impasto.training.prior_stage import LatentCache, PriorStage
    from throughput import measure as measure_stage
    from throughput import seconds_of

    config = TrainConfig(Path("images"), Path("run"), resolution=resolution)
    shape = sized_model(Size.SMALL, channels=images.channels, resolution=resolution, collections=images.collections)
    network = channels_last(Impasto(shape).to(engine.device))
    first = AutoencoderStage(config, engine, network.autoencoder, images)
    training = {f"stage 1, progress {p}": measure_stage(first, p, engine.device, seconds) for p in (0.4, 0.9)}
    second = PriorStage(config, engine, network.prior, LatentCache(network.autoencoder, images, engine), images)
    training["stage 2"] = measure_stage(second, 0.4, engine.device, seconds)
    styles = Gaussian.standard(torch.zeros(len(images.collections), shape.style_dim, device=engine.device))
    model = Pipeline(network.eval().requires_grad_(False), styles, Path("random"), "0" * 16, engine.dtype)
    name = images.collections[0]
    generation = {
        f"{count} images, {steps} steps": min(
            seconds_of(
                lambda n=count, s=steps: list(model.generate(n, flat(GenerateConfig, style=(name,), steps=s))),
                engine.device,
                0,
            )
        )
        for steps in STEPS
        for count in COUNTS
    }
    return {"training": training, "generation_seconds": generation}


def main() -> None:
    """Measure every system in its own process, print a table."""
    parser = options(__doc__)
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=10.0, help="for each measurement of training")
    parser.add_argument("--only", nargs="*", metavar="SYSTEM")
    parser.add_argument("--system", help="measure this one in this process and print JSON")
    arguments = parser.parse_args()
    if arguments.system:
        print(json.dumps(measure(arguments.system, arguments.resolution, arguments.seconds)))
        return
    from impasto.training.engine import Engine
    from peers import PEERS
    from throughput import dtypes_of, peak

    engine = Engine()
    highest = peak(engine.device, dtypes_of(engine.device, engine.dtype), arguments.seconds / 15)
    results: dict[str, Any] = {"peak_gflop_per_second": highest}
    for name in arguments.only or [OURS, *(kind.name for kind in PEERS)]:
        command = [sys.executable, __file__, "--system", name, "--resolution", str(arguments.resolution)]
        command += ["--seconds", str(arguments.seconds)]
        output = subprocess.run(command, check=True, capture_output=True, text=True)
        results[name] = json.loads(output.stdout.splitlines()[-1])
        print(name, f"import {results[name]['import_seconds']:.1f} s, memory {results[name]['memory_gib']:.2f} GiB")
        for stage, values in results[name]["training"].items():
            values["share_of_peak"] = values["gflop_per_second"] / max(highest.values())
            print(f"  {stage}: {values['images_per_second']:.0f} images/s, {values['share_of_peak']:.0%} of the peak")
        for task, seconds in results[name].get("generation_seconds", {}).items():
            print(f"  {task}: {seconds:.2f} s")
        write(results, arguments.out)


if __name__ == "__main__":
    main()
