"""What others do to a spool, a checkpoint or a `-w` file: nothing is waited for, cut or sent astray, all is counted."""

import json
import os
import shutil
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pcapeda.aws.bus import Bus
from pcapeda.capture.writer import CaptureWriter
from pcapeda.delivery.checkpoint import Checkpoint
from pcapeda.delivery.delivery import Delivery
from pcapeda.delivery.options import DeliveryOptions, RunHooks
from pcapeda.delivery.spool import DONE_FORMAT, EntryCount, Spool
from pcapeda.delivery.spool_drain import TAKEN_AWAY
from pcapeda.engine.build import spool_target
from pcapeda.engine.job import Job
from pcapeda.engine.run import execute, resend
from pcapeda.errors import BadConfig, ExitStatus, Unavailable
from pcapeda.report import Report
from pcapeda.safety.private_files import open_regular
from pcapeda.sinks.memory import MemorySink
from tests.clock import FakeClock
from tests.command import FAKE_AWS, FIXTURES, pcapeda
from tests.test_spool import entry, numbers, segments

MIXED = (str(FIXTURES / "mixed.pcap"),)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(params=[0o000, 0o077, 0o777])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_what_is_made_is_for_its_owner_alone(umask: int, tmp_path: Path) -> None:
    """Whatever the umask: files 0600, folders 0700, those above them that were missing, too."""
    spool = tmp_path / "a" / "b" / "spool"
    sink = MemorySink(
        lambda entry: "MalformedDetail" if entry.datagram and entry.datagram.destination_port == 53 else "x"
    )
    clock = FakeClock()
    job = Job(captures=MIXED, spool=str(spool), checkpoint=str(tmp_path / "c"), spool_limited=True, max_events=9)
    execute(job, sink=sink, clock=clock, sleep=clock.sleep)
    with Spool(spool) as one:
        one.put([entry(number) for number in range(4)])
        one.done(one.take(2))
    CaptureWriter(str(tmp_path / "w")).close()
    made = list(tmp_path.rglob("*"))
    assert {path.name for path in made} >= {"lock", "target.json", "dead", "limited", "00000001.done", "c", "w"}
    for path in made:
        assert mode(path) == (0o700 if path.is_dir() else 0o600), path


def test_the_mode_of_a_file_that_is_there_is_left_alone(tmp_path: Path) -> None:
    """Who has set it had a reason."""
    (tmp_path / "w").touch(0o640)
    CaptureWriter(str(tmp_path / "w")).close()
    assert mode(tmp_path / "w") == 0o640


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # the name of a socket may not be long
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(path.name)
    os.chdir(here)


def make_device(path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can make a device")
    try:
        os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 5))  # /dev/zero, which never ends
    except OSError as error:
        pytest.skip(f"no devices can be made here: {error.strerror}")


def make_folder(path: Path) -> None:
    path.mkdir()


def make_link(path: Path) -> None:
    precious = path.parent.parent / "precious"
    precious.write_bytes(b"somebody else's words")
    path.symlink_to(precious)


def make_dangling_link(path: Path) -> None:
    path.symlink_to(path.parent.parent / "made-by-us")


THINGS = [make_pipe, make_socket, make_device, make_folder, make_link, make_dangling_link]


