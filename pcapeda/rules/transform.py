"""What a target receives of a matched event: all of it, a constant, a part, or a template filled in.

A template is JSON, or text in double quotes (one string a line). `<name>` in it stands for the value at that name's
path, or for a reserved variable. The service's rules on quotes:

- Outside quotes (JSON only) a value becomes JSON: a string gets its quotes, an object or array stays what it is.
- Inside quotes a string is put in as it is, *without escaping*.
- An object or array inside quotes keeps its own quotes in a JSON template, and loses them in text.
- A path that leads nowhere gives nothing inside quotes, and an empty string outside.
- What comes of a JSON template must be JSON, else the target gets nothing: a value with quotes, backslashes or line
  ends of its own can break it, and so does nearly every object inside quotes. Text is passed on as it comes out.
- `<aws.events.event>` is the event without its detail (and `detailType` for `detail-type`), `<aws.events.event.json>`
  the whole: objects like others, which belong outside quotes.

Sources: EventBridge User Guide, "Amazon EventBridge input transformation"; answers of AWS recorded by localstack
(`tests/aws/services/events/test_events_inputs.py`, aws.validated) for objects and arrays inside quotes in both kinds of
templates, for absent paths, and for the reserved variables. How a quote *within* a string of an object is removed in
text is not known: with the backslash before it.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from pcapeda.errors import BadRule
from pcapeda.model import ACCOUNT, REGION
from pcapeda.rules.json_reader import Pairs, RawNumber, one_line
from pcapeda.rules.rule import DEFAULT_BUS, Rule, Target, Transformer, bus_name
from pcapeda.rules.template import faults, is_json, is_text, pieces, steps

_MISSING = object()


def receives(target: Target, event: Mapping[str, Any] | Pairs, rule: Rule, *, ingestion_time: str | None = None) -> str:
    """What the target gets of an event that its rule matched, as text.

    `ingestion_time` is the reserved variable of that name (the event's own time if not given). Raises `BadRule` where
    the service would refuse the target, where what it says is not known, and where no valid JSON comes of it.
    """
    if target.problem:
        raise BadRule(f"target {target.id}: {target.problem}")
    for fault in faults(target):
        raise fault
    if target.input is not None:
        return target.input
    if target.input_path is not None:
        found = at_path(event, target.input_path)
        return to_json(None if found is _MISSING else found)
    if target.transformer is not None:
        values = _reserved(event, rule, ingestion_time)
        return _filled(target.id, target.transformer, event, values)
    return to_json(event)


def _reserved(event: Mapping[str, Any] | Pairs, rule: Rule, ingestion_time: str | None) -> dict[str, Any]:
    top = dict(event) if isinstance(event, Pairs) else event
    region, account = top.get("region") or REGION, top.get("account") or ACCOUNT
    bus = bus_name(rule.bus)
    path = rule.name if bus == DEFAULT_BUS else f"{bus}/{rule.name}"
    without = {("detailType" if key == "detail-type" else key): value for key, value in top.items() if key != "detail"}
    return {
        "aws.events.rule-arn": rule.arn or f"arn:aws:events:{region}:{account}:rule/{path}",
        "aws.events.rule-name": rule.name,
        "aws.events.event.ingestion-time": ingestion_time or top.get("time", ""),
        "aws.events.event": without,
        "aws.events.event.json": event,
    }


# paths


def at_path(event: Any, path: str) -> Any:
    """The value at a JSON path in dot notation (`$.detail.list[0].name`, `$.detail.list[*].name`).

    With a wildcard it is the list of all values there. What is not there is kept apart from null by `found`. Raises
    `BadRule` for what is no such path.
    """
    values, many = [event], False
    for step in steps(path):
        if step == "*":
            many = True
            values = [inner for value in values for inner in _inner(value)]
        else:
            values = [inner for value in values if (inner := _member(value, step)) is not _MISSING]
    return values if many else values[0] if values else _MISSING


def found(value: Any) -> bool:
    """Whether `at_path` led to something."""
    return value is not _MISSING


def _member(value: Any, step: str | int) -> Any:
    if isinstance(step, int):
        return value[step] if isinstance(value, list | tuple) and _is_array(value) and step < len(value) else _MISSING
    if isinstance(value, Pairs):
        return dict(value).get(step, _MISSING)
    return value.get(step, _MISSING) if isinstance(value, Mapping) else _MISSING


def _inner(value: Any) -> list[Any]:
    if isinstance(value, Pairs):
        return [inner for _, inner in value]
    if isinstance(value, Mapping):
        return list(value.values())
    return list(value) if _is_array(value) else []


def _is_array(value: Any) -> bool:
    return isinstance(value, list | tuple) and not isinstance(value, Pairs | RawNumber)


# templates


def _filled(target: str, transformer: Transformer, event: Mapping[str, Any] | Pairs, reserved: dict[str, Any]) -> str:
    template = transformer.template
    text = is_text(template)
    values = reserved | {name: at_path(event, path) for name, path in transformer.paths}
    made: list[str] = []
    composites: list[str] = []  # objects and arrays that stand inside quotes
    for piece in pieces(template):
        made.append(piece.text)
        if piece.name is None:
            continue
        value = values[piece.name]
        if piece.quoted and isinstance(value, Mapping | Pairs | list | tuple) and not isinstance(value, RawNumber):
            composites.append(piece.name)
        made.append(_inside(value, text) if piece.quoted else _outside(value))
    filled = "".join(made)
    if not text and not is_json(filled):
        raise BadRule(
            f"target {target}: no valid JSON comes of its template, so it gets nothing: {one_line(filled, 200)}",
            hint=f"<{one_line(composites[0], 100)}> is an object or array: put it outside quotes"
            if composites
            else "EventBridge does not escape what it puts inside quotes; outside quotes it makes JSON of it",
        )
    return filled


def _outside(value: Any) -> str:
    return '""' if value is _MISSING else to_json(value)


def _inside(value: Any, text: bool) -> str:
    """A value inside quotes; `text`: of a template that is text."""
    if value is _MISSING:
        return ""
    if isinstance(value, str):
        return value
    return re.sub(r'(\\[^"])|\\?"', r"\1", to_json(value)) if text else to_json(value)


# JSON


def to_json(value: Any) -> str:
    """A value of an event as compact JSON; numbers that no double holds keep their digits."""
    if isinstance(value, RawNumber):
        return value.text
    if isinstance(value, Mapping | Pairs):
        pairs = value if isinstance(value, Pairs) else value.items()
        return "{" + ",".join(f"{json.dumps(key, ensure_ascii=False)}:{to_json(inner)}" for key, inner in pairs) + "}"
    if _is_array(value):
        return "[" + ",".join(to_json(inner) for inner in value) + "]"
    return json.dumps(value, ensure_ascii=False)
