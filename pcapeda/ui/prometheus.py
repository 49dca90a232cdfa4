"""The counts of a run for Prometheus, over HTTP: what `--metrics [HOST]:PORT` serves.

The run's thread hands over counts about ten times a second; whoever scrapes gets the latest. No series bears an
address, a port or anything else that a packet decides: labels are reasons and error codes, of bounded number.
"""

import ipaddress
import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from io import StringIO
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from pcapeda._version import __version__
from pcapeda.aws import quotas
from pcapeda.errors import BadConfig, BadField, NoRights, Unavailable, of_system
from pcapeda.model import SkipReason
from pcapeda.report import Report
from pcapeda.safety.visible import visible
from pcapeda.ui.snapshot import snapshot

if TYPE_CHECKING:
    from prometheus_client.core import Metric

AT_ONCE, PATIENCE_S = 8, 5.0
"""Connections that are served at the same time, and how long one may be silent: scraping needs no more."""

COUNTERS = {
    "pcapeda_frames": ("frames", "Packet records read"),
    "pcapeda_segments": ("segments", "What UDP super-packets held beyond one datagram each"),
    "pcapeda_read_bytes": ("bytes_read", "Bytes of the packet records read"),
    "pcapeda_datagrams": ("datagrams", "UDP datagrams read, reassembled ones among them"),
    "pcapeda_fragments": ("fragments", "IP fragments read"),
    "pcapeda_without_text": ("without_text", "Datagrams whose payload gave no Text though it was asked for"),
    "pcapeda_damages": ("damages", "Damaged places in captures"),
    "pcapeda_kernel_drops": ("kernel_drops", "Packets that the kernel could not hand over in time"),
    "pcapeda_queue_drops": ("queue_drops", "Packets received but given up because decoding lagged behind"),
    "pcapeda_delivered_datagrams": ("sent", "Datagrams delivered; an event may stand for many"),
    "pcapeda_events": ("events", "Events delivered"),
    "pcapeda_refused_report_events": ("events_refused", "UdpReport events not delivered"),
    "pcapeda_requests": ("requests", "Requests to the bus"),
    "pcapeda_retried_events": ("retried", "Times that an event was tried again"),
    "pcapeda_maybe_twice": ("maybe_twice", "Times that an answer was lost, so that an event may be delivered twice"),
    "pcapeda_known_events": ("known", "Events that the bus had already and published once (EventBridge v2)"),
    "pcapeda_sent_bytes": ("bytes_sent", "Bytes of the events delivered, as EventBridge counts them"),
    "pcapeda_billed_chunks": ("billed_chunks", "64 KB chunks of the events delivered"),
    "pcapeda_estimated_cost_usd": ("cost_usd", "Price of what was delivered, in USD"),
}
"""Name of each counter without its `_total`, what it counts, and what people are told of it."""

REASONS = {
    "pcapeda_skipped_frames": ("skipped_by_reason", "reason", "Packet records that gave no datagram"),
    "pcapeda_unselected_datagrams": ("unselected_by_reason", "reason", "Datagrams left out because so asked for"),
    "pcapeda_refused_datagrams": ("refused_by_reason", "reason", "Datagrams not delivered"),
    "pcapeda_limited_datagrams": ("limited_by_reason", "reason", "Datagrams over a limit, kept apart in the spool"),
    "pcapeda_dead_letters": ("dead_by_code", "code", "Datagrams kept among the dead letters"),
}
"""The counters that have a label."""

FROM_THE_START = {
    "skipped_by_reason": tuple(why.value for why in SkipReason),
    "refused_by_reason": ("rate limit", "rate limit per source", "budget", "spool full", "spool failed"),
}
"""Reasons told before they occur: a series that begins above zero hides its first rise from `increase()`."""


