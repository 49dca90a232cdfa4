"""`--metrics`: what Prometheus gets over HTTP is what the report counts, and nothing that a packet decides."""

import ipaddress
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pcapeda.aws.quotas import FREE, Tariff
from pcapeda.model import SkipReason
from pcapeda.report import Report
from pcapeda.ui.prometheus import AT_ONCE, Metrics
from tests.command import CLEAN, FIXTURES, ROOT, pcapeda, started
from tests.test_cli import complaint, read_until

MIXED = FIXTURES / "mixed.pcap"
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def scraped(port: int, host: str = "127.0.0.1") -> Samples:
    """All samples by name and labels."""
    with urllib.request.urlopen(f"http://{host}:{port}/metrics", timeout=30) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=")
        families = text_string_to_metric_families(answer.read().decode())
        return {
            (sample.name, tuple(sample.labels.items())): sample.value
            for family in families
            for sample in family.samples
        }


def said_port(stderr: int, last: bytes = b"metrics on ") -> int:
    """The port in the line that says where the metrics are, once a line with `last` has been read, too."""
    said = read_until(stderr, last)
    if b"\n" not in said.partition(last)[2]:
        said += read_until(stderr, b"\n")
    match = re.search(rb"metrics on [^\n]*?port (\d+)", said)
    assert match is not None, said
    return int(match[1])


@pytest.fixture
def metrics() -> Iterator[Metrics]:
    endpoint = Metrics("127.0.0.1:0", tariff=Tariff(price=2.0))
    endpoint.start()
    yield endpoint
    endpoint.close()


def port_of(metrics: Metrics) -> int:
    return int(metrics.place.split()[-1])


def test_what_is_served_is_what_was_counted(metrics: Metrics) -> None:
    """Counts of the run and of the source being read are summed; units, labels and gauges as documented."""
    report, reading = (
        Report(frames=5, datagrams=3, sent=2, events=2, chunks=4, spooled=7, events_spooled=6),
        Report(frames=1),
    )
    report.refused["rate limit"] = 9
    reading.skips[SkipReason.NOT_UDP, "tcp"] = 1
    reading.skips[SkipReason.NOT_UDP, "icmp"] = 2
    reading.kernel_drops = 11
    report.outage = True
    before = time.time()
    metrics.tick(report, reading, 0, None)
    told = scraped(port_of(metrics))
    assert told["pcapeda_frames_total", ()] == 6
    assert told["pcapeda_delivered_datagrams_total", ()] == 2
    assert told["pcapeda_billed_chunks_total", ()] == 4
    assert told["pcapeda_estimated_cost_usd_total", ()] == pytest.approx(8e-6)
    assert told["pcapeda_kernel_drops_total", ()] == 11
    assert told["pcapeda_refused_datagrams_total", (("reason", "rate limit"),)] == 9
    assert told["pcapeda_refused_datagrams_total", (("reason", "budget"),)] == 0
    assert told["pcapeda_skipped_frames_total", (("reason", "IP, but not UDP"),)] == 3
    assert told["pcapeda_spooled_events", ()] == 6
    assert told["pcapeda_spooled_datagrams", ()] == 7
    assert told["pcapeda_outage", ()] == 1
    assert told["pcapeda_last_event_timestamp_seconds", ()] >= before
    assert told["process_resident_memory_bytes", ()] > 0


def test_counters_never_fall_and_labels_are_bounded(metrics: Metrics) -> None:
    """A count that is put right stays for the counter; the codes of a bus get forty series and one more."""
    report = Report(sent=5)
    report.refused["spool full"] = 5
    metrics.tick(report, Report(), 0, None)
    report.refused["spool full"] = 3
    for number in range(1000):
        report.dead[f"Code{number}"] += 1
    metrics.tick(report, Report(), 0, None)
    told = scraped(port_of(metrics))
    assert told["pcapeda_refused_datagrams_total", (("reason", "spool full"),)] == 5
    dead = {labels: value for (name, labels), value in told.items() if name == "pcapeda_dead_letters_total"}
    assert len(dead) == 41
    assert sum(dead.values()) == 1000


