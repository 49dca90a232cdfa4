"""From entry to outcome: batches, requests in flight, the spool, and the one owner of retries.

A `Delivery` lives as long as a run and takes the entries of all its captures. Whatever it decides and counts happens
in the caller's thread; the senders' threads do nothing but `sink.send`. An entry ends in one of four ways: sent (the
sink said so of this very entry), spooled or among the dead letters (synced to disk), or refused (with a reason or the
sink's last error code). The arithmetic of waiting, of flow and of trust in the endpoint is in `pcapeda.pace`.
"""

import heapq
import random
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from pcapeda.errors import OutputClosed, PcapedaError, SinkDown, Untrusted
from pcapeda.events import quotas
from pcapeda.events.batch import Batcher, Lanes
from pcapeda.model import Batch, Carrier, Entry, Failed, Outcome, Report, Sink
from pcapeda.pace import Backoff, Breaker, Flow, RetryBudget
from pcapeda.sinks.aws import LOST, MALFORMED, THROTTLED
from pcapeda.sinks.spool import Kept, Load, Put, Spool
from pcapeda.sinks.threads import Senders

MILLISECOND_NS = 1_000_000
SECOND_NS = 1_000_000_000

RETRIES = Backoff(base_ns=100 * MILLISECOND_NS, cap_ns=20 * SECOND_NS, attempts=10)
"""Ten tries with full jitter: on average about 25 seconds from the first to the last."""

PATIENCE_NS = 60 * SECOND_NS
"""How long an entry is kept in memory for another try, whatever keeps the tries from being made."""

MAX_WAITING = 64
"""Batches that may wait for another try before reading stops: memory stays bounded while a bus throttles."""

MOST_IN_FLIGHT = 8_000_000
"""Bytes of entries that may be in flight, whatever their number of requests."""

PIECE = 500
"""Entries that are written to the spool at once: one sync for all of them."""

FLUSH_NS = SECOND_NS // 10
"""How long entries may wait for others to be written to the spool with."""

OUTAGE_NS = 2 * SECOND_NS
"""How long nothing must have been delivered until that is said."""

FULL_PAUSE_NS = SECOND_NS
"""How long a spool that is full, or a disk that fails, is left alone."""

REREAD_NS = 300 * SECOND_NS
"""How long entries that the bus takes no longer, though it takes others, rest in the spool before the next round."""

LOST_ANSWERS = frozenset({LOST, MALFORMED, "502", "504"})
"""Codes of requests that may have been taken all the same: no answer came, or somebody on the way gave it."""

TOO_FAST = THROTTLED | {"429"}

NO_ROOM, NO_DISK, UNREADABLE = "spool full", "spool failed", "unreadable in the spool"


class Try(NamedTuple):
    """A batch on its way: which try it is, since when, and where in the spool its entries are if they are there."""

    batch: Batch
    attempt: int
    since_ns: int
    kept: tuple[Kept, ...] = ()


