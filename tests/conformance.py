"""The measure of extraction: every datagram of real captures against what Wireshark says of them.

    python -m tests.conformance CAPTUREDIR [NAME...]

CAPTUREDIR holds captures and, in `truth/NAME.tsv`, one row per UDP header; its HOWTO.md tells the columns. By default
the datagram of a frame is compared with the outermost row (depth 1), under decapsulation with the deepest. A doubtful
row need not be met, but its frame may give a datagram; a quoted row must not become one. Prints the score per file and
in total, and ends with 1 unless it is perfect.
"""

import csv
import sys
import time
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from pcapeda.capture.files import Capture
from pcapeda.dissect.extractor import Extractor
from pcapeda.errors import BadCapture
from pcapeda.model import Datagram
from pcapeda.report import Report

STATUS = {"not_present": "absent", "illegal": "bad"}
TRUSTED = {"", "no_timestamp"}
"""Doubts that leave a row fit to be compared: a record without a time gives a datagram without one."""


class Truth(NamedTuple):
    """What a datagram must be, and whether that is sure."""

    sure: bool
    fields: tuple[object, ...]


class Score(NamedTuple):
    """The outcome for one capture: rows to meet, rows met, and what went wrong."""

    name: str
    rows: int
    met: int
    wrong: list[str]
    seconds: float
    report: Report

    @property
    def perfect(self) -> bool:
        return self.met == self.rows and not self.wrong


def truths(path: Path, *, decapsulate: bool) -> dict[int, Truth]:
    """The row of each frame that its datagram is compared with, by the ordinal of the packet record."""
    chosen: dict[int, tuple[int, Truth]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            depth, packet = int(row["depth"]), int(row["pkt"])
            if row["quoted"] == "1" or (not decapsulate and depth != 1):
                continue
            if packet in chosen and depth <= chosen[packet][0]:
                continue
            chosen[packet] = depth, Truth(row["doubtful"] in TRUSTED, _expected(row))
    return {packet: truth for packet, (_, truth) in chosen.items()}


def _expected(row: dict[str, str]) -> tuple[object, ...]:
    seconds, _, fraction = row["time_epoch"].partition(".")
    return (
        int(seconds) * 10**9 + int(fraction.ljust(9, "0")) if seconds else None,
        row["src_ip"],
        int(row["src_port"]),
        row["dst_ip"],
        int(row["dst_port"]),
        int(row["udp_len"]),
        int(row["checksum"] or "0", 16),
        STATUS.get(row["checksum_status"], row["checksum_status"]),
        int(row["payload_len"]),
        row["payload_sha256"],
        row["truncated"] != "1",
        int(row["ip_version"]),
    )


def _found(datagram: Datagram) -> tuple[object, ...]:
    return (
        datagram.time_ns,
        datagram.source,
        datagram.source_port,
        datagram.destination,
        datagram.destination_port,
        datagram.length,
        datagram.checksum,
        datagram.checksum_status,
        len(datagram.payload),
        sha256(datagram.payload).hexdigest(),
        datagram.whole,
        datagram.ip_version,
    )


def measure(capture: Path, truth: Path, *, decapsulate: bool) -> Score:
    """Read a capture as `pcapeda replay` does and compare."""
    wanted = truths(truth, decapsulate=decapsulate)
    wrong: list[str] = []
    report = Report()
    extractor = Extractor(report, decapsulate=decapsulate)
    started = time.perf_counter()
    met, seen = 0, set()
    try:
        with Capture(str(capture), note=report.damages.append) as frames:
            for frame in frames:
                if frame is None:
                    continue
                datagram = extractor.feed(frame)
                if not isinstance(datagram, Datagram):
                    continue
                seen.add(frame.number)
                expected = wanted.get(frame.number)
                if expected is None:
                    wrong.append(f"packet {frame.number}: extra {_found(datagram)}")
                elif expected.sure and _found(datagram) == expected.fields:
                    met += 1
                elif expected.sure:
                    wrong.append(f"packet {frame.number}: {_found(datagram)} instead of {expected.fields}")
    except BadCapture as error:
        if wanted:
            wrong.append(str(error))
    extractor.finish()
    seconds = time.perf_counter() - started
    sure = [packet for packet, expected in wanted.items() if expected.sure]
    wrong += [f"packet {packet}: missing {wanted[packet].fields}" for packet in sure if packet not in seen]
    report.sent = report.datagrams + report.reassembled
    if not report.adds_up():
        wrong.append(f"does not add up: {report}")
    return Score(capture.name, len(sure), met, wrong, seconds, report)


def captures(directory: Path, names: Iterable[str] = ()) -> list[tuple[Path, Path]]:
    """The captures of a directory that have truth, each with its truth; all of them, or the named ones."""
    found = [(path, directory / "truth" / f"{path.name}.tsv") for path in sorted(directory.iterdir())]
    return [(path, truth) for path, truth in found if truth.exists() and (not names or path.name in names)]


def main(arguments: list[str]) -> int:
    directory, names = Path(arguments[0]), arguments[1:]
    perfect = True
    for decapsulate in (False, True):
        print(f"== {'decapsulate: innermost' if decapsulate else 'default: outermost'}")
        scores = [measure(path, truth, decapsulate=decapsulate) for path, truth in captures(directory, names)]
        for score in scores:
            print(f"{score.met:6} of {score.rows:6}  {score.seconds:6.2f} s  {score.name}")
            for sentence in score.wrong[:10]:
                print(f"        {sentence}")
            if len(score.wrong) > 10:
                print(f"        … and {len(score.wrong) - 10} more")
        rows, met = sum(score.rows for score in scores), sum(score.met for score in scores)
        whole = sum(score.perfect for score in scores)
        seconds = sum(score.seconds for score in scores)
        print(f"{met} of {rows} rows, {whole} of {len(scores)} files perfect, {seconds:.2f} s")
        perfect &= whole == len(scores)
    return 0 if perfect else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
