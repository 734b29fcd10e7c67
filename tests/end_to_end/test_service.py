"""The daemon as a service: what systemd hears, a new configuration, one daemon at a time."""

import contextlib
import http.client
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.fuse_share import FuseShare, needs_fuse
from tests.end_to_end.pictures import picture
from tests.end_to_end.running import PATIENCE, Installation, Running
from tests.end_to_end.test_once import check
from watcher.published import Published
from watcher.sandbox import faults
from watcher.sandbox.exchange import Exchange


class Heard:
    """What a daemon tells systemd: the datagrams, in order, read by a thread."""

    def __init__(self, path: Path) -> None:
        self.address = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.address)
        self._news = threading.Condition()
        self.news: list[str] = []
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while text := self._socket.recv(4096).decode():
            with self._news:
                self.news.append(text)
                self._news.notify_all()

    def close(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"", self.address)
        self._socket.close()

    def wait_for(self, beginning: str, *, times: int = 1) -> None:
        with self._news:
            assert self._news.wait_for(
                lambda: sum(text.startswith(beginning) for text in self.news) >= times, PATIENCE
            ), f"{times} x {beginning}: {self.news}"

    def wait_for_life(self) -> None:
        """The main loop has come round once more: the next sign may be one that was on its way."""
        self.wait_for("WATCHDOG=1", times=self.news.count("WATCHDOG=1") + 2)

    def before(self, first: str, second: str) -> bool:
        return self.news.index(first) < self.news.index(second)


@pytest.fixture
def systemd(installed: Installation) -> Iterator[Heard]:
    heard = Heard(installed.folder / "notify")
    installed.environment |= {"NOTIFY_SOCKET": heard.address, "WATCHDOG_USEC": "300000"}
    yield heard
    heard.close()


def test_systemd_hears_of_its_whole_life(installed: Installation, systemd: Heard) -> None:
    with installed.daemon() as daemon:
        systemd.wait_for("READY=1")
        systemd.wait_for("STATUS=1 share, 0 uploaded")
        systemd.wait_for("WATCHDOG=1", times=3)
        installed.drop("a.jpg", picture(1))
        daemon.wait_for("uploaded")
        systemd.wait_for("STATUS=1 share, 1 uploaded, 0 rejected since the start, 0 waiting")
        daemon.process.send_signal(signal.SIGHUP)
        systemd.wait_for("RELOADING=1\nMONOTONIC_USEC=")
        systemd.wait_for("READY=1", times=2)
        assert daemon.stop() == 0
    systemd.wait_for("STOPPING=1")
    systemd.wait_for("STATUS=stopped")
    assert systemd.before("READY=1", "STOPPING=1")


def test_it_is_ready_though_a_share_is_gone_and_says_so(
    installed: Installation, systemd: Heard
) -> None:
    installed.share.rmdir()
    with installed.started():
        systemd.wait_for("READY=1")
        systemd.wait_for(
            "STATUS=1 share, 0 uploaded, 0 rejected since the start, 0 waiting; share_gone"
        )


def reload(daemon: Running) -> None:
    daemon.process.send_signal(signal.SIGHUP)


def test_a_new_share_is_taken_up_and_an_old_one_left(installed: Installation) -> None:
    second = installed.folder / "second"
    second.mkdir()
    with installed.daemon() as daemon:
        installed.drop("a.jpg", picture(1))
        daemon.wait_for("uploaded", path="a.jpg")
        installed.share, first = second, installed.share
        installed.configure()
        installed.drop("b.jpg", picture(2))
        reload(daemon)
        assert daemon.wait_for("config_reloaded")["shares"] == [str(second)]
        daemon.wait_for("uploaded", path="b.jpg")
        (first / "c.jpg").write_bytes(picture(3))
        installed.drop("d.jpg", picture(4))
        daemon.wait_for("uploaded", path="d.jpg")
        assert not daemon.named("uploaded", path="c.jpg")
        assert daemon.stop() == 0
        assert daemon.wait_for("stopped")["uploaded"] == 3


def test_a_bad_new_configuration_leaves_the_old_one_in_force(installed: Installation) -> None:
    with installed.daemon() as daemon:
        good = installed.config.read_text()
        installed.config.write_text(good + "\n[uploads]\nparallel = 1\n")
        reload(daemon)
        failed = daemon.wait_for("failed", reason="configuration")
        assert "uploads: unknown key; did you mean 'upload'?" in failed["found"]
        installed.drop("a.jpg", picture(1))
        daemon.wait_for("uploaded", path="a.jpg")
        installed.config.write_text(good)
        reload(daemon)
        daemon.wait_for("config_reloaded")


