"""The nouns of the house: plain data that every floor shares.

Data moves one way: `Frame` → `Datagram` (or `Fragment`, or `Skip`) → `Entry` → `Batch` → `Outcome`, and a `Report`
counts every step. Times are integer nanoseconds since the Unix epoch; they become text only at the edge.
"""

import json
import time
from collections.abc import Hashable
from enum import Enum
from hashlib import blake2b
from typing import Any, NamedTuple, Protocol

from pcapeda.units import iso_second

ACCOUNT, REGION = "123456789012", "us-east-1"
"""What an event says of its account and Region when nobody knows better: the AWS documentation's example account."""


class Offload(NamedTuple):
    """What the kernel had left to the network card when it showed a frame to us (live only).

    `checksum_at` is the offset of the transport header whose checksum is not computed yet (-1: of some header, nobody
    says which; None: there is none). `size` is not 0 for a super-packet of UDP segmentation offload: so many bytes of
    payload make one datagram, the last one may be shorter. `segment` is the place of a frame that was cut out of one.
    """

    checksum_at: int | None
    size: int = 0
    segment: int = 0


class Frame(NamedTuple):
    """One packet record as a capture or a socket gave it; nothing in it has been interpreted.

    `linktype` is the LINKTYPE_ value of https://www.tcpdump.org/linktypes.html (without FCS bits), `wire_length` the
    length before the snap length cut it, `interface` the name of the interface where the source knows one, `number`
    the ordinal among the packet records of the source, from 1. `offload` is None but for some frames of a live source.
    """

    time_ns: int | None
    linktype: int
    data: bytes
    wire_length: int
    interface: str | None
    number: int
    offload: Offload | None = None


class SkipReason(Enum):
    """Why a frame gave no datagram: a closed set. The value is what a person reads."""

    NOT_IP = "not IP"
    NOT_UDP = "IP, but not UDP"
    UDP_LITE = "UDP-Lite"
    ENCRYPTED = "encrypted"
    CUT = "headers cut by the snap length"
    MALFORMED = "malformed header"
    BAD_LENGTH = "UDP length contradicts IP"
    LINK_FRAGMENT = "fragment of a layer below IP"
    UNKNOWN_LINK = "unsupported link type"
    UNKNOWN_LAYER = "unsupported layer"
    TOO_DEEP = "too many layers"
    NOT_SELECTED = "not selected by the filter"

    __hash__ = object.__hash__  # members are alone of their kind; Enum's own is a call in Python, for every frame


class Skip(NamedTuple):
    """A frame that gives no datagram: why, at which layer, and at which byte offset of the frame."""

    reason: SkipReason
    layer: str
    offset: int
    number: int


class Datagram(NamedTuple):
    """One UDP datagram (RFC 768), as the capture holds it.

    `source` and `destination` are addresses in their usual text form (RFC 5952 for IPv6). `length` is the UDP length
    field, header included, in bytes; `payload` holds the bytes that were captured, which are fewer than
    `length - 8` when `whole` is false. `checksum_status` is one of good, bad, absent, unverified. `via` names the
    layers from the link up to the IP header that carries the datagram, with identifiers (`vlan:10`, `vxlan:42`).
    `fragments` holds the frame numbers it was reassembled from, and is empty for a datagram that came in one piece.
    `segment` is the place from 0 among the datagrams that the kernel showed as one frame, a super-packet.
    """

    time_ns: int | None
    source: str
    source_port: int
    destination: str
    destination_port: int
    payload: bytes
    length: int
    checksum: int
    checksum_status: str
    ip_version: int
    via: tuple[str, ...]
    whole: bool
    number: int
    interface: str | None
    fragments: tuple[int, ...] = ()
    segment: int = 0


class Fragment(NamedTuple):
    """One IP fragment (RFC 791, RFC 8200) on its way to reassembly.

    Fragments with an equal `key` belong together; `offset` is in bytes, `data` is the fragment's share of the IP
    payload as captured and `length` the share the IP header claims (more than `len(data)` where the snap length cut
    it). `via` ends with the IP layer that was fragmented. What follows once the payload is whole (`protocol`, the
    addresses) travels along; `pseudo` holds the two addresses that transport checksums cover, where a source route, a
    routing header or a home address names others than the IP header does, else nothing.
    """

    key: Hashable
    offset: int
    more: bool
    data: bytes
    length: int
    protocol: int
    source: str
    destination: str
    ip_version: int
    via: tuple[str, ...]
    time_ns: int | None
    number: int
    interface: str | None
    pseudo: bytes = b""


class Damage(NamedTuple):
    """Something wrong in a capture: which file, at which byte offset, and what. `passed` when reading went on.

    `harmless` where nothing was lost, and a person should know all the same; it counts as no damage.
    """

    file: str
    offset: int
    what: str
    passed: bool = False
    harmless: bool = False

    def __str__(self) -> str:
        if self.harmless:
            return f"{self.file}: {self.what}"
        end = "; went on after it" if self.passed else ""
        return f"{self.file}: damaged at byte {self.offset:,}: {self.what}{end}"


_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


