"""MPLS (RFC 3032) and the pseudowires over it. Every function is a layer as `cursor` describes it."""

from typing import Final

from pcapeda.model import Why
from pcapeda.net.cursor import Cursor, Step
from pcapeda.net.layers import ethernet, ip4, ip6

MAX_LABELS: Final = 64


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
