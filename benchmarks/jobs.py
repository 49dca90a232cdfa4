"""Replay with --jobs: several captures and a large one on several cores, against one process."""

import hashlib
import os
from collections import Counter, defaultdict
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.bench import PCAPEDA, Failed, Result, Table, capture, in_turn, rate, ratio, run, say, scaled, times
from benchmarks.putevents import has_option

PACKETS = 1_000_000
CAPTURES = 4
WANTED = 1.7
"""On two cores."""


def measure(work: Path) -> Result:
    """One process and two, on the same captures; first whether they print the same."""
    jobs = min(2, os.cpu_count() or 1)
    result = Result(
        "jobs",
        "Replay with --jobs",
        "The same replay in one process and in two, to /dev/null. Before the clock runs, both print into files, and "
        "the lines of each capture must be the same ones in the same order.",
    )
    if not has_option("replay", "--jobs"):
        result.skipped.append("replay --jobs: this version has no such option")
        return result
    if jobs < 2:
        result.skipped.append("replay --jobs 2: one core only")
        return result
    total = scaled(PACKETS, 4000)
    several = [capture(work, total // CAPTURES, seed=seed) for seed in range(1, CAPTURES + 1)]
    large = [capture(work, total)]
    table = Table(
        f"--jobs {jobs} to one process",
        ["", "faster by", "wanted", "packets/s", "packets/s in one process", "packets"],
    )
    for title, paths in ((f"{CAPTURES} captures", several), ("one large capture", large)):
        say(f"jobs: {title}")
        same(work, paths, jobs)
        runs = in_turn({"one": partial(run, replay(paths, 1)), "many": partial(run, replay(paths, jobs))})
        walls = {name: [each.wall_s for each in taken] for name, taken in runs.items()}
        faster = ratio(walls["one"], walls["many"])
        result.figures[title] = faster
        rates = [rate(total / median(walls[name])) for name in ("many", "one")]
        table.rows.append([title, times(faster), f"{WANTED} ×", *rates, f"{total:,}"])
    result.tables.append(table)
    return result


def replay(paths: list[Path], jobs: int) -> list[object]:
    return [*PCAPEDA, "replay", *paths, "-n", "-o", "jsonl", "-q", "--jobs", jobs]


def same(work: Path, paths: list[Path], jobs: int) -> None:
    """Both ways give the same lines, in the same order within each capture. Raises `Failed`."""
    with TemporaryDirectory(dir=work) as folder:
        outputs = [Path(folder) / f"{number}.jsonl" for number in (1, jobs)]
        for number, output in zip((1, jobs), outputs, strict=True):
            run(replay(paths, number), stdout=output)
        one, many = map(digests, outputs)
    for name in one | many:
        (lines, digest), (others, other) = one.get(name, (0, "")), many.get(name, (0, ""))
        if digest != other:
            raise Failed(f"--jobs {jobs} printed {others:,} lines of {name}, not the {lines:,} of one process")


def digests(output: Path) -> dict[str, tuple[int, str]]:
    """How many lines there are of each capture, and a digest of them in their order."""
    counts: Counter[str] = Counter()
    seen: defaultdict[str, hashlib.blake2b] = defaultdict(hashlib.blake2b)
    with output.open("rb") as lines:
        for line in lines:
            name = line.partition(b'"File":"')[2].partition(b'"')[0].decode()
            counts[name] += 1
            seen[name].update(line)
    return {name: (counts[name], digest.hexdigest()) for name, digest in seen.items()}
