"""What is wrong, hopeless or surprising in rules, before they are deployed.

`lint` is given what the events look like as a JSON Schema: a field that no event has, or a value that no event can have
there, makes a rule that never matches.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Literal, NamedTuple

from pcapeda.rules.fields import Alternative, Field
from pcapeda.rules.rule import Rule, bus_name
from pcapeda.rules.values import Test, Word

Severity = Literal["error", "warning", "info"]

QUOTA = 2_048
"""Characters of an event pattern by default (EventBridge quotas); the API takes 4,096 where the quota was raised."""


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
        return f"{origin}{self.severity}: {self.rule}{where}: {self.message}"

    def data(self) -> dict[str, Any]:
        """The finding as plain data, for JSON."""
        return self._asdict()


def lint(
    rules: Sequence[Rule], schema: Mapping[str, Any], *, source: str, detail_type: str, quota: int = QUOTA
) -> list[Finding]:
    """Everything there is to say of the rules, errors first.

    `schema` is the JSON Schema of the events that will be put on the bus, `source` and `detail_type` what they bear,
    `quota` the characters that a pattern may have without asking for more.
    """
    findings: list[Finding] = []
    for rule in rules:
        for severity, path, message in _of_rule(rule, schema, source, detail_type, quota):
            findings.append(Finding(severity, rule.name, path, message, rule.origin))
    findings += _repeated(rules)
    order = ("error", "warning", "info")
    return sorted(findings, key=lambda one: order.index(one.severity))


Said = tuple[Severity, str, str]


def _of_rule(rule: Rule, schema: Mapping[str, Any], source: str, detail_type: str, quota: int) -> Iterator[Said]:
    pattern = rule.pattern
    if pattern is None or rule.problem:
        if rule.problem:
            yield "error", "", rule.problem
        return
    if pattern.size > quota:
        yield "warning", "", f"{pattern.size:,} characters: the quota is {quota:,} unless it was raised"
    for note in pattern.notes:
        yield "warning", "", note
    hopeless = [list(_hopeless(one, schema, source, detail_type)) for one in pattern.alternatives]
    if all(hopeless):
        seen = set()
        for said in (said for one in hopeless for said in one):
            if said not in seen:
                seen.add(said)
                yield "error", said[0], f"can never match what pcapeda emits: {said[1]}"
    else:
        for one, branch in zip(hopeless, pattern.alternatives, strict=True):
            for path, message in one:
                yield "warning", path, f"the branch {', '.join(branch.branches)} can never match: {message}"
    surprises = {said for one in pattern.alternatives for field in one.fields for said in _surprises(field)}
    for path, message in sorted(surprises):
        yield "info", path, message


def _hopeless(one: Alternative, schema: Mapping[str, Any], source: str, detail_type: str) -> Iterator[tuple[str, str]]:
    """The fields of an alternative that no emitted event can satisfy, and why."""
    for field in one.fields:
        if any(test.kind == "absent" for test in field.tests):
            continue
        emitted = {"source": source, "detail-type": detail_type}.get(field.path)
        if emitted is not None:
            if not any(test.accepts(emitted) for test in field.tests):
                yield field.path, f"events bear {emitted!r}, the rule wants {field.wanted}"
            continue
        kinds, near = _kinds_at(schema, field.path.split("."))
        if not kinds:
            hint = f"; did you mean {near!r}?" if near else ""
            yield field.path, f"no event has this field{hint}"
        elif kinds == {"object"}:
            yield field.path, "it is an object; patterns match its members, never the object itself"
        elif not any(_possible(test, kinds) for test in field.tests):
            words = {"number" if kind == "integer" else kind for kind in kinds - {"object", "array"}}
            listed = " or ".join(sorted(words))
            yield field.path, f"events have a {listed} there, the rule wants {field.wanted}"


_ANY = frozenset({"string", "integer", "number", "boolean", "null"})


def _kinds_at(schema: Mapping[str, Any], steps: list[str]) -> tuple[set[str], str | None]:
    """The JSON types an event may have at a path; and where there is none, the path that it may be a slip of."""
    here: Mapping[str, Any] = schema
    walked: list[str] = []
    for number, step in enumerate(steps):
        here = _elements(here)
        properties = here.get("properties")
        if not isinstance(properties, Mapping):
            # An object of no stated form (a payload's own JSON): anything may be in it.
            return (set(_ANY), None) if here.get("type") == "object" else (set(), None)
        if step not in properties:
            folded = {name.lower(): name for name in properties}
            close = folded.get(step.lower()) or next(iter(get_close_matches(step, properties, 1)), None)
            if close is None:
                return set(), None
            return set(), ".".join([*walked, close, *steps[number + 1 :]])
        walked.append(step)
        here = properties[step]
    here = _elements(here)
    if "const" in here or "enum" in here:
        values = here.get("enum", [here.get("const")])
        return {_type_of(value) for value in values}, None
    kind = here.get("type")
    return ({kind} if isinstance(kind, str) else set(kind or _ANY)), None


def _elements(here: Mapping[str, Any]) -> Mapping[str, Any]:
    """What is in an array stands at the array's own path."""
    while here.get("type") == "array" and isinstance(here.get("items"), Mapping):
        here = here["items"]
    return here


def _type_of(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    return "integer" if isinstance(value, int) else "number" if isinstance(value, float) else "string"


_STRINGS = frozenset(
    {"string", "ip", "prefix", "suffix", "prefix-ignore-case", "suffix-ignore-case"}
    | {"equals-ignore-case", "wildcard", "cidr"}
)


def _possible(test: Test, kinds: set[str]) -> bool:
    """Whether a value of one of these JSON types could satisfy the test."""
    if test.kind in _STRINGS:
        return "string" in kinds
    if test.kind in ("number", "numeric"):
        return bool(kinds & {"integer", "number"})
    if test.kind == "word":
        return ("null" if test.operand is Word.NULL else "boolean") in kinds
    return True


def _surprises(field: Field) -> Iterator[tuple[str, str]]:
    """Where the engine does something that a person may not expect."""
    for test in field.tests:
        if test.kind == "ip":
            yield (
                field.path,
                f"{test.shown} reads as an IP address and is compared as one: other spellings of it match, too",
            )
        elif test.kind == "cidr":
            family = "IPv4" if "." in test.shown else "IPv6"
            other = "IPv6" if family == "IPv4" else "IPv4"
            yield field.path, f"{test.shown}: an {family} block also matches {other} addresses that begin with its bits"
        elif test.kind.endswith("ignore-case") and _folds_oddly(test.shown):
            yield field.path, f"{test.shown}: only each letter's own upper and lower case match, no other folding"
        elif test.kind.startswith("anything-but") and len(field.tests) > 1:
            others = sum(one.kind.startswith("anything-but") for one in field.tests)
            if others > 1:
                yield field.path, "two anything-but in one list are joined by OR, so that nearly everything matches"
        elif test.kind == "string" and _number_text.fullmatch(test.shown):
            yield field.path, f"{test.shown} is a string: the number {test.shown[1:-1]} does not match it"


_number_text = re.compile(r'"-?[0-9]+(\.[0-9]+)?"')


def _folds_oddly(text: str) -> bool:
    return any(not char.isascii() and char.isalpha() for char in text)


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
        rule for rule in rules if rule.pattern is not None and len(rule.pattern.alternatives) == 1 and not rule.silent()
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
