"""`pcapeda replay`: the datagrams of captures become events."""

from contextlib import ExitStack
from typing import Annotated, Any

import typer

from pcapeda.cli import options
from pcapeda.cli.running import carry_out, make_job


@options.with_declared
def replay(
    captures: Annotated[
        list[str],
        typer.Argument(metavar="CAPTURE...", help="Capture files, folders of them, or '-' for standard input."),
    ],
    **given: Any,
) -> None:
    """Emit the UDP datagrams of capture files as EventBridge events.

    As fast as possible unless a clock is set.
    """
    with ExitStack() as stack:
        workers = None
        if given["jobs"] > 1:
            from pcapeda.engine.worker_processes import Workers

            workers = stack.enter_context(Workers(given["jobs"] - 1))  # they get ready while this process does
        from pcapeda.engine.build import forecast

        job = make_job(given, captures=tuple(captures))
        raise typer.Exit(carry_out(job, given, first_words=forecast, workers=workers))
