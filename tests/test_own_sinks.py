"""Sinks and watchers of a user's own: whatever they do, no event is lost in silence, and the report comes along."""

import copy
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pcapeda.delivery.checkpoint import Checkpoint
from pcapeda.delivery.outcomes import checked
from pcapeda.delivery.spool import Spool
from pcapeda.engine.job import Job
from pcapeda.engine.run import execute, resend
from pcapeda.errors import BadSink, ExitStatus, SinkDown
from pcapeda.events.shape import Shape
from pcapeda.model import Batch, BatchLimits, Entry, Failed, Outcome
from pcapeda.report import Report
from pcapeda.sinks.memory import MemorySink
from tests.clock import FakeClock
from tests.command import FIXTURES

MIXED = (str(FIXTURES / "mixed.pcap"),)
DATAGRAMS = 13


class Own:
    """A sink that answers a batch by a function."""

    limits = BatchLimits(max_entries=5, max_bytes=1_000_000, max_age_ns=10**9)
    costs_money = False

    def __init__(self, answer: Callable[[Batch], Any], *, concurrency: int = 1) -> None:
        self.concurrency = concurrency
        self.answer = answer
        self.closed = 0
        self.batches: list[Batch] = []

    def check(self) -> None: ...

    def close(self) -> None:
        self.closed += 1

    def send(self, batch: Batch) -> Outcome:
        self.batches.append(batch)
        outcome: Outcome = self.answer(batch)
        return outcome


def fails(entry: Any, code: Any = "no", again: Any = False) -> Failed:
    return Failed(entry, code, again, "words")


def another(entry: Entry) -> Entry:
    return entry._replace(detail='{"Foreign": 1}')


BROKEN: dict[str, Callable[[Batch], Any]] = {
    "nothing": lambda batch: None,
    "a number": lambda batch: len(batch.entries),
    "too few": lambda batch: Outcome(len(batch.entries) - 1),
    "too many": lambda batch: Outcome(len(batch.entries) + 1),
    "all sent and one failed": lambda batch: Outcome(len(batch.entries), (fails(batch.entries[0]),)),
    "a foreign entry": lambda batch: Outcome(len(batch.entries) - 1, (fails(another(batch.entries[0])),)),
    "one twice": lambda batch: Outcome(len(batch.entries) - 2, (fails(batch.entries[0]),) * 2),
    "one and its copy": lambda batch: Outcome(
        len(batch.entries) - 2, (fails(batch.entries[0]), fails(copy.copy(batch.entries[0])._replace()))
    ),
    "minus": lambda batch: Outcome(-1, (*map(fails, batch.entries), fails(batch.entries[0]))),
    "no integer": lambda batch: Outcome(float(len(batch.entries))),  # type: ignore[arg-type]
    "true": lambda batch: Outcome(True, tuple(map(fails, batch.entries[1:]))),
    "no entry": lambda batch: Outcome(len(batch.entries) - 1, (fails(["x"]),)),
    "no failed": lambda batch: Outcome(len(batch.entries) - 1, (batch.entries[0],)),  # type: ignore[arg-type]
    "no code": lambda batch: Outcome(len(batch.entries) - 1, (fails(batch.entries[0], None),)),
    "failed is none": lambda batch: Outcome(len(batch.entries), None),  # type: ignore[arg-type]
    "known too many": lambda batch: Outcome(len(batch.entries), (), len(batch.entries) + 1),
}


@pytest.mark.parametrize("concurrency", [1, 3])
@pytest.mark.parametrize("name", BROKEN)
def test_a_sink_that_does_not_account_for_its_batch_is_a_bad_sink(name: str, concurrency: int, tmp_path: Path) -> None:
    """The run ends in one clear line, counts what was not delivered, and no checkpoint takes it for delivered."""
    job = Job(captures=MIXED, checkpoint=str(tmp_path / "c"))
    good = []

    def answer(batch: Batch) -> Any:
        if not good:
            good.append(batch)
            return Outcome(len(batch.entries))
        return BROKEN[name](batch)

    sink = Own(answer, concurrency=concurrency)
    with pytest.raises(BadSink, match="the sink Own does not answer for what it is given") as caught:
        execute(job, sink=sink)
    assert "\n" not in str(caught.value)
    report = caught.value.report
    assert report is not None
    assert report.adds_up()
    assert (report.sent, report.refused) == (5, {"BadSink": report.datagrams - 5})
    assert report.ended_by is caught.value
    assert report.status() == ExitStatus.INCOMPLETE
    later = MemorySink()
    assert execute(job, sink=later).sent == DATAGRAMS - 5
    assert {entry.id for entry in later.entries}.isdisjoint(entry.id for entry in good[0].entries)


