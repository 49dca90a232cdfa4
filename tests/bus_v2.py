"""A bus of EventBridge v2 in a process of its own: smithy-rpc-v2-cbor over real HTTP, written from the service model.

`python -m tests.bus_v2 FAULT` prints its URL and serves until it is killed. GET /told answers with what was published,
in order, and what was wrong with requests; GET /fault/NAME changes the fault; GET /later/SECONDS moves its clock. It
knows events again for 300 seconds by id and group, answers entry by entry, and never says how many entries failed.
"""

import base64
import json
import random
import re
import sys
import threading
import time
import urllib.request
from collections import Counter
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import cbor2

from tests.own_process import Hold, Quiet, serve, started

ARN = "arn:aws:events:us-east-1:123456789012:event-busv2/edge/abcdefghijklmnopqrstuvwxy"
WINDOW_S, MOST_ENTRIES, MOST_BYTES = 300, 100, 1_048_576
WRONG_ARN = "arn:aws:events:us-east-1:123456789012:event-busv2/none/abcdefghijklmnopqrstuvwxy"

Entry = dict[str, Any]


class Refused(Exception):
    """A whole request that is refused: HTTP status, code, words."""


class Bus(ThreadingHTTPServer):
    """What it does wrong, and what it saw."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, fault: str) -> None:
        self.fault = fault
        self.lock = threading.Lock()
        self.random = random.Random(5)
        self.later = 0.0
        self.requests = self.tries = 0
        self.published: list[Entry] = []
        self.deduplicated = self.unanswered = 0
        self.violations: list[str] = []
        self.answers: Counter[str] = Counter()
        self._known: dict[tuple[str, str], float] = {}
        self._under_way: Counter[str] = Counter()
        super().__init__(("127.0.0.1", 0), Handler)

    def handle_error(self, *_: object) -> None:
        """A client that went away is part of the play."""

    def told(self) -> dict[str, Any]:
        return {
            "requests": self.requests,
            "tries": self.tries,
            "published": self.published,
            "deduplicated": self.deduplicated,
            "unanswered": self.unanswered,
            "violations": self.violations[:10],
            "answers": self.answers,
        }

    def describe(self, arn: str) -> dict[str, Any]:
        if self.fault == "hidden":
            raise Refused(403, "AccessDeniedException", "not authorized to perform events:DescribeEventBus")
        if arn != ARN:
            raise Refused(404, "ResourceNotFoundException", "The resource does not exist.")
        return {"EventBusArn": ARN, "Name": "edge", "State": self.fault if self.fault.isupper() else "ACTIVE"}

    def begin(self, entries: list[Entry]) -> list[str]:
        """Check a request; gives the groups it has under way until `end`."""
        self.requests += 1
        self.tries += len(entries)
        size = 0
        for entry in entries:
            size += self._check(entry)
        if not 1 <= len(entries) <= MOST_ENTRIES:
            self.violations.append(f"{len(entries)} entries")
        if size > MOST_BYTES:
            self.violations.append(f"{size} bytes")
        groups = [entry["SystemMetadata"]["EventGroupId"] for entry in entries if _group(entry)]
        for group in groups:
            if self._under_way[group]:
                self.violations.append(f"two events of group {group} under way at once")
            self._under_way[group] += 1
        return groups

    def end(self, groups: list[str]) -> None:
        for group in groups:
            self._under_way[group] -= 1

    def _check(self, entry: Entry) -> int:
        """The size of an entry, and what the model forbids in it."""
        wrong, system = [], entry["SystemMetadata"]
        for name in ("DeduplicationId", "EventGroupId"):
            if name in system and not 1 <= len(system[name]) <= 128:
                wrong.append(f"{name} {system[name]!r}")
        if "Data" in entry:
            metadata = entry.get("Metadata", {})
            if not isinstance(entry["Data"], bytes) or not re.fullmatch("application/.+", system["ContentType"]):
                wrong.append("no bytes of a kind")
            if len(metadata) > 100 or len({key.lower() for key in metadata}) < len(metadata):
                wrong.append("too many metadata, or two of one name")
            wrong += [key for key, value in metadata.items() if not re.fullmatch("[^/]{1,128}", key) or not value]
            wrong += [key for key, value in metadata.items() if not isinstance(value, str)]
            size = len(entry["Data"]) + sum(len((key + value).encode()) for key, value in metadata.items())
        else:
            if not 1 <= len(entry["Source"]) <= 256 or not 1 <= len(entry["DetailType"]) <= 128:
                wrong.append("source or detail-type")
            if not isinstance(json.loads(entry["Detail"]), dict):
                wrong.append("detail is no object")
            size = sum(len(text.encode()) for text in (entry["Source"], entry["DetailType"], entry["Detail"]))
            size += 14 * ("Time" in entry) + sum(map(len, entry.get("Resources", ())))
        self.violations += wrong
        return size + sum(len(value) for value in system.values())

    def put(self, entries: list[Entry]) -> list[Entry] | None:
        """The results, None for a reset instead."""
        fault, chance = self.fault, self.random.random()
        if fault == "reset-before" and chance < 0.3:
            return None
        if fault == "errors" and chance < 0.3:
            raise Refused(500, "InternalException", "The request failed because of an internal service error.")
        if fault == "account" and chance < 0.3:
            raise Refused(429, "ThrottlingException", "Rate exceeded")
        if fault == "denied" or (
            fault == "no-reports" and any(entry.get("DetailType") == "UdpReport" for entry in entries)
        ):
            raise Refused(403, "AccessDeniedException", "not authorized to perform events:PutEvents")
        if fault == "poison" and any("poison" in _text(entry) for entry in entries):
            raise Refused(400, "InvalidInputException", "An entry is not valid")
        results = [self._publish(entry) for entry in entries]
        if fault == "reset-after" and self.requests % 3 == 1:
            self.unanswered += len(entries)
            return None
        return results

    def _publish(self, entry: Entry) -> Entry:
        throttled = {"groups": "ThrottlingException", "partial": "InternalException"}
        code = throttled.get(self.fault) if self.random.random() < 0.3 else None
        if self.fault == "final" and entry["SystemMetadata"]["DeduplicationId"] < "0d":
            code = "InvalidInputException"
        if code is not None:
            self.answers[code] += 1
            return {"ErrorCode": code, "ErrorMessage": "as told"}
        now = time.monotonic() + self.later
        key = (_group(entry), entry["SystemMetadata"]["DeduplicationId"])
        known = now - self._known.get(key, -1e9) < WINDOW_S
        self.answers["DEDUPLICATED" if known else "PUBLISHED"] += 1
        if known:
            self.deduplicated += 1
        else:
            self._known[key] = now
            self.published.append(json.loads(json.dumps(entry, default=_as_text)))
        number = f"{len(self.published):020d}"
        code = "DEDUPLICATED" if known else "PUBLISHED"
        return {"EventId": f"event-{key[1]}", "SequenceNumber": number, "SuccessCode": code}


def _group(entry: Entry) -> str:
    return entry["SystemMetadata"].get("EventGroupId", "")


def _text(entry: Entry) -> str:
    return entry["Data"].decode("latin-1") if "Data" in entry else base64.b64decode(
        json.loads(entry["Detail"]).get("Payload", "")
    ).decode("latin-1")  # fmt: skip


def _as_text(value: Any) -> str:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value.isoformat()


class Handler(Quiet, BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Bus

    def do_GET(self) -> None:
        with self.server.lock:
            if self.path.startswith("/fault/"):
                self.server.fault = self.path.removeprefix("/fault/")
            elif self.path.startswith("/later/"):
                self.server.later += float(self.path.removeprefix("/later/"))
            body = json.dumps(self.server.told()).encode()
        self.answer(200, body, "application/json")

    def do_POST(self) -> None:
        server = self.server
        request = cbor2.loads(self.rfile.read(int(self.headers["Content-Length"])))
        operation = self.path.removeprefix("/service/AWSEventsV2/operation/")
        with server.lock:
            for name, value in (("smithy-protocol", "rpc-v2-cbor"), ("Content-Type", "application/cbor")):
                if self.headers.get(name) != value:
                    server.violations.append(f"{name}: {self.headers.get(name)}")
            if "/events/aws4_request" not in self.headers.get("Authorization", ""):
                server.violations.append("not signed for events")
        try:
            if operation == "DescribeEventBus":
                self.tell(200, server.describe(request["EventBusArn"]))
                return
            if operation not in ("PutEvents", "PutRawEvents") or request["EventBusArn"] != ARN:
                raise Refused(404, "ResourceNotFoundException", "The resource does not exist.")
            with server.lock:
                groups = server.begin(request["Entries"])
            try:
                if groups:
                    time.sleep(server.random.uniform(0, 0.004))  # so that requests of one sender do overlap
                with server.lock:
                    results = server.put(request["Entries"])
            finally:
                with server.lock:
                    server.end(groups)
            if results is None:
                self.reset()
            else:
                self.tell(200, {"Entries": results})
        except Refused as refused:
            status, code, words = refused.args
            server.answers[code] += 1
            self.tell(status, {"__type": f"com.amazonaws.eventsv2#{code}", "Message": words})

    def tell(self, status: int, told: dict[str, Any]) -> None:
        self.answer(status, cbor2.dumps(told), "application/cbor")

    def answer(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("smithy-protocol", "rpc-v2-cbor")
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class BusV2(Hold):
    """The test's hold on such a bus."""

    def later(self, seconds: float) -> None:
        urllib.request.urlopen(f"{self.url}/later/{seconds}", timeout=30).close()


def bus_v2(fault: str = "none") -> AbstractContextManager[BusV2]:
    """Such a bus, until the end of the block."""
    return started("tests.bus_v2", fault, BusV2)


if __name__ == "__main__":
    serve(Bus(sys.argv[1]))
