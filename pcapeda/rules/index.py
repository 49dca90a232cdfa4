"""What a value at one path of the events satisfies, over many rules: looked up, not tried.

Exact values are in a dictionary. Prefixes, suffixes and the heads of wildcards are in sorted lists: one search finds
the longest that fits, which knows the shorter ones. Numeric ranges and address blocks are cut at all their bounds: one
search finds the place of a value between them. Of the wildcards that begin with a star, one regular expression finds
those whose longest piece occurs. What is left is tried one by one, equal ones once.
"""

import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from operator import add, or_, xor
from typing import Any, Generic, TypeVar

from pcapeda.rules.json_reader import RawNumber
from pcapeda.rules.matchers import Block, Leaf, Range, Test, Word, packed_address

_REMEMBERED = 8192
_LONGEST_REMEMBERED = 256
_MOST_SPAN_BITS = 200_000_000
_FEW_WILDCARDS = 8
_LONGEST_NEEDLE = 24
_MOST_FINDS = 64

_Tried = tuple[str, Callable[[Leaf], bool], int]
"""What is tried by itself: text that must occur in a string before it is worth the call, the test, and its bits."""
_Span = tuple[Any, bool, Any, bool]
"""A range of anything that has an order: see `matchers.Range`."""
_T = TypeVar("_T")


class Index:
    """For each value the bits of the alternatives that it satisfies, and of those that do not ask for the path."""

    def __init__(self, asked: Iterable[tuple[tuple[Test, ...], int]], everyone: int) -> None:
        self.deduplicated: dict[Leaf, int] = {}
        """The bits of the values that rules name, and of some thousand seen lately."""
        self.free = everyone
        """Those that do not ask for the path."""
        self.absent = 0
        """Those that accept that nothing is there."""
        always = anything = 0
        excluded: dict[Leaf, int] = {}
        tests: dict[str, tuple[Test, int]] = {}
        for wanted, bit in asked:
            self.free &= ~bit
            exclusions = [test for test in wanted if test.kind == "anything-but"]
            for test in wanted:
                # exclusions are looked up by what they refuse; two in one array would need a bit each
                if test.kind == "anything-but" and len(exclusions) == 1:
                    anything |= bit
                    for value in test.operand:
                        _put(excluded, value, bit)
                elif test.kind == "absent":
                    self.absent |= bit
                elif test.kind == "exists":
                    always |= bit
                else:
                    tests[test.shown] = test, tests.get(test.shown, (test, 0))[1] | bit
        tables = _Tables(everyone.bit_length())
        for test, bits in tests.values():
            tables.add(test, bits)
        self._other = self.free | always | anything
        self._ways = tables.finish()
        """By the class of a value: what else there is to look it up in."""
        self._named = {
            value: self._searched(value, (self._other & ~excluded.get(value, 0)) | always | tables.exact.get(value, 0))
            for value in (*tables.exact, *excluded)
        }
        self.deduplicated.update(self._named)

    def _searched(self, value: Leaf, bits: int) -> int:
        for way in self._ways.get(value.__class__, ()):
            bits |= way(value)
        return bits

    def of(self, value: Leaf) -> int:
        """The bits of a value."""
        bits = self.deduplicated.get(value)
        return self.look_up(value) if bits is None else bits

    def look_up(self, value: Leaf) -> int:
        """The bits of a value that is not known; then it is."""
        kind = value.__class__
        ways = self._ways.get(kind)
        if ways is None:
            return self._other
        bits = self._other
        for way in ways:
            bits |= way(value)
        if not isinstance(value, str) or len(value) <= _LONGEST_REMEMBERED:
            known = self.deduplicated
            if len(known) >= _REMEMBERED + len(self._named):
                known.clear()
                known.update(self._named)
            known[value] = bits
        return bits


