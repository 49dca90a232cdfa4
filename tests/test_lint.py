"""What lint says of rules before they are deployed."""

from typing import Any

import pytest

from pcapeda.events.schema import schema
from pcapeda.rules.lint import Finding, lint
from pcapeda.rules.pattern import Pattern
from pcapeda.rules.rule import Rule


def said(*patterns: Any, **rest: Any) -> list[Finding]:
    rules = [Rule(f"r{number}", Pattern.compile(pattern), **rest) for number, pattern in enumerate(patterns, 1)]
    return lint(rules, schema("full"), source="udp.raw", detail_type="UdpPacket")


GOOD = {"source": ["udp.raw"], "detail": {"Destination": {"Port": [514]}}}


def test_a_good_rule_is_passed_over() -> None:
    """The article's rule has nothing wrong with it."""
    assert said(GOOD) == []


@pytest.mark.parametrize(
    ("detail", "path", "message"),
    [
        ({"destination": {"Port": [514]}}, "detail.destination.Port", "did you mean 'detail.Destination.Port'?"),
        ({"Destination": {"Prot": [514]}}, "detail.Destination.Prot", "did you mean 'detail.Destination.Port'?"),
        ({"Nothing": {"like": ["it"]}}, "detail.Nothing.like", "no event has this field"),
        ({"Destination": {"Port": ["514"]}}, "detail.Destination.Port", 'have a number there, the rule wants ["514"]'),
        ({"Destination": {"IpAddress": [5]}}, "detail.Destination.IpAddress", "events have a string there"),
        ({"Length": [True]}, "detail.Length", "events have a number there"),
        ({"Destination": {"Port": [{"prefix": "5"}]}}, "detail.Destination.Port", "events have a number there"),
        ({"Destination": [{"exists": True}]}, "detail.Destination", "it is an object"),
    ],
)  # fmt: skip
def test_rules_that_can_never_match(detail: dict[str, Any], path: str, message: str) -> None:
    """A field that no event has, a miscased or misspelt one, a value of a type no event has there."""
    (finding, *_) = said({"detail": detail})
    assert (finding.severity, finding.path) == ("error", path)
    assert finding.message.startswith("can never match what pcapeda emits: ")
    assert message in finding.message


def test_a_source_that_is_not_emitted() -> None:
    """Source and detail-type are what the run says they are."""
    (finding,) = said({"source": ["udp"], "detail": {"Length": [38]}})
    assert (finding.severity, finding.path) == ("error", "source")
    assert "events bear 'udp.raw'" in finding.message
    assert said({"source": [{"prefix": "udp."}], "detail-type": ["UdpPacket"]}) == []


def test_a_branch_that_can_never_match() -> None:
    """If another branch of `$or` can match, it is a warning for the branch."""
    (finding,) = said({"detail": {"$or": [{"Length": [38]}, {"length": [38]}]}})
    assert (finding.severity, finding.path) == ("warning", "detail.length")
    assert "detail.$or[1]" in finding.message


def test_absence_is_never_hopeless() -> None:
    """A rule may ask that a field is not there."""
    assert said({"detail": {"nowhere": [{"exists": False}], "Length": [38]}}) == []


def test_invalid_patterns_and_size() -> None:
    """A pattern that is refused is an error, one over the default quota a warning."""
    broken = Rule("broken", None, problem="Event pattern is not valid.", origin="rules.json:3")
    clock = Rule("clock", None, schedule="rate(1 hour)")
    (finding,) = lint([broken, clock], schema("full"), source="udp.raw", detail_type="UdpPacket")
    assert str(finding) == "rules.json:3: error: broken: Event pattern is not valid."
    (finding,) = said({"detail": {"Length": list(range(1000))}})
    assert (finding.severity, finding.message) == (
        "warning",
        "3,913 characters: the quota is 2,048 unless it was raised",
    )


@pytest.mark.parametrize(
    ("detail", "message"),
    [
        ({"Source": {"IpAddress": ["fe80::1"]}}, "is compared as one"),
        ({"Source": {"IpAddress": [{"cidr": "10.0.0.0/8"}]}}, "also matches IPv6 addresses that begin with its bits"),
        ({"Text": [{"equals-ignore-case": "straße"}]}, "no other folding"),
        ({"Text": [{"anything-but": "a"}, {"anything-but": "b"}]}, "joined by OR"),
        ({"Text": ["514"]}, "is a string: the number 514 does not match it"),
    ],
)
def test_surprises(detail: dict[str, Any], message: str) -> None:
    """Where the engine does what a person may not expect, it is told, not changed."""
    (finding,) = said({"detail": detail})
    assert finding.severity == "info"
    assert message in finding.message


def test_notes_of_the_compiler() -> None:
    """Keys written twice are warned of."""
    (finding,) = said('{"detail": {"Length": [1], "Length": [2]}}')
    assert (finding.severity, finding.message) == ("warning", "detail.Length is written twice: the last one counts")


def test_duplicates_and_overlaps() -> None:
    """Rules of one bus that select the same events, and rules within others."""
    twins = said(GOOD, {"detail": {"Destination": {"Port": [514]}}, "source": ["udp.raw"]})
    assert [(one.severity, one.rule, one.message) for one in twins] == [
        ("warning", "r2", "selects the same events as rule r1")
    ]
    inner = said({"source": ["udp.raw"]}, GOOD)
    assert [(one.severity, one.rule, one.message) for one in inner] == [
        ("info", "r2", "all it selects is also selected by rule r1")
    ]
    apart = [Rule("a", Pattern.compile(GOOD)), Rule("b", Pattern.compile(GOOD), bus="other")]
    assert lint(apart, schema("full"), source="udp.raw", detail_type="UdpPacket") == []


def test_errors_come_first() -> None:
    """Findings are sorted by how bad they are."""
    found = said({"detail": {"Source": {"IpAddress": ["10.0.0.1"]}}}, {"detail": {"nowhere": [1]}})
    assert [one.severity for one in found] == ["error", "info"]
    assert found[0].data()["rule"] == "r2"
