"""What is hopeless or surprising in one field of a pattern, given the JSON Schema of the events."""

import base64
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, NamedTuple

from pcapeda.rules.fields import Field
from pcapeda.rules.matchers import Range, Test, Word, leaf, show

Node = Mapping[str, Any]

_ANY = frozenset({"string", "integer", "number", "boolean", "null"})
_STRINGS = frozenset(
    {"string", "ip", "prefix", "suffix", "prefix-ignore-case", "suffix-ignore-case"}
    | {"equals-ignore-case", "wildcard", "cidr"}
)
_OPERATORS = frozenset(
    {"prefix", "suffix", "equals-ignore-case", "wildcard", "anything-but", "numeric", "cidr"} | {"exists"}
)
_BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}")
_NUMBER_TEXT = re.compile(r'"-?[0-9]+(\.[0-9]+)?"')
_WORDS = {
    **dict.fromkeys(("src", "sender", "from"), "source"),
    **dict.fromkeys(("dst", "dest", "receiver", "to"), "destination"),
    **dict.fromkeys(("ip", "addr", "address", "ipaddr"), "ipaddress"),
    **dict.fromkeys(("len", "size"), "length"),
    **dict.fromkeys(("data", "body"), "payload"),
    "message": "text",
}
"""What people call the members of events, by the words in those members' names."""


class Place(NamedTuple):
    """A path of the events: what is there, and whether anything may be in it (a payload's own JSON)."""

    path: str
    node: Node
    free: bool = False


def places(schema: Node) -> list[Place]:
    """All paths of the events that have values."""
    found: list[Place] = []
    todo: list[tuple[str, Node]] = [("", schema)]
    while todo:
        path, node = todo.pop()
        node = _elements(node)
        properties = node.get("properties")
        if isinstance(properties, Mapping):
            todo += ((f"{path}.{name}" if path else name, inner) for name, inner in properties.items())
        else:
            found.append(Place(path, node, node.get("type") == "object"))
    return sorted(found, key=lambda place: place.path)


def _elements(here: Node) -> Node:
    """What is in an array stands at the array's own path."""
    while here.get("type") == "array" and isinstance(here.get("items"), Mapping):
        here = here["items"]
    return here


def at(schema: Node, path: str) -> Node | None:
    """What is at a path of the events: the schema of a value or object; empty where it may be anything; None if nothing
    can be there."""
    here: Node = schema
    for step in path.split("."):
        here = _elements(here)
        properties = here.get("properties")
        if not isinstance(properties, Mapping):
            return {} if here.get("type") == "object" else None
        if step not in properties:
            return None
        here = properties[step]
    return _elements(here)


def impossible(field: Field, schema: Node, known: Sequence[Place]) -> str:
    """Why no event can satisfy a field; empty if one can."""
    if any(test.kind == "absent" for test in field.tests):
        return ""
    node = at(schema, field.path)
    if node is None:
        near = suggestions(field.path, known)
        return "no event has this field" + (f"; did you mean {' or '.join(map(repr, near))}?" if near else "")
    kinds = _kinds(node)
    if kinds == {"object"}:
        return "it is an object; patterns match its members, never the object itself"
    reasons = [_why_not(test, node, kinds, field.path) for test in field.tests]
    if not all(reasons):
        return ""
    special = [reason for reason in reasons if reason != _TYPE]
    if special:
        return "; ".join(dict.fromkeys(special))
    words = {"number" if kind == "integer" else kind for kind in kinds - {"object", "array"}}
    return f"events have a {' or '.join(sorted(words))} there, the rule wants {field.wanted}" + _retyped(field, kinds)


_TYPE = "type"


def _retyped(field: Field, kinds: set[str]) -> str:
    """What to write instead of a number in quotes."""
    if not kinds & {"integer", "number"}:
        return ""
    plain = [test.shown[1:-1] for test in field.tests if test.kind == "string" and _NUMBER_TEXT.fullmatch(test.shown)]
    return f": write {', '.join(plain)} without quotes" if plain else ""


def _kinds(node: Node) -> set[str]:
    if "const" in node or "enum" in node:
        return {_type_of(value) for value in _choices(node)}
    kind = node.get("type")
    return {kind} if isinstance(kind, str) else set(kind or _ANY)


def _choices(node: Node) -> list[Any]:
    return list(node.get("enum", [node["const"]] if "const" in node else []))


