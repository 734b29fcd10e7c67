"""The command line: words become settings, settings a run, and errors one clear text.

`autoretouch-watcher [--config FILE] [--state-dir DIR] COMMAND`. Exit codes: see `exit_codes`.
"""

import gc
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from watcher import __version__
from watcher.errors import ServiceError, WatcherError
from watcher.exit_codes import AMISS, CONFIGURATION, OK
from watcher.lean import all_loaded, loading_lean
from watcher.switchboard import switchboard

if TYPE_CHECKING:
    from watcher.settings import Settings
    from watcher.sign_in import Account


@dataclass(frozen=True)
class Where:
    """The options before the command."""

    config: str | None
    state_dir: str

    def settings(self) -> "Settings":
        """The effective configuration, as it is now; raises `ConfigurationError`."""
        from watcher.settings import load  # noqa: PLC0415 - `--help` need not load it all

        return load(self.config, os.environ)


@click.group(
    context_settings={"max_content_width": 80, "help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 all well; 1 some files were rejected or failed, or something is amiss; "
    "2 usage; 77 login needed; 78 configuration.",
)
@click.option(
    "--config",
    metavar="FILE",
    help="The configuration file; else /etc/autoretouch-watcher/config.toml, else "
    "~/.config/autoretouch-watcher/config.toml.",
)
@click.option(
    "--state-dir",
    metavar="DIR",
    help="Where the login is kept and the daemon tells how it is; else $STATE_DIRECTORY, else "
    "~/.local/state/autoretouch-watcher.",
)
@click.version_option(__version__)
@click.pass_context
def cli(context: click.Context, config: str | None, state_dir: str | None) -> None:
    """Gets every image on a photo studio's shares to AutoRetouch, once and whole.

    Start with `autoretouch-watcher demo`, which needs no account.
    """
    default = os.environ.get("STATE_DIRECTORY") or "~/.local/state/autoretouch-watcher"
    place = os.path.expanduser(state_dir or default)
    if place.startswith("~"):
        raise click.UsageError("this user has no home directory; give --state-dir.")
    context.obj = Where(config, place)


@cli.command()
@click.option("--once", is_flag=True, help="Bring all that is there to its end state, then exit.")
@click.option(
    "--dry-run",
    is_flag=True,
    help="Say what would happen to all that is there; touch nothing, send nothing.",
)
@click.pass_obj
def run(where: Where, *, once: bool, dry_run: bool) -> int:
    """Watch the shares (in the foreground; systemd runs this)."""
    if not once:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until the daemon can reload
    with switchboard(os.environ) as board:
        with loading_lean():
            from watcher.published import Published  # noqa: PLC0415 - as above
            from watcher.wiring import build  # noqa: PLC0415 - as above
        daemon = build(
            where.settings,
            state_dir=where.state_dir,
            environ=os.environ,
            board=board,
            once=once or dry_run,
            rehearsal=dry_run,
        )
        all_loaded()
        with nullcontext() if dry_run else Published(where.state_dir).alone():
            return daemon.run()


@cli.command()
@click.option("--organization", metavar="ID", default="", help="Where the images go.")
@click.pass_obj
def login(where: Where, organization: str) -> int:
    """Sign in: shows what to open on any device, and waits.

    A running daemon takes the new login up by itself.
    """
    from watcher.sign_in import sign_in  # noqa: PLC0415 - as above

    if os.environ.get("AUTORETOUCH_ACCESS_TOKEN"):
        click.echo("AUTORETOUCH_ACCESS_TOKEN is set here; it goes before any login.", err=True)
    return _of_account(where, lambda account: sign_in(account, organization=organization))


@cli.command()
@click.option("--only-here", is_flag=True, help="Do not tell the service; remove the token only.")
@click.pass_obj
def logout(where: Where, *, only_here: bool) -> int:
    """End the login at the service and remove the token here."""
    from watcher.sign_in import sign_out  # noqa: PLC0415 - as above

    return _of_account(where, lambda account: sign_out(account, only_here=only_here))


def _of_account(where: Where, command: "Callable[[Account], int]") -> int:
    from watcher.access import account_of  # noqa: PLC0415 - as above

    account = account_of(where.settings(), state_dir=where.state_dir, environ=os.environ)
    try:
        return command(account)
    except ServiceError as error:
        click.echo(f"autoretouch-watcher: {error}", err=True)
        return AMISS


@cli.command()
@click.option("--offline", is_flag=True, help="Leave the service out.")
@click.pass_obj
def check(where: Where, *, offline: bool) -> int:
    """Look for what could be wrong before it is.

    Configuration, login, organization, the service, each share, the kernel's limits: a line each,
    with what was found and what to do. Sends no image. With --offline only a bad configuration
    exits with other than 0.
    """
    from watcher.commands.check import run_check  # noqa: PLC0415 - as above

    return run_check(where.config, state_dir=where.state_dir, environ=os.environ, offline=offline)


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
@click.option("--watch", is_flag=True, help="Show it anew every two seconds; Ctrl-C ends it.")
@click.pass_obj
def status(where: Where, *, as_json: bool, watch: bool) -> int:
    """Show how far everything is.

    The counts come from the shares, the rest from the daemon. Uploaded, rejected, waiting and
    ignored add up to the images there. Exits with 1 if anything is rejected or not well.
    """
    from watcher.commands.status import run_status  # noqa: PLC0415 - as above

    if as_json and watch:
        raise click.UsageError("--json and --watch exclude each other.")
    return run_status(where.settings, state_dir=where.state_dir, as_json=as_json, watch=watch)


@cli.command()
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@click.pass_obj
def explain(where: Where, paths: tuple[str, ...]) -> int:
    """Say why a file is in the state that it is in.

    Each rule and check in the order in which the daemon applies them, what it found, the verdict.
    """
    from watcher.commands.explain import run_explain  # noqa: PLC0415 - as above

    return run_explain(where.settings(), paths, state_dir=where.state_dir)


@cli.command()
@click.option("--remote", is_flag=True, help="Ask the service for each, too; send what it lost.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.argument("paths", metavar="[PATH]...", nargs=-1)
@click.pass_obj
def verify(where: Where, *, remote: bool, as_json: bool, paths: tuple[str, ...]) -> int:
    """Hash every image again and compare with its sidecar.

    Lists what does not match, and sidecars and notes that are orphaned, stale or not ours. A
    sidecar of ours with another hash is taken away, so that the daemon looks at the image again;
    the line names both hashes. PATH: only these files and folders.
    """
    from watcher.commands.verify import run_verify  # noqa: PLC0415 - as above

    return run_verify(
        where.settings(),
        paths,
        state_dir=where.state_dir,
        environ=os.environ,
        remote=remote,
        as_json=as_json,
    )


@cli.command()
@click.argument("paths", metavar="[PATH]...", nargs=-1)
@click.pass_obj
def retry(where: Where, paths: tuple[str, ...]) -> int:
    """Have rejected files looked at again.

    All of them, or those at or below PATH: takes their notes away.
    """
    from watcher.commands.retry import run_retry  # noqa: PLC0415 - as above

    return run_retry(where.settings(), paths, state_dir=where.state_dir)


@cli.command()
@click.pass_obj
def config(where: Where) -> int:
    """Show the configuration in force, and where from.

    As TOML, with the origin of each value beside it. No secret is shown.
    """
    from watcher.commands.config import run_config  # noqa: PLC0415 - as above

    return run_config(where.config, state_dir=where.state_dir, environ=os.environ)


@cli.command()
def demo() -> int:
    """Show all of it on a throw-away share, without an account.

    Starts the sandbox service and the daemon, drops sample images (good, duplicate, too large,
    truncated, RAW, slowly written), shows what becomes of each and leaves the folder to look at.
    """
    with _demo_extra():
        from watcher.demo import run_demo  # noqa: PLC0415 - it needs the extra

    return run_demo()


@cli.command()
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="0 takes a free one.")
@click.option(
    "--latency", type=click.FloatRange(0, 60), default=0.0, help="Seconds before each answer."
)
def sandbox(port: int, latency: float) -> int:
    """Run a local stand-in for the service.

    It is strict about what is documented, prints what a configuration needs to be pointed
    at it, then each request; Ctrl-C ends it.
    """
    with _demo_extra():
        from watcher.commands.sandbox import run_sandbox  # noqa: PLC0415 - it needs the extra

    return run_sandbox(port=port, latency=latency)


@contextmanager
def _demo_extra() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        raise click.ClickException(
            f"{error.name} is not installed. Install the extra: "
            "pip install 'autoretouch-watcher[demo]'"
        ) from error


def main() -> None:
    """The console script. Every error that is not a fault of this program is one clear text."""
    gc.set_threshold(50_000)  # from 700: a tenth of the start went into looking for garbage in vain
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - to the end
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - as above
    try:
        code = cli(prog_name="autoretouch-watcher", standalone_mode=False)
    except click.exceptions.Exit as stop:
        code = stop.exit_code
    except click.Abort:
        code = 130
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except WatcherError as error:
        click.echo(f"autoretouch-watcher: {error}", err=True)
        code = CONFIGURATION
    except OSError as error:  # standard output is full or closed
        click.echo(f"autoretouch-watcher: {error.strerror}", err=True)
        code = AMISS
    try:
        sys.stdout.flush()
    except OSError:
        code = code or AMISS
    with suppress(OSError):  # the log: what became of the images is on the share
        sys.stderr.flush()
    # Not `sys.exit`: a worker that a dead file server holds in the kernel would be waited for.
    os._exit(code or OK)
