"""Super-packets of UDP segmentation offload, and checksums that are left to the network card: from ring blocks made by
hand, and live from a sender that hands the kernel many datagrams in one piece."""

import json
import re
import socket
import struct
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pcapeda.capture import tpacket as rings
from pcapeda.capture.devices import Device
from pcapeda.capture.tpacket import Ring
from pcapeda.dissect.extractor import Extractor
from pcapeda.dissect.gso import segments, taken_apart
from pcapeda.events.identity import packet_id
from pcapeda.model import Datagram, Frame, Offload
from pcapeda.report import Report
from tests.command import pcapeda
from tests.frames import ethernet, ones_complement, udp4
from tests.netns import HERE, HERE6, THERE6, Veth, needs_netns, veth_pair
from tests.test_sniff import end, payloads_of, sniffing

NOT_READY, VLAN_VALID, TPID_VALID = 1 << 3, 1 << 4, 1 << 6
PORT = 5514
TEXT = b"".join(b"<34>message num %04d" % number for number in range(5))
"""Five datagrams of 20 bytes."""

# By hand


def block(*packets: dict[str, Any]) -> bytes:
    """A block of TPACKET_V3 (linux/if_packet.h), as the kernel fills it under PACKET_VNET_HDR."""
    body = b""
    for last, packet in zip([False] * (len(packets) - 1) + [True], packets, strict=True):
        data, tci, tpid = packet["data"], packet.get("tci", 0), packet.get("tpid", 0)
        status = packet.get("status", 0) | (VLAN_VALID | TPID_VALID if tpid else 0)
        mac = 68 + 10 + 2
        size = (mac + len(data) + 7) // 8 * 8
        head = struct.pack(
            "=6IHH", 0 if last else size, 1, 2, len(data), packet.get("wire", len(data)), status, mac, mac + 14
        )
        head += struct.pack("=IIHH8x", 0, tci, tpid, 0)
        head += struct.pack("=H2siHBB8s", 17, packet.get("protocol", data[12:14]), 1, 1, 0, 6, b"\2\0\0\0\0\1")
        head = head.ljust(mac - 10, b"\0") + struct.pack("=BBHHHH", *packet.get("vnet", (0,) * 6))
        body += (head + data).ljust(size, b"\0")
    return struct.pack("=II4I", 1, 0, 1, len(packets), 48, 48 + len(body)).ljust(48, b"\0") + body


def ring(*, cooked: bool = False, vnet: bool = True) -> Iterator[Ring]:
    device = Device(0 if cooked else 1, "any" if cooked else "eth9", True, 0xFFFF if cooked else 1, b"")
    with closing(Ring(socket.socket(socket.AF_UNIX), device, 1 << 20)) as made:
        made._vnet = vnet
        yield made


def read(*packets: dict[str, Any], decapsulate: bool = False, **options: bool) -> list[Datagram]:
    """The datagrams of frames in a block; the law of conservation holds, and names differ."""
    report = Report()
    extractor = Extractor(report, decapsulate=decapsulate)
    for made in ring(**options):
        (frames,) = taken_apart([made.frames(block(*packets), 0)])
    found = extractor.feed_all(frames)
    report.sent = len(found)
    assert report.frames == len(packets)
    assert report.frames + report.segments == report.datagrams == len(found)
    assert report.adds_up()
    assert len({packet_id(one) for one in found}) == len(found)
    return found


def udp6(payload: bytes, port: int = 514) -> bytes:
    source, destination = (socket.inet_pton(socket.AF_INET6, one) for one in (THERE6, HERE6))
    head = struct.pack("!HHH", 40000, port, 8 + len(payload))
    checksum = ones_complement(
        source + destination + struct.pack("!II", 8 + len(payload), 17) + head + b"\0\0" + payload
    )
    udp = head + struct.pack("!H", checksum) + payload
    return struct.pack("!IHBB", 6 << 28, len(udp), 17, 64) + source + destination + udp


def cut(payload: bytes, size: int) -> list[bytes]:
    return [payload[at : at + size] for at in range(0, len(payload), size)]


def offloaded(data: bytes, size: int, at: int, **more: Any) -> dict[str, Any]:
    """A packet as UDP_SEGMENT leaves it: its checksum, at `at`, is still to be computed."""
    return {"data": data, "vnet": (1, 5, 42, size, at, 6), "status": NOT_READY, **more}


