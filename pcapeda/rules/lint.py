"""What is wrong, hopeless or surprising in rules, before they are deployed.

`lint` is given what the events look like as a JSON Schema: a field that no event has, or a value that no event can have
there, makes a rule that never matches. Three levels: an `error` is what AWS refuses, or what never matches; a `warning`
works, but hardly as it is meant; an `info` is worth knowing. Rules for events of another source are nobody's mistake.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Literal, NamedTuple, cast

from pcapeda.rules.fields import Alternative, Field
from pcapeda.rules.lint_fields import Place, impossible, places, surprises
from pcapeda.rules.lint_targets import lint_targets
from pcapeda.rules.rule import Rule, bus_name

Severity = Literal["error", "warning", "info"]

QUOTA = 2_048
"""Characters of an event pattern by default (EventBridge quotas); the API takes 4,096 where the quota was raised."""
RULES_OF_A_BUS = 300
WILDCARD_RULES_OF_A_BUS = 30
"""Rules of one bus, and those of them with wildcards, by default (EventBridge quotas)."""


class Finding(NamedTuple):
    """One thing to say of a rule: how bad it is, where in the pattern, and what."""

    severity: Severity
    rule: str
    path: str
    message: str
    origin: str = ""

    def __str__(self) -> str:
        where = f" {self.path}" if self.path else ""
        origin = f"{self.origin}: " if self.origin else ""
        rule = f"{self.rule}{where}: " if self.rule else ""
        return f"{origin}{self.severity}: {rule}{self.message}"

    def data(self) -> dict[str, Any]:
        """The finding as plain data, for JSON."""
        return self._asdict()


class Events(NamedTuple):
    """What the events are that rules are for: their JSON Schema, what they bear, and the options they are made with."""

    schema: Mapping[str, Any]
    source: str
    detail_type: str
    text: bool = True
    json_payload: bool = True
    other_types: Mapping[str, str] = {}
    """The detail-types of other kinds of events, and what `--shape` calls them."""


def lint(
    rules: Sequence[Rule],
    schema: Mapping[str, Any],
    *,
    source: str,
    detail_type: str,
    quota: int = QUOTA,
    text: bool = True,
    json_payload: bool = True,
    other_types: Mapping[str, str] | None = None,
) -> list[Finding]:
    """Everything there is to say of the rules, errors first.

    `schema` is the JSON Schema of the events that will be put on the bus, `source` and `detail_type` what they bear,
    `quota` the characters that a pattern may have without asking for more. `text` and `json_payload` say whether
    events have `Text` and `Json`; `other_types` names the kinds of events that bear other detail-types.
    """
    events = Events(schema, source, detail_type, text, json_payload, other_types or {})
    known = places(schema)
    findings: list[Finding] = []
    for rule in rules:
        for severity, path, message in _of_rule(rule, events, known, quota):
            findings.append(Finding(severity, rule.name, path, message, rule.origin))
    findings += _repeated(rules)
    findings += _too_many(rules)
    order = ("error", "warning", "info")
    return sorted(findings, key=lambda one: order.index(one.severity))


Said = tuple[Severity, str, str]


def _of_rule(rule: Rule, events: Events, known: Sequence[Place], quota: int) -> Iterator[Said]:
    pattern = rule.pattern
    if rule.problem:
        yield "error", "", rule.problem
    elif pattern is None and not rule.schedule:
        yield "error", "", "it has neither EventPattern nor ScheduleExpression, of which AWS asks for one"
    foreign = pattern is not None and all(_foreign(one, events) for one in pattern.alternatives)
    for severity, message in lint_targets(rule, None if foreign or pattern is None else events.schema):
        yield cast("Severity", severity), "", message
    if pattern is None or rule.problem:
        return
    if pattern.size > quota:
        yield "warning", "", f"{pattern.size:,} characters: the quota is {quota:,} unless it was raised"
    for note in pattern.notes:
        yield "warning", "", note
    if foreign:
        yield "info", *_foreign(pattern.alternatives[0], events)
    else:
        yield from _hopeless(pattern.alternatives, events, known)
    said = {
        (severity, field.path, message)
        for one in pattern.alternatives
        for field in one.fields
        for severity, message in surprises(field, events.schema, events.text, events.json_payload)
    }
    for severity, path, message in sorted(said):
        yield cast("Severity", severity), path, message


def _foreign(one: Alternative, events: Events) -> tuple[str, str] | tuple[()]:
    """Why an alternative is for other events than these, which it cannot be blamed for; where, and in words."""
    fields = {field.path: field for field in one.fields}
    source, kind = fields.get("source"), fields.get("detail-type")
    if source is not None and not any(test.accepts(events.source) for test in source.tests):
        wanted = [test.operand for test in source.tests if isinstance(test.operand, str)]
        near = any(get_close_matches(events.source, [text.casefold()], 1, 0.6) for text in wanted)
        meant = f"; did you mean {events.source!r}?" if near else ""
        return "source", f"it is for other events: these bear {events.source!r}, the rule wants {source.wanted}{meant}"
    if source is not None or kind is None or _type_said(kind, events) != "":
        return ()
    said = f"it is for other events: these bear {events.detail_type!r}, the rule wants {kind.wanted}"
    return "detail-type", said


def _type_said(kind: Field, events: Events) -> str | None:
    """What a rule may have meant by its detail-type, where it is none of these events: None if it is theirs."""
    if any(test.accepts(events.detail_type) or test.kind == "absent" for test in kind.tests):
        return None
    for name, shape in events.other_types.items():
        if any(test.accepts(name) for test in kind.tests):
            return f"; {name!r} is what --shape {shape} is about"
    wanted = [test.operand for test in kind.tests if isinstance(test.operand, str)]
    names = {name.casefold(): name for name in (events.detail_type, *events.other_types)}
    near = [found for text in wanted for found in get_close_matches(text.casefold(), names, 1, 0.75)]
    return f"; did you mean {names[near[0]]!r}?" if near else ""


def _hopeless(alternatives: Sequence[Alternative], events: Events, known: Sequence[Place]) -> Iterator[Said]:
    """The fields that no emitted event can satisfy: of a branch that is a warning, of all of them an error."""
    own = [one for one in alternatives if not _foreign(one, events)]
    reasons = [list(_unsatisfied(one, events, known)) for one in own]
    if all(reasons):
        for path, message in dict.fromkeys(reason for one in reasons for reason in one):
            yield "error", path, f"can never match what pcapeda emits: {message}"
        return
    for one, branch in zip(reasons, own, strict=True):
        for path, message in one:
            yield "warning", path, f"the branch {', '.join(branch.branches)} can never match: {message}"


def _unsatisfied(one: Alternative, events: Events, known: Sequence[Place]) -> Iterator[tuple[str, str]]:
    for field in one.fields:
        if field.path == "source":  # it is theirs, else the alternative were a foreign one
            continue
        if field.path == "detail-type":
            meant = _type_said(field, events)
            if meant is not None:
                yield field.path, f"events bear {events.detail_type!r}, the rule wants {field.wanted}{meant}"
            continue
        why = impossible(field, events.schema, known)
        if why:
            yield field.path, why


def _too_many(rules: Sequence[Rule]) -> Iterator[Finding]:
    """Buses with more rules than they take."""
    there = Counter(bus_name(rule.bus) for rule in rules if "${" not in rule.bus)
    wild = Counter(
        bus_name(rule.bus)
        for rule in rules
        if rule.pattern is not None
        and "${" not in rule.bus
        and any(
            test.kind in ("wildcard", "anything-but-wildcard")
            for one in rule.pattern.alternatives
            for field in one.fields
            for test in field.tests
        )
    )
    for bus, count in there.items():
        if count > RULES_OF_A_BUS:
            yield Finding("warning", "", "", _over(count, "rules", bus, RULES_OF_A_BUS))
        if wild[bus] > WILDCARD_RULES_OF_A_BUS:
            yield Finding("warning", "", "", _over(wild[bus], "rules with wildcards", bus, WILDCARD_RULES_OF_A_BUS))


def _over(count: int, what: str, bus: str, quota: int) -> str:
    return f"{count:,} {what} on bus {bus}: the quota is {quota:,} unless it was raised"


def _repeated(rules: Sequence[Rule]) -> Iterator[Finding]:
    """Rules that select the same events, and fields that another rule has, too."""
    first: dict[tuple[str, object], Rule] = {}
    for rule in rules:
        if rule.pattern is None:
            continue
        meaning = frozenset(
            frozenset((field.path, frozenset(test.shown for test in field.tests)) for field in one.fields)
            for one in rule.pattern.alternatives
        )
        key = bus_name(rule.bus), meaning
        twin = first.setdefault(key, rule)
        if twin is not rule:
            yield Finding("warning", rule.name, "", f"selects the same events as rule {twin.name}", rule.origin)
    enabled = [
        rule
        for rule in rules
        if rule.pattern is not None and len(rule.pattern.alternatives) == 1 and not rule.inactive_reason()
    ]
    for rule in enabled[:_MOST_COMPARED]:
        for other in enabled[:_MOST_COMPARED]:
            if rule is not other and bus_name(rule.bus) == bus_name(other.bus) and _within(rule, other):
                yield Finding(
                    "info", rule.name, "", f"all it selects is also selected by rule {other.name}", rule.origin
                )


_MOST_COMPARED = 300
"""Rules compared with each other: a full bus."""


def _within(rule: Rule, other: Rule) -> bool:
    """Whether each field of `other` is in `rule`, too, with no more alternatives there."""
    assert rule.pattern is not None
    assert other.pattern is not None
    mine = {field.path: {test.shown for test in field.tests} for field in rule.pattern.alternatives[0].fields}
    theirs = {field.path: {test.shown for test in field.tests} for field in other.pattern.alternatives[0].fields}
    if mine == theirs or not theirs:
        return False
    return all(path in mine and mine[path] <= shown for path, shown in theirs.items())
