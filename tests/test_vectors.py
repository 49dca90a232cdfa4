"""One packet by hand for every header that is parsed by hand: bytes as its specification draws them.

The innermost is always the same IPv4 packet (RFC 791) with a UDP datagram (RFC 768) from 192.0.2.1 port 1025 to
198.51.100.2 port 514 that says 'hi', its checksum not used; or its like over IPv6 (RFC 8200), from 2001:db8::1.
"""

import pytest

from pcapeda.model import Datagram, Frame, Report
from pcapeda.net.extract import Extractor

UDP = "0401 0202 000a 0000 6869"
IP4 = "45 00 001e 0001 0000 40 11 0000 c0000201 c6336402" + UDP
IP6 = "60000000 000a 11 40 20010db8000000000000000000000001 20010db8000000000000000000000002 0401 0202 000a ce3e 6869"
MACS = "020000000002 020000000001"
ETH4 = MACS + "0800" + IP4
OUTER = "45 00 %04x 0001 0000 40 %02x 0000 0a000001 0a000002"


def over_ip(protocol: int, body: str) -> str:
    """An Ethernet frame with an IPv4 packet that carries `body`."""
    return MACS + "0800" + OUTER % (20 + len(bytes.fromhex(body)), protocol) + body


def over_udp(port: int, body: str) -> str:
    """The same for a UDP datagram to a port."""
    return over_ip(17, f"c000 {port:04x} {8 + len(bytes.fromhex(body)):04x} 0000" + body)


LINKS = [
    ("IEEE 802.1Q, VLAN 10", 1, MACS + "8100 000a 0800" + IP4, "vlan:10"),
    ("IEEE 802.1ad, VLAN 100 around 10", 1, MACS + "88a8 0064 8100 000a 0800" + IP4, "vlan:100"),
    ("IEEE 802.1ah, service 0x123456", 1, MACS + "88e7 00123456" + ETH4, None),
    ("RFC 1042, LLC and SNAP", 1, MACS + "0026 aaaa03 000000 0800" + IP4, "snap"),
    ("RFC 3032, label 16", 1, MACS + "8847 00010140" + IP4, "mpls:16"),
    ("RFC 2516, PPPoE session 1", 1, MACS + "8864 11 00 0001 0020 0021" + IP4, "pppoe"),
    ("RFC 8300, NSH with next protocol IPv4", 1, MACS + "894f 0fc2 02 01 000001ff" + IP4, "nsh:1"),
    ("LINKTYPE_LINUX_SLL", 113, "0000 0001 0006 0200000000010000 0800" + IP4, "sll"),
    ("LINKTYPE_LINUX_SLL2", 276, "0800 0000 00000002 0001 00 06 0200000000010000" + IP4, "sll2"),
    ("LINKTYPE_NULL, little-endian AF_INET", 0, "02000000" + IP4, "null"),
    ("LINKTYPE_LOOP, AF_INET in network order", 108, "00000002" + IP4, None),
    ("LINKTYPE_RAW", 101, IP4, "raw"),
    ("LINKTYPE_IPV4", 228, IP4, None),
    ("RFC 1661 and 1662", 9, "ff03 0021" + IP4, "ppp"),
    ("LINKTYPE_C_HDLC", 104, "0f00 0800" + IP4, None),
    ("RFC 2427, Frame Relay DLCI 16, NLPID of IP", 107, "0401 03 cc" + IP4, None),
    ("RFC 2684, LLC over ATM as SunATM has it", 123, "02 00 0064 aaaa03 000000 0800" + IP4, None),
    ("IEEE 802.11 data frame", 105, "0801 0000" + MACS + "020000000003 0000 aaaa03 000000 0800" + IP4, None),
    (
        "radiotap around it",
        127,
        "00 00 0800 00000000 0801 0000" + MACS + "020000000003 0000 aaaa03 000000 0800" + IP4,
        "radiotap",
    ),
    ("PPI around Ethernet", 192, "00 00 0800 01000000" + ETH4, None),
    ("IEEE 802.5 token ring", 6, "10 40" + MACS + "aaaa03 000000 0800" + IP4, None),
    ("FDDI", 10, "50" + MACS + "aaaa03 000000 0800" + IP4, None),
    ("RFC 1201, ARCNET", 7, "01 02 d4 00 0000" + IP4, None),
    ("NFLOG, payload attribute 9", 239, "02 00 0000 2200 0900" + IP4, "nflog"),
]

