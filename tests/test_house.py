"""The order of the house: sizes that can be read, a front that tells the story, no way round the table of sinks."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pcapeda
from tests.command import ROOT

HOUSE = Path(pcapeda.__file__).parent
MODULES = sorted(HOUSE.rglob("*.py"))
PACKAGES = sorted(path.parent.name for path in HOUSE.glob("*/__init__.py"))

LONGEST_FILE = 500
LONGEST_FUNCTION = 60
MOST_FILES = 9

REASONS = ("# long: ", "# noqa: C901 - ")
"""What stands behind a `def` of more lines, and says why."""

TO_BE_SPLIT = {
    "engine/run.py",
    "engine/run.py:_execute",
    "engine/run.py:_replay_one",
    "engine/run.py:resend",
    "ui/terminal.py",
    "ui/terminal.py:show_summary",
}
"""What is larger and should not be: nothing may be added."""


def name_of(path: Path) -> str:
    return path.relative_to(HOUSE).as_posix()


def functions(path: Path) -> Iterator[tuple[ast.FunctionDef | ast.AsyncFunctionDef, str]]:
    """Each function of a module, with the line of its `def`."""
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node, lines[node.lineno - 1]


def test_a_file_can_be_read_in_one_go() -> None:
    """A longer one has two subjects."""
    lengths = {name_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert [name for name, lines in lengths.items() if lines > LONGEST_FILE and name not in TO_BE_SPLIT] == []


def test_a_function_fits_on_a_screen_or_says_why_not() -> None:
    """The reason stands where the function does."""
    longer = [
        f"{name_of(path)}:{node.name}"
        for path in MODULES
        for node, line in functions(path)
        if (node.end_lineno or 0) - node.lineno >= LONGEST_FUNCTION and not any(reason in line for reason in REASONS)
    ]
    assert [name for name in longer if name not in TO_BE_SPLIT] == []


def test_the_front_tells_the_story() -> None:
    """Packages, and no more files beside them than one takes in at once."""
    assert len([path for path in HOUSE.iterdir() if path.is_file()]) <= MOST_FILES


def test_every_package_is_explained() -> None:
    """A stranger finds each in docs/architecture.md."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert [package for package in PACKAGES if f"`{package}/`" not in text] == []


def test_nobody_probes_a_sink() -> None:
    """A sink has all members of `BaseSink`: whoever asks with getattr whether it has one has found a gap there."""
    probes = [
        f"{name_of(path)}:{node.lineno}"
        for path in MODULES
        if name_of(path) != "sinks/base.py"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("getattr", "hasattr")
        if ast.unparse(node.args[0]).lower().endswith("sink")
    ]
    assert probes == []