class _Tables:
    """The tests of one path, sorted by how they are looked up; `width` is the number of bits there are."""

    def __init__(self, width: int) -> None:
        self.exact: dict[Leaf, int] = {}
        self._width = width
        self._prefixes: dict[str, int] = {}
        self._suffixes: dict[str, int] = {}
        self._folded: dict[str, int] = {}
        self._folded_prefixes: dict[str, int] = {}
        self._folded_suffixes: dict[str, int] = {}
        self._wildcards: list[tuple[Sequence[str], Test, int]] = []
        self._addresses: dict[str, int] = {}
        self._blocks: list[tuple[Test, int]] = []
        self._ranges: list[tuple[Test, int]] = []
        self._tried: list[_Tried] = []

    def add(self, test: Test, bits: int) -> None:
        """Put a test where it will be found. (Quotes: see `matchers`, the last habit.)"""
        kind, operand = test.kind, test.operand
        if kind in ("string", "number", "word"):
            _put(self.exact, operand, bits)
        elif kind == "ip":
            _put(self._addresses, operand, bits)
        elif kind == "prefix" and not operand.endswith('"'):
            _put(self._prefixes, operand, bits)
        elif kind == "suffix" and not operand.startswith('"'):
            _put(self._suffixes, operand[::-1], bits)
        elif kind == "equals-ignore-case" and operand is not None:
            _put(self._folded, operand, bits)
        elif kind == "prefix-ignore-case" and operand.isascii() and not operand.endswith('"'):
            _put(self._folded_prefixes, operand.lower(), bits)
        elif kind == "suffix-ignore-case" and operand.isascii() and not operand.startswith('"'):
            _put(self._folded_suffixes, operand.lower()[::-1], bits)
        elif kind == "wildcard":
            self._wildcard(operand, test, bits)
        elif kind == "cidr":
            self._blocks.append((test, bits))
        elif kind == "numeric":
            self._ranges.append((test, bits))
        else:
            self._tried.append(("", test.accepts, bits))

    def _wildcard(self, pieces: Sequence[str], test: Test, bits: int) -> None:
        if len(pieces) == 1:
            _put(self.exact, pieces[0], bits)
        elif len(pieces) == 2 and not pieces[1]:
            _put(self._prefixes, pieces[0], bits)
        elif len(pieces) == 2 and not pieces[0]:
            _put(self._suffixes, pieces[1][::-1], bits)
        else:
            self._wildcards.append((pieces, test, bits))

    def _sorted_wildcards(self) -> tuple[dict[str, tuple[_Tried, ...]], list[_Tried]]:
        """The wildcards by the piece that they share with the fewest others: by their heads, or one that must occur."""
        shared = Counter(piece for pieces, _, _ in self._wildcards for piece in set(pieces))
        heads: dict[str, tuple[_Tried, ...]] = {}
        needles: list[_Tried] = []
        for pieces, test, bits in self._wildcards:
            rarest = min(filter(None, pieces), key=lambda piece: (shared[piece], -len(piece)), default="")
            tried = (rarest, test.accepts, bits)
            if rarest and rarest == pieces[0]:
                heads[rarest] = (*heads.get(rarest, ()), tried)
            else:
                needles.append(tried)
        return heads, needles

    def finish(self) -> dict[type, list[Callable[[Any], int]]]:
        """By the class of a value what there is to look it up in: most paths have little of it."""
        strings: list[Callable[[str], int]] = []
        if self._prefixes:
            strings.append(_Starts(self._prefixes, or_, 0).of)
        if self._suffixes:
            strings.append(_backwards(_Starts(self._suffixes, or_, 0)))
        if self._folded or self._folded_prefixes or self._folded_suffixes:
            strings.append(_folded(self._folded, self._folded_prefixes, self._folded_suffixes))
        heads, needles = self._sorted_wildcards()
        if heads:
            starts = _Starts(heads, add, ())
            strings.append(lambda value: _try(starts.of(value), value))
        if len(needles) > _FEW_WILDCARDS:
            strings.append(_Needles(needles).of)
        elif needles:
            strings.append(lambda value: _try(needles, value))
        blocks, ranges = self._fitting(self._blocks), self._fitting(self._ranges)
        if blocks or self._addresses:
            strings.append(_Addresses(self._addresses, blocks).of)
        numbers = [_Spans([(_numbers(test.operand), bits) for test, bits in ranges]).of] if ranges else []
        rest = [lambda value: _try(self._tried, value)] if self._tried else []
        ways = {str: [*strings, *rest], int: [*numbers, *rest], float: [*numbers, *rest], Word: rest, RawNumber: rest}
        return {kind: these for kind, these in ways.items() if these}

    def _fitting(self, ranges: list[tuple[Test, int]]) -> list[tuple[Test, int]]:
        """The ranges, if what is kept of each place between their bounds is not too much; else they are tried."""
        if 4 * len(ranges) * self._width <= _MOST_SPAN_BITS:
            return ranges
        self._tried += [("", test.accepts, bits) for test, bits in ranges]
        return []


