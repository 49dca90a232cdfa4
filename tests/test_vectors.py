"""One packet written out byte by byte from its specification for every header that is parsed by hand.

In each there is the UDP datagram of `UDP` (RFC 768): ports 4660 and 22136, length 12, payload "abcd", and no checksum
or, over IPv6, the right one. What is checked is that it comes out, and the way it took.
"""

from typing import NamedTuple
from zlib import crc32

import pytest

from pcapeda.dissect.extractor import Extractor
from pcapeda.model import Datagram, Fragment, Frame, Skip, SkipReason
from pcapeda.report import Report
from tests.frames import decoded

# RFC 768: source port, destination port, length, checksum 0 (none), data
UDP = "1234 5678 000c 0000 61626364"
# RFC 791 3.1: version 4 and header of 5 words, total length 32, TTL 64, protocol 17, 192.0.2.1 to 198.51.100.2
IP4 = "45 00 0020 0000 0000 40 11 0000 c0000201 c6336402" + UDP
# RFC 8200 3: version 6, payload length 12, next header 17, hop limit 64, 2001:db8::1 to 2001:db8::2; checksum by 8.1:
# 2001+0db8+0001 + 2001+0db8+0002 + 000c + 0011 + 1234+5678+000c+6162+6364 = 1 8910; folded 8911; complement 76ee
UDP6 = "1234 5678 000c 76ee 61626364"
ENDS6 = "20010db8000000000000000000000001 20010db8000000000000000000000002"
IP6 = "60000000 000c 11 40" + ENDS6 + UDP6
# IEEE 802.3: destination, source, EtherType
MACS = "000c29000002 00163e000001"
ETH = MACS + "0800" + IP4
# RFC 1042: DSAP AA, SSAP AA, UI; organisation 0, EtherType
SNAP = "aa aa 03 000000 0800" + IP4
# IEEE 802.11-2020 9.3.2.1: data, to DS, duration, three addresses, sequence control
DOT11 = "0801 0000 000c29000002 00163e000001 000c29000002 0000"


class Vector(NamedTuple):
    """A frame, its link type, and the way to the datagram in it."""

    name: str
    linktype: int
    frame: str
    via: str
    decapsulate: bool = False


def raw(text: str) -> bytes:
    return bytes.fromhex(text.replace(" ", ""))


def over(protocol: int, payload: str) -> str:
    """An Ethernet frame with an IPv4 packet (RFC 791 3.1) of another protocol."""
    return (
        MACS + f"0800 45 00 {20 + len(raw(payload)):04x} 0000 0000 40 {protocol:02x} 0000 c0000201 c6336402" + payload
    )


def tunnel(name: str, port: int, payload: str, via: str) -> Vector:
    """A tunnel over UDP (RFC 768) from port 50000, no checksum."""
    frame = over(17, f"c350 {port:04x} {8 + len(raw(payload)):04x} 0000" + payload)
    return Vector(name, 1, frame, f"eth ip4 udp:{port} {via}", decapsulate=True)


