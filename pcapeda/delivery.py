"""From entry to outcome: batches, requests in flight, and the one owner of retries.

A `Delivery` lives as long as a run and takes the entries of all its captures. Whatever it decides and counts happens
in the caller's thread; the pool's threads do nothing but `sink.send`. An entry ends in one of two ways: sent (the
sink said so of this very entry) or refused (with a reason or the sink's last error code).
"""

import heapq
import random
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from pcapeda.errors import SinkDown
from pcapeda.events import quotas
from pcapeda.events.batch import Batcher
from pcapeda.model import Batch, Entry, Failed, Outcome, Report, Sink
from pcapeda.pace import Backoff

MILLISECOND_NS = 1_000_000
SECOND_NS = 1_000_000_000

RETRIES = Backoff(base_ns=100 * MILLISECOND_NS, cap_ns=20 * SECOND_NS, attempts=10)
"""Ten tries with full jitter: on average about 25 seconds from the first to the last."""

MAX_WAITING = 64
"""Batches that may wait for another try before reading stops: memory stays bounded while a bus throttles."""


class Delivery:
    """Puts entries on a sink and counts what becomes of them in `report`.

    `clock` gives monotonic nanoseconds, `sleep` takes seconds and may return early, `jitter` gives numbers in [0, 1).
    After the sink raised `SinkDown`, `down` holds that error and everything further is refused under its name.
    """

    def __init__(
        self,
        sink: Sink,
        report: Report,
        *,
        retries: Backoff = RETRIES,
        clock: Callable[[], int] = time.monotonic_ns,
        sleep: Callable[[float], object] = time.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.down: SinkDown | None = None
        self._sink = sink
        self._report = report
        self._retries = retries
        self._clock = clock
        self._sleep = sleep
        self._jitter = jitter
        self._batcher = Batcher(sink.limits)
        self._room = sink.concurrency
        # A sink that takes one call at a time is called right here: order is kept and nothing is handed around.
        self._pool = ThreadPoolExecutor(self._room, thread_name_prefix="send") if self._room > 1 else None
        self._flights: dict[Future[Outcome], tuple[Batch, int]] = {}
        self._waiting: list[tuple[int, int, int, Batch]] = []  # due, serial, attempt, batch: a heap
        self._serial = 0

    def add(self, entry: Entry) -> None:
        """Take one entry; may send a batch and, when too much is under way, wait."""
        if not self._batcher.fits(entry):
            self._count_refused(entry, "oversize")
            return
        now = self._clock()
        batch = self._batcher.add(entry, now)
        if batch is not None:
            self._dispatch(batch, 1)
        if len(self._waiting) > MAX_WAITING:
            self._drain_until(lambda: len(self._waiting) <= MAX_WAITING)
        elif self._waiting or batch is not None:
            self.tick()

    def tick(self) -> None:
        """Do what is due now: an old batch, another try, answers that came in. Never sleeps."""
        if self._flights:
            self._settle_done(0)
        now = self._clock()
        batch = self._batcher.due(now)
        if batch is not None:
            self._dispatch(batch, 1)
        while self._waiting and self._waiting[0][0] <= now:
            _, _, attempt, batch = heapq.heappop(self._waiting)
            self._dispatch(batch, attempt)

    def finish(self, *, give_up: Callable[[], bool] = lambda: False) -> None:
        """Send all that is left and wait for every answer; once `give_up()` is true, nothing is tried again."""
        batch = self._batcher.take()
        if batch is not None:
            self._dispatch(batch, 1)
        self._drain_until(lambda: not (self._flights or self._waiting), give_up)
        if self._pool is not None:
            self._pool.shutdown()

    def _drain_until(self, done: Callable[[], bool], give_up: Callable[[], bool] = lambda: False) -> None:
        while not done():
            if self._waiting and (self.down is not None or give_up()):
                for _, _, _, batch in self._waiting:
                    self._refuse(batch, self.down.code if self.down else "interrupted")
                self._waiting.clear()
                continue
            until_retry = (self._waiting[0][0] - self._clock()) / SECOND_NS if self._waiting else 1.0
            pause = min(max(until_retry, 0.0), 0.1)
            if self._flights:
                self._settle_done(pause)
            elif pause > 0:
                self._sleep(pause)
            self.tick()

    def _dispatch(self, batch: Batch, attempt: int) -> None:
        if self.down is not None:
            self._refuse(batch, self.down.code)
            return
        if self._pool is None:
            try:
                outcome = self._sink.send(batch)
            except SinkDown as error:
                self._give_in(batch, error)
            else:
                self._settle(batch, attempt, outcome)
            return
        while len(self._flights) >= self._room:
            self._settle_done(1.0)
        self._flights[self._pool.submit(self._sink.send, batch)] = (batch, attempt)

    def _settle_done(self, timeout_s: float) -> None:
        """Judge the answers that are there, or come within the time."""
        done, _ = wait(self._flights, timeout=timeout_s, return_when=FIRST_COMPLETED)
        for future in done:
            batch, attempt = self._flights.pop(future)
            try:
                outcome = future.result()
            except SinkDown as error:
                self._give_in(batch, error)
            else:
                self._settle(batch, attempt, outcome)

    def _settle(self, batch: Batch, attempt: int, outcome: Outcome) -> None:
        report = self._report
        report.requests += 1
        lost = {id(failed.entry) for failed in outcome.failed}
        for entry in batch.entries:
            if id(entry) not in lost:
                report.sent += entry.stands_for
                report.events += 1
                report.bytes_sent += entry.size
                report.chunks += quotas.chunks(entry.size)
        if outcome.failed:
            self._retry_or_refuse(outcome.failed, attempt)

    def _retry_or_refuse(self, failures: tuple[Failed, ...], attempt: int) -> None:
        delay = self._retries.delay(attempt, self._jitter)
        again = []
        for failed in failures:
            if failed.again and delay is not None:
                again.append(failed.entry)
            else:
                self._count_refused(failed.entry, failed.code)
                self._report.remember(failed.code, failed.message)
        if again and delay is not None:
            self._report.retried += len(again)
            self._serial += 1
            batch = Batch(tuple(again), sum(entry.size for entry in again))
            heapq.heappush(self._waiting, (self._clock() + delay, self._serial, attempt + 1, batch))

    def _give_in(self, batch: Batch, error: SinkDown) -> None:
        self._report.requests += 1
        if self.down is None:
            self.down = error
        self._refuse(batch, error.code)

    def _refuse(self, batch: Batch, code: str) -> None:
        for entry in batch.entries:
            self._count_refused(entry, code)

    def _count_refused(self, entry: Entry, code: str) -> None:
        """Count the datagrams that an event stands for; an event that stands for none is counted as itself."""
        if entry.stands_for:
            self._report.refused[code] += entry.stands_for
        else:
            self._report.events_refused += 1
