"""Commands whose help is a page that fits a terminal of 80 columns, and that says what is missing or meant.

typer parses; this decides what the page looks like. A typer application made as `Application` has such commands and
groups throughout, with every option also taken from the environment.
"""

import os
import re
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from pcapeda.cli import environment, habits
from pcapeda.cli.examples import EXAMPLES
from pcapeda.errors import BadField, of_system
from pcapeda.options import bounds

WIDEST, NARROWEST = 100, 40
"""A page is as wide as the terminal within these bounds: longer lines are hard to read."""

NAMES = 24
"""Columns for the names of options; a longer name has a line of its own."""

EXIT_CODES = (
    "Exit codes: 0 all delivered, printed or passed · 1 something was not · 2 bad usage or input · "
    "3 no rights, no credentials, or something is missing that may come back · 130 interrupted"
)
ENVIRONMENT = (
    "Every option may come from the environment: --max-rate from PCAPEDA_MAX_RATE, and so on. The command line wins."
)
ORDER = ("replay", "sniff", "inspect", "rules", "resend", "interfaces", "schema", "help", "version")
"""Commands in the order of need; any others follow."""


class Command(TyperCommand):
    """A command with our page, our words for wrong usage, and options from the environment."""

    def __init__(self, *positional: Any, **named: Any) -> None:
        super().__init__(*positional, **named)
        for param in self.params:
            environment.bind(param)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the page."""
        formatter.write(page(self, ctx))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Take the arguments apart. Habits of other tools that would pass for something else here are refused."""
        habits.check_arguments(self, ctx, args)
        try:
            rest: list[str] = super().parse_args(ctx, args)
        except habits.UsageProblem as problem:
            problem.ctx = problem.ctx or ctx  # not all of them know it
            raise
        habits.check_captures(self, ctx)
        return rest

    def get_help_option(self, ctx: Any) -> Any:
        """The option --help."""
        return _spare(super().get_help_option(ctx))

    def invoke(self, ctx: Any) -> Any:
        """Run it. What is wrong with a field of the library is said by the name of its option, or variable."""
        try:
            return super().invoke(ctx)
        except BadField as error:
            raise error.told(lambda field: _called(field, ctx)) from None
        except OSError as error:  # of a path that nobody looked at more closely: too long a name, a folder in the way
            if error.filename is None or isinstance(error, BrokenPipeError):
                raise
            raise of_system(bounds.shown(os.fsdecode(error.filename)), error) from None


def _spare(param: Any) -> Any:
    """Let a flag that is not given be False, not None, which typer loads pydantic to make None of."""
    if getattr(param, "is_flag", False) and param.default is None:
        param.default = False
    return param


def _called(field: str, context: Any) -> str:
    return "CAPTURE" if field == "captures" else environment.origin(context, f"--{bounds.option(field)}")


