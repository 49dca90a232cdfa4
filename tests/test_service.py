"""`sniff` as a service: credentials that expire in mid-run, signals in a flood, and what log and metrics say of it."""

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import FAKE_AWS, started
from tests.misbehaving import misbehaving
from tests.netns import Veth, needs_netns, veth_pair
from tests.test_cli import read_until
from tests.test_faults import in_spool, kept_on_disk, poll
from tests.test_json_log import lines
from tests.test_prometheus import said_port, scraped

pytestmark = needs_netns
PORT = 5514


@pytest.fixture(scope="module")
def veth() -> Iterator[Veth]:
    with veth_pair() as pair:
        yield pair


def ended(process: subprocess.Popen[bytes]) -> tuple[list[dict], dict]:
    """Ask it to end; what it said from then on, and the summary."""
    process.send_signal(signal.SIGTERM)
    _, talk = process.communicate(timeout=60)
    told = lines(talk)
    (summary,) = (one for one in told if one["kind"] == "summary")
    return told, summary


def test_credentials_that_expire_pause_the_run_into_the_spool_until_there_are_others(
    veth: Veth, tmp_path: Path
) -> None:
    """The bus refuses the keys in mid-run: all is kept, which is said once; new keys in the file end that."""
    keys, spool = tmp_path / "credentials", tmp_path / "spool"
    keys.write_text("[default]\naws_access_key_id = OLD\naws_secret_access_key = testing\n")
    env = {"AWS_SHARED_CREDENTIALS_FILE": str(keys), "AWS_DEFAULT_REGION": "us-east-1"}
    with misbehaving("none") as server:
        options = ("-i", veth.name, "--port", str(PORT), "--max-rate", "0", "--endpoint-url", server.url)
        service = ("--spool", spool, "--metrics", "127.0.0.1:0")
        with started("sniff", "--log", "json", *options, *service, env=env) as process:
            assert process.stderr is not None
            port = said_port(process.stderr.fileno(), b"listening on ")
            veth.send(PORT, 50)
            poll(lambda: len(server.told()["accepted"]) == 50, "delivered")
            assert scraped(port)["pcapeda_outage", ()] == 0
            server.behave("expired:OLD")
            veth.send(PORT, 100)
            poll(lambda: kept_on_disk(spool) == 100, "on disk")
            poll(lambda: scraped(port)["pcapeda_spooled_events", ()] == 100, "told")
            assert scraped(port)["pcapeda_outage", ()] == 1
            assert scraped(port)["pcapeda_events_total", ()] == 50
            keys.write_text("[default]\naws_access_key_id = NEW\naws_secret_access_key = testing\n")
            poll(lambda: len(server.told()["accepted"]) == 150, "delivered with the new keys")
            veth.send(PORT, 25)
            poll(lambda: scraped(port)["pcapeda_events_total", ()] == 175, "new traffic")
            assert scraped(port)["pcapeda_outage", ()] == scraped(port)["pcapeda_spooled_events", ()] == 0
            told, summary = ended(process)
        assert sum(server.told()["accepted"].values()) == 175
        assert server.told()["keys"] == ["OLD", "NEW"]
    said = [one["message"] for one in told if one["kind"] == "note"]
    assert len([one for one in said if "ExpiredTokenException" in one and "kept in the spool until" in one]) == 1
    assert said[-1] == "events are delivered again"
    assert (summary["sent"], summary["spooled"], summary["refused"], process.returncode) == (175, 0, 0, 130)


