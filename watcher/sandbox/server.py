"""The stand-in as its users see it: started, looked at, told to misbehave, stopped."""

import ssl
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

from watcher.sandbox.endpoints import Endpoints
from watcher.sandbox.faults import Fault
from watcher.sandbox.grants import Grants, OAuthRules, TokenPair
from watcher.sandbox.listener import HOST, Listener
from watcher.sandbox.policy import FaultPolicy, FaultRule
from watcher.sandbox.record import Record, Seen, Stored
from watcher.sandbox.service import Service
from watcher.sandbox.uploads import Check


class Sandbox:
    """A local stand-in for the AutoRetouch service and its authorization server, on loopback only.

    Started and stopped by one thread (`start`, `stop`, or a `with` block), as often as wanted: the
    port, the content and the tokens stay, so stopping is an outage. All else can be called from
    any thread; each part guards its own state.

    Args:
        port: where to listen; 0 takes a free one.
        host: only 127.0.0.1 is accepted.
        check: how uploads are judged: `decode` every pixel, or `none` (hash only, for load).
        organizations: names by id, the user's first one first; one is made up by default.
        oauth: how the authorization server is set up.
        latency_seconds: the wait before each answer, as of a distant service.
        ssl_context: serve https with it.
        clock: seconds from any fixed point, by which tokens and codes expire.
        on_request: gets one line for each request, in its connection's thread.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        host: str = HOST,
        check: Check = "decode",
        organizations: Mapping[str, str] | None = None,
        oauth: OAuthRules | None = None,
        latency_seconds: float = 0.0,
        ssl_context: ssl.SSLContext | None = None,
        clock: Callable[[], float] = time.monotonic,
        on_request: Callable[[str], None] | None = None,
    ) -> None:
        if host != HOST:
            raise ValueError(f"the sandbox listens on {HOST} only, not on {host}")
        self.organizations = dict(organizations or {str(uuid.uuid4()): "Sandbox studio"})
        self._port = port
        self._ssl_context = ssl_context
        self._record = Record()
        self._policy = FaultPolicy()
        self._grants = Grants(oauth or OAuthRules(), clock)
        self._first = self._grants.grant()
        self._service = Service(
            endpoints=Endpoints(
                record=self._record,
                grants=self._grants,
                organizations=self.organizations,
                check=check,
                base_url=lambda: self.url,
            ),
            record=self._record,
            policy=self._policy,
            latency_seconds=latency_seconds,
            on_request=on_request,
        )
        self._listener: Listener | None = None

    def start(self) -> Self:
        """Listen; raises `OSError` if the port is taken. Does nothing if it already does."""
        if self._listener is None:
            self._listener = Listener(
                self._port,
                serve=self._service.serve,
                on_broken=lambda: self._record.count("broken"),
                tls=self._ssl_context,
            )
            self._port = self._listener.port
        return self

    def stop(self) -> None:
        """Stop listening, break all connections, end all waits and join all threads."""
        if self._listener is not None:
            self._listener.stop()
            self._listener = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def port(self) -> int:
        """Where it listens, or did last."""
        return self._port

    @property
    def url(self) -> str:
        """The base address of service and authorization server alike, without a slash."""
        return f"http{'s' if self._ssl_context else ''}://{HOST}:{self._port}"

    @property
    def organization(self) -> str:
        """The id of the user's first organization, the one taken if a request names none."""
        return next(iter(self.organizations))

    def describe(self) -> list[str]:
        """The lines that a person needs to point a daemon here."""
        return [
            f"The sandbox answers at {self.url} (this machine only, nothing leaves it).",
            f"Organization: {self.organization} ({self.organizations[self.organization]})",
            "",
            "# environment: either token will do",
            f"export AUTORETOUCH_ACCESS_TOKEN={self.access_token}",
            f"export AUTORETOUCH_REFRESH_TOKEN={self.refresh_token}",
            "",
            "# config.toml",
            "[api]",
            f'url = "{self.url}"',
            f'organization = "{self.organization}"',
            "",
            "[auth]",
            f'url = "{self.url}"',
            "",
            "[[share]]",
            'path = "/path/to/a/folder"',
        ]

    # What has happened.

    @property
    def uploads(self) -> Mapping[str, Stored]:
        """A copy of the content that it has, by hash."""
        return self._record.uploads

    @property
    def requests(self) -> tuple[Seen, ...]:
        """The latest 10,000 requests that were answered or have ended without, oldest first."""
        return self._record.requests

    @property
    def counters(self) -> Counter[str]:
        """A copy of the counts by kind.

        `POST /upload`, `POST /upload 201` and the like for each address (status 0: no answer;
        `other` for all that is not offered), `stored`, `posted_again`, `connections`, `malformed`
        (not HTTP), `broken` (connections that the client broke).
        """
        return self._record.counters

    @property
    def in_flight(self) -> int:
        """Requests whose headers have come and which are not over."""
        return self._record.in_flight

    @property
    def peak_in_flight(self) -> int:
        """The most requests that were in flight at once."""
        return self._record.peak_in_flight

    @property
    def bytes_received(self) -> int:
        """Bytes of request bodies so far, those of unfinished ones included."""
        return self._record.bytes_received

    def wait_for(self, predicate: Callable[[], bool], timeout: float = 10.0) -> bool:
        """Whether the predicate, asked after each change, came true within `timeout` seconds."""
        return self._record.wait_for(predicate, timeout)

    # What it has.

    def add_known(self, content_hash: str, organization: str | None = None) -> None:
        """Have content that was never posted, in the first organization if none is named."""
        self._record.add_known(content_hash, organization or self.organization)

    def forget(self, content_hash: str) -> None:
        """Lose content, as if it had been removed; raises `KeyError` if there is none."""
        self._record.forget(content_hash)

    # Who may use it.

    @property
    def access_token(self) -> str:
        """An access token, made at the beginning."""
        return self._first.access_token

    @property
    def refresh_token(self) -> str:
        """The refresh token of the same grant: the newest, empty if it was revoked."""
        return self._grants.newest_refresh_token(self._first.refresh_token)

    def new_grant(self) -> TokenPair:
        """Tokens as if somebody had just signed in."""
        return self._grants.grant()

    def expire_access_tokens(self) -> None:
        """Refuse all access tokens handed out so far."""
        self._grants.expire_access_tokens()

    def revoke_refresh_tokens(self) -> None:
        """Refuse all refresh tokens handed out so far: a new sign-in is needed."""
        self._grants.revoke_all()

    @property
    def waiting_user_codes(self) -> tuple[str, ...]:
        """The codes of sign-ins that nobody has decided on."""
        return self._grants.waiting_user_codes

    def approve(self, user_code: str) -> None:
        """Let a device sign in; raises `LookupError` for an unknown or expired code."""
        self._grants.decide(user_code, approved=True)

    def deny(self, user_code: str) -> None:
        """Do not let a device sign in; raises `LookupError` for an unknown or expired code."""
        self._grants.decide(user_code, approved=False)

    # How it misbehaves.

    @property
    def latency_seconds(self) -> float:
        """The wait before each answer."""
        return self._service.latency_seconds

    @latency_seconds.setter
    def latency_seconds(self, seconds: float) -> None:
        self._service.latency_seconds = seconds

    def fault(
        self,
        fault: Fault,
        *,
        method: str | None = None,
        path: str = "/",
        times: int | None = 1,
        every: int = 1,
    ) -> FaultRule:
        """Meet requests with a fault.

        Those of `method` (None: any) whose path begins with `path`; of these each `every`-th, until
        `times` have met it (None: for ever). Rules are asked in the order in which they were added.
        The rule's `hits` counts.
        """
        rule = FaultRule(fault, method=method, path=path, times=times, every=every)
        self._policy.add(rule)
        return rule

    def clear_faults(self) -> None:
        """Behave again; what is already being met with a fault stays so."""
        self._policy.clear()