class Group(TyperGroup):
    """A group of commands with our page, in the order of need."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the page."""
        formatter.write(page(self, ctx))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Take the arguments apart."""
        for param in self.params:
            _spare(param)
        rest: list[str] = super().parse_args(ctx, args)
        return rest

    def get_help_option(self, ctx: Any) -> Any:
        """The option --help."""
        return _spare(super().get_help_option(ctx))

    def list_commands(self, ctx: Any) -> list[str]:
        """The commands in the order of need."""
        names = super().list_commands(ctx)
        return sorted(names, key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))


class Application(typer.Typer):
    """A typer application of such commands."""

    def __init__(self, **named: Any) -> None:
        super().__init__(cls=Group, invoke_without_command=True, pretty_exceptions_enable=False, **named)

    def command(self, name: str | None = None, **named: Any) -> Callable[[Any], Any]:
        """Register a command."""
        return super().command(name, cls=Command, **named)


def page(command: Any, context: Any) -> str:
    """The help of a command or group of commands."""
    width = max(NARROWEST, min(WIDEST, shutil.get_terminal_size().columns))
    first, _, rest = (command.help or "").partition("\n\n")
    usage = " ".join([context.command_path, *_usage(command)])
    blocks = [_wrapped(first, width), f"{_bold('Usage:')} {usage}"]
    blocks += [_wrapped(paragraph, width) for paragraph in rest.split("\n\n") if paragraph.strip()]
    if shown := EXAMPLES.get(context.command_path.removeprefix("pcapeda").strip(), ()):
        lines = [f"  {line}" if not words else f"  {line}\n{_wrapped(words, width, 6)}" for line, words in shown]
        blocks.append("\n".join([_bold("Examples:"), *lines]))
    blocks += [_panel(title, rows, width) for title, rows in _panels(command, context).items()]
    if any(param.envvar for param in command.params):
        blocks.append(_wrapped(ENVIRONMENT, width))
    blocks.append(_wrapped(EXIT_CODES, width))
    return "\n\n".join(blocks) + "\n"


def _usage(command: Any) -> Iterator[str]:
    yield "[OPTIONS]"
    for param in command.params:
        if param.param_type_name == "argument":
            name = param.metavar or param.name.upper()
            yield name if param.required else f"[{name}]"
        elif param.required:
            yield f"{param.opts[0]} {param.metavar}"
    if hasattr(command, "commands"):
        yield "COMMAND ..."


Rows = list[tuple[str, str]]


def _panels(command: Any, context: Any) -> dict[str, Rows]:
    """What a page lists, by headings: arguments, commands, options in their panels, and what every command has."""
    panels: dict[str, Rows] = {"Arguments": []}
    if hasattr(command, "commands"):
        panels["Commands"] = [
            (name, command.commands[name].get_short_help_str(limit=200)) for name in command.list_commands(context)
        ]
    for param in command.params:
        if param.param_type_name == "argument":
            panels["Arguments"].append((param.metavar or param.name.upper(), param.help or ""))
        elif not param.hidden:
            panels.setdefault(param.rich_help_panel or "Options", []).append((_names(param), _words(param)))
    general = panels.pop("Options", [])
    panels["Options"] = [*general, ("-h, --help", "Show this page.")]
    return {title: rows for title, rows in panels.items() if rows}


def _names(param: Any) -> str:
    """An option as it is written: `-c, --count N`."""
    names = sorted(param.opts, key=len)
    text = ", ".join(names) if len(names[0]) == 2 else "    " + ", ".join(names)
    return text if param.is_flag else f"{text} {_value_name(param)}"


def _value_name(param: Any) -> str:
    choices = param.type_descriptor.choices if hasattr(param, "type_descriptor") else getattr(param.type, "choices", ())
    if choices:
        return "|".join(str(getattr(one, "value", one)) for one in choices)
    return str(param.metavar or max(param.opts, key=len).lstrip("-").replace("-", "_").upper())


def _words(param: Any) -> str:
    """What an option is for, with what it is unless given."""
    help_text = param.help or ""
    default = getattr(param.default, "value", param.default)
    if default is None or default is False or default == [] or "default:" in help_text or param.required:
        return help_text
    return f"{help_text} (default: {default:g})" if isinstance(default, float) else f"{help_text} (default: {default})"


def _panel(title: str, rows: Rows, width: int) -> str:
    room = min(NAMES, max(len(name) for name, _ in rows))
    lines = [_bold(f"{title}:")]
    for name, words in rows:
        help_text = _wrapped(words, width, room + 4)
        # A name that is too long for its column has a line of its own.
        lines.append(f"  {name}" + (help_text[len(name) + 2 :] if len(name) <= room else f"\n{help_text}"))
    return "\n".join(lines)


def _wrapped(text: str, width: int, indent: int = 0) -> str:
    margin = " " * indent
    # Neither an option nor a word with a hyphen is broken.
    words = re.sub(r"\s+", " ", text.strip())
    return textwrap.fill(
        words, width, initial_indent=margin, subsequent_indent=margin, break_on_hyphens=False, break_long_words=False
    )


def _bold(text: str) -> str:
    plain = not sys.stdout.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return text if plain else typer.style(text, bold=True)
