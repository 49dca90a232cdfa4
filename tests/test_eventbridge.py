"""The sink for an event bus, over real HTTP: nothing counts as sent without proof, and every failure has a name."""

import json
import os
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcapeda.aws.responses import MALFORMED, REFUSED, TOO_LARGE, WORTH_ANOTHER_TRY, outcome_of
from pcapeda.aws.wire import entry_json
from pcapeda.errors import BadConfig, ExitStatus, SinkDown
from pcapeda.events.shape import Shape
from pcapeda.model import Batch, Entry, Failed, Outcome
from pcapeda.sinks.eventbridge import EventBridgeSink
from tests.command import CLEAN, FAKE_AWS, FIXTURES, pcapeda
from tests.datagrams import EXAMPLE
from tests.moto_server import client, logged, moto_server, rule_into_log_group
from tests.put_events_server import PutEventsServer, Reply, accepted, error, found, put_events_server

Make = Callable[..., EventBridgeSink]
ARTICLE_RULE = json.dumps({"source": ["udp.raw"], "detail": {"Destination": {"Port": [514]}}})
ARN = "arn:aws:events:us-east-1:123456789012:event-bus/edge"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials that need not be real, and nothing of the person's own AWS configuration."""
    for name in [name for name in os.environ if name.startswith("AWS_") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    for name, value in (CLEAN | FAKE_AWS).items():
        monkeypatch.setenv(name, value)


@pytest.fixture(params=["fast", "boto3"])
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    """Makes sinks: what holds for one transport holds for the other."""
    made = []

    def make(**options: Any) -> EventBridgeSink:
        made.append(EventBridgeSink(**{"transport": request.param} | options))
        return made[-1]

    yield make
    for sink in made:
        sink.close()


@pytest.fixture
def server() -> Iterator[PutEventsServer]:
    with put_events_server() as server:
        yield server


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    with moto_server() as url:
        yield url


def entry(number: int = 0) -> Entry:
    return Shape().entry(EXAMPLE._replace(number=number + 1))


def batch(count: int) -> Batch:
    entries = tuple(entry(number) for number in range(count))
    return Batch(entries, sum(one.size for one in entries))


def codes(outcome: Outcome) -> list[tuple[str, bool]]:
    return [(failed.code, failed.retryable) for failed in outcome.failed]


# What goes over the wire


def test_a_request_is_what_the_service_asks_for(make: Make, server: PutEventsServer) -> None:
    """Ten entries in order, members by their names, time in whole seconds, signed, and said to come from pcapeda."""
    sink = make(bus="edge", endpoint_url=server.url)
    sent = batch(10)
    assert sink.send(sent) == Outcome(10)
    (request,) = server.requests
    assert [one["Detail"] for one in request["Entries"]] == [one.detail for one in sent.entries]
    assert {json.dumps({**one, "Detail": None}) for one in request["Entries"]} == {
        json.dumps(
            {
                "Source": "udp.raw",
                "DetailType": "UdpPacket",
                "Detail": None,
                "Time": 1_775_861_044,
                "EventBusName": "edge",
            }
        )
    }
    (headers,) = server.headers
    assert headers["Authorization"].startswith("AWS4-HMAC-SHA256 Credential=testing/")
    assert "pcapeda/" in headers["User-Agent"]


def test_members_that_are_not_there_are_not_sent(make: Make, server: PutEventsServer) -> None:
    """No time means the time of sending, no bus means the default one; resources come when there are some."""
    sink = make(endpoint_url=server.url)
    plain = Shape(time="now").entry(EXAMPLE)
    owned = Shape(resources=("arn:one", "arn:two")).entry(EXAMPLE)
    sink.send(Batch((plain, owned), plain.size + owned.size))
    first, second = server.requests[0]["Entries"]
    assert first.keys() == {"Source", "DetailType", "Detail"}
    assert second.keys() == {"Source", "DetailType", "Detail", "Time", "Resources"}
    assert second["Resources"] == ["arn:one", "arn:two"]


def test_many_threads_share_one_sink(make: Make, server: PutEventsServer) -> None:
    """As many calls at once as `concurrency` promises, each with its own answer."""
    sink = make(endpoint_url=server.url, concurrency=8)
    batches = [batch(size % 10 + 1) for size in range(40)]
    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(sink.send, batches))
    sink.close()
    assert outcomes == [Outcome(len(one.entries)) for one in batches]
    assert sorted(len(request["Entries"]) for request in server.requests) == sorted(len(b.entries) for b in batches)


