"""Packets of every kind, built by hand from their specifications: the material of the comparison with Wireshark.

`STACKS` maps a link type to named frames. Each frame holds one UDP datagram somewhere, or nearly one.
"""

from collections.abc import Iterator
from ipaddress import ip_address
from itertools import count
from struct import pack
from zlib import crc32

HOST, PEER = "192.0.2.1", "198.51.100.2"
HOST6, PEER6 = "2001:db8::1", "2001:db8::2"
MAC = bytes.fromhex("000c29000002 00163e000001")
"""Two addresses with registered prefixes: Wireshark's guesses about pseudowires depend on them."""

LOCAL = bytes.fromhex("020000000002 020000000001")


def hexed(text: str) -> bytes:
    return bytes.fromhex(text.replace(" ", ""))


def addresses(source: str, destination: str) -> bytes:
    return ip_address(source).packed + ip_address(destination).packed


def checksum(data: bytes) -> int:
    """RFC 1071, word by word: written apart from the code under test."""
    total = 0
    for at in range(0, len(data), 2):
        total += int.from_bytes(data[at : at + 2].ljust(2, b"\0"), "big")
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def udp(
    payload: bytes = b"hello world",
    *,
    source: str = HOST,
    destination: str = PEER,
    sport: int = 40000,
    dport: int = 40001,
    length: int | None = None,
    value: int | None = None,
) -> bytes:
    """A UDP datagram with the checksum for these addresses, or the one given."""
    length = 8 + len(payload) if length is None else length
    head = pack("!HHHH", sport, dport, length, 0)
    if value is None:
        pseudo = addresses(source, destination) + pack("!II", 8 + len(payload), 17)
        value = checksum(pseudo + head + payload) or 0xFFFF
    return head[:6] + pack("!H", value) + payload


def ip4(
    payload: bytes | None = None,
    protocol: int = 17,
    *,
    source: str = HOST,
    destination: str = PEER,
    options: bytes = b"",
    total: int | None = None,
    offset: int = 0,
    more: bool = False,
    number: int = 1,
    first: int | None = None,
) -> bytes:
    payload = udp(source=source, destination=destination) if payload is None else payload
    size = 20 + len(options)
    total = size + len(payload) if total is None else total
    head = pack(
        "!BBHHHBBH",
        0x40 | size // 4 if first is None else first,
        0,
        total & 0xFFFF,
        number,
        (0x2000 if more else 0) | offset // 8,
        64,
        protocol,
        0,
    )
    head += addresses(source, destination) + options
    return head[:10] + pack("!H", checksum(head)) + head[12:] + payload


def ip6(
    payload: bytes | None = None,
    protocol: int = 17,
    *,
    source: str = HOST6,
    destination: str = PEER6,
    length: int | None = None,
) -> bytes:
    payload = udp(source=source, destination=destination) if payload is None else payload
    length = len(payload) if length is None else length
    return pack("!IHBB", 6 << 28, length & 0xFFFF, protocol, 64) + addresses(source, destination) + payload


def ether(kind: int, payload: bytes, macs: bytes = MAC) -> bytes:
    return macs + pack("!H", kind) + payload


SENDERS = count(50001)


def via4(port: int, payload: bytes, *, sport: int | None = None) -> bytes:
    """A tunnel over UDP over IPv4 over Ethernet; from a port of its own, as Wireshark remembers conversations."""
    return ether(0x0800, ip4(udp(payload, sport=next(SENDERS) if sport is None else sport, dport=port)))


def over4(protocol: int, payload: bytes) -> bytes:
    return ether(0x0800, ip4(payload, protocol))


def over6(protocol: int, payload: bytes) -> bytes:
    return ether(0x86DD, ip6(payload, protocol))


def mpls(*labels: int) -> bytes:
    return b"".join(
        pack("!I", label << 12 | (0x100 if place == len(labels) - 1 else 0) | 64) for place, label in enumerate(labels)
    )


P4, P6 = ip4(), ip6()
E4, E6 = ether(0x0800, P4), ether(0x86DD, P6)
L4 = ether(0x0800, P4, LOCAL)
SNAP = hexed("aaaa03 000000")


