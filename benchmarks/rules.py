"""Rules: events per second from JSON text for few and many rules, against the matchers of moto and ministack."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import cycle
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.bench import PCAPEDA, Result, Table, capture, in_turn, package, rate, ratio, run, say, scaled, times

COUNTS = (1, 30, 300, 3000)
EVENTS = 20_000
"""Different events, of mixed traffic."""

SECONDS = 1.0
"""How long each contender matches in each round."""

Matcher = Callable[[str, str], int]
"""Given an event as rules see it and the same as PutEvents takes it, both JSON text: how many rules match."""


def mixed_rules(count: int) -> list[dict[str, Any]]:
    """Exact values, prefixes, address blocks, numeric ranges and wildcards in turn, no two alike."""
    rules = []
    for number in range(count):
        where: tuple[dict[str, Any], ...] = (
            {"Destination": {"Port": [514 + number]}},
            {"Source": {"IpAddress": [{"prefix": f"198.18.{number % 256}."}]}, "Length": [{"numeric": [">", number]}]},
            {"Destination": {"IpAddress": [{"cidr": f"198.{18 + number % 2}.{number // 2 % 256}.0/24"}]}},
            {"Length": [{"numeric": [">=", number, "<", number + 20]}], "Source": {"Port": [{"numeric": [">", 1023]}]}},
            {"Source": {"IpAddress": [{"wildcard": f"198.*.{number % 256}.*"}]}, "IpVersion": [4]},
        )
        rules.append({"source": ["udp.raw"], "detail": where[number % len(where)]})
    return rules


def exact_rules(count: int) -> list[dict[str, Any]]:
    """One port each."""
    return [{"source": ["udp.raw"], "detail": {"Destination": {"Port": [number]}}} for number in range(1, count + 1)]


def ours(patterns: Sequence[str]) -> Matcher:
    from pcapeda.rules.pattern import Pattern
    from pcapeda.rules.rule import Rule
    from pcapeda.rules.ruleset import RuleSet

    rules = RuleSet(Rule(f"rule-{number}", Pattern.compile(text)) for number, text in enumerate(patterns))
    return lambda event, entry: len(rules.match(event))


def motos(patterns: Sequence[str]) -> Matcher:
    """As moto's own bus does it: one rule after the other on the event as data."""
    from moto.events.models import EventPattern

    compiled = [EventPattern.load(text) for text in patterns]

    def match(event: str, entry: str) -> int:
        data = json.loads(event)
        return sum(pattern.matches_event(data) for pattern in compiled)

    return match


def ministacks(patterns: Sequence[str]) -> Matcher:
    """As ministack's own bus does it: a view of the event, once, and one rule after the other on it."""
    from ministack.services import eventbridge

    def match(event: str, entry: str) -> int:
        view = eventbridge._pattern_event_view(json.loads(entry))
        return sum(eventbridge._matches_pattern_view(text, view) for text in patterns)

    return match


PEERS = {"moto": motos, "ministack": ministacks}


def pace(match: Matcher, events: Sequence[tuple[str, str]], seconds: float) -> float:
    """Events per second, over as many as fit into that time."""
    began = time.perf_counter()
    for count, (event, entry) in enumerate(cycle(events), 1):
        match(event, entry)
        if count % 16 == 0 or count < 16:
            taken = time.perf_counter() - began
            if taken >= seconds:
                return count / taken
    raise AssertionError("no events")


def events_of(work: Path, count: int) -> list[tuple[str, str]]:
    """Events of mixed traffic, as `replay -o jsonl` and `-o entries` print them."""
    path = capture(work, 2 * count)
    lines = []
    for output in ("jsonl", "entries"):
        run([*PCAPEDA, "replay", path, "-n", "-o", output, "-q", "-c", count], stdout=work / f"events.{output}")
        lines.append((work / f"events.{output}").read_text(encoding="utf-8").splitlines())
    return list(zip(*lines, strict=True))


def measure(work: Path) -> Result:
    """Each matcher on the same events, for each number of rules."""
    result = Result(
        "rules",
        "Rules",
        f"Events as JSON text, {scaled(EVENTS):,} different ones of mixed traffic, matched against all rules at once. "
        "The rules are exact values, prefixes, address blocks, numeric ranges and wildcards in turn. moto and "
        "ministack are called as their own buses call them: one rule after the other (ministack keeps 1,024 compiled "
        "patterns, so it compiles more than that again and again).",
    )
    peers = {"pcapeda": ours} | {name: PEERS[name] for name in PEERS if package(result, name)}
    events = events_of(work, scaled(EVENTS, 200))
    seconds = max(0.05, SECONDS * min(1, scaled(1000) / 1000))
    table = Table("Mixed rules", ["rules", *peers, *(f"pcapeda to {name}" for name in list(peers)[1:]), "to one rule"])
    first: list[float] = []
    for count in COUNTS:
        rates = run_one(peers, mixed_rules(count), events, seconds, f"{count} mixed rules")
        first = first or rates["pcapeda"]
        cost = ratio(first, rates["pcapeda"])
        result.figures[f"cost of {count} rules"] = cost
        add_row(result, table, f"{count:,}", "mixed", rates, f"{cost:.2f} × the time")
    table.note = "Wanted: 300 rules cost at most 2 × the time of one."
    exact = Table("1,000 exact rules", [*table.columns[:-1], "wanted"])
    rates = run_one(peers, exact_rules(1000), events, seconds, "1,000 exact rules")
    add_row(result, exact, "1,000", "exact", rates, "100,000 events/s, 500 × moto")
    result.tables += [table, exact]
    return result


def run_one(
    peers: Mapping[str, Callable[[Sequence[str]], Matcher]],
    rules: list[dict[str, Any]],
    events: list[tuple[str, str]],
    seconds: float,
    title: str,
) -> dict[str, list[float]]:
    say(f"rules: {title}")
    patterns = [json.dumps(rule) for rule in rules]
    matchers = {name: make(patterns) for name, make in peers.items()}
    return in_turn({name: partial(pace, match, events, seconds) for name, match in matchers.items()})


def add_row(result: Result, table: Table, count: str, kind: str, rates: dict[str, list[float]], last: str) -> None:
    row = [count, *(rate(median(each)) for each in rates.values())]
    for name in list(rates)[1:]:
        faster = ratio(rates["pcapeda"], rates[name])
        result.figures[f"{count} {kind} rules: {name}"] = faster
        row.append(times(faster))
    result.figures[f"{count} {kind} rules: events/s"] = median(rates["pcapeda"])
    table.rows.append([*row, last])
