"""HTTP servers that misbehave as told, in a process of their own: what they share, and the test's hold on them.

`python -m MODULE FAULT` prints the server's URL and serves until it is killed. GET /told answers with what was seen so
far, GET /fault/NAME changes the fault.
"""

import json
import os
import socket
import struct
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from typing import Any, TypeVar

from tests.command import ROOT

Held = TypeVar("Held", bound="Hold")


class Quiet:
    """For handlers: one that can reset connections, and says nothing on stderr."""

    connection: socket.socket
    close_connection: bool

    def reset(self) -> None:
        """A TCP reset instead of an answer."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Nothing on stderr."""


class Hold:
    """The test's hold on such a server."""

    def __init__(self, url: str) -> None:
        self.url = url

    def told(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.url}/told", timeout=30) as answer:
            told: dict[str, Any] = json.load(answer)
        assert not told["violations"], told["violations"]
        return told

    def behave(self, fault: str = "none") -> None:
        urllib.request.urlopen(f"{self.url}/fault/{fault}", timeout=30).close()


@contextmanager
def started(module: str, fault: str, hold: type[Held]) -> Iterator[Held]:
    """The server of a module, until the end of the block."""
    command = [sys.executable, "-m", module, fault]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, env=os.environ | {"NO_PROXY": "*"}) as process:
        try:
            assert process.stdout is not None
            yield hold(process.stdout.readline().decode().strip())
        finally:
            process.kill()


def serve(server: ThreadingHTTPServer) -> None:
    """The life of such a process."""
    with server:
        sys.stdout.write(f"http://127.0.0.1:{server.server_address[1]}\n")
        sys.stdout.flush()
        server.serve_forever(poll_interval=0.05)
