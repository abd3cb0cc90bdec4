"""The built-in model of icons: every maker a style, with transparency, to be asked for by text.

python recipes/icons.py DATA --out runs/icons

DATA is the folder with emoji128.zip, icons128.zip and tiles32.zip. The minutes and batches are those of a fast GPU; a
CPU wants days, or less to do: --minutes 1200 --resolution 64 --batch-size 16 --prior-batch-size 64. Interrupted, the
same command goes on. Then recipes/finish.py gives the decoder its last minutes.
"""

import argparse
from pathlib import Path

from gather import gather, train

ARCHIVES = ("emoji128", "icons128", "tiles32")


def main() -> None:
    """Gather and train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=11.6)
    parser.add_argument("--resolution", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--prior-batch-size", type=int, default=256)
    arguments = parser.parse_args()
    pictures = gather([arguments.data / f"{name}.zip" for name in ARCHIVES], arguments.out.parent / "icons-pictures")
    train(
        pictures,
        *("--out", arguments.out),
        *("--minutes", arguments.minutes),
        *("--resolution", arguments.resolution),
        *("--batch-size", arguments.batch_size),
        *("--learning-rate", 1e-3 * min(1.5, (arguments.batch_size / 16) ** 0.5)),
        *("--prior-batch-size", arguments.prior_batch_size),
        *("--prior-learning-rate", 5e-4 * min(1.6, (arguments.prior_batch_size / 64) ** 0.5)),
        *("--objective.kl-weight", 2e-6),
        *("--stage1-share", 0.4),
        "--text",
    )


if __name__ == "__main__":
    main()
