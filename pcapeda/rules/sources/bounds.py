"""Bounds of memory and time for what is resolved: steps, characters, depth. All of them count, none of them waits."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from pcapeda.rules.json_reader import Node
from pcapeda.rules.pattern import MAX_TEXT
from pcapeda.rules.sources.diagnostics import Unresolved
from pcapeda.rules.sources.source_tree import member, text

MAX_STEPS = 200_000
"""Values that are made for one source."""
LONGEST = 64 * MAX_TEXT
"""Characters of one text: a pattern of `MAX_TEXT` characters with as much white space as is read."""
MAX_MADE = 512 * MAX_TEXT
"""Characters of all texts that are made for one source: a template has at most 500 resources, and 1 MB of text."""
MAX_DEPTH = 100


class Bounds:
    """What is left of each."""

    def __init__(self) -> None:
        self._steps, self._made, self._depth = MAX_STEPS, MAX_MADE, 0

    def spend(self, steps: int, node: Node) -> None:
        """Count values that are made. Raises `Unresolved`, as all here, when it is too much."""
        self._steps -= steps
        if self._steps < 0:
            raise Unresolved(f"more than {MAX_STEPS:,} values to resolve", node)

    @contextmanager
    def deeper(self, node: Node) -> Iterator[None]:
        """One level deeper, for as long as the context lasts."""
        self._depth += 1
        try:
            if self._depth > MAX_DEPTH:
                raise Unresolved("nested too deep, or defined by itself", node)
            yield
        finally:
            self._depth -= 1

    def joined(self, parts: Iterable[str], node: Node) -> str:
        """The parts as one text, never longer than a text may be: what would come after is not even made."""
        pieces, length = [], 0
        for part in parts:
            length += len(part)
            self._made -= len(part)
            if length > LONGEST:
                raise Unresolved(f"a text longer than {LONGEST:,} characters, the most that a pattern can have", node)
            if self._made < 0:
                raise Unresolved(f"more than {MAX_MADE:,} characters of text to make", node)
            pieces.append(part)
        return "".join(pieces)

    def bound(self, node: Node, name: str, value: str) -> Node:
        """A loop's body with its identifier replaced: `${Name}` in keys and texts, `&{Name}` without punctuation."""
        form = re.compile(r"([$&])\{" + re.escape(name) + r"\}")
        plain = re.sub(r"[^A-Za-z0-9]", "", value)

        def pieces(written: str) -> Iterator[str]:
            end = 0
            for found in form.finditer(written):
                yield written[end : found.start()]
                yield value if found.group(1) == "$" else plain
                end = found.end()
            yield written[end:]

        def inside(node: Node) -> Node:
            self.spend(1, node)
            with self.deeper(node):
                if node.kind == "array":
                    return Node("array", [inside(inner) for inner in node.value], node.at)
                if node.kind == "object":
                    if len(node.value) == 1 and text(member(node, "Ref")) == name:
                        return Node("string", value, node.at)
                    pairs = [(self.joined(pieces(key), node), inside(inner)) for key, inner in node.value]
                    return Node("object", pairs, node.at)
                return node._replace(value=self.joined(pieces(node.value), node)) if node.kind == "string" else node

        return inside(node)
