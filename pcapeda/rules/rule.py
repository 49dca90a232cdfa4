"""Rules and targets as EventBridge knows them, wherever they were read from."""

from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from pcapeda.rules.pattern import Pattern

DEFAULT_BUS = "default"
ENABLED_STATES = ("ENABLED", "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS")


class Transformer(NamedTuple):
    """A target's InputTransformer: names for JSON paths, and the template they are put into."""

    paths: tuple[tuple[str, str], ...]
    template: str


class Target(NamedTuple):
    """What a rule hands its events to, and in which form (at most one of the three)."""

    id: str
    arn: str
    input: str | None = None
    input_path: str | None = None
    transformer: Transformer | None = None
    problem: str = ""
    """Why what it receives cannot be said."""
    faults: tuple[str, ...] = ()
    """What is missing where it was written, and PutTargets asks for."""


@dataclass(frozen=True)
class Rule:
    """One rule. It selects events only if it has a pattern, is enabled, and is on the bus the events are put on."""

    name: str
    pattern: Pattern | None
    bus: str = DEFAULT_BUS
    state: str = "ENABLED"
    targets: tuple[Target, ...] = ()
    origin: str = ""
    """Where it was read: `file:line`, or the bus of an account."""
    schedule: str | None = None
    """Its ScheduleExpression: a rule with no pattern runs by the clock and selects nothing."""
    problem: str = ""
    """Why it has no usable pattern, or none that can be used where it is."""
    arn: str = field(default="", compare=False)

    @property
    def bus_known(self) -> bool:
        """Whether its bus is known by name; else `bus` holds `${…}` for what is not, and any bus may be it."""
        return "${" not in bus_name(self.bus)

    def inactive_reason(self, bus: str | None = None) -> str:
        """Why the rule selects nothing among the events of `bus` (any bus if None), or an empty string."""
        if self.pattern is None or self.problem:
            return self.problem or ("runs on a schedule" if self.schedule else "has no event pattern")
        if self.state not in ENABLED_STATES:
            return "disabled"
        if bus is not None and self.bus_known and bus_name(self.bus) != bus_name(bus):
            return f"on another bus: {bus_name(self.bus)}"
        return ""

    def with_targets(self, targets: tuple[Target, ...]) -> "Rule":
        """The same rule with these targets."""
        return replace(self, targets=targets)

    def data(self) -> dict[str, Any]:
        """The rule as plain data, for JSON."""
        return {
            "Name": self.name,
            "EventBusName": self.bus,
            "State": self.state,
            **({"EventPattern": self.pattern.text} if self.pattern else {}),
            **({"ScheduleExpression": self.schedule} if self.schedule else {}),
            "Targets": [{"Id": target.id, "Arn": target.arn} for target in self.targets],
            "Origin": self.origin,
            **({"Problem": self.problem} if self.problem else {}),
        }


def bus_name(bus: str) -> str:
    """The name of a bus from its name or ARN."""
    return bus.rpartition("event-bus/")[2] if bus.startswith("arn:") else bus
