"""Order within groups: one event of a group is under way at a time, whatever the sink answers."""

import threading
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcapeda.aws.responses import LOST
from pcapeda.delivery.batching import MessageGroups
from pcapeda.delivery.delivery import Delivery
from pcapeda.delivery.options import DeliveryOptions, RunHooks
from pcapeda.delivery.spool import Spool
from pcapeda.errors import SinkDown
from pcapeda.events.shape import Shape
from pcapeda.model import Batch, BatchLimits, Entry, Failed, Outcome
from pcapeda.report import Report
from tests.clock import FakeClock
from tests.datagrams import EXAMPLE

LIMITS = BatchLimits(max_entries=10, max_bytes=1000, max_age_ns=1_000_000_000)
SECOND_NS = 1_000_000_000


def entry(number: int, group: str | None, size: int = 10) -> Entry:
    return Entry("udp.raw", "UdpPacket", "{}", None, (), size, f"{number:032x}", group=group)


class Fifo:
    """A sink that keeps what it takes in order, and notices two entries of one group under way."""

    limits = LIMITS
    costs_money = True
    ordered = True

    def __init__(self, answer: Callable[[Entry, int], str | None], *, concurrency: int = 1) -> None:
        self.concurrency = concurrency
        self.answer = answer
        self.tries: Counter[str] = Counter()
        self.taken: list[Entry] = []
        self.requests: list[Batch] = []
        self.violations: list[str] = []
        self._under_way: set[str] = set()
        self._lock = threading.Lock()

    def check(self) -> None: ...

    def close(self) -> None: ...

    def send(self, batch: Batch) -> Outcome:
        groups = [one.group for one in batch.entries if one.group is not None]
        with self._lock:
            self.requests.append(batch)
            if len(set(groups)) < len(groups) or self._under_way & set(groups):
                self.violations.append(f"{groups} while {self._under_way}")
            self._under_way |= set(groups)
            failed = []
            for one in batch.entries:
                code = self.answer(one, self.tries[one.id])
                self.tries[one.id] += 1
                if code is None or code == LOST:
                    self.taken.append(one)
                if code == "down":
                    self._under_way -= set(groups)
                    raise SinkDown("gone", code="AccessDenied")
                if code is not None:
                    failed.append(Failed(one, code, code != "final"))
        with self._lock:
            self._under_way -= set(groups)
        return Outcome(len(batch.entries) - len(failed), tuple(failed))


def deliver(sink: Fifo, entries: list[Entry], spool: Spool | None = None) -> Report:
    clock = FakeClock()
    report = Report(frames=len(entries), datagrams=len(entries))
    delivery = Delivery(sink, report, spool=spool, hooks=RunHooks(clock=clock, sleep=clock.sleep, jitter=lambda: 0.5))
    for one in entries:
        delivery.add(one)
    delivery.finish()
    assert report.adds_up()
    assert not sink.violations
    return report


def order_by_group(entries: list[Entry]) -> dict[str, list[int]]:
    order: dict[str, list[int]] = defaultdict(list)
    for one in entries:
        number = int(one.id, 16)
        if one.group is not None and number not in order[one.group]:  # a repeat that a bus knows again is none
            order[one.group].append(number)
    return order


ANSWERS = [None, None, None, None, "ThrottlingException", "again", "final", LOST]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from(["a", "b", "c", "d", None]), max_size=120),
    st.randoms(use_true_random=False),
    st.sampled_from([1, 2, 8]),
)
def test_order_within_groups_holds_whatever_the_sink_answers(
    groups: list[str | None], random: Random, concurrency: int
) -> None:
    """Throttled, failed, lost or final, in any mixture: what is taken of a group is taken in order, and all adds up."""
    entries = [entry(number, group) for number, group in enumerate(groups)]
    sink = Fifo(lambda one, tries: random.choice(ANSWERS), concurrency=concurrency)
    report = deliver(sink, entries)
    for numbers in order_by_group(sink.taken).values():
        assert numbers == sorted(numbers)
    assert report.sent + report.refused.total() == len(entries)


def test_a_retry_is_not_overtaken() -> None:
    """While one entry of a group waits for another try, later ones of the group wait, and other groups go on."""
    slow = entry(0, "a")
    sink = Fifo(lambda one, tries: "ThrottlingException" if one is slow and tries < 3 else None)
    report = deliver(sink, [slow, *(entry(number, "ab"[number % 2]) for number in range(1, 21))])
    order = [int(one.id, 16) for one in sink.taken]
    assert report.sent == 21
    assert order.index(1) < order.index(0), "group b did not wait"
    assert [number for number in order if number % 2 == 0] == list(range(0, 21, 2))


