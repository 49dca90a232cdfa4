"""`pcapeda interfaces`: where `sniff` can listen."""

import json
import sys
from enum import StrEnum
from typing import Annotated

import typer


class Format(StrEnum):
    """How the list is printed."""

    PRETTY = "pretty"
    JSON = "json"


def interfaces(
    output: Annotated[
        Format, typer.Option("-o", "--output", help="A table for people or JSON for programs.")
    ] = Format.PRETTY,
) -> None:
    """List the network interfaces that sniff can listen on."""
    from pcapeda.capture.interface import interfaces as list_interfaces

    found = list_interfaces()
    if output is Format.JSON:
        typer.echo(json.dumps([one._asdict() for one in found], indent=2))
        return
    from pcapeda.ui.terminal import open_console, show_table

    rows = [
        (one.name, "up" if one.up else "down", one.linktype, one.mac or "", " ".join(one.addresses)) for one in found
    ]
    show_table(open_console(sys.stdout), "", ("interface", "state", "link type", "MAC", "addresses"), rows)
