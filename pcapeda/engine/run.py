"""One run from its job to its report: what the job names is opened, taken through the loop, and closed again."""

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Literal

from pcapeda.aws import quotas
from pcapeda.aws.bus import Bus
from pcapeda.aws.responses import UNREACHABLE
from pcapeda.capture.bpf import Filter
from pcapeda.capture.files import Capture, expand, is_pipe
from pcapeda.capture.pcap import RecordRange
from pcapeda.delivery.checkpoint import Checkpoint, identify
from pcapeda.delivery.delivery import Delivery
from pcapeda.delivery.options import DeliveryOptions, RunHooks
from pcapeda.delivery.spool import Spool
from pcapeda.dissect.extractor import Extractor
from pcapeda.engine.build import (
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
from pcapeda.engine.checkpoint_key import asked_of, asked_of_1
from pcapeda.engine.endings import Guarded, balance, with_report
from pcapeda.engine.filters import lost_fragments, selected, with_ports
from pcapeda.engine.iterate import datagrams as datagrams
from pcapeda.engine.job import GRACE_S, PATIENCE_S, Job
from pcapeda.engine.loop import BEAT_NS, SILENT, Blocks, RunContext, RunObserver, run
from pcapeda.engine.parallel import (
    MOST_RECORDS,
    ChunkBody,
    EventChunk,
    ParallelDecoder,
    WorkerSpec,
    chunk_of,
    entries_of,
)
from pcapeda.engine.replay_clock import ReplayClock
from pcapeda.engine.summaries import PeriodicReport
from pcapeda.engine.worker_processes import Workers
from pcapeda.errors import BadCapture, BadConfig, BadFilter, InterfaceDown, PcapedaError, SinkDown, WorkerLost
from pcapeda.events.shape import Shape
from pcapeda.model import Damage, Frame, Sink
from pcapeda.options import bounds
from pcapeda.report import Report
from pcapeda.sinks.base import BaseSink, as_base, make_bus_sink
from pcapeda.units import MIB, SECOND_NS

if TYPE_CHECKING:
    from pcapeda.capture.interface import LiveSource
    from pcapeda.capture.writer import CaptureWriter


def execute(
    job: Job,
    *,
    sink: Sink | None = None,
    observer: RunObserver = SILENT,
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
    guarded = Guarded(observer, stop)
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
    observer: Guarded,
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
    rules = load_rules(job, observer.note, dry=sink is not None and not sink.costs_money)
    captures = expand(job.captures)
    with ExitStack() as stack:
        if sink is None:
            sink = make_bus_sink(job.bus)
            stack.callback(sink.close)
        sink = as_base(sink)
        spool = None if job.spool is None else stack.enter_context(open_spool(job, observer.note, observer.say, report))
        checkpoint = None if job.checkpoint is None else stack.enter_context(Checkpoint(job.checkpoint))
        try:
            sink.check()
        except SinkDown as error:
            if spool is None or not job.interfaces or error.code != UNREACHABLE or error.final:
                raise
            observer.note(f"{error}; listening all the same, events are kept in the spool")
        tell_where(sink, observer)
        over = _Grace(stop, clock, job.grace_s, observer.say)
        delivery = Delivery(
            sink,
            report,
            spool=spool,
            options=DeliveryOptions(
                keep_limited=job.spool_limited, live=bool(job.interfaces), patience_ns=int(job.patience_s * SECOND_NS)
            ),
            hooks=RunHooks(
                clock=clock,
                sleep=sleep,
                stopping=stop.is_set,
                draining=over if job.interfaces else lambda: context.halted(),
                on_wait=lambda: context.glance(),
                note=observer.note,
                acknowledged=checkpoint.acknowledged if checkpoint is not None else lambda entries: None,
                refused=checkpoint.forget if checkpoint is not None else lambda entries: None,
            ),
        )
        limits = make_limits(job, costs_money=sink.costs_money)
        ignore = names_in_dns(sink.hosts)
        context = RunContext(
            job, delivery, limits, report, observer, stop, clock, sleep, ignore, checkpoint, rules, left=job.count
        )
        context.max_event_bytes = min(quotas.CHUNK_BYTES, sink.limits.max_bytes)
        if job.report_events_s is not None:
            context.reporter = PeriodicReport(job.shape, int(job.report_events_s * SECOND_NS), limits, clock=clock)
        try:
            if source is not None:
                _sniff(context, source, over)
            else:
                if job.jobs == 1:
                    workers = None
                elif workers is None:
                    workers = stack.enter_context(Workers(job.jobs - 1))
                _replay(context, captures, chosen, workers, over)
        except BaseException as error:
            if not isinstance(error, Exception):
                stop.set()  # Ctrl-C: what was read has the grace to be delivered, and no more
            _end(context, over)
            balance(report)
            raise
        _end(context, over)
    return delivery


def _end(context: RunContext, over: Callable[[], bool]) -> None:
    """Deliver or keep what is left, and complete the report."""
    delivery, report, checkpoint = context.delivery, context.report, context.checkpoint
    report.interrupted = context.stop.is_set()
    try:
        context.end()
        delivery.finish(give_up=over)
        context.watch()
    finally:
        report.ended_by = delivery.down or report.ended_by
        if (hint := lost_fragments(context.job.filter, report)) is not None:
            context.observer.note(hint)
        if checkpoint is not None and checkpoint.problem is not None:
            report.failures.append(checkpoint.problem)
            context.observer.note(checkpoint.problem)


def tell_where(sink: BaseSink, observer: RunObserver) -> None:
    """Say before the first event which bus it goes to, as far as its check has told, and what is doubtful about it."""
    if sink.costs_money:
        observer.say(f"to {sink.describe()}")
    for sentence in sink.notes:
        observer.note(sentence)


def _replay(
    context: RunContext,
    captures: list[str],
    chosen: Filter | None,
    workers: Workers | None,
    over: "_Grace",
) -> None:
    job, report = context.job, context.report
    replay_clock = None
    if job.speed is not None or job.pps is not None:
        max_sleep_ns = None if job.max_sleep_s is None else int(job.max_sleep_s * SECOND_NS)
        replay_clock = ReplayClock(speed=job.speed, pps=job.pps, max_sleep_ns=max_sleep_ns)
    decoders = None
    try:
        if workers is not None:
            decoders = ParallelDecoder(
                workers, WorkerSpec(job.decapsulate, job.tunnels, job.filter, job.ports, context.render)
            )
        for loop in range(job.loop) if job.loop else itertools.count():
            frames_before = report.frames
            for path in captures:
                if context.finished:
                    break
                if context.stop.is_set() and not is_pipe(path):
                    continue
                _replay_one(context, path, chosen, replay_clock, loop, decoders, over)
            if decoders is not None:
                decoders.take_all()
            if context.finished or context.stop.is_set() or report.frames == frames_before:
                return  # without frames there is nothing to read in any of them: looping for ever would only burn
    except WorkerLost as error:
        lost = 0 if decoders is None else decoders.drop()
        sentence = f"{error}: {lost:,} packets that it or others had are not in any count below"
        report.failures.append(sentence)
        context.observer.note(sentence)


def _replay_one(
    context: RunContext,
    path: str,
    chosen: Filter | None,
    replay_clock: ReplayClock | None,
    loop: int,
    decoders: ParallelDecoder | None,
    over: "_Grace",
) -> None:
    report, observer = context.report, context.observer
    reading = context.reading = Report()

    def damaged(damage: Damage) -> None:
        if not damage.harmless:
            reading.damages.append(damage)
        observer.note(str(damage))

    def on_tick() -> None:
        context.beat()
        context.watch()

    def finish() -> None:
        extractor.finish()
        report.merge(reading)
        if context.reading is reading:
            context.reading = Report()

    place = None
    if context.checkpoint is not None:
        try:
            key, former = identify(path, asked_of(context.job), asked_of_1(context.job))
            place = context.checkpoint.place(key, loop, former)
        except BadConfig as error:
            report.bad_inputs += 1
            report.failures.append(str(error))
            observer.note(str(error))
            return
    extractor = make_extractor(context.job, reading)
    shape = replace(context.job.shape, file=path, loop=loop)
    try:
        with Capture(path, note=damaged) as capture:
            context.progress = lambda: (capture.position, capture.size)
            # Who writes into a pipe may have been interrupted with us, and hand over only now what it has held back.
            context.pressed = None if capture.size is not None else lambda: over(early=True) or not capture.opened
            if decoders is not None:
                _hand_round(capture, context, decoders, chosen, extractor, shape, reading, on_tick)
                return
            blocks: Blocks = capture.blocks()
            if chosen is not None:
                blocks = _filtered(blocks, chosen, reading)
            run(
                blocks,
                context,
                extractor=extractor,
                shape=shape,
                replay_clock=replay_clock,
                place=place,
                on_tick=on_tick,
            )
    except BadCapture as error:
        report.bad_inputs += 1
        report.failures.append(str(error))
        observer.note(str(error))
    except BadFilter as error:
        # Found only now: libpcap cannot compile this filter for this capture's link type. Never read on unfiltered.
        report.bad_inputs += 1
        report.failures.append(f"{path}: {error}")
        observer.note(f"{path}: {error}")
    finally:
        if decoders is not None:
            decoders.then(finish)
        else:
            finish()


def _filtered(blocks: Blocks, chosen: Filter, reading: Report) -> Iterator[list[Frame] | None]:
    """Only what the filter selects; the rest is counted as skipped."""
    for block in blocks:
        yield None if block is None else selected(block, chosen, reading)


def _hand_round(
    capture: Capture,
    context: RunContext,
    decoders: ParallelDecoder,
    chosen: Filter | None,
    extractor: Extractor,
    shape: Shape,
    reading: Report,
    on_tick: Callable[[], None],
) -> None:
    """Give a capture's records to the crew; what comes back goes on to the delivery, in their order."""
    delivery, job, render = context.delivery, context.job, decoders.spec.render

    def use(chunk: EventChunk, body: ChunkBody) -> None:
        if render is None:
            delivery.add_all(entries_of(body))
        elif chunk.events:
            assert not isinstance(body, list), "what is rendered is no list"
            delivery.pass_on(memoryview(body), chunk.events, chunk.size, chunk.chunks)
        if chunk.frame is not None:
            found = with_ports(extractor.feed_all((chunk.frame,)), job.ports, reading.unselected)
            if found:
                reading.without_text += shape.without_text(found)
                use(*chunk_of(found, shape, render))

    checked: set[int] = set()
    beat = context.clock()
    for records in capture.ranges(MOST_RECORDS, decoders.has_room):
        now = context.clock()
        if records is None or now >= beat:
            delivery.tick()
            on_tick()
            beat = now + BEAT_NS
        if context.halted():
            return
        if records is None:
            decoders.take_all()  # nothing comes just now: nobody is to wait for what has come
            continue
        if chosen is not None:
            linktypes = (
                {records.layout.linktype} if isinstance(records, RecordRange) else {frame.linktype for frame in records}
            )
            for linktype in linktypes - checked:
                chosen.check_for(linktype)  # here, where it is known which capture it is
            checked |= linktypes
        decoders.give(records, shape, use, reading)
        if delivery.over:
            context.finished = True
            return


def _sniff(context: RunContext, source: "LiveSource", over: Callable[[], bool]) -> None:
    from pcapeda.capture.writer import CaptureWriter
    from pcapeda.dissect.gso import taken_apart

    job, report, observer = context.job, context.report, context.observer
    reading = context.reading = Report()
    extractor = make_extractor(job, reading)
    with ExitStack() as stack:
        source.open()
        stack.callback(source.close)
        observer.say(f"listening on {', '.join(job.interfaces)} with a buffer of {source.granted_buffer // MIB} MiB")
        blocks: Blocks = _until(source, context, over)
        if job.write is not None:
            writer = CaptureWriter(job.write)
            stack.callback(_close, writer, context)
            blocks = _tee(blocks, writer, context.clock)
        blocks = taken_apart(blocks)

        def on_tick() -> None:
            reading.kernel_drops = source.kernel_drops()
            reading.queue_drops = source.queue_drops
            context.beat()
            context.watch()

        try:
            run(blocks, context, extractor=extractor, shape=job.shape, live=True, on_tick=on_tick)
        except InterfaceDown as error:  # what was read so far is delivered
            report.failures.append(str(error))
            report.ended_by = error
        except PcapedaError as error:  # the file of --write cannot be written: the same
            report.failures.append(str(error))
            observer.note(str(error))
        finally:
            reading.kernel_drops = source.kernel_drops()
            reading.queue_drops = source.queue_drops
            extractor.finish()
            report.merge(reading)
            context.reading = Report()


def _until(source: "LiveSource", context: RunContext, over: Callable[[], bool]) -> Iterator[list[Frame] | None]:
    """The live source up to a stop or the end of `duration` or sending; what had been received by then still comes.

    After a stop that lasts until `over()`; what has not been read by then is counted, and said.
    """
    duration = context.job.duration_s
    end_ns = None if duration is None else context.clock() + int(duration * SECOND_NS)
    ending, last = False, 0
    for block in source.blocks():
        late = end_ns is not None and context.clock() >= end_ns
        if not ending and (late or context.stop.is_set() or context.delivery.over):
            ending = True
            source.stop()
        if context.stop.is_set() and over():
            source.leave(last)
            if unread := source.queue_drops:
                context.observer.note(f"the time to finish is over: {unread:,} packets received are given up")
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
    observer: RunObserver = SILENT,
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
        spool = stack.enter_context(Spool(place, dead_letters=aside is not None))
        if bus is None:
            if len(spool):
                raise of_no_bus(folder)
            bus = Bus()
        patience_s = bounds.check_number("resend", "patience_s", patience_s)
        tell_of(spool, observer.note, observer.say, report)
        if sink is None:
            sink = make_bus_sink(bus)
            stack.callback(sink.close)
        sink = as_base(sink)
        sink.check()
        tell_where(sink, observer)
        delivery = Delivery(
            sink,
            report,
            spool=spool,
            options=DeliveryOptions(patience_ns=int(patience_s * SECOND_NS)),
            hooks=RunHooks(
                clock=clock,
                sleep=sleep or partial(_rest, stop),
                stopping=stop.is_set,
                on_wait=lambda: on_step(report),
                note=observer.note,
            ),
        )
        try:
            delivery.finish(give_up=_Grace(stop, clock, grace_s, observer.say))
        except BaseException as error:
            with_report(error, report)
            raise
        finally:
            report.interrupted = stop.is_set()
            report.ended_by = delivery.down
        if delivery.broken is not None:
            raise with_report(delivery.broken, report)
    return report


def _close(writer: "CaptureWriter", context: RunContext) -> None:
    """End `--write`. A disk that is full shows at the latest now: it is said, and the summary is not lost for it."""
    try:
        writer.close()
    except PcapedaError as error:
        context.report.failures.append(str(error))
        context.observer.note(str(error))


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
