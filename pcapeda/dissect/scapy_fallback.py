"""The same promise as `fast_path`, kept by Scapy's dissection: the last resort, and the independent twin in tests.

Scapy is asked one layer at a time, so that neither a payload nor a quote is dissected, depth is bounded, and every
layer's place in the raw bytes is known. From its layers come protocol numbers, lengths and what follows; the datagram
itself is cut from the raw bytes, never rebuilt. Whatever Scapy raises becomes a Skip.
"""

from functools import cache
from socket import AF_INET, AF_INET6, inet_pton
from typing import Any, Final, NamedTuple

from pcapeda.capture.quiet_scapy import quiet_scapy
from pcapeda.dissect import ip, udp
from pcapeda.dissect.tunnel_ports import PORTS
from pcapeda.model import Datagram, Fragment, Frame, Skip, SkipReason

Found = Datagram | Fragment | Skip

MAX_SIZE: Final = 1 << 20
MAX_LAYERS: Final = 64

SKIPS: Final = {
    "TCP": (SkipReason.NOT_UDP, "tcp"),
    "SCTP": (SkipReason.NOT_UDP, "sctp"),
    "ESP": (SkipReason.ENCRYPTED, "esp"),
    "ARP": (SkipReason.NOT_IP, "arp"),
}
"""Layers that end the walk, by Scapy's name for them; so do all whose names tell of ICMP or of a quote."""

NAMES: Final = {
    "Ether": "eth",
    "Dot3": "eth",
    "LLC": "llc",
    "SNAP": "snap",
    "CookedLinux": "sll",
    "CookedLinuxV2": "sll2",
    "Loopback": "null",
    "LoopbackOpenBSD": "null",
    "HDLC": "ppp",
    "PPP": "ppp",
    "PPPoE": "pppoe",
    "ERSPAN": "erspan",
    "GRE": "gre",
    "GRE_PPTP": "gre",
    "AH": "ah",
    "Dot11": "802.11",
    "RadioTap": "radiotap",
    "PPI": "ppi",
}
"""What `fast_path` and `tables` call Scapy's layers; others keep Scapy's name in lower case."""

NUMBERED: Final = {
    "Dot1Q": ("vlan", "vlan"),
    "Dot1AD": ("vlan", "vlan"),
    "MPLS": ("mpls", "label"),
    "ERSPAN_II": ("erspan", "session_id"),
    "ERSPAN_III": ("erspan", "session_id"),
    "VXLAN": ("vxlan", "vni"),
    "GENEVE": ("geneve", "vni"),
    "GTP_U_Header": ("gtp", "teid"),
}
"""Layers with an identifier: our name, and Scapy's field."""

ETHERTYPES: Final = frozenset(
    {
        *(0x0800, 0x0806, 0x22EB, 0x6558, 0x8021, 0x8053, 0x8100, 0x86DD, 0x8847, 0x8863, 0x8864, 0x8870),
        *(0x888E, 0x88A8, 0x88BE, 0x88E5, 0x88E7, 0xA0ED),
    }
)
"""Those behind which Scapy knows a layer: so that it need not be loaded, for a third of a second, only to say no."""

LINKS: Final = frozenset({"linktype 772", "linktype 801", "linktype 802", "linktype 803"})
"""Link types that Scapy alone reads, named as the walker does: Linux's hardware types of loopback and 802.11.

Its other ones are guesses: 144 (IrDA) has a cooked header but never IP, 23 and 31 are no link types of files, and what
is in 802.15.4 (195, 230) depends on a setting. What a guess does not find would be called malformed.
"""

UNNAMED: Final = frozenset(
    {
        "Dot11QoS",
        "IPv6ExtHdrHopByHop",
        "IPv6ExtHdrDestOpt",
        "IPv6ExtHdrRouting",
        "IPv6ExtHdrSegmentRouting",
        "IPv6ExtHdrFragment",
    }
)


class _Ip(NamedTuple):
    """The IP header that the walk is behind."""

    protocol: int
    end: int
    source: bytes
    destination: bytes
    pseudo: bytes


class _Scapy(NamedTuple):
    """What is used of Scapy, imported when it is first needed."""

    conf: Any
    raw: Any
    ip4: Any
    ip6: Any
    udp: Any
    dot1ad: Any
    ethernet: Any


