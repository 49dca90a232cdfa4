"""From entry to outcome: batches, requests in flight, and the one owner of retries.

A `Delivery` lives as long as a run and takes the entries of all its captures. Whatever it decides and counts happens in
the caller's thread; the senders' threads do nothing but `sink.send`. An entry ends in one of four ways: sent (the sink
said so of this very entry), spooled or among the dead letters (synced to disk), or refused (with a reason or the sink's
last error code). The arithmetic of waiting, of flow and of trust in the endpoint is in `pcapeda.delivery.retry`, what
waits for another try in `pcapeda.delivery.attempts`, writing and draining the spool in `pcapeda.delivery.spool_drain`.
"""

from collections.abc import Callable, Sequence

from pcapeda.delivery.attempts import Attempt
from pcapeda.delivery.batching import Batcher, MessageGroups
from pcapeda.delivery.dispatch import Dispatcher
from pcapeda.delivery.options import DEFAULT_HOOKS, DEFAULT_OPTIONS, DeliveryOptions, RunHooks
from pcapeda.delivery.settlement import Settlement
from pcapeda.delivery.spool import Spool
from pcapeda.errors import SinkDown
from pcapeda.model import Entry, Failed, Sink
from pcapeda.report import Report
from pcapeda.sinks.base import as_base
from pcapeda.units import SECOND_NS

FLUSH_NS = SECOND_NS // 10
"""How long entries may wait for others to be written to the spool with."""


