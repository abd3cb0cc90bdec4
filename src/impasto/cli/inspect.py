"""impasto inspect: the recipe in an image or the summary of a run, as JSON."""

import dataclasses
import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from impasto.built_in import is_built_in, resolve_model
from impasto.cli.messages import MESSAGES, MessageFlags


@dataclass(frozen=True)
class Inspect:
    """Print the recipe in an image, or the summary of a run, as JSON.

    impasto inspect new/seed0-0003.png

    impasto inspect runs/emoji
    """

    path: Annotated[Positional[Path], arg(metavar="IMAGE|RUN")]
    """An image that Impasto wrote, the folder of a run, or a built-in model (icons, painter)."""
    message: MessageFlags = MESSAGES

    def run(self) -> int:
        """Print; returns the exit code."""
        if self.path.is_dir() or is_built_in(self.path):
            self._print(_run_summary(resolve_model(self.path)))
            return 0
        from impasto.create.recipe import read_recipe

        recipe = read_recipe(self.path)
        self._print(json.loads(recipe.to_json()))
        self.message.note(f"reproduce: impasto generate --recipe {shlex.quote(str(self.path))} --out again")
        return 0

    def _print(self, values: dict[str, Any]) -> None:
        self.message.record(**values)
        self.message.text(printable(values))


def printable(values: Any) -> str:
    """``values`` as JSON without control characters, as an untrusted image must not control the terminal."""
    text = json.dumps(values, indent=2, ensure_ascii=False, default=str)
    return "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text)


def _run_summary(run: Path) -> dict[str, Any]:
    from impasto import api
    from impasto.training.run import read_config

    model = api.load(run, "cpu")
    summary: dict[str, Any] = {
        "run": str(run),
        "fingerprint": model.fingerprint,
        "model": dataclasses.asdict(model.config),
    }
    config = run / "config.json"
    if config.is_file():
        summary["training"] = dataclasses.asdict(read_config(config))
    return summary
