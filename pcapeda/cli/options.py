"""The declared options as typer's: those of the commands that run a job, and single ones for the others."""

import inspect
from collections.abc import Callable, Iterable
from typing import Annotated, Any, TypeVar

import typer

from pcapeda.options import Option
from pcapeda.options import table as table
from pcapeda.options.table import EVENT as EVENT
from pcapeda.options.table import RULES as RULES
from pcapeda.options.table import Log as Log
from pcapeda.options.table import Output as Output
from pcapeda.options.table import ShapeName as ShapeName

Command = TypeVar("Command", bound=Callable[..., None])


def option(name: str) -> Any:
    """The typer option that is declared for a parameter, as in `max_rate`."""
    return _typed(table.named(name))


def _typed(one: Option) -> Any:
    bounds = one.bounds if one.kind is not str else None
    return typer.Option(
        *one.names,
        min=bounds and bounds.least,
        max=bounds and bounds.most,
        metavar=one.metavar,
        help=one.help,
        rich_help_panel=one.panel,
    )


def with_declared(command: Command) -> Command:
    """Give a command that takes `**given` the options declared for it. Its own parameters come first."""
    return _with(command, table.of_command(command.__name__))


def with_named(*names: str) -> Callable[[Command], Command]:
    """Give a command that takes `**given` single options, by their parameters. Its own parameters come first."""
    return lambda command: _with(command, map(table.named, names))


def _with(command: Command, wanted: Iterable[Option]) -> Command:
    # typer reads what a function takes off its signature
    own = [one for one in inspect.signature(command).parameters.values() if one.kind is not one.VAR_KEYWORD]
    parameters = [*own, *map(_parameter, wanted)]
    described: Any = command
    described.__signature__ = inspect.Signature(parameters, return_annotation=None)
    described.__annotations__ = {one.name: one.annotation for one in parameters}
    return command


def _parameter(one: Option) -> inspect.Parameter:
    kind: Any = list[one.kind] if one.several else one.kind  # type: ignore[name-defined]
    if one.default is None and not one.required:
        kind |= None
    return inspect.Parameter(
        one.parameter,
        inspect.Parameter.KEYWORD_ONLY,
        default=inspect.Parameter.empty if one.required else one.default,
        annotation=Annotated[kind, _typed(one)],
    )


# For commands with a signature of their own.
FilterOption = Annotated[str | None, option("filter")]
PortOption = Annotated[list[int] | None, option("port")]
DecapsulateOption = Annotated[bool, option("decapsulate")]
TunnelOption = Annotated[list[str] | None, option("tunnel")]
RulesOption = Annotated[list[str] | None, option("rules")]
ParameterOption = Annotated[list[str] | None, option("parameter")]
SourceOption = Annotated[str | None, option("source")]
DetailTypeOption = Annotated[str | None, option("detail_type")]
ShapeOption = Annotated[ShapeName, option("shape")]
TextOption = Annotated[bool, option("text")]
TextEncodingOption = Annotated[str | None, option("text_encoding")]
JsonPayloadOption = Annotated[bool, option("json_payload")]
RegionOption = Annotated[str | None, option("region")]
ProfileOption = Annotated[str | None, option("profile")]
EndpointUrlOption = Annotated[str | None, option("endpoint_url")]
