"""The command line as a stranger meets it: streams, exit codes, one clear line for what is wrong."""

import json
import os
import re
import select
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.command import CLEAN, FAKE_AWS, FIXTURES, PCAPEDA, ROOT, on_terminal, pcapeda, start

MIXED = FIXTURES / "mixed.pcap"


def expected_rows(name: str) -> list[dict[str, str]]:
    """What the fixture's own table says is in it, datagrams only."""
    lines = (FIXTURES / "expected" / f"{name}.tsv").read_text().splitlines()
    names = lines[0].split("\t")
    rows = [dict(zip(names, line.split("\t"), strict=True)) for line in lines[1:]]
    return [row for row in rows if row.get("quoted", "0") != "1" and row.get("depth", "1") == "1"]


def complaint(stderr: bytes) -> str:
    """The one line (and perhaps a hint) that stderr holds."""
    text = stderr.decode()
    assert "Traceback" not in text
    lines = text.splitlines()
    assert len(lines) <= 2, text
    assert lines[0].startswith("pcapeda: "), text
    if len(lines) == 2:
        assert lines[1].startswith("hint: "), text
    return text


def read_until(fd: int, wanted: bytes, seconds: float = 30) -> bytes:
    """What comes from a descriptor until it holds `wanted`; fails when it does not come in time."""
    got, deadline = b"", time.monotonic() + seconds
    while wanted not in got:
        ready, _, _ = select.select([fd], [], [], max(0, deadline - time.monotonic()))
        assert ready, f"{wanted!r} did not come in {seconds} s, only {got!r}"
        piece = os.read(fd, 65536)
        assert piece, f"{wanted!r} did not come before the end, only {got!r}"
        got += piece
    return got


def test_a_dry_run_in_a_pipe_prints_one_event_a_line_and_talks_on_stderr() -> None:
    """stdout is data, stderr is talk: events as JSON lines, the summary beside them."""
    done = pcapeda("replay", MIXED, "--dry-run")
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    rows = expected_rows("mixed.pcap")
    assert [(e["detail"]["Capture"]["Frame"], e["detail"]["Destination"]["Port"]) for e in events] == [
        (int(row["pkt"]), int(row["dst_port"])) for row in rows
    ]
    assert re.search(rf"{len(rows)} = {len(rows)} printed \+ 0 refused", done.stderr.decode())
    assert b"\x1b" not in done.stdout + done.stderr


def test_the_same_file_gives_the_same_bytes() -> None:
    """Two dry runs of one capture print the same, to the byte."""
    first = pcapeda("replay", MIXED, "-n").stdout
    assert len(first.splitlines()) == len(expected_rows("mixed.pcap")) > 0
    assert pcapeda("replay", MIXED, "-n").stdout == first


def test_pretty_output_is_for_people_even_in_a_pipe() -> None:
    """-o pretty can be asked for; without a terminal it has no colours."""
    done = pcapeda("replay", MIXED, "-n", "-o", "pretty", "-q")
    assert done.returncode == 0
    assert done.stderr == b""
    assert "→" in done.stdout.decode()
    assert b"\x1b" not in done.stdout


def shown_on_terminal(*arguments: str | Path, **env: str) -> bytes:
    """What the command writes when stdout and stderr are one terminal; it ends well."""
    code, output = on_terminal(arguments, {"TERM": "xterm-256color"} | env)
    assert code == 0
    return output


def test_a_terminal_gets_the_pretty_view_in_colour_unless_no_color_is_set() -> None:
    """The default on a terminal is pretty; NO_COLOR takes the colours away and nothing else."""
    colourful = shown_on_terminal("replay", MIXED, "-n")
    plain = shown_on_terminal("replay", MIXED, "-n", NO_COLOR="1")
    assert "→".encode() in colourful
    assert b"\x1b[32m" in colourful
    assert not re.search(rb"\x1b\[[0-9;]*3[0-9]m", plain)
    strip = re.compile(rb"\x1b\[[0-9;]*m")
    assert strip.sub(b"", plain) == strip.sub(b"", colourful)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["replay", "no/such/file.pcap", "-n"], "no/such/file.pcap"),
        (["replay", "--no-such-option"], "--no-such-option"),
        (["replay", "-n"], "CAPTURE"),
        (["frobnicate"], "frobnicate"),
        (["replay", MIXED, "-n", "-f", "port port"], "port port"),
        (["replay", MIXED, "-n", "--speed", "1", "--pps", "5"], "--speed"),
        (["replay", MIXED, "-n", "--maxsleep", "1"], "--speed"),
        (["replay", MIXED, "-n", "--speed", "0"], "--speed"),
        (["replay", MIXED, "-n", "--pps", "-1"], "--pps"),
        (["replay", MIXED, "-n", "--source", "aws.udp"], "aws."),
        (["replay", MIXED, "-n", "--port", "70000"], "--port"),
        (["replay", MIXED, "-o", "jsonl"], "--dry-run"),
        (["replay", "-", "-n", "--loop", "2"], "--loop"),
        (["replay", "README.md", "-n"], "README.md"),
        (["replay", MIXED, "-n", "--shape", "round"], "round"),
        (["sniff", "-n"], "--interface"),
        (["inspect", "no/such/file.pcap"], "no/such/file.pcap"),
        (["schema", "--shape", "round"], "round"),
    ],
)
def test_bad_usage_is_one_line_and_exit_code_2(arguments: list[str | Path], words: str) -> None:
    """What cannot be honoured stops the run before it starts, with the culprit named."""
    done = pcapeda(*arguments)
    assert done.returncode == 2, done.stderr
    assert done.stdout == b""
    assert words in complaint(done.stderr)


