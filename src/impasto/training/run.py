"""A run is a folder: config.json, model.safetensors, state/, log.jsonl, audit.json, previews/."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from impasto.atomic import write_text_atomically
from impasto.built_in import resolve_model
from impasto.config import TrainConfig, build, to_json
from impasto.errors import ImpastoError
from impasto.events import Stage
from impasto.migration import CURRENT, Kind, migrate
from impasto.settings import flag_of

FREE_TO_CHANGE = ("out", "data", "device", "processes", "preview_minutes", "save_minutes", "tensorboard")
"""Settings that a resumed run may change without becoming another run."""
BUDGET = ("minutes", "images")
"""Settings that may grow: the run then continues from its state."""


@dataclass(frozen=True)
class Run:
    """The files of a run."""

    folder: Path

    @property
    def config(self) -> Path:
        """The settings of training, as JSON."""
        return self.folder / "config.json"

    @property
    def model(self) -> Path:
        """The averaged weights."""
        return self.folder / "model.safetensors"

    def state(self, stage: Stage) -> Path:
        """The complete state for resuming ``stage``. That of stage 1 stays, so that it can be lengthened later."""
        return self.folder / "state" / f"{stage}.safetensors"

    @property
    def old_state(self) -> Path:
        """The state of the stage in progress, as versions before 0.2 wrote it."""
        return self.folder / "state" / "latest.safetensors"

    @property
    def log(self) -> Path:
        """The log, one JSON object per line."""
        return self.folder / "log.jsonl"

    @property
    def audit(self) -> Path:
        """The audit of the images."""
        return self.folder / "audit.json"

    @property
    def captions(self) -> Path:
        """The training captions, one per line."""
        return self.folder / "captions.txt"

    @property
    def previews(self) -> Path:
        """Sheets of images, by stage and images seen."""
        return self.folder / "previews"

    @property
    def cache(self) -> Path:
        """Decoded images."""
        return self.folder / "cache"


def model_file(path: Path) -> Path:
    """The weights of a run folder or a built-in model, or the file itself. Raises ImpastoError if there are none."""
    path = resolve_model(path)
    file = Run(path).model if path.is_dir() else path
    if not file.exists():
        reason = "its training has not saved yet" if Run(path).config.exists() else "it has no model.safetensors"
        raise ImpastoError(f"{path} is not a trained run: {reason}.")
    return file


def open_run(config: TrainConfig) -> Run:
    """The run folder of ``config``: created, or checked to be the same run.

    Raises ImpastoError when the folder holds something else, or a run with other settings.
    """
    run = Run(config.out)
    if run.config.exists():
        before = read_config(run.config)
        for field in dataclasses.fields(config):
            old, new = getattr(before, field.name), getattr(config, field.name)
            if old != new and field.name not in FREE_TO_CHANGE + BUDGET:
                flag = flag_of(field.name)
                raise ImpastoError(
                    f"{run.folder} holds a run with {flag} {_shown(old)}, not {_shown(new)}: give the same to "
                    f"resume it, or another --out to start afresh."
                )
    elif run.folder.exists() and (not run.folder.is_dir() or any(run.folder.iterdir())):
        leftovers = {"cache"}  # a first start that was stopped before it had anything else
        if not run.folder.is_dir() or {p.name for p in run.folder.iterdir()} - leftovers:
            raise ImpastoError(f"{run.folder} exists and is not a run: choose another --out.")
    write_text_atomically(run.config, to_json({"format": CURRENT} | dataclasses.asdict(config)) + "\n")
    return run


def read_config(file: Path) -> TrainConfig:
    """The settings of a run, from its config.json. Raises ImpastoError if it is damaged or of a newer format."""
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ImpastoError(f"cannot read {file}: {error}") from error
    if not isinstance(values, dict):
        raise ImpastoError(f"{file}: expected an object.")
    # Format 1 did not name itself.
    version = values.pop("format", 1)
    return build(TrainConfig, migrate(Kind.RUN, values, version, str(file)), str(file))


def _shown(value: Any) -> str:
    return json.dumps(dataclasses.asdict(value)) if dataclasses.is_dataclass(value) else str(value)  # pyrefly: ignore
