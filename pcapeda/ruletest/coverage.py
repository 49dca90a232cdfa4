"""Rules tried on captures: which rule matches which datagram, what falls through, and whether that was expected.

A `Coverage` is a sink: the run that fills it is the run that would put the events on a bus. What it keeps is bounded:
counts by rule and port, a few samples, and one event of each kind to explain the rules that never matched.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from pcapeda.limits.heavy_hitters import HeavyHitters
from pcapeda.model import ACCOUNT, REGION, Batch, Entry, Outcome
from pcapeda.rules.dialects import Dialect, event_of
from pcapeda.rules.explain import Explanation
from pcapeda.rules.rule import DEFAULT_BUS, Rule
from pcapeda.rules.ruleset import RuleSet
from pcapeda.safety.visible import visible
from pcapeda.sinks.base import BaseSink, SinkOptions
from pcapeda.units import time_text

Event = dict[str, Any]

MOST_FRAMES = 20
"""Events of a rule that are named in a failure."""

MOST_KINDS = 256
"""Events kept, one of each kind, to explain rules that never matched."""


@dataclass
class RuleResult:
    """What one rule did: how many events it matched, when, on which ports, and the first few of them."""

    rule: Rule
    matches: int = 0
    first_ns: int | None = None
    last_ns: int | None = None
    ports: Counter[int] = field(default_factory=Counter)
    samples: list[Event] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    """The first few events it matched, by where they were captured."""
    nearest: tuple[Event, Explanation] | None = None
    """For a rule that never matched: the event that came nearest, and why it did not match."""


class Coverage(BaseSink):
    """Evaluates rules on every event it is sent; `finish` explains the rules that never matched.

    `show` is how many events each rule keeps as samples; rules see events as their `dialect` has them; `wanted` are
    rules by name, each with a port all events to which it should match.
    """

    def __init__(
        self,
        rules: Sequence[Rule],
        *,
        bus: str = DEFAULT_BUS,
        account: str = ACCOUNT,
        region: str = REGION,
        show: int = 0,
        dialect: Dialect = "classic",
        wanted: Iterable[tuple[str, int]] = (),
    ) -> None:
        self.bus = bus
        self.dialect = dialect
        self.events = 0
        self.ports: Counter[int] = Counter()
        self.unmatched = 0
        self.unmatched_ports: Counter[int] = Counter()
        self.unmatched_sources: HeavyHitters[str] = HeavyHitters()
        self.unmatched_seen: list[str] = []
        self.missed: dict[tuple[str, int], list[str]] = {key: [] for key in wanted}
        """For rules that should match all to a port: the first few events to it that they did not match."""
        self.tried = [RuleResult(rule) for rule in rules]
        self._by_rule = {id(one.rule): one for one in self.tried}
        self._set = RuleSet(rules, bus)
        self._account, self._region, self._show = account, region, show
        self._kinds: dict[tuple[object, ...], Event] = {}

    @classmethod
    def make(cls, options: SinkOptions) -> Self:
        """One without rules, on the bus of the run."""
        return cls((), bus=options.bus.name or DEFAULT_BUS)

    def send(self, batch: Batch) -> Outcome:
        """Evaluate every rule on every event of the batch."""
        for entry in batch.entries:
            event = event_of(entry, self.dialect, self._account, self._region)
            self.events += 1
            source, port = _ends(entry, event)
            self.ports[port] += 1
            matched = self._set.match(event)
            for rule in matched:
                self._count(self._by_rule[id(rule)], event, entry.time_ns, port)
            if not matched:
                self.unmatched += 1
                if len(self.unmatched_seen) < MOST_FRAMES:
                    self.unmatched_seen.append(event_name(event))
                self.unmatched_ports[port] += 1
                if source is not None:
                    self.unmatched_sources.add(source)
            for (name, wanted), missed in self.missed.items():
                if wanted == port and len(missed) < MOST_FRAMES and all(rule.name != name for rule in matched):
                    missed.append(event_name(event))
            if len(self._kinds) < MOST_KINDS:
                self._kinds.setdefault((port, source), event)
        return Outcome(len(batch.entries))

    def _count(self, one: RuleResult, event: Event, time_ns: int | None, port: int) -> None:
        one.matches += 1
        one.ports[port] += 1
        if time_ns is not None:
            one.first_ns = time_ns if one.first_ns is None else min(one.first_ns, time_ns)
            one.last_ns = time_ns if one.last_ns is None else max(one.last_ns, time_ns)
        if len(one.seen) < MOST_FRAMES:
            one.seen.append(event_name(event))
        if len(one.samples) < self._show:
            one.samples.append(event)

    def finish(self) -> None:
        """For each rule that could match and never did, find the event that came nearest."""
        for one in self.tried:
            if one.matches or one.rule.inactive_reason(self.bus) or one.rule.pattern is None:
                continue
            for event in self._kinds.values():
                explanation = one.rule.pattern.explain(event)
                if one.nearest is None or _miss(explanation) < _miss(one.nearest[1]):
                    one.nearest = event, explanation

    def data(self) -> dict[str, Any]:
        """The findings as plain data, for JSON."""
        return {
            "Events": self.events,
            "Rules": [_rule_data(one, self) for one in self.tried],
            "Unmatched": {
                "Events": self.unmatched,
                "Ports": [
                    {"Port": port if port >= 0 else None, "Events": count}
                    for port, count in self.unmatched_ports.most_common()
                ],
                "Sources": [
                    {"IpAddress": address, "Events": count} for address, count in self.unmatched_sources.top(20)
                ],
            },
        }


def _ends(entry: Entry, event: Event) -> tuple[str | None, int]:
    """Source address and destination port of an event; None and -1 where it has none, or several."""
    if entry.datagram is not None:
        return entry.datagram.source, entry.datagram.destination_port
    detail = event.get("detail", {})
    return detail.get("Source", {}).get("IpAddress"), detail.get("Destination", {}).get("Port", -1)


def _miss(explanation: Explanation) -> tuple[int, float]:
    return len(explanation.misses), sum(part.distance for part in explanation.misses)


def _rule_data(one: RuleResult, trial: Coverage) -> dict[str, Any]:
    silent = one.rule.inactive_reason(trial.bus)
    told: dict[str, Any] = one.rule.data() | {
        "Matches": one.matches,
        "Share": round(one.matches / trial.events, 6) if trial.events else 0.0,
        "FirstTime": None if one.first_ns is None else time_text(one.first_ns),
        "LastTime": None if one.last_ns is None else time_text(one.last_ns),
    }
    if silent:
        told["Silent"] = silent
    if one.samples:
        told["Samples"] = one.samples
    if one.nearest is not None:
        event, explanation = one.nearest
        told["NearestMiss"] = {"Event": event, "Explanation": explanation.data()}
    return told


@dataclass(frozen=True)
class Expectation:
    """What should come out: how many events a rule matches (None: how many no rule matches).

    `at_least` and `at_most` bound the count; with `port`, all events to that destination port must be among them.
    """

    rule: str | None
    at_least: int = 0
    at_most: int | None = None
    port: int | None = None
    name: str = ""
    """What a test of it is called; else it is called after its rule."""

    def __str__(self) -> str:
        who = f"rule {self.rule} matches" if self.rule is not None else "no rule matches"
        if self.port is not None:
            return f"{who} every event to port {self.port}"
        if self.at_most is None:
            return f"{who} at least {self.at_least:,} events"
        if self.at_least == self.at_most:
            return f"{who} {'no event' if self.at_most == 0 else f'exactly {self.at_most:,} events'}"
        if self.at_least == 0:
            return f"{who} at most {self.at_most:,} events"
        return f"{who} {self.at_least:,} to {self.at_most:,} events"


@dataclass(frozen=True)
class ExpectationResult:
    """Whether an expectation held, and if not, what came out instead and why."""

    expectation: Expectation
    holds: bool
    words: str = ""


def judge(expectations: Iterable[Expectation], trial: Coverage) -> list[ExpectationResult]:
    """Compare a finished trial with what was expected. What is expected of a rule that is not there does not hold."""
    by_name: dict[str, list[RuleResult]] = {}
    for one in trial.tried:
        by_name.setdefault(one.rule.name, []).append(one)
    judgements = []
    for expected in expectations:
        if expected.rule is None:
            judgements.append(_judge_count(expected, trial.unmatched, _unmatched_words(trial)))
            continue
        tried = by_name.get(expected.rule)
        if tried is None:
            known = ", ".join(sorted(by_name)) or "none"
            words = f"no rule {expected.rule!r} was loaded; there are: {visible(known)}"
            judgements.append(ExpectationResult(expected, False, words))
            continue
        if expected.port is not None:
            matched = sum(one.ports[expected.port] for one in tried)
            there = trial.ports[expected.port]
            if there == 0:
                judgements.append(ExpectationResult(expected, False, f"there is no event to port {expected.port}"))
            else:
                words = ""
                if matched < there:
                    missed = trial.missed.get((expected.rule, expected.port), [])
                    words = f"it matches {matched:,} of {there:,}" + _named("not", missed, there - matched)
                    words += _why(tried)
                judgements.append(ExpectationResult(expected, matched >= there, words))
            continue
        count, seen = sum(one.matches for one in tried), [name for one in tried for name in one.seen]
        judgements.append(_judge_count(expected, count, _named("matched", seen, count) + _why(tried)))
    return judgements


def _judge_count(expected: Expectation, count: int, why: str) -> ExpectationResult:
    if count < expected.at_least or (expected.at_most is not None and count > expected.at_most):
        return ExpectationResult(expected, False, f"there are {count:,}{why}")
    return ExpectationResult(expected, True)


def _why(tried: Sequence[RuleResult]) -> str:
    for one in tried:
        if one.rule.inactive_reason():
            return f"\n  the rule selects nothing: {visible(one.rule.inactive_reason())}"
        if one.nearest is not None:
            event, explanation = one.nearest
            miss = str(explanation).replace("\n", "\n  ")
            return f"\n  nearest miss, {visible(event_name(event))}:\n  {miss}"
    return ""


def _unmatched_words(trial: Coverage) -> str:
    ports = ", ".join(f"{count:,} to port {port}" for port, count in trial.unmatched_ports.most_common(5))
    return (f": {ports}" if ports else "") + _named("events", trial.unmatched_seen, trial.unmatched)


def _named(word: str, events: Sequence[str], count: int) -> str:
    """A line that names events, the first few of so many."""
    shown = events[:MOST_FRAMES]
    more = f" and {count - len(shown):,} more" if count > len(shown) else ""
    return f"\n  {word}: {visible(', '.join(shown))}{more}" if shown else ""


def event_name(event: Event) -> str:
    """An event in a few words: where it was captured and where it went."""
    if "detail" not in event:  # metadata of a raw event
        where = event.get("CaptureFile") or event.get("CaptureInterface") or "event"
        told = f"{where} frame {event['CaptureFrame']}" if "CaptureFrame" in event else where
        return told + (f" to port {event['DestinationPort']}" if "DestinationPort" in event else "")
    detail = event.get("detail", {})
    capture = detail.get("Capture", {})
    where = capture.get("File") or capture.get("Interface") or "event"
    frame = f" frame {capture['Frame']}" if "Frame" in capture else f" {event.get('id', '')}"
    port = detail.get("Destination", {}).get("Port")
    return f"{where}{frame}" + (f" to port {port}" if port is not None else "")
