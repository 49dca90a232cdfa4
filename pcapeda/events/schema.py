"""The events of each shape as JSON Schema (draft 2020-12): what a rule or a target may rely on."""

from typing import Any, get_args

from pcapeda.errors import BadConfig
from pcapeda.events.shape import IDENTITY, ShapeName

DIALECT = "https://json-schema.org/draft/2020-12/schema"
TIME_PATTERN = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{9}Z$"


def schema(name: str) -> dict[str, Any]:
    """The JSON Schema of a whole event of this shape, as rules and targets see it. Raises `BadConfig`."""
    if name not in get_args(ShapeName):
        raise BadConfig(f"no shape {name!r}: there are {', '.join(get_args(ShapeName))}")
    source, detail_type = IDENTITY[name]
    return {
        "$schema": DIALECT,
        "title": f"pcapeda event, shape {name}",
        "description": "One UDP datagram as an Amazon EventBridge event.",
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
                    "description": "When the datagram was captured (or sent, with --time now), in whole seconds, UTC.",
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
                "unverified: not all bytes were captured.",
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
            "Text": {"type": "string", "description": "The payload where it is printable UTF-8 (with --text)."},
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


_DETAILS = {"full": _full, "minimal": _minimal, "proxylity": _proxylity}
