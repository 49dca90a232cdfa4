"""The fast path: plain stacks by struct and slices, no object per layer.

Ethernet with VLAN tags and LLC/SNAP, Linux cooked capture, raw IP, null/loopback and PPP; IPv4 with options, IPv6 with
extension headers; UDP. Nothing here raises, whatever the bytes. `decode` answers with a `Skip` of reason UNKNOWN_LINK
or UNKNOWN_LAYER where it does not know a layer, so that a slower decoder may try; any other `Skip` is final.
"""

from collections.abc import Callable, Container, Iterable
from functools import lru_cache
from struct import Struct
from typing import Final, NamedTuple

from pcapeda.capture.checksum import residue
from pcapeda.dissect import ip
from pcapeda.dissect.udp import PROTOCOL as UDP
from pcapeda.dissect.udp import finish, ready, text4, text6
from pcapeda.model import Datagram, Fragment, Frame, Skip, SkipReason

Found = Datagram | Fragment | Skip
Via = tuple[str, ...]

VLAN_TAGS: Final = frozenset({0x8100, 0x88A8, 0x9100, 0x9200})
"""EtherTypes of VLAN tags: IEEE 802.1Q, 802.1ad, and what was used before the latter."""

MAX_TAGS: Final = 32

NOT_IP: Final = {0x0806: "arp", 0x88CC: "lldp", 0x888E: "eapol", 0x8035: "rarp", 0x9000: "loop", 0x8863: "pppoed"}
"""EtherTypes that are frequent and never lead to UDP; all others are left to the tables."""

NOT_UDP: Final = {1: "icmp", 2: "igmp", 6: "tcp", 58: "icmpv6", 89: "ospf", 112: "vrrp", 132: "sctp"}
"""The same for IP protocols."""

AF_INET: Final = 2
AF_INET6: Final = frozenset({24, 28, 30})
"""AF_INET6 of NetBSD and OpenBSD, FreeBSD, Darwin: what a null/loopback header may say."""

TCP: Final = 6

SkipKey = tuple[SkipReason, str, int]
"""Why a frame gives no datagram, at which layer, and at which byte offset: a `Skip` without the frame's number."""

_TAGS: Final = frozenset(ethertype.to_bytes(2) for ethertype in VLAN_TAGS)
_ETHERNET: Final = b"\x00\x01"
"""The hardware type (ARPHRD_ETHER) that a cooked header tells."""
_ETH: Final[Via] = ("eth",)
_SLL: Final[Via] = ("sll",)
_SLL2: Final[Via] = ("sll2",)
_RAW: Final[Via] = ("raw",)
_ETH_IP4: Final[Via] = ("eth", "ip4")
_ETH_IP6: Final[Via] = ("eth", "ip6")
_PLAIN4_HEAD: Final = b"\x08\x00\x45"
"""EtherType IPv4, version 4 and a header of five words."""
_PLAIN6_HEAD: Final = b"\x86\xdd\x60"
_PLAIN_NOT_IP: Final[dict[bytes, SkipKey]] = {
    ethertype.to_bytes(2): (SkipReason.NOT_IP, layer, 14) for ethertype, layer in NOT_IP.items()
}
_PLAIN_TCP4: Final[SkipKey] = (SkipReason.NOT_UDP, "tcp", 34)
_PLAIN_TCP6: Final[SkipKey] = (SkipReason.NOT_UDP, "tcp", 54)
_PLAIN4: Final = Struct("!H2xH4x4s4sHHHH")
"""From the total length on: it, fragment flags and offset, addresses; ports, length, checksum."""
_PLAIN6: Final = Struct("!H2x16s16sHHHH")

_new = tuple.__new__


class DecodedBlock(NamedTuple):
    """A block of frames decoded: the plain ones are done, the others are left to `decode`."""

    datagrams: list[Datagram]
    """Those of the plain frames, in their order."""
    skips: list[SkipKey]
    """Why others give none, one for each."""
    slow_path: list[tuple[int, Frame]]
    """The frames to look at again, each with the number of datagrams before it."""
    segments: int
    """How many of all were cut out of a super-packet behind another one."""


