"""Who sends, in bounded memory however many addresses are forged: a rate per source, and who has been here before.

Nothing here sleeps or reads a clock; times are integer nanoseconds of whatever clock the caller goes by.
"""

import math
from array import array
from collections import OrderedDict
from fractions import Fraction
from hashlib import blake2b
from socket import AF_INET6, inet_ntop, inet_pton
from struct import Struct

from pcapeda.limits.token_bucket import TokenBucket
from pcapeda.units import SECOND_NS

ROWS, WIDTH = 4, 1 << 16
"""Cells of the per-source rate: 4 rows of 65,536 stamps, 2 MiB."""

SLOTS = 1 << 20
"""Marks of sources seen once: 4 MiB."""

KNOWN_SOURCES = 4096
"""Sources that may be known at the same time."""

SILENCE_NS = 600 * SECOND_NS
"""How long a known source may be silent before a newcomer may take its place."""

ARRIVALS_PER_SECOND, ARRIVALS_AT_ONCE = 1.0, 100
"""How many newcomers may become known: a crowd that repeats its forged addresses gets few of them in."""

_DIGEST = Struct("<4IQ")
_LONGEST_NS = 1 << 60
_FARTHEST_NS = 1 << 62
"""Time stands still for a source before 1824 and after 2116; no capture is from there."""


def source_key(address: str) -> str:
    """What counts as one source: an IPv4 address, or the /64 network of an IPv6 address (RFC 4291, section 2.5.4)."""
    if ":" not in address:
        return address
    try:
        packed = inet_pton(AF_INET6, address)
    except (OSError, ValueError):
        return address
    return inet_ntop(AF_INET6, packed[:8] + bytes(8)) + "/64"


class Fingerprint:
    """A source as five numbers under a secret key, so that nobody can choose addresses that collide."""

    __slots__ = ("_start",)

    def __init__(self, key: bytes = b"") -> None:
        self._start = blake2b(digest_size=_DIGEST.size, key=key)

    def __call__(self, source: str) -> tuple[int, int, int, int, int]:
        state = self._start.copy()
        state.update(source.encode())
        return _DIGEST.unpack(state.digest())


class SourceRates:
    """A rate with a burst for each source, kept as a count-min sketch of generic cell rate stamps.

    Each source has one cell in each row and is judged by the emptiest of them, so others can only ever make it look
    fuller: **no source gets more than its rate** (over any span of t seconds at most `burst + rate * t`), and one is
    refused too early only if each of its four cells is shared with sources that use them at that moment. With m such
    sources the chance of that is at most (m / 65,536) ** 4 for a source: below one in 65,000 at m = 4,096. Memory
    does not grow. (Cormode and Muthukrishnan, 2005, with the conservative update of Estan and Varghese, 2002; the
    stamps as in `TokenBucket`.)
    """

    __slots__ = ("_cells", "_interval", "_mask", "_reach", "_width")

    def __init__(self, rate: float, burst: int, *, width: int = WIDTH) -> None:
        if not 0 < rate < math.inf or burst < 1 or width < 1 or width & (width - 1):
            raise ValueError("rate must be above 0 and finite, burst at least 1, width a power of two")
        self._interval = max(1, min(math.ceil(Fraction(SECOND_NS) / Fraction(rate)), _LONGEST_NS))
        self._reach = min(self._interval * (burst - 1), _LONGEST_NS)
        self._width, self._mask = width, width - 1
        self._cells = array("q", [-_FARTHEST_NS]) * (ROWS * width)

    def _places(self, print_: tuple[int, int, int, int, int]) -> tuple[int, int, int, int]:
        width, mask = self._width, self._mask
        one, two, three, four, _ = print_
        return one & mask, width + (two & mask), 2 * width + (three & mask), 3 * width + (four & mask)

    def admits(self, print_: tuple[int, int, int, int, int], now_ns: int) -> bool:
        """Whether the source may send one more now; takes nothing.

        A clock that steps backwards costs a source at most the burst that it held.
        """
        now = max(-_FARTHEST_NS, min(now_ns, _FARTHEST_NS))
        cells, places = self._cells, self._places(print_)
        fullest = now + self._reach + self._interval
        least = min(cells[place] for place in places)
        if least > fullest:
            for place in places:
                cells[place] = min(cells[place], fullest)
            least = fullest
        return least - self._reach <= now

    def charge(self, print_: tuple[int, int, int, int, int], now_ns: int) -> None:
        """Take one for the source, which was admitted."""
        now = max(-_FARTHEST_NS, min(now_ns, _FARTHEST_NS))
        cells, places = self._cells, self._places(print_)
        full_at = max(now, min(cells[place] for place in places)) + self._interval
        for place in places:
            if cells[place] < full_at:
                cells[place] = full_at


class KnownSources:
    """Sources that were here before and ask for little: who is to get through when a crowd of strangers comes.

    A source is a stranger when it is first seen, and may become a known one when it comes again. Of those seen once a
    table of marks remembers the most recent: when others come at F a second, a source that speaks every g seconds is
    recognised with a chance of exp(-F * g / 1,048,576). Only so many become known (see `ARRIVALS_PER_SECOND`), and
    none loses the place to a newcomer while it speaks at least every ten minutes. A known source that asks for more
    than `rate` (after `burst`) is treated as a stranger until it has calmed down.
    """

    __slots__ = ("_arrivals", "_interval", "_known", "_marks", "_reach", "capacity")

    def __init__(self, rate: float, burst: int, *, capacity: int = KNOWN_SOURCES, slots: int = SLOTS) -> None:
        self._interval = max(1, min(math.ceil(Fraction(SECOND_NS) / Fraction(rate)), _LONGEST_NS))
        self._reach = self._interval * (burst - 1)
        self._marks = array("I", [0]) * slots
        self._known: OrderedDict[int, tuple[int, int]] = OrderedDict()  # silent longest first: full at, last seen
        self._arrivals = TokenBucket(ARRIVALS_PER_SECOND, ARRIVALS_AT_ONCE)
        self.capacity = capacity

    def __len__(self) -> int:
        return len(self._known)

    def observe(self, print_: tuple[int, int, int, int, int], now_ns: int) -> bool:
        """Note that the source asked for one event, and say whether it is a known one that keeps to its rate."""
        name = print_[4]
        known = self._known.get(name)
        if known is None:
            if not self._recognised(name) or not self._has_room(now_ns):
                return False
            known = (now_ns, now_ns)
        else:
            self._known.move_to_end(name)
        interval = self._interval
        # What it asked for counts, not what it got; a clock that steps back and a long excess are both forgiven soon.
        full_at = min(max(known[0], now_ns) + interval, now_ns + 2 * self._reach + 2 * interval)
        self._known[name] = (full_at, now_ns)
        return full_at - interval - self._reach <= now_ns

    def _recognised(self, name: int) -> bool:
        slot, mark = name % len(self._marks), name >> 32
        if self._marks[slot] == mark:
            return True
        self._marks[slot] = mark
        return False

    def _has_room(self, now_ns: int) -> bool:
        if self._arrivals.take(now_ns):
            return False
        if len(self._known) >= self.capacity:
            oldest, (_, seen_ns) = next(iter(self._known.items()))
            if now_ns - seen_ns < SILENCE_NS:
                return False
            del self._known[oldest]
        return True
