"""Batches: every entry once and in order, no limit ever exceeded, nothing waits longer than it may."""

from hypothesis import given
from hypothesis import strategies as st

from pcapeda.delivery.batching import Batcher, MessageGroups
from pcapeda.model import Batch, BatchLimits, Entry

SECOND_NS = 1_000_000_000


def entry(number: int, size: int = 1) -> Entry:
    return Entry("udp.raw", "UdpPacket", "{}", None, (), size, str(number))


def test_a_batch_goes_with_its_last_entry() -> None:
    """The entry that fills a batch by count takes it along; the next one starts anew."""
    batcher = Batcher(BatchLimits(3, 100, SECOND_NS))
    assert batcher.add(entry(0), 0) is None
    assert batcher.add(entry(1), 0) is None
    batch = batcher.add(entry(2), 0)
    assert batch == Batch((entry(0), entry(1), entry(2)), 3)
    assert len(batcher) == 0
    assert batcher.take() is None


def test_an_entry_that_does_not_fit_sends_the_others_ahead() -> None:
    """Bytes decide too: what is there goes first, the newcomer waits for its own batch."""
    batcher = Batcher(BatchLimits(10, 100, SECOND_NS))
    assert batcher.add(entry(0, 60), 0) is None
    assert batcher.add(entry(1, 60), 0) == Batch((entry(0, 60),), 60)
    assert batcher.add(entry(2, 40), 0) is None  # exactly the limit
    assert batcher.take() == Batch((entry(1, 60), entry(2, 40)), 100)


def test_what_is_too_large_for_any_batch_is_told_beforehand() -> None:
    """fits() draws the line at the byte."""
    batcher = Batcher(BatchLimits(10, 100, SECOND_NS))
    assert batcher.fits(entry(0, 100))
    assert not batcher.fits(entry(0, 101))


def test_the_first_entry_decides_how_long_a_batch_waits() -> None:
    """due() is silent until the first entry is old enough; later entries do not prolong it."""
    batcher = Batcher(BatchLimits(10, 100, SECOND_NS))
    assert batcher.deadline_ns is None
    assert batcher.due(10 * SECOND_NS) is None
    batcher.add(entry(0), 5)
    batcher.add(entry(1), SECOND_NS)
    assert batcher.deadline_ns == SECOND_NS + 5
    assert batcher.due(SECOND_NS + 4) is None
    assert batcher.due(SECOND_NS + 5) == Batch((entry(0), entry(1)), 2)
    assert batcher.deadline_ns is None


@given(
    st.lists(st.tuples(st.integers(1, 100), st.integers(0, 2 * SECOND_NS), st.booleans()), max_size=200),
    st.integers(1, 12),
)
def test_every_entry_comes_out_once_in_order_and_within_the_limits(
    steps: list[tuple[int, int, bool]], most: int
) -> None:
    """For any sizes, waits and ticks: nothing lost, doubled or reordered; count, bytes and age are kept."""
    limits = BatchLimits(most, 100, SECOND_NS)
    batcher = Batcher(limits)
    now = 0
    batches: list[Batch] = []

    def note(batch: Batch | None) -> None:
        if batch is not None:
            batches.append(batch)
            assert 0 < len(batch.entries) <= limits.max_entries
            assert batch.size == sum(one.size for one in batch.entries) <= limits.max_bytes

    for number, (size, gap, tick) in enumerate(steps):
        now += gap
        if tick:
            note(batcher.due(now))
            deadline = batcher.deadline_ns
            assert deadline is None or now < deadline
        one = entry(number, size)
        assert batcher.fits(one)
        note(batcher.add(one, now))
    note(batcher.due(now))
    note(batcher.take())
    assert [one.id for batch in batches for one in batch.entries] == [str(number) for number in range(len(steps))]
    assert len(batcher) == 0


def test_many_at_once_are_taken_up_to_the_limits_and_not_beyond() -> None:
    """add_all() draws the same lines: exactly full is taken, one byte or one entry more is not, and changes nothing."""
    batcher = Batcher(BatchLimits(3, 100, SECOND_NS))
    assert not batcher.add_all([entry(0, 50), entry(1, 51)], 0)
    assert not batcher.add_all([entry(number) for number in range(4)], 0)
    assert len(batcher) == 0
    assert batcher.add_all([entry(0, 50), entry(1, 50)], 7)
    assert batcher.deadline_ns == 7 + SECOND_NS
    assert not batcher.add_all([entry(2)], 8)
    assert batcher.take() == Batch((entry(0, 50), entry(1, 50)), 100)
    assert batcher.add_all([entry(number) for number in range(3)], 0)
    assert batcher.due(0) == Batch(tuple(entry(number) for number in range(3)), 3)


def test_lanes_are_full_at_sixteen_batches() -> None:
    """From there on reading stops; one entry fewer is not full yet."""
    lanes = MessageGroups(BatchLimits(2, 100, SECOND_NS))
    for number in range(31):
        lanes.add(entry(number), 0)
        assert not lanes.full
    lanes.add(entry(31), 0)
    assert lanes.full