def decode_block(  # noqa: C901 - one loop without calls: each would cost more than what it does
    frames: Iterable[Frame], tunnels: Container[int] = ()
) -> DecodedBlock:
    """Decode what is plain: IPv4 without options or IPv6 without extension headers, behind the usual link layers.

    Most frames of most captures are, and so they are looked at here, in one step and, in Ethernet without tags, without
    a call. What goes to or comes from a port among `tunnels` is odd.
    """
    datagrams: list[Datagram] = []
    skips: list[SkipKey] = []
    slow_path: list[tuple[int, Frame]] = []
    add, skip = datagrams.append, skips.append
    segments = 0
    for frame in frames:
        time_ns, linktype, data, _, interface, number, offload = frame
        if offload is not None and offload.segment:
            segments += 1
        head = data[12:15] if linktype == 1 else b""
        if head == _PLAIN4_HEAD:
            version, at, via = 4, 14, _ETH_IP4
        elif head == _PLAIN6_HEAD:
            version, at, via = 6, 14, _ETH_IP6
        elif (why := _PLAIN_NOT_IP.get(head[:2])) is not None:
            skip(why)
            continue
        else:
            version, at, via = _beginning(linktype, data)
        if version == 4:
            protocol = data[at + 9] if len(data) >= at + 28 else 0
            if protocol == TCP and (data[at + 2] or data[at + 3] >= 20):
                skip(_PLAIN_TCP4 if at == 14 else (SkipReason.NOT_UDP, "tcp", at + 20))
                continue
            if protocol != UDP:
                slow_path.append((len(datagrams), frame))
                continue
            total, place, from4, to4, source_port, port, length, checksum = _PLAIN4.unpack_from(data, at + 2)
            stop = at + 20 + length
            if place & 0x3FFF or not 8 <= length <= total - 20 or stop > len(data):
                slow_path.append((len(datagrams), frame))
                continue
            status = "absent" if not checksum else "bad" if residue(data[at + 12 : stop], UDP + length) else "good"
            source, destination, payload = text4(from4), text4(to4), data[at + 28 : stop]
        elif version == 6 and len(data) >= at + 48:
            protocol = data[at + 6]
            if protocol == TCP:
                skip(_PLAIN_TCP6 if at == 14 else (SkipReason.NOT_UDP, "tcp", at + 40))
                continue
            if protocol != UDP:
                slow_path.append((len(datagrams), frame))
                continue
            total, from6, to6, source_port, port, length, checksum = _PLAIN6.unpack_from(data, at + 4)
            stop = at + 40 + length
            if not 8 <= length <= total or stop > len(data):
                slow_path.append((len(datagrams), frame))
                continue
            status = "bad" if not checksum or residue(data[at + 8 : stop], UDP + length) else "good"
            source, destination, payload = text6(from6), text6(to6), data[at + 48 : stop]
        else:
            slow_path.append((len(datagrams), frame))
            continue
        if tunnels and (port in tunnels or source_port in tunnels):
            slow_path.append((len(datagrams), frame))
            continue
        segment = 0
        if offload is not None:
            status, segment = ready(status, offload, stop - length, stop), offload.segment
        # The tuple is made directly: a NamedTuple's own constructor takes twice as long.
        add(
            _new(
                Datagram,
                (
                    time_ns, source, source_port, destination, port, payload, length, checksum, status, version, via,
                    True, number, interface, (), segment,
                ),
            )
        )  # fmt: skip
    return DecodedBlock(datagrams, skips, slow_path, segments)


def _beginning(linktype: int, data: bytes) -> tuple[int, int, Via]:
    """The version of a plain IP header behind VLAN tags or in a cooked or raw capture, where it begins, and the layers
    up to it; all of it nothing where there is none."""
    if linktype == 1:
        at, via, tags = 14, _ETH, 0
        while data[at - 2 : at] in _TAGS and tags < 2 and len(data) > at + 4:
            via = _longer(via, f"vlan:{(data[at] & 0x0F) << 8 | data[at + 1]}")
            at, tags = at + 4, tags + 1
        head = data[at - 2 : at + 1]
    elif linktype == 113 and data[2:4] == _ETHERNET:
        at, via, head = 16, _SLL, data[14:17]
    elif linktype == 276 and data[8:10] == _ETHERNET:
        at, via, head = 20, _SLL2, data[:2] + data[20:21]
    elif linktype == 101:
        at, via, head = 0, _RAW, (b"\x86\xdd" if data[:1] == b"\x60" else b"\x08\x00") + data[:1]
    else:
        return 0, 0, ()
    if head == _PLAIN4_HEAD:
        return 4, at, _longer(via, "ip4")
    if head == _PLAIN6_HEAD:
        return 6, at, _longer(via, "ip6")
    return 0, 0, ()


