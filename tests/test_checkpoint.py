"""The checkpoint: what it has is delivered, for every later run, whatever happens to the file or its name."""

import itertools
import os
import shutil
import struct
import sys
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcapeda.delivery.checkpoint import EDGE, FORMAT, MANY, Checkpoint, Numbers, Ranges, identify
from pcapeda.engine.job import Job
from pcapeda.engine.run import execute
from pcapeda.errors import BadConfig, Unavailable
from pcapeda.model import Entry
from pcapeda.sinks.memory import MemorySink
from tests.command import FIXTURES
from tests.frames import ethernet, udp4
from tests.test_delivery import Scripted

KEY = bytes(range(16))
MIXED = str(FIXTURES / "mixed.pcap")


def entry() -> Entry:
    return Entry("s", "t", "{}", None, (), 1, "")


def settle(checkpoint: Checkpoint, ordinals: list[int], key: bytes = KEY, loop: int = 0) -> None:
    place = checkpoint.place(key, loop)
    entries = []
    for ordinal in ordinals:
        entries.append(entry())
        checkpoint.under_way(place, entries[-1], (ordinal,))
    checkpoint.acknowledged(entries)


def had(path: Path, key: bytes = KEY, loop: int = 0) -> set[int]:
    with Checkpoint(path) as checkpoint:
        place = checkpoint.place(key, loop)
        return {ordinal for ordinal in range(200) if checkpoint.has(place, ordinal)}


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 9))))
def test_ranges_are_a_set(pieces: list[tuple[int, int]]) -> None:
    """Whatever the order and overlap, what was added is in it and nothing else; neighbours become one."""
    ranges, plain = Ranges(), set()
    for first, more in pieces:
        ranges.add(first, first + more)
        plain |= set(range(first, first + more + 1))
    assert {number for number in range(100) if number in ranges} == plain
    kept = list(ranges)
    assert all(end + 1 < start for (_, end), (start, _) in pairwise(kept))


@given(st.lists(st.tuples(st.integers(0, 20_000), st.integers(0, 9) | st.integers(0, 9000)), max_size=30))
def test_numbers_are_a_set(pieces: list[tuple[int, int]]) -> None:
    """The same for numbers far apart and close together, within and across the pieces they are kept in."""
    numbers, plain = Numbers(), set()
    for first, more in pieces:
        numbers.add(first, first + more)
        plain |= set(range(first, first + more + 1))
    kept = list(numbers)
    assert {number for first, last in kept for number in range(first, last + 1)} == plain
    assert all(end + 1 < start for (_, end), (start, _) in pairwise(kept))
    edges = {number + by for run in kept for number in run for by in (-1, 0, 1)}
    assert all((number in numbers) == (number in plain) for number in edges)


def test_numbers_in_any_order_take_little(tmp_path: Path) -> None:
    """A range of any size is one; half a million numbers without a neighbour take less than two bits each."""
    numbers = Numbers()
    numbers.add(5, 1 << 60)
    assert list(numbers) == [(5, 1 << 60)]
    scattered = Numbers()
    for number in range(0, 1_000_000, 2):
        scattered.add(number, number)
    assert sum(map(sys.getsizeof, scattered._partial.values())) + sys.getsizeof(scattered._partial) < 1_000_000 / 4