class _Starts(Generic[_T]):
    """What belongs to all those texts that a value starts with, put together by `join`."""

    def __init__(self, table: Mapping[str, _T], join: Callable[[_T, _T], _T], nothing: _T) -> None:
        self.longest = max(map(len, table))
        self._texts = sorted(table)
        self._shorter: list[int] = []
        """For each text, the longest other one that it starts with, or -1."""
        self._values: list[_T] = []
        self._nothing = nothing
        for index, text in enumerate(self._texts):
            shorter = index - 1
            while shorter >= 0 and not text.startswith(self._texts[shorter]):
                shorter = self._shorter[shorter]
            self._shorter.append(shorter)
            self._values.append(table[text] if shorter < 0 else join(self._values[shorter], table[text]))

    def of(self, value: str) -> _T:
        # the last text up to the value, or one of those that this text starts with, is the longest that fits
        index = bisect_right(self._texts, value) - 1
        while index >= 0:
            if value.startswith(self._texts[index]):
                return self._values[index]
            index = self._shorter[index]
        return self._nothing


def _backwards(ends: _Starts[int]) -> Callable[[str], int]:
    """The same for how a value ends, of texts that are written backwards."""
    stop = -ends.longest - 1
    return lambda value: ends.of(value[:stop:-1])


_ASCII = re.compile("[\x00-\x7f]*")


def _folded(whole: dict[str, int], prefixes: dict[str, int], suffixes: dict[str, int]) -> Callable[[str], int]:
    """Patterns in ASCII that ignore case: they accept ASCII only, as far as they reach (and `lower` may turn other
    letters into ASCII ones)."""
    starts = _Starts(prefixes, or_, 0) if prefixes else None
    ends = _Starts(suffixes, or_, 0) if suffixes else None

    def beginning(text: str) -> str:
        found = _ASCII.match(text)
        return found.group().lower() if found else ""

    def look_up(value: str) -> int:
        bits = whole.get(value.lower(), 0) if value.isascii() else 0
        if starts is not None:
            bits |= starts.of(beginning(value[: starts.longest]))
        if ends is not None:
            bits |= ends.of(beginning(value[: -ends.longest - 1 : -1]))
        return bits

    return look_up


class _Spans:
    """What belongs to all those ranges that a value is in."""

    def __init__(self, ranges: Sequence[tuple[_Span, int]]) -> None:
        self._bounds = sorted({bound for span, _ in ranges for bound in span[::2] if bound is not None})
        # the places: below the first bound, at it, between it and the second one, and so on
        changes = [0] * (2 * len(self._bounds) + 2)
        once = twice = 0
        for _, bits in ranges:
            once, twice = once | bits, twice | (once & bits)
        several: dict[int, list[tuple[int, int]]] = {}
        for (low, low_out, high, high_out), bits in ranges:
            start = 0 if low is None else 2 * bisect_left(self._bounds, low) + 1 + low_out
            end = len(changes) - 1 if high is None else 2 * bisect_left(self._bounds, high) + 2 - high_out
            if start < end:
                changes[start] ^= bits & ~twice
                changes[end] ^= bits & ~twice
                for position in positions(bits & twice):
                    several.setdefault(position, []).append((start, end))
        for position, mine in several.items():  # a bit that comes from several ranges: where any of them is
            covered = 0
            for start, end in sorted(mine):
                if end > covered:
                    changes[max(start, covered)] ^= 1 << position
                    changes[end] ^= 1 << position
                    covered = end
        self._places: list[int] = list(accumulate(changes, xor))

    def of(self, value: Any) -> int:
        place = bisect_left(self._bounds, value)
        if place < len(self._bounds) and self._bounds[place] == value:
            return self._places[2 * place + 1]
        return self._places[2 * place]


