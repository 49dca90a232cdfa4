"""Why a pattern matched an event, or which of its fields failed and by how little.

A pattern with `$or` is explained by the alternative that came nearest: the one with the fewest failed fields, then the
one whose misses are smallest. Fields that each hold somewhere in an array, but in no single element together, are
explained by the element that came nearest.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from difflib import SequenceMatcher, get_close_matches
from typing import Any
from unicodedata import normalize

from pcapeda.rules.fields import Alternative, Field
from pcapeda.rules.flatten import Trail, consistent
from pcapeda.rules.json_reader import Pairs, RawNumber, is_sequence
from pcapeda.rules.matchers import Leaf, Test, Word, address, show
from pcapeda.safety.visible import visible

MOST_VALUES = 5
"""Values of a field that are shown, before the rest is only counted."""
LONGEST = 80
"""Characters of a value that are shown."""
_MOST_NAMES = 2000
_MOST_COMPARED = 20
_MOST_TRIES = 200

There = Mapping[str, Sequence[tuple[Leaf, Trail]]]


@dataclass(frozen=True)
class Part:
    """One field of a pattern and what the event has there."""

    path: str
    wanted: str
    """The field's array, as JSON."""
    holds: bool
    had: tuple[str, ...] = ()
    """The values in the event, as JSON; the first few."""
    more: int = 0
    """How many values beyond `had`."""
    by: str | None = None
    """Where it holds: the alternative that was satisfied, as JSON."""
    note: str = ""
    """Where it fails: what is different, in words."""
    near: tuple[str, ...] = ()
    """Where the field is absent: names in the event that look alike."""
    distance: float = 0.0
    """How far off: 0 holds, 1 could not be further."""

    def __str__(self) -> str:
        had = "absent" if not self.had else ", ".join(self.had) + (f" and {self.more:,} more" if self.more else "")
        if self.holds:
            return f"holds  {self.path}: {had}" + (f" satisfies {self.by}" if self.by and self.by != had else "")
        note = f": {self.note}" if self.note else ""
        return f"fails  {self.path}: wants {self.wanted}, the event has {had if self.had else 'no such field'}{note}"