def test_a_file_that_grows_is_shortened_while_it_is_written(tmp_path: Path) -> None:
    """Records of single datagrams that have become one run do not stay, and nothing is forgotten."""
    path, most = tmp_path / "c", 0
    with Checkpoint(path) as checkpoint:
        place = checkpoint.place(KEY, 0)
        for half in range(0, 4 * MANY, MANY // 2):
            for odd in (1, 0):  # every second ordinal first: each a record of its own
                one = entry()
                checkpoint.under_way(place, one, range(half + odd, half + MANY // 2, 2))
                checkpoint.acknowledged([one])
            most = max(most, path.stat().st_size)
    assert most < 40 * 2 * MANY
    assert had(path) == set(range(200))
    with Checkpoint(path) as checkpoint:
        assert list(checkpoint._done[place]) == [(0, 4 * MANY - 1)]


def test_what_is_settled_is_there_for_the_next_process_without_a_close(tmp_path: Path) -> None:
    """Written at once: a process that is killed has told all it knew."""
    path = tmp_path / "checkpoint"
    checkpoint = Checkpoint(path)
    settle(checkpoint, [5, 3, 4, 9])
    os.close(checkpoint._file)  # as a kill does
    assert had(path) == {3, 4, 5, 9}
    assert had(path, loop=1) == set()
    assert had(path, key=bytes(16)) == set()


def test_what_is_given_up_is_tried_again(tmp_path: Path) -> None:
    """Refused entries are not remembered."""
    with Checkpoint(tmp_path / "c") as checkpoint:
        one, place = entry(), checkpoint.place(KEY, 0)
        checkpoint.under_way(place, one, (7,))
        checkpoint.forget([one])
        checkpoint.acknowledged([one])
    assert had(tmp_path / "c") == set()


def test_the_same_capture_named_twice_is_two(tmp_path: Path) -> None:
    """The first reading of a content and the second one are kept apart, in every run."""
    with Checkpoint(tmp_path / "c") as checkpoint:
        settle(checkpoint, [1])
        settle(checkpoint, [2])
    with Checkpoint(tmp_path / "c") as checkpoint:
        first, second = checkpoint.place(KEY, 0), checkpoint.place(KEY, 0)
        assert checkpoint.has(first, 1)
        assert not checkpoint.has(first, 2)
        assert checkpoint.has(second, 2)


@given(data=st.data())
def test_damage_forgets_and_never_invents(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Cut or flipped bytes lose at most the records they hit; nothing undelivered counts as delivered."""
    path = tmp_path_factory.mktemp("checkpoint") / "c"
    with Checkpoint(path) as checkpoint:
        settle_at = checkpoint.place(KEY, 0)
        for first in range(0, 100, 10):
            entries = [entry(), entry()]
            for offset, one in enumerate(entries):
                checkpoint.under_way(settle_at, one, (first + offset,))
            checkpoint.acknowledged(entries)
    whole = had(path)
    assert whole == {first + offset for first in range(0, 100, 10) for offset in (0, 1)}
    content = bytearray(path.read_bytes())
    cut = data.draw(st.integers(len(FORMAT), len(content)))
    place = data.draw(st.integers(len(FORMAT), len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content[:cut])
    assert had(path) <= whole
    with Checkpoint(path) as checkpoint:
        settle(checkpoint, [150])
    assert 150 in had(path)


def test_many_records_become_few(tmp_path: Path) -> None:
    """A file that grew by single records is rewritten when it is opened, and still says the same."""
    path = tmp_path / "c"
    with Checkpoint(path) as checkpoint:
        place = checkpoint.place(KEY, 0)
        for ordinal in range(1500):
            one = entry()
            checkpoint.under_way(place, one, (ordinal,))
            checkpoint.acknowledged([one])
    assert path.stat().st_size == len(FORMAT) + 1500 * 40
    assert had(path) == set(range(200))
    assert path.stat().st_size == len(FORMAT) + 40
    assert had(path) == set(range(200))


def test_somebody_elses_file_is_not_overwritten_and_one_process_has_it(tmp_path: Path) -> None:
    """Another kind of file is refused as it is; so is a checkpoint in use, and a folder."""
    path = tmp_path / "notes.txt"
    path.write_text("my notes")
    with pytest.raises(BadConfig, match="another kind of file"):
        Checkpoint(path)
    assert path.read_text() == "my notes"
    with Checkpoint(tmp_path / "c"), pytest.raises(Unavailable, match="another process"):
        Checkpoint(tmp_path / "c")
    with pytest.raises(BadConfig, match="checkpoint"):
        Checkpoint(tmp_path)


def test_a_capture_is_known_by_its_content_and_what_is_asked_of_it(tmp_path: Path) -> None:
    """Another name is the same capture; another byte at an edge, another size or another wish is not."""
    large = bytearray(os.urandom(3 * EDGE))
    (tmp_path / "a").write_bytes(large)
    (tmp_path / "b").write_bytes(large)
    keys = set(identify(str(tmp_path / "a"), "x"))
    assert set(identify(str(tmp_path / "b"), "x")) == keys
    keys.update(identify(str(tmp_path / "a"), "y"))
    for change in (lambda: large.append(0), lambda: large.__setitem__(0, 1), lambda: large.__setitem__(-1, 7)):
        change()
        (tmp_path / "b").write_bytes(large)
        keys.update(identify(str(tmp_path / "b"), "x"))
    assert len(keys) == 5
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BadConfig, match="no regular file"):
        identify(str(tmp_path / "pipe"), "x")


@pytest.mark.parametrize("count", [1, 5, 7])
def test_runs_in_pieces_send_each_datagram_once(tmp_path: Path, count: int) -> None:
    """-c N with a checkpoint goes on where the last run was; copies and renames do not matter, other wishes do."""
    capture = tmp_path / "first.pcap"
    shutil.copy(MIXED, capture)
    whole = Scripted(lambda entry, tries: None)
    total = execute(Job(captures=(MIXED,)), sink=whole).sent
    taken: list[str] = []
    while True:
        sink = Scripted(lambda entry, tries: None)
        report = execute(Job(captures=(str(capture),), count=count, checkpoint=str(tmp_path / "c")), sink=sink)
        assert report.adds_up()
        if not report.sent:
            break
        assert len(sink.taken) == report.sent <= count
        taken += sink.taken
        capture = capture.rename(tmp_path / f"after-{len(taken)}.pcap")
    assert len(taken) == len(set(taken)) == total
    assert report.unselected == {"delivered before": total}
    other = Job(captures=(str(capture),), checkpoint=str(tmp_path / "c"), ports=frozenset({514}))
    assert execute(other, sink=Scripted(lambda entry, tries: None)).sent > 0


@settings(max_examples=30, deadline=None)
@given(
    kind=st.sampled_from([{}, {"group": 4, "group_wait_s": 3}, {"aggregate_s": 5}, {"aggregate_s": 7, "max_flows": 2}]),
    seconds=st.lists(st.integers(0, 30), max_size=40),
    runs=st.lists(st.tuples(st.integers(1, 15), st.sets(st.integers(0, 9)), st.integers(0, 3)), max_size=6),
)
def test_whatever_ends_a_run_each_datagram_counts_once(
    kind: dict[str, Any],
    seconds: list[int],
    runs: list[tuple[int, set[int], int]],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Packets, groups or flows, in or out of order, with counts, budgets and events that fail: no datagram is in two
    events that were taken, and in the end none is missing."""
    folder = tmp_path_factory.mktemp("checkpoint")
    truth: Counter[tuple[str, int]] = Counter()
    with (folder / "a.pcap").open("wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        for number, second in enumerate(seconds):
            data = ethernet(udp4(b"%d" % number, source=f"10.0.0.{number % 3}", dport=1 + number % 2))
            file.write(struct.pack("<IIII", second, 0, len(data), len(data)) + data)
            truth[f"10.0.0.{number % 3}", 1 + number % 2] += 1
    job = Job(captures=(str(folder / "a.pcap"),), checkpoint=str(folder / "c"), **kind)
    taken: Counter[tuple[str, int]] = Counter()
    for count, failing, events in [*runs, (100, set(), 100)]:
        tries = itertools.count()
        sink = MemorySink(lambda entry: "MalformedDetail" if next(tries) in failing else None)  # noqa: B023
        report = execute(replace(job, count=count, max_events=events), sink=sink)
        assert report.adds_up()
        for event in sink.events:
            detail = event["detail"]
            port = detail["Destination"]["Port"]
            for packet in detail.get("Packets", [detail]):
                taken[packet.get("Source", {}).get("IpAddress", "rest"), port] += packet.get("Count", 1)
    for port in (1, 2):  # what was summed up without its source is a part of the others
        missing = {who: number - taken[who] for who, number in truth.items() if who[1] == port}
        assert min(missing.values(), default=0) >= 0
        assert sum(missing.values()) == taken["rest", port]
    again = execute(job, sink=MemorySink())
    assert again.unselected == ({"delivered before": len(seconds)} if seconds else {})


@pytest.mark.parametrize(
    "job",
    [
        Job(captures=("-",), checkpoint="c"),
        Job(interfaces=("lo",), checkpoint="c"),
        Job(captures=("a",), when_full="block"),
        Job(captures=("a",), spool_max_mib=100),
    ],
)
def test_what_cannot_be_kept_is_refused(job: Job) -> None:
    """Options that contradict each other, or would be ignored, stop the run before it starts."""
    with pytest.raises(BadConfig):
        execute(job, sink=Scripted(lambda entry, tries: None))
