"""Flows: one event for each source, destination and port in a window, whose counts leave nothing out."""

import base64
from collections import Counter, defaultdict

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcapeda.events.flows import MAX_REST, SAMPLE_BYTES, FlowTable, SummaryEvent
from pcapeda.events.schema import schema
from pcapeda.events.shape import Shape
from pcapeda.model import Datagram
from tests.datagrams import EXAMPLE, datagrams

SECOND = 1_000_000_000
VALID = jsonschema.Draft202012Validator(schema("flow"), format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER)


def table(seconds: float = 60, *, shape: Shape | None = None, max_flows: int = 1000, aligned: bool = True) -> FlowTable:
    return FlowTable(shape or Shape(), int(seconds * SECOND), max_flows=max_flows, aligned=aligned)


def at(second: float, **other: object) -> Datagram:
    return EXAMPLE._replace(time_ns=int(second * SECOND), **other)  # type: ignore[arg-type]


def summed(flows: FlowTable, packets: list[Datagram]) -> list[SummaryEvent]:
    told = []
    for packet in packets:
        told += flows.add(packet, packet.time_ns or 0)
    return told + flows.finish()


def details(told: list[SummaryEvent]) -> list[dict]:
    return [entry.envelope(now_ns=0)["detail"] for entry, *_ in told]


def test_a_flow_s_event_says_all_there_is() -> None:
    """Every member by hand: counts, UDP bytes with headers, first and last time, the first payload."""
    packets = [at(60, payload=b"one", length=11), at(61.5, payload=b"three", length=13), at(61, payload=b"", length=8)]
    ((entry, source, _),) = summed(table(shape=Shape(file="/tmp/x.pcap", resources=("arn:x",))), packets)
    assert source == "198.51.100.7"
    assert (entry.source, entry.detail_type, entry.datagram_count) == ("udp.raw", "UdpFlow", 3)
    assert (entry.resources, entry.time_ns, entry.datagram) == (("arn:x",), 60 * SECOND, None)
    assert entry.envelope()["detail"] == {
        "Destination": {"IpAddress": "192.0.2.1", "Port": 514},
        "Source": {"IpAddress": "198.51.100.7"},
        "IpVersion": 4,
        "WindowSeconds": 60,
        "Count": 3,
        "Bytes": 32,
        "FirstAt": "1970-01-01T00:01:00.000000000Z",
        "LastAt": "1970-01-01T00:01:01.500000000Z",
        "Capture": {"Frame": 17, "File": "x.pcap"},
        "FirstLength": 11,
        "FirstPayload": base64.b64encode(b"one").decode(),
    }


def test_windows_begin_at_multiples_of_their_length() -> None:
    """By the capture's time: a window of 10 s ends at 20, 30, … whatever the first packet's time is."""
    told = summed(table(10), [at(19), at(19.999), at(20), at(29), at(55)])
    assert [detail["Count"] for detail in details(told)] == [2, 2, 1]


def test_live_windows_begin_with_their_first_datagram() -> None:
    """By the clock: ten seconds from the first one, and `due` ends it without another datagram."""
    flows = table(10, aligned=False)
    assert flows.add(EXAMPLE, 19 * SECOND) == []
    assert flows.due(29 * SECOND - 1) == []
    assert len(flows.due(29 * SECOND)) == 1
    assert flows.due(10**15) == []


def test_a_datagram_out_of_order_does_not_end_its_window() -> None:
    """Older than the window by less than its length: counted in it; older than that, a window of its own."""
    told = summed(table(10), [at(20), at(18), at(21)])
    assert [detail["Count"] for detail in details(told)] == [3]
    assert details(told)[0]["FirstAt"] == "1970-01-01T00:00:18.000000000Z"
    told = summed(table(10), [at(1000), at(5), at(6), at(1001)])
    assert [detail["Count"] for detail in details(told)] == [1, 2, 1]


def test_a_long_first_payload_is_a_sample() -> None:
    """Up to a kilobyte is shown; its length is told."""
    ((entry, *_),) = summed(table(), [at(0, payload=bytes(5000), length=5008)])
    detail = entry.envelope()["detail"]
    assert base64.b64decode(detail["FirstPayload"]) == bytes(SAMPLE_BYTES)
    assert detail["FirstLength"] == 5008


