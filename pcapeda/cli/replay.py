"""`pcapeda replay`: the datagrams of captures become events."""

from typing import Annotated

import typer

from pcapeda.cli import options
from pcapeda.cli.running import carry_out, choose_sink, make_job

CLOCK = "Clock"


def replay(
    captures: Annotated[
        list[str],
        typer.Argument(metavar="CAPTURE...", help="Capture files, folders of them, or '-' for standard input."),
    ],
    filter: options.FilterOption = None,  # noqa: A002 - the option's name, as everywhere
    count: options.CountOption = None,
    port: options.PortOption = None,
    decapsulate: options.DecapsulateOption = False,
    fragment_age: options.FragmentAgeOption = 30.0,
    fragment_mib: options.FragmentMibOption = 64,
    speed: Annotated[
        float | None,
        typer.Option(
            "-x", "--speed", metavar="F", help="Keep the captured gaps, F times as fast.", rich_help_panel=CLOCK
        ),
    ] = None,
    pps: Annotated[
        float | None,
        typer.Option("--pps", metavar="N", help="Emit N datagrams a second, evenly.", rich_help_panel=CLOCK),
    ] = None,
    maxsleep: Annotated[
        float | None,
        typer.Option(
            "--maxsleep", metavar="S", min=0, help="With --speed: no silence over S seconds.", rich_help_panel=CLOCK
        ),
    ] = None,
    loop: Annotated[
        int,
        typer.Option("-l", "--loop", metavar="N", min=0, help="Replay N times (0: for ever).", rich_help_panel=CLOCK),
    ] = 1,
    rules: options.RulesOption = None,
    parameter: options.ParameterOption = None,
    only_matching: options.OnlyMatchingOption = False,
    source: options.SourceOption = None,
    detail_type: options.DetailTypeOption = None,
    resource: options.ResourceOption = None,
    shape: options.ShapeOption = options.ShapeName.FULL,
    aggregate: options.AggregateOption = None,
    max_flows: options.MaxFlowsOption = 1000,
    group: options.GroupOption = None,
    group_wait: options.GroupWaitOption = 1.0,
    report_events: options.ReportEventsOption = None,
    text: options.TextOption = False,
    json_payload: options.JsonPayloadOption = False,
    time: options.TimeOption = options.Time.CAPTURE,
    bus: options.BusOption = None,
    region: options.RegionOption = None,
    profile: options.ProfileOption = None,
    endpoint_url: options.EndpointUrlOption = None,
    max_request_bytes: options.MaxRequestBytesOption = 1_000_000,
    max_rate: options.MaxRateOption = None,
    burst: options.BurstOption = None,
    max_rate_per_source: options.MaxRatePerSourceOption = None,
    allow: options.AllowOption = None,
    deny: options.DenyOption = None,
    sample: options.SampleOption = None,
    max_events: options.MaxEventsOption = None,
    max_cost: options.MaxCostOption = None,
    price: options.PriceOption = 1.0,
    checkpoint: Annotated[
        str | None,
        typer.Option(
            "--checkpoint",
            metavar="FILE",
            help="Remember there what has been delivered, and go on from it.",
            rich_help_panel=options.SAFETY,
        ),
    ] = None,
    spool: options.SpoolOption = None,
    spool_max_mib: options.SpoolMaxMibOption = None,
    when_full: options.WhenFullOption = None,
    grace: options.GraceOption = 10.0,
    dry_run: options.DryRunOption = False,
    output: options.OutputOption = None,
    quiet: options.QuietOption = False,
    verbose: options.VerboseOption = False,
) -> None:
    """Emit the UDP datagrams of capture files as EventBridge events.

    As fast as possible unless a clock is set. Try it without an account:

        pcapeda replay capture.pcap --dry-run
    """
    given = locals()
    from pcapeda.pipeline import forecast

    job = make_job(
        given, captures=tuple(captures), speed=speed, pps=pps, max_sleep_s=maxsleep, loop=loop, checkpoint=checkpoint
    )
    sink = choose_sink(job, dry_run=dry_run, output=output, verbose=verbose)
    first_words = (forecast(job),) if sink.costs_money else ()
    raise typer.Exit(carry_out(job, sink, quiet=quiet, first_words=first_words))