def test_an_outage_goes_on_through_a_reload_with_one_probe_and_ends_with_its_files(
    installed: Installation,
) -> None:
    service = installed.service
    down = service.fault(faults.Status(503), path="/upload", times=None)
    with installed.daemon() as daemon:
        for number in range(5):
            installed.drop(f"{number}.jpg", picture(number))
        daemon.wait_for("condition_raised", condition="service_unavailable")
        for number in range(1, 5):
            (installed.share / f"{number}.jpg").unlink()
        before = down.hits
        reload(daemon)
        daemon.wait_for("config_reloaded")
        assert service.wait_for(lambda: down.hits > before)
        assert not daemon.named("condition_cleared")
        (installed.share / "0.jpg").unlink()
        daemon.wait_for("condition_cleared", condition="service_unavailable")
        assert down.hits - before < 5
        assert len(daemon.named("condition_raised")) == 1


def test_whatever_is_wrong_with_a_new_configuration_the_old_one_stays_in_force(
    installed: Installation,
) -> None:
    broken = (
        "import sys, watcher.cli; sys.modules['watcher.monitor'] = None\n"
        "del sys.argv[1:4]  # python -m watcher\n"
        "watcher.cli.main()"
    )
    with installed.daemon([sys.executable, "-c", broken]) as daemon:
        installed.configure(more='[monitor]\nlisten = "127.0.0.1:9464"')
        reload(daemon)
        assert "watcher.monitor" in daemon.wait_for("failed", reason="configuration")["found"]
        installed.drop("a.jpg", picture(1))
        daemon.wait_for("uploaded", path="a.jpg")
        assert daemon.stop() == 0
    assert not daemon.other_lines


def test_however_many_signals_come_it_goes_on_and_ends(installed: Installation) -> None:
    with installed.daemon() as daemon:
        for number in range(5):
            for _ in range(300):
                daemon.process.send_signal(signal.SIGHUP)
            daemon.wait_for("config_reloaded", times=number + 1)
        installed.drop("a.jpg", picture(1))
        daemon.wait_for("uploaded", path="a.jpg")
        assert daemon.stop() == 0
    assert not daemon.other_lines


def test_a_condition_of_a_share_ends_with_a_configuration_that_does_not_name_it(
    installed: Installation,
) -> None:
    gone = installed.folder / "gone"
    installed.configure(share=f'[[share]]\npath = "{gone}"')
    with installed.daemon() as daemon:
        daemon.wait_for("condition_raised", condition="share_gone", place=str(gone))
        installed.configure()
        reload(daemon)
        daemon.wait_for("condition_cleared", condition="share_gone", place=str(gone))
        daemon.wait_for("config_reloaded")


def test_what_is_under_way_at_a_reload_is_finished_and_sent_once(installed: Installation) -> None:
    slow = installed.service.fault(faults.Slow(1), method="POST", path="/upload", times=None)
    with installed.daemon() as daemon:
        for number in range(4):
            installed.drop(f"{number}.jpg", picture(number))
        assert installed.service.wait_for(lambda: slow.hits > 0)
        reload(daemon)
        daemon.wait_for("config_reloaded")
        daemon.wait_until(lambda: len(daemon.named("uploaded")) == 4, "4 uploads")
    assert check(installed.share) == 4
    assert installed.service.counters["POST /upload"] == 4


def test_it_tells_how_it_is_while_a_new_configuration_waits(installed: Installation) -> None:
    slow = installed.service.fault(faults.Slow(3), method="POST", path="/upload", times=None)
    published = Published(str(installed.folder / "state"))
    with installed.daemon() as daemon:
        installed.drop("a.jpg", picture(1))
        assert installed.service.wait_for(lambda: slow.hits > 0)
        reload(daemon)
        before = published.read()
        daemon.wait_until(
            lambda: (now := published.read()) and (before is None or now.at > before.at), "it tells"
        )
        assert not daemon.named("config_reloaded")
        daemon.wait_for("config_reloaded")
        log = [event["event"] for event in daemon.events]
        assert log.index("uploaded") < log.index("config_reloaded")


def test_it_is_ready_again_only_when_the_configuration_that_waits_is_in_force(
    installed: Installation, systemd: Heard
) -> None:
    asked, go_on = threading.Event(), threading.Event()

    def held(exchange: Exchange) -> None:
        asked.set()
        go_on.wait(PATIENCE)
        exchange.send(exchange.ordinary())

    installed.service.fault(held, method="POST", path="/upload")
    config = installed.config.read_text().replace("timeout_seconds = 5", "timeout_seconds = 60")
    installed.config.write_text(config)
    with installed.daemon() as daemon:
        installed.drop("a.jpg", picture(1))
        assert asked.wait(PATIENCE)
        reload(daemon)
        systemd.wait_for("RELOADING=1")
        systemd.wait_for_life()  # it has read the good one
        installed.config.write_text("[uploads]\nparallel = 1\n")
        reload(daemon)
        daemon.wait_for("failed", reason="configuration")
        systemd.wait_for_life()
        assert systemd.news.count("READY=1") == 1
        go_on.set()
        daemon.wait_for("config_reloaded")
        systemd.wait_for("READY=1", times=2)


