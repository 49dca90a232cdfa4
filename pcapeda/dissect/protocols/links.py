"""Link types: what comes first in a frame. Every function is a layer as `cursor` describes it.

The specifications are those of https://www.tcpdump.org/linktypes.html unless a comment names another.
"""

from typing import Final
from zlib import crc32

from pcapeda.dissect.cursor import Cursor, Layer, Space, Step
from pcapeda.dissect.protocols.ethernet import by_version, ethernet, ethernet_fcs, ip4, ip6, llc, osi, skipping, snap
from pcapeda.dissect.protocols.ppp import ppp_hdlc
from pcapeda.dissect.protocols.wlan import radiotap
from pcapeda.model import SkipReason

ETHERTYPE = Space.ETHERTYPE

FAMILIES: Final[dict[int, Layer]] = {2: ip4, 24: ip6, 28: ip6, 30: ip6}
"""AF_INET, and AF_INET6 of NetBSD and OpenBSD, FreeBSD, Darwin."""


# Loopback and raw


def null(c: Cursor) -> Step:
    """LINKTYPE_NULL: a family in the capturing machine's byte order; some wrote 16 bits of it, or an EtherType."""
    if not c.has(4):
        return c.short("null", 4)
    if c.word(0) == 0xFF03:
        return ppp_hdlc
    family = int.from_bytes(c.take(0, 4), "little")
    if family >> 16:
        family = family >> 16 if family >> 16 < 6 else c.number(0, 4)
    elif family & 0xFF == 0 and family < 0x0600:
        family >>= 8
    c.passed("null", 4)
    if family > 1500:
        return ETHERTYPE, family & 0xFFFF
    return FAMILIES.get(family) or c.skip(SkipReason.NOT_IP, f"family {family}")


def loop(c: Cursor) -> Step:
    """LINKTYPE_LOOP: the family in network order; some wrote it in the machine's."""
    if not c.has(4):
        return c.short("null", 4)
    family = c.number(0, 4)
    if family >> 16:
        family = int.from_bytes(c.take(0, 4), "little")
    c.passed("null", 4)
    return FAMILIES.get(family) or c.skip(SkipReason.NOT_IP, f"family {family}")


def raw(c: Cursor) -> Step:
    """LINKTYPE_RAW: an IP packet; some Linux versions wrote PPP framing, or ten bytes of nothing, under this number."""
    if c.take(0, 2) == b"\xff\x03":
        return ppp_hdlc
    for lead in (1, 6):
        if c.take(lead, 2) == b"\xff\x03" and (lead == 1 or c.has(8)):
            c.at += lead
            return ppp_hdlc
    if c.has(11) and c.take(0, 10) == bytes(10):
        c.at += 10
    c.passed("raw", 0)
    return by_version


def slip(c: Cursor) -> Step:
    """LINKTYPE_SLIP: a direction and 15 bytes about compression, which TCP alone has; then an IP packet."""
    if not c.has(16):
        return c.short("slip", 16)
    c.passed("slip", 16)
    return by_version


def raw4(c: Cursor) -> Step:
    c.passed("raw", 0)
    return ip4


def raw6(c: Cursor) -> Step:
    c.passed("raw", 0)
    return ip6


def enc(c: Cursor) -> Step:
    """LINKTYPE_ENC: family, SPI and flags of four bytes each, in the capturing machine's byte order (OpenBSD's)."""
    if not c.has(12):
        return c.short("enc", 12)
    family = c.byte(0) or c.byte(3)
    c.passed("enc", 12)
    return {2: ip4, 24: ip6}.get(family) or c.skip(SkipReason.NOT_IP, f"family {family}")


def pflog(c: Cursor) -> Step:
    """LINKTYPE_PFLOG: length, family, …; the length leaves out the padding to a multiple of four bytes."""
    if not c.has(2):
        return c.short("pflog", 2)
    size, family = (c.byte(0) + 3) // 4 * 4, c.byte(1)
    if not c.has(size):
        return c.short("pflog", size)
    c.passed("pflog", size)
    return FAMILIES.get(family) or c.skip(SkipReason.NOT_IP, f"family {family}")


