"""One run from its job to its report: what the job names is opened, walked through the corridor, and closed again."""

import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Literal

from pcapeda.checkpoint import Checkpoint, identify
from pcapeda.corridor import BEAT_NS, SILENT, Blocks, Corridor, Watcher, run
from pcapeda.crew import MOST_RECORDS, Body, Craft, Crew, Piece, entries_of, piece_of
from pcapeda.delivery import Delivery
from pcapeda.errors import BadCapture, BadConfig, BadFilter, PcapedaError, SinkDown, WorkerLost
from pcapeda.events import quotas
from pcapeda.events.shape import Shape
from pcapeda.job import GRACE_S, Bus, Job
from pcapeda.model import Damage, Datagram, Frame, Report, Sink
from pcapeda.net.extract import Extractor
from pcapeda.net.files import Capture, expand
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

    `sink` defaults to the event bus of `job.bus`; setting `stop` ends the run early and in order; `clock` gives
    monotonic nanoseconds, `sleep` takes seconds. `source` is what `live_source` made of a job that listens, for those
    who have claimed its sockets and then given up the right to; `workers` are those of this one run of several
    processes, for those who have started them before. Raises `PcapedaError` for what is known before anything is read
    (a bad option, no credentials, an unknown bus or interface); what goes wrong later is in the report.
    """
    job.check()
    job = replace(job, shape=replace(job.shape, groups=job.bus.groups))
    stop = stop or Event()
    sleep = sleep or stop.wait
    report = Report()
    chosen = None
    if not job.interfaces:
        chosen = make_filter(job)
    elif source is None:
        source = live_source(job)
    rules = load_rules(job, watcher.note)
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
            if spool is None or not job.interfaces or error.code != UNREACHABLE:
                raise
            watcher.note(f"{error}; listening all the same, events are kept in the spool")
        for sentence in getattr(sink, "notes", ()):
            watcher.note(sentence)
        over = _grace(stop, clock, job.grace_s, watcher.say)
        delivery = Delivery(
            sink,
            report,
            spool=spool,
            keep_limited=job.spool_limited,
            live=bool(job.interfaces),
            clock=clock,
            sleep=sleep,
            stopping=stop.is_set,
            hurried=over if job.interfaces else stop.is_set,
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
                _replay(corridor, captures, chosen, workers)
        finally:
            report.interrupted = stop.is_set()
            corridor.end()
            delivery.finish(give_up=over)
            corridor.watch()
            report.ended_by = delivery.down
            if checkpoint is not None and checkpoint.problem is not None:
                report.failures.append(checkpoint.problem)
                watcher.note(checkpoint.problem)
    return report


def _replay(corridor: Corridor, captures: list[str], chosen: Filter | None, workers: Workers | None) -> None:
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
                if corridor.finished or corridor.stop.is_set():
                    break
                _replay_one(corridor, path, chosen, pace, loop, crew)
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
    corridor: Corridor, path: str, chosen: Filter | None, pace: Pace | None, loop: int, crew: Crew | None
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
            place = corridor.checkpoint.place(identify(path, _asked_of(corridor.job)), loop)
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
        if corridor.stop.is_set():
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

        def on_tick() -> None:
            reading.kernel_drops = source.kernel_drops()
            reading.queue_drops = source.queue_drops
            corridor.beat()
            corridor.watch()

        try:
            run(blocks, corridor, extractor=extractor, shape=job.shape, live=True, on_tick=on_tick)
        except PcapedaError as error:
            # The interface went down, or the file of --write cannot be written: what was read so far is delivered.
            report.failures.append(str(error))
            watcher.note(str(error))
        finally:
            reading.kernel_drops = source.kernel_drops()
            reading.queue_drops = source.queue_drops
            extractor.finish()
            report.merge(reading)
            corridor.reading = Report()


def _until(source: "LiveSource", corridor: Corridor, over: Callable[[], bool]) -> Iterator[list[Frame] | None]:
    """The live source up to a stop or the end of `duration`; what had been received by then still comes.

    After a stop that lasts until `over()`; what has not been read by then is counted, and said.
    """
    duration = corridor.job.duration_s
    end_ns = None if duration is None else corridor.clock() + int(duration * SECOND_NS)
    ending, last = False, 0
    for block in source.blocks():
        if not ending and (corridor.stop.is_set() or (end_ns is not None and corridor.clock() >= end_ns)):
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


def _asked_of(job: Job) -> str:
    """What else than its content decides what is sent of a capture, and where to."""
    bus = replace(job.bus, max_request_bytes=0)
    reassembly = (job.fragment_age_s, job.fragment_mib)
    asked = (job.filter, sorted(job.ports), job.decapsulate, reassembly, job.shape, bus)
    # A run without tunnels and summaries is known by what it was known by before there were any.
    summed = (job.summaries, job.hold_ns, job.max_flows, job.group) if job.summaries else ()
    return repr(asked + job.tunnels + summed)


def resend(
    folder: str,
    bus: Bus,
    *,
    aside: Literal["dead", "limited"] | None = None,
    grace_s: float = GRACE_S,
    sink: Sink | None = None,
    watcher: Watcher = SILENT,
    stop: Event | None = None,
    clock: Callable[[], int] = time.monotonic_ns,
    sleep: Callable[[float], object] | None = None,
    on_step: Callable[[Report], None] = lambda report: None,
) -> Report:
    """Deliver what waits in a spool, or `aside` in it, to `bus`, oldest first; gives what became of it.

    What could not be delivered stays where it is. `stop` ends it at any point without loss; `on_step` is called often
    with the counts so far. Raises `PcapedaError` for what is known before anything is sent.
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
        watcher.say(f"to {bus.words()}")
        tell_of(spool, watcher.note, watcher.say, report)
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
            on_wait=lambda: on_step(report),
            note=watcher.note,
        )
        delivery.finish(give_up=_grace(stop, clock, grace_s, watcher.say))
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


def _grace(stop: Event, clock: Callable[[], int], grace_s: float, say: Callable[[str], None]) -> Callable[[], bool]:
    """True once the grace is over that begins when the stop is first seen. If that takes long, it is said."""
    began: int | None = None
    said = False

    def over() -> bool:
        nonlocal began, said
        if not stop.is_set():
            return False
        began = clock() if began is None else began
        gone_s = (clock() - began) / SECOND_NS
        if gone_s >= 1 and not said:
            said = True
            say(f"delivering what was read, for {grace_s:g} s at most; a second Ctrl-C or SIGTERM ends it at once")
        return gone_s >= grace_s

    return over


def datagrams(
    *captures: str,
    filter: str | None = None,  # noqa: A002 - the option's name, as everywhere
    decapsulate: bool = False,
    tunnels: Iterable[tuple[int, str]] = (),
    report: Report | None = None,
) -> Iterator[Datagram]:
    """The UDP datagrams of captures, in order. Counts and damages go to `report`. Raises `BadCapture`, `BadFilter`."""
    total = report if report is not None else Report()
    chosen, asked = Filter(filter) if filter else None, tuple(tunnels)
    for path in expand(captures):
        reading = Report()
        extractor = Extractor(reading, decapsulate=decapsulate, tunnels=asked)
        with Capture(path, note=reading.damages.append) as capture:
            try:
                blocks = capture.blocks()
                for block in blocks if chosen is None else _filtered(blocks, chosen, reading):
                    yield from extractor.feed_all(block or ())
            finally:
                extractor.finish()
                total.merge(reading)
