"""`pcapeda resend` and the spool's options, as a stranger meets them."""

from pathlib import Path

import pytest

from pcapeda.errors import BadConfig
from pcapeda.job import Bus, Job
from pcapeda.parts import spool_target
from pcapeda.pipeline import execute, resend
from pcapeda.sinks.memory import MemorySink
from pcapeda.sinks.spool import Spool
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
        (["replay", MIXED, "--when-full", "block"], "--spool DIR"),
        (["replay", MIXED, "--spool", "s", "--when-full", "panic"], "panic"),
        (["replay", MIXED, "--spool", "s", "--spool-max-mib", "1"], "8"),
        (["replay", MIXED, "-q", "--spool", "/proc/none"], "/proc/none"),
        (["replay", "-", "--checkpoint", "c"], "standard input"),
        (["resend", "no/such/spool"], "no such spool"),
        (["resend", FIXTURES, "--dead"], "no dead letters"),
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