INNER = [
    ("RFC 2003, IP in IP", over_ip(4, IP4), "ip4"),
    ("RFC 4213, 6in4", over_ip(41, IP6), "ip6"),
    ("RFC 2784, GRE", over_ip(47, "0000 0800" + IP4), "gre"),
    ("RFC 2890, GRE with key and sequence number", over_ip(47, "3000 0800 0000002a 00000001" + IP4), "gre"),
    ("RFC 2637, GRE version 1 with PPP", over_ip(47, "3001 880b 0022 0001 00000001 ff03 0021" + IP4), "gre"),
    ("draft-foschiano-erspan, type II", over_ip(47, "1000 88be 00000001 1064 002a 00000000" + ETH4), "erspan:42"),
    ("RFC 4302, AH", over_ip(51, "04 04 0000 00000001 00000001 000000000000000000000000" + IP4), None),
    ("RFC 3378, EtherIP", over_ip(97, "3000" + ETH4), None),
    ("RFC 4023, MPLS in IP", over_ip(137, "00010140" + IP4), "mpls:16"),
    (
        "RFC 8200, hop-by-hop and destination options",
        MACS
        + "86dd"
        + IP6.replace("000a 11 40", "001a 00 40", 1).replace("0401", "3c00 0104 00000000 1100 0104 00000000 0401", 1),
        "ip6",
    ),
]

TUNNELS = [
    ("RFC 7348, VXLAN with VNI 42", over_udp(4789, "08000000 00002a00" + ETH4), "vxlan:42"),
    ("VXLAN-GPE with next protocol IPv4", over_udp(4790, "0c000001 00002a00" + IP4), None),
    ("RFC 8926, GENEVE with one option", over_udp(6081, "0100 6558 00002a00 0108 01 00" + ETH4), None),
    ("RFC 8926, GENEVE", over_udp(6081, "0000 6558 00002a00" + ETH4), "geneve:42"),
    ("3GPP TS 29.281, GTP-U with TEID 42", over_udp(2152, "30 ff 001e 0000002a" + IP4), "gtp:42"),
    ("RFC 2661, L2TP data", over_udp(1701, "0002 0001 0002 ff03 0021" + IP4), "l2tp:1/2"),
    ("RFC 4380, Teredo", over_udp(3544, IP6), "teredo"),
    ("RFC 6830, LISP data", over_udp(4341, "00000000 00000000" + IP4), None),
    ("RFC 8086, GRE in UDP", over_udp(4754, "0000 0800" + IP4), "gre"),
    ("RFC 7510, MPLS in UDP", over_udp(6635, "00010140" + IP4), "mpls:16"),
]


def found(linktype: int, text: str, *, decapsulate: bool) -> Datagram:
    data = bytes.fromhex(text)
    report = Report()
    extractor = Extractor(report, decapsulate=decapsulate)
    datagram = extractor.feed(Frame(1, linktype, data, len(data), None, 1))
    assert isinstance(datagram, Datagram), datagram
    return datagram


def is_ours(datagram: Datagram) -> bool:
    return (datagram.source_port, datagram.destination_port, datagram.payload) == (1025, 514, b"hi")


@pytest.mark.parametrize(("linktype", "text", "layer"), [row[1:] for row in LINKS], ids=[row[0] for row in LINKS])
def test_links(linktype: int, text: str, layer: str | None) -> None:
    """What stands between the wire and IP is walked, and named."""
    datagram = found(linktype, text, decapsulate=False)
    assert is_ours(datagram), datagram
    assert layer is None or layer in datagram.via


@pytest.mark.parametrize(("text", "layer"), [row[1:] for row in INNER], ids=[row[0] for row in INNER])
def test_encapsulations_without_udp(text: str, layer: str | None) -> None:
    """What IP carries without UDP in between is walked by default: the datagram is the outermost UDP."""
    datagram = found(1, text, decapsulate=False)
    assert is_ours(datagram), datagram
    assert layer is None or layer in datagram.via


@pytest.mark.parametrize(("text", "layer"), [row[1:] for row in TUNNELS], ids=[row[0] for row in TUNNELS])
def test_tunnels_over_udp(text: str, layer: str | None) -> None:
    """A tunnel over UDP is a datagram by default, and its innermost datagram under decapsulation."""
    assert found(1, text, decapsulate=False).source_port == 0xC000
    datagram = found(1, text, decapsulate=True)
    assert is_ours(datagram), datagram
    assert layer is None or layer in datagram.via
