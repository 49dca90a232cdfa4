"""Frames made by hand: Ethernet, IPv4, UDP, with right lengths and checksums."""

import ipaddress
import struct

from pcapeda.dissect import fast_path
from pcapeda.model import Datagram, Fragment, Frame, Skip


def ones_complement(data: bytes) -> int:
    """The Internet checksum (RFC 1071), by adding word by word."""
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def udp4(payload: bytes, *, source: str = "198.51.100.7", sport: int = 40000, dport: int = 514) -> bytes:
    """An IPv4 packet with a UDP datagram to 192.0.2.1."""
    ends = ipaddress.IPv4Address(source).packed + ipaddress.IPv4Address("192.0.2.1").packed
    length = 8 + len(payload)
    head = struct.pack("!HHH", sport, dport, length)
    checksum = ones_complement(ends + struct.pack("!HH", 17, length) + head + b"\0\0" + payload) or 0xFFFF
    udp = head + struct.pack("!H", checksum) + payload
    start = struct.pack("!BBHHHBB", 0x45, 0, 20 + length, 1, 0, 64, 17)
    return start + struct.pack("!H", ones_complement(start + b"\0\0" + ends)) + ends + udp


def ethernet(packet: bytes, ethertype: int = 0x0800) -> bytes:
    return bytes.fromhex("020000000002020000000001") + struct.pack("!H", ethertype) + packet


def frame(payload: bytes = b"hello", *, number: int = 1, time_ns: int | None = 10**18, **ends: object) -> Frame:
    """An Ethernet frame with that datagram."""
    data = ethernet(udp4(payload, **ends))  # type: ignore[arg-type]
    return Frame(time_ns, 1, data, len(data), None, number)


ARP = Frame(10**18, 1, ethernet(bytes(28), 0x0806), 42, None, 1)


def decoded(frame: Frame) -> Datagram | Fragment | Skip:
    """What the fast path says of a frame; a glance says the same, or leaves the frame to it."""
    found = fast_path.decode(frame)
    datagrams, nothing, odd, _ = fast_path.decode_block((frame,))
    if odd:
        assert (datagrams, nothing, odd) == ([], [], [(0, frame)])
    else:
        assert [*datagrams, *(Skip(*one, frame.number) for one in nothing)] == [found]
    assert fast_path.decode_block((frame, frame))[:3] == (datagrams * 2, nothing * 2, odd * 2)
    return found
