"""From entry to outcome: batches, requests in flight, and the one owner of retries.

A `Delivery` lives as long as a run and takes the entries of all its captures. Whatever it decides and counts happens in
the caller's thread; the senders' threads do nothing but `sink.send`. An entry ends in one of four ways: sent (the sink
said so of this very entry), spooled or among the dead letters (synced to disk), or refused (with a reason or the sink's
last error code). The arithmetic of waiting, of flow and of trust in the endpoint is in `pcapeda.delivery.retry`, what
waits for another try in `pcapeda.delivery.attempts`, writing and draining the spool in `pcapeda.delivery.spool_drain`.
"""

import heapq
import random
import time
from collections.abc import Callable, Sequence

from pcapeda.aws import quotas
from pcapeda.aws.responses import LOST, MALFORMED, THROTTLED, TOO_LARGE
from pcapeda.delivery.attempts import Attempt, Remains, Waiting, retry_of, within
from pcapeda.delivery.batching import Batcher, MessageGroups
from pcapeda.delivery.ledger import Ledger
from pcapeda.delivery.outcomes import checked
from pcapeda.delivery.retry import AimdController, Backoff, Breaker, RetryBudget
from pcapeda.delivery.spool import Spool
from pcapeda.delivery.spool_drain import FULL_PAUSE_NS, SpoolDrain, SpoolWriter
from pcapeda.delivery.thread_pool import ThreadPoolSender
from pcapeda.errors import BadSink, OutputClosed, SinkDown
from pcapeda.model import Entry, Failed, Outcome, Sink
from pcapeda.report import Report
from pcapeda.sinks.base import as_base
from pcapeda.units import MILLISECOND_NS, SECOND_NS

RETRIES = Backoff(base_ns=100 * MILLISECOND_NS, calm_ns=SECOND_NS, cap_ns=20 * SECOND_NS, share=0.5)
"""An entry waits for up to half its age before it is tried again, up to a second while the sink takes anything; where
nothing is taken, up to half of the time since then: some ten tries in the first second, and one in ten at last."""

PATIENCE_NS = 300 * SECOND_NS
"""How long an entry is tried, counted from its first try, unless told otherwise."""

WAIT_AT_END_NS = 30 * SECOND_NS
"""How long the end of a run that has a spool waits for an endpoint that does not answer, to drain the spool."""

MAX_WAITING = 64
"""Batches' worth that may wait for another try before reading stops: memory stays bounded while a bus throttles."""

MOST_IN_FLIGHT = 8_000_000
"""Bytes of entries that may be in flight, whatever their number of requests."""

FLUSH_NS = SECOND_NS // 10
"""How long entries may wait for others to be written to the spool with."""

OUTAGE_NS = 2 * SECOND_NS
"""How long nothing must have been delivered until that is said."""

LOST_ANSWERS = frozenset({LOST, MALFORMED, "502", "504"})
"""Codes of requests that may have been taken all the same: no answer came, or somebody on the way gave it."""

TOO_FAST = THROTTLED | {"429"}


