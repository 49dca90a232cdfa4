"""The corridor: frames in, events out. The only place where the rooms meet.

`Job` is one run as plain data; `execute` opens what it names, walks every frame through extraction, selection, limits
and shape into a `Delivery`, and closes everything again. `run` is the walk itself, for one source.
"""

import itertools
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Protocol

from pcapeda.checkpoint import Checkpoint, Place, identify
from pcapeda.delivery import Delivery
from pcapeda.errors import BadCapture, BadConfig, BadFilter, PcapedaError, SinkDown
from pcapeda.events import quotas
from pcapeda.events.flows import MAX_REST, FlowTable
from pcapeda.events.groups import Grouper
from pcapeda.events.shape import Shape
from pcapeda.job import GRACE_S, SPOOL_MIB, Bus, Job
from pcapeda.limits import Limits, in_force
from pcapeda.model import Damage, Datagram, Entry, Frame, Report, Sink, Why
from pcapeda.net.extract import Extractor
from pcapeda.net.files import Capture, expand
from pcapeda.net.filter import Filter
from pcapeda.pace import Pace
from pcapeda.rules.load import load
from pcapeda.rules.rule import DEFAULT_BUS
from pcapeda.rules.ruleset import RuleSet
from pcapeda.sinks.eventbridge import UNREACHABLE, EventBridgeSink
from pcapeda.sinks.spool import Spool
from pcapeda.summaries import NO_RULE, Gather, Outbox, Reporter

if TYPE_CHECKING:
    from pcapeda.net.live import LiveSource
    from pcapeda.net.write import CaptureWriter

MIB = 1 << 20
SECOND_NS = 1_000_000_000
TARGET = "target.json"
"""The file in a spool that says for which bus its events are."""

BEAT_NS = SECOND_NS // 10
"""How often a run looks after what is due while frames keep coming."""

SLICE_S = 0.1
"""Longest sleep before looking at what else is due."""


class Watcher(Protocol):
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


@dataclass
class Corridor:
    """What one run carries from source to source: the parts that decide, and the one that sends."""

    job: Job
    delivery: Delivery
    limits: Limits
    report: Report
    watcher: Watcher
    stop: Event
    clock: Callable[[], int]
    sleep: Callable[[float], object]
    ignore: Callable[[Datagram], bool]
    checkpoint: Checkpoint | None = None
    rules: RuleSet | None = None
    left: int | None = None
    """Datagrams still to come before `count` is reached (None: no count)."""
    finished: bool = False
    """No further source is to be read."""
    reporter: Reporter | None = None
    max_event_bytes: int = quotas.CHUNK_BYTES
    """Largest event that may be made of many datagrams: a billed chunk, or less where the sink takes less."""
    moment: int = 0
    """The capture's time so far, by which what a replay sums up and its rates per source go."""

    def __post_init__(self) -> None:
        room = self.job.max_flows + MAX_REST + 1 if self.job.summaries == "flow" else 0
        self.outbox = Outbox(
            self.delivery,
            self.limits,
            self.report,
            clock=self.clock,
            wait_for_rate=self.wait_for_rate,
            judged=self.judged,
            room=room,
        )

    def judged(self, entry: Entry) -> Entry | None:
        """The entry with the names of the rules it matches; None if only what matches is asked for, and none does."""
        if self.rules is None:
            return entry
        matched = self.rules.match(entry.envelope())
        if not matched and self.job.only_matching:
            return None
        return entry._replace(rules=tuple(rule.name for rule in matched))

    def beat(self, reading: Report) -> None:
        """What is due about ten times a second: whom the limits keep back, and a report."""
        self.report.turned_away = self.limits.loudest()
        self.report.turned_away_error = self.limits.turned_away.error
        if self.reporter is not None:
            entry = self.reporter.due(self.report, reading)
            if entry is not None:
                self.outbox.send_report(entry)

    def end(self) -> None:
        """The last report, once everything has been read and counted."""
        self.beat(Report())
        if self.reporter is not None:
            self.outbox.send_report(self.reporter.make(self.report, Report()))

    def wait_until(self, due_ns: int) -> None:
        """Sleep to an absolute deadline, doing meanwhile what is due. A stop ends the wait."""
        while (left := due_ns - self.clock()) > 0 and not self.stop.is_set():
            self.delivery.tick()
            self.sleep(min(left / SECOND_NS, SLICE_S))

    def wait_for_rate(self) -> bool:
        """Wait until the overall rate admits one more event, and take its token; false when a stop came first."""
        wait_ns = self.limits.wait(self.clock())
        while wait_ns and not self.stop.is_set():
            self.wait_until(self.clock() + wait_ns)
            wait_ns = self.limits.wait(self.clock())
        return not wait_ns


