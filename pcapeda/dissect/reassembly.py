"""Reassembly of IP fragments: bounded in memory and in age, every fragment accounted for.

The policy, in the words of the specifications:

- IPv6 (RFC 5722, RFC 8200 4.5): fragments that overlap discard the whole datagram, those to come included. An exact
  duplicate of a fragment is no overlap.
- IPv4 (RFC 791 3.2): fragments may overlap as long as they agree. RFC 791 would let the later one win where they
  differ; hosts no longer do, and nobody could tell what the receiver saw, so a contradiction discards the datagram.
- A datagram whose fragments end beyond 65,535 bytes, or at two different places, is discarded.
- A fragment that the snap length cut can never be completed.
"""

from bisect import bisect_left
from collections import Counter, OrderedDict
from collections.abc import Hashable
from typing import Final, NamedTuple

from pcapeda.model import Fragment

MAX_LENGTH: Final = 65_535
"""The longest IP payload that fragments can describe (RFC 791 3.1, RFC 8200 4.5)."""

OVERHEAD: Final = 400
"""Bytes of memory that a waiting fragment or datagram costs beside the data, roughly."""

TOO_OLD, EVICTED = "too old", "over the memory limit"
CUT, EMPTY = "cut by the snap length", "empty"
TOO_LONG, ODD = "beyond 65,535 bytes", "not a multiple of 8 bytes"
OVERLAP, CONFLICT = "overlapping (RFC 5722)", "contradicting another fragment"


class Whole(NamedTuple):
    """A reassembled IP payload: its bytes, the fragment that was at offset 0, the frames it took, and how many of
    these count as fragments."""

    data: bytes
    first: Fragment
    frames: tuple[int, ...]
    weight: int


class _ReassemblyBuffer:
    """The fragments of one datagram."""

    __slots__ = ("cost", "dead", "ends", "first", "frames", "pieces", "since", "starts", "total", "weight")

    def __init__(self, since: int | None) -> None:
        self.since = since
        self.starts: list[int] = []
        self.pieces: list[bytes] = []
        self.ends = 0
        """Bytes of the payload that are there."""
        self.total: int | None = None
        self.first: Fragment | None = None
        self.frames: list[int] = []
        self.weight = 0
        self.cost = 0
        self.dead = ""
        """Why every further fragment of this datagram is given up."""


