"""The fast path: plain stacks by struct and slices. Ethernet and friends, IPv4, IPv6, UDP; no object per layer.

`decode` never raises, whatever the bytes. It answers with a `Skip` of reason UNKNOWN_LINK or UNKNOWN_LAYER where it
does not know a layer, so that a slower decoder may try; any other `Skip` is final.
"""

import socket
import struct
from functools import lru_cache

from pcapeda.model import Datagram, Fragment, Frame, Skip, Why

Found = Datagram | Fragment | Skip

VLAN_TAGS = frozenset({0x8100, 0x88A8, 0x9100, 0x9200})
"""EtherTypes of VLAN tags: IEEE 802.1Q, 802.1ad, and what came before the latter."""

MAX_TAGS = 16

IPV4, IPV6 = 0x0800, 0x86DD
UDP, UDP_LITE, ESP, FRAGMENT, NO_NEXT = 17, 136, 50, 44, 59
OPTIONS = frozenset({0, 43, 60, 135, 139, 140})
"""IPv6 extension headers of the common form (RFC 8200 4; 135 RFC 6275, 139 RFC 7401, 140 RFC 5533)."""
TUNNELS = frozenset({4, 41, 47, 51, 94, 97, 98, 115, 137})
"""IP protocols that carry further packets: known to the walker, not here."""

PROTOCOLS = {1: "icmp", 2: "igmp", 6: "tcp", 58: "icmp6", 89: "ospf", 103: "pim", 112: "vrrp", 132: "sctp"}
ETHERTYPES = {0x0806: "arp", 0x88CC: "lldp", 0x888E: "eapol", 0x8035: "rarp", 0x9000: "loop", 0x8863: "pppoe discovery"}

_HEAD4 = struct.Struct("!BxHHHxBxx4s4s")
_HEAD6 = struct.Struct("!4xHBx16s16s")
_UDP = struct.Struct("!HHHH")
_WORD = struct.Struct("!H")
_LE_INT = struct.Struct("<I")
_BE_INT = struct.Struct(">I")

AF_INET = 2
AF_INET6 = frozenset({10, 23, 24, 28, 30})
"""AF_INET6 of Linux, Windows, NetBSD and OpenBSD, FreeBSD, Darwin, as null/loopback headers hold it."""


@lru_cache(maxsize=8192)
def text4(address: bytes) -> str:
    """An IPv4 address as text."""
    return socket.inet_ntop(socket.AF_INET, address)


@lru_cache(maxsize=8192)
def text6(address: bytes) -> str:
    """An IPv6 address as text (RFC 5952)."""
    return socket.inet_ntop(socket.AF_INET6, address)


def decode(frame: Frame) -> Found:
    """The datagram, the fragment, or the reason why there is none in this frame."""
    link = _LINKS.get(frame.linktype)
    if link is None:
        return Skip(Why.UNKNOWN_LINK, f"linktype {frame.linktype}", 0, frame.number)
    return link(frame)


def _ethernet(frame: Frame) -> Found:
    data = frame.data
    if len(data) < 14:
        return Skip(Why.CUT, "eth", 0, frame.number)
    return _ethertype(frame, data[12] << 8 | data[13], 14, ("eth",))


def _ethertype(frame: Frame, ethertype: int, at: int, via: tuple[str, ...]) -> Found:
    data = frame.data
    while ethertype in VLAN_TAGS:
        if len(data) < at + 4:
            return Skip(Why.CUT, "vlan", at, frame.number)
        if len(via) > MAX_TAGS:
            return Skip(Why.TOO_DEEP, "vlan", at, frame.number)
        via = (*via, f"vlan:{(data[at] & 0x0F) << 8 | data[at + 1]}")
        ethertype = data[at + 2] << 8 | data[at + 3]
        at += 4
    if ethertype == IPV4:
        return ipv4(frame, at, via)
    if ethertype == IPV6:
        return ipv6(frame, at, via)
    if ethertype < 0x0600:
        return _llc(frame, at, via)
    layer = ETHERTYPES.get(ethertype)
    if layer is not None:
        return Skip(Why.NOT_IP, layer, at, frame.number)
    return Skip(Why.UNKNOWN_LAYER, f"ethertype 0x{ethertype:04x}", at, frame.number)


