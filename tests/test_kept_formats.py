"""Files that versions before have written, kept as they were: later versions go on with them."""

import json
import shutil
from dataclasses import fields, replace
from pathlib import Path

import pytest

from pcapeda.aws.bus import Bus
from pcapeda.delivery.checkpoint import FORMAT, FORMAT_1, Checkpoint
from pcapeda.delivery.spool import EntryCount, Spool
from pcapeda.engine.build import spool_target
from pcapeda.engine.checkpoint_key import DECIDES, SUMS_UP, asked_of
from pcapeda.engine.job import Job
from pcapeda.engine.run import execute, resend
from pcapeda.errors import BadConfig
from pcapeda.events.shape import Shape
from pcapeda.sinks.memory import MemorySink
from tests.command import FIXTURES

KEPT = FIXTURES / "kept"
MIXED = (str(FIXTURES / "mixed.pcap"),)
V2_BUS = "arn:aws:events:us-east-1:123456789012:event-busv2/edge/abcdefghijklmnopqrstuvwxy"

JOBS = {
    "plain": (Job(captures=MIXED), 5),
    "all": (
        Job(
            captures=MIXED,
            filter="udp",
            ports=frozenset({514, 53, 123}),
            decapsulate=True,
            fragment_age_s=5.0,
            fragment_mib=8,
            shape=Shape(
                "full",
                source="it's",
                detail_type='a "b" \u00e9',
                resources=("arn:aws:x:1", "y"),
                text=True,
                json_payload=True,
                time="now",
            ),
            bus=Bus("edge", "eu-west-1", "prof", "http://127.0.0.1:1", 500_000),
        ),
        4,
    ),
    "v2": (Job(captures=MIXED, shape=Shape("minimal"), bus=Bus(V2_BUS, groups=7, raw=True)), 5),
    "group": (Job(captures=MIXED, group=2, group_wait_s=5.5), 5),
    "flow": (Job(captures=MIXED, aggregate_s=10.0, max_flows=9), 4),
}
"""Runs that the checkpoint kept from version 1 knows, and how many datagrams of each are delivered."""


@pytest.mark.parametrize("name", JOBS)
def test_a_checkpoint_of_version_1_still_knows_its_runs(name: str, tmp_path: Path) -> None:
    """What it has is not sent again, the rest is; then it is of the version that writes it, and forgets nothing."""
    path = tmp_path / "c"
    shutil.copy(KEPT / "checkpoint-1", path)
    job, delivered = JOBS[name]
    job = replace(job, checkpoint=str(path))
    first = execute(job, sink=MemorySink())
    assert first.unselected["delivered before"] == delivered
    assert first.sent + delivered + first.unselected["other ports"] == first.datagrams
    assert path.read_bytes().startswith(FORMAT)
    again = execute(job, sink=MemorySink())
    assert (again.sent, again.unselected["delivered before"]) == (0, first.sent + delivered)
    for other, (others_job, had) in JOBS.items():
        if other != name:
            assert (
                execute(replace(others_job, checkpoint=str(path)), sink=MemorySink()).unselected["delivered before"]
                == had
            )


def test_a_checkpoint_of_version_1_that_is_only_read_stays_as_it_is(tmp_path: Path) -> None:
    """Nothing is written before there is something to write."""
    shutil.copy(KEPT / "checkpoint-1", tmp_path / "c")
    Checkpoint(tmp_path / "c").close()
    assert (tmp_path / "c").read_bytes() == (KEPT / "checkpoint-1").read_bytes()
    assert (KEPT / "checkpoint-1").read_bytes().startswith(FORMAT_1)


def test_a_checkpoint_of_a_later_version_is_left_alone(tmp_path: Path) -> None:
    """It is refused in one sentence, and not a byte of it changes."""
    (tmp_path / "c").write_bytes(b"pcapeda checkpoint 3\nwhatever")
    with pytest.raises(BadConfig, match="another version"):
        Checkpoint(tmp_path / "c")
    assert (tmp_path / "c").read_bytes() == b"pcapeda checkpoint 3\nwhatever"


