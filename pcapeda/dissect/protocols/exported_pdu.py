"""What Wireshark's 'Export PDUs to File' writes: tags that name a dissector, and the bytes it is to read.

A layer as `cursor` describes it; the tags are those of Wireshark's `wsutil/exported_pdu_tlvs.h`.
"""

from typing import Final

from pcapeda.dissect.cursor import Cursor, Layer, Step
from pcapeda.dissect.protocols import ethernet, mpls, ppp, wlan
from pcapeda.model import SkipReason

END, NAME = 0, 12
SOURCES, DESTINATIONS = {20: 4, 22: 16}, {21: 4, 23: 16}
"""Tags of IPv4 and IPv6 addresses, and their sizes."""

DISSECTORS: Final[dict[bytes, Layer]] = {
    b"eth": ethernet.ethernet,
    b"eth_maybefcs": ethernet.ethernet,
    b"eth_withfcs": ethernet.ethernet_fcs,
    b"eth_withoutfcs": ethernet.ethernet,
    b"ip": ethernet.by_version,
    b"ipv4": ethernet.ip4,
    b"ipv6": ethernet.ip6,
    b"llc": ethernet.llc,
    b"mpls": mpls.mpls,
    b"ppp": ppp.ppp,
    b"ppp_hdlc": ppp.ppp_hdlc,
    b"raw_ip": ethernet.by_version,
    b"udp": ethernet.udp,
    b"wlan": wlan.wlan,
    b"wlan_withoutfcs": wlan.wlan,
}
"""Wireshark's names of what leads to UDP. Payloads of UDP, which it exports too, have lost their header."""


def exported(c: Cursor) -> Step:
    """LINKTYPE_WIRESHARK_UPPER_PDU: tags of type, length (a multiple of four) and value; the last has type 0."""
    name = source = destination = b""
    while True:
        if not c.has(4):
            return c.short("exported pdu", 4)
        tag, size = c.word(0), c.word(2)
        if not c.has(4 + size):
            return c.short("exported pdu", 4 + size)
        value = c.take(4, size)
        c.at += 4 + size
        if tag == END:
            break
        if tag == NAME:
            name = value.rstrip(b"\0")
        elif tag in SOURCES and size >= SOURCES[tag]:
            source = value[: SOURCES[tag]]
        elif tag in DESTINATIONS and size >= DESTINATIONS[tag]:
            destination = value[: DESTINATIONS[tag]]
    following = DISSECTORS.get(name)
    if following is ethernet.udp:
        if not source or len(source) != len(destination):
            return c.skip(SkipReason.NOT_IP, "exported pdu without addresses")
        c.source, c.destination, c.pseudo = source, destination, source + destination
    c.passed("exported", 0)
    return following or c.skip(SkipReason.NOT_IP, f"exported {name[:20].decode('ascii', 'replace')}")
