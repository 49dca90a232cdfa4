"""What of which capture has been delivered, on disk, so that a replay that was interrupted or killed goes on there.

A checkpoint is one file: a line that names the format and its version, then records of 40 bytes, appended as answers
come in, each written at once and whole:

    key      16 bytes                 the capture, and what was asked of it (see `identify`)
    loop     4 bytes, little-endian   which round of --loop, from 0
    first    8 bytes, little-endian   ordinal of a datagram among those the run selected, from 0
    last     8 bytes, little-endian   all from `first` to `last` are delivered, in the spool, or dead letters
    crc32    4 bytes, little-endian   of the 36 bytes before

A record that was cut short or damaged is passed over: what it told is sent again. Records are not synced one by one,
so a crash of the whole machine (not of the program) may send the last ones again.

Version 2 differs from version 1 in what keys are made of. Records of version 1 are read: what they tell of a run is
written down once more under its key of version 2.
"""

import contextlib
import errno
import fcntl
import os
import struct
import zlib
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple, Self

from pcapeda.errors import BadConfig, Unavailable, of_system
from pcapeda.model import Entry
from pcapeda.safety.private_files import open_regular

FORMAT = b"pcapeda checkpoint 2\n"
FORMAT_1 = b"pcapeda checkpoint 1\n"
ANY_FORMAT = b"pcapeda checkpoint "
EDGE, BLOCK, BLOCKS = 256 << 10, 4 << 10, 64
MANY = 1 << 16
"""Records that are appended at least before the file is looked at again: could it be shorter?"""

_RECORD = struct.Struct("<16sIQQI")


def identify(path: str, *told: str) -> list[bytes]:
    """Keys for the content of a capture, whatever its name is: one for each of `told`, what a run asks of it.

    The content counts by its size, its first and last 256 KiB and 64 blocks of 4 KiB evenly between: enough to tell
    captures apart, and a fraction of the time it takes to read a large one. A file that has grown is another capture.
    Raises `BadConfig` for what is no regular file: a pipe cannot be read twice, so there is nothing to go on with.
    """
    digests = [blake2b(one.encode("utf-8", "backslashreplace"), digest_size=16) for one in told]
    try:
        if Path(path).exists() and not Path(path).is_file():
            raise BadConfig(f"--checkpoint cannot know {path} again: it is no regular file")
        for piece in _pieces(path):
            for digest in digests:
                digest.update(piece)
    except OSError as error:
        raise BadConfig(f"{path}: {error.strerror}") from None
    return [digest.digest() for digest in digests]


def _pieces(path: str) -> Iterator[bytes]:
    """What counts of a capture's content."""
    with Path(path).open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        yield b"\0%d\0" % size
        yield file.read(EDGE)
        if size > 2 * EDGE:
            for number in range(BLOCKS):
                file.seek(EDGE + (size - 2 * EDGE) * number // BLOCKS)
                yield file.read(BLOCK)
        if size > EDGE:
            file.seek(max(size - EDGE, EDGE))
            yield file.read(EDGE)


class Ranges:
    """A set of numbers that come mostly in a row, kept as its gaps."""

    __slots__ = ("_ends", "_starts")

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []

    def __contains__(self, number: int) -> bool:
        place = bisect_right(self._starts, number) - 1
        return place >= 0 and number <= self._ends[place]

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self._starts, self._ends, strict=True)

    def add(self, first: int, last: int) -> None:
        """All from `first` to `last`, both included."""
        starts, ends = self._starts, self._ends
        low = bisect_right(starts, first)
        if low and ends[low - 1] >= first - 1:
            low -= 1
        high = bisect_right(starts, last + 1)
        if low < high:
            first, last = min(first, starts[low]), max(last, ends[high - 1])
        starts[low:high], ends[low:high] = [first], [last]


PIECE_BITS = 12
PIECE = 1 << PIECE_BITS
FULL = (1 << PIECE) - 1


