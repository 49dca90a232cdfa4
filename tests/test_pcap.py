"""The classic capture file: byte orders, units, relatives, cuts and lies."""

import struct
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pcapeda.capture import pcap
from pcapeda.capture.files import read
from pcapeda.capture.stream import Stream
from pcapeda.engine.run import datagrams as read_datagrams
from pcapeda.errors import BadCapture
from pcapeda.model import Damage, Frame
from pcapeda.report import Report
from tests.command import FIXTURES, pcapeda
from tests.frames import ethernet, udp4
from tests.reading import chunked, read_bytes

# The example of draft-ietf-opsawg-pcap, written out by hand: one record of 4 of 60 bytes, in each byte order.
LITTLE = bytes.fromhex(
    "d4c3b2a1 0200 0400 00000000 00000000 00000400 01000000  64d8d769 15cd5b07 04000000 3c000000 deadbeef"
)
BIG = bytes.fromhex(
    "a1b2c3d4 0002 0004 00000000 00000000 00040000 00000001  69d7d864 0000007b 00000004 0000003c deadbeef"
)


def header(
    *, order: str = "<", magic: int = 0xA1B2C3D4, version: tuple[int, int] = (2, 4), snaplen: int = 65535, link: int = 1
) -> bytes:
    """A file header."""
    return struct.pack(f"{order}IHHiIII", magic, *version, 0, 0, snaplen, link)


def record(data: bytes, *, order: str = "<", at: tuple[int, int] = (1, 2), wire: int | None = None) -> bytes:
    """A record, its two lengths in today's order."""
    return struct.pack(f"{order}IIII", *at, len(data), len(data) if wire is None else wire) + data


def test_a_record_by_hand_in_each_byte_order() -> None:
    """The four numbers of a record and its data, as the specification lays them out."""
    assert read_bytes(BIG) == ([Frame(0x69D7D864 * 10**9 + 123_000, 1, b"\xde\xad\xbe\xef", 60, None, 1)], [])
    frames, damages = read_bytes(LITTLE)
    # 0x075bcd15 is 123,456,789: as microseconds that is 123 seconds more, carried, and a word about it.
    assert frames == [Frame(0x69D7D864 * 10**9 + 123_456_789_000, 1, b"\xde\xad\xbe\xef", 60, None, 1)]
    assert [damage.harmless for damage in damages] == [True]


def test_nanoseconds_by_their_magic() -> None:
    """0xa1b23c4d makes the fraction nanoseconds."""
    frames, _ = read_bytes(bytes.fromhex("4d3cb2a1") + LITTLE[4:])
    assert frames[0].time_ns == 0x69D7D864 * 10**9 + 123_456_789


def test_seconds_have_no_sign() -> None:
    """A time after 2038 stays after 2038."""
    frames, _ = read_bytes(header() + record(b"x", at=(0xFFFF_FFFF, 999_999)))
    assert frames[0].time_ns == 0xFFFF_FFFF * 10**9 + 999_999_000


@pytest.mark.parametrize(("field", "linktype"), [(0x2400_0001, 1), (0xF400_0071, 113), (0x0001_0001, 0x0001_0001)])
def test_fcs_bits_are_no_part_of_the_link_type(field: int, linktype: int) -> None:
    """The upper six bits tell the length of the frame check sequence; ten more are reserved and make another type."""
    frames, _ = read_bytes(header(link=field) + record(b"x"))
    assert frames[0].linktype == linktype


def test_old_versions_have_the_lengths_swapped() -> None:
    """Before 2.3 always, in 2.3 where the captured length would be larger, never after."""
    swapped, straight = struct.pack("<IIII", 1, 2, 60, 4) + b"four", struct.pack("<IIII", 1, 2, 4, 60) + b"four"
    for version, body in (
        ((2, 2), swapped),
        ((2, 3), swapped),
        ((2, 3), straight),
        ((2, 4), straight),
        ((543, 0), swapped),
    ):
        frames, damages = read_bytes(header(version=version) + body + body)
        assert [(frame.data, frame.wire_length) for frame in frames] == [(b"four", 60)] * 2
        assert damages == []