def decode(frame: Frame) -> Found:
    """The datagram, the fragment, or the reason why there is none in this frame."""
    link = _LINKS.get(frame.linktype)
    if link is None:
        return Skip(SkipReason.UNKNOWN_LINK, "link", 0, frame.number)
    return link(frame)


@lru_cache(maxsize=4096)
def _longer(via: Via, layer: str) -> Via:
    return (*via, layer)


def _cut(frame: Frame, layer: str, at: int, need: int) -> Skip:
    """What to say of a header of `need` bytes that is not whole: the capture cut it, or the frame was too short."""
    why = SkipReason.CUT if at + need <= frame.wire_length else SkipReason.MALFORMED
    return Skip(why, layer, at, frame.number)


def _ethernet(frame: Frame) -> Found:
    data = frame.data
    if len(data) < 14:
        return _cut(frame, "eth", 0, 14)
    return _ethertype(frame, data[12] << 8 | data[13], 14, ("eth",))


def _ethertype(frame: Frame, ethertype: int, at: int, via: Via) -> Found:
    data = frame.data
    while ethertype in VLAN_TAGS:
        if len(data) < at + 4:
            return _cut(frame, "vlan", at, 4)
        if len(via) > MAX_TAGS:
            return Skip(SkipReason.TOO_DEEP, "vlan", at, frame.number)
        via = _longer(via, f"vlan:{(data[at] & 0x0F) << 8 | data[at + 1]}")
        ethertype = data[at + 2] << 8 | data[at + 3]
        at += 4
    if ethertype == 0x0800:
        return _ip4(frame, at, via)
    if ethertype == 0x86DD:
        return _ip6(frame, at, via)
    if ethertype <= 1500 and data[at : at + 6] == b"\xaa\xaa\x03\0\0\0" and len(data) >= at + 8:
        return _snap(frame, at, via)
    layer = NOT_IP.get(ethertype)
    if layer is not None:
        return Skip(SkipReason.NOT_IP, layer, at, frame.number)
    return Skip(SkipReason.UNKNOWN_LAYER, "ethertype", at, frame.number)


def _snap(frame: Frame, at: int, via: Via) -> Found:
    """IEEE 802.2 with SNAP and an EtherType (RFC 1042), of a length that leaves room for it."""
    data = frame.data
    length = data[at - 2] << 8 | data[at - 1]
    if length < 8 or at + length < len(data):
        return Skip(SkipReason.UNKNOWN_LAYER, "llc", at, frame.number)  # trailing bytes: the tables know where to stop
    return _ethertype(frame, data[at + 6] << 8 | data[at + 7], at + 8, _longer(_longer(via, "llc"), "snap"))


def _cooked(frame: Frame) -> Found:
    """LINKTYPE_LINUX_SLL: 16 bytes, the hardware type in the second word, the protocol in the last."""
    data = frame.data
    if len(data) < 16:
        return _cut(frame, "sll", 0, 16)
    return _cooked_protocol(frame, data[2] << 8 | data[3], data[14] << 8 | data[15], 16, ("sll",))


def _cooked2(frame: Frame) -> Found:
    """LINKTYPE_LINUX_SLL2: 20 bytes, the protocol in the first two, the hardware type in bytes 8 and 9."""
    data = frame.data
    if len(data) < 20:
        return _cut(frame, "sll2", 0, 20)
    return _cooked_protocol(frame, data[8] << 8 | data[9], data[0] << 8 | data[1], 20, ("sll2",))


