"""Super-packets of UDP segmentation offload: as many datagrams as the application sent."""

import struct
from types import SimpleNamespace

import pytest

from pcapeda.capture import interface, tpacket
from pcapeda.capture.bpf import COOKED
from pcapeda.capture.devices import Device
from pcapeda.capture.interface import LiveSource
from pcapeda.capture.tpacket import Ring
from pcapeda.dissect.extractor import Extractor
from pcapeda.dissect.gso import segments, taken_apart
from pcapeda.events.identity import packet_id
from pcapeda.model import Datagram, Frame, Offload
from pcapeda.report import Report
from tests.frames import ethernet, udp4
from tests.netns import HERE, HERE6, needs_netns, veth_pair

PAYLOAD = b"".join(b"<34>message num %04d" % number for number in range(5)) + b"tail"
PIECES = [PAYLOAD[at : at + 20] for at in range(0, len(PAYLOAD), 20)]


def super_packet(offload: Offload, payload: bytes = PAYLOAD) -> Frame:
    data = ethernet(udp4(payload))
    return Frame(7, 1, data, len(data), "eth0", 3, offload)


def datagrams(frame: Frame, *, decapsulate: bool = False) -> list[Datagram]:
    report = Report()
    extractor = Extractor(report, decapsulate=decapsulate)
    found = [one for block in taken_apart([[frame]]) for one in extractor.feed_all(block or [])]
    assert (report.frames, report.segments) == (1, len(found) - 1)
    assert report.frames + report.segments == report.datagrams + report.fragments + sum(report.skips.values())
    return found


def test_cut_as_the_application_sent() -> None:
    """Lengths, slices, the last one shorter; one frame number, an id each, nothing verified."""
    found = datagrams(super_packet(Offload(34, 20)))
    assert [one.payload for one in found] == PIECES
    assert [one.length for one in found] == [28] * 5 + [12]
    assert {(one.number, one.checksum_status, one.whole) for one in found} == {(3, "unverified", True)}


def test_equal_segments_have_different_ids() -> None:
    """Byte-equal ones too, and the same ones each time."""
    first, again = (datagrams(super_packet(Offload(34, 4), b"same" * 9)) for _ in range(2))
    assert len({packet_id(one) for one in first}) == 9
    assert [packet_id(one) for one in first] == [packet_id(one) for one in again]


def test_headers_are_those_of_each_segment() -> None:
    """As the kernel writes them: lengths, identification and header checksum of IPv4."""
    for number, one in enumerate(segments(super_packet(Offload(34, 20)))):
        length, identification = struct.unpack_from("!HH", one.data, 16)
        assert (length, one.wire_length) == (len(one.data) - 14, len(one.data))
        assert identification == (struct.unpack_from("!H", super_packet(Offload(34, 20)).data, 18)[0] + number) & 0xFFFF
        assert sum(struct.unpack("!10H", one.data[14:34])) % 0xFFFF == 0


def test_what_is_verified_stays_so() -> None:
    """A list of received segments has the first one's checksum alone."""
    first = ethernet(udp4(PIECES[0]))
    data = bytearray(ethernet(udp4(PAYLOAD)))
    data[40:42] = first[40:42]
    frame = Frame(7, 1, bytes(data), len(data), None, 1, Offload(None, 20))
    assert [one.checksum_status for one in datagrams(frame)] == ["good"] + ["unverified"] * 5


def test_cut_by_the_snap_length() -> None:
    """What the snap length cut is told of each segment."""
    frame = super_packet(Offload(34, 20))
    found = datagrams(frame._replace(data=frame.data[:72]))
    assert [(one.payload, one.whole) for one in found] == [
        (PIECES[0], True),
        (PIECES[1][:10], False),
        *[(b"", False)] * 4,
    ]


@pytest.mark.parametrize("wrong", [Offload(30, 20), Offload(54, 20)])
def test_what_makes_no_sense_is_left_alone(wrong: Offload) -> None:
    """No header where the kernel says there is one: nothing is guessed."""
    frame = super_packet(wrong)
    assert segments(frame) == [frame]


@pytest.mark.parametrize(("decapsulate", "lengths"), [(True, [28] * 5 + [12]), (False, [78] * 5 + [62])])
def test_within_a_tunnel(decapsulate: bool, lengths: list[int]) -> None:
    """All headers around are those of each segment: VXLAN frames as they go over the wire."""
    inner = ethernet(udp4(PAYLOAD))
    data = ethernet(udp4(b"\x08\0\0\0\0\0\x2a\0" + inner, dport=4789))
    frame = Frame(7, 1, data, len(data), None, 1, Offload(14 + 28 + 8 + 34, 20))
    found = datagrams(frame, decapsulate=decapsulate)
    assert [one.length for one in found] == lengths
    assert {one.checksum_status for one in found} == {"unverified"}
    assert len({one.payload for one in found}) == 6


