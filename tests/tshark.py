"""What tshark sees in a capture: its packet records and the UDP datagrams in them. The truth for readers."""

import functools
import hashlib
import shutil
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.command import FIXTURES

needs_tshark = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")

STATUS = {"0": "bad", "1": "good", "2": "unverified", "3": "not_present", "4": "illegal"}


class Record(NamedTuple):
    """A packet record, numbered from 1 (tshark's own numbers count custom blocks too). No time: None."""

    number: int
    time_ns: int | None
    captured: int
    wire: int


def nanoseconds(text: str) -> int | None:
    """The exact value of tshark's `frame.time_epoch`; None for an empty field."""
    if not text:
        return None
    seconds, _, fraction = text.partition(".")
    value = int(seconds.lstrip("-")) * 10**9 + int(fraction.ljust(9, "0"))
    return -value if text.startswith("-") else value


def records(path: Path) -> list[Record]:
    """The packet records of a capture (a pcapng custom block takes a tshark number too: it is left out)."""
    fields = ("frame.time_epoch", "frame.cap_len", "frame.len", "frame.cb_pen")
    if path.parent == FIXTURES:
        listed = [[_shown(packet, name) for name in fields] for packet in _packets(path)]
    else:
        asked = [argument for name in fields for argument in ("-e", name)]
        done = subprocess.run(["tshark", "-n", "-r", path, "-T", "fields", *asked], capture_output=True, check=False)
        listed = [line.split("\t") for line in done.stdout.decode("utf-8", "replace").splitlines() if line]
    kept = [(moment, captured, wire) for moment, captured, wire, custom in listed if captured and not custom]
    return [
        Record(number, nanoseconds(moment), int(captured), int(wire))
        for number, (moment, captured, wire) in enumerate(kept, 1)
    ]


def datagrams(path: Path) -> list[dict[str, str]]:
    """One row for each whole UDP header that tshark dissects, with the columns of the tables in fixtures/expected."""
    packets = [packet for packet in _packets(path) if not _shown(packet, "frame.cb_pen")]
    return [row for number, packet in enumerate(packets, 1) for row in _in_packet(packet, number)]


@functools.cache
def _packets(path: Path) -> list[ET.Element]:
    """tshark's whole dissection: kept, because tshark starts slowly. For small captures."""
    done = subprocess.run(
        ["tshark", "-n", "-o", "udp.check_checksum:TRUE", "-r", path, "-T", "pdml"], capture_output=True, check=False
    )
    text = done.stdout.decode("utf-8", "replace")
    if not text.rstrip().endswith("</pdml>"):
        text = text + "</pdml>" if "<pdml" in text else "<pdml/>"
    return list(ET.fromstring(text).iter("packet"))


def _shown(element: ET.Element, name: str, attribute: str = "show") -> str:
    """The first field of that name at any depth of an element, or an empty text."""
    return next((field.get(attribute, "") for field in element.iter("field") if field.get("name") == name), "")


def _in_packet(packet: ET.Element, number: int) -> Iterator[dict[str, str]]:
    frame = packet.find("proto[@name='frame']")
    assert frame is not None
    depth, quoted, ip, pieces = 0, False, None, ""
    for proto in packet.iter("proto"):  # in document order; what ICMP quotes is nested in it
        name = proto.get("name")
        if name in ("icmp", "icmpv6"):
            quoted = True
        elif name in ("ip", "ipv6"):
            ip, pieces = proto, ""
        if name in ("ip", "ipv6", "ipv6.fraghdr") and _shown(proto, f"{_family(proto)}.reassembled.length"):
            pieces = ",".join(
                field.get("show", "")
                for field in proto.iter("field")
                if field.get("name") == f"{_family(proto)}.fragment"
            )
        if name != "udp" or not _shown(proto, "udp.checksum.status"):
            continue
        assert ip is not None
        family = ip.get("name")
        depth += not quoted
        payload = bytes.fromhex(_shown(proto, "udp.payload", "value"))
        length = int(_shown(proto, "udp.length"))
        yield {
            "pkt": str(number),
            "time_epoch": _shown(frame, "frame.time_epoch"),
            "depth": "0" if quoted else str(depth),
            "quoted": str(int(quoted)),
            "ip_version": "4" if family == "ip" else "6",
            "src_ip": _shown(ip, f"{family}.src"),
            "src_port": _shown(proto, "udp.srcport"),
            "dst_ip": _shown(ip, f"{family}.dst"),
            "dst_port": _shown(proto, "udp.dstport"),
            "udp_len": str(length),
            "checksum": _shown(proto, "udp.checksum"),
            "checksum_status": STATUS[_shown(proto, "udp.checksum.status")],
            "payload_len": str(len(payload)),
            "payload_sha256": hashlib.sha256(payload).hexdigest(),
            "truncated": str(int(len(payload) < length - 8)),
            "reassembled": str(int(bool(pieces))),
            "frag_frames": pieces,
        }


def _family(proto: ET.Element) -> str:
    return "ip" if proto.get("name") == "ip" else "ipv6"
