"""Many runs at once: the seam to a process pool or a cluster is a *map*."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from pcapeda.engine.job import Job
from pcapeda.engine.run import execute
from pcapeda.report import Report

Map = Callable[[Callable[[Job], Report], Sequence[Job]], Iterable[Report]]


def run_many(jobs: Sequence[Job], *, map: Map | Any = map) -> list[Report]:  # noqa: A002 - it stands for the builtin
    """Execute every job, in order or wherever `map` puts them, and give their reports in the order of the jobs.

    `map` is anything that behaves like the builtin: `ProcessPoolExecutor().map`, a cluster client's. Jobs are plain
    data and build their own clients, so they travel to any worker.
    """
    return list(map(execute, jobs))
