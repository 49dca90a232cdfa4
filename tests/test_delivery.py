"""Delivery: every entry ends as sent or refused, whatever the sink answers, and nobody waits for ever."""

from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcapeda.delivery import MAX_WAITING, RETRIES, Delivery
from pcapeda.errors import SinkDown
from pcapeda.model import Batch, BatchLimits, Entry, Failed, Outcome, Report
from tests.clock import FakeClock


def entry(number: int, size: int = 100) -> Entry:
    return Entry("udp.raw", "UdpPacket", "{}", None, (), size, str(number))


class Scripted:
    """A sink that answers each entry by a function of (entry, how often it was tried before)."""

    limits = BatchLimits(max_entries=10, max_bytes=1000, max_age_ns=1_000_000_000)
    costs_money = True

    def __init__(self, answer: Callable[[Entry, int], str | None], *, concurrency: int = 1) -> None:
        self.concurrency = concurrency
        self.answer = answer
        self.tries: Counter[str] = Counter()
        self.taken: list[str] = []
        self.batches: list[Batch] = []

    def check(self) -> None: ...

    def close(self) -> None: ...

    def send(self, batch: Batch) -> Outcome:
        self.batches.append(batch)
        failed = []
        for one in batch.entries:
            code = self.answer(one, self.tries[one.id])
            self.tries[one.id] += 1
            if code == "down":
                raise SinkDown("the bus is gone", code="AccessDenied")
            if code is None:
                self.taken.append(one.id)
            else:
                failed.append(Failed(one, code, code.startswith("again"), f"words of {code}"))
        return Outcome(len(batch.entries) - len(failed), tuple(failed))


def deliver(sink: Scripted, number: int, *, clock: FakeClock | None = None, size: int = 100) -> tuple[Report, Delivery]:
    clock = clock or FakeClock()
    report = Report(frames=number, datagrams=number)
    delivery = Delivery(sink, report, clock=clock, sleep=clock.sleep, jitter=lambda: 0.5)
    for one in range(number):
        delivery.add(entry(one, size))
    delivery.finish()
    return report, delivery


def test_everything_taken_is_sent_once_and_in_order() -> None:
    """A sink that takes all gets each entry once, in full batches, and the report says what it costs."""
    sink = Scripted(lambda entry, tries: None)
    report, _ = deliver(sink, 25)
    assert sink.taken == [str(number) for number in range(25)]
    assert [len(batch.entries) for batch in sink.batches] == [10, 10, 5]
    assert (report.sent, report.requests, report.chunks, report.bytes_sent) == (25, 3, 25, 2500)
    assert report.adds_up()


def test_only_what_failed_is_tried_again() -> None:
    """A partial failure resends the failed entries and no other."""
    sink = Scripted(lambda entry, tries: "again" if entry.id == "3" and tries < 2 else None)
    report, _ = deliver(sink, 10)
    assert sink.tries["3"] == 3
    assert all(sink.tries[str(number)] == 1 for number in range(10) if number != 3)
    assert (report.sent, report.retried) == (10, 2)
    assert report.adds_up()


def test_what_can_never_succeed_is_not_tried_again() -> None:
    """A final code is counted under its name, with its words, after one try."""
    sink = Scripted(lambda entry, tries: "MalformedDetail" if entry.id == "3" else None)
    report, _ = deliver(sink, 10)
    assert sink.tries["3"] == 1
    assert report.refused == {"MalformedDetail": 1}
    assert report.messages == {"MalformedDetail": "words of MalformedDetail"}
    assert report.adds_up()


def test_retries_end_and_their_waits_grow() -> None:
    """An entry that always fails is given up after the last try; the waits follow the backoff, by the clock."""
    clock = FakeClock()
    sink = Scripted(lambda entry, tries: "again-Throttling")
    report, _ = deliver(sink, 1, clock=clock)
    assert sink.tries["0"] == RETRIES.attempts
    assert report.refused == {"again-Throttling": 1}
    assert report.retried == RETRIES.attempts - 1
    assert 10 < sum(clock.slept) < 60
    assert report.adds_up()


def test_a_sink_that_is_down_ends_the_trying() -> None:
    """After SinkDown nothing more is sent and everything is accounted for under its code."""
    sink = Scripted(lambda entry, tries: "down" if int(entry.id) >= 10 else None)
    report, delivery = deliver(sink, 40)
    assert delivery.down is not None
    assert len(sink.batches) == 2
    assert report.sent == 10
    assert report.refused == {"AccessDenied": 30}
    assert report.adds_up()


