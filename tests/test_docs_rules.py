"""docs/testing-rules.md says what is so: every pattern in it is compiled and matched as written beside it."""

import re
from pathlib import Path

import pytest

from pcapeda.errors import BadRule
from pcapeda.rules.pattern import Pattern

TEXT = (Path(__file__).parents[1] / "docs" / "testing-rules.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"```json\n(?P<pattern>.*?)\n```\n\n(?P<claims>(?:- [^\n]*\n)+)", re.DOTALL)
CLAIM = re.compile(r"- (matches|does not match|is refused:) `(.*)`")


def claims() -> list[tuple[str, str, str]]:
    return [
        (block["pattern"], verdict, what)
        for block in BLOCK.finditer(TEXT)
        for verdict, what in CLAIM.findall(block["claims"])
    ]


@pytest.mark.parametrize(("pattern", "verdict", "what"), claims())
def test_patterns_do_as_the_page_says(pattern: str, verdict: str, what: str) -> None:
    """Each claim under a pattern is what the language answers."""
    if verdict == "is refused:":
        with pytest.raises(BadRule) as caught:
            Pattern.compile(pattern)
        assert str(caught.value) == f"Event pattern is not valid. Reason: {what}"
    else:
        assert Pattern.compile(pattern).matches(what) == (verdict == "matches")


def test_every_pattern_has_claims() -> None:
    """No pattern on the page stands without a claim, and no claim is of another form."""
    assert TEXT.count("```json\n") == len(BLOCK.findall(TEXT))
    lines = [line for block in BLOCK.finditer(TEXT) for line in block["claims"].splitlines()]
    assert len(lines) == len(claims()) > 30
