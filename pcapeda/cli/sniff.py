"""`pcapeda sniff`: datagrams on an interface become events as they arrive."""

from typing import Annotated

import typer

from pcapeda.cli import options
from pcapeda.cli.running import carry_out, choose_sink, make_job

LIVE = "Live"


def sniff(
    interface: Annotated[
        list[str],
        typer.Option(
            "-i",
            "--interface",
            metavar="IFACE",
            help="Where to listen; 'any' is all. Repeatable.",
            rich_help_panel=LIVE,
        ),
    ],
    duration: Annotated[
        float | None,
        typer.Option("--duration", metavar="S", min=0, help="Stop after S seconds.", rich_help_panel=LIVE),
    ] = None,
    write: Annotated[
        str | None,
        typer.Option("-w", "--write", metavar="FILE", help="Keep the frames in a pcapng file.", rich_help_panel=LIVE),
    ] = None,
    buffer_mib: Annotated[
        int,
        typer.Option(
            "--buffer-mib", metavar="N", min=1, max=2047, help="Kernel receive buffer in MiB.", rich_help_panel=LIVE
        ),
    ] = 64,
    filter: options.FilterOption = None,  # noqa: A002 - the option's name, as everywhere
    count: options.CountOption = None,
    port: options.PortOption = None,
    decapsulate: options.DecapsulateOption = False,
    fragment_age: options.FragmentAgeOption = 30.0,
    fragment_mib: options.FragmentMibOption = 64,
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
    spool: options.SpoolOption = None,
    spool_max_mib: options.SpoolMaxMibOption = None,
    when_full: options.WhenFullOption = None,
    grace: options.GraceOption = 10.0,
    dry_run: options.DryRunOption = False,
    output: options.OutputOption = None,
    quiet: options.QuietOption = False,
    verbose: options.VerboseOption = False,
) -> None:
    """Emit UDP datagrams as EventBridge events while they arrive on an interface.

    To a bus, 50 events a second at most and 10 of one source, unless --max-rate and --max-rate-per-source say
    otherwise: a flood must not become a bill.

    Try it without an account:

        sudo pcapeda sniff -i eth0 --port 514 --dry-run
    """
    given = locals()
    from pcapeda.pipeline import rate_in_force

    job = make_job(given, interfaces=tuple(interface), duration_s=duration, write=write, buffer_mib=buffer_mib)
    sink = choose_sink(job, dry_run=dry_run, output=output, verbose=verbose)
    first_words = (rate_in_force(job),) if sink.costs_money else ()
    raise typer.Exit(carry_out(job, sink, quiet=quiet, first_words=first_words))
