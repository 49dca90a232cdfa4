"""A super-packet of UDP segmentation offload → the frames that go over the wire, or came over it.

A sender may hand the kernel many equal datagrams in one piece (UDP_SEGMENT, udp(7)), and a receiving kernel may put
them together (UDP GRO). The one is cut behind, the other put together before the point where packet sockets look: they
are one frame there, with lengths that are the sum. The kernel tells how much payload makes one datagram
(`Frame.offload`), and it is cut here as the kernel cuts it: headers are repeated, lengths and IPv4 identifications are
those of each.
"""

from collections.abc import Iterable, Iterator
from operator import itemgetter
from struct import Struct
from typing import Final

from pcapeda.capture.checksum import residue
from pcapeda.capture.stream import BLOCK_FRAMES
from pcapeda.dissect import ip
from pcapeda.dissect.udp import PROTOCOL as UDP
from pcapeda.model import Frame, Offload

FURTHEST: Final = 512
"""Headers are looked for in so many bytes: the link layer's and those of some tunnels."""

_OFFLOAD = itemgetter(Frame._fields.index("offload"))
_SHORT: Final = Struct("!H")
_IP4, _IP6 = 4, 6

Header = tuple[int, int, int]
"""A header whose length fields cover the payload: 4, 6 or 17 (UDP), where it begins, and its size."""


def taken_apart(blocks: Iterable[list[Frame] | None]) -> Iterator[list[Frame] | None]:
    """The same frames, with super-packets cut into their segments; None stays None."""
    for block in blocks:
        if block is None or not any(map(_OFFLOAD, block)):
            yield block
            continue
        frames = [one for frame in block for one in segments(frame)]
        for first in range(0, len(frames), BLOCK_FRAMES):
            yield frames[first : first + BLOCK_FRAMES]


def segments(frame: Frame) -> list[Frame]:
    """The frames that a super-packet stands for; any other frame as it is.

    All have the number and the time of the super-packet. One whose headers do not lead to its end is left as it is.
    """
    offload = frame.offload
    if offload is None or not offload.size:
        return [frame]
    whole, headers = frame.wire_length, _headers(frame, offload.checksum_at)
    if not headers:
        return [frame]
    _, udp_at, size = headers[-1]
    start = udp_at + size
    made = []
    for number, at in enumerate(range(start, whole, offload.size)):
        stop = min(at + offload.size, whole)
        head = _headed(frame.data[:start], headers, number, whole - start - (stop - at))
        where = offload.checksum_at
        if where is None and number:
            where = udp_at  # the checksum of the first one alone is in the frame
        left = None if where is None and not number else Offload(where, 0, number)
        data = head + frame.data[at:stop]
        made.append(frame._replace(data=data, wire_length=start + stop - at, offload=left))
    return made or [frame]


def _headed(head: bytes, headers: list[Header], number: int, less: int) -> bytes:
    """The headers of segment `number`, which has `less` bytes of payload than the super-packet."""
    changed = bytearray(head)
    for kind, at, size in headers:
        place = at + {_IP4: 2, _IP6: 4, UDP: 4}[kind]
        _SHORT.pack_into(changed, place, _SHORT.unpack_from(head, place)[0] - less)
        if kind == _IP4:
            (identification,) = _SHORT.unpack_from(head, at + 4)
            _SHORT.pack_into(changed, at + 4, (identification + number) & 0xFFFF)
            changed[at + 10 : at + 12] = b"\0\0"
            _SHORT.pack_into(changed, at + 10, (0xFFFF - residue(bytes(changed[at : at + size]), 0)) % 0xFFFF)
    return bytes(changed)


def _headers(frame: Frame, checksum_at: int | None) -> list[Header]:
    """The IP and UDP headers up to the UDP header that is segmented, which is at `checksum_at`, or else the first one.

    What lies between them, link layers and tunnels, need not be known: the length that each header tells leads to the
    end of the frame, to the byte. None where that header is not found.
    """
    data, whole = frame.data, frame.wire_length
    found: list[Header] = []
    at, last = 0, min(len(data) - 28, FURTHEST)
    while at <= last and (checksum_at is None or at < checksum_at):
        packet = _packet(data, at, whole)
        if packet is None:
            at += 1
            continue
        found.append((data[at] >> 4, at, packet.at - at))
        at = packet.at
        if packet.protocol == UDP and at + 8 <= len(data) and _SHORT.unpack_from(data, at + 4)[0] == whole - at:
            found.append((UDP, at, 8))
            if checksum_at in (None, at):
                return found
            at += 8
    return []


def _packet(data: bytes, at: int, whole: int) -> ip.Packet | None:
    """The IP packet at `data[at]`, if there is one that ends with the frame and is no fragment."""
    version = data[at] >> 4
    if version == _IP4:
        size = (data[at] & 0x0F) << 2
        if _SHORT.unpack_from(data, at + 2)[0] != whole - at or residue(data[at : at + size], 0):
            return None
        packet = ip.read4(data, at, len(data), whole)
    elif version == _IP6:
        if at + 40 > len(data) or _SHORT.unpack_from(data, at + 4)[0] != whole - at - 40:
            return None
        packet = ip.read6(data, at, len(data), whole)
    else:
        return None
    return packet if isinstance(packet, ip.Packet) and not packet.more and not packet.offset else None
