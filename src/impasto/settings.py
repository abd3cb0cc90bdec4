"""Describe settings: each leaf of composed dataclasses, with its range, default and help text."""

import ast
import dataclasses
import functools
import inspect
import itertools
import math
import operator
import textwrap
import types
import typing
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from annotated_types import Ge, GroupedMetadata, Le, MultipleOf

from impasto.errors import ImpastoError
from impasto.references import as_references, refused

T = TypeVar("T")


@dataclass(frozen=True)
class Usual:
    """The useful part of a wide range, from its minimum: the range of a slider."""

    maximum: float
    step: float


@dataclass(frozen=True)
class Kind:
    """The values that a setting accepts."""

    type: Any
    """The type without annotations and None."""
    optional: bool = False
    minimum: float | None = None
    maximum: float | None = None
    multiple_of: int | None = None
    usual: Usual | None = None

    @property
    def accepted(self) -> str:
        """The accepted values, for an error message; empty if every value of the type is accepted."""
        if choices := choices_of(self.type):
            *first, last = map(str, choices)
            return f"{', '.join(first)} or {last}"
        if self.minimum is None and self.maximum is None and self.multiple_of is None:
            return ""
        noun = "a whole number" if self.type is int else "a number"
        noun = f"a multiple of {self.multiple_of}" if self.multiple_of else noun
        start = f" from {self.minimum}" if self.minimum is not None else ""
        return noun + start + (f" to {self.maximum}" if self.maximum is not None else "")

    def allows(self, value: Any) -> bool:
        """Whether ``value``, which has the right type, is in the range."""
        if value is None:
            return self.optional
        if choices := choices_of(self.type):
            return value in choices
        if isinstance(value, float) and not math.isfinite(value):
            return False
        return not (
            (self.minimum is not None and value < self.minimum)
            or (self.maximum is not None and value > self.maximum)
            or (self.multiple_of is not None and value % self.multiple_of)
        )


@dataclass(frozen=True)
class Leaf:
    """One setting of composed dataclasses."""

    path: tuple[str, ...]
    """Names of the nested fields; the last one is that of the leaf."""
    hint: Any
    """The annotation."""
    default: Any
    help: str

    @property
    def name(self) -> str:
        """The name, unique within the settings."""
        return self.path[-1]

    @property
    def flag(self) -> str:
        """The flag on the command line."""
        return flag_of(self.name)

    def of(self, settings: Any) -> Any:
        """The value in ``settings``."""
        return functools.reduce(getattr, self.path, settings)


def leaves(settings: Any) -> Iterator[Leaf]:
    """Yield every leaf of ``settings``; their values are the defaults."""
    cls = type(settings)
    for name, hint in hints_of(cls).items():
        value = getattr(settings, name)
        if dataclasses.is_dataclass(value):
            for leaf in leaves(value):
                yield dataclasses.replace(leaf, path=(name, *leaf.path))
        else:
            yield Leaf((name,), hint, value, docs_of(cls).get(name, ""))


def changed(settings: T, **values: Any) -> T:
    """Replace leaves of ``settings`` by their names. Raises TypeError for unknown names."""
    own = [field.name for field in dataclasses.fields(settings)]  # pyrefly: ignore
    direct = {name: values.pop(name) for name in own if name in values}
    for name in own:
        part = getattr(settings, name)
        if dataclasses.is_dataclass(part) and name not in direct:
            inner = {leaf.name for leaf in leaves(part)} & set(values)
            if inner:
                direct[name] = changed(part, **{key: values.pop(key) for key in inner})
    if values:
        raise TypeError(f"{type(settings).__name__} has no settings {sorted(values)}")
    return dataclasses.replace(settings, **direct)  # pyrefly: ignore


def flat(cls: type[T], **values: Any) -> T:
    """Build ``cls`` from the names of leaves; the others have the defaults of ``cls``.

    ``flat(StylizeConfig, seed=3)`` keeps the guidance of stylization; ``StylizeConfig(Sampling(seed=3))`` does not.
    """
    return changed(cls(), **values)


def check(settings: Any) -> None:
    """Convert the values of frozen ``settings`` to the types of their annotations, and check their ranges.

    Names of files become paths, texts values of an enumeration, whole numbers floats, and single references, paths and
    images (see `impasto.references`) tuples. Raises ImpastoError for other types, naming the argument, and for a value
    outside its range, naming the flag.
    """
    cls = type(settings)
    for name, hint in hints_of(cls).items():
        value = getattr(settings, name)
        converted = _converted(hint, value, cls.__name__, name)
        if converted is not value:
            object.__setattr__(settings, name, converted)
        if isinstance(converted, tuple):
            for element, inner in zip(converted, typing.get_args(hint), strict=False):
                kind = kind_of(inner)
                if kind.accepted and not kind.allows(element):
                    raise ImpastoError(f"{flag_of(name)} {element}: use {_plural(kind.accepted)}.")
            continue
        kind = kind_of(hint)
        if kind.accepted and not kind.allows(converted):
            raise ImpastoError(f"{flag_of(name)} {converted}: use {kind.accepted}.")


