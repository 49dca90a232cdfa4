"""Limits and prices: as the service model that botocore ships has them, and what they refuse."""

import re
from functools import cache
from typing import Any

import botocore
import pytest
from botocore.loaders import Loader
from hypothesis import example, given
from hypothesis import strategies as st

from pcapeda.aws import quotas, responses
from pcapeda.errors import BadConfig
from pcapeda.sinks import eventbridge

ARN = "arn:aws:events:us-east-1:123456789012:event-bus/edge"
V2_ARN = "arn:aws:events:us-east-1:123456789012:event-busv2/edge/abcdefghijklmnopqrstuvwxy"


@cache
def model() -> dict[str, Any]:
    return Loader().load_service_model("events", "service-2")


def test_numbers_are_those_of_the_service_model() -> None:
    """What the model says in numbers is what the constants say."""
    shapes = model()["shapes"]
    assert shapes["PutEventsRequestEntryList"]["max"] == quotas.ENTRIES_PER_REQUEST
    assert shapes["EventResource"]["max"] == quotas.RESOURCE_CHARACTERS
    assert shapes["EventBusName"]["max"] == quotas.BUS_NAME_CHARACTERS


def test_words_are_those_of_the_service_model() -> None:
    """What the model says in prose only is still said there: 1MB a request, 1000 levels, 128 characters, 64 bits."""
    if tuple(map(int, botocore.__version__.split(".")[:3])) < (1, 43, 102):
        pytest.skip("this botocore's model is older than the limit of 1MB a request")
    put_events = model()["operations"]["PutEvents"]["documentation"]
    assert "must be less than 1MB" in put_events
    assert f"{quotas.DETAIL_DEPTH} levels deep" in put_events
    assert f"{(1 << 63) - 1:,}" in put_events
    detail_type = model()["shapes"]["PutEventsRequestEntry"]["members"]["DetailType"]["documentation"]
    assert f"maximum of {quotas.DETAIL_TYPE_CHARACTERS} characters" in detail_type


def test_the_codes_worth_another_try_are_those_of_the_service_model() -> None:
    """Each code that the model lists for an entry is judged as the model judges it."""
    told = model()["shapes"]["PutEventsResultEntry"]["members"]["ErrorCode"]["documentation"]
    passing, final = told.split("Non-retryable")
    codes = re.compile(r"([A-Z]\w+(?:Exception|Failure)|InvalidArgument|MalformedDetail)\b(?=</a>|</code>)")
    assert {"InternalFailure", "ThrottlingException"} == set(codes.findall(passing)) <= responses.WORTH_ANOTHER_TRY
    assert {"MalformedDetail", "AccessDeniedException", "RedactionFailure"} <= set(codes.findall(final))
    assert not set(codes.findall(final)) & responses.WORTH_ANOTHER_TRY


def test_the_sink_has_the_same_limits() -> None:
    """The rooms do not import each other; what both must know is the same."""
    assert eventbridge.ENTRIES_PER_REQUEST == quotas.ENTRIES_PER_REQUEST
    assert eventbridge.REQUEST_BYTES == quotas.REQUEST_BYTES


def test_the_size_of_an_entry_is_what_the_user_guide_computes() -> None:
    """14 for the time, UTF-8 bytes for everything else, each resource among it."""
    assert quotas.entry_size("s", "é", '{"a":"東"}', ("arn:1", "arn:22"), timed=True) == 14 + 1 + 2 + 11 + 5 + 6
    assert quotas.entry_size("s", "t", "{}", (), timed=False) == 4


@pytest.mark.parametrize(("size", "billed"), [(0, 1), (1, 1), (65_536, 1), (65_537, 2), (131_072, 2), (131_073, 3)])
def test_each_started_chunk_is_billed(size: int, billed: int) -> None:
    """64 KB is one event, a byte more is two."""
    assert quotas.chunks(size) == billed


def test_what_it_costs() -> None:
    """1 USD per million; 100 events a second are 8.64 USD a day."""
    assert quotas.cost_usd(1_000_000) == 1.0
    assert quotas.cost_usd(100 * 86_400) == pytest.approx(8.64)
    assert quotas.requests_for(21, 100) == 3
    assert quotas.requests_for(2, 1_000_001) == 2
    assert quotas.requests_for(0, 0) == 0