ETHERNET = [
    Vector("Ethernet II, IPv4", 1, ETH, "eth ip4"),
    Vector("IPv6", 1, MACS + "86dd" + IP6, "eth ip6"),
    # RFC 791 3.1: header of 6 words, options NOP NOP NOP EOL
    Vector(
        "IPv4 options", 1, ETH.replace("45 00 0020", "46 00 0024").replace("c6336402", "c6336402 01010100"), "eth ip4"
    ),
    # RFC 8200 4.3 and 4.6: hop-by-hop and destination options, each with PadN of 4 bytes
    Vector(
        "IPv6 options",
        1,
        MACS + "86dd 60000000 001c 00 40" + ENDS6 + "3c 00 01 04 00000000  11 00 01 04 00000000" + UDP6,
        "eth ip6",
    ),
    # RFC 6946: a fragment header with offset 0 and no more to come
    Vector(
        "IPv6 atomic fragment", 1, MACS + "86dd 60000000 0014 2c 40" + ENDS6 + "11 00 0000 00000007" + UDP6, "eth ip6"
    ),
    # RFC 8754 2: type 4, no segments left, last entry 0, one segment
    Vector(
        "IPv6 segment routing",
        1,
        MACS + "86dd 60000000 0024 2b 40" + ENDS6 + "11 02 04 00 00 00 0000 20010db8000000000000000000000002" + UDP6,
        "eth ip6",
    ),
    # RFC 5533 5.1: payload extension header, P bit set
    Vector("shim6", 1, MACS + "86dd 60000000 0014 8c 40" + ENDS6 + "11 00 80 00 00000001" + UDP6, "eth ip6 shim6"),
    # RFC 4302 2: next header 17, length 6 words - 2, SPI, sequence number, 12 bytes of integrity check
    Vector("AH", 1, over(51, "11 04 0000 00000001 00000001 000000000000000000000000" + UDP), "eth ip4 ah"),
    # IEEE 802.1Q 9.6: TCI with VLAN id 10; 802.1ad 88a8 outside
    Vector("VLAN", 1, MACS + "8100 000a 0800" + IP4, "eth vlan:10 ip4"),
    Vector("QinQ", 1, MACS + "88a8 0064 8100 e00a 0800" + IP4, "eth vlan:100 vlan:10 ip4"),
    # IEEE 802.1Q 9.7: I-TAG with service id 0x123, the customer's addresses and EtherType
    Vector("802.1ah", 1, MACS + "88e7 00000123" + ETH, "eth pbb:291 eth ip4"),
    # IEEE 802.3 3.2.6: length 40
    Vector("LLC SNAP", 1, MACS + "0028" + SNAP, "eth llc snap ip4"),
    # IEEE 802.2: DSAP 06 is IP
    Vector("LLC IP", 1, MACS + "0023 06 06 03" + IP4, "eth llc ip4"),
    # ISO 9577 in LLC FE: 0xcc is IPv4
    Vector("LLC OSI", 1, MACS + "0024 fe fe 03 cc" + IP4, "eth llc ip4"),
    # RFC 2684 5.2: organisation 00-80-c2, protocol 7, two bytes of padding, the frame
    Vector("LLC bridged", 1, MACS + "0038 aa aa 03 0080c2 0007 0000" + ETH, "eth llc snap eth ip4"),
    # ISL: 01-00-0c-00-00, type and user, source, length, SNAP, high source, VLAN 5 << 1, index, reserved
    Vector("ISL", 1, "01000c0000 00 020000000001 003e aaaa03 00000c 000a 0000 0000" + ETH, "isl:5 eth ip4"),
    # RFC 3032 2.1: labels 16 and 17 (bottom), TTL 64
    Vector("MPLS", 1, MACS + "8847 00010040 00011140" + IP4, "eth mpls:16 mpls:17 ip4"),
    # RFC 4385 5: first nibble 1, channel type 0x0021
    Vector("MPLS channel", 1, MACS + "8847 00010140 10000021" + IP4, "eth mpls:16 pwach ip4"),
    # RFC 4448 4: Ethernet pseudowires without and with control word
    Vector("MPLS pseudowire", 1, MACS + "8847 00010140" + ETH, "eth mpls:16 eth ip4"),
    Vector("MPLS control word", 1, MACS + "8847 00010140 00000000" + ETH, "eth mpls:16 eth ip4"),
    # RFC 2516 4: version and type 1, code 0, session 1, length 34; RFC 1661 2: protocol 0021
    Vector("PPPoE", 1, MACS + "8864 11 00 0001 0022 0021" + IP4, "eth pppoe ppp ip4"),
    # IEEE 802.1AE 9.3: TCI without E and C, short length 0, packet number; 16 bytes of check value
    Vector("MACsec", 1, MACS + "88e5 00 00 00000001 0800" + IP4 + "00" * 16, "eth macsec ip4"),
    # RFC 8300 2.2: TTL and length of 2 words, MD type 2, next protocol 1 (IPv4), path 100, index 255
    Vector("NSH", 1, MACS + "894f 0fc2 02 01 000064ff" + IP4, "eth nsh:100 ip4"),
    # IEC 62439-3: path and size, sequence number, EtherType
    Vector("HSR", 1, MACS + "892f 0026 0001 0800" + IP4, "eth hsr ip4"),
    # Cisco FabricPath: tag, the frame, its FCS
    Vector("FabricPath", 1, MACS + "8903 0041" + ETH + "00000000", "eth fabricpath eth ip4"),
    # RFC 6325 3.2: version and hops, egress and ingress nicknames, the inner frame
    Vector("TRILL", 1, MACS + "22f3 0001 0001 0002" + ETH, "eth trill eth ip4"),
    Vector("802.1BR", 1, MACS + "893f 0001 0002 0003 0800" + IP4, "eth etag ip4"),
    Vector("802.1CB", 1, MACS + "f1c1 0000 0001 0800" + IP4, "eth rtag ip4"),
    Vector("VN-Tag", 1, MACS + "8926 0001 0002 0800" + IP4, "eth vntag ip4"),
    Vector("Cisco MetaData", 1, MACS + "8909 01 01 0001 0005 0800" + IP4, "eth cmd ip4"),
    # linux/batadv_packet.h: unicast, version 15, TTL, translation version, destination
    Vector("B.A.T.M.A.N. advanced", 1, MACS + "4305 40 0f 32 01 020000000009" + ETH, "eth batadv eth ip4"),
    Vector("RTmac", 1, MACS + "9021 0800 01 00" + IP4, "eth rtmac ip4"),
    # version, type 4 (data), links, next, checksum, flags, length 32, and 14 bytes: 24 without links
    Vector("Roofnet", 1, MACS + "0641 02 04 00 00 0000 0000 0020" + "00" * 14 + IP4, "eth roofnet ip4"),
    # AX.25 2.2: two addresses of seven bytes, the last bit of the last one set; UI; protocol CC (IP)
    Vector("AX.25 over Ethernet", 1, MACS + "08ff 3500 82828282828260 84848484848461 03 cc" + IP4, "eth bpq ax25 ip4"),
    # length 4 (of itself and three more), EtherType
    Vector("Gigamon", 1, MACS + "22e5 04 01 01 00 0800" + IP4, "eth gmhdr ip4"),
    Vector("802.11 in Ethernet", 1, MACS + "2452" + DOT11 + SNAP, "eth 802.11 llc snap ip4"),
    # IBM SNA over Ethernet: length 40, padding, LLC
    Vector("SNA", 1, MACS + "80d5 0028 00" + SNAP, "eth sna llc snap ip4"),
    Vector("PPP in Ethernet", 1, MACS + "880b ff03 0021" + IP4, "eth ppp ip4"),
    # ITU-T G.9954: subtype 3, length 4 (two bytes of data and two), version, data, EtherType
    Vector("HomePNA", 1, MACS + "886c 03 04 00 0000 0800" + IP4, "eth hpna ip4"),
    # Linux, net/dsa/tag_rtl4_a.c: 0xA, …; and tag_rtl8_4.c: protocol 4, …, then the EtherType
    Vector("Realtek 4", 1, MACS + "8899 a001 0800" + IP4, "eth realtek ip4"),
    Vector("Realtek 8", 1, MACS + "8899 04 00 0000 0001 0800" + IP4, "eth realtek ip4"),
    Vector("Broadcom", 1, MACS + "8874 00000001 0800" + IP4, "eth brcm ip4"),
    # version and next (2: data), and a header of control before
    Vector("Extreme mesh", 1, MACS + "88a9 00 02" + ETH, "eth mesh eth ip4"),
    # RFC 5412 3, straight over Ethernet
    Vector("LWAPP over Ethernet", 1, MACS + "88bb 00 00 0040 0000" + DOT11 + SNAP, "eth lwapp 802.11 llc snap ip4"),
    Vector("LWAPP, old", 1, MACS + "bbbb 00 00 0040 0000" + DOT11 + SNAP, "eth lwapp 802.11 llc snap ip4"),
    Vector("VMware Lab Manager", 1, MACS + "88de" + "00" * 22 + "0800" + IP4, "eth vmlab ip4"),
    Vector("ACI tag", 1, MACS + "8988 000000000000 0800" + IP4, "eth ttag ip4"),
    Vector("ACI IP", 1, MACS + "fff2" + IP4, "eth ip4"),
    Vector("VLAN 0x9200", 1, MACS + "9200 000a 0800" + IP4, "eth vlan:10 ip4"),
    # Technica: device, counter, version, message type 3, data type 0080, reserved, flags;
    # channel, time, length, flags
    Vector(
        "TECMP",
        1,
        MACS + "99fe 0001 0001 03 03 0080 0000 000f  00000001 0000000000000000 002e 0000" + ETH,
        "eth tecmp eth ip4",
    ),
    # Arista EOS: subtype 1, version 0x0110 (UTC, 64 bits) or 0x0120 (48 bits), time, EtherType
    Vector("Arista 64", 1, MACS + "d28b 0001 0110 0000000000000000 0800" + IP4, "eth arista ip4"),
    Vector("Arista 48", 1, MACS + "d28b 0001 0120 000000000000 0800" + IP4, "eth arista ip4"),
    # Linux, net/dsa/tag_dsa.c: 0000, tag of 4 bytes, EtherType
    Vector("EDSA", 1, MACS + "dada 0000 c0080000 0800" + IP4, "eth edsa ip4"),
    Vector("Extreme header", 1, MACS + "e555" + "00" * 38 + ETH, "eth exeh eth ip4"),
    # Apple Wireless Direct Link: organisation 00-17-f2, magic, sequence number, two bytes, EtherType
    Vector("AWDL", 1, MACS + "0030 aa aa 03 0017f2 0800 0304 0001 0000 0800" + IP4, "eth llc snap awdl ip4"),
    # RFC 4944 5.1: dispatch 01000001
    Vector("6LoWPAN uncompressed", 1, MACS + "a0ed 41" + IP6, "eth 6lowpan ip6"),
]

