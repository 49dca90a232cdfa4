"""One file of a spool: its records, what is marked as done, and how both are read whatever became of the bytes.

The format is described in `pcapeda.delivery.spool`.
"""

import contextlib
import json
import mmap
import os
import stat
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pcapeda.model import Entry, Failed
from pcapeda.safety.masking import masked
from pcapeda.safety.private_files import NotRegular, open_regular, read_regular

FORMAT = b"pcapeda spool 2\n"
FORMAT_1 = b"pcapeda spool 1\n"
DONE_FORMAT = b"pcapeda spool done 1\n"
MARK = b"\xff\xfepc"
MAX_RECORD = 16 << 20
"""No record is larger; a length beyond it is damage, not a reason to allocate."""

MAX_DONE = 64 << 20
"""Bytes of done marks that are read: eight times what the records of any segment could need."""

HEAD = struct.Struct("<4sIII")
_HEAD_1 = struct.Struct("<4sII")
_DONE = struct.Struct("<II")
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class EntryCount:
    """What entries come to: how many they are, the datagrams they stand for, and how many of them stand for none."""

    entries: int = 0
    datagrams: int = 0
    bare: int = 0

    @classmethod
    def of(cls, weights: Iterable[int]) -> "EntryCount":
        """That of entries which stand for so many datagrams each."""
        each = list(weights)
        return cls(len(each), sum(each), each.count(0))

    def __add__(self, other: "EntryCount") -> "EntryCount":
        return EntryCount(self.entries + other.entries, self.datagrams + other.datagrams, self.bare + other.bare)

    def __sub__(self, other: "EntryCount") -> "EntryCount":
        return EntryCount(self.entries - other.entries, self.datagrams - other.datagrams, self.bare - other.bare)


class SpoolRecord(NamedTuple):
    """An entry in the spool, and where: what `done` wants back."""

    entry: Entry
    segment: int
    at: int
    code: str | None = None
    """For a dead letter, the code that can never succeed; or the limit that refused it."""
    message: str = ""


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
        members["Code"], members["Message"] = failed.code, masked(failed.message)
    # A lone surrogate has no UTF-8; its backslash form is JSON's escape for it, so it comes back as it was.
    body = _encode(members).encode("utf-8", "backslashreplace")
    head = struct.pack("<II", len(body), entry.datagram_count)
    return MARK + head + zlib.crc32(body, zlib.crc32(head)).to_bytes(4, "little") + body


