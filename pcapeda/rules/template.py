"""The form of a target: its template in pieces, and what PutTargets refuses of it before any event comes.

Sources: InputTransformer and Target in the API Reference (limits: botocore's service model); EventBridge
User Guide, "Amazon EventBridge input transformation". The words are the service's where they are known.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from pcapeda.errors import BadRule
from pcapeda.rules.json_reader import one_line
from pcapeda.rules.rule import Target, Transformer

MAX_PATHS = 100
"""Entries of an InputPathsMap (API Reference)."""
MAX_TEMPLATE = 8192
"""Characters of an InputTemplate, or of an Input (API Reference)."""
MAX_PATH = 256
"""Characters of a JSON path (API Reference)."""

RESERVED = (
    "aws.events.rule-arn",
    "aws.events.rule-name",
    "aws.events.event.ingestion-time",
    "aws.events.event",
    "aws.events.event.json",
)
"""Placeholders that need no path."""

_NAME = re.compile(r"[A-Za-z0-9_\-]{1,256}")
_PLACEHOLDER = re.compile(r"<([^<>\n]*)>")
_STEP = re.compile(r"\.([^.\[\]*'\"\s]+)|\.(\*)|\[(\d+|\*)\]")
_MARK = "\ufdd0"  # a character that no text has: stands for a placeholder while a template is checked


class EventChunk(NamedTuple):
    """Text of a template, the name of the placeholder after it (None at the end), and whether that is inside quotes."""

    text: str
    name: str | None
    quoted: bool


def pieces(template: str) -> Iterator[EventChunk]:
    """A template in pieces."""
    quoted, at = False, 0
    for found in _PLACEHOLDER.finditer(template):
        text = template[at : found.start()]
        for char in re.findall(r"\\.|\"", text, re.DOTALL):
            quoted ^= char == '"'
        yield EventChunk(text, found.group(1), quoted)
        at = found.end()
    yield EventChunk(template[at:], None, False)


def is_text(template: str) -> bool:
    """Whether a template is text in double quotes; else it is JSON, and what comes of it must be JSON."""
    return template.lstrip().startswith('"')


def steps(path: str) -> Iterator[str | int]:
    """A JSON path in dot notation, step by step: a name, an index, or `*`. Raises `BadRule` for what is none."""
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


def faults(target: Target) -> Iterator[BadRule]:
    """What PutTargets refuses of a target, one by one."""
    given = sum(one is not None for one in (target.input, target.input_path, target.transformer))
    if given > 1:
        yield BadRule(f"Only one of Input, InputPath, or InputTransformer must be provided for target {target.id}.")
    if target.input is not None:
        if len(target.input) > MAX_TEMPLATE:
            yield BadRule(f"Input for target {target.id} has {len(target.input):,} characters of {MAX_TEMPLATE:,}.")
        if not is_json(target.input):
            yield BadRule(
                f"JSON syntax error in Input for target {target.id}.",
                hint='text needs double quotes around it: "\\"text\\""',
            )
    if target.input_path is not None and len(target.input_path) > MAX_PATH:
        yield BadRule(f"InputPath for target {target.id} has {len(target.input_path):,} characters of {MAX_PATH}.")
    if target.transformer is not None:
        yield from _transformer_faults(target.id, target.transformer)


def identity_faults(target: Target) -> Iterator[str]:
    """What is refused of a target's Id and Arn, which no input depends on."""
    yield from target.faults
    if not target.arn:
        yield f"target {one_line(target.id, 100)} has no Arn"


def path_faults(target: Target) -> Iterator[BadRule]:
    """Paths of a target that are none, which PutTargets does not look at."""
    paths = target.transformer.paths if target.transformer is not None else ()
    for path in (*(path for _, path in paths), *([target.input_path] if target.input_path is not None else [])):
        try:
            for _ in steps(path):
                pass
        except BadRule as error:
            yield error


def _transformer_faults(target: str, transformer: Transformer) -> Iterator[BadRule]:
    if len(transformer.paths) > MAX_PATHS:
        yield BadRule(f"InputPathsMap for target {target} has {len(transformer.paths)} entries of {MAX_PATHS}.")
    if not 1 <= len(transformer.template) <= MAX_TEMPLATE:
        yield BadRule(f"InputTemplate for target {target} must have 1 to {MAX_TEMPLATE:,} characters.")
    for name, path in transformer.paths:
        if name.upper().startswith("AWS.") or not _NAME.fullmatch(name):
            yield BadRule(f"InputPathsMap for target {target} contains invalid key {one_line(name, 100)}.")
        if len(path) > MAX_PATH:
            where = f"InputPathsMap for target {target}, {one_line(name, 100)}"
            yield BadRule(f"{where}: the path has {len(path):,} characters of {MAX_PATH}.")
    names = {name for name, _ in transformer.paths}
    for one in dict.fromkeys(piece.name for piece in pieces(transformer.template)):
        if one is not None and one not in names and one not in RESERVED:
            yield BadRule(f"InputTemplate for target {target} contains invalid placeholder {one_line(one, 100)}.")
    if 1 <= len(transformer.template) <= MAX_TEMPLATE:
        yield from _template_faults(target, transformer.template)


def _template_faults(target: str, template: str) -> Iterator[BadRule]:
    checked = "".join(
        piece.text + ("" if piece.name is None else _MARK if piece.quoted else f'"{_MARK}"')
        for piece in pieces(template)
    )
    lines = [line for line in checked.splitlines() if line.strip()]
    strings = lines and all(line.strip().startswith('"') and is_json(line) for line in lines)
    if not strings and not is_json(checked):
        yield BadRule(
            f"Invalid InputTemplate for target {target}: it must be JSON, or text in double quotes",
            hint="text needs double quotes around it, a value that is no string may stand without",
        )
    if _has_marked_key(checked):
        yield BadRule(f"Invalid InputTemplate for target {target}: a placeholder cannot be an object key")


def _has_marked_key(text: str) -> bool:
    keys: list[str] = []

    def note(pairs: list[tuple[str, Any]]) -> None:
        keys.extend(key for key, _ in pairs)

    try:
        json.loads(text, object_pairs_hook=note)
    except (ValueError, RecursionError):
        return False
    return any(_MARK in key for key in keys)


def is_json(text: str) -> bool:
    """Whether text is JSON (RFC 8259: `NaN` and `Infinity` are none)."""
    try:
        json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return False
    return True


def _refuse(word: str) -> None:
    raise ValueError(word)
