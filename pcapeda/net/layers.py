"""The layers that many others lead to: Ethernet and its tags, LLC, PPP, MPLS, IP, UDP.

Every function is a layer as `cursor` describes it. Where implementations disagree with a specification, the comments
say why the one or the other was followed.
"""

from typing import Final

from pcapeda.model import Datagram, Why
from pcapeda.net import ip
from pcapeda.net.cursor import Cursor, Layer, Space, Step
from pcapeda.net.udp import finish

ETHERTYPE, IP, PPP = Space.ETHERTYPE, Space.IP, Space.PPP


# Ethernet and what follows an EtherType


def ethernet(c: Cursor) -> Step:
    """IEEE 802.3: two addresses, then an EtherType or a length."""
    if not c.has(14):
        return c.short("eth", 14)
    kind = c.word(12)
    if c.take(0, 5) in (b"\x01\0\x0c\0\0", b"\x0c\0\x0c\0\0") and kind <= 1500:
        return isl
    c.passed("eth", 14)
    return ETHERTYPE, kind


def ethernet_fcs(c: Cursor) -> Step:
    """An Ethernet frame with its frame check sequence."""
    c.trim(4)
    return ethernet


def isl(c: Cursor) -> Step:
    """Cisco's Inter-Switch Link: 26 bytes around a whole frame, told by its destination address."""
    if not c.has(26):
        return c.short("isl", 26)
    c.passed(f"isl:{c.word(20) >> 1}", 26)
    return ethernet


def by_length(c: Cursor, length: int) -> Step:
    """What an EtherType field up to 1500 means: the length of an LLC frame (IEEE 802.3 3.2.6)."""
    if c.end - c.at > length:
        c.limit(length)
    if c.take(0, 2) == b"\xff\xff":
        return c.skip(Why.NOT_IP, "ipx")
    return llc


def vlan(c: Cursor) -> Step:
    """IEEE 802.1Q 9.6: priority and VLAN id, then an EtherType."""
    if not c.has(4):
        return c.short("vlan", 4)
    kind = c.word(2)
    c.passed(f"vlan:{c.word(0) & 0x0FFF}", 4)
    return ETHERTYPE, kind


def backbone(c: Cursor) -> Step:
    """IEEE 802.1Q 9.7 (802.1ah): the service tag, and a customer's frame behind it."""
    if not c.has(18):
        return c.short("pbb", 18)
    kind = c.word(16)
    c.passed(f"pbb:{c.number(1, 3)}", 4)
    c.passed("eth", 14)
    return (ETHERTYPE, kind) if kind > 1500 else c.skip(Why.NOT_IP, "pbb llc")


def tagged(layer: str, size: int) -> Layer:
    """A layer for tags of `size` bytes whose last two are the EtherType of what follows."""

    def tag(c: Cursor) -> Step:
        if not c.has(size):
            return c.short(layer, size)
        kind = c.word(size - 2)
        c.passed(layer, size)
        return ETHERTYPE, kind

    return tag


def skipping(layer: str, size: int, following: Layer) -> Layer:
    """A layer for headers of a fixed size that always lead to the same layer."""

    def header(c: Cursor) -> Step:
        if not c.has(size):
            return c.short(layer, size)
        c.passed(layer, size)
        return following

    return header


def macsec(c: Cursor) -> Step:
    """IEEE 802.1AE 9.3: readable only while it protects integrity alone."""
    size = 14 if c.has(1) and c.byte(0) & 0x20 else 6
    if not c.has(size + 2):
        return c.short("macsec", size + 2)
    if c.byte(0) & 0x80:
        return c.skip(Why.MALFORMED, "macsec")
    if c.byte(0) & 0x0C:
        return c.skip(Why.ENCRYPTED, "macsec")
    kind = c.word(size)
    c.passed("macsec", size + 2)
    return ETHERTYPE, kind


def hsr(c: Cursor) -> Step:
    """IEC 62439-3: path and size, sequence number, EtherType."""
    if not c.has(6):
        return c.short("hsr", 6)
    kind = c.word(4)
    c.passed("hsr", 6)
    return ETHERTYPE, kind


def trill(c: Cursor) -> Step:
    """RFC 6325 3.2: six bytes and options, then the inner Ethernet frame."""
    if not c.has(6):
        return c.short("trill", 6)
    size = 6 + ((c.word(0) >> 6) & 0x1F) * 4
    if not c.has(size):
        return c.short("trill", size)
    c.passed("trill", size)
    return ethernet


def nsh(c: Cursor) -> Step:
    """RFC 8300 2.2: the header's length is in words of four bytes."""
    if not c.has(8):
        return c.short("nsh", 8)
    size = max(8, (c.word(0) & 0x3F) * 4)
    if not c.has(size):
        return c.short("nsh", size)
    following = NSH.get(c.byte(3))
    if following is None:
        return c.skip(Why.NOT_IP, f"nsh next {c.byte(3)}")
    c.passed(f"nsh:{c.number(4, 3)}", size)
    return following


