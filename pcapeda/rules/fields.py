"""The parts of a compiled pattern: fields, and the alternatives that `$or` expands to."""

from typing import NamedTuple

from pcapeda.rules.matchers import Test


class Field(NamedTuple):
    """A path, and the alternatives of which one must hold there."""

    path: str
    tests: tuple[Test, ...]

    @property
    def wanted(self) -> str:
        """The field's array as JSON."""
        return f"[{', '.join(test.shown for test in self.tests)}]"


class Alternative(NamedTuple):
    """Fields that must all hold, in ascending order of path, and the `$or` branches that lead to them."""

    branches: tuple[str, ...]
    fields: tuple[Field, ...]
