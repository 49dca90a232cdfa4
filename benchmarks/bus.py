"""An event bus on a loopback port that takes everything and costs next to nothing: what clients are measured against.

    python -m benchmarks.bus [--delay SECONDS]

Prints its port. It speaks as much HTTP as PutEvents needs: it looks for Content-Length and counts entries by their
name, without parsing anything, and answers at once or after the delay. `GET /` tells what came since it was last asked.
"""

import argparse
import json
import select
import socket
import subprocess
import time
import urllib.request
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from benchmarks.bench import ENVIRONMENT, PYTHON

HEAD = "HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.1\r\nx-amzn-RequestId: 0\r\nContent-Length: "


def reply(answer: object) -> bytes:
    body = json.dumps(answer)
    return f"{HEAD}{len(body)}\r\n\r\n{body}".encode()


ACCEPTED = [
    reply({"FailedEntryCount": 0, "Entries": [{"EventId": f"00000000-0000-0000-0000-{at:012}"} for at in range(count)]})
    for count in range(101)
]
FOUND = reply({"Name": "default", "Arn": "arn:aws:events:us-east-1:123456789012:event-bus/default"})


class Counts(NamedTuple):
    """What came, and what it took this server, in CPU seconds."""

    requests: int
    entries: int
    cpu_s: float


def serve(delay_s: float) -> None:  # noqa: C901 - a server in one function, which its process is given
    """Answer for ever."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    print(listener.getsockname()[1], flush=True)
    poll = select.epoll()
    poll.register(listener, select.EPOLLIN)
    peers: dict[int, tuple[socket.socket, bytes]] = {}
    waiting: deque[tuple[float, socket.socket, bytes]] = deque()
    requests = entries = 0
    cpu = time.process_time()
    while True:
        timeout = max(0.0, waiting[0][0] - time.monotonic()) if waiting else None
        for number, _ in poll.poll(timeout):
            if number == listener.fileno():
                peer, _ = listener.accept()
                peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                poll.register(peer, select.EPOLLIN)
                peers[peer.fileno()] = peer, b""
                continue
            peer, data = peers[number]
            try:
                came = peer.recv(1 << 20)
            except OSError:
                came = b""
            if not came:
                poll.unregister(number)
                peer.close()
                del peers[number]
                continue
            data += came
            while (end := data.find(b"\r\n\r\n")) >= 0:
                head = data[:end].lower()
                at = head.find(b"\r\ncontent-length:")
                length = int(head[at + 17 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
                whole = end + 4 + length
                if len(data) < whole:
                    break
                if head.startswith(b"get "):
                    answer = reply({"requests": requests, "entries": entries, "cpu_s": time.process_time() - cpu})
                    requests = entries = 0
                    cpu = time.process_time()
                    peer.sendall(answer)
                elif b"describeeventbus" in head:
                    peer.sendall(FOUND)
                else:
                    count = data.count(b'"DetailType"', end, whole)
                    requests, entries = requests + 1, entries + count
                    if delay_s:
                        waiting.append((time.monotonic() + delay_s, peer, ACCEPTED[count]))
                    else:
                        peer.sendall(ACCEPTED[count])
                data = data[whole:]
            peers[number] = peer, data
        while waiting and waiting[0][0] <= time.monotonic():
            _, peer, answer = waiting.popleft()
            if peer.fileno() >= 0:
                peer.sendall(answer)


class Bus:
    """The server, running in a process of its own."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def counts(self) -> Counts:
        """What came since this was last asked."""
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(self.url + "/") as answer:
            return Counts(**json.loads(answer.read()))


@contextmanager
def running(delay_s: float = 0.0) -> Iterator[Bus]:
    """Start it, and stop it at the end."""
    command = [PYTHON, "-m", "benchmarks.bus", "--delay", str(delay_s)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=ENVIRONMENT) as process:
        assert process.stdout is not None
        try:
            yield Bus(int(process.stdout.readline()))
        finally:
            process.terminate()


def main() -> None:
    parser = argparse.ArgumentParser(description="A bus that takes everything.")
    parser.add_argument("--delay", type=float, default=0.0)
    serve(parser.parse_args().delay)


if __name__ == "__main__":
    main()
