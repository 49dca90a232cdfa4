"""Members of a user's own in every event: what a function makes of a datagram, checked before it is in an event."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from pcapeda.errors import BadConfig, BadEnrichment
from pcapeda.model import Datagram

Enrich = Callable[[Datagram], Mapping[str, Any] | None]
"""Takes a datagram; gives members to add to Detail, by name, or None where there are none to add.

Values are what JSON has: text, numbers that are finite (integers within signed 64 bits), booleans, None, lists, and
mappings with text as keys.
"""

OWN_MEMBERS = frozenset(
    {
        *("Destination", "Source", "IpVersion", "Length", "Checksum", "ChecksumStatus", "CapturedAt", "Capture"),
        *("Via", "Truncated", "PacketId", "Payload", "Application", "Malformed", "Text", "Json", "Frame"),
    }
)
"""Members that events, or the packets of a group, have by themselves: enrichment may not bear their names."""

_INTEGERS = range(-(1 << 63), 1 << 63)
_LEVELS = 100
"""Deepest nesting of what is added."""

_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def enriched(enrich: Enrich, datagram: Datagram) -> str:
    """What `enrich` adds for a datagram, as JSON text that continues an object; empty where it adds nothing.

    Raises `BadEnrichment` if it raises, or gives something that an event cannot hold.
    """
    try:
        added = enrich(datagram)
    except Exception as error:
        raise BadEnrichment(f"{_name(enrich)}: {type(error).__name__}: {error} (frame {datagram.number})") from error
    if added is None:
        return ""
    try:
        if not isinstance(added, Mapping):
            raise TypeError(f"it must give a mapping or None, not {type(added).__name__}")
        for name in added:
            if name in OWN_MEMBERS:
                raise ValueError(f"{name} is a member that the event has by itself")
        _check(added, _LEVELS)
        text = _json(dict(added))
        text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise BadEnrichment(f"{_name(enrich)}: {error} (frame {datagram.number})") from error
    return f",{text[1:-1]}" if added else ""


def check_enrich(enrich: Enrich, *, jobs: int) -> None:
    """Refuse, before anything is read, what cannot enrich. Raises `BadConfig`."""
    if not callable(enrich):
        raise BadConfig(f"Shape.enrich: it must be a function of a datagram, not {type(enrich).__name__}")
    if jobs > 1:
        import pickle

        try:
            pickle.dumps(enrich)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise BadConfig(
                f"Shape.enrich: {_name(enrich)} cannot travel to other processes: {error}",
                hint="make it a function of a module, or an object that pickles; or use jobs=1",
            ) from None
        if getattr(enrich, "__module__", None) == "__main__":
            raise BadConfig(
                f"Shape.enrich: {_name(enrich)} stands in the main program, which other processes do not import",
                hint="put it into a module of its own, or use jobs=1",
            )


def name_of(enrich: Enrich) -> str:
    """What a function is called, with its module; of an object that is called, its class."""
    named = enrich if hasattr(enrich, "__qualname__") else type(enrich)
    return f"{named.__module__}.{named.__qualname__}"


def _name(enrich: Enrich) -> str:
    return f"enrich ({getattr(enrich, '__qualname__', type(enrich).__qualname__)})"


def _check(value: object, levels: int) -> None:
    """Raises `TypeError` or `ValueError` for what JSON, or a bus, has no place for."""
    if not levels:
        raise ValueError(f"what it gives is nested deeper than {_LEVELS} levels")
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if not isinstance(name, str):
                raise TypeError(f"names of members must be text, not {type(name).__name__}")
            _check(inner, levels - 1)
    elif isinstance(value, list | tuple):
        for inner in value:
            _check(inner, levels - 1)
    elif isinstance(value, int) and value not in _INTEGERS:
        raise ValueError(f"{value} is beyond 64 bits")
    elif value is not None and not isinstance(value, str | int | float | bool):
        raise TypeError(f"a {type(value).__name__} is nothing that JSON has")
