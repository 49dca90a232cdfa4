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
    assert "2 passed" in done.stdout, done.stdout
    assert "1 failed" in done.stdout
    assert "good.pcapeda.yaml::rule syslog matches exactly" in done.stdout
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


def test_who_does_not_use_it_does_not_pay() -> None:
    """Loading the plugin imports neither scapy, nor boto3, nor YAML, nor the rules."""
    heavy = ("scapy", "boto3", "yaml", "pcapeda.rules")
    code = f"import sys, pcapeda.pytest_plugin; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
