"""A bus in memory: what rules and targets would get, with no account in reach."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Self

from pcapeda.model import ACCOUNT, REGION, Batch, Outcome
from pcapeda.rules.buses import bus_of
from pcapeda.rules.explain import Explanation
from pcapeda.rules.json_reader import read_event
from pcapeda.rules.rule import Rule
from pcapeda.rules.ruleset import RuleSet
from pcapeda.rules.transform import receives
from pcapeda.safety.visible import visible
from pcapeda.sinks.base import BaseSink, SinkOptions

__tracebackhide__ = True  # pytest shows the test that asked, not how it was answered

Event = Mapping[str, Any]

MOST_KINDS = 256
"""Events kept, one of each destination port and source, to explain why a rule did not match."""


class UnknownName(KeyError):
    """A rule or target that is not on the bus: most likely misspelt."""

    def __init__(self, what: str, name: str, known: Iterable[str]) -> None:
        listed = ", ".join(sorted(set(known))) or "none"
        super().__init__(f"no {what} {visible(name)!r}; there are: {visible(listed)}")

    def __str__(self) -> str:
        return str(self.args[0])


class Counts(dict[str, int]):
    """A number for each rule of a bus, 0 among them. Raises `UnknownName` for any other name."""

    def __missing__(self, name: str) -> int:
        raise UnknownName("rule", name, self)


class LocalBus(BaseSink):
    """Evaluates rules on what it is sent, as EventBridge would, and keeps what each rule and target got.

    It is a sink, so `pipeline.execute` can run captures into it; `put` takes single events. At most `keep` events are
    kept for each rule, and as many that matched none; `counts` and `unmatched_count` go on counting.
    """

    def __init__(
        self,
        rules: Iterable[Rule],
        *,
        bus: str | None = None,
        account: str = ACCOUNT,
        region: str = REGION,
        keep: int = 10_000,
    ) -> None:
        self.rules: Sequence[Rule] = tuple(rules)
        self.bus = bus_of(self.rules, bus)
        """The bus events are put on: if not given, the one that all rules are on, else the default bus."""
        self.counts = Counts.fromkeys((rule.name for rule in self.rules), 0)
        """How many events each rule matched, by its name."""
        self.unmatched: list[Event] = []
        self.unmatched_count = 0
        self._matched: dict[str, list[Event]] = {}
        self._kinds: dict[tuple[object, ...], Event] = {}
        self._set = RuleSet(self.rules, self.bus)
        self._account, self._region, self._keep = account, region, keep

    @classmethod
    def make(cls, options: SinkOptions) -> Self:
        """One without rules, on the bus of the run."""
        return cls((), bus=options.bus.name)

    def clear(self) -> None:
        """Forget every event, for the next test of one that shares the bus."""
        self.counts.update(dict.fromkeys(self.counts, 0))
        self.unmatched.clear()
        self.unmatched_count = 0
        self._matched.clear()
        self._kinds.clear()

    def send(self, batch: Batch) -> Outcome:
        """Evaluate a batch of entries."""
        for entry in batch.entries:
            matched = self._set.match_entry(entry, self._account, self._region)
            self._count(matched, lambda entry=entry: entry.envelope(self._account, self._region))  # type: ignore[misc]
        return Outcome(len(batch.entries))

    def put(self, event: Event | str | bytes) -> list[str]:
        """Evaluate one event, as data or JSON text; the names of the rules it matches. Raises `BadEvent`."""
        data = _data(event) if isinstance(event, str | bytes) else event
        matched = self._set.match(data)
        self._count(matched, lambda: data)
        return [rule.name for rule in matched]

    def _count(self, matched: list[Rule], event: Callable[[], Event]) -> None:
        """Count an event, and keep it where there is room."""
        kept = [self._matched.setdefault(rule.name, []) for rule in matched]
        for rule in matched:
            self.counts[rule.name] += 1
        if not matched:
            self.unmatched_count += 1
            kept = [self.unmatched]
        room = [events for events in kept if len(events) < self._keep]
        if room or len(self._kinds) < MOST_KINDS:
            data = event()
            if len(self._kinds) < MOST_KINDS:
                self._kinds.setdefault(_kind(data), data)
            for events in room:
                events.append(data)

    def matched(self, rule: str) -> list[Event]:
        """The events that a rule matched, in order. Raises `UnknownName` for a rule that is not on the bus."""
        self._known(rule)
        return list(self._matched.get(rule, ()))

    def _known(self, rule: str) -> None:
        if rule not in self.counts:
            raise UnknownName("rule", rule, self.counts)

    def explain(self, rule: str, event: Event | None = None) -> str:
        """Why a rule matches an event or does not, field by field; of no event in particular, the one seen that came
        nearest without matching. Made for `assert bus.counts["syslog"] == 4, bus.explain("syslog")`."""
        self._known(rule)
        told = []
        for one in self.rules:
            if one.name != rule:
                continue
            if (silent := one.inactive_reason(self.bus)) or one.pattern is None:
                told.append(f"rule {visible(rule)} selects nothing: {visible(silent)}")
                continue
            explained = [one.pattern.explain(each) for each in ([event] if event is not None else self._kinds.values())]
            missed = explained if event is not None else [each for each in explained if not each.matched]
            nearest = min(missed, key=_distance, default=None)
            seen = f"rule {visible(rule)} matched {self.counts[rule]:,} events"
            told.append(f"{seen}; nearest miss: {nearest}" if event is None and nearest else str(nearest or seen))
        return "\n".join(told)

    def received(self, target: str, *, rule: str | None = None) -> list[Any]:
        """What the target with this id or ARN received, parsed where it is JSON, else as text; of one rule, or of all
        that have it.

        Raises `UnknownName` when no rule has such a target or name, `BadRule` when its transformer cannot be applied.
        """
        return [_parsed(text) for text in self.received_text(target, rule=rule)]

    def received_text(self, target: str, *, rule: str | None = None) -> list[str]:
        """The same as the very text that was handed over."""
        if rule is not None:
            self._known(rule)
        owners = [
            (one, each)
            for one in self.rules
            for each in one.targets
            if target in (each.id, each.arn) and rule in (None, one.name)
        ]
        if not owners:
            raise UnknownName("target", target, (each.id for one in self.rules for each in one.targets))
        return [receives(each, event, one) for one, each in owners for event in self._matched.get(one.name, ())]


def _distance(explanation: Explanation) -> tuple[int, float]:
    return len(explanation.misses), sum(part.distance for part in explanation.misses)


def _parsed(text: str) -> Any:
    with suppress(ValueError):
        return json.loads(text)
    return text


def _kind(event: Event) -> tuple[object, ...]:
    """Events alike for an explanation: to one port, from one source."""
    detail = event.get("detail")
    ends = [detail.get(end) for end in ("Source", "Destination")] if isinstance(detail, Mapping) else [None, None]
    source, destination = [end if isinstance(end, Mapping) else {} for end in ends]
    return str(event.get("source")), str(source.get("IpAddress")), str(destination.get("Port"))


def _data(event: str | bytes) -> Event:
    read = read_event(event)
    return dict(read) if not isinstance(read, Mapping) else read