def ipnet(c: Cursor) -> Step:
    """LINKTYPE_IPNET (Solaris): version, family (26 is AF_INET6), length of the packet, …: 24 bytes."""
    if not c.has(24):
        return c.short("ipnet", 24)
    following, length = {2: ip4, 26: ip6}.get(c.byte(1)), c.number(4, 4)
    c.passed("ipnet", 24)
    c.limit(length)
    return following or c.skip(SkipReason.NOT_IP, "ipnet")


# Linux


def cooked(c: Cursor) -> Step:
    """LINKTYPE_LINUX_SLL."""
    if not c.has(16):
        return c.short("sll", 16)
    hardware, protocol = c.word(2), c.word(14)
    c.passed("sll", 16)
    return _cooked(c, hardware, protocol)


def cooked2(c: Cursor) -> Step:
    """LINKTYPE_LINUX_SLL2."""
    if not c.has(20):
        return c.short("sll2", 20)
    hardware, protocol = c.word(8), c.word(0)
    c.passed("sll2", 20)
    return _cooked(c, hardware, protocol)


def _cooked(c: Cursor, hardware: int, protocol: int) -> Step:
    """What the protocol means depends on the ARPHRD_ type of the device."""
    if hardware == 824:
        return c.skip(SkipReason.NOT_IP, "netlink")
    if hardware == 778 and protocol > 1500:
        return Space.GRE, protocol
    if protocol > 1500:
        return ETHERTYPE, protocol
    following = radiotap if hardware == 803 else COOKED.get(protocol) if hardware != 770 else None
    return following or c.skip(SkipReason.NOT_IP, f"sll 0x{protocol:04x}")


COOKED: Final[dict[int, Layer]] = {
    0x0003: ethernet,
    0x0004: llc,
    0x0007: ppp_hdlc,
    **dict.fromkeys(range(0x30, 0x36), skipping("ipos", 4, ethernet)),
}
"""Protocols of Linux cooked captures below the EtherTypes (linux/if_ether.h): all, 802.2, PPP; Redback's from 0x30."""


def nflog(c: Cursor) -> Step:
    """LINKTYPE_NFLOG: family, version, resource; then attributes, little endian length and type; 9 is the packet."""
    if not c.has(4):
        return c.short("nflog", 4)
    following = {2: ip4, 10: ip6}.get(c.byte(0))
    c.passed("nflog", 4)
    while c.has(4):
        size, kind = int.from_bytes(c.take(0, 2), "little"), int.from_bytes(c.take(2, 2), "little")
        if size < 4:
            return c.skip(SkipReason.MALFORMED, "nflog")
        if kind & 0x7FFF == 9:
            c.at += 4
            c.limit(size - 4)
            return following or c.skip(SkipReason.NOT_IP, "nflog family")
        c.at += (size + 3) // 4 * 4
    return c.short("nflog", 4)


# Headers that name another link type


def ppi(c: Cursor) -> Step:
    """LINKTYPE_PPI: version, flags, length, link type, in little endian; the fields between do not matter here."""
    if not c.has(8):
        return c.short("ppi", 8)
    size, linktype = int.from_bytes(c.take(2, 2), "little"), int.from_bytes(c.take(4, 4), "little")
    if size < 8 or not c.has(size):
        return c.skip(SkipReason.MALFORMED, "ppi") if size < 8 else c.short("ppi", size)
    c.passed("ppi", size)
    return Space.LINK, linktype


def pktap(c: Cursor) -> Step:
    """LINKTYPE_PKTAP (Darwin): length, kind and link type in little endian; kind 1 is followed by a packet."""
    if not c.has(108):
        return c.short("pktap", 108)
    size, linktype = int.from_bytes(c.take(0, 4), "little"), int.from_bytes(c.take(8, 4), "little")
    if c.byte(4) != 1:
        return c.skip(SkipReason.NOT_IP, "pktap")
    if size < 108 or not c.has(size):
        return c.skip(SkipReason.MALFORMED, "pktap") if size < 108 else c.short("pktap", size)
    c.passed("pktap", size)
    return Space.LINK, linktype


