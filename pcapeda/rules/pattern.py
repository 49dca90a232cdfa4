"""EventBridge's event-pattern language: compile once, match many times.

A pattern is a JSON object. Every leaf of it is a non-empty array of alternatives, of which one must hold; all fields
must hold; fields it does not name are ignored. What one value satisfies is in `matchers`, how operators are written in
`operators`, where paths lead and what arrays mean in `flatten`. Here is the rest:

- **`$or`** holds two or more objects, ANDed with its siblings. It is evaluated by expansion: the pattern becomes a list
  of alternatives, each a flat map from path to array, built in document order. Writing a path again replaces the
  earlier array in the alternatives that exist by then: `{"name": ["a"], "$or": [{"name": ["b"]}, {"c": ["x"]}]}` means
  name=b, or name=a and c=x. The lengths of all `$or` arrays multiply to at most 1,000. Operator names are refused as
  field names inside `$or`, and are ordinary names outside.
- **Empty keys**: a pattern's path is its keys joined by dots, but an empty one to begin with leaves no dot: `{"": {"a":
  [1]}}` asks for the path `a`, as `{"a": [1]}` does, while an event's `{"": {"a": 1}}` is at `.a` (see `flatten`).
- **Keys written twice**: of two arrays at the same path the last one counts; objects are merged.
- **Refused**: whatever the service refuses, with its words; over 4,096 characters (without insignificant white space),
  over 256 paths in an alternative, and wildcards that are too complex (see `complexity`).

Sources: the EventBridge User Guide ("Amazon EventBridge event patterns"), the engine (github.com/aws/event-ruler), and
answers of the service itself.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from pcapeda.errors import BadEvent, BadRule
from pcapeda.rules.complexity import MAX_COMPLEXITY, complexity
from pcapeda.rules.explain import Explanation, explain
from pcapeda.rules.fields import Alternative, Field
from pcapeda.rules.flatten import Finder, Trail, consistent
from pcapeda.rules.json_reader import (
    Malformed,
    Node,
    Pairs,
    decoded,
    json_of,
    node_of,
    one_line,
    parse,
    place,
    read_pairs,
)
from pcapeda.rules.matchers import Leaf, Test
from pcapeda.rules.operators import alternative

MAX_TEXT = 4096
"""Characters of a pattern that PutRule takes (botocore's service model; the quota for a bus starts at 2,048)."""
_MOST_READ = 64 * MAX_TEXT  # however much white space there is
MAX_COMBINATIONS = 1000
"""The product of the lengths of all `$or` arrays (EventBridge User Guide, 'Event pattern quotas')."""
MAX_PATHS = 256
"""Fields of one alternative (event-ruler, GenericMachine)."""

RESERVED = {
    *("exactly", "prefix", "suffix", "equals-ignore-case", "anything-but", "exists", "wildcard", "numeric", "cidr"),
    *("=", "<", "<=", ">", ">=", "regex", "not-wildcard", "not-equals-ignore-case"),
    *("date-after", "date-on-or-after", "date-before", "date-on-or-before", "in-date-range"),
    *("ip-address-in-range", "ip-address-not-in-range"),
}
"""Names that cannot be field names inside `$or`."""

Event = str | bytes | bytearray | Mapping[str, Any] | Pairs
"""An event: JSON text, or the object itself."""


class Pattern:
    """A compiled event pattern. Build it with `compile`; it never changes, and it pickles."""

    __slots__ = ("_finder", "_numbered", "alternatives", "notes", "paths", "size", "text")

    def __init__(self, text: str, size: int, alternatives: tuple[Alternative, ...], notes: tuple[str, ...]) -> None:
        self.text = text
        """The pattern as JSON: as it was given, or compact where it was given as data."""
        self.size = size
        """Its characters without insignificant white space."""
        self.alternatives = alternatives
        """What `$or` expands to: it matches where one of them does."""
        self.notes = notes
        """What compiled, but may not mean what it seems to: keys written twice, text that is ignored."""
        self.paths = tuple(sorted({field.path for one in alternatives for field in one.fields}, key=_utf16))
        self._finder = Finder(self.paths)
        numbers = {path: number for number, path in enumerate(self.paths)}
        self._numbered = [[(numbers[field.path], field.tests) for field in one.fields] for one in alternatives]

    @classmethod
    def compile(cls, source: "str | bytes | bytearray | Mapping[str, Any] | Pattern") -> "Pattern":
        """A pattern from JSON text (keys written twice have a meaning) or from data. Raises `BadRule`."""
        if isinstance(source, Pattern):
            return source
        text: str | None = None
        try:
            if not isinstance(source, str | bytes | bytearray):
                return cls.from_node(node_of(source))
            text = source if isinstance(source, str) else decoded(source)
            if len(text) > _MOST_READ:
                raise Malformed(f"it has {len(text):,} characters of {MAX_TEXT:,}")
            root, end = parse(text) if text.strip() else (Node("word", None, 0), 0)
            return cls.from_node(root, text, text[end:].strip(" \t\n\r"))
        except Malformed as error:
            where = f" ({place(text, error.at)})" if text is not None and error.at >= 0 else ""
            raise BadRule(f"{refusal(error)}{where}") from None

    @classmethod
    def from_node(cls, root: Node, text: str | None = None, rest: str = "") -> "Pattern":
        """A pattern from a tree that was read already; `rest` is what followed it in `text`. Raises `Malformed`."""
        compact = json_of(root)
        if len(compact) > MAX_TEXT:
            raise Malformed(f"it has {len(compact):,} characters of {MAX_TEXT:,}")
        compiler = _Compiler()
        try:
            alternatives = compiler.compile(root)
        except RecursionError:
            raise Malformed("it is nested too deep") from None
        notes = [*compiler.notes, "text after the closing brace is ignored"] if rest else compiler.notes
        return cls(compact if text is None else text, len(compact), alternatives, tuple(notes))

    def matches(self, event: Event) -> bool:
        """Whether the event matches. Raises `BadEvent` for what is no event."""
        there = self.leaves(event)
        nested = any(trail for leaves in there for _, trail in leaves)
        if nested:
            return any(consistent([(tests, there[number]) for number, tests in one]) for one in self._numbered)
        return any(all(_holds(tests, there[number]) for number, tests in one) for one in self._numbered)

    def leaves(self, event: Event) -> list[list[tuple[Leaf, Trail]]]:
        """For each of `paths`, the leaves that the event has there. Raises `BadEvent`."""
        there: list[list[tuple[Leaf, Trail]]] = [[] for _ in self.paths]
        for number, value, trail in self._finder.find(opened(event)):
            there[number].append((value, trail))
        return there

    def explain(self, event: Event) -> Explanation:
        """Why the event matches or does not, field by field. Raises `BadEvent`."""
        members, arrays = opened(event), list[str]()
        there: dict[str, list[tuple[Leaf, Trail]]] = {path: [] for path in self.paths}
        for number, value, trail in self._finder.find(members, arrays):
            there[self.paths[number]].append((value, trail))
        return explain(self.alternatives, there, members, arrays)

    def __reduce__(self) -> tuple[Any, ...]:
        return Pattern.compile, (self.text,)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pattern) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"Pattern.compile({self.text!r})"


