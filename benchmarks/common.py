"""The common part of the benchmarks: options, and results as JSON."""

import argparse
import json
from pathlib import Path


def options(doc: str | None) -> argparse.ArgumentParser:
    """A parser with the description ``doc`` and the option ``--out``."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    return parser


def write(result: dict[str, object], out: Path | None) -> None:
    """Write ``result`` as JSON to ``out``, if there is one."""
    if out:
        out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
