"""Between limits and delivery: events that stand for many datagrams, and reports on the run itself.

A `SummaryQueue` holds back the summaries of a live run until the rate admits them; a `PeriodicReport` says every few
seconds, on the same bus, what became of everything.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Protocol

from pcapeda.delivery.delivery import Delivery
from pcapeda.events.flows import SummaryEvent
from pcapeda.events.reports import TOP, ReportPeriod, report_entry
from pcapeda.events.shape import Shape
from pcapeda.limits.heavy_hitters import HeavyHitters
from pcapeda.limits.limits import Limits
from pcapeda.limits.per_source import source_key
from pcapeda.model import Datagram, Entry
from pcapeda.report import Report
from pcapeda.units import SECOND_NS

NO_RULE = "no rule"
"""Why events are left out that match no rule, where only those that do are asked for."""


INTERRUPTED = "interrupted"
"""Why events are refused that still waited for the rate when the run was stopped, and that no spool keeps."""


class Aggregator(Protocol):
    """What makes one event of many datagrams: a table of flows, a grouper."""

    def add(self, datagram: Datagram, moment_ns: int, ordinal: int | None = None) -> list[SummaryEvent]:
        """Take a datagram, its ordinal too where the event is to tell it; gives what is complete before or with it."""

    def due(self, moment_ns: int) -> list[SummaryEvent]:
        """What is complete by this moment."""

    def finish(self) -> list[SummaryEvent]:
        """Whatever is there, at once."""


class SummaryQueue:
    """Sends entries within the budgets, and summaries within the rates too; counts what it cannot send.

    `wait_for_rate` sleeps until the overall rate admits one more, and is false when the run was stopped instead.
    `judged` gives a summary with the rules it matches, or None where that leaves it out; `note` is called once a budget
    is used up. A live run does not sleep: up to `room` of its summaries are held back until the rate admits them,
    beyond that the oldest are refused.
    """

    def __init__(
        self,
        delivery: Delivery,
        limits: Limits,
        report: Report,
        *,
        clock: Callable[[], int],
        wait_for_rate: Callable[[], bool],
        judged: Callable[[Entry], Entry | None],
        note: Callable[[str], None],
        room: int = 0,
    ) -> None:
        self._delivery = delivery
        self._limits = limits
        self._report = report
        self._clock = clock
        self._wait_for_rate = wait_for_rate
        self._judged = judged
        self._note = note
        self._room = room
        self._held: deque[SummaryEvent] = deque()
        self.under_way: Callable[[Entry, Sequence[int]], None] = lambda entry, ordinals: None
        """Called with each summary before it is sent, and of the ordinals of its datagrams."""
        self.spent: str | None = None
        """The budget that is used up, in words."""

    def pays(self, entry: Entry) -> bool:
        """Whether the budgets hold one more entry, which may stand for many datagrams; else it and all after it are
        refused."""
        if self.spent is None:
            self.spent = self._limits.afford(entry)
            if self.spent is not None:
                sentence = f"reached {self.spent}: stopped reading"
                self._report.failures.append(sentence)
                self._note(sentence)
        if self.spent is not None:
            self._delivery.refuse(entry, "budget", over_limit=True)
        return self.spent is None

    def send(self, summary: SummaryEvent) -> None:
        """Send what the rates have admitted, if the budgets hold it."""
        self.under_way(summary.entry, summary.ordinals)
        if self.pays(summary.entry):
            self._delivery.add(summary.entry)

    def send_report(self, entry: Entry) -> None:
        """Send a report, which no rate limits; the budgets do, and end no run for it."""
        if self.spent is None and self._limits.afford(entry) is None:
            self._delivery.add(entry)
        else:
            self._report.events_refused += 1

    def tell(self, summaries: list[SummaryEvent], moment_ns: int) -> None:
        """Send summaries, `moment_ns` being the moment by which the rate per source goes."""
        for summary in summaries:
            entry = self._judged(summary.entry)
            if entry is None:
                self._report.unselected[NO_RULE] += summary.entry.datagram_count
                continue
            summary = summary._replace(entry=entry)
            reason = self._limits.admit_summary(summary.source, moment_ns)
            if reason is not None:
                self._refuse(summary, reason)
            elif self._limits.live:
                self._held.append(summary)
            elif self._wait_for_rate():
                self.send(summary)
            else:
                self._refuse(summary, INTERRUPTED)
        if self._held:
            self.release()
            while len(self._held) > self._room:
                self._refuse(self._held.popleft(), "rate limit")

    def release(self) -> None:
        """Send of what is held back as much as the rate admits now. Never sleeps."""
        while self._held and not self._limits.wait(self._clock()):
            self.send(self._held.popleft())

    def close(self) -> None:
        """Send what is held back, at the rate; once the run was stopped, only what the rate admits at once."""
        self.release()
        while self._held:
            if self.spent is not None or self._wait_for_rate():
                self.send(self._held.popleft())
            else:
                self._refuse(self._held.popleft(), INTERRUPTED)

    def _refuse(self, summary: SummaryEvent, reason: str) -> None:
        self.under_way(summary.entry, summary.ordinals)
        self._delivery.refuse(summary.entry, reason, over_limit=reason != INTERRUPTED)
        self._limits.note(reason, summary.source or "several sources", summary.entry.datagram_count)


class PeriodicReport:
    """Makes a report every `every_ns` by `clock`; `wall` gives nanoseconds since 1970."""

    def __init__(
        self,
        shape: Shape,
        every_ns: int,
        limits: Limits,
        *,
        clock: Callable[[], int],
        wall: Callable[[], int] = time.time_ns,
    ) -> None:
        self._shape = shape
        self._every_ns = every_ns
        self._limits = limits
        self._clock = clock
        self._wall = wall
        self._since_ns = clock()
        self._before = Report()
        self._number = 0
        self._heard: HeavyHitters[str] = HeavyHitters()

    def hear(self, datagram: Datagram) -> None:
        """Count a datagram for its source."""
        self._heard.add(source_key(datagram.source))

    def due(self, report: Report, reading: Report) -> Entry | None:
        """A report if it is time: `report` of the run so far, `reading` of the source being read."""
        if self._clock() - self._since_ns < self._every_ns:
            return None
        return self.make(report, reading)

    def make(self, report: Report, reading: Report) -> Entry:
        """A report on what happened since the one before, now."""
        now_ns, seen = self._clock(), Report()
        seen.merge(report)
        seen.merge(reading)
        before, self._before = self._before, seen
        self._number += 1
        period = ReportPeriod(
            seconds=(now_ns - self._since_ns) / SECOND_NS,
            frames=seen.frames - before.frames,
            segments=seen.segments - before.segments,
            datagrams=seen.datagrams + seen.reassembled - before.datagrams - before.reassembled,
            delivered=seen.sent - before.sent,
            events=seen.events - before.events,
            refused=seen.refused + seen.limited - before.refused - before.limited,
            left_out=Counter(seen.unselected) - before.unselected,
            kernel_drops=seen.kernel_drops - before.kernel_drops,
            queue_drops=seen.queue_drops - before.queue_drops,
            billed=seen.chunks - before.chunks,
            spooled=seen.spooled,
        )
        self._since_ns = now_ns
        return report_entry(
            self._shape,
            self._number,
            period,
            time_ns=self._wall(),
            cost_usd=self._limits.bounds.tariff.usd(seen.chunks),
            sources=self._heard.top(TOP),
            turned_away=self._limits.top_limited().most_common(),
        )
