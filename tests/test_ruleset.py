"""Many rules at once answer exactly as one rule after the other."""

import itertools
import json
from random import Random
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from pcapeda.aws.wire import event_json
from pcapeda.errors import BadRule
from pcapeda.model import Entry
from pcapeda.rules.flatten import Finder
from pcapeda.rules.json_reader import read_quick
from pcapeda.rules.matchers import Word, address, packed_address
from pcapeda.rules.pattern import Pattern
from pcapeda.rules.rule import Rule, bus_name
from pcapeda.rules.ruleset import RuleSet

from .strategies import ARRAYS, EVENTS, PATTERNS, SCALARS, VALUES


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


def spelt(random: Random, value: Any) -> str:
    """A value as JSON text as nobody would write it: keys twice, escapes, white space, numbers in every form."""
    space = random.choice(["", "", " ", "\n\t"])
    if isinstance(value, dict):
        pairs = [(key, inner) for key, inner in value.items() for _ in range(random.choice([1, 1, 1, 2]))]
        pairs += [(key, random.choice(SCALARS)) for key in value if random.random() < 0.1]
        return "{" + ",".join(f"{space}{spelt(random, key)}{space}:{spelt(random, one)}" for key, one in pairs) + "}"
    if isinstance(value, list):
        return "[" + f"{space},".join(spelt(random, one) for one in value) + "]"
    if isinstance(value, str) and random.random() < 0.3:
        return '"' + "".join(f"\\u{ord(char):04x}" for char in value + random.choice(["", ",", '"', "\ud800"])) + '"'
    if isinstance(value, int | float) and not isinstance(value, bool):
        tail = f"{value!r}0" if "." in repr(value) else f"{value}.0" if abs(value) < 1e9 else f"{value}"
        return random.choice([json.dumps(value), tail, f"{value}e0" if "e" not in repr(value) else json.dumps(value)])
    return json.dumps(value, ensure_ascii=random.random() < 0.5)


@settings(max_examples=300, deadline=None)
@given(st.lists(PATTERNS, min_size=1, max_size=6), EVENTS, st.integers(0, 2**63))
def test_text_in_any_spelling(patterns: list[Any], event: Any, seed: int) -> None:
    """Keys written twice, escapes, white space and digits that no double holds: the quick reader loses nothing."""
    rules = rules_of(patterns)
    together = RuleSet(rules)
    text = spelt(Random(seed), event)
    expected = one_by_one(rules, text)
    assert [rule.name for rule in together.match(text)] == expected
    assert [rule.name for rule in together.match(text.encode("utf-8", "surrogatepass"))] == expected


@pytest.mark.parametrize(
    ("text", "quick"),
    [
        ('{"a": 1, "b": ",,"}', True),
        ('{"a":1,"a":2}', False),
        ('{"a":{"b":1,"b":1}}', False),
        ('{"a":1,"\\u0061":2}', False),
        ('{"a":1,"a":"\\u002c"}', False),
        ('{"a":"\\u002C\\"","b":1}', False),
        ('{"a":"\\\\u002c"}', True),
        ('{"a":"é,\\n","b" : [1 ,2]}', True),
        ("[" * 300 + "]" * 300, False),
        ('{"a":' * 300 + "1" + "}" * 300, False),
        ("[1]", False),
        ('{"a":NaN}', False),
        ('{"a":"\\ud800"}', False),
        ('\ufeff{"a":1}', False),
    ],
)
def test_what_is_read_quickly(text: str, quick: bool) -> None:
    """The quick reader takes objects without keys written twice, and leaves to the others what it cannot vouch for."""
    expected = json.loads(text) if quick else None
    assert read_quick(text) == expected
    assert read_quick(text.encode("utf-8", "surrogatepass")) == expected
    assert read_quick(bytearray(text.encode("utf-8", "surrogatepass"))) == expected


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(["a", "b", "a.b", "b.c", "a.b.c", "", "c", "a-b"]), unique=True), EVENTS)
def test_plain_events_are_found_as_all_others(paths: list[str], event: Any) -> None:
    """What is found in one walk is what the whole search finds; what it cannot tell alone, it leaves alone."""
    finder = Finder(paths)
    plain = finder.find_plain(event)
    if plain is not None:
        assert sorted(plain.items()) == sorted((number, value) for number, value, _ in finder.find(event))
    if not any(isinstance(value, list | dict) for value in event.values()) and not any("." in key for key in event):
        assert plain is not None


def test_plain_events_with_many_fields_asked_for() -> None:
    """However many keys rules ask for at one place, plain events are found as all others."""
    finder = Finder([f"a{i}" for i in range(40)] + [f"b.c{i}" for i in range(40)] + ["d.e"])
    event = {"a3": 1, "a39": None, "a4": [], "b": {"c5": "x", "x": 1, "c6": {"y": 1}}, "d": 5, "z": {"a3": 1}}
    assert finder.find_plain(event) == {3: 1, 39: Word.NULL, 45: "x"}
    assert finder.find_plain({**event, "a5": [1]}) is None
    assert finder.find_plain({**event, "d": [{"e": 1}]}) is None
    assert finder.find_plain({**event, "d.e": 1}) is None
    assert finder.find_plain({**event, "a5": 1.5}, floats=False) is None


LETTERS = st.text('ab*"', max_size=5)