def test_whoever_holds_connections_open_gets_few_threads(metrics: Metrics) -> None:
    """Fifty clients that never ask: a bounded number of threads serves them, and those that leave make room."""
    threads = threading.active_count()
    idle = [socket.create_connection(("127.0.0.1", port_of(metrics))) for _ in range(50)]
    idle[-1].settimeout(30)
    assert idle[-1].recv(1) == b""  # turned away, so all before it have been seen
    assert threading.active_count() <= threads + AT_ONCE
    for one in idle:
        one.close()
    while threading.active_count() > threads:
        time.sleep(0.01)
    assert ("pcapeda_frames_total", ()) in scraped(port_of(metrics))


def test_only_get_is_answered(metrics: Metrics) -> None:
    """POST is refused; the endpoint changes nothing."""
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"http://127.0.0.1:{port_of(metrics)}/metrics", data=b"x", timeout=30)
    assert caught.value.code == 405
    caught.value.close()


@pytest.mark.parametrize("where", [":0", "127.0.0.1:0", "localhost:0"])
def test_a_replay_from_a_pipe_is_watched_while_it_waits(where: str) -> None:
    """Everything read so far is served while the pipe is open; its end ends the process, and the endpoint with it."""
    with started("replay", "-", "-n", "--metrics", where) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        port = said_port(process.stderr.fileno())
        process.stdin.write(MIXED.read_bytes())
        process.stdin.flush()
        while (told := scraped(port, "localhost"))["pcapeda_events_total", ()] < 13:
            time.sleep(0.01)
        assert told["pcapeda_datagrams_total", ()] == 13
        assert told["pcapeda_estimated_cost_usd_total", ()] == 0  # a dry run costs nothing
        words = " ".join(value for _, labels in told for _, value in labels)
        assert "192.0.2." not in words
        assert "198.51.100." not in words
        output, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert len(output.splitlines()) == 13


def test_a_port_in_use_is_said_before_anything_is_read(metrics: Metrics) -> None:
    """One line, exit code 3 (it may be free another time), no event."""
    done = pcapeda("replay", MIXED, "-n", "--metrics", f":{port_of(metrics)}")
    assert (done.returncode, done.stdout) == (3, b"")
    assert "in use" in complaint(done.stderr)


@pytest.mark.parametrize("where", ["9100", "host", ":", ":x", ":65536", "[::1]", ":²", "a\nb:1", "ä..b:1"])
def test_an_address_that_is_none_is_refused(where: str) -> None:
    """One line, exit code 2."""
    done = pcapeda("replay", MIXED, "-n", "--metrics", where)
    assert (done.returncode, done.stdout) == (2, b"")
    assert "--metrics" in complaint(done.stderr)


@pytest.mark.parametrize(
    ("address", "everywhere"), [(":0", False), ("127.0.0.1:0", False), ("0.0.0.0:0", True), ("[::]:0", True)]
)
def test_without_a_host_only_this_host_is_answered(address: str, everywhere: bool) -> None:
    """An empty host is the loopback address; every address has to be asked for."""
    endpoint = Metrics(address, tariff=FREE)
    endpoint.start()
    try:
        assert ("every address" in endpoint.place) is everywhere
        bound = ipaddress.ip_address(endpoint._server.server_address[0])
        assert bound.is_unspecified is everywhere
        assert bound.is_loopback is not everywhere
        assert (
            b"pcapeda_frames_total"
            in urllib.request.urlopen(f"http://127.0.0.1:{endpoint._server.server_port}/").read()
        )
    finally:
        endpoint.close()


def test_without_the_extra_it_says_what_to_install() -> None:
    """prometheus_client is not there: one line and the command that mends it."""
    code = (
        "import sys; sys.modules['prometheus_client'] = None; "
        f"sys.argv = ['pcapeda', 'replay', {str(MIXED)!r}, '-n', '--metrics', ':0']; "
        "from pcapeda.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=ROOT, env=CLEAN, check=False)
    assert done.returncode == 2
    assert "pip install 'pcapeda[metrics]'" in complaint(done.stderr)


def test_a_replay_that_waits_for_its_clock_is_watched_too(tmp_path: Path) -> None:
    """Between two datagrams an hour apart what was sent before is served already."""
    with started("replay", FIXTURES / "mixed.pcap", "-n", "--speed", "0.0001", "--metrics", "127.0.0.1:0") as process:
        assert process.stderr is not None
        port = said_port(process.stderr.fileno())
        while scraped(port)["pcapeda_events_total", ()] < 1:
            time.sleep(0.01)
        process.kill()
