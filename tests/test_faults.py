"""The fault matrix: whatever the endpoint, the process or the disk does, every datagram is accounted for.

Each run is real: a capture, HTTP to a server in a process of its own, a spool on disk. What counts as truth is what
that server took, and what can be read back from the spool.
"""

import random
import signal
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pcapeda.aws.bus import Bus
from pcapeda.aws.responses import Transport
from pcapeda.delivery.spool import MARK, Spool
from pcapeda.engine.job import Job
from pcapeda.engine.run import execute, resend
from pcapeda.errors import ExitStatus
from pcapeda.report import Report
from pcapeda.sinks.eventbridge import CONCURRENCY
from pcapeda.sinks.memory import MemorySink
from tests.command import FAKE_AWS, pcapeda, start
from tests.frames import ethernet, udp4
from tests.misbehaving import FAULTS, Misbehaving, ids_of, misbehaving
from tests.netns import needs_netns, veth_pair
from tests.put_events_server import put_events_server
from tests.test_cli import read_until

DATAGRAMS, SOURCES = 2000, 7
IN_FLIGHT = CONCURRENCY["fast"] * 10
"""Entries in the requests that one process has under way at most."""


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A capture of thousands of datagrams, no two alike."""
    path = tmp_path_factory.mktemp("faults") / "many.pcap"
    with path.open("wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        for number in range(DATAGRAMS):
            source = f"198.51.100.{number % SOURCES}"
            data = ethernet(udp4(b"datagram %d" % number, source=source))
            file.write(struct.pack("<IIII", 1_700_000_000 + number, 0, len(data), len(data)) + data)
    return path


@pytest.fixture(scope="module")
def everything(capture: Path) -> set[str]:
    """The PacketIds of all its datagrams."""
    sink = MemorySink()
    execute(Job(captures=(str(capture),)), sink=sink)
    ids = {entry.id for entry in sink.entries}
    assert len(ids) == DATAGRAMS
    return ids


KINDS: dict[str, dict[str, Any]] = {
    "packets": {},
    "groups": {"group": 2, "group_wait_s": 30},
    "flows": {"aggregate_s": 10},
}
"""What a run may make of datagrams."""


def job_of(capture: Path, kind: str, **others: Any) -> Job:
    return Job(captures=(str(capture),), **KINDS[kind], **others)


def ids_in(capture: Path, kind: str) -> set[str]:
    """What arrives of a capture if nothing goes wrong, by `ids_of`."""
    sink = MemorySink()
    execute(job_of(capture, kind), sink=sink)
    return {one for entry in sink.entries for one in ids_of(entry.detail)}


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (FAKE_AWS | {"NO_PROXY": "*", "AWS_EC2_METADATA_DISABLED": "true"}).items():
        monkeypatch.setenv(name, value)


def in_spool(folder: Path) -> set[str]:
    if not folder.is_dir():
        return set()
    with Spool(folder) as spool:
        return {one for kept in spool.take(1_000_000) for one in ids_of(kept.entry.detail)}


def check(server: Misbehaving, report: Report, spool: Path, everything: set[str]) -> dict[str, int]:
    """Nothing lost, nothing invented, nothing twice but where an answer was lost."""
    told = server.told()
    waiting, dead = in_spool(spool), in_spool(spool / "dead")
    accepted = set(told["accepted"])
    assert accepted <= everything
    assert accepted | waiting | dead == everything
    assert dead & accepted <= set(told["unanswered"])
    for one, times in told["accepted"].items():
        assert times <= 1 + told["unanswered"].get(one, 0), "sent again although it was acknowledged"
    twice = sum(told["accepted"].values()) - len(accepted)
    assert twice <= report.maybe_twice
    assert waiting & accepted <= set(told["unanswered"])
    assert report.adds_up()
    assert (report.spooled, report.dead.total()) == (len(waiting), len(dead))
    assert report.requests >= told["requests"]
    return {"accepted": len(accepted), "twice": twice, "spooled": len(waiting), "requests": told["requests"]}


@pytest.mark.parametrize(
    ("fault", "transport"),
    [*((fault, "fast") for fault in FAULTS), *((fault, "boto3") for fault in ("partial", "reset-after", "everything"))],
)
def test_every_datagram_is_accounted_for(
    fault: str, transport: Transport, capture: Path, everything: set[str], tmp_path: Path
) -> None:
    """Accepted at least once, in the spool, or a dead letter; in a bounded number of requests; resend does the rest."""
    spool = tmp_path / "spool"
    with misbehaving(fault) as server:
        bus = Bus(endpoint_url=server.url, transport=transport)
        report = execute(Job(captures=(str(capture),), bus=bus, spool=str(spool)))
        figures = check(server, report, spool, everything)
        needed = DATAGRAMS // 10
        most = {"none": needed, "slow": needed, "final": needed, "outage": needed + 60, "dead": 60}
        assert figures["requests"] <= most.get(fault, 4 * needed)
        if fault in ("none", "slow", "outage"):
            assert (report.sent, figures["twice"], report.status()) == (DATAGRAMS, 0, ExitStatus.OK)
        if fault == "final":
            assert report.dead.keys() == {"MalformedDetail"}
            assert report.sent + report.dead.total() == DATAGRAMS
        server.behave()
        if report.spooled:
            again = resend(str(spool), bus)
            assert (again.inherited, again.sent, again.spooled) == (report.spooled, report.spooled, 0)
            assert again.status() is ExitStatus.OK
        if report.dead:
            again = resend(str(spool), bus, aside="dead")
            assert (again.sent, again.spooled) == (report.dead.total(), 0)
        assert set(server.told()["accepted"]) == everything
        assert not in_spool(spool)


@pytest.mark.parametrize("kind", ["groups", "flows"])
def test_summaries_and_reports_are_accounted_for(kind: str, capture: Path, tmp_path: Path) -> None:
    """The same for events that stand for many datagrams, or for none, with spool and checkpoint."""
    everything, spool = ids_in(capture, kind), tmp_path / "spool"
    with misbehaving("everything") as server:
        bus = Bus(endpoint_url=server.url)
        job = job_of(capture, kind, bus=bus, spool=str(spool), checkpoint=str(tmp_path / "c"), report_events_s=1)
        report = execute(job)
        told, waiting, dead = server.told(), in_spool(spool), in_spool(spool / "dead")
        arrived = set(told["accepted"]) | waiting | dead
        assert everything <= arrived
        assert 1 <= len(arrived - everything) <= 30, "one report a second, and one at the end"
        assert report.adds_up()
        assert report.sent + report.spooled + report.dead.total() == DATAGRAMS
        for one, times in told["accepted"].items():
            assert times <= 1 + told["unanswered"].get(one, 0)
        server.behave()
        for aside in (None, "dead"):
            if in_spool(spool / (aside or ".")):
                again = resend(str(spool), bus, aside=aside)
                assert (again.sent, again.events, again.lost) == (again.inherited, again.events_inherited, False)
        assert set(server.told()["accepted"]) == arrived
        before = server.told()["requests"]
        assert execute(replace(job, report_events_s=None)).unselected == {"delivered before": DATAGRAMS}
        assert server.told()["requests"] == before


@pytest.mark.parametrize(("seed", "transport"), [(0, "fast"), (1, "fast"), (2, "fast"), (1, "boto3")])
def test_a_harsh_mix_loses_nothing_without_a_spool(
    seed: int, transport: Transport, capture: Path, everything: set[str], tmp_path: Path
) -> None:
    """Throttled, failed, reset, lost, all at once, and an outage of three seconds: what is left of requests travels
    together, so that all is delivered soon and in a bounded number of requests."""
    with misbehaving(f"harsh:{seed}") as server:
        report = execute(Job(captures=(str(capture),), bus=Bus(endpoint_url=server.url, transport=transport)))
        figures = check(server, report, tmp_path / "none", everything)
    assert (report.sent, report.refused, report.status()) == (DATAGRAMS, {}, ExitStatus.OK)
    assert figures["requests"] <= 3 * DATAGRAMS // 10


def test_a_request_that_is_too_large_is_halved(capture: Path, everything: set[str], tmp_path: Path) -> None:
    """Somebody on the way takes less than the service: everything arrives once, in smaller requests, at once."""
    with misbehaving("large:2500") as server:
        report = execute(Job(captures=(str(capture),), bus=Bus(endpoint_url=server.url)))
        figures = check(server, report, tmp_path / "none", everything)
        assert (report.sent, report.retried, figures["twice"]) == (DATAGRAMS, 0, 0)
        assert report.status() == ExitStatus.OK
        assert DATAGRAMS // 10 < figures["requests"] <= DATAGRAMS // 10 * 7
        server.behave("large:100")
        report = execute(Job(captures=(str(capture),), count=20, bus=Bus(endpoint_url=server.url)))
        assert (report.sent, report.refused, report.requests) == (0, {"413": 20}, 2 * 19)


def test_a_dead_endpoint_is_hardly_asked_and_the_spool_has_it_all(
    capture: Path, everything: set[str], tmp_path: Path
) -> None:
    """From the first request on nobody answers: everything is kept, in few requests."""
    with misbehaving("dead") as server:
        job = Job(captures=(str(capture),), bus=Bus(endpoint_url=server.url), spool=str(tmp_path / "spool"))
        stop = threading.Event()
        threading.Timer(2.0, stop.set).start()
        figures = check(server, execute(job, stop=stop), tmp_path / "spool", everything)
        assert (figures["accepted"], figures["spooled"]) == (0, DATAGRAMS)
        assert figures["requests"] <= 40


def poll(condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
    """Wait until it is so; fail when it is not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not in {seconds} s"
        time.sleep(0.01)


