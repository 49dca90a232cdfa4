"""The counts of a run at one moment, as plain data with names that stay: what log lines and metrics are made of."""

from collections import Counter
from itertools import islice
from typing import Any

from pcapeda.aws import quotas
from pcapeda.report import Report

MOST_REASONS = 40
"""Reasons and codes that are told apart. Some are words of whoever answers at the bus: their number must be bounded."""

OTHER = "other"


def snapshot(*reports: Report, tariff: quotas.Tariff) -> dict[str, Any]:
    """What the reports of one run come to: numbers, and for what has reasons a mapping from each to a number.

    `cost_usd` is None where `tariff` knows no price. `datagrams` are all that were read, the reassembled ones among
    them, so that at the end of a run

        frames + segments = datagrams - reassembled + fragments + skipped
        datagrams + inherited = sent + spooled + dead + limited + refused + unselected
    """

    def total(name: str) -> int:
        return sum(getattr(report, name) for report in reports)

    skipped: Counter[str] = Counter()
    for report in reports:
        for (why, _), number in report.skips.items():
            skipped[why.value] += number
    reasons = {
        name: _bounded(*(getattr(report, name) for report in reports)) for name in ("unselected", "limited", "refused")
    }
    dead = _bounded(*(report.dead for report in reports))
    chunks, reassembled = total("chunks"), total("reassembled")
    cost = tariff.usd(chunks)
    return {
        "frames": total("frames"),
        "segments": total("segments"),
        "bytes_read": total("bytes_read"),
        "datagrams": total("datagrams") + reassembled,
        "reassembled": reassembled,
        "fragments": total("fragments"),
        "skipped": skipped.total(),
        "skipped_by_reason": dict(skipped),
        "without_text": total("without_text"),
        "damages": sum(len(report.damages) for report in reports),
        "kernel_drops": total("kernel_drops"),
        "queue_drops": total("queue_drops"),
        "unselected": sum(reasons["unselected"].values()),
        "unselected_by_reason": reasons["unselected"],
        "inherited": total("inherited"),
        "sent": total("sent"),
        "spooled": total("spooled"),
        "events_spooled": total("events_spooled"),
        "dead": sum(dead.values()),
        "dead_by_code": dead,
        "limited": sum(reasons["limited"].values()),
        "limited_by_reason": reasons["limited"],
        "refused": sum(reasons["refused"].values()),
        "refused_by_reason": reasons["refused"],
        "events": total("events"),
        "events_refused": total("events_refused"),
        "requests": total("requests"),
        "retried": total("retried"),
        "maybe_twice": total("maybe_twice"),
        "known": total("deduplicated"),
        "bytes_sent": total("bytes_sent"),
        "billed_chunks": chunks,
        "cost_usd": cost if cost is None else round(cost, 9),
        "outage": any(report.outage for report in reports),
    }


def undelivered(report: Report) -> str:
    """What was not delivered, in words; nothing if all was."""
    parts = [*report.refused.most_common(), *((f"dead: {code}", number) for code, number in report.dead.most_common())]
    parts += [(f"kept back: {limit}", number) for limit, number in report.limited.most_common()]
    if report.spooled:
        parts.append(("spooled", report.spooled))
    return ", ".join(f"{number:,} {reason}" for reason, number in parts)


def _bounded(*counters: Counter[str]) -> dict[str, int]:
    """The sum of counters: the reasons that came first by name, so that a name once told stays; the rest as one."""
    summed: Counter[str] = Counter()
    for counter in counters:
        summed.update(counter)
    told = dict(islice(summed.items(), MOST_REASONS))
    rest = summed.total() - sum(told.values())
    return told | {OTHER: told.get(OTHER, 0) + rest} if rest else told
