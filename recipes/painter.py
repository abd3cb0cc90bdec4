"""The built-in model of painters: fully convolutional, to redraw and to fuse photos of any size.

python recipes/painter.py DATA --out runs/painter --minutes 240

DATA is the folder with paintings224.zip and photos.zip. Interrupted, the same command goes on.
"""

import argparse
from pathlib import Path

from gather import gather, train

ARCHIVES = ("paintings224", "photos")


def main() -> None:
    """Gather and train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=240.0)
    parser.add_argument("--size", default="small")
    arguments = parser.parse_args()
    pictures = gather([arguments.data / f"{name}.zip" for name in ARCHIVES], arguments.out.parent / "painter-pictures")
    train(
        pictures,
        *("--out", arguments.out),
        *("--minutes", arguments.minutes),
        *("--size", arguments.size),
        *("--preset", "painter"),
    )


if __name__ == "__main__":
    main()
