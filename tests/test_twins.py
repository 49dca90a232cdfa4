"""Fast and slow are one promise: wherever the fast path answers, Scapy gives the same; no bytes make either raise."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcapeda.dissect import scapy_fallback
from pcapeda.dissect.extractor import UNKNOWN, Extractor
from pcapeda.model import Datagram, Fragment, Frame, Skip
from pcapeda.report import Report
from tests.frames import decoded, ethernet, udp4
from tests.reading import CAPTURES, SHARED, read_file

MOST = 300
"""Frames of one capture that Scapy is asked about: it takes its time."""


def told(found: Datagram | Fragment | Skip) -> object:
    """What must be the same: a datagram or fragment whole, of a Skip only that it is one."""
    return "skip" if isinstance(found, Skip) else found


@pytest.mark.parametrize("path", [*CAPTURES, *SHARED], ids=lambda path: path.name)
def test_the_twins_agree(path: Path) -> None:
    """On every frame that the fast path knows, of every fixture and of the captures by others where they are."""
    from pcapeda.errors import BadCapture

    try:
        frames, _ = read_file(path)
    except BadCapture:
        return
    for frame in frames[:MOST]:
        fast = decoded(frame)
        slow = scapy_fallback.decode(frame)
        if isinstance(fast, Skip) and fast.reason in UNKNOWN:
            continue  # it does not know: whoever does may answer
        if isinstance(slow, Skip) and slow.reason in UNKNOWN:
            continue
        assert told(slow) == told(fast), frame.number


LINKTYPES = st.sampled_from([0, 1, 9, 12, 14, 50, 101, 104, 105, 107, 108, 113, 127, 192, 228, 229, 239, 258, 276])


@given(LINKTYPES | st.integers(0, 300), st.lists(st.binary(max_size=200), max_size=5), st.booleans())
def test_no_bytes_make_a_decoder_raise(linktype: int, frames: list[bytes], decapsulate: bool) -> None:
    """Any bytes under any link type give a datagram, a fragment or a Skip, and the report adds up."""
    report = Report()
    extractor = Extractor(report, decapsulate=decapsulate)
    for number, data in enumerate(frames, 1):
        extractor.feed(Frame(number, linktype, data, len(data), None, number))
        scapy_fallback.decode(Frame(number, linktype, data, len(data), None, number), decapsulate)
    extractor.finish()
    report.sent = report.datagrams + report.reassembled
    assert report.adds_up()


@given(
    st.binary(max_size=80),
    st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=6),
    st.integers(0, 200),
)
def test_a_broken_packet_is_never_fatal(payload: bytes, breaks: list[tuple[int, int]], cut: int) -> None:
    """A right packet with some bytes changed and its end cut off: the twins still agree, and nothing raises."""
    data = bytearray(ethernet(udp4(payload)))
    for at, value in breaks:
        if at < len(data):
            data[at] = value
    frame = Frame(1, 1, bytes(data[: max(cut, 1)]), len(data), None, 1)
    fast, slow = decoded(frame), scapy_fallback.decode(frame)
    unknown = [one for one in (fast, slow) if isinstance(one, Skip) and one.reason in UNKNOWN]
    assert unknown or told(fast) == told(slow)