class Delivery:
    """Puts entries on a sink and counts what becomes of them in `report`.

    An entry that fails, and may fare better, is tried again until `patience_ns` have passed since its first try. With a
    `spool`, what the sink does not take is kept there and drained, oldest first, as soon as the sink takes entries
    again. After the sink raised `SinkDown`, `down` holds that error. Then everything further goes to the spool, or is
    refused under the error's code, and `over` says that there is no point in adding more; but a delivery that is `live`
    and has a spool tries the sink again from time to time, unless the error is final, and when that went well, `down`
    is None once more. Not `live` and without a spool, an endpoint that is dead for longer than the patience counts as
    down. A sink that does not account for every entry of a batch, or raises what is no `SinkDown`, is down for good:
    `broken` holds that error, for the caller to raise once all is counted.

    `stopping` tells that the person wants an end, `draining` that waiting inside `add` must end, too (as soon as
    `stopping`, unless given). `on_wait` is called often while anything is waited for. `note` is told, once each, what a
    person should read at once; `acknowledged` the entries that need no further care (sent, spooled or dead letters) as
    soon as that is so, `refused` those that were given up.

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
        patience_ns: int = PATIENCE_NS,
        retries: Backoff = RETRIES,
        clock: Callable[[], int] = time.monotonic_ns,
        sleep: Callable[[float], object] = time.sleep,
        jitter: Callable[[], float] = random.random,
        stopping: Callable[[], bool] = lambda: False,
        draining: Callable[[], bool] | None = None,
        on_wait: Callable[[], None] = lambda: None,
        note: Callable[[str], None] = lambda sentence: None,
        acknowledged: Callable[[list[Entry]], None] = lambda entries: None,
        refused: Callable[[Sequence[Entry]], None] = lambda entries: None,
    ) -> None:
        self.down: SinkDown | None = None
        self.broken: BaseException | None = None
        self.sink = sink = as_base(sink)
        self._report = report
        self._keep_limited = keep_limited
        self._live = live
        self._patient = live and spool is not None
        self._patience_ns = patience_ns
        self._retries = retries
        self._clock = clock
        self._sleep = sleep
        self._jitter = jitter
        self._stopping = stopping
        self._urgent = draining or stopping
        self._on_wait = on_wait
        self._ledger = Ledger(report, note, acknowledged, refused)
        self._batcher = Batcher(sink.limits)
        self._groups = MessageGroups(sink.limits) if sink.ordered else None
        self._billed_bytes = sink.billed_bytes
        # A sink that takes one call at a time is called right here: order is kept and nothing is handed around.
        self._sender = None
        if sink.concurrency > 1:
            self._sender = sink.async_sender() or ThreadPoolSender(sink.send, sink.concurrency)
        self._flow = AimdController(sink.concurrency)
        self._breaker = Breaker()
        self._budget = RetryBudget()
        self._flights: dict[int, Attempt] = {}
        self._worth_it = max(1, sink.concurrency // 4)
        """From how many requests in flight on it is worth looking for answers after each batch."""
        self._in_flight = 0
        """Bytes of the entries in `_flights`."""
        self._fresh = self._from_spool = Remains(sink.limits)
        self._remains: tuple[Remains, ...] = (self._fresh,)
        self._deferred: list[
            tuple[int, int, Attempt]
        ] = []  # due, serial: a heap of batches that could not go when ready
        self._serial = 0
        self._flush_at = 0
        self._delivered_ns = clock()
        """When something was last delivered; at first, the beginning."""
        self._told_of_outage = False
        self._outage = "outage"
        """The code under which the endpoint last failed."""
        self._leave_spool = False
        self._flushing = False
        self._ending = False
        self._spool = spool
        self._writer: SpoolWriter | None = None
        self._drain: SpoolDrain | None = None
        if spool is not None:
            self._writer = SpoolWriter(spool, self._ledger, clock, patience_ns)
            self._drain = SpoolDrain(spool, self._writer, self._ledger, self._groups, sink.limits, clock)
            self._from_spool = self._drain.remains
            self._remains = (self._fresh, self._from_spool)

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
        if self._groups is not None:
            self._groups.add(entry, now)
            self._pump(self._groups)
            self._wait_for_lanes(self._groups)
            return
        batch = self._batcher.add(entry, now)
        self._go_on(None if batch is None else Attempt(batch, now))

    def _go_on(self, one: Attempt | None) -> None:
        """After entries were taken: send the batch that is full, if there is one, and wait if too much is under way."""
        if one is not None:
            self._dispatch(one)
        while self._too_much_waits and not self._urgent():
            if self._may_spool_what_waits:
                self._keep_waiting()  # live traffic cannot wait until the bus is less busy
            else:
                self._step()
        if self._something_waits or (
            one is not None and (self._spool is not None or len(self._flights) >= self._worth_it)
        ):
            self.tick()

    def add_all(self, entries: Sequence[Entry]) -> None:
        """Take entries, as many `add`s would."""
        if self._groups is not None:
            for entry in entries:
                self.add(entry)
            return
        batcher, most, at = self._batcher, self.sink.limits.max_entries, 0
        while at < len(entries):
            now = self._clock()
            piece = entries[at : at + most - len(batcher)]
            if batcher.add_all(piece, now):
                at += len(piece)
                batch = batcher.take() if len(batcher) >= most else None
                self._go_on(None if batch is None else Attempt(batch, now))
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
                self.sink.pass_on(lines)
            except SinkDown as error:
                self.down = error
        if self.down is not None:
            report.refused[self.down.code] += events
            return
        report.sent += events
        report.events += events
        report.bytes_sent += size
        report.chunks += chunks

    @property
    def _something_waits(self) -> bool:
        return bool(self._deferred or self._fresh or self._from_spool)

    @property
    def _too_much_waits(self) -> bool:
        if not self._something_waits:
            return False
        return len(self._deferred) + sum(remains.batches for remains in self._remains) > MAX_WAITING

    @property
    def _spool_is_ready(self) -> bool:
        """Whether there is a spool, and it was not found full just now."""
        return self._writer is not None and self._writer.ready

    @property
    def _may_spool_what_waits(self) -> bool:
        return self._patient and self._writer is not None and self._writer.room and self._writer.ready

    def _wait_for_lanes(self, lanes: MessageGroups) -> None:
        while (lanes.full or self._too_much_waits) and not self._stopping():
            if self._something_waits and self._may_spool_what_waits:
                self._keep_waiting()  # live traffic cannot wait until the bus is less busy
            self._step()
        if self._something_waits:
            self.tick()

    def _pump(self, lanes: MessageGroups) -> None:
        """Send of each group what is due, waiting for answers where those of the group that are out keep it back."""
        while True:
            now = self._clock()
            batch = lanes.due(now, all_of_it=self._flushing)
            if batch is not None:
                self._dispatch(Attempt(batch, now))
            elif self._flights and lanes.late(now) and not self._stopping():
                self._settle_done(0.1)
            else:
                return

    def refuse(self, entry: Entry, reason: str, *, over_limit: bool = False) -> None:
        """Take an entry that is not to be sent in this run. A spool keeps it; what is over a limit only if asked to."""
        if self._writer is None or (over_limit and not self._keep_limited):
            self._ledger.refuse((entry,), reason)
        elif over_limit:
            self._writer.limit(Failed(entry, reason, False))
        else:
            self._writer.keep((entry,))
        self._flush_pieces()

    def tick(self) -> None:
        """Do what is due now: an old batch, another try, answers that came in, a piece of the spool. Never sleeps."""
        if self._flights:
            self._settle_done(0)
        now = self._clock()
        if self._groups is not None:
            self._pump(self._groups)
        batch = self._batcher.due(now)
        if batch is not None:
            self._dispatch(Attempt(batch, now))
        while self._deferred and self._deferred[0][0] <= now:
            self._dispatch(heapq.heappop(self._deferred)[2])
        self._retry(now)
        if self._writer is not None:
            if now >= self._flush_at:
                self._flush_spool()
                self._flush_at = now + FLUSH_NS
            self._writer.look()
        self._send_from_spool()
        self._tell_of_outage()
        self._report.outage = self.down is not None or self._breaker.opened_ns is not None

    def finish(self, *, give_up: Callable[[], bool] = lambda: False) -> None:
        """Send all that is left and wait for every answer; then drain the spool while the sink takes it.

        Once `give_up()` is true nothing is tried again and no answer is waited for: what is not settled by then is
        spooled, or refused as interrupted. An interrupt leaves alone what has waited in the spool before.
        """
        self._flushing = True
        self._dispatch_rest()
        if self._groups is not None:
            self._pump(self._groups)
        while (
            self._flights
            or self._something_waits
            or self._groups
            or (self._writer is not None and self._writer.unwritten)
            or self._more_in_spool()
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
        if self._writer is not None:
            self._flush_spool()
            self._writer.look(now_at_once=True)
        if self._sender is not None:
            self._sender.close()

    # Sending

    def _step(self) -> None:
        """Wait for what comes next, at most a tenth of a second, and do what is due then."""
        pause = min(max(self._next_due(self._clock()) / SECOND_NS, 0.0), 0.1)
        self._on_wait()
        if self._flights:
            self._settle_done(pause)
        elif pause > 0:
            self._sleep(pause)
        self.tick()

    def _next_due(self, now: int) -> int:
        """Nanoseconds until something can be done, as far as is known."""
        blocked = max(self._breaker.wait(now), self._flow.wait(now))
        waits = [self._deferred[0][0] - now] if self._deferred else []
        for remains in self._remains:
            if remains.due_ns is not None:
                waits.append(max(remains.due_ns - now, blocked, self._budget.wait(now)))
        drain = self._drain
        idle = drain is not None and not drain.busy and not drain.held_back and not self._flights
        if idle and self._more_in_spool():
            waits.append(blocked)
        return min(waits, default=SECOND_NS)

    def _dispatch(self, one: Attempt) -> None:
        """Send a batch that is ready; where that cannot be now, it waits or goes to the spool."""
        while len(self._flights) >= self._flow.window or (self._flights and self._in_flight > MOST_IN_FLIGHT):
            if self._urgent():
                self._defer(one, self._clock() + SECOND_NS // 20)
                return
            if self._patient and self._stopping() and not one.kept and self._spool_is_ready:
                self._give_up(one, "interrupted")  # what was received and not read yet cannot wait for the bus
                return
            self._on_wait()
            self._settle_done(0.1)
        now = self._clock()
        dead_for = self._breaker.wait(now)
        if self.down is not None and (dead_for or self.over):
            self._let_go(one)
            self._give_up(one, self.down.code)
        elif dead_for and self._spool is not None and (one.kept or self._spool_is_ready):
            self._let_go(one)
            self._give_up(one, self._outage)
        elif dead_for or (self._flow.rate is not None and self._flow.wait(now)):
            self._defer(one, now + max(dead_for, self._flow.wait(now)))
        else:
            self._send(one, now)

    def _retry(self, now: int) -> None:
        """Try again what is due, as far as window, flow and budget allow, and give up what is too old."""
        for remains in self._remains:
            for code, one in remains.expired(now - self._patience_ns):
                self._lose_patience(now)
                self._give_up(one, code, for_good=True)
            while remains.due_ns is not None and remains.due_ns <= now:
                dead_for = self._breaker.wait(now)
                if dead_for and (self._spool_is_ready or self.down is not None):
                    self._keep_waiting()
                    return
                full = len(self._flights) >= self._flow.window or self._in_flight > MOST_IN_FLIGHT
                if dead_for or full or self._flow.wait(now) or (not self.over and self._budget.take(now)):
                    return
                one = remains.take()
                if one.kept and self._drain is not None:
                    self._drain.under_way += 1
                self._dispatch(one)
                now = self._clock()

    def _dispatch_rest(self) -> None:
        """What has been collected, though no batch is full."""
        batch = self._batcher.take()
        if batch is not None:
            self._dispatch(Attempt(batch, self._clock()))

    def _send(self, one: Attempt, now: int) -> None:
        number = len(one.batch.entries)
        self._breaker.sending()
        self._flow.sending(number, now)
        if one.is_retry:
            self._report.retried += number
        if self._sender is not None:
            self._flights[self._sender.start(one.batch)] = one
            self._in_flight += one.batch.size
            return
        try:
            told: object = self.sink.send(one.batch)
        except Exception as error:  # noqa: BLE001 - whatever a sink raises, its entries are accounted for
            told = error
        except BaseException:
            self._give_up_unanswered(one)
            raise
        self._answered(one, told)

    def _settle_done(self, timeout_s: float) -> None:
        """Judge the answers that are there, or come within the time."""
        if self._sender is None:
            return
        for number, told in self._sender.poll(timeout_s):
            one = self._flights.pop(number)
            self._in_flight -= one.batch.size
            self._answered(one, told)

    def _answered(self, one: Attempt, told: object) -> None:
        """What came of a request: an outcome, or what was raised."""
        if isinstance(told, SinkDown):
            self._give_in(one, told)
            return
        if isinstance(told, BaseException):
            self._break_off(one, told)
            return
        try:
            outcome, failures = checked(one.batch, told, self.sink.original)
        except BadSink as error:
            self._break_off(one, error)
        else:
            self._settle(one, outcome, failures)

    def _settle(self, one: Attempt, outcome: Outcome, failures: dict[int, Failed]) -> None:
        now, report = self._clock(), self._report
        report.requests += 1
        entries = one.batch.entries
        taken = [entry for place, entry in enumerate(entries) if place not in failures] if failures else list(entries)
        report.sent += sum([entry.datagram_count for entry in taken])
        report.events += len(taken)
        report.bytes_sent += sum([entry.size for entry in taken]) if failures else one.batch.size
        unit = self._billed_bytes
        report.chunks += sum([quotas.chunks(entry.size, unit) if entry.size > unit else 1 for entry in taken])
        report.deduplicated += outcome.deduplicated
        self._ledger.acknowledged(taken)
        self._set_free(taken)
        self._let_go(one)
        if one.kept and self._drain is not None:
            self._drain.delivered([kept for place, kept in enumerate(one.kept) if place not in failures])
        self._learn(outcome, failures, now)
        too_large = bool(failures) and not outcome.sent and _all_too_large(failures)
        if too_large and len(entries) > 1:
            self._halve(one, now)
        elif too_large:  # alone: no request can be smaller
            self._retry_or_give_up(one, {0: failures[0]._replace(retryable=False)}, now)
        elif failures:
            self._retry_or_give_up(one, failures, now)
        if self._breaker.opened_ns is not None and self._spool_is_ready:
            self._keep_waiting()  # before newer ones are, so that the spool is in order

    def _learn(self, outcome: Outcome, failures: dict[int, Failed], now: int) -> None:
        """What an answer tells of the endpoint: whether it is alive, what it takes, and whether an outage is over."""
        if outcome.sent:
            self._budget.delivered()
            self._delivered_ns = now
        # What was sent before the sink refused us tells nothing of what it takes now: only the one try since then does.
        if self.down is not None and (self.over or not self._breaker.trying):
            return
        too_fast = sum(failed.code in TOO_FAST for failed in failures.values())
        if too_fast:
            self._flow.throttled(too_fast, outcome.sent, now)
            self._breaker.answered()
        elif outcome.sent or any(not failed.retryable or failed.code in TOO_LARGE for failed in failures.values()):
            self._flow.delivered(outcome.sent, now)
            self._breaker.answered()
        else:
            self._outage = next(iter(failures.values())).code if failures else self._outage
            self._breaker.failed(now, self._jitter)
        if (self.down is not None or self._told_of_outage) and outcome.sent:
            self.down, self._told_of_outage = None, False
            self._ledger.forget_words()
            self._ledger.note("events are delivered again")

    def _halve(self, one: Attempt, now: int) -> None:
        """Somebody on the way found the request too large: the same in two, at once."""
        for half in one.halves():
            if one.kept and self._drain is not None:
                self._drain.under_way += 1
            self._push(half, now)

    def _retry_or_give_up(self, one: Attempt, failures: dict[int, Failed], now: int) -> None:
        hopeless: dict[str, list[int]] = {}
        for place, failed in failures.items():
            self._report.remember(failed.code, failed.message)
            if failed.code in LOST_ANSWERS:
                self._report.maybe_twice += 1
            kept = one.kept[place] if one.kept else None
            age_ns = now - one.since(place)
            if not failed.retryable and kept is not None and self._drain is not None:
                self._set_free((failed.entry,))
                self._drain.bury(failed, kept)
            elif not failed.retryable:
                self._bury(failed)
            elif age_ns >= self._patience_ns:
                hopeless.setdefault(failed.code, []).append(place)
            else:
                remains = self._fresh if kept is None else self._from_spool
                waiting = Waiting(failed.entry, one.since(place), failed.code, kept)
                remains.put(waiting, now + self._retries.delay(age_ns, now - self._delivered_ns, self._jitter))
        for code, places in hopeless.items():
            self._lose_patience(now)
            self._give_up(one.part(places, is_retry=True), code, for_good=True)

    def _defer(self, one: Attempt, due_ns: int) -> None:
        """A batch that cannot go now waits as it is, unless it has waited too long."""
        now = self._clock()
        if now - one.since_ns > self._patience_ns and (self._spool is None or one.kept or self._spool_is_ready):
            self._lose_patience(now)
            self._let_go(one)
            self._give_up(one, self._outage, for_good=True)
            return
        self._push(one, max(due_ns, now + 1))

    def _push(self, one: Attempt, due_ns: int) -> None:
        self._serial += 1
        heapq.heappush(self._deferred, (due_ns, self._serial, one))

    def _lose_patience(self, now: int) -> None:
        """Something was tried for too long. A replay without a spool ends if that is because nobody answers."""
        opened_ns = self._breaker.opened_ns
        if self._spool is not None or self._live or opened_ns is None or now - opened_ns <= self._patience_ns:
            return
        words = self._report.messages.get(self._outage, "no answer")
        seconds = self._patience_ns / SECOND_NS
        self.down = self.down or SinkDown(f"given up after {seconds:g} s: {words}", code=self._outage)

    def _give_in(self, one: Attempt, error: SinkDown) -> None:
        """The sink says that no later batch can fare better."""
        self._report.requests += 1
        if error.final or isinstance(error, OutputClosed):
            self._patient = False  # what comes later cannot mend that
        if self._patient:
            now = self._clock()
            first = self.down is None or self._breaker.trying
            self._breaker.failed(now, self._jitter)
            self._breaker.open(now, self._jitter)
            self._ledger.say(f"{error}; events are kept in the spool until that is mended")
            if first:  # once, not for each of the requests that were under way
                self.sink.renew()
        if self.down is None or isinstance(error, OutputClosed) or (error.final and not self.down.final):
            self.down = error
        self._let_go(one)
        self._give_up(one, error.code)

    def _break_off(self, one: Attempt, error: BaseException) -> None:
        """The sink does not keep its promise: what it had of this batch is not known, and it gets nothing more."""
        self.broken = self.broken or error
        self._report.maybe_twice += len(one.batch.entries)
        code = type(error).__name__
        down = error if isinstance(error, SinkDown) else SinkDown(f"the sink failed: {error!r}", code=code, final=True)
        self._report.remember(down.code, str(down))
        self._give_in(one, down)

    def _give_up_unanswered(self, one: Attempt) -> None:
        """No answer is waited for any more, though there may come one."""
        self._report.requests += 1
        self._report.maybe_twice += len(one.batch.entries)
        self._let_go(one)
        self._give_up(one, "interrupted")

    def _let_go(self, one: Attempt) -> None:
        """A batch is no longer under way, whatever becomes of it."""
        if one.kept and self._drain is not None:
            self._drain.under_way -= 1

    # What is not sent

    def _give_up(self, one: Attempt, code: str, *, for_good: bool = False) -> None:
        """No further try now: to the spool, back to the spool, or refused."""
        if one.kept and self._drain is not None:
            self._drain.give_back(one, for_good=for_good)
        elif self._writer is not None and not isinstance(self.down, OutputClosed):
            self._writer.keep(one.batch.entries)
            self._flush_pieces()
        else:
            self._ledger.refuse(one.batch.entries, code)
        self._set_free(one.batch.entries)

    def _set_free(self, entries: Sequence[Entry]) -> None:
        """These are done with: the next ones of their groups may go."""
        if self._groups is not None:
            if self._drain is not None:
                self._drain.held_back = False
            self._groups.free(entries)

    def _bury(self, failed: Failed) -> None:
        """An entry that can never succeed."""
        self._report.remember(failed.code, failed.message)
        self._set_free((failed.entry,))
        if self._writer is None:
            self._ledger.refuse((failed.entry,), failed.code)
            return
        self._writer.bury(failed)
        self._flush_pieces()

    def _keep_waiting(self) -> None:
        """Everything that waits for another try goes where it goes without one."""
        code = self.down.code if self.down else "outage"
        deferred, self._deferred = self._deferred, []
        for one in self._from_spool.take_all():
            self._give_up(one, code)
        for one in self._fresh.take_all():
            self._give_up(one, code)
        for _, _, one in sorted(deferred, key=lambda item: item[1]):
            self._let_go(one)
            self._give_up(one, code)
        if self._ending:
            self._empty_lanes(code)

    def _empty_lanes(self, code: str) -> None:
        for batch in self._groups.take() if self._groups is not None else ():
            self._give_up(Attempt(batch, self._clock()), code)

    def _abandon(self) -> None:
        """The time for trying is over; answers that are still under way are not waited for."""
        self._ending = True
        self._leave_spool = True
        self._settle_done(0)
        flights, self._flights = self._flights, {}
        for one in flights.values():
            self._give_up_unanswered(one)
        deferred, self._deferred = self._deferred, []
        for one in (*self._from_spool.take_all(), *self._fresh.take_all()):
            self._give_up(one, "interrupted")
        for _, _, one in deferred:
            self._let_go(one)
            self._give_up(one, "interrupted")
        self._empty_lanes("interrupted")

    # The spool

    def _flush_pieces(self) -> None:
        if self._writer is not None and self._writer.has_a_piece:
            self._flush_spool()

    def _flush_spool(self) -> None:
        """Write what is to be kept. What a full spool has no room for stays in memory, and meanwhile reading stops."""
        assert self._writer is not None
        left = self._writer.flush(ending=self._ending)
        if not left:
            return
        now = self._clock()
        if self._groups is not None:
            self._groups.put_back(left, now)
            return
        for piece in within([Waiting(entry, now, "") for entry in left], self.sink.limits):
            one = retry_of(piece)._replace(is_retry=False)
            self._push(one, now + FULL_PAUSE_NS)

    def _more_in_spool(self) -> bool:
        """Whether the spool has entries that this run still wants to send."""
        if self._drain is None or self._leave_spool or self.down is not None:
            return False
        opened_ns = self._breaker.opened_ns
        patience_ns = min(WAIT_AT_END_NS, self._patience_ns)
        if opened_ns is not None and self._clock() - opened_ns > patience_ns:
            return False
        # What rests in the spool is not waited for; what has not been tried yet in this round is.
        return self._drain.more

    def _send_from_spool(self) -> None:
        """Take from the spool what fits beside new traffic: half of the requests that may be in flight, at least one.

        While the endpoint is dead, what waits here is what tries it.
        """
        drain, most = self._drain, max(1, self._flow.window // 2)
        if drain is None or self._leave_spool or self._ending or self._stopping() or self.over:
            return
        now = self._clock()
        drain.begin_anew(now)
        while drain.under_way + drain.remains.batches < most and len(self._flights) < self._flow.window:
            if self._breaker.wait(now) or self._flow.wait(now):
                return
            one = drain.next_batch(now)
            if one is None:
                return
            drain.under_way += 1
            self._dispatch(one)
            if self._sender is None:
                return  # one at a time, so that new traffic has its turn

    def _tell_of_outage(self) -> None:
        """Say once, when an outage has lasted a little, why nothing is delivered."""
        opened_ns = self._breaker.opened_ns
        if opened_ns is None or self.down is not None or self._told_of_outage:
            return
        if self._clock() - opened_ns >= OUTAGE_NS:
            self._told_of_outage = True
            why = ": ".join(filter(None, (self._outage, self._report.messages.get(self._outage))))
            then = "trying again" if self._spool is None else "events are kept in the spool until that is over"
            self._ledger.note(f"nothing is delivered: {why}; {then}")


def _all_too_large(failures: dict[int, Failed]) -> bool:
    return all(failed.code in TOO_LARGE for failed in failures.values())
