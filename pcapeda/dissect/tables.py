"""The tables of layers: every link type, encapsulation and tunnel that is parsed by hand.

The tables say which layer a number leads to. To add one, write its function in `links`, `ethernet`, `taps`, `wlan` or
`tunnels` and name it here; a tunnel over UDP has its name and its port in `tunnel_ports`.
"""

from collections.abc import Mapping
from typing import Final

from pcapeda.capture.linktypes import name
from pcapeda.dissect import ip
from pcapeda.dissect.cursor import Cursor, Found, Layer, Space, Step
from pcapeda.dissect.protocols import ethernet, exported_pdu, links, mpls, ppp, taps, tunnels, wlan
from pcapeda.dissect.protocols.juniper import cookie, ethertype, juniper
from pcapeda.model import Datagram, Fragment, Frame, Skip, SkipReason

MAX_LAYERS: Final = 64
"""More layers than this are an attack, not a packet."""

LINK: Final[dict[int, Layer]] = {
    0: links.null,
    1: ethernet.ethernet,
    3: taps.ax25,
    6: links.token_ring,
    7: links.arcnet,
    8: links.slip,
    9: ppp.ppp_hdlc,
    10: links.fddi,
    11: links.atm,
    12: links.raw,
    13: links.enc,
    14: links.raw,
    15: links.slip,
    16: links.raw4,
    18: links.raw4,
    19: links.clip,
    50: ppp.ppp_hdlc,
    51: ppp.pppoe,
    99: links.symantec,
    100: links.atm,
    101: links.raw,
    102: links.slip,
    104: ppp.cisco_hdlc,
    105: wlan.wlan,
    106: links.clip,
    107: links.frame_relay,
    108: links.loop,
    109: links.enc,
    112: ppp.cisco_hdlc,
    113: links.cooked,
    117: links.pflog,
    119: wlan.prism,
    122: links.fibre_channel_ip,
    123: links.sun_atm,
    127: wlan.radiotap,
    128: tunnels.tzsp,
    129: links.arcnet_linux,
    130: juniper(cookie(0, 4, 8, other=ppp.ppp_hdlc)),
    131: juniper(cookie(0, 4, 8)),
    132: juniper(cookie(0, 6)),
    133: juniper(None),
    134: juniper(cookie(0, 4)),
    135: juniper(cookie(8)),
    136: juniper(cookie(8, 12)),
    137: juniper(cookie(4)),
    138: links.firewire,
    143: links.docsis,
    149: links.user2,
    163: wlan.avs,
    164: juniper(cookie(8)),
    166: ppp.pppd,
    167: juniper(ethernet.ethernet),
    168: juniper(ethertype),
    170: taps.gfp,
    171: taps.gfp,
    175: links.erf,
    176: links.erf,
    178: juniper(ethernet.ethernet),
    179: juniper(ppp.ppp, lead=2),
    180: juniper(links.frame_relay),
    181: juniper(ppp.cisco_hdlc),
    183: juniper(ethernet.ip4, lead=18),
    192: links.ppi,
    197: links.erf,
    202: links.directed(taps.ax25),
    204: links.directed(ppp.ppp_hdlc),
    205: links.directed(ppp.cisco_hdlc),
    206: links.directed(links.frame_relay),
    219: mpls.mpls,
    226: links.ipnet,
    228: links.raw4,
    229: links.raw6,
    239: links.nflog,
    240: links.net_analyzer,
    241: links.net_analyzer_transparent,
    242: links.infiniband_ip,
    252: exported_pdu.exported,
    258: links.pktap,
    259: links.epon,
    274: links.mpacket,
    276: links.cooked2,
    281: taps.switch_tag("brcm", 4),
    282: ethernet.skipping("brcm", 4, ethernet.ethernet),
    284: taps.switch_tag("dsa", 4),
    285: taps.switch_tag("edsa", 8),
}

