"""PutEvents: batches onto an event bus, with an answer for every single entry.

An entry counts as sent only when its own result carries an EventId: the service answers HTTP 200 to a request of
which some entries failed. Which codes are worth another try follows the service model `events` 2015-10-07 and the
EventBridge User Guide; retrying itself is the caller's, so the SDK's own attempts are switched off.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from pcapeda.errors import BadConfig, PcapedaError, SinkDown
from pcapeda.model import Batch, BatchLimits, Entry, Failed, Outcome

ENTRIES_PER_REQUEST = 10
REQUEST_BYTES = 1_000_000
LINGER_NS = 1_000_000_000
"""How long the first entry of a batch waits for others."""

WORTH_ANOTHER_TRY = frozenset({"InternalFailure", "InternalException", "ThrottlingException"})
"""Codes of single entries that pass by themselves; every other code of an entry is final."""

THROTTLED = frozenset({"ThrottlingException", "Throttling", "TooManyRequestsException", "RequestLimitExceeded"})
"""Codes of whole requests that mean 'later'."""

DENIED = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "NotAuthorized",
        "OptInRequired",
        "RequestExpired",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
"""Codes of whole requests that the next request would meet too."""

_ARN = re.compile(r"arn:aws[\w-]*:events:(?P<region>[a-z0-9-]+):(?P<account>\d{12}):event-bus/(?P<name>.+)")


class EventBridgeSink:
    """A classic event bus: `bus` is a name or an ARN, None the account's default bus.

    Region, profile, endpoint and credentials come from the arguments or else from where the AWS SDK looks for them.
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
        client: Any = None,
    ) -> None:
        self.limits = BatchLimits(ENTRIES_PER_REQUEST, REQUEST_BYTES, LINGER_NS)
        self.concurrency = concurrency
        self.notes: list[str] = []
        self._bus = bus
        arn = _ARN.fullmatch(bus) if bus is not None else None
        if arn is not None:
            if region is not None and region != arn["region"]:
                raise BadConfig(f"--region {region} contradicts the bus's ARN, which is in {arn['region']}")
            region = arn["region"]
        self._client = client if client is not None else _make_client(region, profile, endpoint_url, concurrency)
        self._endpoint: str = self._client.meta.endpoint_url
        self._region: str = self._client.meta.region_name

    @property
    def hosts(self) -> tuple[str, ...]:
        """The host names that sending looks up."""
        host = urlsplit(self._endpoint).hostname
        return (host,) if host else ()

    def describe(self) -> str:
        """Where events go, in a few words."""
        return f"event bus {self._bus or 'default'} in {self._region} ({self._endpoint})"

    def check(self) -> None:
        """Ask for the bus, since PutEvents takes events for a bus that does not exist without a word.

        Raises `SinkDown`: no credentials, refused ones, no such bus, nobody at the endpoint. Not being allowed to ask
        (events:DescribeEventBus) is none of these; it leaves a sentence in `notes`.
        """
        with _translated(self._endpoint):
            try:
                self._client.describe_event_bus(**({"Name": self._bus} if self._bus is not None else {}))
            except self._client.exceptions.ClientError as error:
                code, words = _code_and_words(error)
                if code == "ResourceNotFoundException":
                    raise SinkDown(
                        f"no event bus {self._bus or 'default'} in {self._region}: {words}",
                        hint="PutEvents would take events for it all the same and drop them: mend --bus or create it",
                        code=code,
                    ) from None
                if code in ("AccessDeniedException", "AccessDenied"):
                    self.notes.append(
                        f"cannot verify that {self.describe()} exists (events:DescribeEventBus is not allowed); "
                        "EventBridge takes events for a bus that does not exist, and drops them"
                    )
                elif _final_for_all(code):
                    raise _denied(code, words) from None
                # Anything else may pass: sending will tell, and it is the caller who tries again.

    def send(self, batch: Batch) -> Outcome:
        """One PutEvents request. Raises `SinkDown` when the whole request was refused as the next one would be."""
        try:
            with _translated(self._endpoint):
                answer = self._client.put_events(Entries=[self._request_entry(entry) for entry in batch.entries])
        except SinkDown as error:
            if error.code not in _PASSING:
                raise
            return _none_of(batch, error.code, str(error), again=True)
        except self._client.exceptions.ClientError as error:
            code, words = _code_and_words(error)
            if _final_for_all(code):
                raise _denied(code, words) from None
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500)
            again = code in THROTTLED or code in WORTH_ANOTHER_TRY or status >= 500 or status in (408, 429)
            return _none_of(batch, code, words, again=again)
        return judge(batch.entries, answer.get("Entries"))

    def close(self) -> None:
        """Close the kept-alive connections."""
        self._client.close()

    def _request_entry(self, entry: Entry) -> dict[str, Any]:
        request: dict[str, Any] = {"Source": entry.source, "DetailType": entry.detail_type, "Detail": entry.detail}
        if entry.time_ns is not None:
            request["Time"] = entry.time_ns // 1_000_000_000
        if entry.resources:
            request["Resources"] = list(entry.resources)
        if self._bus is not None:
            request["EventBusName"] = self._bus
        return request