class Reassembler:
    """Puts fragments together.

    Holds at most `max_bytes` of them, the longest waiting go first, and none longer than `max_age_ns` of capture time.
    `expired` may be a Counter to count on in. `used`, `expired` (by reason) and `held` always sum up to what was added.
    """

    def __init__(self, max_bytes: int, max_age_ns: int, *, expired: Counter[str] | None = None) -> None:
        self.max_bytes = max_bytes
        self.max_age_ns = max_age_ns
        self.used = 0
        self.expired: Counter[str] = Counter() if expired is None else expired
        self.held = 0
        self._buffers: OrderedDict[Hashable, _ReassemblyBuffer] = OrderedDict()
        self._bytes = 0

    def add(self, fragment: Fragment, *, frames: tuple[int, ...] = (), weight: int = 1) -> Whole | None:
        """Take one fragment; the whole payload, if this one completes it.

        `frames` are the numbers of the frames that the fragment itself was made of, by default its own. `weight` is
        how many fragments it counts for: more than one if it was reassembled, none if it is counted elsewhere.
        """
        self._age(fragment)
        buffer = self._buffers.get(fragment.key)
        wrong = buffer.dead if buffer is not None and buffer.dead else _wrong(fragment)
        if wrong:
            self._give_up(wrong, weight)
            return None
        if buffer is None:
            buffer = self._buffers[fragment.key] = _ReassemblyBuffer(fragment.time_ns)
            self._charge(buffer, OVERHEAD)
        # Even a duplicate costs something, or a flood of them would be free.
        self._charge(buffer, OVERHEAD)
        buffer.frames += frames or (fragment.number,)
        buffer.weight += weight
        self.held += weight
        trouble = self._place(buffer, fragment)
        if trouble:
            self._bury(buffer, trouble)
        elif buffer.total is not None and buffer.ends == buffer.total:
            return self._complete(fragment.key, buffer)
        self._evict()
        return None

    def take_back(self, whole: Whole) -> None:
        """What was counted as used turned out to be a fragment itself, and is about to be added as one."""
        self.used -= whole.weight

    def _age(self, fragment: Fragment) -> None:
        """Drop what is too old by the time of this fragment. Piles are in the order of their first fragment."""
        now = fragment.time_ns
        if now is None:
            return
        own = self._buffers.get(fragment.key)
        if own is not None and self._too_old(own, now):
            self._drop(fragment.key, TOO_OLD)
        while self._buffers:
            key = next(iter(self._buffers))
            if not self._too_old(self._buffers[key], now):
                break
            self._drop(key, TOO_OLD)

    def _too_old(self, buffer: _ReassemblyBuffer, now: int) -> bool:
        return buffer.since is not None and now - buffer.since > self.max_age_ns

    def _place(self, buffer: _ReassemblyBuffer, fragment: Fragment) -> str:
        """Put the fragment's bytes in their place; the reason to discard the datagram, if there is one."""
        end = fragment.offset + fragment.length
        if not fragment.more:
            if buffer.total not in (None, end):
                return CONFLICT
            buffer.total = end
        if buffer.total is not None and (end > buffer.total or self._reach(buffer) > buffer.total):
            return CONFLICT
        if fragment.offset == 0 and buffer.first is None:
            buffer.first = fragment
        start, data = fragment.offset, fragment.data
        place = bisect_left(buffer.starts, start)
        if place < len(buffer.starts) and buffer.starts[place] == start and buffer.pieces[place] == data:
            return ""  # an exact duplicate
        if fragment.ip_version == 6:
            before = place and buffer.starts[place - 1] + len(buffer.pieces[place - 1]) > start
            if before or (place < len(buffer.starts) and buffer.starts[place] < end):
                return OVERLAP
            self._insert(buffer, place, start, data)
            return ""
        return self._fill(buffer, start, data)

    @staticmethod
    def _reach(buffer: _ReassemblyBuffer) -> int:
        return buffer.starts[-1] + len(buffer.pieces[-1]) if buffer.starts else 0

    def _fill(self, buffer: _ReassemblyBuffer, start: int, data: bytes) -> str:
        """Put into the gaps what is new of an IPv4 fragment, and compare the rest with what is there."""
        end = start + len(data)
        at = start
        place = max(0, bisect_left(buffer.starts, start) - 1)
        while at < end:
            while place < len(buffer.starts) and buffer.starts[place] + len(buffer.pieces[place]) <= at:
                place += 1
            if place == len(buffer.starts) or buffer.starts[place] >= end:
                self._insert(buffer, place, at, data[at - start :])
                break
            piece_at, piece = buffer.starts[place], buffer.pieces[place]
            if at < piece_at:
                self._insert(buffer, place, at, data[at - start : piece_at - start])
                at = piece_at
                continue
            stop = min(end, piece_at + len(piece))
            if piece[at - piece_at : stop - piece_at] != data[at - start : stop - start]:
                return CONFLICT
            at = stop
        return ""

    def _insert(self, buffer: _ReassemblyBuffer, place: int, start: int, data: bytes) -> None:
        if not data:
            return
        buffer.starts.insert(place, start)
        buffer.pieces.insert(place, data)
        buffer.ends += len(data)
        self._charge(buffer, len(data))

    def _complete(self, key: Hashable, buffer: _ReassemblyBuffer) -> Whole | None:
        if buffer.first is None:
            return None  # only an empty payload: nothing can begin with it
        del self._buffers[key]
        self._bytes -= buffer.cost
        self.held -= buffer.weight
        self.used += buffer.weight
        frames = tuple(sorted(set(buffer.frames)))
        return Whole(b"".join(buffer.pieces), buffer.first, frames, buffer.weight)

    def _give_up(self, reason: str, weight: int) -> None:
        if weight:
            self.expired[reason] += weight

    def _bury(self, buffer: _ReassemblyBuffer, reason: str) -> None:
        """Give up what is there, and remember why, so that what is to come is given up too."""
        self._give_up(reason, buffer.weight)
        self.held -= buffer.weight
        self._charge(buffer, OVERHEAD - buffer.cost)
        buffer.starts, buffer.pieces, buffer.frames, buffer.first = [], [], [], None
        buffer.weight = 0
        buffer.dead = reason

    def _charge(self, buffer: _ReassemblyBuffer, size: int) -> None:
        buffer.cost += size
        self._bytes += size

    def _drop(self, key: Hashable, reason: str) -> None:
        buffer = self._buffers.pop(key)
        self._give_up(reason, buffer.weight)
        self.held -= buffer.weight
        self._bytes -= buffer.cost

    def _evict(self) -> None:
        while self._bytes > self.max_bytes and self._buffers:
            self._drop(next(iter(self._buffers)), EVICTED)


def _wrong(fragment: Fragment) -> str:
    """Why a fragment can never be part of a datagram, if so."""
    if len(fragment.data) < fragment.length:
        return CUT
    if fragment.offset + fragment.length > MAX_LENGTH:
        return TOO_LONG
    if fragment.more and not fragment.length:
        return EMPTY
    if fragment.more and fragment.length % 8 and fragment.ip_version == 6:
        return ODD  # RFC 8200 4.5; over IPv4 another fragment may overlap the end
    return ""
