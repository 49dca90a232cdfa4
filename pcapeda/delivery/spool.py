"""What could not be delivered, kept on disk: an append-only, checksummed journal that survives `kill -9`.

A spool is a folder of segments. A segment is a file `NNNNNNNN.spool` of records, written once, front to back, by one
process; beside it `NNNNNNNN.done` lists the records that have left it again. Both begin with a line that names the
format and its version, which is a number of its own, apart from the program's release. A record is

    mark     4 bytes                  FF FE 'p' 'c': bytes FF and FE never occur in UTF-8, so a body cannot hold it
    length   4 bytes, little-endian   of the body
    weight   4 bytes, little-endian   how many datagrams the entry stands for
    crc32    4 bytes, little-endian   of length, weight and body
    body     JSON in UTF-8            the members of an `Entry`; a dead letter has its code and message too

(version 1, which is still read, had no weight: an entry stood for one datagram). A done mark is the record's byte
offset in its segment and the CRC-32 of that number, 4 bytes each. What was cut short or damaged shows in its length or
checksum; reading goes on at the next sound mark. A segment whose every record is done is deleted, and a new process
writes a new segment. Nothing counts as kept before it was synced; done marks are written at once but not synced, so a
crash of the whole machine may deliver some of the last entries twice.
"""

import contextlib
import errno
import fcntl
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, Self

from pcapeda.delivery.segment import (
    DONE_FORMAT,
    FORMAT,
    FORMAT_1,
    HEAD,
    MARK,
    MAX_RECORD,
    EntryCount,
    Segment,
    SpoolRecord,
    delete_marks,
    record_of,
    write_all,
)
from pcapeda.errors import PcapedaError, Unavailable, of_system
from pcapeda.model import Entry, Failed
from pcapeda.safety.private_files import make_folder, open_regular, write_regular

__all__ = [
    "DONE_FORMAT",
    "FORMAT",
    "FORMAT_1",
    "MARK",
    "MAX_RECORD",
    "EntryCount",
    "Put",
    "Spool",
    "SpoolFailed",
    "SpoolRecord",
    "WhenFull",
    "record_of",
]

SEGMENT_BYTES = 8 << 20
LONGEST_NUMBER = 18
"""Digits of a segment's number: what has more was not made here."""

WhenFull = Literal["block", "drop-oldest", "drop-newest"]


class SpoolFailed(PcapedaError):
    """The disk did not take what was to be kept. `full` tells that it has no room: there may be some later."""

    def __init__(self, message: str, *, full: bool = False) -> None:
        super().__init__(message)
        self.full = full


class Put(NamedTuple):
    """What became of entries given to a spool. `taken` counts, from the first, those that were dealt with: all of them
    unless the spool is full and blocks. `dropped` of these were given up for want of room, the others are kept."""

    taken: int
    dropped: int = 0


