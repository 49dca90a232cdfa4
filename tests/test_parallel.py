"""Work shared out among processes gives the same events as one process, in the same order, and ends with it."""

import io
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event, Timer

import pytest

from pcapeda.aws.wire import EventLines, entry_lines
from pcapeda.engine import parallel
from pcapeda.engine.job import Job
from pcapeda.engine.run import execute
from pcapeda.engine.worker_processes import Workers
from pcapeda.errors import BadConfig, ExitStatus, WorkerLost
from pcapeda.events.shape import Shape
from pcapeda.model import Frame
from pcapeda.report import Report
from pcapeda.sinks.jsonl import JsonlSink
from pcapeda.sinks.memory import MemorySink
from tests.command import CLEAN, FIXTURES, PCAPEDA, pcapeda
from tests.frames import ethernet, udp4
from tests.reading import CAPTURES, SHARED
from tests.truth import write_pcap

PATHS = tuple(str(path) for path in (*CAPTURES, *SHARED))


def told(report: Report) -> dict[str, object]:
    """What a report counts, but for requests: one process writes other blocks than several."""
    return {name: value for name, value in vars(report).items() if name != "requests"}


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some ranges' worth of small datagrams."""
    path = tmp_path_factory.mktemp("decoders") / "large.pcap"
    packets = [ethernet(udp4(b"%d" % number, sport=1024 + number % 5000)) for number in range(20_000)]
    write_pcap(path, 1, packets)
    return path


