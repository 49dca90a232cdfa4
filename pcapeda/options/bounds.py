"""What the numbers of a run may be: one table for the library (`Job`, `Bus`), suite files and the command line.

The bounds are those of the options as they are declared, so that what the command line refuses, the library and suite
files refuse, too. The fields that hold several texts take whatever holds texts or paths.
"""

import math
import os
from collections.abc import Callable, Iterable, Mapping
from inspect import getattr_static
from itertools import islice
from numbers import Real
from operator import index
from typing import Any, Final, Generic, TypeVar

from pcapeda.errors import BadField
from pcapeda.options import Range
from pcapeda.options.table import MANY, OPTIONS, of_owner

Given = TypeVar("Given")
Kept = TypeVar("Kept")

MOST_TEXTS: Final = 1_000_000
"""Most captures, rules or networks of one run: what holds more never ends."""

RANGES: Final[Mapping[str, Range]] = {one.member: one.bounds for one in OPTIONS if one.bounds is not None}
"""Every number there is, by the name of its field."""

_NAMES: Final = {one.member: one.long for one in OPTIONS if one.field not in ("", "shape.name")}


def option(field: str) -> str:
    """What a field is called on the command line, without dashes: `max-rate` for `max_rate`."""
    field = field.rpartition(".")[2]
    return _NAMES.get(field) or field.removesuffix("_s").replace("_", "-")


def check_number(owner: str, field: str, value: Any) -> int | float:
    """The number that a value is, within the bounds of the field. Raises `BadField`."""
    bounds = RANGES[field]
    number = _as_number(value, whole=bounds.whole)
    template = f"{{{field}}}: "
    if number is None:
        raise BadField(f"{template}%s is no {'whole ' if bounds.whole else ''}number", shown(value), owner=owner)
    if number < bounds.least:
        raise BadField(f"{template}%s is below %s", shown(value), words(bounds.least), owner=owner)
    if number > bounds.most:
        raise BadField(f"{template}%s is above %s", shown(value), words(bounds.most), owner=owner)
    return number


def words(number: float) -> str:
    """A bound as people write it: 0.000001 instead of 1e-06."""
    return f"{number:,.10f}".rstrip("0").rstrip(".")


def _as_number(value: Any, *, whole: bool) -> int | float | None:
    if isinstance(value, bool):
        return None
    try:
        if whole:
            return index(value)
        if isinstance(value, int):
            return value if abs(value) > MANY else float(value)  # too large for a float, and for every bound
        if not isinstance(value, Real):
            return None
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return None if math.isnan(number) else number


def shown(value: object) -> str:
    """A value from outside as one short printable line."""
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - a repr may do anything; an integer can have too many digits for one
        text = f"a {type(value).__name__}"
    text = text if text.isprintable() else ascii(text)
    return text if len(text) <= 60 else text[:57] + "…"


def check_numbers(owner: str, fields: Any, names: Iterable[str]) -> None:
    """Check those fields of a frozen dataclass, where given (None: not), and keep plain numbers. Raises `BadField`."""
    for name in names:
        value = getattr(fields, name)
        if value is None and type(fields).__dataclass_fields__[name].default is None:
            continue
        object.__setattr__(fields, name, check_number(owner, name, value))


def check_flags(owner: str, fields: Any, names: Iterable[str]) -> None:
    """Check that those fields are true or false. Raises `BadField`."""
    for name in names:
        if not isinstance(getattr(fields, name), bool):
            raise BadField(f"{{{name}}}: %s is neither True nor False", shown(getattr(fields, name)), owner=owner)


def check_choice(owner: str, fields: Any, name: str, choices: Iterable[str | None]) -> None:
    """Check that a field is one of some words. Raises `BadField`."""
    value, known = getattr(fields, name), tuple(choices)
    if not (value is None or isinstance(value, str)) or value not in known:
        words = ", ".join(one for one in known if one is not None)
        raise BadField(f"{{{name}}}: %s is none of: %s", shown(value), words, owner=owner)


def check_declared(kind: str, fields: Any, owner: str = "") -> None:
    """Check the fields of a frozen dataclass by their declarations: numbers, flags, choices and single texts.

    `kind` is what errors call the class, `owner` whose options its fields are. Fields that convert what they are given
    are checked by that. Raises `BadField`.
    """
    for one in of_owner(owner):
        name = one.member
        if one.several or name not in type(fields).__dataclass_fields__:
            continue
        if one.kind is bool:
            check_flags(kind, fields, (name,))
        elif one.choices:
            check_choice(kind, fields, name, one.choices if one.default is not None else (None, *one.choices))
        elif one.bounds is not None:
            check_numbers(kind, fields, (name,))
        elif not isinstance(getattr_static(type(fields), name, None), Held):
            check_texts(kind, fields, (name,))


def check_texts(owner: str, fields: Any, names: Iterable[str]) -> None:
    """Check that those fields are texts, or None. Raises `BadField`."""
    for name in names:
        if getattr(fields, name) is not None:
            text(owner, name, getattr(fields, name))