def test_no_credentials_is_exit_code_3() -> None:
    """Without an account in reach, the first line says so and what helps."""
    done = pcapeda("replay", MIXED, "-q", env={"AWS_DEFAULT_REGION": "us-east-1"})
    assert done.returncode == 3
    assert "credentials" in complaint(done.stderr)


def test_an_interface_that_is_not_there_is_exit_code_3() -> None:
    """It may come back: a service tries again."""
    done = pcapeda("sniff", "-i", "no-such-if", "-n")
    assert (done.returncode, done.stdout) == (3, b"")
    assert "no-such-if" in complaint(done.stderr)


def test_no_region_is_said() -> None:
    """The SDK needs a Region; the line names the option."""
    done = pcapeda("replay", MIXED, "-q")
    assert done.returncode in (2, 3)
    assert "--region" in complaint(done.stderr)


def test_an_unreachable_endpoint_is_exit_code_3() -> None:
    """A port where nothing listens is found out before anything is read."""
    done = pcapeda("replay", MIXED, "-q", "--endpoint-url", "http://127.0.0.1:9", env=FAKE_AWS)
    assert done.returncode == 3
    assert "127.0.0.1:9" in complaint(done.stderr)


def test_a_cut_capture_is_used_up_to_the_cut_and_exits_1() -> None:
    """Every whole record is printed; then a line with file, offset and what is wrong."""
    cut = FIXTURES / "cut.pcap"
    done = pcapeda("replay", cut, "-n", "-q")
    assert done.returncode == 1
    assert len(done.stdout.splitlines()) == len(expected_rows("cut.pcap")) > 0
    assert re.search(r"cut\.pcap: damaged at byte [\d,]+: .*cut", complaint(done.stderr))


def test_bad_input_is_not_fatal_to_the_rest(tmp_path: Path) -> None:
    """In `replay a broken c`, a and c are replayed whole."""
    broken = tmp_path / "broken.pcap"
    broken.write_bytes(b"<html>certainly no capture</html>")
    done = pcapeda("replay", MIXED, broken, MIXED, "-n", "-q")
    alone = pcapeda("replay", MIXED, "-n", "-q")
    assert alone.stdout.count(b"\n") > 0
    assert done.stdout == alone.stdout * 2
    assert done.returncode == 2
    assert "broken.pcap" in complaint(done.stderr)


def test_a_reader_that_goes_away_is_quiet_success() -> None:
    """`pcapeda replay … | head -1` ends at once, without a word and with exit code 0."""
    with start("replay", MIXED, "-n", "--loop", "0") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        read_until(process.stdout.fileno(), b"\n")
        process.stdout.close()
        assert process.wait(30) == 0
        assert process.stderr.read() == b""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_in_the_middle_flushes_and_exits_130(number: signal.Signals) -> None:
    """What was read is printed, the summary adds up, and the exit code says that a signal ended it."""
    with start("replay", MIXED, "-n", "--loop", "0", "--pps", "200") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        first = read_until(process.stdout.fileno(), b"\n")
        process.send_signal(number)
        rest, talk = process.communicate(timeout=30)
    assert process.returncode == 130
    printed = (first + rest).splitlines()
    assert all(json.loads(line)["source"] == "udp.raw" for line in printed)
    match = re.search(r"([\d,]+) = ([\d,]+) printed \+ (\d+) refused", talk.decode())
    assert match is not None, talk
    assert int(match[2].replace(",", "")) == len(printed)


def test_events_appear_as_packets_arrive_on_standard_input() -> None:
    """`tcpdump -w - | pcapeda replay -` streams: an event is there before the input ends."""
    capture = MIXED.read_bytes()
    first_record = 24 + 16 + int.from_bytes(capture[24 + 8 : 24 + 12], "little")
    with start("replay", "-", "-n") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(capture[:first_record])
        process.stdin.flush()
        row = json.loads(read_until(process.stdout.fileno(), b"\n"))
        assert row["detail"]["Capture"]["Frame"] == 1
        process.stdin.write(capture[first_record:])
        rest, _ = process.communicate(timeout=30)
    assert len(rest.splitlines()) == len(expected_rows("mixed.pcap")) - 1
    assert process.returncode == 0