class Metrics:
    """An HTTP endpoint at `address`, `[HOST]:PORT`, and the counts it serves; `tick` is a `pipeline.RunObserver`'s.

    Building it takes the port, which may need rights, and raises `BadConfig` (bad address, no prometheus_client),
    `Unavailable` (port in use) or `NoRights`. Nobody is answered before `start`. Its threads never keep the process
    alive.
    """

    def __init__(self, address: str, *, tariff: quotas.Tariff) -> None:
        try:
            import prometheus_client as client
            from prometheus_client import core
        except ImportError:
            raise BadConfig(
                "--metrics needs the package prometheus_client", hint="pip install 'pcapeda[metrics]'"
            ) from None
        self._core = core
        self._tariff = tariff
        self._snapshot: dict[str, Any] = snapshot(Report(), tariff=tariff)
        self._last_event_s = 0.0
        registry = client.CollectorRegistry(auto_describe=False)
        registry.register(self)
        client.ProcessCollector(registry=registry)
        self._server = _Server(_listen(address), client.make_wsgi_app(registry))
        host, port = str(self._server.server_address[0]), self._server.server_port
        everywhere = ipaddress.ip_address(host).is_unspecified
        self.place = f"port {port} of every address of this host" if everywhere else f"{host} port {port}"
        """Where it listens, in words."""

    def start(self) -> None:
        """Answer from now on."""
        threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True).start()

    def close(self) -> None:
        """Let go of the port; needs `start`."""
        self._server.shutdown()
        self._server.server_close()

    def tick(self, report: Report, reading: Report, position: int, size: int | None) -> None:
        """Take over the counts as they are now."""
        before, now = self._snapshot, snapshot(report, reading, tariff=self._tariff)
        if now["events"] > before["events"]:
            self._last_event_s = time.time()
        # A counter never falls, though a count may be put right: a fall would be taken for a restart.
        for name, _ in COUNTERS.values():
            if now[name] is not None:
                now[name] = max(now[name], before[name])
        for name, _, _ in REASONS.values():
            now[name] = now[name] | {one: max(old, now[name].get(one, 0)) for one, old in before[name].items()}
        self._snapshot = now

    def collect(self) -> "Iterator[Metric]":
        """The latest counts as prometheus_client wants them; called by the threads that answer."""
        now, core = self._snapshot, self._core
        for metric, (name, words) in COUNTERS.items():
            if now[name] is not None:  # a cost at a price that nobody knows
                yield core.CounterMetricFamily(metric, words, value=now[name])
        for metric, (name, label, words) in REASONS.items():
            family = core.CounterMetricFamily(metric, words, labels=[label])
            for reason, number in (dict.fromkeys(FROM_THE_START.get(name, ()), 0) | now[name]).items():
                family.add_metric([visible(reason)], number)
            yield family
        gauges = (
            ("pcapeda_spooled_events", "Events that wait in the spool", now["events_spooled"]),
            ("pcapeda_spooled_datagrams", "Datagrams that wait in the spool", now["spooled"]),
            ("pcapeda_outage", "1 while the bus does not answer or refuses us, else 0", int(now["outage"])),
            ("pcapeda_last_event_timestamp_seconds", "When an event was last delivered; 0: never", self._last_event_s),
        )
        for metric, words, value in gauges:
            yield core.GaugeMetricFamily(metric, words, value=value)
        build = core.GaugeMetricFamily("pcapeda_build_info", "The version of pcapeda", labels=["version"])
        build.add_metric([__version__], 1)
        yield build


LOOPBACK = "127.0.0.1"
"""Where it listens unless told otherwise: what a run counts is nobody else's business."""


def _listen(address: str) -> socket.socket:
    """A listening socket at `[HOST]:PORT`; without a host on the loopback address, on [::] IPv6 and IPv4."""
    host, colon, digits = address.rpartition(":")
    if not colon or not (digits.isascii() and digits.isdecimal() and len(digits) <= 5 and int(digits) <= 65535):
        raise BadField(
            "{metrics} %s: not [HOST]:PORT", quotas.shown(address), hint="as in :9514, 0.0.0.0:9514 or [::1]:9514"
        )
    port = int(digits)
    host = host.removeprefix("[").removesuffix("]") or LOOPBACK
    what = f"--metrics {quotas.shown(address)}"
    try:
        family, *_, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        both = family == socket.AF_INET6 and host == "::" and socket.has_dualstack_ipv6()
        return socket.create_server(place[:2], family=family, dualstack_ipv6=both)
    except PermissionError:
        raise NoRights(f"{what}: no right to use a port below 1024") from None
    except (UnicodeError, ValueError):
        raise BadConfig(f"{what}: no host is called that") from None
    except socket.gaierror as error:
        if error.errno == socket.EAI_NONAME:
            raise BadConfig(f"{what}: {error.strerror}") from None
        raise Unavailable(f"{what}: {error.strerror}") from None
    except OSError as error:
        raise of_system(what, error) from None


class _Handler(WSGIRequestHandler):
    timeout = PATIENCE_S

    def log_message(self, *_: object) -> None:
        """Scrapes are not logged."""

    def get_stderr(self) -> Any:
        """Nor are clients that do not take their answer."""
        return StringIO()


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    """One thread a connection, at most `AT_ONCE`: whoever comes beyond that is turned away."""

    daemon_threads = True

    def __init__(self, listening: socket.socket, app: Any) -> None:
        super().__init__(("", 0), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listening
        self.server_address = listening.getsockname()
        self.server_name, self.server_port = "localhost", self.server_address[1]  # no look-up in the DNS
        self.setup_environ()
        self.set_app(app)
        self._places = threading.BoundedSemaphore(AT_ONCE)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._places.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever scrapes went away: nothing to say."""
