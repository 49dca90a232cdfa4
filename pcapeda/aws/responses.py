"""What the sinks of AWS share: what an error code means, and what an answer says of each entry."""

import re
from collections.abc import Sequence
from typing import Any, Literal

from pcapeda.aws.session import LOST as LOST
from pcapeda.aws.session import MALFORMED as MALFORMED
from pcapeda.aws.session import UNREACHABLE as UNREACHABLE
from pcapeda.aws.session import one_line
from pcapeda.errors import SinkDown
from pcapeda.model import Batch, Entry, Failed, Outcome
from pcapeda.safety.masking import masked

Transport = Literal["fast", "boto3"]
"""Who makes the requests: this program, or the SDK."""

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

_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}|[1-5][0-9]{2}")


def what_it_said(error: Any) -> tuple[str, str, int]:
    """Code, words and HTTP status of an answer that is an error."""
    return said(error.response)


def said(response: Any) -> tuple[str, str, int]:
    """The same of an answer as the SDK has read it."""
    fields = response.get("Error", {})
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500)
    code = short_code(fields.get("Code"))
    if status == 413 and code not in TOO_LARGE:
        code = "413"
    return code, one_line(fields.get("Message") or ""), status


def refused_for_good(code: str, status: int) -> bool:
    """Whether the next request would meet the same refusal."""
    return code in REFUSED or (status in (401, 403) and code not in WORTH_ANOTHER_TRY)


def passes(code: str, status: int) -> bool:
    """Whether another try of a whole request makes sense."""
    return code in WORTH_ANOTHER_TRY or status >= 500 or status in (408, 429)


def refusal(code: str, words: str) -> SinkDown:
    """The error for a request that was refused for good."""
    return SinkDown(f"AWS refused: {code}: {words}" if words else f"AWS refused: {code}", code=code)


def refused_request(batch: Batch, code: str, words: str, status: int) -> Outcome | SinkDown:
    """What the answer to a whole request means that is an error: for each entry, or for all that could follow."""
    if status == 413:
        return none_of(batch, "413", words or code, retryable=True)
    if refused_for_good(code, status):
        return refusal(code, words)
    return none_of(batch, code, words, retryable=passes(code, status))


def none_of(batch: Batch, code: str, words: str, *, retryable: bool) -> Outcome:
    """The outcome of a request that failed as a whole."""
    return Outcome(0, tuple(Failed(entry, code, retryable, words) for entry in batch.entries))


def outcome_of(entries: Sequence[Entry], results: Any) -> Outcome:
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
        fields = result if isinstance(result, dict) else {}
        if fields.get("ErrorCode"):
            code = short_code(fields["ErrorCode"])
            failed.append(Failed(entry, code, code in WORTH_ANOTHER_TRY, one_line(fields.get("ErrorMessage") or "")))
        elif (isinstance(fields.get("EventId"), str) and fields["EventId"]) or fields.get("SuccessCode") in SUCCESSES:
            sent += 1
        else:
            failed.append(Failed(entry, MALFORMED, True, "a result with neither EventId nor ErrorCode"))
    return Outcome(sent, tuple(failed))


def short_code(code: object) -> str:
    """A code as it can be counted under: whatever is no word counts as one kind, so that their number is bounded."""
    text = str(code)
    return text if _CODE.fullmatch(text) and masked(text) == text else "UnknownError"
