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

    Try it without an account:

        sudo pcapeda sniff -i eth0 --port 514 --dry-run
    """
    from pcapeda.parts import rate_in_force

    job = make_job(given, interfaces=tuple(interface), duration_s=duration, write=write, buffer_mib=buffer_mib)
    raise typer.Exit(carry_out(job, given, first_words=rate_in_force, drop_to=drop_privileges))
