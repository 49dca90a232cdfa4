"""Juniper's link types: a header with a magic number before what the interface carried.

Every function is a layer as `cursor` describes it. The header is that of Junos captures as libpcap documents it
(https://www.tcpdump.org/linktypes.html, LINKTYPE_JUNIPER_*).
"""

from typing import Final

from pcapeda.dissect.cursor import Cursor, Layer, Space, Step
from pcapeda.dissect.plausibility import FITTING, ethernet_at, ip4_at, ip6_at
from pcapeda.dissect.protocols.ethernet import by_version, ethernet, ip4, ip6, llc, osi
from pcapeda.dissect.protocols.links import frame_relay
from pcapeda.dissect.protocols.mpls import mpls
from pcapeda.dissect.protocols.ppp import cisco_hdlc, ppp
from pcapeda.model import SkipReason

NO_LINK, EXTENDED = 0x02, 0x80
"""Flags: the link header is left out; extensions follow, their length in two bytes."""

PROTOCOLS: Final[dict[int, Layer]] = {
    2: ip4,
    3: ip4,
    4: mpls,
    5: mpls,
    6: ip6,
    7: ip6,
    8: mpls,
    32: mpls,
    200: ppp,
    201: osi,
    202: llc,
    203: llc,
    204: ethernet,
    207: frame_relay,
    208: cisco_hdlc,
}
"""What follows when the link header is left out, by a number of four bytes in little endian."""


def juniper(link: Layer | None, *, lead: int = 0) -> Layer:
    """A layer for Juniper's header before `link`, whose first `lead` bytes do not matter; None: never a link header."""

    def header(c: Cursor) -> Step:
        if not c.has(4):
            return c.short("juniper", 4)
        if c.take(0, 3) != b"\x4d\x47\x43":
            return c.skip(SkipReason.MALFORMED, "juniper")
        flags, size = c.byte(3), 4
        if flags & EXTENDED:
            if not c.has(6):
                return c.short("juniper", 6)
            size += 2 + c.word(4)
        if flags & NO_LINK or link is None:
            if not c.has(size + 4):
                return c.short("juniper", size + 4)
            number = int.from_bytes(c.take(size, 4), "little")
            c.passed("juniper", size + 4)
            following = PROTOCOLS.get(number)
            if following is None and flags & NO_LINK and _packet_at(c, 0):
                return by_version  # a number that is not known
            return following or c.skip(SkipReason.NOT_IP, f"juniper {number}")
        if not c.has(size + lead):
            return c.short("juniper", size + lead)
        c.passed("juniper", size + lead)
        return link

    return header


def _packet_at(c: Cursor, at: int) -> bool:
    """Whether an IP packet begins there whose lengths are in order."""
    return max(ip4_at(c, at), ip6_at(c, at)) >= FITTING


HEADS: Final = frozenset({b"\xaa\xaa\x03", b"\xfe\xfe\x03"})
"""LLC headers that ATM carries IP behind (RFC 2684 5)."""


def cookie(*sizes: int, other: Layer | None = None) -> Layer:
    """A layer for what PICs put before a packet: one of `sizes` bytes, told by what is behind it.

    That is an LLC header, a packet or a frame; which size it is depends on the card and its release. Where none fits,
    `other` follows, if it is given.
    """

    def header(c: Cursor) -> Step:
        for size in sizes:
            if c.take(size, 3) in HEADS:
                c.at += size
                return llc
            if _packet_at(c, size):
                c.at += size
                return by_version
            if ethernet_at(c, size) >= FITTING:
                c.at += size
                return ethernet
        return other or c.skip(SkipReason.NOT_IP, "juniper cookie")

    return header


def ethertype(c: Cursor) -> Step:
    """An EtherType, and what it names."""
    if not c.has(2):
        return c.short("juniper", 2)
    c.at += 2
    return Space.ETHERTYPE, c.word(-2)
