"""Pieces of JSON Schema that the kinds of events are described with."""

from typing import Any

TIME_PATTERN = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{9}Z$"


def object_of(
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


def text(description: str, longest: int) -> dict[str, Any]:
    """Some text, of so many characters at most."""
    return {"type": "string", "minLength": 1, "maxLength": longest, "description": description}


def port(description: str) -> dict[str, Any]:
    """A UDP port."""
    return {"type": "integer", "minimum": 0, "maximum": 65535, "description": description}


def endpoint(whose: str) -> dict[str, Any]:
    """An address and a port."""
    return object_of(
        {
            "IpAddress": {
                "type": "string",
                "description": f"{whose} IPv4 or IPv6 address, in the usual text form (RFC 5952).",
            },
            "Port": port(f"{whose} UDP port."),
        }
    )


def base64_text(description: str) -> dict[str, Any]:
    """Bytes in base64."""
    return {
        "type": "string",
        "contentEncoding": "base64",
        "pattern": "^[A-Za-z0-9+/]*={0,2}$",
        "description": description,
    }


def moment(description: str) -> dict[str, Any]:
    """A time, to the nanosecond."""
    return {"type": "string", "pattern": TIME_PATTERN, "description": description}


def packet_id_text(description: str) -> dict[str, Any]:
    """A PacketId."""
    return {"type": "string", "pattern": "^[0-9a-f]{32}$", "description": description}
