"""What one leaf value of an event is, and what each operator of the language says of it.

A leaf is a string, a number, true, false or null; objects and arrays are never values. JSON types do not mix: no
operator but `anything-but` and `exists` accepts a value of another type than its own.

Numbers compare by value (300 = 300.0 = 3e2) where a double can hold them, else as bare text. Names and strings compare
character by character, without Unicode normalisation.

Four habits of the engine (github.com/aws/event-ruler) that surprise:

- A plain string in a pattern that reads as an IP address is compared as an address, so `"fe80::1"` accepts
  `"FE80:0:0:0:0:0:0:1"` and `"10.0.0.1"` accepts `"010.0.0.001"`. Addresses are hex digits compared from the left: an
  IPv4 address or block accepts an IPv6 address that begins with the same digits.
- `equals-ignore-case` lets each UTF-16 unit of the *pattern* be its own lower or upper case and folds nothing else.
  Units outside the Basic Multilingual Plane become `?`.
- `anything-but` accepts every value of another type, null included.
- Strings are matched with their quotes on: a prefix that ends with a quote accepts the value that ends just there.
"""

import json
import re
from collections.abc import Callable, Iterable
from enum import Enum
from functools import lru_cache
from socket import AF_INET, AF_INET6, inet_pton
from typing import Any, Literal, NamedTuple, TypeGuard

from pcapeda.rules.json_reader import RawNumber, number, text_of


class Word(Enum):
    """The JSON words. In Python `True == 1`: these equal nothing but themselves."""

    TRUE = "true"
    FALSE = "false"
    NULL = "null"


Leaf = str | int | float | RawNumber | Word
"""A value as operators see it."""

Kind = Literal[
    "string", "ip", "number", "word", "prefix", "suffix", "prefix-ignore-case", "suffix-ignore-case",
    "equals-ignore-case", "wildcard", "numeric", "cidr", "exists", "absent", "anything-but",
    "anything-but-prefix", "anything-but-suffix", "anything-but-equals-ignore-case", "anything-but-wildcard",
]  # fmt: skip


class Test(NamedTuple):
    """One alternative of a pattern's array: `accepts` says whether a leaf satisfies it.

    `operand` is what `kind` works with (see each factory), `shown` is the alternative as JSON. The kind `absent`
    (`{"exists": false}`) accepts no leaf: it is about there being none.
    """

    kind: Kind
    operand: Any
    shown: str
    accepts: Callable[[Leaf], bool]


EXACT_INTEGERS = 1 << 53
"""Whole numbers up to here, either way, are doubles."""
_WORD = {True: Word.TRUE, False: Word.FALSE, None: Word.NULL}


def leaf(value: Any) -> Leaf:
    """A scalar of a parsed event as a leaf."""
    kind = value.__class__
    if kind is str:
        return value if value.isascii() else text_of(value)
    if kind is int:
        return value if -EXACT_INTEGERS <= value <= EXACT_INTEGERS else number(str(value))
    if kind is bool or value is None:
        return _WORD[value]
    if kind is float:
        return value if value - value == 0 else RawNumber(str(value))  # NaN and infinities have no JSON spelling
    if isinstance(value, str):
        return text_of(str(value))
    if isinstance(value, int):
        return leaf(int(value))
    return leaf(float(value)) if isinstance(value, float) else value if kind is RawNumber else text_of(str(value))


def show(value: Any) -> str:
    """A leaf, or a scalar of an event, as JSON."""
    if isinstance(value, Word):
        return value.value
    if isinstance(value, RawNumber):
        return value.text
    return json.dumps(value, ensure_ascii=False)


def _number(value: Leaf) -> TypeGuard[float]:
    return value.__class__ is int or value.__class__ is float


# exact values


def string(text: str, shown: str) -> Test:
    """`"x"`: the same string; or the same address, where it reads as one (operand then: its hex digits)."""
    text = text_of(text)
    digits = address(text)
    if digits is None:
        return Test("string", text, shown, lambda value: value == text)
    return Test("ip", digits, shown, lambda value: _same_address(digits, value))


def exactly(text: str, shown: str) -> Test:
    """`{"exactly": "x"}`: the same string, address or not. Undocumented, but the engine knows it."""
    text = text_of(text)
    return Test("string", text, shown, lambda value: value == text)


def plain_number(text: str) -> Test:
    """`300`: a number of the same value, or of the same text where no double holds it."""
    wanted = number(text)
    return Test("number", wanted, text, lambda value: value == wanted)


def word(value: bool | None) -> Test:
    """`true`, `false`, `null`."""
    wanted = _WORD[value]
    return Test("word", wanted, wanted.value, lambda value: value is wanted)


# addresses


_IPV4 = re.compile(r"([0-9]+)\.([0-9]+)\.([0-9]+)\.([0-9]+)")


