"""The language against cases with known answers: AWS's own, its engine's, and the repository's."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from pcapeda.errors import BadRule
from pcapeda.rules.pattern import Pattern
from pcapeda.rules.rule import Rule
from pcapeda.rules.ruleset import RuleSet

OWN = Path(__file__).parents[1] / "fixtures" / "rules" / "cases.jsonl"
CORPUS = Path(__file__).parents[2] / "shared" / "patterns" / "corpus.jsonl"


def verdict(pattern: Any, event: Any) -> str:
    """What the language says: match, no-match, invalid, or valid where there is no event to match.

    A pattern alone and in a set of rules must say the same.
    """
    try:
        compiled = Pattern.compile(pattern)
    except BadRule:
        return "invalid"
    if event is None:
        return "valid"
    alone, in_a_set = compiled.matches(event), bool(RuleSet([Rule("one", compiled)]).match(event))
    return "split" if alone != in_a_set else "match" if alone else "no-match"


def read(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        pytest.skip(f"no cases at {path}")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("tier", ["core", "edge", "limits", "ambiguous"])
def test_corpus(tier: str) -> None:
    """Every case of the corpus has the answer that AWS or its engine gave (cases called ambiguous are only counted)."""
    wrong = []
    cases = [case for case in read(CORPUS) if case["tier"] == tier]
    for case in cases:
        written = case["pattern"]
        text = case.get("pattern_text") or (written if isinstance(written, str) else json.dumps(written))
        event = case.get("event_text") or (None if case["event"] is None else json.dumps(case["event"]))
        got = verdict(text, event)
        if got != case["expect"]:
            wrong.append(f"{case['id']}: {got}, not {case['expect']}")
    print(f"{tier}: {len(cases) - len(wrong):,} of {len(cases):,} cases")
    assert cases
    if tier == "ambiguous":
        print("\n".join(wrong))
    else:
        assert not wrong


def test_corpus_as_data() -> None:
    """A pattern and an event given as data mean the same as their text."""
    wrong = []
    for case in read(CORPUS):
        if isinstance(case["pattern"], dict) and "pattern_text" not in case and "event_text" not in case:
            got = verdict(case["pattern"], case["event"])
            if got != case["expect"]:
                wrong.append(f"{case['id']}: {got}, not {case['expect']}")
    assert not wrong


@pytest.mark.parametrize("case", read(OWN), ids=lambda case: f"{case['op']}: {case['why']}")
def test_own_cases(case: dict[str, Any]) -> None:
    """The repository's own cases, one rule of the language each, have the answers written beside them."""
    assert verdict(case["pattern"], case["event"]) == case["expect"]


def test_table_of_operators(capsys: pytest.CaptureFixture[str]) -> None:
    """Every operator has cases that match, that do not match, and that are refused; the table says how many."""
    table: dict[str, Counter[str]] = {}
    for case in read(OWN):
        table.setdefault(case["op"], Counter())[case["expect"]] += 1
    if CORPUS.exists():
        for case in read(CORPUS):
            for operator in case["ops"]:
                table.setdefault(operator, Counter())[f"corpus {case['expect']}"] += 1
    columns = ("match", "no-match", "invalid", "corpus match", "corpus no-match", "corpus invalid")
    with capsys.disabled():
        print(f"\n{'operator':38}" + "".join(f"{column:>16}" for column in columns))
        for operator, counts in sorted(table.items()):
            print(f"{operator:38}" + "".join(f"{counts[column] or '':>16}" for column in columns))
    own = {operator: counts for operator, counts in table.items() if counts["match"]}
    operators = ("prefix", "suffix", "equals-ignore-case", "wildcard", "numeric", "cidr", "anything-but", "$or")
    for operator in operators:
        assert own[operator]["match"]
        assert own[operator]["no-match"]
        assert own[operator]["invalid"]
