"""What becomes of entries that were tried: counted as sent, halved, tried again, spooled, buried or refused."""

from collections.abc import Sequence

from pcapeda.aws import quotas
from pcapeda.aws.responses import LOST, MALFORMED, TOO_LARGE
from pcapeda.delivery.attempts import Attempt, Pending, Waiting, retry_of, within
from pcapeda.delivery.batching import MessageGroups
from pcapeda.delivery.endpoint import Endpoint
from pcapeda.delivery.ledger import Ledger
from pcapeda.delivery.options import DeliveryOptions, RunHooks
from pcapeda.delivery.outcomes import checked
from pcapeda.delivery.spool import Spool
from pcapeda.delivery.spool_drain import FULL_PAUSE_NS, SpoolDrain, SpoolWriter
from pcapeda.errors import BadSink, OutputClosed, SinkDown
from pcapeda.model import Entry, Failed, Outcome
from pcapeda.report import Report
from pcapeda.sinks.base import BaseSink

LOST_ANSWERS = frozenset({LOST, MALFORMED, "502", "504"})
"""Codes of requests that may have been taken all the same: no answer came, or somebody on the way gave it."""


class Settlement:
    """Judges every answer, and keeps the books: nothing here sends, sleeps or waits.

    It owns what an answer can change: what is known of the endpoint, what waits for another try (`pending`), the
    groups whose next entries may go, and both ends of the spool.
    """

    def __init__(
        self, sink: BaseSink, report: Report, spool: Spool | None, options: DeliveryOptions, hooks: RunHooks
    ) -> None:
        self.sink = sink
        self.ledger = ledger = Ledger(report, hooks.note, hooks.acknowledged, hooks.refused)
        self.groups = MessageGroups(sink.limits) if sink.ordered else None
        self.endpoint = Endpoint(sink, ledger, options, hooks, has_spool=spool is not None)
        self.writer: SpoolWriter | None = None
        self.drain: SpoolDrain | None = None
        if spool is not None:
            self.writer = SpoolWriter(spool, ledger, hooks.clock, options.patience_ns)
            self.drain = SpoolDrain(spool, self.writer, ledger, self.groups, sink.limits, hooks.clock)
        self.pending = Pending(sink.limits, None if self.drain is None else self.drain.remains)
        self.ending = False
        """Whether nothing may wait any more."""
        self._report = report
        self._billed_bytes = sink.billed_bytes
        self._keep_limited = options.keep_limited
        self._patience_ns = options.patience_ns
        self._retries = options.retries
        self._clock = hooks.clock
        self._jitter = hooks.jitter

    def answered(self, one: Attempt, told: object) -> None:
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
        self.ledger.acknowledged(taken)
        self._set_free(taken)
        self.let_go(one)
        if one.kept and self.drain is not None:
            self.drain.delivered([kept for place, kept in enumerate(one.kept) if place not in failures])
        self.endpoint.learn(outcome, failures, now)
        too_large = bool(failures) and not outcome.sent and _all_too_large(failures)
        if too_large and len(entries) > 1:
            self._halve(one, now)
        elif too_large:  # alone: no request can be smaller
            self._retry_or_give_up(one, {0: failures[0]._replace(retryable=False)}, now)
        elif failures:
            self._retry_or_give_up(one, failures, now)
        if self.endpoint.breaker.opened_ns is not None and self.spool_is_ready:
            self.keep_waiting()  # before newer ones are, so that the spool is in order

    def _halve(self, one: Attempt, now: int) -> None:
        """Somebody on the way found the request too large: the same in two, at once."""
        for half in one.halves():
            if one.kept and self.drain is not None:
                self.drain.under_way += 1
            self.pending.push(half, now)

    def _retry_or_give_up(self, one: Attempt, failures: dict[int, Failed], now: int) -> None:
        hopeless: dict[str, list[int]] = {}
        for place, failed in failures.items():
            self._report.remember(failed.code, failed.message)
            if failed.code in LOST_ANSWERS:
                self._report.maybe_twice += 1
            kept = one.kept[place] if one.kept else None
            age_ns = now - one.since(place)
            if not failed.retryable and kept is not None and self.drain is not None:
                self._set_free((failed.entry,))
                self.drain.bury(failed, kept)
            elif not failed.retryable:
                self.bury(failed)
            elif age_ns >= self._patience_ns:
                hopeless.setdefault(failed.code, []).append(place)
            else:
                remains = self.pending.fresh if kept is None else self.pending.from_spool
                waiting = Waiting(failed.entry, one.since(place), failed.code, kept)
                remains.put(waiting, now + self._retries.delay(age_ns, now - self.endpoint.delivered_ns, self._jitter))
        for code, places in hopeless.items():
            self.endpoint.lose_patience(now)
            self.give_up(one.part(places, is_retry=True), code, for_good=True)

    def defer(self, one: Attempt, due_ns: int) -> None:
        """A batch that cannot go now waits as it is, unless it has waited too long."""
        now = self._clock()
        if now - one.since_ns > self._patience_ns and (self.writer is None or one.kept or self.spool_is_ready):
            self.endpoint.lose_patience(now)
            self.let_go(one)
            self.give_up(one, self.endpoint.outage, for_good=True)
            return
        self.pending.push(one, max(due_ns, now + 1))

    def _give_in(self, one: Attempt, error: SinkDown) -> None:
        """The sink says that no later batch can fare better."""
        self._report.requests += 1
        self.endpoint.went_down(error)
        self.let_go(one)
        self.give_up(one, error.code)

    def _break_off(self, one: Attempt, error: BaseException) -> None:
        """The sink does not keep its promise: what it had of this batch is not known, and it gets nothing more."""
        self.endpoint.broken = self.endpoint.broken or error
        self._report.maybe_twice += len(one.batch.entries)
        code = type(error).__name__
        down = error if isinstance(error, SinkDown) else SinkDown(f"the sink failed: {error!r}", code=code, final=True)
        self._report.remember(down.code, str(down))
        self._give_in(one, down)

    def give_up_unanswered(self, one: Attempt) -> None:
        """No answer is waited for any more, though there may come one."""
        self._report.requests += 1
        self._report.maybe_twice += len(one.batch.entries)
        self.let_go(one)
        self.give_up(one, "interrupted")

    def let_go(self, one: Attempt) -> None:
        """A batch is no longer under way, whatever becomes of it."""
        if one.kept and self.drain is not None:
            self.drain.under_way -= 1

    def give_up(self, one: Attempt, code: str, *, for_good: bool = False) -> None:
        """No further try now: to the spool, back to the spool, or refused."""
        if one.kept and self.drain is not None:
            self.drain.give_back(one, for_good=for_good)
        elif self.writer is not None and not isinstance(self.endpoint.down, OutputClosed):
            self.writer.keep(one.batch.entries)
            self.flush_pieces()
        else:
            self.ledger.refuse(one.batch.entries, code)
        self._set_free(one.batch.entries)

    def _set_free(self, entries: Sequence[Entry]) -> None:
        """These are done with: the next ones of their groups may go."""
        if self.groups is not None:
            if self.drain is not None:
                self.drain.held_back = False
            self.groups.free(entries)

    def bury(self, failed: Failed) -> None:
        """An entry that can never succeed."""
        self._report.remember(failed.code, failed.message)
        self._set_free((failed.entry,))
        if self.writer is None:
            self.ledger.refuse((failed.entry,), failed.code)
            return
        self.writer.bury(failed)
        self.flush_pieces()

    def refuse(self, entry: Entry, reason: str, *, over_limit: bool = False) -> None:
        """Take an entry that is not to be sent in this run. A spool keeps it; what is over a limit only if asked to."""
        if self.writer is None or (over_limit and not self._keep_limited):
            self.ledger.refuse((entry,), reason)
        elif over_limit:
            self.writer.limit(Failed(entry, reason, False))
        else:
            self.writer.keep((entry,))
        self.flush_pieces()

    def keep_waiting(self) -> None:
        """Everything that waits for another try goes where it goes without one."""
        code = self.endpoint.down.code if self.endpoint.down else "outage"
        deferred = self.pending.take_deferred()
        for one in self.pending.from_spool.take_all():
            self.give_up(one, code)
        for one in self.pending.fresh.take_all():
            self.give_up(one, code)
        for one in deferred:
            self.let_go(one)
            self.give_up(one, code)
        if self.ending:
            self.empty_lanes(code)

    def empty_lanes(self, code: str) -> None:
        """What waits in its group for others goes, too."""
        for batch in self.groups.take() if self.groups is not None else ():
            self.give_up(Attempt(batch, self._clock()), code)

    def flush_pieces(self) -> None:
        """Write what is to be kept, if it is worth a sync."""
        if self.writer is not None and self.writer.has_a_piece:
            self.flush_spool()

    def flush_spool(self) -> None:
        """Write what is to be kept. What a full spool has no room for stays in memory, and meanwhile reading stops."""
        assert self.writer is not None
        left = self.writer.flush(ending=self.ending)
        if not left:
            return
        now = self._clock()
        if self.groups is not None:
            self.groups.put_back(left, now)
            return
        for piece in within([Waiting(entry, now, "") for entry in left], self.sink.limits):
            one = retry_of(piece)._replace(is_retry=False)
            self.pending.push(one, now + FULL_PAUSE_NS)

    @property
    def spool_is_ready(self) -> bool:
        """Whether there is a spool, and it was not found full just now."""
        return self.writer is not None and self.writer.ready

    @property
    def may_spool_what_waits(self) -> bool:
        return self.endpoint.patient and self.writer is not None and self.writer.room and self.writer.ready


def _all_too_large(failures: dict[int, Failed]) -> bool:
    return all(failed.code in TOO_LARGE for failed in failures.values())
