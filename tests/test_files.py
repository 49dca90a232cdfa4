"""From a path or a pipe to frames: formats by magic, compression, folders, what is no capture, and waiting."""

import bz2
import contextlib
import gzip
import lzma
import os
import random
import signal
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from pcapeda.capture import files
from pcapeda.capture.files import Capture, expand, read
from pcapeda.capture.magic import looks_like
from pcapeda.capture.stream import Stream
from pcapeda.errors import BadCapture
from pcapeda.model import Frame
from tests import tshark
from tests.command import FIXTURES
from tests.reading import CAPTURES, SHARED, read_bytes, read_file

MIXED = (FIXTURES / "mixed.pcap").read_bytes()
FRAMES = read_bytes(MIXED)[0]


def rows(path: Path) -> list[dict[str, str]]:
    """A table with a header line, tabs between its columns and no quoting."""
    lines = path.read_text("utf-8").splitlines()
    names = lines[0].split("\t")
    return [dict(zip(names, line.split("\t"), strict=True)) for line in lines[1:]]


LINKTYPES = {row["file"]: {int(one) for one in row["linktypes"].split(",")} for row in rows(FIXTURES / "MANIFEST.tsv")}
SHARED_PACKETS = (
    {row["file"]: row["packets_capinfos"] for row in rows(SHARED[0].parent / "MANIFEST.tsv")} if SHARED else {}
)

# --- What tshark sees


TSHARK_CANNOT = {
    "damaged-middle.pcapng": "it stops at a damaged block that can be passed",
    "ixia-hardware.pcap": "version 4.0 multiplies nanoseconds by 1,000 once more",
    "tsresol.pcapng": "version 4.0 computes picoseconds in too few bits",
    "mixed.pcap.bz2": "it reads no bzip2",
    "mixed.pcap.xz": "it reads no xz",
}


def assert_read_as(seen: list[tshark.Record], path: Path) -> None:
    """Number, time, captured length and length on the wire of every packet record."""
    if path.name in TSHARK_CANNOT:
        pytest.skip(f"tshark is no measure here: {TSHARK_CANNOT[path.name]}")
    frames: list[Frame] = []
    with contextlib.suppress(BadCapture):
        frames, _ = read_file(path)
    assert [(frame.number, frame.time_ns, len(frame.data), frame.wire_length) for frame in frames] == seen


@tshark.needs_tshark
@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.name)
def test_fixtures_are_read_as_tshark_reads_them(path: Path) -> None:
    """Every packet record of every fixture, to the nanosecond."""
    assert_read_as(tshark.records(path), path)


@tshark.needs_tshark
@pytest.mark.parametrize(
    "path", [path for path in SHARED if path.suffix not in (".pcap", "")], ids=lambda path: path.name
)
def test_captures_by_others_are_read_as_tshark_reads_them(path: Path) -> None:
    """Every packet record of real captures, where they are at hand: those in the formats with most to get wrong."""
    assert_read_as(tshark.records(path), path)


@pytest.mark.parametrize("path", SHARED, ids=lambda path: path.name)
def test_captures_by_others_are_read_as_their_truth_says(path: Path) -> None:
    """How many packet records there are, and the number and time of each one that holds a datagram."""
    frames: list[Frame] = []
    with contextlib.suppress(BadCapture):
        frames, _ = read_file(path)
    packets = SHARED_PACKETS[path.name]
    assert packets == "unreadable" or len(frames) == int(packets)
    times = {frame.number: frame.time_ns for frame in frames}
    for row in rows(path.parent / "truth" / f"{path.name}.tsv"):
        assert times[int(row["pkt"])] == tshark.nanoseconds(row["time_epoch"]), row


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.name)
def test_link_types_are_those_of_the_manifest(path: Path) -> None:
    """Every link type that a file holds, and no other."""
    frames, _ = read_file(path)
    assert {frame.linktype for frame in frames} <= LINKTYPES[path.name]
    assert len(frames) == 0 or {frame.linktype for frame in frames} == LINKTYPES[path.name]


def test_interfaces_have_their_names() -> None:
    """A pcapng interface's name travels with its packets; a classic capture knows none."""
    frames, _ = read_file(FIXTURES / "two-interfaces.pcapng")
    assert [frame.interface for frame in frames] == ["eth0", "tun0", "eth0", "tun0"]
    assert {frame.interface for frame in FRAMES} == {None}