def run(
    source: Iterable[Frame | None],
    corridor: Corridor,
    *,
    extractor: Extractor,
    shape: Shape,
    pace: Pace | None = None,
    live: bool = False,
    place: Place | None = None,
    on_tick: Callable[[], None] = lambda: None,
) -> None:
    """Walk every frame of one source to the delivery. None in the source is a tick: nothing came for a while.

    Ends with the source, with `corridor.stop` (a live source ends by itself, after it was drained), or when the
    corridor is finished: a count reached, a budget used up, the sink down. Where a rate limit makes a replay wait,
    a live run refuses. `place` is where the corridor's checkpoint finds this source: what it has is not sent again.
    `on_tick` is called about ten times a second.
    """
    gather = make_gather(corridor.job, shape, live=live, max_bytes=corridor.max_event_bytes)
    if pace is not None:
        pace.anchor()
    try:
        _walk(source, corridor, extractor, shape, pace, live, gather, place, on_tick)
    finally:
        if gather is not None:
            corridor.outbox.tell(gather.finish(), corridor.clock() if live else corridor.moment)
            corridor.outbox.close()
            corridor.finished |= corridor.outbox.spent is not None


def _walk(
    source: Iterable[Frame | None],
    corridor: Corridor,
    extractor: Extractor,
    shape: Shape,
    pace: Pace | None,
    live: bool,
    gather: Gather | None,
    place: Place | None,
    on_tick: Callable[[], None],
) -> None:
    delivery, report, limits, outbox = corridor.delivery, corridor.report, corridor.limits, corridor.outbox
    clock, stop, ports, reporter = corridor.clock, corridor.stop, corridor.job.ports, corridor.reporter
    checkpoint = corridor.checkpoint
    ordinal = -1  # among what filter and ports select: limits and rules may change from run to run
    choosy, rated = limits.choosy, limits.rate is not None
    beat = heard = clock()
    for frame in source:
        now = clock()
        if frame is None or now >= beat:
            delivery.tick()
            on_tick()
            beat = now + BEAT_NS
            if gather is not None:
                # A replay goes by the capture's time; only a pipe that has fallen silent is not waited for.
                silent = not live and frame is None and now - heard >= corridor.job.hold_ns
                outbox.tell(gather.finish() if silent else gather.due(now) if live else [], now)
                outbox.release()
        if stop.is_set() and not live:
            return
        if frame is None:
            continue
        heard = now
        datagram = extractor.feed(frame)
        if not isinstance(datagram, Datagram):
            continue
        if ports and datagram.destination_port not in ports and datagram.source_port not in ports:
            report.unselected["other ports"] += 1
            continue
        if live and corridor.ignore(datagram):
            report.unselected["own traffic"] += 1
            continue
        ordinal += 1
        if checkpoint is not None and place is not None and checkpoint.has(place, ordinal):
            report.unselected["delivered before"] += 1
            continue
        entry = None
        if gather is None and corridor.rules is not None:
            entry = corridor.judged(shape.entry(datagram))
            if entry is None:
                report.unselected[NO_RULE] += 1
                continue
        if choosy and (reason := limits.leave_out(datagram)) is not None:
            report.unselected[reason] += 1
            continue
        if reporter is not None:
            reporter.hear(datagram)
        if datagram.time_ns is not None:
            corridor.moment = datagram.time_ns
        if pace is not None:
            if gather is not None:  # what is complete by then need not wait for it
                outbox.tell(gather.due(corridor.moment), corridor.moment)
            corridor.wait_until(pace.deadline(datagram.time_ns, clock()))
        moment = clock() if live else corridor.moment
        reason = limits.admit(datagram, moment)
        if reason is not None:
            report.refused[reason] += 1
            continue
        if gather is not None:
            outbox.tell(gather.add(datagram, moment), moment)
        elif live or not rated or corridor.wait_for_rate():
            entry = entry or shape.entry(datagram)
            if outbox.pays(entry):
                if checkpoint is not None and place is not None:
                    checkpoint.under_way(entry, place, ordinal)
                delivery.add(entry)
        else:
            report.refused["interrupted"] += 1
            continue
        if corridor.left is not None:
            corridor.left -= 1
        if delivery.over or corridor.left == 0 or outbox.spent is not None:
            corridor.finished = True
            return


