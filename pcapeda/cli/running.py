"""What replay and sniff do alike: build the job, choose the sink, watch the run, answer with an exit code."""

import json
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from threading import Event
from types import FrameType
from typing import TYPE_CHECKING, Any

from pcapeda.cli.options import Output
from pcapeda.errors import BadConfig, ExitStatus, OutputClosed, PcapedaError
from pcapeda.model import REGION, Entry, Report, Sink, entry_lines, entry_v2_lines, event_lines

if TYPE_CHECKING:
    from pcapeda.job import Job


def choose_sink(job: "Job", given: Mapping[str, Any]) -> Sink:
    """A bus, or for a dry run the terminal or a pipe. Raises `BadConfig` for an output format without a dry run."""
    output: Output | None = given["output"]
    if not given["dry_run"]:
        if output is not None:
            raise BadConfig("-o/--output says how a dry run prints", hint="add -n/--dry-run")
        from pcapeda.parts import event_bus

        return event_bus(job.bus)
    if job.spool is not None or job.checkpoint is not None:
        raise BadConfig("--spool and --checkpoint are about delivery: a dry run delivers nothing")
    if output is None:
        output = Output.PRETTY if sys.stdout.isatty() else Output.JSONL
    if output is Output.PRETTY:
        if job.jobs > 1:
            raise BadConfig("--jobs is for machines that read: a person cannot keep up", hint="add -o jsonl")
        from pcapeda.view import PrettySink, open_console

        return PrettySink(open_console(sys.stdout), whole=given["verbose"], rules=bool(job.rules))
    from pcapeda.sinks.lines import LineSink

    region = job.bus.region or REGION

    as_events: Callable[[Sequence[Entry]], str] = partial(event_lines, region=region)
    as_entries: Callable[[Sequence[Entry]], str] = partial(entry_lines, bus=job.bus.name)
    if job.bus.v2:
        as_entries = partial(entry_v2_lines, raw=job.bus.raw)
    if job.bus.raw:
        as_events = as_entries

    def with_rules(entries: Sequence[Entry]) -> str:
        events = zip(entries, as_events(entries).split("\n"), strict=False)  # the last one is empty
        return "".join(
            f'{event[:-1]},"matched-rules":{json.dumps(entry.rules, ensure_ascii=False)}}}\n' for entry, event in events
        )

    if output is Output.ENTRIES:
        return LineSink(sys.stdout, as_entries)
    return LineSink(sys.stdout, with_rules if job.rules else as_events)


def carry_out(job: "Job", given: Mapping[str, Any], *, first_words: Callable[["Job"], str]) -> ExitStatus:
    """Run the job with signals, progress and summary in place; the exit status says how it went.

    Before a run that costs money `first_words` are said.
    """
    from pcapeda.pipeline import execute
    from pcapeda.view import Talk, open_console, plural, show_summary

    sink, quiet = choose_sink(job, given), given["quiet"]
    stderr = open_console(sys.stderr)
    same_screen = not sink.costs_money and sys.stdout.isatty()
    talk = Talk(stderr, quiet=quiet, progress=not same_screen, costs_money=sink.costs_money, tariff=job.tariff)
    with stopped_by_signals() as stop:
        try:
            if sink.costs_money:
                talk.say(first_words(job))
            report = execute(job, sink=sink, watcher=talk, stop=stop)
        finally:
            talk.close()
            sink.close()
    closed = isinstance(report.ended_by, OutputClosed)
    if report.ended_by is not None and not closed:
        complain(report.ended_by)
    nothing_read = report.bad_inputs > 0 and report.frames == 0
    if not quiet and not closed and not nothing_read:
        word = "delivered" if sink.costs_money else "printed"
        show_summary(report, stderr, delivered=word, costs_money=sink.costs_money, tariff=job.tariff)
    elif (report.refused or report.dead or report.limited or report.events_spooled) and not closed:
        talk.note(f"not delivered: {undelivered(report)}")
    if report.events_spooled and job.spool is not None:
        talk.note(f"{plural(report.events_spooled, 'event')} in the spool: pcapeda resend {job.spool}")
    if report.limited and job.spool is not None:
        talk.note(f"what limits kept back is there, too: pcapeda resend {job.spool} --limited")
    return report.status()