class Numbers:
    """A set of numbers that come in a row or a little out of order, at less than two bits each at worst.

    Numbers are kept in pieces of 4,096: those that are all there as ranges, the others with a bit for each number.
    """

    __slots__ = ("_full", "_partial")

    def __init__(self) -> None:
        self._full = Ranges()
        self._partial: dict[int, int] = {}

    def __contains__(self, number: int) -> bool:
        piece = number >> PIECE_BITS
        bits = self._partial.get(piece)
        return piece in self._full if bits is None else bool(bits >> (number & (PIECE - 1)) & 1)

    def add(self, first: int, last: int) -> None:
        """All from `first` to `last`, both included."""
        low, high = first >> PIECE_BITS, last >> PIECE_BITS
        if low == high:
            self._add_to(low, first & (PIECE - 1), last & (PIECE - 1))
            return
        self._add_to(low, first & (PIECE - 1), PIECE - 1)
        self._add_to(high, 0, last & (PIECE - 1))
        if high - low > 1:
            self._full.add(low + 1, high - 1)
            for piece in [piece for piece in self._partial if low < piece < high]:
                del self._partial[piece]

    def _add_to(self, piece: int, first: int, last: int) -> None:
        if piece in self._full:
            return
        bits = self._partial.get(piece, 0) | ((1 << (last - first + 1)) - 1) << first
        if bits == FULL:
            self._full.add(piece, piece)
            self._partial.pop(piece, None)
        else:
            self._partial[piece] = bits

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """The runs of consecutive numbers, in order."""
        runs = [(low << PIECE_BITS, (high + 1 << PIECE_BITS) - 1) for low, high in self._full]
        for piece, bits in self._partial.items():
            runs += [(first + (piece << PIECE_BITS), last + (piece << PIECE_BITS)) for first, last in _ones(bits)]
        runs.sort()
        held: tuple[int, int] | None = None
        for first, last in runs:
            if held is not None and held[1] == first - 1:
                held = held[0], last
                continue
            if held is not None:
                yield held
            held = first, last
        if held is not None:
            yield held


def _ones(bits: int) -> Iterator[tuple[int, int]]:
    """The runs of bits that are set, from the lowest."""
    at = 0
    while bits:
        zeros = (bits & -bits).bit_length() - 1
        bits >>= zeros
        ones = (~bits & bits + 1).bit_length() - 1
        yield at + zeros, at + zeros + ones - 1
        bits >>= ones
        at += zeros + ones


class Place(NamedTuple):
    """One reading of a capture: its key and the round."""

    key: bytes
    loop: int