@example(67_326_314_756_139)
@given(st.integers(0, 10**15))
def test_an_amount_pays_for_as_many_events_as_cost_it(events: int) -> None:
    """chunks_for turns cost_usd round, without floats taking one away."""
    assert quotas.chunks_for(quotas.cost_usd(events)) == events


def test_no_amount_is_too_large_to_count() -> None:
    """An endless budget is a large one."""
    assert quotas.chunks_for(float("inf")) == 10**15


@pytest.mark.parametrize("bus", ["default", "edge", "a/b.c-d_E9", ARN, ARN.replace("us-east-1", "us-gov-west-1")])
def test_names_and_arns_of_buses(bus: str) -> None:
    """What the service takes is taken, and the model's own pattern agrees."""
    assert quotas.bus_name_ok(bus)
    assert re.fullmatch(model()["shapes"]["EventBusNameOrArn"]["pattern"], bus)
    quotas.check_identity(None, None, (), bus)


@pytest.mark.parametrize("bus", ["", "a b", "a:b", "bus\n", "b" * 257, "arn:aws:sqs:us-east-1:123456789012:edge", "東"])
def test_what_is_no_bus_is_refused(bus: str) -> None:
    """One line that names the field."""
    assert not quotas.bus_name_ok(bus)
    with pytest.raises(BadConfig, match=r"Bus\.name") as caught:
        quotas.check_identity(None, None, (), bus)
    assert "\n" not in str(caught.value)


def test_a_bus_of_eventbridge_v2_is_known_by_its_arn() -> None:
    """A v2 ARN as the model has it is taken; one that only looks like it is refused, with the form it should have."""
    quotas.check_identity(None, None, (), V2_ARN)
    for bus in (V2_ARN[:-1], V2_ARN.upper(), V2_ARN.replace("edge", "_edge"), V2_ARN.replace("edge/", "")):
        with pytest.raises(BadConfig, match=r"Bus\.name"):
            quotas.check_identity(None, None, (), bus)
    with pytest.raises(BadConfig, match="at most 100"):
        quotas.check_identity(None, None, ("arn",) * 101, V2_ARN)


def test_a_bus_of_eventbridge_v2_is_billed_by_the_kb() -> None:
    """Each started KB; the price is only known where it was given."""
    known, unknown = quotas.tariff(v2=True, price=0.2), quotas.tariff(v2=True, price=None)
    assert [known.units(size) for size in (0, 1, 1024, 1025, 65_536)] == [1, 1, 1, 2, 64]
    assert known.usd(1_000_000) == pytest.approx(0.2)
    assert unknown.usd(1_000_000) is None
    assert quotas.tariff(v2=False, price=None) == quotas.CLASSIC


@pytest.mark.parametrize(
    ("identity", "option"),
    [
        (("", None, ()), "Shape.source"),
        (("s" * 257, None, ()), "Shape.source"),
        (("aws.ec2", None, ()), "aws."),
        (("a\nb", None, ()), "Shape.source"),
        (("\udcff", None, ()), "Shape.source"),
        ((None, "", ()), "Shape.detail_type"),
        ((None, "t" * 129, ()), "Shape.detail_type"),
        ((None, None, ("",)), "Shape.resources"),
        ((None, None, ("arn:fine", "r" * 2049)), "Shape.resources"),
    ],
)
def test_what_every_event_would_be_refused_for_is_refused_at_once(
    identity: tuple[str | None, str | None, tuple[str, ...]], option: str
) -> None:
    """Empty, too long, reserved and unprintable members: one printable line that names the field."""
    with pytest.raises(BadConfig, match=re.escape(option)) as caught:
        quotas.check_identity(*identity, None)
    assert str(caught.value).isprintable()


def test_what_the_service_takes_is_taken() -> None:
    """The limits themselves, names that only look reserved, and other scripts."""
    quotas.check_identity("s" * 256, "t" * 128, ("r" * 2048,), None)
    quotas.check_identity("awsome.udp", "Größe", (ARN,), "default")
    quotas.check_identity(None, None, (), None)
