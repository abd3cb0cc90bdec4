"""impasto style: styles as files."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg, subcommand

from impasto.cli.device import DEVICE, DeviceFlags
from impasto.cli.flags import RUN_HELP
from impasto.cli.messages import MESSAGES, MessageFlags
from impasto.cli.outputs import Out
from impasto.errors import ImpastoError


@dataclass(frozen=True)
class Save:
    """Pool collections, images and saved styles into one style file, for --style.

    impasto style save runs/emoji mine/*.png -o my.style
    """

    run_folder: Annotated[Positional[Path], arg(metavar="RUN", name="run", help=RUN_HELP)]
    style: Annotated[Positional[tuple[str, ...]], arg(metavar="STYLE ...", help_behavior_hint="(at least one)")]
    """Collections of the run, images or saved styles, each with an optional ":weight"."""
    out: Out
    """File to write, NAME.style."""
    device: DeviceFlags = DEVICE
    message: MessageFlags = MESSAGES

    def run(self) -> int:
        """Write the style; returns the exit code."""
        if not self.style:
            raise ImpastoError("STYLE is missing: name collections of the model, images or saved styles.")
        self.device.load(self.run_folder).save_style(self.style, self.out)
        self.message.record(path=self.out, style=self.style)
        self.message.text(self.out)
        return 0


@dataclass(frozen=True)
class Show:
    """Print the model and the sources of a style file.

    impasto style show my.style
    """

    file: Annotated[Positional[Path], arg(metavar="FILE")]
    """A .style file."""
    message: MessageFlags = MESSAGES

    def run(self) -> int:
        """Print; returns the exit code."""
        from impasto.create.style_file import describe

        fingerprint, sources = describe(self.file)
        self.message.record(path=self.file, fingerprint=fingerprint, style=sources)
        self.message.text(f"weights: {fingerprint}\nstyle: {', '.join(sources)}")
        return 0


@dataclass(frozen=True)
class Style:
    """Save a style to a file, or show one: impasto style save --help."""

    action: Annotated[
        Annotated[Save, subcommand("save", prefix_name=False)] | Annotated[Show, subcommand("show", prefix_name=False)],
        arg(name=""),
    ]

    def run(self) -> int:
        """Run the subcommand; returns the exit code."""
        return self.action.run()
