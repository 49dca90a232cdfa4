"""HTTP/1.1 requests without waiting: many under way at once from one thread, over connections that are kept alive.

A request is sent as far as the socket takes it, its answer is read as far as it came, and `Line.ended` tells what has
become of which. What may take long (a name to look up, a connection to open, credentials to renew) is done in a thread
of its own, which is rare.

Whatever comes from the other side is untrusted: answers are bounded in size and time, and one that is not delimited as
RFC 9112 asks for is none. A request is sent a second time only if the first one cannot have been read whole.
"""

import re
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import NamedTuple

from pcapeda.aws.connections import MOST_BODY, MOST_HEAD, PIECE, Connection, Connector
from pcapeda.aws.session import LOST, MALFORMED, UNREACHABLE, one_line, translated
from pcapeda.errors import SinkDown

MOST_HEADERS, MOST_INTERIM = 128, 16
"""Most lines of a head, and most interim answers (103 Early Hints and the like) before the one that counts."""

PATIENCE = 4
"""How many read timeouts an answer may take that comes in dribs and drabs."""

_READ, _BOTH = selectors.EVENT_READ, selectors.EVENT_READ | selectors.EVENT_WRITE
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([0-9]{3})(?: |\r|$)")
_LENGTHS = re.compile(rb"\r\ncontent-length:[ \t]*([^\r\n]*?)[ \t]*(?=\r|$)")


class Response(NamedTuple):
    """What came back: status, head as it was, and the body."""

    status: int
    head: bytes
    body: bytes

    @property
    def headers(self) -> dict[str, str]:
        """Headers by their names in lower case; what is none is left out."""
        headers: dict[str, str] = {}
        for line in self.head.decode("latin-1").split("\r\n")[1:]:
            name, colon, value = line.partition(":")
            name, value = name.lower(), value.strip()
            if colon and name and name == name.strip():
                headers[name] = f"{headers[name]}, {value}" if name in headers else value
        return headers


class ProtocolError(Exception):
    """Bytes that are no HTTP answer."""


