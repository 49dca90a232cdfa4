"""`--log json`: every line on stderr is a JSON object, whatever is said and whoever says it."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pcapeda.errors import BadConfig
from pcapeda.model import SkipReason
from pcapeda.report import Report
from pcapeda.ui.json_log import PROGRESS_S, JsonLog
from tests.command import CLEAN, FAKE_AWS, FIXTURES, ROOT, pcapeda, started
from tests.misbehaving import misbehaving
from tests.test_cli import read_until

MIXED = FIXTURES / "mixed.pcap"
LEVELS = {"note": {"info", "warning"}, "problem": {"error"}, "progress": {"info"}, "stopped": {"error"}}


def lines(stderr: bytes) -> list[dict]:
    """What was said, every line of it."""
    told = [json.loads(line) for line in stderr.decode("ascii").splitlines()]
    for one in told:
        assert list(one)[:4] == ["time", "level", "kind", "message"]
        assert one["level"] in LEVELS.get(one["kind"], {"info", "warning"})
    return told


def test_a_run_ends_with_one_line_that_holds_every_count() -> None:
    """The summary is the law of conservation as members, with the exit code."""
    done = pcapeda("replay", MIXED, "-n", "--log", "json", "--port", "514", "--max-events", "2")
    *_, summary = lines(done.stderr)
    assert (summary["kind"], summary["exit_code"], done.returncode) == ("summary", 1, 1)
    assert (
        summary["frames"] == summary["datagrams"] - summary["reassembled"] + summary["fragments"] + summary["skipped"]
    )
    away = summary["sent"] + summary["spooled"] + summary["dead"] + summary["limited"]
    away += summary["refused"] + summary["unselected"]
    assert summary["datagrams"] + summary["inherited"] == away
    assert summary["sent"] == len(done.stdout.splitlines()) == 2
    for total, parts in (("skipped", "reason"), ("unselected", "reason"), ("refused", "reason"), ("dead", "code")):
        assert summary[total] == sum(summary[f"{total}_by_{parts}"].values()), total


def test_damage_is_a_warning_and_untrusted_names_stay_on_their_line(tmp_path: Path) -> None:
    """A torn capture whose name holds an escape sequence, a line end and bytes that are no UTF-8."""
    torn = tmp_path / "\x1b[2J\n\udcff\u202e.pcap"
    torn.write_bytes(MIXED.read_bytes()[:-5])
    notes = [one for one in lines(pcapeda("replay", torn, "-n", "--log", "json").stderr) if one["kind"] == "note"]
    assert [one["level"] for one in notes] == ["warning"]
    assert "\x1b[2J\n\\udcff\u202e.pcap: damaged at byte" in notes[0]["message"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["replay", "no-such-file", "-n", "--log", "json"], "no such file"),
        (["replay", str(MIXED), "--log=json", "--speed"], "--speed"),
        (["replay", str(MIXED), "--log", "json", "--no-such-option"], "--no-such-option"),
        (["sniff", "--log", "json"], "--interface"),
        (["resend", "no-such-folder", "--log", "json"], "no such spool"),
        (["replay", str(MIXED), "-n", "-o", "jsonl", "--log", "json", "-f", "udp and"], "filter"),
    ],
)
def test_what_is_wrong_with_the_command_is_a_line_too(arguments: list[str], words: str) -> None:
    """Usage errors and bad input: one line, level error, exit code 2."""
    done = pcapeda(*arguments)
    assert done.returncode == 2
    (problem,) = lines(done.stderr)
    assert problem["kind"] == "problem"
    assert words in problem["message"]


def test_quiet_says_nothing_but_what_was_not_delivered() -> None:
    """-q leaves warnings, and no summary."""
    assert lines(pcapeda("replay", MIXED, "-n", "-q", "--log", "json").stderr) == []
    *_, note = lines(pcapeda("replay", MIXED, "-n", "-q", "--log", "json", "--max-events", "0").stderr)
    assert note["message"].startswith("not delivered: ")


def test_progress_comes_every_ten_seconds_and_no_more_often() -> None:
    """Ten ticks a second for 35 seconds are three lines, each with the counts of run and source together."""
    now, said = 0.0, []
    log = JsonLog(clock=lambda: now, write=said.append)
    report, reading = Report(frames=1, datagrams=1, sent=1), Report()
    reading.skips[SkipReason.NOT_IP, "arp"] = 2
    for _ in range(350):
        now += 0.1
        log.tick(report, reading, 0, None)
    told = lines(b"".join(said))
    assert PROGRESS_S == 10
    assert [one["kind"] for one in told] == ["progress"] * 3
    assert told[0]["skipped_by_reason"] == {"not IP": 2}


def test_reasons_that_the_bus_invents_are_bounded() -> None:
    """A thousand codes: the first forty are told apart, the rest is one number, and nothing is missing."""
    said: list[bytes] = []
    report = Report()
    for number in range(1000):
        report.refused[f"Code{number}"] += 2
        report.remember(f"Code{number}", "words")
    JsonLog(write=said.append).summary(report)
    (summary,) = lines(b"".join(said))
    assert len(summary["refused_by_reason"]) == 41
    assert summary["refused_by_reason"]["other"] == 960 * 2
    assert summary["refused"] == 2000
    assert len(summary["messages"]) == 20


def test_a_hint_is_a_member() -> None:
    """What helps is apart from what is wrong."""
    said: list[bytes] = []
    JsonLog(write=said.append).complain(BadConfig("wrong", hint="do this"))
    (problem,) = lines(b"".join(said))
    assert (problem["message"], problem["hint"]) == ("wrong", "do this")


def test_a_second_signal_leaves_a_last_line_with_what_is_known() -> None:
    """The bus is dead and the grace long: the first signal waits, the second ends it at once, with the counts."""
    with misbehaving("dead") as server:
        options = ("--endpoint-url", server.url, "--pps", "50", "--grace", "600", "--log", "json", "--loop", "0")
        with started("replay", MIXED, *options, env=FAKE_AWS) as process:
            assert process.stderr is not None
            read_until(process.stderr.fileno(), b"no telling beforehand")
            while not server.told()["requests"]:
                pass
            process.send_signal(signal.SIGINT)
            process.send_signal(signal.SIGTERM)
            _, talk = process.communicate(timeout=30)
    assert process.returncode == 130
    last = json.loads(talk.splitlines()[-1])
    assert (last["kind"], last["level"]) == ("stopped", "error")
    assert last["datagrams"] > 0 == last["sent"]


def test_a_log_that_nobody_reads_stops_nothing() -> None:
    """stderr is a pipe whose reader has gone: all events are printed all the same."""
    with started("replay", MIXED, "-n", "--log", "json", "--loop", "3") as process:
        assert process.stderr is not None
        assert process.stdout is not None
        process.stderr.close()
        assert len(process.stdout.read().splitlines()) == 39
    assert process.returncode == 0


def test_what_libraries_print_and_a_defect_are_lines_too() -> None:
    """Warnings, log records and the trace of an exception that nobody expected."""
    code = """
import logging, threading, warnings
from pcapeda.ui import json_log
json_log.take_over()
warnings.warn("old\\nthing")
logging.getLogger("some.library").error("pool is full")
thread = threading.Thread(target=lambda: 1 / 0)
thread.start()
thread.join()
raise KeyError("gone")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=ROOT, env=CLEAN, check=False)
    told = lines(done.stderr)
    assert [one["level"] for one in told] == ["warning", "warning", "error", "error"]
    assert "old\nthing" in told[0]["message"]
    assert told[1]["message"] == "some.library: pool is full"
    assert "ZeroDivisionError" in told[2]["trace"]
    assert "KeyError" in told[3]["trace"]