# How results are judged


def test_each_entry_has_its_own_result(make: Make, server: PutEventsServer) -> None:
    """HTTP 200 with failures inside: codes of the service are told apart by whether another try makes sense."""
    results: list[Any] = [
        {"EventId": "1"},
        {"ErrorCode": "ThrottlingException", "ErrorMessage": "Rate exceeded"},
        {"ErrorCode": "InternalFailure"},
        {"ErrorCode": "InternalException"},
        {"ErrorCode": "MalformedDetail", "ErrorMessage": "Detail is malformed."},
        {"ErrorCode": "NotAuthorizedForSourceException"},
        {"ErrorCode": "NobodyKnowsThisOne"},
        {"EventId": "2"},
        {},
        {"EventId": ""},
    ]
    server.put_events = lambda _: Reply(200, {"FailedEntryCount": 8, "Entries": results})
    sent = batch(10)
    outcome = make(endpoint_url=server.url).send(sent)
    assert outcome.sent == 2
    assert [failed.entry for failed in outcome.failed] == [sent.entries[n] for n in (1, 2, 3, 4, 5, 6, 8, 9)]
    assert codes(outcome) == [
        ("ThrottlingException", True),
        ("InternalFailure", True),
        ("InternalException", True),
        ("MalformedDetail", False),
        ("NotAuthorizedForSourceException", False),
        ("NobodyKnowsThisOne", False),
        (MALFORMED, True),
        (MALFORMED, True),
    ]
    assert outcome.failed[0].message == "Rate exceeded"


def test_the_count_of_failures_proves_nothing(make: Make, server: PutEventsServer) -> None:
    """FailedEntryCount 0 beside a result without EventId does not make it sent."""
    server.put_events = lambda _: Reply(200, {"FailedEntryCount": 0, "Entries": [{"EventId": "1"}, {}]})
    assert codes(make(endpoint_url=server.url).send(batch(2))) == [(MALFORMED, True)]


@pytest.mark.parametrize(
    "reply",
    [
        Reply(200, b""),
        Reply(200, b"<html>Welcome</html>"),
        Reply(200, b'{"Entries": [{"EventId": "1"'),
        Reply(200, b"\xff\xfe\x00"),
        Reply(200, b"null"),
        Reply(200, b"[]"),
        Reply(200, {}),
        Reply(200, {"Entries": None}),
        Reply(200, {"Entries": "ab"}),
        Reply(200, {"Entries": [{"EventId": "1"}]}),
        Reply(200, {"Entries": [{"EventId": "1"}] * 3}),
        Reply(200, {"Entries": [None, None]}),
        Reply(200, {"Entries": [1, "x"]}),
        Reply(200, {"Entries": [{"EventId": 5}, {"EventId": ["1"]}]}),
        Reply(200, b"[" * 100_000),
        Reply(200, b'{"Entries": ' + b"[" * 100_000),
        Reply(200, b"{}", headers={"Content-Length": "1000"}),
        Reply(204, b""),
        Reply(101, b""),
        None,
    ],
    ids=lambda reply: "dropped" if reply is None else f"{reply.status}-{reply.body[:24]!r}",
)
def test_an_answer_that_proves_nothing_counts_nothing_as_sent(
    make: Make, server: PutEventsServer, reply: Reply | None
) -> None:
    """Empty, cut, foreign, hostile answers and dropped connections: both entries failed and may be tried again."""
    server.put_events = lambda _: reply
    outcome = make(endpoint_url=server.url).send(batch(2))
    assert outcome.sent == 0
    assert [failed.retryable for failed in outcome.failed] == [True, True]
    assert len(server.requests) == 1  # the SDK's own attempts are off


