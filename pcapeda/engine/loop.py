"""The corridor: frames in, events out, for one source after the other. Nothing is opened here.

A `RunContext` is what one run carries from source to source; `run` walks the frames of one of them through extraction,
selection, limits and shape into the delivery.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from threading import Event
from typing import Protocol

from pcapeda.aws import quotas
from pcapeda.aws.wire import EventLines
from pcapeda.delivery.checkpoint import Checkpoint, Place
from pcapeda.delivery.delivery import Delivery
from pcapeda.dissect.extractor import Extractor
from pcapeda.engine.build import make_aggregator
from pcapeda.engine.filters import with_ports
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

OWN = "own traffic"
"""Why datagrams are left out that sending caused."""

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

    Ends with the source, with `corridor.stop` (a live source ends by itself, after it was drained), or when the
    corridor is finished: a count reached, a budget used up, the sink down. Where a rate limit makes a replay wait,
    a live run refuses. `place` is where the corridor's checkpoint finds this source: what it has is not sent again.
    `on_tick` is called about ten times a second.
    """
    aggregator = make_aggregator(context.job, shape, live=live, max_bytes=context.max_event_bytes)
    if context.checkpoint is not None and place is not None:
        context.queue.under_way = partial(context.checkpoint.under_way, place)
    if replay_clock is not None:
        replay_clock.anchor()
    try:
        if aggregator is None and replay_clock is None and place is None and context.undemanding:
            source = _stream(iter(source), context, extractor, shape, live, on_tick)
        _walk(source, context, extractor, shape, replay_clock, live, aggregator, place, on_tick)
    finally:
        if aggregator is not None:
            context.queue.tell(aggregator.finish(), context.clock() if live else context.moment)
            context.queue.close()
            context.finished |= context.queue.spent is not None


def _stream(
    source: Iterator[list[Frame] | None],
    context: RunContext,
    extractor: Extractor,
    shape: Shape,
    live: bool,
    on_tick: Callable[[], None],
) -> Blocks:
    """Whole blocks at a time: the way of most runs, in which nothing has to be decided between two datagrams.

    Gives what it leaves: nothing, or, since a frame is one datagram at most, the block in which the count may end and
    those after it.
    """
    delivery, unselected, clock, stop = context.delivery, context.report.unselected, context.clock, context.stop
    render = context.render if context.rules is None else None
    form = render if isinstance(render, EventLines) else None  # lines need no entries
    ports, ignore = context.job.ports, context.ignore if live else None
    beat = clock()
    for block in source:
        now = clock()
        if block is None or now >= beat:
            delivery.tick()
            on_tick()
            beat = now + BEAT_NS
        if stop.is_set() and not live and context.halted():
            return ()
        if block is None:
            continue
        if context.left is not None and len(block) >= context.left:
            return chain([block], source)
        found = extractor.feed_all(block)
        found = with_ports(found, ports, unselected)
        if ignore is not None:
            kept = [one for one in found if not ignore(one)]
            if len(kept) < len(found):
                unselected[OWN] += len(found) - len(kept)
            found = kept
        number = len(found)
        context.report.without_text += shape.without_text(found)
        if form is None:
            entries = context.all_judged(shape.entries(found))
            delivery.add_all(entries)
            number = len(entries)
        elif found:
            delivery.pass_on(*shape.lines(found, form))
        if context.left is not None:
            context.left -= number
        if _pointless(delivery, live):
            context.finished = True
            return ()
    return ()


def _walk(
    source: Blocks,
    context: RunContext,
    extractor: Extractor,
    shape: Shape,
    replay_clock: ReplayClock | None,
    live: bool,
    aggregator: Aggregator | None,
    place: Place | None,
    on_tick: Callable[[], None],
) -> None:
    delivery, report, limits, queue = context.delivery, context.report, context.limits, context.queue
    clock, stop, ports, reporter = context.clock, context.stop, context.job.ports, context.reporter
    checkpoint = context.checkpoint
    ordinal = -1  # among what filter and ports select: limits and rules may change from run to run
    choosy, rated = limits.choosy, limits.rate is not None
    beat = heard = clock()
    for frame in _one_by_one(source):
        now = clock()
        if frame is None or now >= beat:
            delivery.tick()
            on_tick()
            beat = now + BEAT_NS
            if aggregator is not None:
                # A replay goes by the capture's time; only a pipe that has fallen silent is not waited for.
                silent = not live and frame is None and now - heard >= context.job.hold_ns
                queue.tell(aggregator.finish() if silent else aggregator.due(now) if live else [], now)
                queue.release()
        if stop.is_set() and not live and context.halted():
            return
        if frame is None:
            continue
        heard = now
        datagram = extractor.feed(frame)
        if not isinstance(datagram, Datagram):
            continue
        if ports and not with_ports([datagram], ports, report.unselected):
            continue
        if live and context.ignore(datagram):
            report.unselected[OWN] += 1
            continue
        ordinal += 1
        if checkpoint is not None and place is not None and checkpoint.has(place, ordinal):
            report.unselected["delivered before"] += 1
            continue
        report.without_text += shape.without_text((datagram,))
        entry = None
        if aggregator is None and context.rules is not None:
            entry = context.judged(shape.entry(datagram))
            if entry is None:
                report.unselected[NO_RULE] += 1
                continue
        if choosy and (reason := limits.leave_out(datagram)) is not None:
            report.unselected[reason] += 1
            continue
        if reporter is not None:
            reporter.hear(datagram)
        if datagram.time_ns is not None:
            context.moment = datagram.time_ns
        if replay_clock is not None:
            if aggregator is not None:  # what is complete by then need not wait for it
                queue.tell(aggregator.due(context.moment), context.moment)
            context.wait_until(replay_clock.deadline(datagram.time_ns, clock()))
        moment = clock() if live else context.moment
        reason = limits.admit(datagram, moment)
        if reason is not None and not context.job.spool_limited:
            report.refused[reason] += 1
            continue
        if aggregator is not None and reason is None:
            queue.tell(aggregator.add(datagram, moment, ordinal if place is not None else None), moment)
        else:
            entry = entry or shape.entry(datagram)
            if checkpoint is not None and place is not None:
                checkpoint.under_way(place, entry, (ordinal,))
            if reason is not None:
                delivery.refuse(entry, reason, over_limit=True)
                continue
            if not live and rated and not context.wait_for_rate():
                delivery.refuse(entry, INTERRUPTED)
                continue
            if queue.pays(entry):
                delivery.add(entry)
        if context.left is not None:
            context.left -= 1
        if _pointless(delivery, live) or context.left == 0 or queue.spent is not None:
            context.finished = True
            return


def _pointless(delivery: Delivery, live: bool) -> bool:
    """Whether to read no further. What was received live is gone once it is not read: it is spooled, or counted."""
    return delivery.over and (not live or isinstance(delivery.down, OutputClosed))


def _one_by_one(source: Blocks) -> Iterator[Frame | None]:
    for block in source:
        if block is None:
            yield None
        else:
            yield from block
