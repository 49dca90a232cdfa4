"""Summaries instead of packets: one UdpFlow event for each source, destination and destination port in a window.

Memory is bounded: a window keeps so many flows apart; what comes beyond goes into one flow for each destination and
port, whose source is left out, and beyond so many of these into one that has no destination either.
"""

from array import array
from binascii import b2a_base64
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import NamedTuple

from pcapeda.aws import quotas
from pcapeda.events.shape import Shape
from pcapeda.events.shapes import SHAPES
from pcapeda.model import Datagram, Entry
from pcapeda.units import LAST_TIME_NS, SECOND_NS, iso_time

DETAIL_TYPE = "UdpFlow"

SAMPLE_BYTES = 1024
"""Most bytes of a flow's first payload that its event shows."""

MAX_FLOWS = 1000
"""Flows that a window keeps apart unless asked otherwise."""

MAX_REST = 256
"""Destinations and ports that a full window keeps apart for sources it has no room for."""

MAX_ORDINALS = 1 << 22
"""Ordinals that a window remembers: 32 MiB of them."""


Key = tuple[str | None, str | None, int | None]


class SummaryEvent(NamedTuple):
    """An event, the one source that it is about if there is one, and the ordinals of its datagrams where asked for."""

    entry: Entry
    source: str | None
    ordinals: Sequence[int] = ()


@dataclass(slots=True)
class _Flow:
    """What is known of one flow of the window; `octets` sums UDP lengths, headers included."""

    first: Datagram
    count: int
    octets: int
    first_ns: int | None
    last_ns: int | None
    ordinals: "array[int]"


class FlowTable:
    """Datagrams in, one event for each flow of a window out.

    `shape` gives source, resources, time and the name of the capture. A window is `window_ns` long: by the capture's
    time (`aligned`) it begins at a multiple of its length since 1970; else at its first datagram, by the moment that
    `add` is given. A datagram that is older than its window by less than one length still counts into it. Where
    datagrams have ordinals, the events have them, too, and a window ends before it has more than `MAX_ORDINALS`.
    """

    def __init__(self, shape: Shape, window_ns: int, *, max_flows: int, aligned: bool) -> None:
        self._shape = shape
        self._window_ns = window_ns
        self._max_flows = max_flows
        self._aligned = aligned
        self._flows: dict[Key, _Flow] = {}
        self._apart = 0
        self._ordinals = 0
        self._start_ns: int | None = None

    def add(self, datagram: Datagram, moment_ns: int, ordinal: int | None = None) -> list[SummaryEvent]:
        """Count a datagram; gives the events of the window that ended before it."""
        closed = self.due(moment_ns)
        if self._ordinals >= MAX_ORDINALS:
            closed += self.finish()
        if self._start_ns is None:
            self._start_ns = moment_ns - moment_ns % self._window_ns if self._aligned else moment_ns
        flow = self._flow_of(datagram)
        flow.count += 1
        flow.octets += datagram.length
        time_ns = datagram.time_ns
        if time_ns is not None:
            flow.first_ns = time_ns if flow.first_ns is None else min(flow.first_ns, time_ns)
            flow.last_ns = time_ns if flow.last_ns is None else max(flow.last_ns, time_ns)
        if ordinal is not None:
            flow.ordinals.append(ordinal)
            self._ordinals += 1
        return closed

    def _flow_of(self, datagram: Datagram) -> _Flow:
        flows = self._flows
        key: Key = (datagram.source, datagram.destination, datagram.destination_port)
        flow = flows.get(key)
        if flow is not None:
            return flow
        if self._apart < self._max_flows:
            self._apart += 1
        else:
            key = (None, datagram.destination, datagram.destination_port)
            if key not in flows and len(flows) >= self._max_flows + MAX_REST:
                key = (None, None, None)
            flow = flows.get(key)
            if flow is not None:
                return flow
        flow = flows[key] = _Flow(datagram, 0, 0, None, None, array("Q"))
        return flow

    def due(self, moment_ns: int) -> list[SummaryEvent]:
        """The events of the window if it has ended by `moment_ns`."""
        start = self._start_ns
        if start is None or start - self._window_ns <= moment_ns < start + self._window_ns:
            return []
        return self.finish()

    def finish(self) -> list[SummaryEvent]:
        """The events of the window, ended or not, in the order in which its flows began."""
        entries = [self._entry(key, flow) for key, flow in self._flows.items()]
        self._flows.clear()
        self._apart = self._ordinals = 0
        self._start_ns = None
        return entries

    def _entry(self, key: Key, flow: _Flow) -> SummaryEvent:
        shape, first = self._shape, flow.first
        source, destination, port = key
        members = []
        if destination is not None:
            members.append(f'"Destination":{{"IpAddress":"{destination}","Port":{port}}}')
        if source is not None:
            members.append(f'"Source":{{"IpAddress":"{source}"}}')
        if destination is not None:
            members.append(f'"IpVersion":{first.ip_version}')
        if source is None:
            members.append('"Rest":true')
        seconds = self._window_ns / SECOND_NS
        members.append(f'"WindowSeconds":{seconds:g},"Count":{flow.count},"Bytes":{flow.octets}')
        for name, moment_ns in (("FirstAt", flow.first_ns), ("LastAt", flow.last_ns)):
            if moment_ns is not None and 0 <= moment_ns <= LAST_TIME_NS:
                members.append(f'"{name}":"{iso_time(moment_ns)}"')
        members.append(f'"Capture":{{"Frame":{first.number}{shape.origin(first.interface)}}}')
        sample = b2a_base64(first.payload[:SAMPLE_BYTES], newline=False).decode("ascii")
        members.append(f'"FirstLength":{first.length},"FirstPayload":"{sample}"')
        detail = "{" + ",".join(members) + "}"
        towards = f"{destination} {port}" if destination is not None else ""
        entry = summary_entry(shape, DETAIL_TYPE, detail, flow.first_ns, flow.count, towards)
        return SummaryEvent(entry, source, flow.ordinals)


def summary_entry(
    shape: Shape, detail_type: str, detail: str, time_ns: int | None, datagram_count: int, towards: str = ""
) -> Entry:
    """An event that stands for so many datagrams. Its content gives its id, `shape` its source and resources.

    `detail_type` holds unless `shape` has another one than its own default; `time_ns` is a capture's time; events
    `towards` the same destination are in one group, if there are groups.
    """
    source, kind = shape.source or "", shape.detail_type or ""
    if kind == SHAPES[shape.name].detail_type:
        kind = detail_type
    if shape.time != "capture" or time_ns is None or not 0 <= time_ns <= LAST_TIME_NS:
        time_ns = None
    size = quotas.entry_size(source, kind, detail, shape.resources, timed=time_ns is not None)
    identity = blake2b(f"{kind} {shape.loop} {detail}".encode(), digest_size=16).hexdigest()
    group = shape.group(int.from_bytes(blake2b(towards.encode(), digest_size=8).digest()))
    return Entry(
        source, kind, detail, time_ns, shape.resources, size, identity, datagram_count=datagram_count, group=group
    )
