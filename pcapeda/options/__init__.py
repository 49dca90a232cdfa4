"""What can be asked of a run, declared once: see `table` for the options themselves.

A declaration says all that is to be known of an option: the field it sets, its names, kind, bounds and default, its
help and the suite's key. The command line, the environment, the checks of the library, suite files and their JSON
Schema go by it. Standard library only, and little of it: `--help` is made of this.
"""

from enum import StrEnum
from typing import Any, NamedTuple


class Range(NamedTuple):
    """What a number may be, both ends included; `whole` numbers have no fraction."""

    whole: bool
    least: float
    most: float

    def __contains__(self, value: object) -> bool:
        return isinstance(value, int | float) and self.least <= value <= self.most


class Option(NamedTuple):
    """One option."""

    field: str
    """What it sets: a field of `Job`, or of what a job holds (`bus.region`, `shape.text`). Empty: it is no job's."""
    names: tuple[str, ...]
    """As on the command line, dashes included, the long one last."""
    kind: type
    """What one value is: int, float, str, bool (a flag without a value) or a `StrEnum`."""
    panel: str
    help: str
    default: Any = None
    """The field's default, too. None: not asked for."""
    metavar: str | None = None
    bounds: Range | None = None
    several: bool = False
    """Whether it can be given more than once."""
    required: bool = False
    commands: tuple[str, ...] = ()
    """The commands that have all that is declared for them. Others take single options by name."""
    suite: str = ""
    """The key in suite files: `ports`, or `event.group` for one below `event`. Empty: there is none."""
    suite_help: str = ""

    @property
    def long(self) -> str:
        """Its long name without dashes: `max-rate`."""
        return self.names[-1].removeprefix("--")

    @property
    def parameter(self) -> str:
        """Its name among the arguments of a command: `max_rate`."""
        return self.long.replace("-", "_")

    @property
    def owner(self) -> str:
        """Which part of a job it sets a field of: `bus` or `shape`; empty: the job itself."""
        return self.field.rpartition(".")[0]

    @property
    def member(self) -> str:
        """The field within its owner."""
        return self.field.rpartition(".")[2]

    @property
    def suite_key(self) -> str:
        """The key alone, without what it is below."""
        return self.suite.rpartition(".")[2]

    @property
    def choices(self) -> tuple[str, ...]:
        """The words to choose from, where it is a choice."""
        return tuple(one.value for one in self.kind) if issubclass(self.kind, StrEnum) else ()

    def schema(self) -> dict[str, Any]:
        """The JSON Schema of its value in a suite."""
        if self.choices:
            told: dict[str, Any] = {"enum": list(self.choices), "default": str(self.default)}
        elif self.kind is bool:
            told = {"type": "boolean"}
        elif self.bounds is not None and self.kind is not str:
            kind = "integer" if self.bounds.whole else "number"
            told = {"type": kind, "minimum": self.bounds.least, "maximum": self.bounds.most}
        else:
            told = {"type": "string"}
        if self.several:
            told = {"oneOf": [told, {"type": "array", "items": told}]}
        return told | ({"description": self.suite_help} if self.suite_help else {})