IN_IP = [
    # RFC 2003, RFC 4213
    Vector("IP in IP", 1, over(4, IP4), "eth ip4 ip4"),
    Vector("6in4", 1, over(41, IP6), "eth ip4 ip6"),
    # RFC 3378 3: version 3
    Vector("EtherIP", 1, over(97, "3000" + ETH), "eth ip4 etherip eth ip4"),
    # RFC 8986 4.9: next header 143
    Vector("Ethernet in IP", 1, over(143, ETH), "eth ip4 eth ip4"),
    # RFC 4023 3
    Vector("MPLS in IP", 1, over(137, "00010140" + IP4), "eth ip4 mpls:16 ip4"),
    # RFC 7761 4.9.3: version 2, type 1, checksum, flags
    Vector("PIM Register", 1, over(103, "21 00 deff 00000000" + IP4), "eth ip4 pim ip4"),
    # RFC 2784 2.1, RFC 2890 2: key present, protocol, key
    Vector("GRE", 1, over(47, "0000 0800" + IP4), "eth ip4 gre ip4"),
    Vector("GRE key", 1, over(47, "2000 0800 00000007" + IP4), "eth ip4 gre ip4"),
    # RFC 1701: routing present, checksum and offset; a source route entry, an empty one
    Vector("GRE routing", 1, over(47, "4000 0800 0000 0000  0800 00 04 c0000201  0000 00 00" + IP4), "eth ip4 gre ip4"),
    # RFC 2637 4.1: key and sequence, version 1, payload length 36, call 1, sequence 1; PPP in HDLC framing
    Vector("PPTP", 1, over(47, "3001 880b 0024 0001 00000001 ff03 0021" + IP4), "eth ip4 gre ppp ip4"),
    # key, version 1, 0x6400, length 46, tunnel 7 in little endian
    Vector("EoIP", 1, over(47, "2001 6400 002e 0700" + ETH), "eth ip4 eoip:7 eth ip4"),
    # draft-foschiano-erspan-03 4.1 to 4.3: types I, II and III, session 100
    Vector("ERSPAN I", 1, over(47, "0000 88be" + ETH), "eth ip4 gre erspan eth ip4"),
    Vector("ERSPAN II", 1, over(47, "1000 88be 00000001 100a 0064 00000007" + ETH), "eth ip4 gre erspan:100 eth ip4"),
    Vector(
        "ERSPAN III",
        1,
        over(47, "1000 22eb 00000001 200a 0064 00000007 0000 0000" + ETH),
        "eth ip4 gre erspan:100 eth ip4",
    ),
    # EtherType first, version 1, one option of four bytes
    Vector("MetaData in GRE", 1, over(47, "0000 8909 0800 01 01 0001 0000" + IP4), "eth ip4 gre cmd ip4"),
    # RFC 2890 2: checksum, key, version 1 and Ethernet: not what RouterOS sends
    Vector("GRE key and checksum", 1, over(47, "a001 6400 00000000 002e0700" + ETH), "eth ip4 gre eth ip4"),
    Vector("AX.25 in IP", 1, over(93, "82828282828260 84848484848461 03 cc" + IP4), "eth ip4 ax25 ip4"),
    Vector("WCCP", 1, over(47, "0000 883e 00010203" + IP4), "eth ip4 gre wccp ip4"),
    Vector("GRE with 802.11", 1, over(47, "0000 8200" + DOT11 + SNAP), "eth ip4 gre 802.11 llc snap ip4"),
    # GRE protocol type 00fe, ISO 9577
    Vector("GRE with OSI", 1, over(47, "0000 00fe cc" + IP4), "eth ip4 gre ip4"),
]

