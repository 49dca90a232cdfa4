"""IEEE 802.11 and the headers that captures put before it. Every function is a layer as `cursor` describes it."""

from pcapeda.dissect.cursor import Cursor, Step
from pcapeda.dissect.protocols.ethernet import by_length, ethernet, llc
from pcapeda.model import SkipReason

DATA, QOS, NO_DATA = 2, 0x8, 0x4
"""Frame type, and the subtype bits of data frames (IEEE 802.11-2020 9.2.4.1.3)."""


def wlan(c: Cursor) -> Step:
    """IEEE 802.11 9.3.2.1: a data frame's header, then LLC, or aggregated frames with LLC each."""
    return _frame(c, 0, 1, padded=False)


def wlan_swapped(c: Cursor) -> Step:
    """The same with the two bytes of the frame control field swapped, as in CAPWAP."""
    return _frame(c, 1, 0, padded=False)


def wlan_padded(c: Cursor) -> Step:
    """The same with padding behind the header up to a multiple of four bytes, as some drivers hand it over."""
    return _frame(c, 0, 1, padded=True)


def _frame(c: Cursor, kind_at: int, flags_at: int, *, padded: bool) -> Step:
    if not c.has(2):
        return c.short("802.11", 2)
    kind, flags = c.byte(kind_at), c.byte(flags_at)
    if without_data := _without_data(kind):
        return c.skip(SkipReason.NOT_IP, without_data)
    four_addresses, qos = flags & 3 == 3, kind >> 4 & QOS != 0
    qos_at = 30 if four_addresses else 24
    size = qos_at
    if qos:
        size += 6 if flags & 0x80 else 2  # HT control (9.2.4.6): the order bit means it in QoS frames
    if not c.has(size):
        return c.short("802.11", size)
    aggregated = qos and c.byte(qos_at) & 0x80 != 0
    if flags & 0x40:
        return c.skip(SkipReason.ENCRYPTED, "802.11")
    if flags & 0x04:
        return c.skip(SkipReason.LINK_FRAGMENT, "802.11")
    mesh = qos and four_addresses and c.byte(qos_at + 1) & 1
    receiver, transmitter = c.take(4, 6), c.take(10, 6)
    c.passed("802.11", size + (-size % 4 if padded else 0))
    if mesh:
        # 9.2.4.7.3: flags, hops left, sequence number, and up to two further addresses.
        more = 6 + ((0, 6, 12, 18)[c.byte(0) & 3] if c.has(6) else 0)
        if not c.has(more):
            return c.short("mesh", more)
        c.passed("mesh", more)
    if aggregated:
        return _subframe
    if c.take(0, 5) == b"\0\0\xaa\xaa\x03":
        c.at += 2  # padding to a multiple of four that no flag tells of
    # Some adapters leave a whole Ethernet frame behind the header: its addresses are those of this one.
    if c.has(14) and not {receiver, transmitter}.isdisjoint((c.take(0, 6), c.take(6, 6))):
        return ethernet
    return llc


def _without_data(kind: int) -> str:
    """Which kind of frame has none, by the first byte of frame control; empty for a data frame that has."""
    if kind & 3:
        return "802.11 version"
    if kind >> 2 & 3 != DATA:
        return "802.11 management" if kind >> 2 & 3 == 0 else "802.11 control"
    return "802.11 null" if kind >> 4 & NO_DATA else ""


def _subframe(c: Cursor) -> Step:
    """A frame of an A-MSDU (9.3.2.2): two addresses and a length, then LLC; padded to four bytes before the next."""
    if not c.has(14):
        return c.short("a-msdu", 14)
    length = c.word(12)
    following = c.at + (14 + length + 3) // 4 * 4
    if following < c.stop:
        c.branch(_subframe, following)
    c.passed("a-msdu", 14)
    return by_length(c, length)


def radiotap(c: Cursor) -> Step:
    """radiotap.org: version, length, presence bits; flags tell of an FCS at the end and of padding in the middle."""
    if not c.has(8):
        return c.short("radiotap", 8)
    size = c.byte(2) | c.byte(3) << 8
    if size < 8 or not c.has(size):
        return c.skip(SkipReason.MALFORMED, "radiotap") if size < 8 else c.short("radiotap", size)
    flags = _radiotap_flags(c, size)
    c.passed("radiotap", size)
    if flags & 0x10:
        c.trim(4)
    return wlan_padded if flags & 0x20 else wlan


def _radiotap_flags(c: Cursor, size: int) -> int:
    """The field 'flags' (bit 1), which only the timestamp (bit 0, aligned to eight bytes) may come before."""
    present = c.byte(4)
    if not present & 2:
        return 0
    at = 8
    while at <= size and c.byte(at - 1) & 0x80:  # each presence word's last bit announces another word
        at += 4
        if at > size:
            return 0
    if present & 1:
        at = (at + 7) // 8 * 8 + 8
    return c.byte(at) if at < size else 0


def prism(c: Cursor) -> Step:
    """The Prism header: message code and length, in the machine's byte order; or the AVS header under its number."""
    if not c.has(8):
        return c.short("prism", 8)
    if c.number(0, 4) & 0xFFFFF000 == 0x80211000:
        return avs
    if not {0x41, 0x44} & {c.number(0, 4), int.from_bytes(c.take(0, 4), "little")}:
        return wlan  # some drivers left the header out
    size = min(c.number(4, 4), int.from_bytes(c.take(4, 4), "little"))
    if size < 8 or not c.has(size):
        return c.skip(SkipReason.MALFORMED, "prism") if size < 8 else c.short("prism", size)
    c.passed("prism", size)
    return wlan


def avs(c: Cursor) -> Step:
    """The AVS header: version and length in network order."""
    if not c.has(8):
        return c.short("avs", 8)
    size = c.number(4, 4)
    if size < 8 or not c.has(size):
        return c.skip(SkipReason.MALFORMED, "avs") if size < 8 else c.short("avs", size)
    c.passed("avs", size)
    return wlan
