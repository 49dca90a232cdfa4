"""PutEvents: batches onto an event bus, with an answer for every single entry.

An entry counts as sent only when its own result carries an EventId: the service answers HTTP 200 to a request of
which some entries failed. Which codes are worth another try follows the service model `events` 2015-10-07 and the
EventBridge User Guide.
"""

import json
import re
from contextlib import suppress
from typing import Any, Self
from urllib.parse import urlsplit

import orjson

from pcapeda.aws.http11 import ConnectionPool, Response
from pcapeda.aws.responses import (
    Transport,
    none_of,
    outcome_of,
    refusal,
    refused_for_good,
    refused_request,
    what_it_said,
)
from pcapeda.aws.session import (
    LOST,
    MALFORMED,
    UNCHECKED,
    UNREACHABLE,
    OpenedClient,
    checks_certificates,
    open_account,
    translated,
)
from pcapeda.aws.sigv4_transport import SigV4Transport, UnsupportedConfig
from pcapeda.aws.wire import put_events_entry
from pcapeda.errors import BadConfig, PcapedaError, SinkDown
from pcapeda.model import AsyncSender, Batch, BatchLimits, Outcome
from pcapeda.sinks.base import BaseSink, SinkOptions

CONCURRENCY: dict[Transport, int] = {"fast": 32, "boto3": 8}
"""Requests that may be under way at once. The SDK takes a thread for each."""

PASSING = (UNREACHABLE, LOST, MALFORMED)

ENTRIES_PER_REQUEST = 10
REQUEST_BYTES = 1_000_000
LINGER_NS = 1_000_000_000
"""How long the first entry of a batch waits for others."""

LIMITS = BatchLimits(ENTRIES_PER_REQUEST, REQUEST_BYTES, LINGER_NS)

_ARN = re.compile(r"arn:[\w-]+:events:(?P<region>[\w-]+):(?P<account>[0-9]{12}):event-bus/(?P<name>.+)")