@lru_cache(maxsize=4096)
def address(text: str) -> str | None:
    """An IP address literal as 8 or 32 hex digits, or None.

    The syntax is that of the engine: four decimal octets (leading zeros allowed, 15 characters in all), or hex groups
    with at most one `::`; no zone, brackets or dotted tail. IPv4-mapped IPv6 addresses are IPv4.
    """
    if ":" in text:
        return _ipv6(text) if text.isascii() and len(text) <= 1000 else None
    found = _IPV4.fullmatch(text)
    if found is None or len(text) > 15:
        return None
    octets = [int(octet) for octet in found.groups()]
    return "{:02x}{:02x}{:02x}{:02x}".format(*octets) if max(octets) < 256 else None


def packed_address(text: str) -> bytes | None:
    """The same as 4 or 16 bytes: by the C library where it knows the spelling, which takes a tenth of the time.

    It knows fewer than the engine, but for dotted tails.
    """
    try:
        if ":" not in text:
            return inet_pton(AF_INET, text)
        if "." not in text:
            packed = inet_pton(AF_INET6, text)
            return packed[12:] if packed.startswith(_MAPPED) else packed
    except (OSError, ValueError):  # not by it
        pass
    digits = address(text)
    return None if digits is None else bytes.fromhex(digits)


_MAPPED = bytes(10) + b"\xff\xff"


def _ipv6(text: str) -> str | None:
    head, double, tail = text.partition("::")
    if "::" in tail or (text.startswith(":") and not text.startswith("::")):
        return None
    groups = [side.split(":") if side else [] for side in (head, tail)]
    if not all(_hex_group(group) for side in groups for group in side):
        return None
    count = len(groups[0]) + len(groups[1])
    if count > 7 if double else count != 8:
        return None
    filled = groups[0] + ["0"] * (8 - count) + groups[1]
    digits = "".join(f"{int(group, 16):04x}" for group in filled)
    return digits[24:] if digits.startswith("0" * 20 + "ffff") else digits


def _hex_group(group: str) -> bool:
    return bool(group) and not group.strip("0123456789abcdefABCDEF") and int(group, 16) <= 0xFFFF


def _same_address(digits: str, value: Leaf) -> bool:
    if value.__class__ is not str:
        return False
    found = address(value)
    return found is not None and found.startswith(digits)


class Block(NamedTuple):
    """A CIDR block: its first and last address as hex digits, and the number of mask bits."""

    first: str
    last: str
    bits: int


def cidr(block: Block, shown: str) -> Test:
    """`{"cidr": "10.0.0.0/24"}`: a string that holds an address in the block (operand: the `Block`)."""

    def accepts(value: Leaf) -> bool:
        return value.__class__ is str and (digits := address(value)) is not None and in_block(block, digits)

    return Test("cidr", block, shown, accepts)


def in_block(block: Block, digits: str) -> bool:
    """Whether an address lies in a block, digit by digit from the left, whatever the families."""
    first, last, _ = block
    if len(digits) >= len(first):
        return first <= digits[: len(first)] <= last
    # fewer digits than the block has: decided only if they leave its borders before they end
    return first[: len(digits)] < digits < last[: len(digits)]


# strings


def prefix(text: str, shown: str) -> Test:
    """`{"prefix": "x"}`."""
    text = text_of(text)
    if text.endswith('"'):
        return Test("prefix", text, shown, lambda value: isinstance(value, str) and (value + '"').startswith(text))
    return Test("prefix", text, shown, lambda value: value.__class__ is str and value.startswith(text))


def suffix(text: str, shown: str) -> Test:
    """`{"suffix": "x"}`."""
    text = text_of(text)
    if text.startswith('"'):
        return Test("suffix", text, shown, lambda value: isinstance(value, str) and ('"' + value).endswith(text))
    return Test("suffix", text, shown, lambda value: value.__class__ is str and value.endswith(text))


def _foldings(text: str) -> list[tuple[str, ...]]:
    """What each UTF-16 unit of a pattern accepts: its lower and its upper case."""
    units: list[tuple[str, ...]] = []
    for char in text:
        if char > "\uffff":
            units += [("?",), ("?",)]
        elif "\ud800" <= char <= "\udfff":
            units.append(("?",))
        else:
            units.append(tuple({char.lower(), char.upper()}))
    return units


def _ends(units: Iterable[tuple[str, ...]], value: str) -> set[int]:
    """Where in `value` the units may end, read from its start. Few at a time: a unit has at most two spellings."""
    ends = {0}
    for spellings in units:
        ends = {end + len(spelling) for end in ends for spelling in spellings if value.startswith(spelling, end)}
        if not ends:
            break
    return ends


def _starts(units: list[tuple[str, ...]], value: str) -> set[int]:
    """Where in `value` the units may start, read from its end."""
    starts = {len(value)}
    for spellings in reversed(units):
        starts = {
            start - len(spelling) for start in starts for spelling in spellings if value.endswith(spelling, 0, start)
        }
        if not starts:
            break
    return starts


