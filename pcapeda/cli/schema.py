"""`pcapeda schema`: what an event looks like, as JSON Schema."""

import json
from enum import StrEnum
from typing import Annotated

import typer

from pcapeda.events.shapes import SHAPES


class EventKind(StrEnum):
    """Every kind of event there is."""

    FULL = "full"
    vars().update({name.upper(): name for name in SHAPES if name != "full"})
    FLOW = "flow"
    BATCH = "batch"
    REPORT = "report"


def schema(
    shape: Annotated[EventKind, typer.Option("--shape", help="The kind of event to describe.")] = EventKind.FULL,
    suite: Annotated[bool, typer.Option("--suite", help="Describe suite files (*.pcapeda.yaml) instead.")] = False,
) -> None:
    """Print the JSON Schema of the events of a shape, or of suite files."""
    if suite:
        from pcapeda.ruletest.suite import schema as schema_of_suites

        typer.echo(json.dumps(schema_of_suites(), indent=2))
        return
    from pcapeda.events.schema import schema as schema_of

    typer.echo(json.dumps(schema_of(shape.value), indent=2))
