"""Why a pattern matched, or what was missing, and by how little."""

import json
import time
from typing import Any

import pytest
from hypothesis import assume, given, settings

from pcapeda.errors import BadRule
from pcapeda.rules.pattern import Pattern

from .strategies import EVENTS, PATTERNS

EVENT: dict[str, Any] = {
    "source": "udp.raw",
    "detail-type": "UdpPacket",
    "detail": {
        "Destination": {"IpAddress": "192.0.2.1", "Port": 514},
        "Text": "<134>link down",
        "Via": ["eth", "vlan:10"],
        "Seen": [{"name": "Anna", "at": "Smith"}, {"name": "Bob", "at": "Jones"}],
        "Json": {},
    },
}


def explained(detail: dict[str, Any], **top: Any) -> Any:
    return Pattern.compile({**top, "detail": detail}).explain(EVENT)


@settings(max_examples=150, deadline=None)
@given(PATTERNS, EVENTS)
def test_the_verdict_is_that_of_matching(pattern: dict[str, Any], event: dict[str, Any]) -> None:
    """An explanation says match exactly where the pattern matches, and otherwise names what failed."""
    try:
        one = Pattern.compile(pattern)
    except BadRule:
        assume(False)
        raise
    explanation = one.explain(event)
    assert explanation.matched == one.matches(event)
    if explanation.matched:
        assert not explanation.misses
        assert not explanation.note
    else:
        assert explanation.misses or explanation.note
    distances = [part.distance for part in explanation.misses]
    assert distances == sorted(distances)
    assert json.loads(json.dumps(explanation.data()))["matched"] == explanation.matched
    assert len(str(explanation).splitlines()) == 1 + len(explanation.parts)


def test_a_match_names_the_values_that_satisfied() -> None:
    """For a match, each field says which value satisfied which alternative."""
    explanation = explained(
        {
            "Destination": {"Port": [53, {"numeric": [">", 500]}]},
            "Via": [{"prefix": "vlan:"}],
            "No": [{"exists": False}],
        }
    )
    assert str(explanation) == (
        "match\n"
        '  holds  detail.Destination.Port: 514 satisfies {"numeric":[">",500]}\n'
        '  holds  detail.No: absent satisfies {"exists":false}\n'
        '  holds  detail.Via: "vlan:10" satisfies {"prefix":"vlan:"}'
    )


def test_the_nearest_miss_comes_first() -> None:
    """Failed fields are told before those that hold, the nearest miss first."""
    explanation = explained(
        {"Destination": {"Port": ["514"], "IpAddress": [{"cidr": "10.0.0.0/8"}]}}, source=["udp.raw"]
    )
    assert str(explanation) == (
        "no match: 2 of 3 fields failed\n"
        '  fails  detail.Destination.Port: wants ["514"], the event has 514: a number, not a string\n'
        '  fails  detail.Destination.IpAddress: wants [{"cidr":"10.0.0.0/8"}], the event has "192.0.2.1": '
        "another address\n"
        '  holds  source: "udp.raw"'
    )


@pytest.mark.parametrize(
    ("detail", "note"),
    [
        ({"destination": {"Port": [514]}}, "detail.Destination.Port is there: names are case-sensitive"),
        ({"Destination": {"Prot": [514]}}, "did it mean detail.Destination.Port?"),
        ({"Port": [514]}, "did it mean detail.Destination.Port?"),
        ({"Destination": [{"exists": True}]}, "an object is there, and only values can be matched"),
        ({"Json": [{"exists": True}]}, "an empty object is there"),
        ({"Text": [{"exists": False}]}, "it must not be there"),
        ({"Text": ["<134>LINK DOWN"]}, "differs only in case"),
        ({"Text": ["<134>link down "]}, "differs only in white space"),
        ({"Text": [{"prefix": "<135>"}]}, 'begins with "<134>"'),
        ({"Text": [{"suffix": "DOWN"}]}, "ends so, but in another case"),
        ({"Text": [{"wildcard": "*up*"}]}, "the wildcard does not fit"),
        ({"Text": [{"cidr": "10.0.0.0/8"}]}, "not an address"),
        ({"Text": [{"anything-but": {"prefix": "<"}}]}, "it is one of those excluded"),
        ({"Text": [5]}, "a string, not a number"),
        ({"Destination": {"Port": [{"numeric": ["<", 500]}]}}, "out of range"),
        ({"Destination": {"Port": [True]}}, "a number, not true"),
        ({"Destination": {"Port": [{"prefix": "5"}]}}, "a number, not a string"),
        ({"Quite": {"another": ["x"]}}, ""),
        ({"Text": {"level": ["x"]}}, "detail.Text is a value there, not an object: it has no members"),
    ],
)
def test_what_is_different(detail: dict[str, Any], note: str) -> None:
    """A failed field says in words what is different, and which names it may have meant."""
    (miss,) = explained(detail).misses
    assert miss.note == note


