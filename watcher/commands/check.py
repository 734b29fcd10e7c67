"""`check`: everything that could be wrong before it is.

Exit codes: 78 if the configuration is at fault, 77 if only the login is, 1 if anything else
fails, 0 otherwise. With `--offline`, as the systemd unit runs it before the daemon, only what makes
a start pointless is an exit code: 78. A login that is missing, a share that is absent and a service
that is down are conditions: the daemon starts, says so, and goes on by itself when they end.
"""

from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import urlsplit

from rich.console import Console

from watcher.access import connections, shares_of, tokens_of
from watcher.commands import check_host, check_service
from watcher.commands.check_shares import ShareCheck
from watcher.commands.findings import Finding, Table, failed, passed, warned
from watcher.commands.inquiry import Inquiry
from watcher.errors import ConfigurationError
from watcher.exit_codes import CONFIGURATION, LOGIN_NEEDED, OK
from watcher.hangs import HUNG_SECONDS
from watcher.printable import printable
from watcher.proxies import VARIABLES, proxies
from watcher.published import Published
from watcher.settings import PREFIX, Settings, load, sources_of
from watcher.settling import outlive_lease_breaks
from watcher.share import Share
from watcher.token_store import TokenStore

WALK_SECONDS, WALK_SECONDS_OFFLINE = 10.0, 0.5
"""How long each share's folders are looked through."""

SILENCE_OFFLINE = 3.0
"""A start waits no longer than this for a file server that does not answer."""

REACH_SECONDS = 10.0
"""How long the service may take to say that it is there."""


def run_check(
    config: str | None,
    *,
    state_dir: str,
    environ: Mapping[str, str],
    offline: bool,
    console: Console | None = None,
    silence: float | None = None,
) -> int:
    """Prints the table, on standard output if no other console is given; returns the exit code.
    `silence` is how many seconds a share may take to answer."""
    table = Table(console or Console(highlight=False))
    table.section("Configuration")
    try:
        settings = load(config, environ)
        check = _Check(settings, table, state_dir=state_dir, environ=environ, offline=offline)
    except ConfigurationError as error:
        for fault in _faults(str(error)):
            table.add(failed("configuration", fault, "", code=CONFIGURATION))
        table.summary(" Nothing else can be checked until this is right.")
        return CONFIGURATION
    table.add(_source(config, environ))
    outlive_lease_breaks()
    check.run(silence or (SILENCE_OFFLINE if offline else HUNG_SECONDS))
    code = table.exit_code()
    if not offline:
        table.summary()
    elif code == CONFIGURATION:
        table.summary(" The service was left out. The daemon cannot start like this.")
    else:
        code = OK
        table.summary(" The service was left out. The daemon can start.")
    return code


def _faults(text: str) -> Sequence[str]:
    """One fault a line, as `load` tells them; a text with an example in it is one."""
    return [text] if "\n\n" in text else text.split("\n")


def _source(config: str | None, environ: Mapping[str, str]) -> Finding:
    """Which file was read, and which variables go before it."""
    _, file = sources_of(config, environ)
    said = printable(file)
    variables = sorted(name for name in environ if name.startswith(PREFIX))
    if environ.get("AUTORETOUCH_ORGANIZATION_ID"):
        variables.append("AUTORETOUCH_ORGANIZATION_ID")
    if variables:
        said += f"; before it go {', '.join(map(printable, variables))}"
    return passed("configuration", said)


