"""A rate and its burst, as arithmetic: never more is let through, and no step of the clock starves it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcapeda.delivery.retry import SECOND_NS
from pcapeda.limits.token_bucket import TokenBucket

START = 5_000 * SECOND_NS


@pytest.mark.parametrize(("rate", "burst"), [(0, 1), (-1, 1), (float("nan"), 1), (1, 0)])
def test_a_bucket_that_makes_no_sense_is_refused(rate: float, burst: int) -> None:
    """No rate and no burst at all are errors."""
    with pytest.raises(ValueError, match="rate"):
        TokenBucket(rate, burst)


def test_a_bucket_lets_its_burst_through_and_then_its_rate() -> None:
    """Burst tokens at once, then one each 1/rate seconds; what must wait is admitted after that wait."""
    bucket = TokenBucket(10, burst=5)
    assert [bucket.take(START) for _ in range(5)] == [0] * 5
    wait = bucket.take(START)
    assert wait == SECOND_NS // 10
    assert bucket.take(START + wait - 1) == 1
    assert bucket.take(START + wait) == 0


@given(st.lists(st.integers(0, SECOND_NS), min_size=1, max_size=200), st.floats(0.5, 1e5), st.integers(1, 50))
def test_a_bucket_never_admits_more_than_rate_and_burst(gaps: list[int], rate: float, burst: int) -> None:
    """In any run of requests, admitted ≤ burst + rate × time."""
    bucket, now, admitted = TokenBucket(rate, burst), START, 0
    for gap in gaps:
        now += gap
        admitted += bucket.take(now) == 0
    assert admitted <= burst + (now - START) * rate / SECOND_NS * 1.0001 + 1


def test_a_clock_that_steps_back_does_not_starve_the_bucket() -> None:
    """After a step back by an hour, the wait is at most what a full bucket is worth."""
    bucket = TokenBucket(10, burst=5)
    bucket.take(START)
    earlier = START - 3600 * SECOND_NS
    waits = [bucket.take(earlier) for _ in range(2)]
    assert all(wait <= 6 * SECOND_NS // 10 for wait in waits)
