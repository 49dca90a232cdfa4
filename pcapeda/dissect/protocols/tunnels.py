"""Tunnels: GRE and its children, and what travels over UDP. Every function is a layer as `cursor` describes it.

A layer over UDP starts behind the UDP header, with the payload as its whole world.
"""

from typing import Final

from pcapeda.dissect.cursor import Cursor, Layer, Space, Step
from pcapeda.dissect.protocols.ethernet import by_version, ethernet, ip4, ip6
from pcapeda.dissect.protocols.mpls import mpls
from pcapeda.dissect.protocols.ppp import ppp_hdlc
from pcapeda.dissect.protocols.wlan import wlan, wlan_swapped
from pcapeda.model import Datagram, Fragment, SkipReason

# GRE


def gre(c: Cursor) -> Step:
    """RFC 2784 2, RFC 2890 2; and RFC 2637 4.1 (PPTP), where a bit announces an acknowledgement before PPP."""
    if not c.has(4):
        return c.short("gre", 4)
    flags, kind = c.word(0), c.word(2)
    if flags == 0x2001 and kind == 0x6400:
        return eoip  # what RouterOS sends; with other flags the fields are those that the flags announce
    checksum, routing, key, sequence = flags & 0x8000, flags & 0x4000, flags & 0x2000, flags & 0x1000
    acknowledge = flags & 0x0080 and kind == 0x880B
    size = 4 + sum(4 for field in (checksum or routing, key, sequence, acknowledge) if field)
    if not c.has(size):
        return c.short("gre", size)
    c.passed("gre", size)
    if routing and not _past_routes(c):
        return c.short("gre routing", 4)
    if kind == 0x88BE and not sequence:
        # ERSPAN type I has no header of its own and no sequence numbers: this is how the types are recognised.
        c.passed("erspan", 0)
        return ethernet
    return Space.GRE, kind


def _past_routes(c: Cursor) -> bool:
    """Go past the source route entries of RFC 1701: family, offset, length; an empty one ends them."""
    while c.has(4):
        family, length = c.word(0), c.byte(3)
        c.at += 4
        if family == 0 and length == 0:
            return True
        if not c.has(length):
            return False
        c.at += length
    return False


def eoip(c: Cursor) -> Step:
    """MikroTik's Ethernet over IP: GRE version 1, then the frame's length and a tunnel id in little endian."""
    if not c.has(8):
        return c.short("eoip", 8)
    tunnel = c.byte(6) | c.byte(7) << 8
    c.passed(f"eoip:{tunnel}", 8)
    return ethernet


def erspan(c: Cursor) -> Step:
    """draft-foschiano-erspan-03 4: type II has 8 bytes, type III 12, and 8 more where its last bit says so.

    Of the frame types that III knows only Ethernet is read.
    """
    if not c.has(8):
        return c.short("erspan", 8)
    version = c.byte(0) >> 4
    size = 8
    if version == 2:
        if not c.has(12):
            return c.short("erspan", 12)
        if c.word(10) & 0x7C00:
            return c.skip(SkipReason.NOT_IP, "erspan frame type")
        size = 20 if c.byte(11) & 1 else 12
    elif version != 1:
        return c.skip(SkipReason.UNKNOWN_LAYER, f"erspan version {version}")
    if not c.has(size):
        return c.short("erspan", size)
    c.passed(f"erspan:{c.word(2) & 0x3FF}", size)
    return ethernet


def wccp(c: Cursor) -> Step:
    """WCCP redirection (draft-wilson-wrec-wccp-v2-01 4.12): version 2 puts four bytes before the packet."""
    if not c.has(4):
        return c.short("wccp", 4)
    c.passed("wccp", 0 if c.byte(0) >> 4 == 4 else 4)
    return ip4


def cisco_metadata(c: Cursor) -> Step:
    """Cisco MetaData in GRE: unlike in Ethernet the EtherType comes first, then version, length and so many options."""
    if not c.has(4):
        return c.short("cmd", 4)
    kind, size = c.word(0), 4 + c.byte(3) * 4
    if not c.has(size):
        return c.short("cmd", size)
    c.passed("cmd", size)
    return Space.ETHERTYPE, kind


