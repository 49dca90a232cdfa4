"""The loop of a run: frames in, events out, for one source after the other. Nothing is opened here.

A `RunContext` is what one run carries from source to source; `run` walks the frames of one of them through extraction,
selection, limits and shape into the delivery.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from threading import Event
from typing import Protocol

from pcapeda.aws import quotas
from pcapeda.aws.wire import EventLines
from pcapeda.delivery.checkpoint import Checkpoint, Place
from pcapeda.delivery.delivery import Delivery
from pcapeda.dissect.extractor import Extractor
from pcapeda.engine.build import make_aggregator
from pcapeda.engine.filters import with_ports, without_own
from pcapeda.engine.job import Job
from pcapeda.engine.replay_clock import ReplayClock
from pcapeda.engine.summaries import INTERRUPTED, NO_RULE, Aggregator, PeriodicReport, SummaryQueue
from pcapeda.errors import OutputClosed
from pcapeda.events.flows import MAX_REST
from pcapeda.events.shape import Shape
from pcapeda.limits.limits import Limits
from pcapeda.model import Datagram, Entry, Frame
from pcapeda.report import Report
from pcapeda.rules.dialects import event_of
from pcapeda.rules.ruleset import RuleSet
from pcapeda.units import SECOND_NS

BEAT_NS = SECOND_NS // 10
"""How often a run looks after what is due while frames keep coming."""

SLICE_S = 0.1
"""Longest sleep before looking at what else is due."""


class RunObserver(Protocol):
    """Who wants to know how a run goes: a progress bar, a log."""

    def note(self, sentence: str) -> None:
        """Something a person should read now: damage, a doubt."""

    def say(self, sentence: str) -> None:
        """Something a person may like to know."""

    def tick(self, report: Report, reading: Report, position: int, size: int | None) -> None:
        """Called often: the counts of the run, those of the source being read, and its bytes read of all bytes."""


class _Silent:
    """The watcher of those who only want the report."""

    def note(self, sentence: str) -> None:
        pass

    def say(self, sentence: str) -> None:
        pass

    def tick(self, report: Report, reading: Report, position: int, size: int | None) -> None:
        pass


SILENT = _Silent()

_new, _RULES_AT = tuple.__new__, Entry._fields.index("rules")


@dataclass
class RunContext:
    """What one run carries from source to source: the parts that decide, and the one that sends."""

    job: Job
    delivery: Delivery
    limits: Limits
    report: Report
    observer: RunObserver
    stop: Event
    clock: Callable[[], int]
    sleep: Callable[[float], object]
    ignore: Callable[[Datagram], bool]
    checkpoint: Checkpoint | None = None
    rules: RuleSet | None = None
    left: int | None = None
    """Datagrams still to come before `count` is reached (None: no count)."""
    pressed: Callable[[], bool] | None = None
    """True once nothing more may be read or waited for after a stop; None: at the stop itself."""
    finished: bool = False
    """No further source is to be read."""
    reporter: PeriodicReport | None = None
    reading: Report = field(default_factory=Report)
    """The counts of the source being read, until they are part of the report."""
    progress: Callable[[], tuple[int, int | None]] = lambda: (0, None)
    """Bytes read of the source, and of how many."""
    watch_at: int = 0
    """When the watcher is to be shown how it goes, if nothing else does by then."""
    max_event_bytes: int = quotas.CHUNK_BYTES
    """Largest event that may be made of many datagrams: a billed chunk, or less where the sink takes less."""
    moment: int = 0
    """The capture's time so far, by which what a replay sums up and its rates per source go."""

    @property
    def render(self) -> Callable[[Sequence[Entry]], str] | None:
        """What makes text of entries, where text is all that is wanted of them: a spool would want the entries."""
        return self.delivery.sink.render if self.job.spool is None else None

    @property
    def undemanding(self) -> bool:
        """Whether nothing this run was asked for looks at the moment at which a datagram's turn comes."""
        return self.reporter is None and self.checkpoint is None and not self.limits.any

    def halted(self) -> bool:
        """Whether reading must end before its end: at a stop; of a pipe, whose writer may have more, some time on."""
        return self.stop.is_set() and (self.pressed is None or self.pressed())

    def __post_init__(self) -> None:
        room = self.job.max_flows + MAX_REST + 1 if self.job.summaries == "flow" else 0
        self.queue = SummaryQueue(
            self.delivery,
            self.limits,
            self.report,
            clock=self.clock,
            wait_for_rate=self.wait_for_rate,
            judged=self.judged,
            note=self.observer.note,
            room=room,
        )

    def judged(self, entry: Entry) -> Entry | None:
        """The entry with the names of the rules it matches; None if only what matches is asked for, and none does."""
        if self.rules is None:
            return entry
        if self.job.bus.raw:
            matched = self.rules.match(event_of(entry, self.job.dialect))
        else:
            matched = self.rules.match_entry(entry)
        if not matched and self.job.only_matching:
            return None
        # As `_replace` does, in a third of the time.
        return _new(Entry, (*entry[:_RULES_AT], tuple([rule.name for rule in matched]), *entry[_RULES_AT + 1 :]))

    def all_judged(self, entries: list[Entry]) -> list[Entry]:
        """The same of many; what is not asked for is counted."""
        if self.rules is None:
            return entries
        kept = [entry for entry in map(self.judged, entries) if entry is not None]
        if len(kept) < len(entries):
            self.report.unselected[NO_RULE] += len(entries) - len(kept)
        return kept

    def watch(self) -> None:
        """Show the watcher how it goes."""
        self.watch_at = self.clock() + BEAT_NS
        self.observer.tick(self.report, self.reading, *self.progress())

    def glance(self) -> None:
        """The same, if it is time."""
        if self.clock() >= self.watch_at:
            self.watch()

    def beat(self) -> None:
        """What is due about ten times a second: whom the limits keep back, and a report."""
        self.report.turned_away = self.limits.top_limited()
        self.report.turned_away_error = self.limits.turned_away.error
        if self.reporter is not None:
            entry = self.reporter.due(self.report, self.reading)
            if entry is not None:
                self.queue.send_report(entry)

    def end(self) -> None:
        """The last report, once everything has been read and counted."""
        self.beat()
        if self.reporter is not None:
            self.queue.send_report(self.reporter.make(self.report, self.reading))

    def wait_until(self, due_ns: int) -> None:
        """Sleep to an absolute deadline, doing meanwhile what is due. A stop ends the wait."""
        while (left := due_ns - self.clock()) > 0 and not self.halted():
            self.delivery.tick()
            self.glance()
            self.sleep(min(left / SECOND_NS, SLICE_S))

    def wait_for_rate(self) -> bool:
        """Wait until the overall rate admits one more event, and take its token; false when a stop came first."""
        wait_ns = self.limits.wait(self.clock())
        while wait_ns and not self.halted():
            self.wait_until(self.clock() + wait_ns)
            wait_ns = self.limits.wait(self.clock())
        return not wait_ns


