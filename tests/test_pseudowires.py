"""Ethernet over MPLS: no field tells whether there is a control word, or that it is Ethernet at all (RFC 4448 4)."""

from itertools import product
from struct import pack

from pcapeda.dissect.cursor import Cursor
from pcapeda.dissect.extractor import Extractor
from pcapeda.dissect.plausibility import LIKELY, NONSENSE, ethernet_at
from pcapeda.model import Datagram, Frame, Skip
from pcapeda.report import Report
from tests.stacks import P4, P6, SNAP, ether, hexed, ip4, mpls, udp

DESTINATIONS = (
    *("525400123456", "a0369f000001", "3cfdfe000001", "0242ac110002", "0a58a9fe0001", "06a1b2c3d4e5", "4c5262000001"),
    *("6c9cff000001", "00163e000002", "000c29000002", "001b21000001", "10bf48000001", "1402ec000001", "44a842000001"),
    *("600308000001", "6805ca000001", "ffffffffffff", "333300000001", "01005e000001", "0180c2000000", "b827eb000001"),
    *("dca632000001", "f01fafd00001", "d4bed9000001", "80000b000001", "90e2ba000001", "20677c000001", "c81f66000001"),
)
"""Addresses as machines have them: KVM, Docker, AWS, Intel, Dell, HP, Raspberry Pi …, groups; each first nibble."""
SOURCES = (
    *("525400000102", "525400123456", "0242ac110003", "0a58a9fe0002", "06a1b2c3d4e6", "00163e000001", "4c5262000002"),
    *("6c9cff000002", "a0369f000002", "3cfdfe000002", "14feb5000001", "44a842080045", "001b21080001", "000000000001"),
    *("60033008004a", "080027000001", "000569081234", "005056810001"),
)
"""Bytes 3 and 4 of these stand where a frame without control word has its EtherType: 0000, 0012, 0800, 8100 …"""
WORDS = (b"", bytes(4), hexed("00000001"), hexed("00000800"), hexed("000086dd"), hexed("0000ffff"))
INNER = (
    ("ip4", hexed("0800") + P4),
    ("ip6", hexed("86dd") + P6),
    ("vlan", hexed("8100 0005 0800") + P4),
    ("qinq", hexed("88a8 0064 8100 0005 86dd") + P6),
    ("llc", pack("!H", 8 + len(P4)) + SNAP + hexed("0800") + P4),
    ("long", hexed("0800") + ip4(udp(bytes(1400), dport=40001))),
)


def test_both_readings_are_judged() -> None:
    """With and without control word, whatever the addresses begin with."""
    extractor, wrong, number = Extractor(Report()), [], 0
    for destination, source, word, (name, inner) in product(DESTINATIONS, SOURCES, WORDS, INNER):
        number += 1
        data = ether(0x8847, mpls(16) + word + hexed(destination + source) + inner)
        found = extractor.feed(Frame(0, 1, data, len(data), None, number))
        if not isinstance(found, Datagram) or (found.destination_port, found.checksum_status) != (40001, "good"):
            wrong.append((destination, source, word.hex(), name))
    assert (len(wrong), wrong[:20]) == (0, [])
    assert number == len(DESTINATIONS) * len(SOURCES) * len(WORDS) * len(INNER)


def test_ip_behind_labels_is_no_frame() -> None:
    """RFC 4928: what begins with 4 or 6 and is an IP packet is one, whatever its addresses would be as Ethernet."""
    for kind, packet in (("ip4", P4), ("ip6", P6)):
        data = ether(0x8847, mpls(16) + packet)
        found = Extractor(Report()).feed(Frame(0, 1, data, len(data), None, 1))
        assert isinstance(found, Datagram)
        assert found.via == ("eth", "mpls:16", kind)


def test_of_two_readings_without_sense_the_nibble_counts() -> None:
    """RFC 4928 2: what begins with 4 is reported as the IP packet that it fails to be."""
    data = ether(0x8847, mpls(16) + hexed("4500 0001") + bytes(40))
    found = Extractor(Report()).feed(Frame(0, 1, data, len(data), None, 1))
    assert isinstance(found, Skip)
    assert found.layer == "ip4"


def test_a_source_is_no_group() -> None:
    """IEEE 802.3 3.2.3: an EtherType alone does not outweigh a source address that cannot be."""
    for source, worth in (("00163e000001", LIKELY), ("01163e000001", NONSENSE)):
        data = hexed("000c29000002" + source + "8847") + bytes(40)
        assert ethernet_at(Cursor(Frame(0, 1, data, len(data), None, 1)), 0) == worth
