"""The pytest plugin, in a pytest of its own: suites are tests, and two fixtures try rules."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command import CLEAN, FIXTURES
from tests.test_rules_cli import RULES, SUITE, count_to

TEST = """
def test_syslog(pcap, local_bus):
    bus = local_bus("rules.json")
    for event in pcap("mixed.pcap", text=True):
        bus.put(event)
    assert bus.counts["syslog"] == %d
    assert all("Text" in event["detail"] for event in bus.matched("syslog"))
    assert len(bus.received("handler")) == %d
    assert bus.unmatched
"""


def run_pytest(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    if (
        "pcapeda"
        not in subprocess.run(
            [sys.executable, "-c", "import importlib.metadata as m; print(m.entry_points(group='pytest11').names)"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    ):
        command += ["-p", "pcapeda.pytest_plugin"]
    return subprocess.run(command, cwd=folder, env=CLEAN, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "rules.json").write_text(json.dumps(RULES))
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    shutil.copy(FIXTURES / "mixed.pcap", tmp_path)
    return tmp_path


def test_each_expectation_of_a_suite_is_a_test(folder: Path) -> None:
    """Collected by name; the failure text is the explanation and nothing of the plugin's insides."""
    (folder / "good.pcapeda.yaml").write_text(SUITE % ("mixed.pcap", count_to(514)))
    (folder / "bad.pcapeda.yaml").write_text(
        "captures: mixed.pcap\nrules: rules.json\nexpect:\n  - {rule: miscased, at-least: 1}\n"
    )
    done = run_pytest(folder, "-v")
    assert "4 passed" in done.stdout, done.stdout
    assert "1 failed" in done.stdout
    assert "good.pcapeda.yaml::syslog PASSED" in done.stdout
    assert "names are case-sensitive" in done.stdout
    assert "pytest_plugin.py" not in done.stdout


def test_a_suite_that_cannot_be_read_is_a_collection_error(folder: Path) -> None:
    """One clear line, not a traceback."""
    (folder / "odd.pcapeda.yaml").write_text("captures: mixed.pcap\nrules: rules.json\nexpcet: []\n")
    done = run_pytest(folder)
    assert "no key 'expcet'" in done.stdout, done.stdout
    assert "Traceback" not in done.stdout


def test_fixtures_for_test_code(folder: Path) -> None:
    """`pcap` gives events, `local_bus` says what each rule and target got."""
    (folder / "test_edge.py").write_text(TEST % (count_to(514), count_to(514)))
    done = run_pytest(folder)
    assert "1 passed" in done.stdout, done.stdout


def test_what_makes_rules_test_fail_fails_a_suite(folder: Path) -> None:
    """A refused pattern and a damaged capture, though the only expectation holds; its name has no number in it."""
    (folder / "rules.json").write_text(json.dumps([*RULES, {"Name": "bad", "EventPattern": {"source": "x"}}]))
    (folder / "mixed.pcap").write_bytes((FIXTURES / "mixed.pcap").read_bytes()[:-5])
    (folder / "s.pcapeda.yaml").write_text(
        "captures: mixed.pcap\nrules: rules.json\nexpect:\n"
        "  - {rule: syslog, at-least: 1}\n  - {rule: syslog, at-most: 99}\n  - {rule: dns, at-least: 1, name: asks}\n"
    )
    done = run_pytest(folder, "-v")
    for name, verdict in (("runs", "FAILED"), ("syslog", "PASSED"), ("syslog[2]", "PASSED"), ("asks", "PASSED")):
        assert f"s.pcapeda.yaml::{name} {verdict}" in done.stdout, done.stdout
    assert "damaged at byte" in done.stdout
    assert "bad" in done.stdout


HELD = """
import pytest

@pytest.fixture(scope="session")
def bus(local_bus):
    return local_bus("../rules.json")

@pytest.mark.parametrize("name", ["counts", "matched", "received", "explain", "broken", "damaged"])
def test_wrong(bus, local_bus, pcap, name):
    if name == "counts":
        bus.put({"source": "x"})
        assert bus.counts["sylog"] == 0
    elif name == "broken":
        local_bus("../broken.json")
    elif name == "damaged":
        pcap("../cut.pcap")
    elif name == "explain":
        assert bus.counts["syslog"] == 1, bus.explain("syslog")
    else:
        getattr(bus, name)("nowhere")
"""


def test_fixtures_raise_where_a_name_is_wrong_and_show_the_test_alone(folder: Path) -> None:
    """A bus for the session, by a path relative to the file; nothing of our insides in any traceback."""
    inner = folder / "inner"
    inner.mkdir()
    (inner / "test_held.py").write_text(HELD)
    (folder / "broken.json").write_text(json.dumps([{"Name": "bad", "EventPattern": {"source": "x"}}]))
    (folder / "cut.pcap").write_bytes((FIXTURES / "mixed.pcap").read_bytes()[:-5])
    done = run_pytest(folder)
    assert "6 failed" in done.stdout, done.stdout
    for words in ("no rule 'sylog'; there are:", "no rule 'nowhere'", "no target 'nowhere'", "damaged at byte", "bad"):
        assert words in done.stdout
    assert "nearest miss: no match" in done.stdout
    assert "pcapeda/pytest_plugin.py" not in done.stdout
    assert "rules/bus.py" not in done.stdout
    assert "rules/load.py" not in done.stdout


def test_who_does_not_use_it_does_not_pay() -> None:
    """Loading the plugin imports neither scapy, nor boto3, nor YAML, nor the rules."""
    heavy = ("scapy", "boto3", "yaml", "pcapeda.rules")
    code = f"import sys, pcapeda.pytest_plugin; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