def test_a_failed_entry_is_known_by_its_place_or_as_equal() -> None:
    """Copies stand for what they equal, in another order, too; equal ones stand for one place each."""
    sink = MemorySink()
    execute(Job(captures=MIXED), sink=sink)
    one, two, three = sink.entries[:3]
    entries = (one, two, one._replace(), three, one)
    batch = Batch(entries, 5)
    told = (fails(three._replace(), "c"), fails(one._replace(), "a", 1), fails(entries[2], "b"))
    _, failures = checked(batch, Outcome(2, told), sink)
    assert {place: failed.code for place, failed in failures.items()} == {0: "a", 2: "b", 3: "c"}
    assert all(failed.entry is entries[place] for place, failed in failures.items())
    assert failures[0].retryable is True
    _, both = checked(batch, Outcome(3, (fails(one, "x"), fails(one, "y"))), sink)
    assert {place: failed.code for place, failed in both.items()} == {0: "x", 4: "y"}


@pytest.mark.parametrize("concurrency", [1, 3])
def test_a_copied_failure_counts_and_the_checkpoint_is_right(concurrency: int, tmp_path: Path) -> None:
    """A sink that gives back equal copies of what failed is a good sink: the sums hold, and what failed comes again."""
    job = Job(captures=MIXED, checkpoint=str(tmp_path / "c"))
    sink = Own(
        lambda batch: Outcome(len(batch.entries) - 2, tuple(fails(entry._replace()) for entry in batch.entries[:2])),
        concurrency=concurrency,
    )
    report = execute(job, sink=sink)
    assert (report.sent, report.refused, report.status()) == (DATAGRAMS - 6, {"no": 6}, ExitStatus.INCOMPLETE)
    assert execute(job, sink=MemorySink()).sent == 6


@pytest.mark.parametrize("concurrency", [1, 3])
def test_what_a_bad_sink_had_is_kept_in_the_spool(concurrency: int, tmp_path: Path) -> None:
    """With a spool nothing is lost, and nothing is sent to that sink again."""
    sink = Own(lambda batch: Outcome(1), concurrency=concurrency)
    with pytest.raises(BadSink) as caught:
        execute(Job(captures=MIXED, spool=str(tmp_path / "s")), sink=sink)
    report = caught.value.report
    assert report is not None
    assert (report.sent, report.spooled, report.refused) == (0, DATAGRAMS, {})
    assert len(sink.batches) <= 3
    again = MemorySink()
    with Spool(tmp_path / "s") as spool:
        assert len(spool) == DATAGRAMS
    assert resend(str(tmp_path / "s"), Job().bus, sink=again).sent == DATAGRAMS
    with pytest.raises(BadSink) as caught:
        execute(Job(captures=MIXED, spool=str(tmp_path / "t")), sink=Own(lambda batch: Outcome(1)))
    with pytest.raises(BadSink) as caught:
        resend(str(tmp_path / "t"), Job().bus, sink=Own(lambda batch: Outcome(1)))
    assert caught.value.report is not None
    assert caught.value.report.spooled == DATAGRAMS


class Odd(Exception):
    """Something a sink raises that is no SinkDown."""


@pytest.mark.parametrize("concurrency", [1, 3])
@pytest.mark.parametrize("spooled", [False, True])
def test_a_stray_exception_of_a_sink_carries_the_report(concurrency: int, spooled: bool, tmp_path: Path) -> None:
    """It comes out as it is, once everything is counted or kept."""
    calls = []

    def answer(batch: Batch) -> Outcome:
        calls.append(batch)
        if len(calls) == 2:
            raise Odd("something broke")
        return Outcome(len(batch.entries))

    sink = Own(answer, concurrency=concurrency)
    job = Job(captures=MIXED, spool=str(tmp_path / "s") if spooled else None)
    with pytest.raises(Odd, match="something broke") as caught:
        execute(job, sink=sink)
    report: Report = caught.value.report  # type: ignore[attr-defined]
    assert report.adds_up()
    assert report.sent + report.spooled + report.refused["Odd"] == DATAGRAMS
    assert report.status() != ExitStatus.OK
    assert (report.spooled > 0) == spooled
    assert sink.closed == 0


def test_ctrl_c_in_a_sink_carries_the_report(tmp_path: Path) -> None:
    """KeyboardInterrupt comes out at once or within the grace, and every datagram that was read is in the report."""

    def answer(batch: Batch) -> Outcome:
        if len(sink.batches) == 2:
            raise KeyboardInterrupt
        return Outcome(len(batch.entries))

    sink = Own(answer)
    with pytest.raises(KeyboardInterrupt) as caught:
        execute(Job(captures=MIXED), sink=sink)
    report: Report = caught.value.report  # type: ignore[attr-defined]
    assert report.adds_up()
    assert report.interrupted
    assert report.refused["interrupted"] == 5
    assert report.status() == ExitStatus.INTERRUPTED


def test_ctrl_c_does_not_wait_longer_than_the_grace() -> None:
    """What is left is tried for the grace, by the clock, although its patience is longer."""
    clock = FakeClock()

    def answer(batch: Batch) -> Outcome:
        if len(sink.batches) == 2:
            raise KeyboardInterrupt
        return Outcome(0, tuple(fails(entry, "InternalFailure", True) for entry in batch.entries))

    sink = Own(answer)
    start = clock.now_ns
    with pytest.raises(KeyboardInterrupt) as caught:
        execute(Job(captures=MIXED, grace_s=3), sink=sink, clock=clock, sleep=clock.sleep)
    assert clock.now_ns - start < 4e9
    assert caught.value.report.adds_up()  # type: ignore[attr-defined]


