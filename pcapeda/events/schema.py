"""The events of each shape as JSON Schema (draft 2020-12): what a rule or a target may rely on."""

from collections.abc import Iterator
from importlib import import_module
from typing import Any

from pcapeda.aws.wire import RAW_LEAVES_OUT
from pcapeda.errors import BadConfig
from pcapeda.events import flows, groups, reports
from pcapeda.events.json_schema import base64_text, endpoint, moment, object_of, packet_id_text, text
from pcapeda.events.shapes import SHAPES

DIALECT = "https://json-schema.org/draft/2020-12/schema"


IDENTITIES = {name: (row.source, row.detail_type) for name, row in SHAPES.items()} | {
    "flow": ("udp.raw", flows.DETAIL_TYPE),
    "batch": ("udp.raw", groups.DETAIL_TYPE),
    "report": ("udp.raw", reports.DETAIL_TYPE),
}
"""Source and detail-type of all kinds of events: the shapes of a datagram, its summaries, and reports on a run."""

ABOUT = dict.fromkeys(SHAPES, "One UDP datagram as an Amazon EventBridge event.") | {
    "flow": "What one source sent to one destination and port in one window of --aggregate.",
    "batch": "Up to N datagrams to one destination and port, by --group N.",
    "report": "What a run did since the report before, by --report-events.",
}


def schema(name: str) -> dict[str, Any]:
    """The JSON Schema of a whole event of this kind, as rules and targets see it. Raises `BadConfig`."""
    if name not in IDENTITIES:
        raise BadConfig(f"no shape {name!r}: there are {', '.join(IDENTITIES)}")
    source, detail_type = IDENTITIES[name]
    return {
        "$schema": DIALECT,
        "title": f"pcapeda event, shape {name}",
        "description": ABOUT[name],
        **object_of(
            {
                "version": {"const": "0", "description": "Version of the event structure."},
                "id": {"type": "string", "description": "Unique id of the event.", "format": "uuid"},
                "detail-type": text(f"Kind of event; {detail_type} unless --detail-type says otherwise.", 128),
                "source": text(f"Who emits it; {source} unless --source says otherwise.", 256),
                "account": {"type": "string", "pattern": "^[0-9]{12}$", "description": "AWS account of the bus."},
                "time": {
                    "type": "string",
                    "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$",
                    "description": "When the (first) datagram was captured, or with --time now the event was sent, "
                    "in whole seconds, UTC.",
                },
                "region": {"type": "string", "description": "AWS Region of the bus."},
                "resources": {
                    "type": "array",
                    "items": {"type": "string"},
                    "description": "ARNs given with --resource.",
                },
                "detail": import_module(SHAPES[name].home).schema() if name in SHAPES else _SUMMARIES[name](),
            }
        ),
    }


def metadata_schema(name: str) -> dict[str, Any]:
    """The JSON Schema of the metadata that a raw event of EventBridge v2 has, for events of this shape.

    Names are put together as `Entry.raw` does it; every value is a string. Raises `BadConfig`.
    """
    event = schema(name)["properties"]
    properties = {part: event[part] for part in ("source", "detail-type", "time")}
    properties["resources"] = {"type": "string", "description": "ARNs given with --resource, a space between them."}
    properties |= dict(_flat("", event["detail"]))
    return {
        "$schema": DIALECT,
        "title": f"Metadata of a raw pcapeda event, shape {name}",
        **object_of(properties, optional=tuple(part for part in properties if part not in ("source", "detail-type"))),
    }