# Service chains


def nsh(c: Cursor) -> Step:
    """RFC 8300 2.2: the header's length is in words of four bytes."""
    if not c.has(8):
        return c.short("nsh", 8)
    kind, size = c.byte(2) & 0x0F, (c.word(0) & 0x3F) * 4
    if kind == 1 and size != 24:
        return c.skip(SkipReason.MALFORMED, "nsh")
    size = max(size, 8 if kind == 2 else 4)
    if not c.has(size):
        return c.short("nsh", size)
    following = NSH.get(c.byte(3))
    if following is None:
        return c.skip(SkipReason.NOT_IP, f"nsh next {c.byte(3)}")
    c.passed(f"nsh:{c.number(4, 3)}", size)
    return following


NSH: Final[dict[int, Layer]] = {1: ip4, 2: ip6, 3: ethernet, 4: nsh, 5: mpls}
"""What follows a network service header (RFC 8300 2.2), and VXLAN-GPE (its draft) by the same numbers."""


# Over UDP


def vxlan(c: Cursor) -> Step:
    """RFC 7348 5: flags, and a network id of three bytes. The flags are not judged."""
    if not c.has(8):
        return c.short("vxlan", 8)
    c.passed(f"vxlan:{c.number(4, 3)}", 8)
    return ethernet


def vxlan_gpe(c: Cursor) -> Step:
    """draft-ietf-nvo3-vxlan-gpe-12 3: the fourth byte says what follows."""
    if not c.has(8):
        return c.short("vxlan-gpe", 8)
    following = NSH.get(c.byte(3))
    c.passed(f"vxlan:{c.number(4, 3)}", 8)
    return following or c.skip(SkipReason.UNKNOWN_LAYER, "vxlan-gpe next")


def geneve(c: Cursor) -> Step:
    """RFC 8926 3.4: options in words of four bytes, then what the EtherType says."""
    if not c.has(8):
        return c.short("geneve", 8)
    size, kind = 8 + (c.byte(0) & 0x3F) * 4, c.word(2)
    if not c.has(size):
        return c.short("geneve", size)
    c.passed(f"geneve:{c.number(4, 3)}", size)
    return Space.ETHERTYPE, kind


def gtp(c: Cursor) -> Step:
    """3GPP TS 29.281 5 (GTP-U, version 1) and TS 29.060 (version 0): only the message G-PDU carries a packet."""
    if not c.has(8):
        return c.short("gtp", 8)
    flags, message, length = c.byte(0), c.byte(1), c.word(2)
    if flags & 0x10 == 0 or flags >> 5 > 1 or message != 255:
        return c.skip(SkipReason.NOT_IP, "gtp message")
    if flags >> 5 == 0:
        if not c.has(20):
            return c.short("gtp", 20)
        c.passed(f"gtp:{c.number(12, 8)}", 20)
    else:
        c.passed(f"gtp:{c.number(4, 4)}", 8)
    if c.end - c.at > length:
        c.limit(length)
    if flags >> 5 == 1 and flags & 0x07:
        if not c.has(4):
            return c.short("gtp", 4)
        following = c.byte(3) if flags & 0x04 else 0
        c.at += 4
        while following:
            # 5.2.1: an extension header's length is in words of four bytes; its last byte names the next.
            size = c.byte(0) * 4 if c.has(1) else 4
            if size == 0:
                return c.skip(SkipReason.MALFORMED, "gtp extension")
            if not c.has(size):
                return c.short("gtp extension", size)
            following = c.byte(size - 1)
            c.at += size
    return _user_plane(c)


def _user_plane(c: Cursor) -> Step:
    """Nothing in GTP-U says what the user's packets are: IP by its first byte, else Ethernet that holds IP or ARP."""
    if not c.has(1):
        return c.short("gtp payload", 1)
    first = c.byte(0)
    if 0x45 <= first <= 0x4F:
        return ip4
    if first & 0xF0 == 0x60:
        return ip6
    if c.has(14) and c.word(12) in (0x0800, 0x86DD, 0x0806):
        return ethernet
    return c.skip(SkipReason.UNKNOWN_LAYER, "gtp payload")


