"""Readers get on or end: no input keeps one busy for ever without giving anything or looking up."""

import bz2
import gzip
import itertools
import lzma
import os
import signal
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard

from pcapeda.capture import pcap
from pcapeda.capture.compression import BARREN_BYTES
from pcapeda.capture.files import Capture, read
from pcapeda.capture.stream import Stream
from pcapeda.errors import BadCapture
from pcapeda.model import Damage
from tests.command import CLEAN, FIXTURES, PCAPEDA, ROOT
from tests.test_faults import poll
from tests.test_interrupts import catches

CAPTURE = (FIXTURES / "dns.pcap").read_bytes()
EMPTY = {
    "gzip": gzip.compress(b""),
    "bzip2": bz2.compress(b""),
    "xz": lzma.compress(b""),
    "Zstandard": zstandard.compress(b""),
    "skippable frames": struct.pack("<II", 0x184D2A50, 1000) + bytes(1000),
    "stored blocks": gzip.compress(b"")[:10] + b"\x00\x00\x00\xff\xff" * 1000,
}
"""What is compressed and gives nothing."""
PACK = {"gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress}


def endless(piece: bytes, start: bytes = b"") -> Iterator[bytes]:
    """The start, and then the same again and again, in large chunks; fails where nobody would ever end."""
    if start:
        yield start
    chunk = piece * (max(1, (1 << 20) // len(piece)))
    for _ in range(4 * BARREN_BYTES // len(chunk)):
        yield chunk
    pytest.fail("read on and on without getting anything")


@pytest.mark.parametrize("name", EMPTY)
def test_a_compressed_stream_that_gives_nothing_ends(name: str) -> None:
    """Empty members for ever are no capture, told so."""
    start = {"stored blocks": EMPTY["gzip"][:10], "skippable frames": EMPTY["Zstandard"]}.get(name, b"")
    piece = EMPTY[name].removeprefix(start) if name == "stored blocks" else EMPTY[name]
    with pytest.raises(BadCapture, match="nothing comes out of"):
        list(read(Stream(endless(piece, start)), name, lambda damage: None))


@pytest.mark.parametrize("name", PACK)
def test_padding_that_does_not_end_is_damage(name: str) -> None:
    """Zeros behind a compressed capture: its frames, and then one damage."""
    damages: list[Damage] = []
    packed = PACK[name](CAPTURE)  # type: ignore[operator]
    frames = [one for one in read(Stream(endless(bytes(4096), packed)), name, damages.append) if one is not None]
    assert len(frames) == len([one for one in read(Stream(iter([CAPTURE])), name, damages.append) if one])
    assert "nothing comes out of" in damages[0].what


def test_blocks_without_packets_leave_room_to_look_up() -> None:
    """pcapng: statistics for ever. There is nothing wrong with them, but a stop must be seen."""
    section = struct.pack("<IIIHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28)
    other = struct.pack("<III", 5, 12, 12)
    frames = read(Stream(itertools.chain([section], itertools.repeat(other * 100_000))), "x", lambda damage: None)
    assert [next(frames) for _ in range(100)] == [None] * 100


def test_a_block_of_no_length_ends_the_reading() -> None:
    """It would be its own successor."""
    section = struct.pack("<IIIHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28)
    damages: list[Damage] = []
    assert not list(read(Stream(iter([section + struct.pack("<III", 6, 0, 0) * 3])), "x", damages.append))
    assert [damage.what for damage in damages] == [
        "enhanced packet block claims a length of 0 bytes, less than it can have"
    ]


def test_a_record_that_is_there_and_not_taken_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever mistake is in the layout of a record: the reader says so instead of asking again and again."""
    monkeypatch.setattr(pcap.Layout, "frames", lambda self, window, at, number, most: ([], at, 1, 0, 0))
    damages: list[Damage] = []
    assert not list(read(Stream(iter([CAPTURE])), "x", damages.append))
    assert [damage.what for damage in damages] == ["packet record 1 cannot be read: no progress"]


def test_a_file_that_shrinks_while_it_is_read_is_cut(tmp_path: Path) -> None:
    """Truncated under the reader: what it has got, and a damage."""
    path = tmp_path / "x.pcap"
    record = CAPTURE[24:]
    path.write_bytes(CAPTURE[:24] + record * (1 + (1 << 20) // len(record)))
    damages: list[Damage] = []
    with Capture(str(path), note=damages.append) as capture:
        blocks = capture.blocks()
        assert next(blocks)
        os.truncate(path, 100)
        assert all(block is not None for block in blocks)
    assert all("cut in the middle" in damage.what for damage in damages)


@pytest.mark.parametrize("name", ["gzip", "xz"])
def test_an_endless_pipe_of_nothing_can_be_interrupted(name: str) -> None:
    """By a single SIGTERM, in the middle."""
    feed = f"import sys\nwhile True: sys.stdout.buffer.write({EMPTY[name]!r})"
    with (
        subprocess.Popen([PCAPEDA[0], "-c", feed], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as writer,
        subprocess.Popen(
            [*PCAPEDA, "replay", "-", "-n", "--grace", "0"], stdin=writer.stdout, env=CLEAN, cwd=ROOT
        ) as process,
    ):
        try:
            poll(lambda: catches(process.pid, signal.SIGTERM), "handlers")
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) in (130, 2)
        finally:
            writer.kill()
            process.kill()
