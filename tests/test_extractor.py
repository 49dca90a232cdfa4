"""Frame → datagram with everything counted: decoders in their order, reassembly, decapsulation."""

from struct import pack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcapeda.dissect import scapy_fallback
from pcapeda.dissect.extractor import FRUITLESS, Extractor
from pcapeda.model import Datagram, Fragment, Frame, Skip, SkipReason
from pcapeda.report import Report
from tests import nesting, stacks
from tests.stacks import E4, P4, ether, gre, hexed, ip4, over4, pieces, udp, via4

SECOND = 1_000_000_000
BODY = bytes(range(256)) * 2
BIG = udp(BODY)


def extract(
    frames: list[bytes], *, linktype: int = 1, decapsulate: bool = False, gap_s: int = 0
) -> tuple[list[Datagram | Fragment | Skip], Report]:
    """What each frame gives, and the report, which adds up."""
    report = Report()
    extractor = Extractor(report, decapsulate=decapsulate)
    found = []
    for number, data in enumerate(frames, 1):
        found.append(extractor.feed(Frame(number * gap_s * SECOND, linktype, data, len(data), "eth0", number)))
        report.sent = report.datagrams + report.reassembled
        assert report.adds_up(), report
    extractor.finish()
    assert report.adds_up(), report
    return found, report


class TestCounting:
    def test_each_frame_once(self) -> None:
        """A frame is a datagram, a fragment or a skip; bytes and times are noted."""
        frames = [E4, ether(0x0806, bytes(28)), over4(6, bytes(20)), ether(0x0800, pieces(BIG, 400)[0])]
        found, report = extract(frames, gap_s=1)
        assert [type(one) for one in found] == [Datagram, Skip, Skip, Fragment]
        assert (report.frames, report.datagrams, report.fragments, report.held) == (4, 1, 1, 1)
        assert dict(report.skips) == {(SkipReason.NOT_IP, "arp"): 1, (SkipReason.NOT_UDP, "tcp"): 1}
        assert report.bytes_read == sum(map(len, frames))
        assert (report.first_ns, report.last_ns) == (SECOND, 4 * SECOND)

    def test_records_without_a_time(self) -> None:
        """They give datagrams without one and leave the time span alone."""
        report = Report()
        found = Extractor(report).feed(Frame(None, 1, E4, len(E4), None, 1))
        assert isinstance(found, Datagram)
        assert found.time_ns is None
        assert (report.first_ns, report.last_ns) == (None, None)

    def test_a_report_that_goes_on(self) -> None:
        """A second source may be counted in the same report."""
        report = Report()
        for _ in range(2):
            extractor = Extractor(report)
            for number, part in enumerate(pieces(BIG, 400), 1):
                extractor.feed(Frame(0, 1, ether(0x0800, part), 600, None, number))
            extractor.feed(Frame(0, 1, ether(0x0800, pieces(BIG, 400)[1][:-9]), 600, None, 3))
            extractor.finish()
        assert (report.fragments, report.used, sum(report.expired.values()), report.reassembled) == (6, 4, 2, 2)
        report.sent = report.reassembled
        assert report.adds_up()


