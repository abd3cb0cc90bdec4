"""The built-in model of icons: every maker a style, with transparency, to be asked for by text.

python recipes/icons.py DATA --out runs/icons --minutes 240

DATA is the folder with emoji128.zip, icons128.zip and tiles32.zip. Interrupted, the same command goes on.
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
    parser.add_argument("--minutes", type=float, default=240.0)
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--size", default="small")
    arguments = parser.parse_args()
    pictures = gather([arguments.data / f"{name}.zip" for name in ARCHIVES], arguments.out.parent / "icons-pictures")
    train(
        pictures,
        *("--out", arguments.out),
        *("--minutes", arguments.minutes),
        *("--resolution", arguments.resolution),
        *("--size", arguments.size),
        *("--stage1-share", 0.25),
        "--text",
    )


if __name__ == "__main__":
    main()
