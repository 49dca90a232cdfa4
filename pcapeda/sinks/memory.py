"""A sink that keeps what it is sent, and fails by a script: for tests of whatever sends through a `Sink`."""

from collections.abc import Callable, Iterable, Sequence
from threading import Lock
from typing import Any

from pcapeda.aws.responses import WORTH_ANOTHER_TRY
from pcapeda.errors import SinkDown
from pcapeda.model import Batch, BatchLimits, Entry, Failed, Outcome
from pcapeda.sinks.base import BaseSink
from pcapeda.sinks.eventbridge import LIMITS

ScriptedAnswer = None | str | Sequence[str | None] | SinkDown
"""What a call of `send` meets: None, all is taken; a code, every entry fails with it; a sequence, a code or None for
each entry; a `SinkDown`, which is raised."""


class MemorySink(BaseSink):
    """Takes entries like an event bus and keeps them.

    `script` says what fails: either one `ScriptedAnswer` for each call of `send`, after which everything is taken, or a
    function from an entry to its error code (None: taken). Codes are judged as `EventBridgeSink` judges them. `check`
    raises `down` if that is given. `entries` holds what was taken, in order; `batches` each call, whatever came of it.
    """

    def __init__(
        self,
        script: Iterable[ScriptedAnswer] | Callable[[Entry], str | None] = (),
        *,
        down: SinkDown | None = None,
        limits: BatchLimits = LIMITS,
        concurrency: int = 1,
        costs_money: bool = False,
    ) -> None:
        self.limits = limits
        self.concurrency = concurrency
        self.costs_money = costs_money
        self.entries: list[Entry] = []
        self.batches: list[Batch] = []
        self.closed = False
        self._code_of = script if callable(script) else None
        self._answers = iter(()) if callable(script) else iter(script)
        self._down = down
        self._lock = Lock()

    @property
    def events(self) -> list[dict[str, Any]]:
        """What was taken, as rules and targets see it."""
        return [entry.envelope() for entry in self.entries]

    def check(self) -> None:
        """Raises the `SinkDown` it was built with, if any."""
        if self._down is not None:
            raise self._down

    def send(self, batch: Batch) -> Outcome:
        """Keep the batch, or fail by the script. Raises a `SinkDown` of the script."""
        with self._lock:
            self.batches.append(batch)
            codes = self._codes(batch)
            failed = []
            for entry, code in zip(batch.entries, codes, strict=True):
                if code is None:
                    self.entries.append(entry)
                else:
                    failed.append(Failed(entry, code, code in WORTH_ANOTHER_TRY, "by the script"))
            return Outcome(len(batch.entries) - len(failed), tuple(failed))

    def close(self) -> None:
        """Remember that it was closed."""
        self.closed = True

    def _codes(self, batch: Batch) -> Sequence[str | None]:
        if self._code_of is not None:
            return [self._code_of(entry) for entry in batch.entries]
        answer: ScriptedAnswer = next(self._answers, None)
        if isinstance(answer, SinkDown):
            raise answer
        if answer is None or isinstance(answer, str):
            return [answer] * len(batch.entries)
        return answer
