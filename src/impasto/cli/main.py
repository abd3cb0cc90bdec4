"""Entry of the command line: parses the arguments, runs a command, returns its exit code."""

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import tyro
from tyro.conf import subcommand

from impasto.cli.captions import Caption, Search
from impasto.cli.evaluate import Evaluate
from impasto.cli.flags import REGISTRY, RefusedError, with_new_names
from impasto.cli.fuse import Fuse
from impasto.cli.generate import Generate
from impasto.cli.inspect import Inspect
from impasto.cli.interpolate import Interpolate
from impasto.cli.mix import Mix
from impasto.cli.models import Models
from impasto.cli.reconstruct import Reconstruct
from impasto.cli.serve import Serve
from impasto.cli.style import Style
from impasto.cli.stylize import Stylize
from impasto.cli.train import INTERRUPTED, Train, with_preset
from impasto.cli.vary import Vary
from impasto.cli.vectors import Decode, Encode
from impasto.errors import ImpastoError
from impasto.version import __version__

WRONG_INPUT = 2
BROKEN_PIPE = 141
"""128 + SIGPIPE: exit code of a program whose output pipe was closed."""

DESCRIPTION = """Learn a style from a folder of images, generate images in it, and stylize others.

Help for a command: impasto train --help. The version: impasto --version."""

Command = (
    Annotated[Train, subcommand("train")]
    | Annotated[Generate, subcommand("generate")]
    | Annotated[Stylize, subcommand("stylize")]
    | Annotated[Fuse, subcommand("fuse")]
    | Annotated[Vary, subcommand("vary")]
    | Annotated[Interpolate, subcommand("interpolate")]
    | Annotated[Mix, subcommand("mix")]
    | Annotated[Style, subcommand("style")]
    | Annotated[Reconstruct, subcommand("reconstruct")]
    | Annotated[Evaluate, subcommand("evaluate")]
    | Annotated[Encode, subcommand("encode")]
    | Annotated[Decode, subcommand("decode")]
    | Annotated[Caption, subcommand("caption")]
    | Annotated[Search, subcommand("search")]
    | Annotated[Serve, subcommand("serve")]
    | Annotated[Models, subcommand("models")]
    | Annotated[Inspect, subcommand("inspect")]
)
"""All commands; each has a method ``run`` that returns the exit code."""

STYLE = (tyro.conf.EnumChoicesFromValues, tyro.conf.FlagCreatePairsOff, tyro.conf.DisallowNone)
"""Enum choices by value, no --no-... pairs of flags, and no None as a value."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    0 is success, 2 is wrong input (one line on stderr, no traceback), 130 is Ctrl-C. Other exceptions are bugs and
    propagate. tyro raises SystemExit after --help and for unknown flags.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    try:
        code = _run(arguments)
        sys.stdout.flush()
        return code
    except (ImpastoError, RefusedError) as error:
        print(f"error: {error}", file=sys.stderr)
        return WRONG_INPUT
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Python flushes stdout again at exit, which would fail on the closed pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE


def _run(arguments: Sequence[str]) -> int:
    if arguments == ["--version"]:
        print(f"impasto {__version__}")
        return 0
    arguments = with_preset(with_new_names(arguments))
    try:
        command = tyro.cli(
            Command, prog="impasto", description=DESCRIPTION, args=arguments, config=STYLE, registry=REGISTRY
        )
    except SystemExit:
        sys.stdout.flush()  # raises BrokenPipeError here instead of at exit
        raise
    return command.run()
