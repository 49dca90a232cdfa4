"""PutEvents: batches onto an event bus, with an answer for every single entry.

An entry counts as sent only when its own result carries an EventId: the service answers HTTP 200 to a request of
which some entries failed. Which codes are worth another try follows the service model `events` 2015-10-07 and the
EventBridge User Guide.
"""

import re
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from pcapeda.errors import BadConfig, PcapedaError, SinkDown
from pcapeda.model import Batch, BatchLimits, Outcome
from pcapeda.sinks.aws import (
    LOST,
    MALFORMED,
    UNREACHABLE,
    judge,
    make_client,
    none_of,
    passes,
    refusal,
    refused_for_good,
    translated,
    what_it_said,
)

ENTRIES_PER_REQUEST = 10
REQUEST_BYTES = 1_000_000
LINGER_NS = 1_000_000_000
"""How long the first entry of a batch waits for others."""

LIMITS = BatchLimits(ENTRIES_PER_REQUEST, REQUEST_BYTES, LINGER_NS)

_ARN = re.compile(r"arn:[\w-]+:events:(?P<region>[\w-]+):(?P<account>[0-9]{12}):event-bus/(?P<name>.+)")


class EventBridgeSink:
    """A classic event bus: `bus` is a name or an ARN, None the account's default bus.

    Region, profile, endpoint and credentials come from the arguments or else from where the AWS SDK looks for them.
    `max_request_bytes` bounds the summed entry sizes of a request; an emulator may take less than the service.
    Building it raises `BadConfig` or `SinkDown` for what is known without a request. `notes` holds sentences a person
    should read before the run, filled by `check`. `send` may be called from several threads at once.
    """

    costs_money = True

    def __init__(
        self,
        *,
        bus: str | None = None,
        region: str | None = None,
        profile: str | None = None,
        endpoint_url: str | None = None,
        concurrency: int = 8,
        max_request_bytes: int = REQUEST_BYTES,
        client: Any = None,
    ) -> None:
        self.limits = LIMITS._replace(max_bytes=max_request_bytes)
        self.concurrency = concurrency
        self.notes: list[str] = []
        self._bus = bus
        self._name, self._account = bus or "default", None
        if bus is not None and ":event-busv2/" in bus:
            raise BadConfig(f"--bus {bus}: buses of EventBridge v2 are not supported by this version")
        arn = _ARN.fullmatch(bus) if bus is not None else None
        if arn is not None:
            if region is not None and region != arn["region"]:
                raise BadConfig(f"--region {region} contradicts the bus's ARN, which is in {arn['region']}")
            region, self._name, self._account = arn["region"], arn["name"], arn["account"]
        self._settings = None if client is not None else (region, profile, endpoint_url, concurrency)
        self._client = (
            client if client is not None else make_client("events", region, profile, endpoint_url, concurrency)
        )
        self._endpoint: str = self._client.meta.endpoint_url
        self._region: str = self._client.meta.region_name

    @property
    def hosts(self) -> tuple[str, ...]:
        """The host names that sending looks up."""
        host = urlsplit(self._endpoint).hostname
        return (host,) if host else ()

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
        entries = [entry.put_events_entry(self._bus) for entry in batch.entries]
        try:
            with translated(self._endpoint):
                answer = self._client.put_events(Entries=entries)
                return judge(batch.entries, answer.get("Entries"))
        except SinkDown as error:
            if error.code not in (UNREACHABLE, LOST, MALFORMED):
                raise
            return none_of(batch, error.code, str(error), again=True)
        except self._client.exceptions.ClientError as error:
            code, words, status = what_it_said(error)
            if refused_for_good(code, status):
                raise refusal(code, words) from None
            return none_of(batch, code, words, again=passes(code, status))

    def renew(self) -> None:
        """Look for credentials anew: a login, a file or a role may have brought others since the last ones expired.

        (The SDK itself renews those that it knows to expire; keys from a file or a login it reads once.)
        """
        if self._settings is not None:
            with suppress(PcapedaError):
                self._client = make_client("events", *self._settings)

    def close(self) -> None:
        """Close the kept-alive connections."""
        self._client.close()

    def _learn_account(self, answer: Any) -> None:
        arn = _ARN.fullmatch(str(answer.get("Arn")))
        if arn is not None:
            self._account = arn["account"]

    def _cannot_verify(self, why: str) -> None:
        self.notes.append(
            f"cannot verify that {self.describe()} exists ({why}); "
            "EventBridge takes events for a bus that does not exist, and drops them"
        )
