"""What Wireshark sees: one row per UDP header that tshark shows, made from its PDML.

The measure of the extraction. Nothing here knows how the decoders work; tests that use it are skipped where tshark is
missing.
"""

import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from struct import pack
from typing import NamedTuple
from xml.etree import ElementTree

TSHARK = shutil.which("tshark")
OPTIONS = ("-n", "-o", "ip.defragment:TRUE", "-o", "udp.check_checksum:TRUE", "-T", "pdml")
STATUS = {"0": "bad", "1": "good", "2": "unverified", "3": "absent", "4": "bad"}
"""Of `udp.checksum.status`; 4 is zero over IPv6, which tshark calls illegal."""

QUOTING = {"icmp", "icmpv6", "sflow"}


class Row(NamedTuple):
    """One UDP header of one frame. `depth` is 1 for the outermost, 0 for one that is only quoted."""

    frame: int
    depth: int
    encap: str
    source: str
    source_port: int
    destination: str
    destination_port: int
    length: int
    checksum: int
    status: str
    payload: bytes
    fragments: tuple[int, ...]
    doubtful: bool


def rows(path: Path) -> list[Row]:
    """Every UDP header that tshark shows in a capture, in order."""
    found: list[Row] = []
    for packet in _packets(path):
        found += _rows(packet)
    return found


def _packets(path: Path) -> Iterator[ElementTree.Element]:
    assert TSHARK is not None
    done = subprocess.run([TSHARK, *OPTIONS, "-r", str(path)], capture_output=True, check=False)
    text = done.stdout.decode("utf-8", "replace")
    for part in text.split("<packet>")[1:]:
        packet = part[: part.rindex("</packet>")] if "</packet>" in part else part
        # tshark writes control characters that XML does not allow.
        yield ElementTree.fromstring(
            "<packet>" + re.sub("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]", "?", packet) + "</packet>"
        )


def _rows(packet: ElementTree.Element) -> Iterator[Row]:
    number = int(_show(packet, "num", "1"))
    stack: list[str] = []
    ip: ElementTree.Element | None = None
    depth = 0

    def walk(parent: ElementTree.Element, quoted: bool) -> Iterator[Row]:
        nonlocal ip, depth
        for child in parent:
            name = child.get("name") or ""
            if child.tag == "proto":
                if name in ("ip", "ipv6"):
                    ip = child
                if name not in ("geninfo", "frame"):
                    stack.append(name)
                if name == "udp" and ip is not None:
                    if not quoted:
                        depth += 1
                    row = _row(child, ip, number, 0 if quoted else depth, "/".join(stack[:-1]))
                    if row is not None:
                        yield row
            outer = ip
            yield from walk(child, quoted or name in QUOTING)
            if name in QUOTING:
                ip = outer

    yield from walk(packet, quoted=False)


def _row(udp: ElementTree.Element, ip: ElementTree.Element, number: int, depth: int, encap: str) -> Row | None:
    version = ip.get("name") or ""
    if _show(udp, "udp.dstport") == "" or _show(udp, "udp.checksum") == "":
        return None
    length = int(_show(udp, "udp.length"))
    raw = _value(udp, "udp.payload") or _value(ip, "udp.payload")
    payload = bytes.fromhex(raw) if re.fullmatch("[0-9a-fA-F]*", raw) else b""
    fragments = tuple(int(_show(field)) for field in ip.iter("field") if field.get("name") == f"{version}.fragment")
    notes = " ".join(field.get("name") or "" for field in [*udp.iter("field"), *ip.iter("field")])
    doubtful = (
        length < 8
        or len(payload) > length - 8
        or "udp.length.bad" in notes
        or "udp.length.bad_zero" in notes
        or "fragment.overlap" in notes
        or "bogus" in notes
        or "ip.options.source_route" in notes
        or any(field.get("show") == "0" for field in ip.iter("field") if field.get("name") == "ipv6.routing.type")
    )
    return Row(
        number,
        depth,
        encap,
        _show(ip, f"{version}.src"),
        int(_show(udp, "udp.srcport")),
        _show(ip, f"{version}.dst"),
        int(_show(udp, "udp.dstport")),
        length,
        int(_show(udp, "udp.checksum"), 16),
        STATUS.get(_show(udp, "udp.checksum.status"), "unverified"),
        payload[: max(0, length - 8)],
        fragments,
        doubtful,
    )


def _field(parent: ElementTree.Element, name: str) -> ElementTree.Element | None:
    # Direct children first: options and routing headers repeat the names of addresses.
    direct = (field for field in parent if field.get("name") == name)
    found = next(direct, None)
    return (
        found
        if found is not None
        else next((field for field in parent.iter("field") if field.get("name") == name), None)
    )


def _show(parent: ElementTree.Element, name: str | None = None, default: str = "") -> str:
    field = parent if name is None else _field(parent, name)
    return default if field is None else field.get("show") or default


def _value(parent: ElementTree.Element, name: str) -> str:
    field = _field(parent, name)
    return "" if field is None else field.get("value") or ""


def write_pcapng(path: Path, frames: Iterable[tuple[int, bytes, int]]) -> None:
    """A pcapng with an interface per link type; each frame is link type, bytes, and length on the wire."""

    def block(kind: int, body: bytes) -> bytes:
        body += bytes(-len(body) % 4)
        return pack("<II", kind, 12 + len(body)) + body + pack("<I", 12 + len(body))

    frames = list(frames)
    links = sorted({linktype for linktype, _, _ in frames})
    with path.open("wb") as file:
        file.write(block(0x0A0D0D0A, pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)))
        for linktype in links:
            file.write(block(1, pack("<HHI", linktype, 0, 0)))
        for linktype, data, length in frames:
            file.write(block(6, pack("<IIIII", links.index(linktype), 0, 0, len(data), length) + data))


def write_pcap(path: Path, linktype: int, frames: Iterable[bytes], *, snaplen: int = 0) -> None:
    """A classic pcap with one record per frame; `snaplen` cuts the records as a capture would."""
    with path.open("wb") as file:
        file.write(pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, linktype))
        for number, frame in enumerate(frames):
            cut = frame[:snaplen] if snaplen else frame
            file.write(pack("<IIII", 1_700_000_000 + number // 1000, number % 1000, len(cut), len(frame)) + cut)
