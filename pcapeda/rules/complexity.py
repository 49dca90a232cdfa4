"""How hard a field's wildcards are: the measure by which EventBridge refuses patterns.

Take each wildcard with its quotes on, and all its prefixes. The complexity of a field is the largest number of those
prefixes that one and the same string can match. `abc*` has 2, `*abc*` 3, `*:*:*:*` 7, `*aaaaaaaaaa` 11. Wildcards on
the same field add up, over all alternatives of the pattern; in one anything-but list, equal prefixes count once.

The service accepts 7 and refuses 11; its threshold is not published. 10 is the one its engine's documentation uses.
"""

import itertools
from collections.abc import Sequence

MAX_COMPLEXITY = 10

_STAR = -1
_MOST_SETS = 20_000

State = tuple[int, int]  # a wildcard's index, and how many of its elements were read


class _Wildcards:
    """Wildcards as automata over UTF-8 bytes: a state is a prefix read so far, a star stays once it is reached."""

    def __init__(self, groups: Sequence[Sequence[Sequence[str]]]) -> None:
        self.elements: list[list[int]] = []
        self.heads: list[bytes] = []
        self._names: list[list[int]] = []
        numbers = itertools.count(1)
        for group in groups:
            known: dict[State, int] = {}  # prefixes of this group, by the name of the shorter one and the last element
            for pieces in group:
                literals = [piece.encode("utf-8", "replace") for piece in pieces]
                literals[0] = b'"' + literals[0]
                literals[-1] += b'"'
                elements = list(literals[0])
                for literal in literals[1:]:
                    elements += [_STAR, *literal]
                names = [0]
                for element in elements:
                    step = (names[-1], element)
                    if step not in known:
                        known[step] = next(numbers)
                    names.append(known[step])
                self.elements.append(elements)
                self.heads.append(literals[0])
                self._names.append(names)

    def settle(self, states: set[State]) -> set[State]:
        """Add what is reached without reading: a star may stand for nothing."""
        for index, at in list(states):
            if at < len(self.elements[index]) and self.elements[index][at] == _STAR:
                states.add((index, at + 1))
        return states

    def step(self, states: frozenset[State] | set[State], byte: int) -> set[State]:
        after: set[State] = set()
        for index, at in states:
            elements = self.elements[index]
            if at and elements[at - 1] == _STAR:
                after.add((index, at))
            if at < len(elements) and elements[at] == byte:
                after.add((index, at + 1))
        return self.settle(after)

    def count(self, states: frozenset[State] | set[State]) -> int:
        return len({self._names[index][at] for index, at in states if at})


def complexity(groups: Sequence[Sequence[Sequence[str]]], most: int = MAX_COMPLEXITY) -> int:
    """The complexity of one field; anything over `most` counts as `most + 1`.

    `groups` holds one item per distinct alternative: the wildcards in it (one, or a whole anything-but list), each as
    its literal pieces between the stars.
    """
    machine = _Wildcards(groups)
    worst = 0
    every = range(len(machine.heads))
    # strings that begin some wildcard: until its first star nothing but its own text can be read
    for head in {machine.heads[index] for index in every}:
        states = machine.settle({(index, 0) for index in every})
        for byte in head:
            states = machine.step(states, byte)
            worst = max(worst, machine.count(states))
            if worst > most:
                return most + 1
    # strings after the first stars: any star further on can be reached by adding text, and reaching more never counts
    # less, so it is enough to search from where all of them are reached
    for head in {machine.heads[index] for index in every}:
        stars = {
            (index, at + 1)
            for index in every
            if head.startswith(machine.heads[index])
            for at, element in enumerate(machine.elements[index])
            if element == _STAR
        }
        worst = max(worst, _search(machine, frozenset(stars), most))
        if worst > most:
            return most + 1
    return worst


def _search(machine: _Wildcards, start: frozenset[State], most: int) -> int:
    seen, todo, worst = {start}, [start], 0
    while todo:
        states = todo.pop()
        worst = max(worst, machine.count(states))
        if worst > most or len(seen) > _MOST_SETS:
            return worst
        offered = {machine.elements[index][at] for index, at in states if at < len(machine.elements[index])}
        for byte in offered - {_STAR}:
            after = frozenset(machine.step(states, byte))
            if after not in seen:
                seen.add(after)
                todo.append(after)
    return worst