def opened(event: Event) -> Mapping[str, Any] | Pairs:
    """An event as its members. Raises `BadEvent`."""
    if event.__class__ is dict or isinstance(event, Mapping | Pairs):
        return event
    if isinstance(event, str | bytes | bytearray):
        return read_pairs(event)
    raise BadEvent("event is not valid: it must be a JSON object")


def _holds(tests: tuple[Test, ...], there: list[tuple[Leaf, Trail]]) -> bool:
    if not there:
        return any(test.kind == "absent" for test in tests)
    return any(test.accepts(value) for value, _ in there for test in tests)


def _extended(steps: tuple[str, ...], key: str) -> str:
    """The path of a key in a pattern, as the engine joins it (event-ruler, Path.extendedName)."""
    base = ".".join(steps)
    return f"{base}.{key}" if base else key


def _utf16(path: str) -> bytes:
    """The order of paths: by UTF-16 units, as the engine compares them."""
    return path.encode("utf-16-be", "surrogatepass")


def refusal(error: Malformed) -> str:
    """Why a pattern was refused, in one line and in the service's words, with the path."""
    path = f" at {one_line(error.path, 200)}" if isinstance(error, _Refused) and error.path else ""
    return f"Event pattern is not valid. Reason: {one_line(error.reason, 300)}{path}"


class _Refused(Malformed):
    """Well-formed JSON that is no pattern: also says at which path."""

    def __init__(self, reason: str, at: int, path: str) -> None:
        super().__init__(reason, at)
        self.path = path


