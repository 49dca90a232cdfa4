"""JSON as the pattern language needs it: duplicate keys, exact numbers, places, and no surprise on hostile text.

Patterns are read into `Node`s, which keep every member of an object in document order (a key that is written twice is
there twice) and where each value stands in the text. Events are read by the standard library's scanner, which is many
times faster; objects (or only those with a key written twice) become `Pairs`, a number that no double holds becomes
`RawNumber`.

Both readers are strict (RFC 8259): no comments, trailing commas, `NaN` or raw control characters. Both stop at 1,000
levels of nesting and at numbers of 1,000 digits, the limits of the parser behind EventBridge.
"""

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Literal, NamedTuple, cast

import orjson

from pcapeda.errors import BadEvent

MAX_DEPTH = 1000
"""Levels of nesting in patterns and events: the default of the JSON parser behind EventBridge (Jackson 2.15)."""
MAX_NUMBER = 1000
"""Characters in a number: the default of the same parser."""

MANDATORY = ("id", "detail-type", "source", "account", "time", "region")
"""Members without which TestEventPattern refuses an event."""

Kind = Literal["object", "array", "string", "number", "word"]

_SPACE = re.compile(r"[ \t\n\r]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_BARE = re.compile(r"[^\s,:{}\[\]\"]+")
_WORDS = {"true": True, "false": False, "null": None}
_STRINGS = json.JSONDecoder()
_SURROGATE = re.compile("[\ud800-\udfff]")


class Node(NamedTuple):
    """One JSON value: `value` is a list of (key, Node) for an object, a list of Node for an array, the text of a
    string or number, or True, False, None for a word. `at` is the offset in the text, -1 where there was no text."""

    kind: Kind
    value: Any
    at: int = -1


class RawNumber(NamedTuple):
    """A number that equals no double: it can only be compared as text."""

    text: str


class Pairs(list[tuple[str, Any]]):
    """The members of an object, as they are written: a key may be there more than once."""


class Malformed(Exception):
    """Text that is not JSON: what is wrong, and at which offset (-1: unknown). Never leaves this package."""

    def __init__(self, reason: str, at: int = -1) -> None:
        super().__init__(reason)
        self.reason = reason
        self.at = at


def place(text: str, at: int) -> str:
    """An offset as a person counts: `line 3, column 10`, both from 1."""
    before = text[:at]
    return f"line {before.count(chr(10)) + 1}, column {at - before.rfind(chr(10))}"


def one_line(text: str, longest: int) -> str:
    """Words that quote somebody's input, made safe to print: no control characters, and no longer than asked."""
    cut = text if len(text) <= longest else f"{text[: longest - 1]}…"
    return cut if cut.isprintable() else "".join(char if char.isprintable() else repr(char)[1:-1] for char in cut)


def is_json_number(text: str) -> bool:
    """Whether text is a number as JSON spells it."""
    return len(text) <= MAX_NUMBER and _NUMBER.fullmatch(text) is not None


def number(text: str) -> float | RawNumber:
    """A JSON number's value, if the shortest decimal form of its double is the number; else its bare text.

    This is when the engine compares by value: 300, 300.0 and 3e2 are one number, 9007199254740993 is only its digits.
    """
    value = float(text)
    if math.isinf(value):
        return RawNumber(text)
    if value == 0:  # an underflow is not zero; and Decimal may refuse its exponent
        return 0.0 if not re.search("[1-9]", re.split("[eE]", text)[0]) else RawNumber(text)
    return value if Decimal(text) == Decimal(repr(value)) else RawNumber(text)


def text_of(value: str) -> str:
    """A string as it travels in UTF-8: half a surrogate pair becomes `?`, as it does in the engine."""
    if value.isascii() or not _SURROGATE.search(value):
        return value
    joined = value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    return _SURROGATE.sub("?", joined)


def parse(text: str) -> tuple[Node, int]:
    """The first JSON value in `text`, and the offset after it. Raises `Malformed`."""
    at = _skip(text, 0)
    stack: list[Node] = []  # open objects and arrays
    keys: list[str] = []  # for each open object, the key whose value is being read
    while True:
        # one value: a scalar, or the start of a container
        node, at = _value(text, at)
        if node.kind in ("object", "array"):
            if len(stack) == MAX_DEPTH:
                raise Malformed(f"Document nesting depth ({MAX_DEPTH + 1}) exceeds the maximum allowed", node.at)
            closing = "}" if node.kind == "object" else "]"
            at = _skip(text, at)
            if not text.startswith(closing, at):
                stack.append(node)
                if node.kind == "object":
                    key, at = _key(text, at)
                    keys.append(key)
                continue
            at += 1
        # a finished value: hand it to what encloses it, and close what ends here
        while stack:
            holder = stack[-1]
            if holder.kind == "object":
                holder.value.append((keys[-1], node))
            else:
                holder.value.append(node)
            at = _skip(text, at)
            if text.startswith(",", at):
                at = _skip(text, at + 1)
                if holder.kind == "object":
                    keys[-1], at = _key(text, at)
                break
            closing = "}" if holder.kind == "object" else "]"
            if not text.startswith(closing, at):
                raise Malformed(_unexpected(text, at, f"comma or '{closing}'"), min(at, len(text)))
            at += 1
            node = stack.pop()
            if node.kind == "object":
                keys.pop()
        else:
            return node, at


def _value(text: str, at: int) -> tuple[Node, int]:
    start = text[at : at + 1]
    if start == "{":
        return Node("object", [], at), at + 1
    if start == "[":
        return Node("array", [], at), at + 1
    if start == '"':
        value, end = _string(text, at)
        return Node("string", value, at), end
    found = _NUMBER.match(text, at)
    bare = _BARE.match(text, at)
    if found and bare and found.end() == bare.end():
        if found.end() - at > MAX_NUMBER:
            raise Malformed(f"Number value length ({found.end() - at}) exceeds the maximum allowed ({MAX_NUMBER})", at)
        return Node("number", found.group(), at), found.end()
    if bare and bare.group() in _WORDS:
        return Node("word", _WORDS[bare.group()], at), bare.end()
    if bare and (bare.group()[0].isalpha() or bare.group()[0] in "-+."):
        word = bare.group() if len(bare.group()) <= 40 else bare.group()[:40] + "…"
        raise Malformed(f"Unrecognized token '{word}': was expecting a JSON string, number, array, object or word", at)
    raise Malformed(_unexpected(text, at, "a value"), at)


def _key(text: str, at: int) -> tuple[str, int]:
    if not text.startswith('"', at):
        raise Malformed(_unexpected(text, at, "double-quote to start field name"), at)
    key, at = _string(text, at)
    at = _skip(text, at)
    if not text.startswith(":", at):
        raise Malformed(_unexpected(text, at, "a colon to separate field name and value"), at)
    return key, _skip(text, at + 1)


def _string(text: str, at: int) -> tuple[str, int]:
    try:
        value, end = _STRINGS.raw_decode(text, at)
    except json.JSONDecodeError as error:
        raise Malformed(error.msg, error.pos) from None
    return str(value), end


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _unexpected(text: str, at: int, wanted: str) -> str:
    if at >= len(text):
        return f"Unexpected end-of-input: was expecting {wanted}"
    return f"Unexpected character ({text[at]!r} (code {ord(text[at])})): was expecting {wanted}"


def node_of(value: object, *, most: int = 100_000) -> Node:
    """Python data (mappings, lists, tuples, strings, numbers, booleans, None) as a `Node`. Raises `Malformed`.

    `most` bounds the values taken: data that shares its parts can be far larger than the memory it takes.
    """
    return _node_of(value, 0, [most])


def _node_of(value: object, depth: int, left: list[int]) -> Node:
    left[0] -= 1
    if left[0] < 0:
        raise Malformed("too large")
    if depth > MAX_DEPTH // 4:  # recursion here is Python's own; data this deep comes from a loop or an attack
        raise Malformed(f"nested deeper than {MAX_DEPTH // 4} levels")
    if isinstance(value, str):
        return Node("string", str(value))
    if value is None or isinstance(value, bool):
        return Node("word", value)
    if isinstance(value, int | float):
        if isinstance(value, float) and not math.isfinite(value):
            raise Malformed(f"{value} is not a JSON number")
        if isinstance(value, int) and value.bit_length() > 3 * MAX_NUMBER:
            raise Malformed(f"a number of more than {MAX_NUMBER * 9 // 10} digits")
        return Node("number", float.__repr__(value) if isinstance(value, float) else int.__repr__(value))
    if isinstance(value, Mapping):
        pairs = []
        for key, inner in value.items():
            if not isinstance(key, str):
                raise Malformed(f"field name {key!r:.40} is not a string")
            pairs.append((key, _node_of(inner, depth + 1, left)))
        return Node("object", pairs)
    if is_sequence(value):
        return Node("array", [_node_of(inner, depth + 1, left) for inner in cast("Sequence[object]", value)])
    raise Malformed(f"{type(value).__name__} is not a JSON value")


def json_of(node: Node) -> str:
    """A `Node` as compact JSON: numbers as they were spelt, members in order, duplicates kept."""
    pieces: list[str] = []
    todo: list[Node | str] = [node]
    while todo:
        item = todo.pop()
        if isinstance(item, str):
            pieces.append(item)
        elif item.kind == "object":
            todo.append("}")
            for index in range(len(item.value) - 1, -1, -1):
                key, inner = item.value[index]
                todo += (inner, f"{',' if index else ''}{json.dumps(key, ensure_ascii=False)}:")
            todo.append("{")
        elif item.kind == "array":
            todo.append("]")
            for index in range(len(item.value) - 1, -1, -1):
                todo += (item.value[index], "," if index else "")
            todo.append("[")
        elif item.kind == "number":
            pieces.append(item.value)
        else:
            pieces.append(json.dumps(item.value, ensure_ascii=False))
    return "".join(pieces)


def decoded(data: bytes | bytearray) -> str:
    """JSON bytes as text: UTF-8 and nothing else (RFC 8259, section 8.1). Raises `Malformed`."""
    try:
        return bytes(data).decode("utf-8")
    except UnicodeDecodeError as error:
        raise Malformed(f"not UTF-8: {error.reason} at byte {error.start}") from None


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any] | Pairs:
    members = dict(pairs)
    return members if len(members) == len(pairs) else Pairs(pairs)


