"""Entry of the command line: parses the arguments, runs a command, returns its exit code."""

import io
import os
import platform
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from typing import Annotated, Any

import tyro
from tyro.conf import subcommand

from impasto.cli.captions import Caption, Search
from impasto.cli.evaluate import Evaluate
from impasto.cli.flags import REGISTRY, RefusedError, with_new_names
from impasto.cli.fuse import Fuse
from impasto.cli.generate import Generate
from impasto.cli.inspect import Inspect
from impasto.cli.interpolate import Interpolate
from impasto.cli.messages import ANYWHERE
from impasto.cli.mix import Mix
from impasto.cli.models import Models
from impasto.cli.reconstruct import Reconstruct
from impasto.cli.serve import Serve
from impasto.cli.style import Style
from impasto.cli.styles import Styles
from impasto.cli.stylize import Stylize
from impasto.cli.train import INTERRUPTED, Train, with_preset
from impasto.cli.usage import check_command, explain, overview_for
from impasto.cli.vary import Vary
from impasto.cli.vectors import Decode, Encode
from impasto.errors import ImpastoError
from impasto.memory import with_huge_pages
from impasto.version import __version__

WRONG_INPUT = 2
ENVIRONMENT = {"OMP_WAIT_POLICY": "passive", "TORCH_CPP_LOG_LEVEL": "ERROR"}
"""For torch, which is imported later: threads wait without spinning, which makes a busy machine many times slower, and
warnings for developers are not shown."""
BROKEN_PIPE = 141
"""128 + SIGPIPE: exit code of a program whose output pipe was closed."""

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
    | Annotated[Styles, subcommand("styles")]
    | Annotated[Inspect, subcommand("inspect")]
)
"""All commands; each has a method ``run`` that returns the exit code."""

STYLE = (tyro.conf.EnumChoicesFromValues, tyro.conf.FlagCreatePairsOff, tyro.conf.DisallowNone)
"""Enum choices by value, no --no-... pairs of flags, and no None as a value."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    0 is success, 2 is wrong input (one line on stderr, no traceback), 130 is Ctrl-C. Other exceptions are bugs and
    propagate. Raises SystemExit after --help, and with code 2 for a wrong command line, such as an unknown flag.
    """
    if arguments is None:
        arguments = sys.argv[1:]
        restart_with_huge_pages(arguments)
    arguments = list(arguments)
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        code = _run(arguments)
        sys.stdout.flush()
        return code
    except (ImpastoError, RefusedError) as error:
        message = error.command_line if isinstance(error, ImpastoError) else error
        print(f"error: {message}", file=sys.stderr)
        return WRONG_INPUT
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Python flushes stdout again at exit, which would fail on the closed pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE


def restart_with_huge_pages(arguments: Sequence[str]) -> None:
    """Start this program again, in the same process, if it is to train and its memory has pages of usual size.

    See `impasto.memory.with_huge_pages`.
    """
    before = os.environ.get("GLIBC_TUNABLES", "")
    tunables = with_huge_pages(before)
    command = next((argument for argument in arguments if not argument.startswith("-")), "")
    if command != "train" or tunables == before or platform.libc_ver()[0] != "glibc":
        return
    os.environ["GLIBC_TUNABLES"] = tunables
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _run(arguments: Sequence[str]) -> int:
    if arguments == ["--version"]:
        print(f"impasto {__version__}")
        return 0
    if (text := overview_for(arguments)) is not None:
        print(text)
        sys.stdout.flush()  # raises BrokenPipeError here instead of at exit
        raise SystemExit(0)
    moved = [argument for argument in arguments if argument in ANYWHERE]
    arguments = [argument for argument in arguments if argument not in ANYWHERE] + moved
    if (problem := check_command(arguments)) is not None:
        print(f"error: {problem}", file=sys.stderr)
        raise SystemExit(WRONG_INPUT)
    return _parsed(with_preset(with_new_names(arguments))).run()


def _parsed(arguments: Sequence[str]) -> Any:
    """The command of a command line. Raises SystemExit after --help, and after a message for a wrong command line."""
    messages = io.StringIO()
    try:
        with redirect_stderr(messages):
            return tyro.cli(Command, prog="impasto", description="", args=arguments, config=STYLE, registry=REGISTRY)
    except SystemExit as end:
        if end.code == 0:
            sys.stdout.flush()
            raise
        print(f"error: {explain(arguments, messages.getvalue(), lambda: _help(arguments))}", file=sys.stderr)
        raise SystemExit(WRONG_INPUT) from None


def _help(arguments: Sequence[str]) -> str:
    """The help of the command of a command line."""
    text = io.StringIO()
    name = arguments[: 2 if arguments[:1] == ["style"] else 1]
    try:
        with redirect_stdout(text):
            tyro.cli(Command, prog="impasto", args=[*name, "--help"], config=STYLE, registry=REGISTRY)
    except SystemExit:
        pass
    return text.getvalue()
