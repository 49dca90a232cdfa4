"""The captures in fixtures/: made anew they are the same, and tshark finds in them what they say."""

import csv
import filecmp
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import tshark
from tests.command import FIXTURES

MANIFEST = list(
    csv.DictReader((FIXTURES / "MANIFEST.tsv").open(encoding="utf-8"), delimiter="\t", quoting=csv.QUOTE_NONE)
)
NAMES = [row["file"] for row in MANIFEST]
KEPT_BY_HAND = {"build.py", "make.py", "MANIFEST.tsv"}

PASSED = "damaged-middle.pcapng"
"""tshark stops at the damaged block; the datagrams after it are there all the same."""

TIMES_WRAP = {"ixia-hardware.pcap", "tsresol.pcapng"}
"""tshark 4.0 computes these fractions of a second in too few bits: it multiplies nanoseconds by 1,000 once more in
the first, and picoseconds by 10^9 in the second. Later versions do not."""


def expected(name: str) -> list[dict[str, str]]:
    """The datagrams that the fixture's table lists."""
    lines = (FIXTURES / "expected" / f"{name}.tsv").read_text("utf-8").splitlines()
    columns = lines[0].split("\t")
    return [dict(zip(columns, line.split("\t"), strict=True)) for line in lines[1:]]


def test_making_them_anew_gives_the_same_bytes(tmp_path: Path) -> None:
    """`make fixtures` changes nothing: every file there is made by the script, to the byte."""
    subprocess.run([sys.executable, FIXTURES / "make.py", "--into", tmp_path], check=True)
    made = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert filecmp.cmpfiles(FIXTURES, tmp_path, made, shallow=False) == (made, [], [])
    there = {path.name for path in FIXTURES.iterdir() if path.is_file()}
    assert there - KEPT_BY_HAND == set(NAMES)


def test_they_are_small() -> None:
    """The whole folder of captures and tables stays below 300 KB."""
    folders = (FIXTURES, FIXTURES / "expected")
    assert sum(path.stat().st_size for folder in folders for path in folder.iterdir() if path.is_file()) < 300_000


@pytest.mark.parametrize("row", MANIFEST, ids=NAMES)
def test_the_manifest_counts_what_the_table_lists(row: dict[str, str]) -> None:
    """Datagrams are the rows that are neither quoted nor inside another datagram; none lies beyond the last packet."""
    rows = expected(row["file"])
    assert sum(one["quoted"] == "0" and one["depth"] == "1" for one in rows) == int(row["datagrams"])
    assert all(1 <= int(one["pkt"]) <= int(row["packets"]) for one in rows)


@tshark.needs_tshark
@pytest.mark.parametrize("name", [name for name in NAMES if not name.endswith((".bz2", ".xz"))])
def test_tshark_finds_what_is_expected(name: str) -> None:
    """Truth from outside: each datagram that the table lists is what tshark sees there, and it sees no other."""
    seen = tshark.datagrams(FIXTURES / name)
    rows = expected(name)
    if name == PASSED:
        assert len(seen) == 1
        rows = rows[:1]
    for ours, theirs in zip(rows, seen, strict=True):
        if name in TIMES_WRAP:
            theirs["time_epoch"] = ours["time_epoch"]
        assert {column: ours[column] for column in theirs} == theirs


@pytest.mark.parametrize("tool", ["gzip", "bzip2", "xz", "zstd"])
def test_the_compressed_ones_are_what_the_usual_tools_expect(tool: str) -> None:
    """The archives are built by hand: the tool of each format must unpack them to the plain capture."""
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")
    ending = {"gzip": "gz", "bzip2": "bz2", "zstd": "zst"}.get(tool, tool)
    packed = (FIXTURES / f"mixed.pcap.{ending}").read_bytes()
    done = subprocess.run([tool, "-d", "-c"], input=packed, capture_output=True, check=True)
    assert done.stdout == (FIXTURES / "mixed.pcap").read_bytes()