BATMAN: Final = {
    (14, 0x03): 10, (14, 0x04): 14, (14, 0x09): 18, (15, 0x01): 14, (15, 0x40): 10, (15, 0x42): 18,
}  # fmt: skip
"""Header sizes of the B.A.T.M.A.N. advanced packets that carry a frame, by version and packet type."""


def batman(c: Cursor) -> Step:
    """B.A.T.M.A.N. advanced (Linux, uapi/linux/batadv_packet.h): unicast and broadcast packets carry a frame."""
    if not c.has(2):
        return c.short("batadv", 2)
    size = BATMAN.get((c.byte(1), c.byte(0)))
    if size is None:
        return c.skip(Why.NOT_IP, "batadv")
    if not c.has(size):
        return c.short("batadv", size)
    c.passed("batadv", size)
    return ethernet


def pppoe(c: Cursor) -> Step:
    """RFC 2516 4: version, code, session, length; the session stage carries PPP."""
    if not c.has(6):
        return c.short("pppoe", 6)
    length = c.word(4)
    c.passed("pppoe", 6)
    if c.end - c.at > length:
        c.limit(length)
    return ppp


def rtmac(c: Cursor) -> Step:
    """RTnet's medium access header: EtherType, version, flags. Version 2 has a flag for tunnelled packets."""
    if not c.has(4):
        return c.short("rtmac", 4)
    kind = c.word(0)
    if c.byte(2) != 1 and not c.byte(3) & 1:
        return c.skip(Why.NOT_IP, "rtmac")
    c.passed("rtmac", 4)
    return ETHERTYPE, kind


# LLC


def llc(c: Cursor) -> Step:
    """IEEE 802.2 3: service access points and control; SNAP (RFC 1042) names an EtherType, point 06 is IP."""
    if not c.has(3):
        return c.short("llc", 3)
    destination, source, control = c.byte(0), c.byte(1), c.byte(2)
    # Supervisory and information frames have control fields of two bytes; only unnumbered ones have one.
    size = 3 if control & 3 == 3 else 4
    if destination == 0xAA and source == 0xAA:
        c.passed("llc", size)
        return snap
    c.passed("llc", size)
    information = control == 0x03 or control & 1 == 0
    if destination == 0x06 and information:
        return ip4
    if destination == 0xFE and information:
        return osi
    return c.skip(Why.NOT_IP, f"llc 0x{destination:02x}")


def osi(c: Cursor) -> Step:
    """ISO 9577: a network layer protocol identifier, with values of its own for IP and PPP."""
    if not c.has(1):
        return c.short("osi", 1)
    following = NLPID.get(c.byte(0))
    if following is None:
        return c.skip(Why.NOT_IP, f"nlpid 0x{c.byte(0):02x}")
    c.at += 1
    return following


BRIDGED: Final = {0x0001: 4, 0x0007: 0}
"""Bridged Ethernet under SNAP's OUI 00-80-C2, with and without FCS (RFC 2684 5.2): bytes of trailer."""


def snap(c: Cursor) -> Step:
    """The organisation, then the protocol as this organisation numbers it."""
    if not c.has(5):
        return c.short("snap", 5)
    organisation, protocol = c.number(0, 3), c.word(3)
    c.passed("snap", 5)
    if organisation in (0x000000, 0x0000F8):
        # Organisation 0 means EtherTypes; 0000F8 is what Cisco bridges make of them.
        return ETHERTYPE, protocol
    if organisation == 0x0080C2 and protocol in BRIDGED:
        c.at += 2
        c.trim(BRIDGED[protocol])
        return ethernet
    return c.skip(Why.NOT_IP, f"snap {organisation:06x}")


# PPP


def ppp_hdlc(c: Cursor) -> Step:
    """RFC 1662: address and control may be left out; Cisco HDLC begins with an address of its own."""
    if not c.has(2):
        return c.short("ppp", 2)
    if c.byte(0) == 0xFF and c.byte(1) == 0x03:
        c.at += 2
    elif c.byte(0) in (0x0F, 0x8F):
        return cisco_hdlc
    return ppp


def ppp(c: Cursor) -> Step:
    """RFC 1661 2: a protocol of two bytes, or one where the first byte is odd."""
    if not c.has(1):
        return c.short("ppp", 1)
    size = 1 if c.byte(0) & 1 else 2
    if not c.has(size):
        return c.short("ppp", size)
    protocol = c.number(0, size)
    c.passed("ppp", size)
    return PPP, protocol


def cisco_hdlc(c: Cursor) -> Step:
    """Address, control, and an EtherType."""
    if not c.has(4):
        return c.short("chdlc", 4)
    kind = c.word(2)
    c.passed("chdlc", 4)
    if kind == 0xFEFE:
        return osi
    return ETHERTYPE, kind


