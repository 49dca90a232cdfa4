"""`pcapeda sniff`: datagrams on an interface become events as they arrive."""

from typing import Any

import typer

from pcapeda.cli import options
from pcapeda.cli.running import carry_out, make_job


@options.with_declared
def sniff(**given: Any) -> None:
    """Emit UDP datagrams as EventBridge events while they arrive on an interface.

    To a bus, 50 events a second at most and 10 of one source, unless --max-rate and --max-rate-per-source say
    otherwise: a flood must not become a bill.
    """
    from pcapeda.engine.build import rate_in_force

    job = make_job(given)
    raise typer.Exit(carry_out(job, given, first_words=rate_in_force, drop_to=given["drop_privileges"]))