def test_a_flood_does_not_keep_a_stopped_run_from_ending(veth: Veth, tmp_path: Path) -> None:
    """More was received than a slow bus takes within --grace: it ends then, and what was read or not is counted."""
    flood = 60_000
    with misbehaving("slow") as server:
        options = ("-i", veth.name, "--port", str(PORT), "--max-rate", "0", "--endpoint-url", server.url)
        with started("sniff", "--log", "json", *options, "--grace", "1", env=FAKE_AWS) as process:
            assert process.stderr is not None
            read_until(process.stderr.fileno(), b"listening on ")
            veth.send(PORT, flood)
            told, summary = ended(process)
        taken = sum(server.told()["accepted"].values())
    assert process.returncode == 130
    assert summary["queue_drops"] > flood / 2
    assert summary["frames"] + summary["queue_drops"] + summary["kernel_drops"] == pytest.approx(flood, abs=10)
    assert summary["datagrams"] == summary["sent"] + summary["refused"] + summary["unselected"]
    assert summary["sent"] <= taken <= summary["sent"] + summary["maybe_twice"]
    assert any("received are given up" in one["message"] for one in told)


def test_with_a_spool_a_stopped_run_keeps_what_a_slow_bus_has_no_time_for(veth: Veth, tmp_path: Path) -> None:
    """The same flood and enough grace: every packet is read, and is delivered or on disk; the bus is not waited for."""
    flood, spool = 20_000, tmp_path / "spool"
    with misbehaving("slow") as server:
        options = ("-i", veth.name, "--port", str(PORT), "--max-rate", "0", "--endpoint-url", server.url)
        with started("sniff", "--log", "json", *options, "--grace", "60", "--spool", spool, env=FAKE_AWS) as process:
            assert process.stderr is not None
            read_until(process.stderr.fileno(), b"listening on ")
            veth.send(PORT, flood)
            _, summary = ended(process)
        told = server.told()
    assert summary["sent"] + summary["spooled"] == summary["datagrams"] - summary["unselected"] == flood
    assert summary["spooled"] == len(in_spool(spool)) > flood / 2
    assert sum(told["accepted"].values()) == summary["sent"]


def test_the_first_signal_delivers_what_was_read_and_the_second_does_not_wait(veth: Veth, tmp_path: Path) -> None:
    """The bus is dead and the spool on: SIGTERM keeps all; two signals end it at once, with a line."""
    with misbehaving("dead") as server:
        for signals in (1, 2):
            spool = tmp_path / str(signals)
            options = ("-i", veth.name, "--port", str(PORT), "--endpoint-url", server.url, "--spool", spool)
            grace = ("--grace", "0.5" if signals == 1 else "600")
            with started("sniff", "--log", "json", *options, *grace, env=FAKE_AWS) as process:
                assert process.stderr is not None
                read_until(process.stderr.fileno(), b"listening on ")
                veth.send(PORT, 20)
                poll(lambda: kept_on_disk(spool) == 20, "on disk")  # noqa: B023
                for number in (signal.SIGTERM, signal.SIGINT)[:signals]:
                    process.send_signal(number)
                _, talk = process.communicate(timeout=60)
            assert process.returncode == 130
            last = [one for one in lines(talk) if one["kind"] in ("summary", "stopped")]
            assert [one["kind"] for one in last] == ["summary" if signals == 1 else "stopped"]
            if signals == 1:
                assert (last[0]["spooled"], last[0]["exit_code"]) == (20, 130)
            assert last[0]["datagrams"] == 20
            assert kept_on_disk(spool) == 20


def test_a_dry_run_logs_and_counts_too(veth: Veth) -> None:
    """-n needs no account: events on stdout, JSON lines on stderr, metrics over HTTP."""
    options = ("-i", veth.name, "-n", "--port", str(PORT), "--metrics", "127.0.0.1:0")
    with started("sniff", "--log", "json", *options) as process:
        assert process.stderr is not None
        port = said_port(process.stderr.fileno(), b"listening on ")
        veth.send(PORT, 5)
        veth.send(PORT + 1, 2)
        poll(lambda: scraped(port)["pcapeda_events_total", ()] == 5, "counted")
        other = ("pcapeda_unselected_datagrams_total", (("reason", "other ports"),))
        poll(lambda: scraped(port).get(other) == 2, "left out")
        process.send_signal(signal.SIGINT)
        output, talk = process.communicate(timeout=60)
    assert [json.loads(line)["detail-type"] for line in output.splitlines()] == ["UdpPacket"] * 5
    assert [one["kind"] for one in lines(talk)] == ["summary"]
