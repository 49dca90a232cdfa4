"""What replay and sniff do alike: build the job, choose the sink, watch the run, answer with an exit code."""

import os
import re
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from threading import Event
from types import FrameType
from typing import TYPE_CHECKING, Any

from pcapeda.cli.options import Log, Output
from pcapeda.errors import BadConfig, ExitStatus, OutputClosed
from pcapeda.options.table import of_owner

if TYPE_CHECKING:
    from pcapeda.aws.quotas import Tariff
    from pcapeda.cli.privileges import Account
    from pcapeda.engine.job import Job
    from pcapeda.engine.worker_processes import Workers
    from pcapeda.options import Option
    from pcapeda.report import Report
    from pcapeda.sinks.base import BaseSink
    from pcapeda.ui.json_log import JsonLog
    from pcapeda.ui.prometheus import Metrics
    from pcapeda.ui.terminal import ConsoleReporter


def check_output(job: "Job", given: Mapping[str, Any]) -> None:
    """Raises `BadConfig` for an output format without a dry run, and for what a dry run cannot keep."""
    if given["output"] is not None and not given["dry_run"]:
        raise BadConfig("-o/--output says how a dry run prints", hint="add -n/--dry-run")
    if given["dry_run"] and (job.spool is not None or job.checkpoint is not None):
        raise BadConfig("--spool and --checkpoint are about delivery: a dry run delivers nothing")


def choose_sink(job: "Job", given: Mapping[str, Any]) -> "BaseSink":
    """A bus, or for a dry run what prints: for a person on a terminal, for programs in a pipe."""
    from pcapeda.sinks.base import SinkOptions, make_bus_sink, make_sink

    if not given["dry_run"]:
        return make_bus_sink(job.bus)
    output = given["output"] or (Output.PRETTY if sys.stdout.isatty() else Output.JSONL)
    if output is Output.PRETTY and job.jobs > 1:
        raise BadConfig("--jobs is for machines that read: a person cannot keep up", hint="add -o jsonl")
    return make_sink(output.value, SinkOptions(job.bus, sys.stdout, given["verbose"], bool(job.rules)))


def carry_out(
    job: "Job",
    given: Mapping[str, Any],
    *,
    first_words: Callable[["Job"], str],
    drop_to: str | None = None,
    workers: "Workers | None" = None,
) -> ExitStatus:
    """Run the job with signals, progress and summary in place; the exit status says how it went.

    Before a run that costs money `first_words` are said. `drop_to` is the user that the process becomes for good: what
    needs rights (sockets, a port) is claimed before, all else is opened as that user. `workers` are the processes of a
    job of several.
    """
    from pcapeda.aws.quotas import FREE
    from pcapeda.engine.build import live_source
    from pcapeda.engine.run import execute

    check_output(job, given)
    costs_money = not given["dry_run"]
    same_screen = not costs_money and sys.stdout.isatty()
    reporter = open_reporter(given, costs_money=costs_money, tariff=job.tariff, progress=not same_screen)
    with ExitStack() as stack:
        account = find_account(drop_to)
        metrics = open_metrics(given, tariff=job.tariff if costs_money else FREE)
        source = None
        if job.interfaces:
            source = live_source(job)
            stack.callback(source.close)
            source.claim()
        if account is not None:
            from pcapeda.cli.privileges import drop

            drop(account)
        sink = choose_sink(job, given)
        stop = stack.enter_context(stopped_by_signals(reporter.stopped))
        stack.callback(sink.close)
        stack.callback(reporter.close)
        if metrics is not None:
            metrics.start()
            reporter.say(f"metrics on {metrics.place}")
        if costs_money:
            reporter.say(first_words(job))
        observer = reporter if metrics is None else AlsoCounted(reporter, metrics)
        report = execute(job, sink=sink, observer=observer, stop=stop, source=source, workers=workers)
    if isinstance(report.ended_by, OutputClosed):
        return report.status()
    if report.ended_by is not None:
        reporter.complain(report.ended_by)
    reporter.summary(report, brief=report.bad_inputs > 0 and report.frames == 0)
    if report.events_spooled and job.spool is not None:
        from pcapeda.ui.terminal import plural

        reporter.note(f"{plural(report.events_spooled, 'event')} in the spool: pcapeda resend {job.spool}")
    if report.limited and job.spool is not None:
        reporter.note(f"what limits kept back is there, too: pcapeda resend {job.spool} --limited")
    return report.status()


def find_account(drop_to: str | None) -> "Account | None":
    """Whom to become, if so asked. Raises `BadConfig`."""
    if drop_to is None:
        return None
    from pcapeda.cli.privileges import account

    return account(drop_to)


def open_metrics(given: Mapping[str, Any], *, tariff: "Tariff") -> "Metrics | None":
    """The endpoint that was asked for, with its port taken. Raises `BadConfig`, `NoRights`."""
    if given["metrics"] is None:
        return None
    from pcapeda.ui.prometheus import Metrics

    return Metrics(given["metrics"], tariff=tariff)


