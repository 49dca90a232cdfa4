"""A rate with a burst: arithmetic on integer nanoseconds, no clock of its own."""

import math
from fractions import Fraction

from pcapeda.units import SECOND_NS

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
