"""Many rules at once answer exactly as one rule after the other."""

import itertools
import json
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pcapeda.errors import BadRule
from pcapeda.rules.pattern import Pattern
from pcapeda.rules.rule import Rule, bus_name
from pcapeda.rules.ruleset import RuleSet

from .strategies import ARRAYS, EVENTS, PATTERNS, VALUES


def rules_of(patterns: list[Any]) -> list[Rule]:
    rules = []
    for index, pattern in enumerate(patterns):
        try:
            rules.append(Rule(f"rule-{index}", Pattern.compile(pattern)))
        except BadRule:
            continue
    return rules


def one_by_one(rules: list[Rule], event: Any) -> list[str]:
    return [rule.name for rule in rules if rule.pattern and rule.pattern.matches(event)]


@settings(max_examples=150, deadline=None)
@given(st.lists(PATTERNS, max_size=8), st.lists(EVENTS, min_size=1, max_size=4))
def test_equals_rule_by_rule(patterns: list[Any], events: list[Any]) -> None:
    """The set gives the rules that each pattern alone would give, in their order, event after event."""
    rules = rules_of(patterns)
    together = RuleSet(rules)
    for event in events:
        expected = one_by_one(rules, event)
        assert [rule.name for rule in together.match(event)] == expected
        assert [rule.name for rule in together.match(json.dumps(event))] == expected


@settings(max_examples=150, deadline=None)
@given(st.lists(ARRAYS, min_size=1, max_size=12), st.lists(VALUES, min_size=1, max_size=6))
def test_equals_rule_by_rule_on_one_field(arrays: list[Any], values: list[Any]) -> None:
    """The index of one field agrees with each operator's own test, for values asked once and again."""
    rules = rules_of([{"a": array} for array in arrays])
    assume(rules)
    together = RuleSet(rules)
    for value in [*values, *values, values]:
        assert [rule.name for rule in together.match({"a": value})] == one_by_one(rules, {"a": value})


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([">", ">="]), st.integers(-9, 3), st.sampled_from(["<", "<="]), st.integers(4, 9)),
        min_size=1,
        max_size=20,
    ),
    st.lists(st.one_of(st.integers(-10, 10), st.floats(-10, 10)), min_size=1),
)
def test_many_ranges(ranges: list[Any], values: list[float]) -> None:
    """Overlapping numeric ranges, alone and two in one array, give what each range gives."""
    numeric = [{"numeric": list(each)} for each in ranges]
    pairs = itertools.pairwise(numeric)
    rules = rules_of([{"a": [each]} for each in numeric] + [{"a": list(pair)} for pair in pairs])
    together = RuleSet(rules)
    for value in values:
        assert [rule.name for rule in together.match({"a": value})] == one_by_one(rules, {"a": value})


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.ip_addresses(), st.integers(0, 127)), min_size=1, max_size=20), st.lists(st.ip_addresses())
)
def test_many_blocks(blocks: list[Any], addresses: list[Any]) -> None:
    """Address blocks of both families give what each block gives, also across families."""
    rules = rules_of([{"a": [{"cidr": f"{start}/{bits}"}]} for start, bits in blocks])
    together = RuleSet(rules)
    tried = [*addresses, *(start for start, _ in blocks), "0.0.0.0", "255.255.255.255", "::", "ff::"]
    for one in tried:
        assert [rule.name for rule in together.match({"a": str(one)})] == one_by_one(rules, {"a": str(one)})


def test_three_hundred_mixed_rules() -> None:
    """A full bus answers as its rules one by one do, on events that vary in every field."""
    kinds: list[Any] = [
        lambda i: {"Destination": {"Port": [i]}},
        lambda i: {"Source": {"IpAddress": [{"cidr": f"10.{i % 3}.{i % 256}.0/24"}]}},
        lambda i: {"Destination": {"Port": [{"numeric": [">", i, "<=", i + 9]}]}},
        lambda i: {"Text": [{"prefix": f"<{i}"}]},
        lambda i: {"Text": [{"wildcard": f"*host{i} *"}]},
        lambda i: {"Source": {"IpAddress": [{"anything-but": f"10.0.{i}.1"}]}, "Length": [i]},
        lambda i: {"Text": [{"suffix": f"{i}"}, {"exists": False}], "Destination": {"Port": [i]}},
    ]
    rules = rules_of([{"source": ["udp.raw"], "detail": kinds[i % len(kinds)](i)} for i in range(300)])
    together = RuleSet(rules)
    hits = 0
    for i in range(300):
        detail: dict[str, Any] = {
            "Destination": {"Port": i},
            "Source": {"IpAddress": f"10.{i % 3}.{i % 256}.1"},
            "Length": i * 7 % 300,
        }
        if i % 3:
            detail["Text"] = f"<{i}>1 host{i} said {i}"
        event = {"source": "udp.raw", "detail": detail}
        expected = one_by_one(rules, event)
        assert [rule.name for rule in together.match(event)] == expected
        hits += len(expected)
    assert len(rules) == 300
    assert hits > 300


def test_values_seen_do_not_fill_memory() -> None:
    """However many different values are seen, only some thousands are remembered, and no long ones."""
    together = RuleSet(rules_of([{"a": [{"prefix": "1"}, 5]}]))
    for value in range(20_000):
        assert bool(together.match({"a": str(value)})) == str(value).startswith("1")
    together.match({"a": "1" * 10_000})
    (index,) = together._indexes
    assert len(index.known) <= 8193
    assert max(len(str(value)) for value in index.known) < 300


def test_rules_that_cannot_select_are_kept_and_silent() -> None:
    """Disabled rules, schedules, rules of another bus and rules without a usable pattern never match, and say why."""
    any_source = Pattern.compile({"source": [{"exists": True}]})
    arn = "arn:aws:events:us-east-1:123456789012:event-bus/udp"
    rules = [
        Rule("on", any_source, bus="udp"),
        Rule("by-arn", any_source, bus=arn),
        Rule("all-trails", any_source, bus="udp", state="ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS"),
        Rule("off", any_source, bus="udp", state="DISABLED"),
        Rule("elsewhere", any_source, bus="default"),
        Rule("clock", None, bus="udp", schedule="rate(5 minutes)"),
        Rule("broken", None, bus="udp", problem="Event pattern is not valid."),
        Rule("empty", None, bus="udp"),
    ]
    event = {"source": "udp.raw"}
    assert [rule.name for rule in RuleSet(rules, bus="udp").match(event)] == ["on", "by-arn", "all-trails"]
    assert [rule.name for rule in RuleSet(rules, bus=arn).match(event)] == ["on", "by-arn", "all-trails"]
    assert [rule.name for rule in RuleSet(rules).match(event)] == ["on", "by-arn", "all-trails", "elsewhere"]
    assert [rule.silent("udp") for rule in rules] == [
        "",
        "",
        "",
        "disabled",
        "on another bus: default",
        "runs on a schedule",
        "Event pattern is not valid.",
        "has no event pattern",
    ]
    assert bus_name(arn) == "udp"
    assert RuleSet([]).match(event) == []
