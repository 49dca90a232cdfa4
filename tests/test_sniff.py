"""`pcapeda sniff` as people run it: a veth pair into a namespace, a subprocess, and every datagram accounted for."""

import base64
import json
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.command import CLEAN, FAKE_AWS, PCAPEDA, ROOT, pcapeda, start
from tests.frames import ethernet, udp4
from tests.moto_server import logged, moto_server, rule_into_log_group
from tests.netns import Veth, ip, needs_netns, payloads, veth_pair
from tests.test_article import ARTICLE_RULE
from tests.test_cli import complaint, read_until

pytestmark = needs_netns
PORT = 5514


@pytest.fixture
def veth() -> Iterator[Veth]:
    with veth_pair() as pair:
        yield pair


@contextmanager
def sniffing(*arguments: str | Path, env: dict[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """`pcapeda sniff` that listens already; it is interrupted at the end if it still runs."""
    with start("sniff", *arguments, env=env) as process:
        assert process.stderr is not None
        try:
            said = read_until(process.stderr.fileno(), b"listening on ")
            if b"\n" not in said.partition(b"listening on ")[2]:
                read_until(process.stderr.fileno(), b"\n")
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)


def end(process: subprocess.Popen[bytes], number: int | None = signal.SIGINT) -> tuple[list[dict], str]:
    """Ask it to end (unless it does so by itself); its events and what it said."""
    if number is not None:
        process.send_signal(number)
    output, talk = process.communicate(timeout=60)
    assert b"Traceback" not in talk, talk
    return [json.loads(line) for line in output.splitlines()], talk.decode()


def payloads_of(events: list[dict]) -> list[bytes]:
    return [base64.b64decode(event["detail"]["Payload"]) for event in events]


def test_every_datagram_sent_is_an_event_and_none_that_was_not(veth: Veth) -> None:
    """Thousands of datagrams in a burst: each is there once, in order, with its ends, its time and its interface."""
    with sniffing("-i", veth.name, "-n", "--port", str(PORT)) as process:
        sent = veth.send(PORT, 5000)
        veth.send(PORT + 1, 5)
        events, talk = end(process)
    assert payloads_of(events) == sent
    assert process.returncode == 130
    assert "5 other ports" in talk
    detail = events[0]["detail"]
    assert detail["Destination"] == {"IpAddress": "192.0.2.1", "Port": PORT}
    assert detail["Source"]["IpAddress"] == "192.0.2.2"
    assert detail["Capture"]["Interface"] == veth.name
    assert len({event["detail"]["PacketId"] for event in events}) == len(events)


def test_a_filter_is_set_before_anything_is_captured(veth: Veth) -> None:
    """With -f only what it selects is even counted as read."""
    with sniffing("-i", veth.name, "-n", "-f", f"udp port {PORT}") as process:
        veth.send(PORT + 1, 100)
        sent = veth.send(PORT, 10)
        events, talk = end(process)
    assert payloads_of(events) == sent
    assert "10 frames = 10 datagrams" in talk


def test_what_is_written_reads_back_equal(veth: Veth, tmp_path: Path) -> None:
    """-w keeps the frames: replay gives the same datagrams at the same times, and Wireshark reads the file."""
    kept = tmp_path / "kept.pcapng"
    with sniffing("-i", veth.name, "-n", "--port", str(PORT), "-w", kept) as process:
        veth.send(PORT, 200, 1200)
        live, _ = end(process)
    again = [json.loads(line) for line in pcapeda("replay", kept, "-n", "--port", str(PORT)).stdout.splitlines()]
    assert len(live) == 200

    def told(event: dict) -> tuple[object, ...]:
        detail = event["detail"]
        return (detail["CapturedAt"], detail["Source"], detail["Destination"], detail["Checksum"], detail["Payload"])

    assert [told(event) for event in again] == [told(event) for event in live]
    if shutil.which("capinfos"):
        done = subprocess.run(["capinfos", "-c", "-M", kept], capture_output=True, check=False)
        assert done.returncode == 0, done.stderr


def test_count_and_duration_end_it_by_itself(veth: Veth) -> None:
    """-c stops after so many datagrams, --duration after so many seconds, both with exit code 0."""
    with sniffing("-i", veth.name, "-n", "--port", str(PORT), "-c", "3") as process:
        veth.send(PORT, 10)
        events, _ = end(process, None)
    assert payloads_of(events) == payloads(3)
    assert process.returncode == 0
    with sniffing("-i", veth.name, "-n", "--port", str(PORT), "--duration", "1") as process:
        sent = veth.send(PORT, 10)
        events, _ = end(process, None)
    assert payloads_of(events) == sent
    assert process.returncode == 0


def test_sigterm_delivers_the_last_batch_to_the_bus(veth: Veth) -> None:
    """Live to a real bus: what was received before the signal arrives there, and the limits are said first."""
    with moto_server() as url:
        rule_into_log_group(url, name="live", pattern=ARTICLE_RULE)
        with start("sniff", "-i", veth.name, "--endpoint-url", url, env=FAKE_AWS) as process:
            assert process.stderr is not None
            first = read_until(process.stderr.fileno(), b"listening on ")
            sent = veth.send(514, 25)
            process.send_signal(signal.SIGTERM)
            _, talk = process.communicate(timeout=60)
        assert process.returncode == 130
        assert b"at most 50 events/s" in first
        assert b"USD a day" in first
        assert b"25 delivered" in talk or b"delivered + 0 refused" in talk, talk
        arrived = [base64.b64decode(json.loads(line)["detail"]["Payload"]) for line in logged(url, "live")]
        assert sorted(arrived) == sorted(sent)


def test_the_default_limit_refuses_a_flood(veth: Veth) -> None:
    """2,000 datagrams of one source at once to a bus: about its burst gets through, the rest is refused by name."""
    with moto_server() as url, start("sniff", "-i", veth.name, "--endpoint-url", url, env=FAKE_AWS) as process:
        assert process.stderr is not None
        read_until(process.stderr.fileno(), b"listening on ")
        veth.send(PORT, 2000)
        process.send_signal(signal.SIGINT)
        _, talk = process.communicate(timeout=60)
    match = re.search(r"([\d,]+) = ([\d,]+) delivered \+ ([\d,]+) refused", talk.decode())
    assert match is not None, talk
    total, delivered, refused = (int(number.replace(",", "")) for number in match.groups())
    assert total == delivered + refused >= 2000
    assert 50 <= delivered < 500
    assert b"rate limit" in talk


def test_drops_are_told_when_the_buffer_is_tiny(veth: Veth) -> None:
    """A flood into the smallest buffer while the reader is stopped: the summary has what the kernel dropped."""
    with sniffing("-i", veth.name, "-n", "--buffer-mib", "1", "--port", str(PORT), "-c", "100000") as process:
        process.send_signal(signal.SIGSTOP)
        veth.send(PORT, 20_000, 1000)
        process.send_signal(signal.SIGCONT)
        events, talk = end(process, signal.SIGINT)
    match = re.search(r"dropped +([\d,]+) packets? by the kernel", talk)
    assert match is not None, talk
    dropped = int(match[1].replace(",", ""))
    assert dropped > 0
    assert len(events) + dropped == pytest.approx(20_000, abs=5)


def test_an_interface_that_goes_away_ends_the_run_with_a_line(veth: Veth) -> None:
    """What came before is printed; one line says which interface; exit code 3: it may come back."""
    with sniffing("-i", veth.name, "-n", "--port", str(PORT)) as process:
        sent = veth.send(PORT, 7)
        ip("link", "del", veth.name)
        events, talk = end(process, None)
    assert payloads_of(events) == sent
    assert [line for line in talk.splitlines() if veth.name in line and not line.startswith("pcapeda: listening")] == [
        f"pcapeda: interface {veth.name} went down or was removed"
    ]
    assert process.returncode == 3


def test_mirrored_traffic_is_decapsulated_live(veth: Veth) -> None:
    """A VXLAN packet on UDP 4789, as VPC Traffic Mirroring sends it: --decapsulate gives the datagram inside."""
    inner = ethernet(udp4(b"mirrored", sport=40000, dport=514))
    outer = udp4(bytes.fromhex("0800000000002a00") + inner, sport=65000, dport=4789)
    mac = bytes.fromhex(veth.mac.replace(":", ""))
    with sniffing("-i", veth.name, "-n", "--decapsulate", "--port", "514") as process:
        veth.inject(mac + bytes.fromhex("020000000099") + b"\x08\0" + outer)
        events, _ = end(process)
    assert payloads_of(events) == [b"mirrored"]
    assert "vxlan:42" in events[0]["detail"]["Via"]


def test_any_and_loopback() -> None:
    """'any' and 'lo' each see a datagram on the loopback once."""
    for interface in ("lo", "any"):
        with sniffing("-i", interface, "-n", "--port", str(PORT)) as process:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                for number in range(5):
                    sender.sendto(bytes([number]), ("127.0.0.1", PORT))
            events, _ = end(process)
        assert payloads_of(events) == [bytes([number]) for number in range(5)], interface
        assert events[0]["detail"]["Capture"]["Interface"] == "lo"


@pytest.mark.parametrize(
    ("lost", "words"),
    [(["--reuid", "65534", "--clear-groups"], "setcap"), (["--bounding-set", "-all"], "CAP_NET_RAW")],
)
def test_without_rights_it_says_what_helps(lost: list[str], words: str) -> None:
    """Exit code 3 and what helps: for a user without the right, and in a container without the capability."""
    if shutil.which("setpriv") is None:
        pytest.skip("setpriv (util-linux) is not installed")
    powerless = ["setpriv", *lost, *PCAPEDA]
    here = {"env": CLEAN, "cwd": ROOT, "capture_output": True, "timeout": 60, "check": False}
    if subprocess.run([*powerless, "--version"], **here).returncode != 0:  # type: ignore[call-overload]
        pytest.skip("another user cannot read this interpreter or this folder")
    done = subprocess.run([*powerless, "sniff", "-i", "lo", "-n"], **here)  # type: ignore[call-overload]
    assert done.returncode == 3, done.stderr
    assert words in complaint(done.stderr)
