"""`pcapeda inspect`: what is in captures, and what it would cost to replay them."""

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pcapeda.cli import options
from pcapeda.cli.interfaces import Format
from pcapeda.cli.running import stopped_by_signals

if TYPE_CHECKING:
    from pcapeda.report import Report
    from pcapeda.sinks.traffic_stats import TrafficStatsSink

TOP = 10


def inspect(
    captures: Annotated[
        list[str],
        typer.Argument(metavar="CAPTURE...", help="Capture files, folders of them, or '-' for standard input."),
    ],
    filter: options.FilterOption = None,  # noqa: A002 - the option's name, as everywhere
    port: options.PortOption = None,
    decapsulate: options.DecapsulateOption = False,
    tunnel: options.TunnelOption = None,
    shape: options.ShapeOption = options.ShapeName.FULL,
    output: Annotated[
        Format, typer.Option("-o", "--output", help="Tables for people or JSON for programs.")
    ] = Format.PRETTY,
) -> None:
    """Show what captures hold, and what replaying them would cost."""
    from pcapeda.dissect import tunnel_ports
    from pcapeda.engine.job import Job
    from pcapeda.engine.run import execute
    from pcapeda.events.shape import Shape
    from pcapeda.sinks.traffic_stats import TrafficStatsSink
    from pcapeda.ui.terminal import ConsoleReporter, open_console

    job = Job(
        captures=tuple(captures),
        filter=filter,
        ports=frozenset(port or ()),
        decapsulate=decapsulate,
        tunnels=tunnel_ports.parse(tunnel or ()),
        shape=Shape(shape.value),
    )
    survey = TrafficStatsSink()
    talk = ConsoleReporter(open_console(sys.stderr), progress=True, costs_money=False)
    with stopped_by_signals(talk.stopped) as stop:
        try:
            report = execute(job, sink=survey, observer=talk, stop=stop)
        finally:
            talk.close()
    if output is Format.JSON:
        typer.echo(json.dumps(as_data(report, survey), indent=2))
    else:
        show(report, survey)
    raise typer.Exit(report.status())


def as_data(report: "Report", survey: "TrafficStatsSink") -> dict[str, Any]:
    """The findings as JSON data; sizes in bytes, times in ISO 8601 (UTC), cost in USD."""
    from pcapeda.aws import quotas
    from pcapeda.units import time_text

    span = (report.last_ns or 0) - (report.first_ns or 0)
    return {
        "Frames": report.frames,
        "Segments": report.segments,
        "Datagrams": report.datagrams + report.reassembled,
        "Reassembled": report.reassembled,
        "Fragments": {
            "Read": report.fragments,
            "Used": report.used,
            "GivenUp": dict(report.expired),
            "Waiting": report.held,
        },
        "Skipped": [
            {"SkipReason": why.value, "Layer": layer, "Count": count}
            for (why, layer), count in report.skips.most_common()
        ],
        "NotSelected": dict(report.unselected),
        "FirstTime": None if report.first_ns is None else time_text(report.first_ns),
        "LastTime": None if report.last_ns is None else time_text(report.last_ns),
        "Seconds": span / 1e9,
        "DestinationPorts": [{"Port": port, "Count": count} for port, count in survey.ports.most_common(TOP)],
        "Sources": [{"IpAddress": address, "Count": count} for address, count in survey.sources.top(TOP)],
        "Destinations": [{"IpAddress": address, "Count": count} for address, count in survey.destinations.top(TOP)],
        "CountsMayBeHighBy": max(survey.sources.error, survey.destinations.error),
        "Payload": {
            "Bytes": survey.payload_bytes,
            "Smallest": survey.smallest,
            "Largest": survey.largest,
            "Below": {str(1 << power): count for power, count in sorted(survey.sizes.items())},
        },
        "Replay": {
            "Events": report.sent,
            "Requests": quotas.requests_for(report.sent, report.bytes_sent),
            "BilledEvents": report.chunks,
            "Bytes": report.bytes_sent,
            "Usd": round(quotas.cost_usd(report.chunks), 6),
        },
        "Damages": [str(damage) for damage in report.damages],
        "Problems": list(report.failures),
    }


def show(report: "Report", survey: "TrafficStatsSink") -> None:
    """The findings as tables on standard output."""
    from pcapeda.aws import quotas
    from pcapeda.ui.terminal import SERVICES, open_console, plural, show_summary, show_table, usd
    from pcapeda.units import time_text

    console = open_console(sys.stdout)
    show_summary(report, console, delivered="counted", costs_money=False)
    if report.first_ns is not None and report.last_ns is not None:
        seconds = (report.last_ns - report.first_ns) / 1e9
        console.print(f"time       {time_text(report.first_ns)} to {time_text(report.last_ns)} ({seconds:,.3f} s)")
    if survey.smallest is not None and survey.largest is not None:
        mean = survey.payload_bytes / max(report.sent, 1)
        extent = f"{survey.smallest:,} to {survey.largest:,}, on average {mean:,.0f}"
        console.print(f"payload    {survey.payload_bytes:,} bytes: {extent}")
    requests = quotas.requests_for(report.sent, report.bytes_sent)
    console.print(
        f"to replay  {plural(report.sent, 'event')} in {plural(requests, 'request')}, "
        f"{report.chunks:,} billed: about {usd(quotas.cost_usd(report.chunks))}"
    )
    total = max(report.sent, 1)
    console.print()
    show_table(
        console,
        "Destination ports",
        (">port", "usually", ">datagrams", ">share"),
        [
            (str(port), SERVICES.get(port, ""), f"{count:,}", f"{count / total:.0%}")
            for port, count in survey.ports.most_common(TOP)
        ],
    )
    for title, tally in (("Sources", survey.sources), ("Destinations", survey.destinations)):
        about = f" (counts may be up to {tally.error:,} too high)" if tally.error else ""
        rows = [(address, f"{count:,}", f"{count / total:.0%}") for address, count in tally.top(TOP)]
        show_table(console, title + about, ("address", ">datagrams", ">share"), rows)
