"""Replay's clock: when the next datagram is due."""

import math
from fractions import Fraction

from pcapeda.units import SECOND_NS


class ReplayClock:
    """Replay's clock: when each packet is due, as an absolute deadline on the monotonic clock.

    With `speed`, captured gaps divided by it; with `pps`, an even rate; with neither, at once. `max_sleep_ns` cuts
    longer silences: the rest of the timeline moves forward by what was cut. A packet that is older than the one
    before, or has no time, is due at once and moves nothing. Deadlines come from the anchor by exact arithmetic, so
    that hours of replay do not drift.
    """

    def __init__(
        self, *, speed: float | None = None, pps: float | None = None, max_sleep_ns: int | None = None
    ) -> None:
        for name, value in (("speed", speed), ("pps", pps)):
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"{name} must be above 0 and finite")
        self._slowness = None if speed is None else 1 / Fraction(speed)
        self._interval = None if pps is None else SECOND_NS / Fraction(pps)
        self._max_sleep_ns = max_sleep_ns
        self.anchor()

    def anchor(self) -> None:
        """Start anew: the next packet is due at once and the ones after count from it."""
        self._start_ns: int | None = None
        self._first_ns: int | None = None
        self._latest_ns = 0
        self._last_due_ns = 0
        self._cut_ns = 0
        self._count = 0

    def deadline(self, time_ns: int | None, now_ns: int) -> int:
        """When the packet captured at `time_ns` is due; at or before `now_ns` means at once."""
        if self._start_ns is None:
            self._start_ns = self._last_due_ns = now_ns
        if self._interval is not None:
            due = self._start_ns + int(self._count * self._interval)
            self._count += 1
            return due
        if self._slowness is None or time_ns is None:
            return self._last_due_ns
        if self._first_ns is None:
            # Packets without a time may have gone before: the timeline starts with the first one that has one.
            self._first_ns = self._latest_ns = time_ns
            self._start_ns = self._last_due_ns = now_ns
            return now_ns
        if time_ns <= self._latest_ns:
            return self._last_due_ns
        self._latest_ns = time_ns
        due = self._start_ns + int((time_ns - self._first_ns) * self._slowness) - self._cut_ns
        if self._max_sleep_ns is not None and due - self._last_due_ns > self._max_sleep_ns:
            self._cut_ns += due - self._last_due_ns - self._max_sleep_ns
            due = self._last_due_ns + self._max_sleep_ns
        self._last_due_ns = due
        return due
