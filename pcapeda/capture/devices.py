"""Where one can listen: the network interfaces of this host (Linux), as netdevice(7) tells of them."""

import ctypes
import os
import re
import socket
import struct
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from pcapeda.capture.bpf import COOKED, ETHERNET, RAW_IP
from pcapeda.errors import BadConfig, InterfaceDown, NoSuchInterface

ANY: Final = "any"
"""The name for all interfaces, now and to come."""

LOOPBACK: Final = 772
"""ARPHRD_LOOPBACK."""
_LINKTYPES: Final = {1: ETHERNET, 772: ETHERNET, 801: 105, 803: 127, 519: RAW_IP, 776: RAW_IP, 65534: RAW_IP}
"""ARPHRD_ value (linux/if_arp.h) → LINKTYPE_ of what a SOCK_RAW socket gives there: Ethernet and loopback, 802.11 with
and without radiotap, raw IP (tun, WireGuard, sit). All others are read without their link header, as Linux cooked."""
_LINKTYPE_NAMES: Final = {
    ETHERNET: "Ethernet",
    RAW_IP: "raw IP",
    COOKED: "Linux cooked",
    105: "802.11",
    127: "radiotap",
}

# linux/sockios.h, linux/if.h
_SIOCGIFCONF, _SIOCGIFFLAGS, _SIOCGIFHWADDR = 0x8912, 0x8913, 0x8927
_IFF_UP = 1


class Interface(NamedTuple):
    """A place to listen. `addresses` are texts without prefix length; `linktype` names what its frames begin with."""

    name: str
    up: bool
    mac: str | None
    addresses: tuple[str, ...]
    linktype: str


class Device(NamedTuple):
    """An interface as the kernel knows it; `hardware` is its ARPHRD_ value. The index of 'any' is 0."""

    ifindex: int
    name: str
    up: bool
    hardware: int
    mac: bytes

    @property
    def linktype(self) -> int:
        """The LINKTYPE_ of its frames here."""
        return _LINKTYPES.get(self.hardware, COOKED)


def interfaces() -> list[Interface]:
    """What `LiveSource` can listen on, with 'any' at the end. Raises `BadConfig` where live capture does not work."""
    need_linux()
    addresses: dict[str, list[str]] = {}
    for name, address in _ipv4_addresses() + _ipv6_addresses():
        addresses.setdefault(name, []).append(address)
    found = []
    for index, name in socket.if_nameindex():
        with suppress(OSError):  # gone since
            device = _device(index, name)
            mac = device.mac.hex(":") if any(device.mac) else None
            found.append(
                Interface(name, device.up, mac, tuple(addresses.get(name, ())), _LINKTYPE_NAMES[device.linktype])
            )
    return [*found, Interface(ANY, True, None, (), _LINKTYPE_NAMES[COOKED])]


def need_linux() -> None:
    """Raises `BadConfig` elsewhere."""
    if not hasattr(socket, "AF_PACKET"):
        raise BadConfig("live capture works on Linux only", hint="tcpdump -U -w - -i … udp | pcapeda replay -")


def _device(index: int, name: str) -> Device:
    """Raises OSError when there is none of that name."""
    (flags,) = struct.unpack_from("H", _ask(_SIOCGIFFLAGS, name), 16)
    answer = _ask(_SIOCGIFHWADDR, name)
    (hardware,) = struct.unpack_from("H", answer, 16)
    return Device(index, name, bool(flags & _IFF_UP), hardware, answer[18:24])


def _ask(request: int, name: str) -> bytes:
    """An ioctl on struct ifreq (netdevice(7))."""
    from fcntl import ioctl

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        return ioctl(any_socket, request, os.fsencode(name).ljust(40, b"\0"))


def _ipv4_addresses() -> list[tuple[str, str]]:
    from fcntl import ioctl

    room = 64 * 1024
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        buffer = ctypes.create_string_buffer(room)
        answer = ioctl(any_socket, _SIOCGIFCONF, struct.pack("@iP", room, ctypes.addressof(buffer)))
    (used,) = struct.unpack_from("@i", answer)
    step = 40 if ctypes.sizeof(ctypes.c_void_p) == 8 else 32
    found = []
    for at in range(0, used, step):
        name = ctypes.string_at(ctypes.addressof(buffer) + at).split(b":")[0]  # eth0:1 is a label on eth0
        found.append((os.fsdecode(name), socket.inet_ntoa(buffer.raw[at + 20 : at + 24])))
    return found


def _ipv6_addresses() -> list[tuple[str, str]]:
    try:
        rows = [line.split() for line in Path("/proc/net/if_inet6").read_text().splitlines()]
    except OSError:  # a kernel without IPv6
        return []
    return [(row[5], socket.inet_ntop(socket.AF_INET6, bytes.fromhex(row[0]))) for row in rows]


def find(name: str) -> Device:
    """The interface of that name, or 'any'.

    Raises `NoSuchInterface`, `BadConfig` for what can be no interface's name, and `InterfaceDown` for one that is down.
    """
    if name == ANY:
        return Device(0, ANY, True, -1, b"")
    try:
        index = socket.if_nametoindex(name)
        device = _device(index, socket.if_indextoname(index))  # an alternative name leads to the proper one
    except (OSError, ValueError):
        there = ", ".join(one.name for one in interfaces())
        possible = name and not re.search(r"[/:\s\0]", name)  # as the kernel's dev_valid_name has it
        kind = NoSuchInterface if possible else BadConfig
        raise kind(f"no interface {name!r}; there are: {there}") from None
    if not device.up:
        raise InterfaceDown(f"interface {name} is down", hint=f"ip link set {name} up")
    return device
