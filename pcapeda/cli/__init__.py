"""The command line: a thin coat on the library, one file a command.

Only typer is imported here; what a command needs it imports when it runs, so that `--help` is instant.
"""

import sys
from types import TracebackType
from typing import Annotated, Any, NoReturn

import typer

from pcapeda.cli.inspect import inspect
from pcapeda.cli.interfaces import interfaces
from pcapeda.cli.replay import replay
from pcapeda.cli.resend import resend
from pcapeda.cli.rules import app as rules_app
from pcapeda.cli.schema import schema
from pcapeda.cli.sniff import sniff
from pcapeda.cli.streams import take_over
from pcapeda.errors import ExitStatus, OutputClosed, PcapedaError

app = typer.Typer(
    name="pcapeda",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def show_version(wanted: bool) -> None:
    """Print the version and end."""
    if wanted:
        from pcapeda import __version__

        typer.echo(f"pcapeda {__version__}")
        raise typer.Exit


def complain(error: PcapedaError) -> None:
    """Say what is wrong, in the way that was asked for."""
    if json_asked(sys.argv[1:]):
        from pcapeda.log import JsonLog

        JsonLog().complain(error)
    else:
        from pcapeda.view import complain as say

        say(error)


@app.callback(
    epilog="Exit codes: 0 all delivered · 1 something was not · 2 bad usage or input · "
    "3 no rights, no credentials or no bus · 130 interrupted"
)
def pcapeda(
    version: Annotated[
        bool, typer.Option("--version", "-V", callback=show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """UDP as an event source for AWS: datagrams become Amazon EventBridge events."""


for command in (replay, sniff, resend, inspect, interfaces, schema):
    app.command(name=command.__name__)(command)
app.add_typer(rules_app, name="rules")

# typer brings its own click; its base of everything that is wrong with a command line has no public name of its own.
_UsageProblem: Any = typer.BadParameter.__mro__[2]


def json_asked(arguments: list[str]) -> bool:
    """Whether a command line, however wrong, asks for `--log json`."""
    pairs = zip(arguments, [*arguments[1:], ""], strict=True)
    return any(one == "--log=json" or (one == "--log" and value == "json") for one, value in pairs)


def show_defect(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    """The trace of a defect, which may hold words of others, without secrets."""
    import traceback

    from pcapeda.mask import masked

    sys.stderr.write(masked("".join(traceback.format_exception(kind, error, trace))))


def main() -> NoReturn:
    """Run the command line. Every foreseeable problem is one line on stderr and a documented exit code."""
    take_over()
    if json_asked(sys.argv[1:]):
        from pcapeda import log

        log.take_over()
    else:
        sys.excepthook = show_defect
    try:
        status = app(standalone_mode=False, prog_name="pcapeda")  # not the name of a file that anyone may choose
        sys.stdout.flush()
    except OutputClosed:
        status = ExitStatus.OK
    except _UsageProblem as problem:
        context = getattr(problem, "ctx", None)
        where = context.command_path if context is not None else "pcapeda"
        complain(PcapedaError(" ".join(problem.format_message().split()), hint=f"see {where} --help"))
        status = ExitStatus.USAGE
    except PcapedaError as error:
        complain(error)
        status = error.status
    except (KeyboardInterrupt, typer.Abort):
        status = ExitStatus.INTERRUPTED
    sys.exit(int(status or 0))