class _Check:
    """One run over everything. Raises `ConfigurationError` if nothing could be started at all."""

    def __init__(
        self,
        settings: Settings,
        table: Table,
        *,
        state_dir: str,
        environ: Mapping[str, str],
        offline: bool,
    ) -> None:
        self._settings = settings
        self._shares = shares_of(settings)
        self._connect = connections(settings, environ)
        self._table = table
        self._state_dir = state_dir
        self._environ = environ
        self._offline = offline
        self._running = False

    def run(self, silence: float) -> None:
        """The shares are asked all at once, and while the service is; they are told in order."""
        table = self._table
        asked = [self._asked(share, silence) for share in self._shares]
        usable = self._state()
        login = self._login()
        if not self._offline:
            table.section("Service")
            self._service(login, usable=usable)
        for check, inquiry in asked:
            table.section(f"Share {check.share.root}")
            self._share(check, inquiry, silence)
        table.section("This machine")
        self._machine([check for check, _ in asked])

    def _asked(self, share: Share, silence: float) -> tuple[ShareCheck, Inquiry]:
        check = ShareCheck(
            share,
            seconds=WALK_SECONDS_OFFLINE if self._offline else WALK_SECONDS,
            settle_seconds=self._settings.readiness.settle_seconds,
        )
        return check, Inquiry(check.steps, silence=silence)

    def _state(self) -> bool:
        """Whether the state directory can be used."""
        found = list(check_host.state_directory(self._state_dir))
        for finding in found:
            self._table.add(finding)
        self._running, finding = check_host.daemon(Published(self._state_dir))
        self._table.add(finding)
        return all(finding.level != "FAIL" for finding in found)

    def _login(self) -> check_service.Login:
        login, finding = check_service.login(TokenStore(self._state_dir), self._environ)
        if self._offline and finding.code == LOGIN_NEEDED and finding.level == "FAIL":
            finding = warned(finding.what, f"{finding.found}; images wait", finding.remedy)
        self._table.add(finding)
        organizations = [share.organization for share in self._shares]
        self._table.add(check_service.organization(organizations, login))
        return login

    def _service(self, login: check_service.Login, *, usable: bool) -> None:
        settings, table = self._settings, self._table
        self._table.add(self._proxy())
        well = True
        with table.waiting("Asking the service whether it is there"):
            for finding in check_service.reached(
                self._quick(),
                api=settings.api.url,
                auth=settings.auth.url if login.renewable else None,
            ):
                well &= finding.level != "FAIL"
                table.add(finding)
        if not login.source or not well:
            return
        if login.renewable and not usable:
            # A renewed login that could not be kept would be a lost one.
            remedy = "Mend the state directory first."
            table.add(warned("accepted", "not asked: a renewed login could not be kept", remedy))
            return
        with table.waiting("Asking the service about token and organization"):
            for finding in self._accepted():
                table.add(finding)

    def _quick(self) -> check_service.Connect:
        api = self._settings.api
        seconds = min(REACH_SECONDS, api.timeout_seconds)
        sooner = api.model_copy(update={"timeout_seconds": seconds})
        return connections(self._settings.model_copy(update={"api": sooner}), self._environ)

    def _accepted(self) -> Iterator[Finding]:
        """With all the patience configured: a renewal given up halfway can end a login."""
        with self._connect() as connection:
            tokens = tokens_of(
                self._settings,
                state_dir=self._state_dir,
                environ=self._environ,
                connect=lambda: connection,
            )
            yield from check_service.accepted(
                connection,
                tokens,
                api=self._settings.api.url,
                organizations_asked=sorted({share.organization for share in self._shares}),
            )

    def _proxy(self) -> Finding:
        setting, url = self._settings.api.proxy, urlsplit(self._settings.api.url)
        proxy = proxies(setting, self._environ)(url.hostname or "")
        if proxy is not None and url.scheme == "https":
            return passed("proxy", f"{printable(proxy.host)}:{proxy.port}, by [api] proxy")
        there = next((name for name in VARIABLES if self._environ.get(name)), "")
        if there and not setting:
            return passed("proxy", f'none; {there} counts only with [api] proxy = "environment"')
        return passed("proxy", "none for this address" if setting else "none configured")

    def _share(self, check: ShareCheck, inquiry: Inquiry, silence: float) -> None:
        with self._table.waiting(f"Looking through {printable(check.share.root)}"):
            for finding in inquiry.results():
                self._table.add(finding)
        if inquiry.hung:
            self._table.add(
                failed(
                    "answers",
                    f"does not answer: nothing came for {silence:g} s",
                    "Look after the file server, or unmount the share (umount -f). The daemon "
                    "serves the other shares meanwhile, and this one when it answers.",
                )
            )

    def _machine(self, checks: Sequence[ShareCheck]) -> None:
        settings, table = self._settings, self._table
        table.add(check_host.open_files(settings.workers.count, len(checks)))
        watched = [check.seen for check in checks if check.by_events]
        for finding in check_host.watches(watched) if watched else ():
            table.add(finding)
        if settings.monitor.listen:
            table.add(check_host.monitor(settings.monitor.listen, running=self._running))
        notify = settings.notify
        for finding in check_host.notify(notify.command, notify.webhook, notify.after_seconds):
            table.add(finding)
