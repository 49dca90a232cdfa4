"""Secrets never reach a log, a file or an error, in whatever words of others they stand."""

import base64
import json
from collections.abc import Iterator
from html import escape
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcapeda.aws.responses import short_code
from pcapeda.aws.session import one_line
from pcapeda.errors import PcapedaError, SinkDown
from pcapeda.report import Report
from pcapeda.safety import masking
from pcapeda.safety.masking import MASK, hold, hold_login, masked
from tests.command import FIXTURES, pcapeda
from tests.put_events_server import PutEventsServer, Reply, put_events_server

KEY = "AKIAIOSFODNN7EXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
TOKEN = "IQoJb3JpZ2luX2VjEJr//////////wEaCXVzLWVhc3QtMSJHMEUCIQ" + "Dq8+yZ/a" * 40 + "=="
PASSWORD = "c0rrect/horse@battery"
MIXED = FIXTURES / "mixed.pcap"

SECRETS = [KEY, SECRET, TOKEN, PASSWORD, base64.b64encode(f"user:{PASSWORD}".encode()).decode()]
TEXT = st.text(st.characters(codec="ascii", min_codepoint=32), max_size=60)


@pytest.fixture(autouse=True)
def nothing_held() -> Iterator[None]:
    """What a test holds is its own."""
    before = dict(masking._held)
    yield
    masking._held.clear()
    masking._held.update(before)
    masking._hold([])


def shows(text: str, secret: str) -> bool:
    """Whether a text has enough of a secret in a row to know it again."""
    return any(secret[at : at + masking.PIECE] in text for at in range(len(secret) - masking.PIECE + 1))


@given(before=TEXT, after=TEXT, secret=st.sampled_from(SECRETS), spelt=st.integers(0, 6))
def test_what_is_held_is_hidden_wherever_it_stands(before: str, after: str, secret: str, spelt: int) -> None:
    """In any text, spelt in any of the ways in which services echo what they were sent."""
    hold(KEY, SECRET, TOKEN)
    hold_login("user", PASSWORD)
    forms = [
        secret,
        quote(secret, safe=""),
        quote(secret),
        json.dumps(secret)[1:-1],
        secret.replace("/", "\\/"),
        escape(secret),
        secret[:-1],
    ]
    told = masked(f"{before}{forms[spelt]}{after}")
    assert not shows(told, secret)
    assert not shows(told, forms[spelt])
    assert MASK in told
    assert masked(told) == told


@pytest.mark.parametrize("after", ["cookie=token", 'cookie="token', "authorization:signature"])
def test_a_name_right_behind_a_secret_is_one(after: str) -> None:
    """It is no word before the secret is hidden."""
    hold(SECRET)
    told = masked(SECRET + after)
    assert "token" not in told
    assert ":signature" not in told
    assert masked(told) == told


@given(cut=st.tuples(st.integers(0, 300), st.integers(20, 300)), between=st.sampled_from([" ", "\n", "\r\n ", "|"]))
def test_a_part_of_a_secret_is_hidden_too(cut: tuple[int, int], between: str) -> None:
    """A service cuts long messages, and folds long headers into lines."""
    hold(TOKEN)
    piece = TOKEN[cut[0] : cut[0] + cut[1]]
    folded = between.join(piece[at : at + 76] for at in range(0, len(piece), 76))
    assert not shows(masked(f"denied for {folded}"), TOKEN)


@given(secret=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=6, max_size=80))
def test_any_secret_is_hidden(secret: str) -> None:
    """Short ones as words of their own, others anywhere."""
    hold(secret)
    assert secret not in masked(f"told {secret} back")


