"""A bus in memory: what rules and targets would get, with no account in reach."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pcapeda.model import ACCOUNT, REGION, Batch, BatchLimits, Outcome
from pcapeda.rules.buses import bus_of
from pcapeda.rules.reader import read_event
from pcapeda.rules.rule import Rule
from pcapeda.rules.ruleset import RuleSet
from pcapeda.rules.transform import receives

Event = Mapping[str, Any]


class LocalBus:
    """Evaluates rules on what it is sent, as EventBridge would, and keeps what each rule and target got.

    It is a sink, so `pipeline.execute` can run captures into it; `put` takes single events. At most `keep` events are
    kept for each rule, and as many that matched none; `counts` and `unmatched_count` go on counting.
    """

    limits = BatchLimits(max_entries=1024, max_bytes=1 << 24, max_age_ns=1_000_000_000)
    concurrency = 1
    costs_money = False

    def __init__(
        self,
        rules: Iterable[Rule],
        *,
        bus: str | None = None,
        account: str = ACCOUNT,
        region: str = REGION,
        keep: int = 10_000,
    ) -> None:
        self.rules: Sequence[Rule] = tuple(rules)
        self.bus = bus_of(self.rules, bus)
        """The bus events are put on: if not given, the one that all rules are on, else the default bus."""
        self.counts: Counter[str] = Counter()
        """How many events each rule matched, by its name."""
        self.unmatched: list[Event] = []
        self.unmatched_count = 0
        self._matched: dict[str, list[Event]] = {}
        self._set = RuleSet(self.rules, self.bus)
        self._account, self._region, self._keep = account, region, keep

    def check(self) -> None:
        """Nothing to find out."""

    def close(self) -> None:
        """What it got stays."""

    def send(self, batch: Batch) -> Outcome:
        """Evaluate a batch of entries."""
        for entry in batch.entries:
            matched = self._set.match_entry(entry, self._account, self._region)
            self._count(matched, lambda entry=entry: entry.envelope(self._account, self._region))  # type: ignore[misc]
        return Outcome(len(batch.entries))

    def put(self, event: Event | str | bytes) -> list[str]:
        """Evaluate one event, as data or JSON text; the names of the rules it matches. Raises `BadEvent`."""
        data = _data(event) if isinstance(event, str | bytes) else event
        matched = self._set.match(data)
        self._count(matched, lambda: data)
        return [rule.name for rule in matched]

    def _count(self, matched: list[Rule], event: Callable[[], Event]) -> None:
        """Count an event, and keep it where there is room."""
        kept = [self._matched.setdefault(rule.name, []) for rule in matched]
        for rule in matched:
            self.counts[rule.name] += 1
        if not matched:
            self.unmatched_count += 1
            kept = [self.unmatched]
        room = [events for events in kept if len(events) < self._keep]
        if room:
            data = event()
            for events in room:
                events.append(data)

    def matched(self, rule: str) -> list[Event]:
        """The events that a rule matched, in order. Raises `KeyError` for a rule that is not on the bus."""
        if not any(one.name == rule for one in self.rules):
            raise KeyError(f"no rule {rule!r}; there are: {', '.join(one.name for one in self.rules)}")
        return list(self._matched.get(rule, ()))

    def received(self, target: str, *, rule: str | None = None) -> list[str]:
        """The inputs that the target with this id or ARN received, as text; of one rule, or of all that have it.

        Raises `KeyError` when no rule has such a target, `BadRule` when its transformer cannot be applied.
        """
        owners = [
            (one, each)
            for one in self.rules
            for each in one.targets
            if target in (each.id, each.arn) and rule in (None, one.name)
        ]
        if not owners:
            known = ", ".join(sorted({each.id for one in self.rules for each in one.targets})) or "none"
            raise KeyError(f"no target {target!r}; there are: {known}")
        return [receives(each, event, one) for one, each in owners for event in self._matched.get(one.name, ())]


def _data(event: str | bytes) -> Event:
    read = read_event(event)
    return dict(read) if not isinstance(read, Mapping) else read