@pytest.mark.parametrize("kind", KINDS)
def test_a_replay_that_is_killed_again_and_again_goes_on_where_it_was(kind: str, capture: Path, tmp_path: Path) -> None:
    """kill -9 at random moments: with --checkpoint all is delivered, and only what was in flight is sent twice."""
    random.seed(3)
    options = [f"--{name.removesuffix('_s').replace('_', '-')}={value}" for name, value in KINDS[kind].items()]
    # More than are in flight, so that each run gets on, and few enough for two runs that do not come to the end.
    requests = {"packets": (60, 110), "groups": (50, 60), "flows": (55, 75)}
    everything = ids_in(capture, kind)
    checkpoint = tmp_path / "checkpoint"
    kills = 0
    with misbehaving("slow") as server:
        while True:
            before = server.told()["requests"]
            arguments = ("replay", capture, "--endpoint-url", server.url, "--checkpoint", checkpoint, "-q", *options)
            with start(*arguments, env=FAKE_AWS) as process:
                goal = before + random.randrange(*requests[kind])
                poll(lambda: process.poll() is not None or server.told()["requests"] >= goal, "requests")  # noqa: B023
                kills += process.poll() is None
                process.kill()
            assert kills < 50, "it does not get on"
            if process.returncode == 0:
                break
        told = server.told()
        assert kills >= 2
        assert set(told["accepted"]) == everything
        assert sum(told["accepted"].values()) - len(everything) <= kills * IN_FLIGHT * (2 if kind == "groups" else 1)
        moved = capture.rename(capture.with_name("renamed.pcap"))
        try:
            arguments = ("replay", moved, "--endpoint-url", server.url, "--checkpoint", checkpoint, *options)
            done = pcapeda(*arguments, env=FAKE_AWS)
        finally:
            moved.rename(capture)
        assert done.returncode == 0
        assert f"{DATAGRAMS:,} delivered before" in done.stderr.decode()
        assert server.told()["requests"] == told["requests"]


