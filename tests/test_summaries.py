"""Summaries within a run: they add up, keep to the limits, repeat themselves in a replay, and tell of themselves."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcapeda.delivery.delivery import Delivery
from pcapeda.delivery.options import RunHooks
from pcapeda.engine.build import make_limits
from pcapeda.engine.job import Job
from pcapeda.engine.run import execute
from pcapeda.engine.summaries import PeriodicReport, SummaryQueue
from pcapeda.errors import BadConfig, ExitStatus
from pcapeda.events.flows import FlowTable, SummaryEvent
from pcapeda.events.groups import Grouper
from pcapeda.events.schema import schema
from pcapeda.events.shape import Shape
from pcapeda.limits.limits import Bounds, Limits
from pcapeda.model import BatchLimits, Entry, Frame
from pcapeda.report import Report
from pcapeda.rules.pattern import Pattern
from pcapeda.sinks.memory import MemorySink
from tests.clock import FakeClock
from tests.command import FAKE_AWS, FIXTURES, pcapeda
from tests.datagrams import EXAMPLE
from tests.frames import frame
from tests.put_events_server import put_events_server
from tests.test_delivery import Scripted
from tests.test_run import walk

SECOND = 1_000_000_000
MIXED = FIXTURES / "mixed.pcap"


def scattered(count: int, *, every_ns: int = 0, sources: int = 200) -> Iterator[Frame]:
    """So many datagrams of so many sources in turn."""
    for number in range(count):
        source = f"10.0.{number % sources >> 8}.{number % sources & 255}"
        yield frame(number=number + 1, time_ns=10**18 + number * every_ns, source=source)


def take_all(_entry: Entry, _tries: int) -> None:
    """A bus that takes everything."""


def events(sink: Scripted) -> list[Entry]:
    return [entry for batch in sink.batches for entry in batch.entries]


def test_flows_instead_of_packets() -> None:
    """A thousand datagrams of 200 sources are 200 events, and the report counts both."""
    report, sink, _ = walk(scattered(1000), job=Job(captures=("-",), aggregate_s=60))
    assert (report.sent, report.events, len(events(sink))) == (1000, 200, 200)
    assert report.chunks == 200
    assert report.status() is ExitStatus.OK


def test_groups_instead_of_packets() -> None:
    """A thousand datagrams to one port by fifty are 20 events with every payload."""
    report, sink, _ = walk(scattered(1000), job=Job(captures=("-",), group=50), sink=Roomy(take_all))
    assert (report.sent, report.events) == (1000, 20)
    assert sum(json.loads(entry.detail)["Count"] for entry in events(sink)) == 1000


def test_a_replay_s_summaries_wait_for_the_rate() -> None:
    """200 summaries at ten a second take 19 seconds; not one is refused."""
    report, _, clock = walk(scattered(1000), job=Job(captures=("-",), aggregate_s=60, max_rate=10))
    assert report.sent == 1000
    assert sum(clock.slept) == pytest.approx(19, abs=0.2)


class Roomy(Scripted):
    """Takes events up to the size of a real request's."""

    limits = BatchLimits(max_entries=10, max_bytes=1_000_000, max_age_ns=SECOND)


class Ticking:
    """Frames of a live run at their own pace: the clock moves to each one's time, with ticks between and after."""

    def __init__(self, frames: Iterator[Frame], clock: FakeClock, *, silence_s: float = 0) -> None:
        self.frames, self.clock, self.silence_s = frames, clock, silence_s

    def __iter__(self) -> Iterator[Frame | None]:
        start = self.clock.now_ns
        for one in self.frames:
            assert one.time_ns is not None
            while self.clock.now_ns - start < one.time_ns - 10**18:
                self.clock.now_ns += SECOND // 10
                yield None
            yield one
        for _ in range(int(self.silence_s * 10)):
            self.clock.now_ns += SECOND // 10
            yield None


