"""What holds for the whole suite."""

from hypothesis import settings

# Machines are noisy: how long one example takes says nothing. Each test as a whole has its time limit.
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")