def _refuse(word: str) -> None:
    raise Malformed(f"{word} is not JSON")


_EVENTS = json.JSONDecoder(object_pairs_hook=_members, parse_float=number, parse_constant=_refuse)
_PAIRS = json.JSONDecoder(object_pairs_hook=Pairs, parse_float=number, parse_constant=_refuse)


def _data_of(root: Node, members: Callable[[list[tuple[str, Any]]], Any]) -> Any:
    """A `Node` as the event reader gives it, without recursion: each value is built after the values in it."""
    order = [root]
    for node in order:
        if node.kind == "object":
            order += (inner for _, inner in node.value)
        elif node.kind == "array":
            order += node.value
    built: dict[int, Any] = {}
    for node in reversed(order):
        if node.kind == "object":
            built[id(node)] = members([(key, built[id(inner)]) for key, inner in node.value])
        elif node.kind == "array":
            built[id(node)] = [built[id(inner)] for inner in node.value]
        else:
            built[id(node)] = number(node.value) if node.kind == "number" else node.value
    return built[id(root)]


def read_event(event: str | bytes | bytearray, *, complete: bool = False) -> Mapping[str, Any] | Pairs:
    """An event from its JSON text: objects as dictionaries (as `Pairs` where a key is written twice), numbers exact.

    With `complete` the members that TestEventPattern asks for must be there. Raises `BadEvent`.
    """
    data = _decode(event, _EVENTS)
    if not isinstance(data, dict | Pairs):
        raise BadEvent("event is not valid: it must be a JSON object")
    if complete:
        check_event(data)
    return data


