"""What could be wrong between here and the service. No image is sent; each request is documented.

`GET /health` says whether it is reached, `HEAD /upload` for a hash that nobody has whether token
and organization are accepted, `GET /v1/organization` which ones there are.
"""

import glob
import os
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlencode

from watcher.access import given
from watcher.commands.check_shares import DROP_INS
from watcher.commands.findings import Finding, failed, passed, warned
from watcher.errors import (
    AccessDenied,
    CertificateRefused,
    ConfigurationError,
    LoginNeeded,
    ServiceError,
    ServiceTrouble,
)
from watcher.exchange import Answer, Connection
from watcher.exit_codes import CONFIGURATION, LOGIN_NEEDED
from watcher.login import organizations
from watcher.printable import printable
from watcher.service import HEALTH, Service, Tokens
from watcher.token_store import Stored, TokenStore
from watcher.tokens import FORM, seed_of

NOBODYS_HASH = "0" * 64
SKEW_SECONDS = 60.0
_SIGN_IN = (
    "Sign in: autoretouch-watcher login (with the daemon's --state-dir), or set "
    "AUTORETOUCH_REFRESH_TOKEN."
)

Connect = Callable[[], Connection]


@dataclass(frozen=True, slots=True)
class Login:
    """Where a token comes from, if there is one, and the organization that was chosen with it."""

    source: str = ""
    renewable: bool = False
    organization: str = ""


def login(
    store: TokenStore, environ: Mapping[str, str], *, drop_ins: str = DROP_INS
) -> tuple[Login, Finding]:
    """What the daemon would use, in its own order; asks nobody."""
    try:
        access, refresh = given("access_token", environ), given("refresh_token", environ)
        stored = None if access else store.read()
    except ConfigurationError as error:
        remedy = "Nothing is started with a token that is not safe or cannot be read."
        return Login(), failed("token", str(error), remedy, code=CONFIGURATION)
    if access:
        source = _source("access_token", environ)
        return Login(source), warned(
            "token",
            f"{source}, an access token; it ends within a day and cannot be renewed",
            "For a daemon that goes on by itself: autoretouch-watcher login, or a refresh token.",
        )
    if refresh and (stored is None or stored.seed != seed_of(refresh)):
        source = _source("refresh_token", environ)
        return Login(source, renewable=True), passed("token", f"{source}, a refresh token")
    if stored is None and (drop_in := _given_to_service(drop_ins)):
        return Login(), warned(
            "token",
            f"none here; the service is given one ({drop_in}), which it alone can read",
            "systemctl status autoretouch-watcher says login_needed if that one is refused.",
        )
    if stored is None:
        return Login(), failed(
            "token", f"none: nobody is signed in ({store.path})", _SIGN_IN, code=LOGIN_NEEDED
        )
    return (
        Login(store.path, renewable=True, organization=stored.organization),
        passed("token", _kept(stored, store.path)),
    )


def _kept(stored: Stored, path: str) -> str:
    ends = ""
    if stored.access_token and stored.expires_at > time.time():
        until = datetime.fromtimestamp(stored.expires_at, UTC).astimezone()
        ends = f"; renewed by itself, next after {until:%Y-%m-%d %H:%M}"
    return f"{path}, for its owner alone{ends}"


_GIVES_A_TOKEN = re.compile(
    r"(?m)^(Load|Set)Credential(Encrypted)?\s*=\s*(access|refresh)_token\b"
    r"|^Environment\s*=.*\bAUTORETOUCH_(ACCESS|REFRESH)_TOKEN="
)


def _given_to_service(drop_ins: str) -> str:
    """The drop-in by which systemd gives the service a token, or ""."""
    for name in glob.glob(drop_ins):
        with suppress(OSError), open(name, encoding="utf-8", errors="replace") as file:
            if _GIVES_A_TOKEN.search(file.read()):
                return name
    return ""


def _source(name: str, environ: Mapping[str, str]) -> str:
    """Where `access.given` finds it."""
    folder = environ.get("CREDENTIALS_DIRECTORY")
    path = os.path.join(folder, name) if folder else ""
    if path and os.path.exists(path):
        return f"the systemd credential {name}"
    return f"AUTORETOUCH_{name.upper()} in the environment"


def organization(configured: Sequence[str], known: Login) -> Finding:
    """Where images go, as far as it is known here. `configured`: each share's, "" for none."""
    named = sorted({printable(one) for one in configured if one})
    if named and "" not in configured:
        return passed("organization", f"configured: {', '.join(named)}")
    if known.organization:
        from_login = f"from the login: {printable(known.organization)}"
        also = f"; configured: {', '.join(named)}" if named else ""
        return passed("organization", from_login + also)
    return warned(
        "organization",
        "neither configured nor chosen at a login: the service decides where images go",
        "Name it: [api] organization, or sign in with `autoretouch-watcher login`.",
    )


def reached(connect: Connect, *, api: str, auth: str | None) -> Iterator[Finding]:
    """Whether service and auth server (None: not needed) answer at all."""
    health = _bare(api) + HEALTH
    yield from _answers(
        "service", api, lambda ask: ask.exchange("GET", health, headers={}), connect
    )
    if auth is not None:
        # A question without its token: the refusal shows that it answers, and costs nobody a login.
        body = urlencode({"grant_type": "refresh_token"}).encode("ascii")
        yield from _answers(
            "auth server",
            auth,
            lambda ask: ask.exchange("POST", f"{_bare(auth)}/oauth/token", headers=FORM, body=body),
            connect,
        )


