"""Tunnels over UDP by name and by port."""

from collections.abc import Iterable, Mapping
from typing import Final

from pcapeda.dissect.cursor import Layer
from pcapeda.dissect.protocols import ethernet, mpls, ppp, tunnels, wlan
from pcapeda.errors import BadConfig

TUNNELS: Final[Mapping[str, Layer]] = {
    "amt": tunnels.amt,
    "ayiya": tunnels.ayiya,
    "batman": tunnels.batman_gateway,
    "capwap": tunnels.capwap,
    "ethernet": ethernet.ethernet,
    "geneve": tunnels.geneve,
    "gre": tunnels.gre,
    "gtp": tunnels.gtp,
    "hp-erm": tunnels.hp_erm,
    "ip": ethernet.by_version,
    "jmirror": tunnels.jmirror,
    "l2tp": tunnels.l2tp,
    "lisp": tunnels.lisp,
    "lwapp": tunnels.lwapp,
    "lwapp-bridged": tunnels.lwapp_bridged,
    "mobile-ip": tunnels.mobile_ip,
    "mpls": mpls.mpls,
    "nsh": tunnels.nsh,
    "ppp": ppp.ppp_hdlc,
    "teredo": tunnels.teredo,
    "tzsp": tunnels.tzsp,
    "vxlan": tunnels.vxlan,
    "vxlan-gpe": tunnels.vxlan_gpe,
    "wlan": wlan.wlan,
}
"""Every tunnel that is read, by the name that `--tunnel` takes."""

PORTS: Final[Mapping[int, str]] = {
    434: "mobile-ip",
    1701: "l2tp",
    2123: "gtp",
    2152: "gtp",
    2268: "amt",
    3386: "gtp",
    3544: "teredo",
    4306: "batman",
    4341: "lisp",
    4754: "gre",
    4789: "vxlan",
    4790: "vxlan-gpe",
    5072: "ayiya",
    5247: "capwap",
    6081: "geneve",
    6635: "mpls",
    8472: "vxlan",
    12222: "lwapp",
    12223: "lwapp-bridged",
    30030: "jmirror",
    37008: "tzsp",
}
"""The ports that tunnels have of themselves: assigned by IANA, or the defaults of those who send them (8472: Linux)."""


MOST_SHOWN: Final = 40
"""Characters of a mistake that are shown: it may be a whole file."""


def table(asked: Iterable[tuple[int, str]] = ()) -> dict[int, Layer]:
    """The layer behind each tunnel's UDP port: the known ones, and those asked for by port and name, which overrule.

    Raises `BadConfig` for a port that there cannot be, or a name that there is not.
    """
    chosen = dict(PORTS)
    for one in asked:
        if not isinstance(one, tuple | list) or len(one) != 2:
            raise BadConfig(f"tunnels: {one!r} is no pair of a UDP port and a name, such as (8473, 'vxlan')")
        port, name = one
        if isinstance(port, bool) or not isinstance(port, int) or not 0 < port <= 0xFFFF:
            raise BadConfig(f"--tunnel {port}={name}: a UDP port is a number from 1 to 65535")
        if not isinstance(name, str) or name not in TUNNELS:
            raise BadConfig(f"--tunnel {port}={name}: no tunnel {name!r}; there are: {', '.join(TUNNELS)}")
        chosen[port] = name
    return {port: TUNNELS[name] for port, name in chosen.items()}


def parse(texts: Iterable[str]) -> tuple[tuple[int, str], ...]:
    """Ports and names of tunnels, each out of a text PORT=NAME.

    Raises `BadConfig` for what is none, for names that there are not, and for a port that is given two of them.
    """
    asked: dict[int, str] = {}
    for text in texts:
        port, equals, name = (part.strip() for part in text.partition("="))
        name = name.lower()
        if not equals or not (port.isascii() and port.isdecimal()) or not name:
            raise BadConfig(f"--tunnel {text[:MOST_SHOWN]}: expected PORT=NAME, such as 8473=vxlan")
        if len(port) > len("65535"):
            raise BadConfig(f"--tunnel {text[:MOST_SHOWN]}: a UDP port is a number from 1 to 65535")
        if asked.setdefault(int(port), name) != name:
            raise BadConfig(f"--tunnel {text}: port {int(port)} is already {asked[int(port)]}")
    table(asked.items())
    return tuple(asked.items())
