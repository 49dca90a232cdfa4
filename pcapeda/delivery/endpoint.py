"""What the answers so far tell of the endpoint: whether it is alive, what it takes, whether it is down for good."""

from pcapeda.aws.responses import THROTTLED, TOO_LARGE
from pcapeda.delivery.ledger import Ledger
from pcapeda.delivery.options import DeliveryOptions, RunHooks
from pcapeda.delivery.retry import AimdController, Breaker, RetryBudget
from pcapeda.errors import OutputClosed, SinkDown
from pcapeda.model import Failed, Outcome
from pcapeda.sinks.base import BaseSink
from pcapeda.units import SECOND_NS

OUTAGE_NS = 2 * SECOND_NS
"""How long nothing must have been delivered until that is said."""

TOO_FAST = THROTTLED | {"429"}


class Endpoint:
    """What is known of who takes the entries, and whether it is worth asking."""

    def __init__(
        self, sink: BaseSink, ledger: Ledger, options: DeliveryOptions, hooks: RunHooks, *, has_spool: bool
    ) -> None:
        self.down: SinkDown | None = None
        """What the sink refused everything with, while it does."""
        self.broken: BaseException | None = None
        """What a sink raised that does not keep its promise."""
        self.patient = options.live and has_spool
        """Whether a sink that is down is tried again."""
        self.flow = AimdController(sink.concurrency)
        self.breaker = Breaker()
        self.budget = RetryBudget()
        self.delivered_ns = hooks.clock()
        """When something was last delivered; at first, the beginning."""
        self.outage = "outage"
        """The code under which the endpoint last failed."""
        self._told_of_outage = False
        self._sink = sink
        self._ledger = ledger
        self._report = ledger.report
        self._live = options.live
        self._has_spool = has_spool
        self._patience_ns = options.patience_ns
        self._clock = hooks.clock
        self._jitter = hooks.jitter

    @property
    def over(self) -> bool:
        """Whether nothing more can be sent in this run."""
        return self.down is not None and not self.patient

    def learn(self, outcome: Outcome, failures: dict[int, Failed], now: int) -> None:
        """What an answer tells of the endpoint: whether it is alive, what it takes, and whether an outage is over."""
        if outcome.sent:
            self.budget.delivered()
            self.delivered_ns = now
        # What was sent before the sink refused us tells nothing of what it takes now: only the one try since then does.
        if self.down is not None and (self.over or not self.breaker.trying):
            return
        too_fast = sum(failed.code in TOO_FAST for failed in failures.values())
        if too_fast:
            self.flow.throttled(too_fast, outcome.sent, now)
            self.breaker.answered()
        elif outcome.sent or any(not failed.retryable or failed.code in TOO_LARGE for failed in failures.values()):
            self.flow.delivered(outcome.sent, now)
            self.breaker.answered()
        else:
            self.outage = next(iter(failures.values())).code if failures else self.outage
            self.breaker.failed(now, self._jitter)
        if (self.down is not None or self._told_of_outage) and outcome.sent:
            self.down, self._told_of_outage = None, False
            self._ledger.forget_words()
            self._ledger.note("events are delivered again")

    def lose_patience(self, now: int) -> None:
        """Something was tried for too long. A replay without a spool ends if that is because nobody answers."""
        opened_ns = self.breaker.opened_ns
        if self._has_spool or self._live or opened_ns is None or now - opened_ns <= self._patience_ns:
            return
        words = self._report.messages.get(self.outage, "no answer")
        seconds = self._patience_ns / SECOND_NS
        self.down = self.down or SinkDown(f"given up after {seconds:g} s: {words}", code=self.outage)

    def went_down(self, error: SinkDown) -> None:
        """The sink says that no later batch can fare better."""
        if error.final or isinstance(error, OutputClosed):
            self.patient = False  # what comes later cannot mend that
        if self.patient:
            now = self._clock()
            first = self.down is None or self.breaker.trying
            self.breaker.failed(now, self._jitter)
            self.breaker.open(now, self._jitter)
            self._ledger.say(f"{error}; events are kept in the spool until that is mended")
            if first:  # once, not for each of the requests that were under way
                self._sink.renew()
        if self.down is None or isinstance(error, OutputClosed) or (error.final and not self.down.final):
            self.down = error

    def tell_of_outage(self) -> None:
        """Say once, when an outage has lasted a little, why nothing is delivered."""
        opened_ns = self.breaker.opened_ns
        if opened_ns is None or self.down is not None or self._told_of_outage:
            return
        if self._clock() - opened_ns >= OUTAGE_NS:
            self._told_of_outage = True
            why = ": ".join(filter(None, (self.outage, self._report.messages.get(self.outage))))
            then = "events are kept in the spool until that is over" if self._has_spool else "trying again"
            self._ledger.note(f"nothing is delivered: {why}; {then}")