def user2(c: Cursor) -> Step:
    """LINKTYPE_USER2: Apple's tools wrote PKTAP under it, before that had its number; others write what they like."""
    if c.has(108):
        size, kind, linktype = (int.from_bytes(c.take(at, 4), "little") for at in (0, 4, 8))
        if 108 <= size <= c.stop and kind <= 1 and linktype <= 0xFFFF:
            return pktap
    return c.skip(SkipReason.UNKNOWN_LINK, "USER2")


# Local and wide area networks of the past


def token_ring(c: Cursor) -> Step:
    """IEEE 802.5: access and frame control, addresses, a route where the source's first bit says so; then LLC."""
    if not c.has(14):
        return c.short("tr", 14)
    if c.byte(1) >> 6 != 1:
        return c.skip(SkipReason.NOT_IP, "tr mac")
    size = 14
    if c.byte(8) & 0x80:
        if not c.has(15):
            return c.short("tr", 15)
        size += c.byte(14) & 0x1F
    if not c.has(size):
        return c.short("tr", size)
    c.passed("tr", size)
    return llc


def fddi(c: Cursor) -> Step:
    """FDDI: frame control and addresses; frame controls 0x50 to 0x5f carry LLC."""
    if not c.has(13):
        return c.short("fddi", 13)
    if not 0x50 <= c.byte(0) <= 0x5F:
        return c.skip(SkipReason.NOT_IP, "fddi")
    c.passed("fddi", 13)
    return llc


ARCNET: Final[dict[int, Layer]] = {196: ip6, 212: ip4, 240: ip4}
"""ARCNET protocol ids: RFC 1201 (212 for IPv4), RFC 2497 (196 for IPv6), RFC 1051 (240)."""


def arcnet(c: Cursor) -> Step:
    """LINKTYPE_ARCNET_BSD: two addresses of a byte, the protocol id, and by RFC 1201 flag and sequence number."""
    return _arcnet(c, 2, exceptions=True)


def arcnet_linux(c: Cursor) -> Step:
    """LINKTYPE_ARCNET_LINUX: two bytes of offset stand before the protocol id."""
    return _arcnet(c, 4, exceptions=False)


def _arcnet(c: Cursor, at: int, *, exceptions: bool) -> Step:
    if not c.has(at + 1):
        return c.short("arcnet", at + 1)
    protocol = c.byte(at)
    following = ARCNET.get(protocol)
    if following is None:
        return c.skip(SkipReason.NOT_IP, f"arcnet {protocol}")
    size = at + 1
    if protocol != 240:
        if exceptions and c.has(size + 1) and c.byte(size) == 0xFF:
            size += 4  # RFC 1201: an exception packet's padding comes before the real flag
        size += 3
    if not c.has(size):
        return c.short("arcnet", size)
    c.passed("arcnet", size)
    return following


def fibre_channel_ip(c: Cursor) -> Step:
    """LINKTYPE_IP_OVER_FC: RFC 2625's network header of two addresses, then LLC."""
    if not c.has(16):
        return c.short("ipfc", 16)
    c.passed("ipfc", 16)
    return llc


def firewire(c: Cursor) -> Step:
    """LINKTYPE_APPLE_IP_OVER_IEEE1394: two addresses of eight bytes and an EtherType."""
    if not c.has(18):
        return c.short("ap1394", 18)
    kind = c.word(16)
    c.passed("ap1394", 18)
    return ETHERTYPE, kind


