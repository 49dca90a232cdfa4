"""PutEvents and PutRawEvents of EventBridge v2: as the classic sink does it, with the differences of the new bus.

A bus of v2 knows an event again by its DeduplicationId for five minutes, so that a request whose answer was lost can be
sent again without harm. Codes and limits follow the service model `eventbridgev2` 2025-05-15: whole requests are
denied (one entry that is denied denies the others, too), throttled, or refused for a single entry that is invalid;
everything else is answered entry by entry.
"""

from contextlib import suppress
from typing import Any, Self
from urllib.parse import urlsplit

from pcapeda.aws.responses import none_of, outcome_of, refusal, refused_for_good, refused_request, what_it_said
from pcapeda.aws.session import (
    LOST,
    MALFORMED,
    UNCHECKED,
    UNREACHABLE,
    checks_certificates,
    make_client,
    one_line,
    translated,
)
from pcapeda.aws.wire import put_events_v2_entry, put_raw_events_entry
from pcapeda.errors import BadConfig, PcapedaError, SinkDown, Untrusted
from pcapeda.model import Batch, BatchLimits, Failed, Outcome
from pcapeda.sinks.base import BaseSink, SinkOptions
from pcapeda.sinks.eventbridge import LINGER_NS

ENTRIES_PER_REQUEST = 100
REQUEST_BYTES = 1_000_000
BILLED_BYTES = 1_024
"""Each started KB of an event is billed."""

LIMITS = BatchLimits(ENTRIES_PER_REQUEST, REQUEST_BYTES, LINGER_NS)

TAKES_EVENTS = frozenset({"ACTIVE", "UPDATING", "UPDATE_FAILED"})
"""States of a bus in which it takes events (model, BusState)."""

NO_PAYLOAD = "NoPayload"
"""The code of an event that cannot be sent raw."""


ORDERED_REQUESTS = 2
"""Requests in flight where order is kept: the entries of one are chosen while the other is under way; more would only
be smaller, since of each group one entry is under way."""


