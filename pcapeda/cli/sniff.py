"""`pcapeda sniff`: datagrams on an interface become events as they arrive."""

from typing import Annotated, Any

import typer

from pcapeda.cli import options
from pcapeda.cli.running import carry_out, make_job

LIVE = "Live"


@options.with_shared
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
        options.number("duration_s", metavar="S", help="Stop after S seconds.", panel=LIVE),
    ] = None,
    write: Annotated[
        str | None,
        typer.Option("-w", "--write", metavar="FILE", help="Keep the frames in a pcapng file.", rich_help_panel=LIVE),
    ] = None,
    buffer_mib: Annotated[
        int,
        options.number("buffer_mib", metavar="N", help="Kernel receive buffer in MiB.", panel=LIVE),
    ] = 128,
    drop_privileges: Annotated[
        str | None,
        typer.Option(
            "--drop-privileges",
            metavar="USER[:GROUP]",
            help="Become this user for good once the sockets are open.",
            rich_help_panel=LIVE,
        ),
    ] = None,
    **given: Any,
) -> None:
    """Emit UDP datagrams as EventBridge events while they arrive on an interface.

    To a bus, 50 events a second at most and 10 of one source, unless --max-rate and --max-rate-per-source say
    otherwise: a flood must not become a bill.
    """
    from pcapeda.engine.build import rate_in_force

    job = make_job(given, interfaces=tuple(interface), duration_s=duration, write=write, buffer_mib=buffer_mib)
    raise typer.Exit(carry_out(job, given, first_words=rate_in_force, drop_to=drop_privileges))