class Watching:
    """A watcher that raises at one of its calls."""

    def __init__(self, at: str, error: BaseException) -> None:
        self.at, self.error, self.calls = at, error, 0

    def _maybe(self, name: str) -> None:
        self.calls += 1
        if name == self.at:
            raise self.error

    def note(self, sentence: str) -> None:
        self._maybe("note")

    def say(self, sentence: str) -> None:
        self._maybe("say")

    def tick(self, report: Report, reading: Report, position: int, size: int | None) -> None:
        self._maybe("tick")


@pytest.mark.parametrize("error", [Odd("seen"), KeyboardInterrupt()])
@pytest.mark.parametrize("at", ["note", "tick"])
def test_a_watcher_that_raises_ends_the_run_in_order(at: str, error: BaseException, tmp_path: Path) -> None:
    """What it raised comes out with a report in which everything is accounted for; it is not called again."""
    observer = Watching(at, error)
    sink = MemorySink(["InternalFailure"] * 3)
    sink.notes = ["a note"]  # type: ignore[attr-defined]
    with pytest.raises(type(error)) as caught:
        execute(Job(captures=MIXED), sink=sink, observer=observer)
    assert caught.value.report.adds_up()  # type: ignore[attr-defined]
    assert caught.value.report.status() != ExitStatus.OK  # type: ignore[attr-defined]


def test_who_passes_a_sink_closes_it() -> None:
    """It may be used for several runs; a run closes only what it has opened itself."""
    sink = MemorySink()
    job = Job(captures=MIXED, shape=Shape("minimal"))
    execute(job, sink=sink)
    execute(job, sink=sink)
    assert not sink.closed
    assert len(sink.entries) == 2 * DATAGRAMS


def test_a_report_that_does_not_add_up_is_never_a_success() -> None:
    """Whatever it says besides."""
    assert Report(frames=2, datagrams=2, sent=2).status() == ExitStatus.OK
    for wrong in (Report(frames=2, datagrams=2, sent=1), Report(frames=2, datagrams=2, sent=3), Report(frames=1)):
        assert wrong.status() == ExitStatus.INCOMPLETE


@pytest.mark.parametrize("concurrency", [1, 3])
@pytest.mark.parametrize("live", [False, True])
def test_a_final_refusal_is_never_tried_again(concurrency: int, live: bool, tmp_path: Path) -> None:
    """However patient a delivery is: after a final SinkDown nothing is sent, and all is kept."""
    from pcapeda.delivery.delivery import Delivery
    from pcapeda.delivery.options import DeliveryOptions, RunHooks
    from tests.test_delivery import entry

    clock, gate = FakeClock(), threading.Event()

    def answer(batch: Batch) -> Outcome:
        gate.wait(10)
        raise SinkDown("the certificate is for another name", code="BadCertificate", final=True)

    sink, report = Own(answer, concurrency=concurrency), Report()
    gate.set()
    with Spool(tmp_path) as spool:
        spool.put([entry(1000)])
        delivery = Delivery(
            sink,
            report,
            spool=spool,
            options=DeliveryOptions(live=live),
            hooks=RunHooks(clock=clock, sleep=clock.sleep),
        )
        for number in range(200):
            report.frames += 1
            report.datagrams += 1
            delivery.add(entry(number))
            clock.sleep(1)
            delivery.tick()
        assert delivery.over
        delivery.finish()
        assert len(sink.batches) <= concurrency
        assert (report.sent, report.spooled, len(spool)) == (0, 201, 201)
        assert report.adds_up()


def test_the_checkpoint_forgets_what_a_bad_sink_had(tmp_path: Path) -> None:
    """Not a byte more than the format's line is in it."""
    with pytest.raises(BadSink):
        execute(Job(captures=MIXED, checkpoint=str(tmp_path / "c")), sink=Own(lambda batch: Outcome(0)))
    assert (tmp_path / "c").read_bytes() == b"pcapeda checkpoint 2\n"
    Checkpoint(tmp_path / "c").close()


def test_a_run_has_the_patience_it_is_told_to_have() -> None:
    """A replay whose sink answers nothing ends when that is over, as unavailable; what is left is refused."""
    clock = FakeClock()
    start = clock.now_ns
    sink = MemorySink(lambda entry: "InternalFailure")
    report = execute(Job(captures=MIXED, patience_s=40), sink=sink, clock=clock, sleep=clock.sleep)
    assert 40e9 <= clock.now_ns - start < 62e9
    assert report.refused.total() == DATAGRAMS
    assert report.status() in (ExitStatus.INCOMPLETE, ExitStatus.UNAVAILABLE)
    assert report.adds_up()