class TestReassembly:
    def test_the_completing_frame_counts(self) -> None:
        """A reassembled datagram has time and number of the frame that completes it, and names all of its frames."""
        parts = [ether(0x0800, part) for part in pieces(BIG, 200, 400)]
        found, report = extract([parts[2], E4, parts[0], parts[1]], gap_s=1)
        whole = found[3]
        assert isinstance(whole, Datagram)
        assert (whole.payload, whole.checksum_status, whole.time_ns, whole.number) == (BODY, "good", 4 * SECOND, 4)
        assert whole.fragments == (1, 3, 4)
        assert whole.via == ("eth", "ip4")
        assert (report.datagrams, report.reassembled, report.used, report.held) == (1, 1, 3, 0)

    def test_too_old(self) -> None:
        """Fragments wait for thirty seconds of capture time unless told otherwise."""
        parts = [ether(0x0800, part) for part in pieces(BIG, 400)]
        _, report = extract([parts[0], parts[1]], gap_s=31)
        assert (report.reassembled, dict(report.expired), report.held) == (0, {"too old": 1}, 1)

    def test_fragments_of_what_is_not_udp(self) -> None:
        """They are skipped by the name of their protocol, and never wait."""
        found, report = extract([ether(0x0800, part) for part in pieces(bytes(600), 400, protocol=6)])
        assert [one.layer for one in found if isinstance(one, Skip)] == ["tcp", "tcp"]
        assert report.fragments == 0

    def test_reassembled_into_something_else(self) -> None:
        """A whole packet that gives no datagram is counted as such."""
        inner = ip4(bytes(600), 6)
        _, report = extract([ether(0x0800, part) for part in pieces(inner, 400, protocol=4)])
        assert (report.used, report.reassembled) == (2, 0)
        assert dict(report.reassembled_skips) == {(SkipReason.NOT_UDP, "tcp"): 1}

    def test_fragments_of_fragments(self) -> None:
        """A tunnelled fragment that was fragmented itself stands for all of its frames."""
        inner = pieces(BIG, 200, 400, number=5)
        outer = [piece for place, one in enumerate(inner) for piece in pieces(one, 104, number=place, protocol=4)]
        found, report = extract([ether(0x0800, piece) for piece in outer])
        whole = found[-1]
        assert isinstance(whole, Datagram)
        assert (whole.payload, whole.fragments, whole.via) == (BODY, (1, 2, 3, 4, 5, 6), ("eth", "ip4", "ip4"))
        assert (report.fragments, report.used, report.held, report.reassembled) == (6, 6, 0, 1)

    def test_fragments_of_fragments_that_never_complete(self) -> None:
        """All the frames of what waits inside are held."""
        inner = pieces(BIG, 200, 400, number=5)[:2]
        outer = [piece for place, one in enumerate(inner) for piece in pieces(one, 104, number=place, protocol=4)]
        _, report = extract([ether(0x0800, piece) for piece in outer])
        assert (report.fragments, report.used, report.held) == (4, 0, 4)

    def test_vlans_and_tunnels_apart(self) -> None:
        """Equal addresses and identification in another VLAN or tunnel are another datagram."""
        one, two = pieces(BIG, 400), pieces(udp(BODY[::-1]), 400)
        tag = hexed("00050800")
        frames = [
            ether(0x0800, one[0]),
            ether(0x8100, tag + two[0]),
            over4(47, gre(0x0800, one[0])),
            ether(0x8100, tag + two[1]),
            ether(0x0800, one[1]),
            over4(47, gre(0x0800, one[1])),
        ]
        found, _ = extract(frames)
        wholes = [datagram for datagram in found if isinstance(datagram, Datagram)]
        assert [datagram.payload for datagram in wholes] == [BODY[::-1], BODY, BODY]
        assert [datagram.fragments for datagram in wholes] == [(2, 4), (1, 5), (3, 6)]

    def test_memory_limit(self) -> None:
        """`defrag_bytes` bounds what waits; what had to go is counted."""
        report = Report()
        extractor = Extractor(report, defrag_bytes=10_000)
        for number in range(1, 101):
            frame = ether(0x0800, pieces(BIG, 400, number=number)[0])
            extractor.feed(Frame(0, 1, frame, len(frame), None, number))
        extractor.finish()
        assert report.held + report.expired["over the memory limit"] == 100
        assert report.held < 20


