"""The bus in memory: what rules match and targets receive, and that moto's server says the same."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pcapeda.engine.run import datagrams
from pcapeda.errors import BadEvent
from pcapeda.events.shape import Shape
from pcapeda.model import Batch, Entry
from pcapeda.rules.pattern import Pattern
from pcapeda.rules.rule import Rule, Target, Transformer
from pcapeda.rules.sources.load import load
from pcapeda.ruletest.local_bus import LocalBus

from .moto_server import client, logged, moto_server, rule_into_log_group

FIXTURES = Path(__file__).parents[1] / "fixtures"
ARTICLE = {"source": ["udp.raw"], "detail": {"Destination": {"Port": [514]}}}


def entries(shape: str = "full", **options: Any) -> list[Entry]:
    made = Shape(shape, **options)  # type: ignore[arg-type]
    return [made.entry(datagram) for datagram in datagrams(str(FIXTURES / "mixed.pcap"))]


def rule(name: str, pattern: Any, *targets: Target, **rest: Any) -> Rule:
    return Rule(name, Pattern.compile(pattern), targets=targets, **rest)


def test_the_article_on_the_local_bus() -> None:
    """A batch of a capture's entries: the rule for port 514 matches exactly those, the rest is unmatched."""
    sent = entries()
    bus = LocalBus([rule("udp-port-514", ARTICLE, Target("logs", "arn"))])
    outcome = bus.send(Batch(tuple(sent), 0))
    syslog = [one.envelope() for one in sent if one.datagram and one.datagram.destination_port == 514]
    assert outcome.sent == len(sent)
    assert not outcome.failed
    assert 0 < len(syslog) < len(sent)
    assert bus.matched("udp-port-514") == syslog
    assert bus.counts == {"udp-port-514": len(syslog)}
    assert bus.unmatched_count == len(bus.unmatched) == len(sent) - len(syslog)
    assert bus.received("logs") == syslog
    assert not bus.costs_money


def test_what_targets_receive() -> None:
    """By id or ARN, of one rule or all: each event as the target's own form has it."""
    transformer = Transformer((("port", "$.detail.Destination.Port"),), '"port <port>"')
    bus = LocalBus(
        [
            rule("a", {"detail": {"n": [1, 2]}}, Target("x", "arn:q", input_path="$.detail.n"), Target("y", "arn:z")),
            rule("b", {"detail": {"n": [2]}}, Target("x", "arn:q", transformer=transformer)),
        ]
    )
    assert bus.put({"detail": {"n": 1, "Destination": {"Port": 5}}}) == ["a"]
    assert bus.put('{"detail": {"n": 2, "Destination": {"Port": 6}}}') == ["a", "b"]
    assert bus.put(b'{"detail": {"n": 3}}') == []
    assert bus.received("x") == [1, 2, "port 6"]
    assert bus.received_text("x") == ["1", "2", '"port 6"']
    assert bus.received("arn:q", rule="b") == ["port 6"]
    assert len(bus.received("y")) == 2
    assert bus.unmatched_count == 1
    with pytest.raises(BadEvent):
        bus.put("[]")
    with pytest.raises(KeyError, match="no target 'zzz'; there are: x, y"):
        bus.received("zzz")
    with pytest.raises(KeyError, match="no rule 'c'; there are: a, b"):
        bus.matched("c")
    with pytest.raises(KeyError, match="no rule 'c'; there are: a, b"):
        bus.counts["c"]
    with pytest.raises(KeyError, match="no rule 'c'"):
        bus.received("x", rule="c")
    assert "nearest miss: no match" in bus.explain("b")
    assert bus.explain("b", {"detail": {"n": 3}}).startswith("no match")
    bus.clear()
    assert (bus.counts, bus.unmatched_count, bus.received("x")) == ({"a": 0, "b": 0}, 0, [])


def test_only_rules_of_the_bus_match() -> None:
    """Rules of another bus and disabled rules are there, and match nothing."""
    everything = {"source": [{"exists": True}]}
    off = rule("off", everything, bus="udp", state="DISABLED")
    bus = LocalBus([rule("here", everything, bus="udp"), rule("there", everything), off], bus="udp")
    assert bus.put({"source": "udp.raw"}) == ["here"]
    assert bus.matched("there") == bus.matched("off") == []


def test_what_is_kept_is_bounded() -> None:
    """Counting goes on when no more events are kept."""
    bus = LocalBus([rule("r", {"a": [1]})], keep=3)
    for number in range(10):
        bus.put({"a": number % 2})
    assert (bus.counts["r"], len(bus.matched("r")), bus.unmatched_count, len(bus.unmatched)) == (5, 3, 5, 3)


# against moto


@pytest.fixture
def server() -> Iterator[str]:
    with moto_server() as url:
        yield url


def put_events(url: str, sent: list[Entry]) -> None:
    events = client("events", url)
    for start in range(0, len(sent), 10):
        answer = events.put_events(
            Entries=[
                {"Source": one.source, "DetailType": one.detail_type, "Detail": one.detail}
                for one in sent[start : start + 10]
            ]
        )
        assert answer["FailedEntryCount"] == 0


@pytest.mark.parametrize("shape", ["full", "minimal", "proxylity"])
def test_moto_and_the_local_bus_agree(server: str, shape: str) -> None:
    """On the article's rule and every enabled rule in fixtures/, moto's server delivers what the local bus matches."""
    sent = entries(shape, text=shape == "full")
    found = load(
        [str(FIXTURES / "rules" / name) for name in ("patterns", "api", "cloudformation", "terraform", "serverless")]
    )
    rules = [rule("article", ARTICLE)]
    for number, one in enumerate(found.rules):
        if one.pattern is not None and not one.inactive_reason():
            rules.append(Rule(f"rule-{number}", one.pattern))
    bus = LocalBus(rules)
    bus.send(Batch(tuple(sent), 0))
    for one in rules:
        assert one.pattern is not None
        rule_into_log_group(server, name=one.name, pattern=one.pattern.text)
    put_events(server, sent)
    for one in rules:
        delivered = [json.loads(message)["detail"] for message in logged(server, one.name)]
        matched = [event["detail"] for event in bus.matched(one.name)]
        assert sorted(map(json.dumps, delivered)) == sorted(map(json.dumps, matched)), one.name
    if shape == "full":
        assert len(bus.counts) > 5


def test_moto_differs_only_where_it_is_written_down() -> None:
    """On the repository's own cases moto agrees, but for those in moto.tsv, where the answer is the corpus's kind."""
    from moto.events.exceptions import InvalidEventPatternException
    from moto.events.models import EventPattern

    table = (FIXTURES / "rules" / "moto.tsv").read_text(encoding="utf-8").splitlines()[1:]
    known = {tuple(line.split("\t")[:4]) for line in table}
    differing = set()
    cases = [json.loads(line) for line in (FIXTURES / "rules" / "cases.jsonl").read_text(encoding="utf-8").splitlines()]
    for case in cases:
        text = case["pattern"] if isinstance(case["pattern"], str) else json.dumps(case["pattern"])
        event = json.loads(case["event"]) if isinstance(case["event"], str) else case["event"]
        try:
            pattern = EventPattern.load(text)
            said = "valid" if event is None else "match" if pattern.matches_event(event) else "no-match"
        except (InvalidEventPatternException, AttributeError):
            said = "invalid"
        if said != case["expect"]:
            differing.add((case["op"], case["why"], said, case["expect"]))
    assert differing <= known
    assert len(cases) - len(differing) > 100