class EventBridgeV2Sink(BaseSink):
    """A bus of EventBridge v2: `bus` is its ARN, which says its Region.

    With `raw` each event goes as its payload's bytes and metadata (see `Entry.raw`). `ordered` says that entries bear
    groups, within which the caller keeps the order. The rest is as in `EventBridgeSink`.
    """

    costs_money = True
    billed_bytes = BILLED_BYTES

    def __init__(
        self,
        *,
        bus: str,
        region: str | None = None,
        profile: str | None = None,
        endpoint_url: str | None = None,
        raw: bool = False,
        ordered: bool = False,
        concurrency: int = 8,
        max_request_bytes: int = REQUEST_BYTES,
        client: Any = None,
    ) -> None:
        self.limits = LIMITS._replace(max_bytes=min(max_request_bytes, REQUEST_BYTES))
        self.concurrency = concurrency
        self.ordered = ordered
        self.notes: list[str] = []
        self._raw = raw
        self._bus = bus
        _, _, _, self._region, self._account, resource = [*bus.split(":", 5), *[""] * 6][:6]
        self._name = resource.split("/")[1] if resource.startswith("event-busv2/") else bus
        if region is not None and region != self._region:
            raise BadConfig(f"--region {region} contradicts the bus's ARN, which is in {self._region}")
        settings = ("eventbridgev2", self._region, profile, endpoint_url, concurrency)
        self._settings = None if client is not None else settings
        self._client = client if client is not None else make_client(*settings)
        if not checks_certificates(self._client):
            self.notes.append(UNCHECKED)
        self._endpoint: str = self._client.meta.endpoint_url
        self._distrusted: Untrusted | None = None
        """Set once the peer could not prove its name: nothing is sent any more."""
        host = urlsplit(self._endpoint).hostname
        if host:  # at AWS, the account's own, too
            self.hosts = (host,) if endpoint_url is not None else (host, f"{self._account}.{host}")

    @classmethod
    def make(cls, options: SinkOptions) -> Self:
        bus = options.bus
        assert bus.name is not None, "a bus of v2 is one that has an ARN"
        return cls(
            bus=bus.name,
            region=bus.region,
            profile=bus.profile,
            endpoint_url=bus.endpoint_url,
            raw=bus.raw,
            ordered=bus.groups is not None,
            concurrency=8 if bus.groups is None else ORDERED_REQUESTS,
            max_request_bytes=bus.max_request_bytes,
        )

    def describe(self) -> str:
        """Where events go, in one line."""
        return f"event bus {self._name} (v2) in {self._region} of account {self._account} ({self._endpoint})"

    def check(self) -> None:
        """Ask for the bus and its state. Raises `SinkDown`: no credentials, refused ones, no such bus, none that takes
        events, nobody at the endpoint.

        Not being allowed to ask (events:DescribeEventBus), or no answer to it in good order, is none of these; it
        leaves a sentence in `notes`.
        """
        try:
            with translated(self._endpoint):
                state = self._client.describe_event_bus(EventBusArn=self._bus).get("State")
        except SinkDown as error:
            if error.code not in (LOST, MALFORMED):
                raise
            self._cannot_verify(str(error))
        except self._client.exceptions.ClientError as error:
            code, words, status = what_it_said(error)
            if code == "ResourceNotFoundException":
                raise SinkDown(f"no {self.describe()}: {words}", code=code) from None
            if code in ("AccessDeniedException", "AccessDenied"):
                self._cannot_verify("events:DescribeEventBus is not allowed")
            elif refused_for_good(code, status):
                raise refusal(code, words) from None
            else:
                self._cannot_verify(f"{code}: {words}")
        else:
            if isinstance(state, str) and state and state not in TAKES_EVENTS:
                hint = "it takes events in a moment" if state == "CREATING" else None
                raise SinkDown(
                    f"{self.describe()} takes no events: it is {one_line(state)}", hint=hint, code="InvalidState"
                )

    def send(self, batch: Batch) -> Outcome:
        """One request, or, where one entry that is invalid makes the service refuse them all, as many as it takes to
        find it. Raises `SinkDown` when the whole request was refused as the next one would be."""
        if not self._raw:
            return self._put(batch, [put_events_v2_entry(entry) for entry in batch.entries])
        fit, made, unfit = [], [], []
        for entry in batch.entries:
            try:
                made.append(put_raw_events_entry(entry))
                fit.append(entry)
            except ValueError as error:
                unfit.append(Failed(entry, NO_PAYLOAD, False, f"cannot be sent raw: {error}"))
        if not fit:
            return Outcome(0, tuple(unfit))
        outcome = self._put(Batch(tuple(fit), batch.size), made)
        return outcome._replace(failed=(*outcome.failed, *unfit))

    def _put(self, batch: Batch, made: list[dict[str, Any]]) -> Outcome:
        if self._distrusted is not None:
            raise self._distrusted
        put = self._client.put_raw_events if self._raw else self._client.put_events
        try:
            with translated(self._endpoint):
                results = put(EventBusArn=self._bus, Entries=made).get("Entries")
                outcome = outcome_of(batch.entries, results)
        except SinkDown as error:
            if isinstance(error, Untrusted):
                self._distrusted = error
            if error.code not in (UNREACHABLE, LOST, MALFORMED):
                raise
            return none_of(batch, error.code, str(error), retryable=True)
        except self._client.exceptions.ClientError as error:
            code, words, status = what_it_said(error)
            if code == "InvalidInputException" and len(made) > 1:
                return self._put_halves(batch, made)
            if code == "InvalidStateException":
                raise refusal(code, words) from None
            refused = refused_request(batch, code, words, status)
            if isinstance(refused, SinkDown):
                raise refused from None
            return refused
        if outcome.sent:
            deduplicated = sum(isinstance(one, dict) and one.get("SuccessCode") == "DEDUPLICATED" for one in results)
            outcome = outcome._replace(deduplicated=deduplicated)
        return outcome

    def _put_halves(self, batch: Batch, made: list[dict[str, Any]]) -> Outcome:
        middle = len(made) // 2
        first = self._put(Batch(batch.entries[:middle], batch.size), made[:middle])
        rest = Batch(batch.entries[middle:], batch.size)
        try:
            second = self._put(rest, made[middle:])
        except SinkDown as error:
            if not first.sent:
                raise
            second = none_of(rest, error.code, str(error), retryable=True)
        return Outcome(
            first.sent + second.sent, (*first.failed, *second.failed), first.deduplicated + second.deduplicated
        )

    def renew(self) -> None:
        """Look for credentials anew: a login, a file or a role may have brought others since the last ones expired."""
        if self._settings is not None:
            with suppress(PcapedaError):
                self._client = make_client(*self._settings)

    def close(self) -> None:
        """Close the kept-alive connections."""
        self._client.close()

    def _cannot_verify(self, why: str) -> None:
        self.notes.append(f"cannot verify that {self.describe()} exists ({why})")
