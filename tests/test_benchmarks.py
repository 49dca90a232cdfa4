"""The benchmarks compare like with like: made-up traffic, peers, bus and report are what they say they are."""

import collections
import json
import subprocess
import sys
import time
import urllib.request
from base64 import b64decode
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from benchmarks import bench, bus, jobs, putevents, replay, report, rules, traffic
from pcapeda.dissect.extractor import Extractor
from pcapeda.model import Datagram, Frame
from pcapeda.report import Report
from tests.command import ROOT
from tests.tshark import STATUS, needs_tshark

PACKETS = 1500


def python(*arguments: object, **environment: str) -> bytes:
    """Run Python on the repository's modules; its standard output."""
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        env=bench.ENVIRONMENT | environment,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bench.capture(tmp_path_factory.mktemp("bench"), PACKETS)


def events(lines: bytes) -> dict[int, dict[str, Any]]:
    """Events by the number of their frame."""
    found = [json.loads(line) for line in lines.splitlines()]
    return {event["detail"]["Capture"]["Frame"]: event for event in found}


@pytest.fixture(scope="module")
def ours(mixed: Path) -> dict[int, dict[str, Any]]:
    """What pcapeda makes of it, but for what came in fragments: at least one did."""
    found = events(python("-m", "pcapeda", "replay", mixed, "-n", "-o", "jsonl", "-q"))
    whole = {number: event for number, event in found.items() if event["detail"]["Length"] <= 1480}
    assert PACKETS * 0.6 < len(whole) < len(found)
    return whole


@pytest.mark.parametrize("kind", traffic.KINDS)
def test_the_same_seed_gives_the_same_traffic(kind: str) -> None:
    """Time and bytes of every packet, whatever kind; another seed gives others."""
    once = list(traffic.packets(300, kind=kind))
    assert once == list(traffic.packets(300, kind=kind))
    assert once != list(traffic.packets(300, kind=kind, seed=2))
    assert once[:100] == list(traffic.packets(100, kind=kind))


@pytest.mark.parametrize("form", traffic.WRITERS)
def test_processes_write_the_same_file(tmp_path: Path, form: str) -> None:
    """Nothing depends on the process: not on the order of its hashes, not on when it runs."""
    for number in ("1", "2"):
        options = ("--packets", 200, "--format", form)
        python("-m", "benchmarks.traffic", tmp_path / number, *options, PYTHONHASHSEED=number)
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


def test_the_traffic_is_mixed_as_promised() -> None:
    """A quarter TCP, a tenth IPv6, tags, fragments, bad and absent checksums, nothing larger than the network takes."""
    frames = list(islice(traffic.Network(7).frames(), 20_000))
    kinds = collections.Counter[str]()
    for frame in frames:
        at = 18 if frame[12:14] == b"\x81\0" else 14
        kinds["tagged"] += at == 18
        version = frame[at] >> 4 if frame[at - 2 : at] in (b"\x08\0", b"\x86\xdd") else 0
        kinds[f"ip{version}"] += 1
        kinds["tcp"] += frame[at + (9 if version == 4 else 6)] == 6
        assert 60 <= len(frame) <= at + traffic.MTU
    share = {kind: count / len(frames) for kind, count in kinds.items()}
    assert share["tcp"] == pytest.approx(0.25, abs=0.01)
    assert share["ip6"] == pytest.approx(0.10, abs=0.01)
    assert share["tagged"] == pytest.approx(0.03, abs=0.005)
    counts = Report()
    extractor = Extractor(counts)
    status = collections.Counter[str]()
    for number, data in enumerate(frames, 1):
        found = extractor.feed(Frame(0, 1, data, len(data), None, number))
        if isinstance(found, Datagram):
            status[found.checksum_status] += 1
    assert status["bad"] / status.total() == pytest.approx(traffic.BAD_SHARE, abs=0.004)
    assert status["absent"] / status.total() == pytest.approx(traffic.ABSENT_SHARE, abs=0.008)
    assert status.keys() == {"good", "bad", "absent"}
    assert counts.reassembled == counts.fragments / 2 > 10


