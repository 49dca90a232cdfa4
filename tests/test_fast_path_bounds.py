"""The fast path at the edge of every mask and bound: one bit, one byte, one tag to either side."""

import struct

import pytest

from pcapeda.capture.checksum import residue
from pcapeda.dissect import fast_path
from pcapeda.dissect.extractor import Extractor
from pcapeda.dissect.ip import last_hop
from pcapeda.dissect.udp import ready
from pcapeda.model import Datagram, Fragment, Frame, Offload, Skip, SkipReason
from pcapeda.report import Report
from tests.frames import decoded
from tests.stacks import HOST6, PEER6, ether, hexed, ip4, ip6, udp


def decode(data: bytes, linktype: int = 1, wire_length: int | None = None) -> Datagram | Fragment | Skip:
    return decoded(Frame(5, linktype, data, wire_length or len(data), "eth0", 9))


def changed(data: bytes, at: int, value: int) -> bytes:
    """The same with two bytes of another value."""
    return data[:at] + value.to_bytes(2) + data[at + 2 :]


@pytest.mark.parametrize("bit", range(16))
def test_each_bit_of_flags_and_offset(bit: int) -> None:
    """Thirteen bits of offset and 'more fragments' make a fragment, 'don't fragment' and the reserved bit do not."""
    found = decode(changed(ether(0x0800, ip4(udp(bytes(64)))), 20, 1 << bit))
    if bit >= 14:
        assert isinstance(found, Datagram)
    else:
        assert isinstance(found, Fragment)
        assert (found.offset, found.more) == ((1 << bit) * 8 if bit < 13 else 0, bit == 13)


@pytest.mark.parametrize(("tags", "why"), [(31, None), (32, None), (33, SkipReason.TOO_DEEP)])
def test_the_most_vlan_tags(tags: int, why: SkipReason | None) -> None:
    """32 of them are read, each with its number."""
    head = bytes(12) + b"".join(hexed("8100") + number.to_bytes(2) for number in range(tags))
    found = decode(head + hexed("0800") + ip4(udp()))
    if why is None:
        assert isinstance(found, Datagram)
        assert found.via == ("eth", *(f"vlan:{number}" for number in range(tags)), "ip4")
    else:
        assert isinstance(found, Skip)
        assert (found.reason, found.layer) == (why, "vlan")


@pytest.mark.parametrize("tag", [0x0FFF, 0x1000, 0xF001, 0x0100, 0x0800])
@pytest.mark.parametrize("link", ["plain", "cooked", "four tags"])
def test_a_vlan_has_twelve_bits(tag: int, link: str) -> None:
    """Priority and drop eligibility are no part of its number."""
    data = hexed("8100") + tag.to_bytes(2)
    if link == "cooked":
        head = hexed("0000 0001 0006") + bytes(8) + data
    else:
        head = bytes(12) + data * (4 if link == "four tags" else 1)
    found = decode(head + hexed("0800") + ip4(udp()), 113 if link == "cooked" else 1)
    assert isinstance(found, Datagram)
    assert found.via[1] == f"vlan:{tag & 0x0FFF}"


def jumbogram(length: int, rest: int) -> bytes:
    """A packet whose jumbo payload option says `length`, with a UDP header of length 0 and `rest` bytes behind it."""
    datagram = struct.pack("!4H", 40000, 514, 0, 1) + bytes(rest)
    return ether(0x86DD, ip6(hexed("11 00 c2 04") + struct.pack("!I", length) + datagram, 0, length=0))


@pytest.mark.parametrize(
    ("length", "why"),
    [
        (0xFFFF, SkipReason.MALFORMED),
        (0x10000, SkipReason.BAD_LENGTH),
        (0x10007, SkipReason.BAD_LENGTH),
        (0x10008, None),
        (0x10009, None),
    ],
)
def test_jumbograms_begin_at_65536(length: int, why: SkipReason | None) -> None:
    """RFC 2675 3 and 4: the option from 65,536 on; and UDP length 0 where the datagram itself is as long."""
    data = jumbogram(length, length - 16)
    found = Extractor(Report()).feed(Frame(5, 1, data, len(data), None, 9))
    if why is None:
        assert isinstance(found, Datagram)
        assert (found.length, len(found.payload), found.whole) == (length - 8, length - 16, True)
    else:
        assert isinstance(found, Skip)
        assert found.reason is why


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize(
    ("length", "why"), [(7, SkipReason.BAD_LENGTH), (8, None), (19, None), (20, SkipReason.BAD_LENGTH)]
)
def test_a_udp_length_at_both_ends(version: int, length: int, why: SkipReason | None) -> None:
    """From the header alone to the very end of the IP payload, also where the frame goes on behind it."""
    payload = udp(length=length) if version == 4 else udp(length=length, source=HOST6, destination=PEER6)
    for trailer in (b"", bytes(12)):
        data = ether(0x0800, ip4(payload)) if version == 4 else ether(0x86DD, ip6(payload))
        found = decode(data + trailer)
        if why is None:
            assert isinstance(found, Datagram)
            assert found.payload == b"hello world"[: length - 8]
        else:
            assert isinstance(found, Skip)
            assert found.reason is why


