"""The decoders against Wireshark: real captures with their truth, and packets of every kind built by hand."""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from random import Random

import pytest

from pcapeda.dissect.extractor import Extractor
from pcapeda.model import Datagram, Frame
from pcapeda.report import Report
from tests import conformance, nesting, stacks
from tests.truth import TSHARK, Row, rows, write_pcapng

CAPTURES = Path(__file__).resolve().parents[2] / "shared" / "captures"
needs_captures = pytest.mark.skipif(not CAPTURES.is_dir(), reason=f"no captures with truth at {CAPTURES}")
needs_tshark = pytest.mark.skipif(TSHARK is None, reason="tshark is not installed")

DELIBERATE = {
    "vlan apart": "fragments of different VLANs are kept apart",
    "vlan mixed": "fragments of different VLANs are kept apart",
    "mpls labels differ": "fragments behind different labels are kept apart: labels tell VPNs apart",
    "mpls and plain": "fragments behind different labels are kept apart: labels tell VPNs apart",
    "beyond the end": "a fragment beyond the end contradicts the others, and the datagram is given up",
    "next header differs 6": "RFC 8200 4.5: the first fragment's next header counts",
    "lisp control ecm": "a control message that cites a packet is no tunnel",
    "rftap": "told by heuristics alone, at any port",
    "juniper no magic": "without its magic number it is no Juniper capture",
    "capwap 802.3 first": "fragments of different ports are kept apart",
    "capwap 802.3 last": "fragments of different ports are kept apart",
    "tags 9200": "a VLAN tag as tcpdump and switches have it",
    "mpls pw local": "a pseudowire is told by what fits, not by registered addresses",
    "mpls pw cw local": "the same with a control word",
    "mpls pw cw seq local": "the same",
    "mpls pw nibble": "the same: an address may begin with any nibble",
    "pbb llc": "802.1ah carries a whole frame, whose type may be a length",
    "ppp ethertype": "0x880b is PPP, as tcpdump has it",
    "geneve 880b": "the same",
    "dsa:": "switch tags, as Linux and tcpdump have them",
    "brcm:": "the same",
    "dsa brcm": "the same, by their link type",
    "vxlan 8472": "the port that Linux uses",
    "otv": "the same header at the same port",
    "loop swapped": "families in the machine's byte order, as tcpdump reads them",
    "10 4500": "Juniper's numbers are not all known: a packet in order is read, as by tcpdump",
    "33 4500": "the same",
    "link 206": "as tcpdump's list of link types has it",
    "link 219": "the same",
    "netanalyzer transparent": "as tcpdump reads it",
    "slip": "as tcpdump reads it",
    "pppd": "as tcpdump reads it",
}
"""Where we differ on purpose, by the start of the case's name; docs/fidelity.md argues each."""


def compare(frames: list[tuple[int, str, bytes, int]], path: Path, *, decapsulate: bool) -> list[str]:
    """What differs from tshark: one sentence for each frame. A frame is link type, name, bytes, length on the wire."""
    write_pcapng(path, [(linktype, data, length) for linktype, _, data, length in frames])
    by_frame: dict[int, list[Row]] = defaultdict(list)
    for row in rows(path):
        if row.depth:
            by_frame[row.frame].append(row)
    report = Report()
    extractor = Extractor(report, decapsulate=decapsulate)
    wrong = []
    for number, (linktype, name, data, length) in enumerate(frames, 1):
        found = extractor.feed(Frame(0, linktype, data, length, None, number))
        seen = [row for row in by_frame[number] if decapsulate or row.depth == 1]
        row = max(seen, key=lambda row: row.depth, default=None)
        got = _fields(found) if isinstance(found, Datagram) else None
        want = None if row is None else _wanted(row)
        if got != want and not (row is not None and row.doubtful):
            wrong.append(f"{name}: {got or found} instead of {want}")
    extractor.finish()
    report.sent = report.datagrams + report.reassembled
    assert report.adds_up()
    return wrong


