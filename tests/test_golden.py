"""Every capture gives the same events as ever, to the byte."""

import json

import pytest

from tests.golden import CAPTURES, DIGESTS, FIXTURES, digests

WANTED = json.loads(DIGESTS.read_text())


def test_the_fixtures_give_the_same_bytes() -> None:
    """Events, entries and counts of every fixture are those that were recorded."""
    assert digests(FIXTURES) == WANTED["fixtures"]


@pytest.mark.skipif(not CAPTURES.is_dir(), reason=f"no captures at {CAPTURES}")
def test_real_captures_give_the_same_bytes() -> None:
    """Events, entries and counts of every capture that was recorded are the same."""
    found = digests(CAPTURES)
    assert {name: found[name] for name in WANTED["captures"] if name in found} == {
        name: told for name, told in WANTED["captures"].items() if name in found
    }