def execute(
    job: Job,
    *,
    sink: Sink | None = None,
    watcher: Watcher = SILENT,
    stop: Event | None = None,
    clock: Callable[[], int] = time.monotonic_ns,
    sleep: Callable[[float], object] | None = None,
) -> Report:
    """Open what the job names, run it to its end, close it all, and say what became of everything.

    `sink` defaults to the event bus of `job.bus`; setting `stop` ends the run early and in order; `clock` gives
    monotonic nanoseconds, `sleep` takes seconds. Raises `PcapedaError` for what is known before anything is read (a
    bad option or filter, no credentials, an unknown bus or interface); what goes wrong later is in the report.
    """
    job.check()
    stop = stop or Event()
    sleep = sleep or stop.wait
    report = Report()
    chosen = Filter(job.filter) if job.filter else None
    if chosen is not None:
        chosen.check()
    rules = _rules(job, watcher)
    captures = expand(job.captures)
    with ExitStack() as stack:
        if sink is None:
            sink = event_bus(job.bus)
            stack.callback(sink.close)
        spool = None if job.spool is None else stack.enter_context(_open_spool(job, watcher, report))
        checkpoint = None if job.checkpoint is None else stack.enter_context(Checkpoint(job.checkpoint))
        try:
            sink.check()
        except SinkDown as error:
            if spool is None or not job.interfaces or error.code != UNREACHABLE:
                raise
            watcher.note(f"{error}; listening all the same, events are kept in the spool")
        for sentence in getattr(sink, "notes", ()):
            watcher.note(sentence)
        delivery = Delivery(
            sink,
            report,
            spool=spool,
            live=bool(job.interfaces),
            clock=clock,
            sleep=sleep,
            stopping=stop.is_set,
            note=watcher.note,
            settled=checkpoint.settled if checkpoint is not None else lambda entries: None,
            refused=checkpoint.forget if checkpoint is not None else lambda entries: None,
        )
        limits = make_limits(job, costs_money=sink.costs_money)
        ignore = names_in_dns(getattr(sink, "hosts", ()))
        corridor = Corridor(
            job, delivery, limits, report, watcher, stop, clock, sleep, ignore, checkpoint, rules, left=job.count
        )
        corridor.max_event_bytes = min(quotas.CHUNK_BYTES, sink.limits.max_bytes)
        if job.report_events_s is not None:
            corridor.reporter = Reporter(job.shape, int(job.report_events_s * SECOND_NS), limits, clock=clock)
        try:
            if job.interfaces:
                _sniff(corridor, chosen)
            else:
                _replay(corridor, captures, chosen)
        finally:
            report.interrupted = stop.is_set()
            corridor.end()
            delivery.finish(give_up=_grace(stop, clock, job.grace_s))
            report.ended_by = delivery.down
            if checkpoint is not None and checkpoint.problem is not None:
                report.failures.append(checkpoint.problem)
                watcher.note(checkpoint.problem)
    return report


def _replay(corridor: Corridor, captures: list[str], chosen: Filter | None) -> None:
    job, report = corridor.job, corridor.report
    pace = None
    if job.speed is not None or job.pps is not None:
        max_sleep_ns = None if job.max_sleep_s is None else int(job.max_sleep_s * SECOND_NS)
        pace = Pace(speed=job.speed, pps=job.pps, max_sleep_ns=max_sleep_ns)
    for loop in range(job.loop) if job.loop else itertools.count():
        frames_before = report.frames
        for path in captures:
            if corridor.finished or corridor.stop.is_set():
                return
            _replay_one(corridor, path, chosen, pace, loop)
        if report.frames == frames_before:
            return  # nothing to read in any of them: looping for ever would only burn


