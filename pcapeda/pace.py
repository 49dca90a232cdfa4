"""Time as arithmetic: what is admitted, how long to wait, when the next packet is due. Nothing here sleeps.

All times are integer nanoseconds; `now_ns` is a monotonic clock's reading unless said otherwise.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

SECOND_NS = 1_000_000_000
_LONGEST_NS = 1 << 62
"""Some 146 years: what any wait is cut to."""


class TokenBucket:
    """A rate with a burst: `rate` tokens a second flow in, up to `burst` are held, and it starts full.

    Kept as the generic cell rate algorithm (ITU-T I.371): one time stamp instead of a count, so that integers
    suffice and nothing drifts. The time between two tokens is rounded up to whole nanoseconds: never above the rate.
    """

    __slots__ = ("_full_at", "_interval", "_reach")

    def __init__(self, rate: float, burst: int = 1) -> None:
        if not 0 < rate < math.inf or burst < 1:
            raise ValueError("rate must be above 0 and finite, burst at least 1")
        self._interval = max(1, min(math.ceil(Fraction(SECOND_NS) / Fraction(rate)), _LONGEST_NS))
        self._reach = self._interval * (burst - 1)
        self._full_at: int | None = None

    def take(self, now_ns: int, *, keep: int = 0) -> int:
        """Take one token and give 0, or take none and give the nanoseconds until there is one.

        With `keep`, one is taken only if so many remain for others (trunk reservation); it is below the burst.
        A clock that steps backwards costs at most the tokens that were held, never a long wait.
        """
        full_at = now_ns if self._full_at is None else max(self._full_at, now_ns)
        full_at = min(full_at, now_ns + self._reach + self._interval)
        wait = full_at - self._reach + keep * self._interval - now_ns
        if wait > 0:
            self._full_at = full_at
            return wait
        self._full_at = full_at + self._interval
        return 0


@dataclass(frozen=True)
class Backoff:
    """Exponential backoff with full jitter (AWS Architecture Blog, 2015): a random part of a doubling, capped wait."""

    base_ns: int
    cap_ns: int
    attempts: int
    """Tries in all, the first one included."""

    def delay(self, attempt: int, random: Callable[[], float]) -> int | None:
        """Nanoseconds to wait after try number `attempt` (from 1) failed; None when it was the last.

        `random` gives numbers in [0, 1).
        """
        if attempt >= self.attempts:
            return None
        ceiling = min(self.cap_ns, self.base_ns << min(attempt - 1, 62))
        return int(random() * ceiling)


class Pace:
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
