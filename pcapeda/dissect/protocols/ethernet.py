"""The layers that many others lead to: Ethernet and its tags, LLC, IP, UDP.

Every function is a layer as `cursor` describes it. Where implementations disagree with a specification, the comments
say why the one or the other was followed.
"""

from collections.abc import Mapping
from typing import Final

from pcapeda.dissect import ip
from pcapeda.dissect.cursor import Cursor, Layer, Space, Step
from pcapeda.dissect.udp import finish
from pcapeda.model import Datagram, SkipReason

ETHERTYPE, IP = Space.ETHERTYPE, Space.IP


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
    """Cisco's Inter-Switch Link: 26 bytes around a whole frame, known by its destination address."""
    if not c.has(26):
        return c.short("isl", 26)
    c.passed(f"isl:{c.word(20) >> 1}", 26)
    return ethernet


def by_length(c: Cursor, length: int) -> Step:
    """What an EtherType field up to 1500 means: the length of an LLC frame (IEEE 802.3 3.2.6)."""
    if c.end - c.at > length:
        c.limit(length)
    if c.take(0, 2) == b"\xff\xff":
        return c.skip(SkipReason.NOT_IP, "ipx")
    return llc


def vlan(c: Cursor) -> Step:
    """IEEE 802.1Q 9.6: priority and VLAN id, then an EtherType."""
    if not c.has(4):
        return c.short("vlan", 4)
    kind = c.word(2)
    c.passed(f"vlan:{c.word(0) & 0x0FFF}", 4)
    return vlan if ip.hides_tag(c.data, c.at, kind) else (ETHERTYPE, kind)


def backbone(c: Cursor) -> Step:
    """IEEE 802.1Q 9.7 (802.1ah): the service tag, and a customer's frame behind it."""
    if not c.has(18):
        return c.short("pbb", 18)
    kind = c.word(16)
    c.passed(f"pbb:{c.number(1, 3)}", 4)
    c.passed("eth", 14)
    return ETHERTYPE, kind  # a whole frame of the customer's: up to 1500 it is a length, which Wireshark does not see


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
        return c.skip(SkipReason.MALFORMED, "macsec")
    if c.byte(0) & 0x0C:
        return c.skip(SkipReason.ENCRYPTED, "macsec")
    kind = c.word(size)
    c.passed("macsec", size + 2)
    return ETHERTYPE, kind


def fabric_path(c: Cursor) -> Step:
    """Cisco FabricPath: a tag of two bytes and a whole frame, behind which the FCS may have been captured."""
    if not c.has(2):
        return c.short("fabricpath", 2)
    c.passed("fabricpath", 2)
    return ethernet_fcs


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
        return c.skip(SkipReason.NOT_IP, "batadv")
    if not c.has(size):
        return c.short("batadv", size)
    c.passed("batadv", size)
    return ethernet


def lowpan(c: Cursor) -> Step:
    """RFC 4944 5.1: dispatch 0x41 is an uncompressed IPv6 packet; compressed ones are not read."""
    if not c.has(1):
        return c.short("6lowpan", 1)
    if c.byte(0) != 0x41:
        return c.skip(SkipReason.UNKNOWN_LAYER, "6lowpan compression")
    c.passed("6lowpan", 1)
    return ip6


def rtmac(c: Cursor) -> Step:
    """RTnet's medium access header: EtherType, version, flags. Version 2 has a flag for tunnelled packets."""
    if not c.has(4):
        return c.short("rtmac", 4)
    kind = c.word(0)
    if c.byte(2) != 1 and not c.byte(3) & 1:
        return c.skip(SkipReason.NOT_IP, "rtmac")
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
    c.passed("llc", size)
    if control == 0x03 or control & 1 == 0:  # unnumbered information, or information
        if destination == 0xAA and source == 0xAA:
            return snap
        if destination == 0x06:
            return ip4
        if destination == 0xFE:
            return osi
    return c.skip(SkipReason.NOT_IP, f"llc 0x{destination:02x}")


def osi(c: Cursor) -> Step:
    """ISO 9577: a network layer protocol identifier, with values of its own for IP and PPP."""
    if not c.has(1):
        return c.short("osi", 1)
    c.at += 1
    return Space.NLPID, c.byte(-1)


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
    if (organisation, protocol) == (0x0017F2, 0x0800):
        return tagged("awdl", 8)  # Apple Wireless Direct Link: magic, sequence number, two bytes, an EtherType
    if organisation == 0x0080C2 and protocol in BRIDGED:
        c.at += 2
        c.trim(BRIDGED[protocol])
        return ethernet
    return c.skip(SkipReason.NOT_IP, f"snap {organisation:06x}")


# IP


def ip4(c: Cursor) -> Step:
    """RFC 791. A version of 6 is read as what it is."""
    packet = ip.read4(c.data, c.at, c.stop + c.trailer, c.end)
    if isinstance(packet, SkipReason):
        if packet is SkipReason.MALFORMED and c.has(1) and c.byte(0) >> 4 == 6:
            return ip6
        return c.skip(packet, "ip4")
    return _packet(c, packet, "ip4")