def _llc(frame: Frame, at: int, via: tuple[str, ...]) -> Found:
    """IEEE 802.2 with SNAP (RFC 1042); other service access points carry no IP."""
    head = frame.data[at : at + 8]
    if head[:6] == b"\xaa\xaa\x03\0\0\0":
        if len(head) < 8:
            return Skip(Why.CUT, "snap", at, frame.number)
        return _ethertype(frame, head[6] << 8 | head[7], at + 8, (*via, "llc", "snap"))
    return Skip(Why.UNKNOWN_LAYER, "llc", at, frame.number)


def _cooked(frame: Frame) -> Found:
    """LINKTYPE_LINUX_SLL: 16 bytes, the protocol in the last two."""
    if len(frame.data) < 16:
        return Skip(Why.CUT, "sll", 0, frame.number)
    return _ethertype(frame, frame.data[14] << 8 | frame.data[15], 16, ("sll",))


def _cooked2(frame: Frame) -> Found:
    """LINKTYPE_LINUX_SLL2: 20 bytes, the protocol in the first two."""
    if len(frame.data) < 20:
        return Skip(Why.CUT, "sll2", 0, frame.number)
    return _ethertype(frame, frame.data[0] << 8 | frame.data[1], 20, ("sll2",))


def _raw(frame: Frame) -> Found:
    """LINKTYPE_RAW and its kin: an IP packet from the first byte on."""
    if not frame.data:
        return Skip(Why.CUT, "raw", 0, frame.number)
    version = frame.data[0] >> 4
    if version == 4:
        return ipv4(frame, 0, ("raw",))
    if version == 6:
        return ipv6(frame, 0, ("raw",))
    return Skip(Why.NOT_IP, f"ip version {version}", 0, frame.number)


def _null(frame: Frame) -> Found:
    """LINKTYPE_NULL: the address family in the byte order of whoever captured; LINKTYPE_LOOP: in network order."""
    data = frame.data
    if len(data) < 4:
        return Skip(Why.CUT, "null", 0, frame.number)
    families = _LE_INT.unpack_from(data)[0], _BE_INT.unpack_from(data)[0]
    if AF_INET in families:
        return ipv4(frame, 4, ("null",))
    if not AF_INET6.isdisjoint(families):
        return ipv6(frame, 4, ("null",))
    return Skip(Why.UNKNOWN_LAYER, "null", 0, frame.number)


def _ppp(frame: Frame) -> Found:
    """RFC 1661 in HDLC-like framing (RFC 1662), whose address and control bytes may be left out."""
    data = frame.data
    at = 2 if data[:2] in (b"\xff\x03", b"\x0f\x00", b"\x8f\x00") else 0
    if len(data) < at + 2:
        return Skip(Why.CUT, "ppp", 0, frame.number)
    if data[at] & 1:
        protocol, at = data[at], at + 1
    else:
        protocol, at = data[at] << 8 | data[at + 1], at + 2
    if protocol in (0x0021, IPV4):
        return ipv4(frame, at, ("ppp",))
    if protocol in (0x0057, IPV6):
        return ipv6(frame, at, ("ppp",))
    if protocol >= 0x8000:
        return Skip(Why.NOT_IP, f"ppp 0x{protocol:04x}", at, frame.number)
    return Skip(Why.UNKNOWN_LAYER, f"ppp 0x{protocol:04x}", at, frame.number)


_LINKS = {
    0: _null,
    1: _ethernet,
    9: _ppp,
    12: _raw,
    14: _raw,
    50: _ppp,
    101: _raw,
    108: _null,
    113: _cooked,
    228: _raw,
    229: _raw,
    276: _cooked2,
}


def ipv4(frame: Frame, at: int, via: tuple[str, ...]) -> Found:
    """RFC 791. The header checksum is not judged; a total length of 0 (segmentation offload) means the whole frame."""
    data = frame.data
    captured = len(data)
    if captured < at + 20:
        return Skip(Why.CUT, "ip4", at, frame.number)
    first, total, identification, flags, protocol, source, destination = _HEAD4.unpack_from(data, at)
    header = (first & 0x0F) << 2
    if first >> 4 != 4 or header < 20:
        return Skip(Why.MALFORMED, "ip4", at, frame.number)
    if total == 0:
        total = max(captured, frame.wire_length) - at
    if total < header:
        return Skip(Why.MALFORMED, "ip4", at, frame.number)
    if captured < at + header:
        return Skip(Why.CUT, "ip4", at, frame.number)
    via = _extend(via, "ip4")
    start, end = at + header, at + total
    if header > 20:
        destination = _final_hop(data[at + 20 : start], destination)
    if flags & 0x3FFF:
        if protocol not in (UDP, UDP_LITE) and protocol not in TUNNELS:
            return _other(frame, protocol, start)
        return Fragment(
            key=(via, source, destination, protocol, identification),
            offset=(flags & 0x1FFF) << 3,
            more=bool(flags & 0x2000),
            data=data[start:end],
            length=end - start,
            protocol=protocol,
            source=text4(source),
            destination=text4(destination),
            ip_version=4,
            via=via,
            time_ns=frame.time_ns,
            number=frame.number,
            interface=frame.interface,
        )
    if protocol != UDP:
        return _other(frame, protocol, start)
    return udp(frame, data, start, end, source, destination, 4, via)