TUNNELS = [
    # RFC 7348 5: flag I, VNI 42
    tunnel("VXLAN", 4789, "08000000 00002a00" + ETH, "vxlan:42 eth ip4"),
    tunnel("VXLAN of Linux", 8472, "08000000 00002a00" + ETH, "vxlan:42 eth ip4"),
    # draft-ietf-nvo3-vxlan-gpe-12 3: flags I and P, next protocol 2 (IPv6)
    tunnel("VXLAN-GPE", 4790, "0c000002 00002a00" + IP6, "vxlan:42 ip6"),
    # RFC 8926 3.4: version 0, options of 2 words, protocol 0800, VNI 42; option class 0108, type 1, length 1
    tunnel("GENEVE", 6081, "02 00 0800 00002a00 0108 01 01 00000000" + IP4, "geneve:42 ip4"),
    # 3GPP TS 29.281 5.1: version 1, PT, E; G-PDU, length 40, TEID 42; 5.5.2.1: PDU session container
    tunnel("GTP-U", 2152, "34 ff 0028 0000002a 0000 00 85 01 0010 00" + IP4, "gtp:42 ip4"),
    # 3GPP TS 29.060: version 0, PT; length 32, sequence, flow, SNDCP, spare, tunnel 42
    tunnel("GTP version 0", 3386, "1e ff 0020 0000 0000 00 ffffff 000000000000002a" + IP4, "gtp:42 ip4"),
    # RFC 4380 5.1.1: authentication (no identifier, no value), origin indication
    tunnel("Teredo", 3544, "0001 00 00 0000000000000000 00  0000 1234 01020304" + IP6, "teredo ip6"),
    # RFC 2661 3.1: length and offset bits, version 2, length 48, tunnel 3, session 4, offset 2
    tunnel("L2TP", 1701, "4202 0030 0003 0004 0002 ffff ff03 0021" + IP4, "l2tp:3/4 ppp ip4"),
    # RFC 9300 5.3: I bit, instance 7, locator bits
    tunnel("LISP", 4341, "08000000 00000701" + IP4, "lisp:7 ip4"),
    # RFC 5415 4.3: header of 2 words, T clear: an 802.3 frame
    tunnel("CAPWAP", 5247, "00 10 0200 00000000" + ETH, "capwap eth ip4"),
    # RFC 5416 2.2 with T set, binding 1: the frame control field swapped, as access points send it
    tunnel("CAPWAP 802.11", 5247, "00 10 0300 00000000 0108" + DOT11[4:] + SNAP, "capwap 802.11 llc snap ip4"),
    # draft-massar-v6ops-ayiya-02 3: identity of 16 bytes, signature of 5 words, forward, IPv6
    tunnel("AYIYA", 5072, "44 52 11 29 5f000000" + "00" * 36 + IP6, "ayiya ip6"),
    # RFC 7510 3, RFC 8086 3
    tunnel("MPLS in UDP", 6635, "00010140" + IP4, "mpls:16 ip4"),
    tunnel("GRE in UDP", 4754, "0000 0800" + IP4, "gre ip4"),
    # RFC 7450 5.1.6: version 0, type 6
    tunnel("AMT", 2268, "06 00" + IP4, "amt ip4"),
    # TZSP: version 1, received, Ethernet; tag 10 of 1 byte, end tag
    tunnel("TZSP", 37008, "01 00 0001 0a 01 05 01" + ETH, "tzsp eth ip4"),
    tunnel("jmirror", 30030, "00000001 00000001" + IP4, "jmirror ip4"),
    tunnel("B.A.T.M.A.N. layer 3", 4306, "01" + IP4, "batman ip4"),
    # RFC 3519 3.3: type 4, next header 4
    tunnel("Mobile IP", 434, "04 04 0000" + IP4, "mip ip4"),
    # RFC 5412 3: no control bit, fragment 0, length 64, signal; with the access point's address before it at 12223
    tunnel("LWAPP", 12222, "00 00 0040 0000" + DOT11 + SNAP, "lwapp 802.11 llc snap ip4"),
    tunnel("LWAPP bridged", 12223, "020000000009 00 00 0040 0000" + DOT11 + SNAP, "lwapp 802.11 llc snap ip4"),
]

