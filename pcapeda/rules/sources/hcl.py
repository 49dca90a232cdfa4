"""Expressions of Terraform's language, as they stand in the strings of `*.tf.json`: a small part of it, evaluated.

Known are texts with `${…}` in them, numbers, words, lists, objects, references, indexes, comparisons, the conditional
operator and the functions of `_FUNCTIONS`. Whatever else there is, is not known (`Unresolved`), and so is what depends
on it. Syntax: HCL Native Syntax Specification, and 'JSON Configuration Syntax' of the Terraform documentation.
"""

import re
from collections.abc import Callable, Iterator
from typing import NoReturn

from pcapeda.rules.json_reader import Malformed, Node, json_of, one_line, parse
from pcapeda.rules.sources.bounds import Bounds
from pcapeda.rules.sources.diagnostics import Unresolved
from pcapeda.rules.sources.source_tree import elements, members, text

Path = list[str]
LookUp = Callable[[Path, Node], Node]
"""What a reference (`local.x`, `aws_s3_bucket.b.bucket`) stands for. Raises `Unresolved`."""
_Thunk = Callable[[], Node]

_SPACE = re.compile(r"(?:\s|#[^\n]*|//[^\n]*|/\*.*?\*/)*", re.DOTALL)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\"}
_WORDS = {"true": True, "false": False, "null": None}


def evaluate(node: Node, look_up: LookUp, bounds: Bounds) -> Node:
    """A value of `*.tf.json` with the expressions in its strings evaluated. Raises `Unresolved`."""
    bounds.spend(1, node)
    with bounds.deeper(node):
        if node.kind == "object":
            return Node("object", [(key, evaluate(inner, look_up, bounds)) for key, inner in node.value], node.at)
        if node.kind == "array":
            return Node("array", [evaluate(inner, look_up, bounds) for inner in node.value], node.at)
        if node.kind != "string" or ("${" not in node.value and "%{" not in node.value):
            return node
        bounds.joined([node.value], node)  # what is parsed counts, too
        return _Parser(node, look_up, bounds).whole()