def bridging(c: Cursor) -> Step:
    """RFC 3518 4.2: flags with a count of padding bytes, and the MAC type; where a flag says so an FCS ends it."""
    if not c.has(2):
        return c.short("bcp", 2)
    flags, kind = c.byte(0), c.byte(1)
    if kind != 1 or flags & 0x10:
        return c.skip(Why.NOT_IP, "bcp")
    c.passed("bcp", 2)
    c.trim((flags & 0x0F) + (4 if flags & 0x80 else 0))
    return ethernet


def multiplexed(c: Cursor) -> Step:
    """RFC 3153 1.1: sub-frames, each with a length; the first with a protocol of its own is read."""
    if not c.has(2):
        return c.short("pppmux", 2)
    first = c.byte(0)
    length, size = (c.word(0) & 0x3FFF, 2) if first & 0x40 else (first & 0x3F, 1)
    if not first & 0x80:
        return c.skip(Why.UNKNOWN_LAYER, "pppmux")
    c.passed("pppmux", size)
    c.limit(length)
    return ppp


def multilink(c: Cursor) -> Step:
    """RFC 1990 3: a packet that is first and last fragment in one can be read, others are parts."""
    if not c.has(4):
        return c.short("mlppp", 4)
    if c.byte(0) & 0xC0 != 0xC0:
        return c.skip(Why.UNKNOWN_LAYER, "mlppp fragment")
    c.passed("mlppp", 4)
    return ppp


# MPLS


def mpls(c: Cursor) -> Step:
    """RFC 3032 2.1: labels up to the one with the bottom bit; the next nibble tells what follows (RFC 4928)."""
    label, bottom = 0, False
    while not bottom:
        if not c.has(4):
            return c.short("mpls", 4)
        word = c.number(0, 4)
        label, bottom = word >> 12, bool(word & 0x100)
        c.passed(f"mpls:{label}", 4)
        if len(c.via) > MAX_LABELS:
            return c.skip(Why.TOO_DEEP, "mpls")
    if label == 13:
        return channel
    if label == 14:
        return c.skip(Why.NOT_IP, "mpls oam")
    if not c.has(1):
        return c.short("mpls payload", 1)
    nibble = c.byte(0) >> 4
    if nibble == 4:
        return ip4
    if nibble == 6:
        return ip6
    if nibble == 1:
        return channel
    if nibble == 0:
        return pseudowire
    return c.skip(Why.NOT_IP, "mpls payload")


MAX_LABELS: Final = 64


def channel(c: Cursor) -> Step:
    """RFC 4385 5: the associated channel of a pseudowire; types 0x21 and 0x57 carry IP (RFC 4385 5, RFC 5586)."""
    if not c.has(4):
        return c.short("pwach", 4)
    kind = c.word(2)
    c.passed("pwach", 4)
    if kind == 0x21:
        return ip4
    if kind == 0x57:
        return ip6
    return c.skip(Why.NOT_IP, f"pwach 0x{kind:04x}")


def pseudowire(c: Cursor) -> Step:
    """RFC 4448: Ethernet, with a control word or without; nothing in the packet says which.

    A first nibble of 0 fits both. As Wireshark does, a plain frame is seen where the EtherType makes sense and one of
    the addresses is a registered one; it looks these up, and here any universally administered address will do.
    """
    if not c.has(14):
        return c.short("pweth", 14)
    kind = c.word(12)
    sane = kind in ETHERTYPES or kind <= min(1500, c.end - c.at - 14)
    if not (sane and (c.byte(0) & 3 == 0 or c.byte(6) & 3 == 0)):
        c.at += 4
    return ethernet


ETHERTYPES: Final = frozenset({0x0800, 0x0806, 0x8100, 0x86DD, 0x8847, 0x8848, 0x8863, 0x8864, 0x88A8, 0x88CC})


# IP


def ip4(c: Cursor) -> Step:
    """RFC 791. A version of 6 is read as what it is."""
    packet = ip.read4(c.data, c.at, c.stop, c.end)
    if isinstance(packet, Why):
        if packet is Why.MALFORMED and c.has(1) and c.byte(0) >> 4 == 6:
            return ip6
        return c.skip(packet, "ip4")
    return _packet(c, packet, "ip4")


def ip6(c: Cursor) -> Step:
    """RFC 8200."""
    packet = ip.read6(c.data, c.at, c.stop, c.end)
    if isinstance(packet, Why):
        return c.skip(packet, "ip6")
    return _packet(c, packet, "ip6")


def _packet(c: Cursor, packet: ip.Packet, layer: str) -> Step:
    """Go on behind an IP header."""
    c.passed(layer, 0)
    return arrived(c, packet)