class ResponseParser:
    """An answer as far as it came (RFC 9112). `feed` it; `end` tells it that nothing more will come."""

    __slots__ = ("_at", "_body", "_head", "_interim", "_left", "_status", "_text", "begun", "reusable")

    CHUNKED, TO_THE_END = -1, -2

    def __init__(self) -> None:
        self._text = bytearray()
        """What was received and not yet understood."""
        self._at = 0
        """Where in it to look for the end of the head."""
        self._status = self._interim = 0
        self._head = b""
        self._left = 0
        """Bytes of the body, or how its end is known."""
        self._body = bytearray()
        """The chunks so far."""
        self.begun = False
        self.reusable = False
        """Whether the connection can take another request after this answer."""

    def feed(self, data: bytes) -> Response | None:
        """The answer once it is whole. Raises `ProtocolError`."""
        self.begun = True
        self._text += data
        while not self._status:
            if not self._read_head():
                return None
        text = self._text
        if self._left >= 0:
            if len(text) < self._left:
                return None
            self.reusable &= len(text) == self._left
            return Response(self._status, self._head, bytes(text[: self._left]))
        if self._left == self.CHUNKED:
            return self._chunks()
        if len(text) > MOST_BODY:
            raise ProtocolError("larger than any answer should be")
        return None

    def end(self) -> Response | None:
        """The answer, if it is one whose end is the end of the stream."""
        if self._status and self._left == self.TO_THE_END:
            return Response(self._status, self._head, bytes(self._text))
        return None

    def _read_head(self) -> bool:
        """Read one head, if it is there whole."""
        text = self._text
        end = text.find(b"\r\n\r\n", max(self._at - 3, 0))
        if end > MOST_HEAD or (end < 0 and len(text) > MOST_HEAD):
            raise ProtocolError("its head is larger than any should be")
        if end < 0:
            self._at = len(text)
            return False
        head = bytes(text[:end])
        del text[: end + 4]
        self._at = 0
        if head.count(b"\n") > MOST_HEADERS:
            raise ProtocolError("more headers than any answer should have")
        first = _STATUS_LINE.match(head)
        if first is None:
            raise ProtocolError("no HTTP status line")
        status = int(first[2])
        if 100 <= status < 200 and status != 101:
            self._interim += 1
            if self._interim > MOST_INTERIM:
                raise ProtocolError("nothing but interim answers")
            return True  # an interim answer; the real one follows
        self._status, self._head = status, head
        self._left = self._length(status, head)
        kept = first[1] == b"1"
        if b"onnection" in head or b"ONNECTION" in head:
            kept = kept and "close" not in Response(status, head, b"").headers.get("connection", "").lower()
        self.reusable = kept and self._left != self.TO_THE_END
        return True

    def _length(self, status: int, head: bytes) -> int:
        """Where the body ends (RFC 9112, section 6.3)."""
        if status in (101, 204, 304):
            return 0
        lowered = head.lower()
        if b"transfer-encoding" in lowered and "transfer-encoding" in (headers := Response(status, head, b"").headers):
            if headers["transfer-encoding"].lower() != "chunked":
                raise ProtocolError("a transfer coding that was not asked for")
            return self.CHUNKED
        lengths = set(_LENGTHS.findall(lowered))
        if not lengths:
            return self.TO_THE_END
        length = lengths.pop()
        if lengths or not length.isdigit():
            raise ProtocolError("a Content-Length that is none")
        if len(length) > 12 or int(length) > MOST_BODY:
            raise ProtocolError("larger than any answer should be")
        return int(length)

    def _chunks(self) -> Response | None:
        """Take the chunks that are there (RFC 9112, section 7.1)."""
        text, body = self._text, self._body
        at = 0
        try:
            while (line_end := text.find(b"\r\n", at)) >= 0:
                size_text = text[at:line_end].partition(b";")[0].strip()
                if not size_text or len(size_text) > 8 or size_text.strip(b"0123456789abcdefABCDEF"):
                    raise ProtocolError("a chunk that is none")
                size = int(size_text, 16)
                if size > MOST_BODY - len(body):
                    raise ProtocolError("larger than any answer should be")
                if size == 0:
                    # Trailers are read over, up to the empty line.
                    rest = bytes(text[line_end:])
                    ended = rest.find(b"\r\n\r\n")
                    if ended < 0:
                        if len(rest) > MOST_HEAD:
                            raise ProtocolError("its trailers are larger than any should be")
                        return None
                    self.reusable &= len(rest) == ended + 4
                    return Response(self._status, self._head, bytes(body))
                start = line_end + 2
                if len(text) < start + size + 2:
                    return None
                if text[start + size : start + size + 2] != b"\r\n":
                    raise ProtocolError("a chunk that is longer than it says")
                body += text[start : start + size]
                at = start + size + 2
            if len(text) - at > MOST_HEAD:
                raise ProtocolError("a chunk that is none")
            return None
        finally:
            del text[:at]


class Request:
    """One request on its way: over which connection, how much of it was sent, and its answer so far."""

    __slots__ = ("connection", "end_s", "flight", "reading", "retryable", "silent_s", "text", "unsent", "waits")

    def __init__(self, flight: int, text: bytes) -> None:
        self.flight = flight
        self.text = text
        self.retryable = True
        """Whether it may be sent once more, over a new connection, if it cannot have been read."""
        self.connection: Connection
        self.unsent: memoryview | None = None
        self.waits = False
        """Whether the socket took a part only, and is to tell when it takes more."""
        self.reading: ResponseParser
        self.silent_s = self.end_s = 0.0
        """When it counts as lost: if nothing more comes, and in any case."""


