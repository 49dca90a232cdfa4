"""Connections to an endpoint, through a proxy where there is one, to nobody but whom its certificate says it is.

Opening one waits, so it is done in a thread of its own (`pcapeda.aws.http11.Line`); once open, a connection never does.
Whatever comes from the other side is bounded in size and time.
"""

import re
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from pcapeda.aws.session import one_line, strict

if TYPE_CHECKING:
    import ssl

MOST_HEAD, MOST_BODY = 1 << 16, 1 << 20
"""Most bytes of an answer's head and body. PutEvents answers with some hundred."""

PIECE = 1 << 16

TUNNEL_PATIENCE = 4
"""How many connect timeouts a proxy may take to open a tunnel."""

_EMPTY_LINE = re.compile(rb"\r?\n\r?\n")
_TUNNEL_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: [^\r\n]*)?\r?\n")


class EndpointConfig(NamedTuple):
    """How to reach an endpoint: its URL, the URL of an HTTP proxy and what that asks for, whom TLS trusts."""

    url: str
    proxy: str | None
    proxy_headers: dict[str, str]
    tls: "Callable[[], ssl.SSLContext]"
    connect_timeout_s: float
    read_timeout_s: float


class Connector:
    """Opens connections along a route. Raises what the operating system and TLS raise: an `OSError`.

    Over TLS the other side proves its name, whatever the route's context was made for: `session.strict`.
    """

    def __init__(self, route: EndpointConfig) -> None:
        self.route = route
        self._tls: ssl.SSLContext | None = None

    def open(self) -> "Connection":
        """A new connection, ready for a request. Each address is given the connect timeout."""
        route = self.route
        url = urlsplit(route.url)
        secure = url.scheme == "https"
        host, port = url.hostname or "", url.port or (443 if secure else 80)
        if secure:
            self._tls = self._tls or strict(route.tls())
        hop = urlsplit(route.proxy) if route.proxy is not None else None
        first = (host, port) if hop is None else (hop.hostname or "", hop.port or 80)
        sock = socket.create_connection(first, timeout=route.connect_timeout_s)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if hop is not None and secure:
                self._tunnel(sock, host, port)
            if self._tls is not None:
                # A name may be written with its root; certificates are not (RFC 6066, section 3).
                sock = self._tls.wrap_socket(sock, server_hostname=host.rstrip("."))
            return Connection(sock, secure=secure)
        except BaseException:
            sock.close()
            raise

    def _tunnel(self, sock: socket.socket, host: str, port: int) -> None:
        """Have the proxy at the other end connect us to the endpoint (RFC 9110, section 9.3.6)."""
        route = self.route
        target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
        lines += [f"{name}: {value}" for name, value in route.proxy_headers.items()]
        sock.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
        _await_tunnel(sock, time.monotonic() + TUNNEL_PATIENCE * route.connect_timeout_s)


def _await_tunnel(sock: socket.socket, end_s: float) -> None:
    """Read a proxy's answer to CONNECT, up to the first byte of the tunnel. Raises `OSError` unless it is a success."""
    head, at = b"", 0
    while True:
        ended = _EMPTY_LINE.search(head, max(at - 3, 0))
        status = _TUNNEL_STATUS.match(head)
        if ended is not None and status is not None and status[1].startswith(b"1"):
            head, at = head[ended.end() :], 0  # an interim answer; the real one follows
            continue
        if ended is not None:
            break
        at = len(head)
        data = sock.recv(PIECE) if at <= MOST_HEAD and time.monotonic() < end_s else b""
        if not data:
            raise OSError("the proxy gave no answer that makes sense")
        head += data
    if status is None or ended.end() != len(head):
        raise OSError("the proxy gave no answer that makes sense")
    if not status[1].startswith(b"2"):
        raise OSError(f"the proxy said {one_line(status[0].decode('latin-1'))}")


class Connection:
    """A socket that never waits."""

    __slots__ = ("_later", "_pending", "socket")

    def __init__(self, sock: socket.socket, *, secure: bool) -> None:
        sock.setblocking(False)
        self.socket = sock
        self._later: tuple[type[OSError], ...] = (BlockingIOError, InterruptedError)
        self._pending: Callable[[], int] | None = None
        if secure:
            import ssl

            assert isinstance(sock, ssl.SSLSocket)
            self._later = (*self._later, ssl.SSLWantReadError, ssl.SSLWantWriteError)
            self._pending = sock.pending

    def send(self, data: memoryview) -> int:
        """How many bytes were taken. Raises `OSError`."""
        if self._pending is not None:
            data = data[:PIECE]  # TLS tells of no progress before all of what it was given has gone
        try:
            return self.socket.send(data)
        except self._later:
            return 0

    def receive(self) -> bytes | None:
        """What has come, nothing at the end of the stream, None when nothing is there. Raises `OSError`."""
        try:
            data = self.socket.recv(PIECE)
            while self._pending is not None and data and self._pending() and len(data) < MOST_BODY:
                data += self.socket.recv(PIECE)
            return data
        except self._later:
            return None

    def quiet(self) -> bool:
        """Whether it is open and has nothing to say, as a connection without a request under way should."""
        try:
            return self.receive() is None
        except OSError:
            return False

    def close(self) -> None:
        self.socket.close()
