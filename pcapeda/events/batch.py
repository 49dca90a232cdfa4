"""Entries into batches by count, bytes and age. It says when a batch must go; it never sends."""

from collections.abc import Sequence

from pcapeda.model import Batch, BatchLimits, Entry


class Batcher:
    """Collects entries in order; each comes out exactly once, in batches within the limits."""

    __slots__ = ("_entries", "_first_ns", "_limits", "_size")

    def __init__(self, limits: BatchLimits) -> None:
        self._limits = limits
        self._entries: list[Entry] = []
        self._size = 0
        self._first_ns = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def deadline_ns(self) -> int | None:
        """When the batch must go at the latest, by the clock of `add`; None while it is empty."""
        return self._first_ns + self._limits.max_age_ns if self._entries else None

    def fits(self, entry: Entry) -> bool:
        """Whether any batch could hold the entry."""
        return entry.size <= self._limits.max_bytes

    def add(self, entry: Entry, now_ns: int) -> Batch | None:
        """Take an entry that `fits`; gives the batch that is full with it, or that had to go to make room for it."""
        full = None
        if self._entries and self._size + entry.size > self._limits.max_bytes:
            full = self.take()
        if not self._entries:
            self._first_ns = now_ns
        self._entries.append(entry)
        self._size += entry.size
        if full is None and len(self._entries) >= self._limits.max_entries:
            full = self.take()
        return full

    def add_all(self, entries: Sequence[Entry], now_ns: int) -> bool:
        """Take entries, if they fit into one batch with what is there; afterwards it may be full, and so `due`."""
        size = self._size + sum([entry.size for entry in entries])
        if len(self._entries) + len(entries) > self._limits.max_entries or size > self._limits.max_bytes:
            return False
        if not self._entries:
            self._first_ns = now_ns
        self._entries += entries
        self._size = size
        return True

    def due(self, now_ns: int) -> Batch | None:
        """The batch that is full, or whose first entry has waited long enough, if there is one."""
        deadline = self.deadline_ns
        if deadline is not None and (now_ns >= deadline or len(self._entries) >= self._limits.max_entries):
            return self.take()
        return None

    def take(self) -> Batch | None:
        """Whatever is there, at once."""
        if not self._entries:
            return None
        batch = Batch(tuple(self._entries), self._size)
        self._entries.clear()
        self._size = 0
        return batch
