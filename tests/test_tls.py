"""Nobody gets an event or a token who cannot prove to be the endpoint: real TLS, by every transport and command."""

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pcapeda.aws.bus import Bus
from pcapeda.aws.responses import Transport
from pcapeda.aws.session import UNCHECKED
from pcapeda.engine.job import Job
from pcapeda.engine.run import execute, resend
from pcapeda.errors import BadConfig, ExitStatus, Untrusted
from pcapeda.model import Batch, Frame, Outcome
from pcapeda.sinks.eventbridge import EventBridgeSink
from pcapeda.sinks.eventbridge_v2 import EventBridgeV2Sink
from pcapeda.sinks.memory import MemorySink
from tests.bus_v2 import ARN as V2
from tests.command import FAKE_AWS, FIXTURES, pcapeda, start
from tests.frames import ethernet, udp4
from tests.netns import Veth, needs_netns, veth_pair
from tests.test_cli import complaint, read_until
from tests.test_eventbridge import batch, clean_environment, codes
from tests.tls_server import DAY, Authority, tls_server, tunnels

__all__ = ["clean_environment"]  # a fixture of every test here, too

WAYS: tuple[Transport, ...] = ("fast", "boto3")
TOKEN = "a-session-token-that-nobody-else-is-to-see"
MIXED = FIXTURES / "mixed.pcap"
SECRETS = FAKE_AWS | {"AWS_SESSION_TOKEN": TOKEN}

HOUR = timedelta(hours=1)

Sink = EventBridgeSink | EventBridgeV2Sink


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(autouse=True)
def trusting(authority: Authority, monkeypatch: pytest.MonkeyPatch, clean_environment: None) -> None:
    """Trust the authority, and have a token to lose."""
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.path))
    monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)


@pytest.fixture(params=["fast", "boto3", "v2"])
def make(request: pytest.FixtureRequest) -> Iterator[Callable[[str], Sink]]:
    """Makes sinks of every kind that sends to a bus."""
    made: list[Sink] = []

    def make(url: str) -> Sink:
        if request.param == "v2":
            made.append(EventBridgeV2Sink(bus=V2, endpoint_url=url))
        else:
            made.append(EventBridgeSink(endpoint_url=url, transport=request.param))
        return made[-1]

    yield make
    for sink in made:
        sink.close()


def env(authority: Authority, **more: str) -> dict[str, str]:
    return SECRETS | {"AWS_CA_BUNDLE": str(authority.path)} | more


def refuses(sink: Sink, words: str) -> None:
    """Neither the check nor a request goes to such a peer, however often it is tried."""
    for act in (sink.check, lambda: sink.send(batch(1)), lambda: sink.send(batch(1))):
        with pytest.raises(Untrusted, match=words) as caught:
            act()
        assert caught.value.code == "untrusted certificate"
        assert caught.value.status is ExitStatus.UNAVAILABLE
        assert "\n" not in str(caught.value)


# Names, chains and times, for every transport

GOOD: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "name": ("localhost", "127.0.0.1", ("localhost",)),
    "one of several": ("localhost", "127.0.0.1", ("example.com", "localhost")),
    "in capitals": ("LOCALHOST", "127.0.0.1", ("localhost",)),
    "address": ("127.0.0.1", "127.0.0.1", ("127.0.0.1",)),
    "address of version 6": ("[::1]", "::1", ("::1",)),
    "wildcard": ("edge.bus.localhost", "127.0.0.1", ("*.bus.localhost",)),
}

WRONG: dict[str, tuple[str, str, dict[str, Any], str]] = {
    "another name": ("localhost", "127.0.0.1", {"names": ("example.com",)}, "localhost"),
    "only in the commonName": ("localhost", "127.0.0.1", {"names": (), "common_name": "localhost"}, "localhost"),
    "commonName beside another": (
        "localhost",
        "127.0.0.1",
        {"names": ("example.com",), "common_name": "localhost"},
        "localhost",
    ),
    "address for another": ("127.0.0.1", "127.0.0.1", {"names": ("127.0.0.2",)}, "127.0.0.1"),
    "address as a name": ("127.0.0.1", "127.0.0.1", {"names": ("localhost",)}, "127.0.0.1"),
    "other address of version 6": ("[::1]", "::1", {"names": ("::2",)}, "::1"),
    "wildcard too deep": ("a.edge.bus.localhost", "127.0.0.1", {"names": ("*.bus.localhost",)}, "localhost"),
    "wildcard for none": ("bus.localhost", "127.0.0.1", {"names": ("*.bus.localhost",)}, "localhost"),
    "wildcard over all": ("localhost", "127.0.0.1", {"names": ("*",)}, "localhost"),
    "part of a name": ("localhost", "127.0.0.1", {"names": ("localhost.example.com",)}, "localhost"),
    "expired": ("localhost", "127.0.0.1", {"names": ("localhost",), "start": -2 * DAY, "end": -HOUR}, "expired"),
    "not yet valid": ("localhost", "127.0.0.1", {"names": ("localhost",), "start": HOUR}, "not yet valid"),
    "self-signed": ("localhost", "127.0.0.1", {"names": ("localhost",), "own": True}, "self-signed"),
}


def resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names under localhost lead to loopback (RFC 6761), also where the machine's resolver does not know that."""
    import socket

    ask = socket.getaddrinfo

    def local(host: Any, *arguments: Any, **more: Any) -> Any:
        return ask("127.0.0.1" if str(host).lower().rstrip(".").endswith("localhost") else host, *arguments, **more)

    monkeypatch.setattr(socket, "getaddrinfo", local)


@pytest.mark.parametrize(("host", "address", "names"), GOOD.values(), ids=GOOD)
def test_the_right_name_is_delivered_to(
    host: str,
    address: str,
    names: tuple[str, ...],
    authority: Authority,
    make: Callable[[str], Sink],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resolved(monkeypatch)
    with tls_server(authority.certificate(*names), host=address) as server:
        sink = make(f"https://{host}:{server.port}")
        sink.check()
        assert sink.send(batch(3)) == Outcome(3)
        assert len(server.accepted) == 3


@pytest.mark.parametrize(("host", "address", "what", "words"), WRONG.values(), ids=WRONG)
def test_a_certificate_that_is_wrong_gets_nothing(
    host: str,
    address: str,
    what: dict[str, Any],
    words: str,
    authority: Authority,
    make: Callable[[str], Sink],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another's, of nobody known, or not of now: the peer gets not one byte after its handshake."""
    resolved(monkeypatch)
    names = what["names"]
    others = {name: value for name, value in what.items() if name != "names"}
    with tls_server(authority.certificate(*names, **others), host=address) as server:
        refuses(make(f"https://{host}:{server.port}"), words)
        assert server.connections >= 2
        assert not any(server.received)


def test_a_name_may_end_with_the_root(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """`localhost.` is the same host; certificates never have the point."""
    resolved(monkeypatch)
    with tls_server(authority.certificate("localhost")) as server:
        sink = EventBridgeSink(endpoint_url=f"https://localhost.:{server.port}")
        assert sink.async_sender() is not None
        assert sink.send(batch(1)) == Outcome(1)


def test_who_fails_to_shake_hands_may_come_back(make: Callable[[str], Sink], authority: Authority) -> None:
    """Something that is no TLS at the other end is no impostor: another try later makes sense."""
    with tls_server(None) as server:
        assert [again for _, again in codes(make(f"https://localhost:{server.port}").send(batch(1)))] == [True]
        assert TOKEN.encode() not in b"".join(server.received)


# Whom to trust


@pytest.mark.parametrize("name", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"])
def test_an_empty_name_of_a_bundle_is_no_leave_to_trust_all(
    name: str, authority: Authority, make: Callable[[str], Sink], monkeypatch: pytest.MonkeyPatch
) -> None:
    """For the SDK it would be: no certificate would be looked at any more."""
    monkeypatch.delenv("AWS_CA_BUNDLE")
    monkeypatch.setenv(name, "")
    with tls_server(authority.certificate("localhost")) as server:
        refuses(make(f"https://localhost:{server.port}"), "issuer|authority|self-signed")
        assert not any(server.received)


def test_nor_is_one_in_a_file(
    authority: Authority, make: Callable[[str], Sink], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("AWS_CA_BUNDLE")
    (tmp_path / "config").write_text("[default]\nca_bundle =\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    with tls_server(authority.certificate("localhost")) as server:
        refuses(make(f"https://localhost:{server.port}"), "issuer|authority|self-signed")
        assert not any(server.received)


@pytest.mark.parametrize("how", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "ca_bundle", "home"])
def test_a_bundle_is_found_as_the_sdk_finds_it(
    how: str, authority: Authority, make: Callable[[str], Sink], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("AWS_CA_BUNDLE")
    if how == "ca_bundle":
        (tmp_path / "config").write_text(f"[default]\nca_bundle = {authority.path}\n")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    elif how == "home":
        monkeypatch.setenv("HOME", str(authority.path.parent))
        monkeypatch.setenv("AWS_CA_BUNDLE", f"~/{authority.path.name}")
    else:
        monkeypatch.setenv(how, str(authority.path))
    with tls_server(authority.certificate("localhost")) as server:
        assert make(f"https://localhost:{server.port}").send(batch(1)) == Outcome(1)


@pytest.mark.parametrize("kind", ["none", "empty", "folder", "false"])
def test_a_bundle_that_is_none_stops_the_run(
    kind: str, make: Callable[[str], Sink], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Said by its name before anything is sent."""
    (tmp_path / "empty").touch()
    path = {"none": tmp_path / "none", "empty": tmp_path / "empty", "folder": tmp_path, "false": Path("False")}[kind]
    monkeypatch.setenv("AWS_CA_BUNDLE", str(path))
    with pytest.raises(BadConfig, match="AWS_CA_BUNDLE") as caught:
        make("https://localhost:9")
    assert str(path) in str(caught.value)


def test_a_client_that_looks_at_no_certificate_is_told_of(authority: Authority) -> None:
    """Who hands in such a client of his own is not left in the dark about it."""
    import boto3

    for verify, notes in ((False, [UNCHECKED]), (None, []), (str(authority.path), [])):
        client = boto3.client("events", endpoint_url="https://localhost:9", verify=verify)
        assert EventBridgeSink(client=client).notes == notes
    client = boto3.client("eventbridgev2", endpoint_url="https://localhost:9", verify=False)
    assert EventBridgeV2Sink(bus=V2, client=client).notes == [UNCHECKED]


def test_credentials_come_from_nobody_who_is_not_trusted(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A role is taken on at an endpoint of its own: an impostor there ends the run, too, and gets no key."""
    (tmp_path / "config").write_text(
        "[profile role]\nregion = us-east-1\nrole_arn = arn:aws:iam::123456789012:role/x\nsource_profile = base\n"
        "[profile base]\naws_access_key_id = AKIDEXAMPLE\naws_secret_access_key = hidden\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    with tls_server(authority.certificate("example.com")) as sts, tls_server(authority.certificate("localhost")) as bus:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", f"https://localhost:{sts.port}")
        for transport in WAYS:
            sink = EventBridgeSink(profile="role", endpoint_url=f"https://localhost:{bus.port}", transport=transport)
            with pytest.raises(Untrusted, match=f"localhost:{sts.port}"):
                sink.send(batch(1))
        assert not any(sts.received)
        assert not any(bus.received)


# Proxies


@pytest.mark.parametrize("names", [("localhost",), ("example.com",)])
@pytest.mark.parametrize("host", ["localhost", "[::1]"])
def test_the_endpoint_is_checked_inside_a_tunnel(
    host: str,
    names: tuple[str, ...],
    authority: Authority,
    make: Callable[[str], Sink],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The proxy may say what it wants: the name is the endpoint's own."""
    monkeypatch.delenv("NO_PROXY")
    good = names == ("localhost",)
    address = "::1" if host == "[::1]" else "127.0.0.1"
    names = ("::1",) if good and host == "[::1]" else names
    with tls_server(authority.certificate(*names), host=address) as bus, tls_server(None) as proxy:
        proxy.relay = tunnels(bus.port, host=address)
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        sink = make(f"https://{host}:{bus.port}")
        if good:
            assert sink.send(batch(1)) == Outcome(1)
        else:
            refuses(sink, f"certificate of https://.*:{bus.port}")
            assert not any(bus.received)
        assert proxy.received[0].startswith(f"CONNECT {host}:{bus.port} HTTP/1.".encode())
        assert TOKEN.encode() not in b"".join(proxy.received)


@pytest.mark.parametrize("proxy_name", ["localhost", "example.com"])
@pytest.mark.parametrize("bus_name", ["localhost", "example.com"])
def test_a_proxy_that_speaks_tls_proves_its_own_name(
    proxy_name: str,
    bus_name: str,
    authority: Authority,
    make: Callable[[str], Sink],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before it hears which endpoint is meant; then the endpoint does."""
    monkeypatch.delenv("NO_PROXY")
    with tls_server(authority.certificate(bus_name)) as bus, tls_server(authority.certificate(proxy_name)) as proxy:
        proxy.relay = tunnels(bus.port)
        monkeypatch.setenv("HTTPS_PROXY", f"https://user:p4ssw0rd@localhost:{proxy.port}")
        sink = make(f"https://localhost:{bus.port}")
        if proxy_name != "localhost":
            refuses(sink, f"certificate of https://.*localhost:{proxy.port}")
            assert not any(proxy.received)
        elif bus_name != "localhost":
            refuses(sink, f"certificate of https://localhost:{bus.port}")
        else:
            assert sink.send(batch(1)) == Outcome(1)
        assert any(bus.received) == (proxy_name == bus_name == "localhost")


# Runs


@pytest.mark.parametrize("way", [*WAYS, "v2"])
@pytest.mark.parametrize("spooled", [False, True])
def test_a_replay_to_an_impostor_ends_before_it_began(
    way: str, spooled: bool, authority: Authority, tmp_path: Path
) -> None:
    """Exit code 3 and one line; nothing was sent, nothing is left half done."""
    with tls_server(authority.certificate("example.com")) as server:
        options = ["--bus", V2] if way == "v2" else ["--transport", way]
        options += ["--spool", tmp_path / "s"] if spooled else []
        done = pcapeda(
            "replay", MIXED, *options, "--endpoint-url", f"https://localhost:{server.port}", env=env(authority)
        )
        assert done.returncode == 3
        said = [line for line in done.stderr.decode().splitlines() if "certificate" in line]
        assert len([line for line in said if not line.startswith("hint: ")]) == 1
        assert f"the certificate of https://localhost:{server.port} is not to be trusted" in said[0]
        assert TOKEN not in done.stderr.decode()
        assert not any(server.received)


def test_rules_of_an_account_are_not_asked_of_an_impostor(authority: Authority) -> None:
    """Nor is the token shown; from the right one they are read."""
    with tls_server(authority.certificate("example.com")) as server:
        where = ("--endpoint-url", f"https://localhost:{server.port}")
        done = pcapeda("rules", "list", "aws:", *where, env=env(authority))
        assert done.returncode == 3, done.stderr
        assert "certificate" in complaint(done.stderr)
        assert not any(server.received)
        server.show(authority.certificate("localhost"))
        done = pcapeda("rules", "list", "aws:", *where, env=env(authority))
        assert b"certificate" not in done.stderr
        assert any(server.received)


@pytest.mark.parametrize("transport", WAYS)
@pytest.mark.parametrize("spooled", [False, True])
def test_a_certificate_that_becomes_wrong_ends_the_run(
    transport: Transport, spooled: bool, authority: Authority, tmp_path: Path
) -> None:
    """The first connection, on which the bus is asked for, is the right one; every later one is an impostor."""
    right, wrong = authority.certificate("localhost"), authority.certificate("example.com")
    with tls_server(right, wrong, keep=False) as server:
        bus = Bus(endpoint_url=f"https://localhost:{server.port}", transport=transport)
        job = Job(captures=(str(MIXED),), bus=bus, spool=str(tmp_path / "s") if spooled else None)
        report = execute(job)
        assert report.adds_up()
        assert report.status() is ExitStatus.UNAVAILABLE
        assert isinstance(report.ended_by, Untrusted)
        assert report.sent == 0
        assert (report.spooled if spooled else report.refused["untrusted certificate"]) > 0
        assert not any(server.received[1:])
        if not spooled:
            return
        # Not by resend either, as long as it is another's; then whoever proves to be the bus gets them all.
        with pytest.raises(Untrusted):
            resend(str(tmp_path / "s"), bus)
        assert not any(server.received[1:])
        server.show(right, wrong)
        again = resend(str(tmp_path / "s"), bus)
        assert (again.sent, again.spooled, again.status()) == (0, report.spooled, ExitStatus.UNAVAILABLE)
        server.show(right)
        last = resend(str(tmp_path / "s"), bus)
        assert (last.sent, last.spooled, len(server.accepted)) == (report.spooled, 0, report.spooled)


@pytest.mark.parametrize("transport", WAYS)
def test_a_connection_that_is_sound_does_not_bring_an_impostor_back(transport: Transport, authority: Authority) -> None:
    """Some requests land on connections that were opened rightly while another meets the impostor: it stays the end."""
    right, wrong = authority.certificate("localhost"), authority.certificate("example.com")
    with tls_server(right, right, wrong, right) as server:
        bus = Bus(endpoint_url=f"https://localhost:{server.port}", transport=transport)
        report = execute(Job(captures=(str(FIXTURES / "mixed.pcap"),) * 40, bus=bus))
        assert report.adds_up()
        assert report.sent == len(server.accepted)
        if server.connections > 2:
            assert isinstance(report.ended_by, Untrusted)


@needs_netns
class TestLive:
    """`sniff --spool` waits for a bus that cannot be reached, but never for one that is another's."""

    @pytest.fixture
    def veth(self) -> Iterator[Veth]:
        with veth_pair() as pair:
            yield pair

    @pytest.mark.parametrize("transport", WAYS)
    def test_a_wrong_start_is_the_end(
        self, transport: Transport, veth: Veth, authority: Authority, tmp_path: Path
    ) -> None:
        with tls_server(authority.certificate("example.com")) as server:
            where = ["--endpoint-url", f"https://localhost:{server.port}", "--transport", transport]
            done = pcapeda("sniff", "-i", veth.name, "--spool", tmp_path, *where, env=env(authority))
            assert done.returncode == 3
            assert b"listening" not in done.stderr
            assert done.stderr.count(b"is not to be trusted") == 1
            assert not any(server.received)

    @pytest.mark.parametrize("transport", WAYS)
    def test_a_certificate_that_becomes_wrong_ends_it(
        self, transport: Transport, veth: Veth, authority: Authority, tmp_path: Path
    ) -> None:
        """All that was received by then is in the spool, and nowhere else."""
        with tls_server(authority.certificate("localhost"), authority.certificate("example.com"), keep=False) as server:
            where = ["--endpoint-url", f"https://localhost:{server.port}", "--transport", transport]
            options = ["sniff", "-i", veth.name, "--port", "5514", "--spool", tmp_path, "--log", "json", *where]
            process = start(*options, env=env(authority))
            try:
                assert process.stderr is not None
                read_until(process.stderr.fileno(), b"listening on ")
                veth.send(5514, 25)
                _, talk = process.communicate(timeout=60)
            finally:
                process.kill()
            assert process.returncode == 3, talk
            lines = [json.loads(line) for line in talk.splitlines() if line.startswith(b"{")]
            (summary,) = [line for line in lines if line["kind"] == "summary"]
            assert (summary["sent"], summary["exit_code"]) == (0, 3)
            assert summary["datagrams"] == summary["spooled"] + summary["refused"] > 0
            assert not any(server.received[1:])
            assert len([line for line in lines if "not to be trusted" in line["message"]]) == 1


class Received:
    """A live source that goes on for ever until it is stopped, and still has what it had received by then."""

    granted_buffer, queue_drops = 1 << 20, 0

    def __init__(self) -> None:
        self.stopped = False
        self.given = 0

    def blocks(self) -> Iterator[list[Frame] | None]:
        left = 5
        while left and self.given < 1000:
            left -= self.stopped
            self.given += 1
            yield [Frame(self.given, 1, ethernet(udp4(b"x")), 60, "eth9", self.given)]

    def stop(self) -> None:
        self.stopped = True

    def open(self) -> None:
        """Nothing to open."""

    def close(self) -> None:
        """Nothing to close."""

    def kernel_drops(self) -> int:
        return 0


class Impostor(MemorySink):
    """A sink whose peer is another's from the first request on."""

    def send(self, batch: Batch) -> Outcome:
        raise Untrusted("not to be trusted")


@pytest.mark.parametrize("spooled", [False, True])
@pytest.mark.parametrize("way", [{"max_rate": 1e9}, {"max_rate": 0.0, "max_rate_per_source": 0.0}])
def test_what_was_received_by_the_end_of_a_live_run_is_spooled_or_counted(
    spooled: bool, way: dict[str, Any], tmp_path: Path
) -> None:
    """Receiving stops at once; the packets that had come are not lost without a word."""
    source = Received()
    job = Job(interfaces=("eth9",), spool=str(tmp_path) if spooled else None, **way)
    report = execute(job, sink=Impostor(), source=source)  # type: ignore[arg-type]
    assert source.stopped
    assert 5 <= source.given < 1000
    assert report.adds_up()
    assert (report.datagrams, report.sent) == (source.given, 0)
    assert (report.spooled if spooled else report.refused["untrusted certificate"]) == source.given
    assert report.status() is ExitStatus.UNAVAILABLE
