"""Memory: the most that a run ever holds, for short and long inputs of the same kind."""

import re
import shutil
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from benchmarks import bus
from benchmarks.bench import PCAPEDA, SCALE, Result, Run, Table, capture, in_turn, mib, program, run, say, scaled
from benchmarks.live import Receiver, lines, send, started
from tests.netns import veth_pair, why_not

FEW, MANY = 10_000, 2_000_000
LARGE_BYTES = 2 << 30
FLOOD_S = 20
FLAT_MIB = 20


def measure(work: Path) -> Result:
    """Peaks of resident memory, and what they exceed those of the shortest run by."""
    result = Result(
        "memory",
        "Memory",
        "The most resident memory that a run ever held: replay of few, of many and of 2 GiB of packets, and `sniff` in "
        "a flood at top speed, each against a short run of the same kind. The 128 MiB that `sniff` shares with the "
        "kernel are in its figures.",
        rounds=1,
    )
    table = Table("Peaks", ["", "above the shortest", "wanted", "peak", "packets"])
    body = capture(work, scaled(1_000_000, 5000))
    inputs = {f"replay of {FEW:,}": (capture(work, FEW), FEW)}
    size, packets = body.stat().st_size, scaled(1_000_000, 5000)
    for title, copies in ((f"replay of {scaled(MANY, 10_000):,}", 2), ("replay of 2 GiB", -(-LARGE_BYTES // size))):
        copies = copies if SCALE >= 1 else 2
        inputs[title] = repeated(work, body, copies), copies * packets
    for output in ("jsonl", "entries"):
        runs = {title: partial(run, replay(path, output)) for title, (path, _) in inputs.items()}
        add(
            result,
            table,
            f" to {output} lines",
            in_turn(runs, 1),
            {title: count for title, (_, count) in inputs.items()},
        )
    with bus.running() as server:
        few, many = FEW // 10, scaled(200_000, 2000)
        runs = {
            f"replay of {count:,}": partial(run, to_bus(capture(work, count, "udp"), server)) for count in (few, many)
        }
        add(result, table, " to a bus", in_turn(runs, 1), {f"replay of {count:,}": count for count in (few, many)})
    for path in {path for path, _ in inputs.values()} - {body, capture(work, FEW)}:
        path.unlink()
    result.tables.append(table)
    if reason := why_not():
        result.skipped.append(f"sniff: {reason}")
    elif program(result, "tcpreplay"):
        flood(result, table, work)
    return result


def replay(path: Path, output: str) -> list[object]:
    return [*PCAPEDA, "replay", path, "-n", "-o", output, "-q"]


def to_bus(path: Path, server: bus.Bus) -> list[object]:
    return [*PCAPEDA, "replay", path, "--endpoint-url", server.url, "-q"]


def repeated(work: Path, body: Path, copies: int) -> Path:
    """A capture's packets so many times over."""
    path = work / f"{body.stem}-times-{copies}.pcap"
    if not path.exists():
        with path.open("wb") as target:
            for number in range(copies):
                with body.open("rb") as source:
                    source.seek(24 if number else 0)
                    shutil.copyfileobj(source, target, 1 << 20)
    return path


def add(result: Result, table: Table, kind: str, runs: dict[str, list[Run]], counts: dict[str, int]) -> None:
    """A row for each run; the first one is what the others are compared with."""
    peaks = {title: each[0].peak_bytes for title, each in runs.items()}
    rows(result, table, {title + kind: (peak, counts[title]) for title, peak in peaks.items()})


def rows(result: Result, table: Table, peaks: dict[str, tuple[int, int]]) -> None:
    least = next(iter(peaks.values()))[0]
    for number, (title, (peak, count)) in enumerate(peaks.items()):
        result.figures[title] = peak
        above = ["", ""] if number == 0 else [f"{(peak - least) / (1 << 20):+.1f} MiB", f"at most +{FLAT_MIB} MiB"]
        table.rows.append([title, *above, mib(peak), f"{count:,}"])


def peak(pid: int) -> int:
    """The most resident memory that a running process has held, in bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


def flood(result: Result, table: Table, work: Path) -> None:
    """What `sniff` holds after a few packets, and after a flood of them, to lines and to a bus."""
    path = capture(work, scaled(200_000, 1000), "udp")
    output = work / "flood.out"
    with ExitStack() as stack:
        veth = stack.enter_context(veth_pair())
        server = stack.enter_context(bus.running())
        sniff = [*PCAPEDA, "sniff", "-q", "-i", veth.name]
        listeners = {
            "sniff to jsonl lines": [*sniff, "-n", "-o", "jsonl"],
            "sniff to a bus, limits lifted": [
                *(*sniff, "--endpoint-url", server.url, "--max-rate", 0, "--max-rate-per-source", 0),
            ],
            "sniff to a bus, with its limits": [*sniff, "--endpoint-url", server.url],
        }
        for title, command in listeners.items():
            say(f"memory: {title}")
            receiver = Receiver(lambda _, __, command=command: command, lines, to_stdout=False)  # type: ignore[misc]
            with started(receiver, veth.name, output) as process:
                few = send(veth, path, 100, 50).packets
                calm = peak(process.pid)
                many = send(veth, path, 10_000_000, None, seconds=max(1.0, FLOOD_S * min(1, SCALE)))
                time.sleep(1)
                stormy = peak(process.pid)
            say(f"  {many.rate:,.0f} packets/s")
            rows(result, table, {f"{title}, calm": (calm, few), f"{title}, in a flood": (stormy, many.packets)})
