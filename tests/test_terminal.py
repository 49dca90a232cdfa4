"""What a person sees: text where it is text, hex where it is not, and never a byte that speaks to the terminal."""

import io
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcapeda.model import Batch, Datagram, Entry, SkipReason
from pcapeda.report import Report
from pcapeda.ui.terminal import (
    PrettySink,
    hex_rows,
    open_console,
    payload_rows,
    printable,
    progress_words,
    show_summary,
    usd,
)


def entry(payload: bytes, **changes: object) -> Entry:
    datagram = Datagram(
        time_ns=1_775_861_044_123_456_000,
        source="198.51.100.7",
        source_port=40000,
        destination="192.0.2.1",
        destination_port=514,
        payload=payload,
        length=len(payload) + 8,
        checksum=0x1C46,
        checksum_status="good",
        ip_version=4,
        via=("eth", "ip4"),
        whole=True,
        number=17,
        interface=None,
    )._replace(**changes)
    return Entry("udp.raw", "UdpPacket", "{}", None, (), 0, "", datagram)


def shown(*entries: Entry, width: int = 80, whole: bool = False) -> str:
    stream = io.StringIO()
    PrettySink(open_console(stream, width=width), whole=whole).send(Batch(entries, 0))
    return stream.getvalue()


def test_a_syslog_datagram_reads_at_a_glance() -> None:
    """Day, number, time, both ends, service, size, and the text."""
    assert shown(entry(b"<34>Oct 11 22:14:15 mymachine su: 'su root' failed")) == (
        "2026-04-10 UTC\n"
        "#17 22:44:04.123456  198.51.100.7:40000 → 192.0.2.1:514  syslog  50 bytes\n"
        "    <34>Oct 11 22:14:15 mymachine su: 'su root' failed\n"
        "\n"
    )


def test_the_day_is_said_once_and_again_when_it_changes() -> None:
    """A capture over midnight says so."""
    next_day = 1_775_861_044_123_456_000 + 86_400 * 10**9
    text = shown(entry(b"a"), entry(b"b"), entry(b"c", time_ns=next_day))
    assert [line for line in text.splitlines() if line.endswith("UTC")] == ["2026-04-10 UTC", "2026-04-11 UTC"]


def test_what_is_unusual_is_said() -> None:
    """Layers beyond link and IP, a reassembly, a cut payload and a bad checksum each get a line."""
    text = shown(
        entry(
            b"x",
            via=("eth", "vlan:10", "ip4"),
            fragments=(3, 4, 17),
            whole=False,
            length=1008,
            checksum_status="bad",
        )
    )
    assert "    via eth vlan:10 ip4\n" in text
    assert "    reassembled from 3 fragments\n" in text
    assert "    cut by the capture: 1 of 1,000 bytes\n" in text
    assert "    bad checksum 0x1c46\n" in text


@pytest.mark.parametrize("width", [80, 140])
@given(st.binary(max_size=2000), st.sampled_from(["192.0.2.1", "2001:db8:1111:2222:3333:4444:5555:6666"]))
def test_no_row_is_wider_than_the_screen_and_no_byte_speaks_to_it(width: int, payload: bytes, address: str) -> None:
    """Whatever the payload, rows fit and hold printable characters only."""
    for line in shown(entry(payload, source=address, destination=address), width=width).splitlines():
        assert len(line) <= width
        assert line.isprintable()


def test_escape_sequences_are_shown_as_hex() -> None:
    """A payload that would clear the screen or hide text by bidirectional marks is dumped, not printed."""
    assert printable(b"\x1b[2J") is None
    assert printable("abc\u202edef".encode()) is None
    assert hex_rows(b"\x1b[2J", 80) == ["0000  1b 5b 32 4a" + " " * 38 + ".[2J"]


def test_long_payloads_are_cut_unless_all_is_asked_for() -> None:
    """Some rows, how many more there are, and all of them with whole=True."""
    payload = bytes(range(256)) * 4
    assert "… 56 more rows (-v shows all)" in shown(entry(payload))
    assert "more rows" not in shown(entry(payload), whole=True)
    assert len(payload_rows(payload, 80)) == 64


def test_text_wraps_at_the_width_and_keeps_its_lines() -> None:
    """Line ends of the payload stay; what is too long is folded."""
    assert payload_rows(b"first\r\nsecond\n", 80) == ["first", "second"]
    assert payload_rows(b"x" * 100, 76) == ["x" * 76, "x" * 24]


def test_the_summary_is_the_law_of_conservation() -> None:
    """Every count a person needs to see that nothing is missing."""
    report = Report(frames=10, datagrams=6, fragments=2, used=2, reassembled=1, sent=5)
    report.skips[SkipReason.NOT_UDP, "tcp"] = 2
    report.refused["ThrottlingException"] = 2
    report.remember("ThrottlingException", "Rate exceeded")
    assert report.adds_up()
    stream = io.StringIO()
    show_summary(report, open_console(stream, width=200), delivered="delivered", costs_money=True)
    text = stream.getvalue()
    assert "10 frames = 6 datagrams + 2 fragments + 2 skipped" in text
    assert "2 IP, but not UDP (2 tcp)" in text
    assert "2 = 2 used + 0 given up + 0 still waiting; 1 datagram reassembled" in text
    assert "7 = 5 delivered + 2 refused" in text
    assert "2 ThrottlingException: Rate exceeded" in text


def test_the_progress_line_says_what_has_room() -> None:
    """Counts by reason where they fit, in sum where not; the loudest source last; never wider than it may be."""
    report = Report(chunks=250, spooled=32, dead=Counter({"MalformedDetail": 4}))
    report.refused = Counter({"rate limit": 34_369, "rate limit per source": 249})
    report.turned_away = Counter({("rate limit per source", "192.0.2.2"): 249})
    reading = Report(datagrams=34_900, kernel_drops=7)
    assert progress_words(report, reading, 10, 200, "0.00025 USD") == (
        "34,900 datagrams · 3,490/s · 0.00025 USD · 7 dropped · 34,369 rate limit, 249 rate limit per source · "
        "32 spooled · 4 dead letters · most by 192.0.2.2: 249 rate limit per source"
    )
    assert progress_words(report, reading, 10, 90, "0.00025 USD") == (
        "34,900 datagrams · 3,490/s · 0.00025 USD · 7 dropped · 34,618 refused · 32 spooled"
    )
    for room in range(20, 200):
        assert len(progress_words(report, reading, 10, room, "0.00025 USD")) <= room
    assert progress_words(Report(), Report(datagrams=1), 1, 80, None) == "1 datagram · 1/s"


def test_amounts_are_never_a_false_zero() -> None:
    """A few events cost something, and it is shown."""
    assert usd(0) == "0.00 USD"
    assert usd(0.000012) == "0.000012 USD"
    assert usd(0.0123) == "0.012 USD"
    assert usd(1234.5) == "1,234.50 USD"