@pytest.mark.parametrize("payload", [TEXT, TEXT + b"short", b"x" * 100, b"x" * 20, b"x" * 21, b"y"])
@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("link", ["plain", "vlan", "qinq", "any", "any vlan", "any qinq"])
def test_a_super_packet_is_the_datagrams_that_were_sent(link: str, version: int, payload: bytes) -> None:
    """As many, each with its own payload and length, on every link; equal ones have names of their own."""
    packet, ethertype = (udp4(payload), 0x0800) if version == 4 else (udp6(payload), 0x86DD)
    data, at, tags = ethernet(packet, ethertype), 14 + (20 if version == 4 else 40), {}
    via = ["sll2" if "any" in link else "eth"]
    if "vlan" in link or "qinq" in link:
        tags = {"tci": 20, "tpid": 0x88A8}
        via.append("vlan:20")
    if "qinq" in link:
        data, at = ethernet(struct.pack("!HH", 10, ethertype) + packet, 0x8100), at + 4
        via.append("vlan:10")
    found = read(offloaded(data, 20, at, **tags), cooked="any" in link)
    assert [one.payload for one in found] == cut(payload, 20)
    assert [one.length for one in found] == [8 + len(one) for one in cut(payload, 20)]
    assert {one.checksum_status for one in found} == {"unverified"}
    assert {(one.number, one.time_ns, one.destination_port, one.whole) for one in found} == {(1, 10**9 + 2, 514, True)}
    assert [one.segment for one in found] == list(range(len(found)))
    assert {one.via for one in found} == {(*via, f"ip{version}")}


def test_frames_around_a_super_packet_keep_their_numbers() -> None:
    """It counts as one frame, so that the frame behind it has the number that a capture file would give it."""
    plain = {"data": ethernet(udp4(b"plain"))}
    found = read(plain, offloaded(ethernet(udp4(TEXT)), 20, 34), plain)
    assert [one.number for one in found] == [1, 2, 2, 2, 2, 2, 3]
    assert [one.checksum_status for one in found] == ["good", *["unverified"] * 5, "good"]


def test_what_a_receiving_kernel_put_together() -> None:
    """UDP GRO without a checksum to compute: that of the first one alone was kept, over its own bytes."""
    data = bytearray(ethernet(udp4(TEXT)))
    first = ethernet(udp4(TEXT[:20]))
    data[40:42] = first[40:42]
    found = read({"data": bytes(data), "vnet": (2, 5, 42, 20, 0, 0)})
    assert [one.payload for one in found] == cut(TEXT, 20)
    assert [one.checksum_status for one in found] == ["good", *["unverified"] * 4]


def test_segments_inside_a_tunnel() -> None:
    """The headers of the tunnel are repeated, too: outermost and innermost are five datagrams each."""
    inner = ethernet(udp4(TEXT))
    data = ethernet(udp4(bytes.fromhex("0800000000002a00") + inner, sport=65000, dport=4789))
    packet = offloaded(data, 20, len(data) - len(TEXT) - 8)
    outside, inside = read(packet), read(packet, decapsulate=True)
    assert [one.payload for one in inside] == cut(TEXT, 20)
    assert {one.via for one in inside} == {("eth", "ip4", "udp", "vxlan:42", "eth", "ip4")} or "vxlan:42" in inside[
        0
    ].via
    assert [one.length for one in outside] == [8 + 8 + len(inner) - len(TEXT) + 20] * 5
    assert {one.checksum_status for one in inside} == {"unverified"}
    assert "bad" not in {one.checksum_status for one in outside}


def test_a_tunnel_that_was_itself_segmented() -> None:
    """WireGuard and the like: the datagrams are those of the tunnel, whatever is in them."""
    found = read(offloaded(ethernet(udp4(b"\x45" * 3000, dport=51820)), 1400, 34), decapsulate=True)
    assert [len(one.payload) for one in found] == [1400, 1400, 200]


