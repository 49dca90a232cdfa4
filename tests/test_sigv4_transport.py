"""The fast transport: requests that differ from the SDK's in nothing that matters, along the SDK's own ways."""

import json
import socket
import ssl
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials, RefreshableCredentials
from hypothesis import given
from hypothesis import strategies as st

from pcapeda.aws.connections import EndpointConfig
from pcapeda.aws.responses import UNREACHABLE, Transport
from pcapeda.aws.sigv4_transport import RequestTemplate, Signer
from pcapeda.errors import ExitStatus, SinkDown
from pcapeda.model import Outcome
from pcapeda.sinks.eventbridge import EventBridgeSink
from tests.put_events_server import put_events_server
from tests.test_eventbridge import batch, clean_environment, codes

__all__ = ["clean_environment"]  # a fixture of every test here, too

HEADERS = {"X-Amz-Target": "AWSEvents.PutEvents", "Content-Type": "application/x-amz-json-1.1", "User-Agent": "x"}
WAYS: tuple[Transport, ...] = ("fast", "boto3")


def template(url: str = "https://events.eu-west-1.amazonaws.com/") -> RequestTemplate:
    return RequestTemplate("POST", url, HEADERS, "eu-west-1", "events")


def route(url: str) -> EndpointConfig:
    return EndpointConfig(url, None, {}, ssl.create_default_context, 5, 15)


def headers_of(head: bytes) -> dict[str, str]:
    first, *lines = head.decode().removesuffix("\r\n\r\n").split("\r\n")
    assert first == "POST / HTTP/1.1"
    return dict(line.split(": ", 1) for line in lines)


# Signing


