"""Scapy's dissection as the twin of the fast path, and how it is contained."""

import json
import logging
import struct
import warnings
from pathlib import Path
from typing import Any

import pytest

from pcapeda.dissect import scapy_fallback, tables
from pcapeda.dissect.extractor import UNKNOWN
from pcapeda.model import Datagram, Fragment, Frame, Skip, SkipReason
from tests import stacks
from tests.command import pcapeda
from tests.frames import decoded
from tests.stacks import E4, HOST6, P4, PEER6, ether, hexed, ip4, ip6, udp, via4


def frame(data: bytes, linktype: int = 1, length: int | None = None) -> Frame:
    return Frame(7, linktype, data, length or len(data), "eth0", 3)


@pytest.mark.parametrize("size", [None, 60], ids=["whole", "cut"])
def test_the_twins_agree_on_every_kind_of_packet(size: int | None) -> None:
    """Wherever the fast path answers, the walker and Scapy give the same."""
    answered = 0
    for linktype, name, data in stacks.everything():
        one = frame(data[:size], linktype, len(data))
        fast = decoded(one)
        if isinstance(fast, Skip):
            # A refusal is final: nobody else may see a datagram there.
            if fast.reason not in UNKNOWN:
                assert isinstance(tables.decode(one), Skip), name
                assert isinstance(scapy_fallback.decode(one), Skip), name
            continue
        answered += 1
        assert tables.decode(one) == fast, name
        assert scapy_fallback.decode(one) == fast, name
    assert answered > 300


def test_the_ethertypes_that_scapy_knows() -> None:
    """The table that saves loading Scapy is Scapy's own: of every layer in which an EtherType names the next one."""
    conf = scapy_fallback._scapy().conf
    carriers = {"Ether", "Dot1Q", "Dot1AD", "Dot1AH", "SNAP", "CookedLinux", "CookedLinuxV2", "GRE", "GENEVE", "MACsec"}
    known = {
        value
        for async_sender in conf.layers
        if async_sender.__name__ in carriers
        for fields, _ in async_sender.payload_guess
        for name, value in fields.items()
        if name in ("type", "proto", "code") and value >= 0x0600
    }
    assert known == scapy_fallback.ETHERTYPES


def test_what_scapy_may_know() -> None:
    """It is asked about any layer but EtherTypes that it has none for, and about link types that it does not guess."""

    def asked(*layers: str, reason: SkipReason = SkipReason.UNKNOWN_LAYER) -> set[bool]:
        return {scapy_fallback.may_know(Skip(reason, layer, 0, 1)) for layer in layers}

    assert asked("ethertype 0x3030") == {False}
    assert asked(*(f"ethertype 0x{ethertype:04x}" for ethertype in scapy_fallback.ETHERTYPES)) == {True}
    assert asked("802.11", "proto 200", "ethertype") == {True}
    assert asked("6lowpan compression") == {False}
    known = set(scapy_fallback._scapy().conf.l2types.num2layer) - set(tables.LINK) - {23, 31, 144, 195, 230}
    assert {f"linktype {number}" for number in known} <= scapy_fallback.LINKS
    assert asked(*scapy_fallback.LINKS, reason=SkipReason.UNKNOWN_LINK) == {True}
    assert asked("USER0", "IEEE802_15_4_NOFCS", "linktype 23", reason=SkipReason.UNKNOWN_LINK) == {False}


@pytest.mark.parametrize("command", [["inspect"], ["replay", "-n", "--log", "json"], ["replay", "-n", "-o", "pretty"]])
@pytest.mark.parametrize("linktype", [195, 215, 230, 283, 144, 23, 31])
def test_nothing_is_heard_of_scapy(tmp_path: Path, linktype: int, command: list[str]) -> None:
    """Link types that it only guesses at are unsupported, bare and within PPI; its advice is never on stderr."""
    data = hexed("6188 01 3412 ffff 0100") + bytes(range(40))
    for number, one in [(linktype, data), (192, hexed("00 00 0800") + linktype.to_bytes(4, "little") + data)]:
        path = tmp_path / "x.pcap"
        head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, number)
        path.write_bytes(head + struct.pack("<4I", 1, 0, len(one), len(one)) + one)
        done = pcapeda(*command, path)
        assert done.returncode == 0, done.stderr
        assert b"WARNING" not in done.stderr
        assert b"unsupported link type" in done.stdout + done.stderr
        if "json" in command:
            assert all(json.loads(line) for line in done.stderr.splitlines())