def test_a_super_packet_cut_by_the_snap_length() -> None:
    """Each datagram has its length; the payload of the last ones is not there."""
    whole = ethernet(udp4(TEXT))
    found = read(offloaded(whole[:92], 20, 34, wire=len(whole)))
    assert [one.payload for one in found] == [TEXT[:20], TEXT[20:40], TEXT[40:50], b"", b""]
    assert [one.length for one in found] == [28] * 5
    assert [one.whole for one in found] == [True, True, False, False, False]


@pytest.mark.parametrize(
    ("data", "size", "at"),
    [
        (ethernet(udp4(TEXT)), 20, 36),
        (ethernet(udp4(TEXT)) + b"trailer", 20, 34),
        (ethernet(udp4(TEXT)), 0, 34),
        (ethernet(udp4(TEXT)), 20, 0xFFFF),
    ],
)
def test_what_does_not_fit_together_stays_one_frame(data: bytes, size: int, at: int) -> None:
    """A header elsewhere than told, bytes behind it, no size: nothing is guessed, nothing lost."""
    found = read({"data": data, "vnet": (1, 5, 42, size, at, 6)})
    assert [one.payload for one in found] == [TEXT]


@pytest.mark.parametrize("noise", [b"", b"\x45", b"\x60" * 60, b"\x45\0\0\x3c" * 15, b"E" * 600])
def test_noise_said_to_be_a_super_packet(noise: bytes) -> None:
    """Whatever the bytes, there is one frame, and no error."""
    frame = Frame(1, 1, noise, len(noise), None, 1, Offload(34, 20))
    assert segments(frame) == [frame]
    assert segments(frame._replace(offload=Offload(None, 1))) == [frame._replace(offload=Offload(None, 1))]


@pytest.mark.parametrize("packet", [udp4(TEXT), udp6(TEXT)])
def test_a_super_packet_cut_anywhere(packet: bytes) -> None:
    """Cut within its headers it stays one frame, behind them it is cut up; no length makes it raise."""
    data = ethernet(packet, 0x0800 if packet[0] >> 4 == 4 else 0x86DD)
    start = len(data) - len(TEXT)
    for size in range(len(data) + 1):
        for at in (start - 8, None):
            made = segments(Frame(1, 1, data[:size], len(data), None, 1, Offload(at, 20)))
            assert len(made) == (5 if size >= start else 1), size


def test_headers_at_an_odd_place() -> None:
    """Link headers have any length."""
    data = bytes(15) + udp4(TEXT)
    made = segments(Frame(1, 1, data, len(data), None, 1, Offload(35, 20)))
    assert [one.data[43:] for one in made] == cut(TEXT, 20)


def test_the_headers_of_each_segment_are_right() -> None:
    """As they are on the wire: lengths, identification, and an IPv4 checksum that holds."""
    data = ethernet(udp4(TEXT + b"short"))
    for number, one in enumerate(segments(Frame(1, 1, data, len(data), None, 1, Offload(34, 20)))):
        size = 20 if number < 5 else 5
        assert struct.unpack_from("!H", one.data, 16)[0] == 28 + size
        assert struct.unpack_from("!H", one.data, 18)[0] == 1 + number
        assert ones_complement(one.data[14:34]) == 0
        assert struct.unpack_from("!H", one.data, 38)[0] == 8 + size
        assert one.wire_length == len(one.data) == 42 + size


@pytest.mark.parametrize("vnet", [True, False])
@pytest.mark.parametrize("cooked", [True, False])
def test_a_checksum_that_is_not_ready_is_unverified(cooked: bool, vnet: bool) -> None:
    """The kernel's word is taken, also where it does not say which checksum; that of another frame is judged."""
    data = bytearray(ethernet(udp4(b"hello")))
    data[40] ^= 0xFF
    told = (1, 0, 0, 0, 34, 6) if vnet else (0,) * 6
    found = read(
        {"data": bytes(data), "status": NOT_READY, "vnet": told}, {"data": bytes(data)}, cooked=cooked, vnet=vnet
    )
    assert [one.checksum_status for one in found] == ["unverified", "bad"]


def test_a_checksum_of_another_layer_is_not_excused() -> None:
    """The card is to compute a TCP checksum elsewhere: one of UDP that is wrong stays bad."""
    data = bytearray(ethernet(udp4(b"hello")))
    data[40] ^= 0xFF
    (found,) = read({"data": bytes(data), "status": NOT_READY, "vnet": (1, 1, 0, 0, 14, 16)})
    assert found.checksum_status == "bad"