@cache
def _scapy() -> _Scapy:
    import scapy.contrib.erspan
    import scapy.contrib.geneve
    import scapy.contrib.gtp
    import scapy.contrib.macsec
    import scapy.contrib.mpls
    import scapy.layers.dot11
    import scapy.layers.ipsec
    import scapy.layers.l2tp
    import scapy.layers.ppi
    import scapy.layers.ppp
    import scapy.layers.sixlowpan
    import scapy.layers.vxlan  # noqa: F401  (loading them is what makes Scapy know their layers)
    from scapy.config import conf
    from scapy.layers.inet import IP, UDP
    from scapy.layers.inet6 import IPv6
    from scapy.layers.l2 import Dot1AD, Ether
    from scapy.packet import Raw

    return _Scapy(conf, Raw, IP, IPv6, UDP, Dot1AD, Ether)


def may_know(skip: Skip) -> bool:
    """Whether it makes sense to ask Scapy about a layer that the tables do not know."""
    if skip.reason is SkipReason.UNKNOWN_LINK:
        return skip.layer in LINKS
    if skip.layer == "6lowpan compression":
        return False  # the headers that it makes are not in the frame
    named = "ethertype 0x"
    return not skip.layer.startswith(named) or int(skip.layer.removeprefix(named), 16) in ETHERTYPES


def decode(frame: Frame, decapsulate: bool = False) -> Found:
    """The datagram, the fragment, or the reason why there is none in this frame. Never raises.

    Under `decapsulate` the innermost datagram that Scapy's own tunnels lead to.
    """
    if len(frame.data) > MAX_SIZE:
        return Skip(SkipReason.UNKNOWN_LAYER, "scapy: too long", 0, frame.number)
    walk = _Walk(frame, decapsulate=decapsulate)
    try:
        with quiet_scapy():
            found = walk.run()
    except Exception:  # noqa: BLE001  whatever a dissector raises on hostile bytes, this frame alone is lost
        found = Skip(SkipReason.UNKNOWN_LAYER, f"scapy: {walk.layer}", walk.at, frame.number)
    if walk.outer is not None and not isinstance(found, Datagram):
        return walk.outer
    return found


