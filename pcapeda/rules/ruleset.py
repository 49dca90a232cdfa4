"""Many rules at once: as one rule after the other would answer, for about the price of one.

Each alternative of each rule has a bit. For every path that occurs in some rule there is an index from the values to
the bits of those that a value satisfies; an event's answer is the AND over the paths of what its leaves satisfy there,
with the bits of those that do not ask for the path. How a value is looked up is in `index`.

Leaves from different elements of an array must not be combined (see `flatten`): for events with such leaves the index
only says which alternatives can match, and those are then looked at one by one.
"""

from collections.abc import Collection, Iterable
from typing import Any, cast

from pcapeda.aws.wire import event_json
from pcapeda.model import ACCOUNT, REGION, Entry
from pcapeda.rules.fields import Alternative
from pcapeda.rules.flatten import Finder, Found, Trail, consistent
from pcapeda.rules.index import Index, positions
from pcapeda.rules.json_reader import read_quick
from pcapeda.rules.matchers import Leaf, Test
from pcapeda.rules.pattern import Event, Pattern, opened
from pcapeda.rules.rule import Rule

_TEXT = (str, bytes, bytearray)
_REMEMBERED = 1024
_MOST_PATHS_REMEMBERED = 64


class RuleSet:
    """Rules compiled together. Those that cannot select anything (see `Rule.silent`) are kept, but do not match."""

    def __init__(self, rules: Iterable[Rule], bus: str | None = None) -> None:
        self.rules = tuple(rules)
        self._owners: list[int] = []
        self._alternatives: list[Alternative] = []
        self._alone: dict[int, Pattern] = {}
        """By the index of their rules: patterns whose paths must not be mixed with those of others (see `flatten`)."""
        for index, rule in enumerate(self.rules):
            if rule.pattern is None or rule.inactive_reason(bus):
                continue
            if any(path.endswith(".") for path in rule.pattern.paths):
                self._alone[index] = rule.pattern
            else:
                self._alternatives += rule.pattern.alternatives
                self._owners += [index] * len(rule.pattern.alternatives)
        fields: dict[str, list[tuple[tuple[Test, ...], int]]] = {}
        for bit, one in enumerate(self._alternatives):
            for each in one.fields:
                fields.setdefault(each.path, []).append((each.tests, 1 << bit))
        self._all = (1 << len(self._alternatives)) - 1
        self._finder = Finder(list(fields))
        self._numbers = {path: number for number, path in enumerate(fields)}
        self._indexes = [Index(asked, self._all) for asked in fields.values()]
        self._ask = [(index.deduplicated.get, index.look_up) for index in self._indexes]
        self._elsewhere: dict[tuple[int, ...], int] = {}
        """By the paths where events have one leaf each: the alternatives that do without a leaf at all others."""

    def match(self, event: Event) -> list[Rule]:
        """The rules that the event matches, in the order they were given. Raises `BadEvent`."""
        if self._alone:
            alone = {index for index, pattern in self._alone.items() if pattern.matches(event)}
            together = {id(rule) for rule in self._together(event)}
            return [rule for index, rule in enumerate(self.rules) if index in alone or id(rule) in together]
        return self._together(event)

    def _together(self, event: Event) -> list[Rule]:
        found: dict[int, Leaf] | None = None
        if event.__class__ is dict:
            found = self._finder.find_plain(cast("dict[str, Any]", event))
        elif isinstance(event, _TEXT) and (quick := read_quick(event)) is not None:
            found = self._finder.find_plain(quick, floats=False)
        if found is None:
            return self._owned(self._combined(self._finder.find(opened(event))))
        return self._owned(self._plain(found))

    def match_entry(self, entry: Entry, account: str = ACCOUNT, region: str = REGION) -> list[Rule]:
        """The rules that the event of an entry matches: as `match` of its `event_json`, which is seldom needed."""
        detail = read_quick(entry.detail)
        if detail is not None and "id" not in self._numbers and "time" not in self._numbers and not self._alone:
            event = {
                "version": "0",
                "detail-type": entry.detail_type,
                "source": entry.source,
                "account": account,
                "region": region,
                "resources": list(entry.resources),
                "detail": detail,
            }
            found = self._finder.find_plain(event, floats=False)
            if found is not None:
                return self._owned(self._plain(found))
        return self.match(event_json(entry, account, region))

    def _plain(self, found: dict[int, Leaf]) -> int:
        """The alternatives that match, of an event with one leaf at each path that it has."""
        there = tuple(found)
        bits = self._elsewhere.get(there)
        if bits is None:
            bits = self._without(there)
            if len(self._elsewhere) >= _REMEMBERED:
                self._elsewhere.clear()
            if len(there) <= _MOST_PATHS_REMEMBERED:
                self._elsewhere[there] = bits
        for number, value in found.items():
            known, look_up = self._ask[number]
            here = known(value)
            bits &= look_up(value) if here is None else here
        return bits

    def _without(self, there: Collection[int]) -> int:
        """The alternatives that do without a leaf at all paths but these."""
        bits = self._all
        for number, index in enumerate(self._indexes):
            if number not in there:
                bits &= index.free | index.absent
        return bits

    def _combined(self, found: list[Found]) -> int:
        """The alternatives that match, however many leaves there are at a path, and of whatever array elements."""
        indexes = self._indexes
        satisfied: dict[int, int] = {}
        for number, value, _ in found:
            satisfied[number] = satisfied.get(number, 0) | indexes[number].of(value)
        bits = self._without(satisfied)
        nested = any(trail for _, _, trail in found)
        for number, here in satisfied.items():
            bits &= here | indexes[number].absent if nested else here
        return self._agreeing(bits, found) if nested and bits else bits

    def _owned(self, bits: int) -> list[Rule]:
        owned: list[Rule] = []
        last = -1
        while bits:
            top = bits.bit_length() - 1
            bits ^= 1 << top
            owner = self._owners[top]
            if owner != last:  # a rule's alternatives are side by side
                owned.append(self.rules[owner])
                last = owner
        owned.reverse()
        return owned

    def _agreeing(self, bits: int, found: list[Found]) -> int:
        """Of the alternatives that can match, those for which the leaves agree about array elements."""
        there: dict[int, list[tuple[Leaf, Trail]]] = {}
        for number, value, trail in found:
            there.setdefault(number, []).append((value, trail))
        agreeing = 0
        for bit in positions(bits):
            fields = self._alternatives[bit].fields
            if consistent([(each.tests, there.get(self._numbers[each.path], [])) for each in fields]):
                agreeing |= 1 << bit
        return agreeing