@given(
    body=st.binary(max_size=300),
    secret=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=60),
    token=st.none() | st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=60),
    url=st.sampled_from(["https://events.eu-west-1.amazonaws.com/", "http://127.0.0.1:4566/", "http://Localhost:80"]),
)
def test_a_signature_is_botocore_s_own(body: bytes, secret: str, token: str | None, url: str) -> None:
    """For any body and credentials: what botocore's signer writes for the whole request at that second."""
    credentials = Credentials("AKIDEXAMPLE", secret, token)
    signer = Signer(credentials, template(url), route(url))
    signer.head(b"another body in the same second")
    told = headers_of(signer.head(body))
    request = AWSRequest("POST", url, HEADERS, data=body)
    botocore = SigV4Auth(credentials, "events", "eu-west-1")
    with pytest.MonkeyPatch.context() as patch:
        now = datetime.strptime(told["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        patch.setattr("botocore.auth.get_current_datetime", lambda *_, **__: now)
        botocore.add_auth(request)
    wanted = dict(request.headers) | {"Host": told["Host"], "Content-Length": str(len(body))}
    assert told == wanted


def test_both_transports_say_the_same_of_themselves() -> None:
    """Target, type, user agent, what is signed and what the body says are equal, whoever makes the request."""
    with put_events_server() as server:
        for transport in WAYS:
            sink = EventBridgeSink(bus="edge", endpoint_url=server.url, transport=transport)
            assert sink.send(batch(3)) == Outcome(3)
            sink.close()
        fast, sdk = server.headers
        assert server.requests[0] == server.requests[1]
    own = {"amz-sdk-invocation-id", "amz-sdk-request", "Accept-Encoding", "Content-Length", "X-Amz-Date"}
    assert fast.keys() | own == sdk.keys() | own
    for name in ("X-Amz-Target", "Content-Type", "User-Agent", "Host"):
        assert fast[name] == sdk[name]
    signed = [one["Authorization"].split("Signature=")[0] for one in (fast, sdk)]
    assert signed[0] == signed[1]


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"AWS_USE_FIPS_ENDPOINT": "true"},
        {"AWS_USE_DUALSTACK_ENDPOINT": "true"},
        {"AWS_DEFAULT_REGION": "cn-north-1"},
        {"AWS_ENDPOINT_URL_EVENTBRIDGE": "http://127.0.0.1:4566"},
        {"AWS_ENDPOINT_URL": "http://localhost:4566/path/"},
    ],
    ids=str,
)
def test_requests_go_where_the_sdk_sends_them(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Endpoint and signing Region under each setting are those of a request that the SDK itself prepares."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    sink = EventBridgeSink()
    seen: list[Any] = []

    def stop(request: Any, **_: object) -> None:
        seen.append(request)
        raise InterruptedError

    sink._client.meta.events.register_first("before-send.eventbridge.PutEvents", stop)
    with pytest.raises(InterruptedError):
        sink._client.put_events(Entries=[])
    assert sink._fast is not None
    head = sink._fast.head(b"")
    assert sink._fast._template.url == seen[0].url
    scope = seen[0].headers["Authorization"].decode().split("Credential=")[1].split(",")[0]
    assert f"Credential={scope}, " in head.decode()


# Credentials


def test_credentials_are_renewed_when_they_are_due(monkeypatch: pytest.MonkeyPatch) -> None:
    """Near their end the next request is said to be slow and bears new keys; until then nothing is asked for."""
    now = datetime(2026, 11, 25, 12, tzinfo=UTC)
    asked = 0

    def renew() -> dict[str, str]:
        nonlocal asked
        asked += 1
        end = (now + timedelta(hours=1)).isoformat()
        return {"access_key": f"KEY{asked}", "secret_key": "s", "token": f"t{asked}", "expiry_time": end}

    credentials = RefreshableCredentials.create_from_metadata(renew(), renew, "test")
    credentials._time_fetcher = lambda: now
    monkeypatch.setattr("pcapeda.aws.sigv4_transport.time.time", lambda: now.timestamp())
    signer = Signer(credentials, template(), route("https://x/"))
    keys = []
    for minutes in (0, 20, 55, 55, 56):
        now = datetime(2026, 11, 25, 12, tzinfo=UTC) + timedelta(minutes=minutes)
        slow = signer.slow
        told = headers_of(signer.head(b""))
        keys.append((slow, told["Authorization"].split("Credential=")[1].split("/")[0], told["X-Amz-Security-Token"]))
    first, second = (False, "KEY1", "t1"), (False, "KEY2", "t2")
    assert keys == [first, first, (True, "KEY2", "t2"), second, second]
    assert asked == 2


@pytest.mark.parametrize("transport", WAYS)
def test_credentials_that_cannot_be_renewed_end_the_sending(
    transport: Transport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that gives credentials once and then fails: SinkDown, as nobody could sign the next request either."""
    script, config = tmp_path / "login.py", tmp_path / "config"
    end = (datetime.now(UTC) + timedelta(minutes=1)).isoformat()
    given = {"Version": 1, "AccessKeyId": "KEY", "SecretAccessKey": "s", "SessionToken": "t", "Expiration": end}
    ticket, used = tmp_path / "ticket", tmp_path / "used"
    script.write_text(f"import os\nos.rename({str(ticket)!r}, {str(used)!r})\nprint({json.dumps(given)!r})\n")
    config.write_text(f"[default]\nregion = us-east-1\ncredential_process = {sys.executable} {script}\n")
    ticket.touch()
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name)
    with put_events_server() as server:
        sink = EventBridgeSink(endpoint_url=server.url, transport=transport)
        with pytest.raises(SinkDown, match="no AWS credentials") as caught:
            sink.send(batch(1))
        assert caught.value.code == "NoCredentials"
        used.rename(ticket)
        assert sink.send(batch(1)) == Outcome(1)
        assert server.headers[-1]["X-Amz-Security-Token"] == "t"
        sink.close()


@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"])
@pytest.mark.parametrize("odd", ["\r", "\n", "\r\n", "\t", "\x7f", " ", "\x85", "é", "\N{LINE SEPARATOR}"])
@pytest.mark.parametrize("where", ["{}abcdef", "abc{}X-Evil: b", "abcdef{}"])
@pytest.mark.parametrize("transport", WAYS)
def test_credentials_that_no_header_can_carry_are_refused(
    transport: Transport, where: str, odd: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of these characters alone, anywhere in any of them: said in one line that does not show them."""
    monkeypatch.setenv(name, where.format(odd))
    with put_events_server() as server:
        with pytest.raises(SinkDown, match=r"AWS credentials: the .* holds") as caught:
            EventBridgeSink(endpoint_url=server.url, transport=transport)
        assert caught.value.code == "NoCredentials"
        assert caught.value.status is ExitStatus.UNAVAILABLE
        assert "line break" in str(caught.value) or not set(odd) & set("\r\n")
        assert "abc" not in str(caught.value)
        assert str(caught.value).isprintable()
        assert server.requests == []


@pytest.mark.parametrize("odd", ["\r", "\n"])
@pytest.mark.parametrize("transport", WAYS)
def test_nor_are_those_that_come_over_the_network(
    transport: Transport, odd: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process or a role gives them only when the first request is made."""
    given = {"Version": 1, "AccessKeyId": "KEY", "SecretAccessKey": "s", "SessionToken": f"t{odd}X-Evil:b"}
    end = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    script, config = tmp_path / "login.py", tmp_path / "config"
    script.write_text(f"print({json.dumps(given | {'Expiration': end})!r})\n")
    config.write_text(f"[default]\nregion = us-east-1\ncredential_process = {sys.executable} {script}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name)
    with put_events_server() as server:
        sink = EventBridgeSink(endpoint_url=server.url, transport=transport)
        with pytest.raises(SinkDown, match="the session token holds a line break"):
            sink.send(batch(1))
        assert server.requests == []


def test_text_that_is_no_unicode_is_sent_escaped() -> None:
    """A lone surrogate, as in a file name that is no UTF-8, arrives as the SDK would send it."""
    odd = batch(1).entries[0]._replace(detail='{"File":"\udcff"}')
    with put_events_server() as server:
        for transport in WAYS:
            sink = EventBridgeSink(endpoint_url=server.url, transport=transport)
            assert sink.send(batch(1)._replace(entries=(odd,))) == Outcome(1)
            sink.close()
        assert server.requests[0] == server.requests[1]


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for localhost that nobody trusts of himself, and its key, in one file."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(x509.OID_COMMON_NAME, "test")])
    now = datetime.now(UTC)
    built = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(1), now + timedelta(1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    path.write_bytes(
        built.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


def pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(1 << 16):
            sink.sendall(data)
    except OSError:
        pass
    finally:
        for one in (source, sink):
            one.close()


class Proxy:
    """An HTTP proxy with a password, for CONNECT and for whole URLs. Whatever is asked for, it goes to `port`."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.own = self.listener.getsockname()[1]
        self.seen: list[bytes] = []
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        while True:
            connection, _ = self.listener.accept()
            threading.Thread(target=self.relay, args=(connection,), daemon=True).start()

    def relay(self, client: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += client.recv(1 << 16)
        self.seen.append(head)
        if b"Basic dXNlcjpwQHNz" not in head:  # user:p@ss
            client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            client.close()
            return
        server = socket.create_connection(("127.0.0.1", self.port))
        if head.startswith(b"CONNECT "):
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            server.sendall(head)
        threading.Thread(target=pump, args=(server, client), daemon=True).start()
        pump(client, server)


@pytest.mark.parametrize("transport", WAYS)
@pytest.mark.parametrize("secure", [False, True])
def test_proxies_are_used_with_their_password(
    certificate: Path, secure: bool, transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HTTP_PROXY and HTTPS_PROXY with user and password; NO_PROXY spares; the wrong password is refused by name."""
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
    monkeypatch.delenv("NO_PROXY")
    with put_events_server(certificate if secure else None) as server:
        proxy = Proxy(int(server.url.rsplit(":", 1)[1]))

        def send(password: str) -> Outcome:
            where = f"http://user:{password}@127.0.0.1:{proxy.own}"
            monkeypatch.setenv("HTTPS_PROXY" if secure else "HTTP_PROXY", where)
            sink = EventBridgeSink(endpoint_url=server.url, transport=transport)
            try:
                return sink.send(batch(1))
            finally:
                sink.close()

        assert send("p%40ss") == Outcome(1)
        target = f"CONNECT localhost:{proxy.port} " if secure else f"POST {server.url}/ "
        assert proxy.seen[0].startswith(target.encode())
        assert codes(send("wrong")) == [(UNREACHABLE, True) if secure else ("407", False)]
        used = len(proxy.seen)
        monkeypatch.setenv("NO_PROXY", "localhost,127.0.0.1")
        assert send("p%40ss") == Outcome(1)
        assert len(proxy.seen) == used
        assert len(server.requests) == 2


def test_what_only_the_sdk_can_do_is_left_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that itself speaks TLS, and a client that was handed in: boto3 makes the requests; a note says why."""
    path = EventBridgeSink(endpoint_url="http://127.0.0.1:9/a%20b?c=d")
    assert path.notes == [
        "requests are made by boto3: the endpoint's URL has more than a host, a port and a plain path"
    ]
    monkeypatch.setenv("HTTPS_PROXY", "https://127.0.0.1:9")
    sink = EventBridgeSink()
    assert sink.async_sender() is None
    assert sink.notes == ["requests are made by boto3: a proxy that speaks https"]
    assert codes(sink.send(batch(1))) == [(UNREACHABLE, True)]
    handed = EventBridgeSink(client=sink._client)
    assert (handed.async_sender(), handed.notes, handed.concurrency) == (None, [], 8)
    assert EventBridgeSink(transport="boto3").async_sender() is None