def _replay_one(corridor: Corridor, path: str, chosen: Filter | None, pace: Pace | None, loop: int) -> None:
    report, watcher = corridor.report, corridor.watcher
    reading = Report()

    def damaged(damage: Damage) -> None:
        reading.damages.append(damage)
        watcher.note(str(damage))

    def on_tick() -> None:
        corridor.beat(reading)
        watcher.tick(report, reading, capture.position, capture.size)

    place = None
    if corridor.checkpoint is not None:
        try:
            place = corridor.checkpoint.place(identify(path, _asked_of(corridor.job)), loop)
        except BadConfig as error:
            report.bad_inputs += 1
            report.failures.append(str(error))
            watcher.note(str(error))
            return
    extractor = _extractor(corridor.job, reading)
    shape = replace(corridor.job.shape, file=path, loop=loop)
    try:
        with Capture(path, note=damaged) as capture:
            frames: Iterable[Frame | None] = capture
            if chosen is not None:
                frames = _filtered(capture, chosen, reading)
            run(frames, corridor, extractor=extractor, shape=shape, pace=pace, place=place, on_tick=on_tick)
    except BadCapture as error:
        report.bad_inputs += 1
        report.failures.append(str(error))
        watcher.note(str(error))
    except BadFilter as error:
        # Found only now: libpcap cannot compile this filter for this capture's link type. Never read on unfiltered.
        report.bad_inputs += 1
        report.failures.append(f"{path}: {error}")
        watcher.note(f"{path}: {error}")
    finally:
        extractor.finish()
        report.merge(reading)


def _rules(job: Job, watcher: Watcher) -> RuleSet | None:
    """The rules of a job, together. A rule that cannot be known offline is told; it selects nothing."""
    if not job.rules:
        return None
    loaded = load(job.rules, parameters=dict(job.parameters), region=job.bus.region, profile=job.bus.profile)
    for problem in loaded.problems:
        watcher.note(str(problem))
    rules = RuleSet(loaded.rules, job.bus.name or DEFAULT_BUS)
    if not any(not rule.silent(job.bus.name or DEFAULT_BUS) for rule in loaded.rules) and job.only_matching:
        raise BadConfig(
            f"none of the {len(loaded.rules)} rules selects events of bus {job.bus.name or DEFAULT_BUS}: "
            "--only-matching would deliver nothing",
            hint="pcapeda rules list shows why",
        )
    return rules


def _extractor(job: Job, reading: Report) -> Extractor:
    return Extractor(
        reading,
        decapsulate=job.decapsulate,
        defrag_bytes=job.fragment_mib * MIB,
        fragment_age_ns=int(job.fragment_age_s * SECOND_NS),
    )


def _filtered(frames: Iterable[Frame | None], chosen: Filter, reading: Report) -> Iterator[Frame | None]:
    """Only what the filter selects; the rest is counted as skipped."""
    for frame in frames:
        if frame is None or chosen.matches(frame):
            yield frame
        else:
            reading.frames += 1
            reading.bytes_read += len(frame.data)
            reading.skips[Why.NOT_SELECTED, "filter"] += 1


def _sniff(corridor: Corridor, chosen: Filter | None) -> None:
    from pcapeda.net.live import LiveSource
    from pcapeda.net.write import CaptureWriter

    job, report, watcher = corridor.job, corridor.report, corridor.watcher
    reading = Report()
    extractor = _extractor(job, reading)
    with ExitStack() as stack:
        source = LiveSource(job.interfaces, filter=chosen, buffer_bytes=job.buffer_mib * MIB)
        source.open()
        stack.callback(source.close)
        watcher.say(f"listening on {', '.join(job.interfaces)} with a buffer of {source.granted_buffer // MIB} MiB")
        frames: Iterable[Frame | None] = _until(source, corridor)
        if job.write is not None:
            writer = CaptureWriter(job.write)
            stack.callback(_close, writer, corridor)
            frames = _tee(frames, writer, corridor.clock)

        def on_tick() -> None:
            reading.kernel_drops = source.kernel_drops()
            reading.queue_drops = source.queue_drops
            corridor.beat(reading)
            watcher.tick(report, reading, 0, None)

        try:
            run(frames, corridor, extractor=extractor, shape=job.shape, live=True, on_tick=on_tick)
        except PcapedaError as error:
            # The interface went down, or the file of --write cannot be written: what was read so far is delivered.
            report.failures.append(str(error))
            watcher.note(str(error))
        finally:
            reading.kernel_drops = source.kernel_drops()
            reading.queue_drops = source.queue_drops
            extractor.finish()
            report.merge(reading)


def _until(source: "LiveSource", corridor: Corridor) -> Iterator[Frame | None]:
    """The live source up to a stop or the end of `duration`; what had been received by then still comes."""
    duration = corridor.job.duration_s
    end_ns = None if duration is None else corridor.clock() + int(duration * SECOND_NS)
    ending = False
    for frame in source:
        if not ending and (corridor.stop.is_set() or (end_ns is not None and corridor.clock() >= end_ns)):
            ending = True
            source.stop()
        yield frame


