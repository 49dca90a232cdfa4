"""Many processes for one replay: they decode, shape and render ranges of records, and all comes back in order.

The one process that reads finds where records end and hands out ranges of them; while all others have enough to do,
it works on some itself. What is made of ranges is passed on in the order of the capture, so that the events are the
same as those of one process, to the byte. What depends on frames before it (fragments; layers that only Scapy may know)
is left until its turn has come.

A range and what is made of it lie in memory that both processes see; only words about it go through a socket.
"""

import marshal
import mmap
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pcapeda.aws import quotas
from pcapeda.aws.wire import EventLines
from pcapeda.capture.bpf import Filter
from pcapeda.capture.pcap import Layout, RecordRange
from pcapeda.dissect.extractor import Extractor
from pcapeda.engine.filters import selected, with_ports
from pcapeda.engine.worker_processes import SLOTS, Worker, Workers, put, serve
from pcapeda.errors import PcapedaError, WorkerLost
from pcapeda.events.shape import Shape
from pcapeda.model import Datagram, Entry, Frame
from pcapeda.report import Report

MOST_RECORDS = 4096
"""Records in one range."""

MOST_HELD = 16 << 20
"""How much may lie ready here while a worker is not done with what comes before it: bytes of the frames it was made of,
and `FRAME_BYTES` for each, whatever came of it."""

FRAME_BYTES = 512
"""What a frame takes beside its bytes, roughly, with what is made of it."""

Render = Callable[[Sequence[Entry]], str]


@dataclass(frozen=True)
class WorkerSpec:
    """What every worker must know: how frames become datagrams, which of them count, and what is made of them."""

    decapsulate: bool = False
    tunnels: tuple[tuple[int, str], ...] = ()
    filter: str | None = None
    ports: frozenset[int] = frozenset()
    render: Render | None = None
    """Makes lines of entries; None: the entries themselves are wanted."""


class _Task(NamedTuple):
    """A range to work on: its bytes are in the slot."""

    slot: int
    size: int
    number: int
    records: int
    layout: Layout | None
    """None: the bytes are frames, by marshal."""
    shape: Shape | None
    """None: that of the order before."""


class EventChunk(NamedTuple):
    """Events in a row: how many there are, the sum of their sizes, their billed chunks.

    Then comes `frame`, which only the one who has seen all frames before can decode, unless it is None.
    """

    events: int
    size: int
    chunks: int
    frame: Frame | None


class _Result(NamedTuple):
    """What was made of a range: pieces, and how many bytes each has in the slot.

    `report` counts all of its frames but those that are left.
    """

    chunks: list[tuple[EventChunk, int]]
    report: Report


ChunkBody = bytes | list[Entry] | memoryview
"""The events of a piece: rendered, or as they are; those from a worker are good while they are used."""

Use = Callable[[EventChunk, ChunkBody], None]
"""Takes a piece and its events."""


class _Given(NamedTuple):
    """A range that a worker has: in which slot, and what to do with what comes back."""

    worker: Worker
    slot: int
    use: Use
    report: Report
    records: int


class _Made(NamedTuple):
    """What was made of a range here, and what to do with it when its turn has come."""

    chunks: list[tuple[EventChunk, bytes | list[Entry]]]
    counted: Report
    use: Use
    report: Report
    records: int
    weight: int
    """What it takes of `MOST_HELD`."""