def test_what_went_just_before_a_reload_takes_its_record_along(installed: Installation) -> None:
    installed.configure(settle=2)
    with installed.daemon() as daemon:
        for name in ("a.jpg", "b.jpg", "c.jpg", "d.jpg"):
            installed.drop(name, picture(1))
        daemon.wait_until(lambda: len(list(installed.share.glob("*.sha256"))) == 4, "the records")
        for number in range(2_000):  # which the observer has to tell before those that count
            (installed.share / f"{number}.part").touch()
        (installed.share / "a.jpg").unlink()
        (installed.share / "b.jpg").rename(installed.share / "b2.jpg")
        (installed.share / "c.jpg").rename(installed.folder / "c.jpg")  # out of the share
        reload(daemon)
        daemon.wait_for("config_reloaded")
        daemon.wait_until(
            lambda: (
                {path.name for path in installed.share.glob("*.sha256")}
                == {"b2.jpg.sha256", "d.jpg.sha256"}
            ),
            "the records follow",
        )


@needs_fuse
def test_a_share_that_hangs_does_not_hold_up_a_new_configuration(
    installed: Installation,
) -> None:
    behind = installed.folder / "behind"
    behind.mkdir()
    hung, installed.share = installed.share, installed.folder / "second"
    installed.share.mkdir()
    installed.configure(share=f'[[share]]\npath = "{hung}"')
    with FuseShare(hung, behind) as server, installed.daemon() as daemon:
        daemon.wait_for("rescan", share=str(hung))
        (behind / "b.jpg").write_bytes(picture(2))
        server.hang()
        daemon.wait_for("condition_raised", condition="share_hung")
        installed.configure()
        reload(daemon)
        assert daemon.wait_for("config_reloaded")["shares"] == [str(installed.share)]
        daemon.wait_for("condition_cleared", condition="share_hung")
        installed.drop("a.jpg", picture(1))
        daemon.wait_for("uploaded", path="a.jpg")
        server.die()
        installed.drop("c.jpg", picture(3))
        daemon.wait_for("uploaded", path="c.jpg")
        assert len(daemon.named("condition_raised")) == 1


def test_a_log_that_cannot_be_written_costs_no_image(installed: Installation) -> None:
    with Path("/dev/full").open("w") as full:
        daemon = subprocess.Popen(installed.command("run"), env=installed.environment, stderr=full)
    with daemon:
        installed.drop("a.jpg", picture(1))
        assert installed.service.wait_for(lambda: bool(installed.service.uploads), PATIENCE)
        daemon.send_signal(signal.SIGHUP)
        installed.drop("b.jpg", picture(2))
        assert installed.service.wait_for(lambda: len(installed.service.uploads) == 2, PATIENCE)
        daemon.terminate()
        assert daemon.wait(PATIENCE) == 0


def test_a_rehearsal_leaves_no_trace(installed: Installation) -> None:
    installed.drop("a.jpg", picture(1))
    assert installed.call("run", "--dry-run").code == 0
    assert not (installed.folder / "state").exists()
    assert [path.name for path in installed.share.iterdir()] == ["a.jpg"]


def test_sigterm_ends_it_in_the_middle_of_a_reload(installed: Installation) -> None:
    slow = installed.service.fault(faults.Slow(2), method="POST", path="/upload", times=None)
    with installed.daemon() as daemon:
        installed.drop("a.jpg", picture(1))
        assert installed.service.wait_for(lambda: slow.hits > 0)
        reload(daemon)
        assert daemon.stop() == 0
        assert daemon.wait_for("stopped")["unfinished"] == 0
    assert check(installed.share) == 1


def test_a_reload_that_nobody_listens_to_goes_on(installed: Installation) -> None:
    installed.environment["NOTIFY_SOCKET"] = str(installed.folder / "nobody")
    with installed.daemon() as daemon:
        reload(daemon)
        daemon.wait_for("config_reloaded")


def test_only_one_runs_with_one_state_directory(installed: Installation) -> None:
    with installed.daemon() as daemon:
        for arguments in (["run"], ["run", "--once"]):
            second = installed.call(*arguments)
            assert second.code == 78
            assert "another daemon runs with the state directory" in second.stderr
        assert installed.call("run", "--dry-run").code == 0
        daemon.kill()
    assert installed.once().code == 0


