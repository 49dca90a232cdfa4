"""EventBridge's limits and prices as named numbers, each with its source and the date it was read.

'model' is the service model `events` 2015-10-07 as botocore 1.44.5 ships it (read 2026-11); 'guide' the EventBridge
User Guide; 'pricing' the EventBridge pricing page (most Regions). 'model v2' is `eventbridgev2` 2025-05-15 as botocore
1.44.8 ships it, 'guide v2' the User Guide's chapter on Custom Event Buses (both read 2026-11).
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from pcapeda.errors import BadField

ENTRIES_PER_REQUEST = 10
"""PutEvents takes 1 to 10 entries (model, PutEventsRequestEntryList)."""

REQUEST_BYTES = 1_000_000
"""'Total entry size must be less than 1MB' (model, PutEvents; 256 KB before 2026-09). Its exact meaning is not
stated, so the smaller reading is taken."""

TIME_BYTES = 14
"""What an entry's Time counts for (guide, 'Calculating PutEvents event entry size')."""

CHUNK_BYTES = 65_536
"""Each started 64 KB of an event is billed as one event (pricing)."""

USD_PER_MILLION_EVENTS = 1.00
"""Custom events (pricing)."""

DETAIL_TYPE_CHARACTERS = 128
"""Longest DetailType (guide)."""

DETAIL_DEPTH = 1000
"""Deepest nesting of Detail (guide)."""

RESERVED_SOURCE = "aws."
"""Sources that begin so are the services' own (guide)."""

SOURCE_CHARACTERS = 256
"""Longest Source. The model names no length; this is the one that `eventbridgev2` 2025-05-15 names."""

RESOURCE_CHARACTERS = 2048
"""Longest Resource (model, EventResource)."""

BUS_NAME_CHARACTERS = 256
"""Longest name of a bus (model, EventBusName)."""

BUS = re.compile(r"(arn:aws[\w-]*:events:[a-z]+-[a-z]+-[\w-]+:[0-9]{12}:event-bus/)?([/.\-_A-Za-z0-9]+)", re.ASCII)
"""A bus's name or ARN (model, EventBusNameOrArn); the second group is the name."""

BUS_V2 = re.compile(
    r"arn:aws(?:-[a-z0-9]+)*:events:(?P<region>[a-z][a-z0-9]*(?:-[a-z0-9]+)*):(?P<account>[0-9]{12})"
    r":event-busv2/(?P<name>[A-Za-z0-9][.\-_A-Za-z0-9]{0,255})/[a-z0-9]{25}"
)
"""The ARN of a bus of EventBridge v2 (model v2, EventBusArn)."""

_MEANT_V2 = re.compile(r"arn:[^:]*:events:[^:]*:[^:]*:event-busv2/.*")

ENTRIES_PER_REQUEST_V2 = 100
"""PutEvents and PutRawEvents of v2 take 1 to 100 entries (model v2, PutEventsRequestEntryList)."""

REQUEST_BYTES_V2 = 1_048_576
"""'The total size of all event entries in a request must not exceed 1 MB (1,048,576 bytes)', for raw events data and
metadata, keys and values (model v2, PutEvents and PutRawEvents)."""

UNCOUNTED_BYTES = 256
"""What an entry of v2 may have beyond the bytes of `entry_size`: its ids, its content type, the names of metadata. How
the service counts an entry is not stated."""

RESOURCES_V2 = 100
"""Most Resources of an entry (model v2, PutEventsResourceList)."""

DEDUPLICATION_S = 300
"""For how long a bus of v2 knows an event again by its DeduplicationId (guide v2, 'Custom Event Bus quotas')."""

GROUPS_V2 = 64
"""How many groups flows are hashed into unless asked otherwise. Each may take 1,500 events and KB a second (guide v2,
'Ingestion per event group per second')."""

KB = 1_024
"""Each started KB of an event is billed on a bus of v2 ('billed per KB, rounded up', AWS's own notes on its costs);
what a KB costs is not in any source this program could read."""


def entry_size(source: str, detail_type: str, detail: str, resources: Sequence[str], *, timed: bool) -> int:
    """The bytes that EventBridge counts for an entry: UTF-8 of its members, and 14 for a Time."""
    size = TIME_BYTES if timed else 0
    for text in (source, detail_type, detail, *resources):
        size += len(text) if text.isascii() else len(text.encode())
    return size


