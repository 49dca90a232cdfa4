"""The pattern language: its laws, its errors, and what hostile input costs."""

import itertools
import json
import pickle
import time
from collections import OrderedDict, UserDict, UserList, deque
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pcapeda.errors import BadEvent, BadRule
from pcapeda.rules.complexity import MAX_COMPLEXITY, complexity
from pcapeda.rules.flatten import Finder, consistent
from pcapeda.rules.json_reader import check_event, json_of, number, parse, read_event
from pcapeda.rules.matchers import address, in_block, leaf, plain_number, segments
from pcapeda.rules.pattern import Pattern
from pcapeda.rules.rule import Rule
from pcapeda.rules.ruleset import RuleSet

from .strategies import EVENTS, PATTERNS, VALUES, WORDS

JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text()),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
    max_leaves=20,
)


def compiled(pattern: Any) -> Pattern:
    try:
        return Pattern.compile(pattern)
    except BadRule:
        assume(False)
        raise


# what a pattern promises


@given(EVENTS)
def test_a_pattern_built_from_an_event_matches_it(event: dict[str, Any]) -> None:
    """Asking for every value of an event selects that event."""

    def asking(value: Any) -> Any:
        return {key: asked for key, inner in value.items() if (asked := asked_for(inner))}

    def asked_for(value: Any) -> Any:
        if isinstance(value, dict):
            return asking(value)
        if isinstance(value, list):
            return [value[0]] if value and not isinstance(value[0], dict | list) else None
        return [value]

    def named(value: Any) -> bool:
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        return not (isinstance(value, dict) and "" in value) and all(map(named, inner))

    assume(named(event))  # empty names have rules of their own: see below
    pattern = asking(event)
    assume(pattern)
    # a path written twice (dots in names) asks for its last value only, and may then be in conflict with an array
    paths = Pattern.compile(pattern).paths
    assert Pattern.compile(pattern).matches(event) or len(set(paths)) < len(list(_written(pattern)))


def _written(pattern: dict[str, Any]) -> Any:
    for value in pattern.values():
        yield from _written(value) if isinstance(value, dict) else [value]


@given(st.dictionaries(st.sampled_from("abcd"), VALUES, min_size=1), st.data())
def test_any_change_to_a_required_value_unmatches(event: dict[str, Any], data: st.DataObject) -> None:
    """An event that matched no longer does once one required value is another one, or gone."""
    pattern = Pattern.compile({name: [value] for name, value in event.items()})
    assert pattern.matches(event)
    name = data.draw(st.sampled_from(sorted(event)))
    other = data.draw(VALUES)
    assume(type(other) is not type(event[name]) or other != event[name])
    assume(not isinstance(other, str) or address(other) is None or address(other) != address(str(event[name])))
    assume(not (isinstance(other, int | float) and isinstance(event[name], int | float) and other == event[name]))
    assert not pattern.matches({**event, name: other})
    assert not pattern.matches({key: value for key, value in event.items() if key != name})


@given(st.one_of(st.lists(st.sampled_from(WORDS), min_size=1), st.lists(st.integers(-5, 5), min_size=1)), VALUES)
def test_anything_but_is_the_complement_where_the_field_exists(excluded: list[Any], value: Any) -> None:
    """For a field with one value, `anything-but` says the opposite of the same values asked for plainly."""
    plain = [{"exactly": value} if isinstance(value, str) else value for value in excluded]
    asked, refused = Pattern.compile({"a": plain}), Pattern.compile({"a": [{"anything-but": excluded}]})
    assert asked.matches({"a": value}) != refused.matches({"a": value})
    assert not refused.matches({"b": value})


@settings(max_examples=150, deadline=None)
@given(PATTERNS, EVENTS)
def test_text_and_data_mean_the_same(pattern: dict[str, Any], event: dict[str, Any]) -> None:
    """Patterns and events are the same whether they come as text or as data."""
    one = compiled(pattern)
    other = Pattern.compile(json.dumps(pattern, indent=1))
    assert (
        one.matches(event)
        == other.matches(event)
        == one.matches(json.dumps(event))
        == one.matches(json.dumps(event).encode())
    )


