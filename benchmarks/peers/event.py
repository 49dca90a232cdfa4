"""The event of a datagram as anyone would write it down: a dict with the members of pcapeda's full shape."""

import base64
import hashlib
import struct
from datetime import UTC, datetime
from typing import Any


def event(
    *,
    time_ns: int,
    source: str,
    source_port: int,
    destination: str,
    destination_port: int,
    version: int,
    length: int,
    checksum: int,
    status: str,
    capture: dict[str, Any],
    via: list[str],
    payload: bytes,
) -> dict[str, Any]:
    """What rules see of a whole datagram, ready for `json.dumps`; `capture` says where it was seen."""
    head = struct.pack("!qQHHI", time_ns, capture["Frame"], source_port, destination_port, 0)
    name = hashlib.blake2b(head + f"{source}>{destination}\0".encode() + payload, digest_size=16).hexdigest()
    time = datetime.fromtimestamp(time_ns // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    detail: dict[str, Any] = {
        "Destination": {"IpAddress": destination, "Port": destination_port},
        "Source": {"IpAddress": source, "Port": source_port},
        "IpVersion": version,
        "Length": length,
        "Checksum": f"0x{checksum:04x}",
        "ChecksumStatus": status,
        "CapturedAt": f"{time}.{time_ns % 1_000_000_000:09d}Z",
        "Capture": capture,
    }
    if len(via) > 2:
        detail["Via"] = via
    detail["PacketId"] = name
    detail["Payload"] = base64.b64encode(payload).decode()
    variant = "89ab"[int(name[16], 16) & 3]
    return {
        "version": "0",
        "id": f"{name[:8]}-{name[8:12]}-8{name[13:16]}-{variant}{name[17:20]}-{name[20:]}",
        "detail-type": "UdpPacket",
        "source": "udp.raw",
        "account": "123456789012",
        "time": f"{time}Z",
        "region": "us-east-1",
        "resources": [],
        "detail": detail,
    }
