"""Where nothing in a packet says what follows, every reading is judged: tunnels by two ports, pseudowires, trailers."""

from itertools import permutations, product

import pytest

from pcapeda.dissect.extractor import Extractor
from pcapeda.dissect.tunnel_ports import PORTS, TUNNELS, parse
from pcapeda.errors import BadConfig
from pcapeda.model import Datagram, Frame
from pcapeda.report import Report
from tests.stacks import ether, hexed, ip4, ip6, mpls, udp
from tests.test_vectors import TUNNELS as VECTORS
from tests.test_vectors import raw


def extract(data: bytes, linktype: int = 1, **asked: object) -> object:
    return Extractor(Report(), **asked).feed(Frame(0, linktype, data, len(data), None, 1))  # type: ignore[arg-type]


@pytest.mark.parametrize("swapped", [False, True], ids=["to the tunnel's port", "from the tunnel's port"])
def test_every_pair_of_tunnel_ports(swapped: bool) -> None:
    """The datagram inside is found whatever other tunnel's port is at the other end."""
    lost = []
    for vector, other in product(VECTORS, PORTS):
        frame = raw(vector.frame)
        port = int.from_bytes(frame[36:38])
        if port == other:
            continue
        ends = other.to_bytes(2) + port.to_bytes(2)
        frame = frame[:34] + (ends[2:] + ends[:2] if swapped else ends) + frame[38:]
        found = extract(frame, decapsulate=True)
        if not isinstance(found, Datagram) or (found.source_port, found.payload) != (4660, b"abcd"):
            lost.append((vector.name, other))
    assert lost == []


MACS = [
    "525400123456", "02420a000102", "0a58a9fe0102", "06f1e2d3c4b5", "00163e000001", "000c29aabbcc", "001b21010203",
    "a0369f112233", "3cfdfe445566", "4c5e0c778899", "6c3b6b102030", "10604b405060", "f8f21e708090", "dc2b2a0a0b0c",
    "450000270001", "600000000014", "080045000027",
]  # fmt: skip
GROUPS = ["ffffffffffff", "333300000001", "01005e000001"]


def test_pseudowires_of_every_address() -> None:
    """Ethernet over MPLS is read with and without control word, whatever the addresses look like."""
    inner = udp(sport=4660, dport=514)
    four, six = ip4(inner), ip6(udp(source="2001:db8::1", destination="2001:db8::2", sport=4660, dport=514))
    bodies = [(0x0800, four), (0x86DD, six), (0x8100, hexed("000a0800") + four)]
    pairs = [*permutations(MACS, 2), *product(GROUPS, MACS)]
    lost = []
    for (to, source), word, (kind, body) in product(pairs, ["", "00000000", "00001234"], bodies):
        frame = ether(kind, body, hexed(to + source))
        found = extract(ether(0x8847, mpls(16) + hexed(word) + frame))
        if not isinstance(found, Datagram) or found.destination_port != 514:
            lost.append((to, source, word, kind))
    assert lost == []


@pytest.mark.parametrize("size", [0, 1, 18, 100])
def test_no_check_sequence_is_cut_off_a_packet(size: int) -> None:
    """Frames that should end with an FCS, and do not: the IP length says whose the bytes are."""
    frame = ether(0x0800, ip4(udp(bytes(size))))
    dot11 = hexed("0801 0000") + bytes(18) + hexed("0000 aaaa03 000000 0800") + ip4(udp(bytes(size)))
    for linktype, data in (
        (1, ether(0x8903, hexed("0041") + frame)),
        (240, hexed("00040000") + frame),
        (241, hexed("00040000 55555555555555d5") + frame),
        (274, frame),
        (127, hexed("00 00 0900 02000000 10") + dot11),
        (11, hexed("aaaa03 0080c2 0001 0000") + frame),
        (9, hexed("ff030031 8001") + frame),
    ):
        for tail in (b"", bytes(4)):
            found = extract(data + tail, linktype)
            assert isinstance(found, Datagram), (linktype, found)
            assert (found.payload, found.checksum_status) == (bytes(size), "good"), linktype


def test_a_tunnel_asked_for() -> None:
    """A port given by hand overrules the table, and asks for decapsulation by itself."""
    inside = ether(0x0800, ip4(udp(sport=4660, dport=514)))
    for port in (7932, 4789):
        frame = ether(0x0800, ip4(udp(bytes(12) + inside, dport=port)))
        found = extract(frame, tunnels=parse([f"{port}=HP-ERM"]))
        assert isinstance(found, Datagram)
        assert found.destination_port == 514


@pytest.mark.parametrize("text", ["", "4789", "x=vxlan", "0=vxlan", "65536=vxlan", "4789=", "4789=nothing", "-1=gtp"])
def test_a_tunnel_that_cannot_be(text: str) -> None:
    with pytest.raises(BadConfig, match="--tunnel"):
        parse([text])


def test_every_port_has_a_known_name() -> None:
    assert set(PORTS.values()) <= set(TUNNELS)
