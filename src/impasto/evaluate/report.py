"""The report of an evaluation as text, as JSON, and as one self-contained HTML page."""

import base64
import html
import io
import json
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from impasto.atomic import write_atomically, write_text_atomically
from impasto.evaluate.evaluate import Report
from impasto.evaluate.scores import OF_COLLECTION, Best, Measured, Score
from impasto.version import __version__

FORMAT = 1
"""Version of the JSON format."""
MAX_COLLECTIONS = 8
"""Scores of single collections in a terminal: the lowest ones."""
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; width: 100%; margin: 0.5rem 0 2rem; }
th, td { text-align: left; padding: 0.3rem 0.8rem 0.3rem 0; border-bottom: 1px solid #ddd; vertical-align: top; }
td.number { font-variant-numeric: tabular-nums; white-space: nowrap; }
td.quiet { color: #777; }
img { max-width: 100%; image-rendering: pixelated; }
"""


def to_text(report: Report) -> str:
    """Lines for a terminal: every score with its references."""
    lines = []
    for group, scores in report.scores.groups():
        lines.append(group)
        omitted = _omitted(scores)
        for score in scores:
            if score.name in omitted:
                continue
            if isinstance(score, Score):
                parts = [f"  {score.name:34} {_number(score.value):>9}", _interval(score), f"n={score.count}"]
                parts += [f"{name} {_number(value)}" for name, value in score.references.items()]
                lines.append("  ".join(part for part in parts if part))
            else:
                lines.append(f"  {score.name:34} not measured: {score.reason}")
        if omitted:
            lines.append(f"  and {len(omitted)} higher scores of other collections, see the report")
    return "\n".join(lines)


def _omitted(scores: Sequence[Measured]) -> set[str]:
    """Names of the scores of single collections that a terminal omits."""
    single = [score for score in scores if isinstance(score, Score) and OF_COLLECTION in score.name]
    return {score.name for score in sorted(single, key=lambda score: score.value)[MAX_COLLECTIONS:]}


def to_json(report: Report) -> str:
    """The report as JSON."""
    groups = {group: {score.name: score.record() for score in scores} for group, scores in report.scores.groups()}
    document = {"format": FORMAT, "impasto": __version__, "settings": dict(report.settings), "scores": groups}
    return json.dumps(document, indent=2) + "\n"


def to_html(report: Report, title: str) -> str:
    """One self-contained page with tables and images."""
    parts = [
        "<!doctype html>",
        f'<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>',
        f"<style>{STYLE}</style></head><body><h1>{html.escape(title)}</h1>",
        "<p>Intervals are 95 % confidence intervals. Compare each score with its references. "
        "Features are those of EfficientNet-Lite2, not comparable with scores on other networks.</p>",
    ]
    for group, scores in report.scores.groups():
        parts.append(f"<h2>{html.escape(group.capitalize())}</h2><table>")
        parts.append("<tr><th>score</th><th>value</th><th>interval</th><th>images</th><th>compare with</th></tr>")
        parts += [_row(score) for score in scores]
        parts.append("</table>")
    for name, sheet in report.sheets.items():
        parts.append(f'<h2>{html.escape(name)}</h2><img alt="{html.escape(name)}" src="{_inline(sheet)}">')
    settings = ", ".join(f"{name} {value}" for name, value in report.settings.items())
    parts.append(f"<p>Impasto {__version__}: {html.escape(settings)}</p></body></html>")
    return "\n".join(parts) + "\n"


def write_report(report: Report, folder: Path, title: str) -> list[Path]:
    """Write report.json, report.html and one PNG per sheet; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    written = [folder / "report.json", folder / "report.html"]
    write_text_atomically(written[0], to_json(report))
    write_text_atomically(written[1], to_html(report, title))
    for name, sheet in report.sheets.items():
        path = folder / f"{'-'.join(name.lower().replace(',', '').split()[:4])}.png"
        write_atomically(path, lambda temporary, sheet=sheet: sheet.save(temporary))
        written.append(path)
    return written


def _row(score: Measured) -> str:
    name = html.escape(score.name)
    if not isinstance(score, Score):
        return f'<tr><td>{name}</td><td class="quiet" colspan="4">not measured: {html.escape(score.reason)}</td></tr>'
    hint = {Best.HIGH: "higher is better", Best.LOW: "lower is better", Best.NEAR: "best near its references"}
    references = "<br>".join(f"{html.escape(n)} {_number(v)}" for n, v in score.references.items())
    cells = [
        f'<td title="{hint[score.best]}">{name}</td>',
        f'<td class="number">{_number(score.value)}</td>',
        f'<td class="number quiet">{_interval(score)}</td>',
        f'<td class="number quiet">{score.count}</td>',
        f"<td>{references}</td>",
    ]
    return f"<tr>{''.join(cells)}</tr>"


def _number(value: float) -> str:
    return f"{value:,.1f}" if abs(value) >= 100 else f"{value:.4g}"


def _interval(score: Score) -> str:
    return "" if score.interval is None else f"[{_number(score.interval[0])}, {_number(score.interval[1])}]"


def _inline(sheet: Image.Image) -> str:
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
