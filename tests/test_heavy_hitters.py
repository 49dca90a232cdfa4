"""The heavy hitters' summary: exact while it fits, bounded and with a known error when it does not."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from pcapeda.limits.heavy_hitters import HeavyHitters


@given(st.lists(st.integers(0, 30)), st.integers(1, 40))
def test_counts_keep_their_bound(keys: list[int], capacity: int) -> None:
    """No count is below the truth or above it by more than the stated error, and no frequent key is missing."""
    tally: HeavyHitters[int] = HeavyHitters(capacity)
    for key in keys:
        tally.add(key)
    truth = Counter(keys)
    kept = dict(tally.top(capacity))
    assert len(kept) <= capacity
    assert tally.total == len(keys)
    for key, count in kept.items():
        assert truth[key] <= count <= truth[key] + tally.error
    for key, count in truth.items():
        if count > len(keys) / capacity:
            assert key in kept
    if len(truth) <= capacity:
        assert kept == truth
        assert tally.error == 0


def test_a_flood_of_different_keys_hides_no_heavy_one() -> None:
    """A thousand keys seen once each do not push out the one that is seen all the time."""
    tally: HeavyHitters[str] = HeavyHitters(16)
    for number in range(1000):
        tally.add("steady")
        tally.add(f"spoofed-{number}")
    assert tally.top(1)[0][0] == "steady"
