"""The fast path: lengths, cuts and checksums have one outcome each."""

import struct
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcapeda.capture.checksum import residue
from pcapeda.dissect import fast_path, tables
from pcapeda.dissect.extractor import UNKNOWN
from pcapeda.dissect.tunnel_ports import PORTS
from pcapeda.model import Datagram, Fragment, Frame, Skip, SkipReason
from tests import stacks
from tests.frames import decoded
from tests.stacks import HOST6, PEER6, checksum, ether, hexed, ip4, ip6, udp


def decode(data: bytes, *, linktype: int = 1, length: int | None = None) -> Datagram | Fragment | Skip:
    return decoded(Frame(5, linktype, data, length or len(data), "eth0", 9))


def udp6(payload: bytes = b"hello world", **fields: int) -> bytes:
    return udp(payload, source=HOST6, destination=PEER6, **fields)


class TestLengths:
    def test_the_udp_length_rules(self) -> None:
        """What follows the datagram in the IP payload, or IP in the frame, is not payload."""
        found = decode(ether(0x0800, ip4(udp() + b"surplus")) + bytes(13))
        assert isinstance(found, Datagram)
        assert (found.payload, found.length, found.whole, found.checksum_status) == (b"hello world", 19, True, "good")

    @pytest.mark.parametrize("length", [0, 7, 20, 65_535])
    @pytest.mark.parametrize("version", [4, 6])
    def test_a_length_that_contradicts_ip(self, length: int, version: int) -> None:
        """Less than a header, or more than IP carries, is a skip of its own."""
        data = ether(0x0800, ip4(udp(length=length))) if version == 4 else ether(0x86DD, ip6(udp6(length=length)))
        found = decode(data)
        assert isinstance(found, Skip)
        assert found.reason is SkipReason.BAD_LENGTH

    def test_an_empty_datagram(self) -> None:
        """A length of 8 is a datagram without payload."""
        found = decode(ether(0x0800, ip4(udp(b""))))
        assert isinstance(found, Datagram)
        assert (found.payload, found.length, found.checksum_status) == (b"", 8, "good")

    def test_segmentation_offload(self) -> None:
        """An IPv4 total length of 0 means the rest of the frame."""
        found = decode(ether(0x0800, ip4(total=0)))
        assert isinstance(found, Datagram)
        assert found.payload == b"hello world"

    @pytest.mark.parametrize("first", [0x44, 0x55, 0x05])
    def test_a_bad_header(self, first: int) -> None:
        """A header length below five words, or another version, makes no sense."""
        found = decode(ether(0x0800, ip4(first=first)))
        assert isinstance(found, Skip)
        assert found.reason is SkipReason.MALFORMED


class TestCuts:
    def test_a_payload_cut_by_the_snap_length(self) -> None:
        """What was captured is given, said to be not whole, its checksum unverified."""
        data = ether(0x0800, ip4())
        found = decode(data[:-4], length=len(data))
        assert isinstance(found, Datagram)
        assert (found.payload, found.length, found.whole) == (b"hello w", 19, False)
        assert found.checksum_status == "unverified"

    def test_no_checksum_in_a_cut_payload(self) -> None:
        """Absent is absent, cut or not."""
        data = ether(0x0800, ip4(udp(value=0)))
        found = decode(data[:-4], length=len(data))
        assert isinstance(found, Datagram)
        assert found.checksum_status == "absent"

    @pytest.mark.parametrize("size", [3, 16, 33, 34, 41])
    def test_headers_cut_by_the_snap_length(self, size: int) -> None:
        """Nothing can be told from a part of a header."""
        data = ether(0x0800, ip4())
        found = decode(data[:size], length=len(data))
        assert isinstance(found, Skip)
        assert found.reason is SkipReason.CUT

    def test_headers_that_were_never_whole(self) -> None:
        """A frame that was as short on the wire is malformed, not cut."""
        found = decode(ether(0x0800, ip4())[:20])
        assert isinstance(found, Skip)
        assert found.reason is SkipReason.MALFORMED


class TestChecksums:
    @pytest.mark.parametrize("payload", [b"", b"\0", b"odd", b"even", bytes(1000), b"\xff" * 999])
    @pytest.mark.parametrize("version", [4, 6])
    def test_good_and_bad(self, payload: bytes, version: int) -> None:
        """Over both versions, for odd and even lengths."""
        for change, status in ((0, "good"), (1, "bad")):
            segment = udp(payload) if version == 4 else udp6(payload)
            value = int.from_bytes(segment[6:8], "big") ^ change or 0xFFFE
            segment = segment[:6] + value.to_bytes(2, "big") + segment[8:]
            found = decode(ether(0x0800, ip4(segment)) if version == 4 else ether(0x86DD, ip6(segment)))
            assert isinstance(found, Datagram)
            assert (found.checksum_status, found.checksum) == (status, value)

    def test_zero(self) -> None:
        """Absent over IPv4 (RFC 768), illegal over IPv6 (RFC 8200 8.1)."""
        four, six = decode(ether(0x0800, ip4(udp(value=0)))), decode(ether(0x86DD, ip6(udp6(value=0))))
        assert isinstance(four, Datagram)
        assert isinstance(six, Datagram)
        assert (four.checksum_status, six.checksum_status) == ("absent", "bad")

    @given(st.binary(max_size=300))
    def test_against_the_definition(self, payload: bytes) -> None:
        """RFC 1071 word by word agrees with the arithmetic used here."""
        segment = udp(payload)
        pseudo = bytes([192, 0, 2, 1, 198, 51, 100, 2, 0, 17]) + len(segment).to_bytes(2, "big")
        found = decode(ether(0x0800, ip4(segment)))
        assert isinstance(found, Datagram)
        assert (found.checksum_status == "good") is (checksum(pseudo + segment) == 0)