@settings(max_examples=150, deadline=None)
@given(PATTERNS, EVENTS)
def test_leaves_are_chosen_as_the_definition_says(pattern: dict[str, Any], event: dict[str, Any]) -> None:
    """Matching equals a search through every choice of leaves, made from the definition of array consistency."""
    one = compiled(pattern)
    named = [path for path in one.paths if not path or path.strip(".")]
    looks_into_empty = any(not path or "" in path.rstrip(".").split(".") for path in named)
    expected = any(
        _reference([(each.path, each.tests) for each in alt.fields], event, looks_into_empty)
        for alt in one.alternatives
    )
    assert one.matches(event) == expected


def _reference(fields: list[Any], event: dict[str, Any], looks_into_empty: bool) -> bool:
    flat: dict[str, list[Any]] = {}
    arrays = itertools.count()

    def walk(steps: tuple[str, ...], value: Any, trail: dict[int, int]) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                if key or looks_into_empty:
                    walk((*steps, key), inner, trail)
        elif isinstance(value, list):
            array = next(arrays)
            for index, inner in enumerate(value):
                walk(steps, inner, {**trail, array: index} if isinstance(inner, dict | list) else trail)
        else:
            flat.setdefault(".".join(steps), []).append((leaf(value), trail))

    walk((), event, {})

    def agrees(one: dict[int, int], other: dict[int, int]) -> bool:
        return all(one.get(array, element) == element for array, element in other.items())

    def search(index: int, chosen: dict[int, int]) -> bool:
        if index == len(fields):
            return True
        path, tests = fields[index]
        there = [(value, trail) for value, trail in flat.get(path, []) if agrees(chosen, trail)]
        if not there and any(test.kind == "absent" for test in tests) and search(index + 1, chosen):
            return True
        return any(
            search(index + 1, {**chosen, **trail})
            for value, trail in there
            if any(test.accepts(value) for test in tests)
        )

    return search(0, {})


@pytest.mark.parametrize(
    ("pattern", "event", "matches"),
    [
        # an empty key to begin with leaves no dot in a pattern, but does in an event
        ({"": [1]}, {"": 1}, True),
        ({"": {"a": [1]}}, {"": {"a": 1}}, False),
        ({"": {"a": [1]}}, {"a": 1}, True),
        ({"": {"a": {"b": [1]}}}, {"": {"a": {"b": 1}}}, True),
        ({"": {"a": {"b": [1]}}}, {"a": {"b": 1}}, False),
        ({"": {"": [1]}}, {"": 1}, True),
        ({"": {"": [1]}}, {"": {"": 1}}, False),
        ({".a": [1]}, {"": {"a": 1}}, True),
        ({".a": [1]}, {".a": 1}, True),
        ({".a": [1]}, {"a": 1}, False),
        # in between it is a name like others
        ({"a": {"": {"b": [1]}}}, {"a": {"": {"b": 1}}}, True),
        ({"a": {"": {"b": [1]}}}, {"a..b": 1}, True),
        ({"a": {"": {"b": [1]}}}, {"a": {"b": 1}}, False),
        # at the end it is not looked into, unless the pattern has an empty name elsewhere
        ({"a": {"": [1]}}, {"a": {"": 1}}, False),
        ({"a": {"": [1]}}, {"a.": 1}, True),
        ({"a": {"": [1]}}, {"a": 1}, False),
        ({"a": {"": [1]}, "": [2]}, {"a": {"": 1}, "": 2}, True),
        ({"a": {"": [1]}, "b..c": [2]}, {"a": {"": 1}, "b..c": 2}, True),
        ({"a": {"": [1]}, "b.c": [2]}, {"a": {"": 1}, "b.c": 2}, False),
        ({"a..": [1]}, {"a": {".": 1}}, True),
        ({"a..": [1]}, {"a": {"": {"": 1}}}, False),
        ({".": [1]}, {".": 1}, True),
        ({".": [1]}, {"": {"": 1}}, False),
        ({"a": {"": [{"exists": False}]}}, {"a": {"": 1}}, True),
        ({"": [{"exists": False}]}, {"": 1}, False),
        ({"": [{"exists": False}]}, {"a": 1}, True),
        ({"a": {"": [1]}}, {"a": [{"": 1}, {".": 1}]}, False),
        ({"." * 40: [1]}, {"." * 40: 1}, True),
        ({"." * 40: [1]}, {"." * 20: {"." * 18: {"": 1}}}, False),
        ({"." * 40 + "a": [1]}, {"." * 20: {"": {"." * 18 + "a": 1}}}, True),
    ],
)  # fmt: skip
def test_empty_names(pattern: dict[str, Any], event: dict[str, Any], matches: bool) -> None:
    """Empty keys mean what they mean to the engine (event-ruler: Path.name, Path.extendedName, isFieldStepUsed)."""
    compiled = Pattern.compile(pattern)
    other = Rule("other", Pattern.compile({"": [{"exists": True}], "a": [{"exists": True}]}))
    for given_event in (event, json.dumps(event)):
        assert compiled.matches(given_event) == matches
        assert compiled.explain(given_event).matched == matches
        assert [rule.name for rule in RuleSet([Rule("one", compiled)]).match(given_event)] == ["one"] * matches
        both = RuleSet([other, Rule("one", compiled)])  # the other's empty name opens nothing for this one
        assert ("one" in [rule.name for rule in both.match(given_event)]) == matches