def undelivered(report: Report) -> str:
    """What was not delivered, in words."""
    counts = [*report.refused.most_common(), *((f"dead: {code}", count) for code, count in report.dead.most_common())]
    counts += [(f"kept back: {limit}", count) for limit, count in report.limited.most_common()]
    if report.spooled:
        counts.append(("spooled", report.spooled))
    return ", ".join(f"{count:,} {reason}" for reason, count in counts)


@contextmanager
def stopped_by_signals() -> Iterator[Event]:
    """SIGINT and SIGTERM set the event that the run looks at; a second one ends the program at once."""
    stop = Event()

    def on_signal(number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            os.write(2, b"\npcapeda: stopped at once; what was under way may be lost\n")
            os._exit(ExitStatus.INTERRUPTED)
        stop.set()

    previous = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def make_job(given: Mapping[str, Any], **own: Any) -> "Job":
    """The job of a command: its own fields, and those that replay and sniff share, taken from `given` by their names.

    Raises `BadConfig` for what cannot be honoured, or what EventBridge would refuse in every event.
    """
    from pcapeda.events.quotas import check_identity
    from pcapeda.events.shape import Shape
    from pcapeda.job import Bus, Job

    resources = tuple(given["resource"] or ())
    check_identity(given["source"], given["detail_type"], resources, given["bus"])
    job = Job(
        filter=given["filter"],
        count=given["count"],
        ports=frozenset(given["port"] or ()),
        decapsulate=given["decapsulate"],
        fragment_age_s=given["fragment_age"],
        fragment_mib=given["fragment_mib"],
        rules=tuple(given["rules"] or ()),
        parameters=tuple(parameters_of(given["parameter"]).items()),
        only_matching=given["only_matching"],
        shape=Shape(
            given["shape"].value,
            source=given["source"],
            detail_type=given["detail_type"],
            resources=resources,
            text=given["text"],
            json_payload=given["json_payload"],
            time=given["time"].value,
        ),
        bus=Bus(
            given["bus"],
            given["region"],
            given["profile"],
            given["endpoint_url"],
            given["max_request_bytes"],
            given["transport"].value,
            groups_of(ordered=given["ordered"], groups=given["groups"]),
            given["raw"],
        ),
        aggregate_s=given["aggregate"],
        max_flows=given["max_flows"],
        group=given["group"],
        group_wait_s=given["group_wait"],
        report_events_s=given["report_events"],
        max_rate=given["max_rate"],
        burst=given["burst"],
        max_rate_per_source=given["max_rate_per_source"],
        allow=tuple(given["allow"] or ()),
        deny=tuple(given["deny"] or ()),
        sample=parse_sample(given["sample"]),
        max_events=given["max_events"],
        max_cost=given["max_cost"],
        price=given["price"],
        spool=given["spool"],
        spool_max_mib=given["spool_max_mib"],
        when_full=given["when_full"] and given["when_full"].value,
        spool_limited=given["spool_limited"],
        grace_s=given["grace"],
        **own,
    )
    job.check()
    return job


def groups_of(*, ordered: bool, groups: int | None) -> int | None:
    """How many groups flows are hashed into, None where no order is kept. Raises `BadConfig`."""
    from pcapeda.events.quotas import GROUPS_V2

    if groups is not None and not ordered:
        raise BadConfig("--groups says how --ordered keeps the order: give --ordered too")
    return (groups if groups is not None else GROUPS_V2) if ordered else None


def parse_sample(text: str | None) -> int | None:
    """The N of `1/N`. Raises `BadConfig`."""
    if text is None:
        return None
    match = re.fullmatch(r"1/([1-9][0-9]{0,8})", text, re.ASCII)
    if match is None:
        from pcapeda.events.quotas import shown

        raise BadConfig(f"--sample {shown(text)}: not a share of flows", hint="as in --sample 1/100")
    return int(match[1])


def parameters_of(given: list[str] | None) -> dict[str, str]:
    """`--parameter K=V` as a mapping. Raises `BadConfig`."""
    parameters = {}
    for one in given or ():
        name, equals, value = one.partition("=")
        if not equals or not name:
            raise BadConfig(f"--parameter {one}: it must look like NAME=VALUE")
        parameters[name] = value
    return parameters


def complain(error: PcapedaError) -> None:
    """One line on stderr that says what is wrong, and a second one if it is known what helps."""
    print(f"pcapeda: {error}", file=sys.stderr)  # noqa: T201
    if error.hint:
        print(f"hint: {error.hint}", file=sys.stderr)  # noqa: T201
