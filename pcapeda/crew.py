"""Many processes for one replay: they decode, shape and render spans of records, and all comes back in order.

The one process that reads finds where records end and hands spans of them round; the workers do what costs most; what
comes back is passed on in the order of the capture, so that the events are the same as those of one process, to the
byte. What depends on frames before it (fragments; layers that only Scapy may know) a worker leaves to the reader.

A span and what is made of it lie in memory that both processes see; only words about it go through a socket.
"""

import marshal
import mmap
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pcapeda.errors import WorkerLost
from pcapeda.events import quotas
from pcapeda.events.shape import Shape
from pcapeda.model import Datagram, Entry, EventLines, Frame, Report
from pcapeda.net.extract import Extractor
from pcapeda.net.filter import Filter
from pcapeda.net.pcap import Layout, Span
from pcapeda.selection import selected, with_ports
from pcapeda.workers import SLOTS, Worker, Workers, put, serve

MOST_RECORDS = 4096
"""Records in one span."""

Render = Callable[[Sequence[Entry]], str]


@dataclass(frozen=True)
class Craft:
    """What every worker must know: how frames become datagrams, which of them count, and what is made of them."""

    decapsulate: bool = False
    filter: str | None = None
    ports: frozenset[int] = frozenset()
    render: Render | None = None
    """Makes lines of entries; None: the entries themselves are wanted."""


class _Order(NamedTuple):
    """A span to work on: its bytes are in the slot."""

    slot: int
    size: int
    number: int
    records: int
    layout: Layout | None
    """None: the bytes are frames, by marshal."""
    shape: Shape | None
    """None: that of the order before."""


class Piece(NamedTuple):
    """Events in a row: their bytes in the slot, how many there are, the sum of their sizes, their billed chunks.

    Then comes `frame`, which only the reader can decode, unless it is None.
    """

    octets: int
    events: int
    size: int
    chunks: int
    frame: Frame | None


class _Answer(NamedTuple):
    """What was made of a span. `report` counts all of its frames but those left to the reader."""

    pieces: list[Piece]
    report: Report


Use = Callable[[Piece, memoryview], None]
"""Takes a piece and its bytes, which are good until it returns."""


class _Given(NamedTuple):
    """A span that somebody works on: who, in which slot, and what to do with what comes back."""

    worker: Worker
    slot: int
    use: Use
    report: Report
    records: int


class Crew:
    """The workers at work. What is given is taken back in the same order, one span after the other.

    Raises `WorkerLost` if one of them has ended.
    """

    def __init__(self, workers: Workers, craft: Craft) -> None:
        self.craft = craft
        self._workers = workers.all
        self._shapes: dict[int, Shape] = {}
        """The shape that each worker knows."""
        self._given: deque[_Given | Callable[[], None]] = deque()
        self._turn = 0
        for worker in self._workers:
            _send(worker, craft)

    def give(self, span: Span | list[Frame], shape: Shape, use: Use, report: Report) -> None:
        """Give the next worker a span; what was ready before, or must be so that it has room, is taken first.

        `use` will be called with every piece, and `report` will have what is counted. Raises `WorkerLost`.
        """
        while sum(isinstance(one, _Given) for one in self._given) >= len(self._workers) * SLOTS or self._ready():
            self.take()
        number = self._turn % len(self._workers)
        worker = self._workers[number]
        slot = self._turn // len(self._workers) % SLOTS
        self._turn += 1
        if isinstance(span, Span):
            before, records, data, layout = span
        else:
            before, records, layout = 0, len(span), None
            data = marshal.dumps([tuple(frame) for frame in span])
        put(worker.slots[slot], data)
        known = self._shapes.get(number) is shape
        self._shapes[number] = shape
        _send(worker, _Order(slot, len(data), before, records, layout, None if known else shape))
        self._given.append(_Given(worker, slot, use, report, records))

    def then(self, action: Callable[[], None]) -> None:
        """Do something once all that was given so far has been taken."""
        self._given.append(action)

    def take_all(self) -> None:
        """Take all that was given; waits for it. Raises `WorkerLost`."""
        while self._given:
            self.take()

    def take(self) -> None:
        """Take what was given first; waits for it. Raises `WorkerLost`."""
        given = self._given[0]
        if not isinstance(given, _Given):
            self._given.popleft()
            given()
            return
        try:
            answer: _Answer = given.worker.connection.recv()
        except (EOFError, OSError):
            raise _lost() from None
        self._given.popleft()
        memory = given.worker.slots[given.slot]
        size = sum(piece.octets for piece in answer.pieces)
        if size > len(memory):
            memory.resize(memory.size())
        given.report.merge(answer.report)
        at = 0
        for piece in answer.pieces:
            with memoryview(memory)[at : at + piece.octets] as data:
                given.use(piece, data)
            at += piece.octets

    def drop(self) -> int:
        """Give up what was given and not taken; says how many packets that concerns."""
        lost = 0
        for given in self._given:
            if isinstance(given, _Given):
                lost += given.records
            else:
                given()
        self._given.clear()
        return lost

    def _ready(self) -> bool:
        """Whether what was given first can be taken without waiting."""
        given = self._given[0] if self._given else None
        return given is not None and (not isinstance(given, _Given) or given.worker.connection.poll())