def _tee(frames: Iterable[Frame | None], writer: "CaptureWriter", clock: Callable[[], int]) -> Iterator[Frame | None]:
    """Pass every frame on and keep it in a capture file, which is readable at any time but for the last second."""
    flush_at = 0
    for frame in frames:
        if frame is not None:
            writer.write(frame)
        if clock() >= flush_at:
            writer.flush()
            flush_at = clock() + SECOND_NS
        yield frame


def _asked_of(job: Job) -> str:
    """What else than its content decides what is sent of a capture, and where to."""
    bus = replace(job.bus, max_request_bytes=0)
    reassembly = (job.fragment_age_s, job.fragment_mib)
    return repr((job.filter, sorted(job.ports), job.decapsulate, reassembly, job.shape, bus))


def _open_spool(job: Job, watcher: Watcher, report: Report) -> Spool:
    """The spool of a job, which keeps events for one bus. Raises `BadConfig` if it holds some for another."""
    assert job.spool is not None
    spool = Spool(job.spool, max_bytes=(job.spool_max_mib or SPOOL_MIB) * MIB, when_full=job.when_full or "block")
    kept_for = spool_target(job.spool)
    wanted = replace(job.bus, max_request_bytes=quotas.REQUEST_BYTES)
    if len(spool) and kept_for is not None and kept_for != wanted:
        spool.close()
        raise BadConfig(
            f"--spool {job.spool} holds events for {kept_for.words()}, not for {wanted.words()}",
            hint=f"give another folder, or deliver them first: pcapeda resend {job.spool}",
        )
    try:
        target = Path(job.spool) / TARGET
        new = target.with_suffix(".new")
        new.write_text(json.dumps(asdict(wanted), indent=2) + "\n")
        new.rename(target)
    except OSError as error:
        spool.close()
        raise BadConfig(f"--spool {job.spool}: {error.strerror}") from None
    _tell_of(spool, watcher, report)
    return spool


def _tell_of(spool: Spool, watcher: Watcher, report: Report) -> None:
    if len(spool):
        watcher.say(f"{len(spool):,} events wait in the spool")
    if spool.damages:
        sentence = f"{len(spool.damages):,} places of the spool cannot be read; the first: {spool.damages[0]}"
        report.failures.append(sentence)
        watcher.note(sentence)


def spool_target(folder: str) -> Bus | None:
    """The bus that a spool keeps events for, if it says so."""
    try:
        told = json.loads((Path(folder) / TARGET).read_text())
        return Bus(**told)
    except (OSError, ValueError, TypeError):
        return None


def resend(
    folder: str,
    bus: Bus,
    *,
    dead: bool = False,
    grace_s: float = GRACE_S,
    sink: Sink | None = None,
    watcher: Watcher = SILENT,
    stop: Event | None = None,
    clock: Callable[[], int] = time.monotonic_ns,
    sleep: Callable[[float], object] | None = None,
    on_step: Callable[[Report], None] = lambda report: None,
) -> Report:
    """Deliver what waits in a spool, or its dead letters, to `bus`, oldest first; gives what became of it.

    What could not be delivered stays where it is. `stop` ends it at any point without loss; `on_step` is called often
    with the counts so far. Raises `PcapedaError` for what is known before anything is sent.
    """
    stop = stop or Event()
    report = Report()
    place = Path(folder, "dead") if dead else Path(folder)
    if not place.is_dir():
        what = "no dead letters" if dead and Path(folder).is_dir() else "no such spool"
        raise BadConfig(f"{folder}: {what}")
    with ExitStack() as stack:
        spool = stack.enter_context(Spool(place, letters=dead))
        watcher.say(f"to {bus.words()}")
        _tell_of(spool, watcher, report)
        if sink is None:
            sink = event_bus(bus)
            stack.callback(sink.close)
        sink.check()
        for sentence in getattr(sink, "notes", ()):
            watcher.note(sentence)
        delivery = Delivery(
            sink,
            report,
            spool=spool,
            clock=clock,
            sleep=sleep or stop.wait,
            stopping=stop.is_set,
            note=watcher.note,
        )
        delivery.finish(give_up=_grace(stop, clock, grace_s), on_step=lambda: on_step(report))
        report.interrupted = stop.is_set()
        report.ended_by = delivery.down
    return report


def _close(writer: "CaptureWriter", corridor: Corridor) -> None:
    """End `--write`. A disk that is full shows at the latest now: it is said, and the summary is not lost for it."""
    try:
        writer.close()
    except PcapedaError as error:
        corridor.report.failures.append(str(error))
        corridor.watcher.note(str(error))