def _cooked_protocol(frame: Frame, hardware: int, protocol: int, at: int, via: Via) -> Found:
    """The protocol is an EtherType for the usual hardware types; those of netlink, GRE, 802.11 … are for the tables."""
    if hardware in (1, 512, 769, 772) and protocol > 1500:
        return _ethertype(frame, protocol, at, via)
    return Skip(SkipReason.UNKNOWN_LAYER, via[0], at, frame.number)


def _raw(frame: Frame) -> Found:
    """LINKTYPE_RAW and its kin: an IP packet from the first byte on, its version known by the first nibble."""
    data = frame.data
    if not data:
        return _cut(frame, "raw", 0, 1)
    version = data[0] >> 4
    if version == 4:
        return _ip4(frame, 0, ("raw",))
    if version == 6:
        return _ip6(frame, 0, ("raw",))
    return Skip(SkipReason.UNKNOWN_LAYER, "raw", 0, frame.number)


def _null(frame: Frame) -> Found:
    """LINKTYPE_NULL: the address family in the byte order of whoever captured; LINKTYPE_LOOP: in network order."""
    data = frame.data
    if len(data) < 4:
        return _cut(frame, "null", 0, 4)
    family = data[3] if data[:3] == b"\0\0\0" else data[0] if data[1:4] == b"\0\0\0" and frame.linktype == 0 else 0
    if family == AF_INET:
        return _ip4(frame, 4, ("null",))
    if family in AF_INET6:
        return _ip6(frame, 4, ("null",))
    return Skip(SkipReason.UNKNOWN_LAYER, "null", 0, frame.number)


def _ppp(frame: Frame) -> Found:
    """RFC 1661 in HDLC-like framing (RFC 1662), whose address and control bytes may be left out."""
    data = frame.data
    if data[:4] == b"\xff\x03\x00\x21":
        return _ip4(frame, 4, ("ppp",))
    if data[:4] == b"\xff\x03\x00\x57":
        return _ip6(frame, 4, ("ppp",))
    return Skip(SkipReason.UNKNOWN_LAYER, "ppp", 0, frame.number)


_LINKS: Final[dict[int, Callable[[Frame], Found]]] = {
    0: _null,
    1: _ethernet,
    9: _ppp,
    12: _raw,
    14: _raw,
    50: _ppp,
    101: _raw,
    108: _null,
    113: _cooked,
    228: lambda frame: _ip4(frame, 0, ("raw",)),
    229: lambda frame: _ip6(frame, 0, ("raw",)),
    276: _cooked2,
}


def _ip4(frame: Frame, at: int, via: Via) -> Found:
    data = frame.data
    packet = ip.read4(data, at, len(data), frame.wire_length)
    if isinstance(packet, SkipReason):
        if packet is SkipReason.MALFORMED and len(data) > at and data[at] >> 4 == 6:
            return _ip6(frame, at, via)  # an IPv6 packet under IPv4's number: read as what it is
        if via[-1].startswith("vlan") and ip.hides_tag(data, at, 0x0800):
            return Skip(SkipReason.UNKNOWN_LAYER, "vlan", at, frame.number)
        return Skip(packet, "ip4", at, frame.number)
    return _payload(frame, packet, _longer(via, "ip4"))


def _ip6(frame: Frame, at: int, via: Via) -> Found:
    data = frame.data
    packet = ip.read6(data, at, len(data), frame.wire_length)
    if isinstance(packet, SkipReason):
        if via[-1].startswith("vlan") and ip.hides_tag(data, at, 0x86DD):
            return Skip(SkipReason.UNKNOWN_LAYER, "vlan", at, frame.number)
        return Skip(packet, "ip6", at, frame.number)
    return _payload(frame, packet, _longer(via, "ip6"))


def _payload(frame: Frame, packet: ip.Packet, via: Via) -> Found:
    data = frame.data
    protocol, at, end, source, destination, pseudo, offset, more, _ = packet
    if more or offset:
        return ip.fragment(frame, data, packet, len(data), via)
    if protocol == UDP:
        return finish(frame, data, at, len(data), end, source, destination, pseudo, via)
    if protocol in NOT_UDP:
        return Skip(SkipReason.NOT_UDP, NOT_UDP[protocol], at, frame.number)
    return Skip(SkipReason.UNKNOWN_LAYER, "ip", at, frame.number)
