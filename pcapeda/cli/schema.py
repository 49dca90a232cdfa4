"""`pcapeda schema`: what an event looks like, as JSON Schema."""

import json
from typing import Annotated

import typer

from pcapeda.cli.options import ShapeName


def schema(
    shape: Annotated[ShapeName, typer.Option("--shape", help="The shape to describe.")] = ShapeName.FULL,
) -> None:
    """Print the JSON Schema of the events of a shape."""
    from pcapeda.events.schema import schema as schema_of

    typer.echo(json.dumps(schema_of(shape.value), indent=2))