@pytest.mark.parametrize("peer", ["dpkt", "scapy"])
def test_peers_write_the_same_events(mixed: Path, ours: dict[int, dict[str, Any]], peer: str) -> None:
    """Every member of every event, PacketId and checksum status among them."""
    pytest.importorskip(peer)
    assert events(python("-m", f"benchmarks.peers.{peer}_lines", mixed)) == ours


@needs_tshark
def test_tshark_is_asked_for_the_same(mixed: Path, ours: dict[int, dict[str, Any]]) -> None:
    """The columns of `-T fields` hold what the events say, and `-T ek` has as many packets."""
    result = bench.Result("", "", "")
    commands = replay.contenders(result)
    fields = subprocess.run(commands["tshark -T fields"](mixed), capture_output=True, text=True, check=True).stdout
    rows = [dict(zip(replay.FIELDS, line.split("\t"), strict=True)) for line in fields.splitlines()]
    found = {int(row["frame.number"]): row for row in rows if int(row["udp.length"]) <= 1480}
    assert found.keys() == ours.keys()
    for number, event in ours.items():
        row, detail = found[number], event["detail"]
        family = "ip" if detail["IpVersion"] == 4 else "ipv6"
        assert row[f"{family}.src"] == detail["Source"]["IpAddress"]
        assert row["udp.dstport"] == str(detail["Destination"]["Port"])
        assert row["udp.checksum"] == detail["Checksum"]
        assert STATUS[row["udp.checksum.status"]].replace("not_present", "absent") == detail["ChecksumStatus"]
        assert row["udp.payload"] == b64decode(detail["Payload"]).hex()
    lines = subprocess.run(commands["tshark -T ek"](mixed), capture_output=True, check=True).stdout.splitlines()
    assert len(lines) // 2 == len(rows)


def test_every_sender_delivers_all_it_is_asked_to(mixed: Path, tmp_path: Path) -> None:
    """pcapeda and the boto3 loops, one and ten a call: the bus has counted each entry once."""
    udp = bench.capture(tmp_path, 60, "udp")
    entries = tmp_path / "entries"
    entries.write_bytes(python("-m", "pcapeda", "replay", udp, "-n", "-o", "entries", "-q"))
    boto = [bench.PYTHON, "-m", "benchmarks.peers.boto_entries"]
    with bus.running() as server:
        assert putevents.send(server, lambda at, count: putevents.replay(at, count, udp), 60).server.requests == 6
        for size, requests in ((10, 4), (1, 35)):
            sent = putevents.send(server, lambda at, count, size=size: [*boto, at.url, entries, count, size], 35)
            assert sent.server.requests == requests
        with pytest.raises(bench.Failed, match="60 entries instead of 61"):
            putevents.send(server, lambda at, count: putevents.replay(at, count, udp), 61)


def test_the_bus_takes_its_time_if_asked_to() -> None:
    """Every answer comes after the delay, however many wait at once."""
    with bus.running(0.2) as server, ThreadPoolExecutor(8) as pool:
        began = time.monotonic()
        body = b'{"Entries":[{"DetailType":"a","Detail":"{\\"DetailType\\":1}"},{"DetailType": "b"}]}'
        for answer in pool.map(lambda _: post(server.url, body), range(8)):
            assert answer["FailedEntryCount"] == 0
            assert len(answer["Entries"]) == 2
        assert time.monotonic() - began >= 0.2
        assert server.counts()[:2] == (8, 16)
        assert server.counts()[:2] == (0, 0)


def post(url: str, body: bytes) -> Any:
    request = urllib.request.Request(url, body, {"X-Amz-Target": "AWSEvents.PutEvents"})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as answer:
        return json.loads(answer.read())


