"""`pcapeda resend`: what waits in a spool is delivered."""

from contextlib import closing
from typing import Annotated, Any, Literal

import typer

from pcapeda.cli import options
from pcapeda.cli.running import fields_of, open_reporter, stopped_by_signals


@options.with_declared
def resend(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="The folder that was given as --spool.")],
    dead: Annotated[
        bool, typer.Option("--dead", help="Try the dead letters: events that were refused for good.")
    ] = False,
    limited: Annotated[
        bool, typer.Option("--limited", help="Deliver what limits kept back, by --spool-limited. No limit holds here.")
    ] = False,
    **given: Any,
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
    told = spool_target(folder)
    known = told is not None or given["bus"] is not None or given["endpoint_url"] is not None
    meant = told or Bus()
    asked = Bus(**fields_of("bus", given))
    target = replace(
        asked,
        name=asked.name if asked.name is not None else meant.name,
        region=asked.region if asked.region is not None else meant.region,
        profile=asked.profile if asked.profile is not None else meant.profile,
        endpoint_url=asked.endpoint_url if asked.endpoint_url is not None else meant.endpoint_url,
    )
    if target.v2:  # the groups that keep an order are in the events themselves
        target = replace(target, groups=meant.groups, raw=asked.raw or meant.raw)
    target.check()
    tariff = quotas.tariff(v2=target.v2, price=given["price"])
    reporter = open_reporter(given, costs_money=True, tariff=tariff, progress=True)
    with stopped_by_signals(reporter.stopped) as stop, closing(reporter):
        report = deliver(
            folder,
            target if known else None,
            aside=aside,
            grace_s=given["grace"],
            patience_s=given["patience"],
            observer=reporter,
            stop=stop,
            on_step=reporter.drained,
        )
    if report.ended_by is not None:
        reporter.complain(report.ended_by)
    reporter.summary(report)
    raise typer.Exit(report.status())
