"""One run from its job to its report: what the job names is opened, walked through the corridor, and closed again."""

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Literal

from pcapeda import bounds
from pcapeda.checkpoint import Checkpoint, identify
from pcapeda.corridor import BEAT_NS, SILENT, Blocks, Corridor, Watcher, run
from pcapeda.crew import MOST_RECORDS, Body, Craft, Crew, Piece, entries_of, piece_of
from pcapeda.delivery import Delivery
from pcapeda.endings import Guarded, balance, with_report
from pcapeda.errors import BadCapture, BadConfig, BadFilter, InterfaceDown, PcapedaError, SinkDown, WorkerLost
from pcapeda.events import quotas
from pcapeda.events.shape import Shape
from pcapeda.identity import asked_of, asked_of_1
from pcapeda.iterate import datagrams as datagrams
from pcapeda.job import GRACE_S, PATIENCE_S, Bus, Job
from pcapeda.model import Damage, Frame, Report, Sink
from pcapeda.net.extract import Extractor
from pcapeda.net.files import Capture, expand, is_pipe
from pcapeda.net.filter import Filter
from pcapeda.net.pcap import Span
from pcapeda.pace import Pace
from pcapeda.parts import (
    MIB,
    event_bus,
    live_source,
    load_rules,
    make_extractor,
    make_filter,
    make_limits,
    names_in_dns,
    of_no_bus,
    open_spool,
    tell_of,
)
from pcapeda.selection import selected, with_ports
from pcapeda.sinks.aws import UNREACHABLE
from pcapeda.sinks.spool import Spool
from pcapeda.summaries import Reporter
from pcapeda.workers import Workers

if TYPE_CHECKING:
    from pcapeda.net.live import LiveSource
    from pcapeda.net.write import CaptureWriter

SECOND_NS = 1_000_000_000


def execute(
    job: Job,
    *,
    sink: Sink | None = None,
    watcher: Watcher = SILENT,
    stop: Event | None = None,
    clock: Callable[[], int] = time.monotonic_ns,
    sleep: Callable[[float], object] | None = None,
    source: "LiveSource | None" = None,
    workers: Workers | None = None,
) -> Report:
    """Open what the job names, run it to its end, close it all, and say what became of everything.

    `sink` defaults to the event bus of `job.bus`. One that is given is not closed here: whoever made it closes it, and
    may use it for several runs. Setting `stop` ends the run early and in order; `clock` gives
    monotonic nanoseconds, `sleep` takes seconds. `source` is what `live_source` made of a job that listens, for those
    who have claimed its sockets and then given up the right to; `workers` are those of this one run of several
    processes, for those who have started them before. Raises `PcapedaError` for what is known before anything is read
    (a bad option, no credentials, an unknown bus or interface); what goes wrong later is in the report.

    A sink that does not account for every entry of a batch ends the run with `BadSink`, and what else a sink or a
    watcher raises, or Ctrl-C, is raised here, too: each of them once the run has ended in order (after Ctrl-C within
    `job.grace_s`), with the report as `error.report`.
    """
    job.check()
    job = replace(job, shape=replace(job.shape, groups=job.bus.groups))
    stop = stop or Event()
    report = Report()
    guarded = Guarded(watcher, stop)
    try:
        delivery = _execute(job, sink, guarded, stop, clock, sleep or partial(_rest, stop), source, workers, report)
    except BaseException as error:
        with_report(error, report)
        raise
    if not report.adds_up():
        report.failures.append("the counts of this run do not add up: what was delivered is not known")
    if (broken := guarded.error or delivery.broken) is not None:
        raise with_report(broken, report)
    return report


