"""The one place that knows httpx: questions and answers over one kept-alive connection.

httpx is the face: its requests, its responses, its tree of errors and its seam for transports.
Under that seam lies `wire`. Whatever goes wrong on the way becomes `ServiceTrouble` here, in words
for people; what an answer means is decided in `service` and `tokens`.
"""

import os
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Self
from urllib.parse import urlencode, urlsplit

import httpx

from watcher import __version__
from watcher.answer import BrokenAnswerError
from watcher.errors import CertificateRefused, ConfigurationError, ServiceTrouble
from watcher.exchange import NOTHING, Answer, Body, Terms
from watcher.pieces import BodyFailedError
from watcher.proxies import Proxy, proxies
from watcher.wire import Request, UnfitRequestError, Wire

USER_AGENT = f"autoretouch-watcher/{__version__}"

MAX_ANSWER = 64 << 10
"""Bytes of an answer that are read; nothing documented is longer than a few hundred."""

FOREIGN = (
    httpx.HTTPError,
    httpx.InvalidURL,
    httpx.StreamError,
    httpx.CookieConflict,
    UnicodeError,  # a header, a query or a name of other letters than they can have
)
"""All that httpx raises; a test walks it and fails if one is missing."""


class DirectConnection:
    """One connection to one host, opened when needed. Owned by one thread.

    (A pool shared by threads loses requests to EBADF, encode/httpcore#1110, and costs more
    processor the larger it is.) Never follows a redirect, which would send the file elsewhere;
    never asks for compression, which could unpack to gigabytes; believes no environment variable.
    Otherwise as `exchange` has it.
    """

    def __init__(
        self,
        transport: httpx.BaseTransport,
        *,
        timeout_seconds: float,
        slowest: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._transport = transport
        self._timeout = timeout_seconds
        self._slowest = slowest
        self._headers = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity"}
        self._clock = clock

    def exchange(
        self,
        method: str,
        url: str,
        *,
        query: Mapping[str, str] = NOTHING,
        headers: Mapping[str, str],
        body: Body | bytes = b"",
    ) -> Answer:
        """As `exchange` has it."""
        length, pieces = (len(body), (body,)) if isinstance(body, bytes) else (body.length, body)
        deadline = self._clock() + self._timeout + length / self._slowest
        try:
            where = _parsed(url)
            asked = b"?" + urlencode(query).encode("ascii") if query else b""
            all_headers = {"Host": where.netloc.decode("ascii"), **self._headers, **headers}
            if length or method == "POST":
                all_headers["Content-Length"] = str(length)
            request = httpx.Request(
                method,
                where,
                headers=all_headers,
                stream=_NO_STREAM,
                extensions={"deadline": deadline, "body": pieces, "target": where.raw_path + asked},
            )
            response = self._transport.handle_request(request)
            try:
                return _read(response)
            finally:
                response.close()
        except BodyFailedError as failed:
            raise failed.error from None
        except FOREIGN as error:
            raise _translated(error, url) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._transport.close()


def connections(terms: Terms, environ: Mapping[str, str]) -> Callable[[], DirectConnection]:
    """Makes connections, all with the same trust. Raises `ConfigurationError`."""
    trust = Trust(terms.ca_file)
    proxy_for = proxies(terms.proxy, environ)

    def connect() -> DirectConnection:
        silence = terms.timeout_seconds
        return DirectConnection(
            WireTransport(trust=trust, silence=silence, proxy_for=proxy_for),
            timeout_seconds=silence,
            slowest=terms.slowest,
        )

    return connect


_parsed = lru_cache(maxsize=16)(httpx.URL)
"""The few addresses that are asked again and again; to parse one costs 30 microseconds."""

_NO_STREAM = httpx.ByteStream(b"")
"""Told that there is one, httpx does not work the headers out again, which takes 10 microseconds;
what is sent goes with the request's extensions."""


def _read(response: httpx.Response) -> Answer:
    if response.headers.get("content-encoding", "identity") != "identity":
        raise ServiceTrouble("the answer is compressed, which was not asked for")
    headers = dict(response.headers.items())
    return Answer(response.status_code, headers, b"".join(response.iter_raw()))


class WireTransport(httpx.BaseTransport):
    """httpx's seam over `Wire`. Owned by one thread; one connection to each host.

    The request's extensions are its `body`, in pieces as `Wire` takes them (httpx knows none that
    the kernel sends), its `deadline`, and its `target` as httpcore knows it. Reads at most
    `MAX_ANSWER` bytes of an answer. `proxy_for` tells by which proxy a host is reached, None for
    directly.
    """

    def __init__(
        self,
        *,
        trust: Callable[[], ssl.SSLContext],
        silence: float,
        proxy_for: Callable[[str], Proxy | None] = lambda _host: None,
    ) -> None:
        self._trust = trust
        self._silence = silence
        self._proxy_for = proxy_for
        self._wires: dict[tuple[str, int], Wire] = {}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """One exchange; raises `httpx.TransportError`."""
        wire = self._wire(request.url)
        deadline: float = request.extensions["deadline"]
        try:
            wire.connect(deadline)
        except TimeoutError as error:
            raise httpx.ConnectTimeout(str(error), request=request) from error
        except OSError as error:
            raise httpx.ConnectError(str(error), request=request) from error
        try:
            received = wire.exchange(
                Request(
                    request.method,
                    request.extensions["target"],
                    request.headers.raw,
                    int(request.headers.get("content-length", "0")),
                ),
                request.extensions["body"],
                at_most=MAX_ANSWER,
                deadline=deadline,
            )
        except TimeoutError as error:
            raise httpx.ReadTimeout(str(error), request=request) from error
        except BrokenAnswerError as error:
            raise httpx.RemoteProtocolError(str(error), request=request) from error
        except UnfitRequestError as error:
            raise httpx.LocalProtocolError(str(error), request=request) from error
        except OSError as error:
            raise httpx.ReadError(str(error), request=request) from error
        return httpx.Response(
            received.status, headers=received.headers, stream=httpx.ByteStream(received.body)
        )

    def _wire(self, url: httpx.URL) -> Wire:
        secure = url.scheme == "https"
        port = url.port or (443 if secure else 80)
        host = url.raw_host.decode("ascii")  # `url.host` is for people; some have two ways back
        wire = self._wires.get((host, port))
        if wire is None:
            wire = self._wires[host, port] = Wire(
                host,
                port,
                ssl_context=self._trust() if secure else None,
                silence=self._silence,
                proxy=self._proxy_for(host) if secure else None,  # plain is for loopback alone
            )
        return wire

    def close(self) -> None:
        """Closes all connections."""
        for wire in self._wires.values():
            wire.close()


class Trust:
    """The certificates to believe: the usual ones, this system's, which an administrator may have
    added one to, and those in `ca_file` if it is not "".

    They are loaded once, when the first thread asks: that takes some 40 ms. Raises
    `ConfigurationError`.
    """

    def __init__(self, ca_file: str) -> None:
        self._ca_file = ca_file
        self._lock = threading.Lock()
        self._context: ssl.SSLContext | None = None
        if ca_file:
            self()  # whether it can be used is to be known at once

    def __call__(self) -> ssl.SSLContext:
        """A context that all may share."""
        with self._lock:
            if self._context is None:
                self._context = self._loaded()
            return self._context

    def _loaded(self) -> ssl.SSLContext:
        context = httpx.create_ssl_context(trust_env=False)
        # By the paths that OpenSSL was built with: a variable (SSL_CERT_FILE) adds nothing.
        built_in = ssl.get_default_verify_paths()
        for kind, path in (
            ("cafile", built_in.openssl_cafile),
            ("capath", built_in.openssl_capath),
        ):
            if os.path.exists(path):
                context.load_verify_locations(**{kind: path})
        if self._ca_file:
            try:
                context.load_verify_locations(self._ca_file)
            except (OSError, ssl.SSLError) as error:
                raise ConfigurationError(
                    f"[api] ca_file: {self._ca_file!a} cannot be used: {error}. Give the path of a "
                    "PEM file."
                ) from error
        return context


def _translated(error: Exception, url: str) -> ServiceTrouble:
    cause = _certificate_error(error)
    if cause is None:
        return ServiceTrouble(f"{urlsplit(url).netloc}: {_in_words(error)}")
    return CertificateRefused(
        f"the certificate of {httpx.URL(url).host} is not trusted ({cause.verify_message}), so "
        f"nothing was sent. {_REMEDIES.get(cause.verify_code, _OWN_AUTHORITY)}"
    )


def _certificate_error(error: BaseException | None) -> ssl.SSLCertVerificationError | None:
    while error is not None and not isinstance(error, ssl.SSLCertVerificationError):
        error = error.__cause__
    return error


_OWN_AUTHORITY = "If this network has a private certificate authority, name it in [api] ca_file."
_CLOCK = "Check this machine's clock; if it is right, the other side has to renew it."
_ADDRESS = "Check `url` in [api] and [auth]."
_REMEDIES = {9: _CLOCK, 10: _CLOCK, 62: _ADDRESS, 64: _ADDRESS}
"""By OpenSSL's X509_V_ERR: not valid yet, has expired, other host name, other IP address."""


def _in_words(error: Exception) -> str:
    match error:
        case httpx.ConnectTimeout():
            return "no connection within the time allowed"
        case httpx.TimeoutException():
            return "no answer within the time allowed"
        case httpx.ConnectError():
            return f"cannot connect: {error}"
        case httpx.LocalProtocolError() | UnicodeError():
            return "the request could not be sent"  # its text may show a header, and so a token
        case _:
            return f"the connection failed ({type(error).__name__}: {error})"
