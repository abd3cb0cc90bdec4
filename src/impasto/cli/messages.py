"""What commands print: results on stdout, as text or as JSON; progress, notes and warnings on stderr."""

import json
import sys
from dataclasses import dataclass
from typing import Annotated, Any

from tyro.conf import OmitArgPrefixes, arg

from impasto.cli.progress import Progress
from impasto.events import Event, Warned


@dataclass(frozen=True)
class Messages:
    """The flags of all commands that print results."""

    quiet: Annotated[bool, arg(help_behavior_hint="")] = False
    """Print only results, warnings and errors: no progress and no notes."""
    json: Annotated[bool, arg(help_behavior_hint="")] = False
    """Print each result as a JSON object, one per line."""

    def record(self, **values: Any) -> None:
        """Print one result as a line of ASCII JSON; nothing without --json."""
        if self.json:
            print(json.dumps(values, default=str), flush=True)

    def text(self, text: object) -> None:
        """Print results as text; nothing with --json."""
        if not self.json:
            print(text)

    def note(self, text: str) -> None:
        """Print information to stderr; nothing with --quiet."""
        if not self.quiet:
            print(text, file=sys.stderr)

    def warn(self, event: Event | str) -> None:
        """Print a warning to stderr; a listener for events of other kinds too, which it ignores."""
        text = event.text if isinstance(event, Warned) else event
        if isinstance(text, str):
            print(f"warning: {text}", file=sys.stderr)

    def progress(self, verb: str, total: int) -> Progress:
        """The progress of ``total`` results; not shown with --quiet."""
        return Progress(verb, total, shown=not self.quiet)


MESSAGES = Messages()
MessageFlags = Annotated[Messages, OmitArgPrefixes, arg(help="")]
"""Type of a command's field ``message``; the help shows the flags in a box of their own."""
ANYWHERE = ("--quiet", "--json")
"""Flags that may also precede the name of the command."""
