"""What every sink is: a class on `BaseSink` and a row in `SINKS`; and how one is made for a run."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Self, TextIO

from pcapeda.aws import quotas
from pcapeda.aws.bus import Bus
from pcapeda.model import AsyncSender, Batch, BatchLimits, Entry, Outcome, Sink

Render = Callable[[Sequence[Entry]], str]
"""Makes text of entries."""


@dataclass(frozen=True)
class SinkOptions:
    """What a run says of its sink: for which bus events are, and for what prints, where and how."""

    bus: Bus = field(default_factory=Bus)
    stream: TextIO | None = None
    """Where what prints writes to; None: standard output."""
    whole: bool = False
    """Whether a person is shown whole payloads."""
    rules: bool = False
    """Whether events bear the names of the rules that they match."""


class BaseSink:
    """A sink with honest defaults: one call of `send` at a time, unordered, free of charge, nothing to find out.

    A class of its own says what it takes (`limits`) and has `send`, whose promise is that of `model.Sink`; it says
    more only where it differs. `make` builds it for a run, and the contract in tests/test_sinks.py holds for all.
    """

    limits = BatchLimits(max_entries=1024, max_bytes=1 << 24, max_age_ns=1_000_000_000)
    concurrency: int = 1
    """How many `send` calls may run at once. 1 means in order, in the caller's thread."""
    costs_money: bool = False
    """Whether what is sent is billed: decides on default limits and on cost estimates."""
    billed_bytes: int = quotas.CHUNK_BYTES
    """The bytes of an event that are billed as one unit, where it costs money."""
    ordered: bool = False
    """Whether of each group of entries only one is to be under way at a time."""
    hosts: Sequence[str] = ()
    """The host names that sending looks up: lookups of these in live traffic are our own."""
    notes: Sequence[str] = ()
    """Sentences a person should read before the run; complete once `check` was called."""
    render: Render | None = None
    """What makes text of entries, where text is all that the sink wants: then `pass_on` takes such text."""

    @property
    def original(self) -> object:
        """The object that whoever made the sink knows."""
        return self

    @classmethod
    def make(cls, options: SinkOptions) -> Self:
        """One for a run. Raises `BadConfig` or `SinkDown` for what is known before anything is sent."""
        return cls()

    def describe(self) -> str:
        """Where events go, in one line."""
        return type(self).__name__

    def check(self) -> None:
        """Find out before anything is read whether sending can work. Raises `SinkDown` when it cannot."""

    def send(self, batch: Batch) -> Outcome:
        """Hand over one batch and say what became of each entry."""
        raise TypeError(f"{type(self).__name__} does not say how it sends")

    def pass_on(self, text: str | memoryview) -> None:
        """Take what `render` made, as text or in UTF-8. Raises `SinkDown` as `send` does."""
        raise TypeError(f"{type(self).__name__} takes entries, not text")

    def async_sender(self) -> AsyncSender | None:
        """What has several batches under way from one thread; None: threads call `send`, as many as `concurrency`."""
        return None

    def renew(self) -> None:
        """Look for credentials anew after the sink was down; what does not know any does nothing."""

    def close(self) -> None:
        """Flush and release what is held."""


class _Plain(BaseSink):
    """A sink of a user's own that has the members of `model.Sink`, and perhaps some of the others."""

    def __init__(self, sink: Sink) -> None:
        self.limits, self.concurrency, self.costs_money = sink.limits, sink.concurrency, sink.costs_money
        for name in ("billed_bytes", "ordered", "hosts", "render", "pass_on", "async_sender", "renew", "describe"):
            if hasattr(sink, name):
                setattr(self, name, getattr(sink, name))
        self._sink: Any = sink

    @property
    def original(self) -> object:
        return self._sink

    def check(self) -> None:
        self._sink.check()
        self.notes = tuple(getattr(self._sink, "notes", ()))

    def send(self, batch: Batch) -> Outcome:
        outcome: Outcome = self._sink.send(batch)
        return outcome

    def close(self) -> None:
        self._sink.close()


def as_base(sink: Sink) -> BaseSink:
    """Any sink with all the members that a run asks for; one that is a `BaseSink` as it is."""
    return sink if isinstance(sink, BaseSink) else _Plain(sink)


@dataclass(frozen=True)
class SinkRow:
    """A kind of sink: where its class stands, and, if it is an `--output` of a dry run, what that gives."""

    home: str
    output: str | None = None


SINKS: dict[str, SinkRow] = {
    "eventbridge": SinkRow("pcapeda.sinks.eventbridge:EventBridgeSink"),
    "eventbridge-v2": SinkRow("pcapeda.sinks.eventbridge_v2:EventBridgeV2Sink"),
    "pretty": SinkRow("pcapeda.ui.terminal:PrettySink", "for a person"),
    "jsonl": SinkRow("pcapeda.sinks.jsonl:JsonlSink", "events as rules see them, one a line"),
    "entries": SinkRow("pcapeda.sinks.jsonl:EntriesSink", "PutEvents entries, one a line"),
    "memory": SinkRow("pcapeda.sinks.memory:MemorySink"),
    "traffic-stats": SinkRow("pcapeda.sinks.traffic_stats:TrafficStatsSink"),
    "local-bus": SinkRow("pcapeda.ruletest.local_bus:LocalBus"),
    "coverage": SinkRow("pcapeda.ruletest.coverage:Coverage"),
}
"""Every kind of sink there is, by name. Classes are named, not imported: some stand on floors above, some cost time."""


def sink_class(name: str) -> type[BaseSink]:
    """The class of a kind of sink, imported now."""
    module, _, attribute = SINKS[name].home.partition(":")
    found: type[BaseSink] = getattr(import_module(module), attribute)
    return found


def make_sink(name: str, options: SinkOptions) -> BaseSink:
    """A sink of this kind for a run. Raises `BadConfig` or `SinkDown` for what is known before anything is sent."""
    return sink_class(name).make(options)


def make_bus_sink(bus: Bus) -> BaseSink:
    """The sink for an EventBridge bus. Raises as `make_sink` does."""
    bus.check()
    return make_sink("eventbridge-v2" if bus.v2 else "eventbridge", SinkOptions(bus))