def equals_ignore_case(text: str, shown: str) -> Test:
    """`{"equals-ignore-case": "x"}` (operand: the text in lower case if it is ASCII, else None)."""
    lower, units = text.lower(), _foldings(text)
    if text.isascii():
        return Test(
            "equals-ignore-case",
            lower,
            shown,
            lambda value: isinstance(value, str) and value.isascii() and value.lower() == lower,
        )
    return Test(
        "equals-ignore-case",
        None,
        shown,
        lambda value: isinstance(value, str) and len(value) in _ends(units, value),
    )


def prefix_ignore_case(text: str, shown: str) -> Test:
    """`{"prefix": {"equals-ignore-case": "x"}}` (operand: the text)."""
    units = _foldings(text)
    quote = '"' if text.endswith('"') else ""
    return Test(
        "prefix-ignore-case",
        text,
        shown,
        lambda value: isinstance(value, str) and bool(_ends(units, value + quote)),
    )


def suffix_ignore_case(text: str, shown: str) -> Test:
    """`{"suffix": {"equals-ignore-case": "x"}}` (operand: the text)."""
    units = _foldings(text)
    quote = '"' if text.startswith('"') else ""
    return Test(
        "suffix-ignore-case",
        text,
        shown,
        lambda value: isinstance(value, str) and bool(_starts(units, quote + value)),
    )


def segments(text: str) -> list[str] | tuple[str, int]:
    """A wildcard's literal pieces between its stars, escapes undone; or what is wrong with it, and at which byte.

    Bytes are counted in UTF-8 with the opening quote as 0, as the service reports them.
    """
    pieces, at = [""], 0
    while at < len(text):
        char, after = text[at], text[at + 1 : at + 2]
        if char == "*" and after == "*":
            return "Consecutive wildcard characters", len(text_of(text[:at]).encode()) + 1
        if char == "\\" and after not in ("*", "\\"):
            return "Invalid escape character", len(text_of(text[:at]).encode()) + 1
        if char == "*":
            pieces.append("")
        elif char == "\\":
            pieces[-1] += after
            at += 1
        else:
            pieces[-1] += char
        at += 1
    return pieces


def wildcard(pieces: list[str], shown: str) -> Test:
    """`{"wildcard": "a*b"}` (operand: the pieces between the stars).

    The first piece must start the value and the last one end it; the leftmost place of each piece in between is always
    a right choice, so one pass decides.
    """
    pieces = [text_of(piece) for piece in pieces]
    if len(pieces) == 1:
        return Test("wildcard", tuple(pieces), shown, lambda value: value == pieces[0])
    first, last, middle = pieces[0], pieces[-1], [piece for piece in pieces[1:-1] if piece]
    shortest = sum(map(len, pieces))

    def accepts(value: Leaf) -> bool:
        if value.__class__ is not str or len(value) < shortest:
            return False
        if not value.startswith(first) or not value.endswith(last):
            return False
        at, end = len(first), len(value) - len(last)
        for piece in middle:
            at = value.find(piece, at, end)
            if at < 0:
                return False
            at += len(piece)
        return True

    return Test("wildcard", tuple(pieces), shown, accepts)


# numbers


class Range(NamedTuple):
    """A numeric range: a bound is None where there is none, and left out where its flag says so."""

    low: float | None
    low_out: bool
    high: float | None
    high_out: bool


def numeric(bounds: Range, shown: str) -> Test:
    """`{"numeric": [">", 0, "<=", 5]}` (operand: the `Range`)."""
    return Test("numeric", bounds, shown, lambda value: _number(value) and in_range(bounds, value))


def in_range(bounds: Range, value: float) -> bool:
    """Whether a number lies in a range."""
    low, low_out, high, high_out = bounds
    if low is not None and (value <= low if low_out else value < low):
        return False
    return high is None or (value < high if high_out else value <= high)


# existence and exclusion


def exists(shown: str) -> Test:
    """`{"exists": true}`: any leaf, null too."""
    return Test("exists", None, shown, lambda _: True)


def absent(shown: str) -> Test:
    """`{"exists": false}`: no leaf."""
    return Test("absent", None, shown, lambda _: False)


def anything_but(values: Iterable[str | float], shown: str) -> Test:
    """`{"anything-but": ["x", "y"]}`: any leaf but these strings or numbers (operand: the set of them)."""
    refused = frozenset(text_of(value) if isinstance(value, str) else value for value in values)
    return Test("anything-but", refused, shown, lambda value: value not in refused)


def anything_but_tests(kind: Kind, tests: list[Test], shown: str) -> Test:
    """`{"anything-but": {"prefix": ["x", "y"]}}` and its like: any leaf that none of `tests` accepts (the operand)."""
    return Test(kind, tuple(tests), shown, lambda value: not any(test.accepts(value) for test in tests))
