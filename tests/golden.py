"""What every capture gives, as digests: a change that is to make things faster must not change a byte.

`python -m tests.golden` writes them anew, which a change of the events themselves asks for.
"""

import hashlib
import io
import json
from pathlib import Path
from typing import Any

from pcapeda.aws.wire import EventLines, entry_lines
from pcapeda.engine.job import Job
from pcapeda.engine.run import execute
from pcapeda.errors import PcapedaError
from pcapeda.events.shape import Shape
from pcapeda.report import Report
from pcapeda.sinks.jsonl import JsonlSink

ROOT = Path(__file__).resolve().parent.parent
FIXTURES = ROOT / "fixtures"
CAPTURES = ROOT.parent / "shared" / "captures"
DIGESTS = Path(__file__).with_suffix(".json")

WAYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "decapsulate": {"decapsulate": True},
    "extras": {"shape": Shape(text=True, json_payload=True, time="now", source="a.b", resources=("arn:x",))},
    "minimal": {"shape": Shape("minimal")},
    "proxylity": {"shape": Shape("proxylity")},
    "ports": {"ports": frozenset({53, 514, 4789})},
    "flows": {"aggregate_s": 10.0},
    "groups": {"group": 5},
}
"""Options under which each capture is replayed."""


def captures(folder: Path) -> list[Path]:
    """The captures of a folder, and whatever else lies beside them: it gives nothing, and that is to stay so."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_file() and path.suffix not in (".tsv", ".md", ".py"))


def digest(path: Path, way: str) -> str:
    """Of all lines that a replay prints, as events and as entries, and of what its report counts."""
    text = io.StringIO()
    as_events = EventLines(now_ns=0)  # which is the time of events of a capture without times
    report = Report()
    try:
        report = execute(
            Job(captures=(str(path),), **WAYS[way]), sink=JsonlSink(text, entry_lines if way == "extras" else as_events)
        )
    except PcapedaError as error:
        text.write(str(error).replace(str(path), path.name))
    counted = (report.frames, report.bytes_read, report.fragments, report.sent, report.first_ns, report.last_ns)
    skips = sorted((why.value, layer, count) for (why, layer), count in report.skips.items())
    told = f"{counted} {skips} {sorted(report.expired.items())} {len(report.damages)}"
    return hashlib.sha256((text.getvalue() + told).encode()).hexdigest()[:16]


def digests(folder: Path) -> dict[str, dict[str, str]]:
    """By name of the capture, then by way."""
    return {path.name: {way: digest(path, way) for way in WAYS} for path in captures(folder)}


if __name__ == "__main__":
    DIGESTS.write_text(
        json.dumps({folder.name: digests(folder) for folder in (FIXTURES, CAPTURES)}, indent=0, sort_keys=True) + "\n"
    )