@pytest.fixture(params=["by workers", "by the reader", "by whoever has time"])
def shared_out(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who does the work is a matter of time, and so each way is tested by itself."""
    if request.param == "by workers":
        monkeypatch.setattr(parallel, "MOST_HELD", 0)
    elif request.param == "by the reader":
        monkeypatch.setattr(parallel, "SLOTS", 0)


@pytest.mark.usefixtures("shared_out")
@pytest.mark.parametrize(
    "asked",
    [{}, {"decapsulate": True}, {"ports": frozenset({53, 514})}, {"filter": "udp port 53"}],
    ids=["plain", "decapsulate", "ports", "filter"],
)
def test_every_capture_gives_the_same_bytes(asked: dict[str, object]) -> None:
    """All fixtures and real captures, fragments and layers for Scapy among them: lines and counts are the same."""
    texts, reports = [], []
    for jobs in (1, 3):
        text = io.StringIO()
        job = Job(captures=PATHS, jobs=jobs, **asked)  # type: ignore[arg-type]
        reports.append(execute(job, sink=JsonlSink(text, EventLines(now_ns=0))))
        texts.append(text.getvalue())
    assert texts[0] == texts[1]
    assert texts[0].count("\n") == reports[0].events > 0
    assert told(reports[0]) == told(reports[1])
    assert reports[1].adds_up()


@pytest.mark.usefixtures("shared_out")
@pytest.mark.parametrize("shape", [Shape(), Shape("minimal"), Shape(resources=("arn:" + "x" * 2000,) * 3)])
def test_one_large_capture_gives_the_same_bytes(large: Path, shape: Shape) -> None:
    """Several ranges, whose lines may need more memory than a slot begins with."""
    texts = []
    for jobs in (1, 2):
        text = io.StringIO()
        report = execute(Job(captures=(str(large),), shape=shape, jobs=jobs, loop=2), sink=JsonlSink(text, entry_lines))
        assert (report.frames, report.sent) == (40_000, 40_000)
        texts.append(text.getvalue())
    assert texts[0] == texts[1]


@pytest.mark.parametrize("kind", ["datagrams", "fragments", "nothing"])
def test_what_the_reader_makes_ahead_is_bounded(kind: str) -> None:
    """While a worker does not answer, the reader holds what comes after its range, up to a limit; then it waits for it.

    Whatever becomes of the frames: also fragments and their data, and blocks of which nothing remains but a count.
    """
    datagram = ethernet(udp4(bytes(1400)))
    data = {
        "datagrams": datagram,
        "fragments": datagram[:20] + b"\x20" + datagram[21:],  # more fragments follow
        "nothing": datagram[:12] + b"\x08\x06" + datagram[14:],
    }[kind]
    block = [Frame(0, 1, data, len(data), None, number) for number in range(256)]
    text = io.StringIO()
    taken = []
    with Workers(1) as workers:
        some = parallel.ParallelDecoder(workers, parallel.WorkerSpec(render=EventLines()))
        some.give(block, Shape(), lambda piece, _: taken.append(piece), Report())
        some.take_all()  # it runs
        (worker,) = workers.all
        os.kill(worker.process.pid, signal.SIGSTOP)
        weight = 256 * (len(data) + parallel.FRAME_BYTES)
        given = 0
        while some._held < parallel.MOST_HELD:
            some.give(block, Shape(), lambda piece, _: text.write("."), Report())
            given += 1
        assert given <= parallel.SLOTS + parallel.MOST_HELD // weight + 2
        waker = Timer(0.1, os.kill, (worker.process.pid, signal.SIGCONT))
        waker.start()
        some.give(block, Shape(), lambda piece, _: text.write("."), Report())  # waits for the worker
        some.take_all()
        assert some._held == 0
    assert text.getvalue().count(".") >= given


@pytest.mark.usefixtures("shared_out")
def test_a_sink_that_takes_entries_gets_the_same(large: Path) -> None:
    """A bus gets every event, in order; only the datagrams they were made of stay where they were made."""
    alone, shared = MemorySink(), MemorySink()
    execute(Job(captures=(str(large), *PATHS)), sink=alone)
    report = execute(Job(captures=(str(large), *PATHS), jobs=2), sink=shared)
    assert [entry._replace(datagram=None) for entry in alone.entries] == [
        entry._replace(datagram=None) for entry in shared.entries
    ]
    assert report.adds_up()


def hooked(text: io.StringIO, hook: Callable[[], object]) -> JsonlSink:
    """A sink that calls `hook` each time when something was passed on to it."""

    class Hooked(JsonlSink):
        def pass_on(self, lines: memoryview) -> None:
            super().pass_on(lines)
            hook()

    return Hooked(text, EventLines())


def workers(of: int) -> list[int]:
    """The processes that work for this one."""
    children = map(int, Path(f"/proc/{of}/task/{of}/children").read_text().split())
    return [child for child in children if b"pcapeda.engine.parallel" in Path(f"/proc/{child}/cmdline").read_bytes()]


def test_a_worker_that_is_killed_is_said_and_the_rest_is_not_made_up(large: Path) -> None:
    """What came back by then is delivered, the run ends with one line and exit code 1."""
    text = io.StringIO()

    def kill() -> None:
        for worker in workers(os.getpid()):
            os.kill(worker, signal.SIGKILL)

    report = execute(Job(captures=(str(large),), jobs=2, loop=100), sink=hooked(text, kill))
    assert "worker process" in report.failures[0]
    assert report.status() == ExitStatus.INCOMPLETE
    assert report.adds_up()
    assert 0 < report.sent == text.getvalue().count("\n") < 2_000_000


def test_what_a_lost_worker_had_is_said() -> None:
    """Every packet is counted or said to be in no count: also those that were just being given."""
    data = ethernet(udp4(b"x"))
    block = [Frame(0, 1, data, len(data), None, number) for number in range(256)]
    counted = Report()
    with Workers(2) as both:
        some = parallel.ParallelDecoder(both, parallel.WorkerSpec(render=EventLines()))
        both.all[1].process.kill()
        both.all[1].process.wait()
        some.give(block, Shape(), lambda piece, _: None, counted)
        with pytest.raises(WorkerLost):
            some.give(block, Shape(), lambda piece, _: None, counted)
        assert some.drop() + counted.frames == 2 * len(block)
        assert some.drop() == 0


def test_workers_of_a_run_of_one_process_are_left_alone() -> None:
    """What several processes cannot honour is honoured by one."""
    text = io.StringIO()
    with Workers(1) as workers:
        job = Job(captures=(str(FIXTURES / "mixed.pcap"),), count=2)
        assert execute(job, sink=JsonlSink(text, EventLines()), workers=workers).sent == 2


def test_ctrl_c_is_for_the_reader_alone(large: Path) -> None:
    """A signal to the whole process group, while workers are still starting: not a word but the reader's own."""
    for _ in range(3):
        with subprocess.Popen(
            [*PCAPEDA, "replay", str(large), "-n", "--loop", "0", "--jobs", "3"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=CLEAN,
            process_group=0,
        ) as process:
            assert process.stderr is not None
            deadline = time.monotonic() + 20
            while not workers(process.pid):
                assert time.monotonic() < deadline
                os.sched_yield()
            os.killpg(process.pid, signal.SIGINT)
            said = process.stderr.read()
        assert b"Traceback" not in said
        assert b"KeyboardInterrupt" not in said


def test_a_stop_delivers_what_was_read(large: Path) -> None:
    """A run that is stopped takes back what it has handed out, and adds up."""
    stop = Event()
    text = io.StringIO()
    report = execute(Job(captures=(str(large),), jobs=2, loop=0), sink=hooked(text, stop.set), stop=stop)
    assert report.interrupted
    assert report.adds_up()
    assert 0 < report.sent == text.getvalue().count("\n")


def test_workers_end_with_the_program(large: Path) -> None:
    """A reader that is killed leaves no worker behind."""
    with subprocess.Popen(
        [*PCAPEDA, "replay", str(large), "-n", "-q", "--loop", "0", "--jobs", "3"], stdout=subprocess.PIPE, env=CLEAN
    ) as process:
        assert process.stdout is not None
        process.stdout.read(100)
        children = workers(process.pid)
        assert len(children) == 2
        process.kill()
    deadline = time.monotonic() + 20
    while any(_runs(child) for child in children):
        assert time.monotonic() < deadline
        os.sched_yield()


def _runs(process: int) -> bool:
    try:
        return " Z " not in Path(f"/proc/{process}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_closed_pipe_is_quiet_success(large: Path) -> None:
    """`| head` ends the run without a word of complaint."""
    script = f'{" ".join(PCAPEDA)} replay {large} -n -q --jobs 2 | head -n 3; exit "${{PIPESTATUS[0]}}"'
    done = subprocess.run(["bash", "-c", script], capture_output=True, env=CLEAN, timeout=60, check=False)
    assert (done.returncode, done.stderr, done.stdout.count(b"\n")) == (0, b"", 3)


@pytest.mark.parametrize(
    "options", [["--count", "3"], ["--max-events", "3"], ["--pps", "9"], ["--group", "3"], ["--deny", "10.0.0.0/8"]]
)
def test_what_decides_between_datagrams_is_refused(options: list[str]) -> None:
    """An option that cannot be honoured by many at once stops the run before it starts."""
    done = pcapeda("replay", FIXTURES / "mixed.pcap", "-n", "--jobs", "2", *options)
    assert done.returncode == 2
    assert options[0] in done.stderr.decode()
    assert done.stdout == b""


def test_only_captures_can_be_shared_out() -> None:
    """There is nothing to share of an interface, and no pretty view of it."""
    with pytest.raises(BadConfig):
        Job(interfaces=("lo",), jobs=2).check()
    done = pcapeda("replay", FIXTURES / "mixed.pcap", "-n", "-o", "pretty", "--jobs", "2")
    assert done.returncode == 2