def chunks(size: int, unit: int = CHUNK_BYTES) -> int:
    """Billed units for one entry of `size` bytes: events of 64 KB each, or KB on a bus of v2."""
    return -(-size // unit) or 1


def cost_usd(billed: float, price: float = USD_PER_MILLION_EVENTS) -> float:
    """The cost of so many billed events in USD, at a price in USD per million."""
    return billed * price / 1_000_000


def chunks_for(usd: float, price: float = USD_PER_MILLION_EVENTS) -> int:
    """How many billed events an amount pays for; what is beyond any bill counts as 10**15 events."""
    # A thousandth of an event on top: 0.000003 USD are three events, though the float lies a little below.
    billed = min(usd * 1_000_000 / price, 1e15)
    return int(billed + max(1e-3, billed * 3e-16))  # beyond 10**12 events a float is less exact than that


class Tariff(NamedTuple):
    """What a bus is paid for: each started `unit_bytes` of an event, at `price` USD per million (None: not known)."""

    unit_bytes: int = CHUNK_BYTES
    price: float | None = USD_PER_MILLION_EVENTS

    @property
    def v2(self) -> bool:
        """Whether it is that of a bus of EventBridge v2."""
        return self.unit_bytes == KB

    def units(self, size: int) -> int:
        """Billed units for one entry of `size` bytes."""
        return chunks(size, self.unit_bytes)

    def usd(self, units: float) -> float | None:
        """The cost of so many units in USD, where the price is known."""
        return None if self.price is None else cost_usd(units, self.price)


CLASSIC = Tariff()
FREE = Tariff(price=0.0)
"""What a dry run costs."""


def tariff(*, v2: bool, price: float | None) -> Tariff:
    """The tariff of a bus, at its own price or the published one, which that of v2 is not as far as is known here."""
    if v2:
        return Tariff(KB, price)
    return CLASSIC if price is None else Tariff(price=price)


PRICE_UNKNOWN = "what a KB costs on a bus of EventBridge v2 is not known here: --price USD says it, per million KB"


def requests_for(entries: int, size: int) -> int:
    """The fewest PutEvents requests that hold so many entries of `size` bytes together."""
    return max(-(-entries // ENTRIES_PER_REQUEST), -(-size // REQUEST_BYTES))


def bus_name_ok(bus: str) -> bool:
    """Whether this can be the name or the ARN of a classic event bus."""
    match = BUS.fullmatch(bus)
    return match is not None and len(match[2]) <= BUS_NAME_CHARACTERS


def check_identity(source: str | None, detail_type: str | None, resources: Sequence[str], bus: str | None) -> None:
    """Refuse what EventBridge would refuse in every single event; None is 'not given'. Raises `BadConfig`."""
    if source is not None:
        _check_text("source", source, SOURCE_CHARACTERS)
        if source.startswith(RESERVED_SOURCE):
            raise BadField(
                f"{{source}} %s: sources that begin with '{RESERVED_SOURCE}' are reserved by AWS", source, owner="Shape"
            )
    if detail_type is not None:
        _check_text("detail_type", detail_type, DETAIL_TYPE_CHARACTERS)
    for resource in resources:
        _check_text("resources", resource, RESOURCE_CHARACTERS)
    if bus is None:
        return
    if _MEANT_V2.fullmatch(bus):
        if not BUS_V2.fullmatch(bus):
            raise BadField(
                "{name} %s: not the ARN of a bus of EventBridge v2",
                shown(bus),
                owner="Bus",
                hint="it ends in :event-busv2/NAME/ID, with an ID of 25 lower-case letters and digits",
            )
        if len(resources) > RESOURCES_V2:
            raise BadField(
                f"{{resources}}: an event on a bus of EventBridge v2 has at most {RESOURCES_V2} of them", owner="Shape"
            )
        return
    if not bus_name_ok(bus):
        raise BadField("{name} %s: neither the name nor the ARN of an event bus", shown(bus), owner="Bus")


def _check_text(field: str, text: str, longest: int) -> None:
    if not 0 < len(text) <= longest:
        raise BadField(f"{{{field}}} must have 1 to {longest:,} characters, not {len(text):,}", owner="Shape")
    if not text.isprintable():  # bytes that are no UTF-8 arrive as lone surrogates, which are not printable either
        raise BadField(f"{{{field}}} %s: holds a character that cannot be printed", shown(text), owner="Shape")


def shown(text: str) -> str:
    """Text from outside as one printable line."""
    return text if text.isprintable() else ascii(text)
