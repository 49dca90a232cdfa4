"""Bounds and bit masks of the fast path: on the bound itself, and one beyond it."""

import struct

import pytest

from pcapeda.dissect import fast_path, ip
from pcapeda.model import Datagram, Fragment, Frame, Skip, SkipReason
from tests.frames import decoded, ethernet, udp4


def test_a_first_fragment_is_no_datagram() -> None:
    """More fragments at offset 0: even where the UDP length fits into this one, and the sum is right."""
    packet = bytearray(udp4(b"12345678"))
    packet[6] = 0x20
    data = ethernet(bytes(packet))
    frame = Frame(1, 1, data, len(data), None, 1)
    assert fast_path.decode_block((frame,)).slow_path == [(0, frame)]
    assert isinstance(decoded(frame), Fragment)


@pytest.mark.parametrize(("flags", "whole"), [(0x4000, True), (0x8000, True), (0x2000, False), (0x0001, False)])
def test_which_flags_make_a_fragment(flags: int, whole: bool) -> None:
    """Do-not-fragment and the reserved bit do not; more fragments and any bit of the offset do."""
    packet = bytearray(udp4(b"12345678"))
    packet[6:8] = flags.to_bytes(2)
    data = ethernet(bytes(packet))
    assert isinstance(decoded(Frame(1, 1, data, len(data), None, 1)), Datagram if whole else Fragment)


@pytest.mark.parametrize("tags", [32, 33])
def test_how_many_tags(tags: int) -> None:
    """32 VLAN tags are followed, one more is not."""
    plain = ethernet(udp4(b"x"))
    data = plain[:12] + b"\x81\x00\x00\x07" * tags + plain[12:]
    found = decoded(Frame(1, 1, data, len(data), None, 1))
    if tags == 32:
        assert isinstance(found, Datagram)
        assert found.via.count("vlan:7") == 32
    else:
        assert isinstance(found, Skip)
        assert found.reason is SkipReason.TOO_DEEP


@pytest.mark.parametrize(("length", "right"), [(0xFFFF, False), (0x10000, True)])
def test_a_jumbogram_is_longer_than_any_other_packet(length: int, right: bool) -> None:
    """RFC 2675 3: a jumbo payload length of up to 65,535 is an error."""
    head = struct.pack("!IHBB", 6 << 28, 0, 0, 64) + bytes(32)
    data = head + b"\x11\x00\xc2\x04" + struct.pack("!I", length)
    data = data + bytes(length - 8)
    found = ip.read6(data, 0, len(data), len(data))
    assert (found is SkipReason.MALFORMED) is not right
    if right:
        assert isinstance(found, ip.Packet)
        assert (found.at, found.end) == (48, 40 + length)
