"""Time as arithmetic: what is admitted, how long to wait, when the next packet is due. Nothing here sleeps.

All times are integer nanoseconds; `now_ns` is a monotonic clock's reading unless said otherwise.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from pcapeda.units import SECOND_NS

_LONGEST_NS = 1 << 62
"""Some 146 years: what any wait is cut to."""


@dataclass(frozen=True)
class Backoff:
    """Backoff with full jitter (AWS Architecture Blog, 2015): a random part of a wait that grows, up to a cap.

    The wait grows with the age of what is tried, of which it is `share` (above 0), so that tries which came early, in
    the company of others, cost it nothing. While the other side takes anything it stays at `calm_ns`; beyond that it
    grows only with the time since something was taken.
    """

    base_ns: int
    calm_ns: int
    cap_ns: int
    share: float

    def delay(self, age_ns: int, quiet_ns: int, random: Callable[[], float]) -> int:
        """Nanoseconds to wait after a try failed that ended so long after the first one began.

        `quiet_ns` is how long nothing has been taken; `random` gives numbers in [0, 1).
        """
        most = min(self.cap_ns, max(self.calm_ns, int(quiet_ns * self.share)))
        return int(random() * max(self.base_ns, min(most, int(age_ns * self.share))))


class RetryBudget:
    """How many requests may be tries of something that failed before, so that an outage does not multiply traffic.

    Every request that delivers something allows `earned` more, up to `burst` are held, and `per_second` flow in so that
    trying never ends. The requests of a run are thus at most: first tries + earned * deliveries + burst + per_second *
    seconds. With two for each, a service that takes a part of every second request can be kept up with.
    """

    __slots__ = ("_burst_ns", "_cost_ns", "_credit_ns", "_earned_ns", "_last_ns")

    def __init__(self, *, per_second: float = 2, burst: int = 32, earned: int = 2) -> None:
        # Credit is kept as the time that would bring it: integers, and one addition.
        self._cost_ns = int(SECOND_NS / per_second)
        self._burst_ns = self._credit_ns = self._cost_ns * burst
        self._earned_ns = self._cost_ns * earned
        self._last_ns: int | None = None

    def delivered(self) -> None:
        """A request delivered something."""
        self._credit_ns = min(self._credit_ns + self._earned_ns, self._burst_ns)

    def wait(self, now_ns: int) -> int:
        """Nanoseconds until there is one by time alone; 0 means now. Takes none."""
        if self._last_ns is not None:
            self._credit_ns = min(self._credit_ns + max(now_ns - self._last_ns, 0), self._burst_ns)
        self._last_ns = now_ns
        return max(self._cost_ns - self._credit_ns, 0)

    def take(self, now_ns: int) -> int:
        """Take one and give 0, or take none and give what `wait` does."""
        wait_ns = self.wait(now_ns)
        if not wait_ns:
            self._credit_ns -= self._cost_ns
        return wait_ns


class Breaker:
    """Leaves a dead endpoint alone: after `failures` requests in a row that delivered nothing, one try at a time.

    It then opens for `base_ns`, twice as long after every try that fails, at most `cap_ns` and half of the time that it
    has been open, each with jitter between half and all of it: an outage is noticed to be over once it has lasted half
    as long again, whatever a single try meets. `opened_ns` tells since when it is open, None while it is closed;
    `trying` whether the one try is under way.
    """

    __slots__ = ("_base_ns", "_cap_ns", "_failed", "_failures", "_pause_ns", "_retry_ns", "opened_ns", "trying")

    def __init__(self, *, failures: int = 5, base_ns: int = SECOND_NS // 2, cap_ns: int = 30 * SECOND_NS) -> None:
        self._failures = failures
        self._base_ns = base_ns
        self._cap_ns = cap_ns
        self._failed = 0
        self._pause_ns = base_ns
        self._retry_ns = 0
        self.trying = False
        self.opened_ns: int | None = None

    def wait(self, now_ns: int) -> int:
        """Nanoseconds until a request may be tried: 0 means now. Changes nothing; `sending` does."""
        if self.opened_ns is None:
            return 0
        if self.trying:
            return self._base_ns  # the answer to the one try decides; until then, look again later
        return max(self._retry_ns - now_ns, 0)

    def sending(self) -> None:
        """A request goes out; while open it is the one try."""
        self.trying = self.opened_ns is not None

    def answered(self) -> None:
        """The endpoint gave an answer that made sense: it is alive, and it may well have said no."""
        self._failed = 0
        self._pause_ns = self._base_ns
        self.trying = False
        self.opened_ns = None

    def failed(self, now_ns: int, random: Callable[[], float]) -> None:
        """A request got no answer, or none that made sense. Those that were under way when it opened change nothing."""
        self._failed += 1
        if self.opened_ns is None:
            if self._failed >= self._failures:
                self.open(now_ns, random)
        elif self.trying:
            self.trying = False
            half = max((now_ns - self.opened_ns) // 2, self._base_ns)
            self._pause_ns = min(self._pause_ns * 2, self._cap_ns, half)
            self._retry_ns = now_ns + int(self._pause_ns * (1 + random()) / 2)

    def open(self, now_ns: int, random: Callable[[], float]) -> None:
        """Open at once: what the endpoint said leaves no doubt. Does nothing while open."""
        if self.opened_ns is None:
            self.opened_ns = now_ns
            self._retry_ns = now_ns + int(self._pause_ns * (1 + random()) / 2)


class AimdController:
    """Additive increase, multiplicative decrease: how many requests may be in flight, and how many entries a second.

    Starts with all of `most` and no rate. Where all is throttled both are halved, the rate from what was delivered
    lately; where a part is, as large a part of that half goes; but not twice within `hold_ns`: requests that were under
    way together tell the same news. Every delivery adds one request per window and `increase` entries a second for each
    second; a rate that reaches twice what it was first cut from is lifted.
    """

    __slots__ = (
        "_count", "_cut_ns", "_hold_ns", "_increase", "_lift", "_measured", "_most", "_next_ns", "_raised_ns",
        "_since_ns", "_taken", "_throttled", "_weighed_ns", "_window", "rate",
    )  # fmt: skip

    LEAST_RATE = 100.0
    """A quarter of the smallest default quota on PutEvents of any Region (entries a second)."""

    def __init__(self, most: int, *, hold_ns: int = SECOND_NS // 4, increase: float = 200) -> None:
        self._most = most
        self._window = float(most)
        self._hold_ns = hold_ns
        self._increase = increase
        self._count = 0
        self._since_ns: int | None = None
        self._measured = 0.0
        self._cut_ns: int | None = None
        self._raised_ns = 0
        self._weighed_ns = 0
        self._throttled = self._taken = 0.0
        self._next_ns = 0
        self._lift = math.inf
        self.rate: float | None = None

    @property
    def window(self) -> int:
        """Requests that may be in flight, from 1 on."""
        return int(self._window)

    def delivered(self, number: int, now_ns: int) -> None:
        """A request delivered this many entries, and none of it was throttled."""
        self._measure(number, now_ns)
        self._weigh(0, number, now_ns)
        self._window = min(self._window + 1 / self._window, self._most)
        self._raise(now_ns)
        if self.rate is not None and self.rate >= self._lift:
            self.rate, self._lift = None, math.inf

    def throttled(self, number: int, taken: int, now_ns: int) -> None:
        """The other side said 'later' to so many entries of a request, of which it took others."""
        self._measure(taken, now_ns)
        share = self._weigh(number, taken, now_ns)
        if taken:
            self._raise(now_ns)
        if self._cut_ns is not None and now_ns - self._cut_ns < self._hold_ns:
            return
        self._cut_ns = now_ns
        less = 1 - share / 2
        self._window = max(self._window * less, 1.0)
        if self.rate is None:
            self.rate = self._lately(now_ns)
            self._lift = 2 * max(self.rate, self.LEAST_RATE)
            self._raised_ns = now_ns
        self.rate = max(self.rate * less, self.LEAST_RATE)

    def _weigh(self, throttled: int, taken: int, now_ns: int) -> float:
        """The share of entries throttled lately: what is older by `hold_ns` counts half."""
        age = 0.5 ** min(max(now_ns - self._weighed_ns, 0) / self._hold_ns, 100)
        self._weighed_ns = now_ns
        self._throttled = self._throttled * age + throttled
        self._taken = self._taken * age + taken
        return self._throttled / max(self._throttled + self._taken, 1e-9)

    def _raise(self, now_ns: int) -> None:
        if self.rate is not None:
            self.rate += self._increase * min(max(now_ns - self._raised_ns, 0), SECOND_NS) / SECOND_NS
            self._raised_ns = now_ns

    def wait(self, now_ns: int) -> int:
        """Nanoseconds until the rate allows another request; 0 means now. Changes nothing; `sending` does."""
        return 0 if self.rate is None else max(self._next_ns - now_ns, 0)

    def sending(self, number: int, now_ns: int) -> None:
        """A request of this many entries goes out."""
        if self.rate is not None:
            self._next_ns = max(self._next_ns, now_ns) + int(number / self.rate * SECOND_NS)

    def _measure(self, number: int, now_ns: int) -> None:
        if self._since_ns is None:
            self._since_ns = now_ns
        elif now_ns - self._since_ns >= SECOND_NS:
            self._measured = self._count * SECOND_NS / (now_ns - self._since_ns)
            self._count, self._since_ns = 0, now_ns
        self._count += number

    def _lately(self, now_ns: int) -> float:
        """Entries a second, as delivered in the last whole second or in the one that runs."""
        elapsed = max(now_ns - (self._since_ns or now_ns), SECOND_NS // 10)
        return max(self._measured, self._count * SECOND_NS / elapsed)
