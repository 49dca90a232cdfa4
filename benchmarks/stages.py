"""What each stage costs for a packet, in nanoseconds of CPU time: where the time of a replay goes.

    python -m benchmarks.stages [CAPTURE] [--packets N] [--kind KIND] [--rounds N] [--profile [N]]

A capture is walked in the blocks it is read in, each block stage by stage, so that data is as warm in the
processor's caches as in a run; the fastest of some rounds counts. The last rows run it all together, as `pcapeda replay
-n -o jsonl` does, so that what the loop itself costs shows as the difference. `--profile` runs that under cProfile
instead and shows the rows with the most time of their own: their proportions are distorted, since every call costs
something extra there.
"""

import argparse
import cProfile
import gc
import os
import pstats
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from operator import sub
from pathlib import Path
from typing import Any, TextIO

from benchmarks.bench import Table, capture, machine, markdown, workplace
from benchmarks.traffic import KINDS
from pcapeda.aws.wire import EventLines
from pcapeda.capture.files import Capture
from pcapeda.dissect.extractor import Extractor
from pcapeda.engine.job import Job
from pcapeda.engine.run import execute
from pcapeda.events.identity import packet_id
from pcapeda.events.shape import Shape
from pcapeda.model import Batch, BatchLimits, Outcome
from pcapeda.report import Report
from pcapeda.sinks.jsonl import JsonlSink

STAGES = ("read", "decode", "identity", "entries", "lines", "write")


class NullSink:
    """Takes everything and does nothing: what is left is what delivery costs."""

    limits = BatchLimits(max_entries=256, max_bytes=1 << 22, max_age_ns=100_000_000)
    concurrency = 1
    costs_money = False

    def check(self) -> None:
        pass

    def send(self, batch: Batch) -> Outcome:
        return Outcome(len(batch.entries))

    def close(self) -> None:
        pass


def ignored(_: object) -> None:
    """Whoever tells of damage is not listened to."""


def whole(path: Path, sink: Any) -> None:
    execute(Job(captures=(str(path),)), sink=sink)


@contextmanager
def nowhere() -> Iterator[TextIO]:
    """Standard output thrown away, as the command line would have it."""
    with Path(os.devnull).open("w", encoding="utf-8") as stream:
        yield stream


def walk(path: Path, stream: TextIO) -> tuple[Counter[str], int, int]:
    """Nanoseconds of each stage over the whole capture, the number of packets, and that of datagrams."""
    taken: Counter[str] = Counter()
    packets = datagrams = 0
    extractor, shape, form = Extractor(Report()), Shape(file=str(path)), EventLines()
    now = time.process_time_ns
    with Capture(str(path), note=ignored) as source:
        blocks = source.blocks()
        while True:
            times = [now()]
            block = next(blocks, None) or []
            times.append(now())
            found = extractor.feed_all(block)
            times.append(now())
            for datagram in found:
                packet_id(datagram)
            times.append(now())
            shape.entries(found)
            times.append(now())
            lines = shape.lines(found, form)
            times.append(now())
            stream.write(lines.text)
            stream.flush()
            times.append(now())
            taken.update(dict(zip(STAGES, map(sub, times[1:], times), strict=True)))
            packets, datagrams = packets + len(block), datagrams + len(found)
            if not block:
                return taken, packets, datagrams


def once(path: Path, sink: Any) -> int:
    """Nanoseconds of a whole run."""
    gc.collect()
    began = time.process_time_ns()
    whole(path, sink)
    return time.process_time_ns() - began


def stages(path: Path, rounds: int) -> Table:
    """Nanoseconds per packet and per datagram of each stage."""
    with nowhere() as stream:
        walks = [walk(path, stream) for _ in range(rounds)]
        taken, packets, datagrams = min(walks, key=lambda one: one[0].total())
        lines = JsonlSink(stream, EventLines())
        nothing = min(once(path, NullSink()) for _ in range(rounds))
        printed = min(once(path, lines) for _ in range(rounds))
    rows = {
        "read": taken["read"],
        "decode": taken["decode"],
        "shape into lines": taken["lines"],
        "write": taken["write"],
        "loop, limits, delivery": printed - sum(taken[stage] for stage in ("read", "decode", "lines", "write")),
        "all, to lines": printed,
        "of a line, the identity alone": taken["identity"],
        "instead of lines, shape into entries": taken["entries"],
        "all, with entries, to nothing": nothing,
    }
    table = Table(f"{path.name}: {packets:,} packets, {datagrams:,} datagrams", ["stage", "ns/packet", "ns/datagram"])
    for name, nanoseconds in rows.items():
        table.rows.append([name, f"{nanoseconds / packets:,.0f}", f"{nanoseconds / max(1, datagrams):,.0f}"])
    return table


def profile(path: Path, rows: int) -> None:
    """The functions with the most time of their own."""
    profiler = cProfile.Profile()
    with nowhere() as stream:
        profiler.runcall(whole, path, JsonlSink(stream, EventLines()))
    pstats.Stats(profiler, stream=sys.stdout).strip_dirs().sort_stats("tottime").print_stats(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what each stage of a replay costs.")
    parser.add_argument("capture", nargs="?", type=Path)
    parser.add_argument("--packets", type=int, default=200_000)
    parser.add_argument("--kind", choices=KINDS, default="mixed")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--profile", type=int, nargs="?", const=25, metavar="ROWS")
    given = parser.parse_args()
    with workplace() as work:
        path = given.capture or capture(work, given.packets, given.kind)
        if given.profile:
            profile(path, given.profile)
            return
        table = stages(path, given.rounds)
        print(f"{table.title}\n{markdown(table)}")
        print(", ".join(f"{name} {value}" for name, value in machine().items()))


if __name__ == "__main__":
    main()