@pytest.mark.parametrize(
    ("release", "told", "headers"),
    [
        ("6.18.4-arch", True, True),
        ("6.16", True, True),
        ("6.15.9", True, False),
        ("6.2.0-generic", True, False),
        ("6.1.0-38-amd64", False, False),
        ("5.15.0", False, False),
        ("odd", False, False),
    ],
)
def test_which_kernels_are_asked(monkeypatch: pytest.MonkeyPatch, release: str, told: bool, headers: bool) -> None:
    """An older one drops such frames when it is asked, or filters them wrongly."""
    monkeypatch.setattr(rings.os, "uname", lambda: type("Name", (), {"release": release}))
    assert (rings._knows_udp_segments(), rings.has_headers()) == (told, headers)


def test_cooked_without_headers_behind_two_tags() -> None:
    """Before Linux 6.16 'any' is of type SOCK_DGRAM: the type behind all tags is named, the inner tag is there."""
    inner = struct.pack("!HH", 10, 0x0800)
    for made in ring(cooked=True):
        for data, via in [(inner + udp4(b"a"), ("vlan:20", "vlan:10")), (udp4(b"a"), ("vlan:20",))]:
            raw = bytearray(block({"data": data, "tci": 20, "tpid": 0x88A8, "protocol": b"\x08\0"}))
            struct.pack_into("=H", raw, 48 + 26, 80)  # there is no link header before the network header
            (frame,) = made.frames(bytes(raw), 0)
            (found,) = Extractor(Report()).feed_all([frame])
            assert (found.via, found.payload) == (("sll2", *via, "ip4"), b"a")


# Live


@pytest.fixture(scope="module")
def veth() -> Iterator[Veth]:
    with veth_pair() as pair:
        yield pair


SENDER = """
import socket, sys
to, port, size, payload = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), bytes.fromhex(sys.argv[4])
with socket.socket(socket.AF_INET6 if ":" in to else socket.AF_INET, socket.SOCK_DGRAM) as sender:
    sender.setsockopt(17, 103, size)  # UDP_SEGMENT
    sender.sendto(payload, (to, port))
"""

FRAME_SENDER = """
import socket, sys
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
    sender.setsockopt(263, 15, 1)  # PACKET_VNET_HDR
    sender.bind((sys.argv[1], 0))
    sender.send(bytes.fromhex(sys.argv[2]))
"""


def send_segments(veth: Veth, how: str, payload: bytes, size: int) -> None:
    """Have the kernel send `payload` in datagrams of `size` bytes, from a socket or, with VLAN tags, as one frame."""
    if how in ("4", "6"):
        veth.run(SENDER, HERE if how == "4" else HERE6, PORT, size, payload.hex())
        return
    tags = {"vlan": "0014", "qinq": "0014 8100 000a"}[how]
    head = bytes.fromhex(veth.mac.replace(":", "") + "020000000099" + "88a8" + tags + "0800")
    packet = bytearray(udp4(payload, dport=PORT))
    ends = sum(struct.unpack_from("!4H", packet, 12)) + 17 + 8 + len(payload)
    struct.pack_into("!H", packet, 26, (ends & 0xFFFF) + (ends >> 16))  # of the pseudo header alone
    vnet = struct.pack("=BBHHHH", 1, 5, len(head) + 28, size, len(head) + 20, 6)
    veth.run(FRAME_SENDER, veth.peer, (vnet + head + packet).hex())