@given(JSON)
def test_compiling_raises_nothing_but_bad_rule(document: Any) -> None:
    """Whatever JSON is compiled, it becomes a pattern, or a BadRule of one line."""
    for source in (document, json.dumps(document)):
        said = refusal(source)
        assert said is None or (said.startswith("Event pattern is not valid. Reason: ") and said.isprintable())


@given(st.one_of(st.text(), st.binary(), st.sampled_from(["{", '{"a":[', '{"a":[{"prefix":', '{"$or":[{}', "\ud800"])))
def test_compiling_any_text_raises_nothing_but_bad_rule(text: str | bytes) -> None:
    """Whatever text is compiled, nothing but BadRule comes of it."""
    said = refusal(text)
    assert said is None or said.isprintable()


def refusal(source: Any) -> str | None:
    try:
        Pattern.compile(source)
    except BadRule as error:
        return str(error)
    return None


@given(st.one_of(JSON, st.text(), st.binary()))
def test_matching_raises_nothing_but_bad_event(event: Any) -> None:
    """Whatever is matched, the answer is yes, no or BadEvent."""
    pattern = Pattern.compile({"a": [1, {"exists": False}], "b": {"c": [{"anything-but": "x"}]}})
    try:
        assert pattern.matches(event) in (True, False)
    except BadEvent:
        assert not isinstance(event, dict)


@settings(max_examples=150, deadline=None)
@given(PATTERNS)
def test_a_pattern_travels_as_its_text(pattern: dict[str, Any]) -> None:
    """Patterns pickle, and come back equal."""
    one = compiled(pattern)
    back = pickle.loads(pickle.dumps(one))
    assert back == one
    assert back.alternatives[0].fields[0].path == one.alternatives[0].fields[0].path
    assert Pattern.compile(one) is one


@given(JSON)
def test_reader_reads_what_the_library_reads(document: Any) -> None:
    """The reader of patterns keeps any JSON document as it is."""
    text = json.dumps(document)
    node, end = parse(text)
    assert end == len(text)
    assert json.loads(json_of(node)) == document


