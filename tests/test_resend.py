"""`pcapeda resend` and the spool's options, as a stranger meets them."""

from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from pcapeda.aws.bus import Bus
from pcapeda.delivery.spool import Spool
from pcapeda.engine.build import spool_target
from pcapeda.engine.job import Job
from pcapeda.engine.run import execute, resend
from pcapeda.errors import BadConfig, ExitStatus
from pcapeda.sinks.memory import MemorySink
from tests.clock import FakeClock
from tests.command import FAKE_AWS, FIXTURES, pcapeda
from tests.put_events_server import PutEventsServer, Reply, put_events_server
from tests.test_cli import complaint
from tests.test_spool import entry

MIXED = FIXTURES / "mixed.pcap"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["replay", MIXED, "-n", "--spool", "s"], "dry run"),
        (["replay", MIXED, "-n", "--checkpoint", "c"], "dry run"),
        (["replay", MIXED, "--when-full", "block"], "give --spool too"),
        (["replay", MIXED, "--spool", "s", "--when-full", "panic"], "panic"),
        (["replay", MIXED, "--spool", "s", "--spool-max-mib", "1"], "8"),
        (["replay", MIXED, "-q", "--spool", "/proc/none"], "/proc/none"),
        (["replay", "-", "--checkpoint", "c"], "standard input"),
        (["resend", "no/such/spool"], "no such spool"),
        (["resend", FIXTURES, "--dead"], "no dead letters"),
        (["resend", FIXTURES, "--limited"], "nothing that limits refused"),
        (["resend", FIXTURES, "--limited", "--dead"], "give one of them"),
        (["replay", MIXED, "--spool-limited"], "give --spool too"),
        (["replay", MIXED, "--patience", "-1"], "--patience"),
        (["resend", FIXTURES, "--patience", "86401"], "--patience"),
        (["resend"], "DIR"),
    ],
)
def test_bad_usage_is_one_line_and_2(arguments: list[str | Path], words: str) -> None:
    """What cannot be honoured is said in one line before anything is read, sent or made."""
    done = pcapeda(*arguments, env=FAKE_AWS)
    assert done.returncode == 2, done.stderr
    assert words in complaint(done.stderr)
    assert done.stdout == b""


def test_a_spool_knows_its_bus(tmp_path: Path) -> None:
    """Events for one bus are not mixed with those for another, and resend goes where they were meant to go."""
    refusing = MemorySink(lambda entry: "InternalFailure")
    job = Job(captures=(str(MIXED),), bus=Bus("edge", "eu-west-1"), spool=str(tmp_path / "s"))
    clock = FakeClock()
    report = execute(job, sink=refusing, clock=clock, sleep=clock.sleep)
    assert report.spooled == report.datagrams + report.reassembled > 0
    assert spool_target(str(tmp_path / "s")) == Bus("edge", "eu-west-1")
    other = Job(captures=(str(MIXED),), bus=Bus("core"), spool=str(tmp_path / "s"))
    with pytest.raises(BadConfig, match="holds events for event bus edge"):
        execute(other, sink=MemorySink())
    sink = MemorySink()
    again = resend(str(tmp_path / "s"), Bus("edge", "eu-west-1"), sink=sink)
    assert (again.sent, len(sink.entries)) == (report.spooled, report.spooled)
    assert execute(other, sink=MemorySink()).status() == 0


@pytest.mark.parametrize("kind", [{}, {"group": 3}, {"aggregate_s": 60}])
@pytest.mark.parametrize("limit", [{"max_rate_per_source": 0.001}, {"max_events": 1}])
def test_what_limits_refuse_is_kept_if_asked(tmp_path: Path, kind: dict[str, Any], limit: dict[str, Any]) -> None:
    """It is neither refused nor sent until a person asks for it, and with a checkpoint it is not made again."""
    sink, clock = MemorySink(), FakeClock()
    job = Job(captures=(str(MIXED),), spool=str(tmp_path / "s"), checkpoint=str(tmp_path / "c"), **kind, **limit)
    report = execute(replace(job, spool_limited=True), sink=sink, clock=clock, sleep=clock.sleep)
    assert report.adds_up()
    assert (report.refused, report.spooled) == ({}, 0)
    assert (report.limited.total(), report.status()) == (report.datagrams - report.sent, ExitStatus.INCOMPLETE)
    assert report.limited.keys() == {"budget" if "max_events" in limit else "rate limit per source"}
    again = resend(str(tmp_path / "s"), Bus(), aside="limited", sink=sink)
    assert (again.inherited, again.sent, again.status()) == (report.limited.total(), again.inherited, ExitStatus.OK)
    rest = execute(Job(captures=(str(MIXED),), checkpoint=str(tmp_path / "c"), **kind), sink=sink)
    assert sum(entry.datagram_count for entry in sink.entries) == rest.datagrams
    assert rest.sent == 0 or "max_events" in limit, "a budget ends the reading"


def test_what_waited_for_the_rate_at_a_stop_is_spooled(tmp_path: Path) -> None:
    """Flows that a replay had not been allowed to send yet are not refused when there is a spool."""
    stop, clock, sink = Event(), FakeClock(), MemorySink()

    def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        if clock.slept and sum(clock.slept) > 3:
            stop.set()

    job = Job(captures=(str(MIXED),), aggregate_s=86_400, max_rate=1, spool=str(tmp_path / "s"))
    report = execute(job, sink=sink, clock=clock, sleep=sleep, stop=stop)
    assert report.adds_up()
    assert report.refused == {}
    assert report.spooled == report.datagrams - report.sent > 0
    assert resend(str(tmp_path / "s"), Bus(), sink=sink).sent == report.spooled


def test_resend_says_what_it_did_and_leaves_the_rest(tmp_path: Path) -> None:
    """The sum of the summary starts from the spool; dead letters are set apart, --dead tries them again."""
    with Spool(tmp_path / "s") as spool:
        spool.put([entry(number) for number in range(25)])

    def one_is_bad(request: dict) -> Reply:  # type: ignore[type-arg]
        results = [
            {"ErrorCode": "MalformedDetail", "ErrorMessage": "no"} if '"N": 7,' in one["Detail"] else {"EventId": "e"}
            for one in request["Entries"]
        ]
        return Reply(200, {"FailedEntryCount": 0, "Entries": results})

    with put_events_server() as server:

        def run(*options: str) -> tuple[int, str]:
            done = pcapeda("resend", tmp_path / "s", "--endpoint-url", server.url, *options, env=FAKE_AWS)
            return done.returncode, done.stderr.decode()

        fix: PutEventsServer = server
        healthy, fix.put_events = fix.put_events, one_is_bad
        status, talk = run()
        assert status == 1
        assert "25 from the spool = 24 delivered + 1 dead letters" in talk
        assert "1 MalformedDetail: no" in talk
        status, talk = run("--dead")
        assert status == 1
        assert "1 from the spool = 0 delivered + 1 spooled" in talk
        fix.put_events = healthy
        status, talk = run("--dead", "-q")
        assert (status, talk) == (0, "")
        status, talk = run()
        assert status == 0