def ethernet() -> Iterator[tuple[str, bytes]]:
    """Ethernet and all that an EtherType may name."""
    yield "ip4", E4
    yield "ip6", E6
    yield "ip4 padded", E4 + bytes(13)
    yield "ip6 padded", E6 + bytes(7)
    yield "ip6 as 0800", ether(0x0800, P6)
    yield "ip4 as 86dd", ether(0x86DD, P4)
    for tags in ("8100 000a", "9100 000a", "9200 000a", "88a8 0064 8100 e00a", "8100 0001 8100 0002 8100 0003"):
        yield f"tags {tags}", MAC + hexed(tags + "0800") + P4
    yield "vlan llc", MAC + hexed("8100 000a") + pack("!H", 8 + len(P4)) + SNAP + hexed("0800") + P4
    yield "snap ip4", ether(8 + len(P4), SNAP + hexed("0800") + P4)
    yield "snap ip6", ether(8 + len(P6), SNAP + hexed("86dd") + P6)
    yield "snap vlan", ether(12 + len(P4), SNAP + hexed("8100 0005 0800") + P4)
    yield "snap padded", ether(8 + len(P4), SNAP + hexed("0800") + P4) + bytes(9)
    yield "snap length too long", ether(100 + len(P4), SNAP + hexed("0800") + P4)
    yield "snap length short", ether(len(P4), SNAP + hexed("0800") + P4)
    yield "snap length 0", ether(0, SNAP + hexed("0800") + P4)
    yield "snap 1500", ether(1500, SNAP + hexed("0800") + P4)
    yield "snap 1501", ether(1501, SNAP + hexed("0800") + P4)
    yield "type 1535", ether(1535, P4)
    yield "snap cisco 90", ether(8 + len(P4), hexed("aaaa03 0000f8 0800") + P4)
    yield "snap appletalk", ether(8 + len(P4), hexed("aaaa03 080007 0800") + P4)
    yield "snap cisco", ether(8 + len(P4), hexed("aaaa03 00000c 0800") + P4)
    yield "snap information", ether(9 + len(P4), hexed("aaaa0000 000000 0800") + P4)
    yield "snap bridged", ether(10 + len(E4), hexed("aaaa03 0080c2 0007 0000") + E4)
    yield "snap bridged fcs", ether(14 + len(E4), hexed("aaaa03 0080c2 0001 0000") + E4 + bytes(4))
    yield "snap bridged unpadded", ether(8 + len(E4), hexed("aaaa03 0080c2 0007") + E4)
    yield "llc ip", ether(3 + len(P4), hexed("060603") + P4)
    yield "llc ip7", ether(3 + len(P4), hexed("070603") + P4)
    yield "llc ip poll", ether(3 + len(P4), hexed("060613") + P4)
    yield "llc ip xid", ether(3 + len(P4), hexed("0606af") + P4)
    yield "llc ip information", ether(4 + len(P4), hexed("06060000") + P4)
    yield "llc osi", ether(4 + len(P4), hexed("fefe03cc") + P4)
    yield "llc osi 6", ether(4 + len(P6), hexed("fefe038e") + P6)
    yield "llc mixed snap", ether(8 + len(P4), hexed("aaab03 000000 0800") + P4)
    yield (
        "isl",
        hexed("01000c000000 020000000001")
        + pack("!H", 16 + len(E4))
        + hexed("aaaa03 00000c 0015 0000 0000")
        + E4
        + bytes(4),
    )
    yield "mpls 1", ether(0x8847, mpls(16) + P4)
    yield "mpls 3", ether(0x8847, mpls(16, 17, 18) + P4)
    yield "mpls 6", ether(0x8847, mpls(16) + P6)
    yield "mpls multicast", ether(0x8848, mpls(16) + P4)
    yield "mpls padded", ether(0x8847, mpls(16) + P4) + bytes(13)
    yield "mpls 6 padded", ether(0x8847, mpls(16) + P6) + bytes(13)
    for label in (0, 1, 2, 3, 7, 13, 14, 15):
        yield f"mpls label {label}", ether(0x8847, mpls(label) + P4)
    yield "mpls unending", ether(0x8847, pack("!I", 16 << 12 | 64) * 5 + P4)
    for name, frame in (("registered", E4), ("local", L4)):
        yield f"mpls pw {name}", ether(0x8847, mpls(16) + frame)
        yield f"mpls pw cw {name}", ether(0x8847, mpls(16) + bytes(4) + frame)
        yield f"mpls pw cw seq {name}", ether(0x8847, mpls(16) + hexed("00001234") + frame)
    for nibble in range(1, 16):
        yield f"mpls pw nibble {nibble:x}", ether(0x8847, mpls(16) + bytes([nibble << 4]) + E4[1:])
    yield "mpls channel 4", ether(0x8847, mpls(16) + hexed("10000021") + P4)
    yield "mpls channel 6", ether(0x8847, mpls(16) + hexed("10000057") + P6)
    yield "mpls gal", ether(0x8847, mpls(16, 13) + hexed("10000021") + P4)
    for name, body in (("", P4), (" padded", P4 + bytes(9))):
        yield f"pppoe{name}", ether(0x8864, hexed("11000001") + pack("!H", 2 + len(P4)) + hexed("0021") + body)
    yield "pppoe 6", ether(0x8864, hexed("11000001") + pack("!H", 2 + len(P6)) + hexed("0057") + P6)
    yield "pppoe compressed", ether(0x8864, hexed("11000001") + pack("!H", 1 + len(P4)) + hexed("21") + P4)
    yield "pppoe hdlc", ether(0x8864, hexed("11000001") + pack("!H", 4 + len(P4)) + hexed("ff030021") + P4)
    yield "pppoe long", ether(0x8864, hexed("11000001") + pack("!H", 20 + len(P4)) + hexed("0021") + P4)
    yield "pppoe short", ether(0x8864, hexed("11000001") + pack("!H", len(P4) - 5) + hexed("0021") + P4)
    yield "pppoe discovery", ether(0x8863, hexed("11000001") + pack("!H", 2 + len(P4)) + hexed("0021") + P4)
    for protocol, body in (
        ("0281", mpls(16) + P4),
        ("0283", mpls(16) + P4),
        ("003d", hexed("c0000001 0021") + P4),
        ("003d", hexed("c0000001 21") + P4),
        ("003d", hexed("80000001 0021") + P4),
        ("0031", hexed("0001") + E4),
        ("0031", hexed("8001") + E4 + bytes(4)),
        ("0031", hexed("0101") + E4),
        ("0031", hexed("4001") + bytes(4) + E4),
        ("004b", hexed("060603") + P4),
        ("004b", SNAP + hexed("0800") + P4),
        ("0059", hexed("21") + bytes([len(P4)]) + P4),
        ("0059", bytes([0x80 | len(P4) + 1]) + hexed("21") + P4),
        ("0800", P4),
        ("86dd", P6),
        ("0023", hexed("cc") + P4),
        ("002d", P4),
        ("00fd", P4),
    ):
        yield (
            f"pppoe {protocol} {body[:6].hex()}",
            ether(0x8864, hexed("11000001") + pack("!H", 2 + len(body)) + hexed(protocol) + body),
        )
    yield "pbb", ether(0x88E7, hexed("00000123") + E4)
    yield "pbb tagged", ether(0x88A8, hexed("000588e7 00000123") + E4)
    yield "pbb vlan", ether(0x88E7, hexed("00000123") + MAC + hexed("810000050800") + P4)
    yield "pbb llc", ether(0x88E7, hexed("00000123") + ether(8 + len(P4), SNAP + hexed("0800") + P4))
    yield "transparent ethernet", ether(0x6558, E4)
    for flags in ("00", "04", "08", "0c", "40", "10", "80"):
        yield f"macsec {flags}", ether(0x88E5, hexed(flags + "00 00000001") + hexed("0800") + P4 + bytes(16))
        yield (
            f"macsec sci {flags}",
            ether(0x88E5, bytes([int(flags, 16) | 0x20]) + hexed("00 00000001 0200000000010001 0800") + P4 + bytes(16)),
        )
    yield "macsec short", ether(0x88E5, hexed("00 2f 00000001 0800") + P4 + bytes(16))
    yield "macsec vlan", ether(0x88E5, hexed("00 00 00000001 8100 0005 0800") + P4 + bytes(16))
    yield "macsec exact", ether(0x88E5, hexed("00 00 00000001 0800") + P4)
    for following, body in (
        (1, P4),
        (2, P6),
        (3, E4),
        (4, hexed("0fc20203 00000a01") + E4),
        (5, mpls(16) + P4),
        (6, P4),
    ):
        yield (
            f"nsh 1 {following}",
            ether(0x894F, hexed("0fc601") + bytes([following]) + hexed("000064ff") + bytes(16) + body),
        )
        yield (
            f"nsh 2 {following}",
            ether(0x894F, hexed("0fc402") + bytes([following]) + hexed("000064ff 00010204 00000000") + body),
        )
    yield "nsh 1 of another length", ether(0x894F, hexed("0fc50103 000064ff") + bytes(12) + E4)
    yield "fabricpath", ether(0x8903, hexed("0041") + E4)
    yield "fabricpath fcs", ether(0x8903, hexed("0041") + E4 + bytes(4))
    yield "fabricpath vlan", ether(0x8903, hexed("0041") + MAC + hexed("8100 0005 0800") + P4 + bytes(9))
    yield "fabricpath llc", ether(0x8903, hexed("0041") + ether(8 + len(P4), SNAP + hexed("0800") + P4) + bytes(4))
    yield "vlan fabricpath", ether(0x8100, hexed("0005 8903 0041") + E4 + bytes(4))
    yield "hsr", ether(0x892F, pack("!HH", 6 + len(P4), 1) + hexed("0800") + P4)
    yield "hsr vlan", ether(0x892F, pack("!HH", 10 + len(P4), 1) + hexed("8100 0005 0800") + P4)
    yield "vlan hsr", ether(0x8100, hexed("0005892f") + pack("!HH", 6 + len(P4), 1) + hexed("0800") + P4)
    yield "trill", ether(0x22F3, hexed("0001 0001 0002") + E4)
    yield "trill options", ether(0x22F3, hexed("0041 0001 0002 00000000") + E4)
    yield "trill vlan", ether(0x22F3, hexed("0001 0001 0002") + MAC + hexed("81000005 0800") + P4)
    yield "vntag", ether(0x8926, hexed("00010002 0800") + P4)
    yield "etag", ether(0x893F, hexed("00010002 0003 0800") + P4)
    yield "rtag", ether(0xF1C1, hexed("0000 0001 0800") + P4)
    yield "cmd", ether(0x8909, hexed("01 01 0001 0005 0800") + P4)
    yield "cmd 2", ether(0x8909, hexed("01 02 0001 0005 0001 0005 0800") + P4)
    yield "cmd 2 eth", ether(0x8909, hexed("01 01 0001 0005 6558") + E4)
    far = hexed("020000000009")
    for version, kind, body in (
        (14, 0x03, hexed("3201") + far),
        (14, 0x04, hexed("32 00 00000001") + far),
        (14, 0x06, hexed("3201") + far + hexed("03 00") + far + hexed("0001")),
        (14, 0x09, hexed("3201") + far + far + hexed("0100")),
        (15, 0x01, hexed("32 00 00000001") + far),
        (15, 0x40, hexed("32 01") + far),
        (15, 0x42, hexed("32 01") + far + far + hexed("0100")),
        (15, 0x41, hexed("32 00") + far + far + pack("!HH", 1, len(E4))),
    ):
        yield f"batadv {version} {kind:02x} {len(body)}", ether(0x4305, bytes([kind, version]) + body + E4)
    yield "jumbo llc", ether(0x8870, SNAP + hexed("0800") + P4)
    yield "rtmac", ether(0x9021, hexed("0800 01 00") + P4)
    yield "rtmac eth", ether(0x9021, hexed("6558 01 00") + E4)
    yield "rtmac 2", ether(0x9021, hexed("0800 02 00") + P4)
    yield "rtmac 2 tunnel", ether(0x9021, hexed("0800 02 01") + P4)
    yield "rtmac tdma", ether(0x9021, hexed("0001 02 00") + P4)
    yield "6lowpan ip6", ether(0xA0ED, hexed("41") + P6)
    yield "ppp ethertype", ether(0x880B, hexed("0021") + P4)
    yield "fcoe", ether(0x8906, bytes(13) + b"\x2e" + P4)
    yield "802.11 ethertype", ether(0x890D, hexed("02") + P4)
    yield "dsa", ether(0xDADA, bytes(6) + hexed("0800") + P4)
    yield "realtek", ether(0x8899, hexed("97 000000 0800") + P4)
    yield "brcm", ether(0x8874, hexed("20000001 0800") + P4)
    yield "unknown", ether(0x88B5, P4)


