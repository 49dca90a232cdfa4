"""Options from the environment: `--max-rate` is also `PCAPEDA_MAX_RATE`, for every option of every command.

A flag wins over the environment; an empty variable is none. Flags without a value take 1 or 0; of an option that may be
given several times the values stand in a row, quoted as in a shell where they hold blanks. Options that end the command
(`--help`, `--version`, those of shell completion) have no variable: set by accident they would make it do nothing.
"""

import os
import shlex
from collections.abc import Iterator
from difflib import get_close_matches
from functools import partial
from typing import Any

import typer

PREFIX = "PCAPEDA_"

_USED = "pcapeda.environment"
"""Where a context keeps which option took its value from which variable."""

_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


def bind(param: Any) -> None:
    """Let an option of click's take its value from its variable."""
    if param.param_type_name != "option" or param.is_eager:
        return
    param.envvar = variable(long_name(param))
    param.value_from_envvar = partial(_value, param)


def long_name(param: Any) -> str:
    """The name of an option, as in `--max-rate`."""
    return str(max(param.opts, key=len))


def variable(option: str) -> str:
    """The variable of an option: `PCAPEDA_MAX_RATE` for `--max-rate`."""
    return PREFIX + option.lstrip("-").replace("-", "_").upper()


def origin(context: Any, option: str) -> str:
    """What a person has to mend: the option, or the variable that it took its value from."""
    return str(context.meta.get(_USED, {}).get(option, option))


def _value(param: Any, context: Any) -> Any:
    text = os.environ.get(param.envvar)
    if not text:
        return None
    context.meta.setdefault(_USED, {})[long_name(param)] = param.envvar
    if param.is_flag:
        if text.lower() not in (*_TRUE, *_FALSE):
            raise typer.BadParameter(f"{text!r} is neither 1 nor 0", ctx=context, param=param)
        return text.lower() in _TRUE
    if not param.multiple:
        return text
    try:
        return shlex.split(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r}: {error}".lower(), ctx=context, param=param) from None


def unknown(command: Any) -> Iterator[str]:
    """A sentence for each variable that looks like one of ours and belongs to no option of any command."""
    known = set(variables(command))
    for name in sorted(os.environ):
        if name.startswith(PREFIX) and name not in known and not _of_kubernetes(name):
            near = get_close_matches(name, known, 1)
            yield f"{name} is no option's variable and does nothing" + (f"; do you mean {near[0]}?" if near else "")


def variables(command: Any) -> Iterator[str]:
    """The variables of a command and of all commands below it."""
    yield from (param.envvar for param in command.params if param.envvar)
    for below in getattr(command, "commands", {}).values():
        yield from variables(below)


def _of_kubernetes(name: str) -> bool:
    """Whether it is one of those that Kubernetes sets for a service that is called pcapeda."""
    rest = name.removeprefix(PREFIX)
    return rest.startswith("SERVICE_") or (rest.startswith("PORT_") and rest.split("_")[1].isdigit())