def test_what_is_given_up_holds_nothing_back() -> None:
    """An entry that can never be delivered, or not in ten tries, makes way for the next one of its group."""
    sink = Fifo(lambda one, tries: {0: "final", 1: "again"}.get(int(one.id, 16)))
    report = deliver(sink, [entry(number, "a") for number in range(4)])
    assert [int(one.id, 16) for one in sink.taken] == [2, 3]
    assert report.refused == {"final": 1, "again": 1}


def test_requests_are_filled_with_different_groups() -> None:
    """Many groups make few requests, one group makes one for each event; entries of no group are not held back."""
    sink = Fifo(lambda one, tries: None)
    deliver(sink, [entry(number, str(number % 10)) for number in range(100)])
    assert [len(batch.entries) for batch in sink.requests] == [10] * 10
    alone = Fifo(lambda one, tries: None)
    deliver(alone, [entry(number, "a") for number in range(5)])
    assert [len(batch.entries) for batch in alone.requests] == [1] * 5
    free = Fifo(lambda one, tries: None)
    deliver(free, [entry(number, None) for number in range(20)])
    assert [len(batch.entries) for batch in free.requests] == [10, 10]


def test_a_sink_that_is_gone_refuses_what_waits_in_lanes() -> None:
    """After SinkDown everything that waited behind others is counted too, under its code."""
    sink = Fifo(lambda one, tries: "down" if int(one.id, 16) >= 5 else None)
    report = deliver(sink, [entry(number, "a") for number in range(50)])
    assert (report.sent, report.refused) == (5, {"AccessDenied": 45})


def test_what_went_to_the_spool_comes_out_in_order(tmp_path: Path) -> None:
    """A spool of grouped events is delivered group by group in order, even when some of them are throttled."""
    entries = [entry(number, "abc"[number % 3]) for number in range(90)]
    with Spool(tmp_path) as spool:
        deliver(Fifo(lambda one, tries: "down"), entries, spool)
        assert len(spool) == 90
    chances = iter(range(1000))
    sink = Fifo(lambda one, tries: "ThrottlingException" if next(chances) % 3 == 0 else None, concurrency=2)
    with Spool(tmp_path) as spool:
        report = deliver(sink, [], spool)
        assert (report.inherited, report.sent, len(spool)) == (90, 90, 0)
    assert {group: numbers == sorted(numbers) for group, numbers in order_by_group(sink.taken).items()} == {
        "a": True,
        "b": True,
        "c": True,
    }


@pytest.mark.parametrize("when_full", ["block", "drop-oldest", "drop-newest"])
def test_a_full_spool_and_lanes_lose_nothing_in_silence(when_full: str, tmp_path: Path) -> None:
    """An outage with a spool that is too small: the run ends, every entry is accounted for."""
    entries = [entry(number, "ab"[number % 2], size=100)._replace(detail="x" * 200) for number in range(400)]
    tries = Counter[str]()

    def answer(one: Entry, number: int) -> str | None:
        tries["all"] += 1
        return "again" if tries["all"] < 12 else None

    with Spool(tmp_path, max_bytes=20_000, when_full=when_full) as spool:  # type: ignore[arg-type]
        report = deliver(Fifo(answer), entries, spool)
        assert report.sent + report.spooled + report.refused.total() == 400
        assert report.spooled == len(spool)


def test_memory_is_bounded_behind_a_busy_group() -> None:
    """However much comes for one group, only so many entries wait before reading does."""
    most = 0

    def answer(one: Entry, tries: int) -> str | None:
        nonlocal most
        most = max(most, int(one.id, 16))
        return None

    sink = Fifo(answer)
    clock = FakeClock()
    delivery = Delivery(sink, Report(), hooks=RunHooks(clock=clock, sleep=clock.sleep))
    for number in range(1000):
        delivery.add(entry(number, "a"))
        assert number - most <= 16 * LIMITS.max_entries + 1