@pytest.mark.parametrize(
    ("wanted", "there", "note"),
    [
        (["37.807807921694092"], "37.80780792169409", "no double is exactly the pattern's number: such numbers match "),
        (["37.5"], "37.807807921694092", "no double is exactly the event's number: such numbers match "),
        (["12345678901234567891"], "12345678901234567890", "no double is exactly either number: such numbers match "),
        (['{"numeric":[">",5]}'], "12345678901234567890", "no double is exactly the event's number, and such numbers "),
        (["1"], "2", ""),
        (['{"exists":false}'], "null", "it must not be there, and null is a value"),
        (['{"suffix":"b"}'], '""', "it is empty"),
        (['{"equals-ignore-case":"STRASSE"}'], '"straße"', "differs only in case, of letters whose"),
        (['"caf\u00e9"'], '"cafe\u0301"', "looks the same, but is written with other characters "),
    ],
)  # fmt: skip
def test_whose_number_or_text_it_is(wanted: list[str], there: str, note: str) -> None:
    """What no double holds is named as the pattern's or the event's; what looks alike and is not is told apart."""
    explanation = Pattern.compile(f'{{"x":[{",".join(wanted)}]}}').explain(f'{{"x":{there}}}')
    (miss,) = explanation.misses
    assert miss.note.startswith(note)
    assert bool(miss.note) == bool(note)


@pytest.mark.parametrize(
    ("pattern", "event", "note"),
    [
        ({"": {"a": [1]}}, {"": {"a": 1}}, "did it mean .a?"),
        ({"d": {"": [1]}}, {"d": {"": 1}}, "it is there under an empty name, which EventBridge does not look into "),
        ({"": [1]}, {"": {"x": 1}}, "an object is there, and only values can be matched"),
        ({"": [1]}, {"x": 1}, ""),
    ],
)
def test_empty_names(pattern: dict[str, Any], event: dict[str, Any], note: str) -> None:
    """An empty name is a name, told from the event itself."""
    (miss,) = Pattern.compile(pattern).explain(event).misses
    assert miss.note.startswith(note)
    assert bool(miss.note) == bool(note)


def test_misspelt_names_are_given_as_data() -> None:
    """The names that are there instead can be read by a program."""
    (miss,) = explained({"destination": {"port": [514]}}).misses
    assert miss.near == ("detail.Destination.Port",)
    assert miss.had == ()


def test_the_nearest_branch_of_or() -> None:
    """With `$or`, the branch with the fewest and smallest misses is told; for a match, the branch that matched."""
    detail = {"$or": [{"Text": ["x"], "Via": ["y"]}, {"Destination": {"Port": [515]}}]}
    explanation = explained(detail)
    assert explanation.branches == ("detail.$or[1]",)
    assert str(explanation).startswith("no match: 1 of 1 fields failed (nearest of 2 alternatives: detail.$or[1])\n")
    detail["$or"].append({"Via": ["eth"]})
    assert str(explained(detail)).startswith("match (by detail.$or[2])\n")


def test_the_nearest_element_of_an_array() -> None:
    """Fields that hold only in different elements say which array keeps them apart and which element came nearest."""
    explanation = explained({"Seen": {"name": ["Anna"], "at": ["Jones"]}, "Via": ["eth"]})
    assert not explanation.misses
    assert explanation.note == (
        "no single element of detail.Seen holds detail.Seen.at and detail.Seen.name; nearest is detail.Seen[1], "
        "which lacks detail.Seen.name"
    )
    assert explanation.together == ("detail.Seen.at", "detail.Seen.name")


def test_a_match_in_an_array_names_values_of_one_element() -> None:
    """For a match inside an array, the values told come from elements that agree."""
    explanation = explained({"Seen": {"name": [{"exists": True}], "at": ["Jones"]}})
    assert [part.had for part in explanation.parts] == [('"Jones"',), ('"Bob"',)]


def test_long_values_and_many_values_are_cut() -> None:
    """Values are told as far as a person reads."""
    event = {"a": ["x" * 500, *(f"value {index}" for index in range(99))]}
    (miss,) = Pattern.compile({"a": ["y"]}).explain(event).misses
    assert len(miss.had) == 5
    assert miss.more == 95
    assert len(miss.had[0]) == 80
    assert " and 95 more" in str(miss)


def test_large_events_are_explained_in_bounded_time() -> None:
    """Thousands of elements that nearly fit do not make the explanation quadratic."""
    pattern = Pattern.compile({"a": {"p": [1], "q": [1]}, "b": ["x" * 200, {"prefix": "y" * 200}]})
    event = {"a": [{"p": 1}, {"q": 1}] * 3000, "b": [f"{index:0200}" for index in range(3000)]}
    start = time.process_time()
    assert not pattern.explain(event).matched
    event["b"] = "x" * 200
    assert pattern.explain(event).note.startswith("no single element of a holds a.p and a.q")
    event["a"].append({"p": 1, "q": 1})  # type: ignore[attr-defined]
    assert pattern.explain(event).matched
    assert time.process_time() - start < 20
