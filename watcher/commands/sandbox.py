"""`sandbox`: the stand-in for the service, until somebody ends it."""

import signal
import threading

import click

from watcher.sandbox import Sandbox


def run_sandbox(*, port: int, latency: float) -> int:
    """Prints what a configuration needs, then each request. Raises `ClickException` if the port
    cannot be had."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        with Sandbox(port=port, latency_seconds=latency, on_request=click.echo) as service:
            click.echo("\n".join(service.describe()) + "\n")
            stop.wait()
    except OSError as error:
        raise click.ClickException(f"cannot listen on port {port}: {error.strerror}") from error
    return 0
