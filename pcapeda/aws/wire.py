"""The forms of an `Entry` on a wire: the event as rules see it, PutEvents entries classic and v2, raw events."""

import json
import time
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from typing import Any

from pcapeda.model import ACCOUNT, REGION, Entry, uuid_of
from pcapeda.units import hour_second, iso_second

_json = json.JSONEncoder(ensure_ascii=False).encode  # json.dumps would build an encoder for each call


@lru_cache(maxsize=64)
def _around(detail_type: str, source: str, account: str, region: str, resources: tuple[str, ...]) -> tuple[str, str]:
    """The members of an event that are the same in most of them, as JSON text: those before its time, those after."""
    kind = f'"detail-type":{_json(detail_type)},"source":{_json(source)},"account":{_json(account)}'
    return kind, f'"region":{_json(region)},"resources":{_json(resources)}'


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
    """Writes events as rules and targets see them, each a line of JSON: `event_json` and a newline.

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
                when = hour_second(second)
            add(f'{{"version":"0","id":"{uuid_of(name, detail)}",{kind},"time":"{when}Z",{where},"detail":')
            add(detail)  # which is long: it is copied once, with all the others
            add("}\n")
        return "".join(pieces)


_KIND: Callable[[Entry], tuple[str, str, tuple[str, ...]]] = itemgetter(
    *map(Entry._fields.index, ("source", "detail_type", "resources"))
)


_EVENT: Callable[[Entry], tuple[str, int | None, str]] = itemgetter(
    *map(Entry._fields.index, ("detail", "time_ns", "id"))
)


def event_json(entry: Entry, account: str = ACCOUNT, region: str = REGION, *, now_ns: int | None = None) -> str:
    """The event as rules and targets see it (`Entry.envelope`), as one line of JSON."""
    return EventLines(account, region, now_ns)((entry,))[:-1]


def put_events_entry(entry: Entry, bus: str | None = None) -> dict[str, Any]:
    """The member of Entries that boto3's put_events takes; without a time of its own it gets that of sending."""
    made: dict[str, Any] = {"Source": entry.source, "DetailType": entry.detail_type, "Detail": entry.detail}
    if entry.time_ns is not None:
        made["Time"] = entry.time_ns // 1_000_000_000
    if entry.resources:
        made["Resources"] = list(entry.resources)
    if bus is not None:
        made["EventBusName"] = bus
    return made


def entry_json(entry: Entry, bus: str | None = None) -> str:
    """The same as one line of JSON, with the time as ISO 8601 text: ten of them make a request's Entries."""
    when = "" if entry.time_ns is None else f'"Time":"{iso_second(entry.time_ns)}",'
    resources = f'"Resources":{_json(entry.resources)},' if entry.resources else ""
    where = "" if bus is None else f',"EventBusName":{_json(bus)}'
    return (
        f'{{{when}"Source":{_json(entry.source)},{resources}"DetailType":{_json(entry.detail_type)},'
        f'"Detail":{_json(entry.detail)}{where}}}'
    )


def put_events_v2_entry(entry: Entry) -> dict[str, Any]:
    """The same for put_events of eventbridgev2, with the id by which the bus knows the event again."""
    return put_events_entry(entry) | {"SystemMetadata": _system_metadata(entry)}


def put_raw_events_entry(entry: Entry) -> dict[str, Any]:
    """The member of Entries that put_raw_events of eventbridgev2 takes. Raises `ValueError` as `raw_event` does."""
    data, metadata = raw_event(entry)
    system = {"ContentType": RAW_CONTENT_TYPE} | _system_metadata(entry)
    return {"Data": data, "Metadata": metadata, "SystemMetadata": system}


def entry_v2_json(entry: Entry, *, raw: bool) -> str:
    """The same as one line of JSON, with the time as ISO 8601 text and bytes in base64: what the AWS CLI takes."""
    if raw:
        made = put_raw_events_entry(entry)
        made["Data"] = b2a_base64(made["Data"], newline=False).decode("ascii")
        return _json(made)
    made = put_events_v2_entry(entry)
    if entry.time_ns is not None:
        made["Time"] = iso_second(entry.time_ns)
    return _json(made)


def raw_event(entry: Entry) -> tuple[bytes, dict[str, str]]:
    """The payload as bytes, and the rest of the event as names and values: a raw event of EventBridge v2.

    The names are those of the event's own members, and for what is in detail the names on the way to it joined
    (`DestinationPort`); what has no value is left out. Raises `ValueError` for an event without a payload of its
    own: one that stands for many datagrams, or whose shape names it otherwise.
    """
    detail = json.loads(entry.detail)
    payload = detail.get("Payload") if isinstance(detail, dict) else None
    if not isinstance(payload, str):
        raise ValueError("the event has no payload of its own")
    metadata = {"source": entry.source, "detail-type": entry.detail_type}
    if entry.time_ns is not None:
        metadata["time"] = iso_second(entry.time_ns)
    if entry.resources:
        metadata["resources"] = " ".join(entry.resources)
    metadata |= {name: value for name, value in _flat("", detail) if value}
    return a2b_base64(payload), metadata


def _system_metadata(entry: Entry) -> dict[str, str]:
    metadata = {"DeduplicationId": entry.unique_id}
    return metadata if entry.group is None else metadata | {"EventGroupId": entry.group}


def entry_lines(entries: Iterable[Entry], bus: str | None = None) -> str:
    """Many entries as PutEvents takes them, each a line of JSON."""
    return "".join([f"{entry_json(entry, bus)}\n" for entry in entries])


def entry_v2_lines(entries: Iterable[Entry], *, raw: bool) -> str:
    """The same for a bus of EventBridge v2."""
    return "".join([f"{entry_v2_json(entry, raw=raw)}\n" for entry in entries])
