"""The shapes of a datagram's event: one module each, and its row in `SHAPES`.

A module has `detail(shape, datagram)`, which gives PacketId and the detail as JSON text, and `schema()`, the JSON
Schema of that detail. The command line's option and the kinds that `pcapeda schema` describes follow from the rows.
"""

from typing import NamedTuple


class ShapeRow(NamedTuple):
    """A shape: where it stands, and source and detail-type of its events unless others are asked for."""

    home: str
    source: str
    detail_type: str


SHAPES: dict[str, ShapeRow] = {
    "full": ShapeRow("pcapeda.events.shapes.full", "udp.raw", "UdpPacket"),
    "minimal": ShapeRow("pcapeda.events.shapes.minimal", "udp.raw", "UdpPacket"),
    "proxylity": ShapeRow("pcapeda.events.shapes.proxylity", "proxylity", "udp-gateway-packet-ingress"),
}
"""Every shape there is, by name. Modules are named, not imported: the command line only wants to know the names."""
