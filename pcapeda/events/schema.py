"""The events of each shape as JSON Schema (draft 2020-12): what a rule or a target may rely on."""

from collections.abc import Iterator
from typing import Any, get_args

from pcapeda.aws.wire import RAW_LEAVES_OUT
from pcapeda.errors import BadConfig
from pcapeda.events import flows, groups, reports
from pcapeda.events.shape import IDENTITY, ShapeName

DIALECT = "https://json-schema.org/draft/2020-12/schema"
TIME_PATTERN = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{9}Z$"


IDENTITIES = IDENTITY | {
    "flow": ("udp.raw", flows.DETAIL_TYPE),
    "batch": ("udp.raw", groups.DETAIL_TYPE),
    "report": ("udp.raw", reports.DETAIL_TYPE),
}
"""Source and detail-type of all kinds of events: the shapes of a datagram, its summaries, and reports on a run."""

ABOUT = dict.fromkeys(get_args(ShapeName), "One UDP datagram as an Amazon EventBridge event.") | {
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
        **_object(
            {
                "version": {"const": "0", "description": "Version of the event structure."},
                "id": {"type": "string", "description": "Unique id of the event.", "format": "uuid"},
                "detail-type": _text(f"Kind of event; {detail_type} unless --detail-type says otherwise.", 128),
                "source": _text(f"Who emits it; {source} unless --source says otherwise.", 256),
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
                "detail": _DETAILS[name](),
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
        **_object(properties, optional=tuple(part for part in properties if part not in ("source", "detail-type"))),
    }


def _flat(name: str, here: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for key, inner in here["properties"].items():
        if not name and key in RAW_LEAVES_OUT:
            continue
        if inner.get("type") == "object":
            yield from _flat(name + key, inner)
        else:
            yield name + key, {"type": "string", "description": inner.get("description", "")}


def _object(
    properties: dict[str, Any], *, optional: tuple[str, ...] = (), description: str | None = None
) -> dict[str, Any]:
    described = {} if description is None else {"description": description}
    required = [name for name in properties if name not in optional]
    return {
        "type": "object",
        **described,
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def _text(description: str, longest: int) -> dict[str, Any]:
    return {"type": "string", "minLength": 1, "maxLength": longest, "description": description}


def _port(description: str) -> dict[str, Any]:
    return {"type": "integer", "minimum": 0, "maximum": 65535, "description": description}


def _endpoint(whose: str) -> dict[str, Any]:
    return _object(
        {
            "IpAddress": {
                "type": "string",
                "description": f"{whose} IPv4 or IPv6 address, in the usual text form (RFC 5952).",
            },
            "Port": _port(f"{whose} UDP port."),
        }
    )


def _base64(description: str) -> dict[str, Any]:
    return {
        "type": "string",
        "contentEncoding": "base64",
        "pattern": "^[A-Za-z0-9+/]*={0,2}$",
        "description": description,
    }


def _moment(description: str) -> dict[str, Any]:
    return {"type": "string", "pattern": TIME_PATTERN, "description": description}


def _packet_id(description: str) -> dict[str, Any]:
    return {"type": "string", "pattern": "^[0-9a-f]{32}$", "description": description}


def _full() -> dict[str, Any]:
    return _object(
        {
            "Destination": _endpoint("Destination"),
            "Source": _endpoint("Source"),
            "IpVersion": {"enum": [4, 6], "description": "IP version that carried the datagram."},
            "Length": {
                "type": "integer",
                "minimum": 0,
                "description": "UDP length field in bytes, 8 bytes of header included (RFC 768).",
            },
            "Checksum": {"type": "string", "pattern": "^0x[0-9a-f]{4}$", "description": "UDP checksum field."},
            "ChecksumStatus": {
                "enum": ["good", "bad", "absent", "unverified"],
                "description": "Whether the checksum holds; absent: not used (0 over IPv4); "
                "unverified: not all bytes were captured, or the network card was to compute it.",
            },
            "CapturedAt": _moment("When it was captured, to the nanosecond, UTC; absent if the capture has no times."),
            "Capture": _object(
                {
                    "Frame": {
                        "type": "integer",
                        "minimum": 1,
                        "description": "Ordinal among the packets of the capture or of the run.",
                    },
                    "Interface": {"type": "string", "description": "Network interface."},
                    "File": {"type": "string", "description": "Name of the capture file."},
                },
                optional=("Interface", "File"),
                description="Where it was seen.",
            ),
            "Via": {
                "type": "array",
                "items": {"type": "string"},
                "minItems": 3,
                "description": "Layers from the link to the IP header, with identifiers; "
                "only when there are more than those two.",
            },
            "Truncated": {"const": True, "description": "Only when the capture cut the payload."},
            "PacketId": _packet_id(
                "The same datagram of the same capture has the same id on every run: a key to drop duplicates."
            ),
            "Payload": _base64("Payload bytes as captured."),
            "Text": {"type": "string", "description": "The payload where it is printable (with --text)."},
            "Json": {"type": "object", "description": "The payload where it is a JSON object (with --json-payload)."},
        },
        optional=("CapturedAt", "Via", "Truncated", "Text", "Json"),
    )


def _minimal() -> dict[str, Any]:
    return _object(
        {
            "Destination": _object({"Port": _port("Destination UDP port.")}),
            "Payload": _base64("Payload bytes as captured."),
        }
    )


def _proxylity() -> dict[str, Any]:
    message = _object(
        {
            "Tag": _packet_id("Names the packet; here its PacketId."),
            "Remote": _endpoint("Sender's"),
            "Local": _endpoint("Receiver's"),
            "Data": _base64("Payload bytes as captured."),
            "Timestamp": _moment("When it was captured."),
        },
        optional=("Timestamp",),
    )
    return _object({"Messages": {"type": "array", "items": message, "minItems": 1, "maxItems": 1}})


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
    return _object(
        {
            "Destination": _endpoint("Destination"),
            "Source": _object({"IpAddress": _address("Source")}),
            "IpVersion": _IP_VERSION,
            "Rest": {
                "const": True,
                "description": "Only where this sums up what the window had no room to keep apart.",
            },
            "WindowSeconds": _number("Length of the window."),
            "Count": _count("Datagrams.", 1),
            "Bytes": _count("Sum of their UDP length fields, headers included."),
            "FirstAt": _moment("When the first was captured."),
            "LastAt": _moment("When the last was captured."),
            "Capture": _object(
                {
                    "Frame": _count("Ordinal of the first among the packets of the capture or of the run.", 1),
                    "Interface": _INTERFACE,
                    "File": _FILE,
                },
                optional=("Interface", "File"),
                description="Where the first was seen.",
            ),
            "FirstLength": _count("UDP length field of the first."),
            "FirstPayload": _base64(f"Payload of the first, up to {flows.SAMPLE_BYTES:,} bytes of it."),
        },
        optional=("Destination", "Source", "IpVersion", "Rest", "FirstAt", "LastAt"),
    )


def _batch() -> dict[str, Any]:
    packet = _object(
        {
            "Source": _endpoint("Source"),
            "CapturedAt": _moment("When it was captured."),
            "Frame": _count("Ordinal among the packets of the capture or of the run.", 1),
            "Length": _count("UDP length field in bytes, 8 bytes of header included (RFC 768)."),
            "Truncated": {"const": True, "description": "Only when the capture cut the payload."},
            "PacketId": _packet_id("Names the datagram, the same as in an event of its own."),
            "Payload": _base64("Payload bytes as captured."),
            "Text": {"type": "string", "description": "The payload where it is printable (with --text)."},
            "Json": {"type": "object", "description": "The payload where it is a JSON object (with --json-payload)."},
        },
        optional=("CapturedAt", "Truncated", "Text", "Json"),
    )
    return _object(
        {
            "Destination": _endpoint("Destination"),
            "IpVersion": _IP_VERSION,
            "Capture": _object(
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
        item = _object({"Reason": _text("SkipReason.", 256), "Count": _count("Datagrams.", 1)})
        return {"type": "array", "items": item, "description": description}

    def sources(description: str, **more: Any) -> dict[str, Any]:
        one = {"Source": _address("Source address, or /64 network of an IPv6"), "Count": _count("Datagrams.", 1)}
        return {"type": "array", "items": _object(more | one), "maxItems": reports.TOP, "description": description}

    return _object(
        {
            "Number": _count("Ordinal of this report in its run.", 1),
            "At": _moment("When it was made."),
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
            "TurnedAway": sources("Whom limits kept back most in the whole run.", Reason=_text("Which limit.", 256)),
        }
    )


_DETAILS = {
    "full": _full,
    "minimal": _minimal,
    "proxylity": _proxylity,
    "flow": _flow,
    "batch": _batch,
    "report": _report,
}