class ConnectionPool:
    """Requests of one thread: `start` sends one and returns at once, `ended` gives what has become of which.

    Not to be shared among threads. Every request ends, after the route's timeouts at the latest.
    """

    def __init__(self, connector: Connector) -> None:
        self._connector = connector
        self._endpoint = connector.route.url
        self._timeout_s = connector.route.read_timeout_s
        self._selector = selectors.DefaultSelector()
        self._idle: list[Connection] = []
        self._busy: dict[int, Request] = {}  # by file descriptor
        self._preparing: dict[int, float] = {}
        """When the preparation of which request counts as failed."""
        self._prepared: SimpleQueue[tuple[int, Request | SinkDown, Connection | None]] = SimpleQueue()
        self._wake, self._waker = socket.socketpair()
        self._wake.setblocking(False)
        self._selector.register(self._wake, _READ)
        self._ended: list[tuple[int, Response | SinkDown]] = []
        self._flight = 0
        self._look_s = 0.0
        """When to look next for requests that take too long."""

    def start(self, make: Callable[[], bytes], *, slow: bool = False) -> int:
        """Send the request that `make` gives; its number, by which `ended` tells of it.

        `make` may raise `SinkDown`. It is called at once, or in another thread if there is no connection yet or it is
        said to be `slow`.
        """
        flight = self._flight = self._flight + 1
        connection = None if slow else self._take_idle()
        if connection is None:
            self._prepare(flight, lambda: Request(flight, make()), connect=not slow)
            return flight
        try:
            text = make()
        except SinkDown as error:
            self._idle.append(connection)
            self._ended.append((flight, error))
        else:
            self._begin(Request(flight, text), connection)
        return flight

    def ended(self, timeout_s: float) -> list[tuple[int, Response | SinkDown]]:
        """What has become of requests since the last call; waits up to so long until there is something to tell."""
        deadline = time.monotonic() + timeout_s if timeout_s > 0 and not self._ended else None
        wait_s = 0.0
        while True:
            if deadline is not None:
                now = time.monotonic()
                wait_s = max(min(deadline, self._look_s) - now, 0)
            for key, _ in self._selector.select(wait_s):
                request = self._busy.get(key.fd)
                if request is not None:
                    self._go_on(request)
                elif key.fileobj is self._wake:
                    self._take_prepared()
                else:
                    self._drop_idle(key.fd)
            now = time.monotonic()
            if now >= self._look_s:
                self._give_up_late(now)
            if self._ended:
                result, self._ended = self._ended, []
                return result
            if deadline is None or now >= deadline:
                return []

    def close(self) -> None:
        """Close the connections. What is under way is given up."""
        for request in self._busy.values():
            request.connection.close()
        for connection in self._idle:
            connection.close()
        self._busy.clear()
        self._idle.clear()
        self._selector.close()
        self._wake.close()
        self._waker.close()  # whoever still opens a connection for this line finds it closed
        for _, _, opened in self._all_prepared():
            if opened is not None:
                opened.close()

    # One request

    def _begin(self, request: Request, connection: Connection) -> None:
        now = time.monotonic()
        request.connection = connection
        request.waits = False
        request.unsent = memoryview(request.text)
        request.reading = ResponseParser()
        request.silent_s = now + self._timeout_s
        request.end_s = now + PATIENCE * self._timeout_s
        self._busy[connection.socket.fileno()] = request
        self._push(request)

    def _push(self, request: Request) -> None:
        """Send as much as the socket takes."""
        connection, unsent = request.connection, request.unsent
        try:
            while unsent and (taken := connection.send(unsent)):
                unsent = unsent[taken:]
        except OSError as error:
            # An answer may have come before it: the other side need not read a request to the end to refuse it.
            self._pull(request, error)
            return
        if unsent or request.waits:
            request.silent_s = time.monotonic() + self._timeout_s
        if bool(unsent) != request.waits:
            request.waits = bool(unsent)
            self._selector.modify(connection.socket, _BOTH if unsent else _READ)
        request.unsent = unsent or None

    def _go_on(self, request: Request) -> None:
        if not self._pull(request) and request.unsent is not None:
            self._push(request)

    def _pull(self, request: Request, broken: OSError | None = None) -> bool:
        """Receive what has come; true if that, or a break before it, was the end of the request."""
        reading = request.reading
        try:
            data = request.connection.receive()
            if data is None:
                if broken is None:
                    return False
                raise broken
            answer = reading.feed(data) if data else reading.end()
        except OSError as error:
            self._lose(request, broken or error)
            return True
        except ProtocolError as error:
            result = SinkDown(f"{self._endpoint} gave an answer that is none: {error}", code=MALFORMED)
            self._end(request, result, keep=False)
            return True
        if answer is not None:
            self._end(request, answer, keep=reading.reusable and request.unsent is None)
            return True
        if not data:
            self._lose(request, broken)
            return True
        request.silent_s = time.monotonic() + self._timeout_s
        return False

    def _lose(self, request: Request, error: OSError | None) -> None:
        """The connection ended before the answer."""
        if request.unsent is not None and not request.reading.begun and request.retryable:
            # Not even the whole request was handed over, so that nobody can have acted on it.
            self._release(request, keep=False)
            request.retryable = False
            self._connect(request)
            return
        why = one_line(error) if error is not None else "closed without an answer"
        self._end(request, SinkDown(f"the connection to {self._endpoint} broke: {why}", code=LOST), keep=False)

    def _give_up_late(self, now: float) -> None:
        for request in [one for one in self._busy.values() if now >= min(one.silent_s, one.end_s)]:
            words = f"no answer from {self._endpoint} in {self._timeout_s:g} s"
            self._end(request, SinkDown(words, code=LOST), keep=False)
        for flight in [flight for flight, end_s in self._preparing.items() if now >= end_s]:
            del self._preparing[flight]
            self._ended.append((flight, SinkDown(f"cannot reach {self._endpoint} in time", code=UNREACHABLE)))
        times = [min(one.silent_s, one.end_s) for one in self._busy.values()]
        self._look_s = min([now + self._timeout_s, *times, *self._preparing.values()])

    def _end(self, request: Request, result: Response | SinkDown, *, keep: bool) -> None:
        self._release(request, keep=keep)
        self._ended.append((request.flight, result))

    def _release(self, request: Request, *, keep: bool) -> None:
        connection = request.connection
        del self._busy[connection.socket.fileno()]
        if keep:
            self._idle.append(connection)
        else:
            self._selector.unregister(connection.socket)
            connection.close()

    # Connections

    def _take_idle(self) -> Connection | None:
        """The connection that was used last, unless the other side has closed it meanwhile."""
        while self._idle:
            connection = self._idle.pop()
            if connection.quiet():
                return connection
            self._selector.unregister(connection.socket)
            connection.close()
        return None

    def _drop_idle(self, descriptor: int) -> None:
        for connection in self._idle:
            if connection.socket.fileno() == descriptor:
                if not connection.quiet():
                    self._idle.remove(connection)
                    self._selector.unregister(connection.socket)
                    connection.close()
                return

    def _connect(self, request: Request) -> None:
        self._prepare(request.flight, lambda: request, connect=True)

    def _prepare(self, flight: int, make: Callable[[], Request], *, connect: bool) -> None:
        """Make the request, and a connection if need be, in a thread: both may take long."""
        connector, prepared, waker, endpoint = self._connector, self._prepared, self._waker, self._endpoint

        def work() -> None:
            result: Request | SinkDown
            connection = None
            try:
                with translated(endpoint):
                    result = make()
                    connection = connector.open() if connect else None
            except SinkDown as error:
                result = error
            prepared.put((flight, result, connection))
            try:
                waker.send(b".")
            except OSError:  # nobody waits any more
                if connection is not None:
                    connection.close()

        self._preparing[flight] = time.monotonic() + PATIENCE * self._timeout_s
        threading.Thread(target=work, name=f"request-{flight}", daemon=True).start()

    def _take_prepared(self) -> None:
        with suppress(BlockingIOError):
            self._wake.recv(PIECE)
        for flight, result, opened in self._all_prepared():
            if opened is not None:
                self._selector.register(opened.socket, _READ)
                self._idle.append(opened)
            if self._preparing.pop(flight, None) is None:
                continue  # it was given up meanwhile
            if isinstance(result, SinkDown):
                self._ended.append((flight, result))
            elif (connection := self._take_idle()) is not None:
                self._begin(result, connection)
            else:
                self._connect(result)

    def _all_prepared(self) -> Iterator[tuple[int, Request | SinkDown, Connection | None]]:
        with suppress(Empty):
            while True:
                yield self._prepared.get_nowait()