Blocks = Iterable[list[Frame] | None]
"""Frames in lists, as they come; None is a tick: nothing came for a while."""


def run(
    source: Blocks,
    context: RunContext,
    *,
    extractor: Extractor,
    shape: Shape,
    replay_clock: ReplayClock | None = None,
    live: bool = False,
    place: Place | None = None,
    on_tick: Callable[[], None] = lambda: None,
) -> None:
    """Walk every frame of one source to the delivery.

    Ends with the source, with `context.stop` (a live source ends by itself, after it was drained), or when the
    run is finished: a count reached, a budget used up, the sink down. Where a rate limit makes a replay wait,
    a live run refuses. `place` is where the run's checkpoint finds this source: what it has is not sent again.
    `on_tick` is called about ten times a second.
    """
    aggregator = make_aggregator(context.job, shape, live=live, max_bytes=context.max_event_bytes)
    if context.checkpoint is not None and place is not None:
        context.queue.under_way = partial(context.checkpoint.under_way, place)
    if replay_clock is not None:
        replay_clock.anchor()
    if aggregator is None and replay_clock is None and place is None and context.undemanding:
        decide: _ByBlock | _ByDatagram = _ByBlock(context, shape)
    else:
        decide = _ByDatagram(context, shape, aggregator, replay_clock, place, live=live)
    try:
        _loop(source, context, extractor, decide, live=live, on_tick=on_tick)
    finally:
        if aggregator is not None:
            context.queue.tell(aggregator.finish(), context.clock() if live else context.moment)
            context.queue.close()
            context.finished |= context.queue.spent is not None


