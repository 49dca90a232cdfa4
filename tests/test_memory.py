"""The sink for tests: it keeps what an event bus would take, and fails exactly as it is told to."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcapeda.delivery.delivery import Delivery
from pcapeda.delivery.options import RunHooks
from pcapeda.errors import SinkDown
from pcapeda.events.shape import Shape
from pcapeda.model import Batch, Entry, Outcome, Sink
from pcapeda.report import Report
from pcapeda.sinks.eventbridge import LIMITS
from pcapeda.sinks.memory import MemorySink
from tests.clock import FakeClock
from tests.datagrams import EXAMPLE


def entry(number: int = 0) -> Entry:
    return Shape().entry(EXAMPLE._replace(number=number + 1))


def batch(*numbers: int) -> Batch:
    entries = tuple(entry(number) for number in numbers)
    return Batch(entries, sum(one.size for one in entries))


def test_it_is_a_sink_with_the_limits_of_a_bus() -> None:
    """Without arguments it takes everything, in order, in batches as EventBridge would get them."""
    sink: Sink = MemorySink()
    assert sink.limits == LIMITS
    sink.check()
    memory = MemorySink()
    assert memory.send(batch(1, 2)) == Outcome(2)
    assert memory.send(batch(3)) == Outcome(1)
    assert memory.entries == [entry(1), entry(2), entry(3)]
    assert memory.batches == [batch(1, 2), batch(3)]
    assert [event["detail"]["Capture"]["Frame"] for event in memory.events] == [2, 3, 4]
    assert not memory.closed
    memory.close()
    assert memory.closed


def test_a_script_answers_call_by_call_and_then_takes_all() -> None:
    """A code for all, codes entry by entry, the end of the sink, and success after the last line."""
    memory = MemorySink(["ThrottlingException", [None, "MalformedDetail"], SinkDown("gone"), None])
    throttled = memory.send(batch(1, 2))
    assert throttled.sent == 0
    assert [(failed.entry, failed.code, failed.retryable) for failed in throttled.failed] == [
        (entry(1), "ThrottlingException", True),
        (entry(2), "ThrottlingException", True),
    ]
    mixed = memory.send(batch(1, 2))
    assert mixed.sent == 1
    assert [(failed.entry, failed.code, failed.retryable) for failed in mixed.failed] == [
        (entry(2), "MalformedDetail", False)
    ]
    with pytest.raises(SinkDown, match="gone"):
        memory.send(batch(3))
    assert memory.send(batch(3)) == memory.send(batch(4)) == Outcome(1)
    assert memory.entries == [entry(1), entry(3), entry(4)]
    assert len(memory.batches) == 5


def test_a_function_judges_each_entry() -> None:
    """Whatever depends on the entry, or on how often it came, is a function."""
    memory = MemorySink(lambda one: "InternalFailure" if one == entry(2) else None)
    assert [failed.entry for failed in memory.send(batch(1, 2, 3)).failed] == [entry(2)]
    assert memory.entries == [entry(1), entry(3)]


def test_a_sink_that_is_down_says_so_at_the_check() -> None:
    """`down` is raised before anything is sent."""
    with pytest.raises(SinkDown, match="no credentials"):
        MemorySink(down=SinkDown("no credentials")).check()


def test_a_script_that_does_not_fit_its_batch_is_a_mistake_of_the_test() -> None:
    """Codes for another number of entries than came are no answer."""
    with pytest.raises(ValueError, match="shorter"):
        MemorySink([[None]]).send(batch(1, 2))


def test_many_threads_share_one() -> None:
    """Nothing is lost when several calls run at once."""
    memory = MemorySink(concurrency=4)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: memory.send(batch(number)), range(200)))
    assert sorted(one.id for one in memory.entries) == sorted(entry(number).id for number in range(200))


_codes = st.none() | st.sampled_from(["ThrottlingException", "InternalFailure", "MalformedDetail"])


@given(st.lists(_codes, max_size=30), st.integers(0, 60))
def test_delivery_accounts_for_every_entry_under_any_script(script: list[str | None], count: int) -> None:
    """Through the real delivery: what the sink holds is what the report calls sent, the rest has its code."""
    memory = MemorySink(script)
    clock = FakeClock()
    report = Report(frames=count, datagrams=count)
    delivery = Delivery(memory, report, hooks=RunHooks(clock=clock, sleep=clock.sleep, jitter=lambda: 0.5))
    for number in range(count):
        delivery.add(entry(number))
    delivery.finish()
    assert report.adds_up()
    assert len(memory.entries) == report.sent == len({one.id for one in memory.entries})
    assert set(report.refused) <= set(script)
