"""The walk from frames to a sink: what is selected, what is refused, what waits, and that it always adds up."""

import io
import json
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from threading import Event

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcapeda.aws.bus import Bus
from pcapeda.aws.wire import EventLines
from pcapeda.capture.writer import CaptureWriter
from pcapeda.delivery.delivery import Delivery
from pcapeda.delivery.options import RunHooks
from pcapeda.dissect.extractor import Extractor
from pcapeda.engine.build import forecast, make_limits, names_in_dns, rate_in_force
from pcapeda.engine.job import Job
from pcapeda.engine.loop import SILENT, RunContext, run
from pcapeda.engine.replay_clock import ReplayClock
from pcapeda.engine.run import execute
from pcapeda.errors import BadConfig, ExitStatus, SinkDown
from pcapeda.events.shape import Shape
from pcapeda.model import Entry, Frame
from pcapeda.report import Report
from pcapeda.sinks.jsonl import JsonlSink
from pcapeda.sinks.memory import MemorySink
from tests.clock import FakeClock
from tests.command import FIXTURES
from tests.datagrams import EXAMPLE
from tests.frames import ARP, frame
from tests.test_delivery import Scripted


def walk(
    frames: Iterable[Frame | None],
    *,
    job: Job | None = None,
    live: bool = False,
    replay_clock: ReplayClock | None = None,
    sink: Scripted | None = None,
    stop: Event | None = None,
    clock: FakeClock | None = None,
) -> tuple[Report, Scripted, FakeClock]:
    """One run over frames made by hand, with a clock that only moves when someone sleeps."""
    job = job or Job(captures=("-",))
    clock = clock or FakeClock()
    sink = sink or Scripted(lambda entry, tries: None)
    report = Report()
    delivery = Delivery(sink, report, hooks=RunHooks(clock=clock, sleep=clock.sleep, jitter=lambda: 0.5))
    context = RunContext(
        job,
        delivery,
        make_limits(job, costs_money=sink.costs_money),
        report,
        SILENT,
        stop or Event(),
        clock,
        clock.sleep,
        names_in_dns(["events.example.com"]),
        left=job.count,
    )
    reading = Report()
    extractor = Extractor(reading)
    blocks = (None if frame is None else [frame] for frame in frames)
    run(blocks, context, extractor=extractor, shape=Shape(), replay_clock=replay_clock, live=live)
    extractor.finish()
    report.merge(reading)
    context.end()
    delivery.finish()
    assert report.adds_up()
    return report, sink, clock


def numbered(count: int, gap_ns: int = 0) -> Iterator[Frame]:
    for number in range(1, count + 1):
        yield frame(number=number, time_ns=10**18 + number * gap_ns)


def test_every_datagram_becomes_an_event_and_the_rest_is_counted() -> None:
    """Frames in, events out, in order; what is no datagram is a skip."""
    report, sink, _ = walk([frame(number=1), None, ARP, frame(number=3)])
    assert len(sink.taken) == 2
    assert (report.frames, report.datagrams, sum(report.skips.values()), report.sent) == (3, 2, 1, 2)
    assert report.status() is ExitStatus.OK


def test_ports_select_either_end() -> None:
    """--port lets through what comes from or goes to one of the ports, as tcpdump's `port` does."""
    frames = [frame(dport=514), frame(sport=514, dport=9), frame(dport=53), frame(sport=9, dport=9)]
    report, sink, _ = walk(frames, job=Job(captures=("-",), ports=frozenset({514, 53})))
    assert len(sink.taken) == 3
    assert report.unselected == {"other ports": 1}
    assert report.status() is ExitStatus.OK


def test_a_count_ends_the_run_where_it_is_reached() -> None:
    """-c 3 reads no frame more than it needs."""
    frames = numbered(100)
    report, sink, _ = walk(frames, job=Job(captures=("-",), count=3))
    assert len(sink.taken) == 3
    assert next(frames).number == 4
    assert report.status() is ExitStatus.OK


