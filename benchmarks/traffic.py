"""Traffic made up from a seed: captures that look like a busy network's, the same bytes every time.

    python -m benchmarks.traffic FILE [--packets N] [--kind KIND] [--format pcap|pcapng] [--seed N]

A quarter of `mixed` is TCP, a tenth is IPv6; the rest is UDP as it is met: syslog, DNS, statsd, NTP, voice, QUIC and
NetFlow, from 1 to 1,472 bytes. Some carry VLAN tags, some come in fragments, a few have a bad checksum or none, and
short frames are padded. Addresses are those reserved for benchmarks (RFC 2544, RFC 5180).
"""

import argparse
import os
import random
import struct
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO, NamedTuple

START_US = 1_767_225_600_000_000
"""2026-01-01 in microseconds: when every capture begins."""

TCP_SHARE, IPV6_SHARE, VLAN_SHARE, OTHER_SHARE = 0.25, 0.10, 0.03, 0.005
FRAGMENTED_SHARE, BAD_SHARE, ABSENT_SHARE = 0.002, 0.01, 0.03
"""Shares of the UDP datagrams: in two fragments, with a wrong checksum, without one (IPv4 only)."""

HOSTS = 5000
MTU = 1500

_ETHERNET = b"\x02\0\0\0\0\x02\x02\0\0\0\0\x01"
_PORTS = struct.Struct("!HHHH")
_IP4 = struct.Struct("!BBHHHBBH")
_IP6 = struct.Struct("!IHBB")
_TCP = struct.Struct("!HHIIHHHH")
_RECORD = struct.Struct("<IIII")


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071) as UDP writes it, where 0 would mean that there is none."""
    return 0xFFFF - int.from_bytes(data + b"\0" * (len(data) & 1), "big") % 0xFFFF


# Payloads


def _syslog(rng: random.Random) -> bytes:
    host, pid, second = rng.randrange(400), rng.randrange(300, 32768), rng.randrange(60)
    if rng.random() < 0.4:
        words = " ".join(rng.choices(_WORDS, k=rng.randrange(4, 30)))
        return f"<{rng.randrange(192)}>Jan  1 00:00:{second:02d} host-{host} daemon[{pid}]: {words}".encode()
    return (
        f"<{rng.randrange(192)}>1 2026-01-01T00:00:{second:02d}.{rng.randrange(10**6):06d}Z host-{host}.example.com "
        f"nginx {pid} - - {rng.choice(('GET', 'POST', 'PUT'))} /{rng.choice(_WORDS)}/{rng.randrange(10**6)} HTTP/1.1 "
        f"{rng.choice((200, 200, 200, 304, 404, 500))} {rng.randrange(50_000)} {rng.random():.3f}"
    ).encode()


def _dns(rng: random.Random) -> bytes:
    labels = (f"{rng.choice(_WORDS)}{rng.randrange(1000)}", rng.choice(_WORDS), "example", "com")
    name = b"".join(bytes((len(label),)) + label.encode() for label in labels) + b"\0"
    number, answers = rng.randrange(65536), rng.randrange(0, 5)
    if not answers:
        return struct.pack("!HHHHHH", number, 0x0100, 1, 0, 0, 1) + name + b"\0\1\0\1\0\0\x29\x10\0\0\0\0\0\0\0"
    records = b"".join(b"\xc0\x0c\0\1\0\1\0\0\1\x2c\0\4" + rng.randbytes(4) for _ in range(answers))
    return struct.pack("!HHHHHH", number, 0x8180, 1, answers, 0, 0) + name + b"\0\1\0\1" + records


def _statsd(rng: random.Random) -> bytes:
    lines = 1 if rng.random() < 0.8 else rng.randrange(2, 30)
    return "\n".join(
        f"app.{rng.choice(_WORDS)}.{rng.choice(_WORDS)}:{rng.randrange(10_000)}|{rng.choice('cgm')}"
        for _ in range(lines)
    ).encode()[:1432]


def _ntp(rng: random.Random) -> bytes:
    return struct.pack("!BBbb", 0x23, 2, 6, -20) + rng.randbytes(44)


def _voice(rng: random.Random) -> bytes:
    return struct.pack("!BBHII", 0x80, 0, rng.randrange(65536), rng.getrandbits(32), 0x5EED) + rng.randbytes(160)


def _quic(rng: random.Random) -> bytes:
    if rng.random() < 0.05:
        return b"\xc3\0\0\0\1\x08" + rng.randbytes(1194)
    size = rng.randrange(24, 60) if rng.random() < 0.45 else rng.randrange(1100, 1472)
    return bytes((0x40 | rng.getrandbits(5),)) + rng.randbytes(size)


def _netflow(rng: random.Random) -> bytes:
    flows = 30 if rng.random() < 0.7 else rng.randrange(1, 30)
    return struct.pack("!HHIIIII", 5, flows, 1000, 1_767_225_600, 0, rng.getrandbits(32), 0) + rng.randbytes(48 * flows)


def _tiny(rng: random.Random) -> bytes:
    return rng.randbytes(rng.randrange(1, 9))


def _json(rng: random.Random) -> bytes:
    return (
        f'{{"device":"sensor-{rng.randrange(400)}","seq":{rng.randrange(10**6)},'
        f'"temperature":{rng.uniform(-20, 40):.2f},"tags":["{rng.choice(_WORDS)}","{rng.choice(_WORDS)}"],'
        f'"battery":{{"volts":{rng.uniform(3, 4.2):.3f}}}}}'
    ).encode()


_WORDS = (
    *("accepted", "cache", "cart", "checkout", "connection", "disk", "duration", "edge", "failed", "gateway", "health"),
    *("index", "interface", "latency", "link", "login", "metrics", "node", "orders", "payment", "pool", "queue"),
    *("request", "retry", "search", "session", "status", "stream", "timeout", "upload", "user", "worker"),
)

Payload = Callable[[random.Random], bytes]

SERVICES: tuple[tuple[float, int, Payload], ...] = (
    (0.27, 514, _syslog),
    (0.20, 53, _dns),
    (0.12, 8125, _statsd),
    (0.04, 123, _ntp),
    (0.10, 5004, _voice),
    (0.21, 443, _quic),
    (0.05, 2055, _netflow),
    (0.01, 9999, _tiny),
)
"""Share of the UDP datagrams, port of the server, and what is said to or by it."""


# Packets


class _Ends(NamedTuple):
    """Two hosts, of one address family."""

    version: int
    client: bytes
    server: bytes


class Network:
    """Hosts and what they say: `frames` gives Ethernet frames without end."""

    def __init__(self, seed: int, *, hosts: int = HOSTS, tcp: float = TCP_SHARE, plain: bool = False) -> None:
        """`plain` leaves out what is neither TCP nor a whole UDP datagram with a good checksum."""
        self._rng = random.Random(seed)
        self._hosts = hosts
        self._tcp = tcp
        self._plain = plain
        total = 0.0
        self._services = [(total := total + share, port, payload) for share, port, payload in SERVICES]

    def frames(self) -> Iterator[bytes]:
        rng = self._rng
        while True:
            dice = rng.random()
            tag = b""
            if not self._plain and rng.random() < VLAN_SHARE:
                tag = b"\x81\0" + rng.randrange(1, 40).to_bytes(2, "big")
            if dice < self._tcp:
                yield _ethernet(tag, *self._tcp_segment(self._ends()))
            elif dice > 1 - OTHER_SHARE and not self._plain:
                yield self._other()
            else:
                for version, packet in self._udp():
                    yield _ethernet(tag, version, packet)

    def _ends(self) -> _Ends:
        """Some hosts are heard far more often than others."""
        rng = self._rng
        client, server = int(self._hosts * rng.random() ** 2), int(40 * rng.random() ** 2)
        if rng.random() < IPV6_SHARE:
            network = b"\x20\x01\0\2\0\0\0"
            return _Ends(6, network + b"\0" + client.to_bytes(8, "big"), network + b"\1" + server.to_bytes(8, "big"))
        return _Ends(4, (0xC6120100 + client).to_bytes(4, "big"), (0xC6130001 + server).to_bytes(4, "big"))

    def _udp(self) -> Iterator[tuple[int, bytes]]:
        rng, ends = self._rng, self._ends()
        dice = rng.random()
        port, make = next(((port, make) for limit, port, make in self._services if dice < limit), (9999, _tiny))
        payload = make(rng)[: MTU - 28 if ends.version == 4 else MTU - 48]
        odd = 1.0 if self._plain else rng.random()
        if odd < FRAGMENTED_SHARE:
            payload = rng.randbytes(rng.randrange(1500, 2900))
        source, destination, ports = ends.client, ends.server, (rng.randrange(1024, 65536), port)
        if rng.random() < 0.3:  # what the server says
            source, destination, ports = destination, source, ports[::-1]
        length = 8 + len(payload)
        pseudo = source + destination + struct.pack("!HH", 17, length)
        sum_ = checksum(pseudo + _PORTS.pack(*ports, length, 0) + payload)
        if odd > 1 - BAD_SHARE:
            sum_ ^= 0x0100
        elif odd > 1 - BAD_SHARE - ABSENT_SHARE and ends.version == 4:
            sum_ = 0
        datagram = _PORTS.pack(*ports, length, sum_) + payload
        number = rng.getrandbits(16)
        if odd < FRAGMENTED_SHARE:
            yield ends.version, _fragment(ends.version, source, destination, datagram[:1448], number, 0, True)
            yield ends.version, _fragment(ends.version, source, destination, datagram[1448:], number, 1448, False)
        else:
            yield ends.version, _ip(ends.version, source, destination, 17, datagram, number)

    def _tcp_segment(self, ends: _Ends) -> tuple[int, bytes]:
        rng = self._rng
        dice = rng.random()
        size = 0 if dice < 0.45 else MTU - 60 if dice < 0.8 else rng.randrange(1, MTU - 60)
        head = _TCP.pack(rng.randrange(1024, 65536), 443, rng.getrandbits(32), rng.getrandbits(32), 0x5010, 512, 0, 0)
        segment = head + rng.randbytes(size)
        sum_ = checksum(ends.client + ends.server + struct.pack("!HH", 6, len(segment)) + segment)
        segment = segment[:16] + sum_.to_bytes(2, "big") + segment[18:]
        return ends.version, _ip(ends.version, ends.client, ends.server, 6, segment, rng.getrandbits(16))

    def _other(self) -> bytes:
        """ARP requests and ICMP echoes."""
        rng, (_, client, server) = self._rng, self._ends()
        if rng.random() < 0.5 or len(client) == 16:
            arp = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + _ETHERNET[6:] + client[-4:] + bytes(6) + server[-4:]
            return b"\xff" * 6 + _ETHERNET[6:] + b"\x08\x06" + arp + bytes(18)
        echo = struct.pack("!BBHHH", 8, 0, 0, rng.getrandbits(16), 1) + rng.randbytes(56)
        echo = echo[:2] + checksum(echo).to_bytes(2, "big") + echo[4:]
        return _ethernet(b"", 4, _ip(4, client, server, 1, echo, rng.getrandbits(16)))


def _ethernet(tag: bytes, version: int, packet: bytes) -> bytes:
    frame = _ETHERNET + tag + (b"\x08\0" if version == 4 else b"\x86\xdd") + packet
    return frame + bytes(60 - len(frame)) if len(frame) < 60 else frame


def _ip(
    version: int, source: bytes, destination: bytes, protocol: int, data: bytes, number: int, place: int = 0
) -> bytes:
    if version == 6:
        return _IP6.pack(0x60000000, len(data), protocol, 64) + source + destination + data
    head = _IP4.pack(0x45, 0, 20 + len(data), number, place, 64, protocol, 0) + source + destination
    return head[:10] + checksum(head).to_bytes(2, "big") + head[12:] + data


def _fragment(
    version: int, source: bytes, destination: bytes, data: bytes, number: int, offset: int, more: bool
) -> bytes:
    if version == 4:
        return _ip(4, source, destination, 17, data, number, offset >> 3 | more << 13)
    return _ip(6, source, destination, 44, struct.pack("!BxHI", 17, offset | more, number) + data, 0)


# Kinds of captures


def _vxlan(frames: Iterable[bytes]) -> Iterator[bytes]:
    """Each frame in VXLAN (RFC 7348), as VPC Traffic Mirroring sends it."""
    for number, frame in enumerate(frames):
        inner = b"\x08\0\0\0\0\0\x2a\0" + frame
        datagram = _PORTS.pack(49152 + number % 16384, 4789, 8 + len(inner), 0) + inner
        yield _ETHERNET + b"\x08\0" + _ip(4, b"\xc6\x12\0\1", b"\xc6\x13\0\1", 17, datagram, number & 0xFFFF)


def _fragments(seed: int) -> Iterator[bytes]:
    """Nothing but datagrams in two pieces."""
    rng = random.Random(seed)
    while True:
        payload = rng.randbytes(rng.randrange(1500, 2900))
        source, destination = (0xC6120100 + rng.randrange(HOSTS)).to_bytes(4, "big"), b"\xc6\x13\0\1"
        length = 8 + len(payload)
        datagram = _PORTS.pack(40000, 5004, length, 0) + payload
        sum_ = checksum(source + destination + struct.pack("!HH", 17, length) + datagram)
        datagram = datagram[:6] + sum_.to_bytes(2, "big") + datagram[8:]
        number = rng.getrandbits(16)
        for offset in (0, 1448):
            piece = datagram[:1448] if not offset else datagram[1448:]
            yield _ETHERNET + b"\x08\0" + _fragment(4, source, destination, piece, number, offset, not offset)


def _one_service(seed: int, make: Payload, port: int) -> Iterator[bytes]:
    network = Network(seed, tcp=0, plain=True)
    network._services = [(1.0, port, make)]
    return network.frames()


KINDS: dict[str, Callable[[int], Iterator[bytes]]] = {
    "mixed": lambda seed: Network(seed).frames(),
    "udp": lambda seed: Network(seed, tcp=0, plain=True).frames(),
    "forged": lambda seed: Network(seed, hosts=1 << 15, tcp=0, plain=True).frames(),
    "vxlan": lambda seed: _vxlan(frame for frame in Network(seed, plain=True).frames() if len(frame) <= 1400),
    "fragments": _fragments,
    "json": lambda seed: _one_service(seed, _json, 9000),
    "syslog": lambda seed: _one_service(seed, _syslog, 514),
}
"""`mixed` is everything, `udp` whole datagrams alone, `forged` the same from more hosts than any cache holds."""


def packets(count: int, *, kind: str = "mixed", seed: int = 1) -> Iterator[tuple[int, bytes]]:
    """`count` times in microseconds since 1970, ascending, with an Ethernet frame each."""
    rng = random.Random(f"{seed} times")
    now = float(START_US)
    for frame in islice(KINDS[kind](seed), count):
        now += rng.expovariate(0.05)
        yield int(now), frame


# Files


def write_pcap(file: BinaryIO, timed: Iterable[tuple[int, bytes]]) -> None:
    """A classic capture: little-endian, microseconds, Ethernet."""
    file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1))
    for time_us, frame in timed:
        seconds, fraction = divmod(time_us, 1_000_000)
        size = len(frame)
        file.write(_RECORD.pack(seconds, fraction, size, size) + frame)


def write_pcapng(file: BinaryIO, timed: Iterable[tuple[int, bytes]]) -> None:
    """The same packets as one section with one interface, in enhanced packet blocks."""
    file.write(struct.pack("<IIIHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28))
    file.write(struct.pack("<IIHHII", 1, 20, 1, 0, 262144, 20))
    for time_us, frame in timed:
        size = len(frame)
        padded = size + (-size % 4)
        total = 32 + padded
        head = struct.pack("<IIIIIII", 6, total, 0, time_us >> 32, time_us & 0xFFFFFFFF, size, size)
        file.write(head + frame.ljust(padded, b"\0") + struct.pack("<I", total))


WRITERS = {"pcap": write_pcap, "pcapng": write_pcapng}


def write(path: Path, count: int, *, kind: str = "mixed", seed: int = 1, form: str = "pcap") -> None:
    """Write a capture, which appears under its name once it is whole."""
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    with partial.open("wb", buffering=1 << 20) as file:
        WRITERS[form](file, packets(count, kind=kind, seed=seed))
    partial.rename(path)


def main() -> None:
    parser = argparse.ArgumentParser(description="Write a capture of made-up traffic.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--packets", type=int, default=1_000_000)
    parser.add_argument("--kind", choices=KINDS, default="mixed")
    parser.add_argument("--format", choices=WRITERS, default="pcap")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    write(given.file, given.packets, kind=given.kind, seed=given.seed, form=given.format)


if __name__ == "__main__":
    main()