@pytest.mark.parametrize("seed", range(40))
def test_in_any_trouble_nothing_is_lost_and_no_group_is_twice_under_way(seed: int, tmp_path: Path) -> None:
    """Failures, outages, a bus that goes away, spools of any kind, an interrupt: every entry is accounted for."""
    random = Random(seed)
    entries = [entry(number, random.choice("abcde")) for number in range(random.randint(0, 200))]
    trouble, often = random.randint(0, 300), random.choice([0.1, 0.4, 0.8])
    stop_at = random.choice([len(entries) + 1, random.randint(0, len(entries))])
    asked = added = 0

    def answer(one: Entry, tries: int) -> str | None:
        nonlocal asked
        asked += 1
        if asked < trouble and random.random() < 0.01:
            return "down"
        bad = random.random() < (often if asked < trouble else 0.1)
        return random.choice(["again", "ThrottlingException", "final", LOST]) if bad else None

    sink = Fifo(answer, concurrency=random.choice([1, 2, 8]))
    clock, report = FakeClock(), Report(frames=len(entries), datagrams=len(entries))
    when_full = random.choice(["block", "drop-oldest", "drop-newest"])
    with Spool(tmp_path, max_bytes=random.choice([20_000, 1 << 20]), when_full=when_full) as spool:  # type: ignore[arg-type]
        kept = spool if random.random() < 0.7 else None
        delivery = Delivery(
            sink,
            report,
            spool=kept,
            options=DeliveryOptions(live=random.random() < 0.5),
            hooks=RunHooks(clock=clock, sleep=clock.sleep, jitter=random.random, stopping=lambda: added >= stop_at),
        )
        for one in entries:
            delivery.add(one)
            added += 1
            if random.random() < 0.05:
                clock.now_ns += random.randint(0, 3 * SECOND_NS)
                delivery.tick()
        until = clock() + 10 * SECOND_NS
        delivery.finish(give_up=lambda: added >= stop_at and clock() > until)
        assert report.adds_up()
        assert report.spooled == len(spool)
        assert not sink.violations
    if kept is None:
        assert all(numbers == sorted(numbers) for numbers in order_by_group(sink.taken).values())


# Lanes by themselves


def test_a_batch_goes_when_enough_wait_or_the_first_has_waited() -> None:
    """Nothing is due before a batch could be full or a second has passed; then the first of each group is."""
    lanes = MessageGroups(LIMITS)
    for number in range(9):
        lanes.add(entry(number, "ab"[number % 2]), 0)
    assert lanes.due(SECOND_NS - 1) is None
    assert not lanes.late(SECOND_NS - 1)
    batch = lanes.due(SECOND_NS)
    assert batch is not None
    assert [one.group for one in batch.entries] == ["a", "b"]
    assert lanes.due(2 * SECOND_NS) is None, "both groups are out"
    assert lanes.late(SECOND_NS)
    lanes.free(batch.entries[:1])
    again = lanes.due(SECOND_NS)
    assert again is not None
    assert [int(one.id, 16) for one in again.entries] == [2]
    assert len(lanes) == 6


def test_only_the_entry_that_is_out_sets_its_group_free() -> None:
    """Setting free another entry of a group, or the same one twice, lets nobody overtake."""
    lanes = MessageGroups(LIMITS)
    first, second = entry(0, "a"), entry(1, "a")
    assert lanes.claim(first)
    lanes.free([second])
    assert not lanes.claim(second)
    lanes.free([first])
    lanes.free([first])
    assert lanes.claim(second)


def test_a_batch_stays_within_its_bytes() -> None:
    """The sum of bytes bounds a batch as well as the number; what did not fit comes next."""
    lanes = MessageGroups(LIMITS)
    for number in range(4):
        lanes.add(entry(number, str(number), size=400), 0)
    batches = [lanes.due(0, all_of_it=True), lanes.due(0, all_of_it=True), lanes.due(0, all_of_it=True)]
    assert [[int(one.id, 16) for one in batch.entries] if batch else None for batch in batches] == [
        [0, 1],
        [2, 3],
        None,
    ]


# Which group


def test_a_flow_has_one_group_in_both_directions() -> None:
    """The group comes from addresses and ports alone: the same on every run, one of as many as asked for."""
    shape = Shape(groups=64)
    back = EXAMPLE._replace(
        source=EXAMPLE.destination,
        source_port=EXAMPLE.destination_port,
        destination=EXAMPLE.source,
        destination_port=EXAMPLE.source_port,
        payload=b"answer",
    )
    assert shape.entry(EXAMPLE).group == shape.entry(back).group == f"flows-{9_859_904_736_353_863_870 % 64}"
    groups = {shape.entry(EXAMPLE._replace(source_port=port)).group for port in range(5000)}
    assert groups == {f"flows-{number}" for number in range(64)}
    assert Shape().entry(EXAMPLE).group is None


def test_the_spool_keeps_the_group(tmp_path: Path) -> None:
    """A group is part of an entry: it comes back from disk as it went, and so does none."""
    with Spool(tmp_path) as spool:
        spool.put([entry(0, "flows-7"), entry(1, None)])
    with Spool(tmp_path) as spool:
        assert [kept.entry.group for kept in spool.take(2)] == ["flows-7", None]