def _final_hop(options: bytes, destination: bytes) -> bytes:
    """The last address of a source route (RFC 791 3.1, options 131 and 137) that is not yet used up, else the given."""
    at = 0
    while at < len(options):
        kind = options[at]
        if kind == 0:
            break
        if kind == 1:
            at += 1
            continue
        if at + 1 >= len(options) or options[at + 1] < 2:
            break
        at += options[at + 1]
    return destination


def ipv6(frame: Frame, at: int, via: tuple[str, ...]) -> Found:
    """RFC 8200, through the extension headers up to the transport; RFC 2675 for what is longer than 65,535 bytes."""
    data = frame.data
    if len(data) < at + 40:
        return Skip(Why.CUT, "ip6", at, frame.number)
    if data[at] >> 4 != 6:
        return Skip(Why.MALFORMED, "ip6", at, frame.number)
    length, protocol, source, destination = _HEAD6.unpack_from(data, at)
    via = _extend(via, "ip6")
    start = at + 40
    end = start + length if length else max(len(data), frame.wire_length)
    while protocol in OPTIONS:
        if len(data) < start + 8:
            return Skip(Why.CUT, "ip6 options", start, frame.number)
        protocol, start = data[start], start + (data[start + 1] + 1) * 8
        if start > end:
            return Skip(Why.MALFORMED, "ip6 options", start, frame.number)
    if protocol == FRAGMENT:
        return Skip(Why.UNKNOWN_LAYER, "ip6 fragment", start, frame.number)
    if protocol != UDP:
        return _other(frame, protocol, start)
    return udp(frame, data, start, end, source, destination, 6, via)


def udp(
    frame: Frame,
    data: bytes,
    start: int,
    end: int,
    source: bytes,
    destination: bytes,
    version: int,
    via: tuple[str, ...],
) -> Datagram | Skip:
    """RFC 768: `data[start:end]` is what IP claims to carry; fewer bytes may have been captured."""
    captured = len(data)
    if captured < start + 8:
        return Skip(Why.CUT if end >= start + 8 else Why.BAD_LENGTH, "udp", start, frame.number)
    source_port, destination_port, length, checksum = _UDP.unpack_from(data, start)
    whole_length = length
    if length == 0 and version == 6 and end - start > 0xFFFF:
        whole_length = end - start
    if whole_length < 8 or start + whole_length > end:
        return Skip(Why.BAD_LENGTH, "udp", start, frame.number)
    stop = start + whole_length
    payload = data[start + 8 : stop]
    whole = stop <= captured
    if checksum == 0 and version == 4:
        status = "absent"
    elif not whole:
        status = "unverified"
    elif checksum == 0:
        status = "bad"
    else:
        segment = data[start:stop] if whole_length % 2 == 0 else data[start:stop] + b"\0"
        total = int.from_bytes(source, "big") + int.from_bytes(destination, "big") + UDP + whole_length
        status = "good" if (total + int.from_bytes(segment, "big")) % 0xFFFF == 0 else "bad"
    text = text4 if version == 4 else text6
    return Datagram(
        frame.time_ns,
        text(source),
        source_port,
        text(destination),
        destination_port,
        payload,
        length,
        checksum,
        status,
        version,
        via,
        whole,
        frame.number,
        frame.interface,
    )


def _other(frame: Frame, protocol: int, at: int) -> Skip:
    """A transport that is not UDP."""
    if protocol == UDP_LITE:
        return Skip(Why.UDP_LITE, "udp-lite", at, frame.number)
    if protocol == ESP:
        return Skip(Why.ENCRYPTED, "esp", at, frame.number)
    if protocol in TUNNELS:
        return Skip(Why.UNKNOWN_LAYER, f"proto {protocol}", at, frame.number)
    return Skip(Why.NOT_UDP, PROTOCOLS.get(protocol, f"proto {protocol}"), at, frame.number)


@lru_cache(maxsize=1024)
def _extend(via: tuple[str, ...], layer: str) -> tuple[str, ...]:
    return (*via, layer)
