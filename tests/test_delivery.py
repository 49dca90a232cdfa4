"""Delivery: every entry ends as sent or refused, whatever the sink answers, and nobody waits for ever."""

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcapeda.aws.responses import LOST
from pcapeda.delivery.attempts import MAX_WAITING
from pcapeda.delivery.delivery import Delivery
from pcapeda.delivery.dispatch import MOST_IN_FLIGHT
from pcapeda.delivery.options import PATIENCE_NS, DeliveryOptions, RunHooks
from pcapeda.delivery.spool import Spool, WhenFull
from pcapeda.delivery.spool_drain import PIECE
from pcapeda.errors import SinkDown
from pcapeda.model import Batch, BatchLimits, Entry, Failed, Outcome
from pcapeda.report import Report
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


class Carried(Scripted):
    """The same with a carrier of its own: answers come one by one, the last request's first."""

    def __init__(self, answer: Callable[[Entry, int], str | None], *, concurrency: int = 4) -> None:
        super().__init__(answer, concurrency=concurrency)
        self.under_way: list[tuple[int, Batch]] = []
        self.most_under_way = 0
        self.started = self.asked = 0
        self.closed = False

    def async_sender(self) -> "Carried":
        return self

    def close(self) -> None:
        self.closed = True

    def start(self, batch: Batch) -> int:
        self.started += 1
        self.under_way.append((self.started, batch))
        self.most_under_way = max(self.most_under_way, len(self.under_way))
        return self.started

    def poll(self, timeout_s: float) -> list[tuple[int, Outcome | BaseException]]:
        self.asked += timeout_s == 0
        if not self.under_way or (timeout_s == 0 and self.asked % 2):
            return []
        number, batch = self.under_way.pop()
        try:
            return [(number, self.send(batch))]
        except SinkDown as error:
            return [(number, error)]


SINKS: dict[str, Callable[[Callable[[Entry, int], str | None]], Scripted]] = {
    "in order": Scripted,
    "threads": lambda answer: Scripted(answer, concurrency=4),
    "async_sender": Carried,
}
"""A sink that is called in place, one that is called from threads, one with a carrier of its own."""


def deliver(sink: Scripted, number: int, *, clock: FakeClock | None = None, size: int = 100) -> tuple[Report, Delivery]:
    clock = clock or FakeClock()
    report = Report(frames=number, datagrams=number)
    delivery = Delivery(sink, report, hooks=RunHooks(clock=clock, sleep=clock.sleep, jitter=lambda: 0.5))
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


def test_an_entry_is_given_up_by_age_and_its_waits_grow() -> None:
    """An entry that always fails is tried ever more seldom until the patience is over, never after it."""
    clock = FakeClock()
    start = clock.now_ns
    times: list[int] = []

    def answer(entry: Entry, tries: int) -> str:
        times.append(clock.now_ns)
        return "again-Throttling"

    report, _ = deliver(Scripted(answer), 1, clock=clock)
    assert report.refused == {"again-Throttling": 1}
    assert report.retried == len(times) - 1
    assert 20 < len(times) < 80
    assert 280e9 < times[-1] - start <= PATIENCE_NS
    assert PATIENCE_NS <= clock.now_ns - start < PATIENCE_NS + 21e9
    gaps = [after - before for before, after in pairwise(times)]
    assert max(gaps[:5]) < 0.5e9
    assert min(gaps[-5:]) > 5e9
    assert report.adds_up()


@pytest.mark.parametrize("patience_s", [0, 1, 20, 1000])
def test_patience_is_what_it_is_told_to_be(patience_s: int) -> None:
    """However long that is, and 0 is one try."""
    clock, sink = FakeClock(), Scripted(lambda entry, tries: "again-Throttling")
    report = Report(frames=1, datagrams=1)
    delivery = Delivery(
        sink,
        report,
        options=DeliveryOptions(patience_ns=patience_s * 10**9),
        hooks=RunHooks(clock=clock, sleep=clock.sleep, jitter=lambda: 0.5),
    )
    start = clock.now_ns
    delivery.add(entry(0))
    delivery.finish()
    assert report.refused == {"again-Throttling": 1}
    assert patience_s * 10**9 <= clock.now_ns - start <= patience_s * 1.3e9 + 10**9
    assert (report.requests == 1) == (patience_s == 0)