def _numbers(bounds: Range) -> _Span:
    """A numeric range: whole numbers as int, since most values are, and comparing those with floats takes longer."""
    low, low_out, high, high_out = bounds
    whole = [int(bound) if bound is not None and bound == bound // 1 else bound for bound in (low, high)]
    return whole[0], low_out, whole[1], high_out


def _block(block: Block, size: int) -> _Span:
    """A block as a range of addresses of so many bytes.

    Addresses are compared by their leading digits, whatever the families: an IPv6 address can be in an IPv4 block, an
    IPv4 address in an IPv6 block if its digits leave the block's borders (see `matchers.in_block`).
    """
    first, last = bytes.fromhex(block.first), bytes.fromhex(block.last)
    cut = size < len(first)
    return first[:size].ljust(size, b"\x00"), cut, last[:size].ljust(size, b"\xff"), cut


class _Addresses:
    """What belongs to all those addresses and blocks that an address is in."""

    def __init__(self, exact: Mapping[str, int], blocks: Sequence[tuple[Test, int]]) -> None:
        self._exact = {bytes.fromhex(digits): bits for digits, bits in exact.items()}
        self._blocks: dict[int, _Spans] = {}
        for size in (4, 16) if blocks else ():
            self._blocks[size] = _Spans([(_block(test.operand, size), bits) for test, bits in blocks])

    def of(self, value: str) -> int:
        packed = packed_address(value)
        if packed is None:
            return 0
        bits = self._blocks[len(packed)].of(packed) if self._blocks else 0
        if self._exact:
            bits |= self._exact.get(packed, 0) | self._exact.get(packed[:4], 0)
        return bits


class _Needles:
    """What belongs to all those wildcards that a value satisfies, if some literal text of it must occur in each."""

    def __init__(self, wildcards: Sequence[_Tried]) -> None:
        self._all = wildcards
        self._others = [tried for tried in wildcards if not tried[0]]
        table: dict[str, tuple[_Tried, ...]] = {}
        for tried in wildcards:
            needle = tried[0][:_LONGEST_NEEDLE]
            if needle:
                table[needle] = (*table.get(needle, ()), tried)
        starts = _Starts(table, add, ())
        self._of = {needle: starts.of(needle) for needle in table}
        self._search = re.compile(_any_of(sorted(table))).search

    def of(self, value: str) -> int:
        bits = _try(self._others, value) if self._others else 0
        found = self._search(value)
        if found is None:
            return bits
        seen: set[str] = set()
        for _ in range(_MOST_FINDS):
            needle = found.group()  # the longest one that begins here
            if needle not in seen:
                seen.add(needle)
                for whole, accepts, those in self._of[needle]:
                    if whole in value and accepts(value):
                        bits |= those
            found = self._search(value, found.start() + 1)
            if found is None:
                return bits
        return _try(self._all, value)  # a value full of them


def _any_of(texts: Sequence[str]) -> str:
    """A regular expression for the longest of some sorted texts: as a tree, so that it never has to go back."""
    first: dict[str, list[str]] = {}
    for text in texts:
        if text:
            first.setdefault(text[0], []).append(text[1:])
    letters: dict[str, str] = {}
    for letter, rest in first.items():
        after = _any_of(rest)
        letters[after] = letters.get(after, "") + re.escape(letter)
    branches = "|".join(f"[{same}]{after}" for after, same in letters.items())
    return f"(?:{branches})" + ("?" if "" in texts else "") if branches else ""


def _try(tests: Iterable[_Tried], value: Leaf) -> int:
    bits = 0
    text = value if isinstance(value, str) else ""
    for needle, accepts, those in tests:
        if needle in text and accepts(value):
            bits |= those
    return bits


def _put(table: dict[Any, int], key: Any, bits: int) -> None:
    table[key] = table.get(key, 0) | bits


def positions(bits: int) -> Iterator[int]:
    """The numbers of the bits that are set."""
    while bits:
        lowest = bits & -bits
        yield lowest.bit_length() - 1
        bits ^= lowest