NOUNS: dict[type, str] = {
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    str: "a text or a path",
    Path: "a path",
}
"""The accepted values of each type, for an error message."""


def _converted(hint: Any, value: Any, call: str, name: str) -> Any:
    """The value of the argument ``name`` of ``call`` in the type of its annotation ``hint``.

    Raises ImpastoError for other types.
    """
    kind = kind_of(hint)
    if value is None and kind.optional:
        return value
    expected = kind.type
    if typing.get_origin(expected) is tuple:
        return _converted_tuple(typing.get_args(expected), value, call, name)
    try:
        if dataclasses.is_dataclass(expected) or expected is bool:
            if isinstance(value, expected):  # pyrefly: ignore
                return value
        elif choices := choices_of(expected):
            converted = type(choices[0])(value)
            if converted == value and not isinstance(value, bool):
                return converted
        elif expected is Path:
            if isinstance(value, (str, Path)):
                return Path(value)
        elif isinstance(expected, type) and issubclass(expected, StrEnum):
            if isinstance(value, str):
                return expected(value)
        elif expected is int:
            if not isinstance(value, bool):
                return operator.index(value)
        elif expected is float:
            if not isinstance(value, (bool, str)):
                return float(value)
        elif isinstance(value, expected):
            return value
        elif expected is str and isinstance(value, Path):
            return str(value)
    except (TypeError, ValueError):
        pass
    raise refused(call, name, value, _noun(kind))


def _converted_tuple(hints: tuple[Any, ...], value: Any, call: str, name: str) -> tuple[Any, ...]:
    if hints == (str, ...):
        return as_references(value, call, name)
    is_sequence = isinstance(value, Iterable) and not isinstance(value, (str, bytes))
    elements = tuple(value) if is_sequence else ()
    if hints[-1] is Ellipsis:
        elements = elements if is_sequence else (value,)
        hints = hints[:1] * len(elements)
    if len(elements) != len(hints):
        raise refused(call, name, value, f"{len(hints)} {_plural(_noun(kind_of(hints[0])))}")
    return tuple(_converted(hint, element, call, name) for hint, element in zip(hints, elements, strict=True))


def _noun(kind: Kind) -> str:
    """The values that ``kind`` accepts, for an error message."""
    if kind.accepted:
        return kind.accepted
    if isinstance(kind.type, type) and issubclass(kind.type, StrEnum):
        *first, last = kind.type
        return f"{', '.join(first)} or {last}"
    if dataclasses.is_dataclass(kind.type):
        return f"a value of type {kind.type.__name__}"  # pyrefly: ignore
    return NOUNS[kind.type]


def _plural(noun: str) -> str:
    return noun.replace("a number", "numbers")


def kind_of(hint: Any) -> Kind:
    """The values that an annotation allows: ``Annotated[T, Interval(...)]``, optionally ``| None``."""
    optional = False
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        arguments = typing.get_args(hint)
        optional = types.NoneType in arguments
        hint = next(argument for argument in arguments if argument is not types.NoneType)
    if typing.get_origin(hint) is not Annotated:
        return Kind(hint, optional)
    inner, *metadata = typing.get_args(hint)
    limits: dict[str, Any] = {}
    for item in itertools.chain.from_iterable(m if isinstance(m, GroupedMetadata) else (m,) for m in metadata):
        match item:
            case Ge(ge):
                limits["minimum"] = ge
            case Le(le):
                limits["maximum"] = le
            case MultipleOf(multiple_of):
                limits["multiple_of"] = multiple_of
            case Usual():
                limits["usual"] = item
    return Kind(inner, optional, **limits)


def choices_of(type: Any) -> tuple[Any, ...]:
    """The values of a ``Literal``; empty for other types."""
    return typing.get_args(type) if typing.get_origin(type) is Literal else ()


def flag_of(name: str) -> str:
    """The flag of a setting."""
    return f"--{name.replace('_', '-')}"


@functools.cache
def hints_of(cls: type) -> dict[str, Any]:
    """The annotations of a dataclass's fields."""
    hints = typing.get_type_hints(cls, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}  # pyrefly: ignore


@functools.cache
def docs_of(cls: type) -> dict[str, str]:
    """The docstrings below the fields of a dataclass in its source, by name."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    assert isinstance(definition, ast.ClassDef)
    docs: dict[str, str] = {}
    for field, text in itertools.pairwise(definition.body):
        match field, text:
            case ast.AnnAssign(target=ast.Name(name)), ast.Expr(ast.Constant(str(content))):
                docs[name] = " ".join(content.split())
    return docs