@pytest.mark.parametrize("count", [1, 255, 256, 257, 300, 599, 600, 601])
def test_a_count_is_reached_to_the_frame_across_captures(count: int, tmp_path: Path) -> None:
    """-c N of captures that are read in blocks: N datagrams of N frames, whichever capture the last one is in."""
    for name in ("a.pcap", "b.pcap"):
        with CaptureWriter(str(tmp_path / name)) as writer:
            for one in numbered(300):
                writer.write(one)
    sink = MemorySink()
    report = execute(Job(captures=(str(tmp_path),), count=count), sink=sink)
    assert len(sink.entries) == report.frames == min(count, 600)


def test_lines_keep_their_order_when_a_count_changes_the_way(tmp_path: Path) -> None:
    """Entries that wait for their batch, since the count might have ended in their block, go before later lines."""
    first = [*numbered(10), *[ARP] * 290]
    for name, frames in {"a.pcap": first, "b.pcap": numbered(100)}.items():
        with CaptureWriter(str(tmp_path / name)) as writer:
            for one in frames:
                writer.write(one)
    text = io.StringIO()
    execute(Job(captures=(str(tmp_path),), count=256), sink=JsonlSink(text, EventLines()))
    told = [json.loads(line)["detail"]["Capture"] for line in text.getvalue().splitlines()]
    assert [(one["File"], one["Frame"]) for one in told] == [
        *(("a.pcap", number) for number in range(1, 11)),
        *(("b.pcap", number) for number in range(1, 101)),
    ]


@pytest.mark.parametrize("only", [False, True])
@pytest.mark.parametrize("count", [None, 100, 260])
def test_rules_are_asked_in_blocks_as_they_are_one_by_one(only: bool, count: int | None, tmp_path: Path) -> None:
    """A rate that never makes anything wait makes a run go datagram by datagram: the same events, the same counts."""
    path, rules = tmp_path / "a.pcap", tmp_path / "odd.json"
    with CaptureWriter(str(path)) as writer:
        for number in range(600):
            writer.write(frame(b"%d" % number, number=number + 1, dport=514 + number % 2))
    rules.write_text('{"detail": {"Destination": {"Port": [515]}}}')
    results = []
    for rate in (None, 10**9):
        sink = MemorySink()
        job = Job(captures=(str(path),), rules=(str(rules),), only_matching=only, count=count, max_rate=rate)
        report = execute(job, sink=sink)
        results.append((sink.entries, report.sent, report.unselected, report.frames))
    assert results[0] == results[1]
    named = [entry.rules for entry in results[0][0]]
    assert len(named) == min(count or 600, 300 if only else 600)
    assert set(named) == ({("odd",)} if only else {("odd",), ()})


def test_a_replay_waits_for_its_rate() -> None:
    """--max-rate 10 with a burst of 10: 101 events take 9.1 seconds, and none is refused."""
    report, _, clock = walk(numbered(101), job=Job(captures=("-",), max_rate=10))
    assert report.sent == 101
    assert sum(clock.slept) == pytest.approx(9.1)


def test_a_live_run_refuses_what_exceeds_its_rate() -> None:
    """Live, nobody can wait: what is over the limit is refused by name, and the exit code says so."""
    job = Job(interfaces=("eth0",), max_rate=10, burst=5, max_rate_per_source=0)
    report, _, clock = walk(numbered(101), job=job, live=True)
    assert report.sent == 5
    assert report.refused == {"rate limit": 96}
    assert clock.slept == []
    assert report.status() is ExitStatus.INCOMPLETE


