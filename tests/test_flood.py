"""A flood over a veth pair: many forged sources, the default limits, a bus over HTTP, and an honest sender in it."""

import base64
import json
import re
import signal
import time
from pathlib import Path

from tests.command import FAKE_AWS, start
from tests.netns import HERE, Veth, needs_netns, veth_pair
from tests.put_events_server import PutEventsServer, put_events_server
from tests.test_cli import read_until

SECONDS = 5
FLOOD = """
import random, socket, struct, sys, time
to, from_mac, to_mac, device, seconds = sys.argv[1], *map(bytes.fromhex, sys.argv[2:4]), sys.argv[4], float(sys.argv[5])
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
    sender.bind((device, 0))
    count, end = 0, time.monotonic() + seconds
    udp = struct.pack("!HHHH", 9, 5514, 16, 0) + b"floodedd"
    while time.monotonic() < end:
        for _ in range(100):
            source = struct.pack("!I", random.getrandbits(32) & 0x7fffffff | 0x01000000)
            start = struct.pack("!BBHHHBB", 0x45, 0, 36, 1, 0, 64, 17)
            words = struct.unpack("!9H", start[:10] + source + socket.inet_aton(to))
            total = sum(words)
            total = (total & 0xffff) + (total >> 16)
            checksum = struct.pack("!H", ~((total & 0xffff) + (total >> 16)) & 0xffff)
            sender.send(to_mac + from_mac + b"\\x08\\0" + start + checksum + source + socket.inet_aton(to) + udp)
            count += 1
        time.sleep(0.01)
print(count)
"""

HONEST = """
import socket, sys, time
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
    for number in range(int(sys.argv[2])):
        sender.sendto(b"honest %d" % number, (sys.argv[1], 5514))
        time.sleep(0.5)
"""


def resident_kib(pid: int) -> int:
    """Memory that a process holds, in KiB."""
    match = re.search(r"^VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert match is not None
    return int(match[1])


def payloads_on(bus: PutEventsServer) -> list[bytes]:
    """What the bus was given, packet by packet."""
    return [
        base64.b64decode(json.loads(entry["Detail"])["Payload"])
        for request in bus.requests
        for entry in request["Entries"]
    ]


@needs_netns
def test_a_flood_of_forged_sources_costs_the_rate_and_the_honest_gets_through() -> None:
    """At most 50 events a second and the burst, memory flat, and nearly all of a sender's two datagrams a second."""
    with veth_pair() as veth, put_events_server() as bus:
        with start("sniff", "-i", veth.name, "--endpoint-url", bus.url, env=FAKE_AWS) as process:
            assert process.stderr is not None
            said = read_until(process.stderr.fileno(), b"listening on ")
            assert b"at most 50 events/s (burst 100), of one source 10 (burst 50): 4.32 USD a day" in said
            began = time.monotonic()
            asked = 2 * (SECONDS + 2)
            honest = veth.start(HONEST, HERE, asked)
            forged, memory = flood(veth, process.pid)
            assert honest.wait(60) == 0
            process.send_signal(signal.SIGINT)
            _, talk = process.communicate(timeout=60)
        seconds = time.monotonic() - began
    arrived = payloads_on(bus)
    heard = {payload for payload in arrived if payload.startswith(b"honest")}
    assert forged > 50 * SECONDS * 10, "this flood is none"
    assert len(arrived) <= 100 + 50 * seconds
    assert len(heard) >= asked - 2, (heard, talk)
    assert max(memory) - memory[0] < 12 * 1024, memory
    assert "rate limit" in talk.decode()
    assert re.search(r"most by +many sources, of which none stands out", talk.decode()), talk


@needs_netns
def test_flows_show_the_same_flood_for_a_few_events() -> None:
    """--aggregate: every datagram of it is counted, in a bounded number of events for each window."""
    with veth_pair() as veth, put_events_server() as bus:
        options = ("--aggregate", "4", "--max-flows", "20", "--port", "5514", "--max-rate", "0", "--report-events", "2")
        with start("sniff", "-i", veth.name, "--endpoint-url", bus.url, *options, env=FAKE_AWS) as process:
            assert process.stderr is not None
            read_until(process.stderr.fileno(), b"listening on ")
            forged, _ = flood(veth, process.pid)
            process.send_signal(signal.SIGINT)
            _, talk = process.communicate(timeout=60)
    told = [
        (entry["DetailType"], json.loads(entry["Detail"])) for request in bus.requests for entry in request["Entries"]
    ]
    flows = [detail for kind, detail in told if kind == "UdpFlow"]
    reports = [detail for kind, detail in told if kind == "UdpReport"]
    dropped = sum(report["KernelDrops"] + report["QueueDrops"] for report in reports)
    assert sum(flow["Count"] for flow in flows) + dropped == forged, talk
    assert len(flows) <= 21 * (SECONDS // 4 + 2)
    assert len(reports) >= SECONDS // 2
    assert sum(report["Datagrams"] for report in reports) == sum(flow["Count"] for flow in flows)


def flood(veth: Veth, pid: int) -> tuple[int, list[int]]:
    """Let it rain for some seconds; how many frames were sent, and the memory of the process meanwhile."""
    mac = veth.run("import sys; print(open(f'/sys/class/net/{sys.argv[1]}/address').read())", veth.peer)
    sender = veth.start(
        FLOOD, HERE, mac.decode().strip().replace(":", ""), veth.mac.replace(":", ""), veth.peer, SECONDS
    )
    memory = []
    while sender.poll() is None:
        time.sleep(1)
        memory.append(resident_kib(pid))
    assert sender.stdout is not None
    return int(sender.stdout.read()), memory
