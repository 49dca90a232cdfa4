"""Values that are not known, and how they are shown."""

from pcapeda.rules.json_reader import Node, json_of, one_line
from pcapeda.rules.sources.source_tree import elements, member, text

UNKNOWN = "Fn::<unknown>"
"""A function of our own: it stands for a value that is not known, and says why."""


def as_written(node: Node | None) -> str:
    """How a reference that is not known is shown: `${Logical.Attribute}`, or the function as it is written."""
    for name in ("Ref", "Fn::Sub", "Fn::ImportValue"):
        found = text(member(node, name))
        if found:
            return one_line(found if name == "Fn::Sub" else f"${{{found}}}", 256)
    operand = member(node, "Fn::GetAtt")
    parts = [text(operand) or ""] if operand is not None and operand.kind == "string" else []
    parts += [text(part) or "" for part in elements(operand)]
    if parts:
        return one_line(f"${{{'.'.join(parts)}}}", 256)
    return one_line(text(node) or json_of(node), 256) if node is not None else ""


def unknown(reason: str, node: Node) -> Node:
    """A value that is not known, in the form of a function that only says why."""
    parts = [Node("string", reason), Node("string", text(node) or "")]
    return Node("object", [(UNKNOWN, Node("array", parts))], node.at)


def why_unknown(node: Node | None) -> str:
    """Why a value is not known; empty for one that is."""
    return text(next(iter(elements(member(node, UNKNOWN))), None)) or ""
