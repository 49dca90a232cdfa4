"""Who sends most, in bounded memory: the Space-Saving summary of Metwally, Agrawal and El Abbadi (ICDT 2005)."""

import heapq
from collections.abc import Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


class HeavyHitters(Generic[Key]):
    """Counts by key, exact until more than `capacity` different keys come, then with a known error.

    Every key whose true count exceeds `total / capacity` is present, and no count is too high by more than that.
    Memory is bounded by `capacity` however many keys (spoofed addresses, say) there are.
    """

    __slots__ = ("_counts", "_heap", "_serial", "capacity", "total")

    def __init__(self, capacity: int = 4096) -> None:
        self.capacity = capacity
        self.total = 0
        self._counts: dict[Key, int] = {}
        # One (count, serial, key) per key once all places are taken. A count in it may lag behind the true one,
        # never run ahead of it, so whatever comes up with its true count is the least.
        self._heap: list[tuple[int, int, Key]] = []
        self._serial = 0

    def add(self, key: Key, amount: int = 1) -> None:
        """Count `amount` (at least 1) for `key`."""
        self.total += amount
        counts = self._counts
        if key in counts:
            counts[key] += amount
        elif len(counts) < self.capacity:
            counts[key] = amount
        else:
            inherited = self._evict_least()
            counts[key] = inherited + amount
            self._push(key)

    def _push(self, key: Key) -> None:
        self._serial += 1
        heapq.heappush(self._heap, (self._counts[key], self._serial, key))

    def _evict_least(self) -> int:
        """Forget the key with the smallest count and return that count, which its successor inherits."""
        if not self._heap:
            for key in self._counts:
                self._push(key)
        while True:
            count, _, key = heapq.heappop(self._heap)
            if self._counts[key] == count:
                del self._counts[key]
                return count
            self._push(key)

    @property
    def error(self) -> int:
        """By how much a count may be too high: 0 while every key had its own place."""
        return self.total // self.capacity if self._heap else 0

    def top(self, number: int) -> list[tuple[Key, int]]:
        """The `number` keys with the highest counts, highest first."""
        return heapq.nlargest(number, self._counts.items(), key=lambda item: item[1])
