"""`pcapeda help [COMMAND…]` and `pcapeda version`, for those who do not think of `--help` and `--version`."""

from typing import Annotated, Any

import typer

from pcapeda.cli import habits
from pcapeda.errors import BadConfig


def names(context: typer.Context, incomplete: str) -> list[str]:
    """Commands, for shell completion."""
    group: Any = context.find_root().command
    return [name for name in group.commands if name.startswith(incomplete)]


def show_help(
    context: typer.Context,
    command: Annotated[
        list[str] | None,
        typer.Argument(metavar="COMMAND...", help="As in `pcapeda help rules test`.", autocompletion=names),
    ] = None,
) -> None:
    """Show the help of a command."""
    there: Any = context.find_root()
    for name in command or ():
        below = getattr(there.command, "commands", {})
        if name not in below:
            near = habits.nearest(name, [*below])
            raise BadConfig(
                f"{there.command_path} has no command {name!r}"
                + (f": do you mean {there.command_path} {near}?" if near else f": see {there.command_path} --help")
            )
        there = type(there)(below[name], info_name=name, parent=there)
    typer.echo(there.get_help().rstrip())


def show_version() -> None:
    """Show the version."""
    from pcapeda._version import __version__

    typer.echo(f"pcapeda {__version__}")
