"""When a replay sends each packet, as arithmetic: proven with a clock that only moves when it is moved."""

from collections.abc import Iterable
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcapeda.delivery.retry import SECOND_NS
from pcapeda.engine.replay_clock import ReplayClock
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
