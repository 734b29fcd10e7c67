"""The demo: the real daemon on a throw-away share, with the sandbox for a service.

Nothing in it is staged: the daemon runs as a process of its own, as systemd would run it, and what
is shown is read from its log and from the share.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, Self

from PIL import Image, ImageDraw
from rich.console import Console
from rich.markup import escape
from rich.tree import Tree

from watcher.exit_codes import AMISS, OK
from watcher.sandbox import Sandbox

SETTLE_SECONDS = 0.5
INCOMPLETE_SECONDS = 2.0
DEADLINE_SECONDS = 60.0
SLOW_PIECES = 5
SLOW_PAUSE_SECONDS = 0.8


class Drop(NamedTuple):
    """One sample: where it is dropped, what it is, the event that must come of it, how it is made.

    `write` is told the path and a function that pauses."""

    path: str
    what: str
    expected: str
    write: Callable[[str, Callable[[float], object]], None]


def run_demo() -> int:
    """Runs the demo; 0 if everything became what it should, else 1. The folder stays."""
    console = Console(highlight=False)
    folder = tempfile.mkdtemp(prefix="autoretouch-demo-")
    share = os.path.join(folder, "share")
    os.mkdir(share)
    with Sandbox() as service, _daemon(folder, share, service) as daemon:
        console.print(
            f"[bold]A stand-in for the AutoRetouch service[/] answers at {service.url}.\n"
            f"[bold]A throw-away share[/] is at {share}.\n"
            "The daemon watches it. Now images are dropped, as photographers would.\n"
        )
        became = _drop_and_watch(console, share, daemon)
        sent = service.counters["POST /upload"]
    _show_share(console, share, sent)
    wrong = [drop.path for drop in DROPS if became.get(drop.path) != drop.expected]
    for path in wrong:
        console.print(f"[red]{escape(path)} did not become what it should[/]")
    return AMISS if wrong else OK


# The samples


def _picture(width: int, height: int, title: str) -> Image.Image:
    image = Image.radial_gradient("L").resize((width, height)).convert("RGB")
    ImageDraw.Draw(image).text((10, 10), title, fill="white")
    return image


def _good(path: str, _pause: Callable[[float], object]) -> None:
    _picture(1200, 800, "A good picture").save(path, "JPEG", quality=90)


def _webp(path: str, _pause: Callable[[float], object]) -> None:
    _picture(640, 480, "Another one").save(path, "WEBP")


def _large(path: str, _pause: Callable[[float], object]) -> None:
    _picture(5000, 300, "Wide").save(path, "PNG")


def _too_large(path: str, _pause: Callable[[float], object]) -> None:
    _picture(12000, 40, "Too wide").save(path, "PNG")


def _cut_off(path: str, _pause: Callable[[float], object]) -> None:
    _picture(1200, 800, "Cut off").save(path, "JPEG")
    os.truncate(path, os.path.getsize(path) * 2 // 3)


def _raw(path: str, _pause: Callable[[float], object]) -> None:
    # The tag DNGVersion is what tells a DNG from the TIFF that it is otherwise.
    _picture(160, 120, "RAW").save(path, "TIFF", tiffinfo={50706: b"\1\4\0\0"})


def _slow(path: str, pause: Callable[[float], object]) -> None:
    with tempfile.TemporaryFile() as whole, open(path, "wb") as file:
        _picture(2000, 1500, "Written slowly").save(whole, "TIFF")
        piece = whole.tell() // SLOW_PIECES + 1
        whole.seek(0)
        while data := whole.read(piece):
            file.write(data)
            file.flush()
            pause(SLOW_PAUSE_SECONDS)


DROPS = (
    Drop("Monday/IMG_0001.jpg", "a good JPEG", "uploaded", _good),
    Drop("Monday/shoes.webp", "a good WebP", "uploaded", _webp),
    Drop("Tuesday/copy of IMG_0001.jpg", "the same once more", "already_known", _good),
    Drop("banner.png", "5,000 pixels wide", "uploaded", _large),
    Drop("panorama.png", "12,000 pixels wide", "rejected", _too_large),
    Drop("interrupted.jpg", "without its end", "rejected", _cut_off),
    Drop("DSC_0042.tif", "a RAW file", "rejected", _raw),
    Drop("slow.tif", "takes 4 s to write", "uploaded", _slow),
)
ENDS = {"uploaded", "already_known", "rejected"}


# The daemon


class _Daemon:
    """The daemon's process and what it logs."""

    def __init__(self, command: list[str], environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - this very program
            command, env=environment, stderr=subprocess.PIPE, text=True
        )
        # A demo that hangs must end, too: the pipe closes and `events` with it.
        self._alarm = threading.Timer(DEADLINE_SECONDS, self._process.kill)
        self._alarm.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.communicate()
        self._alarm.cancel()

    def events(self) -> Iterator[dict[str, Any]]:
        """What it logs, as it comes."""
        if self._process.stderr is not None:
            for line in self._process.stderr:
                yield json.loads(line)


