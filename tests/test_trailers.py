"""Check sequences and padding: what a header or a custom says of them never takes away what IP's length claims."""

import pytest

from pcapeda.dissect.cursor import Cursor
from pcapeda.dissect.extractor import Extractor
from pcapeda.model import Datagram, Frame
from pcapeda.report import Report
from tests.stacks import MAC, P6, SNAP, ether, hexed, ip4, udp

BODY = bytes(range(60))
P4 = ip4(udp(BODY, dport=514))
E4 = ether(0x0800, P4)
DOT11 = hexed("0801 0000") + MAC + MAC[:6] + hexed("0000")
QOS = b"\x88" + DOT11[1:] + hexed("0000")
LLC = SNAP + hexed("0800") + P4

DECLARED = {
    "FabricPath": (1, MAC + hexed("8903 0041") + E4),
    "FabricPath, IPv6": (1, MAC + hexed("8903 0041") + ether(0x86DD, P6)),
    "FabricPath, LLC": (1, MAC + hexed("8903 0041") + ether(len(LLC), LLC)),
    "LLC bridged": (1, ether(10 + len(E4), hexed("aaaa03 0080c2 0001 0000") + E4)),
    "RFC 1483 bridged": (100, hexed("aaaa03 0080c2 0001 0000") + E4),
    "PPP bridging": (9, hexed("ff03 0031 80 01") + E4),
    "PPP bridging, padding": (9, hexed("ff03 0031 8f 01") + E4),
    "netANALYZER": (240, hexed("00 04 3200") + E4),
    "netANALYZER transparent": (241, hexed("00 04 3200 55555555555555 d5") + E4),
    "mPacket without preamble": (274, E4),
    "exported": (252, hexed("000c 000c 6574685f77697468666373 00 0000 0000") + E4),
    "radiotap": (127, hexed("0000 0900 02000000 10") + DOT11 + LLC),
    "radiotap, QoS and padding": (127, hexed("0000 0900 02000000 30") + QOS + bytes(2) + LLC),
    "PPI": (192, hexed("00 00 0800 69000000") + DOT11 + LLC),
    "PKTAP": (258, hexed("6c000000 01000000 01000000") + bytes(96) + E4),
    "ERF": (197, hexed("0000000000000000 02 04 0080 0000 0066 0000") + E4),
    "ERSPAN": (1, ether(0x0800, ip4(hexed("1000 88be 00000001 100a 0064 00000007") + E4, 47))),
    "PPP": (9, hexed("ff03 0021") + P4),
    "PPPoE": (1, ether(0x8864, hexed("11000001") + (2 + len(P4)).to_bytes(2, "big") + hexed("0021") + P4)),
}


def found(linktype: int, data: bytes, length: int | None = None) -> Datagram:
    frame = Frame(0, linktype, data, length or len(data), None, 1)
    answer = Extractor(Report()).feed(frame)
    assert isinstance(answer, Datagram), answer
    return answer


@pytest.mark.parametrize("trailer", [0, 1, 3, 4, 8, 20])
@pytest.mark.parametrize("name", DECLARED)
def test_never_below_the_ip_length(name: str, trailer: int) -> None:
    """Where the check sequence was not captured, or stands beside padding, the whole payload is there."""
    linktype, frame = DECLARED[name]
    answer = found(linktype, frame + b"\xee" * trailer)
    assert (answer.whole, answer.checksum_status) == (True, "good")
    assert answer.payload == (b"hello world" if name.endswith("IPv6") else BODY)


@pytest.mark.parametrize("name", [name for name in DECLARED if not name.endswith("IPv6")])
def test_what_the_snap_length_cut_is_missing(name: str) -> None:
    """A check sequence that was on the wire is not in a frame that the capture cut before it."""
    linktype, frame = DECLARED[name]
    answer = found(linktype, frame[:-10], len(frame) + 4)
    assert (answer.payload, answer.whole, answer.checksum_status) == (BODY[:-10], False, "unverified")


def test_an_empty_datagram_padded_by_the_card() -> None:
    """UDP without payload in FabricPath: 42 bytes and two of padding, no check sequence."""
    answer = found(1, MAC + hexed("8903 0041") + ether(0x0800, ip4(udp(b"", dport=514))) + bytes(2))
    assert (answer.length, answer.payload) == (8, b"")


HEADS = {
    "bare": (105, b""),
    "Prism": (119, hexed("44000000 10000000") + bytes(8)),
    "radiotap": (127, hexed("0000 0800 00000000")),
    "AVS": (163, hexed("80211001 00000010") + bytes(8)),
    "PPI": (192, hexed("00 00 0800 69000000")),
}


@pytest.mark.parametrize("padding", [0, 2])
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("kind", ["plain", "QoS", "HT control", "four addresses"])
def test_padding_that_no_flag_tells_of(head: str, kind: str, padding: int) -> None:
    """Some drivers put two bytes between 802.11's header and LLC: they are told by the LLC header behind them."""
    linktype, lead = HEADS[head]
    wlan = {
        "plain": DOT11,
        "QoS": QOS,
        "HT control": b"\x88\x81" + DOT11[2:] + hexed("0000 00000000"),
        "four addresses": b"\x88\x03" + DOT11[2:] + MAC[:6] + hexed("0000"),
    }[kind]
    answer = found(linktype, lead + wlan + bytes(padding) + LLC)
    assert (answer.destination_port, answer.payload, answer.checksum_status) == (514, BODY, "good")


def test_a_length_takes_back_what_was_a_trailer() -> None:
    """Any layer's length does, not IP's alone; and no length goes beyond the bytes there are."""
    for length, readable in ((14, 14), (18, 18), (30, 20)):
        c = Cursor(Frame(0, 1, bytes(20), 20, None, 1))
        c.trim(4)
        assert (c.stop, c.trailer) == (16, 4)
        c.limit(length)
        assert (c.stop, c.trailer, c.end) == (readable, 0, length)