def _bare(url: str) -> str:
    return url.rstrip("/")


def _answers(
    what: str, url: str, ask: Callable[[Connection], Answer], connect: Connect
) -> Iterator[Finding]:
    begun = time.monotonic()
    try:
        with connect() as connection:
            answer = ask(connection)
    except ServiceTrouble as error:
        yield failed(what, f"{url}: {error}", _way_out(error))
        return
    seconds = time.monotonic() - begun
    if answer.status >= 500:
        yield failed(
            what,
            f"{url}: is reached, but answers {answer.status}",
            "The service is in trouble: wait, or ask the vendor. Images wait meanwhile.",
        )
    elif what == "service" and answer.status != 200:
        yield warned(
            what,
            f"{url}: answers {answer.status} to /health instead of 200",
            "Check [api] url: it may be another server's.",
        )
    else:
        yield passed(what, f"{url}: answers, in {seconds:.2f} s")
    yield from _clock(answer)


def _way_out(error: ServiceTrouble) -> str:
    if isinstance(error, CertificateRefused):
        now = datetime.now(UTC)
        return (
            f"This machine's clock says {now:%Y-%m-%d %H:%M} UTC. If that is right, compare the "
            "certificate with what another network shows; [api] ca_file names a private authority."
        )
    cause: BaseException | None = error
    while cause is not None:
        for kind, remedy in _WAYS_OUT.items():
            if isinstance(cause, kind):
                return remedy
        cause = cause.__cause__
    return (
        "Check [api] url and [auth] url, the firewall, and whether a proxy is needed: [api] proxy."
    )


_WAYS_OUT: Mapping[type[BaseException], str] = {
    socket.gaierror: "The name cannot be found: check the address, this machine's DNS "
    "(/etc/resolv.conf), and whether a proxy is needed ([api] proxy).",
    ssl.SSLError: "Something there does not speak TLS as it should: check address and port, and "
    "whether a proxy or firewall answers in its place.",
    ConnectionRefusedError: "Nothing listens there, or a firewall refuses: check address and port, "
    "the firewall, and whether a proxy is needed ([api] proxy).",
    TimeoutError: "A firewall may swallow it: allow HTTPS to this host, or name the proxy: "
    "[api] proxy.",
}
"""What to do, by what began it; the first that fits."""


def _clock(answer: Answer) -> Iterator[Finding]:
    """Compares with the answer's `Date` (RFC 9110, 6.6.1): a wrong clock ends tokens early and
    makes certificates look wrong."""
    with suppress(ValueError, OverflowError):
        theirs = parsedate_to_datetime(answer.headers.get("date", "")).timestamp()
        skew = time.time() - theirs
        if abs(skew) > SKEW_SECONDS:
            ahead = "ahead of" if skew > 0 else "behind"
            yield warned(
                "clock",
                f"this machine's is {abs(skew):.0f} s {ahead} the server's",
                "Set it by NTP (timedatectl set-ntp true): tokens and certificates depend on it.",
            )


def accepted(
    connection: Connection, tokens: Tokens, *, api: str, organizations_asked: Sequence[str]
) -> Iterator[Finding]:
    """Whether the service takes the token, and each organization with it ("": its own choice)."""
    service = Service(connection, url=api, tokens=tokens)
    for position, asked in enumerate(organizations_asked):
        denied: AccessDenied | None = None
        try:
            service.knows(NOBODYS_HASH, organization=asked)
        except LoginNeeded as error:
            yield failed("accepted", str(error), _SIGN_IN, code=LOGIN_NEEDED)
            return
        except ServiceTrouble as error:
            yield failed("accepted", f"not known: {error}", _way_out(error))
            return
        except AccessDenied as error:
            denied = error
        if position == 0:
            yield passed("accepted", "the service takes the token")
        yield _of_one(connection, tokens, api=api, asked=asked, denied=denied)


def _of_one(
    connection: Connection, tokens: Tokens, *, api: str, asked: str, denied: AccessDenied | None
) -> Finding:
    try:
        access = tokens.current()
        found = organizations(connection, url=api, access_token=access.token)
        asked = asked or access.organization
    except ServiceError:
        found = ()  # the list only helps to say more; the question itself is answered
    names = {one.id: one.name for one in found}
    choice = ", ".join(f"{one.id} ({one.name})" for one in found) or "not known"
    shown = printable(asked)
    remedy = f"Set [api] organization, or the share's own. This login belongs to: {choice}."
    if denied is not None:
        return failed("allowed", f"organization {shown or '(none named)'}: {denied}", remedy)
    if asked in names:
        return passed("allowed", f"organization {shown} ({names[asked]})")
    if asked and names:
        return warned("allowed", f"organization {shown} is not one of this login's", remedy)
    if len(names) > 1:
        return warned("allowed", f"the service chooses one of {len(names)} organizations", remedy)
    only = next((f" {key} ({name})" for key, name in names.items()), " not listed by the service")
    return passed("allowed", f"organization{' ' + shown if shown else only}")
