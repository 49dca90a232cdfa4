"""Nested packets by the rules of their specifications, drawn at random; and ways to break them.

`nested` takes what chooses among possibilities, so that both hypothesis and a seeded generator can drive it.
"""

from collections.abc import Callable, Sequence
from struct import pack
from typing import Any, NamedTuple

from tests import stacks
from tests.stacks import SNAP, ether, gre, hexed, ip4, ip6, mpls, udp

Choose = Callable[[Sequence[Any]], Any]

HOSTS4 = ["192.0.2.1", "198.51.100.2", "203.0.113.3", "10.0.0.1"]
HOSTS6 = ["2001:db8::1", "2001:db8::2", "fe80::1", "ff02::1:2"]


class Made(NamedTuple):
    """A packet in the making: its bytes, and whether they are an IPv4 or IPv6 packet or an Ethernet frame."""

    kind: str
    data: bytes


def datagram(choose: Choose) -> Made:
    """A UDP datagram in an IP packet."""
    payload = bytes(choose(range(256)) for _ in range(choose(range(12))))
    value = choose([None, None, None, 0, 1])
    ports = {"sport": choose(range(20000, 60000)), "dport": choose([514, 9999, 40000])}
    return _carried(choose, lambda ends: udp(payload, value=value, **ports, **ends))


def _carried(choose: Choose, make: Callable[[dict[str, str]], bytes], protocol: int = 17) -> Made:
    """An IP packet of either version around what `make` makes for its addresses."""
    if choose([4, 6]) == 4:
        ends = {"source": choose(HOSTS4), "destination": choose(HOSTS4)}
        options = choose([b"", b"", b"", b"\1\1\1\0", hexed("94040000")])
        return Made("ip4", ip4(make(ends), protocol, options=options, **ends))
    ends = {"source": choose(HOSTS6), "destination": choose(HOSTS6)}
    head, body = b"", make(ends)
    for _ in range(choose([0, 0, 0, 1, 2])):
        first = choose([60, 43, 44])
        head_of = {60: "00 0104 00000000", 43: "00 fd00 00000000", 44: "00 0000 00000000"}[first]
        head = bytes([protocol]) + hexed(head_of) if not head else bytes([protocol]) + hexed(head_of) + head
        protocol = first
    return Made("ip6", ip6(head + body, protocol, **ends))


def _tunnel(choose: Choose, port: int, payload: bytes) -> Made:
    sport = next(stacks.SENDERS)
    value = choose([None, None, 0])
    return _carried(choose, lambda ends: udp(payload, sport=sport, dport=port, value=value, **ends))


def _type(made: Made) -> int:
    return {"ip4": 0x0800, "ip6": 0x86DD, "eth": 0x6558}[made.kind]


def _number(choose: Choose) -> bytes:
    return pack("!I", choose(range(1 << 24)) << 8)


def in_ether(choose: Choose, made: Made) -> Made:
    """An IP packet in an Ethernet frame: with tags, in LLC, behind labels, in PPP, …"""
    kind, body = _type(made), made.data
    way = choose(
        ["plain", "plain", "vlan", "qinq", "snap", "mpls", "pppoe", "macsec", "nsh", "hsr", "etag", "pad", "vlan snap"]
    )
    if way == "vlan":
        return Made("eth", ether(0x8100, pack("!HH", choose(range(4096)), kind) + body))
    if way == "qinq":
        tags = pack("!HHHH", choose(range(4096)), 0x8100, choose(range(65536)), kind)
        return Made("eth", ether(0x88A8, tags + body))
    if way == "snap":
        body = SNAP + pack("!H", kind) + body
        return Made("eth", ether(len(body), body) if len(body) <= 1500 else ether(kind, made.data))
    if way == "vlan snap":
        body = SNAP + pack("!H", kind) + body
        return Made(
            "eth", ether(0x8100, pack("!HH", 5, len(body)) + body) if len(body) <= 1500 else ether(kind, made.data)
        )
    if way == "mpls":
        return Made("eth", ether(0x8847, mpls(*[choose(range(16, 1 << 20)) for _ in range(choose([1, 2, 5]))]) + body))
    if way == "pppoe":
        protocol = hexed("0021") if made.kind == "ip4" else hexed("0057")
        return Made(
            "eth", ether(0x8864, pack("!HHH", 0x1100, choose(range(1, 65536)), 2 + len(body)) + protocol + body)
        )
    if way == "macsec":
        return Made("eth", ether(0x88E5, hexed("00 00 00000001") + pack("!H", kind) + body + bytes(16)))
    if way == "nsh":
        following = b"\1" if made.kind == "ip4" else b"\2"
        return Made("eth", ether(0x894F, hexed("0fc202") + following + _number(choose) + body))
    if way == "hsr":
        return Made("eth", ether(0x892F, pack("!HHH", 6 + len(body), 1, kind) + body))
    if way == "etag":
        return Made("eth", ether(0x893F, bytes(6) + pack("!H", kind) + body))
    return Made("eth", ether(kind, body + (bytes(choose(range(20))) if way == "pad" else b"")))


