"""Events and valid patterns for the tests of rules, over an alphabet so small that they meet.

They are built by a seeded generator: hypothesis draws the seed. That is many times faster than drawing each part, so
thousands of pairs are tried where shrinking, for such small data, would matter little.
"""

from collections.abc import Callable
from random import Random
from typing import Any

from hypothesis import strategies as st

NAMES = ["a", "b", "c", "a.b", "b.c", "a-b", ""]
WORDS = ["", "a", "ab", "abc", "b", "AB", "a*b", "10.0.0.1", "::1", "10.0.0.01", "é", "ß", "SS", '"a', "b.c"]
NUMBERS = [-3, -1, 0, 1, 2, 3, 0.5, 1.0, 300, 9007199254740993, 1e21]
SCALARS = [*WORDS, *NUMBERS, True, False, None]
BLOCKS = ["10.0.0.0/8", "0.0.0.0/0", "::/0", "::/64", "10.0.0.1/31"]


def _value(random: Random, depth: int) -> Any:
    kind = random.random()
    if depth == 0 or kind < 0.5:
        return random.choice(SCALARS)
    if kind < 0.75:
        return [_value(random, depth - 1) for _ in range(random.randrange(4))]
    return {random.choice(NAMES): _value(random, depth - 1) for _ in range(random.randrange(4))}


def _event(random: Random) -> Any:
    return {random.choice(NAMES): _value(random, 3) for _ in range(random.randrange(5))}


def _wildcard(random: Random) -> str:
    pieces = "*".join(random.choice(["a", "b", "ab", "\\*"]) for _ in range(random.randrange(1, 4)))
    return random.choice([pieces, f"*{pieces}*", f"{pieces}*", "*"])


def _numeric(random: Random) -> Any:
    if random.random() < 0.5:
        return [random.choice(["=", "<", "<=", ">", ">="]), random.randrange(-3, 4)]
    return [random.choice([">", ">="]), random.randrange(-3, 1), random.choice(["<", "<="]), random.randrange(1, 4)]


def _some(random: Random, one: Callable[[], Any]) -> Any:
    return one() if random.random() < 0.5 else [one() for _ in range(random.randrange(1, 3))]


def _alternative(random: Random) -> Any:  # noqa: C901 - one branch for each operator
    def word() -> str:
        return random.choice(WORDS)

    def dead_letters() -> str:
        return random.choice(WORDS[1:])

    match random.randrange(24):
        case 0:
            return {"prefix": word()}
        case 1:
            return {"suffix": word()}
        case 2:
            return {"equals-ignore-case": word()}
        case 3:
            return {random.choice(["prefix", "suffix"]): {"equals-ignore-case": word()}}
        case 4:
            return {"wildcard": _wildcard(random)}
        case 5 | 6:
            return {"exists": random.random() < 0.5}
        case 7:
            return {"numeric": _numeric(random)}
        case 8:
            return {"cidr": random.choice(BLOCKS)}
        case 9 | 10:
            return {"anything-but": _some(random, word)}
        case 11:
            return {"anything-but": _some(random, lambda: random.randrange(-3, 4))}
        case 12:
            return {"anything-but": {random.choice(["prefix", "suffix"]): _some(random, dead_letters)}}
        case 13:
            return {"anything-but": {"equals-ignore-case": _some(random, word)}}
        case 14:
            return {"anything-but": {"wildcard": _some(random, lambda: _wildcard(random))}}
        case _:
            return random.choice(SCALARS)


def _array(random: Random) -> Any:
    return [_alternative(random) for _ in range(random.randrange(1, 4))]


def _pattern(random: Random, depth: int = 2) -> Any:
    pattern = {
        random.choice(NAMES): _pattern(random, depth - 1) if depth and random.random() < 0.3 else _array(random)
        for _ in range(random.randrange(1, 4))
    }
    if depth and random.random() < 0.25:
        pattern["$or"] = [_pattern(random, depth - 1) for _ in range(random.randrange(2, 4))]
    return pattern


_SEEDS = st.integers(0, 2**63)

EVENTS = _SEEDS.map(lambda seed: _event(Random(seed)))
"""Events of any shape."""
PATTERNS = _SEEDS.map(lambda seed: _pattern(Random(seed)))
"""Patterns that compile, but for wildcards that are too complex together."""
ARRAYS = _SEEDS.map(lambda seed: _array(Random(seed)))
"""The alternatives of one field."""
VALUES = st.sampled_from(SCALARS)
"""Scalars that events and patterns are made of."""