def _type_of(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    return "integer" if isinstance(value, int) else "number" if isinstance(value, float) else "string"


def _why_not(test: Test, node: Node, kinds: set[str], path: str) -> str:
    """Why no value at a place can satisfy a test: `_TYPE` if it is for its type; empty if one can."""
    if not _right_type(test, kinds):
        return _TYPE
    choices = _choices(node)
    if choices:
        if any(test.accepts(leaf(value)) for value in choices):
            return ""
        near = [
            value for value in choices if isinstance(value, str) and value.casefold() == str(test.operand).casefold()
        ]
        near = near or get_close_matches(str(test.operand), [value for value in choices if isinstance(value, str)], 1)
        listed = ", ".join(show(leaf(value)) for value in choices)
        return f"{test.shown} is none of {listed}" + (f"; did you mean {json.dumps(near[0])}?" if near else "")
    if test.kind in ("number", "numeric"):
        return _out_of_range(test, node)
    if node.get("contentEncoding") == "base64":
        return _not_base64(test)
    if test.kind == "string" and path.rpartition(".")[2] == "IpAddress":
        block = re.fullmatch(r"[0-9a-fA-F.:]+/[0-9]+", test.operand)
        return f"{test.shown} is no IP address" + (f': a block is {{"cidr": {test.shown}}}' if block else "")
    pattern = node.get("pattern")
    if test.kind in ("string", "ip") and isinstance(pattern, str):
        text = json.loads(test.shown) if test.shown.startswith('"') else test.operand
        if not re.search(pattern, str(text)):
            return f"{test.shown} does not look like what events have there ({node.get('description', pattern)})"
    return ""


def _right_type(test: Test, kinds: set[str]) -> bool:
    if test.kind in _STRINGS:
        return "string" in kinds
    if test.kind in ("number", "numeric"):
        return bool(kinds & {"integer", "number"})
    if test.kind == "word":
        return ("null" if test.operand is Word.NULL else "boolean") in kinds
    return True


def _out_of_range(test: Test, node: Node) -> str:
    least, most = node.get("minimum"), node.get("maximum")
    if least is None and most is None:
        return ""
    if isinstance(test.operand, Range):
        low, low_out, high, high_out = test.operand
        below = least is not None and high is not None and (high < least or (high_out and high == least))
        above = most is not None and low is not None and (low > most or (low_out and low == most))
    elif isinstance(test.operand, int | float):
        below = least is not None and test.operand < least
        above = most is not None and test.operand > most
    else:
        return ""
    if not below and not above:
        return ""
    return (
        f"{test.shown}: numbers there are {least} to {most}"
        if most is not None
        else f"{test.shown}: numbers there are {least} and more"
    )


# payloads: base64, where a person thinks of text


def _literals(test: Test) -> list[str]:
    """The texts that a value must have in it to satisfy a test."""
    if test.kind == "wildcard":
        return [piece for piece in test.operand if piece]
    if test.kind == "ip":
        return [json.loads(test.shown)]
    return [test.operand] if test.kind in _STRINGS and isinstance(test.operand, str) else []


def _not_base64(test: Test) -> str:
    texts = _literals(test)
    whole = test.kind in ("string", "ip") and len(texts[0]) % 4 != 0
    if not whole and all(_BASE64.fullmatch(text) for text in texts):
        return ""
    return f"{test.shown} is text, and what is there is base64{_encoded(test)}"


def _encoded(test: Test) -> str:
    """What to ask for instead of text."""
    use = "; with --text there is detail.Text, for text"
    if test.kind in ("string", "ip"):
        made = base64.b64encode(_literals(test)[0].encode("utf-8", "replace")).decode()
        return f": in base64 it is {json.dumps(made)}{use}"
    if test.kind == "prefix":
        data = str(test.operand).encode("utf-8", "replace")
        made = base64.b64encode(data).decode()[: len(data) * 8 // 6]  # the digits that what follows cannot change
        return f": in base64 it begins with {json.dumps(made)}{use}"
    return use


def _reads_as_text(test: Test) -> bool:
    """Whether what is asked of base64 was hardly meant as base64: it decodes to what nobody wrote."""
    texts = _literals(test)
    if not texts or test.kind not in ("string", "prefix", "equals-ignore-case", "prefix-ignore-case", "wildcard"):
        return False
    if not all(_BASE64.fullmatch(text) for text in texts):
        return False
    text = texts[0]
    if len(text) < 4 or not re.fullmatch(r"[a-z]+|[A-Z]+|[A-Z][a-z]+|[0-9]+", text):
        return False
    decoded = base64.b64decode(text[: len(text) // 4 * 4])
    return not (decoded.isascii() and decoded.decode("ascii").isprintable())


# names that are meant


def suggestions(path: str, known: Sequence[Place]) -> list[str]:
    """The paths of events that a path may have meant: at most three, and all of them are there."""
    for place in known:
        if place.free:
            start = place.path.split(".")
            given = path.split(".")
            skip = 0 if given[0].casefold() == start[0].casefold() else 1
            end = len(start) - skip
            if [one.casefold() for one in given[:end]] == [one.casefold() for one in start[skip:]] and len(given) > end:
                return [".".join([place.path, *given[end:]])]
    wanted = _squashed(path)
    by_name: dict[str, list[str]] = {}
    for place in known:
        if not place.free:
            by_name.setdefault(_squashed(place.path), []).append(place.path)
    if wanted in by_name:
        return by_name[wanted][:3]
    words = _words(path)
    ending = [one.path for one in known if not one.free and words and _words(one.path)[-len(words) :] == words]
    if ending:
        return ending[:3]
    last = _squashed(path.rpartition(".")[2])
    inside = path.startswith("detail.")  # a slip of letters does not change where a name stands
    names = [name for name, paths in by_name.items() if any(one.startswith("detail.") == inside for one in paths)]
    close = [one for name in get_close_matches(wanted, names, 1, 0.8) for one in by_name[name]]
    if close:
        return close[:3]
    same = [
        place.path for place in known if not place.free and last and _squashed(place.path.rpartition(".")[2]) == last
    ]
    return same[:3]


def _words(path: str) -> list[str]:
    """A path's words, each as events call it; `detail` does not count."""
    found = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+", path)
    return [_WORDS.get(word, word) for word in map(str.lower, found) if word != "detail"]


def _squashed(path: str) -> str:
    """The same without what sets them apart."""
    return "".join(_words(path)).replace("ipaddressipaddress", "ipaddress")


# what may surprise


def surprises(field: Field, schema: Node, text: bool, json_payload: bool) -> Iterator[tuple[str, str]]:
    """Where the engine does something that a person may not expect: a severity, and what."""
    if field.path == "detail.Text" and not text and at(schema, "detail.Text") is not None:
        yield "info", "events have Text only with --text (and where the payload is printable UTF-8)"
    if field.path.startswith("detail.Json.") and not json_payload and at(schema, "detail.Json") is not None:
        yield "info", "events have Json only with --json-payload (and where the payload is a JSON object)"
    encoded = (at(schema, field.path) or {}).get("contentEncoding") == "base64"
    for test in field.tests:
        yield from _of_test(test, field)
        if test.kind == "string" and _NUMBER_TEXT.fullmatch(test.shown) and _may_be_number(field.path, schema):
            yield "info", f"{test.shown} is a string: the number {test.shown[1:-1]} does not match it"
        if encoded and _reads_as_text(test):
            yield "info", f"{test.shown} reads as text, and what is there is base64{_encoded(test)}"


def _of_test(test: Test, field: Field) -> Iterator[tuple[str, str]]:
    for text in _plain_texts(test):
        if (operator := _quoted_operator(text)) is not None:
            yield (
                "warning",
                f"a string that reads as {{{json.dumps(operator)}: …}} is compared as text: take its quotes away",
            )
    if test.kind == "ip":
        yield "info", f"{test.shown} reads as an IP address and is compared as one: other spellings of it match, too"
    elif test.kind == "cidr":
        family = "IPv4" if "." in test.shown else "IPv6"
        other = "IPv6" if family == "IPv4" else "IPv4"
        yield "info", f"{test.shown}: an {family} block also matches {other} addresses that begin with its bits"
    elif test.kind.endswith("ignore-case") and any(not char.isascii() and char.isalpha() for char in test.shown):
        yield "info", f"{test.shown}: only each letter's own upper and lower case match, no other folding"
    elif test.kind.startswith("anything-but") and _exclusions(field) > 1:
        yield "info", "two anything-but in one list are joined by OR, so that nearly everything matches"


def _exclusions(field: Field) -> int:
    return sum(test.kind.startswith("anything-but") for test in field.tests)


def _may_be_number(path: str, schema: Node) -> bool:
    """Whether a person may have meant a number: not where digits are text, nor where only numbers are."""
    node = at(schema, path)
    if not node:
        return True
    return path != "account" and "pattern" not in node and not _kinds(node) & {"integer", "number"}


def _plain_texts(test: Test) -> list[str]:
    if test.kind == "string":
        return [test.operand]
    if test.kind == "anything-but":
        return [value for value in test.operand if isinstance(value, str)]
    return []


def _quoted_operator(text: str) -> str | None:
    """The operator that a string spells out as JSON, if it does."""
    if not text.lstrip().startswith("{"):
        return None
    try:
        read = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return next((key for key in read if key in _OPERATORS), None) if isinstance(read, dict) and len(read) == 1 else None