def frame_relay(c: Cursor) -> Step:
    """Q.922 address of two to four bytes, then RFC 2427: control and a protocol identifier, or Cisco's EtherType."""
    size = 1
    while c.has(size) and not c.byte(size - 1) & 1 and size < 4:
        size += 1
    if size < 2 or not c.has(size + 2):
        return c.short("fr", size + 2)
    c.passed("fr", size)
    if c.byte(0) & 0xEF != 0x03:
        kind = c.word(0)
        c.at += 2
        return ETHERTYPE, kind
    c.at += 1
    if c.byte(0) == 0:
        c.at += 1  # a pad byte before the identifier
    return nlpid


def nlpid(c: Cursor) -> Step:
    """RFC 2427 4: 0x80 means SNAP, whose five bytes follow at once."""
    if c.has(1) and c.byte(0) == 0x80:
        if c.take(1, 5) == b"\0\x80\xc2\0\x07":
            c.at += 6  # bridged Ethernet (4.2): no padding, unlike under LLC
            return ethernet
        c.at += 1
        return snap
    return osi


LLC_SNAP: Final = b"\xaa\xaa\x03"


def atm(c: Cursor) -> Step:
    """LINKTYPE_ATM_RFC1483: an LLC header; Fore's driver left 20 bytes of an IEEE 802.6 header before it."""
    if c.take(0, 3) != LLC_SNAP and c.take(20, 3) == LLC_SNAP:
        c.at += 20
    return llc


def clip(c: Cursor) -> Step:
    """Classical IP over ATM (RFC 2225): an LLC header, or none and an IP packet."""
    if c.take(0, 3) == LLC_SNAP:
        return llc
    c.passed("raw", 0)
    return by_version


def sun_atm(c: Cursor) -> Step:
    """LINKTYPE_SUNATM: direction and traffic type, VPI, VCI; type 1 is LAN emulation, 2 LLC, others are guessed at."""
    if not c.has(4):
        return c.short("sunatm", 4)
    kind, circuit = c.byte(0) & 0x0F, c.word(2)
    c.passed("sunatm", 4)
    if kind == 1:
        c.at += 2
        return ethernet
    guess = kind in (3, 4) or (kind in (0, 7) and circuit > 31)
    if kind == 2 or (guess and c.take(0, 3) == b"\xaa\xaa\x03"):
        return llc
    if guess and c.has(2):
        if c.byte(0) >> 4 == 4:
            return ip4
        if c.word(0) == 0x0021:
            return ppp_hdlc
    return c.skip(SkipReason.NOT_IP, f"sunatm {kind}")


def directed(following: Layer) -> Layer:
    """A byte of direction before another link type."""

    def direction(c: Cursor) -> Step:
        if not c.has(1):
            return c.short("direction", 1)
        c.at += 1
        return following

    return direction


def symantec(c: Cursor) -> Step:
    """LINKTYPE_SYMANTEC_FIREWALL: an EtherType at byte 6 of 44, or (version 3) at byte 22 of 56."""
    if not c.has(44):
        return c.short("symantec", 44)
    kind, size = (c.word(6), 44) if c.word(6) else (c.word(22), 56)
    c.passed("symantec", size)
    return ETHERTYPE, kind


# Ethernet in other clothes


def docsis(c: Cursor) -> Step:
    """DOCSIS MAC header (MULPIv3.1 6.2.1): types 0 and 2 carry an Ethernet frame."""
    if not c.has(6):
        return c.short("docsis", 6)
    control, extended = c.byte(0), c.byte(1)
    if control >> 6 not in (0, 2):
        return c.skip(SkipReason.NOT_IP, "docsis")
    size = 6 + (extended if control & 1 else 0)
    if not c.has(size):
        return c.short("docsis", size)
    c.passed("docsis", size)
    return ethernet


def epon(c: Cursor) -> Step:
    """LINKTYPE_EPON: the preamble of eight bytes that holds the logical link id, then the frame."""
    if not c.has(8):
        return c.short("epon", 8)
    if c.byte(2) != 0xD5:
        return c.skip(SkipReason.MALFORMED, "epon")
    c.passed("epon", 8)
    return ethernet


