"""Where a pattern's paths lead in an event, and which leaves of it may be taken together.

**Paths.** Pattern and event are flattened to dotted paths, and a dot inside a key is the same as nesting: `{"a":
{"b": 1}}` and `{"a.b": 1}` are one path. Array structure leaves the path: each element contributes its leaves at the
array's own path. `{}` and `[]` contribute none, so nothing exists there; `null` is a leaf.

**Empty names.** An event's path is its keys joined by dots, empty keys too: the value in `{"": {"a": 1}}` is at `.a`,
that in `{"a": {"": 1}}` at `a.`. The engine looks only into keys that occur between the dots of some path of the
pattern, and does not count what is empty at a path's end: the pattern `{"a": {"": [1]}}` accepts `{"a.": 1}`, but
`{"a": {"": 1}}` only if another path of it has an empty name elsewhere. (Empty keys of patterns: see `pattern`.)

**Array consistency.** Two leaves may not come from different elements of the same array. Each leaf carries a trail: for
each array around it (from the outside) which array and which element. Only objects and arrays in an array add to the
trail, so plain scalars side by side never exclude each other. A rule matches if one satisfying leaf per path can be
chosen such that no array occurs with two elements. Paths are taken in ascending order (by UTF-16 units), and
`{"exists": false}` asks for no leaf that agrees with the elements chosen *so far*.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pcapeda.errors import BadEvent
from pcapeda.rules.json_reader import Pairs, is_sequence, text_of
from pcapeda.rules.matchers import EXACT_INTEGERS, Leaf, Test, Word, leaf

Trail = tuple[tuple[int, int], ...]
"""The array elements a leaf is in: (number of the array in this event, index), from the outermost."""

Found = tuple[int, Leaf, Trail]
"""A leaf: the number of its path, its value, its trail."""

_MANY_DOTS = 32
_FEW_KEYS = 16
_SCALARS = {str, int, float, bool, type(None)}
MAX_CHOICES = 1_000_000
"""Combinations of array elements looked at per rule and event, before the event is refused as hostile."""


class Step:
    """A place that some path of the patterns goes through; `number` is that of the path that ends here, or -1."""

    __slots__ = ("children", "empty", "names", "number", "prefix")

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.number = -1
        self.children: dict[str, Step] = {}
        """Where each key leads on."""
        self.names: dict[str, Step] | None = None
        """All places by their paths, instead: see `Finder._add`."""
        self.empty = True
        """Whether an empty key leads on."""

    def named(self, key: str) -> "Step | None":
        return self.names.get(f"{self.prefix}{key}.") if self.names is not None and (key or self.empty) else None


class _Asked:
    """What to ask a plain object for, at one place: if it is little, that takes less than to look at all members."""

    __slots__ = ("_dotted", "_inner", "_leaves", "_many", "_strange")

    def __init__(self, step: Step) -> None:
        self._strange = step.names is not None
        self._dotted = frozenset(key for key in step.children if "." in key)
        plain = [(key, child) for key, child in step.children.items() if "." not in key]
        self._leaves = [(key, child.number) for key, child in plain if child.number >= 0]
        self._inner = [(key, _Asked(child)) for key, child in plain if child.children or child.names]
        self._many = dict(self._leaves) if len(self._leaves) > _FEW_KEYS else None

    def answer(self, members: dict[str, Any], found: dict[int, Leaf], floats: bool) -> bool:
        """Put the leaves into `found`; false if the object is not plain."""
        if self._strange or (self._dotted and not self._dotted.isdisjoint(members)):
            return False
        leaves = self._leaves
        if self._many is not None:
            leaves = [(key, self._many[key]) for key in members if key in self._many]
        for key, number in leaves:
            value: Any = members.get(key)
            kind = value.__class__
            if (kind is str and value.isascii()) or (kind is int and -EXACT_INTEGERS <= value <= EXACT_INTEGERS):
                found[number] = value
            elif value is None:
                if key in members:
                    found[number] = Word.NULL
            elif kind is str or kind is bool or kind is int or (kind is float and floats):
                found[number] = leaf(value)
            elif kind is not dict and (kind is not list or value):
                return False
        return not self._inner or self._descend(members, found, floats)

    def _descend(self, members: dict[str, Any], found: dict[int, Leaf], floats: bool) -> bool:
        for key, inner in self._inner:
            value: Any = members.get(key)
            kind = value.__class__
            if kind is dict:
                if not inner.answer(value, found, floats):
                    return False
            elif kind not in _SCALARS and (kind is not list or value):
                return False
        return True


def _looks_into_empty(path: str) -> bool:
    """Whether the engine looks into empty keys for the sake of this path."""
    named = path.rstrip(".")
    return not path or (named != "" and "" in named.split("."))


class Finder:
    """Finds the leaves of an event at given paths; the n-th path has number n."""

    def __init__(self, paths: Sequence[str]) -> None:
        self.paths = tuple(paths)
        self._root = Step("")
        self._steps: dict[str, Step] = {"": self._root}
        self._empty = any(_looks_into_empty(path) for path in self.paths)
        edges: set[tuple[str, str]] = set()
        for index, path in enumerate(self.paths):
            self._add(path + ".", index, edges)
        for start, key in sorted(edges):
            self._steps[start].children[key] = self._steps[f"{start}{key}."]
        self._asked = _Asked(self._root)

    def _add(self, path: str, index: int, edges: set[tuple[str, str]]) -> None:
        # A key of the event may hold any number of the path's dots, so each pair of dots is an edge.
        stops = [0, *(at + 1 for at, char in enumerate(path) if char == ".")]
        for stop in stops[1:]:
            self._steps.setdefault(path[:stop], Step(path[:stop]))
        self._steps[path].number = index
        if len(stops) <= _MANY_DOTS:
            edges.update(
                (path[:start], path[start : stop - 1])
                for position, start in enumerate(stops)
                for stop in stops[position + 1 :]
                if self._empty or stop - start > 1
            )
        else:  # their number grows with the square: look such places up by name instead
            for stop in stops:
                step = self._steps[path[:stop]]
                step.names, step.empty = self._steps, self._empty

    def find(self, event: Mapping[str, Any] | Pairs, arrays: list[str] | None = None) -> list[Found]:
        """All leaves of `event` at the paths. `arrays` is filled with the path of each array, by its number."""
        found: list[Found] = []
        arrays = [] if arrays is None else arrays
        todo: list[tuple[Step, Any, Trail]] = [(self._root, event, ())]
        while todo:
            step, members, trail = todo.pop()
            follow = step.children.get if step.names is None else step.named
            for key, value in members if members.__class__ is Pairs else members.items():
                child = follow(key)
                if child is None:
                    continue
                kind = value.__class__
                if kind is str:
                    if child.number >= 0:
                        found.append((child.number, value if value.isascii() else text_of(value), trail))
                elif kind is Pairs or kind is dict:
                    todo.append((child, value, trail))
                elif kind is int:
                    if child.number >= 0:
                        found.append((child.number, leaf(value), trail))
                else:
                    self._other(child, value, trail, arrays, found, todo)
        return found

    def find_plain(self, event: dict[str, Any], *, floats: bool = True) -> dict[int, Leaf] | None:
        """The leaves of an event that has one at each path, by the numbers of the paths: in a third of the time.

        None for other events, which have arrays there or keys with dots; and for floats, if they are not to be trusted.
        """
        found: dict[int, Leaf] = {}
        return found if self._asked.answer(event, found, floats) else None

    def _other(
        self,
        step: Step,
        value: Any,
        trail: Trail,
        arrays: list[str],
        found: list[Found],
        todo: list[tuple[Step, Any, Trail]],
    ) -> None:
        if value.__class__ is dict or isinstance(value, Mapping | Pairs):
            todo.append((step, value, trail))
        elif value.__class__ is list or is_sequence(value):
            self._elements(step, value, trail, arrays, found, todo)
        elif step.number >= 0:
            found.append((step.number, leaf(value), trail))

    def _elements(
        self,
        step: Step,
        array: Any,
        trail: Trail,
        arrays: list[str],
        found: list[Found],
        todo: list[tuple[Step, Any, Trail]],
    ) -> None:
        """The leaves of an array and of the arrays in it."""
        pending: list[tuple[Any, Trail]] = [(array, trail)]
        while pending:
            elements, around = pending.pop()
            number = len(arrays)
            arrays.append(step.prefix[:-1])
            for index, value in enumerate(elements):
                if value.__class__ is dict or isinstance(value, Mapping | Pairs):
                    todo.append((step, value, (*around, (number, index))))
                elif value.__class__ is list or is_sequence(value):
                    pending.append((value, (*around, (number, index))))
                elif step.number >= 0:
                    found.append((step.number, leaf(value), around))


# choosing leaves


Choice = frozenset[tuple[int, int]]
"""Array elements decided on: (number of the array, index), at most one per array."""


class _Branch:
    """Leaves of one path by their trails: at each level, by array and element."""

    __slots__ = ("arrays", "here")

    def __init__(self) -> None:
        self.here = False
        self.arrays: dict[int, dict[int, _Branch]] = {}

    @classmethod
    def of(cls, trails: Iterable[Trail]) -> "_Branch":
        root = cls()
        for trail in trails:
            branch = root
            for array, index in trail:
                elements = branch.arrays.setdefault(array, {})
                if index not in elements:
                    elements[index] = cls()
                branch = elements[index]
            branch.here = True
        return root

    def agreeing(self, chosen: dict[int, int]) -> Iterable[Trail]:
        """The trails that contradict nothing chosen."""
        todo: list[tuple[_Branch, Trail]] = [(self, ())]
        while todo:
            branch, trail = todo.pop()
            if branch.here:
                yield trail
            for array, elements in branch.arrays.items():
                if array in chosen:
                    if chosen[array] in elements:
                        todo.append((elements[chosen[array]], (*trail, (array, chosen[array]))))
                else:
                    todo += ((inner, (*trail, (array, index))) for index, inner in elements.items())


def consistent(fields: Sequence[tuple[Sequence[Test], Sequence[tuple[Leaf, Trail]]]]) -> bool:
    """Whether one leaf per field, in the order of the fields, can be chosen together.

    A field is its alternatives and all leaves at its path; its `absent` alternative is satisfied by there being none
    that agrees with what was chosen before. Raises `BadEvent` when there are too many combinations to look at.
    """
    satisfying: list[_Branch] = []
    every: list[_Branch | None] = []
    weighed: list[set[Trail]] = []  # the trails a field may be decided by
    for tests, there in fields:
        accepted = {trail for value, trail in there if any(test.accepts(value) for test in tests)}
        satisfying.append(_Branch.of(accepted))
        if any(test.kind == "absent" for test in tests):
            weighed.append({trail for _, trail in there})
            every.append(_Branch.of(weighed[-1]))
        elif accepted:
            weighed.append(accepted)
            every.append(None)
        else:
            return False
    relevant = _relevant(weighed)

    def options(field: int, choice: Choice) -> Iterator[Choice]:
        chosen, leaves = dict(choice), every[field]
        if leaves is not None and next(iter(leaves.agreeing(chosen)), None) is None:
            yield _kept(choice, (), relevant[field])
        for trail in satisfying[field].agreeing(chosen):
            yield _kept(choice, trail, relevant[field])

    # depth first, so that what fits is found soon; a choice that led nowhere is not followed twice
    tried: set[tuple[int, Choice]] = set()
    open_fields = [options(0, frozenset())]
    for _ in range(MAX_CHOICES):
        choice = next(open_fields[-1], None)
        if choice is None:
            open_fields.pop()
            if not open_fields:
                return False
        elif len(open_fields) == len(fields):
            return True
        elif (step := (len(open_fields), choice)) not in tried:
            tried.add(step)
            open_fields.append(options(*step))
    raise BadEvent(f"event has more than {MAX_CHOICES:,} combinations of array elements to look at")


def _relevant(weighed: Sequence[set[Trail]]) -> list[dict[int, set[int]]]:
    """For each field, the arrays and elements that the leaves of the fields after it are in."""
    seen: dict[int, set[int]] = {}
    relevant: list[dict[int, set[int]]] = [{}]
    for trails in reversed(weighed[1:]):
        seen = {array: set(elements) for array, elements in seen.items()}
        for trail in trails:
            for array, element in trail:
                seen.setdefault(array, set()).add(element)
        relevant.append(seen)
    relevant.reverse()
    return relevant


def _kept(choice: Choice, trail: Trail, matter: dict[int, set[int]]) -> Choice:
    """The elements chosen, as far as later fields can tell: arrays they never enter are forgotten, and elements that
    hold none of their leaves are all alike (-1)."""
    return frozenset(
        (array, element if element in matter[array] else -1) for array, element in (*choice, *trail) if array in matter
    )