@pytest.mark.timeout(20)
@pytest.mark.parametrize("make", THINGS)
@pytest.mark.parametrize("name", ["00000002.spool", "00000001.done", "00000007.done"])
def test_a_spool_with_something_else_in_it_is_drained_and_that_is_counted(
    name: str, make: Callable[[Path], None], tmp_path: Path
) -> None:
    """A pipe, a socket, a device, a folder or a link among the files: said, never waited for, never touched."""
    folder = tmp_path / "s"
    with Spool(folder) as spool:
        spool.put([entry(number) for number in range(4)])
    make(folder / name)
    before = os.lstat(folder / name)
    with Spool(folder) as spool:
        assert len(spool) == 4
        assert (name in "".join(spool.damages)) == (name != "00000007.done")
        taken = spool.take(2)
        spool.done(taken)
        spool.put([entry(4)])
        assert numbers(spool.take(9)) == [2, 3, 4]
    sink = MemorySink()
    report = resend(str(folder), Bus(), sink=sink)
    assert report.adds_up()
    assert {int(one.id.removeprefix("id-")) for one in sink.entries} >= {2, 3, 4}
    assert report.status() == (ExitStatus.OK if name == "00000007.done" else ExitStatus.INCOMPLETE)
    after = os.lstat(folder / name)
    assert (before.st_ino, before.st_size, before.st_mtime_ns) == (after.st_ino, after.st_size, after.st_mtime_ns)
    assert not (tmp_path / "made-by-us").exists()
    if make is make_link:
        assert (tmp_path / "precious").read_bytes() == b"somebody else's words"


@pytest.mark.timeout(20)
@pytest.mark.parametrize("make", THINGS)
@pytest.mark.parametrize("name", ["lock", "target.json"])
def test_something_else_in_place_of_lock_or_target_is_bad_configuration(
    name: str, make: Callable[[Path], None], tmp_path: Path
) -> None:
    """One line, exit code 2, and no wait."""
    (tmp_path / "s").mkdir()
    make(tmp_path / "s" / name)
    done = pcapeda("resend", tmp_path / "s", env=FAKE_AWS)
    assert done.returncode == 2, done.stderr
    assert name.encode() in done.stderr
    assert b"Traceback" not in done.stderr
    with pytest.raises(BadConfig, match=name):
        execute(Job(captures=MIXED, spool=str(tmp_path / "s")), sink=MemorySink())


@pytest.mark.timeout(20)
@pytest.mark.parametrize("make", THINGS)
def test_a_checkpoint_is_a_regular_file_or_refused(make: Callable[[Path], None], tmp_path: Path) -> None:
    """A link is not followed, a pipe is not waited for."""
    (tmp_path / "s").mkdir()
    make(tmp_path / "s" / "c")
    with pytest.raises(BadConfig, match="no regular file"):
        Checkpoint(tmp_path / "s" / "c")
    assert not (tmp_path / "made-by-us").exists()


def test_what_is_no_list_of_done_marks_is_not_cut(tmp_path: Path) -> None:
    """A file of somebody else under that name keeps every byte, also when the segment is done and goes."""
    with Spool(tmp_path) as spool:
        spool.put([entry(number) for number in range(4)])
    marks = tmp_path / "00000001.done"
    marks.write_bytes(b"words of somebody else, longer than the line of the format")
    with Spool(tmp_path) as spool:
        assert ["00000001.done" in damage for damage in spool.damages] == [True]
        spool.done(spool.take(2))
        spool.done(spool.take(2))
    assert segments(tmp_path) == []
    assert marks.read_bytes() == b"words of somebody else, longer than the line of the format"
    (tmp_path / "d").write_bytes(b"mine")
    (tmp_path / "c").write_bytes(b"")
    Checkpoint(tmp_path / "c").close()


def test_marks_without_records_are_never_taken_for_those_of_new_records(tmp_path: Path) -> None:
    """A process that died between the two deletions leaves marks behind: they tell of nothing that comes later."""
    with Spool(tmp_path) as spool:
        spool.put([entry(0), entry(1)])
        spool.done(spool.take(1))
    (tmp_path / "00000001.spool").unlink()
    assert (tmp_path / "00000001.done").read_bytes().startswith(DONE_FORMAT)
    with Spool(tmp_path) as spool:
        spool.put([entry(2), entry(3)])
    with Spool(tmp_path) as spool:
        assert numbers(spool.take(9)) == [2, 3]
    assert not (tmp_path / "00000001.done").exists()


