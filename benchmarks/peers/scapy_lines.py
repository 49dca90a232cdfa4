"""The straightforward way with Scapy: datagrams as the JSON lines of `pcapeda replay -n -o jsonl`, or of `sniff`.

    python -m benchmarks.peers.scapy_lines CAPTURE
    python -m benchmarks.peers.scapy_lines -i INTERFACE

Datagrams that came in fragments are left out.
"""

import json
import sys
from itertools import count
from pathlib import Path
from typing import Any

from scapy.all import IP, UDP, Dot1Q, IPv6, IPv6ExtHdrFragment, Packet, PcapReader, in4_chksum, in6_chksum, sniff

from benchmarks.peers.event import event


def replay(path: str) -> None:
    name = Path(path).name
    with PcapReader(path) as reader:
        for number, packet in enumerate(reader, 1):
            show(packet, {"Frame": number, "File": name})


def listen(interface: str) -> None:
    numbers = count(1)
    sniff(
        iface=interface,
        filter="udp",
        store=False,
        prn=lambda packet: show(packet, {"Frame": next(numbers), "Interface": interface}),
    )


def show(packet: Packet, capture: dict[str, Any]) -> None:
    found = described(packet, capture)
    if found is not None:
        print(json.dumps(found))


def described(packet: Packet, capture: dict[str, Any]) -> dict[str, Any] | None:
    """The event of a packet; None for one that is no whole UDP datagram."""
    if UDP not in packet:
        return None
    udp = packet[UDP]
    if IP in packet:
        ip, version = packet[IP], 4
        if ip.flags.MF or ip.frag:
            return None
    elif IPv6 in packet and IPv6ExtHdrFragment not in packet:
        ip, version = packet[IPv6], 6
    else:
        return None
    datagram = udp.original[: udp.len]
    if udp.chksum == 0:
        status = "absent" if version == 4 else "bad"
    else:
        total = in4_chksum(17, ip, datagram) if version == 4 else in6_chksum(17, ip, datagram)
        status = "good" if total == 0 else "bad"
    via = ["eth", *(f"vlan:{tag.vlan}" for tag in packet.iterpayloads() if isinstance(tag, Dot1Q)), f"ip{version}"]
    return event(
        time_ns=int(packet.time * 1_000_000_000),
        source=ip.src,
        source_port=udp.sport,
        destination=ip.dst,
        destination_port=udp.dport,
        version=version,
        length=udp.len,
        checksum=udp.chksum,
        status=status,
        capture=capture,
        via=via,
        payload=datagram[8:],
    )


if __name__ == "__main__":
    if sys.argv[1] == "-i":
        listen(sys.argv[2])
    else:
        replay(sys.argv[1])