class Delivery:
    """Puts entries on a sink and counts what becomes of them in `report`.

    An entry that fails, and may fare better, is tried again until the patience has passed since its first try. With a
    `spool`, what the sink does not take is kept there and drained, oldest first, as soon as the sink takes entries
    again. After the sink raised `SinkDown`, `down` holds that error. Then everything further goes to the spool, or is
    refused under the error's code, and `over` says that there is no point in adding more; but a delivery that is `live`
    and has a spool tries the sink again from time to time, unless the error is final, and when that went well, `down`
    is None once more. Not `live` and without a spool, an endpoint that is dead for longer than the patience counts as
    down. A sink that does not account for every entry of a batch, or raises what is no `SinkDown`, is down for good:
    `broken` holds that error, for the caller to raise once all is counted.

    To a sink that is `ordered`, entries of one group go one after the other: the next one only when the one before was
    delivered or given up. What was spooled comes after what was not.
    """

    def __init__(
        self,
        sink: Sink,
        report: Report,
        *,
        spool: Spool | None = None,
        options: DeliveryOptions = DEFAULT_OPTIONS,
        hooks: RunHooks = DEFAULT_HOOKS,
    ) -> None:
        self.sink = sink = as_base(sink)
        self._report = report
        self._batcher = Batcher(sink.limits)
        self._settlement = Settlement(sink, report, spool, options, hooks)
        self._dispatcher = Dispatcher(self._settlement, options, hooks)
        self._endpoint = self._settlement.endpoint
        self._pending = self._settlement.pending
        self._groups = self._settlement.groups
        self._writer = self._settlement.writer
        self._worth_it = max(1, sink.concurrency // 4)
        """From how many requests in flight on it is worth looking for answers after each batch."""
        self._flush_at = 0
        self._clock = hooks.clock
        self._sleep = hooks.sleep
        self._on_wait = hooks.on_wait
        self._stopping = hooks.stopping
        self._urgent = hooks.draining or hooks.stopping

    @property
    def down(self) -> SinkDown | None:
        """What the sink refuses everything with, while it does."""
        return self._endpoint.down

    @property
    def broken(self) -> BaseException | None:
        """What a sink raised that does not keep its promise."""
        return self._endpoint.broken

    @property
    def over(self) -> bool:
        """Whether nothing more can be sent in this run."""
        return self._endpoint.over

    def add(self, entry: Entry) -> None:
        """Take one entry; may send a batch and, when too much is under way, wait."""
        if not self._batcher.fits(entry):
            self._settlement.bury(Failed(entry, "oversize", False, "larger than the bus takes in one request"))
            return
        now = self._clock()
        if self._groups is not None:
            self._groups.add(entry, now)
            self._dispatcher.pump(self._groups)
            self._wait_for_lanes(self._groups)
            return
        batch = self._batcher.add(entry, now)
        self._go_on(None if batch is None else Attempt(batch, now))

    def _go_on(self, one: Attempt | None) -> None:
        """After entries were taken: send the batch that is full, if there is one, and wait if too much is under way."""
        pending = self._pending
        if one is not None:
            self._dispatcher.dispatch(one)
        while pending.too_much and not self._urgent():
            if self._settlement.may_spool_what_waits:
                self._settlement.keep_waiting()  # live traffic cannot wait until the bus is less busy
            else:
                self._step()
        if pending.anything or (
            one is not None and (self._writer is not None or len(self._dispatcher.flights) >= self._worth_it)
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
        if self._endpoint.down is None:
            report.requests += 1
            try:
                self.sink.pass_on(lines)
            except SinkDown as error:
                self._endpoint.down = error
        if self._endpoint.down is not None:
            report.refused[self._endpoint.down.code] += events
            return
        report.sent += events
        report.events += events
        report.bytes_sent += size
        report.chunks += chunks

    def _wait_for_lanes(self, lanes: MessageGroups) -> None:
        while (lanes.full or self._pending.too_much) and not self._stopping():
            if self._pending.anything and self._settlement.may_spool_what_waits:
                self._settlement.keep_waiting()  # live traffic cannot wait until the bus is less busy
            self._step()
        if self._pending.anything:
            self.tick()

    def refuse(self, entry: Entry, reason: str, *, over_limit: bool = False) -> None:
        """Take an entry that is not to be sent in this run. A spool keeps it; what is over a limit only if asked to."""
        self._settlement.refuse(entry, reason, over_limit=over_limit)

    def tick(self) -> None:
        """Do what is due now: an old batch, another try, answers that came in, a piece of the spool. Never sleeps."""
        dispatcher = self._dispatcher
        if dispatcher.flights:
            dispatcher.settle_done(0)
        now = self._clock()
        if self._groups is not None:
            dispatcher.pump(self._groups)
        batch = self._batcher.due(now)
        if batch is not None:
            dispatcher.dispatch(Attempt(batch, now))
        while (ready := self._pending.ready(now)) is not None:
            dispatcher.dispatch(ready)
        dispatcher.retry(now)
        if self._writer is not None:
            if now >= self._flush_at:
                self._settlement.flush_spool()
                self._flush_at = now + FLUSH_NS
            self._writer.look()
        dispatcher.send_from_spool()
        self._endpoint.tell_of_outage()
        self._report.outage = self._endpoint.down is not None or self._endpoint.breaker.opened_ns is not None

    def finish(self, *, give_up: Callable[[], bool] = lambda: False) -> None:
        """Send all that is left and wait for every answer; then drain the spool while the sink takes it.

        Once `give_up()` is true nothing is tried again and no answer is waited for: what is not settled by then is
        spooled, or refused as interrupted. An interrupt leaves alone what has waited in the spool before.
        """
        dispatcher, settlement = self._dispatcher, self._settlement
        dispatcher.flushing = True
        self._dispatch_rest()
        if self._groups is not None:
            dispatcher.pump(self._groups)
        while (
            dispatcher.flights
            or self._pending.anything
            or self._groups
            or (self._writer is not None and self._writer.unwritten)
            or dispatcher.more_in_spool()
        ):
            dispatcher.leave_spool = dispatcher.leave_spool or self._stopping()
            if give_up():
                self._abandon()
                break
            if self._endpoint.down is not None and not dispatcher.flights:
                settlement.ending = True
                settlement.keep_waiting()
            self._step()
        settlement.ending = True
        if self._writer is not None:
            settlement.flush_spool()
            self._writer.look(now_at_once=True)
        dispatcher.close()

    def _step(self) -> None:
        """Wait for what comes next, at most a tenth of a second, and do what is due then."""
        pause = min(max(self._dispatcher.next_due(self._clock()) / SECOND_NS, 0.0), 0.1)
        self._on_wait()
        if self._dispatcher.flights:
            self._dispatcher.settle_done(pause)
        elif pause > 0:
            self._sleep(pause)
        self.tick()

    def _dispatch_rest(self) -> None:
        """What has been collected, though no batch is full."""
        batch = self._batcher.take()
        if batch is not None:
            self._dispatcher.dispatch(Attempt(batch, self._clock()))

    def _abandon(self) -> None:
        """The time for trying is over; answers that are still under way are not waited for."""
        settlement, pending = self._settlement, self._pending
        settlement.ending = True
        self._dispatcher.abandon()
        deferred = pending.take_deferred()
        for one in (*pending.from_spool.take_all(), *pending.fresh.take_all()):
            settlement.give_up(one, "interrupted")
        for one in deferred:
            settlement.let_go(one)
            settlement.give_up(one, "interrupted")
        settlement.empty_lanes("interrupted")