def _loop(
    source: Blocks,
    context: RunContext,
    extractor: Extractor,
    decide: "_ByBlock | _ByDatagram",
    *,
    live: bool,
    on_tick: Callable[[], None],
) -> None:
    """The one loop: a heartbeat, frames decoded by the block, and decisions about what they gave."""
    delivery, unselected, clock, stop = context.delivery, context.report.unselected, context.clock, context.stop
    ports, ignore = context.job.ports, context.ignore if live else None
    beat = clock()
    for frames in _portions(source, context, one_by_one=decide.one_by_one):
        now = clock()
        if frames is None or now >= beat:
            delivery.tick()
            on_tick()
            beat = now + BEAT_NS
            decide.tick(now, idle=frames is None)
        if stop.is_set() and not live and context.halted():
            return
        if frames is None:
            continue
        found = with_ports(extractor.feed_all(frames), ports, unselected)
        if ignore is not None:
            found = without_own(found, ignore, unselected)
        decide.take(found, now)
        if _pointless(delivery, live) or context.left == 0 or context.queue.spent is not None:
            context.finished = True
            return


def _portions(source: Blocks, context: RunContext, *, one_by_one: bool) -> Iterator[Sequence[Frame] | None]:
    """What is decoded at once: whole blocks; frames one by one where the next one may be one too many.

    A frame gives one datagram at most, so a count cannot end within a block of fewer frames than are left of it.
    """
    for block in source:
        if block is None or not (one_by_one or (context.left is not None and len(block) >= context.left)):
            yield block
        else:
            for frame in block:
                yield (frame,)


class _ByBlock:
    """Passes on all datagrams of a block together: most runs have nothing to decide between two of them."""

    one_by_one = False

    def __init__(self, context: RunContext, shape: Shape) -> None:
        self._context, self._shape = context, shape
        render = context.render if context.rules is None else None
        self._form = render if isinstance(render, EventLines) else None  # lines need no entries

    def tick(self, now: int, *, idle: bool) -> None:
        """Nothing waits here."""

    def take(self, found: list[Datagram], now: int) -> None:
        """Send the events of these."""
        context, shape = self._context, self._shape
        number = len(found)
        context.report.without_text += shape.without_text(found)
        if self._form is None:
            entries = context.all_judged(shape.entries(found))
            context.delivery.add_all(entries)
            number = len(entries)
        elif found:
            context.delivery.pass_on(*shape.lines(found, self._form))
        if context.left is not None:
            context.left -= number


