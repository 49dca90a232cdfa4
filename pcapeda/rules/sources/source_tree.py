"""Files that hold rules, as trees whose every value knows its line: JSON, and YAML as CloudFormation reads it.

YAML's short tags (`!Ref x`) become the long form (`{"Ref": "x"}`); anchors and merge keys work. Plain scalars are what
JSON would have where the spelling is JSON's (`514`, `true`, `null`); otherwise they are text. Spellings that YAML 1.1
reads as something else than they look (`0514` is 332, `1_000` is 1000, `12:30` is 750, `on` is true) keep that meaning,
and the place is remembered so that it can be reported.
"""

import json
import os
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pcapeda.errors import BadConfig, BadRule
from pcapeda.rules.json_reader import Malformed, Node, decoded, is_json_number, one_line, parse, place

MAX_BYTES = 16 * 2**20
"""The largest JSON file that is read."""
MAX_YAML_BYTES = 2 * 2**20
"""The largest YAML file that is read; CloudFormation takes 1 MB of template."""
MAX_NODES = 100_000
"""Values in one YAML file, aliases counted each time they are used: contains files that multiply by alias."""
MAX_LETTERS = 2 * MAX_YAML_BYTES
"""Characters of all texts in one YAML file, aliases counted each time they are used."""
_MAX_DEPTH = 200
_PLACED = 512 * 1024  # larger JSON is read by the library's scanner, without lines

_TEXT = "tag:yaml.org,2002:str"
_YES = {"yes": True, "on": True, "no": False, "off": False}
_WORDS = {"true": True, "false": False, "null": None, "~": None, "": None}
_INTEGER = re.compile(r"[-+]?(?:0b[01_]+|0x[0-9a-fA-F_]+|0[0-7_]+|0|[1-9][0-9_]*(?::[0-5]?[0-9])*)")
_OCTAL = re.compile(r"[-+]?0[0-7]+")
_FLOAT = re.compile(r"[-+]?(?:[0-9][0-9_]*)?\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+")