@dataclass(frozen=True)
class Explanation:
    """The verdict on one event, field by field; failed fields first, nearest miss first."""

    matched: bool
    parts: tuple[Part, ...]
    branches: tuple[str, ...] = ()
    """The `$or` branches of the alternative that matched or came nearest."""
    alternatives: int = 1
    """How many alternatives the pattern has."""
    note: str = ""
    """Why fields that hold one by one do not hold together."""
    together: tuple[str, ...] = field(default=())
    """The paths that `note` speaks of."""

    @property
    def misses(self) -> tuple[Part, ...]:
        """The fields that failed, nearest first."""
        return tuple(part for part in self.parts if not part.holds)

    def data(self) -> dict[str, Any]:
        """The same as plain data, for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        where = f" (nearest of {self.alternatives} alternatives: {', '.join(self.branches)})" if self.branches else ""
        if self.matched:
            head = f"match (by {', '.join(self.branches)})" if self.branches else "match"
        elif self.note:
            head = f"no match: {self.note}{where}"
        else:
            head = f"no match: {len(self.misses)} of {len(self.parts)} fields failed{where}"
        return "\n".join([visible(head), *(f"  {visible(str(part))}" for part in self.parts)])


def explain(
    alternatives: Sequence[Alternative], there: There, event: Mapping[str, Any] | Pairs, arrays: Sequence[str]
) -> Explanation:
    """The explanation of one event. `there` holds the leaves at each path, `arrays` the path of each numbered array."""
    best: tuple[tuple[bool, int, float], Alternative, list[Part]] | None = None
    known: dict[tuple[str, int], Part] = {}  # alternatives share most of their fields
    for one in alternatives:
        if consistent([(each.tests, there[each.path]) for each in one.fields]):
            parts = [_held(each, leaves) for each, leaves in _witness(one, there)]
            return Explanation(True, tuple(parts), one.branches, len(alternatives))
        parts = []
        for each in one.fields:
            key = each.path, id(each.tests)
            if key not in known:
                known[key] = _part(each, there[each.path], event)
            parts.append(known[key])
        failed = [part for part in parts if not part.holds]
        rank = (bool(failed), len(failed), sum(part.distance for part in failed))
        if best is None or rank < best[0]:
            best = rank, one, parts
    assert best is not None  # a pattern has at least one alternative
    (some_failed, _, _), one, parts = best
    parts.sort(key=lambda part: (part.holds, part.distance))
    note, together = ("", ()) if some_failed else _apart(one, there, arrays)
    return Explanation(False, tuple(parts), one.branches, len(alternatives), note, together)


def _witness(one: Alternative, there: There) -> Iterator[tuple[Field, Sequence[tuple[Leaf, Trail]]]]:
    """For a matching alternative: each field with one leaf such that all of them agree."""
    fixed = {each.path: there[each.path] for each in one.fields}
    tries = _MOST_TRIES
    for each in one.fields:
        leaves = there[each.path]
        if any(trail for _, trail in leaves) and not any(test.kind == "absent" for test in each.tests):
            for candidate in leaves:
                if tries and any(test.accepts(candidate[0]) for test in each.tests):
                    tries -= 1
                    fixed[each.path] = [candidate]
                    if consistent([(other.tests, fixed[other.path]) for other in one.fields]):
                        break
                    fixed[each.path] = leaves
        yield each, fixed[each.path]


def _held(each: Field, leaves: Sequence[tuple[Leaf, Trail]]) -> Part:
    for value, _ in leaves:
        for test in each.tests:
            if test.accepts(value):
                return Part(each.path, each.wanted, True, (_short(value),), by=test.shown)
    absence = next((test.shown for test in each.tests if test.kind == "absent"), None)
    return Part(each.path, each.wanted, True, by=absence)


def _part(each: Field, leaves: Sequence[tuple[Leaf, Trail]], event: Mapping[str, Any] | Pairs) -> Part:
    absence = any(test.kind == "absent" for test in each.tests)
    if (absence and not leaves) or any(test.accepts(value) for value, _ in leaves for test in each.tests):
        return _held(each, leaves)
    if not leaves:
        return _absent(each, event)
    values = list(dict.fromkeys(value for value, _ in leaves))
    distance, note = min(_miss(value, test) for value in values[:_MOST_COMPARED] for test in each.tests)
    had = tuple(_short(value) for value in values[:MOST_VALUES])
    return Part(each.path, each.wanted, False, had, len(values) - len(had), note=note, distance=distance)


def _short(value: Leaf) -> str:
    text = show(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


# fields that are there


def _miss(value: Leaf, test: Test) -> tuple[float, str]:
    """How far a value is from an alternative it does not satisfy, and what the difference is."""
    if test.kind == "absent":
        return 0.8, "it must not be there" + (", and null is a value" if value is Word.NULL else "")
    if test.kind.startswith("anything-but"):
        return 0.5, "it is one of those excluded"
    if test.kind in ("number", "numeric"):
        return _miss_number(value, test)
    if test.kind == "word":
        return _miss_word(value, test)
    if not isinstance(value, str):
        if test.kind == "string" and show(value) == test.operand:
            return 0.05, f"{_type(value)}, not a string"
        return 0.7, f"{_type(value)}, not a string"
    if test.kind in ("ip", "cidr"):
        return (0.6, "not an address") if address(value) is None else (0.4, "another address")
    return _miss_string(value, test)


def _miss_number(value: Leaf, test: Test) -> tuple[float, str]:
    if isinstance(value, str):
        try:
            close = test.accepts(float(value))
        except ValueError:
            close = False
        return (0.05 if close else 0.7), "a string, not a number"
    if isinstance(value, Word):
        return 0.7, f"{_type(value)}, not a number"
    if isinstance(value, RawNumber) or isinstance(test.operand, RawNumber):
        return 0.6, _beyond(value, test)
    bounds = [test.operand] if test.kind == "number" else [test.operand.low, test.operand.high]
    off = min(abs(value - bound) / (abs(value) + abs(bound) + 1) for bound in bounds if bound is not None)
    return 0.1 + 0.4 * min(off, 1), "" if test.kind == "number" else "out of range"


def _beyond(value: Leaf, test: Test) -> str:
    """Which number it is that no double holds, and what that means."""
    theirs, mine = isinstance(value, RawNumber), isinstance(test.operand, RawNumber)
    whose = "either number" if theirs and mine else "the pattern's number" if mine else "the event's number"
    if test.kind == "numeric":
        return f"no double is exactly {whose}, and such numbers are in no range"
    return f"no double is exactly {whose}: such numbers match only where they are written with the same digits"


def _miss_word(value: Leaf, test: Test) -> tuple[float, str]:
    if isinstance(value, str) and value == test.operand.value:
        return 0.05, f"a string, not {test.operand.value}"
    return 0.6, "" if isinstance(value, Word) else f"{_type(value)}, not {test.operand.value}"


def _miss_string(value: str, test: Test) -> tuple[float, str]:
    operand = test.operand if isinstance(test.operand, str) else ""
    if isinstance(test.operand, tuple):  # a wildcard's pieces
        operand = "".join(test.operand)
        return 0.1 + 0.5 * _unlike(value, operand), "the wildcard does not fit"
    if not value:
        return 0.6, "it is empty"
    if test.kind.startswith("prefix"):
        start = value[: len(operand)]
        if start.lower() == operand.lower():
            return 0.05, "begins so, but in another case"
        return 0.1 + 0.5 * _unlike(start, operand), f"begins with {show(_cut(start))}"
    if test.kind.startswith("suffix"):
        end = value[-len(operand) :]
        if end.lower() == operand.lower():
            return 0.05, "ends so, but in another case"
        return 0.1 + 0.5 * _unlike(end, operand), f"ends with {show(_cut(end))}"
    if value.lower() == operand.lower():
        return 0.05, "differs only in case"
    if value.strip() == operand.strip():
        return 0.05, "differs only in white space"
    if value.casefold() == operand.casefold():
        return 0.05, "differs only in case, of letters whose case is not ignored"
    if max(len(value), len(operand)) <= 1000 and normalize("NFC", value) == normalize("NFC", operand):
        return 0.05, "looks the same, but is written with other characters (Unicode normalisation)"
    return 0.1 + 0.5 * _unlike(value, operand), ""


def _cut(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:39]}…"


def _unlike(one: str, other: str) -> float:
    return 1 - SequenceMatcher(None, one[:200], other[:200]).ratio()


def _type(value: Leaf) -> str:
    if isinstance(value, Word):
        return value.value
    return "a string" if isinstance(value, str) else "a number"


# fields that are not


def _absent(each: Field, event: Mapping[str, Any] | Pairs) -> Part:
    inner, names = _names(event, each.path)
    if inner:
        return Part(each.path, each.wanted, False, note=inner, distance=0.6)
    if each.path in names:
        note = "it is there under an empty name, which EventBridge does not look into for this pattern"
        return Part(each.path, each.wanted, False, note=note, distance=0.6)
    above = next((name for name in names if each.path.startswith(f"{name}.")), None)
    if above is not None:
        note = f"{above} is a value there, not an object: it has no members"
        return Part(each.path, each.wanted, False, note=note, near=(above,), distance=0.6)
    folded = each.path.casefold()
    cased = [name for name in names if name.casefold() == folded]
    if cased:
        note = f"{', '.join(cased[:3])} is there: names are case-sensitive"
        return Part(each.path, each.wanted, False, note=note, near=tuple(cased[:3]), distance=0.3)
    close = get_close_matches(each.path, names, n=2, cutoff=0.85)
    last = each.path.rpartition(".")[2].casefold()
    close += [name for name in names if name.rpartition(".")[2].casefold() == last and name not in close]
    if close:
        note = f"did it mean {' or '.join(close[:3])}?"
        return Part(each.path, each.wanted, False, note=note, near=tuple(close[:3]), distance=0.6)
    return Part(each.path, each.wanted, False, distance=0.9)


def _names(event: Mapping[str, Any] | Pairs, path: str) -> tuple[str, list[str]]:
    """What stands at `path` if it is no leaf, in words; and the paths of the leaves of an event, as far as sensible."""
    names: dict[str, None] = {}
    todo: list[tuple[str | None, Any]] = [(None, event)]  # None: the event itself, which is no name, not even ""
    inner = ""
    while todo and len(names) < _MOST_NAMES:
        prefix, value = todo.pop()
        if isinstance(value, Mapping | Pairs):
            pairs = value if isinstance(value, Pairs) else value.items()
            if prefix == path:
                inner = "an object is there, and only values can be matched" if value else "an empty object is there"
            todo += ((str(key) if prefix is None else f"{prefix}.{key}", member) for key, member in pairs)
        elif is_sequence(value):
            if prefix == path and not value:
                inner = "an empty array is there"
            todo += ((prefix, member) for member in value[:_MOST_NAMES])
        elif prefix is not None:
            names[prefix] = None
    return inner, list(names)


# fields that do not hold together


def _apart(one: Alternative, there: There, arrays: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """Each field holds somewhere, but no choice agrees: which array keeps them apart, and which element is nearest."""
    holding: dict[int, dict[int, set[str]]] = {}  # by array and element, the paths that hold in it
    confined: dict[int, set[str]] = {}  # by array, the paths that hold nowhere else
    for each in one.fields:
        trails = [trail for value, trail in there[each.path] if any(test.accepts(value) for test in each.tests)]
        for trail in trails:
            for array, element in trail:
                holding.setdefault(array, {}).setdefault(element, set()).add(each.path)
        occurrences = Counter(array for trail in trails for array, _ in trail)  # at most once in a trail
        for array, count in occurrences.items():
            if count == len(trails):
                confined.setdefault(array, set()).add(each.path)
    for array, elements in sorted(holding.items()):
        must = confined.get(array, set())
        element, nearest = max(elements.items(), key=lambda item: len(item[1] & must))
        if must - nearest:
            name = arrays[array]
            note = (
                f"no single element of {name} holds {_listed(must)}; nearest is {name}[{element}], "
                f"which lacks {_listed(must - nearest)}"
            )
            return note, tuple(sorted(must))
    paths = sorted(each.path for each in one.fields)
    return "each field holds, but not in the same elements of the arrays", tuple(paths)


def _listed(paths: set[str]) -> str:
    return " and ".join(sorted(paths))
