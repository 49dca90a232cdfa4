"""What a target receives of a matched event: all of it, a constant, a part, or a template filled in.

Source: EventBridge User Guide, "Amazon EventBridge input transformation", and InputTransformer in the API Reference.

A template is JSON, or text in double quotes (one string a line). `<name>` in it stands for the value at that name's
path, or for a reserved variable. The service's rules on quotes:

- Outside quotes a value becomes JSON: a string gets its quotes, an object or array stays what it is.
- Inside quotes a string is put in as it is, *without escaping*; of an object or array the quotes are removed. A value
  with quotes or line ends of its own can so make JSON that is none: such an input is told as a problem.
- A path that leads nowhere gives nothing inside quotes, and an empty string outside.
- `<aws.events.event>` is the event without its detail (and `detailType` for `detail-type`), `<aws.events.event.json>`
  the whole; both belong outside quotes.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pcapeda.errors import BadRule
from pcapeda.model import ACCOUNT, REGION
from pcapeda.rules.reader import Pairs, RawNumber, one_line
from pcapeda.rules.rule import DEFAULT_BUS, Rule, Target, Transformer, bus_name

MAX_PATHS = 100
"""Entries of an InputPathsMap (API Reference)."""
MAX_TEMPLATE = 8192
"""Characters of an InputTemplate (API Reference)."""

_NAME = re.compile(r"[A-Za-z0-9_\-]{1,256}")
_PLACEHOLDER = re.compile(r"<([^<>\n]*)>")
_STEP = re.compile(r"\.([^.\[\]*'\"\s]+)|\.(\*)|\[(\d+|\*)\]")
_MARK = "\ufdd0"  # a character that no text has: stands for a placeholder while a template is checked
_MISSING = object()


def receives(target: Target, event: Mapping[str, Any] | Pairs, rule: Rule, *, ingestion_time: str | None = None) -> str:
    """What the target gets of an event that its rule matched, as text.

    `ingestion_time` is the reserved variable of that name (the event's own time if not given). Raises `BadRule` where
    the service would refuse the target, where what it says is not known, and where no valid JSON comes of it.
    """
    if target.problem:
        raise BadRule(f"target {target.id}: {target.problem}")
    if sum(one is not None for one in (target.input, target.input_path, target.transformer)) > 1:
        raise BadRule(f"Only one of Input, InputPath, or InputTransformer must be provided for target {target.id}.")
    if target.input is not None:
        if not _is_json(target.input):
            raise BadRule(f"JSON syntax error in Input for target {target.id}.")
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

    With a wildcard it is the list of all values there. What is not there is told apart from null by `found`. Raises
    `BadRule` for what is no such path.
    """
    values, many = [event], False
    for step in _steps(path):
        if step == "*":
            many = True
            values = [inner for value in values for inner in _inner(value)]
        else:
            values = [inner for value in values if (inner := _member(value, step)) is not _MISSING]
    return values if many else values[0] if values else _MISSING


def found(value: Any) -> bool:
    """Whether `at_path` led to something."""
    return value is not _MISSING


def _steps(path: str) -> Iterator[str | int]:
    if not path.startswith("$"):
        raise BadRule(f"Invalid JSON path {one_line(path, 100)}: it must begin with $")
    at = 1
    while at < len(path):
        step = _STEP.match(path, at)
        if step is None:
            raise BadRule(
                f"Invalid JSON path {one_line(path, 100)}: dot notation, [index] and [*] are all there is",
            )
        name, star, index = step.groups()
        yield name if name is not None else "*" if star or index == "*" else int(index)
        at = step.end()


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
    _check(target, transformer, reserved)
    values = reserved | {name: at_path(event, path) for name, path in transformer.paths}
    pieces: list[str] = []
    for text, name, quoted in _parts(template):
        pieces.append(text)
        if name is not None:
            pieces.append(_inside(values[name]) if quoted else _outside(values[name]))
    made = "".join(pieces)
    if not template.lstrip().startswith('"') and not _is_json(made):
        raise BadRule(
            f"target {target}: no valid JSON comes of its template: {one_line(made, 200)}",
            hint="EventBridge does not escape what it puts inside quotes; outside quotes it makes JSON of it",
        )
    return made


def _parts(template: str) -> Iterator[tuple[str, str | None, bool]]:
    """The template in pieces: text, the placeholder after it, and whether that stands inside quotes."""
    quoted, at = False, 0
    for found in _PLACEHOLDER.finditer(template):
        text = template[at : found.start()]
        for char in re.findall(r"\\.|\"", text, re.DOTALL):
            quoted ^= char == '"'
        yield text, found.group(1), quoted
        at = found.end()
    yield template[at:], None, False


def _outside(value: Any) -> str:
    return '""' if value is _MISSING else to_json(value)


def _inside(value: Any) -> str:
    if value is _MISSING:
        return ""
    return value if isinstance(value, str) else to_json(value).replace('"', "")


def _check(target: str, transformer: Transformer, reserved: Mapping[str, Any]) -> None:
    """Refuse what PutTargets refuses."""
    if len(transformer.paths) > MAX_PATHS:
        raise BadRule(f"InputPathsMap for target {target} has {len(transformer.paths)} entries of {MAX_PATHS}.")
    if not 1 <= len(transformer.template) <= MAX_TEMPLATE:
        raise BadRule(f"InputTemplate for target {target} must have 1 to {MAX_TEMPLATE:,} characters.")
    names = {name for name, _ in transformer.paths}
    for name in names:
        if name.upper().startswith("AWS.") or not _NAME.fullmatch(name):
            raise BadRule(f"InputPathsMap for target {target} contains invalid key {one_line(name, 100)}.")
    blank: list[str] = []
    for text, placeholder, quoted in _parts(transformer.template):
        if placeholder is not None and placeholder not in names and placeholder not in reserved:
            what = one_line(placeholder, 100)
            raise BadRule(f"InputTemplate for target {target} contains invalid placeholder {what}.")
        blank += (text, "" if placeholder is None else _MARK if quoted else f'"{_MARK}"')
    checked = "".join(blank)
    lines = [line for line in checked.splitlines() if line.strip()]
    strings = lines and all(line.strip().startswith('"') and _is_json(line) for line in lines)
    if not strings and not _is_json(checked):
        raise BadRule(
            f"Invalid InputTemplate for target {target}: it must be JSON, or text in double quotes",
            hint="text needs double quotes around it, a value that is no string may stand without",
        )
    if _has_marked_key(checked):
        raise BadRule(f"Invalid InputTemplate for target {target}: a placeholder cannot be an object key")


def _has_marked_key(text: str) -> bool:
    keys: list[str] = []

    def note(pairs: list[tuple[str, Any]]) -> None:
        keys.extend(key for key, _ in pairs)

    try:
        json.loads(text, object_pairs_hook=note)
    except (ValueError, RecursionError):
        return False
    return any(_MARK in key for key in keys)


# JSON


def _is_json(text: str) -> bool:
    try:
        json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return False
    return True


def _refuse(word: str) -> None:
    raise ValueError(word)


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