# errors


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"detail": {"int": 42}}', '"int" must be an object or an array at detail.int (line 1, column 20)'),
        ('{\n "a": [\n  {"exists": "yes"}]}',
         "exists match pattern must be either true or false. at a (line 3, column 14)"),
        ('{"a": {"b": []}}', "Empty arrays are not allowed at a.b (line 1, column 13)"),
        ('{"a": [{"wildcard": "a**b"}]}', "Consecutive wildcard characters at pos 2 at a (line 1, column 21)"),
        ('{"a": [{"wildcard": "é\\\\b"}]}', "Invalid escape character at pos 3 at a (line 1, column 21)"),
        ("this is not JSON",
         "Unrecognized token 'this': was expecting a JSON string, number, array, object or word (line 1, column 1)"),
        ('{"a"}',
         "Unexpected character ('}' (code 125)): was expecting a colon to separate field name and value "
         "(line 1, column 5)"),
        ('{"$or": [{"a": [1]}]}', "There must have at least 2 Objects in $or relationship. at $or (line 1, column 9)"),
    ],
)  # fmt: skip
def test_errors_name_path_and_place(text: str, message: str) -> None:
    """A refused pattern says what is wrong, at which path, in which line and column."""
    with pytest.raises(BadRule) as caught:
        Pattern.compile(text)
    assert str(caught.value) == f"Event pattern is not valid. Reason: {message}"


def test_errors_without_text_name_the_path() -> None:
    """A pattern given as data has paths, but no lines."""
    with pytest.raises(BadRule, match=r"Reason: Bottom must be less than top at detail\.x$"):
        Pattern.compile({"detail": {"x": [{"numeric": [">", 5, "<", 5]}]}})


@pytest.mark.parametrize(
    ("pattern", "note"),
    [
        ('{"a":[1],"a":[2]}', "a is written twice: the last one counts"),
        ('{"a":{"b":[1]},"a.b":[2]}', "a.b is written more than once: the later one replaces the earlier"),
        ('{"a":[1],"$or":[{"a":[2]},{"b":[1]}]}', "a is written more than once: the later one replaces the earlier"),
        ('{"a":[1]} and so on', "text after the closing brace is ignored"),
    ],
)
def test_notes(pattern: str, note: str) -> None:
    """What compiles but may surprise is noted."""
    assert Pattern.compile(pattern).notes == (note,)


# limits


def test_text_limit() -> None:
    """A pattern of 4,096 characters compiles, one of 4,097 does not; white space does not count."""
    longest = '{"a":["' + "x" * (4096 - 10) + '"]}'
    assert len(longest) == 4096
    assert Pattern.compile(longest.replace(":", " : ")).size == 4096
    with pytest.raises(BadRule, match="it has 4,097 characters of 4,096"):
        Pattern.compile(longest.replace("x", "xx", 1))


def test_combinations_limit() -> None:
    """The lengths of all $or arrays multiply to 1,000 at most."""
    ten = [{"a": [index]} for index in range(10)]
    pattern = {"x": {"$or": ten}, "y": {"$or": ten}, "z": {"$or": ten}}
    assert len(Pattern.compile(pattern).alternatives) == 1000
    with pytest.raises(BadRule, match="make 1,100 combinations of 1,000"):
        Pattern.compile({**pattern, "z": {"$or": [*ten, {"a": [10]}]}})


def test_paths_limit() -> None:
    """256 fields are taken, 257 are not."""
    fields = {f"{index:x}": [1] for index in range(256)}
    assert len(Pattern.compile(fields).paths) == 256
    with pytest.raises(BadRule, match="it has 257 fields of 256"):
        Pattern.compile({**fields, "more": [1]})


@pytest.mark.parametrize(
    ("wildcard", "expected"),
    [
        ("abc", 1),
        ("abc*", 2),
        ("*abc*", 3),
        ("*a*b*", 4),
        ("*:*:*:*", 7),
        ("/Users/*/dir/dir/dir/dir/dir/doc.txt", 7),
        ("*123123123123*", 6),
        ("*:*:*:*:*:*", 11),
        ("*aaaaaaaaaa", 11),
    ],
)
def test_complexity_of_known_wildcards(wildcard: str, expected: int) -> None:
    """The measure gives the figures that the engine's own evaluator gives."""
    assert complexity([[segments(wildcard)]], most=50) == expected