def judge(entries: Sequence[Entry], results: Any) -> Outcome:
    """Compare what was sent with the results, which stand in the same order.

    An answer with another number of results, or a result with neither an EventId nor an ErrorCode, proves nothing:
    those entries are worth another try.
    """
    if not isinstance(results, list) or len(results) != len(entries):
        told = f"{len(results)} results" if isinstance(results, list) else "no results"
        message = f"an answer with {told} for {len(entries)} entries"
        return Outcome(0, tuple(Failed(entry, "MalformedResponse", True, message) for entry in entries))
    sent = 0
    failed = []
    for entry, result in zip(entries, results, strict=True):
        code = result.get("ErrorCode") if isinstance(result, dict) else None
        if code:
            words = _one_line(str(result.get("ErrorMessage") or ""))
            failed.append(Failed(entry, str(code), code in WORTH_ANOTHER_TRY, words))
        elif isinstance(result, dict) and result.get("EventId"):
            sent += 1
        else:
            failed.append(Failed(entry, "MalformedResponse", True, "a result with neither EventId nor ErrorCode"))
    return Outcome(sent, tuple(failed))


def _make_client(region: str | None, profile: str | None, endpoint_url: str | None, concurrency: int) -> Any:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ProfileNotFound

    config = Config(
        retries={"total_max_attempts": 1},
        max_pool_connections=concurrency,
        connect_timeout=5,
        read_timeout=15,
        tcp_keepalive=True,
        # The SDK would check and rebuild every entry of every request against the model; judge() looks at the answers.
        parameter_validation=False,
        user_agent_extra="pcapeda",
    )
    with _translated(endpoint_url or ""):
        try:
            session = boto3.Session(profile_name=profile, region_name=region)
            if session.region_name is None:
                raise BadConfig("no AWS Region", hint="give --region, or set AWS_REGION or a profile that has one")
            if session.get_credentials() is None:
                raise SinkDown(
                    "no AWS credentials",
                    hint="set up a profile, a role or environment variables as for the AWS CLI, or use --dry-run",
                    code="NoCredentials",
                )
            return session.client("events", endpoint_url=endpoint_url, config=config)
        except ProfileNotFound as error:
            raise BadConfig(f"--profile {profile}: {_one_line(str(error))}") from None
        except ValueError as error:
            raise BadConfig(f"--endpoint-url {endpoint_url}: {_one_line(str(error))}") from None
        except BotoCoreError as error:
            raise SinkDown(_one_line(str(error)), code=type(error).__name__) from None


_PASSING = frozenset({"unreachable", "MalformedResponse"})
"""What `_translated` found that another try may mend."""


@contextmanager
def _translated(endpoint: str) -> Iterator[None]:
    """The SDK's own exceptions in our words; ClientError, which is the service's answer, passes through."""
    import botocore.exceptions as sdk
    from botocore.parsers import ResponseParserError

    try:
        yield
    except PcapedaError:
        raise
    except (sdk.NoCredentialsError, sdk.PartialCredentialsError, sdk.CredentialRetrievalError) as error:
        raise SinkDown(f"no AWS credentials: {_one_line(str(error))}", code="NoCredentials") from None
    except (sdk.SSOError, sdk.UnauthorizedSSOTokenError, sdk.TokenRetrievalError) as error:
        raise SinkDown(
            f"no AWS credentials: {_one_line(str(error))}", hint="aws sso login may help", code="NoCredentials"
        ) from None
    except (ResponseParserError, sdk.ChecksumError) as error:
        raise SinkDown(f"an answer that is none: {_one_line(str(error))}", code="MalformedResponse") from None
    except (sdk.HTTPClientError, sdk.ConnectionError, OSError) as error:
        raise SinkDown(
            f"cannot reach {endpoint}: {_one_line(str(error))}",
            hint="is the network up, and are --region, --endpoint-url and any proxy right?",
            code="unreachable",
        ) from None
    except sdk.BotoCoreError as error:
        raise SinkDown(_one_line(str(error)), code=type(error).__name__) from None


def _code_and_words(error: Any) -> tuple[str, str]:
    told = error.response.get("Error", {})
    return str(told.get("Code") or "Unknown"), _one_line(str(told.get("Message") or ""))


def _final_for_all(code: str) -> bool:
    return code in DENIED


def _denied(code: str, words: str) -> SinkDown:
    return SinkDown(f"AWS refused: {code}: {words}" if words else f"AWS refused: {code}", code=code)


def _none_of(batch: Batch, code: str, words: str, *, again: bool) -> Outcome:
    return Outcome(0, tuple(Failed(entry, code, again, words) for entry in batch.entries))


def _one_line(text: str) -> str:
    return " ".join(text.split())[:500]