def test_aix_pads_fddi_frames() -> None:
    """AIX writes interface type 15 for FDDI (LINKTYPE 10), nanoseconds, and three bytes before each frame."""
    body = struct.pack(">IIII", 1, 2, 103, 13) + b"\0\0\0ten bytes!"
    frames, damages = read_bytes(header(order=">", version=(2, 2), link=15) + body * 2)
    assert frames == [Frame(10**9 + 2, 10, b"ten bytes!", 100, None, number) for number in (1, 2)]
    assert damages == []


@pytest.mark.parametrize("name", ["modified.pcap", "modified-990915.pcap", "modified-990417.pcap", "nokia.pcap"])
def test_relatives_that_share_a_magic_are_guessed_from_a_pipe_too(name: str) -> None:
    """Where whole records have arrived they decide, however they come."""
    content = (FIXTURES / name).read_bytes()
    assert read_bytes(content, live=True) == read_bytes(content)


def test_a_pipe_is_never_kept_waiting_for_a_guess() -> None:
    """After the file header and one record of a live stream, that record is there."""
    content = header() + record(b"x" * 60)
    frames = read(Stream(iter([content[:24], content[24:], None]), live=True), "test", lambda damage: None)
    assert next(frames) == Frame(1_000_002_000, 1, b"x" * 60, 60, None, 1)
    assert next(frames) is None


def test_a_version_that_nothing_reads_is_no_capture() -> None:
    """Version 1.x: said, not guessed at."""
    with pytest.raises(BadCapture, match=r"version 1\.9"):
        read_bytes(header(version=(1, 9)) + record(b"x"))


def test_a_cut_at_every_byte_keeps_the_whole_records_before_it() -> None:
    """Wherever the file ends: the records before are there, and the damage is told with the place of the first loss."""
    starts = [24]
    content = header(
        magic=0xA1B23C4D
    )  # a magic that is one format's alone: with others a stump may look like a relative
    for size in (0, 1, 60, 3):
        content += record(b"x" * size, wire=1500)
        starts.append(len(content))
    for end in range(4, len(content) + 1):
        frames, damages = read_bytes(content[:end])
        whole = sum(start <= end for start in starts[1:])
        assert len(frames) == whole
        if end in starts:
            assert damages == []
            continue
        (damage,) = damages
        assert damage.offset == (0 if end < 24 else starts[whole])
        assert "cut in the middle of" in damage.what
        assert f"{end - damage.offset} of " in damage.what
        assert not damage.passed


@pytest.mark.parametrize("claim", [262_145, 0x7FFF_FFFF, 0xFFFF_FFFF])
def test_a_record_that_claims_too_much_ends_the_file_and_takes_no_memory(claim: int) -> None:
    """A length beyond every real packet is damage, told with the number; nothing is allocated for it."""
    content = header() + record(b"good") + struct.pack("<IIII", 1, 2, claim, claim) + b"rest" * 100
    tracemalloc.start()
    try:
        frames, (damage,) = read_bytes(content)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [frame.data for frame in frames] == [b"good"]
    assert damage.offset == 24 + 20
    assert f"packet record 2 claims {claim:,} bytes" in damage.what
    assert peak < 1 << 20


def test_the_largest_packet_and_one_beyond_the_snap_length_are_fine() -> None:
    """262,144 bytes are read, whatever snap length the header tells; D-Bus may be larger."""
    big = b"x" * 262_144
    assert [frame.data for frame in read_bytes(header(snaplen=96) + record(big) + record(b"y"))[0]] == [big, b"y"]
    assert len(read_bytes(header(link=231) + record(big + b"more"))[0]) == 1


records = st.lists(
    st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 999_999), st.binary(max_size=80), st.integers(0, 2**31)),
    max_size=12,
)
chunk_sizes = st.lists(st.integers(0, 40), max_size=60)


