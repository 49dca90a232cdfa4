"""What is tried, and what waits for another try. Nothing here sleeps or sends.

Entries that failed wait one by one, and whatever is ready travels together again: what is left of many requests fills
few. Times are a monotonic clock's nanoseconds.
"""

import heapq
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from pcapeda.delivery.spool import SpoolRecord
from pcapeda.model import Batch, BatchLimits, Entry

MAX_WAITING = 64
"""Batches' worth that may wait for another try before reading stops: memory stays bounded while a bus throttles."""


class Waiting(NamedTuple):
    """An entry that failed: when it was first tried, the code it last failed with, and where in the spool it is."""

    entry: Entry
    since_ns: int
    code: str
    kept: SpoolRecord | None = None


class Attempt(NamedTuple):
    """A batch on its way: since when, whether some of it was tried before, and where in the spool its entries are."""

    batch: Batch
    since_ns: int
    """When the first of its entries was first tried."""
    is_retry: bool = False
    kept: tuple[SpoolRecord, ...] = ()
    sinces: tuple[int, ...] = ()
    """When each of its entries was first tried, where that is not the same for all."""

    def since(self, place: int) -> int:
        """When the entry at this place was first tried."""
        return self.sinces[place] if self.sinces else self.since_ns

    def part(self, places: Sequence[int], *, is_retry: bool) -> "Attempt":
        """Some of its entries, by their places, which are in order and at least one."""
        entries = tuple([self.batch.entries[place] for place in places])
        sinces = tuple([self.since(place) for place in places])
        kept = tuple([self.kept[place] for place in places]) if self.kept else ()
        return Attempt(Batch(entries, sum([entry.size for entry in entries])), min(sinces), is_retry, kept, sinces)

    def halves(self) -> "tuple[Attempt, Attempt]":
        """The same in two, for who finds it too large."""
        number = len(self.batch.entries)
        return self.part(range(number // 2), is_retry=self.is_retry), self.part(
            range(number // 2, number), is_retry=self.is_retry
        )


def retry_of(waiting: Sequence[Waiting]) -> Attempt:
    """Another try of entries that waited, all from the spool or none of them."""
    sinces = tuple([one.since_ns for one in waiting])
    kept = tuple([one.kept for one in waiting if one.kept is not None])
    entries = tuple([one.entry for one in waiting])
    return Attempt(Batch(entries, sum([entry.size for entry in entries])), min(sinces), True, kept, sinces)


class Remains:
    """Entries that wait for another try, each with a moment at which it is due."""

    def __init__(self, limits: BatchLimits) -> None:
        self._limits = limits
        self._heap: list[tuple[int, int, Waiting]] = []  # due, serial
        self._serial = 0
        self._oldest_ns: int | None = None
        self.size = 0
        """Bytes of all entries."""

    def __bool__(self) -> bool:
        return bool(self._heap)

    def __len__(self) -> int:
        return len(self._heap)

    @property
    def due_ns(self) -> int | None:
        """When the first of them is due; None where there are none."""
        return self._heap[0][0] if self._heap else None

    @property
    def batches(self) -> int:
        """How many requests they would fill, at least."""
        limits = self._limits
        return max(-(-len(self._heap) // limits.max_entries), -(-self.size // limits.max_bytes))

    def put(self, one: Waiting, due_ns: int) -> None:
        """Let an entry wait until then."""
        self._serial += 1
        heapq.heappush(self._heap, (due_ns, self._serial, one))
        self.size += one.entry.size
        self._oldest_ns = one.since_ns if self._oldest_ns is None else min(self._oldest_ns, one.since_ns)

    def take(self) -> Attempt:
        """As many as one request holds, what is due soonest first; there is at least one.

        What is not due yet fills the request, too: it costs no other one.
        """
        taken: list[Waiting] = []
        size, limits = 0, self._limits
        while self._heap and len(taken) < limits.max_entries:
            entry = self._heap[0][2].entry
            if taken and size + entry.size > limits.max_bytes:
                break
            taken.append(heapq.heappop(self._heap)[2])
            size += entry.size
        self._forget(taken)
        return retry_of(taken)

    def take_all(self) -> list[Attempt]:
        """All, in the order in which they came to wait."""
        taken = [one for _, _, one in sorted(self._heap, key=lambda item: item[1])]
        self._keep([])
        return self._batches(taken)

    def expired(self, before_ns: int) -> list[tuple[str, Attempt]]:
        """Take what was first tried before that moment, with the code it failed with last."""
        if self._oldest_ns is None or self._oldest_ns >= before_ns:
            return []
        by_code: dict[str, list[Waiting]] = {}
        for _, _, one in sorted(self._heap, key=lambda item: item[1]):
            if one.since_ns < before_ns:
                by_code.setdefault(one.code, []).append(one)
        self._keep([item for item in self._heap if item[2].since_ns >= before_ns])
        return [(code, batch) for code, waiting in by_code.items() for batch in self._batches(waiting)]

    def _keep(self, stays: list[tuple[int, int, Waiting]]) -> None:
        self._heap = stays
        heapq.heapify(self._heap)
        self.size = sum(one.entry.size for _, _, one in stays)
        self._oldest_ns = min((one.since_ns for _, _, one in stays), default=None)

    def _forget(self, taken: list[Waiting]) -> None:
        self.size -= sum([one.entry.size for one in taken])
        if not self._heap:
            self._oldest_ns = None

    def _batches(self, waiting: Iterable[Waiting]) -> list[Attempt]:
        return [retry_of(piece) for piece in within(waiting, self._limits)]


class Pending:
    """All that waits for another try: entries that failed, and batches that could not go when they were ready."""

    def __init__(self, limits: BatchLimits, from_spool: Remains | None) -> None:
        self.fresh = Remains(limits)
        """Entries that failed and are not in the spool."""
        self.from_spool = self.fresh if from_spool is None else from_spool
        """Those that are; the same as `fresh` where there is no spool."""
        self.remains = (self.fresh,) if from_spool is None else (self.fresh, from_spool)
        self.deferred: list[tuple[int, int, Attempt]] = []
        """A heap (due, serial) of batches that could not go when they were ready."""
        self._serial = 0

    @property
    def anything(self) -> bool:
        """Whether anything waits."""
        return bool(self.deferred or self.fresh or self.from_spool)

    @property
    def too_much(self) -> bool:
        """Whether so much waits that reading must stop."""
        if not (self.deferred or self.fresh or self.from_spool):
            return False
        return len(self.deferred) + sum(remains.batches for remains in self.remains) > MAX_WAITING

    def push(self, one: Attempt, due_ns: int) -> None:
        """Let a batch wait until then as it is."""
        self._serial += 1
        heapq.heappush(self.deferred, (due_ns, self._serial, one))

    def ready(self, now: int) -> Attempt | None:
        """Take a batch whose time has come."""
        if self.deferred and self.deferred[0][0] <= now:
            return heapq.heappop(self.deferred)[2]
        return None

    def take_deferred(self) -> list[Attempt]:
        """Take all batches, in the order in which they came to wait."""
        deferred, self.deferred = self.deferred, []
        return [one for _, _, one in sorted(deferred, key=lambda item: item[1])]


def within(waiting: Iterable[Waiting], limits: BatchLimits) -> list[list[Waiting]]:
    """Entries in pieces that a request can hold, in their order."""
    pieces: list[list[Waiting]] = []
    size = 0
    for one in waiting:
        if not pieces or len(pieces[-1]) >= limits.max_entries or size + one.entry.size > limits.max_bytes:
            pieces.append([])
            size = 0
        pieces[-1].append(one)
        size += one.entry.size
    return pieces