def ip_layer() -> Iterator[tuple[str, bytes]]:  # noqa: C901 - a list of stacks
    """What the IP headers and the UDP header may say, and the protocols of IP that carry packets."""
    size = len(P4)
    yield "total 0", ether(0x0800, ip4(total=0))
    yield "total 0 padded", ether(0x0800, ip4(total=0)) + bytes(8)
    yield "total 19", ether(0x0800, ip4(total=19))
    yield "total 20", ether(0x0800, ip4(total=20))
    yield "total 27", ether(0x0800, ip4(total=27))
    yield "total long", ether(0x0800, ip4(total=size + 50))
    yield "total short", ether(0x0800, ip4(total=size - 4))
    for first in (0x44, 0x4F, 0x55, 0x65, 0x05):
        yield f"first {first:02x}", ether(0x0800, ip4(first=first))
    for length in (0, 7, 8, 15, 23, 65535):
        yield f"udp length {length}", ether(0x0800, ip4(udp(length=length)))
        yield f"udp6 length {length}", ether(0x86DD, ip6(udp(source=HOST6, destination=PEER6, length=length)))
    yield "udp empty", ether(0x0800, ip4(udp(b"")))
    yield "udp odd", ether(0x0800, ip4(udp(b"odd")))
    yield "udp even", ether(0x0800, ip4(udp(b"even")))
    yield "udp checksum 0", ether(0x0800, ip4(udp(value=0)))
    yield "udp6 checksum 0", ether(0x86DD, ip6(udp(value=0)))
    yield "udp checksum bad", ether(0x0800, ip4(udp(value=1)))
    yield "udp checksum ffff", ether(0x0800, ip4(udp(value=0xFFFF)))
    yield "udp surplus", ether(0x0800, ip4(udp() + b"tail"))
    yield "options nop", ether(0x0800, ip4(options=b"\1\1\1\0"))
    yield "options bad length", ether(0x0800, ip4(options=b"\x07\xff\0\0"))
    yield "options ra", ether(0x0800, ip4(options=hexed("94040000")))
    for pointer in (4, 8, 255):
        route = b"\x83\x07" + bytes([pointer]) + addresses(HOST, PEER)[4:] + b"\0"
        yield f"source route {pointer}", ether(0x0800, ip4(options=route))
    yield "compat addresses", ether(0x86DD, ip6(source="::1.2.3.4", destination="::ffff:1.2.3.4"))
    yield "zero runs", ether(0x86DD, ip6(source="1:0:0:2:0:0:0:3", destination="1:2:3:0:5:6:7:8"))
    yield "nat64", ether(0x86DD, ip6(source="64:ff9b::1.2.3.4", destination="::"))
    yield "ip6 length 0", ether(0x86DD, ip6(length=0))
    yield "ip6 length long", ether(0x86DD, ip6(length=200))
    yield "ip6 length short", ether(0x86DD, ip6(length=10))
    u4, u6 = udp(), udp(source=HOST6, destination=PEER6)
    for protocol in (0, 43, 44, 60, 135, 139, 140, 59, 50, 51):
        for mark in (0, 0x80):
            head = bytes([17, 0, mark, 0, 0, 0, 0, 0])
            yield f"4 extension {protocol} {mark}", over4(protocol, head + u4)
            yield f"6 extension {protocol} {mark}", over6(protocol, head + u6)
    yield "6 three extensions", over6(0, hexed("3c00010400000000 2b00010400000000 1100 fe00 00000000") + u6)
    for kind in (0, 2, 3, 4, 5):
        for left in (0, 1, 2):
            for final in ("2001:db8::a", "2001:db8::b", PEER6):
                if kind == 2:
                    body = bytes(4) + ip_address("2001:db8::a").packed
                else:
                    body = bytes(4) + ip_address("2001:db8::a").packed + ip_address("2001:db8::b").packed
                head = bytes([17, len(body) // 8, kind, left]) + body
                segment = udp(source=HOST6, destination=final)
                yield f"routing {kind} left {left} for {final}", over6(43, head + segment)
    compressed = hexed("11 02 03 01 8f 70 0000") + hexed("000000000000000a")[:8] + hexed("0b") + bytes(7)
    yield "routing rpl compressed", over6(43, compressed + udp(source=HOST6, destination="2001:db8::b"))
    for name, source in (("care-of", HOST6), ("home", "2001:db8::9")):
        home = hexed("1102 0102 0000 c910") + ip_address("2001:db8::9").packed
        yield f"home address, checksum over {name}", over6(60, home + udp(source=source, destination=PEER6))
    ah = hexed("11 04 0000 00000001 00000001") + bytes(12)
    yield "ah 4", over4(51, ah + u4)
    yield "ah 6", over6(51, hexed("11 04 0000 00000001 00000001") + bytes(12) + u6)
    yield "ah ipip", over4(51, b"\4" + ah[1:] + P4)
    yield "ah dstopts", over6(51, b"\x3c" + ah[1:] + hexed("1100010400000000") + u6)
    yield "dstopts ah", over6(60, hexed("3300010400000000") + ah + u6)
    for protocol in (4, 41, 47, 55, 94, 97, 98, 99, 108, 115, 137, 143, 131, 29, 103, 111):
        for name, body in (("ip4", P4), ("ip6", P6), ("eth", E4)):
            yield f"proto {protocol} {name}", over4(protocol, body)
    yield "ipip in 6", over6(4, P4)
    yield "6 in 6", over6(41, P6)
    yield "ipip thrice", over4(4, ip4(ip4(P4, 4), 4))
    yield "etherip", over4(97, hexed("3000") + E4)
    yield "etherip 6", over6(97, hexed("3000") + E4)
    yield "etherip version 2", over4(97, hexed("2000") + E4)
    yield "srv6 eth", over6(143, E4)
    yield "mpls in ip", over4(137, mpls(16) + P4)
    yield "pim register 4", over4(103, hexed("21 00 deff 00000000") + P4)
    yield "pim register 6", over6(103, hexed("21 00 deff 00000000") + P6)
    yield "pim null register", over4(103, hexed("21 00 deff 40000000") + P4)
    yield "pim hello", over4(103, hexed("20 00 deff 00000000") + P4)
    yield "udp lite", over4(136, udp())
    yield "icmp quote", over4(1, hexed("0303 fcfc 00000000") + P4)
    yield "icmp redirect", over4(1, hexed("0501 fcfc c0000201") + P4)
    yield "icmpv6 quote", over6(58, hexed("0104 fcfc 00000000") + P6)
    yield "icmpv6 too big", over6(58, hexed("0200 fcfc 00000500") + P6)
    yield "esp null", over4(50, hexed("00000001 00000001") + u4 + hexed("0102 02 11"))
    yield "tcp", over4(6, hexed("9c40 0050 00000001 00000000 5002 2000 0000 0000") + P4)
    yield "sctp", over4(132, hexed("9c40 0050 00000001 00000000") + P4)
    yield "l2tp3 ip", over4(115, hexed("00000001") + E4)
    yield "l2tp3 ip sublayer", over4(115, hexed("00000001 00000000") + E4)
    yield "l2tp3 ip cookie", over4(115, hexed("00000001 01020304 00000000") + E4)
    yield "l2tp3 ip hdlc", over4(115, hexed("00000001 ff030021") + P4)
    yield "l2tp3 ip chdlc", over4(115, hexed("00000001 0f000800") + P4)
    yield "minimal encapsulation", over4(55, hexed("1180 0000") + addresses(PEER, HOST) + u4)


def gre(kind: int, body: bytes, flags: int = 0, fields: bytes = b"") -> bytes:
    return pack("!HH", flags, kind) + fields + body


def gre_layer() -> Iterator[tuple[str, bytes]]:
    """GRE in all its versions and what it carries."""
    yield "ip4", over4(47, gre(0x0800, P4))
    yield "ip6", over4(47, gre(0x86DD, P6))
    yield "over 6", over6(47, gre(0x0800, P4))
    yield "checksum", over4(47, gre(0x0800, P4, 0x8000, bytes(4)))
    yield "key", over4(47, gre(0x0800, P4, 0x2000, hexed("00000007")))
    yield "sequence", over4(47, gre(0x0800, P4, 0x1000, hexed("00000007")))
    yield "key and sequence", over4(47, gre(0x0800, P4, 0x3000, bytes(8)))
    yield "all", over4(47, gre(0x0800, P4, 0xB000, bytes(12)))
    routing = hexed("0800 00 04 c0000201") + bytes(4)
    yield "routing", over4(47, gre(0x0800, P4, 0x4000, bytes(4) + routing))
    yield "version 2", over4(47, gre(0x0800, P4, 0x0002))
    for kind in (0x6558, 0x6400):
        yield f"eth {kind:04x}", over4(47, gre(kind, E4))
    yield "eoip", over4(47, pack("!HHHH", 0x2001, 0x6400, len(E4), 7) + E4)
    yield "eoip little", over4(47, pack("!HH", 0x2001, 0x6400) + pack("<H", 7) + pack("!H", len(E4)) + E4)
    yield "nvgre", over4(47, gre(0x6558, E4, 0x2000, hexed("00123401")))
    yield "mpls", over4(47, gre(0x8847, mpls(16) + P4))
    yield "mpls multicast", over4(47, gre(0x8848, mpls(16) + P4))
    yield "nsh", over4(47, gre(0x894F, hexed("0fc20203 000064ff") + E4))
    for kind in (0x880B, 0x88D2, 0x8881):
        yield f"ppp {kind:04x}", over4(47, gre(kind, hexed("ff030021") + P4))
        yield f"ppp {kind:04x} plain", over4(47, gre(kind, hexed("0021") + P4))
    pptp = pack("!HH", len(P4) + 4, 1)
    yield "pptp", over4(47, gre(0x880B, hexed("ff030021") + P4, 0x2001, pptp))
    yield "pptp seq", over4(47, gre(0x880B, hexed("ff030021") + P4, 0x3001, pptp + bytes(4)))
    yield "pptp ack", over4(47, gre(0x880B, hexed("ff030021") + P4, 0x3081, pptp + bytes(8)))
    yield "pptp ack alone", over4(47, gre(0x880B, b"", 0x2081, pptp + bytes(4)))
    yield "pptp plain", over4(47, gre(0x880B, hexed("0021") + P4, 0x3001, pptp + bytes(4)))
    yield "pptp compressed", over4(47, gre(0x880B, hexed("21") + P4, 0x3001, pptp + bytes(4)))
    yield "wccp", over4(47, gre(0x883E, P4))
    yield "wccp redirect", over4(47, gre(0x883E, hexed("00010203") + P4))
    yield "frame relay", over4(47, gre(0x6559, hexed("184103cc") + P4))
    yield "osi", over4(47, gre(0x00FE, hexed("cc") + P4))
    yield "erspan 1", over4(47, gre(0x88BE, E4))
    yield "erspan 1 routing", over4(47, gre(0x88BE, E4, 0x0000))
    second = hexed("100a 0064 00000007")
    yield "erspan 2", over4(47, gre(0x88BE, second + E4, 0x1000, bytes(4)))
    yield "erspan 2 unsequenced", over4(47, gre(0x88BE, second + E4))
    third = hexed("200a 0064 00000007 0000 0000")
    yield "erspan 3", over4(47, gre(0x22EB, third + E4, 0x1000, bytes(4)))
    yield "erspan 3 unsequenced", over4(47, gre(0x22EB, third + E4))
    yield (
        "erspan 3 options",
        over4(47, gre(0x22EB, hexed("200a 0064 00000007 0000 0001") + bytes(8) + E4, 0x1000, bytes(4))),
    )
    yield "erspan 3 ip", over4(47, gre(0x22EB, hexed("200a 0064 00000007 0000 1000") + P4, 0x1000, bytes(4)))
    yield "erspan 3 as 88be", over4(47, gre(0x88BE, third + E4, 0x1000, bytes(4)))
    yield "erspan 4", over4(47, gre(0x88BE, hexed("400a 0064 00000007") + E4, 0x1000, bytes(4)))
    yield "erspan 2 vlan", over4(47, gre(0x88BE, second + MAC + hexed("81000005 0800") + P4, 0x1000, bytes(4)))
    for kind in (0x8200, 0x8210, 0x8300):
        yield (
            f"aruba {kind:04x}",
            over4(47, gre(kind, hexed("0802 0000") + MAC + MAC[:6] + bytes(2) + SNAP + hexed("0800") + P4)),
        )
    yield "unknown", over4(47, gre(0x1234, P4))
    yield "vlan", over4(47, gre(0x8100, hexed("0005 0800") + P4))
    yield "ip4 loop", over4(47, gre(0x0800, ip4(gre(0x0800, P4), 47)))


def tunnels() -> Iterator[tuple[str, bytes]]:  # noqa: C901 - a list of stacks
    """Tunnels over UDP."""
    vxlan = hexed("08000000 00002a00")
    yield "vxlan", via4(4789, vxlan + E4)
    yield "vxlan 6", via4(4789, vxlan + E6)
    yield "vxlan vlan", via4(4789, vxlan + MAC + hexed("81000005 0800") + P4)
    yield "vxlan no flag", via4(4789, bytes(8) + E4)
    yield "vxlan gbp", via4(4789, hexed("88000005 00002a00") + E4)
    yield "vxlan over 6", ether(0x86DD, ip6(udp(vxlan + E4, source=HOST6, destination=PEER6, dport=4789)))
    yield "vxlan zero checksum", ether(0x0800, ip4(udp(vxlan + E4, dport=4789, value=0)))
    yield "vxlan bad checksum", ether(0x0800, ip4(udp(vxlan + E4, dport=4789, value=1)))
    yield "vxlan tcp", via4(4789, vxlan + ether(0x0800, ip4(bytes(20), 6)))
    yield "vxlan in vxlan", via4(4789, vxlan + via4(4789, vxlan + E4))
    yield "vxlan icmp quote", via4(4789, vxlan + over4(1, hexed("0303 fcfc 00000000") + P4))
    yield "vxlan 8472", via4(8472, vxlan + E4)
    yield "vxlan from 4789", via4(50000, vxlan + E4, sport=4789)
    yield "vxlan from 1023", via4(4789, vxlan + E4, sport=1023)
    yield "vxlan from 53", via4(4789, vxlan + E4, sport=53)
    yield "vxlan from 2000", via4(4789, vxlan + E4, sport=2000)
    yield "vxlan truncated mirror", via4(4789, vxlan + ether(0x0800, ip4(udp(bytes(200)))[:100]))
    for following, body in (
        (1, P4),
        (2, P6),
        (3, E4),
        (4, hexed("0fc20203 000064ff") + E4),
        (5, mpls(16) + P4),
        (0, E4),
        (9, E4),
    ):
        yield f"gpe {following}", via4(4790, hexed("0c0000") + bytes([following]) + hexed("00002a00") + body)
        yield f"gpe {following} no flag", via4(4790, hexed("080000") + bytes([following]) + hexed("00002a00") + body)
    for kind, body in (
        (0x6558, E4),
        (0x0800, P4),
        (0x86DD, P6),
        (0x8847, mpls(16) + P4),
        (0x880B, hexed("0021") + P4),
        (0x8100, hexed("00050800") + P4),
        (0x894F, hexed("0fc20203 000064ff") + E4),
        (0, E4),
    ):
        yield f"geneve {kind:04x}", via4(6081, pack("!BBH", 0, 0, kind) + hexed("00002a00") + body)
    option = hexed("0108 0102") + bytes(8)
    yield "geneve options", via4(6081, pack("!BBH", 3, 0, 0x0800) + hexed("00002a00") + option + P4)
    yield "geneve oam", via4(6081, pack("!BBH", 0, 0x80, 0x0800) + hexed("00002a00") + P4)
    yield "geneve version 1", via4(6081, pack("!BBH", 0x40, 0, 0x0800) + hexed("00002a00") + P4)
    yield "geneve bad options", via4(6081, pack("!BBH", 1, 0, 0x0800) + hexed("00002a00 0108 011f") + P4)
    yield "geneve long options", via4(6081, pack("!BBH", 63, 0, 0x0800) + hexed("00002a00") + P4)
    for first, fields in (
        (0x30, b""),
        (0x32, bytes(4)),
        (0x34, bytes(3) + b"\0"),
        (0x31, bytes(4)),
        (0x36, bytes(4)),
        (0x38, b""),
    ):
        for name, body in (("ip4", P4), ("ip6", P6)):
            yield (
                f"gtp {first:02x} {name}",
                via4(2152, bytes([first, 255]) + pack("!HI", len(fields) + len(body), 42) + fields + body),
            )
    for chain in (
        "85 01 0010 00",
        "c0 01 0000 00",
        "40 01 0868 00",
        "85 01 0010 40 01 0868 00",
        "85 02 0010 00000000 00",
        "20 01 0000 00",
        "81 01 0000 00",
        "03 01 0000 00",
        "82 01 0000 00",
        "ff 01 0000 00",
        "85 00 0000 00",
        "85 ff 0000 00",
    ):
        body = hexed("000000" + chain)
        yield f"gtp extension {chain}", via4(2152, b"\x34\xff" + pack("!HI", len(body) + len(P4), 42) + body + P4)
    yield "gtp length short", via4(2152, b"\x30\xff" + pack("!HI", 10, 42) + P4)
    yield "gtp length long", via4(2152, b"\x30\xff" + pack("!HI", 1000, 42) + P4)
    yield "gtp ppp", via4(2152, b"\x30\xff" + pack("!HI", 4 + len(P4), 42) + hexed("ff030021") + P4)
    yield "gtp eth", via4(2152, b"\x30\xff" + pack("!HI", len(E4), 42) + E4)
    yield "gtp echo", via4(2152, b"\x32\x01" + pack("!HI", 4, 0) + bytes(4))
    yield "gtp end marker", via4(2152, b"\x30\xfe" + pack("!HI", len(P4), 42) + P4)
    yield "gtp prime", via4(2152, b"\x20\xff" + pack("!HI", len(P4), 42) + P4)
    yield "gtp 0", via4(3386, b"\x1e\xff" + pack("!H", len(P4)) + bytes(16) + P4)
    yield "gtp 0 on 2152", via4(2152, b"\x1e\xff" + pack("!H", len(P4)) + bytes(16) + P4)
    yield "gtp on 2123", via4(2123, b"\x30\xff" + pack("!HI", len(P4), 42) + P4)
    yield "gtp 1 on 3386", via4(3386, b"\x30\xff" + pack("!HI", len(P4), 42) + P4)
    yield "gtp from 2152", via4(50000, b"\x30\xff" + pack("!HI", len(P4), 42) + P4, sport=2152)
    yield (
        "gtp in gtp",
        via4(
            2152,
            b"\x30\xff"
            + pack("!HI", len(P4) + 36, 42)
            + ip4(udp(b"\x30\xff" + pack("!HI", len(P4), 43) + P4, sport=2152, dport=2152)),
        ),
    )
    yield "teredo", via4(3544, P6)
    yield "teredo origin", via4(3544, hexed("0000 1234 01020304") + P6)
    yield "teredo auth", via4(3544, hexed("0001 0000") + bytes(9) + P6)
    yield "teredo auth data", via4(3544, hexed("0001 0204 aabb 01020304") + bytes(9) + P6)
    yield "teredo both", via4(3544, hexed("0001 0000") + bytes(9) + hexed("0000 1234 01020304") + P6)
    yield "teredo from", via4(50000, P6, sport=3544)
    yield "teredo ip4", via4(3544, P4)
    yield "teredo short 6", via4(3544, ip6(length=5))
    yield "teredo trailer", via4(3544, P6 + hexed("0104 00000000"))
    for flags, fields in (
        (0x0002, ""),
        (0x4002, "LEN"),
        (0x0802, "00010002"),
        (0x0202, "0000"),
        (0x0202, "0002ffff"),
        (0x4A02, "LEN 00010002 0000"),
        (0x8002, ""),
        (0x0102, ""),
    ):
        for name, body in (("", hexed("ff030021") + P4), (" plain", hexed("0021") + P4)):
            text = fields.replace("LEN", "")
            size = 6 + (2 if "LEN" in fields else 0) + len(hexed(text)) + len(body)
            length = pack("!H", size) if "LEN" in fields else b""
            yield (
                f"l2tp {flags:04x} {fields}{name}",
                via4(1701, pack("!H", flags) + length + pack("!HH", 3, 4) + hexed(text) + body, sport=1701),
            )
    yield "l2tp bad version", via4(1701, pack("!HHH", 1, 3, 4) + hexed("ff030021") + P4, sport=1701)
    yield "l2tp from 50000", via4(1701, pack("!HHH", 2, 3, 4) + hexed("ff030021") + P4)
    for name, body in (
        ("eth", E4),
        ("eth sublayer", bytes(4) + E4),
        ("ppp", hexed("ff030021") + P4),
        ("hdlc", hexed("0f000800") + P4),
        ("cookie4 eth", hexed("01020304") + E4),
        ("ip", P4),
        ("fr", hexed("184103cc") + P4),
    ):
        yield f"l2tp3 {name}", via4(1701, hexed("0003 0000 00000007") + body, sport=1701)
    yield "lisp 4", via4(4341, hexed("80000000 00000000") + P4)
    yield "lisp 6", via4(4341, hexed("80000000 00000000") + P6)
    yield "lisp instance", via4(4341, hexed("88000000 00000701") + P4)
    yield "lisp nibble", via4(4341, bytes(8) + E4)
    yield "lisp from", via4(50000, hexed("80000000 00000000") + P4, sport=4341)
    yield (
        "lisp control ecm",
        via4(4342, hexed("80000000") + ip4(udp(hexed("10000001") + bytes(20), sport=4342, dport=4342))),
    )
    yield "gtp eth vlan", via4(2152, b"\x30\xff" + pack("!HI", 4 + len(E4), 42) + MAC + hexed("81000005 0800") + P4)
    for first in (0x40, 0x45, 0x50, 0x60, 0xF0):
        yield f"gtp eth {first:02x}", via4(2152, b"\x30\xff" + pack("!HI", len(E4), 42) + bytes([first]) + E4[1:])
    dot11 = hexed("0801 0000") + MAC + MAC[:6] + bytes(2) + SNAP + hexed("0800") + P4
    swapped = hexed("0108 0000") + MAC + MAC[:6] + bytes(2) + SNAP + hexed("0800") + P4
    yield "capwap 802.3", via4(5247, hexed("00 100000 00000000")[:8] + E4)
    yield "capwap 802.3 wbid 1", via4(5247, hexed("00 100200 00000000") + E4)
    yield "capwap 802.11", via4(5247, hexed("00 100300 00000000") + dot11)
    yield "capwap 802.11 swapped", via4(5247, hexed("00 100300 00000000") + swapped)
    yield "capwap radio mac", via4(5247, hexed("00 200310 00000000 06 020000000001 00") + swapped)
    yield "capwap wireless", via4(5247, hexed("00 200320 00000000 04 01020304 000000") + swapped)
    yield "capwap keepalive", via4(5247, hexed("00 100208 00000000") + E4)
    yield "capwap dtls", via4(5247, hexed("01 000000") + E4)
    yield "capwap fragment", via4(5247, hexed("00 100380 00010000") + swapped)
    yield "capwap last fragment", via4(5247, hexed("00 1003c0 00020000") + swapped)
    yield "capwap from", via4(50000, hexed("00 100300 00000000") + swapped, sport=5247)
    head = hexed("44 52 11 29 5f000000")
    yield "ayiya", via4(5072, head + bytes(16) + bytes(20) + P6)
    yield "ayiya no identity", via4(5072, hexed("04 50 11 29 5f000000") + P6)
    yield "ayiya ip4", via4(5072, hexed("44 52 11 04 5f000000") + bytes(36) + P4)
    yield "ayiya forward none", via4(5072, hexed("44 52 10 29 5f000000") + bytes(36) + P6)
    yield "mpls", via4(6635, mpls(16) + P4)
    yield "mpls 6", via4(6635, mpls(16, 17) + P6)
    yield "mpls pw", via4(6635, mpls(16) + E4)
    yield "gre", via4(4754, gre(0x0800, P4))
    yield "gre eth", via4(4754, gre(0x6558, E4, 0x2000, bytes(4)))
    yield "gre 4755", via4(4755, gre(0x0800, P4))
    yield "amt data 4", via4(2268, hexed("0600") + P4)
    yield "amt data 6", via4(2268, hexed("0600") + P6)
    yield "amt query", via4(2268, hexed("0400 000000000000 00000000") + ip4(protocol=2))
    yield "tzsp eth", via4(37008, hexed("01 00 0001 01") + E4)
    yield "tzsp eth tag", via4(37008, hexed("01 00 0001 0a 01 05 01") + E4)
    yield "tzsp eth padding", via4(37008, hexed("01 00 0001 00 00 01") + E4)
    yield "tzsp 802.11", via4(37008, hexed("01 00 0012 01") + dot11)
    yield "tzsp tx", via4(37008, hexed("01 01 0001 01") + E4)
    yield "tzsp keepalive", via4(37008, hexed("01 04 0001 01") + E4)
    yield "tzsp ip", via4(37008, hexed("01 00 0003 01") + P4)
    yield "jmirror", via4(30030, hexed("00000001 00000001") + P4)
    yield "jmirror 6", via4(30030, hexed("00000001 00000001") + P6)
    yield "jmirror eth", via4(30030, hexed("00000001 00000001") + E4)
    yield "jmirror ppp", via4(30030, hexed("00000001 00000001") + hexed("ff030021") + P4)
    yield "bat gw", via4(4306, hexed("01") + P4)
    yield "bat gw 2", via4(4306, hexed("02") + P4)
    yield "bat", via4(4305, P4)
    yield "mip natt", via4(434, hexed("04 04 0000") + P4)
    yield "mip natt 6", via4(434, hexed("04 29 0000") + P6)
    yield "mip natt gre", via4(434, hexed("04 2f 0000") + gre(0x0800, P4))
    yield "nat-t esp", via4(4500, hexed("00000001 00000001") + P4)
    yield "nsh 6633", via4(6633, hexed("0fc20203 000064ff") + E4)
    yield "stt-like", via4(7471, bytes(18) + E4)
    yield "otv", via4(8472, hexed("08000000 00000100") + E4)
    yield "rftap", via4(52001, b"RFta" + hexed("0300 0100 69000000") + dot11)
    yield "zep", via4(17754, b"EX\x02\x01" + bytes(28))
    for port in (12220, 12222, 12223):
        for name, body in (("plain", dot11), ("swapped", swapped)):
            for prefix in (b"", MAC[:6]):
                for flags in ("00", "04", "02", "01", "08"):
                    yield (
                        f"lwapp {port} {name} {len(prefix)} {flags}",
                        via4(port, prefix + hexed(flags) + pack("!xHxx", len(body)) + body),
                    )
    yield "roce", via4(4791, hexed("0440ffff 00000001 80000001") + P4 + bytes(4))
    yield "wireguard", via4(51820, hexed("04000000 00000001 0000000000000000") + P4)
    yield (
        "gtp-u over 6",
        ether(
            0x86DD, ip6(udp(b"\x30\xff" + pack("!HI", len(P4), 42) + P4, source=HOST6, destination=PEER6, dport=2152))
        ),
    )


def dot11(
    kind: int = 0x08,
    flags: int = 0x01,
    *,
    qos: bytes = b"",
    fourth: bytes = b"",
    number: int = 0,
    body: bytes = SNAP + hexed("0800") + P4,
) -> bytes:
    """An 802.11 frame."""
    return bytes([kind, flags, 0, 0]) + MAC + MAC[:6] + pack("<H", number) + fourth + qos + body


def subframe(body: bytes) -> bytes:
    frame = MAC + pack("!H", len(body)) + body
    return frame + bytes(-len(frame) % 4)


def radiotap(fields: bytes, present: int, frame: bytes) -> bytes:
    return pack("<BBHI", 0, 0, 8 + len(fields), present) + fields + frame


def wlan() -> Iterator[tuple[str, bytes]]:
    """IEEE 802.11 frames."""
    llc4 = SNAP + hexed("0800") + P4
    yield "data", dot11()
    yield "data 6", dot11(body=SNAP + hexed("86dd") + P6)
    yield "data vlan", dot11(body=SNAP + hexed("8100 0005 0800") + P4)
    yield "data fcs", dot11() + bytes(4)
    yield "from ds", dot11(flags=2)
    yield "ad hoc", dot11(flags=0)
    yield "four addresses", dot11(flags=3, fourth=MAC[6:])
    yield "qos", dot11(0x88, qos=bytes(2))
    yield "qos order", dot11(0x88, 0x81, qos=bytes(6))
    yield "qos order bare", dot11(0x88, 0x81, qos=bytes(2))
    yield "order", dot11(0x08, 0x81)
    yield "qos four", dot11(0x88, 3, fourth=MAC[6:], qos=bytes(2))
    yield "protected", dot11(flags=0x41)
    yield "protected qos", dot11(0x88, 0x41, qos=bytes(2), body=hexed("0000002000000000") + llc4)
    yield "null", dot11(0x48)
    yield "qos null", dot11(0xC8, qos=bytes(2))
    yield "cf ack", dot11(0x18)
    yield "cf poll", dot11(0x28)
    yield "cf ack poll", dot11(0x38)
    yield "beacon", dot11(0x80)
    yield "ack", dot11(0xD4)
    yield "extension", dot11(0x0C)
    yield "version 1", dot11(0x09)
    yield "more fragments", dot11(flags=0x05, number=0x10)
    yield "retry", dot11(flags=0x09, number=0x30)
    yield "second fragment", dot11(number=0x21)
    yield "a-msdu", dot11(0x88, qos=hexed("8000"), body=subframe(llc4))
    yield (
        "a-msdu tcp first",
        dot11(0x88, qos=hexed("8000"), body=subframe(SNAP + hexed("0800") + ip4(bytes(20), 6)) + subframe(llc4)),
    )
    yield (
        "a-msdu arp first",
        dot11(0x88, qos=hexed("8000"), body=subframe(SNAP + hexed("0806") + bytes(28)) + subframe(llc4)),
    )
    yield "encapsulated ethernet", dot11(body=E4)
    yield "ethernet of other addresses", dot11(body=ether(0x0800, P4, hexed("00aabbccddee 00aabbccddef")))
    yield "raw ipx", dot11(body=b"\xff\xff" + P4)
    yield "llc ip", dot11(body=hexed("060603") + P4)
    yield "mesh", dot11(0x88, 3, fourth=MAC[6:], qos=hexed("0001"), body=hexed("001f 00000001") + llc4)
    yield "mesh 2", dot11(0x88, 3, fourth=MAC[6:], qos=hexed("0001"), body=hexed("021f 00000001") + MAC + llc4)
    yield "cisco olpc", dot11(body=hexed("001f 00000001") + llc4)
    yield "ssnap", dot11(body=hexed("aaaa03 0000f8 0800") + P4)
    yield "wds", dot11(flags=3, fourth=MAC[6:], body=SNAP + hexed("0806") + bytes(28))


def docsis_check(head: bytes) -> bytes:
    """The header check sequence of DOCSIS: CRC-CCITT as in ITU-T X.25."""
    crc = 0xFFFF
    for byte in head:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0x8408 if crc & 1 else crc >> 1
    return pack("<H", crc ^ 0xFFFF)


def links() -> Iterator[tuple[int, str, bytes]]:  # noqa: C901 - a list of stacks
    """Link types other than Ethernet."""
    for family in (2, 7, 10, 23, 24, 26, 28, 30, 99):
        body = P4 if family == 2 else P6
        yield 0, f"little {family}", pack("<I", family) + body
        yield 0, f"big {family}", pack(">I", family) + body
        yield 0, f"short little {family}", pack("<HH", family, 0) + body
        yield 0, f"short in front {family}", pack("<HH", 0, family) + body
        yield 0, f"short big {family}", pack(">HH", family, 0) + body
        yield 108, f"loop {family}", pack(">I", family) + body
        yield 108, f"loop swapped {family}", pack("<I", family) + body
        yield 109, f"enc {family}", pack("<III", family, 5, 0) + body
        yield 109, f"enc big {family}", pack(">III", family, 5, 0) + body
        yield 117, f"pflog {family}", bytes([61, family]) + bytes(62) + body
        yield 117, f"pflog 64 {family}", bytes([64, family]) + bytes(62) + body
        yield 226, f"ipnet {family}", bytes([1, family]) + pack("!HI", 0, len(body)) + bytes(16) + body
        yield 239, f"nflog {family}", bytes([family, 0, 0, 0]) + pack("<HH", 4 + len(body), 9) + body
    yield 0, "ppp", hexed("ff030021") + P4
    yield 0, "ethertype", pack(">I", 0x0800) + P4
    yield 0, "ethertype little", pack("<I", 0x0800) + P4
    yield 0, "chdlc", hexed("0f000800") + P4
    yield 0, "6 as 2", pack("<I", 2) + P6
    yield 108, "ethertype", pack(">I", 0x0800) + P4
    for size in (48, 61, 64, 84, 97, 100):
        yield 117, f"pflog {size}", bytes([size, 2]) + bytes((size + 3) // 4 * 4 - 2) + P4
    attributes = pack("<HHI", 8, 1, 0) + pack("<HH", 5, 10) + b"x\0\0\0"
    yield 239, "nflog", bytes([2, 0, 0, 0]) + attributes + pack("<HH", 4 + len(P4), 9) + P4
    yield 239, "nflog 6", bytes([10, 0, 0, 0]) + attributes + pack("<HH", 4 + len(P6), 9) + P6
    yield 239, "nflog big", bytes([2, 0, 0, 0]) + pack(">HH", 4 + len(P4), 9) + P4
    yield 239, "nflog nested bit", bytes([2, 0, 0, 0]) + pack("<HH", 4 + len(P4), 0x8009) + P4
    yield 239, "nflog family 0", bytes([0, 0, 0, 0]) + pack("<HH", 4 + len(P4), 9) + P4
    yield (
        239,
        "nflog trailing",
        bytes([2, 0, 0, 0]) + pack("<HH", 4 + len(P4), 9) + P4 + bytes(1) + pack("<HHI", 8, 1, 0),
    )
    for linktype in (12, 14, 101):
        yield linktype, "raw 4", P4
        yield linktype, "raw 6", P6
        yield linktype, "raw ppp", hexed("ff030021") + P4
        yield linktype, "raw token ring ppp", hexed("00ff030021") + P4
        yield linktype, "raw six ppp", bytes(6) + hexed("ff030021") + P4
        yield linktype, "raw other six ppp", bytes([7] * 6) + hexed("ff030021") + P4
        yield linktype, "raw ten zeros", bytes(10) + P4
        yield linktype, "raw ten zeros 6", bytes(10) + P6
        yield linktype, "raw eth", E4
        yield linktype, "raw version 5", b"\x55" + P4[1:]
    for linktype in (228, 229, 106, 16, 18, 19):
        yield linktype, "ip4", P4
        yield linktype, "ip6", P6
    for linktype in (9, 50, 204):
        lead = b"\0" if linktype == 204 else b""
        for name, head in (
            ("hdlc", "ff030021"),
            ("plain", "0021"),
            ("compressed", "21"),
            ("address compressed", "ff0321"),
            ("cisco", "0f000800"),
            ("cisco multicast", "8f000800"),
            ("ethertype", "0800"),
            ("odd address", "ff13 0021"),
            ("mpls", "ff030281 00010140"),
            ("mp", "ff03003d c0000001 0021"),
            ("short mp", "ff03003d c001 0021"),
            ("cisco osi", "0f00fefe03cc"),
            ("cisco 6558", "0f006558"),
        ):
            yield linktype, name, lead + hexed(head) + (E4 if "6558" in name else P4)
        yield linktype, "6", lead + hexed("ff030057") + P6
        yield linktype, "fcs", lead + hexed("ff030021") + P4 + bytes(2)
    yield 51, "pppoe", hexed("11000001") + pack("!H", 2 + len(P4)) + hexed("0021") + P4
    for linktype in (104, 112, 205):
        for head in (
            "0f000800",
            "8f000800",
            "0f0086dd",
            "00000800",
            "0f00fefe03cc",
            "0f00fefecc",
            "0f008847 00010140",
            "0f006558",
            "0f000021",
        ):
            body = P6 if "86dd" in head else E4 if "6558" in head else P4
            yield linktype, f"chdlc {head}", hexed(head) + body
    for linktype in (107, 206):
        for head in (
            "1841 03 cc",
            "1841 03 00 cc",
            "1841 0380 000000 0800",
            "1841 03 00 80 000000 0800",
            "1841 03 cf 0021",
            "1841 03cf ff030021",
            "18400041 03 cc",
            "184001 03cc",
            "1841 0800",
            "1841 03 8e",
            "1841 8847 00010140",
            "1841 03 00 80 0080c2 0007",
            "1841 0300 80 0080c2 0007 0000",
            "1841 0380 0080c2 0001",
            "1841 aaaa03 000000 0800",
            "1841 13cc",
        ):
            body = P6 if "8e" in head else E4 if "80c2" in head else P4
            yield linktype, f"fr {head}", hexed(head) + body
    for linktype in (11, 100):
        yield linktype, "llc", SNAP + hexed("0800") + P4
        yield linktype, "nlpid", hexed("fefe03cc") + P4
        yield linktype, "bridged", hexed("aaaa03 0080c2 0007 0000") + E4
        yield linktype, "bridged fcs", hexed("aaaa03 0080c2 0001 0000") + E4 + bytes(4)
        yield linktype, "ppp", hexed("fefe03cf 0021") + P4
        yield linktype, "vc ip", P4
        yield linktype, "vc bridged", hexed("0000") + E4
        yield linktype, "vc ppp", hexed("0021") + P4
    for kind in range(8):
        for name, body in (
            ("llc", SNAP + hexed("0800") + P4),
            ("ip4", P4),
            ("lane", hexed("0001") + E4),
            ("ppp", hexed("ff030021") + P4),
            ("ppp2", hexed("0021") + P4),
            ("lane llc", hexed("0001") + ether(8 + len(P4), SNAP + hexed("0800") + P4)),
            ("bridged", hexed("aaaa03 0080c2 0007 0000") + E4),
        ):
            yield 123, f"sunatm {kind} {name}", bytes([kind, 0, 0, 100]) + body
            yield 123, f"sunatm out {kind} {name}", bytes([0x80 | kind, 0, 0, 5]) + body
    llc4 = SNAP + hexed("0800") + P4
    local = hexed("020000000002 020000000001")
    yield 6, "token ring", hexed("1040") + local + llc4
    yield 6, "token ring routed", hexed("1040") + local[:6] + hexed("820000000001 0690 0011 0022") + llc4
    yield 6, "token ring mac", hexed("1000") + local + llc4
    yield 6, "token ring llc ip", hexed("1040") + local + hexed("060603") + P4
    yield 6, "token ring linux", hexed("1040") + local + hexed("c230") + bytes(16) + llc4
    yield 6, "token ring unmarked route", hexed("1040") + local + hexed("0690 0011 0022") + llc4
    for control in (0x50, 0x57, 0x5F, 0x40, 0x41, 0xD0, 0x90, 0xC3, 0x80):
        yield 10, f"fddi {control:02x}", bytes([control]) + local + llc4
    yield 10, "fddi padded", bytes(3) + b"\x50" + local + llc4
    for protocol in (196, 205, 212, 213, 214, 240, 241):
        body = P6 if protocol == 196 else P4
        for name, head in (("", "00 0001"), (" exception", "ff ffffff 00 0001"), (" split", "01 0001"), (" bare", "")):
            yield 7, f"arcnet {protocol}{name}", bytes([1, 2, protocol]) + hexed(head) + body
            yield 129, f"arcnet linux {protocol}{name}", bytes([1, 2, 0, 0, protocol]) + hexed(head) + body
    yield 122, "ip over fc", bytes(16) + llc4
    yield 138, "firewire", bytes(16) + hexed("0800") + P4
    yield 138, "firewire 6", bytes(16) + hexed("86dd") + P6
    for header in ("00000000", "00000004", "01040000", "00000039", "c0000000", "80000000"):
        size = pack("!H", len(E4))
        head = hexed(header)[:2] + size + (bytes(hexed(header)[1]) if hexed(header)[0] & 1 else b"")
        yield 143, f"docsis {header}", head + docsis_check(head) + E4
        yield 143, f"docsis fcs {header}", head + docsis_check(head) + E4 + pack("<I", crc32(E4))
    head = hexed("0104") + pack("!H", 4 + len(E4)) + hexed("00000000")
    yield 143, "docsis extended", head + docsis_check(head) + E4
    yield 197, "erf", bytes(8) + hexed("0204") + pack("!HHH", 18 + len(E4), 0, len(E4)) + bytes(2) + E4
    yield (
        197,
        "erf extension",
        bytes(8) + hexed("8204") + pack("!HHH", 26 + len(E4), 0, len(E4)) + bytes(8) + bytes(2) + E4,
    )
    for kind in range(1, 49):
        for name, body in (
            ("eth", bytes(2) + E4),
            ("hdlc", hexed("0f000800") + P4),
            ("ppp", hexed("ff030021") + P4),
            ("ip4", P4),
            ("ip6", P6),
            ("llc", SNAP + hexed("0800") + P4),
            ("atm", bytes(4) + SNAP + hexed("0800") + P4),
        ):
            yield (
                197,
                f"erf {kind} {name}",
                bytes(8) + bytes([kind, 4]) + pack("!HHH", 16 + len(body), 0, len(body)) + body,
            )
    yield 240, "netanalyzer", hexed("00040000") + E4 + bytes(4)
    yield 240, "netanalyzer port", hexed("20c43900") + E4 + bytes(4)
    yield 240, "netanalyzer gpio", hexed("00050000") + E4 + bytes(4)
    yield 241, "netanalyzer transparent", hexed("00000000") + hexed("55555555555555d5") + E4 + bytes(4)
    yield 242, "ipoib", bytes(40) + hexed("0800 0000") + P4
    yield 242, "ipoib 6", bytes(40) + hexed("86dd 0000") + P6
    yield 259, "epon", hexed("5555d55555 0001") + b"\0" + E4
    yield 259, "epon zero", bytes(8) + E4
    yield 259, "epon 6", bytes(6) + E4
    for mark in ("d5", "19", "07", "e6", "4c", "7f", "b3", "61", "52", "9e", "2a", "55"):
        yield 274, f"mpacket {mark}", hexed("55555555555555") + hexed(mark) + E4 + bytes(4)
        yield 274, f"mpacket {mark} good", hexed("55555555555555") + hexed(mark) + E4 + pack("<I", crc32(E4))
    yield 274, "mpacket bare", E4 + bytes(4)
    yield 274, "mpacket short preamble", hexed("555555d5") + E4 + pack("<I", crc32(E4))
    yield 274, "mpacket 7", hexed("555555555555d5") + E4 + pack("<I", crc32(E4))
    for hardware in (
        1,
        2,
        24,
        32,
        256,
        277,
        280,
        512,
        513,
        519,
        768,
        769,
        770,
        772,
        776,
        778,
        779,
        783,
        801,
        802,
        803,
        804,
        820,
        823,
        824,
        825,
        827,
        65534,
        65535,
    ):
        for protocol, name, body in (
            (0x0800, "ip4", P4),
            (0x86DD, "ip6", P6),
            (0x8100, "vlan", hexed("00050800") + P4),
            (0x6558, "eth", E4),
            (4, "llc", SNAP + hexed("0800") + P4),
            (1, "802.3", ether(8 + len(P4), SNAP + hexed("0800") + P4)),
            (1, "llc", SNAP + hexed("0800") + P4),
            (0, "llc", SNAP + hexed("0800") + P4),
            (0x19, "ip", P4),
            (0x0003, "eth", E4),
            (0x0009, "ppp", hexed("ff030021") + P4),
            (0x0007, "ppp", hexed("0021") + P4),
            (0x00F5, "dsa", P4),
            (0x8864, "pppoe", hexed("11000001") + pack("!H", 2 + len(P4)) + hexed("0021") + P4),
            (0x0008, "ppp", hexed("ff030021") + P4),
            (100, "len", llc4),
        ):
            yield (
                113,
                f"sll {hardware} {protocol:04x} {name}",
                pack("!HHH", 0, hardware, 6) + bytes(8) + pack("!H", protocol) + body,
            )
            yield (
                276,
                f"sll2 {hardware} {protocol:04x} {name}",
                pack("!HHIHBB", protocol, 0, 1, hardware, 0, 6) + bytes(8) + body,
            )
        yield (
            113,
            f"sll radiotap {hardware}",
            pack("!HHH", 0, hardware, 6) + bytes(8) + pack("!H", 0) + radiotap(b"", 0, dot11()),
        )
        yield 113, f"sll 802.11 {hardware}", pack("!HHH", 0, hardware, 6) + bytes(8) + pack("!H", 0x19) + dot11()
    for linktype in (0, 1, 9, 101, 105, 108, 113, 127, 12, 192, 258):
        bodies = {
            0: pack("<I", 2) + P4,
            1: E4,
            9: hexed("ff030021") + P4,
            101: P4,
            105: dot11(),
            108: pack(">I", 2) + P4,
            113: pack("!HHH", 0, 1, 6) + bytes(8) + hexed("0800") + P4,
            127: radiotap(b"", 0, dot11()),
            12: P4,
        }
        body = bodies.get(linktype, pack("<BBHI", 0, 0, 8, 1) + E4)
        yield 192, f"ppi {linktype}", pack("<BBHI", 0, 0, 8, linktype) + body
        yield 192, f"ppi fields {linktype}", pack("<BBHI", 0, 0, 16, linktype) + hexed("0200 0400 00000000") + body
        yield 192, f"ppi big {linktype}", hexed("00 01 0008") + pack(">I", linktype) + body
        yield 258, f"pktap {linktype}", pack("<III", 108, 1, linktype) + bytes(96) + body
        yield 258, f"pktap short {linktype}", pack("<III", 12, 1, linktype) + body
        yield 258, f"pktap kind 0 {linktype}", pack("<III", 108, 0, linktype) + bytes(96) + body
    common = hexed("0200 1400") + bytes(8) + hexed("0100") + bytes(10)
    yield 192, "ppi 802.11 fcs", pack("<BBHI", 0, 0, 8 + len(common), 105) + common + dot11() + bytes(4)
    yield 192, "ppi aligned", pack("<BBHI", 0, 1, 16, 1) + hexed("0500 0400 00000000") + E4
    for linktype in (105, 119, 127, 163):
        lead = {
            105: b"",
            119: pack("<II", 0x44, 144) + bytes(136),
            127: radiotap(b"", 0, b""),
            163: pack(">II", 0x80211001, 64) + bytes(56),
        }[linktype]
        for name, frame in wlan():
            yield linktype, name, lead + frame
    yield 119, "prism big", pack(">II", 0x44, 144) + bytes(136) + dot11()
    yield 119, "prism avs", pack(">II", 0x80211001, 64) + bytes(56) + dot11()
    yield 119, "prism bare", dot11()
    yield 163, "avs 2", pack(">II", 0x80211002, 64) + bytes(56) + dot11()
    yield 163, "avs prism", pack("<II", 0x44, 144) + bytes(136) + dot11()
    padded = bytes([0x88, 1, 0, 0]) + MAC + MAC[:6] + bytes(2) + bytes(2) + bytes(2) + llc4
    yield 127, "flags none", radiotap(b"\x00", 2, dot11())
    yield 127, "flags fcs", radiotap(b"\x10", 2, dot11() + bytes(4))
    yield 127, "flags pad", radiotap(b"\x20", 2, padded)
    yield 127, "flags pad even", radiotap(b"\x20", 2, dot11())
    yield 127, "tsft flags pad", radiotap(bytes(8) + b"\x20", 3, padded)
    yield 127, "extended flags pad", radiotap(pack("<I", 0) + b"\x20", 0x80000002, padded)
    yield 127, "extended tsft flags pad", radiotap(pack("<I", 0) + bytes(4) + bytes(8) + b"\x20", 0x80000003, padded)
    yield 127, "twice extended", radiotap(pack("<II", 0x80000000, 0) + b"\x20", 0x80000002, padded)
    yield 127, "bad fcs flag", radiotap(b"\x40", 2, dot11())
    yield 127, "version 1", b"\1" + radiotap(b"", 0, dot11())[1:]
    yield 127, "no fields", radiotap(b"", 2, dot11())
    extensions = hexed("000a 010103 020188 030105 00")
    for linktype in (133, 167, 178, 179, 180, 181, 183):
        for flags, more in (("00", b""), ("01", b""), ("80", extensions), ("81", extensions)):
            head = hexed("4d4743" + flags) + more
            for name, body in (
                ("eth", E4),
                ("ppp", hexed("ff030021") + P4),
                ("fr", hexed("184103cc") + P4),
                ("chdlc", hexed("0f000800") + P4),
                ("vp", bytes(18) + P4),
                ("vp6", bytes(18) + P6),
            ):
                yield linktype, f"juniper {flags} {name}", head + body
        for flags, more in (("02", b""), ("83", extensions)):
            for number, body in (
                (2, P4),
                (3, P4),
                (4, mpls(16) + P4),
                (5, mpls(16) + P4),
                (6, P6),
                (7, P6),
                (8, mpls(16) + P4),
                (32, mpls(16) + P4),
                (33, P4),
                (10, P4),
                (200, hexed("0021") + P4),
                (200, hexed("ff030021") + P4),
                (201, hexed("cc") + P4),
                (202, SNAP + hexed("0800") + P4),
                (203, SNAP + hexed("0800") + P4),
                (204, E4),
                (207, hexed("184103cc") + P4),
                (208, hexed("0f000800") + P4),
            ):
                yield (
                    linktype,
                    f"juniper {flags} {number} {body[:2].hex()}",
                    hexed("4d4743" + flags) + more + pack("<I", number) + body,
                )
        yield linktype, "juniper no magic", bytes(4) + E4
    yield 8, "slip", bytes(16) + P4
    yield 15, "slip bsd", bytes(24) + P4
    yield 32, "redback", bytes(24) + E4
    yield 99, "symantec", bytes(6) + hexed("0800") + bytes(36) + P4
    yield 166, "pppd", hexed("00030021") + P4
    yield 166, "pppd out", hexed("ff030021") + P4
    yield 219, "mpls", mpls(16) + P4
    yield 224, "fc", hexed("04000000 00000000 05000000 00000000 00000000 00000000") + llc4
    yield 253, "netlink", bytes(16) + E4
    yield 281, "dsa brcm", MAC + bytes(4) + hexed("0800") + P4
    yield 1, "snap of nothing", ether(3, b"\xaa\xaa\x03")


def pieces(
    packet: bytes, *cuts: int, number: int = 1, version: int = 4, protocol: int = 17, **more: str
) -> list[bytes]:
    """The IP payload `packet` in fragments that begin at 0 and at each of `cuts`."""
    starts = [0, *cuts]
    made = []
    for start, end in zip(starts, [*cuts, len(packet)], strict=True):
        last = end == len(packet)
        if version == 4:
            made.append(ip4(packet[start:end], protocol, offset=start, more=not last, number=number, **more))
        else:
            made.append(ip6(fragment6(packet[start:end], start, not last, number, protocol), 44, **more))
    return made


def fragment6(data: bytes, offset: int, more: bool, number: int, protocol: int = 17) -> bytes:
    return pack("!BBHI", protocol, 0, offset | more, number) + data


def fragments() -> Iterator[tuple[str, bytes]]:
    """Fragments: the frames of a case come one after the other, and each case has identifications of its own."""
    body = bytes(range(256)) * 2
    number = count(100)
    big, big6 = udp(body), udp(body, source=HOST6, destination=PEER6)

    def four(*cuts: int, **more: str) -> list[bytes]:
        return [ether(0x0800, piece) for piece in pieces(big, *cuts, number=next(number), **more)]

    def six(*cuts: int) -> list[bytes]:
        return [ether(0x86DD, piece) for piece in pieces(big6, *cuts, number=next(number), version=6)]

    def case(name: str, frames: list[bytes]) -> Iterator[tuple[str, bytes]]:
        for place, frame in enumerate(frames):
            yield f"{name} #{place}", frame

    for name, make in (("4", four), ("6", six)):
        yield from case(f"in order {name}", make(200, 400))
        yield from case(f"reversed {name}", make(200, 400)[::-1])
        yield from case(f"missing {name}", make(200, 400)[:2])
        yield from case(f"missing first {name}", make(200, 400)[1:])
        a, b, c = make(200, 400)
        yield from case(f"duplicated {name}", [a, a, b, b, c, c])
        a, b, c = make(200, 400)
        yield from case(f"last first {name}", [c, a, b])
        a, b, c = make(200, 400)
        yield from case(f"again {name}", [a, b, c, a, b, c])
        a, b, c = make(200, 400)
        x, y, z = make(200, 400)
        yield from case(f"interleaved {name}", [a, x, b, y, c, z])
        yield from case(f"tiny first {name}", make(8))
        yield from case(f"many {name}", make(*range(8, 512, 8)))
        yield from case(f"padded {name}", [frame + bytes(9) for frame in make(200, 400)])
        a, b = make(400)
        yield from case(f"cut last {name}", [a, b[:-10]])
    a, b = four(400)
    x, y = (frame[:12] + hexed("8100 0005") + frame[12:] for frame in (a, b))
    yield from case("vlan apart", [a, x, y, b])
    # The same addresses and identification in another VLAN, with another payload.
    other = pieces(udp(body[::-1]), 400, number=7)
    one = pieces(big, 400, number=7)
    tag = hexed("8100 0005 0800")
    yield from case(
        "vlan mixed", [ether(0x0800, one[0]), MAC + tag + other[0], MAC + tag + other[1], ether(0x0800, one[1])]
    )
    a, b = four(400)
    yield from case("overlap same", [a, ether(0x0800, ip4(big[392:], offset=392, number=8)), b])
    parts = [ip4(big[:400], more=True, number=9), ip4(bytes(len(big) - 392), offset=392, number=9)]
    yield from case("overlap different", [ether(0x0800, part) for part in parts])
    parts = [ip4(big[:400], more=True, number=10), ip4(big[200:300], offset=200, more=True, number=10)]
    yield from case("overlap inside", [ether(0x0800, part) for part in [*parts, ip4(big[400:], offset=400, number=10)]])
    parts6 = [fragment6(big6[:400], 0, True, 11), fragment6(big6[392:], 392, False, 11)]
    yield from case("overlap 6", [over6(44, part) for part in parts6])
    yield from case("atomic 6", [over6(44, fragment6(big6, 0, False, 12))])
    yield from case("tcp", [ether(0x0800, piece) for piece in pieces(bytes(600), 400, number=13, protocol=6)])
    yield from case("udp lite", [ether(0x0800, piece) for piece in pieces(big, 400, number=14, protocol=136)])
    for kind, protocol in ((P4, 4), (P6, 41)):
        whole = kind
        yield from case(
            f"tunnel {protocol}",
            [ether(0x0800, piece) for piece in pieces(whole, 24, number=next(number), protocol=protocol)],
        )
    tunnelled = gre(0x0800, ip4(big))
    yield from case("gre", [ether(0x0800, piece) for piece in pieces(tunnelled, 400, number=15, protocol=47)])
    yield from case("inside gre", [over4(47, gre(0x0800, piece)) for piece in pieces(big, 200, 400, number=16)])
    yield from case("inside ipip", [over4(4, piece) for piece in pieces(big, 200, 400, number=17)])
    inner = pieces(big, 200, 400, number=18)
    outer = [pieces(piece, 104, number=20 + place, protocol=4) for place, piece in enumerate(inner)]
    yield from case("nested", [ether(0x0800, piece) for group in outer for piece in group])
    vxlan = hexed("08000000 00002a00")
    yield from case(
        "inside vxlan", [via4(4789, vxlan + ether(0x0800, piece)) for piece in pieces(big, 200, 400, number=30)]
    )
    vni = hexed("08000000 00002b00")
    first = [via4(4789, vxlan + ether(0x0800, piece)) for piece in pieces(big, 400, number=31)]
    second = [via4(4789, vni + ether(0x0800, piece)) for piece in pieces(udp(body[::-1]), 400, number=32)]
    yield from case("two vni", [first[0], second[0], second[1], first[1]])
    carried = udp(vxlan + ether(0x0800, ip4(big)), sport=next(SENDERS), dport=4789)
    yield from case("vxlan fragmented", [ether(0x0800, piece) for piece in pieces(carried, 200, 400, number=33)])
    inner = pieces(big, 400, number=34)
    both = [
        pieces(udp(vxlan + ether(0x0800, piece), sport=next(SENDERS), dport=4789), 104, number=35 + place)
        for place, piece in enumerate(inner)
    ]
    yield from case("vxlan fragmented twice", [ether(0x0800, piece) for group in both for piece in group])
    options = hexed("1100010400000000")
    yield from case(
        "options within 6",
        [
            over6(44, part)
            for part in (fragment6(options + big6[:392], 0, True, 37, 60), fragment6(big6[392:], 400, False, 37, 60))
        ],
    )
    yield from case(
        "options before 6",
        [
            over6(60, hexed("2c00010400000000") + part)
            for part in (fragment6(big6[:400], 0, True, 38), fragment6(big6[400:], 400, False, 38))
        ],
    )
    route = hexed("2c 02 02 01 00000000") + ip_address("2001:db8::a").packed
    routed = udp(body, source=HOST6, destination="2001:db8::a")
    yield from case(
        "routing before 6",
        [
            over6(43, route + part)
            for part in (fragment6(routed[:400], 0, True, 39), fragment6(routed[400:], 400, False, 39))
        ],
    )
    yield from case("zero checksum", [ether(0x0800, piece) for piece in pieces(udp(body, value=0), 400, number=40)])
    yield from case("bad checksum", [ether(0x0800, piece) for piece in pieces(udp(body, value=1), 400, number=41)])
    yield from case(
        "udp length short", [ether(0x0800, piece) for piece in pieces(udp(body, length=100), 400, number=42)]
    )
    yield from case(
        "udp length long", [ether(0x0800, piece) for piece in pieces(udp(body, length=1000), 400, number=43)]
    )
    yield from case(
        "other protocol",
        [ether(0x0800, ip4(big[:400], more=True, number=44)), ether(0x0800, ip4(big[400:], 6, offset=400, number=44))],
    )
    yield from case(
        "next header differs 6",
        [over6(44, fragment6(big6[:400], 0, True, 45)), over6(44, fragment6(big6[400:], 400, False, 45, 6))],
    )
    yield from case(
        "next header differs last first 6",
        [over6(44, fragment6(big6[400:], 400, False, 46, 6)), over6(44, fragment6(big6[:400], 0, True, 46))],
    )
    yield from case(
        "odd length 6",
        [over6(44, fragment6(big6[:401], 0, True, 47)), over6(44, fragment6(big6[401:], 400, False, 47))],
    )
    yield from case(
        "empty more",
        [
            ether(0x0800, ip4(b"", more=True, number=48)),
            *(ether(0x0800, piece) for piece in pieces(big, 400, number=48)),
        ],
    )
    yield from case(
        "two ends",
        [
            ether(0x0800, ip4(big[400:504], offset=400, number=49)),
            *(ether(0x0800, piece) for piece in pieces(big, 400, number=49)),
        ],
    )
    yield from case(
        "beyond the end",
        [
            ether(0x0800, ip4(b"x" * 8, offset=2000, more=True, number=50)),
            *(ether(0x0800, piece) for piece in pieces(big, 400, number=50)),
        ],
    )
    yield from case(
        "too long",
        [ether(0x0800, ip4(big, offset=65528, number=51)), ether(0x0800, ip4(big[:8], more=True, number=51))],
    )
    ah = hexed("11 04 0000 00000001 00000001") + bytes(12)
    yield from case("ah", [ether(0x0800, piece) for piece in pieces(ah + big, 400, number=52, protocol=51)])
    yield from case("mpls", [ether(0x8847, mpls(16) + piece) for piece in pieces(big, 400, number=53)])
    a, b = pieces(big, 400, number=54)
    yield from case("mpls labels differ", [ether(0x8847, mpls(16) + a), ether(0x8847, mpls(17) + b)])
    a, b = pieces(big, 400, number=55)
    yield from case("mpls and plain", [ether(0x8847, mpls(16) + a), ether(0x0800, b)])
    a, b = pieces(big, 400, number=56)
    yield from case(
        "source ports of a tunnel", [via4(4789, vxlan + ether(0x0800, a)), via4(4789, vxlan + ether(0x0800, b))]
    )


def capwap() -> Iterator[tuple[str, bytes]]:
    """Fragments of CAPWAP's own (RFC 5415 4.3)."""
    swapped = hexed("0108 0000") + MAC + MAC[:6] + bytes(2) + SNAP + hexed("0800") + ip4(udp(bytes(100)))
    for name, body, flags in (("802.11", swapped, 0x300), ("802.3", ether(0x0800, ip4(udp(bytes(100)))), 0x200)):
        first = hexed("0010") + pack("!HHH", flags | 0x80, 7, 0) + body[:64]
        last = hexed("0010") + pack("!HHH", flags | 0xC0, 7, 64) + body[64:]
        sport = next(SENDERS)
        yield f"capwap {name} first", via4(5247, first, sport=sport)
        yield f"capwap {name} last", via4(5247, last, sport=sport)
        sport = next(SENDERS)
        yield f"capwap {name} last first", via4(5247, last, sport=sport)
        yield f"capwap {name} first last", via4(5247, first, sport=sport)
        sport = next(SENDERS)
        yield f"capwap {name} alone", via4(5247, last, sport=sport)


def everything() -> Iterator[tuple[int, str, bytes]]:
    """Every frame there is here, with its link type; fragments of a case stay in their order."""
    for group in (ethernet, ip_layer, gre_layer, tunnels, fragments, capwap):
        for name, frame in group():
            yield 1, f"{group.__name__}: {name}", frame
    for linktype, name, frame in links():
        yield linktype, f"link {linktype}: {name}", frame
