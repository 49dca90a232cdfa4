"""What the patterns of rules mean elsewhere than on a classic bus: as filters of a subscriber of EventBridge v2.

- **classic**: rules on a classic bus, the whole language.
- **v2**: a `DATA` filter on events that were put with PutEvents. Such a filter sees the same envelope; the language has
  no `wildcard`.
- **v2-raw**: a `METADATA` filter on events that were put with PutRawEvents, payload as bytes. Such a filter sees the
  metadata, names and strings, and matches exact values only: no operators, no `$or`. Nothing of these events is called
  `detail`, and their bytes are no data that a `DATA` filter can read: a classic pattern on `detail` matches nothing on
  them, and the service takes it without a word.

Source: EventBridge User Guide, 'Filtering events for a subscriber' (read 2026-11).
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

from pcapeda.aws.wire import raw_event
from pcapeda.model import ACCOUNT, REGION, Entry
from pcapeda.rules.fields import Field
from pcapeda.rules.pattern import Pattern
from pcapeda.rules.sources.diagnostics import Problem
from pcapeda.rules.sources.load import Loaded

Dialect = Literal["classic", "v2", "v2-raw"]

FILTER_BYTES = 4_096
"""All filters of a subscriber together."""

_EXACT = frozenset({"string", "ip", "number", "word"})


def event_of(entry: Entry, dialect: Dialect, account: str = ACCOUNT, region: str = REGION) -> dict[str, Any]:
    """What a rule of this dialect sees of an entry: the event, or the metadata of the raw event."""
    return dict(raw_event(entry)[1]) if dialect == "v2-raw" else entry.envelope(account, region)


def in_dialect(loaded: Loaded, dialect: Dialect) -> Loaded:
    """The rules as the dialect has them: those it refuses, or that match nothing in it, select nothing and say why."""
    rules, problems = [], list(loaded.problems)
    for rule in loaded.rules:
        why = "" if rule.pattern is None else unusable(rule.pattern, dialect)
        if why:
            rule = replace(rule, problem=why)
            problems.append(Problem("error", rule.origin, rule.name, why))
        rules.append(rule)
    return Loaded(tuple(rules), tuple(problems), loaded.notes)


def unusable(pattern: Pattern, dialect: Dialect) -> str:
    """Why a pattern can select nothing in a dialect, in one sentence; empty if it can."""
    if dialect == "classic":
        return ""
    fields = [field for one in pattern.alternatives for field in one.fields]
    if dialect == "v2-raw" and (why := _unusable_on_metadata(pattern, fields)):
        return why
    for field in fields:
        for test in field.tests:
            if test.kind in ("wildcard", "anything-but-wildcard"):
                return f"{field.path}: a filter of a subscriber must not contain wildcard matchers, as {test.shown}"
    size = pattern.size + len(pattern.text.encode("utf-8", "surrogatepass")) - len(pattern.text)
    if size > FILTER_BYTES:
        return f"it has {size:,} bytes, and all filters of a subscriber together {FILTER_BYTES:,}"
    return ""


def _unusable_on_metadata(pattern: Pattern, fields: Sequence[Field]) -> str:
    for field in fields:
        if field.path == "detail" or field.path.startswith("detail."):
            name = "".join(field.path.split(".")[1:])
            meant = f'; in metadata it is "{name}": ["…"]' if name else ""
            return f"{field.path}: raw events have no detail, so this matches nothing, without an error{meant}"
    if any(one.branches for one in pattern.alternatives):
        return "a filter on metadata takes no $or"
    for field in fields:
        for test in field.tests:
            if test.kind not in _EXACT:
                return f"{field.path}: a filter on metadata matches exact values only, not {test.shown}"
    return ""
