"""A datagram becomes an event: source, detail-type, detail as JSON text, and the bytes EventBridge counts for it.

Detail is put together from prepared pieces of JSON text; a JSON library is asked only where text needs escaping.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from operator import itemgetter
from typing import Literal, NamedTuple, NoReturn, final

from pcapeda.aws import quotas
from pcapeda.aws.wire import EventLines
from pcapeda.errors import BadConfig
from pcapeda.events.enrich import Enrich, enriched
from pcapeda.events.payload_text import UTF8, encoding_named, printable_text
from pcapeda.events.shapes import SHAPES
from pcapeda.events.text import interface_text, quote, shown
from pcapeda.model import Datagram, Entry, flow_number
from pcapeda.units import LAST_TIME_NS

JSON_DEPTH = 500
"""Deepest nesting of a payload that becomes Json. EventBridge would take nearly 1,000, but readers of events give up
earlier, this program's own among them; the payload itself is in the event in any case."""


class Lines(NamedTuple):
    """Events in a row as text; how many there are, the sum of their sizes in bytes, and their billed chunks."""

    text: str
    events: int
    size: int
    chunks: int


@final
@dataclass(frozen=True)
class Shape:
    """How datagrams look as events.

    `full` is all that is known of a datagram, `minimal` the destination port and the payload alone, `proxylity` what
    the Proxylity UDP Gateway puts on a bus. `source` and `detail_type` default to the shape's own. `text` adds the
    payload as Text where it is printable, in UTF-8 or in `text_encoding` (which asks for `text`), `json_payload` as
    Json where it is a JSON object that a bus accepts (full only). `time` is the event's time: that of the capture, or
    of sending. `file` is the capture's name (its last part is shown), `loop` the pass of a repeated replay. With
    `groups` each event bears one of so many groups, the same one for a whole flow, in both directions and on every run.
    `enrich` adds members of a user's own to Detail (full only): a function of the datagram, which must be picklable to
    travel to other processes. It is called once for each event that is made, and is the one way to change what events
    say: the class is final.
    """

    name: str = "full"
    source: str | None = None
    detail_type: str | None = None
    resources: tuple[str, ...] = ()
    text: bool = False
    json_payload: bool = False
    time: Literal["capture", "now"] = "capture"
    file: str | None = None
    loop: int = 0
    groups: int | None = None
    enrich: Enrich | None = None
    text_encoding: str | None = None
    _detail: Callable[["Shape", Datagram], tuple[str, str]] = field(init=False, repr=False, compare=False)
    file_text: str = field(init=False, repr=False, compare=False)
    has_extras: bool = field(init=False, repr=False, compare=False)
    _fixed_size: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        fill = object.__setattr__  # the one moment at which a frozen value may still be completed
        if self.name not in SHAPES:
            raise BadConfig(f"no shape {self.name!r}: there are {', '.join(SHAPES)}")
        if self.text_encoding is not None:
            fill(self, "text_encoding", encoding_named(self.text_encoding))
            fill(self, "text", True)
        if self.name != "full" and (self.text or self.json_payload):
            raise BadConfig(f"--text and --json-payload add to the full shape; {self.name} has no place for them")
        if self.name != "full" and self.enrich is not None:
            raise BadConfig(f"Shape.enrich adds to the full shape; {self.name} has no place for it")
        home, source, detail_type = SHAPES[self.name]
        fill(self, "source", self.source if self.source is not None else source)
        fill(self, "detail_type", self.detail_type if self.detail_type is not None else detail_type)
        fill(self, "_detail", import_module(home).detail)
        fill(self, "has_extras", self.text or self.json_payload or self.enrich is not None)
        base = None if self.file is None else "standard input" if self.file == "-" else self.file.rsplit("/", 1)[-1]
        fill(self, "file_text", "" if base is None else f',"File":{quote(shown(base))}')
        assert self.source is not None
        assert self.detail_type is not None
        fill(self, "_fixed_size", quotas.entry_size(self.source, self.detail_type, "", self.resources, timed=False))

    def origin(self, interface: str | None) -> str:
        """Where a datagram was seen, as JSON text that continues an object: `,"File":"a.pcap"` or its interface."""
        return self.file_text or interface_text(interface)

    def group(self, number: int) -> str | None:
        """The group of what bears this number, if there are groups."""
        return None if self.groups is None else f"flows-{number % self.groups}"

    def extras(self, datagram: Datagram) -> str:
        """What was asked for beside the packet itself (Text, Json, enrichment), as JSON text that continues an object.

        Often empty. Raises `BadEnrichment`.
        """
        added, payload = "", datagram.payload
        if self.text:
            text = printable_text(payload, self.text_encoding or UTF8)
            if text is not None:
                added = f',"Text":{quote(text)}'
        if self.json_payload and payload.lstrip(_BEFORE_JSON)[:1] == b"{":
            document = json_object(payload)
            if document is not None:
                added += f',"Json":{document}'
        return added if self.enrich is None else added + enriched(self.enrich, datagram)

    def without_text(self, datagrams: Sequence[Datagram]) -> int:
        """How many of these have no Text though it was asked for: a rule on it never sees them."""
        if not self.text:
            return 0
        encoding = self.text_encoding or UTF8
        return sum(printable_text(datagram.payload, encoding) is None for datagram in datagrams)

    def entry(self, datagram: Datagram) -> Entry:
        """The event of a datagram, ready to be sent."""
        return self.entries((datagram,))[0]

    def entries(self, datagrams: Sequence[Datagram]) -> list[Entry]:
        """The events of datagrams, in their order."""
        source, detail_type, resources = self.source or "", self.detail_type or "", self.resources
        detail_of, fixed_size, timed = self._detail, self._fixed_size, self.time == "capture"
        made: list[Entry] = []
        add, new = made.append, tuple.__new__  # what Entry(...) does, without the call in between
        for datagram in datagrams:
            identity, detail = detail_of(self, datagram)
            size = fixed_size + (len(detail) if detail.isascii() else len(detail.encode()))
            time_ns = datagram[0] if timed else None
            if time_ns is not None:
                if 0 <= time_ns <= LAST_TIME_NS:
                    size += quotas.TIME_BYTES
                else:
                    time_ns = None
            add(new(Entry, (source, detail_type, detail, time_ns, resources, size, identity, datagram, (), 1, None)))
        if self.groups is not None:
            return [
                entry._replace(group=self.group(flow_number(one))) for entry, one in zip(made, datagrams, strict=True)
            ]
        return made

    def lines(self, datagrams: Sequence[Datagram], form: EventLines) -> Lines:
        """The events of datagrams as text: what `form` makes of `entries`, without the entries."""
        detail_of, timed = self._detail, self.time == "capture"
        events: list[tuple[str, int | None, str]] = []
        add = events.append
        untimed = 0
        for datagram in datagrams:
            identity, detail = detail_of(self, datagram)
            time_ns = datagram[0] if timed else None
            if time_ns is None or not 0 <= time_ns <= LAST_TIME_NS:
                time_ns = None
                untimed += 1
            add((detail, time_ns, identity))
        text = form.write(self.source or "", self.detail_type or "", self.resources, events)
        details = map(itemgetter(0), events)
        sizes = [*map(len, details if text.isascii() else map(str.encode, details))]
        most = self._fixed_size + quotas.TIME_BYTES  # what an event has beside its detail
        chunks = len(events)
        if sizes and max(sizes) + most > quotas.CHUNK_BYTES:
            times = map(itemgetter(1), events)
            chunks = sum(
                quotas.chunks(size + most - (quotas.TIME_BYTES if time_ns is None else 0))
                for size, time_ns in zip(sizes, times, strict=True)
            )
        return Lines(text, len(events), sum(sizes) + len(events) * most - untimed * quotas.TIME_BYTES, chunks)


