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
import fcntl
import json
import mmap
import os
import struct
import zlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, Self

from pcapeda.errors import PcapedaError, Unavailable, of_system
from pcapeda.model import Entry, Failed

FORMAT = b"pcapeda spool 2\n"
FORMAT_1 = b"pcapeda spool 1\n"
DONE_FORMAT = b"pcapeda spool done 1\n"
MARK = b"\xff\xfepc"
SEGMENT_BYTES = 8 << 20
MAX_RECORD = 16 << 20
"""No record is larger; a length beyond it is damage, not a reason to allocate."""

WhenFull = Literal["block", "drop-oldest", "drop-newest"]

_HEAD = struct.Struct("<4sIII")
_HEAD_1 = struct.Struct("<4sII")
_DONE = struct.Struct("<II")
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class SpoolFailed(PcapedaError):
    """The disk did not take what was to be kept: full, read-only, gone."""


@dataclass(frozen=True, slots=True)
class Load:
    """What entries come to: how many they are, the datagrams they stand for, and how many of them stand for none."""

    entries: int = 0
    datagrams: int = 0
    bare: int = 0

    @classmethod
    def of(cls, weights: Iterable[int]) -> "Load":
        """That of entries which stand for so many datagrams each."""
        each = list(weights)
        return cls(len(each), sum(each), each.count(0))

    def __add__(self, other: "Load") -> "Load":
        return Load(self.entries + other.entries, self.datagrams + other.datagrams, self.bare + other.bare)

    def __sub__(self, other: "Load") -> "Load":
        return Load(self.entries - other.entries, self.datagrams - other.datagrams, self.bare - other.bare)


class Kept(NamedTuple):
    """An entry in the spool, and where: what `done` wants back."""

    entry: Entry
    segment: int
    at: int
    code: str | None = None
    """For a dead letter, the code that can never succeed; or the limit that refused it."""
    message: str = ""


class Put(NamedTuple):
    """What became of entries given to a spool. `taken` counts, from the first, those that were dealt with: all of them
    unless the spool is full and blocks. `dropped` of these were given up for want of room, the others are kept."""

    taken: int
    dropped: int = 0


def record_of(entry: Entry, failed: Failed | None = None) -> bytes:
    """One record, ready to be appended."""
    members: dict[str, object] = {
        "Source": entry.source,
        "DetailType": entry.detail_type,
        "Detail": entry.detail,
        "TimeNs": entry.time_ns,
        "Resources": entry.resources,
        "Size": entry.size,
        "Id": entry.id,
    }
    if entry.group is not None:
        members["Group"] = entry.group
    if failed is not None:
        members["Code"], members["Message"] = failed.code, failed.message
    # A lone surrogate has no UTF-8; its backslash form is JSON's escape for it, so it comes back as it was.
    body = _encode(members).encode("utf-8", "backslashreplace")
    head = struct.pack("<II", len(body), entry.stands_for)
    return MARK + head + zlib.crc32(body, zlib.crc32(head)).to_bytes(4, "little") + body


