"""The AWS SDK as every part of this program uses it: clients whose peers always prove their names, and its exceptions
in our words.

Region, profile, endpoint, credentials, proxies and certificates are found as the SDK finds them, with one difference:
nothing in an environment or a file can switch the check of certificates off.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote, urlsplit

from pcapeda._version import __version__
from pcapeda.errors import BadConfig, PcapedaError, SinkDown, Untrusted
from pcapeda.safety.masking import hold, hold_login, masked

if TYPE_CHECKING:
    import ssl

CONNECT_TIMEOUT_S, READ_TIMEOUT_S = 5, 15

UNREACHABLE, LOST, MALFORMED = "unreachable", "connection lost", "MalformedResponse"
"""What became of a request that the service did not answer, or not in its own words: another try may fare better."""


_ODD = re.compile(r"[^!-~]")
"""What is no printable character of ASCII, which is all that keys and tokens are made of."""

UNCHECKED = "the client that was handed in does not check certificates: whoever answers gets the events"
"""What is said of a client that somebody else has made so."""


class OpenedClient(NamedTuple):
    """The SDK's client of a service, its credentials, and the file of the certificates that are trusted."""

    client: Any
    credentials: Any
    certificates: str | None


def make_client(
    service: str, region: str | None, profile: str | None, endpoint_url: str | None, concurrency: int, attempts: int = 1
) -> Any:
    """The SDK's client of a service, for as many calls at once as `concurrency` says. Raises as `open_account`."""
    return open_account(service, region, profile, endpoint_url, concurrency, attempts).client


def open_account(
    service: str, region: str | None, profile: str | None, endpoint_url: str | None, concurrency: int, attempts: int = 1
) -> OpenedClient:
    """The same with what else a transport of our own needs. The SDK makes `attempts` at each request by itself.

    Raises `BadConfig` for what is wrong with Region, profile, endpoint or the AWS configuration, `SinkDown` when there
    are no credentials.
    """
    import boto3
    import botocore.exceptions as sdk
    import botocore.session
    from botocore.config import Config

    retries: dict[str, Any] = {"total_max_attempts": attempts}
    config = Config(
        retries=retries if attempts == 1 else retries | {"mode": "standard"},
        max_pool_connections=concurrency,
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=READ_TIMEOUT_S,
        tcp_keepalive=True,
        # The SDK would check every entry of every request against the model; we look at the answers.
        parameter_validation=False,
        user_agent_extra=f"pcapeda/{__version__}",
    )
    _hold_settings(endpoint_url)
    with translated(endpoint_url or "the AWS account"):
        try:
            core = botocore.session.Session(profile=profile)
            certificates = trusted(core)
            core.set_config_variable("ca_bundle", certificates)  # for every client, those that bring credentials too
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
            if not hasattr(credentials, "refresh_needed"):  # those come over the network once they are needed
                sound(credentials.get_frozen_credentials())
            client = session.client(service, endpoint_url=endpoint_url, config=config)
            client.meta.events.register("before-send", _sound_request)
            urlsplit(client.meta.endpoint_url).port  # noqa: B018 - the SDK finds a bad port only when it sends
            check_names(client)
            return OpenedClient(client, credentials, certificates)
        except (sdk.ProfileNotFound, sdk.ConfigNotFound, sdk.ConfigParseError, sdk.InvalidConfigError) as error:
            raise BadConfig(f"AWS configuration: {one_line(error)}") from None
        except sdk.UnknownServiceError:
            raise BadConfig(f"this version of boto3 does not know {service}", hint="pip install -U boto3") from None
        except sdk.InvalidRegionError as error:
            raise BadConfig(f"--region {region}: {one_line(error)}") from None
        except ValueError as error:
            raise BadConfig(f"--endpoint-url {endpoint_url}: {one_line(error)}") from None


# Credentials