class ParallelDecoder:
    """The workers at work. What is given is taken back in the same order, one range after the other.

    Raises `WorkerLost` if one of them has ended.
    """

    def __init__(self, workers: Workers, spec: WorkerSpec) -> None:
        self.spec = spec
        self._workers = workers.all
        self._here = _BlockProcessor(spec)
        self._shapes: dict[int, Shape] = {}
        """The shape that each worker knows."""
        self._orders = [0] * len(self._workers)
        """How many ranges each worker has had, and so which of its slots is next."""
        self._at_work = [0] * len(self._workers)
        """How many of them were not taken back."""
        self._given: deque[_Given | _Made | Callable[[], None]] = deque()
        self._held = 0
        """How much of it was made here, in the sense of `MOST_HELD`."""
        self._in_hand = 0
        """Packets that are being given."""
        for worker in self._workers:
            _send(worker, spec)

    def has_room(self) -> bool:
        """Whether some worker has too little to do. What is ready is taken first. Raises `WorkerLost`."""
        while self._ready():
            self.take()
        return min(self._at_work) < SLOTS

    def give(self, block: RecordRange | list[Frame], shape: Shape, use: Use, report: Report) -> None:
        """Give a range to the worker with the least to do; frames may be worked on here, if there is no room.

        `use` will be called with every piece, and `report` will have what is counted. Raises `WorkerLost`.
        """
        self._in_hand = block.records if isinstance(block, RecordRange) else len(block)
        while not self.has_room():
            if isinstance(block, list) and self._held < MOST_HELD:
                self._make(block, shape, use, report)
                return
            self.take()
        number = self._at_work.index(min(self._at_work))
        worker, slot = self._workers[number], self._orders[number] % SLOTS
        if isinstance(block, RecordRange):
            before, records, data, layout = block
        else:
            before, records, layout = 0, len(block), None
            data = marshal.dumps([tuple(frame) for frame in block])
        put(worker.slots[slot], data)
        known = self._shapes.get(number) is shape
        self._shapes[number] = shape
        _send(worker, _Task(slot, len(data), before, records, layout, None if known else shape))
        self._orders[number] += 1
        self._at_work[number] += 1
        self._given.append(_Given(worker, slot, use, report, records))
        self._in_hand = 0

    def _make(self, frames: list[Frame], shape: Shape, use: Use, report: Report) -> None:
        """Work on frames here, for when their turn comes."""
        counted = Report()
        chunks = list(self._here.make((frames,), shape, counted))
        weight = counted.bytes_read + sum(len(chunk.frame.data) for chunk, _ in chunks if chunk.frame)
        weight += FRAME_BYTES * len(frames)
        self._given.append(_Made(chunks, counted, use, report, len(frames), weight))
        self._held += weight
        self._in_hand = 0

    def then(self, action: Callable[[], None]) -> None:
        """Do something once all that was given so far has been taken."""
        self._given.append(action)

    def take_all(self) -> None:
        """Take all that was given; waits for it. Raises `WorkerLost`."""
        while self._given:
            self.take()

    def take(self) -> None:
        """Take what was given first; waits for it. Raises `WorkerLost`, and what the worker could not do."""
        given = self._given[0]
        if isinstance(given, _Given):
            try:
                answer: _Result | PcapedaError = given.worker.connection.recv()
            except (EOFError, OSError):
                raise _lost() from None
            if isinstance(answer, PcapedaError):
                raise answer
            self._given.popleft()
            self._at_work[self._workers.index(given.worker)] -= 1
            _use_all(given, answer)
            return
        self._given.popleft()
        if not isinstance(given, _Made):
            given()
            return
        self._held -= given.weight
        given.report.merge(given.counted)
        for chunk, body in given.chunks:
            given.use(chunk, body)

    def drop(self) -> int:
        """Give up what was given and not taken; says how many packets that concerns."""
        lost, self._in_hand, self._held = self._in_hand, 0, 0
        for given in self._given:
            if isinstance(given, (_Given, _Made)):
                lost += given.records
            else:
                given()
        self._given.clear()
        return lost

    def _ready(self) -> bool:
        """Whether what was given first can be taken without waiting."""
        given = self._given[0] if self._given else None
        return given is not None and (not isinstance(given, _Given) or given.worker.has_answered())


