"""On which bus rules are tried, where nobody says so, and what to say of rules that are on another one."""

from collections import Counter
from collections.abc import Iterable

from pcapeda.rules.rule import DEFAULT_BUS, Rule, bus_name

_MOST_TOLD = 5


def bus_of(rules: Iterable[Rule], given: str | None = None) -> str:
    """The bus that is meant: the one given; else the one that all rules with a pattern stand on; else the default."""
    if given is not None:
        return given
    buses = _buses(rules)
    return next(iter(buses)) if len(buses) == 1 else DEFAULT_BUS


def bus_notes(rules: Iterable[Rule], bus: str, given: str | None, *, some: bool = True) -> list[str]:
    """What a person must know of it, in sentences: a bus that was taken from the rules, and rules on other buses.

    `some`: also where it is only some of them (which need not be said where each rule is shown with what it does).
    """
    buses = _buses(rules)
    name = bus_name(bus)
    others = Counter({other: count for other, count in buses.items() if other != name})
    if not others:
        return [f"the bus is {name}, since all rules are on it"] if given is None and name != DEFAULT_BUS else []
    choices = [f"--bus {other} ({count:,})" for other, count in others.most_common(_MOST_TOLD)]
    if len(others) > _MOST_TOLD:
        choices.append(f"{len(others) - _MOST_TOLD:,} other buses")
    count = others.total()
    where = f"the events are put on bus {name}"
    if not buses[name]:
        whose = "the only rule is on another" if count == 1 else f"all {count:,} rules are on others"
        return [f"no rule can match: {where}, and {whose}: try {' or '.join(choices)}"]
    if not some:
        return []
    verb = "rule is" if count == 1 else "rules are"
    return [f"{count:,} {verb} on other buses and cannot match, since {where}: to try them, {' or '.join(choices)}"]


def _buses(rules: Iterable[Rule]) -> Counter[str]:
    """How many rules with a pattern there are on each bus that is known by name (the others are on any)."""
    return Counter(bus_name(rule.bus) for rule in rules if rule.pattern is not None and rule.bus_known)