# https://www.tcpdump.org/linktypes.html unless a comment names another specification
LINKS = [
    Vector("802.11", 105, DOT11 + SNAP, "802.11 llc snap ip4"),
    # 9.2.4.5 and 9.3.2.2: QoS with the A-MSDU bit; subframe addresses and length 40
    Vector("A-MSDU", 105, "88" + DOT11[2:] + "8000" + MACS + "0028" + SNAP, "802.11 a-msdu llc snap ip4"),
    # 9.2.4.7.3: four addresses, QoS with the mesh bit; mesh flags, TTL, sequence number
    Vector("mesh", 105, "8803" + DOT11[4:] + "00163e000001 0001 00 1f 00000001" + SNAP, "802.11 mesh llc snap ip4"),
    # radiotap.org: version, length 9, flags field with FCS (0x10) and padding (0x20); QoS header padded to 28
    Vector(
        "radiotap",
        127,
        "00 00 0900 02000000 30 88" + DOT11[2:] + "0000 0000" + SNAP + "00000000",
        "radiotap 802.11 llc snap ip4",
    ),
    # message code 0x44, length 16
    Vector("Prism", 119, "44000000 10000000 0000000000000000" + DOT11 + SNAP, "prism 802.11 llc snap ip4"),
    # magic and version, length 16
    Vector("AVS", 163, "80211001 00000010 0000000000000000" + DOT11 + SNAP, "avs 802.11 llc snap ip4"),
    Vector("NULL little endian", 0, "02000000" + IP4, "null ip4"),
    Vector("NULL big endian", 0, "0000001e" + IP6, "null ip6"),
    Vector("LOOP", 108, "00000002" + IP4, "null ip4"),
    Vector("RAW 4", 101, IP4, "raw ip4"),
    Vector("RAW 6", 101, IP6, "raw ip6"),
    Vector("IPV4", 228, IP4, "raw ip4"),
    Vector("IPV6", 229, IP6, "raw ip6"),
    # family, SPI, flags
    Vector("ENC", 109, "02000000 00000005 00000000" + IP4, "enc ip4"),
    # length 61, padded to 64; family
    Vector("PFLOG", 117, "3d 02" + "00" * 62 + IP4, "pflog ip4"),
    # version, family, hook, length of the packet
    Vector("IPNET", 226, "01 02 0000 00000020" + "00" * 16 + IP4, "ipnet ip4"),
    # incoming, ARPHRD_ETHER, address of 6 bytes, protocol
    Vector("SLL", 113, "0000 0001 0006 0016 3e00 0001 0000 0800" + IP4, "sll ip4"),
    Vector("SLL 802.2", 113, "0000 0001 0006 0016 3e00 0001 0000 0004" + SNAP, "sll llc snap ip4"),
    Vector("SLL2", 276, "0800 0000 00000002 0001 00 06 00163e0000010000" + IP4, "sll2 ip4"),
    # AF_INET, version 0, resource; attribute 9 of 36 bytes
    Vector("NFLOG", 239, "02 00 0000 2400 0900" + IP4, "nflog ip4"),
    Vector("PPI", 192, "00 00 0800 01000000" + ETH, "ppi eth ip4"),
    Vector("PKTAP", 258, "6c000000 01000000 01000000" + "00" * 96 + ETH, "pktap eth ip4"),
    # RFC 1662 3.1: address ff, control 03
    Vector("PPP", 9, "ff03 0021" + IP4, "ppp ip4"),
    Vector("PPP HDLC", 50, "ff03 0057" + IP6, "ppp ip6"),
    Vector("PPP with direction", 204, "00 ff03 0021" + IP4, "ppp ip4"),
    Vector("Cisco HDLC with direction", 205, "00 0f 00 0800" + IP4, "chdlc ip4"),
    Vector("Frame Relay with direction", 206, "00 1841 03 cc" + IP4, "fr ip4"),
    Vector("MPLS as link", 219, "00010140" + IP4, "mpls:16 ip4"),
    # as over UDP
    Vector("TZSP as link", 128, "01 00 0001 0a 01 05 01" + ETH, "tzsp eth ip4"),
    Vector("PPPoE as link", 51, "11 00 0001 0022 0021" + IP4, "pppoe ppp ip4"),
    # RFC 1990 3: first and last fragment in one, sequence number 1
    Vector("multilink PPP", 9, "ff03 003d c0000001 0021" + IP4, "ppp mlppp ppp ip4"),
    # RFC 3153 1.1: protocol field present, length 33
    Vector("PPP multiplexing", 9, "ff03 0059 a1 21" + IP4, "ppp pppmux ppp ip4"),
    # RFC 3518 4.2: no flags, MAC type 1
    Vector("PPP bridging", 9, "ff03 0031 00 01" + ETH, "ppp bcp eth ip4"),
    Vector("Cisco HDLC", 104, "0f 00 0800" + IP4, "chdlc ip4"),
    # RFC 2427 4.1: Q.922 address, UI, NLPID cc; a pad byte and NLPID 80, SNAP
    Vector("Frame Relay", 107, "1841 03 cc" + IP4, "fr ip4"),
    Vector("Frame Relay SNAP", 107, "1841 03 00 80 000000 0800" + IP4, "fr snap ip4"),
    # RFC 2684 5.1
    Vector("RFC 1483", 100, SNAP, "llc snap ip4"),
    # traffic type LLC, VPI 0, VCI 100
    Vector("SunATM", 123, "02 00 0064" + SNAP, "sunatm llc snap ip4"),
    Vector("ATM CLIP", 106, IP4, "raw ip4"),
    # IEEE 802.5: access and frame control, addresses (routed: first bit of the source), route of 6 bytes
    Vector("token ring", 6, "10 40 000c29000002 80163e000001 0690 0011 0022" + SNAP, "tr llc snap ip4"),
    Vector("FDDI", 10, "50 000c29000002 00163e000001" + SNAP, "fddi llc snap ip4"),
    # RFC 1201: source, destination, protocol 212, split flag 0, sequence number
    Vector("ARCNET", 7, "01 02 d4 00 0001" + IP4, "arcnet ip4"),
    Vector("ARCNET Linux", 129, "01 02 0000 d4 00 0001" + IP4, "arcnet ip4"),
    # RFC 2625 3: two network addresses of 8 bytes
    Vector("IP over Fibre Channel", 122, "1000 000c29000002 1000 00163e000001" + SNAP, "ipfc llc snap ip4"),
    Vector("IEEE 1394", 138, "00" * 16 + "0800" + IP4, "ap1394 ip4"),
    Vector("Symantec", 99, "00" * 6 + "0800" + "00" * 36 + IP4, "symantec ip4"),
    # DOCSIS MULPIv3.1 6.2.1: packet PDU, no parameter, length 46, header check sequence
    Vector("DOCSIS", 143, "00 00 002e 0000" + ETH, "docsis eth ip4"),
    # IEEE 802.3 65.1.3.2: start of LLID delimiter, LLID, CRC
    Vector("EPON", 259, "5555 d5 5555 0001 00" + ETH, "epon eth ip4"),
    # IEEE 802.3br 99.3: preamble, SMD-E, the frame, its CRC-32 in little endian
    Vector("mPacket", 274, "55555555555555 d5" + ETH + crc32(raw(ETH)).to_bytes(4, "little").hex(), "mpacket eth ip4"),
    # no errors, version 1, port 0, length 50; FCS
    Vector("netANALYZER", 240, "00 04 3200" + ETH + "00000000", "netanalyzer eth ip4"),
    # RFC 4391 6: EtherType and two reserved bytes behind the routing header
    Vector("IP over InfiniBand", 242, "00" * 40 + "0800 0000" + IP4, "ipoib ip4"),
    # AX.25 2.2: as above; KISS has a byte of port and command before it
    Vector("AX.25", 3, "82828282828260 84848484848461 03 cc" + IP4, "ax25 ip4"),
    Vector("AX.25 KISS", 202, "00 82828282828260 84848484848461 03 cc" + IP4, "ax25 ip4"),
    Vector("SLIP of BSD/OS", 102, "00 45" + "00" * 14 + IP4, "slip ip4"),
    Vector("SLIP", 8, "00 45" + "00" * 14 + IP4, "slip ip4"),
    Vector("PKTAP as USER2", 149, "6c000000 01000000 01000000" + "00" * 96 + ETH, "pktap eth ip4"),
    Vector("PPP of pppd", 166, "01 03 0021" + IP4, "ppp ip4"),
    # as above, then the preamble and the start delimiter
    Vector("netANALYZER transparent", 241, "00 04 3a00 55555555555555 d5" + ETH + "00000000", "netanalyzer eth ip4"),
    # wsutil/exported_pdu_tlvs.h: tag 12 (dissector), 4 bytes: "ip"; tag 0
    Vector("exported IP", 252, "000c 0004 69700000 0000 0000" + IP4, "exported ip4"),
    # tag 12: "udp"; 20 and 21: addresses
    Vector(
        "exported UDP",
        252,
        "000c 0004 75647000 0014 0004 c0000201 0015 0004 c6336402 0000 0000" + UDP,
        "exported",
    ),
    # tag between the addresses and the EtherType (281, 284: four bytes, 285: eight), or before all (282)
    Vector("Broadcom tag", 281, MACS + "00000001 0800" + IP4, "eth brcm ip4"),
    Vector("Broadcom tag in front", 282, "00000001" + ETH, "brcm eth ip4"),
    Vector("Marvell DSA", 284, MACS + "c0080000 0800" + IP4, "eth dsa ip4"),
    Vector("Marvell EDSA", 285, MACS + "dada 0000 c0080000 0800" + IP4, "eth edsa ip4"),
    # time stamp, type 2, flags, lengths, padding
    Vector("ERF", 197, "0000000000000000 02 04 0040 0000 002e 0000" + ETH, "erf eth ip4"),
    # magic, flags with extensions of 3 bytes
    Vector("Juniper Ethernet", 178, "4d4743 80 0003 010188" + ETH, "juniper eth ip4"),
    # magic, flags, then a card's cookie: 8 bytes of ATM2, 4 of ATM1, 8 of monitoring and services, none of multilink
    Vector("Juniper ATM2", 135, "4d4743 00 0000000000000000" + SNAP, "juniper llc snap ip4"),
    Vector("Juniper ATM2 bridged", 135, "4d4743 00 0000000000000000" + ETH, "juniper eth ip4"),
    Vector("Juniper ATM1", 137, "4d4743 00 00000000" + IP6, "juniper ip6"),
    Vector("Juniper monitoring", 164, "4d4743 00 0000000000000000" + IP4, "juniper ip4"),
    Vector("Juniper services", 136, "4d4743 00 0000000000000000" + IP4, "juniper ip4"),
    Vector("Juniper multilink PPP", 130, "4d4743 00 0021" + IP4, "juniper ppp ip4"),
    Vector("Juniper PPPoE over ATM", 168, "4d4743 00 0800" + IP4, "juniper ip4"),
    Vector("Juniper unknown number", 132, "4d4743 02 63000000" + IP4, "juniper ip4"),
    # ITU-T G.7041 6.1: length, check, type (client data, null extension, Ethernet), check; PPP, linear extension, FCS
    Vector("GFP Ethernet", 171, "0036 0000 0001 0000" + ETH, "gfp eth ip4"),
    Vector("GFP PPP", 170, "0030 0000 1102 0000 0000 0000 ff03 0021" + IP4 + "00000000", "gfp ppp ip4"),
    Vector("RFC 1483 of Fore", 100, "00" * 20 + SNAP, "llc snap ip4"),
    Vector("ATM CLIP with LLC", 106, SNAP, "llc snap ip4"),
    # types 5 and 9, a header of many channels before HDLC and, with one of ATM, before AAL5
    Vector("ERF MC HDLC", 197, "0000000000000000 05 04 0038 0000 0028 00000000 ff03 0021" + IP4, "erf ppp ip4"),
    Vector("ERF MC AAL5", 197, "0000000000000000 09 04 0040 0000 0030 00000000 00000000" + SNAP, "erf llc snap ip4"),
    Vector("Juniper without link", 178, "4d4743 02 02000000" + IP4, "juniper ip4"),
]


