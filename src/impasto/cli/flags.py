"""Flags from the settings dataclasses: every leaf is a flag, with its default, range and help from `impasto.config`."""

import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from tyro.conf import arg
from tyro.constructors import ConstructorRegistry, StructConstructorSpec, StructFieldSpec, StructTypeInfo

from impasto.errors import ImpastoError
from impasto.migration import conditioning_scale_of
from impasto.settings import changed, kind_of, leaves

METAVARS = {
    "palette": "N|COLOURS|FILE",
    "text": "TEXT",
    "negative_text": "TEXT",
    "style": "STYLE ...",
    "pixel": "IMAGE ...",
    "orientation": "IMAGE ...",
    "texture": "IMAGE ...",
    "level_weights": "W W W W",
}
"""Of settings whose type does not name their values."""
WITHOUT = {
    "palette": "any colours",
    "pixel_art": "off",
    "text": "anything",
    "negative_text": "none",
    "style": "any",
    "pixel": "any colours",
    "orientation": "any",
    "texture": "any",
    "height": "the model's",
    "width": "the model's",
}
"""What the defaults None and () stand for."""
REGISTRY = ConstructorRegistry()
"""For ``tyro.cli``."""


class RefusedError(Exception):
    """An ImpastoError on its way through tyro, which would print a ValueError in its own style."""


class _Settings:
    """Base of the types that stand for settings in the annotations of commands."""

    omit: Collection[str]
    required: Collection[str]


def flags(omit: Collection[str] = (), required: Collection[str] = ()) -> Any:
    """Annotation of a command's field that holds settings: their leaves become flags, except those in ``omit``.

    The help calls those in ``required`` required; the command checks them. The field's default holds the defaults.
    """
    return arg(name="", constructor=type("Settings", (_Settings,), {"omit": omit, "required": required}))


@REGISTRY.struct_rule
def _settings_rule(info: StructTypeInfo) -> StructConstructorSpec | None:
    if not (isinstance(info.type, type) and issubclass(info.type, _Settings)):
        return None
    omit, required, defaults = info.type.omit, info.type.required, info.default

    def build(**values: Any) -> Any:
        try:
            return changed(defaults, **values)
        except ImpastoError as error:
            raise RefusedError(str(error)) from error

    fields = []
    for leaf in leaves(defaults):
        if leaf.name in omit:
            continue
        kind = kind_of(leaf.hint)
        hint = "(required)" if leaf.name in required else None
        if hint is None and leaf.default in (None, ()):
            hint = f"(default: {WITHOUT[leaf.name]})"
        described = arg(metavar=METAVARS.get(leaf.name), help_behavior_hint=hint)
        plain = kind.type | None if kind.optional else kind.type
        fields.append(StructFieldSpec(leaf.name, Annotated[plain, described], leaf.default, leaf.help))  # pyrefly: ignore
    return StructConstructorSpec(build, tuple(fields))


@dataclass(frozen=True)
class RenamedFlag:
    """A flag whose old name still works."""

    old: str
    new: str
    until: str
    """Version in which the old name goes."""
    convert: Callable[[str], str] | None = None
    """From the old flag's value to the new one's; None for the same value."""
    commands: Collection[str] = ()
    """First words of the command lines that it belongs to; all if empty."""


def _conditioning_scale(harmony: str) -> str:
    """The conditioning scale of a harmony; what is not a number stays as it is, and the new flag refuses it."""
    try:
        return f"{conditioning_scale_of(float(harmony)):.12g}"
    except ValueError:
        return harmony


RENAMED = (
    RenamedFlag("--clarity", "--internal-guidance", "0.3"),
    RenamedFlag("--passes", "--num-shifts", "0.3"),
    RenamedFlag("--no-steady", "--no-temporal-smoothing", "0.3"),
    RenamedFlag("--most", "--max-side", "0.3"),
    RenamedFlag("--harmony", "--conditioning-scale", "0.3", _conditioning_scale),
)


def with_new_names(arguments: Sequence[str], renamed: Iterable[RenamedFlag] = RENAMED) -> list[str]:
    """The command line with the present names of its flags; every old name is noted on stderr.

    >>> with_new_names(["fuse", "run", "--steps=4"])
    ['fuse', 'run', '--steps=4']
    """
    result: list[str] = []
    pending: RenamedFlag | None = None
    by_name = {flag.old: flag for flag in renamed if not flag.commands or set(arguments[:1]) & set(flag.commands)}
    for argument in arguments:
        name, equals, value = argument.partition("=")
        flag = by_name.get(name.replace("_", "-")) if name.startswith("--") else None
        if flag is None:
            result.append(pending.convert(argument) if pending and pending.convert else argument)
            pending = None
            continue
        print(f"{flag.old} is now {flag.new}; the old name works until {flag.until}", file=sys.stderr)
        result.append(f"{flag.new}={flag.convert(value) if flag.convert else value}" if equals else flag.new)
        pending = None if equals else flag
    return result


def given(settings: Any, defaults: Any) -> list[str]:
    """The flags of the leaves whose values in ``settings`` differ from ``defaults``."""
    return [leaf.flag for leaf in leaves(defaults) if leaf.of(settings) != leaf.default]
