"""The nouns of the house: plain data that every floor shares.

Data walks one way: `Frame` → `Datagram` (or `Fragment`, or `Skip`) → `Entry` → `Batch` → `Outcome`, and a `Report`
counts every step. Times are integer nanoseconds since the Unix epoch; they become text only at the edge.
"""

import json
import time
from binascii import a2b_base64, b2a_base64
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from functools import lru_cache
from hashlib import blake2b
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple, Protocol

from pcapeda.errors import ExitStatus, PcapedaError
from pcapeda.mask import masked

LAST_TIME_NS = 253_402_300_799_999_999_999
"""The last nanosecond of the year 9999, up to which ISO 8601 text has four digits for the year."""

ACCOUNT, REGION = "123456789012", "us-east-1"
"""What an event says of its account and Region when nobody knows better: the AWS documentation's example account."""

_json = json.JSONEncoder(ensure_ascii=False).encode  # json.dumps would build an encoder for each call


@lru_cache(maxsize=1024)
def _iso_hour(hours: int) -> str:
    return datetime.fromtimestamp(hours * 3600, UTC).isoformat()[:13]


@lru_cache(maxsize=1024)
def _iso_second(seconds: int | str) -> str:
    hours, rest = divmod(int(seconds), 3600)
    return f"{_iso_hour(hours)}:{rest // 60:02}:{rest % 60:02}"


def iso_time(time_ns: int) -> str:
    """A time from 1970 to 9999 as ISO 8601 text in UTC, with nine decimals."""
    digits = str(time_ns) if time_ns >= 1_000_000_000 else f"{time_ns:010d}"
    return f"{_iso_second(digits[:-9])}.{digits[-9:]}Z"


def iso_second(time_ns: int) -> str:
    """The same, cut to the second."""
    return f"{_iso_second(time_ns // 1_000_000_000)}Z"


def time_text(time_ns: int) -> str:
    """Any time as text: ISO 8601 from 1970 to 9999, else the seconds since 1970."""
    if 0 <= time_ns <= LAST_TIME_NS:
        return iso_time(time_ns)
    return f"{time_ns / 1e9:.9f} s from 1970"


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


class Why(Enum):
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

    why: Why
    layer: str
    at: int
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
    """Something wrong in a capture: which file, at which byte offset, and what. `passed` when reading went on."""

    file: str
    offset: int
    what: str
    passed: bool = False

    def __str__(self) -> str:
        end = "; went on after it" if self.passed else ""
        return f"{self.file}: damaged at byte {self.offset:,}: {self.what}{end}"


_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


def _unique(name: str, detail: str) -> str:
    return name if len(name) == 32 else blake2b(detail.encode(), digest_size=16).hexdigest()


def _uuid(name: str, detail: str) -> str:
    if len(name) != 32:
        name = _unique(name, detail)
    return f"{name[:8]}-{name[8:12]}-8{name[13:16]}-{_VARIANT[name[16]]}{name[17:20]}-{name[20:]}"


@lru_cache(maxsize=64)
def _around(detail_type: str, source: str, account: str, region: str, resources: tuple[str, ...]) -> tuple[str, str]:
    """The members of an event that are the same in most of them, as JSON text: those before its time, those after."""
    kind = f'"detail-type":{_json(detail_type)},"source":{_json(source)},"account":{_json(account)}'
    return kind, f'"region":{_json(region)},"resources":{_json(resources)}'