class Delivery:
    """Puts entries on a sink and counts what becomes of them in `report`.

    With a `spool`, what the sink does not take is kept there and drained, oldest first, as soon as the sink takes
    entries again. After the sink raised `SinkDown`, `down` holds that error. Then everything further goes to the
    spool, or is refused under the error's code, and `over` says that there is no point in adding more; but a delivery
    that is `live` and has a spool tries the sink again from time to time, and when that went well, `down` is None once
    more. `Untrusted` is for good in any case. Not `live` and without a spool, an endpoint that is dead for more than a
    minute counts as down.

    `stopping` tells that the person wants an end, `hurried` that waiting inside `add` must end, too (as soon as
    `stopping`, unless given). `on_wait` is called often while anything is waited for. `note` is told, once each, what a
    person should read at once; `settled` the entries that need no further care (sent, spooled or dead letters) as soon
    as that is so, `refused` those that were given up.

    To a sink that is `ordered`, entries of one group go one after the other: the next one only when the one before was
    delivered or given up. What was spooled comes after what was not.

    `clock` gives monotonic nanoseconds, `sleep` takes seconds and may return early, `jitter` gives numbers in [0, 1).
    """

    def __init__(
        self,
        sink: Sink,
        report: Report,
        *,
        spool: Spool | None = None,
        keep_limited: bool = False,
        live: bool = False,
        retries: Backoff = RETRIES,
        clock: Callable[[], int] = time.monotonic_ns,
        sleep: Callable[[float], object] = time.sleep,
        jitter: Callable[[], float] = random.random,
        stopping: Callable[[], bool] = lambda: False,
        hurried: Callable[[], bool] | None = None,
        on_wait: Callable[[], None] = lambda: None,
        note: Callable[[str], None] = lambda sentence: None,
        settled: Callable[[list[Entry]], None] = lambda entries: None,
        refused: Callable[[Sequence[Entry]], None] = lambda entries: None,
    ) -> None:
        self.down: SinkDown | None = None
        self.sink = sink
        self._report = report
        self._spool = spool
        self._keep_limited = keep_limited
        self._live = live
        self._patient = live and spool is not None
        self._retries = retries
        self._clock = clock
        self._sleep = sleep
        self._jitter = jitter
        self._stopping = stopping
        self._hurried = hurried or stopping
        self._on_wait = on_wait
        self._note = note
        self._settled = settled
        self._refused = refused
        self._batcher = Batcher(sink.limits)
        self._lanes = Lanes(sink.limits) if getattr(sink, "ordered", False) else None
        self._billed_bytes: int = getattr(sink, "billed_bytes", quotas.CHUNK_BYTES)
        # A sink that takes one call at a time is called right here: order is kept and nothing is handed around.
        self._carrier = _carrier(sink) if sink.concurrency > 1 else None
        self._flow = Flow(sink.concurrency)
        self._breaker = Breaker()
        self._budget = RetryBudget()
        self._flights: dict[int, Try] = {}
        self._worth_it = max(1, sink.concurrency // 4)
        """From how many requests in flight on it is worth looking for answers after each batch."""
        self._in_flight = 0
        """Bytes of the entries in `_flights`."""
        self._waiting: list[tuple[int, int, Try]] = []  # due, serial: a heap
        self._serial = 0
        self._to_spool: list[Entry] = []
        self._to_dead: list[Failed] = []
        self._to_limited: list[Failed] = []
        self._spool_rests_until = self._flush_at = 0
        self._said: set[str] = set()
        self._told_of_outage = False
        self._draining = 0
        """Batches from the spool that are under way."""
        self._outage = "outage"
        """The code under which the endpoint last failed."""
        self._reread_at: int | None = None
        self._behind: deque[Try] = deque()
        """Batches from the spool that failed when the endpoint was found dead: what they met may be their own fault,
        so they come after the others."""
        self._resting = 0
        """Entries in the spool that were tried in vain and wait for the next round."""
        self._held_back = False
        """Whether the oldest entries of the spool wait for others of their groups."""
        self._leave_spool = False
        self._flushing = False
        self._ending = False
        if spool is not None:
            load = spool.load
            report.inherited += load.datagrams
            report.events_inherited += load.entries
            self._count_spooled(load)
            self._seen = (spool.pushed_out, spool.unreadable)

    @property
    def over(self) -> bool:
        """Whether nothing more can be sent in this run."""
        return self.down is not None and not self._patient

    def add(self, entry: Entry) -> None:
        """Take one entry; may send a batch and, when too much is under way, wait."""
        if not self._batcher.fits(entry):
            self._bury(Failed(entry, "oversize", False, "larger than the bus takes in one request"))
            return
        now = self._clock()
        if self._lanes is not None:
            self._lanes.add(entry, now)
            self._pump(self._lanes)
            self._wait_for_lanes(self._lanes)
            return
        self._go_on(self._batcher.add(entry, now), now)

    def _go_on(self, batch: Batch | None, now: int) -> None:
        """After entries were taken: send the batch that is full, if there is one, and wait if too much is under way."""
        if batch is not None:
            self._dispatch(Try(batch, 1, now))
        while len(self._waiting) > MAX_WAITING and not self._hurried():
            if self._patient and len(self._to_spool) < PIECE and self._spool_may_be_tried():
                self._keep_waiting()  # live traffic cannot wait until the bus is less busy
            else:
                self._step()
        if self._waiting or (batch is not None and (self._spool is not None or len(self._flights) >= self._worth_it)):
            self.tick()

    def add_all(self, entries: Sequence[Entry]) -> None:
        """Take entries, as many `add`s would."""
        if self._lanes is not None:
            for entry in entries:
                self.add(entry)
            return
        batcher, most, at = self._batcher, self.sink.limits.max_entries, 0
        while at < len(entries):
            now = self._clock()
            piece = entries[at : at + most - len(batcher)]
            if batcher.add_all(piece, now):
                at += len(piece)
                self._go_on(batcher.take() if len(batcher) >= most else None, now)
            else:
                self.add(entries[at])
                at += 1

    def pass_on(self, lines: str | memoryview, events: int, size: int, chunks: int) -> None:
        """Events of one datagram each that were rendered already, for a sink that can pass them on."""
        self._dispatch_rest()
        report = self._report
        if self.down is None:
            report.requests += 1
            try:
                self.sink.pass_on(lines)  # type: ignore[attr-defined]
            except SinkDown as error:
                self.down = error
        if self.down is not None:
            report.refused[self.down.code] += events
            return
        report.sent += events
        report.events += events
        report.bytes_sent += size
        report.chunks += chunks

    def _wait_for_lanes(self, lanes: Lanes) -> None:
        while (lanes.full or len(self._waiting) > MAX_WAITING) and not self._stopping():
            if self._patient and self._waiting and len(self._to_spool) < PIECE and self._spool_may_be_tried():
                self._keep_waiting()  # live traffic cannot wait until the bus is less busy
            self._step()
        if self._waiting:
            self.tick()

    def _pump(self, lanes: Lanes) -> None:
        """Send of each group what is due, waiting for answers where those of the group that are out keep it back."""
        while True:
            now = self._clock()
            batch = lanes.due(now, all_of_it=self._flushing)
            if batch is not None:
                self._dispatch(Try(batch, 1, now))
            elif self._flights and lanes.late(now) and not self._stopping():
                self._settle_done(0.1)
            else:
                return

    def refuse(self, entry: Entry, reason: str, *, over_limit: bool = False) -> None:
        """Take an entry that is not to be sent in this run. A spool keeps it; what is over a limit only if asked to."""
        if self._spool is None or (over_limit and not self._keep_limited):
            self._count_refused((entry,), reason)
        elif over_limit:
            self._to_limited.append(Failed(entry, reason, False))
        else:
            self._to_spool.append(entry)
        if len(self._to_limited) >= PIECE or len(self._to_spool) >= PIECE:
            self._flush_spool()

    def tick(self) -> None:
        """Do what is due now: an old batch, another try, answers that came in, a piece of the spool. Never sleeps."""
        if self._flights:
            self._settle_done(0)
        now = self._clock()
        if self._lanes is not None:
            self._pump(self._lanes)
        batch = self._batcher.due(now)
        if batch is not None:
            self._dispatch(Try(batch, 1, now))
        while self._waiting and self._waiting[0][0] <= now:
            self._dispatch(heapq.heappop(self._waiting)[2])
        if now >= self._flush_at:
            self._flush_spool()
            self._flush_at = now + FLUSH_NS
        self._drain()
        self._tell_of_outage()
        self._report.outage = self.down is not None or self._breaker.opened_ns is not None

    def finish(self, *, give_up: Callable[[], bool] = lambda: False) -> None:
        """Send all that is left and wait for every answer; then drain the spool while the sink takes it.

        Once `give_up()` is true nothing is tried again and no answer is waited for: what is not settled by then is
        spooled, or refused as interrupted. An interrupt leaves alone what has waited in the spool before.
        """
        self._flushing = True
        self._dispatch_rest()
        if self._lanes is not None:
            self._pump(self._lanes)
        while (
            self._flights or self._waiting or self._lanes or self._to_spool or self._to_aside or self._more_in_spool()
        ):
            self._leave_spool = self._leave_spool or self._stopping()
            if give_up():
                self._abandon()
                break
            if self.down is not None and not self._flights:
                self._ending = True
                self._keep_waiting()
            self._step()
        self._ending = True
        self._flush_spool()
        if self._carrier is not None:
            self._carrier.close()

    # Sending

    def _step(self) -> None:
        """Wait for what comes next, at most a tenth of a second, and do what is due then."""
        until = (self._waiting[0][0] - self._clock()) / SECOND_NS if self._waiting else 0.1
        if self._draining == 0 and self._more_in_spool() and not self._flights and not self._held_back:
            now = self._clock()
            until = min(until, max(self._breaker.wait(now), self._flow.wait(now)) / SECOND_NS)
        pause = min(max(until, 0.0), 0.1)
        self._on_wait()
        if self._flights:
            self._settle_done(pause)
        elif pause > 0:
            self._sleep(pause)
        self.tick()

    def _dispatch(self, one: Try) -> None:
        while len(self._flights) >= self._flow.window or (self._flights and self._in_flight > MOST_IN_FLIGHT):
            if self._hurried():
                self._later(one, self._clock() + SECOND_NS // 20)
                return
            if self._patient and self._stopping() and not one.kept and self._spool_may_be_tried():
                self._give_up(one, "interrupted")  # what was received and not read yet cannot wait for the bus
                return
            self._on_wait()
            self._settle_done(0.1)
        now, number = self._clock(), len(one.batch.entries)
        dead_for = self._breaker.wait(now)
        if self.down is not None and (dead_for or self.over):
            self._give_up(one, self.down.code)
        elif dead_for and self._spool is not None and (one.kept or self._spool_may_be_tried()):
            self._give_up(one, self._outage)
        elif dead_for or (self._flow.rate is not None and self._flow.wait(now)):
            self._later(one, now + max(dead_for, self._flow.wait(now)))
        elif one.attempt > 1 and (poor_for := self._budget.take(now)):
            self._later(one, now + poor_for)
        else:
            self._breaker.sending()
            self._flow.sending(number, now)
            if one.attempt > 1:
                self._report.retried += number
            self._send(one)

    def _dispatch_rest(self) -> None:
        """What has been collected, though no batch is full."""
        batch = self._batcher.take()
        if batch is not None:
            self._dispatch(Try(batch, 1, self._clock()))

    def _send(self, one: Try) -> None:
        if self._carrier is not None:
            self._flights[self._carrier.start(one.batch)] = one
            self._in_flight += one.batch.size
            return
        try:
            outcome = self.sink.send(one.batch)
        except SinkDown as error:
            self._give_in(one, error)
        else:
            self._settle(one, outcome)

    def _settle_done(self, timeout_s: float) -> None:
        """Judge the answers that are there, or come within the time."""
        if self._carrier is None:
            return
        for number, outcome in self._carrier.landed(timeout_s):
            one = self._flights.pop(number)
            self._in_flight -= one.batch.size
            if isinstance(outcome, SinkDown):
                self._give_in(one, outcome)
            else:
                self._settle(one, outcome)

    def _settle(self, one: Try, outcome: Outcome) -> None:
        now, report = self._clock(), self._report
        report.requests += 1
        failed = {id(one.entry): one for one in outcome.failed}
        taken = [entry for entry in one.batch.entries if id(entry) not in failed] if failed else list(one.batch.entries)
        report.sent += sum([entry.stands_for for entry in taken])
        report.events += len(taken)
        report.bytes_sent += sum([entry.size for entry in taken]) if failed else one.batch.size
        unit = self._billed_bytes
        report.chunks += sum([quotas.chunks(entry.size, unit) if entry.size > unit else 1 for entry in taken])
        report.known += outcome.known
        self._settled(taken)
        self._set_free(taken)
        if one.kept:
            self._draining -= 1
            self._leave([kept for kept in one.kept if id(kept.entry) not in failed])
        if outcome.sent:
            self._budget.delivered()
        # What was sent before the sink refused us tells nothing of what it takes now: only the one try since then does.
        stale = self.down is not None and (self.over or not self._breaker.trying)
        too_fast = sum(one.code in TOO_FAST for one in outcome.failed)
        if stale:
            pass
        elif too_fast:
            self._flow.throttled(too_fast, outcome.sent, now)
            self._breaker.answered()
        elif outcome.sent or any(not one.again for one in outcome.failed):
            self._flow.delivered(outcome.sent, now)
            self._breaker.answered()
        else:
            self._outage = next(iter(failed.values())).code if failed else self._outage
            self._breaker.failed(now, self._jitter)
        if (self.down is not None or self._told_of_outage) and outcome.sent and not stale:
            self.down, self._told_of_outage = None, False
            self._said.clear()
            self._note("events are delivered again")
        if outcome.failed:
            self._retry_or_give_up(one, outcome.failed, now)
        if self._breaker.opened_ns is not None and self._spool is not None and self._spool_may_be_tried():
            self._keep_waiting()  # before newer ones are, so that the spool is in order

    def _retry_or_give_up(self, one: Try, failures: tuple[Failed, ...], now: int) -> None:
        delay = self._retries.delay(one.attempt, self._jitter)
        hopeless = delay is None or now - one.since_ns > PATIENCE_NS
        places = {id(kept.entry): kept for kept in one.kept}
        again: dict[str, list[Entry]] = {}
        for failed in failures:
            self._report.remember(failed.code, failed.message)
            if failed.code in LOST_ANSWERS:
                self._report.maybe_twice += 1
            if failed.again:
                again.setdefault(failed.code, []).append(failed.entry)
            else:
                self._bury(failed, places.get(id(failed.entry)))
        for code, entries in again.items():
            batch = Batch(tuple(entries), sum(entry.size for entry in entries))
            kept = tuple(places[id(entry)] for entry in entries) if one.kept else ()
            rest = Try(batch, one.attempt + 1, one.since_ns, kept)
            if kept:
                self._draining += 1
            if hopeless:
                self._give_up(rest, code, for_good=True)
            else:
                self._later(rest, now + (delay or 0))

    def _later(self, one: Try, due_ns: int) -> None:
        now = self._clock()
        if now - one.since_ns > PATIENCE_NS and (self._spool is None or one.kept or self._spool_may_be_tried()):
            opened_ns = self._breaker.opened_ns
            if self._spool is None and not self._live and opened_ns is not None and now - opened_ns > PATIENCE_NS:
                words = self._report.messages.get(self._outage, "no answer")
                self.down = self.down or SinkDown(f"given up after a minute: {words}", code=self._outage)
            self._give_up(one, self._outage, for_good=True)
            return
        self._serial += 1
        heapq.heappush(self._waiting, (max(due_ns, now + 1), self._serial, one))

    def _give_in(self, one: Try, error: SinkDown) -> None:
        """The sink says that no later batch can fare better."""
        self._report.requests += 1
        if isinstance(error, OutputClosed | Untrusted):
            self._patient = False  # what comes later cannot mend that
        if self._patient:
            now = self._clock()
            first = self.down is None or self._breaker.trying
            self._breaker.failed(now, self._jitter)
            self._breaker.open(now, self._jitter)
            self._say(f"{error}; events are kept in the spool until that is mended")
            renew = getattr(self.sink, "renew", None)
            if renew is not None and first:  # once, not for each of the requests that were under way
                renew()
        if self.down is None or isinstance(error, OutputClosed | Untrusted):
            self.down = error
        self._give_up(one, error.code)

    # What is not sent

    def _give_up(self, one: Try, code: str, *, for_good: bool = False) -> None:
        """No further try now: to the spool, back to the spool, or refused."""
        if one.kept:
            self._draining -= 1
            if one.attempt == 1 and self._spool is not None and not for_good:
                self._spool.give_back(one.kept)
            elif not for_good:
                self._behind.append(one)
                return
            else:
                self._rest(len(one.kept))
        elif self._spool is not None and not isinstance(self.down, OutputClosed):
            self._to_spool.extend(one.batch.entries)
            if len(self._to_spool) >= PIECE:
                self._flush_spool()
        else:
            self._count_refused(one.batch.entries, code)
        self._set_free(one.batch.entries)

    def _set_free(self, entries: Sequence[Entry]) -> None:
        """These are done with: the next ones of their groups may go."""
        if self._lanes is not None:
            self._held_back = False
            self._lanes.free(entries)

    def _count_refused(self, entries: Sequence[Entry], code: str) -> None:
        self._count_lost(_load(entries), code)
        self._refused(entries)

    def _count_lost(self, load: Load, code: str) -> None:
        """Count the datagrams that entries stand for; those that stand for none are counted as themselves."""
        if load.datagrams:
            self._report.refused[code] += load.datagrams
        if load.bare:
            self._report.events_refused += load.bare
            self._say(f"reports on the run are not delivered: {code}")

    def _count_spooled(self, load: Load) -> None:
        self._report.spooled += load.datagrams
        self._report.events_spooled += load.entries

    def _bury(self, failed: Failed, kept: Kept | None = None) -> None:
        """An entry that can never succeed."""
        self._report.remember(failed.code, failed.message)
        self._set_free((failed.entry,))
        if self._spool is None:
            self._count_refused((failed.entry,), failed.code)
            return
        if kept is not None:
            # From the spool to its dead letters: there first, then gone here.
            if not self._spool.letters and self._put_dead([failed]):
                self._leave([kept])
            else:
                self._rest(1)
            return
        self._to_dead.append(failed)
        if len(self._to_dead) >= PIECE:
            self._flush_spool()

    def _rest(self, number: int) -> None:
        """Entries that stay in the spool although they were tried: their next round is later."""
        self._resting += number
        if self._reread_at is None:
            self._reread_at = self._clock() + REREAD_NS

    def _keep_waiting(self) -> None:
        """Everything that waits for another try goes where it goes without one."""
        waiting, self._waiting = self._waiting, []
        code = self.down.code if self.down else "outage"
        for _, _, one in sorted(waiting, key=lambda item: item[1]):
            self._give_up(one, code)
        if self._ending:
            self._empty_lanes(code)

    def _empty_lanes(self, code: str) -> None:
        for batch in self._lanes.take() if self._lanes is not None else ():
            self._give_up(Try(batch, 1, self._clock()), code)

    def _abandon(self) -> None:
        """The time for trying is over; answers that are still under way are not waited for."""
        self._ending = True
        self._leave_spool = True
        self._settle_done(0)
        for one in self._flights.values():
            self._report.requests += 1
            self._report.maybe_twice += len(one.batch.entries)
            self._give_up(one, "interrupted")
        for _, _, one in self._waiting:
            self._give_up(one, "interrupted")
        self._flights.clear()
        self._waiting.clear()
        self._empty_lanes("interrupted")

    # The spool

    def _spool_may_be_tried(self) -> bool:
        return self._clock() >= self._spool_rests_until

    def _flush_spool(self) -> None:
        """Write what is to be kept, sync it, and count it only then."""
        if self._spool is None:
            return
        if self._to_aside:
            self._flush_aside()
        if not self._to_spool or not (self._ending or self._spool_may_be_tried()):
            return
        entries, self._to_spool = self._to_spool, []
        try:
            put = self._spool.put(entries)
        except PcapedaError as error:
            self._say(str(error))
            left, reason = entries, NO_DISK
        else:
            kept = put.taken - put.dropped
            dropped_first = self._spool.when_full == "drop-oldest"
            safe = entries[put.dropped : put.taken] if dropped_first else entries[:kept]
            self._count_spooled(_load(safe))
            self._settled(safe)
            self._count_refused(entries[: put.dropped] if dropped_first else entries[kept : put.taken], NO_ROOM)
            left, reason = entries[put.taken :], NO_ROOM
        self._count_what_left()
        if not left:
            return
        if self._ending or (reason == NO_DISK and self._spool.when_full != "block"):
            self._count_refused(left, reason)
            return
        # Full, and it may block: it stays in memory until something was drained; meanwhile reading stops.
        self._say(f"spool {self._spool.folder} is full: waiting until there is room")
        now = self._clock()
        self._spool_rests_until = now + FULL_PAUSE_NS
        if self._lanes is not None:
            self._lanes.put_back(left, now)
            return
        most = self.sink.limits.max_entries
        for first in range(0, len(left), most):
            piece = tuple(left[first : first + most])
            for batch in _within(piece, self.sink.limits.max_bytes):
                self._later(Try(batch, 1, now), now + FULL_PAUSE_NS)

    @property
    def _to_aside(self) -> bool:
        return bool(self._to_dead or self._to_limited)

    def _flush_aside(self) -> None:
        dead, self._to_dead = self._to_dead, []
        limited, self._to_limited = self._to_limited, []
        for failed in (*dead[self._put_dead(dead) :], *limited[self._put_limited(limited) :]):
            self._count_refused((failed.entry,), failed.code)

    def _put_dead(self, failures: list[Failed]) -> int:
        """Keep dead letters; gives how many there was room for, from the first on."""
        assert self._spool is not None
        return self._put_aside(failures, self._spool.put_dead, self._report.dead)

    def _put_limited(self, failures: list[Failed]) -> int:
        """The same for what is over a limit."""
        assert self._spool is not None
        return self._put_aside(failures, self._spool.put_limited, self._report.limited)

    def _put_aside(self, failures: list[Failed], put: Callable[[list[Failed]], Put], counts: Counter[str]) -> int:
        if not failures:
            return 0
        try:
            done = put(failures)
        except PcapedaError as error:
            self._say(str(error))
            return 0
        number = done.taken - done.dropped
        for failed in failures[:number]:
            if failed.entry.stands_for:
                counts[failed.code] += failed.entry.stands_for
            else:
                self._count_lost(_load((failed.entry,)), failed.code)
        self._settled([failed.entry for failed in failures[:number]])
        return number

    def _leave(self, kept: list[Kept]) -> None:
        """These have left the spool: delivered, or among the dead letters."""
        if self._spool is None or not kept:
            return
        there = self._spool.done(kept)
        self._count_spooled(Load() - there)
        gone = _load([one.entry for one in kept]) - there  # pushed out meanwhile, and counted as lost too soon
        self._report.events_refused -= gone.bare
        if gone.datagrams:
            self._report.refused[NO_ROOM] -= gone.datagrams
            self._report.refused = +self._report.refused

    def _count_what_left(self) -> None:
        """Entries that left the spool undelivered: pushed out by newer ones, or not to be understood."""
        assert self._spool is not None
        pushed_out, unreadable = self._spool.pushed_out, self._spool.unreadable
        for reason, load in ((NO_ROOM, pushed_out - self._seen[0]), (UNREADABLE, unreadable - self._seen[1])):
            self._count_lost(load, reason)
            self._count_spooled(Load() - load)
        self._seen = (pushed_out, unreadable)

    def _more_in_spool(self) -> bool:
        """Whether the spool has entries that this run still wants to send."""
        if self._spool is None or self._leave_spool or self.down is not None:
            return False
        opened_ns = self._breaker.opened_ns
        if opened_ns is not None and self._clock() - opened_ns > PATIENCE_NS // 2:
            return False
        # What rests in the spool is not waited for; what has not been tried yet in this round is.
        return self._draining > 0 or len(self._spool) > self._resting

    def _drain(self) -> None:
        """Take from the spool what fits beside new traffic: half of the requests that may be in flight, at least one.

        While the endpoint is dead, what waits here is what tries it.
        """
        spool, most = self._spool, max(1, self._flow.window // 2)
        if spool is None or self._leave_spool or self._ending or self._stopping():
            return
        if self.down is not None and not self._patient:
            return
        now = self._clock()
        if self._reread_at is not None and now >= self._reread_at and not self._draining and not self._behind:
            self._reread_at, self._resting = None, 0
            spool.rewind()
        while self._draining < most and len(self._flights) < self._flow.window:
            if not len(spool) or self._breaker.wait(now) or self._flow.wait(now):
                return
            one = self._next_of(spool, now)
            if one is None:
                return
            self._draining += 1
            self._dispatch(one)
            if self._carrier is None:
                return  # one at a time, so that new traffic has its turn

    def _next_of(self, spool: Spool, now: int) -> Try | None:
        """The oldest entries of the spool that are not under way, as a batch."""
        limits = self.sink.limits
        taken = spool.take(limits.max_entries)
        self._count_what_left()
        if self._lanes is not None and taken:
            may_go: list[Kept] = []
            held: list[Kept] = []
            for kept in taken:
                (may_go if self._lanes.claim(kept.entry) else held).append(kept)
            spool.give_back(held)
            self._held_back = not may_go
            if not may_go and not self._behind:
                return None
            taken = may_go
        if not taken:
            if self._behind:
                return self._behind.popleft()._replace(since_ns=now)
            if not self._draining:
                self._rest(len(spool) - self._resting)
            return None
        number, size = 1, taken[0].entry.size
        while number < len(taken) and size + taken[number].entry.size <= limits.max_bytes:
            size += taken[number].entry.size
            number += 1
        spool.give_back(taken[number:])
        self._set_free([kept.entry for kept in taken[number:]])
        entries = tuple(kept.entry for kept in taken[:number])
        return Try(Batch(entries, size), 1, now, tuple(taken[:number]))

    def _tell_of_outage(self) -> None:
        """Say once, when an outage has lasted a little, why nothing is delivered."""
        opened_ns = self._breaker.opened_ns
        if opened_ns is None or self.down is not None or self._told_of_outage:
            return
        if self._clock() - opened_ns >= OUTAGE_NS:
            self._told_of_outage = True
            why = ": ".join(filter(None, (self._outage, self._report.messages.get(self._outage))))
            then = "trying again" if self._spool is None else "events are kept in the spool until that is over"
            self._note(f"nothing is delivered: {why}; {then}")

    def _say(self, sentence: str) -> None:
        if sentence not in self._said:
            self._said.add(sentence)
            self._note(sentence)


def _load(entries: Sequence[Entry]) -> Load:
    return Load.of(entry.stands_for for entry in entries)


def _carrier(sink: Sink) -> Carrier:
    """What carries several batches to the sink at once: its own carrier, or a thread for each."""
    offered = getattr(sink, "carrier", None)
    return (offered and offered()) or Senders(sink.send, sink.concurrency)


def _within(entries: tuple[Entry, ...], max_bytes: int) -> list[Batch]:
    """The entries as batches of at most so many bytes."""
    batches: list[Batch] = []
    piece: list[Entry] = []
    size = 0
    for entry in entries:
        if piece and size + entry.size > max_bytes:
            batches.append(Batch(tuple(piece), size))
            piece, size = [], 0
        piece.append(entry)
        size += entry.size
    if piece:
        batches.append(Batch(tuple(piece), size))
    return batches