def test_a_live_run_to_a_bus_is_limited_by_default_and_a_dry_run_is_not() -> None:
    """50 a second, 10 of one source, where it costs money; 0 lifts either; nothing for a sink that is free."""
    report, _, _ = walk(numbered(200), job=Job(interfaces=("eth0",)), live=True)
    assert report.sent == 50
    assert report.refused == {"rate limit per source": 150}
    report, _, _ = walk(numbered(200), job=Job(interfaces=("eth0",), max_rate_per_source=0), live=True)
    assert report.sent == 100
    report, _, _ = walk(numbered(200), job=Job(interfaces=("eth0",), max_rate=0), live=True)
    assert report.sent == 200
    free = Scripted(lambda entry, tries: None)
    free.costs_money = False
    report, _, _ = walk(numbered(200), job=Job(interfaces=("eth0",)), live=True, sink=free)
    assert report.sent == 200


@pytest.mark.parametrize(
    ("limits", "words"), [({"max_events": 7}, "--max-events 7"), ({"max_cost": 7e-6}, "0.000007 USD")]
)
def test_a_budget_stops_before_it_is_exceeded(limits: dict[str, float], words: str) -> None:
    """Seven events fit; the eighth is refused, the run ends and says which budget it was."""
    frames = numbered(100)
    report, sink, _ = walk(frames, job=Job(captures=("-",), **limits))  # type: ignore[arg-type]
    assert len(sink.taken) == 7
    assert report.refused == {"budget": 1}
    assert next(frames).number == 9
    assert words in report.failures[0]
    assert report.status() is ExitStatus.INCOMPLETE


def test_a_budget_that_is_just_enough_is_no_failure() -> None:
    """Exactly as many events as the budget holds end well."""
    report, _, _ = walk(numbered(7), job=Job(captures=("-",), max_events=7))
    assert report.status() is ExitStatus.OK


def test_captured_gaps_are_kept_and_batches_go_meanwhile() -> None:
    """With --speed 1 a packet is sent when its batch is a second old, not when the capture ends."""
    clock = FakeClock()
    moments: list[tuple[int, int]] = []

    def answer(entry: Entry, tries: int) -> None:
        assert entry.datagram is not None
        moments.append((entry.datagram.number, clock.now_ns))

    start = clock.now_ns
    walk(numbered(3, gap_ns=10 * 10**9), replay_clock=ReplayClock(speed=1), sink=Scripted(answer), clock=clock)
    sent = {number: (moment - start) / 1e9 for number, moment in moments}
    assert sent[1] == pytest.approx(1.0, abs=0.11)
    assert sent[2] == pytest.approx(11.0, abs=0.11)
    assert sent[3] == pytest.approx(20.0, abs=0.11)


def test_a_stop_ends_a_replay_at_once_and_delivers_what_was_read() -> None:
    """After the stop no further frame is read; the incomplete batch still goes."""
    stop = Event()

    def frames() -> Iterator[Frame]:
        yield from numbered(5)
        stop.set()
        yield from numbered(95)

    report, sink, _ = walk(frames(), stop=stop)
    assert len(sink.taken) == 5
    assert report.frames == 5


def test_a_stop_does_not_wait_for_the_next_packet_s_time() -> None:
    """An interrupt during a long silence of the capture ends the run, not the silence."""
    stop, clock = Event(), FakeClock()

    class Interrupting(FakeClock):
        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            if self.now_ns > clock.now_ns + 10**9:
                stop.set()

    impatient = Interrupting()
    report, _, _ = walk(numbered(2, gap_ns=3600 * 10**9), replay_clock=ReplayClock(speed=1), stop=stop, clock=impatient)
    assert impatient.now_ns < clock.now_ns + 60 * 10**9
    assert report.datagrams == report.sent + report.refused.total()


def test_a_sink_that_goes_down_ends_the_run() -> None:
    """No frame is read once the bus has refused for good; the report says why."""
    frames = numbered(100_000)
    report, _, _ = walk(frames, sink=Scripted(lambda entry, tries: "down"))
    assert report.sent == 0
    assert report.frames < 100