class Entry(NamedTuple):
    """One event on its way to a bus: the members of a PutEvents entry, and what the tool itself needs of it.

    `detail` is JSON text, `time_ns` the event's time (None: the time of sending), `size` the bytes that EventBridge
    counts for it, `id` the PacketId: the same datagram of the same capture has the same one on every run.
    `stands_for` is a number of datagrams: one, many in a summary, none in a report on the run itself.
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
    stands_for: int = 1
    group: str | None = None
    """The group within which the order is to be kept, where one is (EventGroupId of EventBridge v2)."""

    @property
    def unique_id(self) -> str:
        """32 hex digits that are the same on every run: the PacketId, or where there is none a hash of the content."""
        return _unique(self.id, self.detail)

    @property
    def event_id(self) -> str:
        """The event's id as a UUID's text, derived from the PacketId so that it is the same on every run.

        It is of version 8 (RFC 9562, section 5.8), which leaves all but the version and the variant to us.
        """
        return _uuid(self.id, self.detail)

    def event_json(self, account: str = ACCOUNT, region: str = REGION, *, now_ns: int | None = None) -> str:
        """The event as rules and targets see it, as one line of JSON; `now_ns` is its time if it has none of its own.

        All members that TestEventPattern asks for are there (EventBridge User Guide, 'Event structure').
        """
        return EventLines(account, region, now_ns)((self,))[:-1]

    def envelope(self, account: str = ACCOUNT, region: str = REGION, *, now_ns: int | None = None) -> dict[str, Any]:
        """The same event as data."""
        event: dict[str, Any] = json.loads(self.event_json(account, region, now_ns=now_ns))
        return event

    def put_events_entry(self, bus: str | None = None) -> dict[str, Any]:
        """The member of Entries that boto3's put_events takes; without a time of its own it gets that of sending."""
        entry: dict[str, Any] = {"Source": self.source, "DetailType": self.detail_type, "Detail": self.detail}
        if self.time_ns is not None:
            entry["Time"] = self.time_ns // 1_000_000_000
        if self.resources:
            entry["Resources"] = list(self.resources)
        if bus is not None:
            entry["EventBusName"] = bus
        return entry

    def entry_json(self, bus: str | None = None) -> str:
        """The same as one line of JSON, with the time as ISO 8601 text: ten of them make a request's Entries."""
        when = "" if self.time_ns is None else f'"Time":"{iso_second(self.time_ns)}",'
        resources = f'"Resources":{_json(self.resources)},' if self.resources else ""
        where = "" if bus is None else f',"EventBusName":{_json(bus)}'
        return (
            f'{{{when}"Source":{_json(self.source)},{resources}"DetailType":{_json(self.detail_type)},'
            f'"Detail":{_json(self.detail)}{where}}}'
        )

    @property
    def _system_metadata(self) -> dict[str, str]:
        told = {"DeduplicationId": self.unique_id}
        return told if self.group is None else told | {"EventGroupId": self.group}

    def put_events_v2_entry(self) -> dict[str, Any]:
        """The same for put_events of eventbridgev2, with the id by which the bus knows the event again."""
        return self.put_events_entry() | {"SystemMetadata": self._system_metadata}

    def put_raw_events_entry(self) -> dict[str, Any]:
        """The member of Entries that put_raw_events of eventbridgev2 takes. Raises `ValueError` as `raw` does."""
        data, metadata = self.raw()
        system = {"ContentType": RAW_CONTENT_TYPE} | self._system_metadata
        return {"Data": data, "Metadata": metadata, "SystemMetadata": system}

    def entry_v2_json(self, *, raw: bool) -> str:
        """The same as one line of JSON, with the time as ISO 8601 text and bytes in base64: what the AWS CLI takes."""
        if raw:
            entry = self.put_raw_events_entry()
            entry["Data"] = b2a_base64(entry["Data"], newline=False).decode("ascii")
            return _json(entry)
        entry = self.put_events_v2_entry()
        if self.time_ns is not None:
            entry["Time"] = iso_second(self.time_ns)
        return _json(entry)

    def raw(self) -> tuple[bytes, dict[str, str]]:
        """The payload as bytes, and the rest of the event as names and values: a raw event of EventBridge v2.

        The names are those of the event's own members, and for what is in detail the names on the way to it joined
        (`DestinationPort`); what has no value is left out. Raises `ValueError` for an event without a payload of its
        own: one that stands for many datagrams, or whose shape names it otherwise.
        """
        detail = json.loads(self.detail)
        payload = detail.get("Payload") if isinstance(detail, dict) else None
        if not isinstance(payload, str):
            raise ValueError("the event has no payload of its own")
        metadata = {"source": self.source, "detail-type": self.detail_type}
        if self.time_ns is not None:
            metadata["time"] = iso_second(self.time_ns)
        if self.resources:
            metadata["resources"] = " ".join(self.resources)
        metadata |= {name: value for name, value in _flat("", detail) if value}
        return a2b_base64(payload), metadata


RAW_CONTENT_TYPE = "application/octet-stream"
"""What a payload is to EventBridge v2: bytes that it neither decodes nor looks into."""

RAW_LEAVES_OUT = frozenset({"Payload", "Text", "Json"})
"""Members of detail that are the payload once more, and no metadata of a raw event."""


