"""UDP (RFC 768) and what every decoder needs for it: addresses as text, the checksum, the finished datagram."""

from collections.abc import Callable
from functools import partial
from socket import AF_INET6, inet_ntoa, inet_ntop
from struct import Struct
from typing import Final

from pcapeda.capture.checksum import residue
from pcapeda.model import Datagram, Frame, Offload, Skip, SkipReason

HEADER: Final = Struct("!HHHH")
PROTOCOL: Final = 17


class _Texts(dict[bytes, str]):
    """Addresses as text: each is made once. A full memory forgets all, since a scan with forged sources must not fill
    the machine's; half the time of an `lru_cache`, which keeps an order."""

    def __init__(self, make: Callable[[bytes], str], most: int) -> None:
        super().__init__()
        self._make, self._most = make, most

    def __missing__(self, address: bytes) -> str:
        if len(self) >= self._most:
            self.clear()
        text = self[address] = self._make(address)
        return text


text4 = _Texts(inet_ntoa, 16384).__getitem__
"""Four bytes as dotted text."""

text6 = _Texts(partial(inet_ntop, AF_INET6), 8192).__getitem__
"""Sixteen bytes as text in the form of RFC 5952."""


def ready(status: str, offload: Offload, at: int, stop: int) -> str:
    """The status of a checksum as far as it is computed: that of the UDP header at `at`, over bytes that end at `stop`.

    What the kernel leaves to the network card holds the sum of the pseudo header until then, and makes the checksum of
    a tunnel around it wrong, too.
    """
    where = offload.checksum_at
    if where is None:
        return status
    return "unverified" if where == at or (status == "bad" and (where < 0 or at < where < stop)) else status


def finish(
    frame: Frame,
    data: bytes,
    at: int,
    stop: int,
    end: int,
    source: bytes,
    destination: bytes,
    pseudo: bytes,
    via: tuple[str, ...],
    fragments: tuple[int, ...] = (),
) -> Datagram | Skip:
    """The datagram whose UDP header is at `data[at]`, or the reason why there is none.

    `data` is the frame or a reassembled payload; what can be read of it ends at `stop`, the IP payload claims to end at
    `end` (later, where the snap length cut it). `source` and `destination` are those of the IP header, four or sixteen
    bytes; `pseudo` holds the two that the checksum covers, others only where a source route (RFC 1122 4.1.3.5), a
    routing header (RFC 8200 8.1) or a home address (RFC 6275) says so. The UDP length rules the payload: what follows
    it is padding. A length of 0 means 'to the end' over an IPv6 jumbogram alone (RFC 2675 4).
    """
    if at + 8 > stop or at + 8 > end:
        return Skip(SkipReason.CUT if at + 8 <= end else SkipReason.BAD_LENGTH, "udp", at, frame.number)
    source_port, destination_port, length, checksum = HEADER.unpack_from(data, at)
    version = 4 if len(source) == 4 else 6
    if length == 0 and version == 6 and end - at > 0xFFFF:
        length = end - at
    if length < 8 or at + length > end:
        return Skip(SkipReason.BAD_LENGTH, "udp", at + 4, frame.number)
    whole = at + length <= stop
    stop = min(stop, at + length)
    if checksum == 0:
        status = "absent" if version == 4 else "bad"
    elif not whole:
        status = "unverified"
    else:
        status = "bad" if residue(pseudo + data[at:stop], PROTOCOL + length) else "good"
    segment = 0
    if frame.offload is not None:
        segment = frame.offload.segment
        if data is frame.data:
            status = ready(status, frame.offload, at, stop)
    text = text4 if version == 4 else text6
    return Datagram(
        frame.time_ns,
        text(source),
        source_port,
        text(destination),
        destination_port,
        data[at + 8 : stop],
        length,
        checksum,
        status,
        version,
        via,
        whole,
        frame.number,
        frame.interface,
        fragments,
        segment,
    )
