"""`Shape(enrich=…)`: members of a user's own in every event, wherever it is made; what cannot be in one is refused."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcapeda import BadConfig, BadEnrichment, Datagram, Job, LocalBus, MemorySink, Shape, execute, load_rules
from pcapeda.aws.wire import EventLines
from tests.command import CLEAN, FIXTURES, ROOT

MIXED = str(FIXTURES / "mixed.pcap")


def ends(datagram: Datagram) -> dict[str, Any]:
    """What the tests add."""
    return {"Ends": [datagram.source_port, datagram.destination_port], "Place": {"Name": "Kö\u2028ln", "Floor": None}}


def some(datagram: Datagram) -> dict[str, Any] | None:
    """Nothing for syslog."""
    return None if datagram.destination_port == 514 else {"Odd": True}


def run(**fields: Any) -> list[dict[str, Any]]:
    sink = MemorySink()
    shape = fields.pop("shape", Shape(enrich=ends))
    report = execute(Job(captures=(MIXED,), shape=shape, **fields), sink=sink)
    assert report.status() == 0
    assert report.adds_up()
    return [event["detail"] for event in sink.events]


@pytest.mark.parametrize("fields", [{}, {"jobs": 2}, {"pps": 1e6}, {"max_rate": 1e6}, {"ports": frozenset({514, 53})}])
def test_every_event_has_it(fields: dict[str, Any]) -> None:
    """By blocks, one by one, in other processes: the same members."""
    details = run(**fields)
    assert details
    for detail in details:
        assert detail["Ends"] == [detail["Source"]["Port"], detail["Destination"]["Port"]]
        assert detail["Place"] == {"Name": "Kö\u2028ln", "Floor": None}


def test_in_a_group_each_packet_has_it() -> None:
    """A group's packets bear it, not the group."""
    details = run(group=4)
    packets = [packet for detail in details for packet in detail["Packets"]]
    assert len(packets) == 13
    assert all(packet["Ends"][0] == packet["Source"]["Port"] for packet in packets)
    assert not any("Ends" in detail for detail in details)


def test_rules_can_ask_for_it(tmp_path: Path) -> None:
    """A rule on an added member selects by it; where nothing is added there is nothing."""
    rules = tmp_path / "odd.json"
    rules.write_text('{"detail": {"Odd": [true]}}')
    details = run(shape=Shape(enrich=some), rules=(str(rules),), only_matching=False)
    assert {"Odd" in detail for detail in details if detail["Destination"]["Port"] == 514} == {False}
    bus = LocalBus(load_rules([str(rules)]).rules)
    execute(Job(captures=(MIXED,), shape=Shape(enrich=some)), sink=bus)
    assert bus.counts["odd"] == sum("Odd" in detail for detail in details) > 0


def test_lines_are_what_entries_make() -> None:
    """The short cut of a dry run gives the same text and sizes."""
    from pcapeda import datagrams

    found, shape, form = list(datagrams(MIXED)), Shape(enrich=ends, file="a.pcap"), EventLines()
    lines, entries = shape.lines(found, form), shape.entries(found)
    assert lines.text == form(entries)
    assert lines.size == sum(entry.size for entry in entries)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.binary(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=8), VALUES, max_size=4))
def test_whatever_it_gives_is_in_the_event_or_refused(added: dict[str, Any]) -> None:
    """As JSON knows it, never half of it, never anything but `BadEnrichment`."""
    datagram = next(iter(_DATAGRAMS))
    try:
        entry = Shape(enrich=lambda _: added).entry(datagram)
    except BadEnrichment:
        return
    detail = entry.envelope()["detail"]
    for name, value in added.items():
        assert detail[name] == (list(value) if isinstance(value, tuple) else value)
    assert set(detail) - set(added) == set(Shape().entry(datagram).envelope()["detail"])
    assert entry.size == len(entry.detail.encode()) + Shape().entry(datagram).size - len(
        Shape().entry(datagram).detail.encode()
    )


def _first() -> Datagram:
    from pcapeda import datagrams

    return next(datagrams(MIXED))


_DATAGRAMS = (_first(),)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"Payload": "x"}, "Payload is a member that the event has by itself"),
        ({"A": 1 << 63}, "beyond 64 bits"),
        ({"A": float("inf")}, "JSON"),
        ({"A": b"x"}, "bytes"),
        ({1: "x"}, "names of members must be text"),
        ({"A": "\ud800"}, "surrogates"),
        (["A"], "mapping"),
    ],
)
def test_what_an_event_cannot_hold_ends_the_run(given: Any, words: str) -> None:
    """The function, the frame, and what is wrong."""
    with pytest.raises(BadEnrichment, match=r"enrich \(.*\): .*\(frame 1\)") as caught:
        execute(Job(captures=(MIXED,), shape=Shape(enrich=lambda _: given)), sink=MemorySink())
    assert words in str(caught.value)


def test_a_circle_is_refused() -> None:
    """Nesting is bounded."""
    circle: dict[str, Any] = {}
    circle["A"] = circle
    with pytest.raises(BadEnrichment, match="nested"):
        Shape(enrich=lambda _: circle).entry(_first())


def test_an_exception_in_it_is_named() -> None:
    """Whatever it raises."""

    def broken(datagram: Datagram) -> None:
        raise KeyError("nowhere")

    with pytest.raises(BadEnrichment, match=r"broken.*KeyError: 'nowhere'"):
        execute(Job(captures=(MIXED,), shape=Shape(enrich=broken)), sink=MemorySink())


BROKEN_IN_A_MODULE = """
import sys
sys.path.insert(0, sys.argv[1])
import broken_enrichment, pcapeda
job = pcapeda.Job(captures=(sys.argv[2],), shape=pcapeda.Shape(enrich=broken_enrichment.add), jobs=2)
try:
    pcapeda.execute(job, sink=pcapeda.MemorySink())
except pcapeda.BadEnrichment as error:
    print(error)
"""


def test_an_exception_in_another_process_is_the_same(tmp_path: Path) -> None:
    """The error travels back."""
    (tmp_path / "broken_enrichment.py").write_text("def add(datagram):\n    raise ValueError('elsewhere')\n")
    command = [sys.executable, "-c", BROKEN_IN_A_MODULE, tmp_path, MIXED]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=CLEAN, timeout=60, check=False)
    assert done.stdout == "enrich (add): ValueError: elsewhere (frame 1)\n", done.stderr


def test_what_cannot_be_honoured_is_refused_first() -> None:
    """Other shapes, flows, and what does not travel."""
    for name in ("minimal", "proxylity"):
        with pytest.raises(BadConfig, match="enrich"):
            Shape(name, enrich=ends)  # type: ignore[arg-type]
    job = Job(captures=(MIXED,), shape=Shape(enrich=ends))
    with pytest.raises(BadConfig, match="aggregate"):
        replace(job, aggregate_s=1.0).check()
    with pytest.raises(BadConfig, match="cannot travel"):
        replace(job, shape=Shape(enrich=lambda _: None), jobs=2).check()
    with pytest.raises(BadConfig, match="must be a function"):
        replace(job, shape=Shape(enrich="x")).check()  # type: ignore[arg-type]