def _flat(name: str, here: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for key, inner in here["properties"].items():
        if not name and key in RAW_LEAVES_OUT:
            continue
        if inner.get("type") == "object":
            yield from _flat(name + key, inner)
        else:
            yield name + key, {"type": "string", "description": inner.get("description", "")}


def _count(description: str, least: int = 0) -> dict[str, Any]:
    return {"type": "integer", "minimum": least, "description": description}


def _number(description: str) -> dict[str, Any]:
    return {"type": "number", "minimum": 0, "description": description}


def _address(whose: str) -> dict[str, Any]:
    return {"type": "string", "minLength": 2, "description": f"{whose} address, in the usual text form (RFC 5952)."}


_IP_VERSION = {"enum": [4, 6], "description": "IP version that carried them."}
_FILE = {"type": "string", "description": "Name of the capture file."}
_INTERFACE = {"type": "string", "description": "Network interface."}


def _flow() -> dict[str, Any]:
    return object_of(
        {
            "Destination": endpoint("Destination"),
            "Source": object_of({"IpAddress": _address("Source")}),
            "IpVersion": _IP_VERSION,
            "Rest": {
                "const": True,
                "description": "Only where this sums up what the window had no room to keep apart.",
            },
            "WindowSeconds": _number("Length of the window."),
            "Count": _count("Datagrams.", 1),
            "Bytes": _count("Sum of their UDP length fields, headers included."),
            "FirstAt": moment("When the first was captured."),
            "LastAt": moment("When the last was captured."),
            "Capture": object_of(
                {
                    "Frame": _count("Ordinal of the first among the packets of the capture or of the run.", 1),
                    "Interface": _INTERFACE,
                    "File": _FILE,
                },
                optional=("Interface", "File"),
                description="Where the first was seen.",
            ),
            "FirstLength": _count("UDP length field of the first."),
            "FirstPayload": base64_text(f"Payload of the first, up to {flows.SAMPLE_BYTES:,} bytes of it."),
        },
        optional=("Destination", "Source", "IpVersion", "Rest", "FirstAt", "LastAt"),
    )


def _batch() -> dict[str, Any]:
    packet = object_of(
        {
            "Source": endpoint("Source"),
            "CapturedAt": moment("When it was captured."),
            "Frame": _count("Ordinal among the packets of the capture or of the run.", 1),
            "Length": _count("UDP length field in bytes, 8 bytes of header included (RFC 768)."),
            "Truncated": {"const": True, "description": "Only when the capture cut the payload."},
            "PacketId": packet_id_text("Names the datagram, the same as in an event of its own."),
            "Payload": base64_text("Payload bytes as captured."),
            "Text": {"type": "string", "description": "The payload where it is printable (with --text)."},
            "Json": {"type": "object", "description": "The payload where it is a JSON object (with --json-payload)."},
        },
        optional=("CapturedAt", "Truncated", "Text", "Json"),
    )
    return object_of(
        {
            "Destination": endpoint("Destination"),
            "IpVersion": _IP_VERSION,
            "Capture": object_of(
                {"Interface": _INTERFACE, "File": _FILE},
                optional=("Interface", "File"),
                description="Where they were seen; absent when not known.",
            ),
            "Count": _count("Number of packets.", 1),
            "Packets": {"type": "array", "items": packet, "minItems": 1},
        },
        optional=("Capture",),
    )


def _report() -> dict[str, Any]:
    def reasons(description: str) -> dict[str, Any]:
        item = object_of({"Reason": text("SkipReason.", 256), "Count": _count("Datagrams.", 1)})
        return {"type": "array", "items": item, "description": description}

    def sources(description: str, **more: Any) -> dict[str, Any]:
        one = {"Source": _address("Source address, or /64 network of an IPv6"), "Count": _count("Datagrams.", 1)}
        return {"type": "array", "items": object_of(more | one), "maxItems": reports.TOP, "description": description}

    return object_of(
        {
            "Number": _count("Ordinal of this report in its run.", 1),
            "At": moment("When it was made."),
            "Seconds": _number("Time since the report before."),
            "Frames": _count("Packets read since then."),
            "Segments": _count("What UDP super-packets among them held beyond one datagram each."),
            "Datagrams": _count("UDP datagrams read since then."),
            "DatagramsPerSecond": _number("The same as a rate."),
            "Delivered": _count("Datagrams delivered since then."),
            "Events": _count("Events delivered since then."),
            "EventsPerSecond": _number("The same as a rate."),
            "Billed": _count("Billed units since then: events of 64 KB, or KB on a bus of EventBridge v2."),
            "Spooled": _count("Datagrams that wait in the spool now."),
            "Refused": reasons("Datagrams refused since then, by limits, also where a spool keeps them, and failures."),
            "LeftOut": reasons("Datagrams left out since then because that was asked for."),
            "KernelDrops": _count("Packets dropped by the kernel since then."),
            "QueueDrops": _count("Packets dropped since then because decoding lagged behind."),
            "RunUsd": _number("Cost of the whole run so far in USD; absent where the price is not known."),
            "TopSources": sources("Who sent most in the whole run; counts may be a little high."),
            "TurnedAway": sources("Whom limits kept back most in the whole run.", Reason=text("Which limit.", 256)),
        }
    )


_SUMMARIES = {
    "flow": _flow,
    "batch": _batch,
    "report": _report,
}