def write_all(descriptor: int, data: bytes) -> None:
    """Write every byte, or raise OSError: a disk that fills up takes the first part of a write without an error."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


class Segment:
    """One file of records: how much of it is sound, what is in it and not done."""

    def __init__(self, path: Path) -> None:
        self.number = int(path.stem)
        self.path = path
        self.done_path = path.with_suffix(".done")
        self.size = 0
        """Bytes on disk."""
        self.left = EntryCount()
        """What is not done."""
        self._file: tuple[int, int] | None = None
        """Device and inode, by which the file is known again."""
        self._done: set[int] = set()
        self._unmarked: list[int] = []

    def make(self) -> int:
        """Make the file, with nothing but the format's line in it; gives the descriptor. Raises `OSError`."""
        writer = open_regular(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND)
        try:
            write_all(writer, FORMAT)
            sync_folder(self.path.parent)
            self._know(os.fstat(writer))
        except OSError:
            os.close(writer)
            self.path.unlink(missing_ok=True)
            raise
        return writer

    def _know(self, told: os.stat_result) -> None:
        self._file, self.size = (told.st_dev, told.st_ino), told.st_size

    @property
    def whole(self) -> bool:
        """Whether the file is still there, the same one, and not shorter than it was."""
        try:
            told = self.path.lstat()
        except OSError:
            return False
        same = (told.st_dev, told.st_ino) == self._file and stat.S_ISREG(told.st_mode)
        return same and told.st_size >= self.size

    def scan(self) -> list[str]:
        """Read the file once and count the records that are not done; gives what is damaged, in words.

        Raises `OSError` for what is no regular file, or cannot be read.
        """
        damages: list[str] = []
        try:
            self._done = set(self._read_done())
        except OSError as error:
            damages.append(f"{self.done_path}: {error.strerror}: what it told is delivered twice")
        self._file = None
        self.left = EntryCount.of(weight for at, weight, _ in self._records(damages) if at not in self._done)
        return damages

    def _records(self, damages: list[str] | None = None) -> Iterator[tuple[int, int, bytes]]:
        """Offset, weight and body of every sound record, done or not. Raises `OSError`."""
        with os.fdopen(open_regular(self.path, os.O_RDONLY), "rb") as file:
            told = os.fstat(file.fileno())
            if self._file is None:
                self._know(told)
            elif self._file != (told.st_dev, told.st_ino):
                raise FileNotFoundError(f"{self.path} is another file now")
            total = told.st_size
            if not total:
                return
            with mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as data:
                at = len(FORMAT)
                head = {FORMAT: HEAD, FORMAT_1: _HEAD_1}.get(data[:at])
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

    def waiting(self) -> Iterator[tuple[int, int, SpoolRecord | None]]:
        """Offset, weight and entry of what is not done, in order; None for an entry that cannot be understood.

        Raises `OSError` when the file is no longer what it was.
        """
        for at, weight, body in self._records():
            if at not in self._done:
                yield at, weight, _kept(body, weight, self.number, at)

    def mark_done(self, records: Iterable[tuple[int, int]]) -> None:
        """Remember, here and on disk, that these have left: their offsets and weights.

        A disk that takes no mark now is asked again next time.
        """
        fresh = {at: weight for at, weight in records if at not in self._done}
        self._done.update(fresh)
        self.left -= EntryCount.of(fresh.values())
        self._unmarked += fresh
        if not self._unmarked or not self.left.entries:
            return  # a segment with nothing left is deleted, marks and all
        marks = b"".join(_DONE.pack(at, zlib.crc32(at.to_bytes(4, "little"))) for at in self._unmarked)
        with contextlib.suppress(OSError):
            descriptor = open_regular(self.done_path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
            try:
                self._append_marks(descriptor, marks)
            finally:
                os.close(descriptor)

    def _append_marks(self, descriptor: int, marks: bytes) -> None:
        size = os.fstat(descriptor).st_size
        _check_marks(os.pread(descriptor, len(DONE_FORMAT), 0), self.done_path)
        # A mark that was cut short would put all later ones out of step.
        whole = max(size - (size - len(DONE_FORMAT)) % _DONE.size, 0) if size >= len(DONE_FORMAT) else 0
        os.ftruncate(descriptor, whole)
        write_all(descriptor, marks if whole else DONE_FORMAT + marks)
        self._unmarked.clear()

    def _read_done(self) -> Iterator[int]:
        try:
            marks = read_regular(self.done_path, MAX_DONE)
        except FileNotFoundError:
            return
        _check_marks(marks[: len(DONE_FORMAT)], self.done_path)
        for place in range(len(DONE_FORMAT), len(marks) - _DONE.size + 1, _DONE.size):
            at, crc = _DONE.unpack_from(marks, place)
            if zlib.crc32(at.to_bytes(4, "little")) == crc:
                yield at

    def delete(self) -> None:
        """Remove the file and its marks, if they are ours."""
        # The records first: done marks without records are harmless, the other way round all would be sent again.
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)
            delete_marks(self.done_path)


def delete_marks(path: Path) -> None:
    """Remove a file of done marks; whatever else bears its name stays. Raises `OSError`."""
    with contextlib.suppress(FileNotFoundError, NotRegular):
        with os.fdopen(open_regular(path, os.O_RDONLY), "rb") as file:
            _check_marks(file.read(len(DONE_FORMAT)), path)
        path.unlink()


def _check_marks(head: bytes, path: Path) -> None:
    """Raises `NotRegular` if a file that begins like this is none of done marks."""
    if not DONE_FORMAT.startswith(head):
        raise NotRegular(path, "no done marks of a version this program knows")


def sync_folder(path: Path) -> None:
    """Make last what was made in a folder, or removed from it. Raises `OSError`."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


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


def _kept(body: bytes, weight: int, segment: int, at: int) -> SpoolRecord | None:
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
            datagram_count=weight,
            group=None if told.get("Group") is None else str(told["Group"]),
        )
        return SpoolRecord(entry, segment, at, told.get("Code"), str(told.get("Message", "")))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None  # a sound checksum over a body that no version of this format wrote