def _grace(stop: Event, clock: Callable[[], int], grace_s: float) -> Callable[[], bool]:
    """True once the grace is over that begins when the stop is first seen."""
    deadline: int | None = None

    def over() -> bool:
        nonlocal deadline
        if not stop.is_set():
            return False
        if deadline is None:
            deadline = clock() + int(grace_s * SECOND_NS)
        return clock() >= deadline

    return over


def datagrams(
    *captures: str,
    filter: str | None = None,  # noqa: A002 - the option's name, as everywhere
    decapsulate: bool = False,
    report: Report | None = None,
) -> Iterator[Datagram]:
    """The UDP datagrams of captures, in order. Counts and damages go to `report`. Raises `BadCapture`, `BadFilter`."""
    total = report if report is not None else Report()
    chosen = Filter(filter) if filter else None
    for path in expand(captures):
        reading = Report()
        extractor = Extractor(reading, decapsulate=decapsulate)
        with Capture(path, note=reading.damages.append) as capture:
            try:
                for frame in capture if chosen is None else _filtered(capture, chosen, reading):
                    found = extractor.feed(frame) if frame is not None else None
                    if isinstance(found, Datagram):
                        yield found
            finally:
                extractor.finish()
                total.merge(reading)


def names_in_dns(hosts: Iterable[str]) -> Callable[[Datagram], bool]:
    """Tells DNS datagrams (RFC 1035) that ask for one of `hosts`: the lookups which sending itself causes.

    Without this a live run on the way to the bus would turn its own lookups into events, which cause lookups.
    """
    wanted = [b"".join(bytes([len(label)]) + label for label in host.lower().encode().split(b".")) for host in hosts]

    def ours(datagram: Datagram) -> bool:
        if datagram.destination_port != 53 and datagram.source_port != 53:
            return False
        question = datagram.payload[12:300].lower()
        return any(question.startswith(name) for name in wanted)

    return ours


def event_bus(bus: Bus) -> EventBridgeSink:
    """The sink for an EventBridge bus. Raises `BadConfig` or `SinkDown` for what is known without a request."""
    return EventBridgeSink(
        bus=bus.name,
        region=bus.region,
        profile=bus.profile,
        endpoint_url=bus.endpoint_url,
        max_request_bytes=bus.max_request_bytes,
    )


def make_limits(job: Job, *, costs_money: bool) -> Limits:
    """The limits of a run. Live, the table of sources has a key that nobody can guess; a replay repeats itself."""
    live = bool(job.interfaces)
    key = os.urandom(16) if live else b""
    return Limits(
        job,
        live=live,
        costs_money=costs_money,
        summaries=job.summaries,
        window_s=job.aggregate_s or 0,
        key=key,
    )


def make_gather(job: Job, shape: Shape, *, live: bool, max_bytes: int) -> Gather | None:
    """What sums datagrams up into events of up to `max_bytes`, if the job asks for it."""
    if job.aggregate_s is not None:
        return FlowTable(shape, job.hold_ns, max_flows=job.max_flows, aligned=not live)
    if job.group is not None:
        return Grouper(shape, job.group, job.hold_ns, max_bytes=max_bytes)
    return None


def rate_in_force(job: Job) -> str:
    """What a live run to a bus may send, what a day of that costs, and how to change it: one sentence."""
    return in_force(make_limits(job, costs_money=True))


SMALLEST_RECORD = 16 + 20 + 8
"""Bytes of the smallest packet record that can hold a datagram: record header, IPv4, UDP, no payload."""


def forecast(job: Job) -> str:
    """How many events, requests and USD a replay may take at most, judged from the size of the files: one sentence."""
    sizes = [Capture.size_of(path) for path in expand(job.captures)]
    known = [size for size in sizes if size is not None]
    endless = len(known) < len(sizes) or job.loop == 0
    events = None if endless else sum(known) // SMALLEST_RECORD * job.loop
    for cap in (
        job.count,
        job.max_events,
        None if job.max_cost is None else quotas.chunks_for(job.max_cost, job.price),
    ):
        if cap is not None:
            events = cap if events is None else min(events, cap)
    if events is None:
        return "no telling beforehand how many events this makes (a pipe, compressed, or endless): see --max-cost"
    requests = -(-events // quotas.ENTRIES_PER_REQUEST)
    cost = quotas.cost_usd(events, job.price)
    if job.max_cost is not None:
        cost = min(cost, job.max_cost)
    return f"at most {events:,} events in {requests:,} full requests, {cost:,.2f} USD (judged by the size of the files)"
