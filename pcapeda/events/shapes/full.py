"""All that is known of a datagram."""

import json
from binascii import b2a_base64
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from pcapeda.events.identity import name_of
from pcapeda.events.json_schema import base64_text, endpoint, moment, object_of, packet_id_text
from pcapeda.events.text import interface_text
from pcapeda.model import Datagram
from pcapeda.units import LAST_TIME_NS, iso_time

if TYPE_CHECKING:
    from pcapeda.events.shape import Shape


@lru_cache(maxsize=1024)
def _via(via: tuple[str, ...]) -> str:
    return f',"Via":{json.dumps(via, separators=(",", ":"))}'


_SHORTS = tuple(map(str, range(1 << 16)))
"""Every number of sixteen bits as text: 4 MiB, and half the time of making the text anew."""


def detail(shape: "Shape", datagram: Datagram) -> tuple[str, str]:
    """PacketId and detail of a datagram."""
    # Taken apart once: fifteen members by name would cost as much as the text that is made of them.
    (
        time_ns, source, source_port, destination, port, payload, length, checksum, status, version, via,
        whole, number, interface, _, segment,
    ) = datagram  # fmt: skip
    identity = name_of(
        time_ns,
        number | segment << 48 if segment else number,
        source_port,
        port,
        shape.loop,
        source,
        destination,
        payload,
    )
    stamp = ""
    if time_ns is not None and 0 <= time_ns <= LAST_TIME_NS:
        stamp = f',"CapturedAt":"{iso_time(time_ns)}"'
    odd = _via(via) if len(via) > 2 else ""
    if not whole:
        odd += ',"Truncated":true'
    text = (
        f'{{"Destination":{{"IpAddress":"{destination}","Port":{_SHORTS[port]}}},'
        f'"Source":{{"IpAddress":"{source}","Port":{_SHORTS[source_port]}}},'
        f'"IpVersion":{_SHORTS[version]},"Length":{_SHORTS[length] if length <= 0xFFFF else length},'
        f'"Checksum":"{hex(checksum) if checksum > 0xFFF else f"0x{checksum:04x}"}","ChecksumStatus":"{status}"{stamp},'
        f'"Capture":{{"Frame":{number}{shape.file_text or interface_text(interface)}}}{odd},'
        f'"PacketId":"{identity}","Payload":"{b2a_base64(payload, newline=False).decode()}"'
        f"{shape.extras(datagram) if shape.has_extras else ''}}}"
    )
    return identity, text


def schema() -> dict[str, Any]:
    """The JSON Schema of the detail."""
    return object_of(
        {
            "Destination": endpoint("Destination"),
            "Source": endpoint("Source"),
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
            "CapturedAt": moment("When it was captured, to the nanosecond, UTC; absent if the capture has no times."),
            "Capture": object_of(
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
            "PacketId": packet_id_text(
                "The same datagram of the same capture has the same id on every run: a key to drop duplicates."
            ),
            "Payload": base64_text("Payload bytes as captured."),
            "Text": {"type": "string", "description": "The payload where it is printable (with --text)."},
            "Json": {"type": "object", "description": "The payload where it is a JSON object (with --json-payload)."},
        },
        optional=("CapturedAt", "Via", "Truncated", "Text", "Json"),
    )