def teredo(c: Cursor) -> Step:
    """RFC 4380 5.1.1: authentication and origin indications, then an IPv6 packet."""
    c.passed("teredo", 0)
    if c.has(4) and c.word(0) == 1:
        size = 13 + c.byte(2) + c.byte(3)
        if not c.has(size):
            return c.short("teredo", size)
        c.at += size
    if c.has(8) and c.word(0) == 0:
        c.at += 8
    if not c.has(1):
        return c.short("teredo", 1)
    return ip6 if c.byte(0) >> 4 == 6 else c.skip(SkipReason.NOT_IP, "teredo")


def l2tp(c: Cursor) -> Step:
    """RFC 2661 3.1: data messages carry PPP. Of version 3 (RFC 3931) only signalling knows what a session carries."""
    if not c.has(6):
        return c.short("l2tp", 6)
    flags = c.word(0)
    if flags & 0x0F == 3:
        return c.skip(SkipReason.UNKNOWN_LAYER, "l2tpv3 session")
    if flags & 0x0F != 2 or flags & 0x8000:
        return c.skip(SkipReason.NOT_IP, "l2tp control")
    size = 8 if flags & 0x4000 else 6
    if not c.has(size):
        return c.short("l2tp", size)
    length = c.word(2) if flags & 0x4000 else c.end - c.at
    name = f"l2tp:{c.word(size - 4)}/{c.word(size - 2)}"
    if size <= length < c.end - c.at:
        c.limit(length)
    if flags & 0x0800:
        size += 4
    if flags & 0x0200:
        if not c.has(size + 2):
            return c.short("l2tp", size + 2)
        size += 2 + c.word(size)
    if not c.has(size):
        return c.short("l2tp", size)
    c.passed(name, size)
    return ppp_hdlc


def lisp(c: Cursor) -> Step:
    """RFC 9300 5.3: the instance id is there where the I bit says so."""
    if not c.has(8):
        return c.short("lisp", 8)
    c.passed(f"lisp:{c.number(4, 3)}" if c.byte(0) & 0x08 else "lisp", 8)
    return by_version


def capwap(c: Cursor) -> Step:
    """RFC 5415 4.3: a header in words of four bytes; then an 802.3 frame, or the 802.11 frame of RFC 5416.

    Access points send the frame control field of 802.11 with its bytes swapped, and Wireshark expects it so.
    """
    if not c.has(8):
        return c.short("capwap", 8)
    if c.byte(0) & 0x0F:
        return c.skip(SkipReason.ENCRYPTED, "capwap dtls")
    size, flags = (c.byte(1) >> 3) * 4, c.word(2)
    native, fragment, last, keepalive = flags & 0x100, flags & 0x80, flags & 0x40, flags & 0x08
    if size < 8 or not c.has(size):
        return c.skip(SkipReason.MALFORMED, "capwap") if size < 8 else c.short("capwap", size)
    if keepalive:
        return c.skip(SkipReason.NOT_IP, "capwap keep-alive")
    if native and flags >> 9 & 0x1F != 1:
        return c.skip(SkipReason.UNKNOWN_LAYER, "capwap binding")
    identification, offset = c.word(4), c.word(6) & 0xFFF8
    c.passed("capwap", size)
    if fragment:
        return _capwap_fragment(c, CAPWAP_802_11 if native else CAPWAP_802_3, identification, offset, not last)
    return wlan_swapped if native else ethernet


CAPWAP_802_3, CAPWAP_802_11 = -1, -2
"""What a fragmented CAPWAP payload is, in place of an IP protocol number; `tables` lead them on when it is whole."""


def _capwap_fragment(c: Cursor, kind: int, identification: int, offset: int, more: bool) -> Step:
    """RFC 5415 4.3: fragments of one frame share an identification; offsets are in words of eight bytes."""
    outer = c.outer
    if not isinstance(outer, Datagram):
        return c.skip(SkipReason.LINK_FRAGMENT, "capwap")
    return Fragment(
        (c.via, outer.source, outer.source_port, outer.destination, outer.destination_port, identification),
        offset,
        more,
        c.take(0, c.stop - c.at),
        c.end - c.at,
        kind,
        outer.source,
        outer.destination,
        outer.ip_version,
        c.via,
        c.frame.time_ns,
        c.frame.number,
        c.frame.interface,
    )