def test_an_interrupted_replay_spools_within_its_grace(capture: Path, everything: set[str], tmp_path: Path) -> None:
    """SIGTERM during an outage: the run ends within --grace, all that was read is in the spool, the rest is resumed."""
    spool, checkpoint = tmp_path / "spool", tmp_path / "checkpoint"
    with misbehaving("throttling") as server:
        options = ("--endpoint-url", server.url, "--spool", spool, "--checkpoint", checkpoint, "--grace", "0.5")
        with start("replay", capture, "--pps", "600", *options, env=FAKE_AWS) as process:
            poll(lambda: len(server.told()["accepted"]) > 100, "first events")
            server.behave("dead")
            poll(lambda: any(spool.glob("*.spool")), "a spool")
            process.send_signal(signal.SIGTERM)
            _, talk = process.communicate(timeout=30)
        assert process.returncode == 130, talk
        assert b"Traceback" not in talk
        waiting = in_spool(spool)
        assert f"{len(waiting):,} spooled" in talk.decode()
        assert "pcapeda resend" in talk.decode()
        server.behave()
        done = pcapeda("resend", spool, env=FAKE_AWS)  # the spool knows its bus
        assert done.returncode == 0, done.stderr
        assert f"{len(waiting):,} from the spool = {len(waiting):,} delivered" in done.stderr.decode()
        done = pcapeda("replay", capture, *options, env=FAKE_AWS)
        assert done.returncode == 0, done.stderr
        assert set(server.told()["accepted"]) == everything


