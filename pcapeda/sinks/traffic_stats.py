"""A sink that only counts: what is in the traffic, without sending it anywhere."""

from collections import Counter

from pcapeda.limits.heavy_hitters import HeavyHitters
from pcapeda.model import Batch, Outcome
from pcapeda.sinks.base import BaseSink


class TrafficStatsSink(BaseSink):
    """Counts events by destination port, source and destination, and the sizes of their payloads in bytes.

    Memory is bounded: addresses beyond a few thousand are kept as a heavy hitters' summary (see `HeavyHitters`),
    payload sizes by powers of two (`sizes[n]` holds those of fewer than 2**n bytes and not fewer than 2**(n-1)).
    """

    def __init__(self) -> None:
        self.ports: Counter[int] = Counter()
        self.sources: HeavyHitters[str] = HeavyHitters()
        self.destinations: HeavyHitters[str] = HeavyHitters()
        self.sizes: Counter[int] = Counter()
        self.payload_bytes = 0
        self.smallest: int | None = None
        self.largest: int | None = None

    def send(self, batch: Batch) -> Outcome:
        """Count the batch."""
        for entry in batch.entries:
            datagram = entry.datagram
            if datagram is None:
                continue
            size = len(datagram.payload)
            self.ports[datagram.destination_port] += 1
            self.sources.add(datagram.source)
            self.destinations.add(datagram.destination)
            self.sizes[size.bit_length()] += 1
            self.payload_bytes += size
            self.smallest = size if self.smallest is None else min(self.smallest, size)
            self.largest = size if self.largest is None else max(self.largest, size)
        return Outcome(len(batch.entries))
