"""The command line against a local bus of EventBridge v2: once, in order, whole, and honest about the price."""

import base64
import json
import re
import struct
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pcapeda.engine.build import rate_in_force
from pcapeda.engine.run import Bus, Job
from tests.bus_v2 import ARN, WRONG_ARN, BusV2, bus_v2
from tests.command import FAKE_AWS, FIXTURES, pcapeda
from tests.frames import ethernet, udp4

FLOWS, EACH = 25, 8


@pytest.fixture
def bus() -> Iterator[BusV2]:
    with bus_v2() as bus:
        yield bus


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty-five flows, one after the other by turns, each datagram with the number of its flow and its own."""
    path = tmp_path_factory.mktemp("v2") / "flows.pcap"
    with path.open("wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        for number in range(FLOWS * EACH):
            payload = b"%d %d" % (number % FLOWS, number // FLOWS)
            data = ethernet(udp4(payload, sport=40_000 + number % FLOWS))
            file.write(struct.pack("<IIII", 1_700_000_000 + number, 0, len(data), len(data)) + data)
    return path


def run(command: str, *arguments: object, bus: BusV2 | None = None, arn: str = ARN) -> tuple[int, str]:
    where = [] if bus is None else ["--bus", arn, "--endpoint-url", bus.url]
    done = pcapeda(command, *map(str, arguments), *where, env=FAKE_AWS, timeout=120)
    assert b"Traceback" not in done.stderr
    return done.returncode, done.stderr.decode()


def payload(entry: dict[str, Any]) -> bytes:
    return base64.b64decode(entry["Data"] if "Data" in entry else json.loads(entry["Detail"])["Payload"])


def order(published: list[dict[str, Any]]) -> dict[int, list[int]]:
    """By flow, the numbers of its datagrams in the order in which they were published."""
    flows: dict[int, list[int]] = defaultdict(list)
    for entry in published:
        flow, number = map(int, payload(entry).split())
        flows[flow].append(number)
    return flows


IN_ORDER = {flow: list(range(EACH)) for flow in range(FLOWS)}


def test_a_replay_that_is_run_twice_is_published_once(bus: BusV2, capture: Path) -> None:
    """The second run is delivered as well, and says that the bus had it all; in batches of a hundred."""
    for known in (0, FLOWS * EACH):
        status, talk = run("replay", capture, bus=bus)
        assert status == 0
        assert f"{FLOWS * EACH:,} delivered + 0 refused" in talk
        assert (f"known      {known:,} events of these the bus had already" in talk) == bool(known)
    told = bus.told()
    assert (len(told["published"]), told["requests"]) == (FLOWS * EACH, 2 * FLOWS * EACH // 100)


def test_what_is_sent_again_after_a_lost_answer_is_published_once(bus: BusV2, capture: Path) -> None:
    """Every third answer is lost after the events were taken: all is delivered, nothing twice."""
    bus.behave("reset-after")
    status, talk = run("replay", capture, bus=bus)
    told = bus.told()
    assert status == 0
    assert told["unanswered"] > 0
    assert told["deduplicated"] == told["unanswered"]
    assert {flow: sorted(numbers) for flow, numbers in order(told["published"]).items()} == IN_ORDER
    assert "but for those that the bus knew again" in talk


@pytest.mark.parametrize("fault", ["none", "groups", "partial", "reset-after", "account"])
def test_each_flow_is_published_in_order(fault: str, bus: BusV2, capture: Path) -> None:
    """--ordered, whatever entries or requests are throttled, fail, or get no answer; no group is in flight twice."""
    bus.behave(fault)
    status, _ = run("replay", capture, "--ordered", bus=bus)
    told = bus.told()
    assert status == 0
    assert order(told["published"]) == IN_ORDER
    groups = {entry["SystemMetadata"]["EventGroupId"] for entry in told["published"]}
    assert 1 < len(groups) <= FLOWS
    assert all(re.fullmatch("flows-([0-9]|[1-5][0-9]|6[0-3])", group) for group in groups)


def test_workers_keep_the_order(bus: BusV2, capture: Path) -> None:
    """--jobs shares out the decoding; groups travel with the events, and bytes are the same."""
    assert run("replay", capture, "--ordered", "--raw", "--jobs", 2, bus=bus)[0] == 0
    assert order(bus.told()["published"]) == IN_ORDER
    dry = ("replay", capture, "-n", "--bus", ARN, "--raw", "-o", "jsonl")
    assert pcapeda(*dry).stdout == pcapeda(*dry, "--jobs", "2").stdout != b""


def test_the_number_of_groups_can_be_chosen(bus: BusV2, capture: Path) -> None:
    """--groups 2: two, and each flow in one of them."""
    assert run("replay", capture, "--ordered", "--groups", 2, bus=bus)[0] == 0
    published = bus.told()["published"]
    by_flow = defaultdict(set)
    for entry in published:
        by_flow[payload(entry).split()[0]].add(entry["SystemMetadata"]["EventGroupId"])
    assert {group for groups in by_flow.values() for group in groups} == {"flows-0", "flows-1"}
    assert all(len(groups) == 1 for groups in by_flow.values())


def test_raw_bytes_arrive_whole_and_once(bus: BusV2) -> None:
    """--raw: payloads to the byte, and metadata that say which is which; run twice, published once."""
    for _ in range(2):
        assert run("replay", FIXTURES / "mixed.pcap", "--raw", bus=bus)[0] == 0
    done = pcapeda("replay", FIXTURES / "mixed.pcap", "-n")
    details = [json.loads(line)["detail"] for line in done.stdout.splitlines()]
    published = bus.told()["published"]
    assert [payload(entry) for entry in published] == [base64.b64decode(detail["Payload"]) for detail in details]
    assert [entry["Metadata"]["PacketId"] for entry in published] == [detail["PacketId"] for detail in details]
    assert {entry["SystemMetadata"]["ContentType"] for entry in published} == {"application/octet-stream"}


def test_what_waited_in_a_spool_goes_as_it_was_meant(bus: BusV2, capture: Path, tmp_path: Path) -> None:
    """The spool remembers bus, order and form; resend needs to be told nothing and keeps the order of each flow."""
    spool = tmp_path / "spool"
    bus.behave("denied")
    status, talk = run("replay", capture, "--ordered", "--raw", "--spool", spool, bus=bus, arn=ARN)
    assert status == 3
    (waiting,) = map(int, re.findall("([0-9,]+) events in the spool", talk))
    assert waiting >= 100
    status, talk = run("replay", capture, "--spool", spool, bus=bus)
    assert (status, "holds events for" in talk, "ordered in 64 groups, raw" in talk) == (2, True, True)
    bus.behave()
    status, talk = run("resend", spool)
    told = bus.told()
    assert (status, f"{waiting} delivered" in talk) == (0, True)
    assert len(told["published"]) == waiting
    assert all(numbers == list(range(len(numbers))) for numbers in order(told["published"]).values())
    assert all("Data" in entry for entry in told["published"])


def test_summaries_and_reports_are_known_again_too(bus: BusV2, capture: Path) -> None:
    """UdpFlow events of a capture are the same on every run; a report that is denied is accounted for."""
    for _ in range(2):
        assert run("replay", capture, "--aggregate", 60, "--ordered", bus=bus)[0] == 0
    told = bus.told()
    assert told["deduplicated"] == len(told["published"]) > 0
    assert {entry["DetailType"] for entry in told["published"]} == {"UdpFlow"}
    bus.behave("no-reports")
    status, talk = run("replay", capture, "--report-events", 60, bus=bus)
    assert f"{FLOWS * EACH} delivered" in talk
    assert "1 report on the run not delivered" in talk
    assert status in (1, 3)  # 3 if no other request was answered after the one that was denied


def test_the_price_is_not_made_up(bus: BusV2) -> None:
    """Without --price no amount is named and --max-cost is refused; with it, KB are counted and the budget holds."""
    capture = FIXTURES / "mixed.pcap"
    status, talk = run("replay", capture, bus=bus)
    assert status == 0
    assert "USD" not in talk.replace("--price USD", "")
    assert "13 KB billed, at a price that is not known here" in talk
    status, talk = run("replay", capture, "--max-cost", 1, bus=bus)
    assert (status, "--max-cost needs a price" in talk) == (2, True)
    status, talk = run("replay", capture, "--max-cost", "0.000004", "--price", 1, bus=bus)
    assert (status, "4 delivered + 1 refused" in talk, "4 KB billed: about 0.000004 USD" in talk) == (1, True, True)
    assert run("replay", capture, "--report-events", 60, bus=bus)[0] == 0
    assert "RunUsd" not in bus.told()["published"][-1]["Detail"]


def test_what_sniff_may_send_is_told_without_an_amount() -> None:
    """The first words on such a bus: the rates, and that the price is not known; with --price what a day may cost."""
    live = Job(interfaces=("lo",), bus=Bus(name=ARN))
    assert "of one source 10 (burst 50); what a KB costs on a bus of EventBridge v2 is not known" in rate_in_force(live)
    assert "4.32 USD a day at most while events stay below 1 KB" in rate_in_force(replace(live, price=1.0))
    free = replace(live, max_rate=0.0)
    assert rate_in_force(free).startswith("no rate limit; what a KB costs")
    assert "10,000 events/s of 1 KB would cost 864.00 USD a day" in rate_in_force(replace(free, price=1.0))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--bus", "edge", "--ordered"], "for buses of EventBridge v2"),
        (["--bus", "edge", "--raw"], "for buses of EventBridge v2"),
        (["--raw", "-n"], "for buses of EventBridge v2"),
        (["--bus", ARN, "--groups", "8"], "give --ordered too"),
        (["--bus", ARN, "--raw", "--aggregate", "1"], "single datagrams"),
        (["--bus", ARN, "--raw", "--group", "2"], "single datagrams"),
        (["--bus", ARN, "--raw", "--report-events", "1"], "single datagrams"),
        (["--bus", ARN, "--raw", "--text"], "--text"),
        (["--bus", ARN, "--raw", "--shape", "proxylity"], "proxylity"),
        (["--bus", ARN + "x"], "not the ARN of a bus of EventBridge v2"),
        (["--bus", ARN, "--region", "eu-west-1"], "contradicts"),
    ],
)
def test_what_cannot_be_honoured_is_refused(arguments: list[str], words: str) -> None:
    """One line before anything is read, exit code 2."""
    status, talk = run("replay", FIXTURES / "mixed.pcap", *arguments)
    assert status == 2
    assert words in talk.splitlines()[0]


def test_a_bus_that_is_not_there_is_found_before_anything_is_sent(bus: BusV2) -> None:
    """Exit code 3, with the service's words."""
    status, talk = run("replay", FIXTURES / "mixed.pcap", bus=bus, arn=WRONG_ARN)
    assert (status, "no event bus none" in talk) == (3, True)
    assert run("resend", "/nonexistent", "--raw")[0] == 2


def test_a_dry_run_shows_what_would_be_sent() -> None:
    """-o entries prints the members of Entries, in the form of the bus and of --raw."""
    arguments = ("replay", FIXTURES / "mixed.pcap", "-n", "-c", 1, "--bus", ARN, "-o", "entries")
    plain = json.loads(pcapeda(*map(str, arguments), "--ordered").stdout)
    assert plain["SystemMetadata"].keys() == {"DeduplicationId", "EventGroupId"}
    assert plain["Time"].endswith("Z")
    raw = json.loads(pcapeda(*map(str, arguments), "--raw").stdout)
    assert raw.keys() == {"Data", "Metadata", "SystemMetadata"}