@settings(deadline=None)
@given(records, st.sampled_from("<>"), chunk_sizes, st.booleans())
@example([(1, 2, b"abc", 3)], "<", [24, 0, 1, 0, 1], True)
def test_what_was_written_is_read_however_it_arrives(
    listed: list[tuple[int, int, bytes, int]], order: str, sizes: list[int], live: bool
) -> None:
    """Any records, in chunks of any size with ticks between, come out as they went in."""
    content = header(order=order, magic=0xA1B23C4D)
    content += b"".join(
        record(data, order=order, at=(seconds, part), wire=wire) for seconds, part, data, wire in listed
    )
    frames, damages = read_bytes(content, sizes, live=live)
    assert frames == [
        Frame(seconds * 10**9 + part, 1, data, wire, None, number)
        for number, (seconds, part, data, wire) in enumerate(listed, 1)
    ]
    assert damages == []


@settings(deadline=None, max_examples=300)
@given(
    st.sampled_from([LITTLE[:4], BIG[:4], b"\x4d\x3c\xb2\xa1", b"\x34\xcd\xb2\xa1"]),
    st.binary(max_size=400),
    chunk_sizes,
)
def test_any_bytes_behind_a_magic_end_in_frames_damage_or_bad_capture(
    magic: bytes, rest: bytes, sizes: list[int]
) -> None:
    """Nothing else is raised, and the same bytes give the same whatever chunks they come in."""
    results = []
    for chunks in ((), sizes):
        try:
            results.append(read_bytes(magic + rest, chunks))
        except BadCapture as error:
            results.append(([], str(error)))  # type: ignore[arg-type]
    assert results[0] == results[1]


@settings(deadline=None, max_examples=300)
@given(records, st.sampled_from("<>"), chunk_sizes, st.binary(max_size=60), st.lists(st.booleans(), max_size=20))
@example([(1, 2, b"abc", 3)] * 3, "<", [], struct.pack("<IIII", 1, 2, 262_145, 3), [True])
@example([(1, 2, b"abc", 3)] * 3, "<", [], struct.pack("<IIII", 1, 2, 40, 40) + b"cut", [True])
@example([(1, 2, b"abc", 3)] * 3, "<", [], struct.pack("<III", 1, 2, 262_145), [True])
@example([(1, 2, b"abc", 3)] * 9, ">", [30, 0, 70], b"", [True, False, True])
def test_spans_are_the_same_records(
    listed: list[tuple[int, int, bytes, int]], order: str, sizes: list[int], rest: bytes, turns: list[bool]
) -> None:
    """Whether records are handed over as frames or in ranges, in whatever turns: the same ones, and the same damage."""
    content = header(order=order, magic=0xA1B23C4D)
    content += b"".join(record(data, order=order, at=(when, part), wire=wire) for when, part, data, wire in listed)
    content += rest

    def started() -> Stream:
        stream = Stream(chunked(content, sizes))
        for _ in stream.want(4):
            pass
        return stream

    told: list[list[Damage]] = [[], []]
    plain = [frame for block in pcap.read(started(), "a.pcap", told[0].append) for frame in block or ()]
    turn = iter(turns)
    frames: list[Frame] = []
    for some in pcap.ranges(started(), "a.pcap", told[1].append, 3, lambda: next(turn, True)):
        if isinstance(some, pcap.RecordRange):
            assert 0 < some.records <= 3
            frames += (frame for block in some.blocks() for frame in block)
        else:
            frames += some or ()
    assert frames == plain
    assert told[1] == told[0]