def test_what_is_left_of_many_requests_travels_together() -> None:
    """Three in ten entries of each request fail once: their second tries fill requests, and are few."""
    clock = FakeClock()
    sink = Scripted(lambda entry, tries: "again" if tries == 0 and int(entry.id) % 10 < 3 else None, concurrency=8)
    report, _ = deliver(sink, 1000, clock=clock)
    assert (report.sent, report.retried) == (1000, 300)
    assert report.requests <= 100 + 40


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
    delivery = Delivery(sink, Report(), hooks=RunHooks(clock=clock, sleep=clock.sleep))
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
    delivery = Delivery(sink, report, hooks=RunHooks(clock=clock, sleep=clock.sleep, jitter=lambda: 0.5))
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
    delivery = Delivery(sink, report, hooks=RunHooks(clock=clock, sleep=clock.sleep, jitter=lambda: 0.5))
    for number in range(5):
        delivery.add(entry(number))
    delivery.finish(give_up=lambda: clock.now_ns > 1_001_000_000_000)
    assert report.refused == {"interrupted": 5}
    assert report.adds_up()


@pytest.mark.parametrize("kind", SINKS)
@given(st.lists(st.sampled_from(["ok", "final", "again", "always", "down"]), max_size=80))
def test_every_entry_is_accounted_for(kind: str, fates: list[str]) -> None:
    """Sent plus refused is what went in, nothing is sent twice unless it was said to have failed, for any script."""

    def answer(entry: Entry, tries: int) -> str | None:
        fate = fates[int(entry.id)]
        if fate == "again":
            return "again" if tries == 0 else None
        return {"ok": None, "final": "final", "always": "again-always", "down": "down"}[fate]

    sink = SINKS[kind](answer)
    clock = FakeClock()
    report = Report(frames=len(fates), datagrams=len(fates))
    delivery = Delivery(sink, report, hooks=RunHooks(clock=clock, sleep=clock.sleep, jitter=lambda: 0.01))
    for number in range(len(fates)):
        delivery.add(entry(number))
    delivery.finish()
    assert report.adds_up()
    assert len(set(sink.taken)) == len(sink.taken) >= report.sent
    if "down" not in fates:
        assert report.sent == sum(fate in ("ok", "again") for fate in fates)
        assert len(sink.taken) == report.sent