def test_ports_count_and_filter_select() -> None:
    """--port, -c and -f each let through what they name; the rest is counted, and nothing is an error."""
    rows = expected_rows("mixed.pcap")
    syslog = [row for row in rows if "514" in (row["dst_port"], row["src_port"])]
    assert 0 < len(syslog) < len(rows)
    for arguments in (["--port", "514"], ["-f", "udp port 514"]):
        done = pcapeda("replay", MIXED, "-n", *arguments)
        frames = [json.loads(line)["detail"]["Capture"]["Frame"] for line in done.stdout.splitlines()]
        assert frames == [int(row["pkt"]) for row in syslog]
        assert done.returncode == 0
    done = pcapeda("replay", MIXED, "-n", "-c", "2")
    assert len(done.stdout.splitlines()) == 2
    assert done.returncode == 0


def test_a_budget_stops_the_run_and_exits_1() -> None:
    """--max-events and --max-cost stop before one event too many, and say so."""
    done = pcapeda("replay", MIXED, "-n", "--max-events", "3")
    assert (len(done.stdout.splitlines()), done.returncode) == (3, 1)
    done = pcapeda("replay", MIXED, "-n", "--max-cost", "0.000002")
    assert (len(done.stdout.splitlines()), done.returncode) == (2, 1)


def test_a_loop_repeats_and_the_ids_differ() -> None:
    """Each pass of --loop is an event of its own, with the same id whenever the command is run."""
    done = pcapeda("replay", MIXED, "-n", "-q", "--loop", "2")
    ids = [json.loads(line)["id"] for line in done.stdout.splitlines()]
    assert len(ids) == 2 * len(expected_rows("mixed.pcap"))
    assert len(set(ids)) == len(ids)


def test_the_folder_of_fixtures_is_replayed_without_a_traceback() -> None:
    """A folder stands for its captures; damaged ones among them are said, the rest is whole."""
    done = pcapeda("replay", FIXTURES, "-n")
    assert b"Traceback" not in done.stderr
    assert done.returncode == 1, done.stderr  # there is a cut capture among them
    assert len(done.stdout.splitlines()) > 50


def test_inspect_tells_people_and_programs_the_same() -> None:
    """Counts, ports, talkers and cost, as a table and as JSON."""
    rows = expected_rows("mixed.pcap")
    done = pcapeda("inspect", MIXED, "-o", "json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["Datagrams"] == told["Replay"]["Events"] == len(rows)
    assert sum(port["Count"] for port in told["DestinationPorts"]) == len(rows)
    assert told["Replay"]["Requests"] == -(-len(rows) // 10)
    pretty = pcapeda("inspect", MIXED).stdout.decode()
    assert f"{len(rows)} events in" in pretty
    assert "Destination ports" in pretty
    assert "514" in pretty


def test_interfaces_lists_the_loopback() -> None:
    """Where sniff can listen, for people and for programs, without special rights."""
    names = [one["name"] for one in json.loads(pcapeda("interfaces", "-o", "json").stdout)]
    assert "lo" in names
    assert "lo" in pcapeda("interfaces").stdout.decode()


def test_version_and_help_work_and_import_nothing_heavy() -> None:
    """--version and --help answer without scapy, boto3 or rich's tables having been loaded."""
    assert re.fullmatch(rb"pcapeda \d+\.\d+\.\d+\n", pcapeda("--version").stdout)
    assert b"replay" in pcapeda("--help").stdout
    code = (
        "import sys; import pcapeda.cli; print([n for n in ('scapy', 'boto3', 'botocore', 'yaml') if n in sys.modules])"
    )
    done = subprocess.run([PCAPEDA[0], "-c", code], capture_output=True, cwd=ROOT, check=True)
    assert done.stdout == b"[]\n"


@pytest.mark.parametrize("arguments", [[], ["--help"], ["replay", "--help"], ["rules"], ["version"]], ids=" ".join)
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    """Neither what draws tables nor what checks values: a page of help is there at once."""
    heavy = ("scapy", "boto3", "botocore", "yaml", "rich", "pydantic")
    code = f"""
import sys
import pcapeda.cli
sys.argv[1:] = {arguments!r}
try:
    pcapeda.cli.main()
finally:
    print([name for name in {heavy!r} if name in sys.modules], file=sys.stderr)
"""
    done = subprocess.run([PCAPEDA[0], "-c", code], capture_output=True, cwd=ROOT, env=CLEAN, check=True)
    assert done.stderr == b"[]\n"


@pytest.mark.parametrize("command", ["replay", "sniff", "inspect", "interfaces", "schema"])
def test_every_command_has_help_that_names_each_option(command: str) -> None:
    """--help works for each command and fits 80 columns."""
    done = pcapeda(command, "--help", env={"COLUMNS": "80"})
    assert done.returncode == 0
    assert max(len(line) for line in done.stdout.decode().splitlines()) <= 80
