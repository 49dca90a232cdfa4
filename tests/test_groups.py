"""Groups: every datagram is in exactly one of them, in order, and no event outgrows a billed chunk."""

import base64
import json

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcapeda.aws import quotas
from pcapeda.events.flows import SummaryEvent
from pcapeda.events.groups import MAX_OPEN, MAX_OPEN_BYTES, Grouper
from pcapeda.events.identity import packet_id
from pcapeda.events.schema import schema
from pcapeda.events.shape import Shape
from pcapeda.model import Datagram
from tests.datagrams import EXAMPLE, datagrams

SECOND = 1_000_000_000
VALID = jsonschema.Draft202012Validator(schema("batch"), format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER)


def grouped(grouper: Grouper, packets: list[Datagram], gap_ns: int = 0) -> list[SummaryEvent]:
    told = []
    for number, packet in enumerate(packets):
        told += grouper.add(packet, number * gap_ns)
    return told + grouper.finish()


def details(told: list[SummaryEvent]) -> list[dict]:
    return [entry.envelope(now_ns=0)["detail"] for entry, *_ in told]


def test_a_group_s_event_says_all_there_is() -> None:
    """Every member by hand; the article's rule selects it by its source and destination port."""
    second = EXAMPLE._replace(source="203.0.113.9", source_port=9, time_ns=None, number=18, payload=b"x", whole=False)
    ((entry, *_),) = grouped(Grouper(Shape(file="a.pcap"), 10, SECOND), [EXAMPLE, second])
    event = entry.envelope()
    assert (event["source"], event["detail-type"], entry.datagram_count) == ("udp.raw", "UdpPacketBatch", 2)
    assert event["time"] == "2026-04-10T22:44:04Z"
    assert event["detail"] == {
        "Destination": {"IpAddress": "192.0.2.1", "Port": 514},
        "IpVersion": 4,
        "Capture": {"File": "a.pcap"},
        "Count": 2,
        "Packets": [
            {
                "Source": {"IpAddress": "198.51.100.7", "Port": 40000},
                "CapturedAt": "2026-04-10T22:44:04.123456789Z",
                "Frame": 17,
                "Length": 43,
                "PacketId": packet_id(EXAMPLE),
                "Payload": base64.b64encode(EXAMPLE.payload).decode(),
            },
            {
                "Source": {"IpAddress": "203.0.113.9", "Port": 9},
                "Frame": 18,
                "Length": 43,
                "Truncated": True,
                "PacketId": packet_id(second),
                "Payload": base64.b64encode(b"x").decode(),
            },
        ],
    }


def test_a_group_is_full_at_its_number() -> None:
    """25 datagrams by ten: 10, 10 and the 5 that are left at the end."""
    told = grouped(Grouper(Shape(), 10, SECOND), [EXAMPLE] * 25)
    assert [entry.datagram_count for entry, *_ in told] == [10, 10, 5]


def test_destinations_and_ports_are_kept_apart() -> None:
    """One event never mixes two destination addresses or ports."""
    packets = [EXAMPLE._replace(destination=f"192.0.2.{n % 2}", destination_port=n % 3) for n in range(12)]
    told = details(grouped(Grouper(Shape(), 10, SECOND), packets))
    assert [detail["Count"] for detail in told] == [2] * 6
    assert len({json.dumps(detail["Destination"]) for detail in told}) == 6


@pytest.mark.parametrize("back", [1, -1])
def test_nobody_waits_longer_than_asked(back: int) -> None:
    """A group ends a second after its first datagram, by the moments told; a clock that jumps back ends it, too."""
    grouper = Grouper(Shape(), 10, SECOND)
    assert grouper.add(EXAMPLE, 0) == []
    assert grouper.add(EXAMPLE, SECOND - 1) == []
    assert grouper.due(SECOND - 1) == []
    ((entry, *_),) = grouper.due(back * SECOND)
    assert entry.datagram_count == 2
    assert grouper.finish() == []


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 40_000), min_size=1, max_size=12), st.sampled_from([20_000, 65_536]))
def test_no_event_is_larger_than_a_chunk_unless_one_packet_is(sizes: list[int], most: int) -> None:
    """With names of any length around it; a larger one holds a single packet."""
    shape = Shape(source="é" * 100, detail_type="d" * 100, resources=("r" * 500,), file="\x01" * 255, text=True)
    packets = [EXAMPLE._replace(payload="ü".encode() * (size // 2), length=size + 8) for size in sizes]
    told = grouped(Grouper(shape, 1000, SECOND, max_bytes=most), packets)
    assert sum(entry.datagram_count for entry, *_ in told) == len(sizes)
    for entry, *_ in told:
        assert entry.size <= most or entry.datagram_count == 1
        assert entry.size == quotas.entry_size(
            entry.source, entry.detail_type, entry.detail, entry.resources, timed=True
        )


def test_a_chunk_is_used_well() -> None:
    """Small packets fill most of the 64 KB before another event begins."""
    told = grouped(Grouper(Shape(), 100_000, SECOND), [EXAMPLE] * 2000)
    assert all(entry.size > 0.97 * quotas.CHUNK_BYTES for entry, *_ in told[:-1])
    assert all(quotas.chunks(entry.size) == 1 for entry, *_ in told)


def test_memory_is_bounded() -> None:
    """More destinations than there are places, and more bytes: the oldest groups go early, and none is lost."""
    grouper = Grouper(Shape(), 10, SECOND)
    told = []
    for number in range(3 * MAX_OPEN):
        told += grouper.add(EXAMPLE._replace(destination_port=number), 0)
    assert len(told) == 2 * MAX_OPEN
    assert len(grouper.finish()) == MAX_OPEN
    large = [EXAMPLE._replace(destination_port=port, payload=bytes(40_000)) for port in range(600)]
    open_bytes = 0
    for packet in large:
        open_bytes += 53_600 - sum(entry.size for entry, *_ in grouper.add(packet, 0))
        assert open_bytes <= MAX_OPEN_BYTES + 53_600


@settings(max_examples=60, deadline=None)
@given(
    st.lists(datagrams(), max_size=30),
    st.integers(1, 5),
    st.sampled_from([0, SECOND]),
    st.sampled_from([1000, 65_536]),
    st.booleans(),
)
def test_every_datagram_is_in_one_group_in_order(
    packets: list[Datagram], number: int, wait_ns: int, most: int, extras: bool
) -> None:
    """Whatever comes: the payloads that went in come out, those to one destination in their order; all is valid."""
    shape = Shape(text=extras, json_payload=extras)
    told = grouped(Grouper(shape, number, wait_ns, max_bytes=most), packets, gap_ns=SECOND // 3)
    by_destination: dict[tuple[str, int], list[bytes]] = {}
    for entry, *_ in told:
        event = entry.envelope(now_ns=0)
        VALID.validate(event)
        detail = event["detail"]
        assert entry.datagram_count == detail["Count"] == len(detail["Packets"]) <= number
        key = detail["Destination"]["IpAddress"], detail["Destination"]["Port"]
        payloads = [base64.b64decode(packet["Payload"]) for packet in detail["Packets"]]
        by_destination.setdefault(key, []).extend(payloads)
    truth: dict[tuple[str, int], list[bytes]] = {}
    for packet in packets:
        truth.setdefault((packet.destination, packet.destination_port), []).append(packet.payload)
    assert by_destination == truth
