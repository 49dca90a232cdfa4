"""PPP, its relatives and what they carry. Every function is a layer as `cursor` describes it."""

from pcapeda.dissect.cursor import Cursor, Space, Step
from pcapeda.dissect.protocols.ethernet import ETHERTYPE, ethernet, osi
from pcapeda.model import SkipReason


def pppoe(c: Cursor) -> Step:
    """RFC 2516 4: version, code, session, length; the session stage carries PPP."""
    if not c.has(6):
        return c.short("pppoe", 6)
    length = c.word(4)
    c.passed("pppoe", 6)
    if c.end - c.at > length:
        c.limit(length)
    return ppp


def ppp_hdlc(c: Cursor) -> Step:
    """RFC 1662: address and control may be left out; Cisco HDLC begins with an address of its own."""
    if not c.has(2):
        return c.short("ppp", 2)
    if c.byte(0) == 0xFF:
        c.at += 2
    elif c.byte(0) in (0x0F, 0x8F):
        return cisco_hdlc
    return ppp


def pppd(c: Cursor) -> Step:
    """LINKTYPE_PPP_PPPD: as in RFC 1662, with a direction (0 or 1) in place of the address."""
    if c.has(2) and c.byte(0) <= 1 and c.byte(1) == 0x03:
        c.at += 2
        return ppp
    return ppp_hdlc


def ppp(c: Cursor) -> Step:
    """RFC 1661 2: a protocol of two bytes, or one where the first byte is odd."""
    if not c.has(1):
        return c.short("ppp", 1)
    size = 1 if c.byte(0) & 1 else 2
    if not c.has(size):
        return c.short("ppp", size)
    protocol = c.number(0, size)
    c.passed("ppp", size)
    return Space.PPP, protocol


def cisco_hdlc(c: Cursor) -> Step:
    """Address, control, and an EtherType."""
    if not c.has(4):
        return c.short("chdlc", 4)
    kind = c.word(2)
    c.passed("chdlc", 4)
    if kind == 0xFEFE:
        c.at += 1
        return osi
    return ETHERTYPE, kind


def bridging(c: Cursor) -> Step:
    """RFC 3518 4.2: flags with a count of padding bytes, and the MAC type; where a flag says so an FCS ends it."""
    if not c.has(2):
        return c.short("bcp", 2)
    flags, kind = c.byte(0), c.byte(1)
    if kind != 1 or flags & 0x10:
        return c.skip(SkipReason.NOT_IP, "bcp")
    c.passed("bcp", 2)
    c.trim((flags & 0x0F) + (4 if flags & 0x80 else 0))
    return ethernet


def multiplexed(c: Cursor) -> Step:
    """RFC 3153 1.1: sub-frames, each with a length; those with a protocol of their own are read."""
    if not c.has(2):
        return c.short("pppmux", 2)
    first = c.byte(0)
    length, size = (c.word(0) & 0x3FFF, 2) if first & 0x40 else (first & 0x3F, 1)
    if c.at + size + length < c.stop:
        c.branch(multiplexed, c.at + size + length)
    if not first & 0x80:
        return c.skip(SkipReason.UNKNOWN_LAYER, "pppmux")
    if not c.has(size + length):
        return c.short("pppmux", size + length)
    c.passed("pppmux", size)
    c.limit(length)
    return ppp


def multilink(c: Cursor) -> Step:
    """RFC 1990 3: a packet that is first and last fragment in one can be read, others are parts."""
    if not c.has(4):
        return c.short("mlppp", 4)
    if c.byte(0) & 0xC0 != 0xC0:
        return c.skip(SkipReason.LINK_FRAGMENT, "mlppp")
    c.passed("mlppp", 4)
    return ppp