def read_pairs(event: str | bytes | bytearray) -> Pairs:
    """As `read_event`, for matching alone: every object is `Pairs`, which is twice as fast to make, since looking for
    keys written twice takes a call for each object. Raises `BadEvent`."""
    data = _decode(event, _PAIRS)
    if not isinstance(data, Pairs):
        raise BadEvent("event is not valid: it must be a JSON object")
    return data


def read_quick(event: str | bytes | bytearray) -> dict[str, Any] | None:
    """As `read_pairs`, if it can be had in half the time: None for what needs the other readers.

    That is text with an error in it, with a key written twice, or nested deep. Every float in what is returned may
    stand for a number with more digits.
    """
    try:
        data = orjson.loads(event)
        written = orjson.dumps(data)
    except (ValueError, TypeError):
        return None
    if data.__class__ is not dict:
        return None
    # orjson keeps the last of equal keys. Text that is just what it would write has none.
    if len(event) == len(written) and (event.encode() if isinstance(event, str) else event) == written:
        return data
    # What it drops takes a comma along, and nothing else does: those in strings are written as they were read, unless
    # they were escaped.
    comma, backslash, escape = (",", "\\", "\\u002") if isinstance(event, str) else (b",", b"\\", b"\\u002")
    if event.count(comma) != written.count(b",") or (backslash in event and escape in event):  # type: ignore[arg-type, operator]
        return None
    return data


def _decode(event: str | bytes | bytearray, decoder: json.JSONDecoder) -> Any:
    try:
        text = event if isinstance(event, str) else decoded(event)
        try:
            data, end = decoder.raw_decode(text) if text.startswith("{") else (None, -1)
            return data if end == len(text) else decoder.decode(text)  # white space around it; or it says what is wrong
        except RecursionError:
            node, end = parse(text)
            if _skip(text, end) != len(text):
                raise Malformed(_unexpected(text, _skip(text, end), "the end"), end) from None
            return _data_of(node, Pairs if decoder is _PAIRS else _members)
    except Malformed as error:
        raise BadEvent(f"event is not valid: {one_line(error.reason, 300)}") from None
    except json.JSONDecodeError as error:
        raise BadEvent(f"event is not valid JSON: {error.msg} at {place(error.doc, error.pos)}") from None
    except ValueError:  # more digits than the interpreter converts
        raise BadEvent(f"event is not valid: a number of more than {MAX_NUMBER} digits") from None


def check_event(event: Mapping[str, Any] | Pairs) -> None:
    """Refuse an event that TestEventPattern refuses: one that lacks a mandatory member. Raises `BadEvent`."""
    there = {key for key, _ in event} if isinstance(event, Pairs) else event.keys()
    missing = [name for name in MANDATORY if name not in there]
    if missing:
        raise BadEvent(
            f"event is not valid: {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing",
            hint=f"EventBridge asks for {', '.join(MANDATORY)}",
        )


def is_sequence(value: object) -> bool:
    """Whether Python data stands for a JSON array."""
    return isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray | Pairs | RawNumber)
