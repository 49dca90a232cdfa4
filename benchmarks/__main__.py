"""Run benchmarks, print their tables, and write docs/benchmarks.md from what was run last.

python -m benchmarks [NAME...]      all of them, or those named
python -m benchmarks --report       only write the document anew
"""

import argparse
import importlib
import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.bench import PYTHON, SCALE, WORK, Failed, Result, machine, markdown, say, workplace
from benchmarks.report import NAMES, write_report

CALM = 0.7
"""The load up to which a machine has nothing else to do."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Run benchmarks and write their report.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; all without one")
    parser.add_argument("--report", action="store_true", help="run nothing; write the document from the last results")
    given = parser.parse_args()
    for name in given.names:
        if name not in NAMES:
            parser.error(f"no benchmark {name!r}: there are {', '.join(NAMES)}")
    names = [] if given.report else given.names or NAMES
    failed = 0
    with workplace() as work:
        if len(names) == 1:
            failed += not measured(names[0], work)
        else:
            # Each in a process of its own: what one leaves behind in memory must not weigh on the next.
            for name in names:
                failed += subprocess.call([PYTHON, "-m", "benchmarks", name], env=os.environ | {WORK: str(work)}) != 0
    if SCALE == 1:
        say(f"written: {write_report()}")
    else:
        say(f"BENCH_SCALE is {SCALE:g}: no result is kept")
    return 1 if failed else 0


def measured(name: str, work: Path) -> bool:
    """Run one, show and keep what it found; whether it came to its end."""
    load = os.getloadavg()[0]
    if load > CALM:
        say(f"{name}: this machine is busy (load {load:.1f}); whoever needs two cores, or waits, is judged wrongly")
    try:
        result: Result = importlib.import_module(f"benchmarks.{name}").measure(work)
    except Failed as error:
        say(f"{name}: {error}")
        return False
    result.machine = machine() | {"load before": f"{load:.1f}"} | result.machine
    result.when = time.strftime("%Y-%m-%d", time.gmtime())
    show(result)
    if SCALE == 1:
        result.save()
    return True


def show(result: Result) -> None:
    """The tables, on standard output."""
    print(f"{result.title}\n")
    for table in result.tables:
        print(f"{table.title}\n{markdown(table)}\n")
    for reason in result.skipped:
        print(f"skipped: {reason}")
    print(", ".join(f"{name} {value}" for name, value in result.machine.items()), flush=True)


if __name__ == "__main__":
    sys.exit(main())
