"""Starting up: how long the shortest runs take, against Python's own start."""

from functools import partial
from pathlib import Path
from statistics import median

from benchmarks.bench import PCAPEDA, PYTHON, ROUNDS, Result, Table, capture, in_turn, run, scaled

ROUNDS_HERE = 7 * ROUNDS
WANTED_MS = 150
"""How much longer than importing typer `--help` may take."""


def measure(work: Path) -> Result:
    """Milliseconds of each, in turn."""
    one = capture(work, 1, "syslog")
    commands: dict[str, list[object]] = {
        "python -c pass": [PYTHON, "-c", "pass"],
        "python -c 'import typer'": [PYTHON, "-c", "import typer"],
        "pcapeda --version": [*PCAPEDA, "--version"],
        "pcapeda --help": [*PCAPEDA, "--help"],
        "pcapeda replay --help": [*PCAPEDA, "replay", "--help"],
        "pcapeda replay of one packet": [*PCAPEDA, "replay", one, "-n"],
    }
    result = Result(
        "start",
        "Starting up",
        "The shortest runs there are, in turn; the second column is what comes on top of importing typer, the library "
        "of the command line.",
        rounds=max(1, scaled(ROUNDS_HERE)),
    )
    runs = in_turn({name: partial(run, command) for name, command in commands.items()}, result.rounds)
    walls = {name: [each.wall_s * 1000 for each in taken] for name, taken in runs.items()}
    table = Table(
        "Milliseconds",
        ["", "to `python -c pass`", "on top of `import typer`", "wanted", "ms", "CPU ms"],
    )
    bare, typer = walls["python -c pass"], walls["python -c 'import typer'"]
    for name in commands:
        on_top = median(wall - other for wall, other in zip(walls[name], typer, strict=True))
        times_bare = median(wall / other for wall, other in zip(walls[name], bare, strict=True))
        table.rows.append(
            [
                name,
                f"{times_bare:.1f} ×",
                f"{on_top:+,.0f} ms" if name.startswith("pcapeda") else "",
                f"at most +{WANTED_MS} ms" if name == "pcapeda --help" else "",
                f"{median(walls[name]):,.0f}",
                f"{median(each.cpu_s for each in runs[name]) * 1000:,.0f}",
            ]
        )
        result.figures[f"{name}: ms on top of typer"] = on_top
    result.tables.append(table)
    return result