@settings(deadline=None)
@given(
    st.lists(
        st.text("ab*", max_size=6).filter(lambda text: "**" not in text).map(lambda text: text.split("*")),
        min_size=1,
        max_size=3,
    )
)
def test_complexity_equals_the_search_of_all_sets(groups: list[list[str]]) -> None:
    """The measure equals a plain search through every reachable set of prefixes."""
    assert complexity([[pieces] for pieces in groups], most=1000) == _reachable(groups)


def _reachable(wildcards: list[list[str]]) -> int:
    elements = [["*" if char == "*" else char for char in '"' + "*".join(pieces) + '"'] for pieces in wildcards]

    def settle(states: set[tuple[int, int]]) -> frozenset[tuple[int, int]]:
        while True:
            more = {(i, at + 1) for i, at in states if at < len(elements[i]) and elements[i][at] == "*"}
            if more <= states:
                return frozenset(states)
            states |= more

    start = settle({(index, 0) for index in range(len(elements))})
    seen, todo, worst = {start}, [start], 0
    while todo:
        states = todo.pop()
        worst = max(worst, sum(1 for _, at in states if at))
        for char in 'ab"':
            after = {(i, at) for i, at in states if at and elements[i][at - 1] == "*"}
            after |= {(i, at + 1) for i, at in states if at < len(elements[i]) and elements[i][at] == char}
            if (acknowledged := settle(after)) not in seen:
                seen.add(acknowledged)
                todo.append(acknowledged)
    return worst


def test_wildcards_on_a_field_add_up() -> None:
    """Wildcards of one field count together, also across $or; those of different fields do not."""
    seven = "*a*a*a*"
    Pattern.compile({"a": [{"wildcard": seven}], "b": [{"wildcard": seven}]})
    with pytest.raises(BadRule, match="Rule is too complex"):
        Pattern.compile({"a": [{"wildcard": seven}, {"wildcard": "*b*b*b*"}]})
    with pytest.raises(BadRule, match="Rule is too complex"):
        Pattern.compile({"$or": [{"a": [{"wildcard": seven}]}, {"a": [{"anything-but": {"wildcard": "*b*b*b*"}}]}]})
    assert MAX_COMPLEXITY == 10


# numbers and addresses


@pytest.mark.parametrize(
    ("text", "by_value"),
    [("300", True), ("3.00e2", True), ("-0", True), ("0e99999", True), ("1e-320", True), ("1e308", True),
     ("9007199254740993", False), ("1.0000000000000001", False), ("1e309", False), ("1e-325", False),
     ("1e99999999999999999999", False), ("1180591620717411303424", False)],
)  # fmt: skip
def test_numbers_that_compare_by_value(text: str, by_value: bool) -> None:
    """A number compares by value if the shortest form of its double is that number."""
    assert isinstance(number(text), float) == by_value


@given(st.ip_addresses())
def test_addresses_are_read_as_the_library_reads_them(one: Any) -> None:
    """Every spelling that the standard library gives an address leads to its digits."""
    mapped = getattr(one, "ipv4_mapped", None)
    digits = (mapped or one).packed.hex()
    if one.version == 4:
        assert address(str(one)) == digits
    else:
        assert {address(str(one)), address(one.exploded), address(one.exploded.upper())} == {digits}


@pytest.mark.parametrize(
    "text",
    ["", "1.2.3", "1.2.3.4.5", "1.2.3.256", "1.2.3.-4", " 1.2.3.4", "1.2.3.4 ", "0000000000001.2.3.4", "١.2.3.4", ":",
     ":::", "1::2::3", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8::", "12345::", "g::", "::1%eth0", "[::1]", "::ffff:1.2.3.4",
     "1:", ":1", "08:23", "aa:bb:cc:dd:ee:ff"],
)  # fmt: skip
def test_what_is_no_address(text: str) -> None:
    """Text that only looks like an address is none."""
    assert address(text) is None