# --- Compression


def lzma_alone(data: bytes) -> bytes:
    """The format before xz."""
    return lzma.compress(data, format=lzma.FORMAT_ALONE)


def zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=3, write_checksum=True).compress(data)


PACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "LZMA": lzma_alone,
    "Zstandard": zstd,
}


def record(number: int) -> bytes:
    """A packet record of 200 bytes that no compressor makes smaller."""
    lengths = (200).to_bytes(4, "little") * 2
    return number.to_bytes(4, "little") + bytes(4) + lengths + random.Random(number).randbytes(200)


NOISY = MIXED[:24] + b"".join(record(number) for number in range(6000))
SKIPPABLE = b"\x50\x2a\x4d\x18\x04\0\0\0skip"


@pytest.mark.parametrize("name", PACK)
@pytest.mark.parametrize("step", [1 << 20, 7])
def test_a_compressed_capture_is_the_capture(name: str, step: int) -> None:
    """In one piece or in crumbs, with ticks between."""
    packed = PACK[name](MIXED)
    assert read_bytes(packed, [step, 0] * (len(packed) // step)) == (FRAMES, [])


@pytest.mark.parametrize("name", ["gzip", "bzip2", "xz", "Zstandard"])
def test_members_follow_one_another(name: str) -> None:
    """Streams that were appended are one stream, and zeros after one are padding."""
    pack = PACK[name]
    packed = pack(MIXED[:100]) + bytes(4) + pack(MIXED[100:500]) + pack(MIXED[500:]) + bytes(512)
    assert read_bytes(packed, [3] * 200) == (FRAMES, [])


def test_skippable_frames_are_skipped() -> None:
    """Parallel Zstandard writes frames that hold no data, even in front."""
    assert read_bytes(SKIPPABLE + zstd(MIXED[:700]) + SKIPPABLE + zstd(MIXED[700:])) == (FRAMES, [])


@pytest.mark.parametrize("name", PACK)
def test_a_compressed_stream_that_is_cut_gives_what_is_before_the_cut(name: str) -> None:
    """The frames that can be unpacked, then one line that names the compression and that it ended early."""
    packed = PACK[name](NOISY)
    frames, (damage,) = read_bytes(packed[: len(packed) * 9 // 10])
    assert 100 < len(frames) < 6000
    assert f"the {name} stream ends early (counted after unpacking {name})" in damage.what
    assert damage.offset == 24 + len(frames) * 216


@pytest.mark.parametrize("name", ["gzip", "bzip2", "xz", "Zstandard"])
def test_a_compressed_stream_that_is_damaged_is_told(name: str) -> None:
    """A byte that flipped near the end: no traceback, no invented success."""
    packed = bytearray(PACK[name](NOISY))
    packed[-7] ^= 0x55
    frames, damages = read_bytes(bytes(packed))
    assert len(frames) <= 6000
    assert any(name in damage.what for damage in damages)


@pytest.mark.parametrize("name", ["gzip", "bzip2", "xz", "Zstandard"])
def test_garbage_behind_a_compressed_stream_is_told(name: str) -> None:
    """All frames are there; that something else follows is not hidden."""
    frames, (damage,) = read_bytes(PACK[name](MIXED) + b"something else entirely")
    assert frames == FRAMES
    assert f"follows the {name} stream" in damage.what
    frames, (damage,) = read_bytes(PACK[name](MIXED) + b"!")
    assert frames == FRAMES
    assert "1 bytes that are not" in damage.what


@pytest.mark.parametrize("name", PACK)
def test_a_bomb_is_unpacked_in_bounded_memory(name: str) -> None:
    """48 MiB of zeros from a few KB: what is held at a time is some MiB."""
    capture = (FIXTURES / "two-interfaces.pcapng").read_bytes()
    length = (12 + (48 << 20)).to_bytes(4, "little")
    packed = PACK[name](capture + b"\x4d\0\0\0" + length + bytes(48 << 20) + length + capture)
    tracemalloc.start()
    try:
        frames, damages = read_bytes(packed, [1 << 16] * 100)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (len(frames), damages) == (8, [])
    assert peak < 32 << 20


def test_zstandard_without_a_decoder_is_one_line_that_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where neither Python nor a package can unpack it, the line says what to install."""
    monkeypatch.setitem(sys.modules, "compression", None)
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(BadCapture, match=r"test: compressed with Zstandard: .*pip install 'pcapeda\[zstd\]'"):
        read_bytes(zstd(MIXED))


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_mutated_compressed_captures_end_in_frames_damage_or_bad_capture(data: st.DataObject) -> None:
    """Whatever is wrong with an archive, nothing else is raised."""
    content = bytearray(PACK[data.draw(st.sampled_from(sorted(PACK)))](MIXED))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(3, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    with contextlib.suppress(BadCapture):
        read_bytes(bytes(content), data.draw(st.lists(st.integers(0, 99), max_size=20)))


# --- What is no capture


@pytest.mark.parametrize(
    ("start", "words"),
    [
        (b"../../default/pcap/soap.pcap", 'text (starts with "../../default/pcap/soap.pcap")'),
        ("Zeit\tQuelle — Ziel\n1 2 3\n".encode(), 'text (starts with "Zeit Quelle — Ziel 1 2 3")'),
        ("é".encode() * 300, f'text (starts with "{"é" * 40}")'),
        ("Frames\r\n".encode("utf-16"), 'text (starts with "Frames")'),
        (b"\x1b[31mred", 'text (starts with "·[31mred")'),
        (b"\n<!DOCTYPE html><title>Sign in</title>", "HTML"),
        (b"<HTML><BODY>", "HTML"),
        (b'<?xml version="1.0"?>\n<pdml version="0">', "PDML"),
        (b"<?xml version='1.0'?><svg>", "XML"),
        (b'{"Records": []}', "JSON"),
        (b"[\n  {", "JSON"),
        (b"\x7fELF\x02\x01", "an ELF program"),
        (b"MZ\x90\0\x03", "a Windows program"),
        (b"PK\x03\x04\x14", "a ZIP archive: unpack it first"),
        (b"name" + bytes(253) + b"ustar\00000", "a tar archive: unpack it first"),
        (b"\x04\x22\x4d\x18\x64", "an LZ4 stream"),
        (b"snoop\0\0\0\0\0\0\x02", "a snoop capture (Solaris): editcap"),
        (b"GMBU\0\x02", "a Microsoft Network Monitor capture"),
        (b"btsnoop\0\0\0\0\x01", "a btsnoop capture"),
        (b"TRSNIFF data    \x1a", "a Sniffer or NetXRay capture"),
        (bytes(72) + b"\x02\0\x02\xc0" + bytes(20), "a Windows event trace (ETL)"),
        (bytes(4) + (1_700_000_000).to_bytes(4, "little") + b"\x02\x04\0\x60\0\0\0\x4a" + bytes(80), "an ERF capture"),
        (b"%PDF-1.7", "a PDF document"),
        (b"#!/bin/sh\n", "a script"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        (bytes(600), "zeros"),
        (b"\x93\xff\x00\x01\x02\x03\x04\x05\x06", "binary data (starts with 93 ff 00 01 02 03 04 05)"),
    ],
)
def test_what_is_no_capture_is_told_by_what_it_looks_like(start: bytes, words: str) -> None:
    """One line, for a person, printable whatever the bytes are."""
    with pytest.raises(BadCapture) as caught:
        read_bytes(start)
    assert str(caught.value).startswith(f"test: no capture: it looks like {words}")
    assert str(caught.value).isprintable()


def test_what_was_packed_is_told_too() -> None:
    """A compressed text is a text."""
    with pytest.raises(BadCapture, match=r'it looks like text \(starts with "hello"\), compressed with gzip'):
        read_bytes(gzip.compress(b"hello", mtime=0))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "test: an empty file"),
        (b"\xd4\xc3\xb2", "test: no capture: only 3 bytes"),
        (gzip.compress(b"", mtime=0), "test: no capture: an empty gzip stream"),
        (gzip.compress(MIXED, mtime=0)[:9], "test: no capture: the gzip stream ends early"),
        (gzip.compress(b"\x0a\x0d", mtime=0), "test: no capture: only 2 bytes, compressed with gzip"),
        (gzip.compress(gzip.compress(MIXED, mtime=0), mtime=0), "packed twice: unpack it first, compressed with gzip"),
    ],
)
def test_what_is_too_short_is_no_capture(content: bytes, words: str) -> None:
    """Less than a magic number cannot be a capture; a magic number and a cut header is a damaged one."""
    with pytest.raises(BadCapture) as caught:
        read_bytes(content)
    assert str(caught.value).endswith(words)
    assert "cut in the middle of the file header" in read_bytes(MIXED[:17])[1][0].what
    assert "cut in the middle of a block header" in read_bytes(b"\x0a\x0d\x0d\x0a\x1c")[1][0].what


@settings(deadline=None, max_examples=300)
@given(st.binary(min_size=1, max_size=600))
def test_any_bytes_look_like_something(start: bytes) -> None:
    """No bytes make the description raise, run long or carry control characters."""
    words = looks_like(start)
    assert words.isprintable()
    assert 0 < len(words) < 120


def test_what_cannot_be_opened_is_one_clear_line(tmp_path: Path) -> None:
    """Not found, a folder, not permitted: each in its own words."""
    note = pytest.fail
    with pytest.raises(BadCapture, match=r"no/such\.pcap: no such file$"):
        Capture("no/such.pcap", note=note)
    with pytest.raises(BadCapture, match=r"a folder, not a capture$"):
        list(Capture(str(tmp_path), note=note))
    locked = tmp_path / "locked.pcap"
    locked.write_bytes(MIXED)
    locked.chmod(0)
    with without_root(), pytest.raises(BadCapture, match=r"permission denied$"):
        Capture(str(locked), note=note)


@contextmanager
def without_root() -> Iterator[None]:
    """Be somebody who may not read everything."""
    was = os.geteuid()
    if was == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(was)


# --- Paths


def test_a_folder_stands_for_its_captures_in_order(tmp_path: Path) -> None:
    """Sorted by name, one level deep, without what is no capture; damaged and packed ones are captures."""
    for name, content in {
        "b.pcap": MIXED,
        "a": MIXED[:17],
        "c.txt": gzip.compress(MIXED),
        "d.gz": gzip.compress(b"notes", mtime=0),
        "e.pcap": b"no capture",
        "f.pcap": b"",
        "g.gz": gzip.compress(MIXED, mtime=0)[:30],
    }.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "h.pcap").write_bytes(MIXED)
    os.mkfifo(tmp_path / "pipe.pcap")
    folder = str(tmp_path)
    assert expand(["-", folder, folder + "/e.pcap"]) == [
        "-",
        *(f"{folder}/{name}" for name in ("a", "b.pcap", "c.txt")),
        folder + "/e.pcap",
    ]


def test_paths_that_lead_nowhere_stop_the_run(tmp_path: Path) -> None:
    """A missing path and a folder without captures are said before anything is read."""
    with pytest.raises(BadCapture, match=r"no/such\.pcap: no such file"):
        expand(["no/such.pcap"])
    (tmp_path / "notes.txt").write_text("notes")
    with pytest.raises(BadCapture, match=r"a folder without captures \(1 other file in it\)"):
        expand([str(tmp_path)])


def test_size_and_position_are_those_on_disk(tmp_path: Path) -> None:
    """For progress: bytes of the file, packed as it is, of all its bytes."""
    path = tmp_path / "noisy.pcap.gz"
    path.write_bytes(gzip.compress(NOISY))
    with Capture(str(path), note=pytest.fail) as capture:
        assert (capture.name, capture.size, capture.position) == (str(path), path.stat().st_size, 0)
        next(iter(capture))
        assert 0 < capture.position <= path.stat().st_size
        for _ in capture:
            pass
        assert capture.position == path.stat().st_size


def test_size_beforehand_is_known_for_plain_files_only(tmp_path: Path) -> None:
    """What a file can hold at most is told by its size, unless it is packed, a pipe, or not there."""
    path = FIXTURES / "mixed.pcap"
    assert Capture.size_of(str(path)) == path.stat().st_size
    os.mkfifo(tmp_path / "pipe")
    for other in ("-", "no/such.pcap", str(FIXTURES / "mixed.pcap.gz"), str(tmp_path / "pipe"), str(tmp_path)):
        assert Capture.size_of(other) is None


# --- Pipes


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    """A named pipe."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    return path


def next_frame(frames: Iterator[Frame | None]) -> Frame:
    """The next frame, past ticks; fails when it does not come in time."""
    deadline = time.monotonic() + 30
    for frame in frames:
        if frame is not None:
            return frame
        assert time.monotonic() < deadline, "no frame came"
    raise AssertionError("the capture ended")


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_frames_come_from_a_pipe_as_they_are_written(pipe: Path, pack: Callable[[bytes], bytes]) -> None:
    """Nothing waits for a full buffer: a packet that is whole is there, and silence is a tick."""
    first = 24 + 16 + len(FRAMES[0].data)
    parts = (MIXED[:24], MIXED[24:first], MIXED[first : first + 20], MIXED[first + 20 :])
    with Capture(str(pipe), note=pytest.fail) as capture:
        frames = iter(capture)
        assert capture.size is None
        assert next(frames) is None  # nobody has opened the other end
        with pipe.open("wb", buffering=0) as end:
            end.write(pack(parts[0]))
            assert next(frames) is None
            end.write(pack(parts[1]))
            assert next_frame(frames) == FRAMES[0]
            end.write(pack(parts[2]))
            assert next(frames) is None
            end.write(pack(parts[3]))
            assert [next_frame(frames) for _ in FRAMES[1:]] == FRAMES[1:]
        assert [frame for frame in frames if frame is not None] == []


@contextmanager
def standard_input(fd: int) -> Iterator[None]:
    """Let file descriptor 0 be another one for a while."""
    kept = os.dup(0)
    os.dup2(fd, 0)
    try:
        yield
    finally:
        os.dup2(kept, 0)
        os.close(kept)


def test_standard_input_is_a_capture_like_any_other() -> None:
    """'-' reads descriptor 0, a pipe or a file, and leaves it open."""
    reading, writing = os.pipe()
    threading.Thread(target=lambda: (os.write(writing, MIXED), os.close(writing))).start()
    with standard_input(reading), Capture("-", note=pytest.fail) as capture:
        assert [frame for frame in capture if frame is not None] == FRAMES
    os.close(reading)
    with (FIXTURES / "mixed.pcap").open("rb") as file, standard_input(file.fileno()):
        with Capture("-", note=pytest.fail) as capture:
            assert capture.size == len(MIXED)
            assert list(capture) == FRAMES
        os.fstat(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    with standard_input(nothing), pytest.raises(BadCapture, match=r"^standard input: an empty file$"):
        list(Capture("-", note=pytest.fail))
    os.close(nothing)
    terminal, other = os.openpty()
    with standard_input(other), pytest.raises(BadCapture, match="standard input is a terminal"):
        Capture("-", note=pytest.fail)
    os.close(terminal)
    os.close(other)


def test_a_slow_reader_slows_the_writer(pipe: Path) -> None:
    """What waits for the reader is bounded, however fast the other end writes; closing lets the thread go."""
    capture = Capture(str(pipe), note=pytest.fail)
    frames = iter(capture)
    assert next(frames) is None
    end = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
    os.write(end, MIXED[:24] + record(1))
    next_frame(frames)
    written, quiet_since = 0, time.monotonic()
    while time.monotonic() - quiet_since < 0.5 and written < 64 << 20:
        try:
            written += os.write(end, bytes(1 << 16))
            quiet_since = time.monotonic()
        except BlockingIOError:
            time.sleep(0.01)
    assert written <= (files.PIPE_DEPTH + 4) * files.PIPE_PIECE
    capture.close()
    deadline = time.monotonic() + 30
    while any(str(pipe) in thread.name for thread in threading.enumerate()):
        assert time.monotonic() < deadline, "the thread is still there"
        time.sleep(0.01)
    os.close(end)


def test_an_interrupt_gets_through_while_a_pipe_is_silent(pipe: Path) -> None:
    """Ctrl-C must not wait for the next packet."""
    with Capture(str(pipe), note=pytest.fail) as capture:
        timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            for _ in capture:
                pass
        timer.join()
    os.close(os.open(pipe, os.O_WRONLY))


def test_a_file_that_fails_in_the_middle_is_damaged() -> None:
    """What was read before is used; why no more came is told with the place."""

    def failing() -> Iterator[bytes]:
        yield MIXED[:-10]
        raise files.Trouble("the file could not be read further (Input/output error)")

    damages: list[object] = []
    frames = list(read(Stream(failing()), "disk.pcap", damages.append))
    assert frames == FRAMES[:-1]
    assert "cut in the middle of packet record 23" in str(damages[0])
    assert "(Input/output error)" in str(damages[0])