class _Parser:
    """One string. Parsing gives closures, so that what is not asked for is not evaluated."""

    def __init__(self, node: Node, look_up: LookUp, bounds: Bounds) -> None:
        self._node, self._text, self._at = node, str(node.value), 0
        self._look_up, self._bounds = look_up, bounds

    def whole(self) -> Node:
        """The string as a template."""
        return self._template("")()

    def _fail(self, what: str = "") -> NoReturn:
        raise Unresolved(f"{what or 'the expression'} in {one_line(self._text, 80)}", self._node)

    # templates

    def _template(self, end: str) -> _Thunk:
        """Text up to `end` (a quote, or nothing for all there is); a single `${…}` alone keeps its type."""
        parts: list[str | _Thunk] = []
        plain: list[str] = []
        while True:
            if self._at >= len(self._text):
                if end:
                    self._fail()
                break
            char, two = self._text[self._at], self._text[self._at : self._at + 2]
            if end and char == end:
                self._at += 1
                break
            if self._text.startswith(("$${", "%%{"), self._at):
                plain.append(self._text[self._at + 1 : self._at + 3])
                self._at += 3
            elif two == "%{":
                self._fail("a directive")
            elif two == "${":
                self._at += 2
                parts += ["".join(plain), self._expression()]
                plain = []
                self._expect("}")
            elif end and char == "\\":
                plain.append(self._escape())
            else:
                plain.append(char)
                self._at += 1
        parts.append("".join(plain))
        kept = [part for part in parts if part != ""]
        if len(kept) == 1 and not isinstance(kept[0], str):
            return kept[0]
        return lambda: self._joined(kept)

    def _escape(self) -> str:
        letter = self._text[self._at + 1 : self._at + 2]
        digits = {"u": 4, "U": 8}.get(letter, 0)
        code = self._text[self._at + 2 : self._at + 2 + digits]
        self._at += 2 + digits
        if digits and re.fullmatch(r"[0-9a-fA-F]+", code) and int(code, 16) < 0x110000:
            return chr(int(code, 16))
        return _ESCAPES[letter] if letter in _ESCAPES else self._fail()

    def _joined(self, parts: list[str | _Thunk]) -> Node:
        pieces = (part if isinstance(part, str) else self._string(part()) for part in parts)
        return Node("string", self._bounds.joined(pieces, self._node), self._node.at)

    def _string(self, node: Node) -> str:
        found = text(node)
        return found if found is not None else self._fail("something that is no text")

    # expressions

    def _skip(self) -> None:
        found = _SPACE.match(self._text, self._at)
        self._at = found.end() if found else self._at

    def _take(self, *signs: str) -> str:
        self._skip()
        for sign in signs:
            if self._text.startswith(sign, self._at):
                self._at += len(sign)
                return sign
        return ""

    def _expect(self, sign: str) -> None:
        if not self._take(sign):
            self._fail()

    def _expression(self) -> _Thunk:
        with self._bounds.deeper(self._node):
            condition = self._compared()
            if not self._take("?"):
                return condition
            yes = self._expression()
            self._expect(":")
            no = self._expression()
            return lambda: yes() if self._true(condition()) else no()

    def _true(self, node: Node) -> bool:
        found = text(node)
        return found == "true" if found in ("true", "false") else self._fail("a condition")

    def _compared(self) -> _Thunk:
        left = self._unary()
        while sign := self._take("==", "!=", "&&", "||"):
            left = self._pair(sign, left, self._unary())
        self._skip()
        if self._text[self._at : self._at + 1] and self._text[self._at] in "+-*/%<>":
            self._fail("arithmetic")
        return left

    def _pair(self, sign: str, left: _Thunk, right: _Thunk) -> _Thunk:
        def made() -> bool:
            if sign == "&&":
                return self._true(left()) and self._true(right())
            if sign == "||":
                return self._true(left()) or self._true(right())
            return (json_of(left()) == json_of(right())) is (sign == "==")

        return lambda: Node("word", made(), self._node.at)

    def _unary(self) -> _Thunk:
        self._skip()
        if self._text.startswith("!", self._at) and not self._text.startswith("!=", self._at):
            self._at += 1
            with self._bounds.deeper(self._node):
                inner = self._unary()
            return lambda: Node("word", not self._true(inner()), self._node.at)
        return self._indexed(self._primary())

    def _indexed(self, value: _Thunk) -> _Thunk:
        while sign := self._take(".", "["):
            key = self._name() if sign == "." else self._expression()
            if sign == "[":
                self._expect("]")
            value = self._member(value, key)
        return value

    def _member(self, value: _Thunk, key: str | _Thunk) -> _Thunk:
        def made() -> Node:
            name = key if isinstance(key, str) else self._string(key())
            return self._inside(value(), name)

        return made

    def _inside(self, node: Node, name: str) -> Node:
        if node.kind == "array" and name.isdecimal() and len(name) < 7 and int(name) < len(node.value):
            return elements(node)[int(name)]
        found = dict(members(node)).get(name)
        return found if found is not None else self._fail(f"no {one_line(name, 40)}")

    def _name(self) -> str:
        self._skip()
        found = re.compile(r"[A-Za-z0-9_-]+").match(self._text, self._at)
        if found is None:
            self._fail()
        self._at = found.end()
        return found.group()

    def _primary(self) -> _Thunk:
        self._skip()
        if self._take('"'):
            return self._template('"')
        if self._take("("):
            inner = self._expression()
            self._expect(")")
            return inner
        if self._take("["):
            return self._list()
        if self._take("{"):
            return self._object()
        negative = "-" if self._take("-") else ""
        self._skip()
        number = _NUMBER.match(self._text, self._at)
        if number is not None:
            self._at = number.end()
            made = Node("number", negative + number.group(), self._node.at)
            return lambda: made
        return self._named()

    def _named(self) -> _Thunk:
        """A word, a function or a reference."""
        found = _NAME.match(self._text, self._at)
        if found is None:
            self._fail()
        self._at, name = found.end(), found.group()
        if self._take("("):
            return self._call(name)
        if name in _WORDS:
            return lambda: Node("word", _WORDS[name], self._node.at)
        if name == "for":
            self._fail("a for expression")
        path = [name]
        while True:
            mark = self._at
            if self._take("."):
                path.append(self._name())
            elif self._take("[") and (
                index := re.compile(r'\s*(?:"([^"$\\]*)"|([0-9]+))\s*\]').match(self._text, self._at)
            ):
                self._at = index.end()
                path.append(index.group(1) if index.group(2) is None else index.group(2))
            else:
                self._at = mark
                break
        return lambda: self._look_up(path, self._node)

    def _items(self, end: str) -> Iterator[None]:
        while not self._take(end):
            yield
            if not self._take(","):
                self._skip()

    def _list(self) -> _Thunk:
        parts = [self._expression() for _ in self._items("]")]

        def made() -> Node:
            self._bounds.spend(len(parts), self._node)
            return Node("array", [part() for part in parts], self._node.at)

        return made

    def _object(self) -> _Thunk:
        pairs: list[tuple[_Thunk | str, _Thunk]] = []
        for _ in self._items("}"):
            self._skip()
            found = _NAME.match(self._text, self._at)
            key: _Thunk | str
            if found is not None:
                self._at, key = found.end(), found.group()
            else:
                key = self._expression()
            if not self._take("=", ":"):
                self._fail()
            pairs.append((key, self._expression()))

        def made() -> Node:
            self._bounds.spend(len(pairs), self._node)
            read = [(key if isinstance(key, str) else self._string(key()), value()) for key, value in pairs]
            return Node("object", list(dict(read).items()), self._node.at)

        return made

    # functions

    def _call(self, name: str) -> _Thunk:
        arguments = [self._expression() for _ in self._items(")")]
        if name not in _FUNCTIONS:
            return lambda: self._fail(f"{name}()")

        def made() -> Node:
            self._bounds.spend(1, self._node)
            try:
                return _FUNCTIONS[name](self, [argument() for argument in arguments])
            except (IndexError, ValueError, Malformed):
                return self._fail(f"{name}()")

        return made

    def text_of(self, value: str) -> Node:
        """A text that a function makes."""
        return Node("string", self._bounds.joined([value], self._node), self._node.at)

    def encoded(self, value: Node) -> Node:
        """A value as JSON; what it may hold is counted, too."""
        made = json_of(value)
        self._bounds.spend(len(made) // 8, self._node)
        return self.text_of(made)

    def strings(self, node: Node) -> list[str]:
        """The elements of a list, as texts."""
        return [self._string(one) for one in elements(node)]

    def string(self, node: Node) -> str:
        """A value as text."""
        return self._string(node)

    def separated(self, given: list[Node]) -> Node:
        """`join(separator, list, …)`."""
        parts = [one for node in given[1:] for one in self.strings(node)]
        between = self._string(given[0])
        pieces = (piece for number, part in enumerate(parts) for piece in ([between, part] if number else [part]))
        return Node("string", self._bounds.joined(pieces, self._node), self._node.at)

    def formatted(self, given: list[Node]) -> Node:
        """`format` with `%s`, `%d` and `%%` alone."""
        values = iter(given[1:])
        form = self._string(given[0])
        if re.sub(r"%[sd%]", "", form).count("%"):
            self._fail("format()")
        parts = re.split(r"(%[sd%])", form)
        pieces = (
            "%" if part == "%%" else self._string(next(values, Node("array", []))) if part in ("%s", "%d") else part
            for part in parts
        )
        return Node("string", self._bounds.joined(pieces, self._node), self._node.at)


def _concat(parser: _Parser, given: list[Node]) -> Node:
    return Node("array", [one for node in given for one in elements(node)], given[0].at)


def _merge(parser: _Parser, given: list[Node]) -> Node:
    merged = {key: value for node in given for key, value in members(node)}
    return Node("object", list(merged.items()), given[0].at)


def _set(parser: _Parser, given: list[Node]) -> Node:
    unlike = {json_of(one): one for one in elements(given[0])}
    return Node("array", [unlike[key] for key in sorted(unlike)], given[0].at)


_FUNCTIONS: dict[str, Callable[[_Parser, list[Node]], Node]] = {
    "concat": _concat,
    "format": _Parser.formatted,
    "join": _Parser.separated,
    "jsondecode": lambda parser, given: parse(parser.string(given[0]))[0],
    "jsonencode": lambda parser, given: parser.encoded(given[0]),
    "lower": lambda parser, given: parser.text_of(parser.string(given[0]).lower()),
    "merge": _merge,
    "replace": lambda parser, given: _replaced(parser, given),
    "tolist": lambda parser, given: given[0],
    "tomap": lambda parser, given: given[0],
    "toset": _set,
    "tostring": lambda parser, given: parser.text_of(parser.string(given[0])),
    "trimspace": lambda parser, given: parser.text_of(parser.string(given[0]).strip()),
    "upper": lambda parser, given: parser.text_of(parser.string(given[0]).upper()),
}


def _replaced(parser: _Parser, given: list[Node]) -> Node:
    """`replace` of plain text; a pattern between slashes is one of regular expressions, and not known."""
    whole, old, new = (parser.string(one) for one in given[:3])
    if not old or (old.startswith("/") and old.endswith("/") and len(old) > 1):
        raise ValueError
    return parser.separated([Node("string", new), Node("array", [Node("string", part) for part in whole.split(old)])])
