"""Requests as the SDK would send them, without the SDK's work for each: its headers, its signature, its route.

The SDK prepares one request; all later ones differ from it only in body, time and signature. botocore's own signer
(Signature Version 4) writes what is signed once a second; a request adds the hash of its body to that.
"""

import hmac
import re
import time
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from pcapeda.aws import responses, session
from pcapeda.aws.connections import Connector, EndpointConfig
from pcapeda.aws.http11 import ConnectionPool, Response
from pcapeda.errors import SinkDown

if TYPE_CHECKING:
    import ssl

_NO_BODY = sha256(b"").hexdigest()
_PLAIN_URL = re.compile(r"https?://[\w.:\[\]-]+(/[\w./~-]*)?", re.ASCII)


class UnsupportedConfig(Exception):
    """Something in the configuration that only the SDK knows how to do; in words."""


class RequestTemplate(NamedTuple):
    """What all requests of one operation have in common, and what they are signed for."""

    method: str
    url: str
    headers: dict[str, str]
    region: str
    service: str


def request_template(client: Any, operation: str, method: str) -> RequestTemplate:
    """What the SDK's client would send for an operation (`PutEvents`), whose method is `put_events`.

    Nothing is sent and no credentials are asked for. Raises `UnsupportedConfig`.
    """
    caught: dict[str, Any] = {}

    def catch(params: dict[str, Any], request_signer: Any, context: dict[str, Any], **_: Any) -> tuple[Any, Any]:
        caught.update(params=params, signer=request_signer, context=context)
        return _Nothing, {}  # instead of an answer

    event = f"before-call.{client.meta.service_model.service_id.hyphenize()}.{operation}"
    client.meta.events.register_first(event, catch)
    try:
        getattr(client, method)(Entries=[])
    finally:
        client.meta.events.unregister(event, catch)
    if not caught:
        raise UnsupportedConfig("something else answers for the endpoint")
    request, signer = caught["params"], caught["signer"]
    signing = caught["context"].get("signing") or {}
    kind = caught["context"].get("auth_type") or signer.signature_version
    if kind != "v4":
        raise UnsupportedConfig(f"requests are signed in another way ({kind})")
    if urlsplit(request["url"]).query or not _PLAIN_URL.fullmatch(request["url"]):
        raise UnsupportedConfig("the endpoint's URL has more than a host, a port and a plain path")
    return RequestTemplate(
        request["method"],
        request["url"],
        dict(request["headers"]),
        signing.get("region") or signer.region_name,
        signing.get("signing_name") or signer.signing_name,
    )


class _Nothing:
    """The HTTP side of an answer that nobody gave."""

    status_code = 200


class SigningContext(NamedTuple):
    """What the requests of one second have in common."""

    second: int
    canonical: bytes
    """The canonical request, up to the hash of the body."""
    to_sign: bytes
    """The string to sign, up to the hash of the canonical request."""
    key: bytes
    start: bytes
    """The head, up to the signature."""


