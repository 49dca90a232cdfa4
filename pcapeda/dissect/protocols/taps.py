"""Headers that switches, taps and radios put before a packet, each behind an EtherType or under a link type of its own.

Every function is a layer as `cursor` describes it. Many of these formats have no public specification; then the layout
is what the vendor's devices send, as far as it is known from captures and from what reads them.
"""

from typing import Final

from pcapeda.dissect.cursor import Cursor, Layer, Space, Step
from pcapeda.dissect.protocols.ethernet import ethernet, ip4, ip6, llc, tagged
from pcapeda.dissect.protocols.mpls import mpls
from pcapeda.dissect.protocols.ppp import ppp_hdlc
from pcapeda.model import SkipReason

ETHERTYPE = Space.ETHERTYPE


# Switch chips: what the port of a host's own switch adds (Linux, Documentation/networking/dsa)


def switch_tag(layer: str, size: int) -> Layer:
    """Ethernet with a tag of `size` bytes between the addresses and the EtherType, as DSA_TAG_ link types have it."""

    def tag(c: Cursor) -> Step:
        if not c.has(14 + size):
            return c.short("eth", 14 + size)
        c.passed("eth", 12)
        return tagged(layer, size + 2)

    return tag


def realtek(c: Cursor) -> Step:
    """Realtek's switch tags (Linux, net/dsa/tag_rtl4_a.c and tag_rtl8_4.c): two bytes that begin with 0xA, or six that
    begin with 0x04; other protocols under this EtherType are the switch's own."""
    if not c.has(1):
        return c.short("realtek", 1)
    if c.byte(0) >> 4 == 0xA:
        return tagged("realtek", 4)
    return tagged("realtek", 8) if c.byte(0) == 0x04 else c.skip(SkipReason.NOT_IP, "realtek")


# Taps and packet brokers


def arista(c: Cursor) -> Step:
    """Arista's timestamps: subtype, version, 64 or 48 bits of time by the version's middle nibble, EtherType."""
    if not c.has(4):
        return c.short("arista", 4)
    if c.word(0) != 1:
        return tagged("arista", 4)
    time = {1: 8, 2: 6}.get(c.byte(3) >> 4)
    return c.skip(SkipReason.UNKNOWN_LAYER, "arista timestamp") if time is None else tagged("arista", 4 + time + 2)


def gigamon(c: Cursor) -> Step:
    """Gigamon's header: its length in the first byte, which counts itself; then an EtherType."""
    if not c.has(1):
        return c.short("gigamon", 1)
    return tagged("gmhdr", max(c.byte(0), 1) + 2)


TECMP_DATA: Final = (0x03, 0x0A)
"""Message types of captured and of replayed data."""
TECMP_ETHERNET: Final = 0x0080


def tecmp(c: Cursor) -> Step:
    """Technica's capture modules in cars: device, counter, version, message type, data type, flags; then entries."""
    if not c.has(12):
        return c.short("tecmp", 12)
    if c.byte(5) not in TECMP_DATA or c.word(6) != TECMP_ETHERNET:
        return c.skip(SkipReason.NOT_IP, "tecmp")
    c.passed("tecmp", 12)
    return _tecmp_entry


def _tecmp_entry(c: Cursor) -> Step:
    """Channel, time, length, flags: 16 bytes; then a frame. Another entry may follow."""
    if not c.has(16):
        return c.short("tecmp", 16)
    length = c.word(12)
    c.at += 16
    if c.at + length < c.stop:
        c.branch(_tecmp_entry, c.at + length)
    if c.end - c.at > length:
        c.limit(length)
    return ethernet


# Meshes and networks over telephone lines


def roofnet(c: Cursor) -> Step:
    """MIT's Roofnet: 20 bytes, whose third is a number of links of 20 bytes; the last address, and an IP packet."""
    size = 24 + c.byte(2) * 20 if c.has(3) else 24
    if not c.has(size):
        return c.short("roofnet", size)
    c.passed("roofnet", size)
    return ip4


def extreme_mesh(c: Cursor) -> Step:
    """Motorola's, later Extreme's mesh: version and what follows; a control header (20 bytes) may come between."""
    size, following = 2, c.byte(1) if c.has(2) else 0
    if not c.has(2):
        return c.short("extreme mesh", 2)
    if following == 1:
        size += 20
        if not c.has(size):
            return c.short("extreme mesh", size)
        following = c.byte(3)
    if following != 2:
        return c.skip(SkipReason.NOT_IP, "extreme mesh")
    c.passed("mesh", size)
    return ethernet


def homepna(c: Cursor) -> Step:
    """HomePNA (ITU-T G.9954): type and length of a byte each, or of two where the first bit is set, version, data, and
    at the end an EtherType; the length leaves out the EtherType and one more."""
    field = 2 if c.has(1) and c.byte(0) & 0x80 else 1
    if not c.has(2 * field + 1):
        return c.short("hpna", 2 * field + 1)
    length = c.number(field, field)
    if length < 2:
        return c.skip(SkipReason.MALFORMED, "hpna")
    return tagged("hpna", 2 * field + 1 + length - 2 + 2)


def sna(c: Cursor) -> Step:
    """IBM's SNA over Ethernet: the length of an LLC frame and a byte of padding before it."""
    if not c.has(3):
        return c.short("sna", 3)
    length = c.word(0)
    c.passed("sna", 3)
    if c.end - c.at > length:
        c.limit(length)
    return llc


AX25_IP: Final = 0xCC
AX25_MOST: Final = 10
"""Addresses of a frame: two stations and up to eight repeaters."""


def ax25(c: Cursor) -> Step:
    """AX.25 2.2, 3: addresses of seven bytes, the last of which has its last bit set; control; protocol identifier."""
    size = 7
    while c.has(size) and not c.byte(size - 1) & 1 and size < 7 * AX25_MOST:
        size += 7
    if not c.has(size + 2):
        return c.short("ax25", size + 2)
    # Unnumbered and numbered information carry packets (4.3): with one more byte in neither of them.
    control, protocol = c.byte(size), c.byte(size + 1)
    if control & 0xEF != 0x03 and control & 1:
        return c.skip(SkipReason.NOT_IP, "ax25")
    c.passed("ax25", size + 2)
    return ip4 if protocol == AX25_IP else c.skip(SkipReason.NOT_IP, f"ax25 0x{protocol:02x}")


def bpq(c: Cursor) -> Step:
    """AX.25 over Ethernet (G8BPQ): the length, five more than the frame's, and the frame."""
    if not c.has(2):
        return c.short("bpq", 2)
    c.passed("bpq", 2)
    return ax25


# Over SDH and OTN

GFP: Final[dict[int, Layer]] = {1: ethernet, 2: ppp_hdlc, 0x0D: mpls, 0x0E: mpls, 0x10: ip4, 0x11: ip6}
"""User payload identifiers of frames mapped one by one (ITU-T G.7041, table 6-3)."""
LINEAR: Final = 1
"""Extension header of two bytes and a check of two (6.1.2.3.2)."""


def gfp(c: Cursor) -> Step:
    """ITU-T G.7041 6.1: length and its check; type and its check; by bit 12 of the type a check sequence at the end."""
    if not c.has(8):
        return c.short("gfp", 8)
    kind = c.word(4)
    size = 12 if kind >> 8 & 0x0F == LINEAR else 8
    if not c.has(size):
        return c.short("gfp", size)
    following = GFP.get(kind & 0xFF) if kind >> 13 == 0 else None
    c.passed("gfp", size)
    c.trim(4 if kind & 0x1000 else 0)
    return following or c.skip(SkipReason.NOT_IP, f"gfp 0x{kind:04x}")