STARTS: Final = frozenset({0xD5, 0xE6, 0x4C, 0x7F, 0xB3})
"""Start delimiters of whole frames: express ones, and preemptable ones that were not interrupted (802.3br 99.3.3)."""


def mpacket(c: Cursor) -> Step:
    """LINKTYPE_ETHERNET_MPACKET: preamble, start delimiter, frame, and an FCS that tells whole frames from parts."""
    lead = 0
    while lead < 8 and c.has(lead + 1) and c.byte(lead) == 0x55:
        lead += 1
    if not c.has(lead + 5):
        return c.short("mpacket", lead + 5)
    if not lead:
        return ethernet_fcs
    if c.byte(lead) not in STARTS:
        return c.skip(SkipReason.NOT_IP, "mpacket")
    c.passed("mpacket", lead + 1)
    if c.stop < c.end:
        return c.skip(SkipReason.CUT, "mpacket")
    if crc32(c.take(0, c.stop - c.at - 4)) != int.from_bytes(c.take(c.stop - c.at - 4, 4), "little"):
        return c.skip(SkipReason.MALFORMED, "mpacket check sequence")
    return ethernet_fcs


def net_analyzer(c: Cursor) -> Step:
    """LINKTYPE_NETANALYZER: four bytes with flags and a version, which is 1; then an Ethernet frame with FCS."""
    if not c.has(4):
        return c.short("netanalyzer", 4)
    if c.byte(1) & 0x3D != 0x04:
        return c.skip(SkipReason.NOT_IP, "netanalyzer")
    c.passed("netanalyzer", 4)
    return ethernet_fcs


def net_analyzer_transparent(c: Cursor) -> Step:
    """LINKTYPE_NETANALYZER_TRANSPARENT: the same four bytes, then what was on the wire from the preamble on."""
    if not c.has(13):
        return c.short("netanalyzer", 13)
    c.passed("netanalyzer", 4)
    lead = 0
    while lead < 8 and c.has(lead + 1) and c.byte(lead) == 0x55:
        lead += 1
    if not c.has(lead + 1) or c.byte(lead) != 0xD5:
        return c.skip(SkipReason.NOT_IP, "netanalyzer")
    c.at += lead + 1
    return ethernet_fcs


def infiniband_ip(c: Cursor) -> Step:
    """LINKTYPE_IPOIB: a global routing header of 40 bytes, then RFC 4391's EtherType and two reserved bytes."""
    if not c.has(44):
        return c.short("ipoib", 44)
    kind = c.word(40)
    c.passed("ipoib", 44)
    return ETHERTYPE, kind


ERF: Final[dict[int, tuple[int, Layer]]] = {
    1: (0, ppp_hdlc),
    2: (2, ethernet),
    4: (4, llc),
    5: (4, ppp_hdlc),
    9: (8, llc),
    10: (0, ppp_hdlc),
    11: (2, ethernet),
    15: (0, ppp_hdlc),
    16: (2, ethernet),
    17: (4, ppp_hdlc),
    19: (0, ppp_hdlc),
    20: (2, ethernet),
    22: (0, ip4),
    23: (0, ip6),
}
"""Record types of Endace's ERF with padding and layer: HDLC, Ethernet, AAL5; of many channels; with colour; IP."""


def erf(c: Cursor) -> Step:
    """LINKTYPE_ERF: 16 bytes, extension headers of eight where the type's first bit says so."""
    if not c.has(16):
        return c.short("erf", 16)
    kind, more = c.byte(8) & 0x7F, c.byte(8) & 0x80
    size = 16
    while more:
        if not c.has(size + 8):
            return c.short("erf", size + 8)
        more = c.byte(size) & 0x80
        size += 8
    if kind not in ERF:
        return c.skip(SkipReason.NOT_IP, f"erf {kind}")
    padding, following = ERF[kind]
    if not c.has(size + padding):
        return c.short("erf", size + padding)
    c.passed("erf", size + padding)
    return following
