"""What the benchmarks share: their options and how they write results."""

import argparse
import json
from pathlib import Path


def options(doc: str | None) -> argparse.ArgumentParser:
    """A parser that shows ``doc`` and knows ``--out``."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    return parser


def write(result: dict[str, object], out: Path | None) -> None:
    """Write ``result`` as JSON where ``out`` is given."""
    if out:
        out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