def piece_of(
    datagrams: Sequence[Datagram], shape: Shape, render: Render | None, frame: Frame | None = None
) -> tuple[Piece, bytes]:
    """Events in a row, and their bytes: rendered, or by marshal for `entries_of`."""
    if isinstance(render, EventLines):
        lines = shape.lines(datagrams, render)
        body = lines.text.encode()
        return Piece(len(body), lines.events, lines.size, lines.chunks, frame), body
    entries = shape.entries(datagrams)
    if render is None:
        body = marshal.dumps([(*entry[:7], entry.group) for entry in entries])
    else:
        body = render(entries).encode()
    sizes = [entry.size for entry in entries]
    return Piece(len(body), len(entries), sum(sizes), sum(map(quotas.chunks, sizes)), frame), body


def entries_of(data: memoryview) -> list[Entry]:
    """The entries in a piece that was not rendered. Their datagrams stayed where they were made."""
    new = tuple.__new__
    return [new(Entry, (*one, None, (), 1, group)) for *one, group in marshal.loads(data)]  # noqa: S302 - from our own worker


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
    serve(passed, _Craftsman)


class _Craftsman:
    """Makes of spans what a craft asks for."""

    def __init__(self, craft: Craft) -> None:
        self._craft = craft
        self._chosen = None if craft.filter is None else Filter(craft.filter)
        self._shape = Shape()

    def __call__(self, order: _Order, slots: list[mmap.mmap]) -> _Answer:
        self._shape = shape = order.shape or self._shape
        craft, chosen, memory = self._craft, self._chosen, slots[order.slot]
        if order.size > len(memory):
            memory.resize(memory.size())
        data = memory[: order.size]
        report = Report()
        extractor = Extractor(report, decapsulate=craft.decapsulate, apart=True)
        pieces: list[Piece] = []
        written = 0
        for block in _blocks(order, data):
            frames = block if chosen is None else selected(block, chosen, report)
            found, left = extractor.feed_apart(frames)
            at = 0
            for until, frame in [*left, (len(found), None)]:
                datagrams = with_ports(found[at:until], craft.ports, report.unselected)
                at = until
                piece, body = piece_of(datagrams, shape, craft.render, frame)
                pieces.append(piece)
                put(memory, body, written)
                written += len(body)
        return _Answer(pieces, report)


def _blocks(order: _Order, data: bytes) -> Iterable[list[Frame]]:
    if order.layout is not None:
        return Span(order.number, order.records, data, order.layout).blocks()
    return ([tuple.__new__(Frame, one) for one in marshal.loads(data)],)  # noqa: S302 - from the reader, our parent