@pytest.mark.parametrize("peer", rules.PEERS)
def test_matchers_agree_on_what_they_match(mixed: Path, peer: str) -> None:
    """Each rule selects the same events by every matcher, and each kind of rule selects some."""
    pytest.importorskip({"moto": "moto.events", "ministack": "ministack.services.eventbridge"}[peer])
    pairs = rules.events_of(mixed.parent, 60)
    patterns = [json.dumps(rule) for rule in rules.mixed_rules(40)]
    selected = 0
    for text in patterns:
        here, there = rules.ours([text]), rules.PEERS[peer]([text])
        mine = [here(*pair) for pair in pairs]
        assert mine == [there(*pair) for pair in pairs], text
        selected += sum(mine) > 0
    assert selected >= 10
    everything, theirs = rules.ours(patterns), rules.PEERS[peer](patterns)
    assert [everything(*pair) for pair in pairs] == [theirs(*pair) for pair in pairs]


def test_who_fails_is_named_with_its_last_words() -> None:
    """A contender that does not come to its end stops the benchmark."""
    with pytest.raises(bench.Failed, match=r"ended with 3.*this is why"):
        bench.run([bench.PYTHON, "-c", "import sys; print('this is why', file=sys.stderr); sys.exit(3)"])


def test_contenders_take_turns() -> None:
    """Round by round, in an order that turns, so that no one is always first; ratios are taken within a round."""
    seen: list[str] = []
    given = bench.in_turn({name: lambda name=name: seen.append(name) or len(seen) for name in "ab"}, 3)
    assert seen == list("abbaab")
    assert given == {"a": [1, 4, 5], "b": [2, 3, 6]}
    assert bench.ratio([10, 40, 90], [10, 20, 30]) == 2


def test_jobs_are_compared_line_by_line(tmp_path: Path) -> None:
    """The same lines in the same order for each capture, however captures are interleaved; anything else differs."""
    lines = [b'{"Frame":%d,"File":"%s"}\n' % (number, name) for number in range(3) for name in (b"a", b"b")]
    told = []
    for order in (lines, lines[::2] + lines[1::2], lines[::-1], lines[:-1]):
        (tmp_path / "lines").write_bytes(b"".join(order))
        told.append(jobs.digests(tmp_path / "lines"))
    assert told[0] == told[1]
    assert told[0]["a"][0] == told[0]["b"][0] == 3
    assert told[2] != told[0] != told[3]
    jobs.same(tmp_path, [bench.capture(tmp_path, 400, seed=seed) for seed in (1, 2)], 2)


def test_a_trial_run_shows_its_table_and_keeps_nothing(tmp_path: Path) -> None:
    """`python -m benchmarks start` at a small scale: each row is there, and no file of the repository changes."""
    before = report.DOCUMENT.read_bytes()
    shown = python("-m", "benchmarks", "start", BENCH_SCALE="0.01", BENCH_ROUNDS="1", BENCH_DIR=str(tmp_path)).decode()
    for row in ("python -c pass", "pcapeda --help", "pcapeda replay of one packet"):
        assert f"\n| {row} " in shown
    assert "Python CPython" in shown or "Python PyPy" in shown
    assert report.DOCUMENT.read_bytes() == before


def test_stages_add_up_to_a_table(mixed: Path) -> None:
    """`make profile`: nanoseconds of every stage, and the rows of cProfile."""
    shown = python("-m", "benchmarks.stages", mixed, "--rounds", 1).decode()
    for stage in ("read", "decode", "shape into lines", "write", "all, to lines", "all, with entries, to nothing"):
        assert f"\n| {stage} " in shown
    assert "tottime" in python("-m", "benchmarks.stages", mixed, "--profile", 5).decode()


def test_the_page_says_what_was_measured() -> None:
    """docs/benchmarks.md is made of the results that are kept, to the letter."""
    assert report.DOCUMENT.read_text(encoding="utf-8") == report.report(report.kept())