def sound(credentials: Any) -> Any:
    """Credentials as they are to be used in one request (botocore's frozen ones), and known to `mask` from now on.

    Raises `SinkDown` for those that no header can carry: one with a line break would end it, and begin another.
    """
    hold(credentials.access_key, credentials.secret_key, credentials.token)
    _sound(
        ("access key id", credentials.access_key),
        ("secret access key", credentials.secret_key),
        ("session token", credentials.token),
    )
    return credentials


def _sound_request(request: Any, **_: Any) -> None:
    """The same for a request that the SDK has signed, and that is to be sent next."""
    signed, token = (
        value.decode("latin-1") if isinstance(value, bytes) else value or ""
        for value in map(request.headers.get, ("Authorization", "X-Amz-Security-Token"))
    )
    key = signed.partition("Credential=")[2].partition("/")[0]
    hold(key, token)
    _sound(("access key id", key), ("session token", token))


def _sound(*values: tuple[str, str | None]) -> None:
    for what, value in values:
        odd = _ODD.search(value or "")
        if odd is not None:
            kind = "a line break" if odd[0] in "\r\n" else f"the character U+{ord(odd[0]):04X}"
            raise SinkDown(
                f"AWS credentials: the {what} holds {kind}, which none may have",
                hint="it may have been copied with the end of its line, or from a file with those of Windows",
                code="NoCredentials",
            )


def _hold_settings(endpoint_url: str | None) -> None:
    """Have `mask` know the secrets that the environment and URLs hold."""
    from urllib.request import getproxies

    names = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN")
    hold(*map(os.environ.get, names))
    for url in (endpoint_url, *getproxies().values()):
        with suppress(ValueError):
            parts = urlsplit(url if url is None or "//" in url else f"//{url}")
            user, password = (unquote(str(one or "")) for one in (parts.username, parts.password))
            hold_login(user, password)
            hold(str(parts.password or ""))


# Certificates


def trusted(core: Any) -> str:
    """The file of the certificates that a session trusts: what its configuration names, REQUESTS_CA_BUNDLE, or else the
    SDK's own list. Raises `BadConfig` for a file that has none.

    The SDK takes a name that is empty (`AWS_CA_BUNDLE=`) as leave to trust whoever answers; here it is no name.
    """
    import ssl

    from botocore.httpsession import get_cert_path

    for setting, path in (
        ("AWS_CA_BUNDLE or ca_bundle in the AWS configuration", core.get_config_variable("ca_bundle")),
        ("REQUESTS_CA_BUNDLE", os.environ.get("REQUESTS_CA_BUNDLE")),
    ):
        if path:
            path = os.path.expanduser(path)  # noqa: PTH111 - a Path would change what it names
            try:
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
            except OSError as error:
                why = "it holds no certificates" if isinstance(error, ssl.SSLError) else error.strerror
                raise BadConfig(f"{setting}: {path}: {why}", hint="it takes a file of certificates in PEM") from None
            return str(path)
    return str(get_cert_path(True))


def strict(context: "ssl.SSLContext") -> "ssl.SSLContext":
    """A context that takes no certificate but one of a trusted authority, valid now, for the very name that was asked
    for, as its subjectAltName says it (RFC 9525: a commonName is no name)."""
    import ssl

    context.verify_mode = ssl.CERT_REQUIRED
    context.check_hostname = True
    context.hostname_checks_common_name = False
    return context


def check_names(client: Any) -> None:
    """Have TLS itself check names for a client of the SDK, by the same rules as for our own connections.

    (urllib3, by which the SDK connects, checks them afterwards, takes a commonName for one, and logs the whole
    certificate of an impostor. Should the SDK hold its connections in another way some day, that check is left.)
    """
    with suppress(AttributeError, KeyError):
        http = client._endpoint.http_session
        make = http._get_ssl_context
        http._get_ssl_context = lambda: strict(make())
        http._manager.connection_pool_kw["ssl_context"] = strict(make())


def checks_certificates(client: Any) -> bool:
    """Whether a client that somebody else has made looks at certificates at all, as far as that can be known."""
    try:
        return bool(client._endpoint.http_session._verify) or urlsplit(client.meta.endpoint_url).scheme != "https"
    except AttributeError:
        return True