ETHERTYPE: Final[dict[int, Layer]] = {
    **dict.fromkeys((0x0641, 0x0643, 0x0644, 0x0645), taps.roofnet),
    0x0800: ethernet.ip4,
    0x08FF: taps.bpq,
    0x22E5: taps.gigamon,
    0x22F3: ethernet.trill,
    0x2452: wlan.wlan,
    0x4305: ethernet.batman,
    0x6558: ethernet.ethernet,
    0x80D5: taps.sna,
    0x8100: ethernet.vlan,
    0x86DD: ethernet.ip6,
    0x880B: ppp.ppp_hdlc,
    0x8847: mpls.mpls,
    0x8848: mpls.mpls,
    0x8864: ppp.pppoe,
    0x886C: taps.homepna,
    0x8870: ethernet.llc,
    0x8874: ethernet.tagged("brcm", 6),
    0x8899: taps.realtek,
    0x88A8: ethernet.vlan,
    0x88A9: taps.extreme_mesh,
    0x88BB: tunnels.lwapp,
    0x88DE: ethernet.tagged("vmlab", 24),
    0x88E5: ethernet.macsec,
    0x88E7: ethernet.backbone,
    0x8903: ethernet.fabric_path,
    0x8909: ethernet.tagged("cmd", 8),
    0x8926: ethernet.tagged("vntag", 6),
    0x892F: ethernet.hsr,
    0x893F: ethernet.tagged("etag", 8),
    0x894F: tunnels.nsh,
    0x8988: ethernet.tagged("ttag", 8),
    0x9021: ethernet.rtmac,
    0x9100: ethernet.vlan,
    0x9200: ethernet.vlan,
    0x99FE: taps.tecmp,
    0xA0ED: ethernet.lowpan,
    0xBBBB: tunnels.lwapp,
    0xD28B: taps.arista,
    0xDADA: ethernet.tagged("edsa", 8),
    0xE555: ethernet.skipping("exeh", 38, ethernet.ethernet),
    0xF1C1: ethernet.tagged("rtag", 6),
    0xFFF2: ethernet.ip4,
}
"""Some of those of vendors are in no list of the IEEE's: 0x8988 and 0xfff2 are Cisco's ACI, 0xd28b is Arista's, 0xe555
Extreme's, 0xdada Marvell's switch tag."""

NOT_IP: Final = {
    0x0806: "arp",
    0x0842: "wol",
    0x2000: "cdp",
    0x6002: "dec mop",
    0x8035: "rarp",
    0x8137: "ipx",
    0x80F3: "aarp",
    0x8808: "mac control",
    0x8809: "slow protocols",
    0x8863: "pppoed",
    0x888E: "eapol",
    0x8892: "profinet",
    0x88A4: "ethercat",
    0x88B8: "goose",
    0x88BA: "sampled values",
    0x88CC: "lldp",
    0x88F5: "mvrp",
    0x88F7: "ptp",
    0x8902: "cfm",
    0x8906: "fcoe",
    0x8914: "fip",
    0x9000: "loop",
}
"""EtherTypes that never lead to UDP, by name."""

IP: Final[dict[int, Layer]] = {
    tunnels.CAPWAP_802_11: wlan.wlan_swapped,
    tunnels.CAPWAP_802_3: ethernet.ethernet,
    0: ethernet.extension(ip.HOP_BY_HOP),
    4: ethernet.ip4,
    17: ethernet.udp,
    41: ethernet.ip6,
    43: ethernet.extension(ip.ROUTING),
    44: ethernet.extension(ip.FRAGMENT),
    47: tunnels.gre,
    50: ethernet.encrypted,
    51: ethernet.authentication,
    60: ethernet.extension(ip.DESTINATION),
    93: taps.ax25,
    97: ethernet.etherip,
    103: ethernet.pim,
    136: ethernet.udp_lite,
    137: mpls.mpls,
    140: ethernet.shim6,
    143: ethernet.ethernet,
}

