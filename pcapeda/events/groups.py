"""Groups instead of packets: up to N datagrams to one destination address and port in one UdpPacketBatch event.

Nothing of a datagram's payload is lost; the bill is divided by up to N. Memory is bounded: when more groups are open
than there is room for, the oldest one is closed early.
"""

from binascii import b2a_base64
from dataclasses import dataclass

from pcapeda.aws import quotas
from pcapeda.events.flows import SummaryEvent, summary_entry
from pcapeda.events.identity import packet_id
from pcapeda.events.shape import Shape
from pcapeda.model import Datagram
from pcapeda.units import LAST_TIME_NS, iso_time

DETAIL_TYPE = "UdpPacketBatch"

MAX_OPEN = 1024
"""Groups that may be open at a time."""

MAX_OPEN_BYTES = 16 << 20
"""Bytes that all open groups may hold."""

SPARE_BYTES = 512
"""What is allowed for an event's members around its packets; source, detail-type and resources come on top."""


@dataclass(slots=True)
class _Group:
    """An open group: its packets as JSON text, their bytes, when it was opened, and its first datagram."""

    packets: list[str]
    size: int
    opened_ns: int
    first: Datagram
    ordinals: list[int]


class Grouper:
    """Datagrams in, one event for up to `number` of them to one destination address and port out.

    A group is closed when it is full, when the next packet would make its event larger than `max_bytes`, or when
    `wait_ns` have gone since it was opened, by the moments that `add` and `due` are given. A single packet whose event
    is larger than that is a group of its own.
    """

    def __init__(self, shape: Shape, number: int, wait_ns: int, *, max_bytes: int = quotas.CHUNK_BYTES) -> None:
        self._shape = shape
        self._number = number
        self._wait_ns = wait_ns
        source, detail_type = shape.source or "", shape.detail_type or ""
        fixed = quotas.entry_size(source, detail_type, "", shape.resources, timed=True)
        self._room = max(0, max_bytes - fixed - SPARE_BYTES)
        self._groups: dict[tuple[str, int], _Group] = {}  # the one opened first comes first
        self._held = 0

    def add(self, datagram: Datagram, moment_ns: int, ordinal: int | None = None) -> list[SummaryEvent]:
        """Take a datagram; gives the events of the groups that ended before it or with it."""
        closed = self.due(moment_ns)
        key = (datagram.destination, datagram.destination_port)
        packet = self._packet(datagram)
        size = (len(packet) if packet.isascii() else len(packet.encode())) + 1
        group = self._groups.get(key)
        if group is not None and group.size + size > self._room:  # a name of a file or an interface counts, too
            closed.append(self._close(key))
            group = None
        if group is None:
            while self._groups and (len(self._groups) >= MAX_OPEN or self._held + size > MAX_OPEN_BYTES):
                closed.append(self._close(next(iter(self._groups))))
            around = len(self._shape.origin(datagram.interface).encode())
            group = self._groups[key] = _Group([], around, moment_ns, datagram, [])
            self._held += around
        group.packets.append(packet)
        if ordinal is not None:
            group.ordinals.append(ordinal)
        group.size += size
        self._held += size
        if len(group.packets) >= self._number:
            closed.append(self._close(key))
        return closed

    def due(self, moment_ns: int) -> list[SummaryEvent]:
        """The events of the groups that have waited long enough by `moment_ns`; a clock that jumps back ends them."""
        closed: list[SummaryEvent] = []
        while self._groups:
            key, group = next(iter(self._groups.items()))
            if abs(moment_ns - group.opened_ns) < self._wait_ns:
                break
            closed.append(self._close(key))
        return closed

    def finish(self) -> list[SummaryEvent]:
        """The events of all groups that are open."""
        return [self._close(key) for key in list(self._groups)]

    def _packet(self, datagram: Datagram) -> str:
        time_ns = datagram.time_ns
        stamp = ""
        if time_ns is not None and 0 <= time_ns <= LAST_TIME_NS:
            stamp = f',"CapturedAt":"{iso_time(time_ns)}"'
        cut = "" if datagram.whole else ',"Truncated":true'
        payload = b2a_base64(datagram.payload, newline=False).decode("ascii")
        return (
            f'{{"Source":{{"IpAddress":"{datagram.source}","Port":{datagram.source_port}}}{stamp},'
            f'"Frame":{datagram.number},"Length":{datagram.length}{cut},'
            f'"PacketId":"{packet_id(datagram, self._shape.loop)}","Payload":"{payload}"'
            f"{self._shape.extras(datagram)}}}"
        )

    def _close(self, key: tuple[str, int]) -> SummaryEvent:
        group = self._groups.pop(key)
        self._held -= group.size
        first = group.first
        origin = self._shape.origin(first.interface)
        capture = f',"Capture":{{{origin[1:]}}}' if origin else ""
        detail = (
            f'{{"Destination":{{"IpAddress":"{key[0]}","Port":{key[1]}}},"IpVersion":{first.ip_version}'
            f'{capture},"Count":{len(group.packets)},"Packets":[{",".join(group.packets)}]}}'
        )
        number, towards = len(group.packets), f"{key[0]} {key[1]}"
        entry = summary_entry(self._shape, DETAIL_TYPE, detail, first.time_ns, number, towards)
        return SummaryEvent(entry, None, group.ordinals)