class Document(NamedTuple):
    """One file: its name as a person gave it, its tree, and how to tell a value's place.

    `odd` holds, by the identity of a node, what is odd about its spelling.
    """

    name: str
    root: Node
    lines: list[int] | None
    odd: dict[int, str]
    parts: "list[Document]"
    """Documents whose values were taken into this one (see `adopted`)."""
    written: dict[int, str]
    """The spelling of the values in `odd`."""

    def where(self, node: Node | None = None) -> str:
        """`file:line` of a value, or the file alone where lines are not known."""
        if node is None or node.at < 0:
            return self.name
        if node.at >= _PART:
            return self.parts[node.at // _PART - 1].where(node._replace(at=node.at % _PART))
        return f"{self.name}:{node.at if self.lines is None else bisect_right(self.lines, node.at)}"


_PART = 1 << 40
"""Places in the first document taken into another begin here, those in the second at twice that."""


def adopted(document: Document, other: Document) -> Node:
    """The tree of another document as a part of `document`: its places, and what is odd in it, are known there."""
    document.parts.append(other)
    shift = len(document.parts) * _PART

    def moved(node: Node) -> Node:
        value = node.value
        if node.kind == "object":
            value = [(key, moved(inner)) for key, inner in value]
        elif node.kind == "array":
            value = [moved(inner) for inner in value]
        made = Node(node.kind, value, node.at + shift if node.at >= 0 else -1)
        if id(node) in other.odd:
            document.odd[id(made)] = other.odd[id(node)]
            document.written[id(made)] = other.written[id(node)]
        return made

    return moved(other.root)


def in_yaml_1_2(document: Document) -> Document:
    """The same file as YAML 1.2 (with its core schema, as js-yaml) has it: what is odd in 1.1 is mostly text there."""
    if not document.odd:
        return document

    def made(node: Node) -> Node:
        if node.kind == "object":
            return Node("object", [(key, made(inner)) for key, inner in node.value], node.at)
        if node.kind == "array":
            return Node("array", [made(inner) for inner in node.value], node.at)
        spelled = document.written.get(id(node))
        if spelled is None:
            return node
        if node.kind == "word" or "_" in spelled or ":" in spelled:
            return Node("string", spelled, node.at)
        return node._replace(value=str(int(spelled))) if _OCTAL.fullmatch(spelled) else node

    return document._replace(root=made(document.root), odd={}, written={})


def read(path: Path, name: str) -> Document:
    """A JSON or YAML file. Raises `BadRule`, with the file's name, for what cannot be read as either."""
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise BadRule(f"{name}: {size:,} bytes are more than the {MAX_BYTES:,} that are read")
        data = path.read_bytes()
    except OSError as error:
        raise BadRule(f"{name}: {error.strerror or error}") from None
    except ValueError:
        raise BadRule(f"{one_line(name, 200)}: no name that a file can have") from None
    return read_text(data, name)


def real_path(path: Path) -> Path:
    """Where a path leads in the end, whatever it goes through; it need not be there, and a loop is no error."""
    return Path(os.path.realpath(path))


def read_included(path: Path, name: str) -> Document:
    """As `read`, of a file that another file names: a regular one, whatever the name leads to. Raises `BadRule`."""
    try:
        if not path.is_file():
            raise BadRule(f"{name}: {'not a regular file' if path.exists() else 'No such file or directory'}")
    except (OSError, ValueError) as error:
        raise BadRule(f"{one_line(name, 200)}: {error}") from None
    return read(path, name)


def read_text(data: bytes, name: str) -> Document:
    """As `read`, of what a file holds."""
    try:
        text = decoded(data.removeprefix(b"\xef\xbb\xbf"))
        looks_like_json = text.lstrip(" \t\r\n").startswith(("{", "["))
        if looks_like_json or name.endswith(".json"):
            try:
                return _json(text, name)
            except Malformed:
                if name.endswith(".json"):
                    raise
        return _yaml(text, name)
    except Malformed as error:
        where = f" ({place(text, error.at)})" if error.at >= 0 else ""
        raise BadRule(f"{name}: not readable as JSON or YAML: {one_line(error.reason, 300)}{where}") from None
    except RecursionError:
        raise BadRule(f"{name}: nested too deep") from None


def read_document(path: str) -> Any:
    """A JSON or YAML file as plain data. Raises `BadConfig`."""
    try:
        return data_of(read(Path(path), path).root)
    except BadRule as error:
        raise BadConfig(str(error)) from None


def _json(text: str, name: str) -> Document:
    if len(text) > _PLACED:
        try:
            value = json.loads(text, object_pairs_hook=_object, parse_float=_number, parse_int=_number)
        except ValueError as error:
            raise Malformed(str(error)) from None
        return Document(name, _wrapped(value), None, {}, [], {})
    root, end = parse(text)
    rest = text[end:].lstrip(" \t\r\n")
    if rest:
        raise Malformed("text after the end of the document", len(text) - len(rest))
    starts = [0, *(found.end() for found in re.finditer("\n", text))]
    return Document(name, root, starts, {}, [], {})


def _number(text: str) -> Node:
    return Node("number", text)


def _object(pairs: list[tuple[str, Any]]) -> Node:
    return Node("object", [(key, _wrapped(value)) for key, value in pairs])


def _wrapped(value: Any) -> Node:
    if isinstance(value, Node):
        return value
    if isinstance(value, list):
        return Node("array", [_wrapped(inner) for inner in value])
    return Node("string", value) if isinstance(value, str) else Node("word", value)


# YAML


def _yaml(text: str, name: str) -> Document:
    import yaml

    if len(text) > MAX_YAML_BYTES:
        raise Malformed(f"{len(text):,} characters of YAML are more than the {MAX_YAML_BYTES:,} that are read")
    base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    class Loader(base):  # type: ignore[misc]
        """Composes nodes and resolves nothing: what a scalar means is decided below, never by a constructor."""

        yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  (the library's own shape)

    try:
        _refuse_deep(yaml.parse(text, Loader=Loader))
        documents = [node for node in yaml.compose_all(text, Loader=Loader) if node is not None]
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error).partition("\n")[0]
        raise Malformed(f"{problem}{f' in line {mark.line + 1}' if mark else ''}") from None
    if len(documents) != 1:
        raise Malformed("nothing in it" if not documents else f"{len(documents)} documents in one file")
    reader = _Yaml()
    root = reader.node(documents[0], 0)
    return Document(name, root, None, reader.odd, [], reader.written)


def _refuse_deep(events: Iterable[Any]) -> None:
    """Refuse what is nested too deep before it is composed: the library's composer calls itself for every level, in C,
    and a stack that overflows there ends the process."""
    depth = 0
    for event in events:
        kind = type(event).__name__
        depth += kind.endswith("StartEvent") - kind.endswith("EndEvent")
        if depth > _MAX_DEPTH:
            raise Malformed(f"nested deeper than {_MAX_DEPTH} levels in line {event.start_mark.line + 1}")


class _Yaml:
    """Turns composed YAML into nodes."""

    def __init__(self) -> None:
        self.odd: dict[int, str] = {}
        self.written: dict[int, str] = {}
        self._left = MAX_NODES
        self._letters = MAX_LETTERS
        self._open: set[int] = set()

    def node(self, given: Any, depth: int) -> Node:
        self._left -= 1
        line = given.start_mark.line + 1
        if self._left < 0:
            raise Malformed(f"more than {MAX_NODES:,} values, counting aliases (line {line})")
        if depth > _MAX_DEPTH:  # aliases can nest what is flat in the file
            raise Malformed(f"nested deeper than {_MAX_DEPTH} levels in line {line}")
        if id(given) in self._open:
            raise Malformed(f"an alias contains itself in line {line}")
        self._open.add(id(given))
        made = self._made(given, line, depth)
        self._open.discard(id(given))
        tag = str(given.tag)
        if tag.startswith("!") and tag != "!":
            return _long_form(tag[1:], made, line)
        return made

    def _made(self, given: Any, line: int, depth: int) -> Node:
        if given.id == "scalar":
            return self._scalar(given, line)
        if given.id == "mapping":
            return Node("object", list(self._members(given, depth)), line)
        return Node("array", [self.node(inner, depth + 1) for inner in given.value], line)

    def _members(self, given: Any, depth: int) -> Iterator[tuple[str, Node]]:
        merged: list[tuple[str, Node]] = []
        written: list[tuple[str, Node]] = []
        for key, value in given.value:
            if key.id != "scalar":
                raise Malformed(f"a key that is no text in line {key.start_mark.line + 1}")
            inner = self.node(value, depth + 1)
            if key.value == "<<" and not key.style and inner.kind in ("object", "array"):
                parts = [inner] if inner.kind == "object" else inner.value
                for part in parts:
                    known = {name for name, _ in merged}
                    merged += [pair for pair in part.value if part.kind == "object" and pair[0] not in known]
            else:
                written.append((key.value, inner))
        names = {name for name, _ in written}
        yield from (pair for pair in merged if pair[0] not in names)
        yield from written

    def _scalar(self, given: Any, line: int) -> Node:
        text, tag = str(given.value), str(given.tag)
        self._letters -= len(text)
        if self._letters < 0:
            raise Malformed(f"more than {MAX_LETTERS:,} characters, counting aliases (line {line})")
        if given.style or tag.startswith("!") or len(text) > 1000 or (tag == _TEXT and _tagged(given)):
            return Node("string", text, line)
        return self._plain(text, line, "" if tag == _TEXT else tag)

    def _plain(self, text: str, line: int, tag: str) -> Node:
        lower = text.lower()
        if lower in _WORDS and text in (lower, lower.title(), lower.upper()):
            return Node("word", _WORDS[lower], line)
        if is_json_number(text):
            return Node("number", text, line)
        if lower in _YES and text in (lower, lower.title(), lower.upper()):
            return self._odd(Node("word", _YES[lower], line), text, json.dumps(_YES[lower]))
        if _INTEGER.fullmatch(text):
            value = str(_yaml_integer(text))
            return self._odd(Node("number", value, line), text, value)
        if _FLOAT.fullmatch(text) and any(char.isdigit() for char in text):
            value = repr(float(text.replace("_", "")))
            if value.lstrip("-")[:1].isdigit():
                return self._odd(Node("number", value, line), text, value)
        if tag:
            raise Malformed(f"{text!r} is no {tag.rpartition(':')[2]} in line {line}")
        return Node("string", text, line)

    def _odd(self, node: Node, text: str, meaning: str) -> Node:
        self.written[id(node)] = text
        self.odd[id(node)] = (
            f"{one_line(text, 40)} is {one_line(meaning, 40)} in YAML 1.1: quote it, or write {meaning}"
        )
        return node


def _tagged(given: Any) -> bool:
    """Whether a plain scalar carries `!!str` itself: then its text is longer in the file than its value."""
    start, end = given.start_mark, given.end_mark
    return bool(start.line == end.line and end.column - start.column > len(str(given.value)) + 4)


def _yaml_integer(text: str) -> int:
    sign = -1 if text.startswith("-") else 1
    digits = text.lstrip("+-").replace("_", "")
    if digits.startswith("0b"):
        return sign * int(digits[2:] or "0", 2)
    if digits.startswith("0x"):
        return sign * int(digits[2:] or "0", 16)
    if ":" in digits:
        value = 0
        for part in digits.split(":"):
            value = value * 60 + int(part)
        return sign * value
    return sign * int(digits, 8 if digits.startswith("0") else 10)


def _long_form(tag: str, value: Node, line: int) -> Node:
    """`!GetAtt a.b` as CloudFormation's long form. Unknown tags are kept the same way, to be named where they count."""
    if tag in ("Ref", "Condition"):
        return Node("object", [(tag, value)], line)
    if tag == "GetAtt" and value.kind == "string" and "." in value.value:
        parts = [Node("string", part, line) for part in value.value.split(".", 1)]
        value = Node("array", parts, line)
    return Node("object", [(f"Fn::{tag}", value)], line)


# reading trees


def member(node: Node | None, *names: str) -> Node | None:
    """The value at a chain of keys (of a key written twice, the last), or None."""
    for name in names:
        if node is None or node.kind != "object":
            return None
        node = next((value for key, value in reversed(node.value) if key == name), None)
    return node


def members(node: Node | None) -> list[tuple[str, Node]]:
    """The members of an object; none of anything else."""
    return list(node.value) if node is not None and node.kind == "object" else []


def elements(node: Node | None) -> list[Node]:
    """The elements of an array; none of anything else."""
    return list(node.value) if node is not None and node.kind == "array" else []


def text(node: Node | None) -> str | None:
    """A string's text; a number's or word's spelling as text; None for anything else."""
    if node is None or node.kind in ("object", "array"):
        return None
    if node.kind == "word":
        return None if node.value is None else json.dumps(node.value)
    return str(node.value)


def data_of(node: Node) -> Any:
    """A value as plain Python data; of a key written twice, the last."""
    if node.kind == "object":
        return {key: data_of(inner) for key, inner in node.value}
    if node.kind == "array":
        return [data_of(inner) for inner in node.value]
    if node.kind == "number":
        return float(node.value) if node.value.lstrip("-").strip("0123456789") else int(node.value)
    return node.value


def descendants(node: Node) -> Iterator[Node]:
    """A value and all values in it."""
    todo = [node]
    while todo:
        one = todo.pop()
        yield one
        if one.kind == "object":
            todo += (inner for _, inner in one.value)
        elif one.kind == "array":
            todo += one.value
