"""A PutEvents endpoint that misbehaves as told, in a process of its own: real HTTP, and a memory of what it took.

`python -m tests.misbehaving FAULT` prints its URL and serves until it is killed. GET /told answers with what was seen
so far, GET /fault/NAME changes the fault. Each request is checked as the service does: signed, at most ten entries,
at most a megabyte, details that are JSON objects.
"""

import json
import os
import random
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.command import ROOT

FAULTS = (
    "none",
    "throttling",
    "partial",
    "errors",
    "reset-before",
    "reset-after",
    "slow",
    "outage",
    "malformed",
    "final",
    "everything",
)
CAPACITY, OUTAGE_S, OUTAGE_AFTER = 1500, 3.0, 40
"""Events a second; how long an outage takes, and after how many requests it begins."""
GARBAGE = (
    b"<html>502 Bad Gateway</html>",
    b"",
    b'{"Entries": [',
    b'{"Entries": "none"}',
    b'{"Entries": []}',
    b"\xff\xfe",
)


class Server(ThreadingHTTPServer):
    """What it does wrong, and what it saw."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, fault: str) -> None:
        self.fault = fault
        self.lock = threading.Lock()
        self.random = random.Random(11)
        self.accepted: Counter[str] = Counter()
        self.unanswered: Counter[str] = Counter()
        """How often an entry was taken without its sender being told."""
        self.requests = 0
        self.violations: list[str] = []
        self.broke_down = 0.0
        self.tokens, self.filled = float(CAPACITY) / 10, time.monotonic()
        super().__init__(("127.0.0.1", 0), Handler)

    def handle_error(self, *_: object) -> None:
        """A client that went away is part of the play."""

    def told(self) -> dict[str, Any]:
        return {
            "requests": self.requests,
            "accepted": self.accepted,
            "unanswered": self.unanswered,
            "violations": self.violations[:10],
        }

    def has_tokens(self, number: int) -> bool:
        now = time.monotonic()
        self.tokens = min(self.tokens + (now - self.filled) * CAPACITY, CAPACITY / 10)
        self.filled = now
        if self.tokens < number:
            return False
        self.tokens -= number
        return True


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def do_GET(self) -> None:
        if self.path.startswith("/fault/"):
            with self.server.lock:
                self.server.fault = self.path.removeprefix("/fault/")
        with self.server.lock:
            body = json.dumps(self.server.told()).encode()
        self.answer(200, body)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        request = json.loads(body)
        if not self.headers["X-Amz-Target"].endswith(".PutEvents"):
            self.answer(200, b'{"Name": "default", "Arn": "arn:aws:events:us-east-1:123456789012:event-bus/default"}')
            return
        with self.server.lock:
            self.check(request)
            reply = self.decide(request["Entries"])
        if self.server.fault == "slow":
            time.sleep(self.server.random.uniform(0.02, 0.2))
        if reply is None:
            self.reset()
        else:
            self.answer(*reply)

    def check(self, request: dict[str, Any]) -> None:
        server, entries = self.server, request["Entries"]
        server.requests += 1
        if server.requests == OUTAGE_AFTER:
            server.broke_down = time.monotonic()
        if not self.headers.get("Authorization", "").startswith("AWS4-HMAC-SHA256 Credential="):
            server.violations.append("not signed")
        if not 1 <= len(entries) <= 10:
            server.violations.append(f"{len(entries)} entries")
        size = 0
        for entry in entries:
            size += sum(len(entry[name].encode()) for name in ("Source", "DetailType", "Detail")) + 14
            if not isinstance(json.loads(entry["Detail"]), dict):
                server.violations.append("detail is no object")
        if size > 1_000_000:
            server.violations.append(f"{size} bytes")

    def decide(self, entries: list[dict[str, str]]) -> tuple[int, bytes] | None:
        """The answer, None for a reset."""
        server = self.server
        ids = [json.loads(entry["Detail"])["PacketId"] for entry in entries]
        chance, fault = server.random.random(), server.fault
        if fault == "everything":
            fault = server.random.choice(FAULTS[1:-1])
        if fault == "dead" or (fault == "outage" and time.monotonic() - server.broke_down < OUTAGE_S):
            return None
        if fault == "throttling" and not server.has_tokens(len(ids)):
            return 400, b'{"__type": "ThrottlingException", "message": "Rate exceeded"}'
        if fault == "errors" and chance < 0.3:
            return 500, b'{"__type": "InternalFailure"}'
        if fault == "reset-before" and chance < 0.3:
            return None
        results: list[dict[str, str]] = []
        for one in ids:
            failed = None
            if fault == "partial" and server.random.random() < 0.3:
                failed = server.random.choice(["ThrottlingException", "InternalFailure"])
            elif fault == "final" and int(one[:2], 16) < 13:
                failed = "MalformedDetail"
            else:
                server.accepted[one] += 1
            results.append({"ErrorCode": failed, "ErrorMessage": "as told"} if failed else {"EventId": f"e-{one}"})
        if (fault == "reset-after" and chance < 0.2) or (fault == "malformed" and chance < 0.2):
            server.unanswered.update(ids)
            return None if fault == "reset-after" else (200, server.random.choice(GARBAGE))
        failures = sum("ErrorCode" in result for result in results)
        return 200, json.dumps({"FailedEntryCount": failures, "Entries": results}).encode()

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def reset(self) -> None:
        """A TCP reset instead of an answer."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Nothing on stderr."""


class Misbehaving:
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
def misbehaving(fault: str) -> Iterator[Misbehaving]:
    """Such a server, until the end of the block."""
    command = [sys.executable, "-m", "tests.misbehaving", fault]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, env=os.environ | {"NO_PROXY": "*"}) as process:
        try:
            assert process.stdout is not None
            yield Misbehaving(process.stdout.readline().decode().strip())
        finally:
            process.kill()


if __name__ == "__main__":
    with Server(sys.argv[1]) as told_to:
        sys.stdout.write(f"http://127.0.0.1:{told_to.server_address[1]}\n")
        sys.stdout.flush()
        told_to.serve_forever(poll_interval=0.05)
