"""What holds for the whole suite."""

import pytest
from hypothesis import settings

from tests.netns import needs_netns

# Machines are noisy: how long one example takes says nothing. Each test as a whole has its time limit.
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that own something of the whole machine (interfaces, counters of the kernel) are marked: they run alone."""
    for item in items:
        if any(mark == needs_netns.mark for mark in item.iter_markers("skipif")):
            item.add_marker("machine")