def nokia(*packets: bytes, order: str = "<") -> bytes:
    """Records with four extra bytes of zero, as editcap -F nokiapcap writes them."""
    head = header(order=order)
    return head + b"".join(
        struct.pack(f"{order}5I", 1_700_000_000 + number, 123_456, len(one), len(one), 0) + one
        for number, one in enumerate(packets)
    )


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("count", [1, 2, 3, 4, 9])
def test_nokia_records_without_marks(order: str, count: int) -> None:
    """What editcap writes where Nokia has its own marks is zero: it is read when all else fits."""
    packets = [bytes([number + 1]) * (60 + number) for number in range(count)]
    frames, damages = read_bytes(nokia(*packets, order=order))
    assert [frame.data for frame in frames] == packets
    assert frames[0].time_ns == 1_700_000_000_123_456_000
    assert damages == []


@pytest.mark.parametrize("count", [1, 2, 3, 5])
@pytest.mark.parametrize("fraction", [5, 123_456_789])
def test_packets_that_begin_with_zeros_are_not_nokias(count: int, fraction: int) -> None:
    """Frames of the loopback device begin with twelve zeros, whatever their times are like."""
    packets = [bytes(12) + b"\x08\0" + bytes([number + 1]) * 50 for number in range(count)]
    frames, damages = read_bytes(header() + b"".join(record(one, at=(1_700_000_000, fraction)) for one in packets))
    assert [frame.data for frame in frames] == packets
    assert [one for one in damages if not one.harmless] == []


@pytest.mark.parametrize(
    ("magic", "fraction", "words"),
    [
        (0xA1B2C3D4, 999_999, None),
        (0xA1B2C3D4, 1_000_000, "microseconds of its time are a second or more (written as nanoseconds"),
        (0xA1B2C3D4, 123_456_789, "microseconds"),
        (0xA1B2C3D4, 0xFFFF_FFFF, "negative"),
        (0xA1B23C4D, 999_999_999, None),
        (0xA1B23C4D, 1_000_000_000, "nanoseconds of its time are a second or more"),
    ],
)
@pytest.mark.parametrize("odd", [1, 2, 300, 700])
def test_a_fraction_of_a_second_or_more_is_told_once(magic: int, fraction: int, words: str | None, odd: int) -> None:
    """Wherever it is in the file; the time is what the bytes say, nothing is lost, and it is no damage."""
    data = header(magic=magic)
    for number in range(1, 801):
        data += record(b"abcd", at=(1_700_000_000, fraction if number >= odd else 7))
    frames, told = read_bytes(data)
    assert len(frames) == 800
    unit = 1000 if magic == 0xA1B2C3D4 else 1
    assert frames[-1].time_ns == 1_700_000_000_000_000_000 + fraction * unit
    assert len(told) == (words is not None)
    if words is not None:
        assert told[0].harmless
        assert words in str(told[0])
        assert f"packet record {odd}:" in str(told[0])
        assert "damaged" not in str(told[0])


@pytest.mark.parametrize("options", [(), ("--jobs", "2")])
def test_a_run_says_that_times_are_odd(tmp_path: Path, options: tuple[str, ...]) -> None:
    """On stderr, one line; exit code 0."""
    packet = ethernet(udp4(b"hello"))
    path = tmp_path / "odd.pcap"
    path.write_bytes(header() + record(packet, at=(1_700_000_000, 123_456_789)) * 2)
    done = pcapeda("replay", "-n", path, *options)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count(b"a second or more") == 1
    assert len(done.stdout.splitlines()) == 2
    report = Report()
    assert len(list(read_datagrams(str(path), report=report))) == 2
    assert report.damages == []


@pytest.mark.parametrize(("magic", "unit"), [(0x1C0001AC, 1), (0x1C0001AB, 1000)])
@pytest.mark.parametrize("order", "<>")
def test_ixia(magic: int, unit: int, order: str) -> None:
    """Ixia's lcap: numbers of its own, and the size of all records behind the header."""
    data = header(order=order, magic=magic) + struct.pack(f"{order}I", 20) + record(b"abcd", order=order, at=(5, 7))
    frames, damages = read_bytes(data)
    assert (frames[0].time_ns, frames[0].data, damages) == (5_000_000_000 + 7 * unit, b"abcd", [])
