"""The whole example, over real HTTP: a rule for port 514, a capture of mixed traffic, and only syslog arrives."""

import base64
import json
from collections.abc import Iterator

import pytest

from tests.command import FAKE_AWS, FIXTURES, pcapeda
from tests.moto_server import client, logged, moto_server, rule_into_log_group
from tests.test_cli import complaint, expected_rows

ARTICLE_RULE = json.dumps({"source": ["udp.raw"], "detail": {"Destination": {"Port": [514]}}})


@pytest.fixture
def server() -> Iterator[str]:
    with moto_server() as url:
        yield url


def syslog_hashes() -> list[tuple[int, str]]:
    rows = expected_rows("mixed.pcap")
    wanted = [(int(row["pkt"]), row["payload_sha256"]) for row in rows if row["dst_port"] == "514"]
    assert 0 < len(wanted) < len(rows)
    return wanted


@pytest.mark.parametrize("shape", ["full", "minimal"])
def test_exactly_the_syslog_datagrams_arrive_byte_for_byte(server: str, shape: str) -> None:
    """put-rule, put-targets, replay: what the rule's target holds is every syslog payload and nothing else."""
    from hashlib import sha256

    rule_into_log_group(server, name="udp-port-514", pattern=ARTICLE_RULE)
    done = pcapeda("replay", FIXTURES / "mixed.pcap", "--endpoint-url", server, "--shape", shape, env=FAKE_AWS)
    assert done.returncode == 0, done.stderr
    details = [json.loads(message)["detail"] for message in logged(server, "udp-port-514")]
    payloads = [base64.b64decode(detail["Payload"]) for detail in details]
    assert sorted(sha256(payload).hexdigest() for payload in payloads) == sorted(
        digest for _, digest in syslog_hashes()
    )
    if shape == "full":
        assert sorted(detail["Capture"]["Frame"] for detail in details) == [number for number, _ in syslog_hashes()]
    else:
        assert all(detail.keys() == {"Destination", "Payload"} for detail in details)
        assert all(detail["Destination"] == {"Port": 514} for detail in details)
    assert f"{len(expected_rows('mixed.pcap'))} delivered + 0 refused" in done.stderr.decode()


@pytest.mark.parametrize("options", [("--group", "10"), ("--aggregate", "60")])
def test_the_article_s_rule_selects_summaries(server: str, options: tuple[str, ...]) -> None:
    """In groups every syslog payload arrives; as flows each of its datagrams is counted; nothing of another port."""
    from hashlib import sha256

    rule_into_log_group(server, name="udp-port-514", pattern=ARTICLE_RULE)
    done = pcapeda("replay", FIXTURES / "mixed.pcap", "--endpoint-url", server, *options, env=FAKE_AWS)
    assert done.returncode == 0, done.stderr
    details = [json.loads(message)["detail"] for message in logged(server, "udp-port-514")]
    assert sum(detail["Count"] for detail in details) == len(syslog_hashes())
    assert all(detail["Destination"]["Port"] == 514 for detail in details)
    packets = [packet for detail in details for packet in detail.get("Packets", ())]
    found = sorted(sha256(base64.b64decode(packet["Payload"])).hexdigest() for packet in packets)
    assert found == (sorted(digest for _, digest in syslog_hashes()) if options[0] == "--group" else [])


def test_the_proxylity_shape_is_another_event(server: str) -> None:
    """The rule for udp.raw does not select it; one for its own source and detail-type does."""
    rule_into_log_group(server, name="article", pattern=ARTICLE_RULE)
    proxylity = {"source": ["proxylity"], "detail-type": ["udp-gateway-packet-ingress"]}
    rule_into_log_group(server, name="gateway", pattern=json.dumps(proxylity))
    done = pcapeda("replay", FIXTURES / "mixed.pcap", "--endpoint-url", server, "--shape", "proxylity", env=FAKE_AWS)
    assert done.returncode == 0, done.stderr
    assert logged(server, "article") == []
    assert len(logged(server, "gateway")) == len(expected_rows("mixed.pcap"))


def test_a_bus_of_ones_own_by_name_and_by_arn(server: str) -> None:
    """--bus takes a name or an ARN; events land there and not on the default bus."""
    arn = client("events", server).create_event_bus(Name="edge")["EventBusArn"]
    rule_into_log_group(server, name="on-edge", pattern=ARTICLE_RULE, bus="edge")
    rule_into_log_group(server, name="on-default", pattern=ARTICLE_RULE)
    for bus in ("edge", arn):
        done = pcapeda("replay", FIXTURES / "mixed.pcap", "--bus", bus, "--endpoint-url", server, env=FAKE_AWS)
        assert done.returncode == 0, done.stderr
    assert len(logged(server, "on-edge")) == 2 * len(syslog_hashes())
    assert logged(server, "on-default") == []


def test_an_unknown_bus_is_found_before_anything_is_sent(server: str) -> None:
    """EventBridge would take the events without a word: exit code 3 and one line instead."""
    done = pcapeda("replay", FIXTURES / "mixed.pcap", "--bus", "nowhere", "-q", "--endpoint-url", server, env=FAKE_AWS)
    assert done.returncode == 3
    assert "nowhere" in complaint(done.stderr)


def test_entries_lines_are_what_put_events_takes(server: str) -> None:
    """Ten lines of -o entries at a time are accepted by boto3's put_events as they are."""
    done = pcapeda("replay", FIXTURES / "mixed.pcap", "-n", "-o", "entries", "--bus", "default")
    entries = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(entries) == len(expected_rows("mixed.pcap"))
    events = client("events", server)
    for at in range(0, len(entries), 10):
        answer = events.put_events(Entries=entries[at : at + 10])
        assert answer["FailedEntryCount"] == 0


def test_event_lines_have_all_members_that_test_event_pattern_asks_for() -> None:
    """-o jsonl prints events as rules see them, with every mandatory member."""
    done = pcapeda("replay", FIXTURES / "mixed.pcap", "-n", "-o", "jsonl")
    for line in done.stdout.splitlines():
        event = json.loads(line)
        assert event.keys() >= {"id", "account", "source", "time", "region", "resources", "detail-type"}


def test_a_replay_says_beforehand_what_it_may_cost(server: str) -> None:
    """The first line names events, requests and USD at most; the last ones what it was."""
    done = pcapeda("replay", FIXTURES / "mixed.pcap", "--endpoint-url", server, env=FAKE_AWS)
    first, *rest = done.stderr.decode().splitlines()
    assert "at most" in first
    assert "USD" in first
    assert any(line.startswith("cost") and "USD" in line for line in rest)
