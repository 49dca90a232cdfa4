"""The spool: what was acknowledged as kept is readable after whatever happens to the process, the disk or the bytes."""

import json
import os
import random
import signal
import subprocess
import sys
import zlib
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcapeda.delivery.spool import (
    DONE_FORMAT,
    FORMAT,
    FORMAT_1,
    MARK,
    EntryCount,
    Spool,
    SpoolFailed,
    SpoolRecord,
    record_of,
)
from pcapeda.errors import BadConfig, Unavailable
from pcapeda.model import Entry, Failed
from tests.command import ROOT


def entry(number: int, padding: int = 0) -> Entry:
    detail = json.dumps({"N": number, "Text": "é" * padding})
    return Entry("udp.raw", "UdpPacket", detail, 1_000 + number, ("arn:x",), 100 + padding, f"id-{number}")


def numbers(kept: list[SpoolRecord]) -> list[int]:
    return [int(one.entry.id.removeprefix("id-")) for one in kept]


def segments(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.spool"))


def test_what_is_put_comes_back_as_it_was_and_in_order(tmp_path: Path) -> None:
    """Every member of an entry survives, also what is not ASCII, and the oldest comes first; a new process sees it."""
    given = [entry(number, number % 7) for number in range(100)]
    given.append(Entry("s", "t", '{"\ud800": "\U0001f600"}', None, (), 1, ""))
    with Spool(tmp_path) as spool:
        assert spool.put(given[:60]) == (60, 0)
        assert spool.put(given[60:]) == (41, 0)
        assert len(spool) == 101
    with Spool(tmp_path) as spool:
        assert len(spool) == 101
        assert [one.entry for one in spool.take(1000)] == given
        assert spool.take(1) == []
        assert len(spool) == 101, "taken is not done"


def test_an_entry_weighs_what_it_stands_for(tmp_path: Path) -> None:
    """How many datagrams an entry stands for, none included, is known of what waits, left, and was pushed out."""
    given = [entry(number)._replace(datagram_count=number * 100) for number in range(10)]
    with Spool(tmp_path) as spool:
        spool.put(given)
        spool.put_dead([Failed(given[0], "Code", False), Failed(given[3], "Code", False)])
        assert spool.load == EntryCount(10, 4500, 1)
    with Spool(tmp_path, max_bytes=4096, when_full="drop-oldest") as spool:
        assert (spool.load, spool.dead.load) == (EntryCount(10, 4500, 1), EntryCount(2, 300, 1))
        taken = spool.take(4)
        assert [one.entry for one in taken] == given[:4]
        assert spool.done(taken[:2]) == EntryCount(2, 100, 1)
        assert spool.load == EntryCount(8, 4400)
        spool.put([entry(number) for number in range(100)])
        assert spool.pushed_out == EntryCount(8, 4400)
        assert spool.done(taken[2:]) == EntryCount()


def test_a_spool_of_version_1_is_read_and_drained(tmp_path: Path) -> None:
    """Its records had no weight: each entry stands for one datagram; what is new goes into a segment of version 2."""
    content = FORMAT_1
    for number in range(3):
        body = record_of(entry(number))[16:]
        length = len(body).to_bytes(4, "little")
        content += MARK + length + zlib.crc32(body, zlib.crc32(length)).to_bytes(4, "little") + body
    (tmp_path / "00000004.spool").write_bytes(content + b"torn")
    with Spool(tmp_path) as spool:
        assert (spool.load, len(spool.damages)) == (EntryCount(3, 3), 1)
        spool.put([entry(3)])
        taken = spool.take(10)
        assert [one.entry for one in taken] == [entry(number) for number in range(4)]
        spool.done(taken[:2])
    assert [path.read_bytes()[:16] for path in segments(tmp_path)] == [FORMAT_1, FORMAT]
    with Spool(tmp_path) as spool:
        assert numbers(spool.take(10)) == [2, 3]


def test_done_is_for_good_and_an_empty_spool_leaves_no_segment(tmp_path: Path) -> None:
    """What was marked as done is never given again, by no later process; the last one takes its file along."""
    with Spool(tmp_path) as spool:
        spool.put([entry(number) for number in range(10)])
        taken = spool.take(6)
        assert spool.done(taken[:4]) == EntryCount(4, 4)
        spool.give_back(taken[4:])
        assert numbers(spool.take(3)) == [4, 5, 6]
    with Spool(tmp_path) as spool:
        assert len(spool) == 6
        rest = spool.take(100)
        assert numbers(rest) == [4, 5, 6, 7, 8, 9]
        spool.done(rest)
        assert len(spool) == 0
        assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_new_entries_come_while_old_ones_are_drained(tmp_path: Path) -> None:
    """Writing and draining alternate as they like; nothing is given twice and nothing is left."""
    random.seed(7)
    new, seen = count(), []
    with Spool(tmp_path) as spool:
        held: list[SpoolRecord] = []
        for _ in range(300):
            spool.put([entry(next(new)) for _ in range(random.randrange(4))])
            held += spool.take(random.randrange(5))
            random.shuffle(held)
            finished, held = held[: len(held) // 2], held[len(held) // 2 :]
            spool.done(finished)
            seen += numbers(finished)
            if random.random() < 0.2:
                spool.give_back(held)
                held = []
        spool.rewind()
        rest = spool.take(10_000)
        seen += numbers(rest)
        assert sorted(seen) == list(range(next(new)))
        spool.done(rest)
        assert len(spool) == 0
    assert segments(tmp_path) == []


def test_dead_letters_keep_their_code(tmp_path: Path) -> None:
    """Entries that can never succeed wait apart, with the code and the words they were refused with."""
    with Spool(tmp_path) as spool:
        spool.put_dead([Failed(entry(1), "MalformedDetail", False, "Detail is malformed.")])
        assert (len(spool), len(spool.dead)) == (0, 1)
    with Spool(tmp_path / "dead") as dead:
        (kept,) = dead.take(5)
        assert (kept.entry, kept.code, kept.message) == (entry(1), "MalformedDetail", "Detail is malformed.")


def test_two_processes_cannot_use_one_folder(tmp_path: Path) -> None:
    """The second one is told so, in one sentence; once the first has closed it, it may."""
    with Spool(tmp_path), pytest.raises(Unavailable, match="another process"):
        Spool(tmp_path)
    Spool(tmp_path).close()


def test_a_folder_that_cannot_be_used_is_bad_configuration(tmp_path: Path) -> None:
    """A file where the folder should be, and a place where none can be made."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(BadConfig, match="spool"):
        Spool(tmp_path / "file")
    with pytest.raises(BadConfig, match="spool"):
        Spool(Path("/proc/no-such-place"))


@pytest.mark.parametrize("cut", [1, 5, 12, 30, 150])
def test_a_torn_tail_costs_only_the_record_it_tore(tmp_path: Path, cut: int) -> None:
    """A write that was cut short hides nothing that stood before it, and nothing that is written later."""
    with Spool(tmp_path) as spool:
        spool.put([entry(number) for number in range(10)])
    (path,) = segments(tmp_path)
    os.truncate(path, path.stat().st_size - cut)
    with Spool(tmp_path) as spool:
        assert len(spool.damages) == 1
        spool.put([entry(10)])
    with Spool(tmp_path) as spool:
        assert numbers(spool.take(100)) == [*range(9), 10]


@given(data=st.data())
def test_flipped_bytes_cost_only_the_records_they_hit(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Any damage anywhere behind the first line: every record that was not touched is still read, none is invented."""
    folder = tmp_path_factory.mktemp("spool")
    entries = [entry(number, number) for number in range(8)]
    with Spool(folder) as spool:
        spool.put(entries)
    (path,) = segments(folder)
    content = bytearray(path.read_bytes())
    ends, at = [], len(FORMAT)
    for one in entries:
        at += len(record_of(one))
        ends.append(at)
    hit = set()
    for place in data.draw(st.lists(st.integers(len(FORMAT), len(content) - 1), min_size=1, max_size=5)):
        content[place] ^= data.draw(st.integers(1, 255))
        hit.add(next(number for number, end in enumerate(ends) if place < end))
    path.write_bytes(content)
    with Spool(folder) as spool:
        got = [one.entry for one in spool.take(100)]
    for number, one in enumerate(entries):
        assert (one in got) or number in hit
    assert all(one in entries for one in got)


@given(content=st.binary(max_size=300), marks=st.binary(max_size=60))
def test_any_bytes_are_a_spool_that_can_be_opened(
    content: bytes, marks: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Bytes that somebody else wrote give no entry and no traceback."""
    folder = tmp_path_factory.mktemp("spool")
    (folder / "00000001.spool").write_bytes(content)
    (folder / "00000002.spool").write_bytes(FORMAT + MARK + content)
    (folder / "00000002.done").write_bytes(DONE_FORMAT + marks)
    with Spool(folder) as spool:
        assert spool.take(10) == []
        spool.put([entry(1)])
        assert numbers(spool.take(10)) == [1]


def test_a_sound_record_of_another_making_is_counted_and_passed(tmp_path: Path) -> None:
    """A record whose body no version of this program wrote does not stop what stands behind it."""
    import struct

    body = b'{"Source": 5}'
    head = struct.pack("<II", len(body), 1)
    strange = MARK + head + struct.pack("<I", zlib.crc32(body, zlib.crc32(head))) + body
    (tmp_path / "00000001.spool").write_bytes(FORMAT + strange + record_of(entry(1)))
    with Spool(tmp_path) as spool:
        assert len(spool) == 2
        kept = spool.take(10)
        assert numbers(kept) == [1]
        assert (spool.unreadable, len(spool), len(spool.damages)) == (EntryCount(1, 1), 1, 1)
        spool.done(kept)
    assert segments(tmp_path) == []


@pytest.mark.parametrize("cut", [1, 7, 8, 11])
def test_torn_done_marks_deliver_twice_at_most_what_they_marked(tmp_path: Path, cut: int) -> None:
    """Marks that were cut short are made good by the next ones; only what they marked comes again."""
    with Spool(tmp_path) as spool:
        spool.put([entry(number) for number in range(10)])
        spool.done(spool.take(4))
    marks = next(tmp_path.glob("*.done"))
    os.truncate(marks, marks.stat().st_size - cut)
    with Spool(tmp_path) as spool:
        again = spool.take(100)
        assert set(numbers(again)) - set(range(4, 10)) <= {2, 3}
        spool.done(again[:-1])
    with Spool(tmp_path) as spool:
        assert numbers(spool.take(100)) == [9]


def test_a_full_spool_blocks_and_loses_nothing(tmp_path: Path) -> None:
    """With `block`, put takes what fits and leaves the rest to the caller; when there is room again it takes more."""
    with Spool(tmp_path, max_bytes=2000, when_full="block") as spool:
        given = [entry(number) for number in range(50)]
        taken, dropped = spool.put(given)
        assert 0 < taken < 50
        assert dropped == 0
        assert spool.size <= 2000
        assert spool.put(given[taken:]).taken == 0
        spool.done(spool.take(taken))
        assert spool.put(given[taken:]).taken > 0


def test_a_full_spool_drops_the_newest_and_counts_them(tmp_path: Path) -> None:
    """With `drop-newest` all are taken, those that do not fit are dropped, and what is there stays."""
    with Spool(tmp_path, max_bytes=2000, when_full="drop-newest") as spool:
        taken, dropped = spool.put([entry(number) for number in range(50)])
        assert taken == 50
        assert spool.size <= 2000
        assert numbers(spool.take(100)) == list(range(50 - dropped))


def test_a_full_spool_drops_the_oldest_and_counts_them(tmp_path: Path) -> None:
    """With `drop-oldest` the newest are there, whatever was put before, and every entry is kept or counted."""
    with Spool(tmp_path, max_bytes=20_000, when_full="drop-oldest") as spool:
        dropped = 0
        for first in range(0, 1000, 25):
            put = spool.put([entry(number) for number in range(first, first + 25)])
            assert put.taken == 25
            dropped += put.dropped
            assert sum(path.stat().st_size for path in segments(tmp_path)) <= 20_000
        assert len(spool) + dropped + spool.pushed_out.entries == 1000
        left = numbers(spool.take(1000))
        assert left == list(range(1000 - len(left), 1000))
        assert len(left) > 50
        everything = spool.put([entry(number) for number in range(1000, 1500)])
        assert everything.dropped > 0
        spool.rewind()
        assert numbers(spool.take(1000)) == list(range(1000 + everything.dropped, 1500))


def test_an_entry_larger_than_the_spool_is_dropped_and_pushes_nothing_out(tmp_path: Path) -> None:
    """What can never fit does not cost what is there, and does not block for ever."""
    for policy in ("block", "drop-oldest", "drop-newest"):
        with Spool(tmp_path / policy, max_bytes=1000, when_full=policy) as spool:  # type: ignore[arg-type]
            assert spool.put([entry(1), entry(2, 2000), entry(3)]) == (3, 1)
            assert numbers(spool.take(5)) == [1, 3]
            assert spool.pushed_out == EntryCount()


def test_what_is_pushed_out_while_under_way_is_known(tmp_path: Path) -> None:
    """`done` tells how many were still there, and what was pushed out is not given again."""
    with Spool(tmp_path, max_bytes=4000, when_full="drop-oldest") as spool:
        spool.put([entry(number) for number in range(5)])
        first = spool.take(5)
        for number in range(5, 60):
            spool.put([entry(number)])
        assert spool.pushed_out.entries > 5
        assert spool.done(first[:2]) == EntryCount()
        spool.give_back(first[2:])
        assert min(numbers(spool.take(100))) >= spool.pushed_out.entries


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k,nr_inodes=64", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("only root can mount the small file system this needs")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_loses_nothing_that_was_acknowledged(small_disk: Path) -> None:
    """The put that does not fit raises and leaves no trace; what was kept before is there, and draining makes room."""
    kept = 0
    with Spool(small_disk) as spool:
        while kept < 100_000:
            try:
                spool.put([entry(kept, 50)])
            except SpoolFailed:
                break
            kept += 1
        assert 100 < kept < 100_000
        with pytest.raises(SpoolFailed, match="No space left"):
            spool.put([entry(number, 50) for number in range(kept, kept + 500)])
        assert len(spool) == kept
        taken = spool.take(kept - 1)
        spool.done(taken)  # there is no room for a mark either
        spool.give_back([])
        assert numbers(spool.take(5)) == [kept - 1]
    with Spool(small_disk) as spool:
        assert spool.damages == []
        again = spool.take(kept)
        assert numbers(again)[-1] == kept - 1
        assert numbers(again) == sorted(set(numbers(again)))
        spool.done(again)
        spool.put([entry(7)])
        assert numbers(spool.take(5)) == [7]


def test_on_a_full_disk_the_oldest_gives_way_if_so_asked(small_disk: Path) -> None:
    """`drop-oldest`: what is new is kept although the disk has no room; every entry is kept or counted."""
    given = dropped = 0
    with Spool(small_disk, max_bytes=1 << 19, when_full="drop-oldest") as spool:
        for first in range(0, 4000, 40):
            put = spool.put([entry(number, 50) for number in range(first, first + 40)])
            given, dropped = given + 40, dropped + put.dropped
            assert put.taken == 40
        assert spool.pushed_out.entries > 1000
        assert len(spool) + spool.pushed_out.entries + dropped == given
        left = numbers(spool.take(10_000))
        assert left == list(range(4000 - len(left), 4000))
        assert len(left) > 100
        everything = spool.put([entry(number, 50) for number in range(4000, 8000)])
        assert 0 < everything.dropped < 4000
        spool.rewind()
        assert numbers(spool.take(10_000)) == list(range(4000 + everything.dropped, 8000))
    with Spool(small_disk) as spool:
        assert numbers(spool.take(10_000))[-1] == 7999


def test_a_disk_that_is_full_of_other_things_keeps_nothing_and_says_so(small_disk: Path) -> None:
    """With nothing left to drop, `drop-oldest` fails as the others do, with the reason."""
    with Spool(small_disk, when_full="drop-oldest") as spool:
        with suppress(OSError), (small_disk / "other").open("wb", buffering=0) as other:
            while True:
                other.write(bytes(4096))
        with pytest.raises(SpoolFailed, match="No space left") as caught:
            spool.put([entry(1), entry(2)])
        assert caught.value.full
        assert len(spool) == 0


WRITER = """
import os, sys
from pcapeda.delivery.spool import Spool
from tests.test_spool import entry
spool = Spool(sys.argv[1])
number = int(sys.argv[2])
while True:
    size = number % 13 + 1
    spool.put([entry(one, number % 300) for one in range(number, number + size)])
    number += size
    os.write(1, b"%d\\n" % number)
    if number % 3 == 0:
        taken = spool.take(number % 5)
        spool.done(taken)
        for one in taken:
            os.write(1, b"-%d\\n" % int(one.entry.id[3:]))
"""


def test_kill_at_any_moment_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """A process that writes and drains is killed again and again: what it said is kept is there, in order, once."""
    random.seed(5)
    acknowledged, done = 0, set()
    for _ in range(8):
        command = [sys.executable, "-c", WRITER, str(tmp_path), str(acknowledged)]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}
        )
        assert process.stdout is not None
        lines = []
        for _ in range(random.randrange(1, 120)):
            lines.append(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        lines += process.stdout.read().splitlines(keepends=True)
        process.wait()
        for line in lines:
            number = int(line)
            if line.startswith(b"-"):
                done.add(-number)
            else:
                acknowledged = number
        with Spool(tmp_path) as spool:
            there = numbers(spool.take(1_000_000))
        assert there == sorted(set(there))
        missing = set(range(acknowledged)) - set(there) - done
        # The process may have marked up to one round as done before it could say so.
        assert len(missing) <= 4, missing
        done |= missing
        assert not done & set(there)
        acknowledged = max([acknowledged, *(number + 1 for number in there)])
    assert acknowledged > 500