class _Draft(NamedTuple):
    """An alternative being built: its arrays by path, and the `$or` branches it went through."""

    arrays: dict[str, tuple[Test, ...]]
    branches: tuple[str, ...]


class _Compiler:
    """Walks a pattern in document order, as the engine does, and keeps what it notices on the way."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self._combinations = 1

    def compile(self, root: Node) -> tuple[Alternative, ...]:
        if root.kind != "object":
            raise Malformed("Filter is not an object", root.at)
        drafts: list[_Draft] = []
        self._object(root, (), drafts, inside_or=False)
        made = []
        for draft in drafts:
            if len(draft.arrays) > MAX_PATHS:
                raise Malformed(f"it has {len(draft.arrays)} fields of {MAX_PATHS}")
            ordered = sorted(draft.arrays.items(), key=lambda item: _utf16(item[0]))
            made.append(Alternative(draft.branches, tuple(Field(path, tests) for path, tests in ordered)))
        self._refuse_complex(made)
        return tuple(made)

    def _object(self, node: Node, steps: tuple[str, ...], drafts: list[_Draft], *, inside_or: bool) -> None:
        if not node.value:
            raise _Refused("Empty objects are not allowed", node.at, ".".join(steps))
        written: set[str] = set()
        for key, inner in node.value:
            if key == "$or":
                self._or(inner, steps, drafts)
                continue
            name = _extended(steps, key)
            if inside_or and key in RESERVED:
                raise _Refused(f"{key} is Ruler reserved fieldName which cannot be used inside $or.", inner.at, name)
            if inner.kind == "object":
                self._object(inner, (*steps, key), drafts, inside_or=inside_or)
            elif inner.kind == "array":
                tests = self._array(inner, name)
                if not all((*steps, key)):
                    self.notes.append(f'an empty name leaves the path "{one_line(name, 100)}" to be asked for')
                if not drafts:
                    drafts.append(_Draft({}, ()))
                if any(name in draft.arrays for draft in drafts):
                    self.notes.append(
                        f"{name} is written twice: the last one counts" if name in written
                        else f"{name} is written more than once: the later one replaces the earlier"
                    )  # fmt: skip
                written.add(name)
                for draft in drafts:
                    draft.arrays[name] = tests
            else:
                raise _Refused(f'"{key}" must be an object or an array', inner.at, name)

    def _array(self, node: Node, path: str) -> tuple[Test, ...]:
        if not node.value:
            raise _Refused("Empty arrays are not allowed", node.at, path)
        try:
            return tuple(alternative(inner) for inner in node.value)
        except Malformed as error:
            raise _Refused(error.reason, error.at, path) from None

    def _or(self, node: Node, steps: tuple[str, ...], drafts: list[_Draft]) -> None:
        path = ".".join((*steps, "$or"))
        if node.kind != "array":
            raise _Refused("It must be an Array followed with $or.", node.at, path)
        self._combinations *= max(1, len(node.value))
        if self._combinations > MAX_COMBINATIONS:
            raise _Refused(
                f"the $or arrays make {self._combinations:,} combinations of {MAX_COMBINATIONS:,}", node.at, path
            )
        before = drafts.copy() or [_Draft({}, ())]
        drafts.clear()
        for index, inner in enumerate(node.value):
            if inner.kind != "object":
                raise _Refused("Only JSON object is allowed in array of $or relationship.", inner.at, path)
            branch = [_Draft(dict(arrays), (*labels, f"{path}[{index}]")) for arrays, labels in before]
            self._object(inner, steps, branch, inside_or=True)
            drafts += branch
        if len(node.value) < 2:
            raise _Refused("There must have at least 2 Objects in $or relationship.", node.at, path)

    def _refuse_complex(self, alternatives: list[Alternative]) -> None:
        wildcards: dict[str, dict[str, list[tuple[str, ...]]]] = {}
        for one in alternatives:
            for field in one.fields:
                for test in field.tests:
                    if test.kind == "wildcard":
                        wildcards.setdefault(field.path, {})[test.shown] = [test.operand]
                    elif test.kind == "anything-but-wildcard":
                        wildcards.setdefault(field.path, {})[test.shown] = [inner.operand for inner in test.operand]
        for path, groups in wildcards.items():
            if complexity(list(groups.values())) > MAX_COMPLEXITY:
                raise _Refused(
                    "Rule is too complex - try using fewer wildcard characters or fewer repeating character sequences "
                    "after a wildcard character",
                    -1,
                    path,
                )
