"""Time as arithmetic: rates, backoff and replay's clock, proven with a clock that only moves when told."""

from collections.abc import Iterable
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcapeda.delivery.retry import SECOND_NS, AimdController, Backoff, Breaker, RetryBudget
from pcapeda.engine.replay_clock import ReplayClock
from pcapeda.limits.token_bucket import TokenBucket
from tests.clock import FakeClock

START = 5_000 * SECOND_NS


def sent_at(pace: ReplayClock, times: Iterable[int | None], *, late_by: int = 0) -> list[int]:
    """When each packet goes, in ns after the first, if every sleep overshoots by `late_by`."""
    clock = FakeClock(START)
    moments = []
    for time_ns in times:
        due = pace.deadline(time_ns, clock())
        if due > clock():
            clock.now_ns = due + late_by
        moments.append(clock() - START)
    return moments


def test_speed_one_keeps_the_captured_gaps_for_hours_without_drift() -> None:
    """Ten hours of packets 10 ms apart end exactly on time although every single sleep is late."""
    gap, count = SECOND_NS // 100, 10 * 3600 * 100 // 100
    times = [7 * SECOND_NS + number * gap * 100 for number in range(count)]
    moments = sent_at(ReplayClock(speed=1), times, late_by=120_000)
    assert moments[-1] == times[-1] - times[0] + 120_000


@pytest.mark.parametrize(("speed", "factor"), [(2, Fraction(1, 2)), (0.5, Fraction(2)), (10, Fraction(1, 10))])
def test_speed_divides_the_gaps(speed: float, factor: Fraction) -> None:
    """-x 2 takes half as long, -x 0.5 twice as long."""
    times = [0, SECOND_NS, 3 * SECOND_NS]
    assert sent_at(ReplayClock(speed=speed), times) == [int(time * factor) for time in times]


def test_an_even_rate_does_not_drift() -> None:
    """A rate that no number of nanoseconds divides is kept over a million packets."""
    pace = ReplayClock(pps=3)
    pace.deadline(None, START)
    last = 0
    for _ in range(999_999):
        last = pace.deadline(None, START)
    assert last - START == 999_999 * SECOND_NS // 3


def test_packets_out_of_order_or_without_time_go_at_once_and_move_nothing() -> None:
    """A negative gap never sleeps, and what comes after it is still on time."""
    times = [10 * SECOND_NS, 11 * SECOND_NS, 9 * SECOND_NS, None, 10 * SECOND_NS, 12 * SECOND_NS]
    assert sent_at(ReplayClock(speed=1), times) == [0, SECOND_NS, SECOND_NS, SECOND_NS, SECOND_NS, 2 * SECOND_NS]


def test_leading_packets_without_time_do_not_set_the_anchor() -> None:
    """The timeline starts with the first packet that has a time."""
    assert sent_at(ReplayClock(speed=1), [None, None, 50 * SECOND_NS, 51 * SECOND_NS]) == [0, 0, 0, SECOND_NS]


def test_maxsleep_cuts_silences_and_shifts_what_follows() -> None:
    """An hour of nothing becomes two seconds; later gaps are whole again."""
    times = [0, SECOND_NS, 3601 * SECOND_NS, 3602 * SECOND_NS]
    moments = sent_at(ReplayClock(speed=1, max_sleep_ns=2 * SECOND_NS), times)
    assert moments == [0, SECOND_NS, 3 * SECOND_NS, 4 * SECOND_NS]


def test_each_file_is_anchored_anew() -> None:
    """A second file captured years earlier neither waits for years nor is rushed."""
    pace = ReplayClock(speed=1)
    clock = FakeClock(START)
    for base in (1_000_000_000 * SECOND_NS, 5 * SECOND_NS):
        pace.anchor()
        assert pace.deadline(base, clock()) == clock()
        due = pace.deadline(base + SECOND_NS, clock())
        assert due == clock() + SECOND_NS
        clock.now_ns = due


def test_a_replay_that_fell_behind_catches_up() -> None:
    """Deadlines are absolute: a slow moment does not push everything after it."""
    pace = ReplayClock(speed=1)
    pace.deadline(0, START)
    assert pace.deadline(SECOND_NS, START + 5 * SECOND_NS) == START + SECOND_NS
    assert pace.deadline(10 * SECOND_NS, START + 5 * SECOND_NS) == START + 10 * SECOND_NS


@given(st.lists(st.none() | st.integers(-(10**20), 10**20), max_size=30), st.floats(1e-3, 1e6))
def test_deadlines_never_go_back(times: list[int | None], speed: float) -> None:
    """Whatever times a capture claims, the next packet is never due before the last one was."""
    pace = ReplayClock(speed=speed)
    latest = START
    for time_ns in times:
        due = pace.deadline(time_ns, START)
        assert due >= latest
        latest = due


@pytest.mark.parametrize("bad", [0, -1, float("inf"), float("nan")])
def test_a_clock_that_makes_no_sense_is_refused(bad: float) -> None:
    """Zero, negative and infinite speeds and rates are errors, not endless sleeps."""
    with pytest.raises(ValueError, match="speed"):
        ReplayClock(speed=bad)
    with pytest.raises(ValueError, match="pps"):
        ReplayClock(pps=bad)


@pytest.mark.parametrize(("rate", "burst"), [(0, 1), (-1, 1), (float("nan"), 1), (1, 0)])
def test_a_bucket_that_makes_no_sense_is_refused(rate: float, burst: int) -> None:
    """No rate and no burst at all are errors."""
    with pytest.raises(ValueError, match="rate"):
        TokenBucket(rate, burst)


def test_a_bucket_lets_its_burst_through_and_then_its_rate() -> None:
    """Burst tokens at once, then one each 1/rate seconds; what is told to wait is admitted after that wait."""
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
