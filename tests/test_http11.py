"""HTTP without waiting, over real sockets: whatever the other side does, each request ends once, and is known how."""

import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcapeda.aws.connections import MOST_BODY, MOST_HEAD, Connector, EndpointConfig
from pcapeda.aws.http11 import ConnectionPool, ProtocolError, Response, ResponseParser
from pcapeda.aws.responses import LOST, MALFORMED, UNREACHABLE
from pcapeda.errors import SinkDown

LARGE = 12_000_000
"""More than the sockets of a connection hold."""

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

GOOD = {
    "by length": (OK, 200, b"ok", True),
    "no body": (b"HTTP/1.1 200 OK\r\ncontent-length:0\r\n\r\n", 200, b"", True),
    "no content": (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", True),
    "no reason": (b"HTTP/1.1 503 \r\nContent-Length: 1\r\n\r\nx", 503, b"x", True),
    "said twice": (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", 200, b"x", True),
    "last one": (b"HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: 1\r\n\r\nx", 200, b"x", False),
    "old": (b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", 200, b"x", False),
    "more than asked": (OK + b"HTTP/1.1 200", 200, b"ok", False),
    "after others": (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: a\r\n\r\n" + OK, 200, b"ok", True),
    "chunks": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n",
        *(200, b"abc0123456789", True),
    ),
    "chunks and trailers": (
        b"HTTP/1.1 400 No\r\nTransfer-Encoding: Chunked\r\nContent-Length: 7\r\n\r\n1\r\nx\r\n0\r\nA: b\r\n\r\n",
        *(400, b"x", True),
    ),
}

BAD = {
    "too many headers": b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 200 + b"\r\n",
    "interim answers only": b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100 + OK,
    "another protocol": b"SSH-2.0-OpenSSH_9\r\n\r\n",
    "another version": b"HTTP/2 200 OK\r\n\r\n",
    "no status": b"HTTP/1.1 2x0 OK\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
    "signed length": b"HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\nx",
    "huge": b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\nx",
    "beyond any number": b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\nx",
    "packed": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
    "chunk of nothing": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n",
    "negative chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
    "chunk too long": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxx\r\n",
    "huge chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n",
    "endless head": b"HTTP/1.1 200 OK\r\nA: " + b"x" * (MOST_HEAD + 10),
    "endless body": b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (MOST_BODY + 10),
    "endless chunk size": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"0" * (MOST_HEAD + 10),
    "endless trailers": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"a: b\r\n" * MOST_HEAD,
}


def read(text: bytes, piece: int = 1 << 16) -> tuple[Response | None, ResponseParser]:
    reading = ResponseParser()
    for at in range(0, len(text), piece):
        if (answer := reading.feed(text[at : at + piece])) is not None:
            return answer, reading
    return reading.end(), reading


@pytest.mark.parametrize(("text", "status", "body", "reusable"), GOOD.values(), ids=GOOD)
def test_an_answer_ends_where_it_says(text: bytes, status: int, body: bytes, reusable: bool) -> None:
    """By length, by chunks, by nature: whole only with its last byte, and then known to be reusable or not."""
    answer, reading = read(text)
    assert answer is not None
    assert (answer.status, answer.body, reading.reusable) == (status, body, reusable)
    if text != GOOD["more than asked"][0]:
        assert read(text[:-1])[0] is None
        assert read(text, 1)[0] == answer


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
@pytest.mark.parametrize("piece", [1 << 16, 1000])
def test_what_is_no_answer_is_refused_within_bounds(text: bytes, piece: int) -> None:
    """Another protocol, contradictions, and whatever never ends."""
    with pytest.raises(ProtocolError):
        read(text, piece)


def test_an_answer_without_a_length_ends_with_the_connection() -> None:
    """It is whole at the end of the stream only, and nothing can follow it."""
    answer, reading = read(b"HTTP/1.1 502 Bad Gateway\r\nServer: x\r\n\r\noops")
    assert answer == Response(502, b"HTTP/1.1 502 Bad Gateway\r\nServer: x", b"oops")
    assert not reading.reusable
    assert answer.headers == {"server": "x"}


@given(st.lists(st.sampled_from([*GOOD["chunks"][0].splitlines(True), OK, b"\r\n", b"0", b"\xff", b": "]), max_size=12))
def test_reading_never_fails_in_another_way(pieces: list[bytes]) -> None:
    """Any bytes in any pieces: an answer, none yet, or `ProtocolError`; the pieces do not matter."""
    found = []
    for way in (pieces, [b"".join(pieces)]):
        reading = ResponseParser()
        answer: Response | str | None = None
        try:
            for piece in way:
                answer = reading.feed(piece)
                if answer is not None:
                    break
        except ProtocolError as error:
            answer = str(error)
        found.append(answer)
    assert found[0] == found[1]


# Connections


class Peer:
    """A server on loopback that plays one function per connection, and counts the requests that came whole."""

    def __init__(self, *plays: Callable[["Peer", socket.socket], None]) -> None:
        self.plays = plays
        self.requests: list[bytes] = []
        self.connections = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}/"
        self.release = threading.Event()
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            play = self.plays[min(self.connections, len(self.plays) - 1)]
            self.connections += 1
            threading.Thread(target=self.play, args=(play, connection), daemon=True).start()

    def play(self, play: Callable[["Peer", socket.socket], None], connection: socket.socket) -> None:
        with connection:
            try:
                play(self, connection)
            except OSError:
                return

    def take(self, connection: socket.socket) -> bytes:
        """One whole request; nothing when the client has gone."""
        text = b""
        while b"\r\n\r\n" not in text:
            data = connection.recv(1 << 16)
            if not data:
                return b""
            text += data
        head, _, body = text.partition(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        pieces, left = [body], length - len(body)
        while left:
            pieces.append(connection.recv(1 << 16))
            left -= len(pieces[-1])
        self.requests.append(b"".join(pieces))
        return self.requests[-1]


def echo(peer: Peer, connection: socket.socket) -> None:
    while body := peer.take(connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body[:MOST_BODY]))


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def request(body: bytes) -> bytes:
    return b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


@pytest.fixture
def lines() -> Iterator[Callable[..., ConnectionPool]]:
    made: list[ConnectionPool] = []

    def make(url: str, timeout_s: float = 10) -> ConnectionPool:
        def no_tls() -> None:
            raise AssertionError("plain HTTP")

        made.append(ConnectionPool(Connector(EndpointConfig(url, None, {}, no_tls, 5, timeout_s))))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for line in made:
        line.close()


def tell(line: ConnectionPool, *bodies: bytes) -> list[Response | SinkDown]:
    """What becomes of these requests, all started at once, in the order of their starts."""
    flights = [line.start(lambda body=body: request(body)) for body in bodies]  # type: ignore[misc]
    told: dict[int, Response | SinkDown] = {}
    while len(told) < len(flights):
        told |= dict(line.ended(5))
    assert line.ended(0) == []
    return [told[flight] for flight in flights]


def body_of(told: Response | SinkDown) -> bytes:
    assert isinstance(told, Response), told
    return told.body


def code_of(told: Response | SinkDown) -> str:
    assert isinstance(told, SinkDown), told
    return told.code


def test_connections_are_kept_and_each_request_gets_its_own_answer(lines: Callable[..., ConnectionPool]) -> None:
    """One after the other takes one connection, twenty at once twenty; no answer is mixed up."""
    peer = Peer(echo)
    line = lines(peer.url)
    for number in range(20):
        assert body_of(tell(line, b"%d" % number)[0]) == b"%d" % number
    assert peer.connections == 1
    bodies = [b"body %d" % number for number in range(20)]
    assert [body_of(told) for told in tell(line, *bodies)] == bodies
    assert peer.connections == 20


def test_a_large_request_goes_out_in_pieces_while_others_pass(lines: Callable[..., ConnectionPool]) -> None:
    """More than any socket buffer takes: nobody waits for it, and it arrives whole."""

    def late(peer: Peer, connection: socket.socket) -> None:
        peer.release.wait(30)
        body = peer.take(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n%08d" % len(body))

    peer = Peer(late, echo)
    line = lines(peer.url)
    big = b"x" * LARGE
    line.start(lambda: request(big))
    while line.ended(0.05) or not peer.connections:
        pass
    assert body_of(tell(line, b"small")[0]) == b"small"
    peer.release.set()
    ((_, told),) = line.ended(30)
    assert body_of(told) == b"%08d" % LARGE


def test_a_connection_that_was_closed_while_idle_costs_nothing(lines: Callable[..., ConnectionPool]) -> None:
    """The other side hangs up after an answer without a word: the next request takes a new connection."""

    def once(peer: Peer, connection: socket.socket) -> None:
        peer.take(connection)
        connection.sendall(OK)

    peer = Peer(once)
    line = lines(peer.url)
    for _ in range(5):
        assert body_of(tell(line, b"x")[0]) == b"ok"
        while line._idle:
            line.ended(0.01)
    assert (peer.connections, len(peer.requests)) == (5, 5)


def test_a_request_that_was_read_whole_is_not_sent_again(lines: Callable[..., ConnectionPool]) -> None:
    """Reset or closed after it: it may have been acted on, so it is lost, on new and on used connections."""

    def close(peer: Peer, connection: socket.socket) -> None:
        peer.take(connection)

    def reset_it(peer: Peer, connection: socket.socket) -> None:
        peer.take(connection)
        connection.sendall(OK)
        peer.take(connection)
        reset(connection)

    peer = Peer(close, reset_it)
    line = lines(peer.url)
    assert code_of(tell(line, b"1")[0]) == LOST
    assert body_of(tell(line, b"2")[0]) == b"ok"
    assert code_of(tell(line, b"3")[0]) == LOST
    assert peer.requests == [b"1", b"2", b"3"]


def test_a_request_that_cannot_have_been_read_whole_is_sent_again_once(lines: Callable[..., ConnectionPool]) -> None:
    """Broken off in the middle of a large body: one try over a new connection, and no third."""

    def rude(peer: Peer, connection: socket.socket) -> None:
        connection.recv(100)
        reset(connection)

    def once(peer: Peer, connection: socket.socket) -> None:
        peer.take(connection)
        connection.sendall(OK)

    peer = Peer(rude, once)
    line = lines(peer.url)
    body = b"x" * LARGE
    assert body_of(tell(line, body)[0]) == b"ok"
    assert (peer.connections, len(peer.requests)) == (2, 1)
    peer.plays = (rude,)
    assert code_of(tell(lines(peer.url), body)[0]) == LOST
    assert (peer.connections, len(peer.requests)) == (4, 1)


def test_an_answer_before_the_whole_request_counts(lines: Callable[..., ConnectionPool]) -> None:
    """413 in the middle of a large body: it is the answer, and the connection is not used again."""

    def refuse(peer: Peer, connection: socket.socket) -> None:
        connection.recv(100)
        connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        peer.release.wait(30)

    peer = Peer(refuse, echo)
    line = lines(peer.url)
    (told,) = tell(line, b"x" * LARGE)
    assert isinstance(told, Response)
    assert told.status == 413
    assert body_of(tell(line, b"next")[0]) == b"next"
    peer.release.set()


@pytest.mark.parametrize("drips", [False, True])
def test_an_answer_has_so_much_time(lines: Callable[..., ConnectionPool], drips: bool) -> None:
    """Silence ends a request, and so does an answer that comes byte by byte for ever."""

    def slow(peer: Peer, connection: socket.socket) -> None:
        peer.take(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nA: ")
        while not peer.release.wait(0.02):
            if drips:
                connection.sendall(b"x")

    peer = Peer(slow)
    assert code_of(tell(lines(peer.url, 0.1), b"x")[0]) == LOST
    peer.release.set()


def test_garbage_is_no_answer(lines: Callable[..., ConnectionPool]) -> None:
    """Another protocol at the other end: the request ends as such, the connection is dropped."""

    def ssh(peer: Peer, connection: socket.socket) -> None:
        peer.take(connection)
        connection.sendall(b"SSH-2.0-OpenSSH_9.9\r\n\r\n")
        peer.release.wait(30)

    peer = Peer(ssh, echo)
    line = lines(peer.url)
    assert code_of(tell(line, b"x")[0]) == MALFORMED
    assert body_of(tell(line, b"x")[0]) == b"x"
    peer.release.set()


def test_who_cannot_be_reached_is_said_so(lines: Callable[..., ConnectionPool]) -> None:
    """A refused connection and a name that is none end the request, from another thread, without waiting."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        assert code_of(tell(lines(f"http://127.0.0.1:{held.getsockname()[1]}/"), b"x")[0]) == UNREACHABLE
    assert code_of(tell(lines("http://nobody.invalid/"), b"x")[0]) == UNREACHABLE


def test_a_connection_that_takes_for_ever_to_open_is_given_up(
    lines: Callable[..., ConnectionPool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever holds it up, the request ends; a connection that comes too late is not lost but used for the next."""
    peer, release = Peer(echo), threading.Event()
    line = lines(peer.url, 0.05)
    opens = Connector.open

    def hold(connector: Connector) -> object:
        release.wait(30)
        return opens(connector)

    monkeypatch.setattr(Connector, "open", hold)
    assert code_of(tell(line, b"x")[0]) == UNREACHABLE
    release.set()
    while not line._idle:
        line.ended(0.05)
    assert body_of(tell(line, b"y")[0]) == b"y"
    assert (peer.connections, peer.requests) == (1, [b"y"])


def test_what_cannot_be_made_is_told_and_spares_the_connection(lines: Callable[..., ConnectionPool]) -> None:
    """No credentials for a request: the same in both threads, and the next request finds a connection."""
    peer = Peer(echo)
    line = lines(peer.url)

    def no() -> bytes:
        raise SinkDown("no credentials", code="NoCredentials")

    def told(*, slow: bool) -> str:
        flight = line.start(no, slow=slow)
        ((number, what),) = line.ended(5)
        assert number == flight
        return code_of(what)

    assert told(slow=False) == "NoCredentials"
    assert body_of(tell(line, b"x")[0]) == b"x"
    assert [told(slow=False), told(slow=True)] == ["NoCredentials"] * 2
    line.start(lambda: request(b"later"), slow=True)
    ((_, what),) = line.ended(5)
    assert body_of(what) == b"later"
    assert peer.connections == 1


PROXIES = {
    "silent": [],
    "garbage": [b"SSH-2.0-OpenSSH_9.9\r\n\r\n"],
    "cut": [b"HTTP/1.1 200 Conn"],
    "refusing": [b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"],
    "talkative": [b"HTTP/1.1 200 OK\r\n\r\nhello"],
    "large": [b"HTTP/1.1 200 OK\r\n", *[b"a: " + b"b" * 1000 + b"\r\n"] * 100],
    "endless": [b"HTTP/1.1 200 OK\r\n", *[b"a"] * 100_000],
    "interim for ever": [b"HTTP/1.1 100 Continue\r\n\r\n"] * 100_000,
}


@pytest.mark.parametrize("says", PROXIES.values(), ids=PROXIES)
def test_a_proxy_has_so_much_time_and_room(says: list[bytes]) -> None:
    """Whatever it says to CONNECT but a success, bounded: the request ends, nothing was sent through it."""

    def play(peer: Peer, connection: socket.socket) -> None:
        while b"\r\n\r\n" not in (head := connection.recv(1 << 16)):
            assert head
        for piece in says:
            connection.sendall(piece)
            if len(says) > 1000 and peer.release.wait(0.01):
                return
        if says != PROXIES["cut"]:
            peer.requests.append(connection.recv(1 << 16))

    peer = Peer(play)
    route = EndpointConfig("https://localhost:9/", peer.url, {}, ssl.create_default_context, 0.1, 10)
    line = ConnectionPool(Connector(route))
    assert code_of(tell(line, b"x")[0]) == UNREACHABLE
    line.close()
    peer.release.set()
    assert not any(peer.requests)
