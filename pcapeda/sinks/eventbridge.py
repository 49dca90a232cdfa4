"""PutEvents: batches onto an event bus, with an answer for every single entry.

An entry counts as sent only when its own result carries an EventId: the service answers HTTP 200 to a request of
which some entries failed. Which codes are worth another try follows the service model `events` 2015-10-07 and the
EventBridge User Guide; retrying itself is the caller's, so the SDK's own attempts are switched off.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

from pcapeda import __version__
from pcapeda.errors import BadConfig, PcapedaError, SinkDown
from pcapeda.model import Batch, BatchLimits, Entry, Failed, Outcome

ENTRIES_PER_REQUEST = 10
REQUEST_BYTES = 1_000_000
LINGER_NS = 1_000_000_000
"""How long the first entry of a batch waits for others."""

LIMITS = BatchLimits(ENTRIES_PER_REQUEST, REQUEST_BYTES, LINGER_NS)

CONNECT_TIMEOUT_S, READ_TIMEOUT_S = 5, 15

THROTTLED = frozenset(
    {
        "RequestLimitExceeded",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
"""Codes that mean 'later'."""

WORTH_ANOTHER_TRY = THROTTLED | {
    "InternalError",
    "InternalException",
    "InternalFailure",
    "InternalServerError",
    "RequestTimeout",
    "RequestTimeoutException",
    "ServiceUnavailable",
    "ServiceUnavailableException",
}
"""Codes that pass by themselves. Every other code of an entry is final, those that nobody knows among them: another
try of what the service has judged would only multiply requests."""

REFUSED = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "AuthFailure",
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "IncompleteSignatureException",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "NotAuthorized",
        "OptInRequired",
        "RequestExpired",
        "RequestTimeTooSkewed",
        "ResourceNotFoundException",
        "SignatureDoesNotMatch",
        "SubscriptionRequiredException",
        "UnauthorizedOperation",
        "UnrecognizedClientException",
    }
)
"""Codes of whole requests that the next request would meet too."""

UNREACHABLE, LOST, MALFORMED = "unreachable", "connection lost", "MalformedResponse"
"""What became of a request that the service did not answer, or not in its own words: another try may fare better."""

_ARN = re.compile(r"arn:[\w-]+:events:(?P<region>[\w-]+):(?P<account>[0-9]{12}):event-bus/(?P<name>.+)")
_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}|[1-5][0-9]{2}")


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
        self._client = client if client is not None else _make_client(region, profile, endpoint_url, concurrency)
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
            with _translated(self._endpoint):
                self._learn_account(self._client.describe_event_bus(Name=self._bus or "default"))
        except SinkDown as error:
            if error.code not in (LOST, MALFORMED):
                raise
            self._cannot_verify(str(error))
        except self._client.exceptions.ClientError as error:
            code, words, status = _what_it_said(error)
            if code == "ResourceNotFoundException":
                raise SinkDown(
                    f"no event bus {self._name} in {self._region}: {words}",
                    hint="PutEvents would take events for it all the same and drop them: mend --bus or create it",
                    code=code,
                ) from None
            if code in ("AccessDeniedException", "AccessDenied"):
                if self._bus is not None:  # the default bus always exists
                    self._cannot_verify("events:DescribeEventBus is not allowed")
            elif _refused_for_good(code, status):
                raise _refusal(code, words) from None
            else:
                self._cannot_verify(f"{code}: {words}")

    def send(self, batch: Batch) -> Outcome:
        """One PutEvents request. Raises `SinkDown` when the whole request was refused as the next one would be."""
        entries = [entry.put_events_entry(self._bus) for entry in batch.entries]
        try:
            with _translated(self._endpoint):
                answer = self._client.put_events(Entries=entries)
                return judge(batch.entries, answer.get("Entries"))
        except SinkDown as error:
            if error.code not in (UNREACHABLE, LOST, MALFORMED):
                raise
            return _none_of(batch, error.code, str(error), again=True)
        except self._client.exceptions.ClientError as error:
            code, words, status = _what_it_said(error)
            if _refused_for_good(code, status):
                raise _refusal(code, words) from None
            again = code in WORTH_ANOTHER_TRY or status >= 500 or status in (408, 429)
            return _none_of(batch, code, words, again=again)

    def renew(self) -> None:
        """Look for credentials anew: a login, a file or a role may have brought others since the last ones expired.

        (The SDK itself renews those that it knows to expire; keys from a file or a login it reads once.)
        """
        if self._settings is not None:
            with suppress(PcapedaError):
                self._client = _make_client(*self._settings)

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


def judge(entries: Sequence[Entry], results: Any) -> Outcome:
    """Compare what was sent with the results, which stand in the same order.

    An answer with another number of results, or a result with neither an EventId nor an ErrorCode, proves nothing:
    those entries are worth another try.
    """
    if not isinstance(results, list) or len(results) != len(entries):
        had = f"{len(results)} results" if isinstance(results, list) else "no results"
        message = f"an answer with {had} for {len(entries)} entries"
        return Outcome(0, tuple(Failed(entry, MALFORMED, True, message) for entry in entries))
    sent = 0
    failed = []
    for entry, result in zip(entries, results, strict=True):
        told = result if isinstance(result, dict) else {}
        if told.get("ErrorCode"):
            code = _short_code(told["ErrorCode"])
            failed.append(Failed(entry, code, code in WORTH_ANOTHER_TRY, _one_line(told.get("ErrorMessage") or "")))
        elif isinstance(told.get("EventId"), str) and told["EventId"]:
            sent += 1
        else:
            failed.append(Failed(entry, MALFORMED, True, "a result with neither EventId nor ErrorCode"))
    return Outcome(sent, tuple(failed))


def _make_client(region: str | None, profile: str | None, endpoint_url: str | None, concurrency: int) -> Any:
    import boto3
    import botocore.exceptions as sdk
    from botocore.config import Config

    config = Config(
        retries={"total_max_attempts": 1},
        max_pool_connections=concurrency,
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=READ_TIMEOUT_S,
        tcp_keepalive=True,
        # The SDK would check every entry of every request against the model; judge() looks at the answers.
        parameter_validation=False,
        user_agent_extra=f"pcapeda/{__version__}",
    )
    with _translated(endpoint_url or "the AWS account"):
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
            client = session.client("events", endpoint_url=endpoint_url, config=config)
            urlsplit(client.meta.endpoint_url).port  # noqa: B018 - the SDK finds a bad port only when it sends
            return client
        except (sdk.ProfileNotFound, sdk.ConfigNotFound, sdk.ConfigParseError, sdk.InvalidConfigError) as error:
            raise BadConfig(f"AWS configuration: {_one_line(error)}") from None
        except sdk.InvalidRegionError as error:
            raise BadConfig(f"--region {region}: {_one_line(error)}") from None
        except ValueError as error:
            raise BadConfig(f"--endpoint-url {endpoint_url}: {_one_line(error)}") from None


@contextmanager
def _translated(endpoint: str) -> Iterator[None]:
    """The SDK's own exceptions in our words; ClientError, which is the service's answer, passes through."""
    import botocore.exceptions as sdk
    from botocore.parsers import ResponseParserError

    try:
        yield
    except (PcapedaError, sdk.ClientError):
        raise
    except (
        sdk.NoCredentialsError,
        sdk.PartialCredentialsError,
        sdk.CredentialRetrievalError,
        sdk.SSOError,
        sdk.UnauthorizedSSOTokenError,
        sdk.TokenRetrievalError,
    ) as error:
        hint = "aws sso login may help" if isinstance(error, (sdk.SSOError, sdk.TokenRetrievalError)) else None
        raise SinkDown(f"no AWS credentials: {_one_line(error)}", hint=hint, code="NoCredentials") from None
    except (sdk.ConnectionError, OSError) as error:
        if isinstance(error, sdk.ReadTimeoutError):
            raise SinkDown(f"no answer from {endpoint} in {READ_TIMEOUT_S} s", code=LOST) from None
        raise SinkDown(
            f"cannot reach {endpoint}: {_one_line(error)}",
            hint="is the network up, and are --region, --endpoint-url and any proxy right?",
            code=UNREACHABLE,
        ) from None
    except sdk.HTTPClientError as error:
        raise SinkDown(f"the connection to {endpoint} broke: {_one_line(error)}", code=LOST) from None
    except (ResponseParserError, sdk.ChecksumError, sdk.IncompleteReadError) as error:
        raise SinkDown(f"{endpoint} gave an answer that is none: {_one_line(error)}", code=MALFORMED) from None
    except sdk.BotoCoreError as error:
        raise SinkDown(_one_line(error), code=type(error).__name__) from None
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError) as error:
        # What the SDK's parsers raise when bytes that came from the network have not the shape they trust in.
        raise SinkDown(f"{endpoint} gave an answer that is none: {_one_line(error)}", code=MALFORMED) from None


def _what_it_said(error: Any) -> tuple[str, str, int]:
    """Code, words and HTTP status of an answer that is an error."""
    told = error.response.get("Error", {})
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500)
    return _short_code(told.get("Code")), _one_line(told.get("Message") or ""), status


def _refused_for_good(code: str, status: int) -> bool:
    return code in REFUSED or (status in (401, 403) and code not in WORTH_ANOTHER_TRY)


def _refusal(code: str, words: str) -> SinkDown:
    return SinkDown(f"AWS refused: {code}: {words}" if words else f"AWS refused: {code}", code=code)


def _none_of(batch: Batch, code: str, words: str, *, again: bool) -> Outcome:
    return Outcome(0, tuple(Failed(entry, code, again, words) for entry in batch.entries))


def _short_code(code: object) -> str:
    """A code as it can be counted under: whatever is no word counts as one kind, so that their number is bounded."""
    text = str(code)
    return text if _CODE.fullmatch(text) else "UnknownError"


def _one_line(words: object) -> str:
    """What somebody else said, as one printable line of bounded length."""
    text = " ".join(str(words)[:2000].split())
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)[:400]
