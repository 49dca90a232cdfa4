"""docs/operations.md says what is so: commands, options, members, metrics, unit and alerts are those of the program."""

import json
import re
import shlex
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
import yaml

from pcapeda.aws.quotas import FREE
from pcapeda.report import Report
from pcapeda.ui.prometheus import COUNTERS, REASONS, Metrics
from pcapeda.ui.snapshot import snapshot
from tests.command import CLEAN, FAKE_AWS, PCAPEDA, ROOT, pcapeda
from tests.misbehaving import misbehaving
from tests.netns import needs_netns, veth_pair
from tests.test_cli import read_until
from tests.test_faults import poll
from tests.test_privileges import NAME, PROGRAM, UID, home, sniff_as

__all__ = ["home"]

DOCS = ROOT / "docs"
TEXT = (DOCS / "operations.md").read_text()
UNIT = (DOCS / "pcapeda.service").read_text()
ALERTS = yaml.safe_load((DOCS / "pcapeda.rules.yml").read_text())
SERVED = {f"{name}_total" for name in [*COUNTERS, *REASONS]} | {
    "pcapeda_spooled_events",
    "pcapeda_spooled_datagrams",
    "pcapeda_outage",
    "pcapeda_last_event_timestamp_seconds",
    "pcapeda_build_info",
}
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+")


def exec_start() -> list[str]:
    """The command of the unit."""
    match = re.search(r"^ExecStart=((?:[^\\\n]|\\\n)*)", UNIT, re.MULTILINE)
    assert match is not None
    return shlex.split(match[1].replace("\\\n", " "))


def environment() -> dict[str, str]:
    """The variables of the unit's file."""
    lines = (DOCS / "pcapeda.environment").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def test_every_option_exists() -> None:
    """No option is shown, here or in the unit, that pcapeda does not have (or those who install it)."""
    helps = "".join(pcapeda(command, "--help").stdout.decode() for command in ("sniff", "replay", "resend"))
    others = set(OPTION.findall(" ".join(line for line in TEXT.splitlines() if re.search("systemctl|useradd", line))))
    shown = set(OPTION.findall(TEXT + " ".join(exec_start()))) - others
    assert {one for one in shown if one not in helps} == set()
    assert len(shown) > 20


def test_every_count_and_every_metric_is_described() -> None:
    """The tables hold all members of a summary and all series, and no others."""
    members = set(snapshot(Report(), tariff=FREE)) | {"exit_code", "interrupted", "messages", "turned_away"}
    told = set(re.findall(r"`([a-z_]+)`", TEXT))
    assert members <= told
    assert set(re.findall(r"`(pcapeda_[a-z_]+)`", TEXT)) == SERVED
    endpoint = Metrics("127.0.0.1:0", tariff=FREE)
    families = {family.name + ("_total" if family.type == "counter" else "") for family in endpoint.collect()}
    endpoint.start()
    endpoint.close()
    assert families == SERVED


def test_every_alert_is_described_and_asks_for_what_there_is() -> None:
    """The rules and the table have the same alerts, on metrics and labels that are served."""
    rules = [rule for group in ALERTS["groups"] for rule in group["rules"]]
    assert {rule["alert"] for rule in rules} == set(re.findall(r"`(Pcapeda\w+)`", TEXT))
    for rule in rules:
        assert set(re.findall(r"pcapeda_\w+", rule["expr"])) <= SERVED
        assert set(rule["annotations"]) == {"summary"}
    promtool = shutil.which("promtool")
    if promtool is not None:
        done = subprocess.run(
            [promtool, "check", "rules", DOCS / "pcapeda.rules.yml"], capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr


def test_the_unit_is_one_that_systemd_takes(tmp_path: Path) -> None:
    """`systemd-analyze verify` finds nothing to say, with a program where the unit expects one."""
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd is not installed")
    program = tmp_path / "pcapeda"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    unit = tmp_path / "pcapeda.service"
    unit.write_text(UNIT.replace(exec_start()[0], str(program)))
    done = subprocess.run([analyze, "verify", unit], capture_output=True, text=True, check=False)
    if "Failed to initialize manager" in done.stderr:
        pytest.skip(done.stderr)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_unit_gives_it_time_to_end() -> None:
    """systemd waits longer than the grace, and takes the exit code after a signal for success."""
    told = dict(re.findall(r"^(\w+)=(.*)$", UNIT, re.MULTILINE))
    grace = float(exec_start()[exec_start().index("--grace") + 1])
    assert float(told["TimeoutStopSec"]) >= grace + 10
    assert told["SuccessExitStatus"] == "130"
    assert told["AmbientCapabilities"] == told["CapabilityBoundingSet"] == "CAP_NET_RAW"


@needs_netns
@pytest.mark.skipif(not PROGRAM, reason="no other user can run this interpreter")
def test_the_command_of_the_unit_runs(home: Path) -> None:
    """As an unprivileged user with CAP_NET_RAW alone: only interface, folder, metrics' port and user are others."""
    changes = {"pcapeda": NAME, "/var/lib/pcapeda/spool": str(home / "spool")}
    rights = ("--inh-caps=+net_raw", "--ambient-caps=+net_raw", "--bounding-set=-all,+net_raw")
    before = ("setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", "--no-new-privs", *rights)
    with veth_pair() as veth, misbehaving("none") as server:
        variables = FAKE_AWS | environment() | {"PCAPEDA_INTERFACE": veth.name, "PCAPEDA_METRICS": ":0"}
        _, command, *arguments = (changes.get(one, one) for one in exec_start())
        assert command == "sniff"
        with sniff_as(home, *arguments, "--endpoint-url", server.url, before=before, env=variables) as process:
            assert process.stderr is not None
            read_until(process.stderr.fileno(), b"listening on ")
            veth.send(514, 20)
            poll(lambda: len(server.told()["accepted"]) == 20, "delivered")
            process.send_signal(signal.SIGTERM)
            _, talk = process.communicate(timeout=60)
    assert process.returncode == 130
    assert json.loads(talk.splitlines()[-1])["sent"] == 20


def test_the_commands_on_fixtures_work() -> None:
    """What can be tried without an interface or an account ends well."""
    lines = re.findall(r"^    ((?:PCAPEDA_\w+=.*)?pcapeda .*fixtures/.*)$", TEXT, re.MULTILINE)
    assert len(lines) >= 3
    for line in lines:
        words = shlex.split(line)
        variables = dict(word.split("=", 1) for word in words[: words.index("pcapeda")])
        command = [*PCAPEDA, *words[words.index("pcapeda") + 1 :]]
        done = subprocess.run(command, capture_output=True, cwd=ROOT, env=CLEAN | variables, check=False)
        assert done.returncode == 0, done.stderr


def test_links_lead_somewhere() -> None:
    """Every relative link is a file beside the page, and what follows `#` is a heading of it."""
    for target in re.findall(r"\]\(([^)]+)\)", TEXT):
        name, _, anchor = target.partition("#")
        assert (DOCS / name).exists(), target
        headings = re.findall(r"^#+ (.*)$", (DOCS / name).read_text(), re.MULTILINE)
        assert not anchor or anchor in [re.sub(r"[^\w -]", "", one.lower()).replace(" ", "-") for one in headings]
