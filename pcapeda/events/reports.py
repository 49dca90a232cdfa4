"""A report on the run itself as a UdpReport event, on the same bus as what it reports on."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from pcapeda.events.flows import summary_entry
from pcapeda.events.shape import Shape
from pcapeda.model import Entry
from pcapeda.units import iso_time

DETAIL_TYPE = "UdpReport"

TOP = 10
"""How many sources a report names."""


class ReportPeriod(NamedTuple):
    """What happened since the report before: counts, and how long it took."""

    seconds: float
    frames: int
    segments: int
    datagrams: int
    delivered: int
    events: int
    refused: Mapping[str, int]
    left_out: Mapping[str, int]
    kernel_drops: int
    queue_drops: int
    billed: int
    spooled: int
    """What waits in the spool now."""


def report_entry(
    shape: Shape,
    number: int,
    period: ReportPeriod,
    *,
    time_ns: int,
    cost_usd: float | None,
    sources: Iterable[tuple[str, int]],
    turned_away: Iterable[tuple[tuple[str, str], int]],
) -> Entry:
    """Report `number` (from 1) of a run, at `time_ns` by the wall clock.

    Counts are since the report before, but for what is spooled; `cost_usd` (None: not known), the busiest `sources` and
    the `turned_away` are of the whole run.
    """
    detail: dict[str, Any] = {
        "Number": number,
        "At": iso_time(time_ns),
        "Seconds": round(period.seconds, 3),
        "Frames": period.frames,
        "Segments": period.segments,
        "Datagrams": period.datagrams,
        "DatagramsPerSecond": _rate(period.datagrams, period.seconds),
        "Delivered": period.delivered,
        "Events": period.events,
        "EventsPerSecond": _rate(period.events, period.seconds),
        "Billed": period.billed,
        "Spooled": period.spooled,
        "Refused": _counts(period.refused),
        "LeftOut": _counts(period.left_out),
        "KernelDrops": period.kernel_drops,
        "QueueDrops": period.queue_drops,
        **({} if cost_usd is None else {"RunUsd": round(cost_usd, 6)}),
        "TopSources": [{"Source": source, "Count": count} for source, count in sources][:TOP],
        "TurnedAway": [{"Reason": reason, "Source": source, "Count": count} for (reason, source), count in turned_away][
            :TOP
        ],
    }
    text = json.dumps(detail, ensure_ascii=False, separators=(",", ":"))
    return summary_entry(shape, DETAIL_TYPE, text, time_ns, 0)


def _counts(counts: Mapping[str, int]) -> list[dict[str, Any]]:
    return [{"Reason": reason, "Count": count} for reason, count in counts.items() if count]


def _rate(count: int, seconds: float) -> float:
    return round(count / seconds, 3) if seconds > 0 else 0.0