def ip6(c: Cursor) -> Step:
    """RFC 8200."""
    packet = ip.read6(c.data, c.at, c.stop + c.trailer, c.end)
    if isinstance(packet, SkipReason):
        return c.skip(packet, "ip6")
    return _packet(c, packet, "ip6")


def _packet(c: Cursor, packet: ip.Packet, layer: str) -> Step:
    """Go on behind an IP header."""
    c.passed(layer, 0)
    return arrived(c, packet)


def arrived(c: Cursor, packet: ip.Packet) -> Step:
    """Go on at the payload of an IP packet whose header has been read, or that was reassembled.

    Its length rules: what is taken for a trailer is the packet's where the length says so (RFC 791 3.1).
    """
    c.at, c.end = packet.at, packet.end
    c.stop, c.trailer = min(c.stop + c.trailer, c.end), 0
    c.source, c.destination, c.pseudo = packet.source, packet.destination, packet.pseudo
    if packet.more or packet.offset:
        return ip.fragment(c.frame, c.data, packet, c.stop, c.via)
    return IP, packet.protocol


def extension(protocol: int) -> Layer:
    """A layer for IPv6 extension headers behind another layer (AH), or where none should be."""

    def header(c: Cursor) -> Step:
        packet = ip.Packet(protocol, c.at, c.end, c.source, c.destination, c.pseudo)
        read = ip.extensions(c.data, packet, c.stop)
        return c.skip(read, "ip6 extension") if isinstance(read, SkipReason) else arrived(c, read)

    return header


def shim6(c: Cursor) -> Step:
    """RFC 5533 5.1: an extension header of the common form."""
    if not c.has(8):
        return c.short("shim6", 8)
    following, size = c.byte(0), 8 + c.byte(1) * 8
    if not c.has(size):
        return c.short("shim6", size)
    c.passed("shim6", size)
    return IP, following


def authentication(c: Cursor) -> Step:
    """RFC 4302 2: the length is in words of four bytes, minus two."""
    size = (c.byte(1) + 2) * 4 if c.has(8) else 8
    if not c.has(size):
        return c.short("ah", size)
    following = c.byte(0)
    c.passed("ah", size)
    return IP, following


def udp(c: Cursor) -> Step:
    """RFC 768. Under decapsulation the payload is walked on if a port says that it is a tunnel.

    That also holds where the length is more than IP has: what is inside may well be in order.
    """
    found = finish(c.frame, c.data, c.at, c.stop, c.end, c.source, c.destination, c.pseudo, c.via, c.fragments)
    if not c.tunnels or not c.has(8):
        return found
    length, readings = c.word(4), tunnel_layers(c.tunnels, c.word(0), c.word(2))
    if not readings or 0 < length < 8 or (length == 0 and len(c.source) == 4):
        return found
    c.outer = found
    if isinstance(found, Datagram):
        c.branches.clear()  # other readings of what led here: this one was right
        c.limit(found.length)
    c.passed(f"udp:{c.word(2)}", 8)
    for other in readings[:0:-1]:
        c.branch(other)
    return readings[0]


def tunnel_layers(tunnels: Mapping[int, Layer], source: int, destination: int) -> list[Layer]:
    """What a payload may be by its UDP ports: the tunnel of the destination port first, then that of the source port.

    The destination names the protocol, and the source port may be any number (RFC 7348 5, RFC 8926 3.3); but answers
    come from a tunnel's port. Where the lower port is that of a common service, the payload is the service's.
    """
    ports = (destination, source) if source != destination else (destination,)
    low = min(ports)
    return [tunnels[port] for port in ports if port in tunnels and (port == low or low not in SERVICES)]


SERVICES: Final = frozenset(
    {
        *(7, 13, 19, 37, 53, 67, 68, 69, 88, 111, 123, 137, 138, 161, 162, 177, 319, 320, 389, 464, 500, 514, 520),
        *(521, 546, 547, 1900),
    }
)
"""UDP ports of services whose datagrams are theirs even if the other port is a tunnel's."""


def udp_lite(c: Cursor) -> Step:
    """RFC 3828: a transport of its own, whose length field counts checksum coverage."""
    return c.skip(SkipReason.UDP_LITE, "udp-lite")


def encrypted(c: Cursor) -> Step:
    """RFC 4303: what ESP carries cannot be read."""
    return c.skip(SkipReason.ENCRYPTED, "esp")


def by_version(c: Cursor) -> Step:
    """An IP packet of either version, known by its first nibble."""
    if not c.has(1):
        return c.short("ip", 1)
    version = c.byte(0) >> 4
    if version == 4:
        return ip4
    if version == 6:
        return ip6
    return c.skip(SkipReason.NOT_IP, f"ip version {version}")


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
        return c.skip(SkipReason.NOT_UDP, "pim")
    c.passed("pim", 8)
    return by_version
