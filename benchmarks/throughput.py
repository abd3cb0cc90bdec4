"""Utilisation of the machine by training: FLOPs per second of the model against the measured peak, as JSON.

python benchmarks/throughput.py --out throughput.json

The peak is the best of several convolutions and a matrix product, forward and backward, in float32 and, if the machine
supports it, bfloat16; it is measured before and after training, and the higher value counts. The benchmark then runs
training steps of both stages in each dtype, as `impasto train` does, on images of examples/shapes.py: stage 1 at
progress 0.4 (all networks train, no feature loss), 0.6 (with feature loss) and 0.9 (encoders frozen, feature loss), and
stage 2. FLOPs are those of convolutions and matrix products (torch.utils.flop_counter); shares refer to the peak of the
same dtype.
"""

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from common import options, write
from impasto.config import Size, TrainConfig, sized_model
from impasto.data import ImageSet, prepare
from impasto.model.blocks import channels_last
from impasto.model.impasto import Impasto
from impasto.training.autoencoder_stage import AutoencoderStage
from impasto.training.engine import Engine
from impasto.training.prior_stage import LatentCache, PriorStage
from impasto.training.stage import TrainingStage

CONVOLUTIONS = ((16, 64, 32, 5), (16, 128, 16, 3), (16, 128, 32, 3), (16, 256, 16, 3))
"""Batch, channels, side and kernel of the convolutions that determine the peak."""
PRODUCT = (1536, 1024)
"""Rows and width of the matrix product."""
PROGRESS = (0.4, 0.6, 0.9)
"""One for each set of active terms and networks of stage 1."""


def dtypes_of(device: torch.device, selected: torch.dtype) -> tuple[torch.dtype, ...]:
    """The dtypes to measure: both on CPUs with bfloat16, else the one that training selects."""
    if device.type == "cpu" and torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return torch.float32, torch.bfloat16
    return (selected,)


def name_of(dtype: torch.dtype) -> str:
    """float32 or bfloat16."""
    return str(dtype).removeprefix("torch.")