def test_segments_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    """Also once a number has more digits than the others."""
    with Spool(tmp_path / "a") as spool:
        spool.put([entry(1)])
    with Spool(tmp_path / "b") as spool:
        spool.put([entry(2)])
    (tmp_path / "a" / "00000001.spool").rename(tmp_path / "b" / "99999999.spool")
    (tmp_path / "b" / "00000001.spool").rename(tmp_path / "b" / "100000000.spool")
    with Spool(tmp_path / "b") as spool:
        assert numbers(spool.take(9)) == [1, 2]
        spool.put([entry(3)])
    assert (tmp_path / "b" / "100000001.spool").exists()


BAD_TARGETS = {
    "no JSON": "{",
    "nothing": "",
    "a list": "[]",
    "deep": "[" * 100_000,
    "a later version": '{"version": 2, "name": "edge"}',
    "a version that is none": '{"version": true, "name": "edge"}',
    "an unknown member": '{"name": "edge", "account": "1"}',
    "a number for a name": '{"name": 5}',
    "a truth for a number": '{"name": "edge", "max_request_bytes": true}',
    "a text for a truth": '{"name": "edge", "raw": "no"}',
    "groups for a classic bus": '{"name": "edge", "groups": 5}',
    "no text": b"\xff\xfe{}",
    "far too large": '{"name": "' + "x" * 100_000 + '"}',
}