@settings(max_examples=40, deadline=None)
@given(st.lists(LETTERS, min_size=10, max_size=20), st.lists(st.text('abAB"éK', max_size=12), min_size=1, max_size=6))
def test_many_beginnings_ends_and_wildcards(texts: list[str], values: list[str]) -> None:
    """Prefixes, suffixes and wildcards of which some contain others give what each of them gives."""
    kinds: list[Any] = [
        lambda text: {"prefix": text},
        lambda text: {"suffix": text},
        lambda text: {"wildcard": f"*{text}*".replace("**", "*").replace("**", "*")},
        lambda text: {"wildcard": f"{text}*".replace("**", "*").replace("**", "*")},
        lambda text: {"wildcard": f"a*{text}".replace("**", "*").replace("**", "*")},
        lambda text: {"prefix": {"equals-ignore-case": text}},
        lambda text: {"suffix": {"equals-ignore-case": text}},
        lambda text: {"anything-but": [text, "a"]},
    ]
    rules = rules_of([{"a": [kind(text)]} for text in texts for kind in kinds])
    together = RuleSet(rules)
    for value in [*values, *texts, *values]:
        assert [rule.name for rule in together.match({"a": value})] == one_by_one(rules, {"a": value})


def test_text_full_of_what_wildcards_ask_for() -> None:
    """A value in which thousands of places fit some wildcard is answered like any other."""
    rules = rules_of([{"a": [{"wildcard": f"*host{i}*{i}"}]} for i in range(50)] + [{"a": [{"wildcard": "*h*"}]}])
    together = RuleSet(rules)
    for value in ["host" * 20_000, "".join(f"host{i}" for i in range(20_000)) + "-7", "h" * 100_000]:
        assert [rule.name for rule in together.match({"a": value})] == one_by_one(rules, {"a": value})


@settings(deadline=None)
@given(
    st.lists(
        st.lists(st.tuples(st.integers(-9, 3), st.integers(4, 9)), min_size=1, max_size=4), min_size=1, max_size=6
    ),
    st.lists(st.tuples(st.sampled_from(["10.0.0.0", "10.0.0.8", "::", "::a00:0"]), st.integers(0, 31)), min_size=1),
)
def test_several_ranges_in_one_array(ranges: list[list[tuple[int, int]]], blocks: list[tuple[str, int]]) -> None:
    """Ranges and blocks of one array may overlap, touch or hold one another."""
    rules = rules_of(
        [{"a": [{"numeric": [">=", low, "<", high]} for low, high in each]} for each in ranges]
        + [{"a": [{"cidr": f"{start}/{bits}"} for start, bits in blocks]}]
        + [{"a": [{"numeric": [">", low + 0.5]}, {"numeric": ["<=", low]}]} for low, _ in ranges[0]]
    )
    together = RuleSet(rules)
    for value in [*range(-10, 11), *(n + 0.5 for n in range(-10, 10)), "10.0.0.9", "10.0.1.0", "9.255.255.255", "::1"]:
        assert [rule.name for rule in together.match({"a": value})] == one_by_one(rules, {"a": value})


@given(st.one_of(st.ip_addresses().map(str), st.text("0123456789abcf:.%", max_size=20), st.text(max_size=8)))
@example("010.0.0.1")
@example("::ffff:a00:1")
@example("::ffff:10.0.0.1")
@example("1:2:3:4:5:6:7::")
@example("00001::")
@example("10.0.0.1\0")
def test_addresses_are_packed_as_they_are_read(text: str) -> None:
    """The quick way to an address's bytes knows no spelling that the engine does not know."""
    digits = address(text)
    assert packed_address(text) == (None if digits is None else bytes.fromhex(digits))


ENTRY = Entry("udp.raw", "UdpPacket", "{}", 1_700_000_000_123_456_789, ("arn:a", "arn:b"), 0, "0" * 32)


@given(
    st.lists(
        st.sampled_from(
            [
                '{"source": ["udp.raw"], "detail": {"a": [1]}}',
                '{"resources": ["arn:b"]}',
                '{"account": ["1"], "region": ["eu-west-1"], "version": ["0"]}',
                '{"time": ["2023-11-14T22:13:20Z"]}',
                '{"id": [{"prefix": "00000000-"}]}',
                '{"detail-type": [{"anything-but": "UdpFlow"}], "detail": {"a": [{"numeric": [">", 0]}]}}',
                '{"detail": {"a": [9007199254740993, 1.0000000000000001]}}',
                '{"replay-name": [{"exists": false}]}',
            ]
        ),
        unique=True,
    ),
    st.sampled_from(
        ['{"a": 1}', '{"a":1.0}', '{"a":9007199254740993}', '{"a":1.0000000000000001}', '{"a":2,"a":1}', '{"a":[0,1]}']
    ),
)
def test_entries_match_as_their_events(patterns: list[str], detail: str) -> None:
    """What is asked of an entry is answered as for its event's text."""
    together = RuleSet(rules_of(patterns))
    entry = ENTRY._replace(detail=detail)
    expected = together.match(event_json(entry, "1", "eu-west-1"))
    assert together.match_entry(entry, "1", "eu-west-1") == expected
    assert [rule.name for rule in expected] == one_by_one(list(together.rules), event_json(entry, "1", "eu-west-1"))


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
    assert len(index.deduplicated) <= 8193
    assert max(len(str(value)) for value in index.deduplicated) < 300


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
    assert [rule.inactive_reason("udp") for rule in rules] == [
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
