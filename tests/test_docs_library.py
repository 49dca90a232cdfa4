"""docs/library.md says what is so: its programs run, a type checker takes them, and the names are the public ones."""

import re
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest

import pcapeda
from tests.command import CLEAN, FIXTURES, ROOT
from tests.netns import Veth, needs_netns, veth_pair

TEXT = (ROOT / "docs/library.md").read_text()
PROGRAMS = dict(re.findall(r"`(\w+\.py)`[^`]*?(?:`[^`\n]*`[^`]*?)*\n\n```python\n(.*?)```", TEXT, re.DOTALL))


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """The programs, as files."""
    for name, code in PROGRAMS.items():
        (tmp_path / name).write_text(code)
    return tmp_path


def run(path: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, path, *map(str, arguments)], capture_output=True, text=True, env=CLEAN, timeout=60, check=False
    )


def test_there_are_four() -> None:
    """None is missed by the pattern that finds them."""
    assert sorted(PROGRAMS) == ["count_ports.py", "embedded.py", "enrichment.py", "sqlite_sink.py"]
    assert TEXT.count("```python") == 4


def test_a_type_checker_takes_them(programs: Path) -> None:
    """Strictly; and it would not take a misspelt name."""
    wrong = programs / "wrong.py"
    wrong.write_text("import pcapeda\n\npcapeda.MemorySnk()\n")
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(programs / "cache")]
    files = [str(programs / name) for name in PROGRAMS]
    done = subprocess.run([*command, *files], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stdout
    done = subprocess.run([*command, str(wrong)], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 1, done.stdout
    assert "MemorySnk" in done.stdout


def test_counting_over_a_folder(programs: Path, tmp_path: Path) -> None:
    """Two captures in a folder; what is no capture is said in a line."""
    folder = tmp_path / "captures"
    folder.mkdir()
    for name in ("mixed.pcap", "dns.pcap"):
        (folder / name).write_bytes((FIXTURES / name).read_bytes())
    done = run(programs / "count_ports.py", folder)
    assert done.returncode == 0, done.stderr
    expected = Counter(one.destination_port for one in pcapeda.datagrams(str(folder)))
    assert {int(port): int(number) for port, number in map(str.split, done.stdout.splitlines())} == expected
    done = run(programs / "count_ports.py", ROOT / "README.md")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1, done.stderr


def test_a_sink_that_fails_and_tries_again(programs: Path, tmp_path: Path) -> None:
    """The database is locked at first: nothing is lost, nothing is there twice, also when all is run again."""
    path = tmp_path / "events.sqlite"
    run(programs / "sqlite_sink.py", path, FIXTURES / "ntp.pcap")
    before = len(list(pcapeda.datagrams(str(FIXTURES / "ntp.pcap"))))
    locking = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    locking.execute("BEGIN EXCLUSIVE")
    code = PROGRAMS["sqlite_sink.py"]
    scope: dict[str, object] = {"__name__": "sqlite_sink"}
    exec(compile(code, "sqlite_sink.py", "exec"), scope)
    sink_class = scope["SqliteSink"]
    tried = threading.Event()

    class Watched(sink_class):  # type: ignore[misc, valid-type]
        def check(self) -> None:
            """The table is there already, and the database is locked."""

        def send(self, batch: pcapeda.Batch) -> pcapeda.Outcome:
            outcome: pcapeda.Outcome = super().send(batch)
            if outcome.failed:
                tried.set()
            return outcome

    def unlock() -> None:
        assert tried.wait(30)
        locking.execute("ROLLBACK")

    helper = threading.Thread(target=unlock)
    helper.start()
    sink = Watched(str(path))
    report = pcapeda.execute(pcapeda.Job(captures=(str(FIXTURES / "mixed.pcap"),)), sink=sink)
    helper.join()
    sink.close()
    assert report.retried >= 13
    assert report.status() == 0
    with sqlite3.connect(path) as database:
        assert database.execute("SELECT count(*) FROM events").fetchone() == (before + 13,)
    done = run(programs / "sqlite_sink.py", path, FIXTURES / "mixed.pcap", FIXTURES / "ntp.pcap")
    assert done.returncode == 0, done.stderr
    with sqlite3.connect(path) as database:
        assert database.execute("SELECT count(*) FROM events").fetchone() == (before + 13,)
    done = run(programs / "sqlite_sink.py", tmp_path, FIXTURES / "ntp.pcap")
    assert done.returncode in (1, 3)


def test_enrichment(programs: Path) -> None:
    """Every event says where its sender stands."""
    done = run(programs / "enrichment.py", FIXTURES / "mixed.pcap")
    assert done.returncode == 0, done.stderr
    lines = dict(line.split() for line in done.stdout.splitlines())
    assert len(lines) == 13
    assert lines["1"] == "berlin"
    assert lines["2"] == "lisbon"
    assert lines["6"] == "elsewhere"


@needs_netns
def test_a_live_run_inside_a_service(programs: Path) -> None:
    """It ends by itself once it has seen what it was to see."""
    with veth_pair() as veth:
        process = subprocess.Popen(
            [sys.executable, programs / "embedded.py", veth.name, "9514", "3"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=CLEAN,
        )  # fmt: skip
        try:
            output = _send_until_over(veth, process)
        finally:
            process.kill()
    assert process.returncode == 0, output[1]
    assert len(output[0].splitlines()) >= 3
    assert all(line.startswith("192.0.2.2 ") for line in output[0].splitlines())


def _send_until_over(veth: Veth, process: "subprocess.Popen[str]") -> tuple[str, str]:
    for _ in range(60):
        veth.send(9514, count=3)
        try:
            return process.communicate(timeout=1)
        except subprocess.TimeoutExpired:
            continue
    raise AssertionError("it does not end")


def test_a_live_run_without_an_interface(programs: Path) -> None:
    """A thread's error is the program's."""
    done = run(programs / "embedded.py", "no-such-if0", 1, 1)
    assert done.returncode in (2, 3)
    assert "no-such-if0" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_is_public_is_listed_documented_and_there() -> None:
    """`dir` lists it, the page's table has it, and each name can be had."""
    names = set(pcapeda.__all__) - {"__version__"}
    assert set(dir(pcapeda)) == names | {"__version__"}
    table = TEXT[TEXT.index("| what for |") : TEXT.index("## Count")]
    assert set(re.findall(r"`(\w+)`", table)) == names
    for name in names:
        assert getattr(pcapeda, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'MemorySnk'"):
        getattr(pcapeda, "MemorySnk")  # noqa: B009