@needs_netns
@pytest.mark.skipif(not rings._knows_udp_segments(), reason="this Linux does not tell of segments")
@pytest.mark.parametrize("how", ["4", "6", "vlan", "qinq"])
@pytest.mark.parametrize("interface", ["veth", "any"])
def test_as_many_events_as_datagrams_were_sent(veth: Veth, interface: str, how: str, tmp_path: Path) -> None:
    """One call of the application, six datagrams, six events; one frame in the file, the sum adds up."""
    if interface == "any" and not rings.has_headers():
        pytest.skip("this Linux does not tell 'any' of segments")
    kept, payload = tmp_path / "kept.pcapng", TEXT + b"<34>last"
    arguments = ("-n", "--port", str(PORT), "-w", kept, "--log", "json")
    with sniffing("-i", veth.name if interface == "veth" else "any", *arguments) as process:
        send_segments(veth, how, payload, 20)
        events, talk = end(process)
    assert payloads_of(events) == cut(payload, 20)
    details = [event["detail"] for event in events]
    assert [one["Length"] for one in details] == [28] * 5 + [16]
    assert {one["ChecksumStatus"] for one in details} == {"unverified"}
    assert len({one["PacketId"] for one in details}) == 6
    assert len({(one["Capture"]["Frame"], one["CapturedAt"]) for one in details}) == 1
    tags = {"vlan": ["vlan:20"], "qinq": ["vlan:20", "vlan:10"]}.get(how, [])
    link = "eth" if interface == "veth" else "sll2"
    assert {tuple(one.get("Via", ())) for one in details} <= {(link, *tags, "ip6" if how == "6" else "ip4"), ()}
    assert bool(tags) == ("Via" in details[0])
    done = json.loads(talk.splitlines()[-1])
    counts = done.get("counts", done)
    assert counts["segments"] == 5
    assert counts["frames"] + 5 == counts["datagrams"] + counts["skipped"]
    (again,) = [json.loads(line) for line in pcapeda("replay", kept, "-n", "--port", str(PORT)).stdout.splitlines()]
    assert payloads_of([again]) == [payload]


@needs_netns
@pytest.mark.skipif(not rings._knows_udp_segments(), reason="this Linux does not tell of segments")
def test_segments_on_the_screen_and_under_limits(veth: Veth) -> None:
    """-f and -c see datagrams; the summary has the term; what the limit refuses is counted for each."""
    with sniffing("-i", veth.name, "-n", "-f", f"udp port {PORT}", "-c", "3") as process:
        veth.run(SENDER, HERE, PORT, 20, TEXT.hex())
        events, talk = end(process, None)
    assert payloads_of(events) == cut(TEXT, 20)[:3]
    assert re.search(r"1 frame \+ 2 segments = 3 datagrams", talk), talk
    arguments = ("-f", f"udp port {PORT}", "--max-rate-per-source", "2")
    with sniffing("-i", veth.name, "-n", *arguments) as process:
        veth.run(SENDER, HERE, PORT, 2, (b"x" * 120).hex())
        events, talk = end(process)
    assert re.search(r"1 frame \+ 59 segments = 60 datagrams", talk), talk
    assert 2 <= len(events) < 60
    assert f"{60 - len(events)} refused" in talk, talk


@needs_netns
def test_checksums_left_to_the_card_are_silent(veth: Veth) -> None:
    """A plain datagram of a sending host whose card computes the checksum: unverified, and no word of it."""
    with sniffing("-i", veth.name, "--port", str(PORT), "-o", "pretty", "-n") as process:
        veth.send(PORT, 2)
        process.send_signal(2)
        shown, talk = process.communicate(timeout=60)
    assert b"checksum" not in shown + talk
    with sniffing("-i", veth.name, "-n", "--port", str(PORT)) as process:
        veth.send(PORT, 2)
        events, _ = end(process)
    assert [event["detail"]["ChecksumStatus"] for event in events] == ["unverified"] * 2


@needs_netns
@pytest.mark.parametrize("types", ["88a88100", "81008100", "91008100"])
@pytest.mark.parametrize("version", [4, 6])
def test_two_tags_are_read_wherever_it_listens(veth: Veth, types: str, version: int) -> None:
    """'any' sees what the interface sees, under a filter, too; the outer tag first."""
    text = b"in the trunk"
    packet = b"\x08\0" + udp4(text, dport=PORT) if version == 4 else b"\x86\xdd" + udp6(text, PORT)
    head = bytes.fromhex(f"{veth.mac.replace(':', '')}020000000099{types[:4]}0014{types[4:]}000a")
    for interface in (veth.name, "any"):
        with sniffing("-i", interface, "-n", "--port", str(PORT)) as process:
            veth.inject(head + packet)
            events, _ = end(process)
        assert payloads_of(events) == [text], interface
        assert events[0]["detail"]["Via"][1:] == ["vlan:20", "vlan:10", f"ip{version}"]