class Spool:
    """A folder of segments that one process at a time writes and drains.

    `put` appends and makes it last, `take` gives the oldest entries that are not under way, `done` marks them as
    delivered, `give_back` returns them. `load` is what waits, that under way included, and `len` the number of its
    entries. `max_bytes` bounds the records on disk; when they would exceed it, or the disk has no room for them,
    `when_full` says what gives way: nothing (`put` takes no more), the oldest segment, or the new entries. `damages`
    says what could not be read; `unreadable`, `pushed_out` and `gone` are what left it undelivered since it was opened:
    not understood, dropped as the oldest, or taken away on disk by somebody else, which `look` notices (and so does
    whatever needs the files). `dead` and `limited` are spools in folders of their own, of entries that can never
    succeed and of those that limits refused; `dead_letters` tells that this is one: what fails for good stays. Not safe
    for several threads.

    Raises `BadConfig` when the folder cannot be used or another process has it, `SpoolFailed` when the disk does not
    take what should be kept.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        max_bytes: int = 1 << 30,
        when_full: WhenFull = "block",
        dead_letters: bool = False,
    ) -> None:
        self.folder = Path(folder)
        self.max_bytes = max_bytes
        self.when_full = when_full
        self.dead_letters = dead_letters
        self.damages: list[str] = []
        self.pushed_out = EntryCount()
        self.unreadable = EntryCount()
        self.gone = EntryCount()
        # Dropping the oldest gives up whole segments: small ones, where the whole is small.
        self._segment_bytes = min(SEGMENT_BYTES, max(max_bytes // 8, 4096))
        self._segments: deque[Segment] = deque()
        self._number = 0
        self._writer: int | None = None
        self._reader: Iterator[tuple[int, int, SpoolRecord | None]] | None = None
        self._reading: Segment | None = None
        self._read_up_to = 0
        self._returned: deque[SpoolRecord] = deque()
        self._asides: dict[str, Spool] = {}
        self._taken_away: set[int] = set()
        self._label: tuple[str, bytes] | None = None
        self._lock: int | None = None
        try:
            self._lock = self._claim()
            self._open()
        except OSError as error:
            self._let_go()
            raise of_system(f"spool {folder}{_which(error, self.folder)}", error) from None

    def _claim(self) -> int:
        """Make the folder if it is not there, and have it for this process alone. Raises `OSError`, `BadConfig`."""
        make_folder(self.folder)
        path = self.folder / "lock"
        lock = open_regular(path, os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is(lock, path):
                return lock
        except BlockingIOError:
            pass
        except OSError:
            os.close(lock)
            raise
        os.close(lock)
        raise Unavailable(f"spool {self.folder}: another process uses it", hint="stop it, or give another folder")

    def _open(self) -> None:
        found = []
        for path in self.folder.iterdir():
            if path.suffix not in (".spool", ".done") or not path.stem.isdecimal():
                continue
            if len(path.stem) > LONGEST_NUMBER:
                self.damages.append(f"{path}: no name of a segment")
                continue
            # A number is not used again while its marks are there: they would tell of other records.
            self._number = max(self._number, int(path.stem))
            if path.suffix == ".spool":
                found.append(path)
            elif not path.with_suffix(".spool").exists():
                with contextlib.suppress(OSError):
                    delete_marks(path)
        for path in sorted(found, key=lambda path: (int(path.stem), path.name)):
            self._open_segment(Segment(path))

    def _open_segment(self, segment: Segment) -> None:
        try:
            damages = segment.scan()
        except OSError as error:
            self.damages.append(f"{segment.path}: {error.strerror}")
            return
        self.damages += damages
        if segment.left.entries:
            self._segments.append(segment)
        elif not damages:
            segment.delete()  # nothing waits in it; a damaged one stays for whoever wants to look

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        return self.load.entries

    def __bool__(self) -> bool:
        return True  # an empty spool is a spool

    @property
    def load(self) -> EntryCount:
        """What waits here, that under way included."""
        return sum((segment.left for segment in self._segments), EntryCount())

    @property
    def size(self) -> int:
        """Bytes of the segments on disk that hold entries which wait."""
        return sum(segment.size for segment in self._segments)

    @property
    def dead(self) -> "Spool":
        """Where dead letters go; the folder is made when it is first asked for."""
        return self._aside("dead")

    @property
    def limited(self) -> "Spool":
        """Where what limits refuse may go; the folder is made when it is first asked for."""
        return self._aside("limited")

    def _aside(self, name: str) -> "Spool":
        if name not in self._asides:
            folder = self.folder / name
            self._asides[name] = Spool(folder, max_bytes=self.max_bytes, when_full="drop-newest", dead_letters=True)
        return self._asides[name]

    @property
    def asides(self) -> "dict[str, Spool]":
        """Those of `dead` and `limited` that were asked for, by these names."""
        return dict(self._asides)

    def label(self, name: str, content: bytes) -> None:
        """Keep a small file of this name in the folder, whatever becomes of the folder. Raises `OSError`."""
        write_regular(self.folder / name, content)
        self._label = name, content

    # Putting

    def put(self, entries: Sequence[Entry]) -> Put:
        """Append entries and sync them."""
        return self._append([record_of(entry) for entry in entries])

    def put_dead(self, failures: Sequence[Failed]) -> Put:
        """The same for entries that can never succeed, among the dead letters, with code and message."""
        return self.dead._append([record_of(failed.entry, failed) for failed in failures])

    def put_limited(self, failures: Sequence[Failed]) -> Put:
        """The same for entries that a limit has refused, with the limit as the code."""
        return self.limited._append([record_of(failed.entry, failed) for failed in failures])

    def _append(self, records: list[bytes]) -> Put:
        self.look()
        self._have_folder()
        room = self.max_bytes - len(FORMAT)
        oversize = [len(record) > room for record in records]
        taken = len(records)
        if self.when_full == "drop-oldest":
            # Of the new ones, too, the oldest give way: what is kept is the newest that fits.
            total, first = 0, len(records)
            while first and (oversize[first - 1] or total + len(records[first - 1]) <= room):
                first -= 1
                total += 0 if oversize[first] else len(records[first])
            chosen = [record for record, large in zip(records[first:], oversize[first:], strict=True) if not large]
            while self._segments and self.size + total > room:
                self._drop_oldest()
            return Put(taken, taken - self._write_newest(chosen))
        chosen, room = [], room - self.size
        for number, (record, large) in enumerate(zip(records, oversize, strict=True)):
            if large:
                continue
            if len(record) > room:
                taken = number if self.when_full == "block" else taken
                break
            chosen.append(record)
            room -= len(record)
        self._write(chosen)
        return Put(taken, taken - len(chosen))

    def _write_newest(self, records: list[bytes]) -> int:
        """Write records; on a disk without room the oldest gives way, first what is there, then of these. Gives how
        many of these, from the last on, were written."""
        while True:
            try:
                self._write(records)
            except SpoolFailed as error:
                if not error.full or (not self._segments and len(records) < 2):
                    raise
                if self._segments:
                    self._drop_oldest()
                else:
                    records = records[-(len(records) // 2) :]
            else:
                return len(records)

    def _write(self, records: list[bytes]) -> None:
        if not records:
            return
        data = b"".join(records)
        segment = None
        try:
            segment, writer = self._writable()
            write_all(writer, data)
            os.fsync(writer)
        except OSError as error:
            if segment is not None and self._writer is not None:
                # Take back what half went through: the next segment starts clean, and the disk has a little room.
                with contextlib.suppress(OSError):
                    os.ftruncate(self._writer, segment.size)
            self._seal()
            raise self._failed(error) from None
        segment.size += len(data)
        segment.left += EntryCount.of(HEAD.unpack_from(record)[2] for record in records)
        if segment.size >= self._segment_bytes:
            self._seal()

    def _failed(self, error: OSError) -> SpoolFailed:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        return SpoolFailed(f"spool {self.folder}: {_why(error, self.folder)}", full=full)

    def _writable(self) -> tuple[Segment, int]:
        """The segment that is written, a new one if there is none. Raises `OSError`."""
        if self._writer is not None:
            return self._segments[-1], self._writer
        self._number += 1
        segment = Segment(self.folder / f"{self._number:08d}.spool")
        writer = segment.make()
        self._segments.append(segment)
        self._writer = writer
        return segment, writer

    def _seal(self) -> None:
        """Write no more to the newest segment."""
        if self._writer is not None:
            os.close(self._writer)
            self._writer = None
            if not self._segments[-1].left.entries:
                self._segments.pop().delete()

    def _drop_oldest(self) -> None:
        """Delete the oldest segment. Entries of it that are under way may still be delivered."""
        if len(self._segments) == 1:
            self._seal()
        if not self._segments:
            return
        segment = self._segments[0]
        self.pushed_out += segment.left
        self._forget(segment)
        segment.delete()

    # What others do to the folder

    def look(self) -> None:
        """Notice what somebody else has taken away from the folder, and count it as `gone`."""
        for segment in [one for one in self._segments if not one.whole]:
            self._lose(segment)

    def was_taken_away(self, segment: int) -> bool:
        """Whether the segment of this number is among what is `gone`."""
        return segment in self._taken_away

    def _lose(self, segment: Segment) -> None:
        if self._writer is not None and segment is self._segments[-1]:
            os.close(self._writer)
            self._writer = None
        self.gone += segment.left
        self._taken_away.add(segment.number)
        self._forget(segment)

    def _have_folder(self) -> None:
        """Make the folder anew if it was taken away or replaced. Raises `SpoolFailed`."""
        if self._lock is not None and _is(self._lock, self.folder / "lock"):
            return
        self._let_go()
        try:
            self._lock = self._claim()
            there = [int(path.stem) for path in self.folder.glob("*.*") if path.stem.isdecimal()]
            self._number = max([self._number, *there])
            if self._label is not None:
                self.label(*self._label)
        except OSError as error:
            raise self._failed(error) from None
        except PcapedaError as error:
            raise SpoolFailed(str(error)) from None

    def _let_go(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    # Taking

    def take(self, number: int) -> list[SpoolRecord]:
        """Up to `number` of the oldest entries that are not under way; they stay on disk until they are `done`."""
        got: list[SpoolRecord] = []
        while len(got) < number:
            if self._returned:
                got.append(self._returned.popleft())
                continue
            if self._reader is None and not self._read_next_segment():
                break
            assert self._reader is not None
            assert self._reading is not None
            reading = self._reading
            try:
                at, weight, kept = next(self._reader, (0, 0, None))
            except OSError:
                self._lose(reading)
                continue
            if kept is not None:
                got.append(kept)
            elif at:
                self.damages.append(f"{reading.path}: no entry of a version this program knows at byte {at:,}")
                self.unreadable += EntryCount.of([weight])
                reading.mark_done([(at, weight)])
            else:
                self._reader = self._reading = None
                self._forget_if_empty(reading)
        return [kept for kept in got if kept.segment not in self._taken_away]

    def _read_next_segment(self) -> bool:
        for segment in self._segments:
            if segment.number > self._read_up_to:
                if segment is self._segments[-1]:
                    self._seal()
                self._reading, self._reader, self._read_up_to = segment, segment.waiting(), segment.number
                return True
        return False

    def rewind(self) -> None:
        """Begin anew with the oldest: what was taken and neither done nor given back is given again."""
        self._reader = self._reading = None
        self._read_up_to = 0
        self._returned.clear()

    def done(self, kept: Sequence[SpoolRecord]) -> EntryCount:
        """These were delivered, or are given up for good: never give them again.

        Gives what of them was still in the spool: the others were pushed out, or taken away, while they were under way.
        """
        there = EntryCount()
        for segment, records in self._by_segment(kept):
            segment.mark_done(records)
            there += EntryCount.of(weight for _, weight in records)
            self._forget_if_empty(segment)
        return there

    def give_back(self, kept: Sequence[SpoolRecord]) -> None:
        """These were not delivered after all: they are the next to be taken, unless they were pushed out meanwhile."""
        there = {segment.number for segment in self._segments}
        still = [one for one in kept if one.segment in there]
        self._returned = deque(sorted([*still, *self._returned], key=lambda one: (one.segment, one.at)))

    def _by_segment(self, kept: Iterable[SpoolRecord]) -> list[tuple[Segment, list[tuple[int, int]]]]:
        records: dict[int, list[tuple[int, int]]] = {}
        for one in kept:
            records.setdefault(one.segment, []).append((one.at, one.entry.datagram_count))
        return [(segment, records[segment.number]) for segment in self._segments if segment.number in records]

    def _forget_if_empty(self, segment: Segment) -> None:
        written = self._writer is not None and segment is self._segments[-1]
        if not segment.left.entries and not written and segment in self._segments:
            self._forget(segment)
            segment.delete()

    def _forget(self, segment: Segment) -> None:
        if segment is self._reading:
            self._reader = self._reading = None
        self._segments.remove(segment)
        self._returned = deque(kept for kept in self._returned if kept.segment != segment.number)

    def close(self) -> None:
        """Let go of the files and of the folder."""
        self._reader = self._reading = None
        self._seal()
        for segment in [one for one in self._segments if not one.left.entries]:
            self._forget_if_empty(segment)
        for aside in self._asides.values():
            aside.close()
        self._let_go()


def _is(descriptor: int, path: Path) -> bool:
    """Whether the open file is what `path` names."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except OSError:
        return False


def _why(error: OSError, folder: Path) -> str:
    """What the operating system said, and of which file in the folder if it is one."""
    return f"{_which(error, folder)}: {error.strerror}".removeprefix(": ")


def _which(error: OSError, folder: Path) -> str:
    """`: NAME` of the file in the folder that the operating system means, if it is one."""
    name = Path(error.filename).name if isinstance(error.filename, str | Path) else ""
    return f": {name}" if name and name != folder.name else ""
