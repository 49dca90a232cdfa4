"""Standard streams that cannot be written: no run is stopped by its stderr, and no command ends in a traceback."""

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.command import CLEAN, FAKE_AWS, PCAPEDA, ROOT, pcapeda
from tests.commands import MIXED, RULES, command_lines, walk
from tests.put_events_server import put_events_server

WAYS = {
    "stdout full": ">/dev/full",
    "stdout closed": ">&-",
    "stdout without a reader": "",
    "stderr full": "2>/dev/full",
    "stderr closed": "2>&-",
    "both full": ">/dev/full 2>/dev/full",
    "both closed": ">&- 2>&-",
    "all closed": "<&- >&- 2>&-",
}
"""Redirections, as a shell has them."""


def shell(way: str, *arguments: str | Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[bytes]:
    """The command with streams as in `WAYS`; those that a way does not touch are pipes."""
    command = [*PCAPEDA, *map(str, arguments)]
    if way == "stdout without a reader":
        reading, writing = os.pipe()
        os.close(reading)
        try:
            return subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=writing,
                stderr=subprocess.PIPE,
                env=CLEAN | (env or {}),
                cwd=ROOT,
                timeout=120,
                check=False,
            )
        finally:
            os.close(writing)
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {WAYS[way]}', "sh", *command],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=CLEAN | (env or {}),
        cwd=ROOT,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("line", command_lines(), ids=lambda line: " ".join(Path(part).name for part in line))
def test_no_stream_ends_a_command_with_a_traceback(line: list[str | Path]) -> None:
    """The exit code is 1 where stdout takes nothing, 0 where nobody reads it, and otherwise what it would have been."""
    with ThreadPoolExecutor(4) as pool:
        ways = dict(zip(WAYS, pool.map(lambda way: shell(way, *line), WAYS), strict=True))
        plain = pcapeda(*line)
    for way, done in ways.items():
        told = (done.stderr or b"").decode()
        assert "Traceback" not in told, way
        assert "Exception ignored" not in told, way
        harmed = plain.stdout and ("stdout" in way or "both" in way or "all" in way)
        if not harmed:
            assert done.returncode == plain.returncode, way
            assert (done.stdout or b"") == plain.stdout or "stdout" not in way
        elif way == "stdout without a reader":
            assert done.returncode == 0, way
            assert "cannot write" not in told
        else:
            assert done.returncode == 1, way
        if harmed and way in ("stdout full", "stdout closed"):
            why = {"stdout full": "No space left on device", "stdout closed": "Bad file descriptor"}[way]
            assert f"cannot write to standard output: {why}" in told
            assert told.count("cannot write to standard output") <= 2  # the complaint, and the reason in the summary


def test_the_walk_finds_commands_in_groups() -> None:
    """Or the test above would try nothing."""
    assert {"replay", "rules test"} <= set(walk())


@pytest.mark.parametrize("way", ["stderr full", "stderr closed", "both full", "all closed"])
@pytest.mark.parametrize("log", ["text", "json"])
def test_a_log_that_cannot_be_written_stops_no_delivery(way: str, log: str) -> None:
    """Every event arrives, and the exit code says so."""
    with put_events_server() as bus:
        arguments = ("replay", MIXED, "--endpoint-url", bus.url, "--log", log)
        done = shell(way, *arguments, env=FAKE_AWS)
        assert done.returncode == 0
        assert sum(len(request["Entries"]) for request in bus.requests) == 13


def test_no_file_gets_the_number_of_a_stream(tmp_path: Path) -> None:
    """With stderr closed, what is opened next (here a checkpoint) would be descriptor 2, with talk in it."""
    checkpoint = tmp_path / "checkpoint"
    with put_events_server() as bus:
        arguments = ("replay", MIXED, "--endpoint-url", bus.url, "--checkpoint", checkpoint)
        assert shell("all closed", *arguments, env=FAKE_AWS).returncode == 0
    assert b"pcapeda: " not in checkpoint.read_bytes()


def test_a_summary_that_cannot_be_written_does_not_change_a_verdict(tmp_path: Path) -> None:
    """A rule test that failed has failed, whatever becomes of stderr."""
    expect = tmp_path / "expect.json"
    expect.write_text('[{"rule": "syslog", "count": 9999}]')
    line = ("rules", "test", MIXED, "--rules", RULES, "--expect", expect, "-o", "json")
    assert pcapeda(*line).returncode == shell("stderr full", *line).returncode == 1