def test_a_second_interrupt_ends_a_run_that_waits(capture: Path) -> None:
    """The first one waits for an answer that does not come, and says so; the second one ends the program at once."""
    answer = threading.Event()
    with put_events_server() as bus:
        bus.put_events = lambda request: answer.wait(60) and None
        with start("replay", capture, "--endpoint-url", bus.url, "--grace", "50", env=FAKE_AWS) as process:
            poll(lambda: bool(bus.requests), "a request")
            process.send_signal(signal.SIGINT)
            assert process.stderr is not None
            read_until(process.stderr.fileno(), b"for 50 s at most; a second Ctrl-C")
            process.send_signal(signal.SIGINT)
            _, talk = process.communicate(timeout=20)
        answer.set()
    assert process.returncode == 130
    assert b"stopped at once" in talk


def test_resend_can_be_killed_and_interrupted(capture: Path, everything: set[str], tmp_path: Path) -> None:
    """Whatever ends it, nothing is lost and only what was in flight is sent twice; no two can drain one spool."""
    spool = tmp_path / "spool"
    sink = MemorySink()
    execute(Job(captures=(str(capture),)), sink=sink)
    with Spool(spool) as kept:
        kept.put(sink.entries)
    with misbehaving("slow") as server:
        for number in (signal.SIGKILL, signal.SIGINT, signal.SIGKILL):
            goal = server.told()["requests"] + 20
            with start("resend", spool, "--endpoint-url", server.url, env=FAKE_AWS) as process:
                poll(lambda: server.told()["requests"] >= goal, "requests")  # noqa: B023
                if number == signal.SIGINT:
                    process.send_signal(signal.SIGSTOP)  # so that it is not done before the other one has looked
                    other = pcapeda("resend", spool, "--endpoint-url", server.url, env=FAKE_AWS)
                    process.send_signal(signal.SIGCONT)
                    assert other.returncode == 3
                    assert b"another process uses it" in other.stderr
                process.send_signal(number)
                process.communicate(timeout=30)
            assert process.returncode == (-9 if number == signal.SIGKILL else 130)
        done = pcapeda("resend", spool, "--endpoint-url", server.url, env=FAKE_AWS)
        assert done.returncode == 0, done.stderr
        told = server.told()
        assert set(told["accepted"]) == everything
        assert sum(told["accepted"].values()) - DATAGRAMS <= 2 * IN_FLIGHT
        assert not in_spool(spool)


def kept_on_disk(spool: Path) -> int:
    """Datagrams that the records in the segments stand for, whoever has the spool open."""
    records = (one for path in spool.glob("*.spool") for one in path.read_bytes().split(MARK)[1:])
    return sum(int.from_bytes(record[4:8], "little") for record in records)


@needs_netns
def test_sniff_keeps_what_came_in_an_outage_survives_kill_and_drains_by_itself(tmp_path: Path) -> None:
    """Two outages that end in kill -9 once all is on disk, then a healthy bus: everything sent is delivered once.

    In the second of them, and after it, datagrams come in groups.
    """
    spool = tmp_path / "spool"
    with veth_pair() as veth, misbehaving("dead") as server:
        options = ("-i", veth.name, "--port", "5514", "--max-rate", "0", "--spool", spool, "--endpoint-url", server.url)
        sent = kept = 0
        for round_ in range(3):
            if round_ == 2:
                server.behave()
            grouped = ("--group", "7", "--group-wait", "0.2") if round_ else ()
            with start("sniff", *options, *grouped, env=FAKE_AWS) as process:
                assert process.stderr is not None
                read_until(process.stderr.fileno(), b"listening on ")
                sent += len(veth.send(5514, 300))
                if round_ < 2:
                    poll(lambda: kept_on_disk(spool) == sent, "all on disk")  # noqa: B023
                    process.kill()
                    kept = sent
                    continue
                poll(lambda: len(server.told()["accepted"]) == sent, "drained")  # noqa: B023
                veth.send(5514, 50)
                poll(lambda: len(server.told()["accepted"]) == sent + 50, "new traffic")  # noqa: B023
                process.send_signal(signal.SIGINT)
                _, talk = process.communicate(timeout=30)
        assert process.returncode == 130
        assert f"{kept:,} from the spool" in talk.decode()
        told = server.told()
        assert sum(told["accepted"].values()) == sent + 50
        assert not in_spool(spool)