@pytest.mark.parametrize("vector", [*ETHERNET, *IN_IP, *TUNNELS, *LINKS], ids=lambda vector: vector.name)
def test_header(vector: Vector) -> None:
    """A header written out by hand from its specification leads to the datagram behind it."""
    found = extract(vector.frame, linktype=vector.linktype, decapsulate=vector.decapsulate)
    assert isinstance(found, Datagram), found
    assert " ".join(found.via) == vector.via
    assert (found.source_port, found.destination_port, found.length, found.payload) == (4660, 22136, 12, b"abcd")
    assert found.checksum_status == ("absent" if found.ip_version == 4 else "good")
    ends = ("192.0.2.1", "198.51.100.2") if found.ip_version == 4 else ("2001:db8::1", "2001:db8::2")
    assert (found.source, found.destination) == ends


@pytest.mark.parametrize("vector", TUNNELS, ids=lambda vector: vector.name)
def test_tunnels_are_datagrams(vector: Vector) -> None:
    """By default the tunnel's own datagram is the one: the outermost."""
    found = extract(vector.frame)
    assert isinstance(found, Datagram)
    assert (found.source_port, found.via) == (50000, ("eth", "ip4"))


def extract(text: str, *, linktype: int = 1, decapsulate: bool = False) -> Datagram | Fragment | Skip:
    data = raw(text)
    return Extractor(Report(), decapsulate=decapsulate).feed(Frame(1, linktype, data, len(data), None, 1))


