"""The variables of a Serverless Framework service (`${source:address, fallback}`), resolved offline.

Known are the service's own values (`self:`), files of JSON and YAML beside it (`file(path):key`), what was given
(`opt:`, `param:`, `env:`; `ssm:`, `cf:` and the like under their whole name) and fallbacks. Nothing is executed: what
JavaScript or TypeScript would return is not known. What is not known becomes a value that says so where it is used.
Steps, values and characters are counted, so that variables that multiply come to an end.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from pcapeda.errors import BadRule
from pcapeda.rules.json_reader import Node, one_line
from pcapeda.rules.sources.bounds import LONGEST
from pcapeda.rules.sources.diagnostics import Collector, Unresolved
from pcapeda.rules.sources.given import Given
from pcapeda.rules.sources.source_tree import (
    Document,
    adopted,
    elements,
    in_yaml_1_2,
    member,
    read_included,
    real_path,
    text,
)
from pcapeda.rules.sources.unknowns import unknown, why_unknown

_INNERMOST = re.compile(r"\$\{([^${}]*)\}")
_SOURCE = re.compile(r"[a-z][A-Za-z0-9_-]*(?:\([^()]*\))?:|file\([^()]*\)|strToBool\(|['\"]")
_LEFT = re.compile(r"\$\{(?:[a-z][A-Za-z0-9_-]*:|file\()")
_FILE = re.compile(r"file\(\s*([^()]*?)\s*\)(?::(.*))?", re.DOTALL)
_MAX_STEPS = 20_000
_MAX_VALUES = 200_000
_MAX_LETTERS = 64 * LONGEST
_MAX_DEPTH = 60
_MAX_FILES = 200
_DATA = (".yml", ".yaml", ".json", ".tfstate")
_CODE = (".js", ".cjs", ".mjs", ".ts")


class Variables:
    """Replaces `${…}` from the inside out."""

    def __init__(self, document: Document, collector: Collector, given: Given, path: Path | None) -> None:
        self._document = document
        self._root = document.root
        self._collector = collector
        self.given = given
        self._folder = path.parent if path is not None else None
        self._files: dict[Path, Node | str] = {}
        self._steps, self._values, self._letters, self._depth = _MAX_STEPS, _MAX_VALUES, _MAX_LETTERS, 0

    def stage(self) -> str:
        """The stage that names are made with: as given, as the provider says, or `dev`."""
        self._collector.used.add("stage")
        given = self.given.values.get("stage")
        if given is None:
            written = self.opened(member(self.opened(member(self._root, "provider")), "stage"))
            given = text(written)
        return given or "dev"

    def at(self, *names: str) -> Node | None:
        """A value of the service, looked for through variables, not yet replaced itself."""
        return self._within(self._root, names)

    def _within(self, found: Node | None, names: Iterable[str]) -> Node | None:
        for name in names:
            found = self.opened(found)
            if why_unknown(found):
                return found
            found = _element(found, name) if found is not None and found.kind == "array" else member(found, name)
        return self.opened(found)

    def opened(self, node: Node | None) -> Node | None:
        """A value that is a variable itself, replaced; any other as it is, whatever is in it."""
        return self.replaced(node) if node is not None and node.kind == "string" else node

    def replaced(self, node: Node) -> Node:
        """A value with all variables in it replaced, or reported as not known where they are not."""
        self._values -= 1
        self._depth += 1
        try:
            if self._values < 0:
                return unknown(f"more than {_MAX_VALUES:,} values to resolve", node)
            if self._depth > _MAX_DEPTH:
                return unknown("a variable is defined by itself, or too deep", node)
            if why_unknown(node):
                return node
            if node.kind == "object":
                return Node("object", [(self._key(key), self.replaced(inner)) for key, inner in node.value], node.at)
            if node.kind == "array":
                return Node("array", [self.replaced(inner) for inner in node.value], node.at)
            return self._text(node) if node.kind == "string" and "${" in node.value else node
        except Unresolved as unresolved:
            return unknown(unresolved.reason, node)
        finally:
            self._depth -= 1

    def _key(self, key: str) -> str:
        if "${" not in key:
            return key
        try:
            return text(self._text(Node("string", key))) or key
        except Unresolved:
            return key

    def _text(self, node: Node) -> Node:
        written = str(node.value)
        while (found := self._next(written)) is not None:
            self._steps -= 1
            self._letters -= len(written)
            if self._steps < 0 or self._letters < 0 or len(written) > LONGEST:
                raise Unresolved("too many variables, or too long", node)
            value = self._value(found.group(1), node)
            if found.group() == written:
                return value
            inner = text(value)
            if inner is None:
                raise Unresolved(why_unknown(value) or f"{one_line(found.group(), 200)} is no text", node)
            written = written[: found.start()] + inner + written[found.end() :]
        if _LEFT.search(written):
            raise Unresolved(one_line(written, 200), node)
        return node._replace(value=written)

    @staticmethod
    def _next(written: str) -> re.Match[str] | None:
        """The first innermost variable; `${AWS::Region}` and `${Logical}` are CloudFormation's own."""
        return next((found for found in _INNERMOST.finditer(written) if _SOURCE.match(found.group(1).strip())), None)

    def _value(self, expression: str, node: Node) -> Node:
        """The first of the alternatives, separated by commas, that there is; one that may be there is not known."""
        missing = ""
        for one in _alternatives(expression):
            found = _literal(one, node) or self._known(one, node)
            if isinstance(found, str) or why_unknown(found):
                raise Unresolved(found if isinstance(found, str) else why_unknown(found), node)
            if found is not None and not (found.kind == "word" and found.value is None):
                return found
            missing = missing or (self._missing(one) if one.startswith("file(") else "")
        given = expression.startswith(("opt:", "param:", "env:"))
        said = f"${{{one_line(expression, 200)}}}{' (give it as a parameter)' if given else ''}"
        raise Unresolved(missing or said, node)

    def _known(self, one: str, node: Node) -> Node | str | None:
        """A value, None where there is none, or why it cannot be known."""
        kind, _, name = one.partition(":")
        if one.startswith("file("):
            return self._file(one, node)
        if kind == "self":
            return self._self(name, node)
        if kind == "aws" and name in ("region", "accountId"):
            return Node("string", self.given.pseudo()[f"AWS::{'Region' if name == 'region' else 'AccountId'}"], node.at)
        if kind == "sls" and name == "stage":
            return Node("string", self.stage(), node.at)
        if kind in ("opt", "param", "env"):
            return self._option(kind, name, node)
        bare = re.sub(r"\([^()]*\)", "", kind)
        self._collector.used.add(f"{bare}:{name}")
        given = self.given.values.get(f"{bare}:{name}")
        return Node("string", given, node.at) if given is not None else f"${{{one_line(one, 200)}}}"

    def _self(self, name: str, node: Node) -> Node | None:
        found = self._root if not name else self.at(*name.split("."))
        if found is None and name == "provider.stage":
            return Node("string", self.stage(), node.at)
        if found is None and name == "provider.region":
            return Node("string", self.given.pseudo()["AWS::Region"], node.at)
        if name == "service" and found is not None and found.kind == "object":
            found = member(found, "name")
        return self.replaced(found) if found is not None else None

    def _option(self, kind: str, name: str, node: Node) -> Node | None:
        self._collector.used.add(name)
        if name in self.given.values:
            return Node("string", self.given.values[name], node.at)
        if kind == "opt" and name == "region" and self.given.region is not None:
            return Node("string", self.given.region, node.at)
        if kind == "param":
            for stage in (self.stage(), "default"):
                found = self.at("params", stage, name)
                if found is not None:
                    return self.replaced(found)
        return None

    # files

    def _file(self, one: str, node: Node) -> Node | str | None:
        found = _FILE.fullmatch(one)
        if found is None:
            return f"${{{one_line(one, 200)}}}"
        where, address = found.group(1), found.group(2)
        if self._missing(one):
            return None
        content = self._content(where)
        if isinstance(content, str):
            return content
        inner = self._within(content, address.split(".") if address else ())
        return self.replaced(inner) if inner is not None else None

    def _missing(self, one: str) -> str:
        """That a file is not there, or an empty string."""
        found = _FILE.fullmatch(one)
        path = self._folder / found.group(1) if found is not None and self._folder is not None else None
        try:
            there = path is None or path.exists()
        except (OSError, ValueError):
            there = False
        return "" if there else f"${{{one_line(one, 200)}}}: there is no such file"

    def _content(self, where: str) -> Node | str:
        """What a file holds, or why it is not known."""
        shown = f"${{file({one_line(where, 100)})}}"
        if self._folder is None or Path(where).is_absolute() or where.startswith("~"):
            return f"{shown}: only files beside the service are read"
        path = self._folder / where
        if path.suffix in _CODE:
            return f"{shown}: JavaScript and TypeScript are not run"
        if path.suffix not in _DATA:
            return f"{shown}: only JSON and YAML files are read"
        if path not in self._files:
            if len(self._files) >= _MAX_FILES:
                return f"{shown}: more than {_MAX_FILES} files"
            try:
                self._files[path] = adopted(self._document, in_yaml_1_2(read_included(path, str(path))))
                self._collector.included.add(real_path(path))
            except BadRule as error:
                self._files[path] = f"{shown}: {error}"
        return self._files[path]


def _element(node: Node, name: str) -> Node | None:
    found = elements(node)
    return found[int(name)] if name.isdecimal() and len(name) < 7 and int(name) < len(found) else None


def _alternatives(expression: str) -> list[str]:
    """`opt:stage, 'a, b'` at its commas outside quotes and parentheses."""
    return [part.strip() for part in re.findall(r"(?:'[^']*'|\"[^\"]*\"|\([^()]*\)|[^,])+", expression)]


def _literal(written: str, node: Node) -> Node | None:
    if len(written) >= 2 and written[0] == written[-1] and written[0] in "'\"":
        return Node("string", written[1:-1], node.at)
    if written.startswith("strToBool(") and written.endswith(")"):
        inner = written[len("strToBool(") : -1].strip().strip("'\"").lower()
        return Node("word", inner in ("true", "1"), node.at) if inner in ("true", "false", "1", "0") else None
    if written in ("true", "false", "null"):
        return Node("word", {"true": True, "false": False, "null": None}[written], node.at)
    if re.fullmatch(r"-?\d+(\.\d+)?", written):
        return Node("number", written, node.at)
    return None
