"""Entries into batches by count, bytes and age. It says when a batch must go; it never sends."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence

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


class MessageGroups:
    """Collects entries of groups within which the order is to be kept (`Entry.group`; without one, an entry is alone).

    Of each group one entry is out at a time: an entry that leaves in a batch, or is claimed, keeps the later ones of
    its group back until it is set free, whatever becomes of it meanwhile. A bus answers for each entry by itself, so
    two of a group in one request would change places when it takes the second and not the first.
    """

    def __init__(self, limits: BatchLimits) -> None:
        self._limits = limits
        self._most = 16 * limits.max_entries
        self._queues: dict[str, deque[tuple[Entry, int]]] = {}
        self._out: dict[str, Entry] = {}
        self._ready: dict[str, None] = {}
        """Groups with an entry that may go, in the order in which they became so."""
        self._number = 0

    def __len__(self) -> int:
        return self._number

    @property
    def full(self) -> bool:
        """Whether so many entries wait that no more should come."""
        return self._number >= self._most

    def fits(self, entry: Entry) -> bool:
        """Whether any batch could hold the entry."""
        return entry.size <= self._limits.max_bytes

    def add(self, entry: Entry, now_ns: int) -> None:
        """Take an entry that `fits`, behind all others of its group."""
        key = _lane(entry)
        self._queues.setdefault(key, deque()).append((entry, now_ns))
        self._number += 1
        self._look_at(key)

    def put_back(self, entries: Sequence[Entry], now_ns: int) -> None:
        """Take entries, in their order, before all others of their groups."""
        for entry in reversed(entries):
            key = _lane(entry)
            self._queues.setdefault(key, deque()).appendleft((entry, now_ns))
            self._number += 1
            self._look_at(key)

    def due(self, now_ns: int, *, all_of_it: bool = False) -> Batch | None:
        """A batch of the first entries of groups, if it is time: a batch would be full with what waits in these groups,
        one has waited long enough, or `all_of_it` is to go."""
        if not self._ready or not (all_of_it or self._is_time(self._ready, now_ns)):
            return None
        entries: list[Entry] = []
        size = 0
        for key in list(self._ready):
            entry = self._queues[key][0][0]
            if len(entries) == self._limits.max_entries or (entries and size + entry.size > self._limits.max_bytes):
                break
            self._out[key] = self._pop(key)
            self._look_at(key)
            entries.append(entry)
            size += entry.size
        return Batch(tuple(entries), size)

    def late(self, now_ns: int) -> bool:
        """Whether it is time for some that cannot go yet, because of those of their groups that are out."""
        return self._is_time(self._queues, now_ns)

    def _is_time(self, keys: Iterable[str], now_ns: int) -> bool:
        most, long_ago = self._limits.max_entries, now_ns - self._limits.max_age_ns
        queues = [self._queues[key] for key in keys]
        return (self._number >= most and sum(map(len, queues)) >= most) or any(
            queue[0][1] <= long_ago for queue in queues
        )

    def claim(self, entry: Entry) -> bool:
        """Whether an entry from elsewhere may go now, since none of its group is out; then it is."""
        key = _lane(entry)
        if key in self._out:
            return False
        self._out[key] = entry
        self._look_at(key)
        return True

    def free(self, entries: Iterable[Entry]) -> None:
        """These are no longer out: they were delivered, or given up."""
        for entry in entries:
            key = _lane(entry)
            if self._out.get(key) is entry:
                del self._out[key]
                self._look_at(key)

    def take(self) -> Iterator[Batch]:
        """Whatever is there, one by one, in order within groups."""
        for key in list(self._queues):
            while key in self._queues:
                entry = self._pop(key)
                self._look_at(key)
                yield Batch((entry,), entry.size)

    def _pop(self, key: str) -> Entry:
        queue = self._queues[key]
        entry, _ = queue.popleft()
        if not queue:
            del self._queues[key]
        self._number -= 1
        return entry

    def _look_at(self, key: str) -> None:
        """Keep in mind whether the first entry of a group may go."""
        if key in self._queues and key not in self._out:
            self._ready.setdefault(key)
        else:
            self._ready.pop(key, None)


def _lane(entry: Entry) -> str:
    return entry.unique_id if entry.group is None else entry.group