@pytest.mark.parametrize("name", BAD_TARGETS)
def test_a_spool_whose_bus_is_not_understood_goes_nowhere(name: str, tmp_path: Path) -> None:
    """Exit code 2 with what to do, for resend and for a run; nothing is sent, and the spool is as it was."""
    folder = tmp_path / "s"
    with Spool(folder) as spool:
        spool.put([entry(number) for number in range(3)])
    content = BAD_TARGETS[name]
    (folder / "target.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(BadConfig, match="says for which bus") as caught:
        spool_target(str(folder))
    assert "--bus NAME" in (caught.value.hint or "")
    sink = MemorySink()
    with pytest.raises(BadConfig, match="says for which bus"):
        execute(Job(captures=MIXED, spool=str(folder)), sink=sink)
    for options in ([], ["--bus", "edge"]) if name in ("an unknown member", "no text") else ():
        done = pcapeda("resend", folder, "--endpoint-url", "http://127.0.0.1:9", *options, env=FAKE_AWS)
        assert (done.returncode, b"says for which bus" in done.stderr) == (2, True), done.stderr
    assert sink.batches == []
    with Spool(folder) as spool:
        assert len(spool) == 3


def test_a_spool_that_does_not_say_its_bus_is_sent_only_where_it_is_told(tmp_path: Path) -> None:
    """Without target.json the default bus is no answer: a person names the bus."""
    folder = tmp_path / "s"
    with Spool(folder) as spool:
        spool.put([entry(number) for number in range(3)])
    done = pcapeda("resend", folder, env=FAKE_AWS)
    assert done.returncode == 2
    assert b"for which bus its events are is not known" in done.stderr
    with pytest.raises(BadConfig, match="is not known"):
        execute(Job(captures=MIXED, spool=str(folder)), sink=MemorySink())
    sink = MemorySink()
    assert resend(str(folder), Bus("edge"), sink=sink).sent == 3


def test_the_target_says_all_of_the_bus(tmp_path: Path) -> None:
    """What is written is read again, to the last member, and bears a version."""
    bus = Bus("edge", "eu-west-1", "prof", "http://127.0.0.1:9")
    execute(Job(captures=MIXED, bus=bus, spool=str(tmp_path / "s")), sink=MemorySink())
    assert spool_target(str(tmp_path / "s")) == bus
    assert json.loads((tmp_path / "s" / "target.json").read_text())["version"] == 1
    (tmp_path / "s" / "target.json").write_text('{"name": "edge"}')  # as much as a version before may have said
    assert spool_target(str(tmp_path / "s")) == Bus("edge")


class Outage:
    """A delivery in an outage, with a spool that somebody else takes away."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.clock, self.report, self.notes = folder, FakeClock(), Report(), []
        self.dead = True
        self.sink = MemorySink(lambda entry: "InternalFailure" if self.dead else None)
        self.spool = Spool(folder)
        self.spool.label("target.json", b"{}\n")
        self.delivery = Delivery(
            self.sink,
            self.report,
            spool=self.spool,
            options=DeliveryOptions(live=True),
            hooks=RunHooks(clock=self.clock, sleep=self.clock.sleep, note=self.notes.append, jitter=lambda: 0.5),
        )

    def add(self, first: int, last: int) -> None:
        for number in range(first, last):
            self.report.frames += 1
            self.report.datagrams += 1
            self.delivery.add(entry(number))
        for _ in range(40):
            self.clock.sleep(0.1)
            self.delivery.tick()

    def finish(self) -> Report:
        self.delivery.finish(give_up=lambda: True)
        assert self.report.adds_up()
        assert self.report.spooled == self.spool.load.datagrams
        self.spool.close()
        return self.report


def test_a_spool_folder_that_is_deleted_in_mid_run_is_noticed_and_made_anew(tmp_path: Path) -> None:
    """What was in it is counted as lost and said; what comes later is kept in a new folder, which knows its bus."""
    one = Outage(tmp_path / "s")
    one.add(0, 100)
    assert one.report.spooled == 100
    shutil.rmtree(one.folder)
    one.add(100, 150)
    assert one.report.refused == {TAKEN_AWAY: 100}
    assert any("were taken away" in note for note in one.notes)
    report = one.finish()
    assert (report.spooled, report.status()) == (50, ExitStatus.INCOMPLETE)
    assert (one.folder / "target.json").read_bytes() == b"{}\n"
    with Spool(one.folder) as spool:
        assert sorted(numbers(spool.take(999))) == list(range(100, 150))


def test_a_deletion_is_noticed_though_nothing_is_written_any_more(tmp_path: Path) -> None:
    """At the end at the latest: no summary says spooled of what is gone."""
    one = Outage(tmp_path / "s")
    one.add(0, 100)
    shutil.rmtree(one.folder)
    report = one.finish()
    assert (report.spooled, report.refused[TAKEN_AWAY]) == (0, 100)


@pytest.mark.parametrize("what", ["deleted", "replaced", "cut"])
def test_a_segment_that_is_taken_away_is_noticed(what: str, tmp_path: Path) -> None:
    """Also while it is read from, and when another file stands in its place."""
    one = Outage(tmp_path / "s")
    one.add(0, 100)
    (segment,) = segments(one.folder)
    content = segment.read_bytes()
    if what == "cut":
        os.truncate(segment, 100)
    else:
        segment.unlink()
        if what == "replaced":
            segment.write_bytes(content)
    one.dead = False
    one.clock.sleep(60)
    one.add(100, 110)
    report = one.finish()
    assert (report.sent, report.refused) == (10, {TAKEN_AWAY: 100})


def test_a_folder_that_is_replaced_is_not_written_to_behind_its_new_owners_back(tmp_path: Path) -> None:
    """Another process has the new folder: what cannot be kept is refused by reason, and that is said."""
    one = Outage(tmp_path / "s")
    one.spool.when_full = "drop-newest"
    one.add(0, 100)
    one.folder.rename(tmp_path / "away")
    with Spool(one.folder) as other:
        other.put([entry(7000)])
        one.add(100, 150)
        assert one.report.refused == {TAKEN_AWAY: 100, "spool failed": 50}
        assert any("another process uses it" in note for note in one.notes)
    one.add(150, 160)
    report = one.finish()
    assert report.spooled == 10
    with Spool(one.folder) as spool:
        assert sorted(numbers(spool.take(999))) == [*range(150, 160), 7000]


def test_entries_under_way_when_the_folder_goes_count_once(tmp_path: Path) -> None:
    """Delivered after all: neither lost nor left."""
    with Spool(tmp_path / "s") as spool:
        spool.put([entry(number) for number in range(5)])
        taken = spool.take(5)
        shutil.rmtree(tmp_path / "s")
        spool.look()
        assert (spool.gone, spool.load, spool.done(taken)) == (EntryCount(5, 5), EntryCount(), EntryCount())
        assert all(spool.was_taken_away(kept.segment) for kept in taken)
        assert spool.take(5) == []
        spool.put([entry(9)])
        assert numbers(spool.take(5)) == [9]


def test_a_lock_that_is_deleted_costs_nothing(tmp_path: Path) -> None:
    """The segments are still there, and so is what is in them."""
    with Spool(tmp_path) as spool:
        spool.put([entry(1)])
        (tmp_path / "lock").unlink()
        spool.put([entry(2)])
        with pytest.raises(Unavailable, match="another process"):
            Spool(tmp_path)
        assert numbers(spool.take(5)) == [1, 2]


def test_dead_letters_that_are_taken_away_are_not_called_kept(tmp_path: Path) -> None:
    """The folder of dead letters is looked after like the spool itself."""
    clock, report, notes = FakeClock(), Report(frames=3, datagrams=3), []
    with Spool(tmp_path / "s") as spool:
        sink = MemorySink(lambda entry: "MalformedDetail")
        delivery = Delivery(
            sink, report, spool=spool, hooks=RunHooks(clock=clock, sleep=clock.sleep, note=notes.append)
        )
        for number in range(3):
            delivery.add(entry(number))
        clock.sleep(2)
        delivery.tick()
        assert report.dead == {"MalformedDetail": 3}
        shutil.rmtree(tmp_path / "s" / "dead")
        delivery.finish()
    assert (report.dead, report.refused) == ({}, {TAKEN_AWAY: 3})
    assert report.adds_up()
    assert any("taken away" in note for note in notes)


def test_every_put_is_synced_before_it_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The calls in their order: records are written, then synced, then counted; a new segment's name is synced, too."""
    calls: list[tuple[str, str]] = []
    write, fsync = os.write, os.fsync

    def name_of(descriptor: int) -> str:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        return "folder" if path.is_dir() else path.suffix

    def recorded_write(descriptor: int, data: bytes) -> int:
        calls.append(("write", name_of(descriptor)))
        return write(descriptor, data)

    def recorded_fsync(descriptor: int) -> None:
        calls.append(("sync", name_of(descriptor)))
        fsync(descriptor)

    monkeypatch.setattr(os, "write", recorded_write)
    monkeypatch.setattr(os, "fsync", recorded_fsync)
    report, clock = Report(), FakeClock()
    with Spool(tmp_path / "s") as spool:
        delivery = Delivery(
            MemorySink(lambda entry: "InternalFailure"),
            report,
            spool=spool,
            hooks=RunHooks(
                clock=clock,
                sleep=clock.sleep,
                stopping=lambda: True,
                acknowledged=lambda entries: calls.append(("acknowledged", "")),
            ),
        )
        for _ in range(2):
            calls.clear()
            delivery.refuse(entry(1), "interrupted")
            clock.sleep(1)
            delivery.tick()
            new = [("write", ".spool"), ("sync", "folder")] if report.spooled == 1 else []
            assert calls == [*new, ("write", ".spool"), ("sync", ".spool"), ("acknowledged", "")]
        delivery.finish(give_up=lambda: True)


def test_a_file_of_ours_is_opened_without_waiting_and_not_inherited(tmp_path: Path) -> None:
    """Close-on-exec, and an existing file is neither made anew nor cut unless asked."""
    (tmp_path / "f").write_bytes(b"abc")
    descriptor = open_regular(tmp_path / "f", os.O_RDWR | os.O_CREAT)
    assert os.read(descriptor, 9) == b"abc"
    assert not os.get_inheritable(descriptor)
    os.close(descriptor)
    os.close(open_regular(tmp_path / "f", os.O_RDWR | os.O_CREAT | os.O_TRUNC))
    assert (tmp_path / "f").read_bytes() == b""
    with pytest.raises(FileExistsError):
        open_regular(tmp_path / "f", os.O_RDWR | os.O_CREAT | os.O_EXCL)
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "g", os.O_RDONLY)