class _ByDatagram:
    """Decides about each datagram by itself: limits, rules, a checkpoint, a clock, summaries.

    Where a datagram may have to be waited for, or a budget may end with it, frames are decoded `one_by_one`: what was
    not read when the run ends need not be refused.
    """

    def __init__(
        self,
        context: RunContext,
        shape: Shape,
        aggregator: Aggregator | None,
        replay_clock: ReplayClock | None,
        place: Place | None,
        *,
        live: bool,
    ) -> None:
        self._context, self._shape, self._aggregator, self._replay_clock = context, shape, aggregator, replay_clock
        self._live = live
        self._place = place if context.checkpoint is not None else None
        self._ordinal = -1  # among what filter and ports select: limits and rules may change from run to run
        self._heard = context.clock()
        rated = context.limits.rate is not None
        job = context.job
        self._waits_for_rate = rated and not live
        budgeted = job.max_events is not None or job.max_cost is not None
        self.one_by_one = replay_clock is not None or self._waits_for_rate or budgeted

    def tick(self, now: int, *, idle: bool) -> None:
        """Send the summaries that are due."""
        context, aggregator, live = self._context, self._aggregator, self._live
        if aggregator is not None:
            # A replay goes by the capture's time; only a pipe that has fallen silent is not waited for.
            silent = not live and idle and now - self._heard >= context.job.hold_ns
            context.queue.tell(aggregator.finish() if silent else aggregator.due(now) if live else [], now)
            context.queue.release()

    def take(self, found: list[Datagram], now: int) -> None:
        """Send, hold back, leave out or refuse each of these."""
        self._heard = now
        context = self._context
        for datagram in found:
            self._ordinal += 1
            if self._is_done():
                context.report.unselected["delivered before"] += 1
                continue
            context.report.without_text += self._shape.without_text((datagram,))
            entry = None
            if self._aggregator is None and context.rules is not None:
                entry = context.judged(self._shape.entry(datagram))
                if entry is None:
                    context.report.unselected[NO_RULE] += 1
                    continue
            if context.limits.choosy and (reason := context.limits.leave_out(datagram)) is not None:
                context.report.unselected[reason] += 1
                continue
            if self._send(datagram, entry) and context.left is not None:
                context.left -= 1

    def _is_done(self) -> bool:
        """Whether an earlier run has delivered the datagram that is next."""
        checkpoint, place = self._context.checkpoint, self._place
        return checkpoint is not None and place is not None and checkpoint.has(place, self._ordinal)

    def _send(self, datagram: Datagram, entry: Entry | None) -> bool:
        """Send one that is wanted, if the limits let it pass; whether it counts as one that was asked for."""
        context = self._context
        moment = self._moment_of(datagram)
        reason = context.limits.admit(datagram, moment)
        if reason is not None and not context.job.spool_limited:
            context.report.refused[reason] += 1
            return False
        if self._aggregator is not None and reason is None:
            ordinal = None if self._place is None else self._ordinal
            context.queue.tell(self._aggregator.add(datagram, moment, ordinal), moment)
            return True
        entry = entry or self._shape.entry(datagram)
        if context.checkpoint is not None and self._place is not None:
            context.checkpoint.under_way(self._place, entry, (self._ordinal,))
        if reason is not None:
            context.delivery.refuse(entry, reason, over_limit=True)
            return False
        if self._waits_for_rate and not context.wait_for_rate():
            context.delivery.refuse(entry, INTERRUPTED)
            return False
        if context.queue.pays(entry):
            context.delivery.add(entry)
        return True

    def _moment_of(self, datagram: Datagram) -> int:
        """The moment at which the datagram's turn has come, once it has: by the clock live, else by the capture."""
        context, clock = self._context, self._context.clock
        if context.reporter is not None:
            context.reporter.hear(datagram)
        if datagram.time_ns is not None:
            context.moment = datagram.time_ns
        if self._replay_clock is not None:
            if self._aggregator is not None:  # what is complete by then need not wait for it
                context.queue.tell(self._aggregator.due(context.moment), context.moment)
            context.wait_until(self._replay_clock.deadline(datagram.time_ns, clock()))
        return clock() if self._live else context.moment


def _pointless(delivery: Delivery, live: bool) -> bool:
    """Whether to read no further. What was received live is gone once it is not read: it is spooled, or counted."""
    return delivery.over and (not live or isinstance(delivery.down, OutputClosed))