def _use_all(given: _Given, answer: _Result) -> None:
    """Hand over what came back; the slot is free afterwards."""
    memory = given.worker.slots[given.slot]
    size = sum(octets for _, octets in answer.chunks)
    if size > len(memory):
        memory.resize(memory.size())
    given.report.merge(answer.report)
    at = 0
    for chunk, octets in answer.chunks:
        with memoryview(memory)[at : at + octets] as data:
            given.use(chunk, data)
        at += octets


def chunk_of(
    datagrams: Sequence[Datagram], shape: Shape, render: Render | None, frame: Frame | None = None
) -> tuple[EventChunk, bytes | list[Entry]]:
    """The events of datagrams in a row: rendered, if they are to be."""
    if isinstance(render, EventLines):
        lines = shape.lines(datagrams, render)
        return EventChunk(lines.events, lines.size, lines.chunks, frame), lines.text.encode()
    entries = shape.entries(datagrams)
    sizes = [entry.size for entry in entries]
    chunk = EventChunk(len(entries), sum(sizes), sum(map(quotas.chunks, sizes)), frame)
    return chunk, entries if render is None else render(entries).encode()


def entries_of(body: ChunkBody) -> list[Entry]:
    """The entries in a piece that was not rendered. From a worker they come without their datagrams."""
    if isinstance(body, list):
        return body
    new = tuple.__new__
    return [new(Entry, (*one, None, (), 1, group)) for *one, group in marshal.loads(body)]  # noqa: S302 - from our own worker


def _bytes_of(body: bytes | list[Entry]) -> bytes:
    if isinstance(body, bytes):
        return body
    return marshal.dumps([(*entry[:7], entry.group) for entry in body])


def _send(worker: Worker, words: object) -> None:
    try:
        worker.connection.send(words)
    except OSError:
        raise _lost() from None


def _lost() -> WorkerLost:
    return WorkerLost("a worker process ended before its time (killed, or out of memory)", hint="try a smaller --jobs")


# In the worker's process


def work(passed: str) -> None:
    """The life of a worker; `passed` are its descriptors."""
    serve(passed, lambda spec: _BlockProcessor(spec).answer)


class _BlockProcessor:
    """Makes of ranges of records what a `WorkerSpec` asks for."""

    def __init__(self, spec: WorkerSpec) -> None:
        self._spec = spec
        self._chosen = None if spec.filter is None else Filter(spec.filter)
        self._shape = Shape()

    def make(
        self, blocks: Iterable[list[Frame]], shape: Shape, report: Report
    ) -> Iterator[tuple[EventChunk, bytes | list[Entry]]]:
        """The events of frames, in pieces."""
        spec, chosen = self._spec, self._chosen
        extractor = Extractor(report, decapsulate=spec.decapsulate, tunnels=spec.tunnels, apart=True)
        for block in blocks:
            frames = block if chosen is None else selected(block, chosen, report)
            found, left = extractor.feed_apart(frames)
            at = 0
            for until, frame in [*left, (len(found), None)]:
                datagrams = with_ports(found[at:until], spec.ports, report.unselected)
                at = until
                report.without_text += shape.without_text(datagrams)
                yield chunk_of(datagrams, shape, spec.render, frame)

    def answer(self, task: _Task, slots: list[mmap.mmap]) -> _Result:
        """Work on what is in a slot, and put there what was made of it."""
        self._shape = shape = task.shape or self._shape
        memory, report = slots[task.slot], Report()
        if task.size > len(memory):
            memory.resize(memory.size())
        chunks: list[tuple[EventChunk, int]] = []
        written = 0
        for chunk, body in self.make(_blocks(task, memory[: task.size]), shape, report):
            data = _bytes_of(body)
            put(memory, data, written)
            written += len(data)
            chunks.append((chunk, len(data)))
        return _Result(chunks, report)


def _blocks(task: _Task, data: bytes) -> Iterable[list[Frame]]:
    if task.layout is not None:
        return RecordRange(task.number, task.records, data, task.layout).blocks()
    return ([tuple.__new__(Frame, one) for one in marshal.loads(data)],)  # noqa: S302 - from the reader, our parent