class Checkpoint:
    """The checkpoint file at `path`, made if it is not there; one process at a time has it.

    `under_way` is told where an entry comes from before it is sent, `acknowledged` which entries are cared for; `has`
    then says of a datagram, now and in later processes, that it needs no sending. `problem` is None, or a sentence on
    why the disk took no more records. Raises `BadConfig` when the file cannot be used, is none, or is in use.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.problem: str | None = None
        self._done: dict[Place, Numbers] = {}
        self._under_way: dict[int, tuple[Place, Sequence[int]]] = {}
        self._unwritten = b""
        self._seen: dict[tuple[bytes, int], int] = {}
        try:
            self._file = open_regular(self.path, os.O_RDWR | os.O_CREAT)
            try:
                self._lock(self._file)
                self._records = self._read()
                self._shorten()
            except BaseException:
                os.close(self._file)
                raise
        except OSError as error:
            raise of_system(f"--checkpoint {path}", error) from None

    def _lock(self, file: int) -> None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            mine = os.fstat(file).st_ino == self.path.stat().st_ino
        except BlockingIOError:
            mine = False
        if not mine:
            raise Unavailable(f"--checkpoint {self.path}: another process uses it")

    def _read(self) -> int:
        """Take in all records; gives how many there are, and leaves the file ready to be appended to."""
        with open(self._file, "rb", closefd=False) as file:
            head = file.read(len(FORMAT))
            self._former = head == FORMAT_1
            if head not in (FORMAT, FORMAT_1):
                if head and not FORMAT.startswith(head):
                    newer = head.startswith(ANY_FORMAT)
                    kind = "it is of another version of pcapeda" if newer else "this is another kind of file"
                    raise BadConfig(f"--checkpoint {self.path}: {kind}", hint="give another file")
                os.ftruncate(self._file, 0)
                os.pwrite(self._file, FORMAT, 0)
                self._size = len(FORMAT)
                return 0
            records = 0
            while len(record := file.read(_RECORD.size)) == _RECORD.size:
                records += 1
                key, loop, first, last, crc = _RECORD.unpack(record)
                if zlib.crc32(record[:-4]) == crc and first <= last:
                    self._done.setdefault(Place(key, loop), Numbers()).add(first, last)
        self._size = len(FORMAT) + records * _RECORD.size
        os.ftruncate(self._file, self._size)
        return records

    def _shorten(self) -> None:
        """Write the same in as few records as can be, if that is worth it."""
        runs = sum(1 for numbers in self._done.values() for _ in numbers)
        self._next_look = 2 * max(runs, self._records) + MANY
        if self._records <= 2 * runs + 1000:
            return
        other = self.path.with_name(self.path.name + ".new")
        content = FORMAT + b"".join(
            _record(place, first, last) for place, numbers in self._done.items() for first, last in numbers
        )
        file = None
        try:
            _make_way(other)
            file = open_regular(other, os.O_RDWR | os.O_CREAT | os.O_EXCL)
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            view = memoryview(content)
            while view:
                view = view[os.write(file, view) :]
            os.fsync(file)
            other.rename(self.path)
        except OSError:  # the long form serves as well
            if file is not None:
                os.close(file)
                other.unlink(missing_ok=True)
            return
        os.close(self._file)
        self._file, self._size, self._former = file, len(content), False
        self._records = runs
        self._next_look = 2 * runs + MANY

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def place(self, key: bytes, loop: int, former: bytes | None = None) -> Place:
        """Where a reading of a capture begins. A capture that is named twice in one round is read, and sent, twice.

        `former` is the key by which the version before knew it: what was written down under that counts.
        """
        number = self._seen.get((key, loop), 0)
        self._seen[key, loop] = number + 1
        place = Place(_again(key, number), loop)
        if former is not None:
            self._adopt(place, Place(_again(former, number), loop))
        return place

    def _adopt(self, place: Place, former: Place) -> None:
        done = self._done.pop(former, None)
        if done is None:
            return
        mine = self._done.setdefault(place, Numbers())
        before = set(mine)
        for first, last in done:
            mine.add(first, last)
        for first, last in mine:
            if (first, last) not in before:
                self._unwritten += _record(place, first, last)
        if self._unwritten:
            self._write()

    def has(self, place: Place, ordinal: int) -> bool:
        """Whether this datagram needs no sending."""
        done = self._done.get(place)
        return done is not None and ordinal in done

    def under_way(self, place: Place, entry: Entry, ordinals: Sequence[int]) -> None:
        """This entry, made of the datagrams of these ordinals, is about to be sent.

        It must stay the same object until it is settled.
        """
        self._under_way[id(entry)] = (place, ordinals)

    def acknowledged(self, entries: Iterable[Entry]) -> None:
        """These are delivered, or safe on disk: written down at once."""
        found: dict[Place, list[int]] = {}
        for entry in entries:
            where = self._under_way.pop(id(entry), None)
            if where is not None:
                found.setdefault(where[0], []).extend(where[1])
        for place, ordinals in found.items():
            for first, last in _runs(sorted(ordinals)):
                self._done.setdefault(place, Numbers()).add(first, last)
                self._unwritten += _record(place, first, last)
        if self._unwritten:
            self._write()
            if self._records >= self._next_look:
                self._shorten()

    def forget(self, entries: Iterable[Entry]) -> None:
        """These were given up: a later run may try them again."""
        for entry in entries:
            self._under_way.pop(id(entry), None)

    def _write(self) -> None:
        try:
            if self._former:
                os.pwrite(self._file, FORMAT, 0)
                self._former = False
            while self._unwritten:
                # A disk that fills up takes a part: what is no whole record yet is written over by the next try.
                written = os.pwrite(self._file, self._unwritten, self._size) // _RECORD.size * _RECORD.size
                if not written:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                self._size += written
                self._records += written // _RECORD.size
                self._unwritten = self._unwritten[written:]
            self.problem = None
        except OSError as error:
            self.problem = f"--checkpoint {self.path}: {error.strerror}: a later run may send some events again"

    def close(self) -> None:
        """Sync what was written and let go of the file."""
        if self._unwritten:
            self._write()
        with contextlib.suppress(OSError):
            os.ftruncate(self._file, self._size)
            os.fsync(self._file)
        os.close(self._file)


def _make_way(path: Path) -> None:
    """Remove a short form that a killed process has left. Raises `OSError` if the file is not ours to remove."""
    with contextlib.suppress(FileNotFoundError):
        with os.fdopen(open_regular(path, os.O_RDONLY), "rb") as file:
            head = file.read(len(ANY_FORMAT))
        if not ANY_FORMAT.startswith(head):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
        path.unlink()


def _again(key: bytes, number: int) -> bytes:
    """The key of a capture that was named so many times before in this round."""
    return blake2b(b"again %d " % number + key, digest_size=16).digest() if number else key


def _record(place: Place, first: int, last: int) -> bytes:
    body = struct.pack("<16sIQQ", place.key, place.loop, first, last)
    return body + zlib.crc32(body).to_bytes(4, "little")


def _runs(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Sorted numbers as runs of consecutive ones."""
    first = last = numbers[0]
    for number in numbers[1:]:
        if number != last + 1:
            yield first, last
            first = number
        last = number
    yield first, last