def open_reporter(
    given: Mapping[str, Any], *, costs_money: bool, tariff: "Tariff", progress: bool
) -> "ConsoleReporter | JsonLog":
    """What speaks on stderr: sentences for a person, or JSON lines for a program."""
    if given["log"] is Log.JSON:
        from pcapeda.ui.json_log import JsonLog

        return JsonLog(quiet=given["quiet"], costs_money=costs_money, tariff=tariff)
    from pcapeda.ui.terminal import ConsoleReporter, open_console

    console = open_console(sys.stderr)
    return ConsoleReporter(console, quiet=given["quiet"], progress=progress, costs_money=costs_money, tariff=tariff)


class AlsoCounted:
    """A watcher whose counts metrics get, too."""

    def __init__(self, reporter: "ConsoleReporter | JsonLog", metrics: "Metrics") -> None:
        self.note, self.say = reporter.note, reporter.say
        self._ticks = (reporter.tick, metrics.tick)

    def tick(self, report: "Report", reading: "Report", position: int, size: int | None) -> None:
        """Hand the counts to both."""
        for tick in self._ticks:
            tick(report, reading, position, size)


@contextmanager
def stopped_by_signals(last_words: Callable[[], None]) -> Iterator[Event]:
    """SIGINT, SIGTERM and SIGHUP set the event that the run looks at; a second one ends the program at once.

    SIGHUP stays ignored where it was (nohup).
    """
    stop = Event()

    def on_signal(number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            last_words()
            os._exit(ExitStatus.INTERRUPTED)
        stop.set()

    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    previous = {number: signal.signal(number, on_signal) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def make_job(given: Mapping[str, Any], *, captures: tuple[str, ...] = ()) -> "Job":
    """The job of a command: what is declared of a job among the options that are `given` by their names.

    Raises `BadConfig` for what cannot be honoured, or what EventBridge would refuse in every event.
    """
    from pcapeda.aws.bus import Bus
    from pcapeda.aws.quotas import check_identity
    from pcapeda.engine.job import Job
    from pcapeda.events.shape import Shape

    check_identity(given["source"], given["detail_type"], tuple(given["resource"] or ()), given["bus"])
    job = Job(
        captures=captures,
        shape=Shape(**fields_of("shape", given)),
        bus=Bus(**fields_of("bus", given)),
        **fields_of("", given),
    )
    job.check()
    return job


def fields_of(owner: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a part of a job (`shape`, `bus`; empty: of the job itself) by the options that are given.

    Raises `BadConfig`.
    """
    return {one.member: _field(one, given) for one in of_owner(owner) if one.parameter in given}


def _field(option: "Option", given: Mapping[str, Any]) -> Any:
    """The value of a field, made of what typer has made of an option."""
    value = given[option.parameter]
    if (read := _READERS.get(option.field)) is not None:
        return read(given)
    if option.several:
        return tuple(value or ())
    return value.value if option.choices and value is not None else value


def groups_of(*, ordered: bool, groups: int | None) -> int | None:
    """How many groups flows are hashed into, None where no order is kept. Raises `BadConfig`."""
    from pcapeda.aws.quotas import GROUPS_V2

    if groups is not None and not ordered:
        raise BadConfig("--groups says how --ordered keeps the order: give --ordered too")
    return (groups if groups is not None else GROUPS_V2) if ordered else None


def parse_sample(text: str | None) -> int | None:
    """The N of `1/N`. Raises `BadConfig`."""
    if text is None:
        return None
    match = re.fullmatch(r"1/([1-9][0-9]{0,8})", text, re.ASCII)
    if match is None:
        from pcapeda.aws.quotas import shown

        raise BadConfig(f"--sample {shown(text)}: not a share of flows", hint="as in --sample 1/100")
    return int(match[1])


def parameters_of(given: list[str] | None) -> dict[str, str]:
    """`--parameter K=V`, and the files of `--parameter @FILE`, as a mapping; values win. Raises `BadConfig`."""
    from pcapeda.rules.sources.assembly import read_parameters

    parameters: dict[str, str] = {}
    held: dict[str, str] = {}
    for one in given or ():
        file = one.removeprefix("@") if one.startswith("@") else one.removeprefix("file://")
        if file != one and file:
            held |= read_parameters(file)
            continue
        name, equals, value = one.partition("=")
        if not equals or not name:
            raise BadConfig(
                f"--parameter {one}: it must look like NAME=VALUE, or @FILE",
                hint="a file of parameters: the AWS CLI's or CodePipeline's JSON, a plain map, or samconfig.toml",
            )
        parameters[name] = value
    return held | parameters


def _tunnels(given: Mapping[str, Any]) -> tuple[tuple[int, str], ...]:
    from pcapeda.dissect import tunnel_ports

    return tunnel_ports.parse(given["tunnel"] or ())


_READERS: Mapping[str, Callable[[Mapping[str, Any]], Any]] = {
    "tunnels": _tunnels,
    "parameters": lambda given: tuple(parameters_of(given["parameter"]).items()),
    "sample": lambda given: parse_sample(given["sample"]),
    "bus.groups": lambda given: groups_of(ordered=given["ordered"], groups=given["groups"]),
}
"""The fields that are not what their option says word for word."""
