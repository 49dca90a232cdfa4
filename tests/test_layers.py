"""Every layer of the walker on any bytes, and every EtherType against Wireshark and tcpdump."""

import shutil
import struct
import subprocess
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcapeda.dissect import tables, tunnel_ports
from pcapeda.dissect.cursor import Cursor, Space
from pcapeda.dissect.extractor import Extractor
from pcapeda.model import Datagram, Fragment, Frame, Skip
from pcapeda.report import Report
from tests.stacks import E4, MAC, P4

TABLES = {space: sorted(table) for space, table in tables.TABLES.items()}
BYTES = st.one_of(
    st.binary(max_size=120),
    # mostly zeros and small numbers: lengths and flags that lead on
    st.lists(st.sampled_from([0, 0, 0, 1, 2, 3, 4, 8, 16, 0x45, 0x60, 0x80, 0xAA, 0xFF]), max_size=80).map(bytes),
)
TAILS = st.sampled_from([b"", P4, E4, b"\x08\x00" + P4])


@pytest.mark.parametrize("space", Space)
@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_any_bytes_behind_any_number(space: Space, data: st.DataObject) -> None:
    """No bytes make a layer raise, read what is not there, or walk for ever."""
    number = data.draw(st.sampled_from(TABLES[space]))
    body = data.draw(BYTES) + data.draw(TAILS)
    cut = data.draw(st.integers(0, len(body)))
    for tunnels in ({}, tunnel_ports.table()):
        c = Cursor(Frame(0, 1, body[:cut], len(body), None, 1), tunnels)
        c.source, c.destination, c.pseudo = b"\1\1\1\1", b"\2\2\2\2", b"\1\1\1\1\2\2\2\2"
        found, _ = tables.walk(c, (space, number))
        assert isinstance(found, (Datagram, Fragment, Skip))
        assert c.stop <= cut


@pytest.mark.parametrize("name", tunnel_ports.TUNNELS)
@settings(max_examples=60, deadline=None)
@given(body=BYTES, tail=TAILS)
def test_any_bytes_in_any_tunnel(name: str, body: bytes, tail: bytes) -> None:
    """What is in a tunnel never loses the tunnel's own datagram."""
    data = MAC + b"\x08\x00" + _ip4(struct.pack("!HHHH", 50000, 9999, 8 + len(body + tail), 0) + body + tail)
    report = Report()
    found = Extractor(report, tunnels=[(9999, name)]).feed(Frame(0, 1, data, len(data), None, 1))
    assert isinstance(found, Datagram)
    assert report.datagrams == 1


def _ip4(payload: bytes) -> bytes:
    return P4[:2] + struct.pack("!H", 20 + len(payload)) + P4[4:20] + payload


# Against Wireshark and tcpdump

SWEEP = range(0x0600, 0x10000)
FILLERS = (lambda size: bytes(size), lambda size: b"\1" * size, lambda size: bytes(range(1, size + 1)))
INNER = (b"\x08\x00" + P4, P4, E4)
LONGEST = 40

NOT_FOLLOWED = {
    0x88CA: "TIPC: messages between the processes of a cluster; Wireshark guesses at what a tunnelled one carries",
    0x894F: "NSH with metadata of type 1 must have 24 bytes (RFC 8300 2.4): Wireshark reads it with any length",
}


def kinds() -> list[int]:
    """The EtherTypes that the installed tshark has a dissector for, and those of tcpdump's that it has not."""
    done = subprocess.run(["tshark", "-G", "decodes"], capture_output=True, text=True, check=True)
    rows = (line.split("\t") for line in done.stdout.splitlines())
    return sorted({int(row[1], 0) for row in rows if row[0] == "ethertype"} | {0x880B, 0x9200, 0x9300, 0xDADA})


def read_by_others(path: Path) -> set[int]:
    """The frames, by number from 1, in which tshark or tcpdump finds the datagram."""
    seen = subprocess.run(
        ["tshark", "-n", "-r", path, "-Y", "udp.dstport == 40001", "-T", "fields", "-e", "frame.number"],
        capture_output=True,
        text=True,
        check=True,
    )
    numbers = {int(line) for line in seen.stdout.split()}
    if shutil.which("tcpdump"):
        told = subprocess.run(["tcpdump", "-tt", "-nr", path], capture_output=True, check=False).stdout
        for line in told.splitlines():
            if b".40000 > " in line and b".40001: UDP" in line:
                numbers.add(int(line.split(b".")[0]))  # each frame has its number for a time
    return numbers


def missed(frames: list[tuple[int, bytes]], path: Path) -> list[str]:
    """What they find and we do not."""
    with path.open("wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        for number, (_, data) in enumerate(frames, 1):
            file.write(struct.pack("<IIII", number, 0, len(data), len(data)) + data)
    extractor = Extractor(Report())
    ours = set()
    for number, (_, data) in enumerate(frames, 1):
        found = extractor.feed(Frame(0, 1, data, len(data), None, number))
        if isinstance(found, Datagram) and found.destination_port == 40001:
            ours.add(number)
    theirs = read_by_others(path)
    assert theirs, "the measure itself must find some"
    return [f"0x{frames[number - 1][0]:04x} {frames[number - 1][1].hex()}" for number in sorted(theirs - ours)]


needs_tshark = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")


@needs_tshark
def test_every_ethertype_with_filler(tmp_path: Path) -> None:
    """Whatever header of up to 40 bytes tshark or tcpdump know behind an EtherType, the packet behind it is found."""
    frames = [
        (kind, MAC + kind.to_bytes(2, "big") + filler(size) + inner)
        for kind, size, filler, inner in product(kinds(), range(LONGEST + 1), FILLERS, INNER)
    ]
    wrong = missed(frames, tmp_path / "filler.pcap")
    assert [line for line in wrong if int(line.split()[0], 16) not in NOT_FOLLOWED] == []
    assert {int(line.split()[0], 16) for line in wrong} == set(NOT_FOLLOWED)


@needs_tshark
def test_all_ethertypes(tmp_path: Path) -> None:
    """None of the 64,000 EtherTypes is IP, or a tag of two, four or six bytes before it, without our knowing it."""
    frames = [
        (kind, MAC + kind.to_bytes(2, "big") + body)
        for kind in SWEEP
        for body in (P4, bytes(2) + b"\x08\x00" + P4, bytes(4) + b"\x08\x00" + P4)
    ]
    assert missed(frames, tmp_path / "all.pcap") == []
