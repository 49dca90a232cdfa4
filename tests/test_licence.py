"""The licence, and that what needs neither scapy nor boto3 works where they are not installed."""

import subprocess
import sys
import tomllib

import pytest

from tests.put_events_server import put_events_server

from .command import CLEAN, FAKE_AWS, ROOT

WITHOUT = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in sys.argv[1].split(","):
            raise ImportError(f"{name} is not installed")

sys.meta_path.insert(0, Missing())
from pcapeda.__main__ import main
sys.argv[:2] = ["pcapeda"]
main()
"""


def without(packages: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-c", WITHOUT, packages, *arguments],
        capture_output=True,
        env=CLEAN | FAKE_AWS,
        cwd=ROOT,
        timeout=60,
        check=False,
    )


def test_the_licence_is_said_once_and_the_same() -> None:
    """MIT, in the file and in the metadata, as SPDX spells it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["license"] == "MIT"
    assert not [one for one in project["classifiers"] if one.startswith("License ::")]  # PEP 639
    text = (ROOT / "LICENSE").read_text()
    assert text.startswith("MIT License\n\nCopyright (c) 2026 The pcapeda developers\n")
    assert 'THE SOFTWARE IS PROVIDED "AS IS"' in text


@pytest.mark.parametrize(
    "arguments",
    [
        ("replay", "fixtures/mixed.pcap", "-n", "-o", "jsonl"),
        ("replay", "fixtures/vxlan-traffic-mirroring.pcap", "--decapsulate", "-n", "-o", "jsonl"),
        ("rules", "test", "fixtures/mixed.pcap", "--rules", "fixtures/rules/good.json"),
        ("rules", "lint", "fixtures/rules/good.json"),
        ("inspect", "fixtures/mixed.pcap"),
        ("schema",),
        ("interfaces",),
    ],
)
def test_what_needs_neither_scapy_nor_boto3(arguments: tuple[str, ...]) -> None:
    """docs/dependencies.md: what a bundle without them can do."""
    done = without("scapy,boto3,botocore", *arguments)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout


def test_a_replay_to_a_bus_needs_no_scapy() -> None:
    """Frames of plain layers go to the bus without scapy."""
    with put_events_server() as server:
        done = without("scapy", "replay", "fixtures/mixed.pcap", "--endpoint-url", server.url)
        assert done.returncode == 0, done.stderr.decode()
        assert b"13 delivered" in done.stderr
