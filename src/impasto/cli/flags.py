"""Flags from the settings dataclasses: every leaf is a flag, with its default, range and help from `impasto.config`."""

import dataclasses
import sys
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from tyro import MISSING
from tyro.conf import OmitArgPrefixes, Suppress, arg
from tyro.constructors import ConstructorRegistry, StructConstructorSpec, StructFieldSpec, StructTypeInfo

from impasto.errors import ImpastoError
from impasto.migration import conditioning_scale_of
from impasto.settings import Leaf, changed, docs_of, kind_of, leaves

METAVARS = {
    "palette": "N|COLOURS|FILE",
    "text": "TEXT",
    "negative_text": "TEXT",
    "style": "STYLE ...",
    "pixel": "IMAGE ...",
    "orientation": "IMAGE ...",
    "texture": "IMAGE ...",
    "level_weights": "W W W W",
    "augment": "{flip,shift,hue} ...",
    "device": "{auto,cpu,cuda,mps}",
    "finetune": "MODEL",
    "init": "MODEL",
}
"""Placeholders in the help, for settings whose type does not name their values."""
DEFAULTS = {
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
    "minutes": "30",
    "images": "",
    "prior_size": "that of --size",
    "resolution": "the images' own",
    "finetune": "none",
    "init": "none",
    "augment": "none",
    "prior_learning_rate": "5e-4 for small",
    "processes": "one per core",
}
"""Meaning of the defaults None and (), for the help."""
TYPES: dict[str, Any] = {
    "prior_size": Literal["tiny", "small", "base"],
    "dtype": Literal["auto", "bfloat16", "float32"],
}
"""Types of settings whose own type accepts other values too."""
HELP = {
    "temporal_smoothing": "Do not smooth clips. By default flicker is reduced by averages over time, along the optical "
    "flow.",
    "palette": "Restrict the colours: a number of colours, a list of hexadecimal colours with commas between them, or "
    "a file (.png, .gpl, .hex).",
    "minutes": "Budget of both stages together, in minutes, unless --images sets it.",
    "resolution": "Side of the images in pixels, a multiple of 32; smaller than their own if the budget is short.",
    "prior_learning_rate": "Peak learning rate of the prior; by default 0.192 / its width (Yang 2022).",
    "processes": "Processes that share each batch; a GPU has one.",
    "device": "Device of the model; auto prefers a GPU.",
    "dtype": "Floating-point type of the networks; auto is the faster one on this machine.",
}
"""Help of settings that reads differently on the command line: of a switch that turns off, of a list of colours, which
the help would break over lines at its commas, and of defaults and choices that the help lists."""
COMMON = ("style", "text", "negative_text")
"""Settings that the help lists first."""
GROUPS = ("sampling", "output")
"""Parts of the settings whose flags have a box of their own in the help; the others share that of the command."""
RUN_HELP = "Folder of a run, model file or built-in model (icons, painter)."
"""Help of the argument RUN."""
REGISTRY = ConstructorRegistry()
"""Constructors for ``tyro.cli``."""


class RefusedError(Exception):
    """An ImpastoError raised inside tyro, which would catch and reformat an ImpastoError, as that is a ValueError."""


class _Settings:
    """Base of the types that mark settings in the annotations of commands."""

    omit: Collection[str]
    required: Collection[str]