class _Walk:
    """One frame on its way through Scapy's layers."""

    def __init__(self, frame: Frame, *, decapsulate: bool) -> None:
        self.frame = frame
        self.decapsulate = decapsulate
        self.at = 0
        self.layer = "link"
        self.via: tuple[str, ...] = ()
        self.ip: _Ip | None = None
        self.stop = len(frame.data)
        self.outer: Datagram | None = None
        self.left = MAX_LAYERS

    def run(self) -> Found:
        scapy = _scapy()
        layer = self._link(scapy)
        return self._skip(SkipReason.UNKNOWN_LINK) if layer is None else self._walk(layer, None, scapy)

    def _walk(self, layer: Any, under: Any, scapy: _Scapy) -> Found:
        while self.left:
            self.left -= 1
            if layer is scapy.ip4 and self.frame.data[self.at : self.at + 1] >= b"\x60":
                layer = scapy.ip6  # Scapy would read it under the wrong version
            self.layer = layer.__name__
            known = self._known(layer, scapy)
            if known is not None:
                return known
            packet, size = self._peel(layer, under)
            if packet is None:
                return self._skip(SkipReason.CUT if self.stop < self.frame.wire_length else SkipReason.MALFORMED)
            found = self._pass(packet, size, scapy)
            if found is not None:
                return found
            if self.at >= self.stop:
                return self._skip(SkipReason.CUT if self.stop < self.frame.wire_length else SkipReason.MALFORMED)
            layer, under = self._next(packet, scapy), packet
        return self._skip(SkipReason.TOO_DEEP)

    def _skip(self, why: SkipReason, layer: str | None = None) -> Skip:
        return Skip(why, layer or f"scapy: {self.layer}", self.at, self.frame.number)

    def _link(self, scapy: _Scapy) -> Any:
        """Scapy's layer for the link type. What may be IP of either version is in the first nibble."""
        linktype = self.frame.linktype
        if linktype in (12, 14, 101):
            self.via = ("raw",)
            return scapy.ip6 if self.frame.data[:1] >= b"\x60" else scapy.ip4
        if linktype in (228, 229):
            self.via = ("raw",)
        return scapy.conf.l2types.num2layer.get(linktype)

    def _known(self, layer: Any, scapy: _Scapy) -> Found | None:
        """What to answer when the next layer is one that ends the walk."""
        name = layer.__name__
        if layer is scapy.udp:
            return self._udp()
        if name in SKIPS:
            return self._skip(*SKIPS[name])
        if name.startswith(("ICMP", "_ICMP")) or "error" in name:
            return self._skip(SkipReason.NOT_UDP, "icmp")
        if layer is scapy.raw or name in ("Padding", "NoPayload"):
            return self._skip(SkipReason.NOT_UDP if self.ip is not None else SkipReason.UNKNOWN_LAYER)
        return None

    def _peel(self, layer: Any, under: Any) -> tuple[Any, int]:
        """One layer dissected, without what it carries, and its size in bytes; (None, 0) where it does not fit."""
        data = self.frame.data[self.at : self.stop]
        if hasattr(layer, "dispatch_hook"):
            layer = layer.dispatch_hook(data, _underlayer=under)
            self.layer = layer.__name__
        packet = type.__call__(layer, _underlayer=under)
        rest = packet.post_dissect(packet.do_dissect(packet.pre_dissect(data)))
        rest, padding = packet.extract_padding(rest)
        rest = rest or b""
        size = len(data) - len(rest) - len(padding or b"")
        # Only a layer that leaves the rest of the bytes as they were has a place in the frame.
        if size <= 0 or data[size : size + len(rest)] != rest:
            return None, 0
        packet.original = data
        self.stop = self.at + size + len(rest)
        return packet, size

    def _pass(self, packet: Any, size: int, scapy: _Scapy) -> Found | None:
        """Go past a layer, and note what it says; an answer where it is the last."""
        name = type(packet).__name__
        if isinstance(packet, scapy.ip4):
            return self._pass_ip(packet, size, ip4=True)
        if isinstance(packet, scapy.ip6):
            return self._pass_ip(packet, size, ip4=False)
        if name.startswith("IPv6ExtHdr") and self.ip is not None:
            return self._pass_extension(packet, name, size)
        if name == "AH" and self.ip is not None:
            self.ip = self.ip._replace(protocol=packet.nh)
        if name in NUMBERED:
            ours, field = NUMBERED[name]
            self._name(f"{ours}:{getattr(packet, field)}")
        elif name not in UNNAMED and not (name == "PPP" and self.via[-1:] == ("ppp",)):
            self._name(NAMES.get(name, name.lower()))
        self.at += size
        return None

    def _name(self, layer: str) -> None:
        self.via = (*self.via, layer)

    def _pass_ip(self, packet: Any, size: int, *, ip4: bool) -> Found | None:
        data, start = self.frame.data, self.at
        self.stop = len(data) if self.outer is None else self.stop
        if packet.version != (4 if ip4 else 6):
            return self._skip(SkipReason.MALFORMED)
        if ip4:
            if packet.ihl < 5 or 0 < packet.len < packet.ihl * 4:
                return self._skip(SkipReason.MALFORMED)
            source, destination = data[start + 12 : start + 16], data[start + 16 : start + 20]
            self.at, end, pseudo = start + packet.ihl * 4, start + packet.len, source + destination
            if packet.len == 0:
                end = max(self.frame.wire_length, len(data))
            if self.at - start > size:
                return self._skip(SkipReason.CUT)
            routes = [
                option for option in packet.options if type(option).__name__ in ("IPOption_LSRR", "IPOption_SSRR")
            ]
            for option in routes[:1]:
                if option.pointer <= option.length - 3 and option.routers:
                    pseudo = source + inet_pton(AF_INET, option.routers[-1])
        else:
            source, destination = data[start + 8 : start + 24], data[start + 24 : start + 40]
            self.at, end, pseudo = start + 40, start + 40 + packet.plen, source + destination
        self._name("ip4" if ip4 else "ip6")
        self.ip = _Ip(packet.proto if ip4 else packet.nh, end, source, destination, pseudo)
        if ip4 or packet.plen or packet.nh:
            self.stop = min(self.stop, end)
        if ip4 and (packet.flags.MF or packet.frag):
            return self._fragment(packet.frag * 8, bool(packet.flags.MF), packet.id)
        return None

    def _pass_extension(self, packet: Any, name: str, size: int) -> Found | None:
        assert self.ip is not None
        self.at += size
        if name == "IPv6ExtHdrFragment":
            self.ip = self.ip._replace(protocol=packet.nh)
            if packet.offset or packet.m:
                return self._fragment(packet.offset * 8, bool(packet.m), packet.id)
        elif name == "IPv6ExtHdrHopByHop" and self.ip.end == self.at - size:
            lengths = [option.jumboplen for option in packet.options if type(option).__name__ == "Jumbo"]
            if not lengths or lengths[0] <= 0xFFFF:
                return self._skip(SkipReason.MALFORMED)
            self.ip = self.ip._replace(end=self.ip.end + lengths[0])
        elif name == "IPv6ExtHdrDestOpt":
            homes = [option.hoa for option in packet.options if type(option).__name__ == "HAO"]
            if homes:
                self.ip = self.ip._replace(pseudo=inet_pton(AF_INET6, homes[0]) + self.ip.pseudo[16:])
        elif name in ("IPv6ExtHdrRouting", "IPv6ExtHdrSegmentRouting") and packet.segleft and packet.addresses:
            final = self.ip.pseudo[16:]
            if packet.type in (0, 2, 4):
                last = packet.addresses[0 if name == "IPv6ExtHdrSegmentRouting" else -1]
                final = inet_pton(AF_INET6, last)
            elif packet.type == 3:  # compressed addresses, which Scapy does not read
                final = ip.last_hop(self.frame.data[self.at - size : self.at], final)
            self.ip = self.ip._replace(pseudo=self.ip.pseudo[:16] + final)
        self.ip = self.ip._replace(protocol=packet.nh)
        return None

    def _fragment(self, offset: int, more: bool, identification: int) -> Found:
        assert self.ip is not None
        protocol, end, source, destination, pseudo = self.ip
        packet = ip.Packet(protocol, self.at, end, source, destination, pseudo, offset, more, identification)
        return ip.fragment(self.frame, self.frame.data, packet, len(self.frame.data), self.via)

    def _next(self, packet: Any, scapy: _Scapy) -> Any:
        """The layer that Scapy would dissect next, but for what it does not know by default or gets wrong."""
        name = type(packet).__name__
        data = self.frame.data
        if name in ("Ether", "Dot1Q", "Dot1AD") and packet.type in (0x9100, 0x9200):
            return scapy.dot1ad
        if name in ("Loopback", "LoopbackOpenBSD"):
            family = packet.type
            if name == "Loopback" and data[self.at - 4 : self.at - 1] == bytes(3):
                family = data[self.at - 1]  # the other byte order
            return {2: scapy.ip4, 24: scapy.ip6, 28: scapy.ip6, 30: scapy.ip6}.get(family, scapy.raw)
        if name == "AH":
            return {4: scapy.ip4, 17: scapy.udp, 41: scapy.ip6}.get(packet.nh, scapy.raw)
        if isinstance(packet, scapy.ip4) and packet.proto == udp.PROTOCOL:
            return scapy.udp  # also under a total length of 0
        if name.startswith("IPv6ExtHdr") and packet.nh == udp.PROTOCOL:
            return scapy.udp  # the fragment header's own guess looks at the offset alone
        return packet.guess_payload_class(data[self.at : self.stop])

    def _udp(self) -> Found:
        if self.ip is None:
            return self._skip(SkipReason.UNKNOWN_LAYER)
        data = self.frame.data
        stop = len(data) if self.outer is None else self.stop
        found = udp.finish(
            self.frame, data, self.at, stop, self.ip.end, self.ip.source, self.ip.destination, self.ip.pseudo, self.via
        )
        if (
            not self.decapsulate
            or not isinstance(found, Datagram)
            or (found.source_port not in PORTS and found.destination_port not in PORTS)
        ):
            return found
        return self._within(found)

    def _within(self, found: Datagram) -> Found:
        """Walk on in the payload of a datagram that may be a tunnel."""
        scapy = _scapy()
        header = scapy.udp(sport=found.source_port, dport=found.destination_port)
        self.outer = found
        self.at += 8
        self.stop = min(self.stop, self.at + found.length - 8)
        self._name(f"udp:{found.destination_port}")
        return self._walk(header.guess_payload_class(found.payload), header, scapy)
