"""`pcapeda resend`: what waits in a spool is delivered."""

from contextlib import closing
from typing import Annotated, Literal

import typer

from pcapeda.cli import options
from pcapeda.cli.running import open_reporter, stopped_by_signals


def resend(  # long: its options are its arguments
    folder: Annotated[str, typer.Argument(metavar="DIR", help="The folder that was given as --spool.")],
    dead: Annotated[
        bool, typer.Option("--dead", help="Try the dead letters: events that were refused for good.")
    ] = False,
    limited: Annotated[
        bool, typer.Option("--limited", help="Deliver what limits kept back, by --spool-limited. No limit holds here.")
    ] = False,
    bus: options.BusOption = None,
    region: options.RegionOption = None,
    profile: options.ProfileOption = None,
    endpoint_url: options.EndpointUrlOption = None,
    max_request_bytes: options.MaxRequestBytesOption = 1_000_000,
    transport: options.TransportOption = options.Transport.FAST,
    raw: options.RawOption = False,
    price: options.PriceOption = None,
    grace: options.GraceOption = 10.0,
    patience: options.PatienceOption = 300.0,
    quiet: options.QuietOption = False,
    log: options.LogOption = options.Log.TEXT,
) -> None:
    """Deliver what a spool has kept, oldest first, to the bus it was meant for.

    Ctrl-C ends it at any point: what was not delivered stays in the spool.
    """
    from dataclasses import replace

    from pcapeda.aws import quotas
    from pcapeda.aws.bus import Bus
    from pcapeda.engine.build import spool_target
    from pcapeda.engine.run import resend as deliver
    from pcapeda.errors import BadConfig

    if dead and limited:
        raise BadConfig("--dead and --limited are two places in a spool: give one of them")
    aside: Literal["dead", "limited"] | None = "dead" if dead else "limited" if limited else None
    recorded = spool_target(folder)
    known = recorded is not None or bus is not None or endpoint_url is not None
    meant = recorded or Bus()
    target = Bus(
        bus if bus is not None else meant.name,
        region if region is not None else meant.region,
        profile if profile is not None else meant.profile,
        endpoint_url if endpoint_url is not None else meant.endpoint_url,
        max_request_bytes,
        transport.value,
    )
    if target.v2:  # the groups that keep an order are in the events themselves
        target = replace(target, groups=meant.groups, raw=raw or meant.raw)
    elif raw:
        target = replace(target, raw=True)
    target.check()
    tariff = quotas.tariff(v2=target.v2, price=price)
    reporter = open_reporter({"log": log, "quiet": quiet}, costs_money=True, tariff=tariff, progress=True)
    with stopped_by_signals(reporter.stopped) as stop, closing(reporter):
        report = deliver(
            folder,
            target if known else None,
            aside=aside,
            grace_s=grace,
            patience_s=patience,
            observer=reporter,
            stop=stop,
            on_step=reporter.drained,
        )
    if report.ended_by is not None:
        reporter.complain(report.ended_by)
    reporter.summary(report)
    raise typer.Exit(report.status())
