"""Frames kept as pcapng: read back they are the same, here and in tshark."""

import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pcapeda.capture.writer import CaptureWriter
from pcapeda.errors import BadConfig, CannotWrite, ExitStatus, Unavailable
from pcapeda.model import Frame
from tests import tshark
from tests.reading import CAPTURES, read_bytes, read_file

NOW = 1_775_861_044_123_456_789
ETHERNET = Frame(NOW, 1, b"\x02" * 60, 1514, "eth0", 1)
RAW = Frame(NOW + 1, 101, b"\x45" * 33, 33, "tun0", 2)
UNNAMED = Frame(NOW - 10**12, 113, b"", 60, None, 3)
UNTIMED = Frame(None, 1, b"\x03" * 61, 61, "eth0", 4)
UNTIMED_CUT = Frame(None, 101, b"\x45" * 30, 90, "tun0", 5)


def written(path: Path, frames: list[Frame]) -> bytes:
    """The file that the writer makes of them."""
    with CaptureWriter(str(path)) as writer:
        for frame in frames:
            writer.write(frame)
    return path.read_bytes()


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    """Time to the nanosecond, both lengths, interface and link type, with and without a time."""
    frames = [ETHERNET, RAW, UNNAMED, UNTIMED, UNTIMED_CUT, UNTIMED_CUT, UNTIMED, ETHERNET]
    expected = [frame._replace(number=number) for number, frame in enumerate(frames, 1)]
    assert read_bytes(written(tmp_path / "kept.pcapng", frames)) == (expected, [])


@tshark.needs_tshark
def test_tshark_reads_it_without_complaint(tmp_path: Path) -> None:
    """The same records, and not a word about the file."""
    frames = [ETHERNET, RAW, UNNAMED, UNTIMED, UNTIMED_CUT, ETHERNET]
    path = tmp_path / "kept.pcapng"
    written(path, frames)
    assert tshark.records(path) == [
        tshark.Record(number, frame.time_ns, len(frame.data), frame.wire_length)
        for number, frame in enumerate(frames, 1)
    ]
    fields = ("frame.interface_name", "frame.encap_type")
    asked = [argument for name in fields for argument in ("-e", name)]
    done = subprocess.run(["tshark", "-n", "-r", path, "-T", "fields", *asked], capture_output=True, check=True)
    assert b"damaged" not in done.stderr
    assert b"cut short" not in done.stderr
    # Wireshark's own numbers: 1 Ethernet, 7 raw IP, 25 Linux cooked.
    assert [line.split("\t")[-1] for line in done.stdout.decode().splitlines()] == ["1", "7", "25", "1", "7", "1"]
    assert done.stdout.decode().startswith("eth0\t1\ntun0\t7\n")


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.name)
def test_every_fixture_survives_being_kept(path: Path, tmp_path: Path) -> None:
    """Whatever was read from a capture can be written and is read again as it was."""
    frames, _ = read_file(path)
    assert read_bytes(written(tmp_path / "kept.pcapng", frames)) == (frames, [])


@st.composite
def any_frames(draw: st.DrawFn) -> list[Frame]:
    """Frames as sources may give them: with and without times and names, whole and cut."""
    frames = []
    for number in range(1, draw(st.integers(0, 12)) + 1):
        data = draw(st.binary(max_size=50))
        time_ns = draw(st.one_of(st.none(), st.integers(-(2**80), 2**80), st.integers(0, 2**63)))
        cut = draw(st.integers(0, 2000)) if data or time_ns is not None else 0
        name = draw(st.one_of(st.none(), st.sampled_from(["eth0", "lo", "wlan0", "Ethernet 2 – Büro"])))
        frames.append(
            Frame(time_ns, draw(st.sampled_from([0, 1, 101, 113, 65535])), data, len(data) + cut, name, number)
        )
    return frames


@settings(deadline=None)
@given(any_frames())
@example([UNTIMED._replace(number=1), UNTIMED_CUT._replace(number=2), RAW._replace(number=3)])
@example([UNNAMED._replace(number=1, time_ns=-1), RAW._replace(number=2, time_ns=2**64)])
def test_any_frames_are_read_back(tmp_path_factory: pytest.TempPathFactory, frames: list[Frame]) -> None:
    """No order of interfaces, times and cuts is lost on the way."""
    assert read_bytes(written(tmp_path_factory.mktemp("any") / "kept.pcapng", frames)) == (frames, [])


def test_after_a_flush_the_file_is_a_capture(tmp_path: Path) -> None:
    """A run that is killed leaves what was flushed; nothing is half a block, even when much was kept back."""
    path = tmp_path / "kept.pcapng"
    writer = CaptureWriter(str(path))
    assert read_file(path) == ([], [])
    writer.write(ETHERNET)
    writer.flush()
    assert read_file(path) == ([ETHERNET], [])
    for number in range(2, 9000):
        writer.write(ETHERNET._replace(number=number))
    frames, damages = read_file(path)
    assert 1 < len(frames) < 9000
    assert damages == []
    writer.close()
    assert len(read_file(path)[0]) == 8999


def test_a_file_that_cannot_be_made_is_said_at_once(tmp_path: Path) -> None:
    """A folder that is not there, a folder instead of a file, a full disk: before anything is captured."""
    for path, kind, words in (
        (tmp_path / "no" / "such.pcapng", BadConfig, "No such file or directory"),
        (tmp_path, BadConfig, "Is a directory"),
        (Path("/dev/full"), Unavailable, "No space left on device"),
    ):
        with pytest.raises(kind) as caught:
            CaptureWriter(str(path))
        assert str(path) in str(caught.value)
        assert words in str(caught.value)


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond so many bytes: the nearest thing to a disk that fills up."""
    was = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, was[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, was)


def test_a_disk_that_fills_up_is_said_once(tmp_path: Path) -> None:
    """The error names the file and is an incomplete run, not a bad command; what is on disk stays readable."""
    path = tmp_path / "kept.pcapng"
    writer = CaptureWriter(str(path))
    writer.write(ETHERNET)
    writer.flush()
    with files_of_at_most(path.stat().st_size + 50):
        writer.write(ETHERNET)
        with pytest.raises(CannotWrite, match="cannot be written any more") as caught:
            writer.flush()
    assert str(path) in str(caught.value)
    assert caught.value.status is ExitStatus.INCOMPLETE
    writer.write(ETHERNET)
    writer.close()
    frames, (damage,) = read_file(path)
    assert frames == [ETHERNET]
    assert "cut in the middle" in damage.what


def test_a_link_type_beyond_pcapng_is_refused(tmp_path: Path) -> None:
    """Its field has 16 bits: a number that does not fit is not written as another one."""
    with CaptureWriter(str(tmp_path / "kept.pcapng")) as writer, pytest.raises(CannotWrite, match="link type 65536"):
        writer.write(ETHERNET._replace(linktype=1 << 16))


def test_closing_twice_is_closing() -> None:
    """A second close does nothing."""
    writer = CaptureWriter(os.devnull)
    writer.close()
    writer.close()
