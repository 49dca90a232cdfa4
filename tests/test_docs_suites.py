"""The example of docs/testing-rules.md works as it stands: rules, suite and test code, in a pytest of its own."""

import re
import shutil
from pathlib import Path

import pytest

from tests.command import FIXTURES, ROOT, pcapeda
from tests.test_pytest_plugin import run_pytest

PAGE = (ROOT / "docs" / "testing-rules.md").read_text()
SUITES = PAGE[PAGE.index("\n## Suites\n") :]


def block(language: str) -> str:
    """The one block of a language in the sections on suites and pytest."""
    blocks = re.findall(rf"```{language}\n(.*?)```", SUITES, re.DOTALL)
    assert len(blocks) == 1
    return blocks[0]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copy(FIXTURES / "mixed.pcap", tmp_path)
    (tmp_path / "rules.json").write_text(block("JSON"))
    (tmp_path / "edge.pcapeda.yaml").write_text(block("yaml"))
    (tmp_path / "test_edge.py").write_text(block("python"))
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    return tmp_path


def test_the_suite_passes_on_the_command_line(folder: Path) -> None:
    """Every expectation of the page's suite holds."""
    done = pcapeda("rules", "test", folder / "edge.pcapeda.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert b"3 expectations, 0 failed" in done.stdout


def test_suite_and_test_code_pass_in_pytest(folder: Path) -> None:
    """Three expectations and one function are four tests."""
    done = run_pytest(folder)
    assert "5 passed" in done.stdout, done.stdout