class TestDecapsulation:
    def test_vpc_traffic_mirroring(self) -> None:
        """VXLAN on 4789, as AWS mirrors traffic: the mirrored datagram, and the way to it."""
        frame = via4(4789, hexed("08000000 00002a00") + E4)
        (outer,), _ = extract([frame])
        (inner,), _ = extract([frame], decapsulate=True)
        assert isinstance(outer, Datagram)
        assert isinstance(inner, Datagram)
        assert (outer.destination_port, outer.via) == (4789, ("eth", "ip4"))
        assert inner.payload == b"hello world"
        assert inner.via == ("eth", "ip4", "udp:4789", "vxlan:42", "eth", "ip4")

    def test_a_mirror_that_cuts_packets(self) -> None:
        """A mirrored packet cut to a length is a datagram that was not captured whole, not one of a bad length."""
        frame = via4(4789, hexed("08000000 00002a00") + ether(0x0800, ip4(udp(bytes(500)))[:128]))
        (found,), _ = extract([frame], decapsulate=True)
        assert isinstance(found, Datagram)
        assert (found.length, len(found.payload), found.whole, found.checksum_status) == (508, 100, False, "unverified")

    def test_gateway_load_balancer(self) -> None:
        """GENEVE on 6081 with the options of a Gateway Load Balancer, IP directly inside."""
        options = hexed("0108 01 02") + bytes(8) + hexed("0108 02 02") + bytes(8) + hexed("0108 03 01") + bytes(4)
        frame = via4(6081, pack("!BBH", len(options) // 4, 0, 0x0800) + bytes(4) + options + P4)
        (found,), _ = extract([frame], decapsulate=True)
        assert isinstance(found, Datagram)
        assert (found.payload, found.via) == (b"hello world", ("eth", "ip4", "udp:6081", "geneve:0", "ip4"))

    def test_innermost(self) -> None:
        """Tunnels in tunnels are followed to the end."""
        vxlan = hexed("08000000 00002a00")
        frame = via4(4789, vxlan + via4(4789, vxlan + via4(2152, b"\x30\xff" + pack("!HI", len(P4), 7) + P4)))
        (found,), _ = extract([frame], decapsulate=True)
        assert isinstance(found, Datagram)
        assert found.payload == b"hello world"
        assert found.via[-3:] == ("udp:2152", "gtp:7", "ip4")

    def test_a_tunnel_without_udp(self) -> None:
        """What a tunnel carries may be no UDP: then the tunnel's own datagram is the innermost."""
        frame = via4(4789, hexed("08000000 00002a00") + ether(0x0800, ip4(bytes(40), 6)))
        (found,), report = extract([frame], decapsulate=True)
        assert isinstance(found, Datagram)
        assert found.destination_port == 4789
        assert report.datagrams == 1

    def test_a_quote_in_a_tunnel(self) -> None:
        """A datagram cited by an ICMP error is none, in a tunnel neither."""
        quote = over4(1, hexed("0303 0000 00000000") + P4)
        (found,), _ = extract([via4(4789, hexed("08000000 00002a00") + quote)], decapsulate=True)
        assert isinstance(found, Datagram)
        assert found.destination_port == 4789

    def test_fragments_in_a_tunnel(self) -> None:
        """Until a tunnelled datagram is complete, the tunnel's own datagrams are given: nothing is lost."""
        frames = [via4(4789, hexed("08000000 00002a00") + ether(0x0800, part)) for part in pieces(BIG, 200, 400)]
        found, report = extract(frames, decapsulate=True)
        ports = [one.destination_port for one in found if isinstance(one, Datagram)]
        assert ports == [4789, 4789, 40001]
        last = found[2]
        assert isinstance(last, Datagram)
        assert (last.payload, last.fragments) == (BODY, (1, 2, 3))
        assert (report.datagrams, report.fragments, report.reassembled) == (3, 0, 0)

    def test_a_tunnel_in_fragments(self) -> None:
        """A tunnel's datagram is put together first, and then followed."""
        carried = udp(hexed("08000000 00002a00") + ether(0x0800, ip4(BIG)), sport=50000, dport=4789)
        found, report = extract([ether(0x0800, part) for part in pieces(carried, 200, 400)], decapsulate=True)
        last = found[2]
        assert isinstance(last, Datagram)
        assert (last.payload, last.fragments) == (BODY, (1, 2, 3))
        assert (report.fragments, report.used, report.reassembled) == (3, 3, 1)

    def test_a_service_at_the_other_port(self) -> None:
        """A DNS answer to port 4789 is no tunnel."""
        frame = ether(0x0800, ip4(udp(hexed("08000000 00002a00") + E4, sport=53, dport=4789)))
        (found,), _ = extract([frame], decapsulate=True)
        assert isinstance(found, Datagram)
        assert found.source_port == 53


class TestUnknown:
    @pytest.mark.parametrize(("linktype", "name"), [(189, "USB_LINUX"), (147, "USER0"), (9999, "linktype 9999")])
    def test_link_types_by_name(self, linktype: int, name: str) -> None:
        """A link type that nobody reads is skipped by its name."""
        (found,), report = extract([bytes(64)], linktype=linktype)
        assert isinstance(found, Skip)
        assert (found.reason, found.layer) == (SkipReason.UNKNOWN_LINK, name)
        assert dict(report.skips) == {(SkipReason.UNKNOWN_LINK, name): 1}

    def test_scapy_is_not_asked_for_ever(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """After some tries in vain a layer goes by without Scapy, which is slow."""
        asked = []
        decode = scapy_fallback.decode
        monkeypatch.setattr(
            scapy_fallback, "decode", lambda frame, decapsulate: asked.append(frame) or decode(frame, decapsulate)
        )
        found, _ = extract([ether(0x8053, bytes(50))] * 20)
        assert len(asked) == FRUITLESS
        assert {one.layer for one in found if isinstance(one, Skip)} == {"ethertype 0x8053"}

    def test_scapy_is_not_asked_about_what_it_does_not_know(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """EtherTypes that Scapy has no layer for go by without it; loading it takes longer than most captures."""
        monkeypatch.setattr(scapy_fallback, "decode", lambda *_: pytest.fail("was asked"))
        found, _ = extract([ether(0x88B5, bytes(50)), ether(0x88B6, bytes(50))])
        assert [one.layer for one in found if isinstance(one, Skip)] == ["ethertype 0x88b5", "ethertype 0x88b6"]

    def test_scapy_may_know(self) -> None:
        """A link type that only Scapy's tables know (772, Linux's own number for loopback) is read by Scapy."""
        (found,), _ = extract([E4], linktype=772)
        assert isinstance(found, Datagram)
        assert (found.payload, found.via) == (b"hello world", ("eth", "ip4"))


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_valid_packets_are_found(data: st.DataObject) -> None:
    """Whatever encapsulations hold it, a well-formed datagram is found or named, and the report adds up."""
    frame = nesting.nested(lambda options: data.draw(st.sampled_from(options)))
    found, _ = extract([frame], decapsulate=True)
    assert isinstance(found[0], Datagram), found


@given(st.data(), st.booleans())
@settings(max_examples=200, deadline=None)
def test_broken_packets_are_never_fatal(data: st.DataObject, decapsulate: bool) -> None:
    """Valid packets with bytes changed, cut or repeated: nothing raises, everything is counted."""

    def choose(options: object) -> object:
        return data.draw(st.sampled_from(options))  # type: ignore[arg-type]

    frames = [nesting.broken(choose, nesting.nested(choose)) for _ in range(3)]
    extract(frames, decapsulate=decapsulate)


def test_every_kind_of_packet_cut_anywhere() -> None:
    """Every kind of packet there is, cut at every length up to 80 bytes: nothing raises, everything is counted."""
    report = Report()
    extractor = Extractor(report, decapsulate=True)
    number = 0
    for linktype, _, frame in stacks.everything():
        for size in range(0, min(len(frame), 80), 3):
            number += 1
            extractor.feed(Frame(number, linktype, frame[:size], len(frame), None, number))
    extractor.finish()
    report.sent = report.datagrams + report.reassembled
    assert report.adds_up()
    assert report.frames == number


def test_endless_tunnels() -> None:
    """Encapsulation without end is cut at a depth."""
    frame = E4
    for _ in range(200):
        frame = over4(47, gre(0x6558, frame))
    (found,), _ = extract([frame])
    assert isinstance(found, Skip)
    assert found.reason is SkipReason.TOO_DEEP