def test_what_it_does_is_published_and_who_runs_is_known(installed: Installation) -> None:
    published = Published(str(installed.folder / "state"))
    assert not published.runs()
    assert published.read() is None
    with installed.daemon() as daemon:
        assert published.runs()
        installed.drop("a.jpg", picture(1))
        daemon.wait_for("uploaded")
        daemon.wait_until(
            lambda: (now := published.read()) and now.counts.uploaded == 1, "it is published"
        )
        now = published.read()
        assert now is not None
        assert (now.pid, now.waiting, now.moving, now.conditions) == (
            daemon.process.pid,
            0,
            True,
            (),
        )
        assert [(share.root, share.how) for share in now.shares] == [
            (str(installed.share), "events")
        ]
        assert now.last_upload is not None
        assert now.last_upload.path == "a.jpg"
        assert now.files_per_second > 0
        daemon.kill()
    assert not published.runs()
    assert published.read() is None


def test_a_file_in_flight_is_published_with_what_is_sent(installed: Installation) -> None:
    installed.configure(more="[upload]\nmax_mbit_per_second = 8")
    published = Published(str(installed.folder / "state"))
    content = picture(1, "TIFF", (1400, 1000))
    with installed.daemon() as daemon:
        installed.drop("large.tif", content)

        def seen() -> bool:
            now = published.read()
            return now is not None and any(
                flight.step == "sending" and 0 < flight.sent < flight.size == len(content)
                for flight in now.flights
            )

        daemon.wait_until(seen, "it is published")
        daemon.wait_for("uploaded", path="large.tif")


def test_a_state_directory_that_fills_up_is_said_once(installed: Installation) -> None:
    state = installed.folder / "state"
    with installed.daemon() as daemon:
        daemon.wait_until((state / "daemon.json").exists, "it is published")
        (state / "daemon.json").unlink()
        (state / "daemon.json").mkdir()
        daemon.wait_for("failed", reason="state_unwritable")
        installed.drop("a.jpg", picture(1))
        daemon.wait_for("uploaded")
        (state / "daemon.json").rmdir()
        daemon.wait_until((state / "daemon.json").exists, "it is published again")
        assert len(daemon.named("failed")) == 1


def test_a_state_directory_that_cannot_be_used_is_one_clear_line(installed: Installation) -> None:
    (installed.folder / "state").write_text("no folder")
    result = installed.call("run")
    assert (result.code, result.stderr.count("\n")) == (78, 1)
    assert "the state directory" in result.stderr
    assert "--state-dir" in result.stderr


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


def page(port: int, path: str) -> tuple[int, str]:
    """Status and body of what the monitor answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    with contextlib.closing(connection):
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def test_a_monitoring_system_is_told_also_after_a_reload(installed: Installation) -> None:
    port = free_port()
    installed.configure(more=f'[monitor]\nlisten = "127.0.0.1:{port}"')
    with installed.daemon() as daemon:
        installed.drop("a.jpg", picture(1))
        daemon.wait_for("uploaded")
        uploaded = 'autoretouch_watcher_files_total{outcome="uploaded"} 1.0'
        daemon.wait_until(lambda: uploaded in page(port, "/metrics")[1], "it is told")
        assert page(port, "/healthz") == (200, "ok\n")
        reload(daemon)
        daemon.wait_for("config_reloaded")
        assert uploaded in page(port, "/metrics")[1]


def test_a_port_that_is_taken_keeps_no_image_from_going_on(installed: Installation) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        installed.configure(more=f'[monitor]\nlisten = "127.0.0.1:{taken.getsockname()[1]}"')
        with installed.daemon() as daemon:
            assert "Address already in use" in daemon.wait_for("failed", reason="monitor")["found"]
            installed.drop("a.jpg", picture(1))
            daemon.wait_for("uploaded")


def test_somebody_is_told_of_a_condition_that_lasts_and_of_its_end(
    installed: Installation,
) -> None:
    told, gone = installed.folder / "told", installed.folder / "gone"
    words = '"$AUTORETOUCH_STATE $AUTORETOUCH_CONDITION $AUTORETOUCH_ACCESS_TOKEN"'
    installed.configure(
        share=f'[[share]]\npath = "{gone}"',
        more=f"[notify]\ncommand = ['sh', '-c', 'echo {words} >>{told}']\nafter_seconds = 0.5",
    )
    with installed.daemon() as daemon:
        daemon.wait_until(told.exists, "somebody is told")
        reload(daemon)  # what holds holds on, and is not told again
        daemon.wait_for("config_reloaded")
        gone.mkdir()
        daemon.wait_until(lambda: "cleared" in told.read_text(), "the end is told")
        assert len(daemon.named("condition_raised")) == len(daemon.named("condition_cleared")) == 1
    assert told.read_text().splitlines() == ["raised share_gone ", "cleared share_gone "]


def test_a_rehearsal_does_not_wait_for_an_end_that_is_missing(installed: Installation) -> None:
    installed.drop("a.jpg", picture(1)[:-600])
    result = installed.call("run", "--dry-run")
    assert result.code == 1
    assert [event["reason"] for event in result.named("would_reject")] == ["incomplete"]
