"""The JSON Schemas: themselves valid, strict, every member described, and true of every event."""

import copy
import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcapeda.errors import BadConfig
from pcapeda.events.flows import FlowTable
from pcapeda.events.groups import Grouper
from pcapeda.events.reports import ReportPeriod, report_entry
from pcapeda.events.schema import IDENTITIES, schema
from pcapeda.events.shape import Shape
from pcapeda.events.shapes import SHAPES as ROWS
from pcapeda.model import Entry
from pcapeda.ruletest.suite import schema as suite_schema
from tests.datagrams import EXAMPLE, datagrams

SHAPES = list(ROWS)
KINDS = list(IDENTITIES)


def example(kind: str) -> Entry:
    """One event of each kind, with as many members as it can have."""
    datagram = EXAMPLE._replace(via=("eth", "vlan:10", "ip4"), whole=False, interface="eth0")
    shape = Shape(resources=("arn:x",))
    if kind == "flow":
        table = FlowTable(shape, 10**9, max_flows=1, aligned=True)
        table.add(datagram, 0)
        return table.finish()[0][0]
    if kind == "batch":
        return Grouper(shape, 1, 10**9).add(datagram, 0)[0][0]
    if kind == "report":
        period = ReportPeriod(1.5, 9, 1, 8, 7, 6, {"rate limit": 5}, {"denied": 4}, 3, 2, 1, 4)
        sources, turned_away = [("192.0.2.1", 4)], [(("rate limit", "2001:db8::/64"), 5)]
        return report_entry(shape, 1, period, time_ns=10**18, cost_usd=0.5, sources=sources, turned_away=turned_away)
    return Shape(kind, resources=("arn:x",)).entry(datagram)  # type: ignore[arg-type]


def objects(node: Any, path: str = "$") -> Iterator[tuple[str, dict[str, Any]]]:
    """Each object schema with named members, with its path."""
    if isinstance(node, dict):
        if "properties" in node:
            yield path, node
        for name, inner in node.items():
            yield from objects(inner, f"{path}.{name}")


@pytest.mark.parametrize("name", KINDS)
def test_a_schema_is_valid_by_its_own_dialect(name: str) -> None:
    """Draft 2020-12 says so, and it survives JSON."""
    told = schema(name)
    assert told["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.Draft202012Validator.check_schema(told)
    assert json.loads(json.dumps(told)) == told


@pytest.mark.parametrize("name", KINDS)
def test_every_member_is_described_and_no_other_is_allowed(name: str) -> None:
    """Objects with named members are closed; each leaf says what it is."""
    for path, node in objects(schema(name)):
        assert node["additionalProperties"] is False, path
        for member, inner in node["properties"].items():
            if "properties" not in inner and "items" not in inner:
                assert inner.get("description"), f"{path}: {member}"


@pytest.mark.parametrize("name", SHAPES)
@settings(max_examples=60)
@given(datagrams(), st.sampled_from(["capture", "now"]), st.booleans())
def test_every_event_validates(name: Any, datagram: Any, time: Any, extras: bool) -> None:
    """Whatever the datagram, with formats checked."""
    extras = extras and name == "full"
    shape = Shape(name, time=time, text=extras, json_payload=extras, file=None if extras else "a.pcap")
    event = shape.entry(datagram).envelope(now_ns=0)
    jsonschema.Draft202012Validator(
        schema(name), format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
    ).validate(event)


def test_text_and_json_validate() -> None:
    """The two additions of the full shape are part of its schema."""
    shape = Shape(text=True, json_payload=True)
    event = shape.entry(EXAMPLE._replace(payload=b'{"t": 21.5}')).envelope()
    assert event["detail"].keys() >= {"Text", "Json"}
    jsonschema.validate(event, schema("full"))


def leaves(node: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if isinstance(node, dict | list):
        for key, inner in node.items() if isinstance(node, dict) else enumerate(node):
            yield from leaves(inner, (*path, key))
    else:
        yield path


@pytest.mark.parametrize("name", KINDS)
def test_a_schema_can_refuse(name: Any) -> None:
    """Each value of a real event, replaced by a list, makes it invalid; so does each missing top member."""
    event = example(name).envelope()
    validator = jsonschema.Draft202012Validator(schema(name))
    assert validator.is_valid(event)
    for path in leaves(event):
        broken: Any = copy.deepcopy(event)
        place = broken
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = []
        assert not validator.is_valid(broken), path
    for member in event:
        assert not validator.is_valid({key: value for key, value in event.items() if key != member}), member
    assert not validator.is_valid(event | {"more": 1})


def test_an_unknown_shape_is_refused() -> None:
    """By the names there are."""
    with pytest.raises(BadConfig, match=", ".join(KINDS)):
        schema("round")


def test_suite_files_know_every_shape() -> None:
    """The one list of shapes that is no code: what editors complete in a suite file."""
    assert suite_schema()["properties"]["event"]["properties"]["shape"]["enum"] == SHAPES