def test_it_says_what_it_does_not_know() -> None:
    """Only a Skip of unknown link or layer may be asked of others; the rest is final."""
    unknown = [decode(ether(0x8847, bytes(40))), decode(bytes(40), linktype=105), decode(ether(0x0800, ip4(b"", 47)))]
    known = [decode(ether(0x0806, bytes(28))), decode(ether(0x0800, ip4(bytes(20), 6))), decode(b"\0")]
    assert all(isinstance(found, Skip) and found.reason in UNKNOWN for found in unknown)
    assert all(isinstance(found, Skip) and found.reason not in UNKNOWN for found in known)


def test_too_many_tags() -> None:
    """A stack of VLAN tags without end is cut."""
    found = decode(bytes(12) + hexed("8100 0001") * 1000)
    assert isinstance(found, Skip)
    assert found.reason is SkipReason.TOO_DEEP


@given(
    st.sampled_from([0, 1, 9, 12, 14, 50, 101, 108, 113, 228, 229, 276]), st.binary(max_size=120), st.integers(0, 200)
)
def test_any_bytes(linktype: int, data: bytes, more: int) -> None:
    """No bytes make it raise, and the walker agrees wherever it answers."""
    frame = Frame(None, linktype, data, len(data) + more, None, 1)
    found = decoded(frame)
    if isinstance(found, Skip):
        assert found.reason in UNKNOWN or isinstance(tables.decode(frame), Skip)
    else:
        assert tables.decode(frame) == found


EVERYTHING = list(stacks.everything())


@given(
    st.sampled_from(EVERYTHING),
    st.lists(st.tuples(st.integers(0, 100), st.integers(0, 255)), max_size=3),
    st.integers(0, 200) | st.none(),
)
def test_a_glance_is_never_wrong(
    packet: tuple[int, str, bytes], breaks: list[tuple[int, int]], cut: int | None
) -> None:
    """Packets of every kind, some bytes of them changed and the end cut off: what is done at a glance is right."""
    linktype, _, right = packet
    data = bytearray(right)
    for at, value in breaks:
        if at < len(data):
            data[at] = value
    decoded(Frame(1, linktype, bytes(data[:cut]), len(data), None, 1))


@pytest.mark.parametrize("total", [0, 1, 19, 20, 40, 300])
@pytest.mark.parametrize("tags", [b"", hexed("8100 0006")])
def test_tcp_with_a_total_length_that_cannot_be(total: int, tags: bytes) -> None:
    """Less than its own header is malformed, whoever looks; 0 stands for what the network card will send."""
    data = bytes(12) + tags + hexed("0800") + ip4(bytes(20), 6, total=total)
    found = decoded(Frame(1, 1, data, len(data), None, 1))
    assert isinstance(found, Skip)
    assert found.reason is (SkipReason.MALFORMED if 0 < total < 20 else SkipReason.NOT_UDP)


def test_what_may_be_a_tunnel_is_odd() -> None:
    """Who wants to see into tunnels gets them to look at again, whichever port says so."""
    for source, destination in [(4789, 40000), (40000, 4789), (40000, 514)]:
        data = ether(0x0800, ip4(udp(sport=source, dport=destination)))
        frame = Frame(1, 1, data, len(data), None, 1)
        datagrams, _, slow_path, _ = fast_path.decode_block((frame,), PORTS)
        if destination == 514:
            assert (len(datagrams), slow_path) == (1, [])
        else:
            assert (datagrams, slow_path) == ([], [(0, frame)])


def test_the_usual_link_layers_are_plain() -> None:
    """Ethernet, up to two VLAN tags, cooked and raw captures: not one frame needs a second look."""
    tagged = bytes(12) + hexed("8100 0006") + hexed("8100 0007")
    for linktype, head in [
        (1, bytes(12)),
        (1, tagged[:16]),
        (1, tagged),
        (113, hexed("0000 0001 0006") + bytes(8)),
        (276, None),
        (101, b""),
    ]:
        for ethertype, packet in [(0x0800, ip4(udp())), (0x86DD, ip6(udp6()))]:
            kind = ethertype.to_bytes(2)
            if head is None:
                data = kind + hexed("0000 00000001 0001 00 06") + bytes(8) + packet
            else:
                data = head + (kind if head else b"") + packet
            decode_block = fast_path.decode_block((Frame(1, linktype, data, len(data), None, 1),))
            assert len(decode_block.datagrams) == 1, (linktype, data.hex())


@pytest.mark.parametrize("size", [*range(5), *range(108, 117), *range(508, 517), *range(1020, 1030), 65_515])
@pytest.mark.parametrize("kind", ["any", "most", "least"])
def test_the_sum_of_a_checksum(size: int, kind: str) -> None:
    """Whatever way a length takes, it is the sum of the words, as adding them one by one gives."""
    data = {"any": Random(size).randbytes(size), "most": b"\xff" * size, "least": bytes(size)}[kind]
    padded = data + bytes(size % 2)
    words = struct.unpack(f"!{len(padded) // 2}H", padded)
    for more in (0, 1, 17 + size):
        assert residue(data, more) == (sum(words) + more) % 0xFFFF