BY_LOOKS = {
    f"Authorization: AWS4-HMAC-SHA256 Credential={KEY}/20260101/us-east-1/events/aws4_request, "
    "SignedHeaders=host, Signature=" + "ab" * 32: [KEY, "ab" * 32],
    "Authorization=AWS4-HMAC-SHA256 Credential=x9/y, Signature=cafe0123cafe": ["x9/y", "cafe0123cafe"],
    "{'Authorization': 'AWS4 secret1', 'X-Amz-Security-Token': 'secret2', 'Host': 'x'}": ["secret1", "secret2"],
    '{"x-amz-security-token":"secret2","host":"x"}': ["secret2"],
    '{\\"X-Amz-Security-Token\\":\\"secret2\\",\\"Host\\":\\"x\\"}': ["secret2"],
    "[('Authorization', 'AWS4 secret1'), ('Host', 'x')]": ["secret1"],
    "HTTP_X_AMZ_SECURITY_TOKEN=secret2": ["secret2"],
    "The Canonical String should have been\n'POST\n/\n\nx-amz-security-token:secret2\n": ["secret2"],
    "<td>Authorization</td><td>AWS4 secret1</td>": ["secret1"],
    "GET /?X-Amz-Signature=secret1&X-Amz-Security-Token=secret2&X-Amz-Credential=secret3": [
        "secret1",
        "secret2",
        "secret3",
    ],
    "aws_secret_access_key = secret1, AWS_SESSION_TOKEN=secret2": ["secret1", "secret2"],
    '{"SecretAccessKey": "secret1", "SessionToken": "secret2"}': ["secret1", "secret2"],
    "Proxy-Authorization: Basic dXNlcjpwQHNz": ["dXNlcjpwQHNz"],
    "sent Basic dXNlcjpwQHNz to it": ["dXNlcjpwQHNz"],
    "sent Bearer eyJhbGciOiJIUzI1NiJ9.e30.abc to it": ["eyJhbGciOiJIUzI1NiJ9"],
    "cannot reach http://user:secret1@proxy:3128/": ["user", "secret1"],
    "cannot reach http://user:sec/ret1@proxy:3128/": ["ret1"],
    "cannot reach http://secret1@proxy/": ["secret1"],
    "cannot reach user:secret1@proxy:3128": ["secret1"],
    f"no such key: {KEY}": [KEY],
    f"the token {TOKEN} has expired": [TOKEN],
    "Cookie: a=secret1; b=secret2": ["secret1", "secret2"],
}


@pytest.mark.parametrize(("text", "secrets"), BY_LOOKS.items())
def test_secrets_are_known_by_their_looks(text: str, secrets: list[str]) -> None:
    """Also those that this run never held: somebody else's."""
    told = masked(text)
    assert not [secret for secret in secrets if secret in told]
    assert masked(told) == told


@pytest.mark.parametrize(
    "text",
    [
        "User: arn:aws:sts::123456789012:assumed-role/Edge/me@example.com is not authorized to perform: events:Put",
        "The security token included in the request is expired",
        "Signature expired: 20260101T000000Z is now earlier than 20260102T000000Z",
        "Check your AWS Secret Access Key and signing method. Consult the service documentation for details.",
        "to event bus test in us-east-1 of account 123456789012 (https://events.us-east-1.amazonaws.com:443/x)",
        "Basic authentication is not supported; Credential should be scoped to a valid Region",
        "cannot reach https://[::1]:9/: [Errno 111] Connection refused",
        "2026-01-01T00:00:00Z arn:aws:events:us-east-1:123456789012:event-bus/edge",
    ],
)
def test_words_without_secrets_stay(text: str) -> None:
    """A person needs them to find out what is wrong; credentials as emulators have them are words, too."""
    hold("test", "testing", "us", "", None)
    assert masked(text) == text


@given(st.text(max_size=300))
def test_any_text_can_be_masked(text: str) -> None:
    """Nothing fails, and doing it again changes nothing."""
    assert masked(masked(text)) == masked(text)


