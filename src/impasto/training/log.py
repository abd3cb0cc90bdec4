"""Listeners that write logs: log.jsonl, and TensorBoard on request."""

import json
import time
from pathlib import Path

from impasto.errors import ImpastoError
from impasto.events import Event, Listener, Stepped, Warned

SECONDS_BETWEEN = 5.0


def json_log(path: Path) -> Listener:
    """Append a line to ``path`` every few seconds: progress and the terms of the loss; every warning at once."""
    last = 0.0

    def listen(event: Event) -> None:
        nonlocal last
        now = time.time()
        if isinstance(event, Stepped) and now - last >= SECONDS_BETWEEN:
            last = now
            line = {"time": round(now, 1), "stage": event.stage, "images_seen": event.images_seen}
            line |= {"progress": round(event.total_progress, 5), "images_per_second": event.images_per_second}
            line |= {"skipped_updates": event.skipped_updates, **event.terms}
        elif isinstance(event, Warned):
            line = {"time": round(now, 1), "warning": event.text}
        else:
            return
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            raise ImpastoError(f"cannot write {path}: {error.strerror}. Free some space; the run resumes.") from error

    return listen


def tensorboard_log(folder: Path) -> Listener:
    """Write the terms as TensorBoard scalars. Raises ImpastoError if the extra is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ImpastoError('--tensorboard needs an extra: pip install -e ".[tensorboard]"') from error
    writer = SummaryWriter(str(folder))

    def listen(event: Event) -> None:
        if isinstance(event, Stepped):
            for name, value in event.terms.items():
                writer.add_scalar(f"{event.stage}/{name}", value, event.images_seen)

    return listen
