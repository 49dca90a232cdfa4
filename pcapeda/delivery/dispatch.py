"""Sending what is ready, as far as window, flow, budget and breaker allow, and taking in the answers."""

from pcapeda.delivery.attempts import Attempt
from pcapeda.delivery.batching import MessageGroups
from pcapeda.delivery.options import DeliveryOptions, RunHooks
from pcapeda.delivery.settlement import Settlement
from pcapeda.delivery.thread_pool import ThreadPoolSender
from pcapeda.units import SECOND_NS

WAIT_AT_END_NS = 30 * SECOND_NS
"""How long the end of a run that has a spool waits for an endpoint that does not answer, to drain the spool."""

MOST_IN_FLIGHT = 8_000_000
"""Bytes of entries that may be in flight, whatever their number of requests."""


class Dispatcher:
    """Decides whether a batch goes now, waits or is given up, and hands every answer to the settlement."""

    def __init__(self, settlement: Settlement, options: DeliveryOptions, hooks: RunHooks) -> None:
        self.sink = sink = settlement.sink
        # A sink that takes one call at a time is called right here: order is kept and nothing is handed around.
        self._sender = None
        if sink.concurrency > 1:
            self._sender = sink.async_sender() or ThreadPoolSender(sink.send, sink.concurrency)
        self.flights: dict[int, Attempt] = {}
        """What was sent and not answered yet."""
        self._in_flight = 0
        """Bytes of the entries in `flights`."""
        self.leave_spool = False
        """Whether what waits in the spool is to stay there."""
        self.flushing = False
        """Whether groups are not to wait for more entries."""
        self._settlement = settlement
        self._endpoint = settlement.endpoint
        self._pending = settlement.pending
        self._groups = settlement.groups
        self._writer = settlement.writer
        self._drain = settlement.drain
        self._report = settlement.ledger.report
        self._patience_ns = options.patience_ns
        self._clock = hooks.clock
        self._on_wait = hooks.on_wait
        self._stopping = hooks.stopping
        self._urgent = hooks.draining or hooks.stopping

    def dispatch(self, one: Attempt) -> None:
        """Send a batch that is ready; where that cannot be now, it waits or goes to the spool."""
        endpoint, settlement = self._endpoint, self._settlement
        while len(self.flights) >= endpoint.flow.window or (self.flights and self._in_flight > MOST_IN_FLIGHT):
            if self._urgent():
                settlement.defer(one, self._clock() + SECOND_NS // 20)
                return
            if endpoint.patient and self._stopping() and not one.kept and settlement.spool_is_ready:
                settlement.give_up(one, "interrupted")  # what was received and not read yet cannot wait for the bus
                return
            self._on_wait()
            self.settle_done(0.1)
        now = self._clock()
        dead_for = endpoint.breaker.wait(now)
        if endpoint.down is not None and (dead_for or endpoint.over):
            settlement.let_go(one)
            settlement.give_up(one, endpoint.down.code)
        elif dead_for and self._writer is not None and (one.kept or settlement.spool_is_ready):
            settlement.let_go(one)
            settlement.give_up(one, endpoint.outage)
        elif dead_for or (endpoint.flow.rate is not None and endpoint.flow.wait(now)):
            settlement.defer(one, now + max(dead_for, endpoint.flow.wait(now)))
        else:
            self._send(one, now)

    def _send(self, one: Attempt, now: int) -> None:
        number = len(one.batch.entries)
        self._endpoint.breaker.sending()
        self._endpoint.flow.sending(number, now)
        if one.is_retry:
            self._report.retried += number
        if self._sender is not None:
            self.flights[self._sender.start(one.batch)] = one
            self._in_flight += one.batch.size
            return
        try:
            told: object = self.sink.send(one.batch)
        except Exception as error:  # noqa: BLE001 - whatever a sink raises, its entries are accounted for
            told = error
        except BaseException:
            self._settlement.give_up_unanswered(one)
            raise
        self._settlement.answered(one, told)

    def settle_done(self, timeout_s: float) -> None:
        """Judge the answers that are there, or come within the time."""
        if self._sender is None:
            return
        for number, told in self._sender.poll(timeout_s):
            one = self.flights.pop(number)
            self._in_flight -= one.batch.size
            self._settlement.answered(one, told)

    def retry(self, now: int) -> None:
        """Try again what is due, as far as window, flow and budget allow, and give up what is too old."""
        endpoint, settlement = self._endpoint, self._settlement
        for remains in self._pending.remains:
            for code, one in remains.expired(now - self._patience_ns):
                endpoint.lose_patience(now)
                settlement.give_up(one, code, for_good=True)
            while remains.due_ns is not None and remains.due_ns <= now:
                dead_for = endpoint.breaker.wait(now)
                if dead_for and (settlement.spool_is_ready or endpoint.down is not None):
                    settlement.keep_waiting()
                    return
                full = len(self.flights) >= endpoint.flow.window or self._in_flight > MOST_IN_FLIGHT
                if dead_for or full or endpoint.flow.wait(now) or (not endpoint.over and endpoint.budget.take(now)):
                    return
                one = remains.take()
                if one.kept and self._drain is not None:
                    self._drain.under_way += 1
                self.dispatch(one)
                now = self._clock()

    def pump(self, lanes: MessageGroups) -> None:
        """Send of each group what is due, waiting for answers where those of the group that are out keep it back."""
        while True:
            now = self._clock()
            batch = lanes.due(now, all_of_it=self.flushing)
            if batch is not None:
                self.dispatch(Attempt(batch, now))
            elif self.flights and lanes.late(now) and not self._stopping():
                self.settle_done(0.1)
            else:
                return

    def next_due(self, now: int) -> int:
        """Nanoseconds until something can be done, as far as is known."""
        endpoint, pending = self._endpoint, self._pending
        blocked = max(endpoint.breaker.wait(now), endpoint.flow.wait(now))
        waits = [pending.deferred[0][0] - now] if pending.deferred else []
        for remains in pending.remains:
            if remains.due_ns is not None:
                waits.append(max(remains.due_ns - now, blocked, endpoint.budget.wait(now)))
        drain = self._drain
        idle = drain is not None and not drain.busy and not drain.held_back and not self.flights
        if idle and self.more_in_spool():
            waits.append(blocked)
        return min(waits, default=SECOND_NS)

    def more_in_spool(self) -> bool:
        """Whether the spool has entries that this run still wants to send."""
        if self._drain is None or self.leave_spool or self._endpoint.down is not None:
            return False
        opened_ns = self._endpoint.breaker.opened_ns
        patience_ns = min(WAIT_AT_END_NS, self._patience_ns)
        if opened_ns is not None and self._clock() - opened_ns > patience_ns:
            return False
        # What rests in the spool is not waited for; what has not been tried yet in this round is.
        return self._drain.more

    def send_from_spool(self) -> None:
        """Take from the spool what fits beside new traffic: half of the requests that may be in flight, at least one.

        While the endpoint is dead, what waits here is what tries it.
        """
        drain, most = self._drain, max(1, self._endpoint.flow.window // 2)
        if drain is None or self.leave_spool or self._settlement.ending or self._stopping() or self._endpoint.over:
            return
        now = self._clock()
        drain.begin_anew(now)
        while drain.under_way + drain.remains.batches < most and len(self.flights) < self._endpoint.flow.window:
            if self._endpoint.breaker.wait(now) or self._endpoint.flow.wait(now):
                return
            one = drain.next_batch(now)
            if one is None:
                return
            drain.under_way += 1
            self.dispatch(one)
            if self._sender is None:
                return  # one at a time, so that new traffic has its turn

    def abandon(self) -> None:
        """No answer is waited for any more, and nothing is taken from the spool."""
        self.leave_spool = True
        self.settle_done(0)
        flights, self.flights = self.flights, {}
        for one in flights.values():
            self._settlement.give_up_unanswered(one)

    def close(self) -> None:
        """Nothing is sent any more."""
        if self._sender is not None:
            self._sender.close()
