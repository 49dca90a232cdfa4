"""The destination port and the payload alone."""

from binascii import b2a_base64
from typing import TYPE_CHECKING, Any

from pcapeda.events.identity import packet_id
from pcapeda.events.json_schema import base64_text, object_of, port
from pcapeda.model import Datagram

if TYPE_CHECKING:
    from pcapeda.events.shape import Shape


def detail(shape: "Shape", datagram: Datagram) -> tuple[str, str]:
    """PacketId and detail of a datagram."""
    payload = b2a_base64(datagram.payload, newline=False).decode()
    text = f'{{"Destination":{{"Port":{datagram.destination_port}}},"Payload":"{payload}"}}'
    return packet_id(datagram, shape.loop), text


def schema() -> dict[str, Any]:
    """The JSON Schema of the detail."""
    return object_of(
        {
            "Destination": object_of({"Port": port("Destination UDP port.")}),
            "Payload": base64_text("Payload bytes as captured."),
        }
    )
