"""A rate for each source in bounded memory, and who is a regular: the bounds that the documentation states."""

from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcapeda.delivery.retry import SECOND_NS
from pcapeda.limits.per_source import ARRIVALS_AT_ONCE, SILENCE_NS, Fingerprint, KnownSources, SourceRates, source_key
from pcapeda.limits.token_bucket import TokenBucket

PRINT = Fingerprint(b"a key for tests")

steps = st.lists(st.tuples(st.integers(0, 5), st.integers(0, SECOND_NS)), max_size=200)
"""Which source speaks, and how long after the one before."""


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("::1", "::/64"),
        ("fe80::1", "fe80::/64"),
        ("::ffff:192.0.2.7", "::/64"),
    ],
)
def test_a_source_is_an_address_or_a_network_of_64_bits(address: str, key: str) -> None:
    """IPv6 hosts choose the lower half of their addresses freely, so the /64 counts."""
    assert source_key(address) == key


def test_the_key_decides_who_collides() -> None:
    """Another key gives other cells; without one they are the same in every run."""
    assert Fingerprint(b"a")("192.0.2.7") != Fingerprint(b"b")("192.0.2.7")
    assert Fingerprint()("192.0.2.7") == Fingerprint()("192.0.2.7")


@settings(deadline=None)
@given(steps, st.sampled_from([0.5, 1, 3, 1000]), st.integers(1, 5), st.sampled_from([1, 2, 1 << 10]))
def test_no_source_gets_more_than_its_rate(steps: list[tuple[int, int]], rate: float, burst: int, width: int) -> None:
    """Over every span, whoever shares its cells: at most the burst and what flows in. Even with one cell for all."""
    rates = SourceRates(rate, burst, width=width)
    admitted: dict[int, list[int]] = defaultdict(list)
    now = 0
    for source, gap in steps:
        now += gap
        print_ = PRINT(str(source))
        if rates.admits(print_, now):
            rates.charge(print_, now)
            admitted[source].append(now)
    for moments in admitted.values():
        for first in range(len(moments)):
            for last in range(first, len(moments)):
                inflow = (moments[last] - moments[first]) * rate / SECOND_NS
                assert last - first + 1 <= burst + inflow + 1e-6


@settings(deadline=None)
@given(steps, st.sampled_from([0.5, 1, 3, 1000]), st.integers(1, 5))
def test_sources_that_share_no_cell_have_a_bucket_of_their_own(
    steps: list[tuple[int, int]], rate: float, burst: int
) -> None:
    """Six sources in 65,536 cells are told apart: each is admitted exactly when its own token bucket would."""
    rates = SourceRates(rate, burst)
    buckets = [TokenBucket(rate, burst) for _ in range(6)]
    now = 10**18
    for source, gap in steps:
        now += gap
        print_ = PRINT(f"apart {source}")
        admitted = rates.admits(print_, now)
        assert admitted == (buckets[source].take(now) == 0)
        if admitted:
            rates.charge(print_, now)


@settings(deadline=None)
@given(st.lists(st.integers(-(10**19), 10**19), max_size=50))
def test_no_clock_breaks_it(moments: list[int]) -> None:
    """Times that jump anywhere neither fail nor silence a source once its bucket had the time to fill."""
    rates = SourceRates(1, 2)
    for now in moments:
        if rates.admits(PRINT("x"), now):
            rates.charge(PRINT("x"), now)
        rates.admits(PRINT("x"), now)
        if abs(now) < 4 * 10**18:
            assert rates.admits(PRINT("x"), now + 3 * SECOND_NS)


def test_the_error_of_the_sketch_is_within_its_bound() -> None:
    """With m sources using their rate up, others are refused wrongly no oftener than (m / width) ** 4 allows."""
    width, busy, asked = 256, 128, 4000
    rates = SourceRates(1, 1, width=width)
    for number in range(busy):
        rates.charge(PRINT(f"busy {number}"), 0)
    refused = sum(not rates.admits(PRINT(f"honest {number}"), 0) for number in range(asked))
    assert refused <= asked * (busy / width) ** 4
    assert refused > 0, "a width at which nobody collides shows nothing"


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 30))
def test_who_comes_again_is_a_regular(gap_s: int) -> None:
    """The first datagram is a stranger's, those after it are not, as long as the source keeps to its rate."""
    known_sources = KnownSources(5, 10)
    moments = [number * gap_s * SECOND_NS for number in range(10)]
    assert [known_sources.observe(PRINT("honest"), now) for now in moments] == [False] + [True] * 9


def test_who_asks_for_more_than_the_rate_is_a_stranger_until_calm() -> None:
    """What was asked for counts, not what was given; a few seconds of silence mend it."""
    known_sources = KnownSources(5, 10)
    greeted = [known_sources.observe(PRINT("loud"), number * SECOND_NS // 100) for number in range(1000)]
    assert sum(greeted) < 15
    assert not any(greeted[100:])
    assert known_sources.observe(PRINT("loud"), 10 * SECOND_NS + 5 * SECOND_NS)


def test_a_crowd_that_repeats_itself_gets_few_in_and_nobody_out() -> None:
    """Ten thousand forged sources in turn: only so many become regulars, and the one from before stays."""
    known_sources = KnownSources(5, 10)
    for second in range(3):
        known_sources.observe(PRINT("honest"), second * SECOND_NS)
    now = 3 * SECOND_NS
    for _round in range(10):
        for number in range(10_000):
            known_sources.observe(PRINT(f"forged {number}"), now)
        now += SECOND_NS
        assert known_sources.observe(PRINT("honest"), now)
    assert len(known_sources) <= 1 + ARRIVALS_AT_ONCE + 12


def test_a_full_house_takes_newcomers_only_for_the_silent() -> None:
    """At capacity nobody who speaks is put out; who was silent for ten minutes is."""
    known_sources = KnownSources(5, 10, capacity=2)
    for name in ("a", "b", "c"):
        assert not known_sources.observe(PRINT(name), 0)
        assert known_sources.observe(PRINT(name), SECOND_NS) == (name != "c")
    assert known_sources.observe(PRINT("b"), SILENCE_NS + SECOND_NS - 1)
    assert not known_sources.observe(PRINT("c"), SILENCE_NS + SECOND_NS - 1)
    assert known_sources.observe(PRINT("c"), SILENCE_NS + SECOND_NS)
    assert not known_sources.observe(PRINT("a"), SILENCE_NS + SECOND_NS)
    assert len(known_sources) == 2
