"""What the Proxylity UDP Gateway puts on a bus."""

from binascii import b2a_base64
from typing import TYPE_CHECKING, Any

from pcapeda.events.identity import packet_id
from pcapeda.events.json_schema import base64_text, endpoint, moment, object_of, packet_id_text
from pcapeda.model import Datagram
from pcapeda.units import LAST_TIME_NS, iso_time

if TYPE_CHECKING:
    from pcapeda.events.shape import Shape


def detail(shape: "Shape", datagram: Datagram) -> tuple[str, str]:
    """PacketId and detail of a datagram."""
    identity, time_ns = packet_id(datagram, shape.loop), datagram.time_ns
    stamp = f',"Timestamp":"{iso_time(time_ns)}"' if time_ns is not None and 0 <= time_ns <= LAST_TIME_NS else ""
    return identity, (
        f'{{"Messages":[{{"Tag":"{identity}",'
        f'"Remote":{{"IpAddress":"{datagram.source}","Port":{datagram.source_port}}},'
        f'"Local":{{"IpAddress":"{datagram.destination}","Port":{datagram.destination_port}}},'
        f'"Data":"{b2a_base64(datagram.payload, newline=False).decode()}"{stamp}}}]}}'
    )


def schema() -> dict[str, Any]:
    """The JSON Schema of the detail."""
    message = object_of(
        {
            "Tag": packet_id_text("Names the packet; here its PacketId."),
            "Remote": endpoint("Sender's"),
            "Local": endpoint("Receiver's"),
            "Data": base64_text("Payload bytes as captured."),
            "Timestamp": moment("When it was captured."),
        },
        optional=("Timestamp",),
    )
    return object_of({"Messages": {"type": "array", "items": message, "minItems": 1, "maxItems": 1}})
