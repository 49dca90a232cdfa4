"""Conditions of CloudFormation templates."""

from collections.abc import Callable

from pcapeda.rules.json_reader import Node, json_of, one_line
from pcapeda.rules.sources.bounds import Bounds
from pcapeda.rules.sources.diagnostics import Unresolved
from pcapeda.rules.sources.source_tree import member, text

_SPELLED = {"true": ("yes", "on", "true"), "false": ("no", "off", "false")}


class Conditions:
    """Those that a template defines, each looked at once."""

    def __init__(self, written: dict[str, Node], bounds: Bounds, value: Callable[[Node], Node]) -> None:
        """`value` resolves what is compared; it raises `Unresolved`, as all here."""
        self._written = written
        self._bounds = bounds
        self._value = value
        self._known: dict[str, bool | None] = {}

    def hold(self, name: str, node: Node) -> bool:
        """Whether a condition of the template holds. Raises `Unresolved`."""
        if name not in self._written and name in _SPELLED:  # `Condition: Yes`, which YAML 1.1 reads as a word
            name = next((one for one in self._written if one.lower() in _SPELLED[name]), name)
        if name not in self._known:
            written = self._written.get(name)
            if written is None:
                raise Unresolved(f"condition {one_line(name, 100)} is not defined", node)
            self._known[name] = None  # being looked at
            try:
                self._known[name] = self._holds(written)
            finally:
                if self._known[name] is None:
                    del self._known[name]
        found = self._known[name]
        if found is None:
            raise Unresolved(f"condition {name} is defined by itself", node)
        return found

    def _holds(self, node: Node) -> bool:
        self._bounds.spend(1, node)
        with self._bounds.deeper(node):
            named = member(node, "Condition")
            if named is not None:
                return self.hold(text(named) or "", node)
            name, operand = node.value[0] if node.kind == "object" and len(node.value) == 1 else ("", node)
            if name == "Fn::Equals":
                left, right = (self._value(side) for side in _list(operand, node, 2)[:2])
                return _scalar(left) == _scalar(right)
            if name == "Fn::Not":
                return not self._holds(_list(operand, node, 1)[0])
            if name in ("Fn::And", "Fn::Or"):
                return self._any(_list(operand, node, 1), name == "Fn::Or")
            raise Unresolved(f"condition {one_line(json_of(node), 80)}", node)

    def _any(self, parts: list[Node], decisive: bool) -> bool:
        """`Fn::Or` (decided by one that holds) or `Fn::And` (by one that does not), even if others are not known."""
        unknown: Unresolved | None = None
        for part in parts:
            try:
                if self._holds(part) is decisive:
                    return decisive
            except Unresolved as unresolved:
                unknown = unresolved
        if unknown is not None:
            raise unknown
        return not decisive


def _list(operand: Node, node: Node, least: int) -> list[Node]:
    if operand.kind != "array" or len(operand.value) < least:
        raise Unresolved(f"{node.value[0][0]} needs a list of {least}", node)
    return list(operand.value)


def _scalar(node: Node) -> str:
    found = text(node)
    return found if found is not None else json_of(node)