def in_ip(choose: Choose, made: Made) -> Made:
    """Anything in an IP packet: IP in IP, GRE, AH, EtherIP."""
    if made.kind == "eth":
        way = choose(["gre", "nvgre", "etherip", "srv6", "erspan 1", "erspan 2", "erspan 3"])
        if way == "etherip":
            return _carried(choose, lambda ends: hexed("3000") + made.data, 97)
        if way == "srv6":
            return _carried(choose, lambda ends: made.data, 143)
        body = {
            "gre": gre(0x6558, made.data),
            "nvgre": gre(0x6558, made.data, 0x2000, _number(choose)),
            "erspan 1": gre(0x88BE, made.data),
            "erspan 2": gre(0x88BE, hexed("100a 0064 00000007") + made.data, 0x1000, bytes(4)),
            "erspan 3": gre(0x22EB, hexed("200a 0064 00000007 0000 0000") + made.data, 0x1000, bytes(4)),
        }[way]
        return _carried(choose, lambda ends: body, 47)
    way = choose(["ip", "gre", "gre key", "mpls", "ah", "pptp"])
    protocol = 4 if made.kind == "ip4" else 41
    if way == "ip":
        return _carried(choose, lambda ends: made.data, protocol)
    if way == "ah":
        head = bytes([protocol]) + hexed("04 0000 00000001 00000001") + bytes(12)
        return _carried(choose, lambda ends: head + made.data, 51)
    if way == "mpls":
        return _carried(choose, lambda ends: mpls(choose(range(16, 1000))) + made.data, 137)
    if way == "pptp":
        body = hexed("ff03") + (hexed("0021") if made.kind == "ip4" else hexed("0057")) + made.data
        return _carried(choose, lambda ends: gre(0x880B, body, 0x3001, pack("!HHI", len(body), 1, 1)), 47)
    fields = (0x2000, _number(choose)) if way == "gre key" else (0, b"")
    return _carried(choose, lambda ends: gre(_type(made), made.data, *fields), 47)


def in_udp(choose: Choose, made: Made) -> Made:  # noqa: C901 - one branch for each tunnel
    """Anything in a tunnel over UDP."""
    number = _number(choose)
    if made.kind == "eth":
        way = choose(["vxlan", "gpe", "geneve", "geneve options", "gre", "tzsp"])
    elif made.kind == "ip4":
        way = choose(["gpe", "geneve", "gtp", "gtp extended", "lisp", "l2tp", "mpls", "gre", "amt", "jmirror"])
    else:
        way = choose(["gpe", "geneve", "gtp", "lisp", "l2tp", "mpls", "gre", "teredo", "ayiya", "amt"])
    body = made.data
    if way == "vxlan":
        return _tunnel(choose, 4789, hexed("08000000") + number + body)
    if way == "gpe":
        following = {"ip4": 1, "ip6": 2, "eth": 3}[made.kind]
        return _tunnel(choose, 4790, hexed("0c0000") + bytes([following]) + number + body)
    if way == "geneve":
        return _tunnel(choose, 6081, pack("!BBH", 0, 0, _type(made)) + number + body)
    if way == "geneve options":
        return _tunnel(choose, 6081, pack("!BBH", 3, 0, _type(made)) + number + hexed("0108 0102") + bytes(8) + body)
    if way == "gtp":
        return _tunnel(choose, 2152, b"\x30\xff" + pack("!HI", len(body), choose(range(1 << 32))) + body)
    if way == "gtp extended":
        fields = hexed("000100 85 01 0010 00")
        return _tunnel(
            choose, 2152, b"\x36\xff" + pack("!HI", len(fields + body), choose(range(1 << 32))) + fields + body
        )
    if way == "lisp":
        return _tunnel(choose, 4341, hexed("88000000") + number + body)
    if way == "l2tp":
        protocol = hexed("0021") if made.kind == "ip4" else hexed("0057")
        return _tunnel(choose, 1701, pack("!HHH", 2, 3, 4) + hexed("ff03") + protocol + body)
    if way == "mpls":
        return _tunnel(choose, 6635, mpls(choose(range(16, 1000))) + body)
    if way == "gre":
        return _tunnel(choose, 4754, gre(_type(made), body))
    if way == "amt":
        return _tunnel(choose, 2268, hexed("0600") + body)
    if way == "tzsp":
        return _tunnel(choose, 37008, hexed("01 00 0001 01") + body)
    if way == "jmirror":
        return _tunnel(choose, 30030, bytes(8) + body)
    if way == "ayiya":
        return _tunnel(choose, 5072, hexed("44 52 11 29 5f000000") + bytes(36) + body)
    return _tunnel(choose, 3544, body)


def nested(choose: Choose, *, depth: int = 5) -> bytes:
    """An Ethernet frame with a UDP datagram in it, behind up to `depth` encapsulations."""
    made = datagram(choose)
    for _ in range(choose(range(depth))):
        ways = [in_ip, in_udp] if made.kind == "eth" else [in_ether, in_ip, in_udp]
        made = choose(ways)(choose, made)
        if len(made.data) > 1200:
            break
    if made.kind != "eth":
        made = in_ether(choose, made)
    return made.data


def broken(choose: Choose, frame: bytes) -> bytes:
    """The frame with bytes changed, cut, repeated or added."""
    for _ in range(choose([1, 1, 2, 4])):
        way = choose(["flip", "flip", "zero", "ones", "cut", "repeat", "append"])
        at = choose(range(len(frame))) if frame else 0
        if way == "flip":
            frame = frame[:at] + bytes([choose(range(256))]) + frame[at + 1 :]
        elif way in ("zero", "ones"):
            frame = frame[:at] + (b"\0\0" if way == "zero" else b"\xff\xff") + frame[at + 2 :]
        elif way == "cut":
            frame = frame[:at]
        elif way == "repeat":
            frame = frame[:at] + frame[max(0, at - 24) :]
        else:
            frame += bytes(choose(range(256)) for _ in range(choose(range(20))))
    return frame