@pytest.mark.parametrize("text", [b"hello world", b"x", b""])
@pytest.mark.parametrize("version", [4, 6])
def test_every_snap_length(version: int, text: bytes) -> None:
    """Headers cut at any byte are cut; from the whole UDP header on there is a datagram with what is there."""
    datagram = udp(text) if version == 4 else udp(text, source=HOST6, destination=PEER6)
    whole = ether(0x0800, ip4(datagram)) if version == 4 else ether(0x86DD, ip6(datagram))
    start = len(whole) - len(text)
    for size in range(len(whole) + 1):
        found = decode(whole[:size], wire_length=len(whole))
        if size < start:
            assert isinstance(found, Skip), size
            assert found.reason is SkipReason.CUT, size
        else:
            assert isinstance(found, Datagram), size
            assert (found.payload, found.whole) == (whole[start:size], size == len(whole)), size


@pytest.mark.parametrize("version", [4, 6])
def test_every_frame_that_was_never_longer(version: int) -> None:
    """The same bytes, as short on the wire: malformed, or a length that contradicts what there is."""
    whole = ether(0x0800, ip4(udp())) if version == 4 else ether(0x86DD, ip6(udp(source=HOST6, destination=PEER6)))
    ip_end = len(whole) - 19
    for size in range(1, ip_end):
        found = decode(whole[:size])
        assert isinstance(found, Skip), size
        assert found.reason is SkipReason.MALFORMED, size


@pytest.mark.parametrize("hardware", [1, 512, 769, 772])
@pytest.mark.parametrize("protocol", [0x0800, 0x86DD])
def test_hardware_of_cooked_captures(hardware: int, protocol: int) -> None:
    """Those whose protocols are EtherTypes, under both headers."""
    packet = ip4(udp()) if protocol == 0x0800 else ip6(udp(source=HOST6, destination=PEER6))
    first = struct.pack("!HHH8xH", 0, hardware, 6, protocol)
    second = struct.pack("!HHIHBB8x", protocol, 0, 1, hardware, 0, 6)
    for linktype, head in [(113, first), (276, second)]:
        found = fast_path.decode(Frame(5, linktype, head + packet, len(head + packet), None, 1))
        assert isinstance(found, Datagram)
        assert found.payload == b"hello world"
        for size in range(len(head)):
            cut = fast_path.decode(Frame(5, linktype, head[:size], len(head), None, 1))
            assert isinstance(cut, Skip)
            assert cut.reason is SkipReason.CUT


