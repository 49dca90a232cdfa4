"""`pcapeda schema`: what an event looks like, as JSON Schema."""

import json
from typing import Annotated

import typer

from pcapeda.cli.options import ShapeName


def schema(
    shape: Annotated[ShapeName, typer.Option("--shape", help="The shape to describe.")] = ShapeName.FULL,
    suite: Annotated[bool, typer.Option("--suite", help="Describe suite files (*.pcapeda.yaml) instead.")] = False,
) -> None:
    """Print the JSON Schema of the events of a shape, or of suite files."""
    if suite:
        from pcapeda.suite import schema as schema_of_suites

        typer.echo(json.dumps(schema_of_suites(), indent=2))
        return
    from pcapeda.events.schema import schema as schema_of

    typer.echo(json.dumps(schema_of(shape.value), indent=2))
