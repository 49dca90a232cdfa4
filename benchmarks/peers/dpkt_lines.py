"""The straightforward way with dpkt: a capture's datagrams as the JSON lines of `pcapeda replay -n -o jsonl`.

    python -m benchmarks.peers.dpkt_lines CAPTURE

Datagrams that came in fragments are left out: dpkt does not put them together.
"""

import json
import socket
import struct
import sys
from pathlib import Path

import dpkt

from benchmarks.peers.event import event


def main(path: str) -> None:
    name = Path(path).name
    with Path(path).open("rb") as file:
        for number, (time, data) in enumerate(dpkt.pcap.UniversalReader(file), 1):
            try:
                frame = dpkt.ethernet.Ethernet(data)
            except dpkt.UnpackError:
                continue
            ip = frame.data
            if isinstance(ip, dpkt.ip.IP):
                version, family, fragment = 4, socket.AF_INET, ip.mf or ip.offset
            elif isinstance(ip, dpkt.ip6.IP6):
                version, family, fragment = 6, socket.AF_INET6, 44 in ip.extension_hdrs
            else:
                continue
            udp = ip.data
            if fragment or not isinstance(udp, dpkt.udp.UDP):
                continue
            length = udp.ulen
            payload = udp.data[: length - 8]
            if udp.sum == 0:
                status = "absent" if version == 4 else "bad"
            else:
                pseudo = struct.pack("!HH", 17, length)
                header = struct.pack("!HHHH", udp.sport, udp.dport, length, udp.sum)
                total = dpkt.in_cksum(ip.src + ip.dst + pseudo + header + payload)
                status = "good" if total == 0 else "bad"
            via = ["eth", *(f"vlan:{tag.id}" for tag in getattr(frame, "vlan_tags", ())), f"ip{version}"]
            print(
                json.dumps(
                    event(
                        time_ns=round(time * 1_000_000) * 1000,
                        source=socket.inet_ntop(family, ip.src),
                        source_port=udp.sport,
                        destination=socket.inet_ntop(family, ip.dst),
                        destination_port=udp.dport,
                        version=version,
                        length=length,
                        checksum=udp.sum,
                        status=status,
                        capture={"Frame": number, "File": name},
                        via=via,
                        payload=payload,
                    )
                )
            )


if __name__ == "__main__":
    main(sys.argv[1])