def test_codes_are_words_of_bounded_number_and_messages_one_printable_line(make: Make, server: PutEventsServer) -> None:
    """What an endpoint says never speaks to the terminal and never grows the report without bound."""
    results: list[Any] = [
        {"ErrorCode": {"a": 1}, "ErrorMessage": ["x"]},
        {"ErrorCode": "\x1b[31mred"},
        {"ErrorCode": "x" * 65},
        {"ErrorCode": "Fine", "ErrorMessage": "a\nb\x1b[2J" + "x" * 5000},
    ]
    server.put_events = lambda _: Reply(200, {"Entries": results})
    outcome = make(endpoint_url=server.url).send(batch(4))
    assert [failed.code for failed in outcome.failed] == ["UnknownError"] * 3 + ["Fine"]
    message = outcome.failed[3].message
    assert message.isprintable()
    assert message.startswith("a b")
    assert len(message) <= 400


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from(["EventId", "ErrorCode"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["EventId", "ErrorCode", "ErrorMessage", "x"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(_json | st.lists(_json, min_size=3, max_size=3))
def test_judging_never_fails_and_answers_for_each_entry(results: object) -> None:
    """Whatever JSON comes back: each entry is sent or failed, in order, and sent only by an EventId of its own."""
    entries = batch(3).entries
    outcome = outcome_of(entries, results)
    assert outcome.sent + len(outcome.failed) == 3
    lost = [failed.entry for failed in outcome.failed]
    assert lost == [one for one in entries if one in lost]
    for one, result in zip(entries, results if isinstance(results, list) and len(results) == 3 else [], strict=False):
        if one not in lost:
            assert isinstance(result, dict)
            assert result["EventId"]
            assert not result.get("ErrorCode")


# Whole requests that fail


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (error(400, "ThrottlingException"), "ThrottlingException"),
        (error(400, "com.amazonaws.events#ThrottlingException"), "ThrottlingException"),
        (error(403, "RequestLimitExceeded"), "RequestLimitExceeded"),
        (error(500, "InternalFailure"), "InternalFailure"),
        (error(500, "NobodyKnowsThisOne"), "NobodyKnowsThisOne"),
        (Reply(500, b"<html>oops</html>"), "500"),
        (Reply(502, b""), "502"),
        (Reply(503, b"\xff"), MALFORMED),
        (Reply(503, [1]), MALFORMED),
        (Reply(429, b""), "429"),
        (error(408, "RequestTimeoutException"), "RequestTimeoutException"),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{value.status}",
)
def test_what_passes_by_itself_may_be_tried_again(make: Make, server: PutEventsServer, reply: Reply, code: str) -> None:
    """Throttling and the service's own trouble: all entries failed, worth another try, under the service's code."""
    server.put_events = lambda _: reply
    assert codes(make(endpoint_url=server.url).send(batch(2))) == [(code, True)] * 2
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (error(400, "ValidationException", "1 validation error detected"), "ValidationException"),
        (Reply(404, b"not here"), "404"),
        (Reply(301, b"", headers={"Location": "http://127.0.0.1:9/"}), "301"),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{value.status}",
)
def test_what_is_wrong_with_a_request_stays_wrong(make: Make, server: PutEventsServer, reply: Reply, code: str) -> None:
    """Other answers of the kind 'your fault' are final for these entries and say nothing of the next ones."""
    server.put_events = lambda _: reply
    assert codes(make(endpoint_url=server.url).send(batch(2))) == [(code, False)] * 2


@pytest.mark.parametrize(
    "reply", [error(413, "RequestEntityTooLargeException"), Reply(413, b"<html>"), Reply(413, b"")]
)
def test_a_request_that_is_too_large_has_a_code_of_its_own(make: Make, server: PutEventsServer, reply: Reply) -> None:
    """Whoever says so, the service or a proxy before it: each entry may fare better in a smaller request."""
    server.put_events = lambda _: reply
    assert codes(make(endpoint_url=server.url).send(batch(2))) == [("413", True)] * 2
    assert "413" in TOO_LARGE


@pytest.mark.parametrize(
    "reply",
    [
        error(400, "AccessDeniedException", "User: arn:aws:iam::123456789012:user/x is not authorized"),
        error(403, "ExpiredTokenException", "The security token included in the request is expired"),
        error(400, "UnrecognizedClientException", "The security token included in the request is invalid."),
        error(403, "InvalidSignatureException", "Signature expired"),
        error(400, "ResourceNotFoundException", "Event bus edge does not exist."),
        Reply(403, b"Forbidden by the proxy"),
    ],
    ids=lambda reply: f"{reply.status}-{reply.body[:40]!r}",
)
def test_what_every_request_would_meet_ends_the_sending(make: Make, server: PutEventsServer, reply: Reply) -> None:
    """Denied, expired, unknown: SinkDown with the service's own words in one line, exit code 3."""
    server.put_events = lambda _: reply
    with pytest.raises(SinkDown) as caught:
        make(endpoint_url=server.url).send(batch(2))
    assert caught.value.status is ExitStatus.UNAVAILABLE
    assert str(caught.value).isprintable()
    words = json.loads(reply.body)["message"] if reply.body.startswith(b"{") else "Forbidden by the proxy"
    assert words in str(caught.value)


def test_no_code_is_both_passing_and_refused() -> None:
    """The two lists exclude each other."""
    assert not WORTH_ANOTHER_TRY & REFUSED


def test_nobody_at_the_endpoint_may_be_back_later(make: Make) -> None:
    """While sending, a refused connection fails the entries, worth another try; the check before it raises."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound, not listening: connections are refused and nobody else gets the port
        sink = make(endpoint_url=f"http://127.0.0.1:{held.getsockname()[1]}")
        assert codes(sink.send(batch(2))) == [("unreachable", True)] * 2
        with pytest.raises(SinkDown, match="cannot reach http://127") as caught:
            sink.check()
    assert caught.value.hint is not None


def test_a_server_that_speaks_no_tls_is_not_reached(make: Make, server: PutEventsServer) -> None:
    """https:// to a plain port: one line, no traceback."""
    sink = make(endpoint_url=server.url.replace("http:", "https:"))
    with pytest.raises(SinkDown, match="cannot reach"):
        sink.check()


def test_a_slow_answer_is_no_proof(make: Make, server: PutEventsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Past the read timeout the entries are unproven: failed, worth another try."""
    import threading

    release = threading.Event()

    def slow(request: dict[str, Any]) -> Reply:
        release.wait(30)
        return accepted(request)

    server.put_events = slow
    monkeypatch.setattr("pcapeda.aws.session.READ_TIMEOUT_S", 0.2)
    outcome = make(endpoint_url=server.url).send(batch(1))
    release.set()
    assert codes(outcome) == [("connection lost", True)]


# The check before a run


def test_a_bus_that_is_there_passes_and_tells_the_account(server: PutEventsServer) -> None:
    """After check(), describe() names bus, Region, account and endpoint; there is nothing to note."""
    sink = EventBridgeSink(bus="edge", endpoint_url=server.url)
    sink.check()
    assert sink.notes == []
    assert sink.describe() == f"event bus edge in us-east-1 of account 123456789012 ({server.url})"
    assert sink.hosts == ("127.0.0.1",)
    assert sink.costs_money


def test_an_unknown_bus_is_found_by_the_check(moto: str) -> None:
    """PutEvents would take events for it without a word, so the check asks for the bus itself."""
    with pytest.raises(SinkDown, match="no event bus nowhere in us-east-1") as caught:
        EventBridgeSink(bus="nowhere", endpoint_url=moto).check()
    assert caught.value.code == "ResourceNotFoundException"
    EventBridgeSink(endpoint_url=moto).check()


def test_not_being_allowed_to_ask_is_no_error(server: PutEventsServer) -> None:
    """A least-privilege policy may lack events:DescribeEventBus: a sentence says what that means, and no more."""
    server.describe = lambda _: error(400, "AccessDeniedException", "not authorized to perform events:DescribeEventBus")
    sink = EventBridgeSink(bus="edge", endpoint_url=server.url)
    sink.check()
    (note,) = sink.notes
    assert "events:DescribeEventBus is not allowed" in note
    assert "drops them" in note
    assert sink.send(batch(1)) == Outcome(1)
    default = EventBridgeSink(endpoint_url=server.url)
    default.check()
    assert default.notes == []


@pytest.mark.parametrize(
    "code", ["ExpiredTokenException", "UnrecognizedClientException", "InvalidSignatureException", "OptInRequired"]
)
def test_bad_credentials_are_found_by_the_check(server: PutEventsServer, code: str) -> None:
    """Expired, unknown and wrong keys end the run before anything is read."""
    server.describe = lambda _: error(400, code, "words of the service")
    with pytest.raises(SinkDown, match=f"{code}: words of the service"):
        EventBridgeSink(endpoint_url=server.url).check()


@pytest.mark.parametrize(
    "reply",
    [
        error(500, "InternalFailure"),
        error(400, "ThrottlingException"),
        error(400, "UnknownOperationException"),
        Reply(404, b"<html>"),
        Reply(200, b"<html>"),
        Reply(200, b"[]"),
        None,
    ],
    ids=lambda reply: "dropped" if reply is None else f"{reply.status}-{reply.body[:30]!r}",
)
def test_a_check_without_a_clear_answer_leaves_it_to_the_sending(server: PutEventsServer, reply: Reply | None) -> None:
    """Trouble that may pass, or an emulator that cannot be asked, does not stop a run that could work."""
    server.describe = lambda _: reply
    sink = EventBridgeSink(bus="edge", endpoint_url=server.url)
    sink.check()
    assert sink.send(batch(1)) == Outcome(1)
    assert all(note.isprintable() for note in sink.notes)


# Where the account and the endpoint come from


def test_no_region_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a Region in reach the line names the option."""
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(BadConfig, match="Region") as caught:
        EventBridgeSink()
    assert "--region" in (caught.value.hint or "")


def test_no_credentials_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without credentials in reach, and with half of them."""
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(SinkDown, match="credentials"):
        EventBridgeSink()
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(SinkDown, match="no AWS credentials"):
        EventBridgeSink()


def test_a_profile_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """By option and by environment variable, the profile is named."""
    with pytest.raises(BadConfig, match="nobody"):
        EventBridgeSink(profile="nobody")
    monkeypatch.setenv("AWS_PROFILE", "no-one")
    with pytest.raises(BadConfig, match="no-one"):
        EventBridgeSink()


def test_a_profile_gives_region_and_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """--profile works as it does for the AWS CLI."""
    (tmp_path / "config").write_text(
        "[profile edge]\nregion = eu-central-1\naws_access_key_id = a\naws_secret_access_key = b\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    for name in FAKE_AWS:
        monkeypatch.delenv(name)
    sink = EventBridgeSink(profile="edge")
    assert sink.describe() == "event bus default in eu-central-1 (https://events.eu-central-1.amazonaws.com)"


def test_a_configuration_that_cannot_be_read_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A broken file is one line, not a traceback."""
    (tmp_path / "config").write_text("[profile\nnonsense")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    with pytest.raises(BadConfig, match="AWS configuration"):
        EventBridgeSink()


@pytest.mark.parametrize("url", ["nonsense", "http://", "ftp:/x", "http://127.0.0.1:999999"])
def test_an_endpoint_that_is_no_url_is_one_line(url: str) -> None:
    """Found when it is built or when it is asked, never as a traceback."""
    with pytest.raises((BadConfig, SinkDown)) as caught:
        EventBridgeSink(endpoint_url=url).check()
    assert str(caught.value).isprintable()


def test_a_region_that_is_none_is_one_line() -> None:
    """The option is named, and not another one."""
    with pytest.raises(BadConfig, match="--region"):
        EventBridgeSink(region="no region!")


def test_the_sdk_s_own_endpoint_variable_is_honoured(
    make: Make, server: PutEventsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AWS_ENDPOINT_URL_EVENTBRIDGE works without any option."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_EVENTBRIDGE", server.url)
    assert make().send(batch(1)) == Outcome(1)


def test_an_arn_brings_its_region_and_contradictions_are_refused() -> None:
    """The ARN's Region is used; another --region is an error."""
    arn = ARN.replace("us-east-1", "eu-west-1")
    told = EventBridgeSink(bus=arn).describe()
    assert told == "event bus edge in eu-west-1 of account 123456789012 (https://events.eu-west-1.amazonaws.com)"
    with pytest.raises(BadConfig, match="--region us-east-1"):
        EventBridgeSink(bus=arn, region="us-east-1")


def test_a_smaller_limit_for_an_emulator() -> None:
    """max_request_bytes bounds the batches; everything else of the limits stays."""
    assert EventBridgeSink(max_request_bytes=262_144).limits == EventBridgeSink().limits._replace(max_bytes=262_144)


# Against moto


@pytest.mark.parametrize("shape", ["full", "minimal", "proxylity"])
def test_a_rule_for_port_514_selects_syslog_from_every_shape_but_proxylity(make: Make, moto: str, shape: Any) -> None:
    """A real rule engine delivers exactly the event for port 514, member by member."""
    bus = f"bus-{uuid4().hex}"
    client("events", moto).create_event_bus(Name=bus)
    rule_into_log_group(moto, name=bus, pattern=ARTICLE_RULE, bus=bus)
    entries = tuple(Shape(shape).entry(EXAMPLE._replace(destination_port=port)) for port in (53, 514, 5140))
    sink = make(bus=bus, endpoint_url=moto)
    sink.check()
    assert sink.send(Batch(entries, sum(one.size for one in entries))) == Outcome(3)
    messages = [json.loads(message) for message in logged(moto, bus)]
    told = ("source", "detail-type", "time", "region", "resources", "detail")  # moto leaves the account out
    event = entries[1].envelope()
    wanted = [] if shape == "proxylity" else [{member: event[member] for member in told}]
    assert [{member: message[member] for member in told} for message in messages] == wanted


def test_a_refusal_of_moto_is_a_final_failure(make: Make, moto: str) -> None:
    """An entry without a source is refused by name; its neighbour is sent."""
    good, bad = entry(), entry(1)._replace(source="")
    outcome = make(endpoint_url=moto).send(Batch((good, bad), good.size + bad.size))
    assert outcome == Outcome(
        1,
        (
            Failed(
                bad, "InvalidArgument", False, "Parameter Source is not valid. Reason: Source is a required argument."
            ),
        ),
    )


def test_entry_lines_are_what_boto3_takes(moto: str) -> None:
    """Lines of entry_json as Entries, ten at a time, with the SDK's own validation on: time and resources too."""
    shapes = [Shape(), Shape(resources=(ARN,)), Shape(time="now"), Shape("minimal"), Shape("proxylity")]
    lines = [entry_json(shape.entry(EXAMPLE), bus) for shape in shapes for bus in (None, "default")]
    answer = client("events", moto).put_events(Entries=[json.loads(line) for line in lines])
    assert answer["FailedEntryCount"] == 0
    assert len(answer["Entries"]) == 10


def test_found_is_what_the_service_says() -> None:
    """The small server's DescribeEventBus answer has the members of the real one."""
    assert json.loads(found({"Name": ARN}).body) == {"Name": "edge", "Arn": ARN}


def test_credentials_that_were_replaced_are_found(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After `renew` the credentials file's new keys sign; a file that is gone changes nothing."""
    file = tmp_path / "credentials"
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with put_events_server() as server:
        file.write_text("[default]\naws_access_key_id = OLDKEY\naws_secret_access_key = x\n")
        sink = make(region="us-east-1", endpoint_url=server.url)
        assert sink.send(batch(1)).sent == 1
        file.write_text("[default]\naws_access_key_id = NEWKEY\naws_secret_access_key = y\n")
        sink.renew()
        assert sink.send(batch(1)).sent == 1
        file.unlink()
        sink.renew()
        assert sink.send(batch(1)).sent == 1
        keys = [headers["Authorization"].split("Credential=")[1].split("/")[0] for headers in server.headers]
        assert keys == ["OLDKEY", "NEWKEY", "NEWKEY"]
        sink.close()


# What a run says of where its events go


@pytest.mark.parametrize("log", ["text", "json"])
@pytest.mark.parametrize("transport", ["fast", "boto3"])
def test_a_run_says_where_its_events_go_before_the_first(server: PutEventsServer, transport: str, log: str) -> None:
    """Bus, Region and account, by the one call that asks whether the bus is there; nothing of it when quiet."""
    calls: list[dict[str, Any]] = []
    server.describe = lambda request: calls.append(request) or found(request)  # type: ignore[func-returns-value]
    options = ("--endpoint-url", server.url, "--transport", transport, "--log", log)
    done = pcapeda("replay", FIXTURES / "mixed.pcap", "--bus", "edge", *options, env=FAKE_AWS)
    assert done.returncode == 0, done.stderr
    lines = done.stderr.decode().splitlines()
    told = [json.loads(line)["message"] if log == "json" else line.removeprefix("pcapeda: ") for line in lines]
    place = told.index(f"to event bus edge in us-east-1 of account 123456789012 ({server.url})")
    assert place < len(told) - 1
    assert len(calls) == 1
    quiet = pcapeda("replay", FIXTURES / "mixed.pcap", "--bus", "edge", *options, "-q", env=FAKE_AWS)
    assert (quiet.returncode, quiet.stderr) == (0, b"")


def test_an_account_that_is_not_told_is_not_asked_for(server: PutEventsServer) -> None:
    """Without the right to ask for the bus its name and Region are said; an ARN says the account by itself."""
    server.describe = lambda _: error(400, "AccessDeniedException")
    for bus, account in (("edge", ""), (ARN, " of account 123456789012")):
        done = pcapeda("replay", FIXTURES / "mixed.pcap", "--bus", bus, "--endpoint-url", server.url, env=FAKE_AWS)
        assert f"to event bus edge in us-east-1{account} ({server.url})\n" in done.stderr.decode()
