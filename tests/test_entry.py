"""An entry as text and data: what rules see, what put_events takes, and that both say the same."""

import json
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcapeda.aws.wire import entry_json, event_json, put_events_entry
from pcapeda.events.shape import Shape
from pcapeda.model import Entry
from tests.datagrams import EXAMPLE

EVENT_MEMBERS = ["version", "id", "detail-type", "source", "account", "time", "region", "resources", "detail"]
"""The members of an event, all of which TestEventPattern asks for (EventBridge User Guide, 'Event structure')."""

_entries = st.builds(
    Entry,
    source=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12),
    detail_type=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12),
    detail=st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=5), max_size=3).map(json.dumps),
    time_ns=st.none() | st.integers(0, 253_402_300_799_999_999_999),
    resources=st.lists(st.text(max_size=5), max_size=2).map(tuple),
    size=st.just(0),
    id=st.integers(0, 2**128 - 1).map(lambda number: f"{number:032x}"),
)


def test_the_event_as_rules_see_it() -> None:
    """Every member, in the order the service has them; time in whole seconds; detail as an object."""
    entry = Shape().entry(EXAMPLE)
    event = entry.envelope("210987654321", "eu-west-1")
    assert list(event) == EVENT_MEMBERS
    assert event == {
        "version": "0",
        "id": "cd63cbcd-093b-8646-b21b-ca488128f16f",
        "detail-type": "UdpPacket",
        "source": "udp.raw",
        "account": "210987654321",
        "time": "2026-04-10T22:44:04Z",
        "region": "eu-west-1",
        "resources": [],
        "detail": json.loads(entry.detail),
    }


def test_the_id_is_a_uuid_that_comes_from_the_packet() -> None:
    """The same datagram has the same event id on every run; its form is RFC 9562's, version 8."""
    told = [uuid.UUID(Shape(file=file).entry(EXAMPLE).event_id) for file in ("a.pcap", "b.pcap")]
    assert told[0] == told[1]
    assert told[0].variant == uuid.RFC_4122
    assert (told[0].int >> 76) & 0xF == 8
    assert str(told[0]) != Shape(loop=1).entry(EXAMPLE).event_id


def test_an_entry_without_a_time_gets_that_of_the_moment() -> None:
    """The event bears the time of sending, the request none at all."""
    entry = Shape(time="now").entry(EXAMPLE)
    assert entry.envelope(now_ns=86_400 * 10**9)["time"] == "1970-01-02T00:00:00Z"
    assert entry.envelope()["time"] > "2024"
    assert "Time" not in put_events_entry(entry)
    assert "Time" not in json.loads(entry_json(entry))


@given(_entries, st.none() | st.sampled_from(["edge", "arn:aws:events:us-east-1:123456789012:event-bus/edge"]))
def test_lines_and_data_say_the_same(entry: Entry, bus: str | None) -> None:
    """Whatever is in it: one line each, valid JSON, equal to its data; the detail travels as it is."""
    line = event_json(entry, now_ns=0)
    assert "\n" not in line
    event = json.loads(line)
    assert list(event) == EVENT_MEMBERS
    assert event == entry.envelope(now_ns=0)
    assert (event["source"], event["detail-type"], tuple(event["resources"])) == (
        entry.source,
        entry.detail_type,
        entry.resources,
    )
    assert uuid.UUID(event["id"]).variant == uuid.RFC_4122
    request: dict[str, Any] = json.loads(entry_json(entry, bus))
    assert "\n" not in entry_json(entry, bus)
    assert request["Detail"] == entry.detail
    data = put_events_entry(entry, bus)
    assert request.keys() == data.keys()
    assert {**request, "Time": 0} == {**data, "Time": 0}


@pytest.mark.parametrize(
    ("time_ns", "seconds", "text"),
    [
        (0, 0, "1970-01-01T00:00:00Z"),
        (999_999_999, 0, "1970-01-01T00:00:00Z"),
        (1_775_861_044_999_999_999, 1_775_861_044, "2026-04-10T22:44:04Z"),
        (253_402_300_799_999_999_999, 253_402_300_799, "9999-12-31T23:59:59Z"),
    ],
)
def test_times_are_cut_to_whole_seconds(time_ns: int, seconds: int, text: str) -> None:
    """Never rounded up: EventBridge keeps whole seconds, and so do all three forms."""
    entry = Shape().entry(EXAMPLE._replace(time_ns=time_ns))
    assert put_events_entry(entry)["Time"] == seconds
    assert json.loads(entry_json(entry))["Time"] == text
    assert entry.envelope()["time"] == text


@pytest.mark.parametrize("time_ns", [-1, -(10**19), 253_402_300_800_000_000_000, 10**30])
def test_a_capture_time_beyond_the_calendar_is_left_out(time_ns: int) -> None:
    """Before 1970 or after 9999 there is no text for it: the event has the time of sending, and no CapturedAt."""
    entry = Shape().entry(EXAMPLE._replace(time_ns=time_ns))
    assert entry.time_ns is None
    assert "CapturedAt" not in json.loads(entry.detail)
    assert "Timestamp" not in json.loads(Shape("proxylity").entry(EXAMPLE._replace(time_ns=time_ns)).detail)