def test_what_is_held_is_bounded() -> None:
    """Credentials that are renewed for years."""
    for number in range(1000):
        hold(f"{number:06d}" + SECRET)
    assert len(masking._held) <= masking.MOST_HELD
    assert masked(f"000999{SECRET}") == MASK


def test_every_door_is_guarded() -> None:
    """Errors, reports, codes and lines of others."""
    hold(TOKEN)
    error = SinkDown(f"x {TOKEN}", hint=f"y {TOKEN}", code="x")
    assert (str(error), error.hint) == (f"x {MASK}", f"y {MASK}")
    assert str(PcapedaError("http://a:b@c/")) == f"http://{MASK}@c/"
    assert one_line(f"{' ' * 1990}{TOKEN}") == MASK
    assert one_line("x" * 395 + TOKEN) == "x" * 395 + MASK
    assert short_code(KEY) == "UnknownError"
    report = Report()
    report.remember("x", f"z {TOKEN}")
    assert report.messages == {"x": f"z {MASK}"}


# A service that tells everything it hears


def echo(server: PutEventsServer, kind: str) -> Reply:
    heard = server.headers[-1]
    words = {
        "repr": repr(heard),
        "json": json.dumps(heard),
        "lines": "\n".join(f"{name}: {value}" for name, value in heard.items()),
        "bare": " ".join(heard.values()),
        "secret": f"never sent, but known: {SECRET}",
    }.get(kind, "")
    if kind == "entries":
        told = {"ErrorCode": KEY, "ErrorMessage": repr(heard)}
        return Reply(200, {"FailedEntryCount": 1, "Entries": [told for _ in server.requests[-1]["Entries"]]})
    if kind == "code":
        return Reply(400, {"__type": TOKEN[:60], "message": heard["Authorization"]})
    if kind == "html":
        return Reply(502, f"<table><td>Authorization</td><td>{heard['Authorization']}</td>".encode())
    return Reply(400, {"__type": "ValidationException", "message": words})


@pytest.mark.parametrize("kind", ["repr", "json", "lines", "bare", "secret", "entries", "code"])
@pytest.mark.parametrize("options", [["--transport", "fast"], ["--transport", "boto3", "--log", "json"]], ids=" ".join)
def test_an_echo_reaches_neither_log_nor_spool(kind: str, options: list[str], tmp_path: Path) -> None:
    """Whatever a service sends back of a request, in whichever form."""
    environment = {
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_SESSION_TOKEN": TOKEN,
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with put_events_server() as server:
        server.put_events = lambda _: echo(server, kind)
        done = pcapeda(
            "replay", MIXED, *options, "--endpoint-url", server.url, "--spool", tmp_path / "s", env=environment
        )
    assert done.returncode in (1, 3), done.stderr
    signatures = [headers["Authorization"].partition("Signature=")[2] for headers in server.headers]
    assert signatures
    files = [path.read_text("latin-1") for path in tmp_path.rglob("*") if path.is_file()]
    for text in (done.stdout.decode(), done.stderr.decode(), *files):
        for secret in (KEY, SECRET, TOKEN, *(signatures if kind != "bare" else ())):
            assert not shows(text, secret)
    assert done.stderr.decode().isprintable() or "\n" in done.stderr.decode()


def test_credentials_in_urls_are_not_said() -> None:
    """Of the endpoint and of the proxy, whether they are reached or not."""
    environment = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_DEFAULT_REGION": "us-east-1"}
    proxy = {"HTTPS_PROXY": "http://proxyuser:pr0xypass@127.0.0.1:9", "NO_PROXY": ""}
    done = pcapeda("replay", MIXED, "--endpoint-url", "http://someuser:s0mepass@127.0.0.1:9", env=environment)
    other = pcapeda("replay", MIXED, "--endpoint-url", "https://localhost:9", env=environment | proxy)
    for one in (done, other):
        assert one.returncode == 3
        for word in (b"someuser", b"s0mepass", b"proxyuser", b"pr0xypass"):
            assert word not in one.stderr