def text(owner: str, field: str, value: Any, *, is_path: bool = False) -> str:
    """The text that a value is, or the name of the file. Raises `BadField`."""
    if is_path and isinstance(value, bytes | os.PathLike):
        value = os.fsdecode(value)
    if not isinstance(value, str):
        raise BadField(f"{{{field}}}: %s is no text{' or path' if is_path else ''}", shown(value), owner=owner)
    if is_path and "\0" in value:
        raise BadField(f"{{{field}}}: %s: no file can be called that", shown(value), owner=owner)
    return str(value)


PathLike = str | bytes | os.PathLike[str] | os.PathLike[bytes]
"""What names a file."""

OneOrMore = PathLike | Iterable[PathLike]
"""What a field of several texts or paths can be made of."""


def _several(owner: str, field: str, value: Any) -> list[Any]:
    """One value as a list of one; what holds several as a list of them, in a fixed order. Raises `BadField`."""
    if value is None:
        return []
    if isinstance(value, str | bytes | os.PathLike):
        return [value]
    try:
        found = list(islice(value, MOST_TEXTS + 1))
    except TypeError:
        raise BadField(f"{{{field}}}: %s holds no values", shown(value), owner=owner) from None
    if len(found) > MOST_TEXTS:
        raise BadField(f"{{{field}}}: more than %s values", f"{MOST_TEXTS:,}", owner=owner)
    return sorted(found, key=str) if isinstance(value, set | frozenset) else found


def path(owner: str, field: str, value: PathLike | None) -> str | None:
    """A path as text; None is none. Raises `BadField`."""
    return None if value is None else text(owner, field, value, is_path=True)


def texts(owner: str, field: str, value: Iterable[str] | None) -> tuple[str, ...]:
    """One text or several as a tuple. Raises `BadField`."""
    return tuple(text(owner, field, one) for one in _several(owner, field, value))


def paths(owner: str, field: str, value: OneOrMore | None) -> tuple[str, ...]:
    """One path or several as a tuple of texts. Raises `BadField`."""
    return tuple(text(owner, field, one, is_path=True) for one in _several(owner, field, value))


def numbers(owner: str, field: str, value: int | Iterable[int] | None) -> frozenset[int]:
    """One whole number or several as a set. Raises `BadField`."""
    several = [value] if isinstance(value, int | str | bytes) else _several(owner, field, value)
    return frozenset(int(check_number(owner, field, one)) for one in several)


def pairs(
    owner: str, field: str, value: Mapping[str, str] | Iterable[tuple[str, str]] | None
) -> tuple[tuple[str, str], ...]:
    """A mapping, or pairs, of texts as a tuple of pairs. Raises `BadField`."""
    found = []
    for pair in _several(owner, field, value.items() if isinstance(value, Mapping) else value):
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise BadField(f"{{{field}}}: %s is no pair of name and value", shown(pair), owner=owner)
        found.append((text(owner, field, pair[0]), text(owner, field, pair[1])))
    return tuple(found)


def named_ports(
    owner: str, field: str, value: Mapping[int, str] | Iterable[tuple[int, str]] | None
) -> tuple[tuple[int, str], ...]:
    """A mapping, or pairs, of ports and names as a tuple of pairs. Raises `BadField`."""
    found = []
    for pair in _several(owner, field, value.items() if isinstance(value, Mapping) else value):
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise BadField(f"{{{field}}}: %s is no pair of port and name", shown(pair), owner=owner)
        port = _as_number(pair[0], whole=True)
        if port is None or port not in RANGES["ports"]:
            raise BadField(f"{{{field}}}: %s is no port", shown(pair[0]), owner=owner)
        found.append((int(port), text(owner, field, pair[1])))
    return tuple(found)


class Held(Generic[Given, Kept]):
    """A field of a dataclass that can be set from more kinds of values than it is kept as.

    `convert` makes what is kept of what is given; it is told the names of class and field. `empty` is the default.
    """

    def __init__(self, convert: Callable[[str, str, Given], Kept], empty: Kept) -> None:
        self._convert, self._empty = convert, empty

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: object | None, owner: type) -> Kept:
        if instance is None:  # the class is asked for the default
            return self._empty
        kept: Kept = instance.__dict__[self._name]
        return kept

    def __set__(self, instance: object, value: Given) -> None:
        instance.__dict__[self._name] = self._convert(type(instance).__name__, self._name, value)


Path = Held[PathLike | None, str | None]
"""A field for the path of a file or folder."""
Texts = Held[Iterable[str] | None, tuple[str, ...]]
"""A field of texts: one of them, or whatever holds some."""
Paths = Held[OneOrMore | None, tuple[str, ...]]
"""A field of paths: one of them, or whatever holds some."""
Numbers = Held[int | Iterable[int] | None, frozenset[int]]
"""A field of whole numbers: one of them, or whatever holds some."""
Pairs = Held[Mapping[str, str] | Iterable[tuple[str, str]] | None, tuple[tuple[str, str], ...]]
"""A field of names and values: a mapping, or pairs."""
NamedPorts = Held[Mapping[int, str] | Iterable[tuple[int, str]] | None, tuple[tuple[int, str], ...]]
"""A field of ports and names: a mapping, or pairs."""
