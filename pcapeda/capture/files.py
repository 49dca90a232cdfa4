"""A path or standard input becomes frames: opened, unpacked and recognised by magic, never by name."""

import os
import queue
import select
import stat
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from types import TracebackType

from pcapeda.capture import pcap, pcapng
from pcapeda.capture.compression import LONGEST_START, Packing, packing_of, unpack
from pcapeda.capture.magic import WINDOW, looks_like
from pcapeda.capture.stream import CHUNK, Note, Stream, Trouble
from pcapeda.errors import BadCapture
from pcapeda.model import Damage, Frame

STDIN = "-"
TICK_S = 0.1
"""How long nothing may come from a pipe before the reader says so with None."""

SPAN_BYTES = 1 << 20
"""Bytes asked of a file at once where its records go to others: their hand-over costs more than fresh memory."""

PIPE_PIECE = 1 << 16
PIPE_DEPTH = 16
"""A pipe is read in pieces of at most 64 KiB, what a pipe holds on Linux; so many of them wait for the reader."""


def expand(paths: Sequence[str]) -> list[str]:
    """The captures that paths stand for: files and '-' stay as they are, a folder becomes the captures in it.

    A folder is taken one level deep, its captures sorted by name; what is no capture by its first bytes is left out.
    Raises `BadCapture` for a path that does not exist and for a folder without captures.
    """
    found: list[str] = []
    for path in paths:
        if path == STDIN or not stat.S_ISDIR(_stat(path).st_mode):
            found.append(path)
            continue
        try:
            files = sorted(entry.path for entry in os.scandir(path) if entry.is_file())
        except OSError as error:
            raise _unreadable(path, error) from None
        captures = [file for file in files if _may_be_capture(file)]
        if not captures:
            others = f"{len(files):,} other file{'' if len(files) == 1 else 's'} in it"
            raise BadCapture(f"{path}: a folder without captures ({others})")
        found += captures
    return found


def is_pipe(path: str) -> bool:
    """Whether what a path (or '-') stands for is read as a stream: someone writes it at the same time."""
    try:
        mode = os.fstat(0) if path == STDIN else Path(path).stat()
    except OSError:
        return False
    return not stat.S_ISREG(mode.st_mode)


class Capture:
    """One capture, open for reading: iterate it for its frames, or its `blocks()` for many at a time, not both.

    None among them is a tick: for about 100 ms nothing came, which happens with pipes only. `note` is called with
    damage, after every whole record before it. Raises `BadCapture` for what cannot be opened, at once, and while
    iterating for what turns out to be no capture.
    """

    def __init__(self, path: str, *, note: Note) -> None:
        self.name = path
        self.position = 0
        """Bytes of the file read so far, as it is on disk."""
        self.size: int | None = None
        """Bytes of the file on disk; None for a pipe."""
        self.opened = True
        """False for a named pipe that nobody has opened for writing yet."""
        self._label = "standard input" if path == STDIN else path
        self._note = note
        self._fd: int | None = None
        self._closed = threading.Event()
        self._blocks: Iterator[list[Frame] | None] | None = None
        if path == STDIN:
            try:
                mode = os.fstat(0)
            except OSError as error:
                raise _unreadable(self._label, error) from None
            if os.isatty(0):
                raise BadCapture("standard input is a terminal: pipe a capture into it, as in tcpdump -U -w - | …")
            self._fd = 0
        else:
            mode = _stat(path)
        self._regular = stat.S_ISREG(mode.st_mode)
        if self._regular:
            self.size = mode.st_size
        self.opened = self._fd is not None or self._regular
        if self._fd is None and self._regular:
            try:
                self._fd = os.open(path, os.O_RDONLY)
            except OSError as error:
                raise _unreadable(path, error) from None

    @staticmethod
    def size_of(path: str) -> int | None:
        """Bytes of packet records to come at most, known beforehand; None for a pipe or a compressed file."""
        if path == STDIN:
            return None
        try:
            state = Path(path).stat()
            if not stat.S_ISREG(state.st_mode):
                return None
            start = _start(path, LONGEST_START)
        except OSError:
            return None
        return None if packing_of(start) else state.st_size

    def __enter__(self) -> "Capture":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Frame | None]:
        return _flat(self.blocks())

    def blocks(self) -> Iterator[list[Frame] | None]:
        """The frames in lists of up to `BLOCK_FRAMES`, none of them empty."""
        if self._blocks is None:
            chunks = self._file_chunks() if self._regular else self._pipe_chunks()
            self._blocks = _blocks(Stream(chunks, live=not self._regular), self._label, self._note)
        return self._blocks

    def ranges(self, most: int, in_ranges: Callable[[], bool]) -> Iterator[pcap.RecordRange | list[Frame] | None]:
        """As `blocks()`, but in ranges of up to `most` records whenever `in_ranges()`, if the format has them."""
        chunks = self._file_chunks(SPAN_BYTES) if self._regular else self._pipe_chunks()
        return _ranges(Stream(chunks, live=not self._regular), self._label, self._note, most, in_ranges)

    def close(self) -> None:
        """Let go of the file. A thread that waits for a pipe ends with the next bytes, or with the process."""
        self._closed.set()
        if self._fd:  # standard input, which is 0, is not ours to close
            os.close(self._fd)
        self._fd = None

    def _file_chunks(self, size: int = CHUNK) -> Iterator[bytes]:
        while self._fd is not None:
            try:
                chunk = os.read(self._fd, size)
            except OSError as error:
                raise self._stopped(error) from None
            if not chunk:
                return
            self.position += len(chunk)
            yield chunk

    def _pipe_chunks(self) -> Iterator[bytes | None]:
        """What a thread of its own reads, as soon as it is there: waiting here stays open to Ctrl-C."""
        pieces: queue.Queue[bytes | OSError] = queue.Queue(PIPE_DEPTH)
        threading.Thread(target=self._pump, args=(pieces,), name=f"read {self._label}", daemon=True).start()
        while True:
            try:
                piece = pieces.get(timeout=TICK_S)
            except queue.Empty:
                yield None
                continue
            if isinstance(piece, OSError):
                raise self._stopped(piece)
            if not piece:
                return
            self.position += len(piece)
            yield piece

    def _pump(self, pieces: "queue.Queue[bytes | OSError]") -> None:
        opened: int | None = None
        try:
            # A named pipe is opened here, not earlier: that waits until someone opens it for writing.
            fd = self._fd
            if fd is None:
                fd = opened = os.open(self.name, os.O_RDONLY)
            self.opened = True
            piece: bytes | OSError = _read_some(fd)
            while piece and self._hand_over(pieces, piece):
                piece = _read_some(fd)
        except OSError as error:
            piece = error
        finally:
            if opened is not None:
                os.close(opened)
        self._hand_over(pieces, piece)

    def _hand_over(self, pieces: "queue.Queue[bytes | OSError]", piece: bytes | OSError) -> bool:
        """Wait for room in the queue, unless the capture is closed. Returns whether it was handed over."""
        while not self._closed.is_set():
            try:
                pieces.put(piece, timeout=TICK_S)
            except queue.Full:
                continue
            return True
        return False

    def _stopped(self, error: OSError) -> Exception:
        """Reading failed: in the middle that is damage, at the start there is no capture."""
        if self.position == 0:
            return _unreadable(self._label, error)
        return Trouble(f"the file could not be read further ({error.strerror})")


