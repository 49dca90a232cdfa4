"""What names a datagram, the same on every run."""

import struct
from hashlib import blake2b

from pcapeda.model import Datagram

_ID_HEAD = struct.Struct("!qQHHI")
_NO_TIME = -(1 << 63)


_UNNAMED = blake2b(digest_size=16)


def packet_id(datagram: Datagram, loop: int = 0) -> str:
    """32 hex digits that name this datagram of this capture, the same on every run and under every file name.

    BLAKE2b (RFC 7693) over capture time, frame number (above it the place in a super-packet), ports, pass of the loop,
    addresses and payload, so that a consumer can tell a repeated delivery from a repeated datagram.
    """
    time_ns, source, source_port, destination, port, payload, _, _, _, _, _, _, number, _, _, segment = datagram
    return name_of(
        time_ns, number | segment << 48 if segment else number, source_port, port, loop, source, destination, payload
    )


def name_of(
    time_ns: int | None, number: int, source_port: int, port: int, loop: int, source: str, destination: str, data: bytes
) -> str:
    """The same of its members, where they are at hand; `number` has the place in a super-packet above it."""
    if time_ns is None:
        time_ns = _NO_TIME
    elif not _NO_TIME <= time_ns < -_NO_TIME:
        time_ns = _NO_TIME if time_ns < 0 else -_NO_TIME - 1
    state = _UNNAMED.copy()  # sooner than making one
    state.update(_ID_HEAD.pack(time_ns, number, source_port, port, loop) + f"{source}>{destination}\0".encode() + data)
    return state.hexdigest()
