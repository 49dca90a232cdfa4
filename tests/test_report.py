"""The report: it adds up or it says so, and it knows the exit code it stands for."""

import pickle
from collections import Counter

import pytest

from pcapeda.errors import ExitStatus, OutputClosed, SinkDown
from pcapeda.model import Damage, SkipReason
from pcapeda.report import Report


def full_report() -> Report:
    report = Report(frames=9, datagrams=4, fragments=3, used=2, held=1, reassembled=1, sent=4, first_ns=5, last_ns=9)
    report.skips[SkipReason.NOT_IP, "arp"] = 2
    report.unselected["other ports"] = 1
    return report


def test_each_law_is_checked() -> None:
    """One frame, one fragment or one event too many breaks the sum."""
    assert full_report().adds_up()
    for name in ("frames", "datagrams", "fragments", "used", "held", "reassembled", "sent", "spooled", "inherited"):
        report = full_report()
        setattr(report, name, getattr(report, name) + 1)
        assert not report.adds_up(), name
    for counts in ("refused", "dead", "unselected"):
        report = full_report()
        getattr(report, counts)["why"] += 1
        assert not report.adds_up(), counts


def test_merging_adds_and_keeps_the_law() -> None:
    """Two runs together count what each counted."""
    total, other = full_report(), full_report()
    other.first_ns, other.last_ns = 1, 7
    other.damages.append(Damage("a.pcap", 24, "cut"))
    other.remember("Throttled", "slow down")
    total.merge(other)
    assert total.adds_up()
    assert (total.frames, total.sent, total.skips[SkipReason.NOT_IP, "arp"]) == (18, 8, 4)
    assert (total.first_ns, total.last_ns) == (1, 9)
    assert len(total.damages) == 1
    assert total.messages == {"Throttled": "slow down"}


@pytest.mark.parametrize("times", [(None, None), (0, 0), (0, 9), (5, 9)])
def test_a_report_that_was_sent_is_the_same(times: tuple[int | None, int | None]) -> None:
    """Workers send theirs: what is zero is left out on the way, though not the first nanosecond of 1970."""
    report = full_report()
    report.first_ns, report.last_ns = times
    report.interrupted = True
    assert pickle.loads(pickle.dumps(report)) == report
    total = Report()
    total.merge(report)
    assert total == report


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({}, ExitStatus.OK),
        ({"damages": [Damage("a.pcap", 24, "cut")]}, ExitStatus.INCOMPLETE),
        ({"failures": ["eth0 went down"]}, ExitStatus.INCOMPLETE),
        ({"kernel_drops": 1}, ExitStatus.INCOMPLETE),
        ({"queue_drops": 1}, ExitStatus.INCOMPLETE),
        ({"bad_inputs": 1, "failures": ["no capture"]}, ExitStatus.USAGE),
        ({"interrupted": True, "kernel_drops": 1}, ExitStatus.INTERRUPTED),
        ({"ended_by": SinkDown("denied"), "interrupted": True}, ExitStatus.UNAVAILABLE),
        ({"ended_by": OutputClosed(), "kernel_drops": 1}, ExitStatus.OK),
    ],
)
def test_the_exit_code_follows_what_happened(change: dict[str, object], status: ExitStatus) -> None:
    """What a script learns from the exit code is the worst thing that happened."""
    report = full_report()
    for name, value in change.items():
        setattr(report, name, value)
    assert report.status() is status


def test_what_was_not_asked_for_is_no_loss() -> None:
    """Datagrams the person selected away do not make a run incomplete; refused ones do."""
    report = full_report()
    assert report.status() is ExitStatus.OK
    report.refused["oversize"] = 1
    assert report.status() is ExitStatus.INCOMPLETE


def test_what_is_kept_is_not_delivered() -> None:
    """A run that leaves events in the spool or among the dead letters is not complete."""
    for change in ({"spooled": 1, "events_spooled": 1}, {"dead": Counter({"MalformedDetail": 1})}):
        report = full_report()
        report.datagrams += 1
        report.frames += 1
        vars(report).update(change)
        assert report.adds_up()
        assert report.status() is ExitStatus.INCOMPLETE
