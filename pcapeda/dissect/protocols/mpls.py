"""MPLS (RFC 3032) and the pseudowires over it. Every function is a layer as `cursor` describes it."""

from collections.abc import Callable
from typing import Final

from pcapeda.dissect.cursor import Cursor, Layer, Step
from pcapeda.dissect.plausibility import LIKELY, NONSENSE, POSSIBLE, ethernet_at, ip4_at, ip6_at
from pcapeda.dissect.protocols.ethernet import ethernet, ip4, ip6
from pcapeda.model import SkipReason

MAX_LABELS: Final = 64
CHANNEL_IP4, CHANNEL_IP6 = 0x21, 0x57


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
            return c.skip(SkipReason.TOO_DEEP, "mpls")
    if label == 13:
        return channel
    if label == 14:
        return c.skip(SkipReason.NOT_IP, "mpls oam")
    if not c.has(1):
        return c.short("mpls payload", 1)
    return _payload(c)


def _payload(c: Cursor) -> Step:
    """What is behind the last label: no field says it, so every reading that the first nibble allows is judged.

    RFC 4928 2: 4 and 6 are IP, 0 a control word, 1 a channel; but an Ethernet frame without control word may begin with
    any nibble. Of readings that are as good as each other the first one counts, as that RFC has it.
    """
    plain, other = ethernet_at(c, 0), READINGS.get(c.byte(0) >> 4)
    if other is None:
        return ethernet if plain else c.skip(SkipReason.NOT_IP, "mpls payload")
    measure, layer = other
    worth = measure(c)
    first, second = (layer, ethernet) if worth >= plain else (ethernet, layer)
    if min(worth, plain) >= LIKELY:
        c.branch(second)
    return first


def channel(c: Cursor) -> Step:
    """RFC 4385 5: the associated channel of a pseudowire; types 0x21 and 0x57 carry IP (RFC 4385 5, RFC 5586)."""
    if not c.has(4):
        return c.short("pwach", 4)
    kind = c.word(2)
    c.passed("pwach", 4)
    if kind == CHANNEL_IP4:
        return ip4
    if kind == CHANNEL_IP6:
        return ip6
    return c.skip(SkipReason.NOT_IP, f"pwach 0x{kind:04x}")


def pseudowire(c: Cursor) -> Step:
    """RFC 4448 4.6: an Ethernet frame behind a control word: zeros, and a sequence number."""
    if not c.has(4):
        return c.short("pweth", 4)
    c.at += 4
    return ethernet


def _channel_at(c: Cursor) -> int:
    """RFC 4385 5: a nibble of 1, version and reserved bits of 0, then what the channel carries."""
    if not c.has(4) or c.word(0) != 0x1000:
        return NONSENSE
    kind = c.word(2)
    return ip4_at(c, 4) if kind == CHANNEL_IP4 else ip6_at(c, 4) if kind == CHANNEL_IP6 else POSSIBLE


READINGS: Final[dict[int, tuple[Callable[[Cursor], int], Layer]]] = {
    0: (lambda c: ethernet_at(c, 4), pseudowire),
    1: (_channel_at, channel),
    4: (lambda c: ip4_at(c, 0), ip4),
    6: (lambda c: ip6_at(c, 0), ip6),
}
"""What is not an Ethernet frame without control word, by the first nibble: how well it fits, and the layer."""
