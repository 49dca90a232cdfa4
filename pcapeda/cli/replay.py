"""`pcapeda replay`: the datagrams of captures become events."""

from contextlib import ExitStack
from typing import Annotated, Any

import typer

from pcapeda.cli import options
from pcapeda.cli.running import carry_out, make_job

CLOCK = "Clock and speed"


@options.with_shared
def replay(  # long: its options are its arguments
    captures: Annotated[
        list[str],
        typer.Argument(metavar="CAPTURE...", help="Capture files, folders of them, or '-' for standard input."),
    ],
    speed: Annotated[
        float | None,
        options.number(
            "speed", "-x", "--speed", metavar="F", help="Keep the captured gaps, F times as fast.", panel=CLOCK
        ),
    ] = None,
    pps: Annotated[
        float | None,
        options.number("pps", metavar="N", help="Emit N datagrams a second, evenly.", panel=CLOCK),
    ] = None,
    maxsleep: Annotated[
        float | None,
        options.number("max_sleep_s", metavar="S", help="With --speed: no silence over S seconds.", panel=CLOCK),
    ] = None,
    loop: Annotated[
        int,
        options.number("loop", "-l", "--loop", metavar="N", help="Replay N times (0: for ever).", panel=CLOCK),
    ] = 1,
    jobs: Annotated[
        int,
        options.number(
            "jobs",
            "-j",
            "--jobs",
            metavar="N",
            help="Processes that decode, for several captures or one large one; the events stay the same.",
            panel=CLOCK,
        ),
    ] = 1,
    checkpoint: Annotated[
        str | None,
        typer.Option(
            "--checkpoint",
            metavar="FILE",
            help="Remember there what has been delivered, and go on from it.",
            rich_help_panel=options.SAFETY,
        ),
    ] = None,
    **given: Any,
) -> None:
    """Emit the UDP datagrams of capture files as EventBridge events.

    As fast as possible unless a clock is set.
    """
    with ExitStack() as stack:
        workers = None
        if jobs > 1:
            from pcapeda.engine.worker_processes import Workers

            workers = stack.enter_context(Workers(jobs - 1))  # they get ready while this process does
        from pcapeda.engine.build import forecast

        job = make_job(
            given,
            captures=tuple(captures),
            speed=speed,
            pps=pps,
            max_sleep_s=maxsleep,
            loop=loop,
            jobs=jobs,
            checkpoint=checkpoint,
        )
        raise typer.Exit(carry_out(job, given, first_words=forecast, workers=workers))