def flags(omit: Collection[str] = (), required: Collection[str] = ()) -> Any:
    """Annotation of a command's field that holds settings: each leaf becomes a flag, except those in ``omit``.

    The help marks those in ``required`` as required; the command checks them. The field's default holds the defaults.
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
            raise RefusedError(error.command_line) from error

    chosen = [leaf for leaf in leaves(defaults) if leaf.name not in omit]
    own = [leaf for leaf in chosen if leaf.path[0] not in GROUPS]
    own.sort(key=lambda leaf: COMMON.index(leaf.name) if leaf.name in COMMON else len(COMMON))
    fields = [_field(leaf, leaf.name in required) for leaf in own]
    for group in GROUPS:
        if members := [leaf for leaf in chosen if leaf.path[0] == group]:
            fields.append(_group_field(group, members, required))
    return StructConstructorSpec(lambda **values: build(**_ungrouped(values)), tuple(fields))


def _ungrouped(values: dict[str, Any]) -> dict[str, Any]:
    """The values of leaves by name; those of a group are in a dictionary."""
    groups = [values.pop(group) for group in GROUPS if group in values]
    return values | {name: value for group in groups for name, value in group.items()}


class _Group:
    """Base of the types that mark a group of settings."""

    fields: Sequence[StructFieldSpec]


def _group_field(
    group: str, members: Iterable[Leaf], required: Collection[str] = (), *, with_prefix: bool = False
) -> StructFieldSpec:
    """A field that holds the values of ``members`` by name; the help shows their flags in the box of ``group``.

    ``with_prefix`` puts the name of the group before that of each flag.
    """
    fields = tuple(_field(leaf, leaf.name in required) for leaf in members)
    kind = type("Group", (_Group,), {"fields": fields})
    hint = kind if with_prefix else Annotated[kind, OmitArgPrefixes]
    return StructFieldSpec(group, hint, kind(), "")  # pyrefly: ignore


@REGISTRY.struct_rule
def _group_rule(info: StructTypeInfo) -> StructConstructorSpec | None:
    if not (isinstance(info.type, type) and issubclass(info.type, _Group)):
        return None
    return StructConstructorSpec(lambda **values: values, tuple(info.type.fields))


def in_boxes(command: type, defaults: Any, boxes: Mapping[str, Sequence[str]]) -> None:
    """Put the flags of ``command``, a dataclass that inherits the settings of ``defaults``, in boxes of the help.

    ``boxes`` maps the name of each box to the names of its settings, in order; "" is the box of the command. Parts of
    the settings that are dataclasses have boxes of their own, and their name as a prefix; ``boxes`` names them without
    settings. The fields that ``command`` itself declares keep their annotations.
    """
    parts = [name for name, members in boxes.items() if not members]

    @REGISTRY.struct_rule
    def rule(info: StructTypeInfo) -> StructConstructorSpec | None:
        if info.type is not command:
            return None
        own = command.__annotations__
        hints = typing.get_type_hints(command, include_extras=True)
        fields = {
            field.name: StructFieldSpec(
                field.name,
                hints[field.name],
                MISSING if field.default is dataclasses.MISSING else field.default,
                docs_of(command).get(field.name) or docs_of(type(defaults)).get(field.name, ""),
            )
            for field in dataclasses.fields(command)
            if field.name in own
        }
        settings = {leaf.name: leaf for leaf in leaves(defaults) if Suppress not in typing.get_args(leaf.hint)}

        def build(**values: Any) -> Any:
            inner = {part: dataclasses.replace(getattr(defaults, part), **values.pop(part)) for part in parts}
            groups = [values.pop(name) for name in boxes if name in values and name not in own]
            for group in groups:
                values |= group
            return command(**values, **inner)

        build.__doc__ = command.__doc__  # tyro takes the text above the boxes from it
        first = [fields.pop(name) if name in fields else _field(settings[name], False) for name in boxes[""]]
        boxed = [
            _group_field(name, [settings[member] for member in members])
            for name, members in boxes.items()
            if name and members
        ]
        last = [
            _group_field(part, [leaf for leaf in settings.values() if leaf.path[0] == part], with_prefix=True)
            for part in parts
        ]
        return StructConstructorSpec(build, (*first, *boxed, *fields.values(), *last))


def _field(leaf: Leaf, is_required: bool) -> StructFieldSpec:
    """The flag of one setting."""
    kind = kind_of(leaf.hint)
    hint = "(required)" if is_required else None
    if hint is None and leaf.default in (None, ()):
        default = DEFAULTS[leaf.name]
        hint = f"(default: {default})" if default else ""
    if leaf.default is True or leaf.default is False:
        hint = ""  # a switch changes the default
    metavar = None if kind.type is bool else METAVARS.get(leaf.name)
    described = arg(metavar=metavar, help_behavior_hint=hint)
    plain = TYPES.get(leaf.name, kind.type)
    plain = plain | None if kind.optional else plain
    help = HELP.get(leaf.name, leaf.help)
    return StructFieldSpec(leaf.name, Annotated[plain, described], leaf.default, help)  # pyrefly: ignore


@dataclass(frozen=True)
class RenamedFlag:
    """A flag whose old name still works."""

    old: str
    new: str
    until: str
    """Version that removes the old name."""
    convert: Callable[[str], str] | None = None
    """Converts the old flag's value to the new one's; None keeps it."""
    commands: Collection[str] = ()
    """Commands that have the flag; all commands if empty."""


@dataclass(frozen=True)
class ChangedFlag:
    """A flag whose meaning has changed."""

    name: str
    note: str
    """Printed on stderr when the flag is used."""
    commands: Collection[str] = ()
    """Commands that have the flag; all commands if empty."""


def _conditioning_scale(harmony: str) -> str:
    """The conditioning scale of a harmony; text that is not a number is kept, and the new flag rejects it."""
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
    RenamedFlag("--start-from", "--init", "0.3", commands=("train",)),
    *(
        RenamedFlag(f"--objective.{old}", f"--objective.{new}", "0.3", commands=("train",))
        for old, new in {
            "mixture-weight": "swap-weight",
            "mixture-start": "stylization-start",
            "twin-weight": "destylized-weight",
            "encoders-until": "freeze-encoders-after",
        }.items()
    ),
)
# Until 0.3: in 0.1, --init was the name of what is --finetune now.
CHANGED = (
    ChangedFlag(
        "--init",
        "--init now initialises a new model with the weights of MODEL; to adapt a model to few images use --finetune",
        commands=("train",),
    ),
)


def with_new_names(arguments: Sequence[str], renamed: Iterable[RenamedFlag] = RENAMED) -> list[str]:
    """The command line with the current names of its flags.

    Prints a note on stderr for each old or changed flag, if --quiet is not among the arguments.

    >>> with_new_names(["fuse", "run", "--steps=4"])
    ['fuse', 'run', '--steps=4']
    """
    result: list[str] = []
    pending: RenamedFlag | None = None
    by_name = {flag.old: flag for flag in renamed if _belongs(flag.commands, arguments)}
    notes = {flag.name: flag.note for flag in CHANGED if _belongs(flag.commands, arguments)}
    is_quiet = "--quiet" in arguments
    for argument in arguments:
        name, equals, value = split_flag(argument)
        flag = by_name.get(name)
        if flag is None:
            if name in notes and not is_quiet:
                print(f"note: {notes[name]}", file=sys.stderr)
            result.append(pending.convert(argument) if pending and pending.convert else argument)
            pending = None
            continue
        if not is_quiet:
            print(f"{flag.old} is now {flag.new}; the old name works until {flag.until}", file=sys.stderr)
        result.append(f"{flag.new}={flag.convert(value) if flag.convert else value}" if equals else flag.new)
        pending = None if equals else flag
    return result


def split_flag(argument: str) -> tuple[str, str, str]:
    """Name, "=" and value of a flag such as ``--zoom=2``; the name is empty if the argument is not a flag.

    >>> split_flag("--stage1_share=0.5"), split_flag("a=b")
    (('--stage1-share', '=', '0.5'), ('', '', ''))
    """
    if not argument.startswith("--"):
        return "", "", ""
    name, equals, value = argument.partition("=")
    return name.replace("_", "-"), equals, value


def _belongs(commands: Collection[str], arguments: Sequence[str]) -> bool:
    return not commands or bool(set(arguments[:1]) & set(commands))


def changed_flags(settings: Any, defaults: Any) -> list[str]:
    """The flags of the leaves whose values in ``settings`` differ from ``defaults``."""
    return [leaf.flag for leaf in leaves(defaults) if leaf.of(settings) != leaf.default]
