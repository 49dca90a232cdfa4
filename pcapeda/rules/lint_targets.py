"""What is wrong with the targets of a rule, before PutTargets says so, or before an event finds out."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from pcapeda.rules.json_reader import one_line
from pcapeda.rules.lint_fields import at
from pcapeda.rules.rule import Rule, Target
from pcapeda.rules.template import faults, identity_faults, is_text, path_faults, pieces

MOST_TARGETS = 5
"""Targets of a rule (EventBridge quotas)."""


def lint_targets(rule: Rule, schema: Mapping[str, Any] | None) -> Iterator[tuple[str, str]]:
    """Severity and words; `schema` is that of the events the rule is for, if it is known."""
    if len(rule.targets) > MOST_TARGETS:
        yield "error", f"{len(rule.targets)} targets: a rule has at most {MOST_TARGETS}"
    for name, count in Counter(target.id for target in rule.targets if not target.problem).items():
        if count > 1:
            yield "error", f"{count} targets have the Id {one_line(name, 100)}"
    for target in rule.targets:
        if target.problem:
            continue  # what is not known was reported when the rule was read
        for words in identity_faults(target):
            yield "error", words
        refused = list(faults(target))
        for fault in refused:
            yield "error", f"{fault} ({fault.hint})" if fault.hint else str(fault)
        for fault in path_faults(target):
            yield "warning", f"target {target.id}: {fault}"
        if target.transformer is not None:
            yield from _unused(target)
            if not refused and schema is not None:
                yield from _values(target, schema)


def _unused(target: Target) -> Iterator[tuple[str, str]]:
    assert target.transformer is not None
    used = {piece.name for piece in pieces(target.transformer.template)}
    for name, _ in target.transformer.paths:
        if name not in used:
            yield "warning", f"target {target.id}: {one_line(name, 100)} of InputPathsMap is nowhere in the template"


def _values(target: Target, schema: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What a template makes of the values that events have."""
    assert target.transformer is not None
    template = target.transformer.template
    paths = dict(target.transformer.paths)
    quoted = {piece.name for piece in pieces(template) if piece.quoted}
    for name, path in paths.items():
        steps = path.removeprefix("$").removeprefix(".")
        if not path.startswith("$.") or "[" in steps or "*" in steps:
            continue
        node = at(schema, steps)
        if node is None:
            yield "warning", f"target {target.id}: no event has {path}, so <{name}> is empty"
        elif name in quoted and not is_text(template):
            if node.get("type") in ("object", "array"):
                yield (
                    "warning",
                    f"target {target.id}: <{name}> is an object or array inside quotes, of which no valid JSON comes: "
                    "put it outside quotes",
                )
            elif steps.rpartition(".")[2] == "Text":
                yield (
                    "warning",
                    f"target {target.id}: <{name}> is text of anybody's inside quotes, where it is not escaped: "
                    "put it outside quotes",
                )
    for name in ("aws.events.event", "aws.events.event.json"):
        if name in quoted:
            yield "warning", f"target {target.id}: <{name}> belongs outside quotes"