@pytest.mark.parametrize("header", [20, 24, 40, 60])
def test_the_length_of_an_ipv4_header(header: int) -> None:
    """Its low four bits count words; options stand between it and UDP."""
    packet = ip4(udp())
    options = b"\x01" * (header - 20)
    total = (len(packet) + len(options)).to_bytes(2)
    found = decode(
        ether(0x0800, bytes([0x40 | header // 4]) + packet[1:2] + total + packet[4:20] + options + packet[20:])
    )
    assert isinstance(found, Datagram)
    assert (found.payload, found.checksum_status) == (b"hello world", "good")


@pytest.mark.parametrize("address", [0x0001, 0x0101, 0xFFFF])
def test_the_sum_of_sums_that_wrap(address: int) -> None:
    """One's complement: 0xffff and 0 are both nothing (RFC 1071)."""
    data = address.to_bytes(2) + (0xFFFF - address).to_bytes(2)
    assert residue(data, 0) == 0
    assert residue(data * 400, 0) == 0
    assert residue(data * 400, 1) == 1


@pytest.mark.parametrize(
    ("ethertype", "layer"),
    [(0x0806, "arp"), (0x88CC, "lldp"), (0x888E, "eapol"), (0x8035, "rarp"), (0x9000, "loop"), (0x8863, "pppoed")],
)
def test_what_is_never_ip_by_name(ethertype: int, layer: str) -> None:
    """At a glance and behind a tag."""
    for head in (bytes(12), bytes(12) + hexed("8100 0001")):
        found = decode(head + ethertype.to_bytes(2) + bytes(46))
        assert isinstance(found, Skip)
        assert (found.reason, found.layer, found.offset) == (SkipReason.NOT_IP, layer, len(head) + 2)


@pytest.mark.parametrize("linktype", [12, 14, 101])
@pytest.mark.parametrize("packet", [ip4(udp()), ip6(udp(source=HOST6, destination=PEER6))])
def test_raw_link_types(linktype: int, packet: bytes) -> None:
    """All three numbers that raw IP has had."""
    found = fast_path.decode(Frame(5, linktype, packet, len(packet), None, 1))
    assert isinstance(found, Datagram)
    assert found.payload == b"hello world"


@pytest.mark.parametrize(("length", "why"), [(3, SkipReason.MALFORMED), (4, SkipReason.CUT)])
def test_a_null_header_of_four_bytes(length: int, why: SkipReason) -> None:
    """Cut where it was whole on the wire."""
    found = fast_path.decode(Frame(5, 0, b"\2\0\0", length, None, 1))
    assert isinstance(found, Skip)
    assert found.reason is why


@pytest.mark.parametrize(
    ("kind", "left", "rest", "final"),
    [
        (0, 1, bytes(range(16)) + bytes(range(16, 32)), bytes(range(16, 32))),
        (0, 0, bytes(range(16)), None),
        (2, 1, bytes(range(16)), bytes(range(16))),
        (4, 1, bytes(range(16)) + bytes(range(16, 32)), bytes(range(16))),
        (1, 1, bytes(range(16)), None),
    ],
)
def test_the_last_hop_of_a_routing_header(kind: int, left: int, rest: bytes, final: bytes | None) -> None:
    """The last address, or the first one (RFC 8754); none with no hops left or in a type without addresses."""
    destination = b"\xdd" * 16
    header = bytes([17, len(rest) // 8, kind, left]) + bytes(4) + rest
    assert last_hop(header, destination) == (final or destination)


def test_the_last_hop_in_a_compressed_routing_header() -> None:
    """RFC 6554: fourteen bytes of the last address are those of the destination, four bytes at the end are padding."""
    destination = bytes(range(0xA0, 0xB0))
    header = bytes([17, 1, 3, 2, 0xEE, 0x40, 0, 0]) + b"\x01\x02\x03\x04" + bytes(4)
    padded = bytes([17, 2, 3, 2, 0xEE, 0x40, 0, 0]) + bytes(8) + b"\x01\x02\x03\x04" + bytes(4)
    assert last_hop(padded, destination) == destination[:14] + b"\x03\x04"
    assert last_hop(header, destination) == destination


@pytest.mark.parametrize(
    ("where", "status", "told"),
    [
        (None, "bad", "bad"),
        (34, "good", "unverified"),
        (34, "absent", "unverified"),
        (33, "bad", "bad"),
        (35, "bad", "unverified"),
        (99, "bad", "unverified"),
        (100, "bad", "bad"),
        (60, "good", "good"),
        (60, "absent", "absent"),
        (0, "bad", "bad"),
        (-1, "bad", "unverified"),
        (-1, "good", "good"),
    ],
)
def test_a_checksum_that_is_left_to_the_card(where: int | None, status: str, told: str) -> None:
    """That of the header at 34, or one within its bytes up to 100, or nobody says which."""
    assert ready(status, Offload(where), 34, 100) == told


@pytest.mark.parametrize("family", [2, 24, 28, 30, 3, 1])
def test_families_of_a_null_header(family: int) -> None:
    """In either byte order; what is neither IPv4 nor IPv6 is left to others."""
    packet = ip4(udp()) if family == 2 else ip6(udp(source=HOST6, destination=PEER6))
    for linktype, order in [(0, "<"), (0, ">"), (108, ">")]:
        data = struct.pack(f"{order}I", family) + packet
        found = fast_path.decode(Frame(5, linktype, data, len(data), None, 1))
        if family in (1, 3):
            assert isinstance(found, Skip)
            assert found.reason is SkipReason.UNKNOWN_LAYER
        else:
            assert isinstance(found, Datagram)
            assert found.ip_version == (4 if family == 2 else 6)


@pytest.mark.parametrize(("linktype", "head"), [(113, 16), (276, 20)])
def test_a_cooked_header_alone(linktype: int, head: int) -> None:
    """Whole, with nothing behind it: it is the IP header that is missing."""
    first = struct.pack("!HHH8xH", 0, 1, 6, 0x0800) if head == 16 else struct.pack("!HHIHBB8x", 0x0800, 0, 1, 1, 0, 6)
    found = decode(first, linktype)
    assert isinstance(found, Skip)
    assert (found.reason, found.layer, found.offset) == (SkipReason.MALFORMED, "ip4", head)


@pytest.mark.parametrize("rest", range(8))
@pytest.mark.parametrize("version", [4, 6])
def test_an_ip_payload_too_short_for_udp(version: int, rest: int) -> None:
    """IP ends within the UDP header, though the frame goes on: the lengths contradict each other."""
    if version == 4:
        data = ether(0x0800, ip4(udp(), total=20 + rest))
    else:
        data = ether(0x86DD, ip6(udp(source=HOST6, destination=PEER6), length=rest))
    found = decode(data)
    assert isinstance(found, Skip)
    assert found.reason is SkipReason.BAD_LENGTH
