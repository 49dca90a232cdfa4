"""What the benchmarks share: where they work, how they time, what a result is.

Contenders run in turn, round by round, so that whatever else the machine does meets all of them; what counts is the
median of the rounds' ratios. Time is wall time; CPU seconds (user and system, children included) stand beside it.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cache
from hashlib import blake2b
from importlib import metadata
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")

ROOT = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).resolve().parent / "results"

SCALE = float(os.environ.get("BENCH_SCALE", "1"))
"""Share of the full size; anything but 1 is a trial of the harness and is not kept."""
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
WORK = "BENCH_DIR"
"""The variable that names a folder for work files, which are kept there; without it they are gone afterwards."""

PYTHON = sys.executable
PCAPEDA = [PYTHON, "-m", "pcapeda"]

ENVIRONMENT = {
    "PATH": os.environ.get("PATH", ""),
    "HOME": "/nonexistent",
    "PYTHONPATH": str(ROOT),
    "NO_PROXY": "127.0.0.1,localhost",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
}
"""What every contender runs in: nobody's own configuration, and credentials that a loopback server takes."""


class Failed(Exception):
    """A contender did not do what it was there for."""


def scaled(count: int, least: int = 1) -> int:
    """A number of packets, events or rounds at the chosen scale."""
    return max(least, int(count * SCALE))


@contextmanager
def workplace() -> Iterator[Path]:
    """The folder for work files."""
    if kept := os.environ.get(WORK):
        Path(kept).mkdir(parents=True, exist_ok=True)
        yield Path(kept)
    else:
        with TemporaryDirectory(prefix="pcapeda-bench-") as folder:
            yield Path(folder)


def capture(work: Path, packets: int, kind: str = "mixed", *, seed: int = 1, suffix: str = ".pcap") -> Path:
    """A capture of the generator's, made by a process of its own unless it is there already."""
    generator = Path(__file__).with_name("traffic.py")
    made_by = blake2b(generator.read_bytes(), digest_size=3).hexdigest()
    path = work / f"{kind}-{packets}-{seed}-{made_by}{suffix}"
    if not path.exists():
        form = "pcapng" if ".pcapng" in suffix else "pcap"
        options = ["--packets", packets, "--kind", kind, "--seed", seed, "--format", form]
        run([PYTHON, "-m", "benchmarks.traffic", path, *options])
    return path


class Run(NamedTuple):
    """What a process took."""

    wall_s: float
    cpu_s: float
    peak_bytes: int


def run(command: Sequence[object], *, stdout: Path | None = None) -> Run:
    """Run a command to its end, its standard output thrown away or into a file. Raises `Failed`.

    The peak of its memory counts this process's own at the start too, which is far smaller than any contender.
    """
    with (Path(os.devnull) if stdout is None else stdout).open("wb") as out:
        began = time.perf_counter()
        process = subprocess.Popen(
            list(map(str, command)), stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.PIPE, env=ENVIRONMENT
        )
        assert process.stderr is not None
        talk = process.stderr.read()
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
    process.stderr.close()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        words = talk.decode(errors="replace").strip().splitlines()
        raise Failed(f"{' '.join(map(str, command[:6]))} … ended with {process.returncode}: {words[-1:] or 'no words'}")
    return Run(wall, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024)


def in_turn(contenders: Mapping[str, Callable[[], T]], rounds: int = ROUNDS) -> dict[str, list[T]]:
    """What each contender gives in each round; the order turns from round to round."""
    names = list(contenders)
    given: dict[str, list[T]] = {name: [] for name in names}
    for number in range(rounds):
        for name in names if number % 2 == 0 else reversed(names):
            say(f"  round {number + 1}: {name}")
            given[name].append(contenders[name]())
    return given


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The median of what ours is to theirs, round by round."""
    return median(our / their for our, their in zip(ours, theirs, strict=True))


def say(words: str) -> None:
    """What goes on, to whoever watches."""
    print(words, file=sys.stderr, flush=True)


# Results


@dataclass
class Table:
    """Rows of text under columns, with what is to be read before them."""

    title: str
    columns: list[str]
    rows: list[list[str]] = field(default_factory=list)
    note: str = ""


@dataclass
class Result:
    """What one benchmark found. `figures` are the bare numbers that others may quote, by name."""

    name: str
    title: str
    about: str
    tables: list[Table] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    machine: dict[str, str] = field(default_factory=dict)
    when: str = ""
    rounds: int = ROUNDS

    def save(self) -> Path:
        """Keep it, in place of the last one of its name."""
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"{self.name}.json"
        path.write_text(json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        return path

    @classmethod
    def load(cls, path: Path) -> "Result":
        kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return cls(**kept | {"tables": [Table(**table) for table in kept["tables"]]})


def markdown(table: Table) -> str:
    """The table as a person reads it, and as Markdown renders it: numbers to the right."""
    rows = [table.columns, *table.rows]
    widths = [max(len(row[at]) for row in rows) for at in range(len(table.columns))]
    lines = [
        "| " + " | ".join(cell.ljust(width) if at == 0 else cell.rjust(width) for at, (cell, width) in cells) + " |"
        for cells in (list(enumerate(zip(row, widths, strict=True))) for row in rows)
    ]
    rule = (
        "|"
        + "|".join("-" * (width + 2) if at == 0 else "-" * (width + 1) + ":" for at, width in enumerate(widths))
        + "|"
    )
    return "\n".join([lines[0], rule, *lines[1:]])


def times(value: float) -> str:
    """A ratio as text."""
    return f"{value:,.0f} ×" if value >= 100 else f"{value:.1f} ×" if value >= 10 else f"{value:.2f} ×"


def rate(value: float) -> str:
    """So many a second, to three digits."""
    digits = 10 ** max(0, len(str(int(value))) - 3)
    return f"{round(value / digits) * digits:,}"


def mib(value: float) -> str:
    """Bytes as MiB."""
    return f"{value / (1 << 20):,.1f} MiB"


# The machine


@cache
def machine() -> dict[str, str]:
    """What everything runs on."""
    cpu = platform.processor() or platform.machine()
    memory = "unknown"
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), cpu)
        kib = int(Path("/proc/meminfo").read_text().split()[1])
        memory = f"{kib / (1 << 20):.0f} GiB"
    except OSError:
        pass
    return {
        "CPU": cpu,
        "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
        "memory": memory,
        "system": f"{platform.system()} {platform.release()}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "pcapeda": f"{_version('pcapeda')}, {'compiled' if _compiled() else 'plain Python'}",
    }


def _compiled() -> bool:
    from pcapeda.dissect import fast_path

    return not str(fast_path.__file__).endswith(".py")


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def package(result: Result, name: str) -> bool:
    """Whether a Python package is there; its version goes into the result, its absence too."""
    version = _version(name)
    if version is None:
        result.skipped.append(f"{name}: not installed")
        return False
    result.machine[name] = version
    return True


def program(result: Result, name: str) -> bool:
    """The same for a program."""
    if shutil.which(name) is None:
        result.skipped.append(f"{name}: not installed")
        return False
    done = subprocess.run([name, "--version"], capture_output=True, text=True, check=False)
    words = (done.stdout + done.stderr).replace("(", " ").replace(",", " ").split()
    version = next((word.rstrip(".") for word in words if word[:1].isdigit() and "." in word), "of unknown version")
    result.machine[name] = version
    return True
