"""Many rules at once: as one rule after the other would answer, for about the price of one.

Each alternative of each rule has a bit. For every path that occurs in some rule there is an index from the values to
the bits of those that a value satisfies; an event's answer is the AND over the paths of what its leaves satisfy there,
with the bits of those that do not ask for the path. Exact values, prefixes and suffixes by length, address blocks by
their bits and numeric ranges by their bounds are looked up; what is left is tried one by one, equal ones once. Answers
for values seen lately are kept.

Leaves from different elements of an array must not be combined (see `leaves`): for events with such leaves the index
only says which alternatives can match, and those are then looked at one by one.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable
from itertools import accumulate
from operator import xor

from pcapeda.rules.fields import Alternative
from pcapeda.rules.leaves import Finder, Trail, consistent
from pcapeda.rules.pattern import Event, opened
from pcapeda.rules.rule import Rule
from pcapeda.rules.values import Leaf, Test, address

_REMEMBERED = 8192
_LONGEST_REMEMBERED = 256
_MOST_RANGE_BITS = 200_000_000


class RuleSet:
    """Rules compiled together. Those that cannot select anything (see `Rule.silent`) are kept, but do not match."""

    def __init__(self, rules: Iterable[Rule], bus: str | None = None) -> None:
        self.rules = tuple(rules)
        self._owners: list[int] = []
        self._alternatives: list[Alternative] = []
        for index, rule in enumerate(self.rules):
            if rule.pattern is not None and not rule.silent(bus):
                self._alternatives += rule.pattern.alternatives
                self._owners += [index] * len(rule.pattern.alternatives)
        fields: dict[str, list[tuple[tuple[Test, ...], int]]] = {}
        for bit, one in enumerate(self._alternatives):
            for each in one.fields:
                fields.setdefault(each.path, []).append((each.tests, 1 << bit))
        self._all = (1 << len(self._alternatives)) - 1
        self._finder = Finder(list(fields))
        self._numbers = {path: number for number, path in enumerate(fields)}
        self._indexes = [_Index(asked, self._all) for asked in fields.values()]
        self._without = [(number, index.free | index.absent) for number, index in enumerate(self._indexes)]

    def match(self, event: Event) -> list[Rule]:
        """The rules that the event matches, in the order they were given. Raises `BadEvent`."""
        bits = self._all
        indexes = self._indexes
        satisfied: dict[int, int] = {}
        nested = False
        found = self._finder.find(opened(event))
        for number, value, trail in found:
            if trail:
                nested = True
            index = indexes[number]
            known = index.known.get(value)
            if known is None:
                known = index.look_up(value)
            satisfied[number] = satisfied.get(number, index.free) | known
        for number, here in satisfied.items():
            bits &= here | indexes[number].absent if nested else here
        if not bits:
            return []
        for number, here in self._without:
            if number not in satisfied:
                bits &= here
        if not bits:
            return []
        if nested:
            bits = self._agreeing(bits, found)
        owners = dict.fromkeys(self._owners[bit] for bit in _positions(bits))
        return [self.rules[owner] for owner in owners]

    def _agreeing(self, bits: int, found: list[tuple[int, Leaf, Trail]]) -> int:
        """Of the alternatives that can match, those for which the leaves agree about array elements."""
        there: dict[int, list[tuple[Leaf, Trail]]] = {}
        for number, value, trail in found:
            there.setdefault(number, []).append((value, trail))
        agreeing = 0
        for bit in _positions(bits):
            fields = self._alternatives[bit].fields
            if consistent([(each.tests, there.get(self._numbers[each.path], [])) for each in fields]):
                agreeing |= 1 << bit
        return agreeing


def _positions(bits: int) -> Iterable[int]:
    while bits:
        lowest = bits & -bits
        yield lowest.bit_length() - 1
        bits ^= lowest


_Tried = list[tuple[str, Callable[[Leaf], bool], int]]
"""Tests tried one by one: text that must occur in a string before it is worth the call, the test, and its bits."""


class _Index:
    """The alternatives that ask for one path, by what satisfies them."""

    def __init__(self, asked: list[tuple[tuple[Test, ...], int]], everyone: int) -> None:
        self.free = everyone
        """Those that do not ask for the path."""
        self.absent = 0
        """Those that accept that nothing is there."""
        self.known: dict[Leaf, int] = {}
        """What values seen lately satisfy."""
        self._always = 0
        self._exact: dict[Leaf, int] = {}
        self._addresses: dict[str, int] = {}
        self._prefixes: dict[int, dict[str, int]] = {}
        self._suffixes: dict[int, dict[str, int]] = {}
        self._folded: dict[str, int] = {}
        self._folded_prefixes: dict[int, dict[str, int]] = {}
        self._folded_suffixes: dict[int, dict[str, int]] = {}
        self._wildcards: dict[int, dict[str, _Tried]] = {}
        self._blocks: dict[tuple[int, int], dict[int, int]] = {}
        self._tried: _Tried = []
        self._others = 0
        self._excluded: dict[Leaf, int] = {}
        tests: dict[str, tuple[Test, int]] = {}
        for wanted, bit in asked:
            self.free &= ~bit
            exclusions = [test for test in wanted if test.kind == "anything-but"]
            for test in wanted:
                # exclusions are looked up by what they refuse; two in one array would need a bit each
                if test.kind == "anything-but" and len(exclusions) == 1:
                    self._others |= bit
                    for value in test.operand:
                        self._excluded[value] = self._excluded.get(value, 0) | bit
                else:
                    tests[test.shown] = test, tests.get(test.shown, (test, 0))[1] | bit
        ranges = []
        for test, bits in tests.values():
            if test.kind == "numeric":
                ranges.append((test, bits))
            else:
                self._add(test, bits)
        self._bounds, self._between = self._ranges(ranges)
        self._steps = self._string_steps()

    def _add(self, test: Test, bits: int) -> None:
        kind, operand = test.kind, test.operand
        if kind == "absent":
            self.absent |= bits
        elif kind == "exists":
            self._always |= bits
        elif kind in ("string", "number", "word"):
            self._exact[operand] = self._exact.get(operand, 0) | bits
        elif kind == "ip":
            self._addresses[operand] = self._addresses.get(operand, 0) | bits
        elif kind == "prefix" and not operand.endswith('"'):
            _put(self._prefixes, operand, bits)
        elif kind == "suffix" and not operand.startswith('"'):
            _put(self._suffixes, operand, bits)
        elif kind == "equals-ignore-case" and operand is not None:
            self._folded[operand] = self._folded.get(operand, 0) | bits
        elif kind == "prefix-ignore-case" and operand.isascii() and not operand.endswith('"'):
            _put(self._folded_prefixes, operand.lower(), bits)
        elif kind == "suffix-ignore-case" and operand.isascii() and not operand.startswith('"'):
            _put(self._folded_suffixes, operand.lower(), bits)
        elif kind == "wildcard" and operand[0]:
            tried = self._wildcards.setdefault(len(operand[0]), {}).setdefault(operand[0], [])
            tried.append((max(operand, key=len), test.accepts, bits))
        elif kind == "cidr":
            width = 4 * len(operand.first)
            blocks = self._blocks.setdefault((width, operand.bits), {})
            start = int(operand.first, 16) >> (width - operand.bits)
            blocks[start] = blocks.get(start, 0) | bits
        else:
            self._tried.append((max(operand, key=len) if kind == "wildcard" else "", test.accepts, bits))

    def _ranges(self, ranges: list[tuple[Test, int]]) -> tuple[list[float], list[int]]:
        """Numeric ranges cut at all their bounds: the bounds, and what is satisfied below the first one, at it,
        between it and the second one, and so on."""
        bounds = sorted({bound for test, _ in ranges for bound in test.operand[::2] if bound is not None})
        if 2 * len(bounds) * self.free.bit_length() > _MOST_RANGE_BITS:
            bounds = []
        once = twice = 0
        for _, bits in ranges:
            once, twice = once | bits, twice | (once & bits)
        changes = [0] * (2 * len(bounds) + 2)
        for test, bits in ranges:
            low, low_out, high, high_out = test.operand
            # sweeping over the places adds and removes bits, so a bit may only come from one range
            alone = bits & ~twice if bounds else 0
            if bits != alone:
                self._tried.append(("", test.accepts, bits & ~alone))
            changes[0 if low is None else 2 * bisect_left(bounds, low) + 1 + low_out] ^= alone
            changes[-1 if high is None else 2 * bisect_left(bounds, high) + 2 - high_out] ^= alone
        return bounds, list(accumulate(changes, xor))

    def look_up(self, value: Leaf) -> int:
        """The bits of the alternatives that a leaf satisfies here; remembered."""
        bits = self._always | self._exact.get(value, 0) | (self._others & ~self._excluded.get(value, 0))
        if isinstance(value, str):
            for step in self._steps:
                bits |= step(value)
            if len(value) > _LONGEST_REMEMBERED:
                return bits | self._try(value)
        elif self._bounds and isinstance(value, int | float):
            place = bisect_left(self._bounds, value)
            exact = place < len(self._bounds) and self._bounds[place] == value
            bits |= self._between[2 * place + exact]
        if self._tried:
            bits |= self._try(value)
        if len(self.known) >= _REMEMBERED:
            self.known.clear()
        self.known[value] = bits
        return bits

    def _try(self, value: Leaf) -> int:
        bits = 0
        text = value if isinstance(value, str) else ""
        for needle, accepts, those in self._tried:
            if needle in text and accepts(value):
                bits |= those
        return bits

    def _string_steps(self) -> list[Callable[[str], int]]:
        """What there is to look a string up in: most paths have little of it."""
        steps: list[Callable[[str], int]] = []
        for length, known in self._prefixes.items():
            steps.append(lambda value, length=length, known=known: known.get(value[:length], 0))  # type: ignore[misc]
        for length, known in self._suffixes.items():
            steps.append(lambda value, length=length, known=known: known.get(value[-length:] if length else "", 0))  # type: ignore[misc]
        if self._folded or self._folded_prefixes or self._folded_suffixes:
            steps.append(self._fold)
        if self._wildcards:
            steps.append(self._wildcard)
        if self._blocks or self._addresses:
            steps.append(self._address)
        return steps

    def _fold(self, value: str) -> int:
        """Patterns in ASCII that ignore case: they accept ASCII only, as far as they reach (and `lower` may turn other
        letters into ASCII ones)."""
        bits = self._folded.get(value.lower(), 0) if value.isascii() else 0
        for length, known in self._folded_prefixes.items():
            part = value[:length]
            bits |= known.get(part.lower(), 0) if part.isascii() else 0
        for length, known in self._folded_suffixes.items():
            part = value[-length:] if length else ""
            bits |= known.get(part.lower(), 0) if part.isascii() else 0
        return bits

    def _wildcard(self, value: str) -> int:
        bits = 0
        for length, heads in self._wildcards.items():
            for needle, accepts, those in heads.get(value[:length], ()):
                if needle in value and accepts(value):
                    bits |= those
        return bits

    def _address(self, value: str) -> int:
        digits = address(value)
        if digits is None:
            return 0
        # addresses are compared by their leading digits, whatever the families
        bits = self._addresses.get(digits, 0) | self._addresses.get(digits[:8], 0)
        width, number = 4 * len(digits), int(digits, 16)
        for (block_width, mask_bits), blocks in self._blocks.items():
            if mask_bits > width:
                continue
            start = number >> (width - mask_bits)
            those = blocks.get(start, 0)
            if those and width < block_width:  # an IPv4 value must be off the borders of an IPv6 block
                hosts = (1 << (width - mask_bits)) - 1
                those = those if 0 < number & hosts < hosts else 0
            bits |= those
        return bits


def _put(table: dict[int, dict[str, int]], text: str, bits: int) -> None:
    known = table.setdefault(len(text), {})
    known[text] = known.get(text, 0) | bits
