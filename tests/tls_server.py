"""An EventBridge endpoint over real TLS that shows whichever certificate it is told, and keeps every byte it got."""

import ipaddress
import json
import select
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import cbor2
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

DAY = timedelta(days=1)


def _key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _named(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.OID_COMMON_NAME, common_name)])


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


class Authority:
    """A certificate authority; `path` is the file to trust it by."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._key, self._name = folder, _key(), _named("authority of a test")
        self._made = 0
        now = datetime.now(UTC)
        own = self._builder(self._name, self._key, now - 9 * DAY, now + 9 * DAY)
        own = own.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self.path = folder / "authority.pem"
        self.path.write_bytes(own.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, start: datetime, end: datetime
    ) -> x509.CertificateBuilder:
        self._made += 1
        return x509.CertificateBuilder(self._name, subject, key.public_key(), self._made, start, end)

    def certificate(
        self, *names: str, common_name: str = "server", start: timedelta = -DAY, end: timedelta = DAY, own: bool = False
    ) -> Path:
        """A certificate and its key in one file: for DNS names or IP addresses, valid from and to so long from now.

        `own` signs it with its own key instead of the authority's.
        """
        key, subject, now = _key(), _named(common_name), datetime.now(UTC)
        builder = self._builder(subject, key, now + start, now + end)
        if own:
            builder = x509.CertificateBuilder(subject, subject, key.public_key(), self._made, now + start, now + end)
        if names:
            general = x509.SubjectAlternativeName([_general(name) for name in names])
            builder = builder.add_extension(general, critical=False)
        path = self._folder / f"{self._made}.pem"
        path.write_bytes(
            builder.sign(key if own else self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return path


def _context(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


class TlsServer:
    """Shows the certificates in turn, one a connection, the last one for all that follow (`show` sets others).

    `received` holds what came over each connection once TLS was up; a connection that was broken off leaves nothing.
    A certificate of None is plain TCP. `keep` says whether connections are kept alive after an answer.
    """

    def __init__(self, certificates: Sequence[Path | None], *, host: str = "127.0.0.1", keep: bool = True) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, 0), family=family)
        self.port: int = self._listener.getsockname()[1]
        self.keep = keep
        self.received: list[bytes] = []
        self.accepted: list[dict[str, Any]] = []
        """The entries that were taken."""
        self.connections = 0
        self.relay: Callable[[bytes, socket.socket], bool] | None = None
        """Called with the head of a request instead of answering; true if it took the connection over."""
        self._lock = threading.Lock()
        self.show(*certificates)
        threading.Thread(target=self._serve, daemon=True).start()

    def show(self, *certificates: Path | None) -> None:
        """Show these from the next connection on."""
        self._contexts = [None if one is None else _context(one) for one in certificates]
        self._shown = 0

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                context = self._contexts[min(self._shown, len(self._contexts) - 1)]
                self._shown += 1
                place = self.connections
                self.connections += 1
                self.received.append(b"")
            threading.Thread(target=self._talk, args=(connection, context, place), daemon=True).start()

    def _talk(self, connection: socket.socket, context: ssl.SSLContext | None, place: int) -> None:
        with suppress(OSError, ValueError), connection:
            connection.settimeout(30)
            if context is not None:
                connection = context.wrap_socket(connection, server_side=True)
            with connection:
                while self._answer(connection, place) and self.keep:
                    pass

    def _answer(self, connection: socket.socket, place: int) -> bool:
        text = b""
        while b"\r\n\r\n" not in text:
            data = connection.recv(1 << 16)
            if not data:
                return False
            self.received[place] += data
            text += data
        head, _, body = text.partition(b"\r\n\r\n")
        if self.relay is not None and self.relay(head, connection):
            return False
        headers = dict(line.lower().split(": ", 1) for line in head.decode("latin-1").split("\r\n")[1:])
        while len(body) < int(headers["content-length"]):
            data = connection.recv(1 << 16)
            self.received[place] += data
            body += data
        kind, told = self._told(head, headers, body)
        close = b"" if self.keep else b"Connection: close\r\n"
        connection.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\n%bContent-Length: %d\r\n\r\n%b" % (kind, close, len(told), told)
        )
        return True

    def _told(self, head: bytes, headers: dict[str, str], body: bytes) -> tuple[bytes, bytes]:
        if head.startswith(b"POST /service/AWSEventsV2/"):
            entries = cbor2.loads(body).get("Entries")
            told: dict[str, Any] = {"State": "ACTIVE"}
            if entries is not None:
                told = {"Entries": self._take(entries, SuccessCode="PUBLISHED", SequenceNumber="1")}
            return b"application/cbor\r\nsmithy-protocol: rpc-v2-cbor", cbor2.dumps(told)
        operation = headers["x-amz-target"].partition(".")[2]
        told = {
            "putevents": lambda: {"FailedEntryCount": 0, "Entries": self._take(json.loads(body)["Entries"])},
            "describeeventbus": lambda: {"Arn": "arn:aws:events:us-east-1:123456789012:event-bus/default"},
            "listrules": lambda: {"Rules": []},
        }[operation]()
        return b"application/x-amz-json-1.1", json.dumps(told).encode()

    def _take(self, entries: list[dict[str, Any]], **more: str) -> list[dict[str, str]]:
        with self._lock:
            self.accepted += entries
        return [{"EventId": "1"} | more for _ in entries]


@contextmanager
def tls_server(*certificates: Path | None, host: str = "127.0.0.1", keep: bool = True) -> Iterator[TlsServer]:
    """Such a server, until the end of the block."""
    server = TlsServer(certificates, host=host, keep=keep)
    try:
        yield server
    finally:
        server.close()


def tunnels(port: int, *, host: str = "127.0.0.1") -> Callable[[bytes, socket.socket], bool]:
    """What makes a server a proxy: CONNECT to wherever it says leads to `port` on loopback."""

    def relay(head: bytes, client: socket.socket) -> bool:
        assert head.startswith(b"CONNECT ")
        with socket.create_connection((host, port)) as server:
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            other = {client: server, server: client}
            while True:
                waits = isinstance(client, ssl.SSLSocket) and client.pending()
                for one in [client] if waits else select.select([client, server], [], [], 30)[0]:
                    data = one.recv(1 << 16)
                    if not data:
                        return True
                    other[one].sendall(data)

    return relay
