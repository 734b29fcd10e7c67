"""What systemd is told."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.core.factories import Clock
from watcher.systemd import Systemd


@contextmanager
def listening(address: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(address)
        heard.settimeout(10)
        yield heard


def all_of(heard: socket.socket) -> list[str]:
    """What has been told; sending on this machine is done when it returns."""
    heard.setblocking(False)
    news = []
    while True:
        try:
            news.append(heard.recv(4096).decode())
        except BlockingIOError:
            return news


def test_it_is_told_what_happens(tmp_path: Path) -> None:
    path = str(tmp_path / "notify")
    with listening(path) as heard:
        systemd = Systemd({"NOTIFY_SOCKET": path})
        systemd.ready()
        systemd.status("well")
        systemd.status("well")
        systemd.status("better")
        systemd.stopping()
        assert all_of(heard) == ["READY=1", "STATUS=well", "STATUS=better", "STOPPING=1"]


def test_a_reload_carries_its_time(tmp_path: Path) -> None:
    path = str(tmp_path / "notify")
    with listening(path) as heard:
        Systemd({"NOTIFY_SOCKET": path}).reloading()
        first, second = all_of(heard)[0].split("\n")
    assert first == "RELOADING=1"
    assert second.removeprefix("MONOTONIC_USEC=").isdecimal()


def test_the_abstract_namespace_is_understood() -> None:
    name = f"autoretouch-watcher-test-{os.getpid()}"
    with listening("\0" + name) as heard:
        Systemd({"NOTIFY_SOCKET": "@" + name}).ready()
        assert all_of(heard) == ["READY=1"]


def test_signs_of_life_come_three_times_as_often_as_they_must(tmp_path: Path) -> None:
    path, clock = str(tmp_path / "notify"), Clock()
    with listening(path) as heard:
        systemd = Systemd({"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "60000000"}, clock=clock)
        for _ in range(120):
            systemd.alive()
            clock.advance(0.5)
        assert all_of(heard) == ["WATCHDOG=1"] * 3


@pytest.mark.parametrize(
    "asked", [{}, {"WATCHDOG_USEC": "nonsense"}, {"WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"}]
)
def test_nobody_waits_for_signs_of_life(tmp_path: Path, asked: dict[str, str]) -> None:
    path = str(tmp_path / "notify")
    with listening(path) as heard:
        Systemd({"NOTIFY_SOCKET": path, **asked}).alive()
        assert all_of(heard) == []


def test_nobody_listens(tmp_path: Path) -> None:
    Systemd({}).ready()
    Systemd({"NOTIFY_SOCKET": str(tmp_path / "nobody")}).ready()
