"""The Internet checksum (RFC 1071)."""

from typing import Final
from zlib import adler32

SHORT: Final = 112
"""Up to so many bytes the sum is taken from one big integer; its remainder costs by the digit."""


EXACT: Final = 256
"""So many bytes add up to less than 65,521, by which Adler-32 (RFC 1950) divides: there it gives their very sum."""


def residue(data: bytes, more: int) -> int:
    """The one's complement sum of the 16-bit words of `data`, and of `more`, modulo 65535 (RFC 1071): 0 if it is right.

    One's complement addition is addition modulo 65535; an odd last byte counts as the high half of its word.
    """
    size = len(data)
    if size <= SHORT:
        total = int.from_bytes(data)
        return ((total << 8 if size & 1 else total) + more) % 0xFFFF
    # Nothing in Python adds words in C. Adler-32 adds bytes: its lower half is one more than their sum.
    high, low = data[::2], data[1::2]
    if size <= 2 * EXACT:
        return ((adler32(high) & 0xFFFF) * 256 + (adler32(low) & 0xFFFF) + more - 257) % 0xFFFF
    for at in range(0, len(high), EXACT):
        some, others = high[at : at + EXACT], low[at : at + EXACT]
        more += (adler32(some) & 0xFFFF) * 256 + (adler32(others) & 0xFFFF) - 257
    return more % 0xFFFF