def test_the_text_of_a_run_is_what_it_was() -> None:
    """The key is made of this text: a change of it would void every checkpoint."""
    assert asked_of(Job(captures=MIXED)) == (
        '{"bus":{"endpoint_url":null,"groups":null,"name":null,"profile":null,"raw":false,"region":null},'
        '"decapsulate":false,"filter":null,"fragment_age_s":30.0,"fragment_mib":64,"ports":[],'
        '"shape":{"detail_type":"UdpPacket","json_payload":false,"name":"full","resources":[],"source":"udp.raw",'
        '"text":false,"time":"capture"},"version":2}'
    )
    told = json.loads(asked_of(JOBS["flow"][0]))
    assert told["summaries"] == {"kind": "flow", "hold_ns": 10_000_000_000, "max_flows": 9, "group": None}


DOES_NOT_DECIDE = {
    "Job": {
        "captures", "interfaces", "count", "rules", "parameters", "only_matching", "report_events_s", "spool",
        "spool_max_mib", "when_full", "spool_limited", "grace_s", "patience_s", "checkpoint", "speed", "pps",
        "max_sleep_s", "loop", "jobs", "duration_s", "write", "buffer_mib", "max_rate", "burst",
        "max_rate_per_source", "allow", "deny", "sample", "max_events", "max_cost", "price",
    },
    "Shape": {"file", "loop", "groups", "_detail", "file_text", "has_extras", "_fixed_size"},
    "Bus": {"max_request_bytes", "transport"},
}  # fmt: skip
"""Fields that change when or how fast, not what: a run goes on under another value of them. (The groups of a shape are
those of its bus.)"""


@pytest.mark.parametrize("cls", [Job, Shape, Bus])
def test_every_field_is_in_the_text_of_a_run_or_is_said_not_to_be(cls: type) -> None:
    """A new option that changes what is sent must be in the key: else a run under it would skip what it never sent."""
    named = {field.name for field in fields(cls)}
    decides = DECIDES[cls.__name__] | (SUMS_UP if cls is Job else set())
    assert named == decides | DOES_NOT_DECIDE[cls.__name__]
    assert not decides & DOES_NOT_DECIDE[cls.__name__]


def test_a_spool_of_version_2_is_read(tmp_path: Path) -> None:
    """Segments, done marks, dead letters, what limits kept back, and the bus: as the version that wrote them meant."""
    folder = tmp_path / "s"
    shutil.copytree(KEPT / "spool-2", folder)
    assert spool_target(str(folder)) == Bus("edge", "eu-west-1")
    with Spool(folder) as spool:
        assert (spool.load, spool.damages) == (EntryCount(6, 6), [])
        assert [kept.code for kept in spool.dead.take(9)] == ["MalformedDetail"]
        assert {kept.code for kept in spool.limited.take(9)} == {"rate limit per source"}
        assert len(spool.limited) == 5
    whole = MemorySink()
    execute(Job(captures=MIXED), sink=whole)
    sink = MemorySink()
    bus = Bus("edge", "eu-west-1")
    assert resend(str(folder), bus, sink=sink).sent == 6
    assert resend(str(folder), bus, aside="dead", sink=sink).sent == 1
    assert resend(str(folder), bus, aside="limited", sink=sink).sent == 5
    sent = {entry.id for entry in whole.entries}
    assert len(sink.entries) == 12
    assert {entry.id for entry in sink.entries} < sent
    (missing,) = sent - {entry.id for entry in sink.entries}  # the one that is marked as done
    assert missing in (KEPT / "spool-2" / "00000001.spool").read_bytes().decode("utf-8", "replace")


def test_a_spool_of_version_1_is_read(tmp_path: Path) -> None:
    """Its records had no weight: each entry stands for one datagram."""
    shutil.copytree(KEPT / "spool-1", tmp_path / "s")
    sink = MemorySink()
    report = resend(str(tmp_path / "s"), Bus(), sink=sink)
    assert (report.inherited, report.sent) == (3, 3)
    whole = MemorySink()
    execute(Job(captures=(str(FIXTURES / "dns.pcap"),)), sink=whole)
    assert [entry.id for entry in sink.entries] == [entry.id for entry in whole.entries[:3]]
    assert [entry.detail for entry in sink.entries] == [entry.detail for entry in whole.entries[:3]]
