"""Backoff, the retry budget, the breaker and AIMD, as arithmetic: time is a number that tests add to."""

import pytest

from pcapeda.delivery.retry import SECOND_NS, AimdController, Backoff, Breaker, RetryBudget
from pcapeda.limits.token_bucket import TokenBucket

START = 5_000 * SECOND_NS


def test_backoff_grows_with_age_to_its_cap_with_full_jitter() -> None:
    """The wait is a random part of a share of the age, at least of the base, at most of the cap."""
    backoff = Backoff(base_ns=100, calm_ns=500, cap_ns=1000, share=0.5)
    ages = (0, 100, 200, 202, 400, 1999, 2000, 10**30)
    assert [backoff.delay(age, 10**30, lambda: 0.999999) for age in ages] == [99, 99, 99, 100, 199, 998, 999, 999]
    assert [backoff.delay(age, 0, lambda: 0.999999) for age in ages] == [99, 99, 99, 100, 199, 499, 499, 499]
    assert [backoff.delay(10**30, quiet, lambda: 0.999999) for quiet in (1000, 1600, 2400)] == [499, 799, 999]
    assert backoff.delay(500, 500, lambda: 0.0) == 0
    assert Backoff(base_ns=1, calm_ns=5, cap_ns=10, share=0.5).delay(10**6, 10**6, lambda: 0.5) == 5


def test_the_retry_budget_bounds_tries_by_deliveries_and_time() -> None:
    """Without deliveries: the burst, then two a second. Each delivery allows two more."""
    budget, now, taken = RetryBudget(per_second=2, burst=8), START, 0
    for _ in range(1000):
        now += SECOND_NS // 100
        taken += budget.take(now) == 0
    assert taken in (8 + 19, 8 + 20)
    budget.delivered()
    assert budget.wait(now) == 0
    assert [budget.take(now), budget.take(now)] == [0, 0]
    wait = budget.take(now)
    assert 0 < wait <= SECOND_NS // 2
    assert budget.take(now + wait) == 0
    assert budget.take(now - 3600 * SECOND_NS) > 0, "a clock that steps back gives nothing away"


def test_the_breaker_opens_after_failures_in_a_row_and_tries_one_at_a_time() -> None:
    """Five in a row open it; one try at a time, ever later; an answer closes it; single failures do nothing."""
    breaker, now = Breaker(failures=5, base_ns=SECOND_NS, cap_ns=8 * SECOND_NS), START
    for _ in range(20):
        for _ in range(4):
            breaker.failed(now, lambda: 1.0)
        breaker.answered()
    assert breaker.opened_ns is None
    for _ in range(5):
        assert breaker.wait(now) == 0
        breaker.failed(now, lambda: 1.0)
    assert breaker.opened_ns == now
    pauses = []
    for _ in range(6):
        pauses.append(breaker.wait(now) // SECOND_NS)
        now += breaker.wait(now)
        assert breaker.wait(now) == 0
        breaker.sending()
        assert breaker.wait(now) > 0, "the one try is under way"
        breaker.failed(now, lambda: 1.0)
    assert pauses == [1, 1, 1, 1, 2, 3]  # twice as long, and half of the time so far at most
    for _ in range(6):
        pauses.append(breaker.wait(now) // SECOND_NS)
        now += breaker.wait(now)
        breaker.sending()
        breaker.failed(now, lambda: 1.0)
    assert pauses[-3:] == [8, 8, 8]
    breaker.failed(now, lambda: 1.0)  # the answer to a request from before it opened
    assert breaker.wait(now) == 8 * SECOND_NS
    breaker.answered()
    assert (breaker.wait(now), breaker.opened_ns) == (0, None)


@pytest.mark.parametrize("capacity", [400, 3000])
def test_the_flow_finds_what_the_other_side_takes(capacity: int) -> None:
    """Against a bus that takes so many entries a second: most of them are used, and few requests are throttled."""
    flow, bucket, now = AimdController(8), TokenBucket(capacity / 10, burst=max(1, capacity // 100)), START
    delivered = throttled = 0
    while now < START + 60 * SECOND_NS:
        wait = flow.wait(now)
        if wait:
            now += wait
            continue
        flow.sending(10, now)
        now += 20_000_000 // flow.window  # each request takes 20 ms
        if bucket.take(now):
            flow.throttled(10, 0, now)
            throttled += 1
        else:
            flow.delivered(10, now)
            delivered += 10
    assert delivered > 60 * capacity * 0.4
    assert throttled * 10 < delivered * 0.5


def test_the_flow_starts_wide_halves_once_for_one_piece_of_news_and_recovers() -> None:
    """Eight throttled answers at once halve the window once; deliveries widen it again, and lift the rate."""
    flow, now = AimdController(8), START
    assert (flow.window, flow.rate) == (8, None)
    for _ in range(8):
        flow.throttled(10, 0, now)
    assert (flow.window, flow.rate) == (4, AimdController.LEAST_RATE)
    for _ in range(100 * 100):
        now += SECOND_NS // 100
        flow.delivered(10, now)
    assert (flow.window, flow.rate) == (8, None)
    for _ in range(20):
        flow.throttled(10, 0, now)
        now += SECOND_NS // 4
    assert flow.window <= 2
    assert flow.rate is not None
    assert flow.rate < 500


def test_a_small_share_throttled_slows_down_a_little() -> None:
    """A bus that throttles one entry in ten whatever the rate is still used well."""
    flow, now, delivered = AimdController(8), START, 0
    while now < START + 60 * SECOND_NS:
        now += max(flow.wait(now), 5_000_000)
        flow.sending(10, now)
        flow.throttled(1, 9, now)
        delivered += 9
    assert delivered > 60 * 300