def test_every_table_row_has_one() -> None:
    """No link type, and no port of a tunnel, is in the walker's tables without a vector here."""
    from pcapeda.dissect import tables
    from pcapeda.dissect import tunnel_ports as known

    links = {vector.linktype for vector in LINKS} | {1}
    alike = {11: 100, 12: 101, 14: 101, 16: 106, 18: 106, 19: 106, 112: 104}  # the same under another number
    alike |= {13: 109, 15: 102, 175: 197, 176: 197} | dict.fromkeys((131, 134), 132)
    alike |= dict.fromkeys((133, 167, 179, 180, 181, 183), 178)  # Juniper's, one function
    assert {linktype for linktype in tables.LINK if alike.get(linktype, linktype) not in links} == set()
    ports = {int(vector.via.split()[2].partition(":")[2]) for vector in TUNNELS}
    assert set(known.PORTS) - ports == {2123}  # another port of GTP


def test_checksum_over_ip4() -> None:
    """RFC 768: the pseudo header's sum and the datagram's come to 0xffff; here worked out by hand."""
    # c000+0201+c633+6402+0011+000c + 1234+5678+000c+6162+6364 = 3 19d1; folded 19d4; complement e62b
    head = MACS + "0800 45 00 0020 0000 0000 40 11 0000 c0000201 c6336402 1234 5678 000c"
    good, bad = extract(head + "e62b 61626364"), extract(head + "e62c 61626364")
    assert isinstance(good, Datagram)
    assert isinstance(bad, Datagram)
    assert (good.checksum_status, bad.checksum_status) == ("good", "bad")