def test_a_carrier_has_so_much_under_way_and_is_closed() -> None:
    """As many requests at once as the sink allows, fewer where they are large, and none left at the end."""
    sink = Carried(lambda entry, tries: None)
    deliver(sink, 200)
    assert (sink.most_under_way, sink.closed, sorted(map(int, sink.taken))) == (4, True, list(range(200)))
    huge = Carried(lambda entry, tries: None, concurrency=32)
    huge.limits = BatchLimits(max_entries=10, max_bytes=1_000_000, max_age_ns=10**9)
    deliver(huge, 400, size=100_000)
    assert huge.most_under_way == 9, "8 MB and a request, as the documentation says"
    large = Carried(lambda entry, tries: None)
    large.limits = BatchLimits(max_entries=10, max_bytes=10**7, max_age_ns=10**9)
    report, _ = deliver(large, 40, size=MOST_IN_FLIGHT // 25)
    assert large.most_under_way == 3
    assert report.sent == 40


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
    delivery = Delivery(Scripted(lambda entry, tries: answer), report, hooks=RunHooks(clock=clock, sleep=clock.sleep))
    for number, datagram_count in enumerate((6, 1, 0)):
        delivery.add(entry(number)._replace(datagram_count=datagram_count))
    delivery.finish()
    assert (report.sent, report.events, report.refused) == (sent, events, refused)
    assert report.events_refused == (0 if answer is None else 1)
    assert report.lost == (answer is not None)
    assert report.adds_up()


class Rig:
    """A delivery with a spool, a scripted sink and a clock that only moves when someone sleeps."""

    def __init__(
        self,
        folder: Path,
        answer: Callable[[Entry, int], str | None],
        *,
        kind: str = "in order",
        live: bool = False,
        max_bytes: int = 1 << 20,
        when_full: WhenFull = "block",
        weight: Callable[[int], int] = lambda number: 1,
    ) -> None:
        self.weight = weight
        self.clock, self.sink, self.report = FakeClock(), SINKS[kind](answer), Report()
        self.spool = Spool(folder, max_bytes=max_bytes, when_full=when_full)
        self.notes: list[str] = []
        self.acknowledged: list[str] = []
        self.stopped = False
        self.delivery = Delivery(
            self.sink,
            self.report,
            spool=self.spool,
            options=DeliveryOptions(live=live),
            hooks=RunHooks(
                clock=self.clock,
                sleep=self.clock.sleep,
                jitter=lambda: 0.5,
                stopping=lambda: self.stopped,
                note=self.notes.append,
                acknowledged=lambda entries: self.acknowledged.extend(entry.id for entry in entries),
            ),
        )

    def add(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            self.report.frames += self.weight(number)
            self.report.datagrams += self.weight(number)
            self.delivery.add(entry(number)._replace(datagram_count=self.weight(number)))

    def finish(self, give_up: Callable[[], bool] = lambda: False) -> Report:
        self.delivery.finish(give_up=give_up)
        assert (self.report.spooled, self.report.events_spooled) == (self.spool.load.datagrams, len(self.spool))
        assert self.report.dead.total() == self.spool.dead.load.datagrams
        assert self.report.adds_up()
        return self.report

    def kept(self) -> list[str]:
        self.spool.rewind()
        return [kept.entry.id for kept in self.spool.take(100_000)]

    def close(self) -> None:
        self.spool.close()


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Callable[..., Rig]]:
    rigs: list[Rig] = []

    def make(*args: Any, **options: Any) -> Rig:
        for old in rigs:
            old.close()
        rigs.append(Rig(tmp_path / "spool", *args, **options))
        return rigs[-1]

    yield make
    for one in rigs:
        one.close()


@pytest.mark.parametrize("kind", SINKS)
def test_a_dead_endpoint_fills_the_spool_and_is_hardly_asked(rig: Callable[..., Rig], kind: str) -> None:
    """During an outage everything is kept, in few requests, and reading does not stop; a later run delivers it all."""
    one = rig(lambda entry, tries: "again-unreachable", kind=kind)
    one.add(range(3000))
    report = one.finish()
    assert (report.sent, report.spooled, report.refused) == (0, 3000, {})
    assert report.requests < 40
    assert sorted(map(int, one.kept())) == list(range(3000))
    later = rig(lambda entry, tries: None, kind=kind)
    report = later.finish()
    assert (report.inherited, report.sent, report.spooled) == (3000, 3000, 0)
    assert sorted(map(int, later.sink.taken)) == list(range(3000))
    if kind == "in order":
        assert later.sink.taken == sorted(later.sink.taken, key=int), "oldest first"


def test_an_outage_is_said_and_its_end(rig: Callable[..., Rig]) -> None:
    """Once for each outage, with what the endpoint said; again when it is over; not for a hiccup."""
    one = rig(lambda entry, tries: "again" if not 10e9 < one.clock.now_ns - 10**12 < 30e9 else None)
    for number in range(400):
        one.add([number])
        one.clock.sleep(0.1)
        one.delivery.tick()
    outage = "nothing is delivered: again: words of again; events are kept in the spool until that is over"
    assert one.notes == [outage, "events are delivered again", outage]
    two = rig(lambda entry, tries: "again" if two.clock.now_ns - 10**12 < 0.5e9 else None)
    two.add(range(400, 600))
    report = two.finish()
    assert (two.notes, report.spooled) == ([], 0)
    assert report.retried > 0


def test_a_short_outage_heals_within_the_run(rig: Callable[..., Rig]) -> None:
    """What was kept during an outage is drained once the sink takes entries again; nothing is sent twice."""
    one = rig(lambda entry, tries: "again" if 3e9 < one.clock.now_ns - 10**12 < 9e9 else None)
    for number in range(2000):
        one.add([number])
        one.clock.sleep(0.01)
        if number == 700:
            assert one.report.spooled > 0
    report = one.finish()
    assert (report.sent, report.spooled) == (2000, 0)
    assert sorted(map(int, one.sink.taken)) == list(range(2000))
    assert set(one.acknowledged) == {str(number) for number in range(2000)}


def test_draining_does_not_starve_new_traffic(rig: Callable[..., Rig]) -> None:
    """While thousands wait in the spool, a new entry is delivered as soon as its batch is due."""
    rig(lambda entry, tries: None).spool.put([entry(number) for number in range(5000)])
    one = rig(lambda entry, tries: None, live=True)
    one.add(range(10_000, 10_050))
    one.clock.sleep(1.1)
    one.delivery.tick()
    assert {str(number) for number in range(10_000, 10_050)} <= set(one.sink.taken)
    assert 0 < len(set(map(int, one.sink.taken)) & set(range(5000))) < 500


def test_what_can_never_succeed_becomes_a_dead_letter(rig: Callable[..., Rig]) -> None:
    """Fresh or from the spool, an entry with a final code is kept with that code and sent no more."""
    rig(lambda entry, tries: None).spool.put([entry(number) for number in range(20, 40)])
    one = rig(lambda entry, tries: "MalformedDetail" if int(entry.id) % 10 == 3 else None)
    one.add(range(20))
    one.delivery.add(entry(99, size=1001))
    one.report.frames += 1
    one.report.datagrams += 1
    report = one.finish()
    assert report.dead == {"MalformedDetail": 4, "oversize": 1}
    assert (report.sent, report.inherited, report.spooled) == (36, 20, 0)
    dead_letters = {kept.entry.id: kept.code for kept in one.spool.dead.take(10)}
    assert dead_letters == dict.fromkeys(["3", "13", "23", "33"], "MalformedDetail") | {"99": "oversize"}
    assert all(tries == 1 for tries in one.sink.tries.values())


def test_an_entry_that_always_fails_stays_and_holds_up_nobody(rig: Callable[..., Rig]) -> None:
    """Entries the bus takes no longer, while it takes others, are left in the spool after their tries."""
    rig(lambda entry, tries: None).spool.put([entry(number) for number in range(100)])
    one = rig(lambda entry, tries: "again" if int(entry.id) < 30 else None)
    report = one.finish()
    assert (report.sent, report.spooled) == (70, 30)
    assert report.requests < 100
    assert sorted(map(int, one.kept())) == list(range(30))


def test_retries_end_in_the_spool(rig: Callable[..., Rig]) -> None:
    """After the last try an entry is kept, not refused; others of its batch were delivered long before."""
    one = rig(lambda entry, tries: "again" if entry.id == "3" else None)
    one.add(range(10))
    report = one.finish()
    assert (report.sent, report.spooled) == (9, 1)
    assert one.kept() == ["3"]


def test_lost_answers_are_counted_entry_by_entry(rig: Callable[..., Rig]) -> None:
    """Whoever got no answer may have been delivered: each such request counts for each of its entries."""
    one = rig(lambda entry, tries: None if tries else LOST)

    def send(batch: Batch, send: Callable[[Batch], Outcome] = one.sink.send) -> Outcome:
        outcome = send(batch)
        return outcome._replace(failed=tuple(failed._replace(retryable=True) for failed in outcome.failed))

    one.sink.send = send  # type: ignore[method-assign]
    one.add(range(30))
    report = one.finish()
    assert (report.sent, report.maybe_twice, report.retried) == (30, 30, 30)


def test_refused_credentials_pause_a_live_run_into_the_spool_and_a_replay_ends(rig: Callable[..., Rig]) -> None:
    """Live, the run says so, keeps everything and delivers it once the sink takes it again; a replay is over."""
    one = rig(lambda entry, tries: "down" if 2e9 < one.clock.now_ns - 10**12 < 40e9 else None, live=True)
    for number in range(600):
        one.add([number])
        one.delivery.tick()
        one.clock.sleep(0.1)
        assert not one.delivery.over
    report = one.finish()
    assert [note for note in one.notes if "kept in the spool" in note]
    assert "events are delivered again" in one.notes
    assert one.delivery.down is None
    assert (report.sent, report.spooled) == (600, 0)
    two = rig(lambda entry, tries: "down" if int(entry.id) >= 100 else None)
    two.add(range(200))
    assert two.delivery.over
    report = two.finish()
    assert (report.sent, report.spooled, report.refused) == (100, 100, {})


def test_an_answer_to_what_was_sent_before_a_refusal_does_not_undo_it(rig: Callable[..., Rig]) -> None:
    """The later request is refused before the earlier one is answered well: a live run says that events are delivered
    again when its next try is taken, and no sooner; a replay is over all the same."""
    one = rig(
        lambda entry, tries: "down" if int(entry.id) >= 10 and not tries else None, kind="async_sender", live=True
    )
    one.add(range(20))
    while one.report.sent < 10:
        one.delivery.tick()
        one.clock.sleep(0.01)
    assert one.delivery.down is not None
    while one.report.sent < 20:
        one.delivery.tick()
        one.clock.sleep(0.1)
    refusal, again = one.notes
    assert "kept in the spool" in refusal
    assert again == "events are delivered again"
    two = rig(lambda entry, tries: "down" if int(entry.id) >= 10 else None, kind="async_sender")
    two.add(range(20))
    report = two.finish()
    assert two.delivery.down is not None
    assert two.notes == []
    assert (report.sent, report.spooled) == (10, 10)


@pytest.mark.parametrize("when_full", ["drop-oldest", "drop-newest"])
def test_what_gives_way_to_a_full_spool_is_counted(rig: Callable[..., Rig], when_full: WhenFull) -> None:
    """The spool stays within its size, and every entry is in it or refused by that name."""
    one = rig(lambda entry, tries: "again", max_bytes=20_000, when_full=when_full)
    one.add(range(2000))
    report = one.finish()
    assert report.refused["spool full"] + report.spooled == 2000
    assert report.refused["spool full"] > 1000
    kept = list(map(int, one.kept()))
    assert (1999 in kept) == (when_full == "drop-oldest")


def test_a_full_spool_that_blocks_stops_the_reading_and_loses_nothing(rig: Callable[..., Rig]) -> None:
    """`block` waits until the bus is back, within bounded memory; then everything is delivered."""
    one = rig(lambda entry, tries: "again" if one.clock.now_ns - 10**12 < 300e9 else None, max_bytes=20_000)
    for number in range(3000):
        one.add([number])
        under_way = number + 1 - one.report.sent - one.report.spooled
        assert under_way < (MAX_WAITING + 3) * 10 + PIECE
    report = one.finish()
    assert one.clock.now_ns - 10**12 > 300e9
    assert (report.sent, report.spooled, report.refused) == (3000, 0, {})
    assert any("is full" in note for note in one.notes)


def test_a_stop_ends_the_waiting_for_a_full_spool(rig: Callable[..., Rig]) -> None:
    """An interrupt is heard while reading stands still; what found no room is refused by that name."""
    one = rig(lambda entry, tries: "again", max_bytes=20_000)
    sleep = one.clock.sleep

    def sleep_and_stop(seconds: float) -> None:
        sleep(seconds)
        one.stopped = one.stopped or one.clock.now_ns - 10**12 > 400e9

    one.delivery._sleep = sleep_and_stop
    number = 0
    while not one.stopped:
        one.add([number])
        number += 1
    report = one.finish(give_up=lambda: one.clock.now_ns - 10**12 > 410e9)
    assert report.refused["spool full"] + report.spooled == number
    assert 0 < report.refused["spool full"] < (MAX_WAITING + 3) * 10 + PIECE


def test_the_end_of_grace_spools_what_is_under_way(rig: Callable[..., Rig]) -> None:
    """A sink that does not answer is not waited for: its entries are kept, as possibly delivered."""
    stuck = threading.Event()

    def answer(entry: Entry, tries: int) -> str | None:
        stuck.wait(30)
        return None

    one = rig(answer, kind="threads")
    one.add(range(25))
    one.stopped = True
    report = one.finish(give_up=lambda: True)
    stuck.set()
    assert report.spooled + report.sent == 25
    assert report.spooled >= 20
    assert report.maybe_twice >= 20


def test_an_interrupt_leaves_the_spool_as_it_was(rig: Callable[..., Rig]) -> None:
    """Ctrl-C ends draining within its requests in flight; all the rest stays."""
    rig(lambda entry, tries: None).spool.put([entry(number) for number in range(500)])
    one = rig(lambda entry, tries: None)
    one.delivery.tick()
    one.stopped = True
    report = one.finish()
    assert (report.sent, report.spooled, report.inherited) == (10, 490, 500)


@pytest.mark.parametrize("kind", SINKS)
@settings(max_examples=25, deadline=None)
@given(
    fates=st.lists(st.sampled_from(["ok", "final", "again", "always", "down"]), max_size=80),
    when_full=st.sampled_from(["block", "drop-oldest", "drop-newest"]),
    small=st.booleans(),
    live=st.booleans(),
    older=st.integers(0, 30),
    weights=st.lists(st.integers(0, 3), min_size=1),
)
def test_every_entry_is_accounted_for_with_a_spool(
    tmp_path_factory: pytest.TempPathFactory,
    kind: str,
    fates: list[str],
    when_full: WhenFull,
    small: bool,
    live: bool,
    older: int,
    weights: list[int],
) -> None:
    """Sent, spooled, dead and refused is what went in, for any script; what is in the spool was not sent.

    That holds for datagrams, however many an entry stands for, and by themselves for entries that stand for none.
    """

    def weight(number: int) -> int:
        return weights[number % len(weights)]

    def answer(entry: Entry, tries: int) -> str | None:
        fate = fates[int(entry.id)] if int(entry.id) < len(fates) else "ok"
        if fate == "again":
            return "again" if tries == 0 else None
        return {"ok": None, "final": "final", "always": "again-always", "down": "down"}[fate]

    folder = tmp_path_factory.mktemp("spool")
    with Spool(folder) as spool:
        spool.put([entry(number)._replace(datagram_count=weight(number)) for number in range(1000, 1000 + older)])
    one = Rig(folder, answer, kind=kind, live=live, max_bytes=3000 if small else 1 << 20, weight=weight)
    one.spool.when_full = when_full
    one.add(range(len(fates)))
    # A spool that blocks while the sink takes nothing waits until it is told to stop.
    end = one.clock.now_ns + 3600 * 10**9
    report = one.finish(give_up=lambda: one.clock.now_ns > end)
    if "down" not in fates:  # the script raises in the middle of a batch, of which nothing counts then
        assert len(set(one.sink.taken)) == len(one.sink.taken) == report.events
        assert sum(weight(int(taken)) for taken in one.sink.taken) == report.sent
        assert not set(one.kept()) & set(one.sink.taken)
        ends = Counter(weight(int(ended)) for ended in [*one.sink.taken, *one.kept()])
        given = Counter(map(weight, [*range(len(fates)), *range(1000, 1000 + older)]))
        assert given[0] == ends[0] + report.events_refused
    one.close()


@settings(max_examples=25, deadline=None)
@given(jumps=st.lists(st.integers(0, 7200), max_size=30), fates=st.lists(st.sampled_from(["ok", "again"]), max_size=60))
def test_a_clock_that_jumps_loses_nothing(
    tmp_path_factory: pytest.TempPathFactory, jumps: list[int], fates: list[str]
) -> None:
    """A machine that sleeps for hours between any two moments: every entry is sent or kept, and the run ends."""
    one = Rig(
        tmp_path_factory.mktemp("spool"),
        lambda entry, tries: None if tries or fates[int(entry.id)] == "ok" else "again",
    )
    for number in range(len(fates)):
        one.add([number])
        if jumps:
            one.clock.now_ns += jumps.pop() * 10**9
        one.delivery.tick()
    report = one.finish()
    assert report.sent + report.spooled == len(fates)
    assert report.refused == {}
    one.close()


def test_what_rested_in_the_spool_comes_again(rig: Callable[..., Rig]) -> None:
    """Entries the bus took no longer, while it took others, are tried anew some minutes later, in the same run."""
    rig(lambda entry, tries: None).spool.put([entry(number) for number in range(3)])
    one = rig(lambda entry, tries: "again" if int(entry.id) < 3 and one.clock.now_ns < 1_400e9 else None, live=True)
    for number in range(10, 800):
        one.add([number])
        one.clock.sleep(1)
        one.delivery.tick()
    assert {"0", "1", "2"} <= set(one.sink.taken)
    assert one.finish().spooled == 0