def _daemon(folder: str, share: str, service: Sandbox) -> _Daemon:
    config = os.path.join(folder, "config.toml")
    with open(config, "w", encoding="utf-8") as file:
        file.write(
            f'[api]\nurl = "{service.url}"\norganization = "{service.organization}"\n\n'
            f'[auth]\nurl = "{service.url}"\n\n'
            f'[[share]]\npath = "{share}"\n\n'
            f"[readiness]\nsettle_seconds = {SETTLE_SECONDS}\n"
            f"incomplete_after_seconds = {INCOMPLETE_SECONDS}\n\n"
            '[log]\nformat = "json"\n'
        )
    options = ["--config", config, "--state-dir", os.path.join(folder, "state")]
    return _Daemon(
        [sys.executable, "-m", "watcher", *options, "run"],
        {**os.environ, "AUTORETOUCH_ACCESS_TOKEN": service.access_token},
    )


# What is shown


def _drop_and_watch(console: Console, share: str, daemon: _Daemon) -> dict[str, str]:
    """Drops everything and tells each end as it comes; the last event of each file."""
    became: dict[str, str] = {}
    console.print(f"[bold]{'dropped':30}{'what it is':20}what became of it[/]")
    for event in daemon.events():
        kind = event["event"]
        if kind == "rescan" and not became:
            dropping = threading.Thread(target=_drop_all, args=(share,), name="drops")
            dropping.start()
            became[""] = "dropping"
        path = event.get("path", "")
        drop = next((drop for drop in DROPS if drop.path == path), None)
        if drop is None or kind not in _SAYS:
            continue
        became[path] = kind
        console.print(f"{escape(path):30}{drop.what:20}{_SAYS[kind](event)}")
        if all(became.get(drop.path) in ENDS for drop in DROPS):
            break
    return became


def _drop_all(share: str) -> None:
    pause = threading.Event().wait
    for drop in DROPS:
        path = os.path.join(share, drop.path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        drop.write(path, pause)
        pause(0.3)


_SAYS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "uploaded": lambda event: (
        "[green]uploaded[/]" + (", to be scaled down" if "will_be_scaled_down" in event else "")
    ),
    "already_known": lambda _: "[green]known[/] already, not sent again",
    "rejected": lambda event: f"[red]rejected[/]: {event['reason']}",
    "deferred": lambda event: f"[yellow]waiting[/]: {event['reason']}",
}


def _show_share(console: Console, share: str, sent: int) -> None:
    tree = Tree(f"[bold]{share}[/]")
    branches = {share: tree}
    for folder, folders, files in os.walk(share):
        folders.sort()
        for name in folders:
            branches[os.path.join(folder, name)] = branches[folder].add(escape(name))
        for name in sorted(files):
            colour = {".sha256": "green", ".txt": "red"}.get(os.path.splitext(name)[1], "default")
            branches[folder].add(f"[{colour}]{escape(name)}[/]")
    note = os.path.join(share, "panorama.png.rejected.txt")
    console.print("\nThe share now, with a record beside each image:\n", tree)
    if os.path.exists(note):
        with open(note, encoding="utf-8") as file:
            console.print("\nA note, for the photographer:\n")
            console.print(file.read(), style="dim", markup=False, highlight=False)
    console.print(
        f"{sent} uploads in all: nothing was sent twice and nothing that was not whole. The\n"
        "sidecars can be checked with:\n\n"
        f"  cd {share} && find . -name '*.sha256' -execdir sha256sum -c {{}} +\n\n"
        'The folder stays. Next: README.md, "Install".'
    )
