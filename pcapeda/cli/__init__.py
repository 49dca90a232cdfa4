"""The command line: a thin coat on the library, one file a command.

Only typer is imported here; what a command needs it imports when it runs, so that `--help` is instant.
"""

import os
import sys
from itertools import pairwise
from types import TracebackType
from typing import Annotated, NoReturn

import typer

from pcapeda.cli import environment, habits
from pcapeda.cli.help import show_help, show_version
from pcapeda.cli.inspect import inspect
from pcapeda.cli.interfaces import interfaces
from pcapeda.cli.page import Application
from pcapeda.cli.replay import replay
from pcapeda.cli.resend import resend
from pcapeda.cli.rules import app as rules_app
from pcapeda.cli.schema import schema
from pcapeda.cli.sniff import sniff
from pcapeda.cli.streams import take_over
from pcapeda.errors import ExitStatus, OutputClosed, PcapedaError

app = Application(name="pcapeda", context_settings={"help_option_names": ["-h", "--help"]})


def version_asked(wanted: bool) -> None:
    """Print the version and end."""
    if wanted:
        show_version()
        raise typer.Exit


def complain(error: PcapedaError) -> None:
    """Say what is wrong, in the way that was asked for."""
    if json_asked(sys.argv[1:]):
        from pcapeda.ui.json_log import JsonLog

        JsonLog().complain(error)
    else:
        from pcapeda.ui.terminal import complain as say

        say(error)


def warn(sentence: str) -> None:
    """Say what is doubtful, in the way that was asked for."""
    if json_asked(sys.argv[1:]):
        from pcapeda.ui.json_log import JsonLog

        JsonLog().note(sentence)
    else:
        typer.echo(f"pcapeda: {sentence}", err=True)


@app.callback()
def pcapeda(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", "-V", callback=version_asked, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """UDP as an event source for AWS: datagrams become Amazon EventBridge events."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help().rstrip())
    elif context.invoked_subcommand not in ("help", "version"):
        for sentence in environment.unknown(context.command):
            warn(sentence)


for command in (replay, sniff, inspect, resend, interfaces, schema):
    app.command(command.__name__)(command)
app.command("help")(show_help)
app.command("version")(show_version)
app.add_typer(rules_app, name="rules")


def json_asked(arguments: list[str]) -> bool:
    """Whether a command line, however wrong, asks for `--log json`."""
    given = os.environ.get("PCAPEDA_LOG")
    for one, value in pairwise([*arguments, ""]):
        if one.startswith("--log="):
            given = one.removeprefix("--log=")
        elif one == "--log":
            given = value
    return given == "json"


def show_defect(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    """The trace of a defect, which may hold words of others, without secrets."""
    import traceback

    from pcapeda.safety.masking import masked

    sys.stderr.write(masked("".join(traceback.format_exception(kind, error, trace))))


def main() -> NoReturn:
    """Run the command line. Every foreseeable problem is one line on stderr and a documented exit code."""
    take_over()
    if json_asked(sys.argv[1:]):
        from pcapeda.ui import json_log

        json_log.take_over()
    else:
        sys.excepthook = show_defect
    try:
        status = app(standalone_mode=False, prog_name="pcapeda")  # not the name of a file that anyone may choose
        sys.stdout.flush()
    except OutputClosed:
        status = ExitStatus.OK
    except habits.UsageProblem as problem:
        complain(habits.answer(problem, sys.argv[1:]))
        status = ExitStatus.USAGE
    except PcapedaError as error:
        complain(error)
        status = error.status
    except (KeyboardInterrupt, typer.Abort):
        status = ExitStatus.INTERRUPTED
    sys.exit(int(status or 0))