def test_live_summaries_are_held_back_until_the_rate_admits_them() -> None:
    """200 flows end at once: a hundred go as the burst, the rest at 50 a second, and all within the default limits."""
    clock = FakeClock()
    moments: list[int] = []
    sink = Roomy(lambda entry, tries: moments.append(clock.now_ns))
    start = clock.now_ns
    job = Job(interfaces=("eth0",), aggregate_s=2, max_rate_per_source=0)
    source = Ticking(scattered(400, every_ns=SECOND // 400), clock, silence_s=10)
    report, _, _ = walk(source, job=job, live=True, sink=sink, clock=clock)
    assert (report.sent, report.events, report.refused) == (400, 200, {})
    for seconds in range(1, 10):
        assert sum(moment - start <= seconds * SECOND for moment in moments) <= 100 + 50 * seconds
    assert max(moments) - start < 6 * SECOND


def test_a_live_flood_of_flows_is_refused_by_name_and_adds_up() -> None:
    """More flows than the rate can ever send: what is not held back is counted in datagrams, at bounded memory."""
    clock = FakeClock()
    job = Job(interfaces=("eth0",), aggregate_s=1, max_rate=10, max_flows=50, max_rate_per_source=0)
    source = Ticking(scattered(20_000, every_ns=SECOND // 1000, sources=4000), clock)
    report, _, _ = walk(source, job=job, live=True, clock=clock)
    assert report.events <= 10 + 10 * 20 + (50 + 256 + 1)  # at its end the run waits for the rate
    assert report.refused["rate limit"] > 0
    assert report.turned_away


def test_one_source_s_flows_keep_to_its_rate() -> None:
    """Who talks to a thousand ports makes a thousand flows; five a second of a minute are sent, another goes free."""
    frames = [frame(number=n + 1, dport=n + 1) for n in range(1000)] + [frame(number=1001, source="10.0.0.1")]
    report, _, _ = walk(iter(frames), job=Job(captures=("-",), aggregate_s=60, max_rate_per_source=5, max_flows=5000))
    assert (report.sent, report.refused) == (301, {"rate limit per source": 700})
    assert report.turned_away == {("rate limit per source", "198.51.100.7"): 700}


def test_groups_keep_to_the_rate_per_source_before_they_are_made() -> None:
    """A loud source's datagrams are refused one by one; what is admitted travels together."""
    job = Job(captures=("-",), group=50, max_rate_per_source=5)
    report, _, _ = walk(scattered(100, sources=2), job=job, sink=Roomy(take_all))
    assert (report.sent, report.events) == (10, 1)


def test_budgets_count_summaries() -> None:
    """Two events are paid for; every datagram of the others is refused by name."""
    job = Job(captures=("-",), group=10, max_events=2)
    report, _, _ = walk(scattered(95), job=job, sink=Roomy(take_all))
    assert (report.sent, report.events) == (20, 2)
    assert report.refused == {"budget": 10}
    assert len(report.failures) == 1


def test_a_pipe_that_falls_silent_is_not_waited_for() -> None:
    """A replay's group goes once nothing has come for as long as it may wait."""
    clock = FakeClock()
    sent_at: list[int] = []

    def frames() -> Iterator[Frame | None]:
        yield frame()
        for _ in range(100):
            clock.now_ns += SECOND // 10
            yield None

    start = clock.now_ns
    sink = Scripted(lambda entry, tries: sent_at.append(clock.now_ns))
    walk(frames(), job=Job(captures=("-",), group=10, group_wait_s=2), sink=sink, clock=clock)
    assert 2 * SECOND <= sent_at[0] - start < 4 * SECOND


@settings(max_examples=50, deadline=None)
@given(
    st.sampled_from([{"aggregate_s": 1.0}, {"group": 7, "group_wait_s": 0.5}, {"aggregate_s": 1.0, "max_flows": 3}]),
    st.sampled_from([{}, {"max_rate": 3.0}, {"max_rate_per_source": 1.0}, {"max_events": 4}, {"sample": 2}]),
    st.booleans(),
    st.integers(0, 60),
    st.sampled_from([None, "final", "down"]),
)
def test_it_adds_up_whatever_is_asked_and_wherever_it_stops(
    kind: dict, limit: dict, live: bool, stop_after: int, answer: str | None
) -> None:
    """Summaries, limits, interrupts and a bus that fails: the run asserts that nothing is lost in silence."""
    stop = Event()

    def frames() -> Iterator[Frame | None]:
        for number, one in enumerate(scattered(50, every_ns=SECOND // 8, sources=9)):
            if number == stop_after:
                stop.set()
                if live:
                    return
            yield one
            yield None

    where = {"interfaces": ("eth0",)} if live else {"captures": ("-",)}
    walk(frames(), job=Job(**where, **kind, **limit), live=live, stop=stop, sink=Scripted(lambda entry, tries: answer))


@pytest.mark.parametrize(
    "options",
    [
        ("--aggregate", "1"),
        ("--aggregate", "1", "--max-flows", "2"),
        ("--group", "3"),
        ("--group", "3", "--text", "--group-wait", "0.2"),
        ("--max-rate-per-source", "1"),
        ("--sample", "1/2"),
    ],
)
def test_the_same_file_gives_the_same_bytes(options: tuple[str, ...]) -> None:
    """Windows, groups, rates per source and samples go by the capture: two replays print the same."""
    first, second = (pcapeda("replay", MIXED, "-n", *options) for _ in range(2))
    assert first.stdout
    assert first.stdout == second.stdout
    assert first.returncode == second.returncode


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"aggregate_s": 60, "group": 10}, "give one of them"),
        ({"aggregate_s": 0}, "Job.aggregate_s"),
        ({"aggregate_s": float("nan")}, "Job.aggregate_s"),
        ({"group": 0}, "Job.group"),
        ({"group_wait_s": float("inf")}, "Job.group_wait_s"),
        ({"report_events_s": 0.5}, "Job.report_events_s"),
        ({"aggregate_s": 60, "max_flows": 0}, "Job.max_flows"),
        ({"group": 10, "shape": Shape("minimal")}, "Job.shape minimal"),
        ({"aggregate_s": 10, "shape": Shape(text=True)}, "Job.shape.text"),
    ],
)
def test_what_cannot_be_honoured_is_refused(asked: dict, words: str) -> None:
    with pytest.raises(BadConfig, match=words):
        Job(captures=("a",), **asked).check()


def test_reports_tell_what_happened_since_the_one_before() -> None:
    """Counts and rates by hand, every second by the clock; then nothing new is nothing."""
    clock = FakeClock()
    limits = Limits(Bounds(price=2.0, deny=("10.0.0.0/8",)), live=True, costs_money=True)
    reporter = PeriodicReport(Shape(source="mine"), 2 * SECOND, limits, clock=clock, wall=lambda: 10**18)
    assert reporter.due(Report(), Report()) is None
    clock.now_ns += 2 * SECOND
    for _ in range(3):
        reporter.hear(EXAMPLE)
    limits.leave_out(EXAMPLE._replace(source="10.1.2.3"))
    report = Report(
        sent=100,
        events=10,
        chunks=10,
        spooled=4,
        refused=Counter({"rate limit": 3}),
        limited=Counter({"rate limit": 2}),
        unselected=Counter(denied=1),
    )
    reading = Report(frames=110, datagrams=106, kernel_drops=7, queue_drops=2)
    entry = reporter.due(report, reading)
    assert entry is not None
    event = entry.envelope()
    jsonschema.validate(event, schema("report"))
    assert (event["source"], event["detail-type"], entry.datagram_count) == ("mine", "UdpReport", 0)
    assert event["detail"] == {
        "Number": 1,
        "At": "2001-09-09T01:46:40.000000000Z",
        "Seconds": 2,
        "Frames": 110,
        "Segments": 0,
        "Datagrams": 106,
        "DatagramsPerSecond": 53,
        "Delivered": 100,
        "Events": 10,
        "EventsPerSecond": 5,
        "Billed": 10,
        "Spooled": 4,
        "Refused": [{"Reason": "rate limit", "Count": 5}],
        "LeftOut": [{"Reason": "denied", "Count": 1}],
        "KernelDrops": 7,
        "QueueDrops": 2,
        "RunUsd": 0.00002,
        "TopSources": [{"Source": "198.51.100.7", "Count": 3}],
        "TurnedAway": [{"Reason": "denied", "Source": "10.1.2.3", "Count": 1}],
    }
    assert reporter.due(report, reading) is None
    clock.now_ns += 2 * SECOND
    again = reporter.due(report, reading)
    assert again is not None
    detail = json.loads(again.detail)
    assert (detail["Number"], detail["Frames"], detail["Delivered"], detail["Refused"]) == (2, 0, 0, [])
    assert again.id != entry.id


def test_a_run_ends_with_a_report_on_itself() -> None:
    """However short: the last event is a UdpReport, which is no datagram, and the count still adds up."""
    sink = MemorySink()
    report = execute(Job(captures=(str(MIXED),), report_events_s=60), sink=sink)
    last = sink.entries[-1].envelope()
    assert last["detail-type"] == "UdpReport"
    assert last["detail"]["Datagrams"] == report.datagrams == report.sent
    assert report.events == report.sent + 1
    assert report.adds_up()
    assert report.status() is ExitStatus.OK


def test_a_budget_that_is_used_up_is_said() -> None:
    """At once and on stderr, quiet or not, in a bus run as in a dry run; the exit code is 1."""
    with put_events_server() as bus:
        for options in (("-n",), ("--endpoint-url", bus.url)):
            for quiet in ((), ("-q",)):
                done = pcapeda("replay", MIXED, "--max-events", "3", *options, *quiet, env=FAKE_AWS)
                assert done.returncode == 1
                assert b"reached --max-events 3: stopped reading" in done.stderr
        done = pcapeda("replay", MIXED, "--max-cost", "0.000002", "--endpoint-url", bus.url, env=FAKE_AWS)
        assert (done.returncode, len(bus.requests[-1]["Entries"])) == (1, 2)
        assert b"reached --max-cost 0.000002 USD: stopped reading" in done.stderr


def test_a_report_never_breaks_a_budget() -> None:
    """With every event spent there is none for the report; that is counted, and the exit code says so."""
    sink = MemorySink()
    report = execute(Job(captures=(str(MIXED),), report_events_s=60, max_events=13), sink=sink)
    assert (report.events, report.sent, report.events_refused) == (13, 13, 1)
    assert report.status() is ExitStatus.INCOMPLETE


RULES = {
    "article": {"source": ["udp.raw"], "detail": {"Destination": {"Port": [514]}}},
    "loud": {"detail-type": ["UdpFlow"], "detail": {"Count": [{"numeric": [">", 100]}]}},
    "network": {"detail": {"Source": {"IpAddress": [{"cidr": "198.51.100.0/24"}]}}},
    "packet": {"detail": {"Packets": {"Source": {"IpAddress": [{"cidr": "198.51.100.0/24"}]}}}},
    "rest": {"detail": {"Rest": [True]}},
    "trouble": {"detail-type": ["UdpReport"], "detail": {"KernelDrops": [{"numeric": [">", 0]}]}},
}


def test_rules_can_be_tested_on_summaries() -> None:
    """The article's rule selects flows and groups; others see counts, networks and reports."""
    patterns = {name: Pattern.compile(rule) for name, rule in RULES.items()}

    def matching(entry: Entry) -> set[str]:
        return {name for name, pattern in patterns.items() if pattern.matches(entry.envelope())}

    flows = FlowTable(Shape(), 60 * SECOND, max_flows=1, aligned=True)
    for number in range(101):
        flows.add(EXAMPLE, number)
    flows.add(EXAMPLE._replace(source="203.0.113.1"), 0)
    (flow, *_), (rest, *_) = flows.finish()
    assert matching(flow) == {"article", "loud", "network"}
    assert matching(rest) == {"article", "rest"}
    ((group, *_),) = Grouper(Shape(), 1, SECOND).add(EXAMPLE, 0)
    assert matching(group) == {"article", "packet"}
    limits = Limits(Bounds(), live=True, costs_money=True)
    reporter = PeriodicReport(Shape(), SECOND, limits, clock=FakeClock())
    assert matching(reporter.make(Report(), Report(kernel_drops=1))) == {"trouble"}


def test_rules_choose_among_summaries(tmp_path: Path) -> None:
    """--only-matching emits the flows a rule selects; the datagrams of the others are left out by name."""
    rules = tmp_path / "rules.json"
    rules.write_text(json.dumps({"detail-type": ["UdpFlow"], "detail": {"Count": [{"numeric": [">", 1]}]}}))
    sink = MemorySink()
    report = execute(Job(captures=(str(MIXED),), aggregate_s=60, rules=(str(rules),), only_matching=True), sink=sink)
    assert [entry.datagram_count > 1 and len(entry.rules) for entry in sink.entries] == [1] * len(sink.entries)
    assert len(sink.entries) > 0
    assert report.unselected["no rule"] == report.datagrams - report.sent > 0
    assert report.adds_up()


def test_summaries_that_wait_for_the_rate_have_so_much_room() -> None:
    """Live, as many are held back as there is room for; beyond that the oldest are refused, and the newest go later."""
    job = Job(interfaces=("lo",), max_rate=1, burst=1, aggregate_s=1)
    clock, report, sink = FakeClock(), Report(), MemorySink()
    delivery = Delivery(sink, report, hooks=RunHooks(clock=clock, sleep=clock.sleep))
    outbox = SummaryQueue(
        delivery,
        make_limits(job, costs_money=False),
        report,
        clock=clock,
        wait_for_rate=lambda: True,
        judged=lambda entry: entry,
        note=lambda sentence: None,
        room=3,
    )
    told = [SummaryEvent(Entry("s", "t", "{}", None, (), 1, f"{number:032x}"), None) for number in range(10)]
    outbox.tell(told, 0)
    assert report.refused == {"rate limit": 6}  # one went at once, three wait
    for _ in range(3):
        clock.sleep(1)
        outbox.release()
    delivery.finish()
    assert [int(entry.id, 16) for entry in sink.entries] == [0, 7, 8, 9]