class Signer:
    """Heads of requests, signed by credentials that are renewed as the SDK renews them. Threads may share one."""

    def __init__(self, credentials: Any, template: RequestTemplate, route: EndpointConfig) -> None:
        self._credentials = credentials
        self._template = template
        # A proxy for plain HTTP is asked for the whole URL, and with each request whether it may be.
        forwarded = route.proxy is not None and template.url.startswith("http:")
        self._target = template.url if forwarded else urlsplit(template.url).path or "/"
        self._unsigned = route.proxy_headers if forwarded else {}
        self._context = SigningContext(0, b"", b"", b"", b"")

    @property
    def slow(self) -> bool:
        """Whether the next head may take long, because the credentials are to be renewed over the network."""
        if int(time.time()) == self._context.second:
            return False
        renewable = getattr(self._credentials, "refresh_needed", None)
        return renewable is not None and bool(renewable())

    def head(self, body: bytes) -> bytes:
        """The head of a request with this body, ready to be sent. Raises `SinkDown` without credentials."""
        now = int(time.time())
        context = self._context
        if context.second != now:
            with session.translated(self._template.url):
                context = self._context = self._renewed(now)
        canonical = sha256(context.canonical + sha256(body).hexdigest().encode()).hexdigest()
        signature = hmac.digest(context.key, context.to_sign + canonical.encode(), "sha256").hex()
        return b"%b%b\r\nContent-Length: %d\r\n\r\n" % (context.start, signature.encode(), len(body))

    def _renewed(self, second: int) -> SigningContext:
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest

        template = self._template
        credentials = session.sound(self._credentials.get_frozen_credentials())
        signer = SigV4Auth(credentials, template.service, template.region)
        request = AWSRequest(template.method, template.url, dict(template.headers), data=b"")
        signer.add_auth(request)
        authorization: str = request.headers["Authorization"]
        del request.headers["Authorization"]  # it is not signed itself
        canonical: str = signer.canonical_request(request)
        to_sign: str = signer.string_to_sign(request, canonical)
        key = b"AWS4" + credentials.secret_key.encode()
        for part in signer.credential_scope(request).split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        start, _, signature = authorization.rpartition("Signature=")
        expected = hmac.digest(key, to_sign.encode(), "sha256").hex()
        if signature != expected or not canonical.endswith(_NO_BODY):
            raise SinkDown("the SDK signs in an unknown way", hint="try --transport boto3", code="SigningFailed")
        host = signer.headers_to_sign(request)["host"]
        lines = [f"{template.method} {self._target} HTTP/1.1"]
        for name, value in {"Host": host, **self._unsigned, **request.headers}.items():
            lines.append(f"{name}: {value}")
        lines.append(f"Authorization: {start}Signature=")
        return SigningContext(
            second,
            canonical[: -len(_NO_BODY)].encode(),
            to_sign[: -len(_NO_BODY)].encode(),
            key,
            "\r\n".join(lines).encode("latin-1"),
        )


def route(url: str, certificates: str | None) -> EndpointConfig:
    """The way to an endpoint as the SDK would go it: proxies from the environment, and of certificates those that one
    in the file `certificates` vouches for, in the endpoint's name. Raises `UnsupportedConfig` for proxies of another
    kind than plain HTTP.
    """
    from botocore.httpsession import ProxyConfiguration, create_urllib3_context, get_cert_path
    from botocore.utils import get_environ_proxies

    proxies = ProxyConfiguration(get_environ_proxies(url))
    proxy = proxies.proxy_url_for(url)
    if proxy is not None and urlsplit(proxy).scheme != "http":
        raise UnsupportedConfig(f"a proxy that speaks {urlsplit(proxy).scheme}")

    def tls() -> "ssl.SSLContext":
        context = session.strict(create_urllib3_context())
        context.set_alpn_protocols(["http/1.1"])
        context.load_verify_locations(certificates or get_cert_path(True))
        return context

    headers = proxies.proxy_headers_for(proxy) if proxy is not None else {}
    return EndpointConfig(url, proxy, headers, tls, session.CONNECT_TIMEOUT_S, session.READ_TIMEOUT_S)


class SigV4Transport:
    """Everything that requests of one operation need: where they go, how they are signed, how errors are read.

    Raises `UnsupportedConfig`.
    """

    def __init__(self, account: session.OpenedClient, operation: str, method: str) -> None:
        from botocore.credentials import Credentials
        from botocore.parsers import create_parser

        self._template = request_template(account.client, operation, method)
        self._route = route(self._template.url, account.certificates)
        self._connector = Connector(self._route)
        self._signer = Signer(account.credentials, self._template, self._route)
        self.head, self._operation = self._signer.head, (operation, method)
        model = account.client.meta.service_model
        self._parser = create_parser(model.resolved_protocol)
        self._shape = model.operation_model(operation).output_shape
        try:
            Signer(Credentials("key", "key"), self._template, self._route).head(b"")
        except SinkDown as error:
            raise UnsupportedConfig(str(error)) from None

    def renewed(self, account: session.OpenedClient) -> "SigV4Transport":
        """The same for an account whose credentials were looked for anew."""
        return SigV4Transport(account, *self._operation)

    @property
    def slow(self) -> bool:
        """Whether making the next request may take long."""
        return self._signer.slow

    def line(self) -> ConnectionPool:
        """A line for the requests of one thread."""
        return ConnectionPool(self._connector)

    def error(self, answer: Response) -> tuple[str, str, int]:
        """Code, words and status of an answer that is an error, read by the SDK. Raises `SinkDown` if it is none."""
        from botocore.awsrequest import HeadersDict

        raw = {"status_code": answer.status, "headers": HeadersDict(answer.headers), "body": answer.body}
        with session.translated(self._route.url):
            code, words, _ = responses.said(self._parser.parse(raw, self._shape))
            return code, words, answer.status
