"""IPv4 (RFC 791) and IPv6 (RFC 8200) headers by struct and slices, for every decoder that reads bytes.

`read4` and `read6` answer with a `Packet`, or with a `SkipReason` where the header makes no sense or is cut; `read6`
goes on through the extension headers.
"""

from socket import AF_INET, AF_INET6, inet_pton
from struct import Struct
from typing import Final, NamedTuple

from pcapeda.dissect.udp import text4, text6
from pcapeda.model import Fragment, Frame, Skip, SkipReason

HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION = 0, 43, 44, 60
EXTENSIONS: Final = frozenset({HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION})
"""Extension headers that another header follows (RFC 8200 4). AH is a layer of its own."""

MAX_EXTENSIONS: Final = 64

HEAD4: Final = Struct("!BxHHHxB2x4s4s")
HEAD6: Final = Struct("!4xHB1x16s16s")

UNFRAGMENTABLE: Final = {
    1: "icmp",
    2: "igmp",
    6: "tcp",
    33: "dccp",
    46: "rsvp",
    58: "icmpv6",
    88: "eigrp",
    89: "ospf",
    112: "vrrp",
    132: "sctp",
}
"""Transports that can never lead to UDP: their IPv4 fragments are not worth keeping."""


class Packet(NamedTuple):
    """What an IP header says of its payload: protocol, where it starts and ends, between which addresses.

    `end` is where the header claims that the payload ends, whatever was captured. `pseudo` holds the two
    addresses that transport checksums cover. A fragment has `more` set or an `offset` that is not 0.
    """

    protocol: int
    at: int
    end: int
    source: bytes
    destination: bytes
    pseudo: bytes
    offset: int = 0
    more: bool = False
    identification: int = 0


def read4(data: bytes, at: int, stop: int, end: int) -> Packet | SkipReason:
    """The IPv4 packet at `data[at]`. What can be read ends at `stop`; the layer below claims to end at `end`.

    The header checksum is not judged (offloading leaves it open), and a total length of 0 means the rest of the frame
    (segmentation offloading writes that).
    """
    if at + 20 > stop:
        return SkipReason.CUT if at + 20 <= end else SkipReason.MALFORMED
    first, total, identification, flags, protocol, source, destination = HEAD4.unpack_from(data, at)
    header = (first & 0x0F) << 2
    if first >> 4 != 4 or header < 20 or 0 < total < header:
        return SkipReason.MALFORMED
    start = at + header
    if start > stop:
        return SkipReason.CUT if start <= end else SkipReason.MALFORMED
    if total:
        end = at + total
    pseudo = source + (destination if header == 20 else _source_route(data[at + 20 : start], destination))
    offset, more = (flags & 0x1FFF) << 3, flags & 0x2000 != 0
    return Packet(protocol, start, end, source, destination, pseudo, offset, more, identification)


def hides_tag(data: bytes, at: int, kind: int) -> bool:
    """Whether a VLAN tag stands where, by the EtherType before it, an IP packet should begin.

    Linux tells the protocol behind all tags of a packet to sockets that get none of its link layer (`-i any`), but of
    two tags it takes away the outer one alone.
    """
    if kind not in VERSIONS or len(data) < at + 5:
        return False
    version, inner = VERSIONS[kind], VERSIONS.get(data[at + 2] << 8 | data[at + 3])
    return data[at] >> 4 != version and inner is not None and data[at + 4] >> 4 == inner


VERSIONS: Final = {0x0800: 4, 0x86DD: 6}
"""EtherTypes of IP, and the version that the first nibble tells."""


def _source_route(options: bytes, destination: bytes) -> bytes:
    """The last address of a source route (RFC 791 3.1, options 131 and 137) with hops left, else `destination`."""
    at = 0
    while at < len(options) and options[at] != 0:
        if options[at] == 1:
            at += 1
            continue
        length = options[at + 1] if at + 1 < len(options) else 0
        if length < 2 or at + length > len(options):
            break
        # The pointer counts octets of the option from 1; past the option's end the route is used up.
        if options[at] in (131, 137) and length >= 7 and options[at + 2] + 3 <= length:
            return options[at + length - 4 : at + length]
        at += length
    return destination


def read6(data: bytes, at: int, stop: int, end: int) -> Packet | SkipReason:
    """The IPv6 packet at `data[at]`, past its extension headers; `stop` and `end` as for `read4`.

    A payload length of 0 stands for the jumbo payload option (RFC 2675 3) if that is there.
    """
    if at + 40 > stop:
        return SkipReason.CUT if at + 40 <= end else SkipReason.MALFORMED
    if data[at] >> 4 != 6:
        return SkipReason.MALFORMED
    length, protocol, source, destination = HEAD6.unpack_from(data, at)
    start = at + 40
    if length == 0 and protocol == HOP_BY_HOP:
        jumbo = _jumbo(data, start, stop)
        if jumbo is None:
            return SkipReason.CUT if stop < start + 8 <= end else SkipReason.MALFORMED
        length = jumbo
    packet = Packet(protocol, start, start + length, source, destination, source + destination)
    return extensions(data, packet, min(stop, packet.end)) if protocol in EXTENSIONS else packet


def _jumbo(data: bytes, at: int, stop: int) -> int | None:
    """The length in the jumbo payload option of the hop-by-hop header at `data[at]`, if it is there and in order."""
    if at + 8 > stop:
        return None
    stop = min(at + 8 + data[at + 1] * 8, stop)
    at += 2
    while at + 2 <= stop:
        if data[at] == 0:
            at += 1
            continue
        if data[at] == 0xC2 and data[at + 1] == 4 and at + 6 <= stop:
            length = int.from_bytes(data[at + 2 : at + 6], "big")
            return length if length > 0xFFFF else None
        at += 2 + data[at + 1]
    return None