def _fields(found: Datagram) -> tuple[object, ...]:
    return (
        found.source,
        found.source_port,
        found.destination,
        found.destination_port,
        found.length,
        found.checksum,
        found.checksum_status,
        found.payload,
    )


def _wanted(row: Row) -> tuple[object, ...]:
    return (
        row.source,
        row.source_port,
        row.destination,
        row.destination_port,
        row.length,
        row.checksum,
        row.status,
        row.payload,
    )


def unexpected(wrong: Iterable[str]) -> list[str]:
    return [sentence for sentence in wrong if not any(name in sentence for name in DELIBERATE)]


@needs_captures
@pytest.mark.parametrize("decapsulate", [False, True], ids=["outermost", "innermost"])
def test_every_row_of_every_capture(decapsulate: bool) -> None:
    """Every datagram that Wireshark sees in real captures is found as it is, and no other."""
    scores = [
        conformance.measure(path, truth, decapsulate=decapsulate) for path, truth in conformance.captures(CAPTURES)
    ]
    assert [score.wrong for score in scores if not score.perfect] == []
    assert sum(score.met for score in scores) > 0


@needs_captures
def test_no_capture_takes_long() -> None:
    """No small capture takes over five seconds, all of them less than a minute."""
    scores = [conformance.measure(path, truth, decapsulate=True) for path, truth in conformance.captures(CAPTURES)]
    assert max(score.seconds for score in scores) < 5
    assert sum(score.seconds for score in scores) < 60


@needs_tshark
@pytest.mark.parametrize("decapsulate", [False, True], ids=["outermost", "innermost"])
def test_every_kind_of_packet(tmp_path: Path, decapsulate: bool) -> None:
    """Every link type, layer and tunnel, with its corners, is read as Wireshark reads it."""
    frames = [(linktype, name, frame, len(frame)) for linktype, name, frame in stacks.everything()]
    wrong = compare(frames, tmp_path / "kinds.pcapng", decapsulate=decapsulate)
    assert unexpected(wrong) == []
    # What is listed as a deliberate difference must differ, so that the list cannot hide anything.
    assert not decapsulate or [name for name in DELIBERATE if not any(name in sentence for sentence in wrong)] == []


@needs_tshark
@pytest.mark.parametrize("size", [42, 62, 96])
def test_cut_by_the_snap_length(tmp_path: Path, size: int) -> None:
    """A capture that cuts frames gives what Wireshark makes of them."""
    groups = (stacks.ethernet, stacks.ip_layer, stacks.gre_layer, stacks.tunnels)
    frames = [(1, name, frame[:size], len(frame)) for group in groups for name, frame in group()]
    wrong = compare(frames, tmp_path / "cut.pcapng", decapsulate=True)
    # Where the UDP length leaves a surplus that the capture cut, tshark calls the checksum unverified.
    assert [sentence for sentence in unexpected(wrong) if "length 8" not in sentence] == []


@needs_tshark
@pytest.mark.parametrize("decapsulate", [False, True], ids=["outermost", "innermost"])
def test_nested_at_random(tmp_path: Path, decapsulate: bool) -> None:
    """Tunnels nested in any order are walked as Wireshark walks them."""
    random = Random(7)
    made = [nesting.nested(random.choice, depth=6) for _ in range(400)]
    frames = [(1, f"nested {place}", frame, len(frame)) for place, frame in enumerate(made)]
    assert compare(frames, tmp_path / "nested.pcapng", decapsulate=decapsulate) == []


@needs_tshark
def test_nested_and_broken(tmp_path: Path) -> None:
    """Of nested packets with bytes changed, cut or repeated, all but one in two hundred give the same."""
    random = Random(8)
    made = [nesting.broken(random.choice, nesting.nested(random.choice, depth=6)) for _ in range(600)]
    frames = [(1, f"broken {place}", frame, len(frame)) for place, frame in enumerate(made) if frame]
    assert len(compare(frames, tmp_path / "broken.pcapng", decapsulate=True)) <= 3
