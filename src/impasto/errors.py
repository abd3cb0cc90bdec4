"""The error for problems that the user can solve, worded for Python and for the command line."""

import difflib
import re
from collections.abc import Iterable

_COMMAND = r"\b(?:impasto [a-z]+ |pip install |torchrun )(?:(?!\. |; |`).)*"
_FLAG = r"(?<![^\s(`'\"=])(?:--(?P<no>no-)?(?P<name>[a-z][a-z0-9]*(?:[.-][a-z0-9]+)*)|-n(?![\w-]))"


class ImpastoError(ValueError):
    """Invalid input; the message names the file or setting and the remedy.

    A message is written with flags, as in ``ImpastoError("--num-shifts 3: use 1, 2, 4 or 8.")``. ``str`` gives the
    wording of Python, and ``command_line`` that of the command line, which prints it without a traceback and exits with
    code 2.

    >>> str(ImpastoError("--num-shifts 3: use 1, 2, 4 or 8."))
    'num_shifts 3: use 1, 2, 4 or 8.'
    """

    def __str__(self) -> str:
        return in_python(self.command_line)

    @property
    def command_line(self) -> str:
        """The message with flags."""
        return super().__str__()


def in_python(message: str) -> str:
    """A message with the names of settings in Python instead of flags.

    Commands in the message, which start with ``impasto COMMAND``, ``pip install`` or ``torchrun`` and end with the
    sentence, keep their flags.

    >>> in_python("--no-temporal-smoothing does nothing; -n 0: use 1. See impasto train --help.")
    'temporal_smoothing=False does nothing; count 0: use 1. See impasto train --help.'
    """
    return re.sub(f"(?P<command>{_COMMAND})|{_FLAG}", _in_python, message)


def _in_python(match: re.Match[str]) -> str:
    if match["command"]:
        return match["command"]
    if match["name"] is None:
        return "count"
    return match["name"].replace("-", "_") + ("=False" if match["no"] else "")


def similar(word: str, choices: Iterable[str]) -> str:
    """The most similar of ``choices``, or the first that begins with ``word``, as a sentence after a space.

    Empty if none is similar.

    >>> similar("Twemojy", ["noto", "twemoji"]), similar("x", ["noto", "twemoji"])
    (' Did you mean twemoji?', '')
    """
    choices = list(choices)
    beginning = [choice for choice in choices if len(word) > 1 and choice.lower().startswith(word.lower())]
    matches = beginning or close_matches(word, choices)
    return f" Did you mean {matches[0]}?" if matches else ""


def close_matches(word: str, choices: Iterable[str]) -> list[str]:
    """Up to three of ``choices`` that are similar to ``word``, best first; upper and lower case are the same.

    >>> close_matches("NOTO", ["nota", "noto"]), close_matches("noto", ["nota", "noto-2"])
    (['noto'], ['noto-2', 'nota'])
    """
    by_lower = {choice.lower(): choice for choice in choices}
    if (exact := by_lower.get(word.lower())) is not None:
        return [exact]
    return [by_lower[match] for match in difflib.get_close_matches(word.lower(), by_lower)]
