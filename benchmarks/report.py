"""docs/benchmarks.md, from the results that were kept."""

from pathlib import Path

from benchmarks.bench import RESULTS, ROOT, Result, markdown

NAMES = ("replay", "jobs", "putevents", "live", "rules", "memory", "start")
DOCUMENT = ROOT / "docs" / "benchmarks.md"

PREFACE = """# Benchmarks

Ratios come first: contenders ran in turn in the same run, so whatever else the machine did met all of them, and the
median of the rounds counts. Absolute numbers are this machine's; `load before` tells whether it had other work.
`make bench` runs everything and writes this page anew; `make bench ONLY=replay` one part. Contenders that are not
installed are left out by name.
Its knobs are `BENCH_ROUNDS` (3), `BENCH_SCALE` (1; any other scale is a trial and is not kept), `BENCH_DIR` (a folder
for work files, of which there are some 5 GB while it runs) and `BENCH_CAPTURES` (a folder of captures of real traffic).
What each step costs per packet, `make profile` says.
"""


def report(results: list[Result]) -> str:
    """The whole page."""
    parts = [PREFACE]
    for result in results:
        parts.append(f"## {result.title}\n\n{result.about}\n")
        for table in result.tables:
            note = f"\n{table.note}\n" if table.note else ""
            parts.append(f"### {table.title}\n\n{markdown(table)}\n{note}")
        if result.skipped:
            parts.append("Left out: " + "; ".join(result.skipped) + ".\n")
        on = ", ".join(f"{name} {value}" for name, value in result.machine.items())
        parts.append(f"`make bench ONLY={result.name}`, {result.rounds} rounds, {result.when}. {on}.\n")
    return "\n".join(parts)


def kept() -> list[Result]:
    """The last result of each benchmark, as far as it has been run."""
    return [Result.load(path) for name in NAMES if (path := RESULTS / f"{name}.json").exists()]


def write_report() -> Path:
    """Write the page; where it is."""
    DOCUMENT.write_text(report(kept()), encoding="utf-8")
    return DOCUMENT
