"""What holds for the whole suite."""

import pytest
from hypothesis import settings

# Machines are noisy: how long one example takes says nothing. Each test as a whole has its time limit.
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that own something of the whole machine (interfaces, counters of the kernel) share one worker of xdist."""
    for item in items:
        if hasattr(getattr(item, "module", None), "needs_netns"):
            item.add_marker(pytest.mark.xdist_group("machine"))