def block(data: bytes, status: int, vnet: bytes, mac: int = 82, net: int = 96) -> bytes:
    """A block of the ring that holds one frame."""
    head = struct.pack("=6IHHIIHH8x", 0, 1, 2, len(data), len(data), 1 | status, mac, net, 0, 0, 0, 0)
    address = struct.pack("=H2sIHBB8s", 17, b"\x08\0", 1, 1, 0, 6, bytes(8))
    record = (head + address).ljust(mac - len(vnet), b"\0") + vnet + data
    return struct.pack("=8xIIII", 1, 1, 48, 48 + len(record)).ljust(48, b"\0") + record


@pytest.mark.parametrize("linktype", [1, COOKED])
def test_what_the_ring_says(linktype: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The header before the frame, or where there is none, the status: where a checksum is open, and how to cut."""
    monkeypatch.setattr(Device, "linktype", property(lambda _: linktype))
    opened = SimpleNamespace(fileno=lambda: 0)
    one = Ring(opened, Device("eth0", 1, True, 1, None), 1 << 20)  # type: ignore[arg-type]
    data, added = ethernet(udp4(PAYLOAD)), 0 if linktype == 1 else 6
    (frame,) = one.frames(block(data, 8, b""), 0)
    assert frame.offload == Offload(-1)
    one._vnet = True
    for kind, size, flags, expected in [
        (0, 0, 1, Offload(34 + added)),
        (5, 20, 1, Offload(34 + added, 20)),
        (5, 20, 2, Offload(None, 20)),
        (1, 1448, 1, Offload(34 + added)),
        (0, 0, 0, None),
        (0, 0, 2, None),
    ]:
        vnet = struct.pack("=BBHHHH", flags, kind, 42, size, 34 if flags & 1 else 0, 6)
        (frame,) = one.frames(block(data, 8 if flags & 1 else 0, vnet), 0)
        assert frame.offload == expected


SENDER = """
import socket, sys
to, port = sys.argv[1], int(sys.argv[2])
with socket.socket(socket.AF_INET6 if ":" in to else socket.AF_INET, socket.SOCK_DGRAM) as sender:
    sender.setsockopt(17, 103, 20)
    sender.sendto(bytes.fromhex(sys.argv[3]), (to, port))
"""


@needs_netns
@pytest.mark.parametrize("name", ["veth", "any"])
@pytest.mark.parametrize("to", [HERE, HERE6])
def test_live(name: str, to: str) -> None:
    """A real sender with UDP_SEGMENT: what it sent arrives, the frame itself is the super-packet."""
    if not (tpacket.has_headers() if name == "any" else tpacket._knows_udp_segments()):
        pytest.skip("this kernel does not tell")
    with veth_pair() as veth, LiveSource([veth.name if name == "veth" else name], filter="udp port 9514") as source:
        veth.run(SENDER, to, 9514, PAYLOAD.hex())
        frame = next(frame for frame in source if frame is not None)
        source.stop()
    assert [one.payload for one in datagrams(frame)] == PIECES
    assert {one.checksum_status for one in datagrams(frame)} == {"unverified"}


@needs_netns
@pytest.mark.parametrize("headers", [True, False])
def test_two_tags_on_any(headers: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The inner one is still in the data, whatever protocol the kernel names; also one that begins like IPv4."""
    if headers and not tpacket.has_headers():
        pytest.skip("this kernel cannot filter that")
    monkeypatch.setattr(interface, "has_headers", lambda: headers)
    plain = ethernet(udp4(b"tagged", dport=9514))
    both = [((0x88A8, 20), (0x8100, 10)), ((0x8100, 20), (0x8100, 0x45FF))]
    frames = [plain[:12] + struct.pack(">4H", *outer, *inner) + plain[12:] for outer, inner in both]
    with veth_pair() as veth, LiveSource(["any"]) as source:
        veth.inject(*frames)
        found = []
        for frame in source:
            if frame is not None and b"tagged" in frame.data:
                found.append(Extractor(Report()).feed(frame))
            if len(found) == 2:
                source.stop()
    assert [one.via for one in found if isinstance(one, Datagram)] == [
        ("sll2", "vlan:20", "vlan:10", "ip4"),
        ("sll2", "vlan:20", f"vlan:{0x5FF}", "ip4"),
    ]