@pytest.mark.parametrize("where", ["log", "warning"])
def test_what_scapy_says_while_it_dissects(where: str, capfd: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    """Whichever way it speaks; and a program's own use of Scapy is as loud as before."""
    from scapy.error import log_runtime
    from scapy.layers.inet import IP

    said = list[bool]()

    def talk(self: object, data: bytes) -> bytes:
        said.append(log_runtime.isEnabledFor(logging.WARNING) and not log_runtime.disabled)
        log_runtime.warning("advice") if where == "log" else warnings.warn("advice", stacklevel=1)
        raise ValueError

    monkeypatch.setattr(IP, "do_dissect", talk)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        scapy_fallback.decode(frame(E4))
    assert said == [False]
    assert not heard
    assert capfd.readouterr().err == ""
    assert not log_runtime.disabled


@pytest.mark.parametrize(
    ("data", "via"),
    [
        (stacks.over4(51, hexed("11 04 0000 00000001 00000001") + bytes(12) + udp()), ("eth", "ip4", "ah")),
        (stacks.over4(47, stacks.gre(0x0800, P4)), ("eth", "ip4", "gre", "ip4")),
        (ether(0x8847, stacks.mpls(16, 17) + P4), ("eth", "mpls:16", "mpls:17", "ip4")),
        (
            ether(0x8864, hexed("11000001") + bytes([0, len(P4) + 2]) + hexed("0021") + P4),
            ("eth", "pppoe", "ppp", "ip4"),
        ),
    ],
)
def test_layers_beyond_the_fast_path(data: bytes, via: tuple[str, ...]) -> None:
    """Scapy's walk names the layers as the walker does."""
    found = scapy_fallback.decode(frame(data))
    assert isinstance(found, Datagram)
    assert found.via == via
    assert found == tables.decode(frame(data))


@pytest.mark.parametrize(
    ("data", "via"),
    [
        (via4(4789, hexed("08000000 00002a00") + E4), ("eth", "ip4", "udp:4789", "vxlan:42", "eth", "ip4")),
        (via4(6081, hexed("00 00 0800 00002a00") + P4), ("eth", "ip4", "udp:6081", "geneve:42", "ip4")),
    ],
)
def test_decapsulation(data: bytes, via: tuple[str, ...]) -> None:
    """Under decapsulation the innermost datagram that Scapy's tunnels lead to; else the outermost."""
    inner, outer = scapy_fallback.decode(frame(data), decapsulate=True), scapy_fallback.decode(frame(data))
    assert isinstance(inner, Datagram)
    assert isinstance(outer, Datagram)
    assert (inner.via, inner.payload) == (via, b"hello world")
    assert outer.via == ("eth", "ip4")


class TestFidelity:
    def test_payload_is_raw(self) -> None:
        """A payload that Scapy would rebuild differently is taken as it was: a DHCP message with odd options."""
        payload = bytes([1, 1, 6, 0]) + bytes(232) + hexed("63825363 350101 ff 00 00 ff ff 12")
        found = scapy_fallback.decode(frame(ether(0x0800, ip4(udp(payload, sport=68, dport=67)))))
        assert isinstance(found, Datagram)
        assert (found.payload, found.checksum_status) == (payload, "good")

    def test_the_first_fragment_is_one(self) -> None:
        """A first fragment holds a whole UDP header and is a fragment all the same."""
        found = scapy_fallback.decode(frame(ether(0x0800, ip4(udp(bytes(64))[:40], more=True))))
        assert isinstance(found, Fragment)

    def test_quotes_are_none(self) -> None:
        """An ICMPv6 redirect cites a datagram: it is not one (RFC 4861 4.5)."""
        redirect = hexed("89 00 0000 00000000") + bytes(32) + hexed("04 0c 0000 00000000") + ip6()
        found = scapy_fallback.decode(frame(ether(0x86DD, ip6(redirect, 58))))
        assert found == Skip(SkipReason.NOT_UDP, "icmp", 54, 3)

    def test_surplus_and_padding(self) -> None:
        """The UDP length rules the payload."""
        found = scapy_fallback.decode(
            frame(ether(0x86DD, ip6(udp(source=HOST6, destination=PEER6) + b"surplus")) + bytes(9))
        )
        assert isinstance(found, Datagram)
        assert found.payload == b"hello world"


class TestContainment:
    def test_whatever_scapy_raises(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """An exception in a dissector is a Skip of this frame."""
        from scapy.layers.inet import IP

        def explode(self: object, data: bytes) -> bytes:
            raise RecursionError

        monkeypatch.setattr(IP, "do_dissect", explode)
        assert scapy_fallback.decode(frame(E4)) == Skip(SkipReason.UNKNOWN_LAYER, "scapy: IP", 14, 3)

    def test_payloads_are_not_dissected(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """No dissector of anything over UDP is called."""
        from scapy.layers.dns import DNS

        def explode(self: object, data: bytes) -> bytes:
            raise AssertionError

        monkeypatch.setattr(DNS, "do_dissect", explode)
        found = scapy_fallback.decode(frame(ether(0x0800, ip4(udp(bytes(40), dport=53)))), decapsulate=True)
        assert isinstance(found, Datagram)

    def test_depth(self) -> None:
        """More layers than a packet has end the walk."""
        data = stacks.MAC + hexed("8100 0001") * 200 + hexed("0800") + P4
        found = scapy_fallback.decode(frame(data))
        assert isinstance(found, Skip)
        assert found.reason is SkipReason.TOO_DEEP

    def test_size(self) -> None:
        """A frame larger than any link carries is not given to Scapy."""
        found = scapy_fallback.decode(frame(E4 + bytes(scapy_fallback.MAX_SIZE)))
        assert isinstance(found, Skip)
        assert found.reason is SkipReason.UNKNOWN_LAYER

    def test_scapy_stays_as_it_was(self) -> None:
        """Decoding changes no binding of Scapy's: a user's own dissection goes on as before."""
        from scapy.layers.inet import IP, UDP
        from scapy.layers.l2 import Ether

        scapy_fallback.decode(frame(E4), decapsulate=True)
        before = [list(layer.payload_guess) for layer in (Ether, IP, UDP)]
        for _, _, data in list(stacks.everything())[:200]:
            scapy_fallback.decode(frame(data), decapsulate=True)
        assert [list(layer.payload_guess) for layer in (Ether, IP, UDP)] == before