def json_object(payload: bytes) -> str | None:
    """The JSON object that the payload is, as one line of JSON text that a bus accepts inside Detail, else None.

    Accepted is what RFC 8259 and PutEvents allow: UTF-8, numbers that are finite, integers within signed 64 bits,
    nesting up to `JSON_DEPTH`. Of members with the same name the last one counts. A byte order mark before it and NULs
    behind it are passed over. Of several objects (JSON lines, RFC 7464) it is the first.
    """
    payload = payload.lstrip(_BEFORE_JSON)
    if payload.count(b"{") + payload.count(b"[") > JSON_DEPTH and _depth(payload) > JSON_DEPTH:
        return None
    try:
        text = payload.decode()
        document, end = _JSON.raw_decode(text)
        if not isinstance(document, dict) or text[end:].strip(_BETWEEN_JSON)[:1] not in ("", "{"):
            return None
        text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
        text.encode()  # a lone surrogate, which JSON can spell, is no character
    except (ValueError, RecursionError):
        return None
    return text


def _integer(digits: str) -> int:
    if len(digits) > 20 or not -(1 << 63) <= (number := int(digits)) < 1 << 63:
        raise ValueError("beyond 64 bits")
    return number


def _finite(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise ValueError("beyond a double")
    return number


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


_JSON = json.JSONDecoder(parse_int=_integer, parse_float=_finite, parse_constant=_refuse_constant)
_BEFORE_JSON, _BETWEEN_JSON = b" \t\r\n\x1e\xef\xbb\xbf", " \t\r\n\x1e\0"
"""White space, the record separator of RFC 7464, and the bytes of a byte order mark; NUL."""


def _depth(payload: bytes) -> int:
    """Deepest nesting of brackets outside strings."""
    depth = deepest = 0
    in_string = escaped = False
    for byte in payload:
        if in_string:
            if escaped:
                escaped = False
            elif byte == 0x5C:
                escaped = True
            elif byte == 0x22:
                in_string = False
        elif byte == 0x22:
            in_string = True
        elif byte in b"{[":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"}]":
            depth -= 1
    return deepest
