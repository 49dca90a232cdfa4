"""A PutEvents endpoint that misbehaves as told, in a process of its own: real HTTP, and a memory of what it took.

`python -m tests.misbehaving FAULT` prints its URL and serves until it is killed. GET /told answers with what was seen
so far, GET /fault/NAME changes the fault (expired:KEY: who signs with that access key is told that it has expired;
harsh:SEED: a mix of all, from that seed; large:BYTES: a larger request meets HTTP 413).
Each request is checked as the service does: signed, one to ten entries, less than a megabyte, details that are JSON
objects, all that is required and nothing unknown. What breaks a rule is refused, and `told` fails the test; so it does
when an event comes while a request that holds it is still unanswered.
"""

import json
import random
import re
import sys
import threading
import time
from collections import Counter
from contextlib import AbstractContextManager
from hashlib import blake2b
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.own_process import Hold, Quiet, serve, started

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
SIGNATURE = (
    r"AWS4-HMAC-SHA256 Credential=[\w-]+/\d{8}/[\w-]+/events/aws4_request, "
    r"SignedHeaders=[a-z0-9;-]*host[a-z0-9;-]*, Signature=[0-9a-f]{64}"
)
MEMBERS = {"Time", "Source", "Resources", "DetailType", "Detail", "EventBusName", "TraceHeader"}
REFUSAL = 400, b'{"__type": "ValidationException", "message": "a rule is broken"}'
GARBAGE = (
    b"<html>502 Bad Gateway</html>",
    b"",
    b'{"Entries": [',
    b'{"Entries": "none"}',
    b'{"Entries": []}',
    b"\xff\xfe",
)


def ids_of(detail: str) -> list[str]:
    """What an event's detail carries: the PacketIds of its datagrams; where it sums them up, the detail itself."""
    told = json.loads(detail)
    packets = told.get("Packets", [told])
    return [packet.get("PacketId") or blake2b(detail.encode(), digest_size=16).hexdigest() for packet in packets]


