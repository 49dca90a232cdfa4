"""What the readers of rules have in common: building a rule and its targets, and naming what is wrong on the way."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, NamedTuple

from pcapeda.errors import BadRule
from pcapeda.rules.json_reader import Malformed, Node, json_of, one_line
from pcapeda.rules.pattern import Pattern, refusal
from pcapeda.rules.rule import DEFAULT_BUS, Rule, Target, Transformer
from pcapeda.rules.sources.source_tree import Document, descendants, elements, member, members, text

Severity = Literal["error", "warning", "note"]


class Problem(NamedTuple):
    """Something about a source of rules: an `error` makes a rule unusable, a `warning` may, a `note` is for the
    record."""

    severity: Severity
    origin: str
    """Where: `file:line`."""
    rule: str
    """Which rule, or an empty string."""
    message: str

    def __str__(self) -> str:
        return f"{self.origin}: {f'{self.rule}: ' if self.rule else ''}{self.message}"


class Unresolved(Exception):
    """A value that is only known elsewhere: why, and which value. Never leaves this package."""

    def __init__(self, reason: str, node: Node) -> None:
        super().__init__(reason)
        self.reason = reason
        self.node = node


class Collector:
    """Rules and problems as they are found."""

    def __init__(self) -> None:
        self.rules: list[Rule] = []
        self.problems: list[Problem] = []
        self._known: set[Problem] = set()
        self.used: set[str] = set()
        """Names of parameters that some source asked for."""
        self.included: set[Path] = set()
        """Files that were read because another names them: their rules are found there, with its values."""

    def problem(self, severity: Severity, origin: str, rule: str, message: str) -> None:
        """Remember what is wrong, once."""
        self.add(Problem(severity, origin, rule, message))

    def add(self, problem: Problem) -> None:
        """The same, of a problem that is made already."""
        if problem not in self._known:
            self._known.add(problem)
            self.problems.append(problem)

    def take(self, other: "Collector") -> None:
        """Add what another has found."""
        self.rules += other.rules
        for problem in other.problems:
            self.add(problem)
        self.used |= other.used

    def rule(
        self,
        document: Document,
        at: Node,
        name: str,
        pattern: Node | None,
        *,
        bus: str | None = None,
        state: str | None = None,
        schedule: str | None = None,
        targets: Iterable[Target] = (),
        problem: str = "",
        arn: str = "",
    ) -> None:
        """Add a rule; a pattern that is refused leaves a rule that says so and an error."""
        origin = document.where(at)
        compiled: Pattern | None = None
        if problem:
            self.problem("error", origin, name, problem)
        if pattern is not None and not (pattern.kind == "word" and pattern.value is None):
            compiled, refused = self._compiled(document, pattern, name)
            problem = problem or refused
        self.rules.append(
            Rule(
                name=name,
                pattern=compiled,
                bus=bus or DEFAULT_BUS,
                state=state or "ENABLED",
                targets=tuple(targets),
                origin=origin,
                schedule=schedule,
                problem=problem,
                arn=arn,
            )
        )

    def _compiled(self, document: Document, pattern: Node, name: str) -> tuple[Pattern | None, str]:
        for node in descendants(pattern):
            if id(node) in document.odd:
                self.problem("warning", document.where(node), name, document.odd[id(node)])
        try:
            if pattern.kind == "string":
                return Pattern.compile(pattern.value), ""
            return Pattern.from_node(pattern), ""
        except Malformed as error:
            message = refusal(error)
            where = document.where(pattern._replace(at=error.at) if error.at >= 0 else pattern)
        except BadRule as error:
            message, where = str(error), document.where(pattern)
        self.problem("error", where, name, message)
        return None, message


def target(node: Node, number: int, *, arn: str | None = None) -> Target:
    """A target as the EventBridge API writes it: Id, Arn, and Input, InputPath or InputTransformer."""
    transformer = member(node, "InputTransformer")
    return Target(
        id=text(member(node, "Id")) or f"target-{number}",
        arn=arn if arn is not None else text(member(node, "Arn")) or "",
        input=_input(member(node, "Input")),
        input_path=text(member(node, "InputPath")),
        transformer=transformed(
            member(transformer, "InputPathsMap"), member(transformer, "InputTemplate")
        ) if transformer is not None else None,
    )  # fmt: skip


def targets(node: Node | None) -> list[Target]:
    """A list of targets as the EventBridge API writes it."""
    made = []
    for number, one in enumerate(elements(node), 1):
        made.append(target(one, number)._replace(faults=tuple(_id_faults(text(member(one, "Id")), number))))
    return made


_ID = re.compile(r"[.\-_A-Za-z0-9]{1,64}")


def _id_faults(identity: str | None, number: int) -> Iterable[str]:
    if not identity:
        yield f"target {number} has no Id"
    elif not _ID.fullmatch(identity):
        yield f"target {one_line(identity, 100)}: an Id has 1 to 64 letters, digits, dots, dashes and underscores"


def transformed(paths: Node | None, template: Node | None) -> Transformer:
    """An input transformer from its parts."""
    return Transformer(tuple((key, text(value) or "") for key, value in members(paths)), text(template) or "")


def _input(node: Node | None) -> str | None:
    """Constant JSON: usually text that holds it, at times the object itself."""
    if node is not None and node.kind in ("object", "array"):
        return json_of(node)
    return text(node)
