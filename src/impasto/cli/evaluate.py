"""impasto evaluate: scores of a model, each with its reference."""

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from impasto.cli.device import FLOW_DEVICE, FlowDeviceFlags
from impasto.cli.flags import RUN_HELP, flags
from impasto.cli.messages import MESSAGES, MessageFlags
from impasto.cli.outputs import Out, check_exist, check_folder, counted
from impasto.config import EVALUATE_CONFIG, EvaluateConfig, Fit

LINE_SECONDS = 10.0
"""Seconds between two lines of progress if stderr is not a terminal."""


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Evaluate a model on a folder of images: reconstruction, samples, style, copies, likelihood, swaps.

    impasto evaluate runs/emoji emoji --out report

    impasto evaluate runs/emoji emoji --samples 500 --against all --out report
    """

    run_folder: Annotated[Positional[Path], arg(metavar="RUN", name="run", help=RUN_HELP)]
    images: Annotated[Positional[Path], arg(metavar="IMAGES")]
    """The folder or archive that it was trained on; the held-out images are identified by their content."""
    out: Out
    """Folder for report.html, report.json and the sheets."""
    settings: Annotated[EvaluateConfig, flags()] = EVALUATE_CONFIG
    fit: Fit | None = None
    """How images become square; by default as in training."""
    features: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="(default: none)")] = None
    """Compute distances in the features of this ONNX network too, such as Inception or DINOv2."""
    device: FlowDeviceFlags = FLOW_DEVICE
    message: MessageFlags = MESSAGES

    def run(self) -> int:
        """Evaluate, print the scores and write the report; returns the exit code."""
        check_folder(self.out)
        check_exist([self.images], "the folder or archive of its training")
        from impasto.evaluate.report import to_json, to_text, write_report

        model = self.device.load(self.run_folder)
        progress = _Progress(shown=not self.message.quiet)
        report = model.evaluate(self.images, self.settings, fit=self.fit, features=self.features, progress=progress)
        self.message.text(to_text(report))
        written = write_report(report, self.out, f"Impasto: {self.run_folder} on {self.images}")
        self.message.record(path=self.out / "report.html", **json.loads(to_json(report)))
        self.message.text(f"{counted(len(written), 'file')} in {self.out}; open {self.out / 'report.html'}")
        return 0


class _Progress:
    """Prints the current score and its progress on stderr: one live line on a terminal, otherwise a line at times."""

    def __init__(self, shown: bool = True) -> None:
        self._shown = shown
        self._last = (-LINE_SECONDS, "")

    def __call__(self, score: str, done: int, total: int) -> None:
        now = time.monotonic()
        terminal = sys.stderr.isatty()
        seconds, before = self._last
        if not self._shown:
            return
        if score == before and now - seconds < (0.2 if terminal else LINE_SECONDS):
            return
        self._last = (now, score)
        text = f"{score}: {done:,} of {total:,}" if total > 1 else score
        print(
            f"\r\033[K{text if score != 'done' else ''}" if terminal else text,
            end="" if terminal else "\n",
            file=sys.stderr,
            flush=True,
        )