def _unique(name: str, detail: str) -> str:
    return name if len(name) == 32 else blake2b(detail.encode(), digest_size=16).hexdigest()


def uuid_of(name: str, detail: str) -> str:
    """A UUID's text, derived from a PacketId (or else from the detail) so that it is the same on every run.

    It is of version 8 (RFC 9562, section 5.8), which leaves all but the version and the variant to us.
    """
    if len(name) != 32:
        name = _unique(name, detail)
    return f"{name[:8]}-{name[8:12]}-8{name[13:16]}-{_VARIANT[name[16]]}{name[17:20]}-{name[20:]}"


class Entry(NamedTuple):
    """One event on its way to a bus: the members of a PutEvents entry, and what the tool itself needs of it.

    `detail` is JSON text, `time_ns` the event's time (None: the time of sending), `size` the bytes that EventBridge
    counts for it, `id` the PacketId: the same datagram of the same capture has the same one on every run.
    `datagram_count` is a number of datagrams: one, many in a summary, none in a report on the run itself.
    """

    source: str
    detail_type: str
    detail: str
    time_ns: int | None
    resources: tuple[str, ...]
    size: int
    id: str
    datagram: Datagram | None = None
    rules: tuple[str, ...] = ()
    """Names of the rules that the event matches, where rules were asked."""
    datagram_count: int = 1
    group: str | None = None
    """The group within which the order is to be kept, where one is (EventGroupId of EventBridge v2)."""

    @property
    def unique_id(self) -> str:
        """32 hex digits that are the same on every run: the PacketId, or where there is none a hash of the content."""
        return _unique(self.id, self.detail)

    @property
    def event_id(self) -> str:
        """The event's id as a UUID's text: `uuid_of` its PacketId."""
        return uuid_of(self.id, self.detail)

    def envelope(self, account: str = ACCOUNT, region: str = REGION, *, now_ns: int | None = None) -> dict[str, Any]:
        """The event as rules and targets see it, as data; `now_ns` is its time if it has none of its own.

        All members that TestEventPattern asks for are there (EventBridge User Guide, 'Event structure'). As text it
        is `event_json` of `aws/wire.py`.
        """
        time_ns = self.time_ns if self.time_ns is not None else time.time_ns() if now_ns is None else now_ns
        return {
            "version": "0",
            "id": self.event_id,
            "detail-type": self.detail_type,
            "source": self.source,
            "account": account,
            "time": iso_second(time_ns),
            "region": region,
            "resources": list(self.resources),
            "detail": json.loads(self.detail),
        }


class Batch(NamedTuple):
    """Entries that travel in one request, and their summed size in bytes."""

    entries: tuple[Entry, ...]
    size: int


class BatchLimits(NamedTuple):
    """What a sink takes in one batch: a number of entries, a sum of bytes, and how long the first one may wait."""

    max_entries: int
    max_bytes: int
    max_age_ns: int


class Failed(NamedTuple):
    """An entry that a sink did not take: the sink's own code and words, and whether another try makes sense."""

    entry: Entry
    code: str
    retryable: bool
    message: str = ""


class Outcome(NamedTuple):
    """What a sink says of a batch: how many it took, and each entry it did not take."""

    sent: int
    failed: tuple[Failed, ...] = ()
    deduplicated: int = 0
    """How many of those it took the other side had already, and did not take twice."""


class Sink(Protocol):
    """Where entries end: a bus, a screen, a list in memory.

    The promise: `send` answers for every entry of the batch, each is in `Outcome.sent` or in `Outcome.failed`, and an
    entry counts as sent only when the other side said so of that very entry. `send` raises nothing but
    `errors.SinkDown`, and that only when no later batch can fare better; then nothing of the batch counts as sent.
    """

    limits: BatchLimits
    concurrency: int
    """How many `send` calls may run at once. 1 means in order, in the caller's thread."""
    costs_money: bool
    """Whether what is sent is billed: decides on default limits and on cost estimates."""

    def check(self) -> None:
        """Find out before anything is read whether sending can work. Raises `SinkDown` when it cannot."""

    def send(self, batch: Batch) -> Outcome:
        """Hand over one batch and say what became of each entry."""

    def close(self) -> None:
        """Flush and release what is held."""


class AsyncSender(Protocol):
    """Several batches on their way to a sink at once, from one thread that need not wait for each.

    A sink may offer one by `async_sender()`; its promise is that of `Sink.send`, with what would be raised as a value.
    One who calls `poll` often enough gets an answer for each batch.
    """

    def start(self, batch: Batch) -> int:
        """Send off a batch and return at once, with the number by which `poll` tells of it."""

    def poll(self, timeout_s: float) -> list[tuple[int, Outcome | BaseException]]:
        """What became of which since the last call. Waits up to so many seconds until there is something to tell."""

    def close(self) -> None:
        """Release what is held; what is still under way is given up."""


def flow_number(datagram: Datagram) -> int:
    """64 bits that are the same for every datagram of a flow, in both directions and on every run."""
    ends = sorted(((datagram.source, datagram.source_port), (datagram.destination, datagram.destination_port)))
    text = f"{ends[0][0]} {ends[0][1]} {ends[1][0]} {ends[1][1]}"
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest())
