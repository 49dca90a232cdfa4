"""Time that only moves when someone sleeps: for everything that paces, batches or retries."""


class FakeClock:
    """`clock()` gives nanoseconds, `clock.sleep(seconds)` moves them; `slept` remembers each sleep."""

    def __init__(self, start_ns: int = 1_000_000_000_000) -> None:
        self.now_ns = start_ns
        self.slept: list[float] = []

    def __call__(self) -> int:
        return self.now_ns

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.slept.append(seconds)
        self.now_ns += round(seconds * 1_000_000_000)