def test_an_oversize_entry_is_refused_before_it_is_sent() -> None:
    """What no batch can hold never reaches the sink."""
    sink = Scripted(lambda entry, tries: None)
    report, _ = deliver(sink, 2, size=1001)
    assert sink.batches == []
    assert report.refused == {"oversize": 2}
    assert report.adds_up()


def test_a_batch_does_not_wait_for_ever() -> None:
    """A tick sends an incomplete batch once its first entry is old enough, not before."""
    clock, sink = FakeClock(), Scripted(lambda entry, tries: None)
    delivery = Delivery(sink, Report(), clock=clock, sleep=clock.sleep)
    delivery.add(entry(1))
    delivery.tick()
    assert sink.taken == []
    clock.sleep(1.0)
    delivery.tick()
    assert sink.taken == ["1"]


def test_a_throttled_sink_stops_the_reading_not_the_memory() -> None:
    """While many batches wait for another try, add() waits with them: what is held stays bounded."""
    clock = FakeClock()
    sink = Scripted(lambda entry, tries: "again" if clock.now_ns < 1_020_000_000_000 else None)
    report = Report()
    delivery = Delivery(sink, report, clock=clock, sleep=clock.sleep, jitter=lambda: 0.5)
    for number in range(3000):
        delivery.add(entry(number))
        under_way = number + 1 - report.sent - report.refused.total()
        assert under_way <= (MAX_WAITING + 2) * 10
    delivery.finish()
    assert sorted(sink.taken, key=int) == [str(number) for number in range(3000)]


def test_giving_up_counts_what_waits() -> None:
    """An interrupted run tries nothing again once its grace is over, and says how much that was."""
    clock = FakeClock()
    sink = Scripted(lambda entry, tries: "again")
    report = Report(frames=5, datagrams=5)
    delivery = Delivery(sink, report, clock=clock, sleep=clock.sleep, jitter=lambda: 0.5)
    for number in range(5):
        delivery.add(entry(number))
    delivery.finish(give_up=lambda: clock.now_ns > 1_001_000_000_000)
    assert report.refused == {"interrupted": 5}
    assert report.adds_up()


@pytest.mark.parametrize("concurrency", [1, 4])
@given(st.lists(st.sampled_from(["ok", "final", "again", "always", "down"]), max_size=80))
def test_every_entry_is_accounted_for(concurrency: int, fates: list[str]) -> None:
    """Sent plus refused is what went in, nothing is sent twice unless it was said to have failed, for any script."""

    def answer(entry: Entry, tries: int) -> str | None:
        fate = fates[int(entry.id)]
        if fate == "again":
            return "again" if tries == 0 else None
        return {"ok": None, "final": "final", "always": "again-always", "down": "down"}[fate]

    sink = Scripted(answer, concurrency=concurrency)
    clock = FakeClock()
    report = Report(frames=len(fates), datagrams=len(fates))
    delivery = Delivery(sink, report, clock=clock, sleep=clock.sleep, jitter=lambda: 0.01)
    for number in range(len(fates)):
        delivery.add(entry(number))
    delivery.finish()
    assert report.adds_up()
    assert len(set(sink.taken)) == len(sink.taken) >= report.sent
    if "down" not in fates:
        assert report.sent == sum(fate in ("ok", "again") for fate in fates)
        assert len(sink.taken) == report.sent


@pytest.mark.parametrize(
    ("answer", "sent", "events", "refused"),
    [(None, 7, 3, {}), ("final", 0, 0, {"final": 7}), ("down", 0, 0, {"AccessDenied": 7})],
)
def test_an_event_counts_as_the_datagrams_it_stands_for(
    answer: str | None, sent: int, events: int, refused: dict[str, int]
) -> None:
    """Sent and refused are datagrams; events are counted apart, and one that stands for none is never a datagram."""
    report = Report(frames=7, datagrams=7)
    clock = FakeClock()
    delivery = Delivery(Scripted(lambda entry, tries: answer), report, clock=clock, sleep=clock.sleep)
    for number, stands_for in enumerate((6, 1, 0)):
        delivery.add(entry(number)._replace(stands_for=stands_for))
    delivery.finish()
    assert (report.sent, report.events, report.refused) == (sent, events, refused)
    assert report.events_refused == (0 if answer is None else 1)
    assert report.lost == (answer is not None)
    assert report.adds_up()
