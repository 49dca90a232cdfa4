"""What `pcapeda rules` shows a person."""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from pcapeda.rules.rule import Rule
from pcapeda.ruletest.coverage import Coverage, RuleResult, event_name
from pcapeda.safety.visible import visible, visible_json
from pcapeda.ui.terminal import open_console, plural, show_table
from pcapeda.units import time_text

if TYPE_CHECKING:
    from pcapeda.rules.explain import Explanation
    from pcapeda.ruletest.suite import Result

TOP = 10


def show_result(result: "Result", *, samples: int, targets: bool) -> None:
    """The findings of one suite on standard output: rules, what falls through, expectations."""
    console = open_console(sys.stdout)
    trial = result.trial
    matched = trial.events - trial.unmatched
    words = f"{plural(trial.events, 'event')}, {matched:,} matched by some rule, {trial.unmatched:,} by none"
    console.print(f"{visible(result.suite.name)}: {words}", style="bold")
    headings = ("rule", ">matches", ">share", "first", "last", "targets")
    show_table(console, "", headings, [_row(one, trial) for one in trial.tried])
    for one in trial.tried:
        for event in one.samples[:samples]:
            console.print(visible(f"{one.rule.name} matches {event_name(event)}:"), style="green")
            console.print("  " + visible_json(json.dumps(event, ensure_ascii=False)))
        if targets:
            for target in received(one):
                console.print(visible(f"{one.rule.name} → {target['Id']} ({target['Arn']}) receives"), style="green")
                console.print(_block(target.get("Input") or f"nothing: {target.get('Problem')}"))
    for one in trial.tried:
        if one.nearest is not None:
            event, explanation = one.nearest
            words = f"{one.rule.name} never matched; nearest was {event_name(event)}"
            console.print(visible(words), style="yellow")
            console.print(_block(str(explanation)))
    if trial.unmatched:
        console.print()
        ports = trial.unmatched_ports.most_common(TOP)
        rows = [(str(port) if port >= 0 else "several", f"{number:,}") for port, number in ports]
        show_table(console, "Matched by no rule", (">to port", ">events"), rows)
        sources = [(address, f"{number:,}") for address, number in trial.unmatched_sources.top(TOP)]
        if sources:
            show_table(console, "", ("from", ">events"), sources)
    for judgement in result.judgements:
        word, style = ("ok    ", "green") if judgement.holds else ("FAILED", "red")
        console.print(f"{word} {visible(str(judgement.expectation))}", style=style)
        if not judgement.holds:
            console.print(_block(judgement.words, "       "))
    if result.judgements:
        failed = sum(not one.holds for one in result.judgements)
        console.print(f"{plural(len(result.judgements), 'expectation')}, {failed:,} failed", style="bold")
    for problem in [*result.report.failures, *map(str, result.report.damages)]:
        print(f"pcapeda: {visible(problem)}", file=sys.stderr)  # noqa: T201


def _block(text: str, indent: str = "  ") -> str:
    """Lines of text, each of them further in."""
    return indent + visible(text, keep="\n").replace("\n", f"\n{indent}")


def _row(one: RuleResult, trial: Coverage) -> tuple[str, ...]:
    silent = one.rule.inactive_reason(trial.bus)
    if silent:
        words = "unusable (why: above)" if one.rule.problem else silent
        return one.rule.name, "–", "", words, "", _targets(one.rule)
    share = f"{one.matches / trial.events:.1%}" if trial.events else ""
    first = "" if one.first_ns is None else time_text(one.first_ns)[5:19].replace("T", " ")
    last = "" if one.last_ns is None else time_text(one.last_ns)[5:19].replace("T", " ")
    return one.rule.name, f"{one.matches:,}", share, first, last, _targets(one.rule)


def _targets(rule: Rule) -> str:
    return ", ".join(target.id for target in rule.targets)


def received(one: RuleResult) -> list[dict[str, Any]]:
    """What each target of a rule receives of its sample events."""
    from pcapeda.errors import BadRule
    from pcapeda.rules.transform import receives

    told = []
    for target in one.rule.targets:
        for event in one.samples:
            row: dict[str, Any] = {"Id": target.id, "Arn": target.arn, "Event": event.get("id")}
            try:
                row["Input"] = receives(target, event, one.rule)
            except BadRule as error:
                row["Problem"] = f"{error} ({error.hint})" if error.hint else str(error)
            told.append(row)
    return told


def show_explanations(told: "Iterable[tuple[Rule, str, Explanation | None]]") -> None:
    """Each rule's verdict on one event, field by field."""
    console = open_console(sys.stdout)
    for rule, silent, explanation in told:
        matched = explanation is not None and explanation.matched and not silent
        console.print(visible(rule.name), style="bold green" if matched else "bold")
        if silent:
            console.print(f"  selects nothing: {visible(silent)}", style="yellow")
        if explanation is not None:
            console.print(_block(str(explanation)))
        console.print()


def show_rules(rules: Sequence[Rule], bus: str | None) -> None:
    """The rules as a table."""
    rows = [
        (
            rule.name,
            rule.bus,
            rule.inactive_reason(bus) or rule.state.lower(),
            _targets(rule),
            rule.pattern.text if rule.pattern is not None else rule.schedule or "",
            rule.origin,
        )
        for rule in rules
    ]
    show_table(open_console(sys.stdout), "", ("rule", "bus", "state", "targets", "pattern", "from"), rows)