def test_source_route() -> None:
    """RFC 791 3.1 and RFC 1122 4.1.3.5: with hops left the checksum covers the last address of the route."""
    # As above with 203.0.113.3 (cb00 7103) in place of c633 6402, which the header keeps:
    # c000+0201+cb00+7103+0011+000c + 1234+5678+000c+6162+6364 = 3 2b9f; folded 2ba2; complement d45d
    head = "47 00 0028 0000 0000 40 11 0000 c0000201 c6336402 83 07 04 cb007103 00"
    found = extract(MACS + "0800" + head + "1234 5678 000c d45d 61626364")
    assert isinstance(found, Datagram)
    assert (found.destination, found.checksum_status) == ("198.51.100.2", "good")


def test_routing_header() -> None:
    """RFC 8200 8.1 and RFC 6275 6.4: type 2 with its segment left, the checksum covers the home address."""
    # 2001+0db8+0001 + 2001+0db8+0009 + 000c + 0011 + 1234+5678+000c+6162+6364 = 1 8917; folded 8918; complement 76e7
    found = extract(
        MACS + "86dd 60000000 0024 2b 40" + ENDS6 + "11 02 02 01 00000000 20010db8000000000000000000000009"
        "1234 5678 000c 76e7 61626364"
    )
    assert isinstance(found, Datagram)
    assert (found.destination, found.checksum_status) == ("2001:db8::2", "good")


def test_home_address() -> None:
    """RFC 6275 6.3: the checksum covers the home address in place of the source."""
    # 2001+0db8+0009 + 2001+0db8+0002 + 000c + 0011 + 1234+5678+000c+6162+6364 = 1 8918; folded 8919; complement 76e6
    found = extract(
        MACS + "86dd 60000000 0024 3c 40" + ENDS6 + "11 02 01 02 0000 c9 10 20010db8000000000000000000000009"
        "1234 5678 000c 76e6 61626364"
    )
    assert isinstance(found, Datagram)
    assert (found.source, found.checksum_status) == ("2001:db8::1", "good")


def test_jumbogram() -> None:
    """RFC 2675 2 and 4: IPv6 and UDP lengths of 0; the jumbo payload option tells 8 + 65,544 bytes."""
    data = raw(MACS + "86dd 60000000 0000 00 40" + ENDS6 + "11 00 c2 04 00010010  1234 5678 0000 0000") + bytes(65_536)
    found = decoded(Frame(1, 1, data, len(data), None, 1))
    assert isinstance(found, Datagram)
    assert (found.length, len(found.payload), found.checksum_status) == (65_544, 65_536, "bad")


def test_fragment() -> None:
    """RFC 791 3.1: more fragments, offset 2 words of eight bytes."""
    found = extract(MACS + "0800 45 00 001c 0007 2002 40 11 0000 c0000201 c6336402 1234567800000000")
    assert isinstance(found, Fragment)
    assert (found.offset, found.more, found.length, found.protocol) == (16, True, 8, 17)


def test_fragment_6() -> None:
    """RFC 8200 4.5: next header 17, offset 1 word of eight bytes, no more, identification 7."""
    found = extract(MACS + "86dd 60000000 0010 2c 40" + ENDS6 + "11 00 0008 00000007 6162636465666768")
    assert isinstance(found, Fragment)
    assert (found.offset, found.more, found.data) == (8, False, b"abcdefgh")


def test_udp_lite() -> None:
    """RFC 3828: protocol 136 is not UDP and has a name of its own."""
    assert extract(over(136, UDP)) == Skip(SkipReason.UDP_LITE, "udp-lite", 34, 1)


def test_esp() -> None:
    """RFC 4303: what ESP carries cannot be read."""
    assert extract(over(50, "00000001 00000001" + UDP)) == Skip(SkipReason.ENCRYPTED, "esp", 34, 1)


def test_icmp_quote() -> None:
    """RFC 792: the datagram that an error message cites is not one of this capture."""
    assert extract(over(1, "03 03 0000 00000000" + IP4)) == Skip(SkipReason.NOT_UDP, "icmp", 34, 1)


def test_protected_802_11() -> None:
    """IEEE 802.11-2020 9.2.4.1.9: the body of a protected frame cannot be read."""
    assert extract("0841" + DOT11[4:] + SNAP, linktype=105) == Skip(SkipReason.ENCRYPTED, "802.11", 0, 1)
