"""A small server that speaks enough of EventBridge's protocol to misbehave as asked: real HTTP on a loopback port."""

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

Request = dict[str, Any]


class Reply:
    """Bytes to answer with, or None to drop the connection instead."""

    def __init__(self, status: int, body: bytes | str | object, *, headers: dict[str, str] | None = None) -> None:
        self.status = status
        self.body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.headers = {"Content-Type": "application/x-amz-json-1.1"} | (headers or {})


def accepted(request: Request) -> Reply:
    """Every entry gets an EventId."""
    entries = request.get("Entries", [])
    results = [{"EventId": f"id-{number}"} for number in range(len(entries))]
    return Reply(200, {"FailedEntryCount": 0, "Entries": results})


def found(request: Request) -> Reply:
    """The bus that was asked for is there."""
    name = request.get("Name", "default").rsplit("/", 1)[-1]
    return Reply(200, {"Name": name, "Arn": f"arn:aws:events:us-east-1:123456789012:event-bus/{name}"})


def error(status: int, code: str, message: str = "said the service") -> Reply:
    """An error as the service words it."""
    return Reply(status, {"__type": code, "message": message})


class PutEventsServer:
    """`put_events` and `describe` decide on each answer, None drops the connection; what came is remembered."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.put_events: Callable[[Request], Reply | None] = accepted
        self.describe: Callable[[Request], Reply | None] = found
        self.requests: list[Request] = []
        self.headers: list[dict[str, str]] = []


@contextmanager
def put_events_server(certificate: Path | None = None) -> Iterator[PutEventsServer]:
    """A server that does all right until told otherwise; with a certificate and its key in a file, over TLS."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.headers["X-Amz-Target"].endswith(".PutEvents"):
                told.requests.append(request)
                told.headers.append(dict(self.headers))
                reply = told.put_events(request)
            else:
                reply = told.describe(request)
            if reply is None:
                self.close_connection = True
                return
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            if "Content-Length" not in reply.headers:
                self.send_header("Content-Length", str(len(reply.body)))
            else:
                self.close_connection = True
            self.end_headers()
            self.wfile.write(reply.body)

        def log_message(self, *_: object) -> None:
            """Nothing on stderr."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """A client that went away before its answer is part of the play."""

    server = Server(("127.0.0.1", 0), Handler)
    told = PutEventsServer(f"http://127.0.0.1:{server.server_address[1]}")
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        told.url = f"https://localhost:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield told
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