def extensions(data: bytes, packet: Packet, stop: int) -> Packet | SkipReason:
    """The same packet past the extension headers that `packet.protocol` starts, or up to a fragment header.

    An atomic fragment (RFC 6946) is no fragment.
    """
    protocol, at, end, source, destination, pseudo, *_ = packet
    for _ in range(MAX_EXTENSIONS):
        if protocol not in EXTENSIONS:
            return Packet(protocol, at, end, source, destination, pseudo)
        size = 8
        if at + 8 <= stop and protocol != FRAGMENT:
            size += data[at + 1] * 8
        if at + size > stop:
            return SkipReason.CUT if at + size <= end else SkipReason.MALFORMED
        if protocol == FRAGMENT:
            place = data[at + 2] << 8 | data[at + 3]
            if place & 0xFFF9 and len(source) == 16:
                identification = int.from_bytes(data[at + 4 : at + 8], "big")
                offset, more = place & 0xFFF8, place & 1 != 0
                return Packet(data[at], at + 8, end, source, destination, pseudo, offset, more, identification)
        elif protocol == ROUTING:
            if len(source) == 16:
                pseudo = pseudo[:16] + last_hop(data[at : at + size], pseudo[16:])
        elif protocol != FRAGMENT:
            if not _options_fit(data, at + 2, at + size, stop):
                return SkipReason.MALFORMED
            if protocol == DESTINATION and len(source) == 16:
                pseudo = _home(data[at + 2 : at + size], pseudo[:16]) + pseudo[16:]
        protocol, at = data[at], at + size
    return SkipReason.TOO_DEEP


HOME_ADDRESS: Final = 0xC9


def _option_size(options: bytes, at: int) -> int:
    """The size of the option at `options[at]`, by bytes of the header alone; one whose length is not there is the last.

    A home address is 16 bytes whatever its length says (RFC 6275 6.3 allows no other), as Wireshark reads it.
    """
    if options[at] == 0:
        return 1
    if at + 2 > len(options):
        return len(options) - at
    return 18 if options[at] == HOME_ADDRESS else 2 + options[at + 1]


def _options_fit(data: bytes, at: int, header_end: int, stop: int) -> bool:
    """Whether the options of a hop-by-hop or destination header end within the packet (RFC 8200 4.2)."""
    options, place = data[at:header_end], 0
    while place < len(options):
        place += _option_size(options, place)
    return at + place <= stop


def _home(options: bytes, source: bytes) -> bytes:
    """The home address of a mobile node, if there is one: it stands for the source in checksums (RFC 6275 6.3)."""
    at = 0
    while at + 18 <= len(options):
        if options[at] == HOME_ADDRESS:
            return options[at + 2 : at + 18]
        at += _option_size(options, at)
    return source


def last_hop(header: bytes, destination: bytes) -> bytes:
    """The final destination by a routing header with segments left, else `destination` (RFC 8200 8.1).

    It is the last address in types 0 (RFC 2460 4.4) and 3 (RFC 6554 3), the only one in 2 (RFC 6275 6.4.1), and the
    first in 4, whose list is in reverse (RFC 8754 2).
    """
    kind, left = header[2], header[3]
    if left == 0 or len(header) < 24:
        return destination
    if kind == 3:
        saved, padding = header[4] & 0x0F, header[5] >> 4
        stop = len(header) - padding
        tail = header[stop - 16 + saved : stop]
        return destination[:saved] + tail if stop - 16 + saved >= 8 else destination
    if kind == 0:
        return header[-16:] if len(header) % 16 == 8 else destination
    if kind in (2, 4):
        return header[8:24]
    return destination


def fragment(frame: Frame, data: bytes, packet: Packet, stop: int, via: tuple[str, ...]) -> Fragment | Skip:
    """The fragment that `packet` is, or a Skip where its protocol can never lead to UDP.

    Fragments belong together by RFC 791 3.2 (addresses, protocol, identification) or RFC 8200 4.5 (addresses,
    identification), and by the way they came: the same private addresses live in many VLANs and tunnels.
    """
    version = 4 if len(packet.source) == 4 else 6
    if version == 4 and packet.protocol in UNFRAGMENTABLE:
        return Skip(SkipReason.NOT_UDP, UNFRAGMENTABLE[packet.protocol], packet.at, frame.number)
    text = text4 if version == 4 else text6
    protocol = packet.protocol if version == 4 else -1
    return Fragment(
        (via, packet.source, packet.destination, protocol, packet.identification),
        packet.offset,
        packet.more,
        data[packet.at : min(stop, packet.end)],
        packet.end - packet.at,
        packet.protocol,
        text(packet.source),
        text(packet.destination),
        version,
        via,
        frame.time_ns,
        frame.number,
        frame.interface,
        b"" if packet.pseudo == packet.source + packet.destination else packet.pseudo,
    )


def reassembled(first: Fragment, size: int) -> Packet:
    """The packet whose payload of `size` bytes was put together, by the fragment `first` that was at offset 0."""
    family = AF_INET if first.ip_version == 4 else AF_INET6
    source, destination = inet_pton(family, first.source), inet_pton(family, first.destination)
    return Packet(first.protocol, 0, size, source, destination, first.pseudo or source + destination)