@pytest.mark.parametrize("name", sorted(path.name for path in FIXTURES.glob("*.pcap*")))
def test_every_fixture_adds_up(name: str) -> None:
    """The law of conservation on every capture there is."""
    report = execute(Job(captures=(str(FIXTURES / name),)), sink=Scripted(lambda entry, tries: None))
    assert report.adds_up()


@given(st.lists(st.sampled_from(["ok", "final", "again"]), max_size=40), st.integers(0, 40))
def test_it_adds_up_wherever_it_is_interrupted(fates: list[str], stop_after: int) -> None:
    """Any script of answers, any moment of an interrupt."""
    stop = Event()

    def frames() -> Iterator[Frame | None]:
        for number in range(len(fates)):
            if number == stop_after:
                stop.set()
            yield frame(number=number + 1)
            yield None

    def answer(entry: Entry, tries: int) -> str | None:
        assert entry.datagram is not None
        fate = fates[entry.datagram.number - 1]
        return None if fate == "ok" or tries > 2 else fate

    walk(frames(), sink=Scripted(answer), stop=stop)


def test_a_check_that_fails_stops_everything_before_anything_is_read() -> None:
    """No credentials, no bus: the capture is not even opened, the error is the caller's."""

    class Down(Scripted):
        def check(self) -> None:
            raise SinkDown("no credentials")

    with pytest.raises(SinkDown, match="no credentials"):
        execute(Job(captures=(str(FIXTURES / "mixed.pcap"),)), sink=Down(lambda entry, tries: None))


@pytest.mark.parametrize(
    "job",
    [
        Job(),
        Job(captures=("a",), interfaces=("b",)),
        Job(captures=("-",), loop=2),
        Job(captures=("a",), speed=1, pps=1),
        Job(captures=("a",), max_sleep_s=1),
    ],
)
def test_what_cannot_be_honoured_is_refused(job: Job) -> None:
    """A job that contradicts itself raises BadConfig before anything is opened."""
    with pytest.raises(BadConfig):
        execute(job, sink=Scripted(lambda entry, tries: None))


def test_own_lookups_are_not_events() -> None:
    """A DNS question for the bus's own host is told from every other DNS datagram."""
    ours = names_in_dns(["events.us-east-1.amazonaws.com"])
    header = struct.pack("!6H", 1, 0x0100, 1, 0, 0, 0)
    question = b"\x06Events\x09us-east-1\x09amazonaws\x03com\0" + struct.pack("!HH", 1, 1)
    other = b"\x03www\x07example\x03com\0" + struct.pack("!HH", 1, 1)
    assert ours(EXAMPLE._replace(destination_port=53, payload=header + question))
    assert ours(EXAMPLE._replace(source_port=53, payload=header + question))
    assert not ours(EXAMPLE._replace(destination_port=53, payload=header + other))
    assert not ours(EXAMPLE._replace(payload=header + question))


def test_what_a_live_run_may_cost_is_said() -> None:
    """The rate in force, a day of it in USD, and how to change it."""
    assert "at most 50 events/s" in rate_in_force(Job(interfaces=("eth0",)))
    assert "4.32 USD a day" in rate_in_force(Job(interfaces=("eth0",)))
    assert "8.64 USD a day" in rate_in_force(Job(interfaces=("eth0",), max_rate=100))
    assert "no rate limit" in rate_in_force(Job(interfaces=("eth0",), max_rate=0))


def test_the_forecast_is_an_upper_bound(tmp_path: Path) -> None:
    """No capture gives more events than the size of its file allows, and limits lower the bound."""
    name = str(FIXTURES / "mixed.pcap")
    size = (FIXTURES / "mixed.pcap").stat().st_size
    assert f"at most {size // 44:,} events" in forecast(Job(captures=(name,), bus=Bus()))
    assert "at most 5 events in 1 full request, less than 0.01 USD" in forecast(Job(captures=(name,), max_events=5))
    assert "no telling" in forecast(Job(captures=(name,), loop=0))
    assert "no telling" in forecast(Job(captures=(f"{name}.gz",)))