def test_what_a_window_has_no_room_for_is_summed_up() -> None:
    """Beyond max_flows sources are left out, beyond the places for the rest destinations, too; no count is lost."""
    flows = table(max_flows=10)
    packets = [at(1, source=f"10.0.{n >> 8}.{n & 255}") for n in range(1000)]
    packets += [at(1, source="10.9.9.9", destination_port=n) for n in range(2000)]
    told = details(summed(flows, packets))
    assert len(told) == 10 + MAX_REST + 1
    assert sum(detail["Count"] for detail in told) == 3000
    rest = [detail for detail in told if detail.get("Rest")]
    assert all("Source" not in detail for detail in rest)
    assert rest[0]["Destination"]["Port"] == 514
    assert rest[0]["Count"] == 991
    assert "Destination" not in rest[-1]
    for entry, source, _ in summed(table(max_flows=1), packets):
        VALID.validate(entry.envelope())
        assert source == entry.envelope()["detail"].get("Source", {}).get("IpAddress")


@settings(max_examples=60, deadline=None)
@given(st.lists(datagrams(), max_size=30), st.sampled_from([0.1, 1, 86_400]), st.integers(1, 5), st.booleans())
def test_every_datagram_counts_once(packets: list[Datagram], seconds: float, room: int, aligned: bool) -> None:
    """Whatever comes: counts and bytes add up, each event is valid, stands for its count, and is new."""
    packets = [packet._replace(number=number + 1) for number, packet in enumerate(packets)]
    told = summed(table(seconds, max_flows=room, aligned=aligned), packets)
    assert sum(entry.datagram_count for entry, *_ in told) == len(packets)
    seen = details(told)
    assert sum(detail["Bytes"] for detail in seen) == sum(packet.length for packet in packets)
    for (entry, *_), detail in zip(told, seen, strict=True):
        assert entry.datagram_count == detail["Count"]
        VALID.validate(entry.envelope(now_ns=0))
    assert len({entry.id for entry, *_ in told}) == len(told)


@settings(max_examples=40, deadline=None)
@given(st.lists(datagrams(), max_size=30), st.integers(1, 5), st.integers(1, 30))
def test_each_ordinal_is_in_the_event_that_counts_it(packets: list[Datagram], room: int, most: int) -> None:
    """Where ordinals are asked for: as many as datagrams, each once, and a window ends before there are too many."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("pcapeda.events.flows.MAX_ORDINALS", most)
        flows = table(86_400, max_flows=room, aligned=False)
        windows = [flows.add(packet, 0, ordinal) for ordinal, packet in enumerate(packets, 1000)] + [flows.finish()]
    told = [one for window in windows for one in window]
    assert all(one.entry.datagram_count == len(one.ordinals) for one in told)
    assert all(list(one.ordinals) == sorted(one.ordinals) for one in told)
    assert sorted(ordinal for one in told for ordinal in one.ordinals) == list(range(1000, 1000 + len(packets)))
    assert all(sum(len(one.ordinals) for one in window) <= most for window in windows)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 2), st.integers(0, 2)), max_size=60))
def test_flows_are_those_of_a_plain_count(steps: list[tuple[int, int, int]]) -> None:
    """In order of time, against a dictionary of window, source and port."""
    packets = [
        at(second / 4, source=f"10.0.0.{source}", destination_port=port) for second, source, port in sorted(steps)
    ]
    truth = Counter((second // 20, f"10.0.0.{source}", port) for second, source, port in steps)
    found: dict[tuple[int, str, int], int] = defaultdict(int)
    for entry, *_ in summed(table(5), packets):
        detail = entry.envelope()["detail"]
        assert entry.time_ns is not None
        window = entry.time_ns // (5 * SECOND)
        key = (window, detail["Source"]["IpAddress"], detail["Destination"]["Port"])
        assert key not in found
        found[key] = detail["Count"]
    assert found == truth


@pytest.mark.parametrize("shape", [Shape(), Shape(source="mine", detail_type="Mine", time="now")])
def test_the_identity_is_the_shape_s(shape: Shape) -> None:
    """--source, --detail-type and --time hold for summaries, too; the kind is UdpFlow unless another is given."""
    ((entry, *_),) = summed(table(shape=shape), [at(1)])
    assert entry.source == shape.source
    assert entry.detail_type == ("Mine" if shape.source == "mine" else "UdpFlow")
    assert (entry.time_ns is None) == (shape.time == "now")