def _certificate_error(error: BaseException) -> BaseException | None:
    """What was wrong with a certificate, if that is what an error comes from."""
    import ssl

    from urllib3.util.ssl_match_hostname import CertificateError

    seen: list[BaseException] = []
    look = [error]
    while look:
        one = look.pop()
        if isinstance(one, ssl.SSLCertVerificationError | CertificateError):
            return one
        if one in seen:
            continue
        seen.append(one)
        kept = getattr(one, "kwargs", None)
        inner = kept.get("error") if isinstance(kept, dict) else None
        found = (one.__cause__, one.__context__, inner, getattr(one, "original_error", None), *one.args)
        look += [other for other in found if isinstance(other, BaseException)]
    return None


def _untrusted(error: BaseException, endpoint: str) -> Untrusted | None:
    """The same as our error. The SDK's exceptions know which peer it was: a proxy, or who gives credentials."""
    wrong = _certificate_error(error)
    if wrong is None:
        return None
    known = getattr(error, "kwargs", None)
    known = known if isinstance(known, dict) else {}
    peer = urlsplit(str(known.get("proxy_url") or known.get("endpoint_url") or endpoint))
    why = one_line(getattr(wrong, "verify_message", "") or wrong).rstrip(".")
    return Untrusted(
        f"the certificate of {peer.scheme}://{peer.netloc} is not to be trusted: {why}; nothing was sent there",
        hint="is that the host you mean, and is the clock right? An authority of your own goes into AWS_CA_BUNDLE",
    )


# Exceptions


@contextmanager
def translated(endpoint: str) -> Iterator[None]:
    """The SDK's own exceptions in our words; ClientError, which is the service's answer, passes through."""
    import botocore.exceptions as sdk
    from botocore.parsers import ResponseParserError

    sense = (ResponseParserError, ValueError, TypeError, AttributeError, LookupError, RecursionError)
    try:
        yield
    except (PcapedaError, sdk.ClientError):
        raise
    except (sdk.BotoCoreError, OSError, *sense) as error:
        raise (_untrusted(error, endpoint) or _in_our_words(error, endpoint)) from None


def _in_our_words(error: Exception, endpoint: str) -> SinkDown:
    import botocore.exceptions as sdk
    from botocore.parsers import ResponseParserError

    if isinstance(
        error,
        sdk.NoCredentialsError
        | sdk.PartialCredentialsError
        | sdk.CredentialRetrievalError
        | sdk.SSOError
        | sdk.UnauthorizedSSOTokenError
        | sdk.TokenRetrievalError,
    ):
        hint = "aws sso login may help" if isinstance(error, sdk.SSOError | sdk.TokenRetrievalError) else None
        return SinkDown(f"no AWS credentials: {one_line(error)}", hint=hint, code="NoCredentials")
    if isinstance(error, sdk.ReadTimeoutError):
        return SinkDown(f"no answer from {endpoint} in {READ_TIMEOUT_S} s", code=LOST)
    if isinstance(error, sdk.ConnectionError | OSError):
        hint = "is the network up, and are --region, --endpoint-url and any proxy right?"
        return SinkDown(f"cannot reach {endpoint}: {one_line(error)}", hint=hint, code=UNREACHABLE)
    if isinstance(error, sdk.HTTPClientError):
        return SinkDown(f"the connection to {endpoint} broke: {one_line(error)}", code=LOST)
    if isinstance(error, sdk.BotoCoreError) and not isinstance(
        error, ResponseParserError | sdk.ChecksumError | sdk.IncompleteReadError
    ):
        return SinkDown(one_line(error), code=type(error).__name__)
    # Among these is what the SDK's parsers raise when bytes from the network have not the shape they trust in.
    return SinkDown(f"{endpoint} gave an answer that is none: {one_line(error)}", code=MALFORMED)


def one_line(words: object) -> str:
    """What somebody else said, as one printable line of bounded length without secrets."""
    text = " ".join(masked(str(words)[:16_384]).split())
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)[:400]
