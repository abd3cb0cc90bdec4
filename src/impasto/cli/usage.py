"""The help of ``impasto`` without a command, and messages for wrong command lines."""

import itertools
import re
from collections.abc import Callable, Collection, Mapping, Sequence

from impasto.cli.flags import split_flag
from impasto.errors import similar

GROUPS: dict[str, dict[str, str]] = {
    "make": {
        "generate": "new images in a style, or of a text",
        "vary": "variations of one image",
        "fuse": "the colours, structure and texture of different images in one",
        "interpolate": "a sequence of images between two images",
    },
    "stylize": {
        "stylize": "images, folders and clips in another style",
        "mix": "a sheet of images in several styles or strengths",
        "reconstruct": "images next to their reconstructions",
    },
    "train": {
        "train": "a model on a folder of images, or more styles for a model",
        "evaluate": "scores of a model, as a report",
    },
    "look inside": {
        "models": "the built-in models",
        "styles": "the styles of a model, and a sheet with samples",
        "inspect": "the recipe of an image, or the summary of a run",
        "style": "save a style to a file, or show one",
        "caption": "the best matching sentences for images",
        "search": "the images of a folder that match a text",
        "encode": "from images to latents in a file",
        "decode": "from latents in a file to images",
    },
    "serve": {
        "serve": "the studio, a local web page for all of this",
    },
}
"""One line about each command, in the groups of the help."""
STYLE_GROUPS = {
    "commands": {
        "save": "pool collections, images and saved styles into a file",
        "show": "the model and the sources of a style file",
    }
}
"""The commands of ``impasto style``."""

DRAWN = re.compile(r"[╰─-]{3}")
"""The start of a line that is drawn."""


def overview() -> str:
    """The help of ``impasto``, on one screen."""
    return "\n".join(
        (
            "usage: impasto COMMAND ...",
            "",
            "Learn a style from a folder of images, generate images in it, and stylize others.",
            *_listed(GROUPS),
            "",
            "impasto generate icons --style twemoji -n 8",
            "impasto stylize icons cat.png --style noto",
            "impasto train my-images --minutes 30",
            "",
            "Help for a command: impasto generate --help. The version: impasto --version.",
        )
    )


def style_overview() -> str:
    """The help of ``impasto style``."""
    intro = "Save a style to a file for --style, or show one."
    help = "Help for a command: impasto style save --help."
    return "\n".join(("usage: impasto style COMMAND ...", "", intro, *_listed(STYLE_GROUPS), "", help))


def _listed(groups: Mapping[str, Mapping[str, str]]) -> list[str]:
    width = max(len(name) for commands in groups.values() for name in commands)
    lines = []
    for group, commands in groups.items():
        lines += ["", f"{group}:", *(f"  {name:{width}}  {text}" for name, text in commands.items())]
    return lines


def overview_for(arguments: Sequence[str]) -> str | None:
    """The help that a command line asks for, if it is not that of a single command."""
    if list(arguments) in (["-h"], ["--help"], ["help"]):
        return overview()
    if list(arguments[:2]) in (["style", "-h"], ["style", "--help"]):
        return style_overview()
    return None


def check_command(arguments: Sequence[str]) -> str | None:
    """What is wrong with the name of the command; None if it exists."""
    names = [name for commands in GROUPS.values() for name in commands]
    if (message := _unknown(arguments, names, "impasto")) is not None or arguments[0] != "style":
        return message
    return _unknown(arguments[1:], list(STYLE_GROUPS["commands"]), "impasto style")


def _unknown(arguments: Sequence[str], names: Sequence[str], program: str) -> str | None:
    if not arguments:
        return f"COMMAND is missing: see {program} --help."
    name = arguments[0]
    if name in names:
        return None
    kind = "flag" if name.startswith("-") else "command"
    return f"{program} has no {kind} {name}.{similar(name, names)} See {program} --help."


def explain(arguments: Sequence[str], reason: str, help: Callable[[], str]) -> str:
    """One line about a wrong command line.

    ``reason`` is the message of tyro, and ``help`` gives the help of the command. An unknown flag is named with the
    most similar one.
    """
    program = program_of(arguments)
    flags = flags_in(help())
    unknown = [flag for flag in map(_flag, arguments) if flag and flag not in flags]
    if unknown:
        return f"{program} has no flag {unknown[0]}.{similar(unknown[0], flags)} See {program} --help."
    text = re.sub(r"^Unrecognized options:", "unexpected arguments:", flattened(reason))
    return f"{text} See {program} --help."


def program_of(arguments: Sequence[str]) -> str:
    """The command of a command line, for a message."""
    return " ".join(("impasto", *arguments[: 2 if arguments[:1] == ["style"] else 1]))


def flags_in(help: str) -> Collection[str]:
    """All flags in a help text."""
    return set(re.findall(r"(?<![\w-])--?[a-zA-Z][\w.-]*\b", help))


def _flag(argument: str) -> str:
    """The flag of an argument; empty if it is a value, such as a negative number."""
    if re.fullmatch(r"-[a-zA-Z]", argument):
        return argument
    return split_flag(argument)[0]


def flattened(message: str) -> str:
    """A message of tyro, without its title, up to the first line that is drawn, as a sentence.

    >>> flattened("╭─ Title ──╮\\n│ Missing: │\\n│  --out X │\\n│ ──────── │\\n│ For help │\\n╰──────────╯")
    'Missing: --out X.'
    """
    lines = [line.strip(" │") for line in re.sub(r"\x1b\[[\d;]*m", "", message).splitlines()]
    body = [line for line in lines[1:] if line]
    if body and DRAWN.match(body[0]):  # the title has a line of its own if the output is not UTF-8
        body = body[1:]
    words = " ".join(itertools.takewhile(lambda line: not DRAWN.match(line), body)).split()
    return f"{' '.join(words).replace(' (required)', '').rstrip('.')}."