class Server(ThreadingHTTPServer):
    """What it does wrong, and what it saw."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, fault: str) -> None:
        self.fault = fault
        self.lock = threading.Lock()
        seed = fault.partition(":")[2]
        self.random = random.Random(int(seed) if fault.startswith("harsh") else 11)
        self.accepted: Counter[str] = Counter()
        self.unanswered: Counter[str] = Counter()
        """How often an entry was taken without its sender being told."""
        self.requests = 0
        self.violations: list[str] = []
        self.keys: dict[str, int] = {}
        """How many requests each access key has signed."""
        self.under_way: set[str] = set()
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
            "keys": list(self.keys),
        }

    def has_tokens(self, number: int) -> bool:
        now = time.monotonic()
        self.tokens = min(self.tokens + (now - self.filled) * CAPACITY, CAPACITY / 10)
        self.filled = now
        if self.tokens < number:
            return False
        self.tokens -= number
        return True


class Handler(Quiet, BaseHTTPRequestHandler):
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
        key = self.headers.get("Authorization", "").partition("Credential=")[2].partition("/")[0]
        self.server.keys[key] = self.server.keys.get(key, 0) + 1
        if self.server.fault == f"expired:{key}":
            self.answer(400, b'{"__type": "ExpiredTokenException", "message": "The security token has expired"}')
            return
        if not self.headers["X-Amz-Target"].endswith(".PutEvents"):
            self.answer(200, b'{"Name": "default", "Arn": "arn:aws:events:us-east-1:123456789012:event-bus/default"}')
            return
        entries = request.get("Entries", [])
        with self.server.lock:
            broken = self.check(request)
            ids = {one for entry in entries for one in ids_of(entry["Detail"])} if not broken else set()
            if ids & self.server.under_way:
                broken.append("sent again before there was an answer")
            self.server.violations += broken
            self.server.under_way |= ids
            reply = REFUSAL if broken else self.decide(entries)
        if self.server.fault == "slow":
            time.sleep(self.server.random.uniform(0.02, 0.2))
        elif self.server.fault.startswith("harsh"):
            time.sleep(0.02)
        with self.server.lock:
            self.server.under_way -= ids
        if reply is None:
            self.reset()
        else:
            self.answer(*reply)

    def check(self, request: dict[str, Any]) -> list[str]:
        """The rules that a request breaks (service model `events` 2015-10-07; User Guide, entry size)."""
        server, entries = self.server, request.get("Entries", [])
        server.requests += 1
        if server.requests == OUTAGE_AFTER:
            server.broke_down = time.monotonic()
        broken = []
        signature = self.headers.get("Authorization", "")
        if not re.fullmatch(SIGNATURE, signature) or not re.fullmatch(
            r"\d{8}T\d{6}Z", self.headers["X-Amz-Date"] or ""
        ):
            broken.append(f"not signed: {signature}")
        if self.headers["Content-Type"] != "application/x-amz-json-1.1":
            broken.append(f"content type {self.headers['Content-Type']}")
        if not 1 <= len(entries) <= 10:
            broken.append(f"{len(entries)} entries")
        size = 0
        for entry in entries:
            told = [entry.get(name, "") for name in ("Source", "DetailType", "Detail")]
            size += sum(len(text.encode()) for text in (*told, *entry.get("Resources", ()))) + 14 * ("Time" in entry)
            if not all(told) or len(told[1]) > 128 or entry.keys() - MEMBERS:
                broken.append(f"an entry with {sorted(entry)}, detail-type {told[1]!r}")
            if not isinstance(json.loads(told[2]), dict):
                broken.append("detail is no object")
        if size >= 1_048_576:
            broken.append(f"{size} bytes")
        return broken

    def decide(self, entries: list[dict[str, str]]) -> tuple[int, bytes] | None:
        """The answer, None for a reset."""
        server = self.server
        events = [ids_of(entry["Detail"]) for entry in entries]
        chance, fault = server.random.random(), server.fault
        if fault == "everything":
            fault = server.random.choice(FAULTS[1:-1])
        if fault == "dead" or (fault == "outage" and time.monotonic() - server.broke_down < OUTAGE_S):
            return None
        if fault.startswith("harsh"):
            return self.harsh(events)
        if fault.startswith("large:") and int(self.headers["Content-Length"]) > int(fault.partition(":")[2]):
            return 413, b"<html>413 Request Entity Too Large</html>"
        if fault == "throttling" and not server.has_tokens(len(events)):
            return 400, b'{"__type": "ThrottlingException", "message": "Rate exceeded"}'
        if fault == "errors" and chance < 0.3:
            return 500, b'{"__type": "InternalFailure"}'
        if fault == "reset-before" and chance < 0.3:
            return None
        results: list[dict[str, str]] = []
        for ids in events:
            failed = None
            if fault == "partial" and server.random.random() < 0.3:
                failed = server.random.choice(["ThrottlingException", "InternalFailure"])
            elif fault == "final" and int(ids[0][:2], 16) < 13:
                failed = "MalformedDetail"
            else:
                server.accepted.update(ids)
            results.append({"ErrorCode": failed, "ErrorMessage": "as told"} if failed else {"EventId": f"e-{ids[0]}"})
        if (fault == "reset-after" and chance < 0.2) or (fault == "malformed" and chance < 0.2):
            server.unanswered.update(one for ids in events for one in ids)
            return None if fault == "reset-after" else (200, server.random.choice(GARBAGE))
        failures = sum("ErrorCode" in result for result in results)
        return 200, json.dumps({"FailedEntryCount": failures, "Entries": results}).encode()

    def harsh(self, events: list[list[str]]) -> tuple[int, bytes] | None:
        """A service on its worst day: one request in five throttled, one in ten HTTP 500, one in ten reset, one answer
        in twenty lost, of the rest one event in five failed; and for three seconds nobody there."""
        server = self.server
        if time.monotonic() - server.broke_down < OUTAGE_S:
            return None
        chance = server.random.random()
        if chance < 0.2:
            return 400, b'{"__type": "ThrottlingException", "message": "Rate exceeded"}'
        if chance < 0.3:
            return 500, b'{"__type": "InternalFailure"}'
        if chance < 0.4:
            return None
        results: list[dict[str, str]] = []
        for ids in events:
            if server.random.random() < 0.2:
                results.append({"ErrorCode": "InternalFailure", "ErrorMessage": "as told"})
            else:
                server.accepted.update(ids)
                results.append({"EventId": f"e-{ids[0]}"})
        if chance < 0.45:
            taken = (one for ids, told in zip(events, results, strict=True) if "EventId" in told for one in ids)
            server.unanswered.update(taken)
            return None
        failures = sum("ErrorCode" in result for result in results)
        return 200, json.dumps({"FailedEntryCount": failures, "Entries": results}).encode()

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Misbehaving(Hold):
    """The test's hold on such a server."""


def misbehaving(fault: str) -> AbstractContextManager[Misbehaving]:
    """Such a server, until the end of the block."""
    return started("tests.misbehaving", fault, Misbehaving)


if __name__ == "__main__":
    serve(Server(sys.argv[1]))
