"""How much bytes look like a header of some kind, where nothing says what they are.

Every function looks `at` bytes beyond the place of a `Cursor`, which it does not move, and answers with a number: the
greater, the better the bytes fit. It reads nothing that is not there.
"""

from typing import Final

from pcapeda.capture.checksum import residue
from pcapeda.dissect.cursor import Cursor

NONSENSE, POSSIBLE, LIKELY, FITTING, CERTAIN = range(5)
"""It contradicts itself; nothing speaks for or against it; a known number stands in its place; lengths fit as well; and
a checksum, or something of its worth."""

TAGS: Final = frozenset({0x8100, 0x88A8, 0x9100, 0x9200})
KNOWN: Final = frozenset(
    {
        *(0x22F3, 0x6558, 0x8035, 0x8809, 0x8847, 0x8848, 0x8863, 0x888E, 0x88CC, 0x88E5, 0x88E7, 0x88F7, 0x8902),
        *(0x8906, 0x8909, 0x8914, 0x892F, 0x893F, 0x894F, 0x9000),
    }
)
"""EtherTypes that customers' frames have, beside IP, ARP, PPPoE sessions and tags, of which more can be checked."""

HEADS: Final = frozenset({b"\xaa\xaa\x03", b"\x42\x42\x03", b"\x06\x06\x03"})
"""LLC headers (IEEE 802.2): SNAP, spanning tree, IP."""
SAPS: Final = frozenset({0x04, 0x06, 0x08, 0x42, 0xAA, 0xE0, 0xF0, 0xFE})

PROTOCOLS: Final = frozenset({0, 1, 2, 4, 6, 17, 41, 43, 44, 46, 47, 50, 51, 58, 59, 60, 88, 89, 103, 112, 115, 132})
"""IP protocols that are seen on networks."""

MOST_TAGS: Final = 4


def ip4_at(c: Cursor, at: int) -> int:
    """An IPv4 header (RFC 791 3.1)."""
    if not c.has(at + 1) or c.byte(at) >> 4 != 4 or c.byte(at) & 15 < 5:
        return NONSENSE
    if not c.has(at + 20):
        return LIKELY if c.at + at + 20 <= c.end else NONSENSE
    size, total = (c.byte(at) & 15) * 4, c.word(at + 2)
    if total == 0:
        return LIKELY
    if total < size or c.at + at + total > c.end:
        return NONSENSE
    sure = c.has(at + size) and residue(c.take(at, size), 0) == 0
    return CERTAIN if sure else FITTING


def ip6_at(c: Cursor, at: int) -> int:
    """An IPv6 header (RFC 8200 3)."""
    if not c.has(at + 1) or c.byte(at) >> 4 != 6:
        return NONSENSE
    if not c.has(at + 40):
        return LIKELY if c.at + at + 40 <= c.end else NONSENSE
    if c.at + at + 40 + c.word(at + 4) > c.end:
        return NONSENSE
    return CERTAIN if c.byte(at + 6) in PROTOCOLS else FITTING


def ethernet_at(c: Cursor, at: int) -> int:
    """An Ethernet frame (IEEE 802.3), by what its EtherType or length says of the bytes behind it."""
    if not c.has(at + 14):
        return NONSENSE
    kind, behind = c.word(at + 12), at + 14
    for _ in range(MOST_TAGS):
        if kind not in TAGS or not c.has(behind + 4):
            break
        kind, behind = c.word(behind + 2), behind + 4
    worth = _behind(c, kind, behind)
    # A source is no group (3.2.3): unless more than the EtherType speaks for it, the frame begins elsewhere.
    return worth if not c.byte(at + 6) & 1 else max(NONSENSE, worth - 2)


def _behind(c: Cursor, kind: int, at: int) -> int:
    """What stands behind an EtherType, or a length."""
    if kind <= 1500:
        return _llc(c, kind, at)
    if kind == 0x0800:
        return ip4_at(c, at) or (ip6_at(c, at) and LIKELY)
    if kind == 0x86DD:
        return ip6_at(c, at)
    if kind == 0x0806:
        return CERTAIN if c.take(at, 4) == b"\0\1\x08\0" else NONSENSE
    if kind == 0x8864:
        return FITTING if c.take(at, 2) == b"\x11\0" else NONSENSE
    return LIKELY if kind in KNOWN or kind in TAGS else POSSIBLE if kind >= 0x0600 else NONSENSE


def _llc(c: Cursor, length: int, at: int) -> int:
    """IEEE 802.2: a length that the frame has room for, and service access points that are in use."""
    if length < 3 or not c.has(at + 3) or c.at + at + length > c.end:
        return NONSENSE
    head = c.take(at, 3)
    if head[:2] == b"\xff\xff":
        return LIKELY  # raw IPX
    known = head[0] & 0xFE in SAPS and head[1] & 0xFE in SAPS
    return CERTAIN if head in HEADS else LIKELY if known else NONSENSE
