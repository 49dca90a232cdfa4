"""Rules from Terraform's JSON configuration (`*.tf.json`, what CDK for Terraform synthesises), evaluated offline.

The files of a folder are one module, as for Terraform: locals, defaults of variables (or what is given by the same
names) and the attributes that are written of other resources are known; what a provider computes, data sources and
modules are not. Format: 'JSON Configuration Syntax' of the Terraform documentation.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pcapeda.errors import BadRule
from pcapeda.rules.json_reader import Node
from pcapeda.rules.sources.bounds import Bounds
from pcapeda.rules.sources.diagnostics import Collector, Unresolved
from pcapeda.rules.sources.given import Given
from pcapeda.rules.sources.hcl import evaluate
from pcapeda.rules.sources.source_tree import Document, adopted, elements, member, members, read_included, text
from pcapeda.rules.sources.terraform import BUS, RULE, TARGET, Resource, add_rules
from pcapeda.rules.sources.unknowns import unknown

ENDINGS = (".tf.json", ".tofu.json")
_MAX_FILES = 100
_MAX_INSTANCES = 1000
_MAX_IN_ALL = 5_000
_NAMES = {"id": ("name",)}
"""Attributes that are computed, but the same as one that is written."""


def read_terraform_json(document: Document, collector: Collector, given: Given, path: Path) -> None:
    """Add the rules that a file of a configuration declares; the other files of its folder complete it."""
    roots = [document.root]
    try:
        others = sorted(one for one in path.parent.iterdir() if one.name.endswith(ENDINGS) and one.name != path.name)
    except OSError:
        others = []  # a file that can be read in a folder that cannot
    for other in others[:_MAX_FILES]:
        try:
            roots.append(adopted(document, read_included(other, str(other))))
        except BadRule as error:
            collector.problem("note", str(other), "", f"left out: {error}")
    module = _Module(document, roots, collector, given)
    add_rules(document, collector, list(module.resources()), own=set(module.addresses(document.root)))
    for name in dict(members(member(document.root, "module"))):
        collector.problem("note", document.name, f"module.{name}", "the rules of modules are not read: plan it")


def _blocks(node: Node | None) -> Iterator[Node]:
    """A block, or each of a list of blocks."""
    if node is not None:
        yield from elements(node) if node.kind == "array" else [node]


class _Module:
    """The blocks of all files, and what references to them stand for."""

    def __init__(self, document: Document, roots: list[Node], collector: Collector, given: Given) -> None:
        self._document = document
        self._roots = roots
        self._collector = collector
        self._given = given
        self._bounds = Bounds()
        self._locals = {name: value for block in self._sections("locals") for name, value in members(block)}
        self._variables = {
            name: one for block in self._sections("variable") for name, each in members(block) for one in _blocks(each)
        }
        self._resources = {(kind, name): one for root in roots for kind, name, one in self._declared(root, "resource")}
        self._known: dict[str, Node] = {}

    def _sections(self, name: str) -> Iterator[Node]:
        for root in self._roots:
            yield from _blocks(member(root, name))

    @staticmethod
    def _declared(root: Node, section: str) -> Iterator[tuple[str, str, Node]]:
        for block in _blocks(member(root, section)):
            for kind, named in members(block):
                for each in _blocks(named):
                    for name, bodies in members(each):
                        for body in _blocks(bodies):
                            yield kind, name, body

    def addresses(self, root: Node) -> Iterator[str]:
        """The addresses, without indexes, of the resources of one file."""
        for kind, name, _ in self._declared(root, "resource"):
            yield f"{kind}.{name}"

    def resources(self) -> Iterator[Resource]:
        """The instances of all resources that matter to rules."""
        count = 0
        for (kind, name), body in self._resources.items():
            for one in self._instances(kind, name, body) if kind in (RULE, TARGET, BUS) else ():
                count += 1
                if count > _MAX_IN_ALL:
                    said = f"more than {_MAX_IN_ALL:,} rules, targets and buses: the rest is not read"
                    self._collector.problem("error", self._document.where(body), one.address, said)
                    return
                yield one

    def _instances(self, kind: str, name: str, body: Node) -> Iterator[Resource]:
        address = f"{kind}.{name}"
        try:
            keys = list(self._keys(body))
        except Unresolved as unresolved:
            why = f"how many there are of {address} is not known offline: {unresolved.reason}"
            self._collector.problem("note", self._document.where(body), address, why)
            keys = [("", {})]
        for index, scope in keys:
            values = [
                (key, self._value(value, scope))
                for key, value in members(body)
                if key not in ("count", "for_each", "depends_on", "lifecycle", "provider")
            ]
            yield Resource(address + index, kind, "", Node("object", values, body.at), body)

    def _keys(self, body: Node) -> Iterator[tuple[str, dict[str, Node]]]:
        """The index of each instance, and what its expressions may refer to beside the module."""
        count, each = member(body, "count"), member(body, "for_each")
        if count is not None:
            number = text(self._evaluated(count, {})) or ""
            if not number.isdecimal() or len(number) > 6 or int(number) > _MAX_INSTANCES:
                raise Unresolved("its count", count)
            for index in range(int(number)):
                yield f"[{index}]", {"count": Node("object", [("index", Node("number", str(index)))])}
        elif each is not None:
            found = self._evaluated(each, {})
            pairs = members(found) or [(text(one) or "", one) for one in elements(found)]
            for key, value in pairs[:_MAX_INSTANCES]:
                scope = Node("object", [("key", Node("string", key)), ("value", value)])
                yield f'["{key}"]', {"each": scope}
        else:
            yield "", {}

    def _value(self, node: Node, scope: dict[str, Node]) -> Node:
        try:
            return self._evaluated(node, scope)
        except Unresolved as unresolved:
            return unknown(unresolved.reason, node)

    def _evaluated(self, node: Node, scope: dict[str, Node]) -> Node:
        return evaluate(node, lambda path, at: self._look_up(path, at, scope), self._bounds)

    # references

    def _look_up(self, path: list[str], node: Node, scope: dict[str, Node]) -> Node:
        shown = ".".join(path)
        found: Node | None = None
        rest: list[str] = path[1:]
        if path[0] in scope:
            found = scope[path[0]]
        elif path[0] == "local" and len(path) > 1:
            found, rest = self._once(shown, self._locals.get(path[1])), path[2:]
        elif path[0] == "var" and len(path) > 1:
            found, rest = self._variable(path[1], node), path[2:]
        elif path[0] == "data":
            found, rest = self._data(path), []
        elif len(path) > 2:
            found, rest = self._attribute(path, node), []
        for name in rest:
            inner = elements(found)
            if inner and name.isdecimal() and len(name) < 7 and int(name) < len(inner):
                found = inner[int(name)]
            else:
                found = member(found, name)
        if found is None:
            raise Unresolved(shown, node)
        return found

    def _once(self, shown: str, written: Node | None) -> Node | None:
        """The value of a local, evaluated once."""
        if written is None:
            return None
        name = ".".join(shown.split(".")[:2])
        if name not in self._known:
            self._known[name] = self._evaluated(written, {})
        return self._known[name]

    def _variable(self, name: str, node: Node) -> Node:
        self._collector.used.add(name)
        given = self._given.values.get(name)
        if given is not None:
            return Node("string", given, node.at)
        default = member(self._variables.get(name), "default")
        if default is None or (default.kind == "word" and default.value is None):
            raise Unresolved(f"var.{name} (give it as a parameter)", node)
        return default

    def _data(self, path: list[str]) -> Node | None:
        """The account and the Region, as far as they are known."""
        pseudo = self._given.pseudo()
        known: dict[tuple[str, str], Any] = {
            ("aws_caller_identity", "account_id"): pseudo["AWS::AccountId"],
            ("aws_region", "name"): pseudo["AWS::Region"],
            ("aws_region", "region"): pseudo["AWS::Region"],
            ("aws_region", "id"): pseudo["AWS::Region"],
            ("aws_partition", "partition"): pseudo["AWS::Partition"],
        }
        found = known.get((path[1], path[3])) if len(path) == 4 else None
        return Node("string", found) if found is not None else None

    def _attribute(self, path: list[str], node: Node) -> Node:
        """An attribute that is written of another resource; what a provider computes is not known."""
        kind, name, attribute = path[0], path[1], path[-1]
        body = self._resources.get((kind, name))
        written = member(body, attribute)
        if written is None and kind in (BUS, RULE) and attribute in _NAMES and self._on_default(kind, body):
            written = member(body, *_NAMES[attribute])
        if written is None and kind == BUS and attribute == "arn":
            written = self._bus_arn(body)
        plain = body is not None and member(body, "count") is None and member(body, "for_each") is None
        if written is None or not plain or len(path) != 3:
            raise Unresolved(".".join(path), node)
        with self._bounds.deeper(node):
            return self._evaluated(written, {})

    @staticmethod
    def _on_default(kind: str, body: Node | None) -> bool:
        return kind == BUS or member(body, "event_bus_name") is None

    def _bus_arn(self, body: Node | None) -> Node | None:
        name = member(body, "name")
        if name is None or name.kind != "string":
            return None
        pseudo = self._given.pseudo()
        where = f"{pseudo['AWS::Partition']}:events:{pseudo['AWS::Region']}:{pseudo['AWS::AccountId']}"
        return name._replace(value=f"arn:{where}:event-bus/{name.value}")