def _write_all(descriptor: int, data: bytes) -> None:
    """Write every byte, or raise OSError: a disk that fills up takes the first part of a write without an error."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


class _Segment:
    """One file of records: how much of it is sound, what is in it and not done."""

    def __init__(self, folder: Path, number: int) -> None:
        self.number = number
        self.path = folder / f"{number:08d}.spool"
        self.done_path = folder / f"{number:08d}.done"
        self.size = 0
        """Bytes on disk."""
        self.left = Load()
        """What is not done."""
        self._done: set[int] = set()
        self._unmarked: list[int] = []

    def scan(self) -> list[str]:
        """Read the file once and count the records that are not done; gives what is damaged, in words."""
        self._done = set(self._read_done())
        damages: list[str] = []
        self.left = Load.of(weight for at, weight, _ in self._records(damages) if at not in self._done)
        self.size = self.path.stat().st_size
        return damages

    def _records(self, damages: list[str] | None = None) -> Iterator[tuple[int, int, bytes]]:
        """Offset, weight and body of every sound record, done or not."""
        with self.path.open("rb") as file:
            total = os.fstat(file.fileno()).st_size
            if not total:
                return
            with mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as data:
                at = len(FORMAT)
                head = {FORMAT: _HEAD, FORMAT_1: _HEAD_1}.get(data[:at])
                if head is None:
                    if damages is not None:
                        damages.append(f"{self.path}: not a spool of a version this program knows")
                    return
                while at < total:
                    record = _record_at(data, at, total, head)
                    if record is not None:
                        yield at, *record
                        at += head.size + len(record[1])
                        continue
                    if damages is not None:
                        damages.append(f"{self.path}: cut short or damaged at byte {at:,}")
                    at = _next_sound(data, at + 1, total, head)

    def waiting(self) -> Iterator[tuple[int, int, Kept | None]]:
        """Offset, weight and entry of what is not done, in order; None for an entry that cannot be understood."""
        for at, weight, body in self._records():
            if at not in self._done:
                yield at, weight, _kept(body, weight, self.number, at)

    def mark_done(self, records: Iterable[tuple[int, int]]) -> None:
        """Remember, here and on disk, that these have left: their offsets and weights.

        A disk that takes no mark now is asked again next time.
        """
        fresh = {at: weight for at, weight in records if at not in self._done}
        self._done.update(fresh)
        self.left -= Load.of(fresh.values())
        self._unmarked += fresh
        if not self._unmarked or not self.left.entries:
            return  # a segment with nothing left is deleted, marks and all
        marks = b"".join(_DONE.pack(at, zlib.crc32(at.to_bytes(4, "little"))) for at in self._unmarked)
        with contextlib.suppress(OSError), self.done_path.open("ab", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            # A mark that was cut short would put all later ones out of step.
            whole = max(size - (size - len(DONE_FORMAT)) % _DONE.size, 0) if size >= len(DONE_FORMAT) else 0
            os.ftruncate(file.fileno(), whole)
            _write_all(file.fileno(), marks if whole else DONE_FORMAT + marks)
            self._unmarked.clear()

    def _read_done(self) -> Iterator[int]:
        try:
            marks = self.done_path.read_bytes()
        except FileNotFoundError:
            return
        if not marks.startswith(DONE_FORMAT):
            return
        for place in range(len(DONE_FORMAT), len(marks) - _DONE.size + 1, _DONE.size):
            at, crc = _DONE.unpack_from(marks, place)
            if zlib.crc32(at.to_bytes(4, "little")) == crc:
                yield at

    def delete(self) -> None:
        # The records first: done marks without records are harmless, the other way round all would be sent again.
        self.path.unlink(missing_ok=True)
        self.done_path.unlink(missing_ok=True)


def _record_at(data: mmap.mmap, at: int, total: int, head: struct.Struct) -> tuple[int, bytes] | None:
    """Weight and body of the record that begins at `at`, or None if there is no sound one."""
    if total - at < head.size:
        return None
    mark, length, *weight, crc = head.unpack_from(data, at)
    start = at + head.size
    if mark != MARK or length > min(MAX_RECORD, total - start):
        return None
    body = data[start : start + length]
    sound = zlib.crc32(body, zlib.crc32(data[at + len(MARK) : start - 4])) == crc
    return (weight[0] if weight else 1, body) if sound else None


def _next_sound(data: mmap.mmap, at: int, total: int, head: struct.Struct) -> int:
    """Where the next sound record begins, or the end."""
    while (at := data.find(MARK, at)) >= 0:
        if _record_at(data, at, total, head) is not None:
            return at
        at += 1
    return total


def _kept(body: bytes, weight: int, segment: int, at: int) -> Kept | None:
    try:
        told = json.loads(body)
        entry = Entry(
            str(told["Source"]),
            str(told["DetailType"]),
            str(told["Detail"]),
            None if told["TimeNs"] is None else int(told["TimeNs"]),
            tuple(map(str, told["Resources"])),
            int(told["Size"]),
            str(told["Id"]),
            stands_for=weight,
            group=None if told.get("Group") is None else str(told["Group"]),
        )
        return Kept(entry, segment, at, told.get("Code"), str(told.get("Message", "")))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None  # a sound checksum over a body that no version of this format wrote


class Spool:
    """A folder of segments that one process at a time writes and drains.

    `put` appends and makes it last, `take` gives the oldest entries that are not under way, `done` marks them as
    delivered, `give_back` returns them. `load` is what waits, that under way included, and `len` the number of its
    entries. `max_bytes` bounds the records on disk; when they would exceed it, `when_full` says what gives way: nothing
    (`put` takes no more), the oldest segment, or the new entries. `damages` says what could not be read, `unreadable`
    and `pushed_out` are what left it undelivered since it was opened: not understood, or dropped as the oldest. `dead`
    and `limited` are spools in folders of their own, of entries that can never succeed and of those that limits
    refused; `letters` tells that this is one: what fails for good stays. Not safe for several threads.

    Raises `BadConfig` when the folder cannot be used or another process has it, `SpoolFailed` when the disk does not
    take what should be kept.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        max_bytes: int = 1 << 30,
        when_full: WhenFull = "block",
        letters: bool = False,
    ) -> None:
        self.folder = Path(folder)
        self.max_bytes = max_bytes
        self.when_full = when_full
        self.letters = letters
        self.damages: list[str] = []
        self.pushed_out = Load()
        self.unreadable = Load()
        # Dropping the oldest gives up whole segments: small ones, where the whole is small.
        self._segment_bytes = min(SEGMENT_BYTES, max(max_bytes // 8, 4096))
        self._segments: deque[_Segment] = deque()
        self._number = 0
        self._writer: int | None = None
        self._reader: Iterator[tuple[int, int, Kept | None]] | None = None
        self._reading: _Segment | None = None
        self._read_up_to = 0
        self._returned: deque[Kept] = deque()
        self._asides: dict[str, Spool] = {}
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = (self.folder / "lock").open("a")
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._lock.close()
                raise Unavailable(
                    f"spool {self.folder}: another process uses it", hint="stop it, or give another folder"
                ) from None
            self._open()
        except OSError as error:
            raise of_system(f"spool {folder}", error) from None

    def _open(self) -> None:
        for path in sorted(self.folder.glob("*.spool")):
            if not path.stem.isdecimal():
                continue
            segment = _Segment(self.folder, int(path.stem))
            segment.path = path
            segment.done_path = path.with_suffix(".done")
            self._number = max(self._number, segment.number)
            damages = segment.scan()
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
    def load(self) -> Load:
        """What waits here, that under way included."""
        return sum((segment.left for segment in self._segments), Load())

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
            self._asides[name] = Spool(folder, max_bytes=self.max_bytes, when_full="drop-newest", letters=True)
        return self._asides[name]

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
        room = self.max_bytes - len(FORMAT)
        oversize = [len(record) > room for record in records]
        if self.when_full == "drop-oldest":
            # Of the new ones, too, the oldest give way: what is kept is the newest that fits.
            total, first = 0, len(records)
            while first and (oversize[first - 1] or total + len(records[first - 1]) <= room):
                first -= 1
                total += 0 if oversize[first] else len(records[first])
            chosen = [record for record, large in zip(records[first:], oversize[first:], strict=True) if not large]
            while self._segments and self.size + total > room:
                self._drop_oldest()
            taken = len(records)
        else:
            chosen, room = [], room - self.size
            taken = len(records)
            for number, (record, large) in enumerate(zip(records, oversize, strict=True)):
                if large:
                    continue
                if len(record) > room:
                    taken = number if self.when_full == "block" else taken
                    break
                chosen.append(record)
                room -= len(record)
        if chosen:
            self._write(chosen)
        return Put(taken, taken - len(chosen))

    def _write(self, records: list[bytes]) -> None:
        data = b"".join(records)
        segment = None
        try:
            segment, writer = self._writable()
            _write_all(writer, data)
            os.fsync(writer)
        except OSError as error:
            if segment is not None and self._writer is not None:
                # Take back what half went through: the next segment starts clean, and the disk has a little room.
                with contextlib.suppress(OSError):
                    os.ftruncate(self._writer, segment.size)
            self._seal()
            raise SpoolFailed(f"spool {self.folder}: {error.strerror}") from None
        segment.size += len(data)
        segment.left += Load.of(_HEAD.unpack_from(record)[2] for record in records)
        if segment.size >= self._segment_bytes:
            self._seal()

    def _writable(self) -> tuple[_Segment, int]:
        """The segment that is written, a new one if there is none. Raises `OSError`."""
        if self._writer is not None:
            return self._segments[-1], self._writer
        self._number += 1
        segment = _Segment(self.folder, self._number)
        writer = os.open(segment.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            _write_all(writer, FORMAT)
            folder = os.open(self.folder, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError:
            os.close(writer)
            segment.path.unlink(missing_ok=True)
            raise
        segment.size = len(FORMAT)
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
        segment = self._segments.popleft()
        if self._reading is segment:
            self._reader = self._reading = None
        self._returned = deque(kept for kept in self._returned if kept.segment != segment.number)
        self.pushed_out += segment.left
        segment.delete()

    def take(self, number: int) -> list[Kept]:
        """Up to `number` of the oldest entries that are not under way; they stay on disk until they are `done`."""
        got: list[Kept] = []
        while len(got) < number:
            if self._returned:
                got.append(self._returned.popleft())
                continue
            if self._reader is None and not self._read_next_segment():
                break
            assert self._reader is not None
            assert self._reading is not None
            at, weight, kept = next(self._reader, (0, 0, None))
            if kept is not None:
                got.append(kept)
            elif at:
                self.damages.append(f"{self._reading.path}: no entry of a version this program knows at byte {at:,}")
                self.unreadable += Load.of([weight])
                self._reading.mark_done([(at, weight)])
            else:
                segment, self._reader, self._reading = self._reading, None, None
                self._forget_if_empty(segment)
        return got

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

    def done(self, kept: Sequence[Kept]) -> Load:
        """These were delivered, or are given up for good: never give them again.

        Gives what of them was still in the spool: the others were pushed out while they were under way.
        """
        there = Load()
        for segment, records in self._by_segment(kept):
            segment.mark_done(records)
            there += Load.of(weight for _, weight in records)
            self._forget_if_empty(segment)
        return there

    def give_back(self, kept: Sequence[Kept]) -> None:
        """These were not delivered after all: they are the next to be taken, unless they were pushed out meanwhile."""
        there = {segment.number for segment in self._segments}
        still = [one for one in kept if one.segment in there]
        self._returned = deque(sorted([*still, *self._returned], key=lambda one: (one.segment, one.at)))

    def _by_segment(self, kept: Iterable[Kept]) -> list[tuple[_Segment, list[tuple[int, int]]]]:
        records: dict[int, list[tuple[int, int]]] = {}
        for one in kept:
            records.setdefault(one.segment, []).append((one.at, one.entry.stands_for))
        return [(segment, records[segment.number]) for segment in self._segments if segment.number in records]

    def _forget_if_empty(self, segment: _Segment) -> None:
        written = self._writer is not None and segment is self._segments[-1]
        if not segment.left.entries and not written and segment in self._segments:
            if segment is self._reading:
                self._reader = self._reading = None
            self._segments.remove(segment)
            segment.delete()

    def close(self) -> None:
        """Let go of the files and of the folder."""
        self._reader = self._reading = None
        self._seal()
        for segment in [one for one in self._segments if not one.left.entries]:
            self._forget_if_empty(segment)
        for aside in self._asides.values():
            aside.close()
        self._lock.close()