def _execute(
    job: Job,
    sink: Sink | None,
    watcher: Guarded,
    stop: Event,
    clock: Callable[[], int],
    sleep: Callable[[float], object],
    source: "LiveSource | None",
    workers: Workers | None,
    report: Report,
) -> Delivery:
    chosen = None
    if not job.interfaces:
        chosen = make_filter(job)
    elif source is None:
        source = live_source(job)
    rules = load_rules(job, watcher.note, dry=sink is not None and not sink.costs_money)
    captures = expand(job.captures)
    with ExitStack() as stack:
        if sink is None:
            sink = event_bus(job.bus)
            stack.callback(sink.close)
        spool = None if job.spool is None else stack.enter_context(open_spool(job, watcher.note, watcher.say, report))
        checkpoint = None if job.checkpoint is None else stack.enter_context(Checkpoint(job.checkpoint))
        try:
            sink.check()
        except SinkDown as error:
            if spool is None or not job.interfaces or error.code != UNREACHABLE or error.final:
                raise
            watcher.note(f"{error}; listening all the same, events are kept in the spool")
        tell_where(sink, watcher)
        over = _Grace(stop, clock, job.grace_s, watcher.say)
        delivery = Delivery(
            sink,
            report,
            spool=spool,
            keep_limited=job.spool_limited,
            live=bool(job.interfaces),
            patience_ns=int(job.patience_s * SECOND_NS),
            clock=clock,
            sleep=sleep,
            stopping=stop.is_set,
            hurried=over if job.interfaces else lambda: corridor.halted(),
            on_wait=lambda: corridor.glance(),
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
            if source is not None:
                _sniff(corridor, source, over)
            else:
                if job.jobs == 1:
                    workers = None
                elif workers is None:
                    workers = stack.enter_context(Workers(job.jobs - 1))
                _replay(corridor, captures, chosen, workers, over)
        except BaseException as error:
            if not isinstance(error, Exception):
                stop.set()  # Ctrl-C: what was read has the grace to be delivered, and no more
            _end(corridor, over)
            balance(report)
            raise
        _end(corridor, over)
    return delivery


def _end(corridor: Corridor, over: Callable[[], bool]) -> None:
    """Deliver or keep what is left, and complete the report."""
    delivery, report, checkpoint = corridor.delivery, corridor.report, corridor.checkpoint
    report.interrupted = corridor.stop.is_set()
    try:
        corridor.end()
        delivery.finish(give_up=over)
        corridor.watch()
    finally:
        report.ended_by = delivery.down or report.ended_by
        if checkpoint is not None and checkpoint.problem is not None:
            report.failures.append(checkpoint.problem)
            corridor.watcher.note(checkpoint.problem)


def tell_where(sink: Sink, watcher: Watcher) -> None:
    """Say before the first event which bus it goes to, as far as its check has told, and what is doubtful about it."""
    describe = getattr(sink, "describe", None)
    if describe is not None:
        watcher.say(f"to {describe()}")
    for sentence in getattr(sink, "notes", ()):
        watcher.note(sentence)


def _replay(
    corridor: Corridor,
    captures: list[str],
    chosen: Filter | None,
    workers: Workers | None,
    over: "_Grace",
) -> None:
    job, report = corridor.job, corridor.report
    pace = None
    if job.speed is not None or job.pps is not None:
        max_sleep_ns = None if job.max_sleep_s is None else int(job.max_sleep_s * SECOND_NS)
        pace = Pace(speed=job.speed, pps=job.pps, max_sleep_ns=max_sleep_ns)
    crew = None
    try:
        if workers is not None:
            crew = Crew(workers, Craft(job.decapsulate, job.filter, job.ports, corridor.render, job.tunnels))
        for loop in range(job.loop) if job.loop else itertools.count():
            frames_before = report.frames
            for path in captures:
                if corridor.finished:
                    break
                if corridor.stop.is_set() and not is_pipe(path):
                    continue
                _replay_one(corridor, path, chosen, pace, loop, crew, over)
            if crew is not None:
                crew.take_all()
            if corridor.finished or corridor.stop.is_set() or report.frames == frames_before:
                return  # without frames there is nothing to read in any of them: looping for ever would only burn
    except WorkerLost as error:
        lost = 0 if crew is None else crew.drop()
        sentence = f"{error}: {lost:,} packets that it or others had are not in any count below"
        report.failures.append(sentence)
        corridor.watcher.note(sentence)


def _replay_one(
    corridor: Corridor,
    path: str,
    chosen: Filter | None,
    pace: Pace | None,
    loop: int,
    crew: Crew | None,
    over: "_Grace",
) -> None:
    report, watcher = corridor.report, corridor.watcher
    reading = corridor.reading = Report()

    def damaged(damage: Damage) -> None:
        reading.damages.append(damage)
        watcher.note(str(damage))

    def on_tick() -> None:
        corridor.beat()
        corridor.watch()

    def finish() -> None:
        extractor.finish()
        report.merge(reading)
        if corridor.reading is reading:
            corridor.reading = Report()

    place = None
    if corridor.checkpoint is not None:
        try:
            key, former = identify(path, asked_of(corridor.job), asked_of_1(corridor.job))
            place = corridor.checkpoint.place(key, loop, former)
        except BadConfig as error:
            report.bad_inputs += 1
            report.failures.append(str(error))
            watcher.note(str(error))
            return
    extractor = make_extractor(corridor.job, reading)
    shape = replace(corridor.job.shape, file=path, loop=loop)
    try:
        with Capture(path, note=damaged) as capture:
            corridor.progress = lambda: (capture.position, capture.size)
            # Who writes into a pipe may have been interrupted with us, and hand over only now what it has held back.
            corridor.pressed = None if capture.size is not None else lambda: over(early=True) or not capture.opened
            if crew is not None:
                _hand_round(capture, corridor, crew, chosen, extractor, shape, reading, on_tick)
                return
            blocks: Blocks = capture.blocks()
            if chosen is not None:
                blocks = _filtered(blocks, chosen, reading)
            run(blocks, corridor, extractor=extractor, shape=shape, pace=pace, place=place, on_tick=on_tick)
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
        if crew is not None:
            crew.then(finish)
        else:
            finish()


def _filtered(blocks: Blocks, chosen: Filter, reading: Report) -> Iterator[list[Frame] | None]:
    """Only what the filter selects; the rest is counted as skipped."""
    for block in blocks:
        yield None if block is None else selected(block, chosen, reading)


def _hand_round(
    capture: Capture,
    corridor: Corridor,
    crew: Crew,
    chosen: Filter | None,
    extractor: Extractor,
    shape: Shape,
    reading: Report,
    on_tick: Callable[[], None],
) -> None:
    """Give a capture's records to the crew; what comes back goes on to the delivery, in their order."""
    delivery, job, render = corridor.delivery, corridor.job, crew.craft.render

    def use(piece: Piece, body: Body) -> None:
        if render is None:
            delivery.add_all(entries_of(body))
        elif piece.events:
            assert not isinstance(body, list), "what is rendered is no list"
            delivery.pass_on(memoryview(body), piece.events, piece.size, piece.chunks)
        if piece.frame is not None:
            found = with_ports(extractor.feed_all((piece.frame,)), job.ports, reading.unselected)
            if found:
                use(*piece_of(found, shape, render))

    checked: set[int] = set()
    beat = corridor.clock()
    for span in capture.spans(MOST_RECORDS, crew.has_room):
        now = corridor.clock()
        if span is None or now >= beat:
            delivery.tick()
            on_tick()
            beat = now + BEAT_NS
        if corridor.halted():
            return
        if span is None:
            crew.take_all()  # nothing comes just now: nobody is to wait for what has come
            continue
        if chosen is not None:
            linktypes = {span.layout.linktype} if isinstance(span, Span) else {frame.linktype for frame in span}
            for linktype in linktypes - checked:
                chosen.check_for(linktype)  # here, where it is known which capture it is
            checked |= linktypes
        crew.give(span, shape, use, reading)
        if delivery.over:
            corridor.finished = True
            return


def _sniff(corridor: Corridor, source: "LiveSource", over: Callable[[], bool]) -> None:
    from pcapeda.net.segments import taken_apart
    from pcapeda.net.write import CaptureWriter

    job, report, watcher = corridor.job, corridor.report, corridor.watcher
    reading = corridor.reading = Report()
    extractor = make_extractor(job, reading)
    with ExitStack() as stack:
        source.open()
        stack.callback(source.close)
        watcher.say(f"listening on {', '.join(job.interfaces)} with a buffer of {source.granted_buffer // MIB} MiB")
        blocks: Blocks = _until(source, corridor, over)
        if job.write is not None:
            writer = CaptureWriter(job.write)
            stack.callback(_close, writer, corridor)
            blocks = _tee(blocks, writer, corridor.clock)
        blocks = taken_apart(blocks)

        def on_tick() -> None:
            reading.kernel_drops = source.kernel_drops()
            reading.queue_drops = source.queue_drops
            corridor.beat()
            corridor.watch()

        try:
            run(blocks, corridor, extractor=extractor, shape=job.shape, live=True, on_tick=on_tick)
        except InterfaceDown as error:  # what was read so far is delivered
            report.failures.append(str(error))
            report.ended_by = error
        except PcapedaError as error:  # the file of --write cannot be written: the same
            report.failures.append(str(error))
            watcher.note(str(error))
        finally:
            reading.kernel_drops = source.kernel_drops()
            reading.queue_drops = source.queue_drops
            extractor.finish()
            report.merge(reading)
            corridor.reading = Report()


def _until(source: "LiveSource", corridor: Corridor, over: Callable[[], bool]) -> Iterator[list[Frame] | None]:
    """The live source up to a stop or the end of `duration` or sending; what had been received by then still comes.

    After a stop that lasts until `over()`; what has not been read by then is counted, and said.
    """
    duration = corridor.job.duration_s
    end_ns = None if duration is None else corridor.clock() + int(duration * SECOND_NS)
    ending, last = False, 0
    for block in source.blocks():
        late = end_ns is not None and corridor.clock() >= end_ns
        if not ending and (late or corridor.stop.is_set() or corridor.delivery.over):
            ending = True
            source.stop()
        if corridor.stop.is_set() and over():
            source.leave(last)
            if unread := source.queue_drops:
                corridor.watcher.note(f"the time to finish is over: {unread:,} packets received are given up")
            return
        if block:
            last = block[-1].number
        yield block


def _tee(blocks: Blocks, writer: "CaptureWriter", clock: Callable[[], int]) -> Iterator[list[Frame] | None]:
    """Pass every frame on and keep it in a capture file, which is readable at any time but for the last second."""
    flush_at = 0
    for block in blocks:
        for frame in block or ():
            writer.write(frame)
        if clock() >= flush_at:
            writer.flush()
            flush_at = clock() + SECOND_NS
        yield block


def resend(
    folder: str,
    bus: Bus | None,
    *,
    aside: Literal["dead", "limited"] | None = None,
    grace_s: float = GRACE_S,
    patience_s: float = PATIENCE_S,
    sink: Sink | None = None,
    watcher: Watcher = SILENT,
    stop: Event | None = None,
    clock: Callable[[], int] = time.monotonic_ns,
    sleep: Callable[[float], object] | None = None,
    on_step: Callable[[Report], None] = lambda report: None,
) -> Report:
    """Deliver what waits in a spool, or `aside` in it, to `bus`, oldest first; gives what became of it.

    (`bus` None: it is not known, and so nothing that waits can be delivered.) Each event is tried for `patience_s`
    seconds; what could not be delivered stays where it is. A `sink` that is given is not closed here. `stop` ends it at
    any point without loss; `on_step` is called often with the counts so far. Raises `PcapedaError` for what is known
    before anything is sent.
    """
    stop = stop or Event()
    report = Report()
    place = Path(folder) if aside is None else Path(folder, aside)
    if not place.is_dir():
        nothing = {"dead": "no dead letters", "limited": "nothing that limits refused", None: "no such spool"}
        what = nothing[aside if Path(folder).is_dir() else None]
        raise BadConfig(f"{folder}: {what}")
    with ExitStack() as stack:
        spool = stack.enter_context(Spool(place, letters=aside is not None))
        if bus is None:
            if len(spool):
                raise of_no_bus(folder)
            bus = Bus()
        patience_s = bounds.check_number("resend", "patience_s", patience_s)
        tell_of(spool, watcher.note, watcher.say, report)
        if sink is None:
            sink = event_bus(bus)
            stack.callback(sink.close)
        sink.check()
        tell_where(sink, watcher)
        delivery = Delivery(
            sink,
            report,
            spool=spool,
            patience_ns=int(patience_s * SECOND_NS),
            clock=clock,
            sleep=sleep or partial(_rest, stop),
            stopping=stop.is_set,
            on_wait=lambda: on_step(report),
            note=watcher.note,
        )
        try:
            delivery.finish(give_up=_Grace(stop, clock, grace_s, watcher.say))
        except BaseException as error:
            with_report(error, report)
            raise
        finally:
            report.interrupted = stop.is_set()
            report.ended_by = delivery.down
        if delivery.broken is not None:
            raise with_report(delivery.broken, report)
    return report


def _close(writer: "CaptureWriter", corridor: Corridor) -> None:
    """End `--write`. A disk that is full shows at the latest now: it is said, and the summary is not lost for it."""
    try:
        writer.close()
    except PcapedaError as error:
        corridor.report.failures.append(str(error))
        corridor.watcher.note(str(error))


def _rest(stop: Event, seconds: float) -> None:
    """Sleep, at most until a stop; after one, to finish in order, all the time that was asked for."""
    if stop.is_set():
        time.sleep(seconds)
    else:
        stop.wait(seconds)


class _Grace:
    """Called, it is true once the time is over that begins when the stop is first seen. If that takes long, it is said.

    What is to be delivered in it must have been read before: to the reader it is over `early`.
    """

    def __init__(self, stop: Event, clock: Callable[[], int], grace_s: float, say: Callable[[str], None]) -> None:
        self._stop, self._clock, self._say = stop, clock, say
        self._grace_s = grace_s
        self._began: int | None = None
        self._said = False

    def __call__(self, *, early: bool = False) -> bool:
        if not self._stop.is_set():
            return False
        self._began = self._clock() if self._began is None else self._began
        gone_s = (self._clock() - self._began) / SECOND_NS
        if gone_s >= 1 and not self._said:
            self._said = True
            words = f"finishing what was begun, for {self._grace_s:g} s at most"
            self._say(f"{words}; a second Ctrl-C or SIGTERM ends it at once")
        return gone_s >= self._grace_s - (min(1.0, self._grace_s / 4) if early else 0)