def arrived(c: Cursor, packet: ip.Packet) -> Step:
    """Go on at the payload of an IP packet whose header has been read, or that was reassembled."""
    c.at, c.end = packet.at, packet.end
    c.stop = min(c.stop, c.end)
    c.source, c.destination, c.final = packet.source, packet.destination, packet.final
    if packet.more or packet.offset:
        return ip.fragment(c.frame, c.data, packet, c.stop, c.via)
    return IP, packet.protocol


def extension(protocol: int) -> Layer:
    """A layer for IPv6 extension headers behind another layer (AH), or where none should be."""

    def header(c: Cursor) -> Step:
        packet = ip.Packet(protocol, c.at, c.end, c.source, c.destination, c.final)
        read = ip.extensions(c.data, packet, c.stop)
        return c.skip(read, "ip6 extension") if isinstance(read, Why) else arrived(c, read)

    return header


def authentication(c: Cursor) -> Step:
    """RFC 4302 2: the length is in words of four bytes, minus two."""
    if not c.has(12):
        return c.short("ah", 12)
    following, size = c.byte(0), (c.byte(1) + 2) * 4
    if size < 12 or not c.has(size):
        return c.short("ah", max(12, size))
    c.passed("ah", size)
    return IP, following


def udp(c: Cursor) -> Step:
    """RFC 768. Under decapsulation the payload is walked on if a port says that it is a tunnel."""
    found = finish(c.frame, c.data, c.at, c.stop, c.end, c.source, c.destination, c.final, c.via, c.fragments)
    port = tunnel_port(found) if c.decapsulate and isinstance(found, Datagram) else None
    if port is None or not isinstance(found, Datagram):
        return found
    c.outer = found
    c.limit(found.length)
    c.passed(f"udp:{found.destination_port}", 8)
    return Space.PORT, port


def tunnel_port(found: Datagram) -> int | None:
    """The port that says that a datagram is a tunnel's, if one does.

    The lower port goes first, as in Wireshark: the higher one is the sender's own as a rule. Where the lower one is
    that of a service, the payload is the service's.
    """
    low, high = found.source_port, found.destination_port
    if low > high:
        low, high = high, low
    if low in TUNNEL_PORTS:
        return low
    return high if high in TUNNEL_PORTS and low not in SERVICES else None


TUNNEL_PORTS: Final = frozenset(
    {
        434,
        1701,
        2123,
        2152,
        2268,
        3386,
        3544,
        4306,
        4341,
        4754,
        4789,
        4790,
        5072,
        5247,
        6081,
        6635,
        12222,
        12223,
        30030,
        37008,
    }
)
"""UDP ports whose payload may hold another packet; the layers behind them are in the table of `walk`."""


SERVICES: Final = frozenset(
    {
        7,
        13,
        19,
        37,
        53,
        67,
        68,
        69,
        88,
        111,
        123,
        137,
        138,
        161,
        162,
        177,
        319,
        320,
        389,
        464,
        500,
        514,
        520,
        521,
        546,
        547,
        1900,
    }
)
"""UDP ports of services whose datagrams are theirs even if the other port is a tunnel's."""


def udp_lite(c: Cursor) -> Step:
    """RFC 3828: a transport of its own, whose length field counts checksum coverage."""
    return c.skip(Why.UDP_LITE, "udp-lite")


def encrypted(c: Cursor) -> Step:
    """RFC 4303: what ESP carries cannot be read."""
    return c.skip(Why.ENCRYPTED, "esp")


def by_version(c: Cursor) -> Step:
    """An IP packet of either version, told by its first nibble."""
    if not c.has(1):
        return c.short("ip", 1)
    version = c.byte(0) >> 4
    if version == 4:
        return ip4
    if version == 6:
        return ip6
    return c.skip(Why.NOT_IP, f"ip version {version}")


def etherip(c: Cursor) -> Step:
    """RFC 3378 3: two bytes of version, which is not judged, then an Ethernet frame."""
    if not c.has(2):
        return c.short("etherip", 2)
    c.passed("etherip", 2)
    return ethernet


def pim(c: Cursor) -> Step:
    """RFC 7761 4.9.3: a Register message carries a whole multicast packet."""
    if not c.has(8):
        return c.short("pim", 8)
    if c.byte(0) != 0x21:
        return c.skip(Why.NOT_UDP, "pim")
    c.passed("pim", 8)
    return by_version


NSH: Final[dict[int, Layer]] = {1: ip4, 2: ip6, 3: ethernet, 4: nsh, 5: mpls}
"""What follows a network service header (RFC 8300 2.2), and VXLAN-GPE (its draft) by the same numbers."""

NLPID: Final[dict[int, Layer]] = {0xCC: ip4, 0x8E: ip6, 0xCF: ppp}
"""Network layer protocol identifiers (ISO 9577, RFC 2684 6)."""
