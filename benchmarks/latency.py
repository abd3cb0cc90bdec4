"""Latency for a user: `impasto --help`, 16 images of 64 px with guidance, stylized photos; as JSON.

python benchmarks/latency.py --out latency.json

The weights are random, which takes the same time as trained ones. The numbers are medians of several repetitions and do
not include loading the model.
"""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from common import options, write
from impasto.api import Pipeline
from impasto.config import SAMPLING, STYLIZE_SAMPLING, GenerateConfig, Size, StylizeConfig, flat, sized_model
from impasto.create.stylize import stylize_batch
from impasto.device import choose_device, choose_dtype
from impasto.model.blocks import channels_last
from impasto.model.gaussian import Gaussian
from impasto.model.impasto import Impasto

STEPS = (4, 8, 16, 32)
PHOTOS = ((256, 256), (512, 512), (736, 1280))
"""Height and width of the stylized images; the last is a 720p frame on its canvas."""


def median_seconds(run: Callable[[], object], repetitions: int) -> float:
    """Median duration of ``run`` after one warm-up call."""
    durations = []
    for _ in range(repetitions + 1):
        start = time.perf_counter()
        run()
        durations.append(time.perf_counter() - start)
    return statistics.median(durations[1:])


def main() -> None:
    """Measure and print."""
    parser = options(__doc__)
    parser.add_argument("--size", type=Size, default=Size.SMALL)
    parser.add_argument("--prior-size", type=Size, help="default: that of --size")
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--stylizes-alone", action="store_true", help="a model whose decoder stylizes without the flow")
    parser.add_argument("--count", type=int, default=16, help="images at a time")
    parser.add_argument("--quick", action="store_true", help="smoke test: one repetition, one size of photos, 2 images")
    arguments = parser.parse_args()
    repetitions, count = (1, 2) if arguments.quick else (5, arguments.count)
    command = [sys.executable, "-m", "impasto", "--help"]
    seconds_of_help = median_seconds(lambda: subprocess.run(command, check=True, capture_output=True), repetitions)

    torch.manual_seed(0)
    shape = sized_model(
        arguments.size,
        prior_size=arguments.prior_size,
        channels=4,
        resolution=arguments.resolution,
        collections=("any",),
        decoder_only_stylization=arguments.stylizes_alone,
    )
    device, reason = choose_device("auto")
    network = channels_last(Impasto(shape).to(device)).eval().requires_grad_(False)
    style = Gaussian.standard(torch.zeros(1, shape.style_dim, device=device))
    dtype, dtype_reason = choose_dtype(torch.device(device))
    model = Pipeline(network, style, Path("random"), "0" * 16, dtype)
    generation = {
        steps: median_seconds(
            lambda steps=steps: list(model.generate(count, flat(GenerateConfig, style=("any",), steps=steps))),
            repetitions,
        )
        for steps in STEPS
    }
    stylization = {
        f"{width} x {height}": median_seconds(
            lambda size=(height, width): stylize_batch(
                network,
                torch.rand(1, 4, *size, device=device).contiguous(memory_format=torch.channels_last),
                style,
                strength=StylizeConfig.strength,
                seeds=[0],
                settings=STYLIZE_SAMPLING,
            ),
            1 if arguments.quick else 2,
        )
        for height, width in (PHOTOS[:1] if arguments.quick else PHOTOS)
    }
    stylization_steps = 0 if arguments.stylizes_alone else STYLIZE_SAMPLING.steps
    result = {
        "device": f"{reason}; {dtype_reason}",
        "threads": torch.get_num_threads(),
        "help_seconds": seconds_of_help,
        "size": arguments.size,
        "prior_size": arguments.prior_size or arguments.size,
        "resolution": arguments.resolution,
        "images": count,
        "guidance": SAMPLING.guidance,
        "generation_seconds_by_steps": generation,
        "stylization_steps": stylization_steps,
        "stylization_seconds_by_size": stylization,
    }
    print(f"{seconds_of_help:8.2f} s  impasto --help")
    for steps, seconds in generation.items():
        print(f"{seconds:8.2f} s  {count} images of {arguments.resolution} px, {steps} steps")
    for size, seconds in stylization.items():
        print(f"{seconds:8.2f} s  an image of {size} px stylized, {stylization_steps} steps")
    write(result, arguments.out)


if __name__ == "__main__":
    main()