def ayiya(c: Cursor) -> Step:
    """draft-massar-v6ops-ayiya-02 3: identity of two to the power of n bytes, signature, then by IP protocol."""
    if not c.has(8):
        return c.short("ayiya", 8)
    size, following = 8 + (1 << (c.byte(0) >> 4)) + (c.byte(1) >> 4) * 4, c.byte(3)
    if c.byte(2) & 0x0F != 1:
        return c.skip(SkipReason.NOT_IP, "ayiya")
    if not c.has(size):
        return c.short("ayiya", size)
    c.passed("ayiya", size)
    return Space.IP, following


def amt(c: Cursor) -> Step:
    """RFC 7450 5.1.6: type 6 carries a multicast packet."""
    if not c.has(2):
        return c.short("amt", 2)
    if c.byte(0) != 0x06:
        return c.skip(SkipReason.NOT_IP, "amt")
    c.passed("amt", 2)
    return by_version


TZSP: Final[dict[int, Layer]] = {0x01: ethernet, 0x12: wlan}


def tzsp(c: Cursor) -> Step:
    """TaZmen Sniffer Protocol: type, encapsulation, then tags: 0 is padding, 1 the last, others have a length."""
    if not c.has(4):
        return c.short("tzsp", 4)
    kind, following = c.byte(1), TZSP.get(c.word(2))
    if kind in (3, 4, 5) or following is None:  # configuration, keep-alive, port opener
        return c.skip(SkipReason.NOT_IP, "tzsp")
    c.passed("tzsp", 4)
    while c.has(1) and c.byte(0) != 1:
        size = 1 if c.byte(0) == 0 else 2 + c.byte(1) if c.has(2) else 2
        if not c.has(size):
            return c.short("tzsp", size)
        c.at += size
    c.at += 1
    return following


def jmirror(c: Cursor) -> Step:
    """Juniper packet mirroring: two identifiers of four bytes, then IP without options, or HDLC framing."""
    if not c.has(9):
        return c.short("jmirror", 9)
    c.passed("jmirror", 8)
    first = c.byte(0)
    return ip4 if first == 0x45 else ip6 if first >> 4 == 6 else ppp_hdlc


def hp_erm(c: Cursor) -> Step:
    """HP's (ArubaOS-Switch) remote mirroring: twelve bytes that no document tells of, then an Ethernet frame."""
    if not c.has(12):
        return c.short("hp-erm", 12)
    c.passed("hp-erm", 12)
    return ethernet


def batman_gateway(c: Cursor) -> Step:
    """B.A.T.M.A.N. layer 3: type 1 is a tunnelled packet."""
    if not c.has(1):
        return c.short("batman", 1)
    if c.byte(0) != 1:
        return c.skip(SkipReason.NOT_IP, "batman")
    c.passed("batman", 1)
    return ip4


def mobile_ip(c: Cursor) -> Step:
    """RFC 3519 3.3: message type 4 carries a packet of the protocol named in its second byte."""
    if not c.has(4):
        return c.short("mip", 4)
    following = {4: ip4, 41: ip6}.get(c.byte(1)) if c.byte(0) == 4 else None
    if following is None:
        return c.skip(SkipReason.NOT_IP, "mip")
    c.passed("mip", 4)
    return following


def lwapp(c: Cursor) -> Step:
    """RFC 5412 3: flags, fragment id, length, signal; without the control bit an 802.11 frame follows."""
    if not c.has(6):
        return c.short("lwapp", 6)
    if c.byte(0) & 0x04:
        return c.skip(SkipReason.NOT_IP, "lwapp control")
    c.passed("lwapp", 6)
    return wlan


def lwapp_bridged(c: Cursor) -> Step:
    """LWAPP with the access point's address before it."""
    if not c.has(6):
        return c.short("lwapp", 6)
    c.at += 6
    return lwapp
