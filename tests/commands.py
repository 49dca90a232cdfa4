"""Every command there is, found by walking the application, each with arguments that make it do its work."""

from pathlib import Path
from typing import Any

from typer.main import get_command

from pcapeda.cli import app
from tests.command import FIXTURES

MIXED, RULES = FIXTURES / "mixed.pcap", FIXTURES / "rules" / "demo.json"

ARGUMENTS: dict[str, list[str | Path]] = {
    "replay": [MIXED, "-n"],
    "sniff": ["-i", "lo", "-n", "--duration", "0"],
    "resend": ["no-such-folder"],
    "inspect": [MIXED],
    "interfaces": [],
    "schema": [],
    "rules test": [MIXED, "--rules", RULES],
    "rules explain": [MIXED, "--frame", "1", "--rules", RULES],
    "rules lint": [RULES],
    "rules list": [RULES],
}
"""How each is run; one that is not named here is run with nothing."""


def walk(command: Any = None, path: str = "") -> list[str]:
    """The names of all commands, those in groups as `group command`."""
    command = get_command(app) if command is None else command
    found = []
    for name, one in getattr(command, "commands", {}).items():
        inner = f"{path} {name}".strip()
        found += walk(one, inner) if hasattr(one, "commands") else [inner]
    return found


def command_lines() -> list[list[str | Path]]:
    """All of them at work, and what else there is to be printed."""
    lines = [[*name.split(), *ARGUMENTS.get(name, [])] for name in walk()]
    more: list[list[str | Path]] = [
        ["replay", MIXED, "-n", "-o", "pretty"],
        ["replay", MIXED, "-n", "--jobs", "2"],
        ["inspect", MIXED, "-o", "json"],
        ["rules", "test", MIXED, "--rules", RULES, "-o", "json"],
        ["rules", "test", MIXED, "--rules", RULES, "-o", "junit"],
        ["replay", "no-such-file", "-n"],
        ["replay", MIXED, "-n", "--log", "json"],
        ["--help"],
        ["replay", "--help"],
        ["--version"],
        ["--no-such-option"],
    ]
    return lines + more