@given(st.ip_addresses(v=4), st.integers(0, 31), st.ip_addresses(v=4))
def test_blocks_hold_what_the_library_says(start: Any, bits: int, one: Any) -> None:
    """An IPv4 block holds the addresses that the standard library finds in it."""
    from ipaddress import ip_network

    operand = Pattern.compile({"a": [{"cidr": f"{start}/{bits}"}]}).alternatives[0].fields[0].tests[0].operand
    assert in_block(operand, one.packed.hex()) == (one in ip_network(f"{start}/{bits}", strict=False))


# events


def test_event_text_keeps_what_a_dictionary_would_lose() -> None:
    """Keys written twice keep both values, numbers keep their digits, and deep events are still read."""
    assert Pattern.compile({"a": [1], "b": [2]}).matches('{"a":1,"a":{"x":0},"b":3,"b":2}')
    assert not Pattern.compile('{"a":[1.0000000000000001]}').matches('{"a":1}')
    deep = '{"a":' * 990 + "1" + "}" * 990
    assert Pattern.compile({"b": [{"exists": False}]}).matches(deep)


@pytest.mark.parametrize("event", ["", "[]", "1", '{"a":NaN}', '{"a":1', b"\xff", '{"a":' * 1001, "{'a':1}", None, 5])
def test_bad_events(event: Any) -> None:
    """What is no JSON object is a BadEvent."""
    with pytest.raises(BadEvent):
        Pattern.compile({"a": [1]}).matches(event)


def test_events_that_test_event_pattern_refuses() -> None:
    """The mandatory members are those the service enforces: `resources` and `detail` may be missing."""
    event = dict.fromkeys(("id", "account", "source", "time", "region", "detail-type"), "x")
    check_event(event)
    for name in event:
        with pytest.raises(BadEvent, match=f"{name} is missing"):
            read_event(json.dumps({key: value for key, value in event.items() if key != name}), complete=True)


# hostile input


def test_hostile_wildcards_are_cheap() -> None:
    """Wildcards that would take a backtracking matcher for ever are decided at once."""
    pattern = Pattern.compile({"a": [{"wildcard": "*a*b*c*d"}], "b": [{"wildcard": "*" + "a" * 4 + "b"}]})
    event = {"a": "abc" * 300_000 + "x", "b": "a" * 1_000_000}
    start = time.process_time()
    assert not pattern.matches(event)
    assert time.process_time() - start < 5


def test_hostile_arrays_are_bounded() -> None:
    """Thousands of array elements that nearly fit are answered, or refused, in bounded time."""
    pattern = Pattern.compile({"a": {"p": [1], "q": [1], "r": [1]}})
    many = [{"p": 1}, {"q": 1}] * 3000
    start = time.process_time()
    assert not pattern.matches({"a": [*many, {"r": 1}]})
    assert pattern.matches({"a": [*many, {"p": 1, "q": 1, "r": 1}]})
    twice = json.dumps({"p": 1, "r": 1}) + "," + json.dumps({"q": 1, "r": 1})
    text = "[" + ",".join([twice] * 3000) + "]"
    assert pattern.matches(f'{{"a":{text},"a":{text}}}')
    assert time.process_time() - start < 20


class Counting(dict[str, Any]):
    """An object that counts how often its members are gone through: once is what a walk costs."""

    walks = 0

    def items(self) -> Any:
        Counting.walks += 1
        return super().items()


def test_the_walk_through_an_event_takes_a_step_for_each_value(monkeypatch: pytest.MonkeyPatch) -> None:
    """However the names of patterns and event are made, each object of the event is gone through at most once."""
    monkeypatch.setattr(Counting, "walks", 0)
    event: Any = 1
    for _ in range(200):
        event = Counting({"a": event, "a.a": Counting({"a": 1}), "b": Counting({"c": 1})})
    finder = Finder([".".join("a" * depth) for depth in range(1, 30)])
    assert len(finder.find(event)) == 27  # those within three names and more, up to 29
    assert Counting.walks == 30 + 28  # objects at the names, and those named with a dot
    monkeypatch.setattr(Counting, "walks", 0)
    Finder(["." * 4000]).find(event)
    assert Counting.walks == 1


