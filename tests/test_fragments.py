"""IP fragments: put together whatever their order, given up by a written policy, bounded, and every one counted."""

import struct
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from pcapeda.dissect.extractor import Extractor
from pcapeda.model import Datagram, Frame
from pcapeda.report import Report

SECOND = 1_000_000_000
PAYLOAD = bytes(range(256)) * 8
UDP = struct.pack("!HHHH", 1025, 514, 8 + len(PAYLOAD), 0) + PAYLOAD
MACS = bytes.fromhex("020000000002020000000001")


def piece4(
    start: int, stop: int, *, number: int = 7, data: bytes = UDP, host: int = 1, vlan: int | None = None
) -> bytes:
    """Bytes `start` to `stop` of the datagram as an IPv4 fragment (RFC 791 3.2) in an Ethernet frame."""
    body = data[start:stop]
    more = 0x2000 if stop < len(data) else 0
    ends = bytes([192, 0, 2, host, 198, 51, 100, 2])
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), number, more | start >> 3, 64, 17, 0) + ends
    tag = b"" if vlan is None else struct.pack("!HH", 0x8100, vlan)
    return MACS + tag + b"\x08\0" + head + body


def piece6(start: int, stop: int, *, data: bytes) -> bytes:
    """The same over IPv6 (RFC 8200 4.5)."""
    body = data[start:stop]
    more = 1 if stop < len(data) else 0
    fragment = struct.pack("!BBHI", 17, 0, start | more, 7)
    ends = bytes.fromhex("20010db800000000000000000000000120010db8000000000000000000000002")
    return MACS + b"\x86\xdd" + struct.pack("!IHBB", 6 << 28, 8 + len(body), 44, 64) + ends + fragment + body


def feed(frames: Sequence[bytes], *, gap_ns: int = SECOND, **limits: int) -> tuple[list[Datagram], Report]:
    report = Report()
    extractor = Extractor(report, **limits)
    found = []
    for number, data in enumerate(frames, 1):
        one = extractor.feed(Frame(number * gap_ns, 1, data, len(data), None, number))
        if isinstance(one, Datagram):
            found.append(one)
    extractor.finish()
    report.sent = report.datagrams + report.reassembled
    assert report.adds_up()
    return found, report


@given(st.permutations([(0, 512), (512, 1024), (1024, 1600), (1600, len(UDP))]))
def test_any_order_gives_the_same_datagram(order: list[tuple[int, int]]) -> None:
    """Out of order is no trouble; number and time are those of the frame that completed it."""
    found, report = feed([piece4(*ends) for ends in order])
    assert [(one.payload, one.number, one.time_ns) for one in found] == [(PAYLOAD, 4, 4 * SECOND)]
    assert found[0].fragments == (1, 2, 3, 4)
    assert (report.fragments, report.used, report.reassembled) == (4, 4, 1)


def test_duplicates_and_agreeing_overlaps_are_accepted_over_ipv4() -> None:
    """A fragment twice, and one that repeats part of another with the same bytes (RFC 791)."""
    found, _ = feed([piece4(0, 1024), piece4(0, 1024), piece4(512, 1600), piece4(1600, len(UDP))])
    assert [one.payload for one in found] == [PAYLOAD]


def test_contradicting_fragments_give_no_datagram_over_ipv4() -> None:
    """Nobody can tell what the receiver saw: the datagram is given up, by name."""
    other = UDP[:600] + bytes([UDP[600] ^ 0xFF]) + UDP[601:]
    found, report = feed([piece4(0, 1024), piece4(512, 1600, data=other), piece4(1600, len(UDP)), piece4(1024, 1600)])
    assert found == []
    assert sum(report.expired.values()) + report.held == report.fragments == 4


def test_overlap_discards_the_datagram_over_ipv6() -> None:
    """RFC 5722: any overlap that is not an exact duplicate, what comes later included."""
    data = UDP[:6] + b"\x12\x34" + UDP[8:]
    whole, _ = feed([piece6(0, 1024, data=data), piece6(0, 1024, data=data), piece6(1024, len(data), data=data)])
    assert [one.payload for one in whole] == [PAYLOAD]
    found, report = feed([piece6(0, 1024, data=data), piece6(512, 1600, data=data), piece6(1024, len(data), data=data)])
    assert found == []
    assert any("5722" in reason for reason in report.expired)


def test_hosts_identifications_and_vlans_are_kept_apart() -> None:
    """Interleaved fragments of four datagrams give four datagrams, none mixed."""
    variants = [{"host": 1}, {"host": 2}, {"number": 8}, {"vlan": 10}]
    frames = [piece4(start, stop, **kind) for start, stop in ((0, 1024), (1024, len(UDP))) for kind in variants]
    found, _ = feed(frames)
    assert [one.payload for one in found] == [PAYLOAD] * 4
    assert [one.fragments for one in found] == [(1, 5), (2, 6), (3, 7), (4, 8)]


def test_age_by_capture_time() -> None:
    """A fragment whose rest comes after 30 seconds of capture time is too old, and counted so."""
    found, report = feed([piece4(0, 1024), piece4(1024, len(UDP))], gap_ns=31 * SECOND)
    assert found == []
    assert report.expired["too old"] == 1
    assert report.held == 1
    found, _ = feed([piece4(0, 1024), piece4(1024, len(UDP))], gap_ns=31 * SECOND, fragment_age_ns=60 * SECOND)
    assert len(found) == 1


def test_memory_is_bounded_and_the_oldest_give_way() -> None:
    """Thousands of first fragments stay within the cap; what was pushed out is counted; the latest completes."""
    frames = [piece4(0, 1024, number=number) for number in range(3000)]
    found, report = feed([*frames, piece4(1024, len(UDP), number=2999)], gap_ns=1000, defrag_bytes=1 << 20)
    assert [one.payload for one in found] == [PAYLOAD]
    assert report.expired["over the memory limit"] > 1500
    assert report.held < 1000


def test_a_missing_fragment_is_still_waited_for_at_the_end() -> None:
    """Nothing is made up: what waits is counted as held."""
    found, report = feed([piece4(0, 512), piece4(1024, len(UDP))])
    assert found == []
    assert report.held == 2