def _flat(name: str, value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if name or key not in RAW_LEAVES_OUT:
                yield from _flat(name + key, inner)
    elif isinstance(value, list):
        yield name, " ".join(map(str, value))
    else:
        yield name, value if isinstance(value, str) else _json(value)


@dataclass(frozen=True)
class EventLines:
    """Writes events as rules and targets see them, each a line of JSON: `Entry.event_json` and a newline.

    `now_ns` is the time of those that have none of their own; None: that of writing.
    """

    account: str = ACCOUNT
    region: str = REGION
    now_ns: int | None = None

    def __call__(self, entries: Iterable[Entry]) -> str:
        """The lines of entries."""
        return "".join([self.write(*kind, map(_EVENT, group)) for kind, group in groupby(entries, _KIND)])

    def write(
        self,
        source: str,
        detail_type: str,
        resources: tuple[str, ...],
        events: Iterable[tuple[str, int | None, str]],
    ) -> str:
        """The lines of events of one kind, each given by its detail, its time and its PacketId."""
        kind, where = _around(detail_type, source, self.account, self.region, resources)
        pieces: list[str] = []
        add = pieces.append
        second, when = -1, ""
        for detail, time_ns, name in events:
            if time_ns is None:
                time_ns = time.time_ns() if self.now_ns is None else self.now_ns
            if time_ns // 1_000_000_000 != second:
                second = time_ns // 1_000_000_000
                when = _iso_second(second)
            add(f'{{"version":"0","id":"{_uuid(name, detail)}",{kind},"time":"{when}Z",{where},"detail":')
            add(detail)  # which is long: it is copied once, with all the others
            add("}\n")
        return "".join(pieces)


_KIND: Callable[[Entry], tuple[str, str, tuple[str, ...]]] = itemgetter(
    *map(Entry._fields.index, ("source", "detail_type", "resources"))
)
_EVENT: Callable[[Entry], tuple[str, int | None, str]] = itemgetter(
    *map(Entry._fields.index, ("detail", "time_ns", "id"))
)


def entry_lines(entries: Iterable[Entry], bus: str | None = None) -> str:
    """Many entries as PutEvents takes them, each a line of JSON."""
    return "".join([f"{entry.entry_json(bus)}\n" for entry in entries])


def entry_v2_lines(entries: Iterable[Entry], *, raw: bool) -> str:
    """The same for a bus of EventBridge v2."""
    return "".join([f"{entry.entry_v2_json(raw=raw)}\n" for entry in entries])


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
    again: bool
    message: str = ""


class Outcome(NamedTuple):
    """What a sink says of a batch: how many it took, and each entry it did not take."""

    sent: int
    failed: tuple[Failed, ...] = ()
    known: int = 0
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


class Carrier(Protocol):
    """Several batches on their way to a sink at once, from one thread that need not wait for each.

    A sink may offer one by `carrier()`; its promise is that of `Sink.send`, with what would be raised as a value. One
    who calls `landed` often enough gets an answer for each batch.
    """

    def start(self, batch: Batch) -> int:
        """Send off a batch and return at once, with the number by which `landed` tells of it."""

    def landed(self, timeout_s: float) -> list[tuple[int, Outcome | BaseException]]:
        """What became of which since the last call. Waits up to so many seconds until there is something to tell."""

    def close(self) -> None:
        """Release what is held; what is still under way is given up."""


_TIMES = ("first_ns", "last_ns")
"""The members of a report that are times: of these 0 is not nothing."""


@dataclass
class Report:
    """The count of everything, so that nothing is lost in silence. `adds_up` is the law of conservation."""

    frames: int = 0
    segments: int = 0
    """What super-packets held beyond one datagram each (live only): each counts like a frame."""
    bytes_read: int = 0
    datagrams: int = 0
    """Datagrams that came in one piece."""
    fragments: int = 0
    """IP fragments read; each is used, expired or held."""
    skips: Counter[tuple[Why, str]] = field(default_factory=Counter)
    """Frames that gave nothing, by reason and layer."""

    used: int = 0
    """Fragments that a completed reassembly consumed, duplicates among them."""
    expired: Counter[str] = field(default_factory=Counter)
    """Fragments given up: by reason (too old, over the memory cap, contradicting another, …)."""
    held: int = 0
    """Fragments that still waited for the rest at the end."""
    reassembled: int = 0
    """Datagrams that were put together from fragments."""
    reassembled_skips: Counter[tuple[Why, str]] = field(default_factory=Counter)
    """Reassembled IP packets that gave no datagram."""

    sent: int = 0
    """Datagrams delivered; an event that stands for many counts as many."""
    events: int = 0
    """Events delivered."""
    events_refused: int = 0
    """Events not delivered that stood for no datagram, dead letters among them: reports on the run."""
    known: int = 0
    """Events delivered that the bus had already and did not publish twice (EventBridge v2)."""
    spooled: int = 0
    """Datagrams that wait in the spool, synced to disk."""
    events_spooled: int = 0
    """Events that wait there."""
    refused: Counter[str] = field(default_factory=Counter)
    """Datagrams not delivered because something went wrong, by reason or the sink's error code."""
    messages: dict[str, str] = field(default_factory=dict)
    """The first words that came with each code in `refused`."""
    unselected: Counter[str] = field(default_factory=Counter)
    """Datagrams not delivered because the person asked so (ports, rules, sampling), by reason."""
    turned_away: Counter[tuple[str, str]] = field(default_factory=Counter)
    """The sources that limits kept back most, by reason and source: the first few, not all."""
    turned_away_error: int = 0
    """By how much a count in `turned_away` may be too high."""

    inherited: int = 0
    """Datagrams that waited in the spool before the run; they end like those read."""
    events_inherited: int = 0
    """Events that waited there."""
    dead: Counter[str] = field(default_factory=Counter)
    """Datagrams kept among the spool's dead letters because they can never succeed, by reason or error code."""
    limited: Counter[str] = field(default_factory=Counter)
    """Datagrams kept apart in the spool because a limit refused them, by limit."""

    requests: int = 0
    retried: int = 0
    """Entries tried again (each try counts)."""
    maybe_twice: int = 0
    """Entries whose request got no answer that could be read: it may have been taken, so another try may deliver the
    entry twice (each such request counts)."""
    bytes_sent: int = 0
    chunks: int = 0
    """Billed units of the entries sent: chunks of 64 KB, or on a bus of EventBridge v2 KB."""
    kernel_drops: int = 0
    """Packets the kernel could not hand over in time (live only)."""
    queue_drops: int = 0
    """Packets received, but given up because decoding lagged too far behind (live only)."""
    damages: list[Damage] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    """Sentences for the person: inputs that could not be read, an interface that went down, a budget reached."""
    bad_inputs: int = 0
    """Inputs that were no capture at all."""
    first_ns: int | None = None
    last_ns: int | None = None
    outage: bool = False
    """Whether the sink is left alone for now: it does not answer, or it refused us."""
    interrupted: bool = False
    ended_by: PcapedaError | None = None
    """Why the run ended before its time: the sink was given up, or the interface went away."""

    def __getstate__(self) -> dict[str, Any]:
        """What is not zero: workers send one of these for every span of packets."""
        return {name: value for name, value in vars(self).items() if value or (value is not None and name in _TIMES)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(vars(Report()) | state)

    def remember(self, code: str, message: str) -> None:
        """Keep the first message of a code: enough to tell a person, and bounded."""
        if message and code not in self.messages:
            self.messages[code] = masked(message)

    def span(self, times: Iterable[int | None]) -> None:
        """Stretch the time from first to last to hold these."""
        known = [time_ns for time_ns in times if time_ns is not None]
        if known:
            self.first_ns = min(known) if self.first_ns is None else min(self.first_ns, *known)
            self.last_ns = max(known) if self.last_ns is None else max(self.last_ns, *known)

    def merge(self, other: "Report") -> None:
        """Add the counts of `other` to this one, in place."""
        self.span((other.first_ns, other.last_ns))
        for name, value in vars(other).items():
            if not value or name in _TIMES:
                continue
            mine = getattr(self, name)
            if name == "ended_by":
                self.ended_by = mine or value
            elif isinstance(value, Counter):
                mine.update(value)
            elif isinstance(value, dict):
                setattr(self, name, value | mine)
            else:  # numbers add up, lists follow one another, a flag stays set
                setattr(self, name, mine or value if isinstance(value, bool) else mine + value)

    @property
    def lost(self) -> bool:
        """Whether anything that was to be delivered was not, or could not be read."""
        undelivered = self.events_spooled or self.refused.total() or self.dead or self.limited or self.events_refused
        return bool(undelivered or self.damages or self.failures or self.kernel_drops or self.queue_drops)

    def status(self) -> ExitStatus:
        """The exit code this run stands for."""
        if self.ended_by is not None:
            return self.ended_by.status
        if self.interrupted:
            return ExitStatus.INTERRUPTED
        if self.bad_inputs:
            return ExitStatus.USAGE
        return ExitStatus.INCOMPLETE if self.lost or not self.adds_up() else ExitStatus.OK

    def adds_up(self) -> bool:
        """Whether everything read is accounted for."""
        read = self.frames + self.segments == self.datagrams + self.fragments + sum(self.skips.values())
        pieces = self.fragments == self.used + sum(self.expired.values()) + self.held
        kept = self.spooled + sum(self.dead.values()) + sum(self.limited.values())
        delivered = self.datagrams + self.reassembled + self.inherited == (
            self.sent + kept + sum(self.refused.values()) + sum(self.unselected.values())
        )
        return read and pieces and delivered