TRANSPORTS: Final = {
    1: "icmp",
    2: "igmp",
    6: "tcp",
    33: "dccp",
    46: "rsvp",
    58: "icmpv6",
    59: "no next header",
    88: "eigrp",
    89: "ospf",
    108: "ipcomp",
    112: "vrrp",
    115: "l2tpv3",
    132: "sctp",
    135: "mobility",
    139: "hip",
}
"""IP protocols that never lead to UDP, or not in a way that can be read, by name."""

PPP: Final[dict[int, Layer]] = {
    0x0021: ethernet.ip4,
    0x0023: ethernet.osi,
    0x0031: ppp.bridging,
    0x003D: ppp.multilink,
    0x004B: ethernet.llc,
    0x0057: ethernet.ip6,
    0x0059: ppp.multiplexed,
    0x0281: mpls.mpls,
    0x0283: mpls.mpls,
    0x0800: ethernet.ip4,
    0x86DD: ethernet.ip6,
}

NLPID: Final[dict[int, Layer]] = {0x8E: ethernet.ip6, 0xCC: ethernet.ip4, 0xCF: ppp.ppp}

GRE: Final[Mapping[int, Layer]] = {
    0x00FE: ethernet.osi,
    0x0800: ethernet.ip4,
    0x22EB: tunnels.erspan,
    0x6400: ethernet.ethernet,
    0x6558: ethernet.ethernet,
    0x6559: links.frame_relay,
    0x86DD: ethernet.ip6,
    0x880B: ppp.ppp_hdlc,
    0x883E: tunnels.wccp,
    0x8909: tunnels.cisco_metadata,
    0x8847: mpls.mpls,
    0x8848: mpls.mpls,
    0x88BE: tunnels.erspan,
    0x894F: tunnels.nsh,
} | dict.fromkeys(range(0x8200, 0x8400, 0x10), wlan.wlan)
"""EtherTypes as far as GRE carries them; 0x8200 to 0x83f0 are Aruba's, which tunnel 802.11 frames."""

TABLES: Final[Mapping[Space, Mapping[int, Layer]]] = {
    Space.LINK: LINK,
    Space.ETHERTYPE: ETHERTYPE,
    Space.IP: IP,
    Space.PPP: PPP,
    Space.NLPID: NLPID,
    Space.GRE: GRE,
}


# The walk


def decode(frame: Frame) -> Found:
    """The outermost UDP datagram, the fragment, or the reason why there is none in this frame. Never raises."""
    found, _ = walk(Cursor(frame), (Space.LINK, frame.linktype))
    return found


def walk(c: Cursor, step: Step) -> tuple[Found, Datagram | Skip | None]:
    """Walk from `step` to the end: what is there, and what to answer for the tunnel that it is in, if it is in one."""
    first: Skip | None = None
    for _ in range(MAX_LAYERS):
        if isinstance(step, Skip):
            first = first or step
            branch = c.turn()
            if branch is None:
                return first, c.outer
            step = branch
        if isinstance(step, (Datagram, Fragment)):
            return step, c.outer
        step = _look_up(c, *step) if isinstance(step, tuple) else step(c)
    return c.skip(SkipReason.TOO_DEEP, c.via[-1].partition(":")[0] if c.via else "layers"), c.outer


def _look_up(c: Cursor, space: Space, key: int) -> Step:
    layer = TABLES[space].get(key)
    if layer is not None:
        return layer
    if space is Space.ETHERTYPE:
        if key <= 1500:
            return ethernet.by_length(c, key)
        if key in NOT_IP:
            return c.skip(SkipReason.NOT_IP, NOT_IP[key])
        return c.skip(SkipReason.UNKNOWN_LAYER, f"ethertype 0x{key:04x}")
    if space is Space.IP:
        return c.skip(SkipReason.NOT_UDP, TRANSPORTS.get(key) or f"proto {key}")
    if space is Space.LINK:
        return c.skip(SkipReason.UNKNOWN_LINK, name(key))
    return c.skip(SkipReason.NOT_IP, f"{space.name.lower()} 0x{key:04x}")