@pytest.mark.parametrize(("dots", "places"), [(30, 496), (31, 0), (32, 0), (4000, 0)])
def test_places_of_a_path_grow_with_its_dots(dots: int, places: int) -> None:
    """Up to 32 stops all ways through a path are written down; from there on their number would grow with its square,
    and places are looked up by name."""
    finder = Finder([".".join("x" * (dots + 1))])
    steps = finder._steps.values()
    assert sum(len(step.children) for step in steps) == places
    assert len(steps) == dots + 2
    assert all((step.names is None) == bool(places) for step in steps)


def test_objects_and_arrays_of_other_classes() -> None:
    """An event given as data may be made of any mappings and sequences."""
    pattern = Pattern.compile({"a": {"b": [1], "c": ["x"]}})
    proxy = MappingProxyType({"b": 1, "c": "x"})
    for inner in (proxy, OrderedDict(proxy), (proxy,), deque([proxy]), UserList([UserDict(proxy)])):
        for event in ({"a": inner}, MappingProxyType({"a": inner}), UserDict({"a": inner})):
            assert pattern.matches(event)
            assert pattern.explain(event).matched
            assert RuleSet([Rule("r", pattern)]).match(event)
    apart = UserList([MappingProxyType({"b": 1}), MappingProxyType({"c": "x"})])
    assert not pattern.matches({"a": apart})


def test_choices_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A choice that led nowhere is not followed twice, and past the bound the event is refused as hostile."""
    # 12 fields with 12 elements of an array each, and a last one that agrees with none of them: 12 * 12 choices to look
    # at, where following each of them again would be 12 ** 12
    count = 12
    one = (plain_number("1"),)
    fields = [(one, [(1, ((array, element),)) for element in range(count)]) for array in range(count)]
    fields.append((one, [(1, tuple((array, count) for array in range(count)))]))
    monkeypatch.setattr("pcapeda.rules.flatten.MAX_CHOICES", 1_000)
    assert not consistent(fields)
    nested = Pattern.compile({"a": {"p": [1], "q": [1], "r": [1]}})
    event = {"a": [{"p": 1, "r": 2}, {"q": 1, "p": 1}, {"r": 1}] * 20}
    assert not nested.matches(event)
    monkeypatch.setattr("pcapeda.rules.flatten.MAX_CHOICES", 50)
    for ask in (nested.matches, nested.explain, RuleSet([Rule("r", nested)]).match):
        with pytest.raises(BadEvent, match="event has more than 50 combinations of array elements to look at"):
            ask(json.dumps(event))


def test_hostile_names_are_bounded() -> None:
    """A path of thousands of dots, and an event that answers with dots of its own, cost little memory and time."""
    path = "." * 4000
    pattern = Pattern.compile({path: [1]})
    assert pattern.matches({path: 1})
    assert pattern.matches({path[:2000]: {path[2001:]: 1}})
    assert not pattern.matches({path[:2000]: {path[2000:]: 1}})
    assert not pattern.matches({path[:index]: 1 for index in range(2000)})


def test_self_similar_data_is_refused() -> None:
    """Data that shares its parts, far larger unfolded than in memory, does not compile and does not take for ever."""
    value: Any = ["x"]
    for _ in range(60):
        value = {"a": value, "b": value}
    with pytest.raises(BadRule):
        Pattern.compile(value)
    loop: dict[str, Any] = {}
    loop["a"] = loop
    with pytest.raises(BadRule):
        Pattern.compile(loop)


@pytest.mark.parametrize(
    ("text", "digits"),
    [
        ("::ffff", "0" * 28 + "ffff"),
        ("::10000", None),
        ("1:2:3:4:5:6:7:10000", None),
        ("0ffff::", "ffff" + "0" * 28),
        ("255.255.255.255", "ffffffff"),
        ("256.0.0.0", None),
    ],
)
def test_the_largest_group_of_an_address(text: str, digits: str | None) -> None:
    """Four hex digits' worth and one octet are the most; leading zeros do not count."""
    assert address(text) == digits
