"""The sink for a bus of EventBridge v2: against the service model (Stubber) and over HTTP against a local bus."""

import base64
import json
import os
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import boto3
import botocore.loaders
import pytest
from botocore.stub import ANY, Stubber
from hypothesis import given

from pcapeda.aws import quotas
from pcapeda.aws.responses import LOST, MALFORMED, REFUSED, SUCCESSES, UNREACHABLE, WORTH_ANOTHER_TRY
from pcapeda.aws.wire import entry_v2_json, put_events_v2_entry, put_raw_events_entry, raw_event
from pcapeda.errors import BadConfig, SinkDown
from pcapeda.events.schema import metadata_schema
from pcapeda.events.shape import Shape
from pcapeda.model import Batch, Datagram, Entry, Failed, Outcome
from pcapeda.sinks import eventbridge_v2
from pcapeda.sinks.eventbridge_v2 import LIMITS, EventBridgeV2Sink
from tests.bus_v2 import ARN, WRONG_ARN, BusV2, bus_v2
from tests.command import CLEAN, FAKE_AWS
from tests.datagrams import EXAMPLE, datagrams


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials that need not be real, and nothing of the person's own AWS configuration."""
    for name in [name for name in os.environ if name.startswith("AWS_") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    for name, value in (CLEAN | FAKE_AWS).items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def server() -> Iterator[BusV2]:
    with bus_v2() as server:
        yield server


@pytest.fixture
def bus(server: BusV2) -> BusV2:
    """A bus that behaves, and has forgotten what it knew again."""
    server.behave()
    server.later(1000)
    return server


@cache
def model() -> dict[str, Any]:
    loaded: dict[str, Any] = botocore.loaders.Loader().load_service_model("eventbridgev2", "service-2")
    return loaded


def entry(number: int = 0, **shape: Any) -> Entry:
    return Shape(**shape).entry(EXAMPLE._replace(number=number + 1))


def batch(count: int, **shape: Any) -> Batch:
    entries = tuple(entry(number, **shape) for number in range(count))
    return Batch(entries, sum(one.size for one in entries))


def codes(outcome: Outcome) -> list[tuple[str, bool]]:
    return [(failed.code, failed.retryable) for failed in outcome.failed]


# The service model: shapes, limits, codes


def stubbed(raw: bool = False, ordered: bool = False) -> tuple[EventBridgeV2Sink, Stubber]:
    """A sink on a client that checks every request and answer against the model."""
    client = boto3.client("eventbridgev2", region_name="us-east-1")
    return EventBridgeV2Sink(bus=ARN, raw=raw, ordered=ordered, client=client), Stubber(client)


def test_a_request_has_the_shape_of_the_model() -> None:
    """Entries as PutEvents takes them, each with its id; a group only where it has one."""
    sink, stub = stubbed()
    plain = entry(0, time="now")
    grouped = entry(1, resources=("arn:one",), groups=8)
    expected = {
        "EventBusArn": ARN,
        "Entries": [
            {
                "Source": "udp.raw",
                "DetailType": "UdpPacket",
                "Detail": plain.detail,
                "SystemMetadata": {"DeduplicationId": plain.id},
            },
            {
                "Source": "udp.raw",
                "DetailType": "UdpPacket",
                "Detail": grouped.detail,
                "Resources": ["arn:one"],
                "Time": 1_775_861_044,
                "SystemMetadata": {"DeduplicationId": grouped.id, "EventGroupId": grouped.group},
            },
        ],
    }
    results = [{"EventId": "1", "SequenceNumber": "1", "SuccessCode": code} for code in ("PUBLISHED", "DEDUPLICATED")]
    stub.add_response("put_events", {"Entries": results}, expected)
    with stub:
        assert sink.send(Batch((plain, grouped), 100)) == Outcome(2, (), 1)


def test_a_raw_request_has_the_shape_of_the_model() -> None:
    """The payload as bytes, everything else as names and strings."""
    sink, stub = stubbed(raw=True)
    one = entry()
    expected = {
        "EventBusArn": ARN,
        "Entries": [
            {
                "Data": EXAMPLE.payload,
                "Metadata": {
                    "source": "udp.raw",
                    "detail-type": "UdpPacket",
                    "time": "2026-04-10T22:44:04Z",
                    "DestinationIpAddress": "192.0.2.1",
                    "DestinationPort": "514",
                    "SourceIpAddress": "198.51.100.7",
                    "SourcePort": "40000",
                    "IpVersion": "4",
                    "Length": "43",
                    "Checksum": "0x1c46",
                    "ChecksumStatus": "good",
                    "CapturedAt": "2026-04-10T22:44:04.123456789Z",
                    "CaptureFrame": "1",
                    "PacketId": one.id,
                },
                "SystemMetadata": {"ContentType": "application/octet-stream", "DeduplicationId": one.id},
            }
        ],
    }
    stub.add_response("put_raw_events", {"Entries": [{"EventId": "1", "SuccessCode": "PUBLISHED"}]}, expected)
    with stub:
        assert sink.send(Batch((one,), one.size)) == Outcome(1)


def test_each_entry_has_its_own_result() -> None:
    """Published and known again are delivered; codes of entries are told apart by whether another try makes sense."""
    sink, stub = stubbed()
    results = [
        {"EventId": "1", "SuccessCode": "PUBLISHED"},
        {"SuccessCode": "DEDUPLICATED"},
        {"ErrorCode": "ThrottlingException", "ErrorMessage": "Rate exceeded for event group"},
        {"ErrorCode": "InternalException"},
        {"ErrorCode": "InvalidInputException", "ErrorMessage": "Detail"},
        {"ErrorCode": "NobodyKnowsThisOne"},
        {},
    ]
    stub.add_response("put_events", {"FailedEntryCount": 5, "Entries": results}, {"EventBusArn": ARN, "Entries": ANY})
    sent = batch(7)
    with stub:
        outcome = sink.send(sent)
    assert (outcome.sent, outcome.deduplicated) == (2, 1)
    assert [failed.entry for failed in outcome.failed] == list(sent.entries[2:])
    assert codes(outcome) == [
        ("ThrottlingException", True),
        ("InternalException", True),
        ("InvalidInputException", False),
        ("NobodyKnowsThisOne", False),
        (MALFORMED, True),
    ]


@pytest.mark.parametrize("operation", ["PutEvents", "PutRawEvents"])
def test_the_codes_worth_another_try_are_those_of_the_model(operation: str) -> None:
    """What the model marks as retryable is tried again (but for registries, which are not used), nothing else is."""
    shapes = model()["shapes"]
    for error in model()["operations"][operation]["errors"]:
        name = error["shape"]
        retryable = "retryable" in shapes[name] and name != "SchemaRegistryUnavailableException"
        assert (name in WORTH_ANOTHER_TRY) == retryable, name
        assert name in WORTH_ANOTHER_TRY | REFUSED | {
            "InvalidInputException",
            "InvalidStateException",
            "SchemaRegistryUnavailableException",
        }


def test_limits_are_those_of_the_model() -> None:
    """Each named number against the shape it comes from; the sink stays below what a request may have."""
    shapes = model()["shapes"]
    for name in ("PutEventsRequestEntryList", "PutRawEventsRequestEntryList"):
        assert shapes[name]["max"] == quotas.ENTRIES_PER_REQUEST_V2 == LIMITS.max_entries
    for operation in ("PutEvents", "PutRawEvents"):
        assert f"{quotas.REQUEST_BYTES_V2:,} bytes" in model()["operations"][operation]["documentation"]
    assert LIMITS.max_bytes + LIMITS.max_entries * quotas.UNCOUNTED_BYTES <= quotas.REQUEST_BYTES_V2
    assert shapes["Source"]["max"] == quotas.SOURCE_CHARACTERS
    assert shapes["DetailType"]["max"] == quotas.DETAIL_TYPE_CHARACTERS
    assert shapes["EventResource"]["max"] == quotas.RESOURCE_CHARACTERS
    assert shapes["PutEventsResourceList"]["max"] == quotas.RESOURCES_V2
    assert set(shapes["SuccessCode"]["enum"]) == set(SUCCESSES)
    assert set(shapes["BusState"]["enum"]) > eventbridge_v2.TAKES_EVENTS
    assert eventbridge_v2.BILLED_BYTES == quotas.KB
    assert re.fullmatch(shapes["EventBusArn"]["pattern"], ARN)
    assert quotas.BUS_V2.fullmatch(ARN)


@given(datagrams())
def test_every_datagram_fits_the_model_as_a_raw_event(datagram: Datagram) -> None:
    """Bytes come out whole, names and values are what the model takes, and the size counted is enough."""
    shapes = model()["shapes"]
    for shape in (Shape(file="a\udcff.pcap", groups=3), Shape("minimal"), Shape(resources=("arn:a", "arn:b"))):
        made = shape.entry(datagram)
        raw = put_raw_events_entry(made)
        assert raw["Data"] == datagram.payload
        metadata = raw["Metadata"]
        assert len(metadata) <= shapes["EventMetadataMap"]["max"]
        for name, value in metadata.items():
            assert re.fullmatch(shapes["EventMetadataKey"]["pattern"], name)
            assert len(name) <= shapes["EventMetadataKey"]["max"]
            assert isinstance(value, str)
            assert value
        assert len({name.lower() for name in metadata}) == len(metadata), "names differ by more than case"
        for value in raw["SystemMetadata"].values():
            assert 1 <= len(value) <= 128
        size = len(raw["Data"]) + sum(len((name + value).encode()) for name, value in metadata.items())
        assert size + sum(map(len, raw["SystemMetadata"].values())) <= made.size + quotas.UNCOUNTED_BYTES


@given(datagrams())
def test_metadata_are_what_their_schema_says(datagram: Datagram) -> None:
    """The schema that lint goes by knows every name that is sent, and calls all of them strings."""
    for name in ("full", "minimal"):
        _, metadata = raw_event(Shape(name, file="a.pcap").entry(datagram))  # type: ignore[arg-type]
        schema = metadata_schema(name)
        assert metadata.keys() <= schema["properties"].keys()
        assert set(schema["required"]) <= metadata.keys()
        assert all(one["type"] == "string" for one in schema["properties"].values())


def test_ids_are_those_of_the_events() -> None:
    """A datagram's PacketId; for what has none a hash of its content, the same again and again."""
    assert put_events_v2_entry(entry())["SystemMetadata"] == {"DeduplicationId": entry().id}
    own = Entry("s", "t", '{"a":1}', None, (), 10, "")
    other = own._replace(detail='{"a":2}')
    ids = [put_events_v2_entry(one)["SystemMetadata"]["DeduplicationId"] for one in (own, own, other)]
    assert ids[0] == ids[1] != ids[2]
    assert all(re.fullmatch("[0-9a-f]{32}", one) for one in ids)


def test_what_has_no_payload_is_not_sent_raw() -> None:
    """An event that stands for many, or names its payload otherwise, fails for good; the others of the batch go."""
    sink, stub = stubbed(raw=True)
    flow = Entry("udp.raw", "UdpFlow", '{"Count":3}', None, (), 10, "f" * 32, datagram_count=3)
    odd = Entry("udp.raw", "UdpPacket", "[]", None, (), 10, "e" * 32)
    stub.add_response("put_raw_events", {"Entries": [{"EventId": "1", "SuccessCode": "PUBLISHED"}]}, None)
    with stub:
        outcome = sink.send(Batch((flow, entry(), odd), 100))
        assert (outcome.sent, codes(outcome)) == (1, [("NoPayload", False)] * 2)
        assert sink.send(Batch((flow,), 10)).failed[0].code == "NoPayload"


# Over HTTP


def test_events_arrive_as_they_were(bus: BusV2) -> None:
    """A full batch in one request, in order; told is what was sent, with times in whole seconds."""
    sent = batch(100)
    before = bus.told()
    assert EventBridgeV2Sink(bus=ARN, endpoint_url=bus.url).send(sent) == Outcome(100)
    told = bus.told()
    assert told["requests"] == before["requests"] + 1
    published = told["published"][-100:]
    assert [one["Detail"] for one in published] == [one.detail for one in sent.entries]
    assert published[0]["Time"] == "2026-04-10T22:44:04+00:00"


def test_bytes_arrive_whole(bus: BusV2) -> None:
    """Every byte there is, none at all, and the largest payload of UDP."""
    payloads = [bytes(range(256)) * 4, b"", os.urandom(65_507)]
    entries = tuple(Shape().entry(EXAMPLE._replace(payload=one, number=7)) for one in payloads)
    assert EventBridgeV2Sink(bus=ARN, raw=True, endpoint_url=bus.url).send(Batch(entries, 0)) == Outcome(3)
    assert [base64.b64decode(one["Data"]) for one in bus.told()["published"][-3:]] == payloads


def test_the_same_event_is_published_once_in_five_minutes(bus: BusV2) -> None:
    """Again at once: known, and delivered all the same. After 300 seconds it is new, and so it is in a group."""
    sink = EventBridgeV2Sink(bus=ARN, endpoint_url=bus.url)
    assert sink.send(batch(3)) == Outcome(3)
    assert sink.send(batch(3)) == Outcome(3, (), 3)
    assert sink.send(batch(3, groups=4)) == Outcome(3)
    bus.later(quotas.DEDUPLICATION_S)
    assert sink.send(batch(3)) == Outcome(3)


def test_a_bus_is_asked_for_before_the_run(bus: BusV2) -> None:
    """There: nothing to say. None: down. Not allowed to ask: a note. Not ready: down, in the service's word."""
    sink = EventBridgeV2Sink(bus=ARN, endpoint_url=bus.url)
    sink.check()
    assert sink.notes == []
    with pytest.raises(SinkDown, match="no event bus none"):
        EventBridgeV2Sink(bus=WRONG_ARN, endpoint_url=bus.url).check()
    bus.behave("hidden")
    sink.check()
    assert sink.notes == [
        f"cannot verify that event bus edge (v2) in us-east-1 of account 123456789012 ({bus.url}) exists "
        "(events:DescribeEventBus is not allowed)"
    ]
    for state, usable in (("CREATING", False), ("DELETING", False), ("UPDATING", True), ("UPDATE_FAILED", True)):
        bus.behave(state)
        if usable:
            sink.check()
        else:
            with pytest.raises(SinkDown, match=f"it is {state}"):
                sink.check()


def test_one_invalid_entry_does_not_take_the_others_with_it(bus: BusV2) -> None:
    """The service refuses a whole request for it: it is looked for, and it alone fails."""
    bus.behave("poison")
    poisoned = Shape().entry(EXAMPLE._replace(payload=b"poison"))
    entries = (*batch(40).entries, poisoned, *[entry(number) for number in range(41, 60)])
    outcome = EventBridgeV2Sink(bus=ARN, endpoint_url=bus.url).send(Batch(entries, 0))
    assert outcome.sent == 59
    assert outcome.failed == (Failed(poisoned, "InvalidInputException", False, "An entry is not valid"),)


def test_whole_requests_are_refused_throttled_or_lost(bus: BusV2) -> None:
    """Denied as the next one would be: down. Throttled, failed, reset: each entry is worth another try."""
    report = Entry("udp.raw", "UdpReport", "{}", None, (), 10, "a" * 32, datagram_count=0)
    bus.behave("no-reports")
    with pytest.raises(SinkDown, match="AccessDeniedException"):
        EventBridgeV2Sink(bus=ARN, endpoint_url=bus.url).send(Batch((entry(), report), 0))
    seen = set()
    for fault in ("account", "errors", "reset-before"):
        bus.behave(fault)
        sink = EventBridgeV2Sink(bus=ARN, endpoint_url=bus.url)
        for _ in range(30):
            outcome = sink.send(batch(2))
            assert outcome.sent + len(outcome.failed) == 2
            assert all(failed.retryable for failed in outcome.failed)
            seen |= {failed.code for failed in outcome.failed}
    assert {"ThrottlingException", "InternalException"} < seen
    assert seen & {LOST, UNREACHABLE}


def test_building_it_needs_no_network() -> None:
    """Region from the ARN, the account's own host at AWS, contradictions refused."""
    sink = EventBridgeV2Sink(bus=ARN.replace("us-east-1", "eu-west-1"))
    assert sink.describe() == (
        "event bus edge (v2) in eu-west-1 of account 123456789012 (https://eventsv2.eu-west-1.amazonaws.com)"
    )
    assert sink.hosts == (
        "eventsv2.eu-west-1.amazonaws.com",
        "123456789012.eventsv2.eu-west-1.amazonaws.com",
    )
    sink.renew()
    sink.close()
    with pytest.raises(BadConfig, match="--region eu-west-1 contradicts"):
        EventBridgeV2Sink(bus=ARN, region="eu-west-1")


def test_requests_at_aws_go_to_the_accounts_own_host() -> None:
    """The name that `hosts` gives is the one that the SDK looks up."""
    sink = EventBridgeV2Sink(bus=ARN)
    urls: list[str] = []

    def look(request: Any, **_: Any) -> None:
        urls.append(request.url)
        raise OSError("enough seen")

    sink._client.meta.events.register("before-send", look)
    assert codes(sink.send(batch(1))) == [(UNREACHABLE, True)]
    assert urls[0].split("/")[2] in sink.hosts


def test_a_dry_run_prints_what_the_cli_takes() -> None:
    """Entries as JSON, times as text, bytes in base64: the forms of aws eventsv2 put-events and put-raw-events."""
    one = entry(groups=4)
    told = json.loads(entry_v2_json(one, raw=False))
    assert told == put_events_v2_entry(one) | {"Time": "2026-04-10T22:44:04Z"}
    raw = json.loads(entry_v2_json(one, raw=True))
    assert base64.b64decode(raw.pop("Data")) == EXAMPLE.payload
    assert raw == {key: value for key, value in put_raw_events_entry(one).items() if key != "Data"}