def synchronize(device: torch.device) -> None:
    """Wait for a GPU; on a CPU all work is already done."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def seconds_of(run: Callable[[], object], device: torch.device, limit: float) -> list[float]:
    """Seconds of each call of ``run``, for ``limit`` seconds and at least three calls, after two warm-up calls."""
    times: list[float] = []
    for _ in range(2):
        run()
    synchronize(device)
    end = time.perf_counter() + limit
    while len(times) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        run()
        synchronize(device)
        times.append(time.perf_counter() - start)
    return times


def peak(device: torch.device, dtypes: Sequence[torch.dtype], limit: float) -> dict[str, float]:
    """GFLOP/s of each operation, forward and backward, in its fastest repetition."""
    rates = {}
    for dtype in dtypes:
        name = name_of(dtype)
        for batch, channels, side, kernel in CONVOLUTIONS:
            x = channels_last_random(batch, channels, side, side, dtype=dtype, device=device)
            weight = channels_last_random(channels, channels, kernel, kernel, dtype=dtype, device=device)
            flops = 3 * 2 * x.numel() * channels * kernel**2
            key = f"{name} convolution {kernel}x{kernel}, {channels} channels, side {side}"
            rates[key] = rate(lambda x=x, w=weight, k=kernel: torch.conv2d(x, w, padding=k // 2), flops, device, limit)
        rows, width = PRODUCT
        x = torch.randn(rows, width, dtype=dtype, device=device, requires_grad=True)
        weight = torch.randn(width, width, dtype=dtype, device=device, requires_grad=True)
        rates[f"{name} product"] = rate(lambda x=x, w=weight: x @ w, 6 * rows * width**2, device, limit)
    return rates


def channels_last_random(*shape: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """A random leaf tensor in the memory layout of training."""
    x = torch.randn(shape, dtype=dtype, device=device).contiguous(memory_format=torch.channels_last)
    return x.requires_grad_()


def rate(forward: Callable[[], torch.Tensor], flops: int, device: torch.device, limit: float) -> float:
    """GFLOP/s of ``forward`` and its backward pass."""
    gradient = torch.randn_like(forward())
    return flops / min(seconds_of(lambda: forward().backward(gradient), device, limit)) / 1e9


def measure(stage: TrainingStage, progress: float, device: torch.device, limit: float) -> dict[str, float]:
    """Speed of whole training steps, and FLOPs per image."""
    with FlopCounterMode(display=False) as counter:
        stage.step(0, 0, progress)
    times = seconds_of(lambda: stage.step(0, 0, progress), device, limit)
    seconds = sum(times) / len(times)
    return {
        "gflop_per_image": counter.get_total_flops() / stage.batch_size / 1e9,
        "images_per_second": stage.batch_size / seconds,
        "gflop_per_second": counter.get_total_flops() / seconds / 1e9,
    }


def train_in(
    dtype: torch.dtype, config: TrainConfig, images: ImageSet, engine: Engine, limit: float
) -> dict[str, dict[str, float]]:
    """Speeds of both stages in one dtype."""
    engine.keep_dtype(bfloat16=dtype == torch.bfloat16)
    shape = sized_model(config.size, channels=4, resolution=config.resolution, collections=images.collections)
    model = channels_last(Impasto(shape).to(engine.device))
    first = AutoencoderStage(config, engine, model.autoencoder, images)
    stages = {f"stage 1, progress {p}": measure(first, p, engine.device, limit) for p in PROGRESS}
    second = PriorStage(config, engine, model.prior, LatentCache(model.autoencoder, images, engine), images)
    return stages | {"stage 2": measure(second, 0.4, engine.device, limit)}


def main() -> None:
    """Measure and print."""
    parser = options(__doc__)
    parser.add_argument("--size", type=Size, default=Size.SMALL)
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=16, help="of stage 1")
    parser.add_argument("--seconds", type=float, default=10.0, help="for each measurement of training")
    parser.add_argument("--quick", action="store_true", help="smoke test: three steps of each stage")
    arguments = parser.parse_args()
    limit = 0.0 if arguments.quick else arguments.seconds
    engine = Engine()
    dtypes = dtypes_of(engine.device, engine.dtype)
    before = peak(engine.device, dtypes, limit / 15)
    training = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        script, count = Path(__file__).parents[1] / "examples" / "shapes.py", "24" if arguments.quick else "240"
        subprocess.run([sys.executable, script, folder / "shapes", "--count", count], check=True, capture_output=True)
        config = TrainConfig(
            folder / "shapes",
            folder / "run",
            size=arguments.size,
            resolution=arguments.resolution,
            batch_size=arguments.batch_size,
        )
        images = prepare(config.data, resolution=config.resolution, cache=folder / "cache")
        for dtype in dtypes:
            training[name_of(dtype)] = train_in(dtype, config, images, engine, limit)
    after = peak(engine.device, dtypes, limit / 15)
    kernels = {name: max(value, after[name]) for name, value in before.items()}
    for name, value in kernels.items():
        print(f"{value:10,.0f} GFLOP/s  {name}")
    for dtype_name, stages in training.items():
        highest = max(value for name, value in kernels.items() if name.startswith(dtype_name))
        for name, values in stages.items():
            values["share_of_peak"] = values["gflop_per_second"] / highest
            print(
                f"{values['gflop_per_second']:10,.0f} GFLOP/s  {dtype_name}, {name}: "
                f"{values['share_of_peak']:.0%} of the peak, {values['images_per_second']:.1f} images/s "
                f"of {values['gflop_per_image']:.2f} GFLOP each"
            )
    scale = 1 if sys.platform == "darwin" else 1024
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / 2**30
    print(f"{memory:10.2f} GiB of peak memory; {engine.reason}")
    result = {"device": engine.reason, "threads": torch.get_num_threads(), "size": config.size, "memory_gib": memory}
    result |= {"resolution": config.resolution, "batch_size": config.batch_size}
    write(result | {"peak_gflop_per_second": kernels, "training": training}, arguments.out)


if __name__ == "__main__":
    main()
