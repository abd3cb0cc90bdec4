"""impasto style: styles as files."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg, subcommand

from impasto.errors import ImpastoError


@dataclass(frozen=True)
class Save:
    """Pool collections, images and saved styles into one style file, for --style.

    impasto style save runs/emoji mine/*.png -o my.style
    """

    run_folder: Annotated[Positional[Path], arg(metavar="RUN", name="run")]
    """Folder of the run."""
    style: Annotated[Positional[tuple[str, ...]], arg(metavar="STYLE ...", help_behavior_hint="(at least one)")]
    """Collections of the run, images or saved styles, each with an optional ":weight"."""
    out: Annotated[Path, arg(aliases=["-o"])]
    """File to write, NAME.style."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""

    def run(self) -> int:
        """Write the style; returns the exit code."""
        if not self.style:
            raise ImpastoError("STYLE is missing: name collections of the model, images or saved styles.")
        from impasto import api

        api.load(self.run_folder, self.device).save_style(self.style, self.out)
        print(self.out)
        return 0


@dataclass(frozen=True)
class Show:
    """Print the model and the sources of a style file.

    impasto style show my.style
    """

    file: Annotated[Positional[Path], arg(metavar="FILE")]
    """A .style file."""

    def run(self) -> int:
        """Print; returns the exit code."""
        from impasto.create.style_file import describe

        fingerprint, sources = describe(self.file)
        print(f"weights: {fingerprint}\nstyle: {', '.join(sources)}")
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