def read(stream: Stream, name: str, note: Note) -> Iterator[Frame | None]:
    """The frames of a stream, whatever its format; None on each tick. Raises `BadCapture` for what is no capture."""
    return _flat(_blocks(stream, name, note))


def _flat(blocks: Iterable[list[Frame] | None]) -> Iterator[Frame | None]:
    return chain.from_iterable((None,) if block is None else block for block in blocks)


def _blocks(stream: Stream, name: str, note: Note) -> Iterator[list[Frame] | None]:
    """The ticks while the format is not known, then the frames."""
    classic, stream, note = yield from _recognised(stream, name, note)
    yield from (pcap.read if classic else pcapng.read)(stream, name, note)


def _ranges(
    stream: Stream, name: str, note: Note, most: int, in_ranges: Callable[[], bool]
) -> Iterator[pcap.RecordRange | list[Frame] | None]:
    classic, stream, note = yield from _recognised(stream, name, note)
    yield from pcap.ranges(stream, name, note, most, in_ranges) if classic else pcapng.read(stream, name, note)


def _recognised(stream: Stream, name: str, note: Note) -> Generator[None, None, tuple[bool, Stream, Note]]:
    """Whether it is pcap, by magic (else pcapng), and the stream unpacked. Raises `BadCapture` if it is neither."""
    yield from stream.want(LONGEST_START)
    start = stream.window[stream.at : stream.at + WINDOW]
    if not start:
        raise BadCapture(f"{name}: {stream.trouble or 'an empty file'}")
    packing = packing_of(start)
    if packing is not None:
        stream = Stream(unpack(packing, stream.rest(), name), live=stream.live)
        yield from stream.want(LONGEST_START)
        start = stream.window[stream.at : stream.at + WINDOW]
        if not start:
            raise BadCapture(f"{name}: no capture: {stream.trouble or f'an empty {packing.name} stream'}")
        note = _counted_after(packing, note)
    if start[:4] in pcap.MAGICS:
        return True, stream, note
    if start[:4] == pcapng.MAGIC:
        return False, stream, note
    within = f", compressed with {packing.name}" if packing is not None else ""
    if len(start) < 4:
        raise BadCapture(f"{name}: no capture: only {len(start)} bytes{within}")
    raise BadCapture(f"{name}: no capture: it looks like {looks_like(start)}{within}")


def _counted_after(packing: Packing, note: Note) -> Note:
    """Tells of damage with the word that its offset is not one of the file on disk."""

    def counted(damage: Damage) -> None:
        note(damage._replace(what=f"{damage.what} (counted after unpacking {packing.name})"))

    return counted


def _read_some(fd: int) -> bytes:
    """What a pipe has, waiting for it even where the descriptor would not (O_NONBLOCK is shared with who set it)."""
    while True:
        try:
            return os.read(fd, PIPE_PIECE)
        except BlockingIOError:
            poller = select.poll()
            poller.register(fd, select.POLLIN)
            poller.poll()


def _stat(path: str) -> os.stat_result:
    try:
        return Path(path).stat()
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: str, error: OSError) -> BadCapture:
    if isinstance(error, FileNotFoundError):
        return BadCapture(f"{path}: no such file")
    if isinstance(error, PermissionError):
        return BadCapture(f"{path}: permission denied")
    if isinstance(error, IsADirectoryError):
        return BadCapture(f"{path}: a folder, not a capture")
    return BadCapture(f"{path}: cannot be read ({error.strerror or error})")


def _start(path: str, size: int) -> bytes:
    """The first bytes of a file. Raises OSError."""
    with Path(path).open("rb", buffering=0) as file:
        return file.read(size) or b""


def _may_be_capture(path: str) -> bool:
    """Whether the first bytes are those of a capture, packed or not. True where that cannot be known: reading will."""
    try:
        start = _start(path, PIPE_PIECE)
        packing = packing_of(start)
        if packing is not None:
            start = next(unpack(packing, iter([start]), path), None) or b""
    except (OSError, BadCapture):
        return True
    except Trouble:
        return False
    return start[:4] in pcap.MAGICS or start[:4] == pcapng.MAGIC