class EventBridgeSink(BaseSink):
    """A classic event bus: `bus` is a name or an ARN, None the account's default bus.

    Region, profile, endpoint and credentials come from the arguments or else from where the AWS SDK looks for them.
    `max_request_bytes` bounds the summed entry sizes of a request; an emulator may take less than the service.
    `transport` says who makes the requests: `fast`, this program (see `pcapeda.aws.sigv4_transport`); `boto3`, the SDK,
    as also where the configuration asks for something that only the SDK knows, or where a `client` is given.
    `concurrency` is how many requests may be under way at once. Building it raises `BadConfig` or `SinkDown` for what
    is known without a request. `notes` holds sentences a person should read before the run, filled by `check`. `send`
    may be called from several threads at once.
    """

    costs_money = True

    def __init__(
        self,
        *,
        bus: str | None = None,
        region: str | None = None,
        profile: str | None = None,
        endpoint_url: str | None = None,
        concurrency: int | None = None,
        max_request_bytes: int = REQUEST_BYTES,
        transport: Transport = "fast",
        client: Any = None,
    ) -> None:
        self.limits = LIMITS._replace(max_bytes=max_request_bytes)
        self.concurrency = concurrency or CONCURRENCY[transport if client is None else "boto3"]
        self.notes: list[str] = []
        self._bus = bus
        self._name, self._account = bus or "default", None
        arn = _ARN.fullmatch(bus) if bus is not None else None
        if arn is not None:
            if region is not None and region != arn["region"]:
                raise BadConfig(f"--region {region} contradicts the bus's ARN, which is in {arn['region']}")
            region, self._name, self._account = arn["region"], arn["name"], arn["account"]
        self._settings = None if client is not None else ("events", region, profile, endpoint_url, self.concurrency)
        account = OpenedClient(client, None, None) if self._settings is None else open_account(*self._settings)
        self._client = account.client
        if not checks_certificates(self._client):
            self.notes.append(UNCHECKED)
        self._endpoint: str = self._client.meta.endpoint_url
        host = urlsplit(self._endpoint).hostname
        self.hosts = (host,) if host else ()
        self._region: str = self._client.meta.region_name
        self._fast: SigV4Transport | None = None
        self._lines: list[_Flights] = []
        """Those that no call of `send` uses at the moment."""
        if transport == "fast" and client is None:
            try:
                self._fast = SigV4Transport(account, "PutEvents", "put_events")
            except UnsupportedConfig as error:
                self.notes.append(f"requests are made by boto3: {error}")

    @classmethod
    def make(cls, options: SinkOptions) -> Self:
        bus = options.bus
        return cls(
            bus=bus.name,
            region=bus.region,
            profile=bus.profile,
            endpoint_url=bus.endpoint_url,
            max_request_bytes=bus.max_request_bytes,
            transport=bus.transport,
        )

    def describe(self) -> str:
        """Where events go, in one line; the account once `check` has learned it."""
        account = f" of account {self._account}" if self._account else ""
        return f"event bus {self._name} in {self._region}{account} ({self._endpoint})"

    def check(self) -> None:
        """Ask for the bus, since PutEvents takes events for a bus that does not exist without a word.

        Raises `SinkDown`: no credentials, refused ones, no such bus, nobody at the endpoint. Not being allowed to ask
        (events:DescribeEventBus), or no answer to it in good order, is none of these; it leaves a sentence in `notes`.
        """
        try:
            with translated(self._endpoint):
                self._learn_account(self._client.describe_event_bus(Name=self._bus or "default"))
        except SinkDown as error:
            if error.code not in (LOST, MALFORMED):
                raise
            self._cannot_verify(str(error))
        except self._client.exceptions.ClientError as error:
            code, words, status = what_it_said(error)
            if code == "ResourceNotFoundException":
                raise SinkDown(
                    f"no event bus {self._name} in {self._region}: {words}",
                    hint="PutEvents would take events for it all the same and drop them: mend --bus or create it",
                    code=code,
                ) from None
            if code in ("AccessDeniedException", "AccessDenied"):
                if self._bus is not None:  # the default bus always exists
                    self._cannot_verify("events:DescribeEventBus is not allowed")
            elif refused_for_good(code, status):
                raise refusal(code, words) from None
            else:
                self._cannot_verify(f"{code}: {words}")

    def send(self, batch: Batch) -> Outcome:
        """One PutEvents request. Raises `SinkDown` when the whole request was refused as the next one would be."""
        if self._fast is None:
            return self._send_by_boto3(batch)
        try:
            flights = self._lines.pop()
        except IndexError:
            flights = _Flights(self, self._fast.line())
        flights.start(batch)
        while not (poll := flights.poll(1)):
            pass
        self._lines.append(flights)
        ((_, outcome),) = poll
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    def async_sender(self) -> AsyncSender | None:
        """Requests that are under way together from one thread, where the transport can do that."""
        return None if self._fast is None else _Flights(self, self._fast.line())

    def _send_by_boto3(self, batch: Batch) -> Outcome:
        entries = [put_events_entry(entry, self._bus) for entry in batch.entries]
        try:
            with translated(self._endpoint):
                answer = self._client.put_events(Entries=entries)
                return outcome_of(batch.entries, answer.get("Entries"))
        except SinkDown as error:
            if error.code not in PASSING:
                raise
            return none_of(batch, error.code, str(error), retryable=True)
        except self._client.exceptions.ClientError as error:
            outcome = refused_request(batch, *what_it_said(error))
            if isinstance(outcome, SinkDown):
                raise outcome from None
            return outcome

    def _request(self, batch: Batch) -> bytes:
        """A signed request, as bytes for the wire."""
        assert self._fast is not None
        entries = [put_events_entry(entry, self._bus) for entry in batch.entries]
        try:
            body = b'{"Entries":%b}' % orjson.dumps(entries)
        except TypeError:  # text that is no Unicode is sent escaped, as the SDK would
            body = json.dumps({"Entries": entries}).encode()
        return self._fast.head(body) + body

    def _outcome(self, batch: Batch, response: Response | SinkDown) -> Outcome | SinkDown:
        """The same judgement as in `_send_by_boto3`, with the error as a value."""
        if isinstance(response, SinkDown):
            return (
                response
                if response.code not in PASSING
                else none_of(batch, response.code, str(response), retryable=True)
            )
        if response.status < 300:
            try:
                answer = orjson.loads(response.body)
            except ValueError as error:
                answer = error
            if not isinstance(answer, dict):
                return none_of(batch, MALFORMED, f"{self._endpoint} gave an answer that is none", retryable=True)
            return outcome_of(batch.entries, answer.get("Entries"))
        assert self._fast is not None
        try:
            return refused_request(batch, *self._fast.error(response))
        except SinkDown as error:
            return none_of(batch, error.code, str(error), retryable=True)

    def renew(self) -> None:
        """Look for credentials anew: a login, a file or a role may have brought others since the last ones expired.

        (The SDK itself renews those that it knows to expire; keys from a file or a login it reads once.)
        """
        if self._settings is not None:
            with suppress(PcapedaError, UnsupportedConfig):
                account = open_account(*self._settings)
                self._client = account.client
                if self._fast is not None:
                    self._fast = self._fast.renewed(account)

    def close(self) -> None:
        """Close the kept-alive connections."""
        self._client.close()
        while self._lines:
            self._lines.pop().close()

    def _learn_account(self, answer: Any) -> None:
        arn = _ARN.fullmatch(str(answer.get("Arn")))
        if arn is not None:
            self._account = arn["account"]

    def _cannot_verify(self, why: str) -> None:
        self.notes.append(
            f"cannot verify that {self.describe()} exists ({why}); "
            "EventBridge takes events for a bus that does not exist, and drops them"
        )


class _Flights:
    """Requests of one thread under way (`model.AsyncSender`)."""

    def __init__(self, sink: EventBridgeSink, line: ConnectionPool) -> None:
        self._sink = sink
        self._line = line
        self._batches: dict[int, Batch] = {}

    def start(self, batch: Batch) -> int:
        sink = self._sink
        assert sink._fast is not None
        number = self._line.start(lambda: sink._request(batch), slow=sink._fast.slow)
        self._batches[number] = batch
        return number

    def poll(self, timeout_s: float) -> list[tuple[int, Outcome | BaseException]]:
        ended = self._line.ended(timeout_s)
        return [(number, self._sink._outcome(self._batches.pop(number), response)) for number, response in ended]

    def close(self) -> None:
        self._line.close()
