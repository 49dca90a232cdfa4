"""EventBridge's limits and prices as named numbers, each with its source and the date it was read.

'model' is the service model `events` 2015-10-07 as botocore 1.44.5 ships it (read 2026-11); 'guide' the EventBridge
User Guide; 'pricing' the EventBridge pricing page (most Regions).
"""

import re
from collections.abc import Sequence

from pcapeda.errors import BadConfig

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

PRICE_NOTE = "1.00 USD per million events of up to 64 KB"

DETAIL_TYPE_CHARACTERS = 128
"""Longest DetailType (guide)."""

DETAIL_DEPTH = 1000
"""Deepest nesting of Detail (guide)."""

RESERVED_SOURCE = "aws."
"""Sources that begin so are the services' own (guide)."""

_BUS = re.compile(r"(arn:aws[\w-]*:events:[a-z]{2}-[a-z]+-\d+:\d{12}:event-bus/)?[/.\-_A-Za-z0-9]{1,256}")
_BUS_V2 = re.compile(r"arn:aws[\w-]*:events:[a-z]{2}-[a-z]+-\d+:\d{12}:event-busv2/.+")


def entry_size(source: str, detail_type: str, detail: str, resources: Sequence[str], *, timed: bool) -> int:
    """The bytes that EventBridge counts for an entry: UTF-8 of its members, and 14 for a Time."""
    size = TIME_BYTES if timed else 0
    for text in (source, detail_type, detail, *resources):
        size += len(text) if text.isascii() else len(text.encode())
    return size


def chunks(size: int) -> int:
    """Billed events for one entry of `size` bytes."""
    return -(-size // CHUNK_BYTES) or 1


def cost_usd(billed: float) -> float:
    """The price of so many billed events, in USD."""
    return billed * USD_PER_MILLION_EVENTS / 1_000_000


def chunks_for(usd: float) -> int:
    """How many billed events an amount pays for."""
    return int(usd * 1_000_000 / USD_PER_MILLION_EVENTS + 1e-6)


def requests_for(entries: int, size: int) -> int:
    """The fewest PutEvents requests that hold so many entries of `size` bytes together."""
    return max(-(-entries // ENTRIES_PER_REQUEST), -(-size // REQUEST_BYTES))


def check_identity(source: str | None, detail_type: str | None, resources: Sequence[str], bus: str | None) -> None:
    """Refuse what EventBridge would refuse in every single event. Raises `BadConfig`."""
    if source is not None:
        if not source or len(source) > 256:
            raise BadConfig("--source must have 1 to 256 characters")
        if source.lower().startswith(RESERVED_SOURCE):
            raise BadConfig(f"--source {source}: sources that begin with 'aws.' are reserved by AWS")
    if detail_type is not None and not 0 < len(detail_type) <= DETAIL_TYPE_CHARACTERS:
        raise BadConfig(f"--detail-type must have 1 to {DETAIL_TYPE_CHARACTERS} characters, not {len(detail_type)}")
    for resource in resources:
        if not resource or len(resource) > 2048:
            raise BadConfig("--resource must have 1 to 2,048 characters")
    if bus is not None and _BUS_V2.fullmatch(bus):
        raise BadConfig(f"--bus {bus}: buses of EventBridge v2 are not supported; give a classic event bus")
    if bus is not None and not _BUS.fullmatch(bus):
        raise BadConfig(f"--bus {bus}: neither the name nor the ARN of an event bus")
