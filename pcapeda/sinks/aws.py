"""What the sinks of AWS share: a client of the SDK, its exceptions in our words, and what an error code means.

Region, profile, endpoint, credentials, proxies and certificates are found as the SDK finds them. Retrying is the
caller's, so the SDK's own attempts are switched off.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

from pcapeda import __version__
from pcapeda.errors import BadConfig, PcapedaError, SinkDown
from pcapeda.model import Batch, Entry, Failed, Outcome

Transport = Literal["fast", "boto3"]
"""Who makes the requests: this program, or the SDK."""

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

TOO_LARGE = frozenset({"413", "RequestEntityTooLarge", "RequestEntityTooLargeException", "PayloadTooLargeException"})
"""Codes of whole requests that are larger than somebody on the way takes: half of one may pass."""

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

SUCCESSES = ("PUBLISHED", "DEDUPLICATED")
"""What EventBridge v2 says of entries it took, or had already (`eventbridgev2` 2025-05-15, SuccessCode)."""

UNREACHABLE, LOST, MALFORMED = "unreachable", "connection lost", "MalformedResponse"
"""What became of a request that the service did not answer, or not in its own words: another try may fare better."""

_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}|[1-5][0-9]{2}")


class Account(NamedTuple):
    """The SDK's client of a service, its credentials, and the file of certificates that the configuration names."""

    client: Any
    credentials: Any
    certificates: str | None


def make_client(
    service: str, region: str | None, profile: str | None, endpoint_url: str | None, concurrency: int
) -> Any:
    """The SDK's client of a service, for as many calls at once as `concurrency` says. Raises as `open_account`."""
    return open_account(service, region, profile, endpoint_url, concurrency).client


def open_account(
    service: str, region: str | None, profile: str | None, endpoint_url: str | None, concurrency: int
) -> Account:
    """The same with what else a transport of our own needs.

    Raises `BadConfig` for what is wrong with Region, profile, endpoint or the AWS configuration, `SinkDown` when there
    are no credentials.
    """
    import boto3
    import botocore.exceptions as sdk
    import botocore.session
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
    with translated(endpoint_url or "the AWS account"):
        try:
            core = botocore.session.Session(profile=profile)
            session = boto3.Session(botocore_session=core, region_name=region)
            if session.region_name is None:
                raise BadConfig("no AWS Region", hint="give --region, or set AWS_REGION or a profile that has one")
            credentials = session.get_credentials()
            if credentials is None:
                raise SinkDown(
                    "no AWS credentials",
                    hint="set up a profile, a role or environment variables as for the AWS CLI, or use --dry-run",
                    code="NoCredentials",
                )
            client = session.client(service, endpoint_url=endpoint_url, config=config)
            urlsplit(client.meta.endpoint_url).port  # noqa: B018 - the SDK finds a bad port only when it sends
            return Account(client, credentials, core.get_config_variable("ca_bundle"))
        except (sdk.ProfileNotFound, sdk.ConfigNotFound, sdk.ConfigParseError, sdk.InvalidConfigError) as error:
            raise BadConfig(f"AWS configuration: {one_line(error)}") from None
        except sdk.UnknownServiceError:
            raise BadConfig(f"this version of boto3 does not know {service}", hint="pip install -U boto3") from None
        except sdk.InvalidRegionError as error:
            raise BadConfig(f"--region {region}: {one_line(error)}") from None
        except ValueError as error:
            raise BadConfig(f"--endpoint-url {endpoint_url}: {one_line(error)}") from None


@contextmanager
def translated(endpoint: str) -> Iterator[None]:
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
        raise SinkDown(f"no AWS credentials: {one_line(error)}", hint=hint, code="NoCredentials") from None
    except (sdk.ConnectionError, OSError) as error:
        if isinstance(error, sdk.ReadTimeoutError):
            raise SinkDown(f"no answer from {endpoint} in {READ_TIMEOUT_S} s", code=LOST) from None
        raise SinkDown(
            f"cannot reach {endpoint}: {one_line(error)}",
            hint="is the network up, and are --region, --endpoint-url and any proxy right?",
            code=UNREACHABLE,
        ) from None
    except sdk.HTTPClientError as error:
        raise SinkDown(f"the connection to {endpoint} broke: {one_line(error)}", code=LOST) from None
    except (ResponseParserError, sdk.ChecksumError, sdk.IncompleteReadError) as error:
        raise SinkDown(f"{endpoint} gave an answer that is none: {one_line(error)}", code=MALFORMED) from None
    except sdk.BotoCoreError as error:
        raise SinkDown(one_line(error), code=type(error).__name__) from None
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError) as error:
        # What the SDK's parsers raise when bytes that came from the network have not the shape they trust in.
        raise SinkDown(f"{endpoint} gave an answer that is none: {one_line(error)}", code=MALFORMED) from None


def what_it_said(error: Any) -> tuple[str, str, int]:
    """Code, words and HTTP status of an answer that is an error."""
    return said(error.response)


def said(response: Any) -> tuple[str, str, int]:
    """The same of an answer as the SDK has read it."""
    told = response.get("Error", {})
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500)
    code = short_code(told.get("Code"))
    if status == 413 and code not in TOO_LARGE:
        code = "413"
    return code, one_line(told.get("Message") or ""), status


def refused_for_good(code: str, status: int) -> bool:
    """Whether the next request would meet the same refusal."""
    return code in REFUSED or (status in (401, 403) and code not in WORTH_ANOTHER_TRY)


def passes(code: str, status: int) -> bool:
    """Whether another try of a whole request makes sense."""
    return code in WORTH_ANOTHER_TRY or status >= 500 or status in (408, 429)


def refusal(code: str, words: str) -> SinkDown:
    """The error for a request that was refused for good."""
    return SinkDown(f"AWS refused: {code}: {words}" if words else f"AWS refused: {code}", code=code)


def none_of(batch: Batch, code: str, words: str, *, again: bool) -> Outcome:
    """The outcome of a request that failed as a whole."""
    return Outcome(0, tuple(Failed(entry, code, again, words) for entry in batch.entries))


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
            code = short_code(told["ErrorCode"])
            failed.append(Failed(entry, code, code in WORTH_ANOTHER_TRY, one_line(told.get("ErrorMessage") or "")))
        elif (isinstance(told.get("EventId"), str) and told["EventId"]) or told.get("SuccessCode") in SUCCESSES:
            sent += 1
        else:
            failed.append(Failed(entry, MALFORMED, True, "a result with neither EventId nor ErrorCode"))
    return Outcome(sent, tuple(failed))


def short_code(code: object) -> str:
    """A code as it can be counted under: whatever is no word counts as one kind, so that their number is bounded."""
    text = str(code)
    return text if _CODE.fullmatch(text) else "UnknownError"


def one_line(words: object) -> str:
    """What somebody else said, as one printable line of bounded length."""
    text = " ".join(str(words)[:2000].split())
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)[:400]
