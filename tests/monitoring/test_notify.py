"""Who is to know of trouble that lasts is told once, and once that it is over, whatever happens."""

import json
import os
import shlex
import signal
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.core.factories import PATIENCE, PROPERTY, Log, a_connection
from tests.monitoring.snapshots import CONDITIONS, NAMES
from watcher import notify, telling
from watcher.conditions import Condition
from watcher.exchange import Connection
from watcher.notices import MOST_PLACES, Lasting, Notice
from watcher.notify import Notifier
from watcher.telling import PAUSES, Command, Webhook

GONE = Condition("share_gone", "/srv/photos", "it is not mounted", 1_000.0)
LOGIN = Condition("login_needed", "", "there is no token", 1_100.0)


def raised(condition: Condition = GONE, at: float = 1_312.0) -> Notice:
    return Notice("raised", condition, at, 0)


def until(predicate: Callable[[], Any], what: str) -> None:
    ends = time.monotonic() + PATIENCE
    while not predicate():
        assert time.monotonic() < ends, what
        threading.Event().wait(0.01)


# What is told, and when


def told(lasting: Lasting, now: float, *active: Condition) -> list[tuple[str, str]]:
    return [(notice.state, notice.condition.name) for notice in lasting.look(active, now)]


def test_a_condition_is_told_when_it_has_lasted_and_when_it_has_cleared() -> None:
    lasting = Lasting(300)
    assert not told(lasting, 1_000, GONE)
    assert not told(lasting, 1_299, GONE)
    assert told(lasting, 1_300, GONE) == [("raised", "share_gone")]
    assert not told(lasting, 1_301, GONE)
    assert not told(lasting, 9_999, GONE)
    assert told(lasting, 10_000) == [("cleared", "share_gone")]
    assert not told(lasting, 10_001)


def test_what_clears_sooner_is_nobodys_business() -> None:
    lasting = Lasting(300)
    for since in range(1_000, 5_000, 200):
        flapping = Condition("share_gone", "/srv/photos", "it comes and goes", since)
        assert not told(lasting, since + 199, flapping)
        assert not told(lasting, since + 199.5)


def test_one_that_comes_back_between_two_looks_is_another() -> None:
    lasting = Lasting(300)
    told(lasting, 1_300, GONE)
    again = Condition(GONE.name, GONE.place, GONE.reason, 1_300.2)
    assert told(lasting, 1_300.5, again) == [("cleared", "share_gone")]
    assert not told(lasting, 1_600, again)
    assert told(lasting, 1_600.5, again) == [("raised", "share_gone")]


def test_without_delay_it_is_told_at_once() -> None:
    assert told(Lasting(0), 1_000, GONE) == [("raised", "share_gone")]


def test_a_full_disk_is_not_told_for_each_of_a_thousand_folders() -> None:
    lasting = Lasting(60)
    folders = tuple(
        Condition("sidecar_unwritable", f"/srv/{number}", "full", 1_000) for number in range(1_000)
    )
    first = lasting.look((*folders, LOGIN), 1_200)
    assert [notice.condition.place for notice in first[:-1]] == [
        f"/srv/{number}" for number in range(MOST_PLACES)
    ]
    assert {notice.others for notice in first[:-1]} == {999}
    assert first[-1].condition is LOGIN
    # As one folder after the other is well again, no others take the place of those.
    left = lasting.look(folders[5:], 1_300)
    assert [(notice.state, notice.others) for notice in left[:5]] == [("cleared", 995)] * 5
    assert {(notice.state, notice.condition.name) for notice in left[5:]} == {
        ("cleared", "login_needed")
    }
    assert len(lasting.look((), 1_400)) == MOST_PLACES - 5
    anew = Condition("sidecar_unwritable", "/srv/0", "full", 2_000)
    assert told(lasting, 2_060, anew) == [("raised", "sidecar_unwritable")]


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[float, tuple[Condition, ...]]]:
    """Times, and what held then: each condition from its `since` for some time."""
    spans = draw(
        st.lists(
            st.tuples(
                st.sampled_from(NAMES),
                st.sampled_from(["", "/a", "/b"]),
                st.integers(0, 900),
                st.integers(1, 900),
            ),
            max_size=12,
        )
    )
    held = [
        (Condition(name, place, "why", float(since)), since + length)
        for name, place, since, length in spans
    ]
    times = draw(st.lists(st.integers(0, 2_000), max_size=40).map(sorted))
    return [
        (float(now), tuple({c: 0 for c, ends in held if c.since <= now < ends})) for now in times
    ]


@PROPERTY
@given(histories(), st.sampled_from([0, 60, 300]))
@example([(0.0, ()), (1_400.0, (GONE,)), (1_500.0, ())], 300)
def test_whatever_comes_and_goes_each_is_told_at_most_once(
    history: list[tuple[float, tuple[Condition, ...]]], after: float
) -> None:
    lasting, states = Lasting(after), dict[Condition, str]()
    for now, active in history:
        for notice in lasting.look(active, now):
            if notice.state == "raised":
                assert notice.condition in active
                assert now - notice.condition.since >= after
                assert notice.condition not in states
            else:
                assert notice.condition not in active
                assert states[notice.condition] == "raised"
            states[notice.condition] = notice.state
        for each in active:  # fewer places than would be too many
            assert (now - each.since >= after) == (states.get(each) == "raised")
        for each, state in states.items():
            assert state == ("raised" if each in active else "cleared")


# In which words


def test_the_message_says_all_that_is_needed() -> None:
    notice = Notice("raised", GONE, 1_312.4, 2)
    assert json.loads(notice.as_json(host="files", version="1.2.3")) == {
        "state": "raised",
        "condition": "share_gone",
        "place": "/srv/photos",
        "reason": "it is not mounted",
        "remedy": GONE.remedy,
        "since": "1970-01-01T00:16:40+00:00",
        "seconds": 312,
        "other_places": 2,
        "host": "files",
        "version": "1.2.3",
        "text": "autoretouch-watcher on files: share_gone at `/srv/photos` (and 2 other places) "
        f"for 5 min: `it is not mounted`. {GONE.remedy}",
    }


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (59, "59 s"), (60, "1 min"), (3_660, "1 h 1 min"), (180_000, "2 d 2 h")],
)
def test_the_end_says_how_long_it_took(seconds: float, words: str) -> None:
    notice = Notice("cleared", LOGIN, LOGIN.since + seconds, 0)
    text = json.loads(notice.as_json(host="files", version="1"))["text"]
    assert text == f"autoretouch-watcher on files: login_needed has cleared after {words}."


@PROPERTY
@given(CONDITIONS)
def test_no_name_forges_anything(conditions: Sequence[Condition]) -> None:
    for each in conditions:
        found = json.loads(Notice("raised", each, 0, 0).as_json(host="h", version="1"))
        assert all(value.isprintable() for value in found.values() if isinstance(value, str))


def test_no_name_calls_everybody_in_a_chat() -> None:
    hostile = Condition("share_gone", "/srv/<!channel> `@all` [x](http://y)\udcff", "&", 0)
    text = json.loads(raised(hostile).as_json(host="h", version="1"))["text"]
    assert "at `/srv/&lt;!channel&gt; '@all' [x](http://y)\\udcff` for" in text
    assert "`&amp;`" in text


# By command


def script(folder: Path, text: str) -> str:
    program = folder / "tell"
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return str(program)


def command(
    *arguments: str, stop: threading.Event | None = None, environ: Mapping[str, str] | None = None
) -> Command:
    environ = {"PATH": os.environ["PATH"], **(environ or {})}
    return Command(arguments, environ=environ, host="files", stop=stop or threading.Event())


def test_a_command_gets_the_notice_by_environment_and_standard_input(tmp_path: Path) -> None:
    program = script(tmp_path, f'cat >"$1"; env -0 >"$1.env"; pwd >"$1.cwd" #{tmp_path}')
    place = f"/srv/\udcffn\n{'x' * 3_000}"
    notice = raised(Condition("share_gone", place, "a\0b" + "y" * 5_000, 1_000))
    tell = command(program, str(tmp_path / "a b; rm -rf $HOME"), environ={"HOME": "/h"})
    assert tell.tell(notice) == ""
    given_in = json.loads((tmp_path / "a b; rm -rf $HOME").read_bytes())
    assert given_in["place"] == f"/srv/\\udcffn\\n{'x' * 3_000}"
    found = dict(
        line.split("=", 1)
        for line in (tmp_path / "a b; rm -rf $HOME.env").read_text().split("\0")
        if line
    )
    for name, value in given_in.items():
        if name != "text":
            assert found[f"AUTORETOUCH_{name.upper()}"] == str(value)
    assert found["HOME"] == "/h"
    assert (tmp_path / "a b; rm -rf $HOME.cwd").read_text() == "/\n"


def test_a_command_gets_no_secret_and_no_voice(tmp_path: Path) -> None:
    program = script(tmp_path, f"env -0 >{shlex.quote(str(tmp_path / 'env'))}")
    secret = {
        "AUTORETOUCH_ACCESS_TOKEN": "hidden",
        "AUTORETOUCH_REFRESH_TOKEN": "hidden",
        "AUTORETOUCH_WATCHER_NOTIFY__WEBHOOK": "hidden",
        "CREDENTIALS_DIRECTORY": "hidden",
        "NOTIFY_SOCKET": "hidden",
        "WATCHDOG_USEC": "hidden",
        "WATCHDOG_PID": "hidden",
        "LANG": "seen",
    }
    assert command(program, environ=secret).tell(raised()) == ""
    found = (tmp_path / "env").read_text()
    assert "hidden" not in found
    assert "LANG=seen" in found


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("echo no such list; echo twice >&2; exit 3", "ended with 3: no such list\ntwice"),
        ("exit 1", "ended with 1: it said nothing"),
        ("kill -9 $$", "ended with -9: it said nothing"),
        ("exec >&- 2>&-; exit 4", "ended with 4: it said nothing"),
        ("exec </dev/null; sleep 0.1; exit 0", ""),
        ("exec >&- 2>&-; sleep 0.2", ""),
    ],
    ids=range(6),
)
def test_what_went_wrong_is_told(tmp_path: Path, text: str, what: str) -> None:
    program = script(tmp_path, text)
    assert command(program).tell(raised()) == (what and f"{program} {what}")


def test_a_command_that_says_a_lot_is_heard_out_and_cut_short(tmp_path: Path) -> None:
    program = script(tmp_path, "head -c 5000000 /dev/zero | tr '\\0' x; exit 1")
    trouble = command(program).tell(raised())
    assert trouble == f"{program} ended with 1: {'x' * 300}"


def test_what_a_command_leaves_behind_is_not_waited_for(tmp_path: Path) -> None:
    left = tmp_path / "left"
    program = script(tmp_path, f"sleep 600 & echo $! >{left}")
    assert command(program).tell(raised()) == ""
    os.kill(int(left.read_text()), signal.SIGKILL)


@pytest.mark.parametrize(
    ("program", "why"),
    [
        ("/nonexistent/tell", "No such file or directory"),
        ("/etc/passwd", "Permission denied"),
        ("tell\0", "embedded null byte"),
    ],
)
def test_a_command_that_cannot_be_started_is_told(program: str, why: str) -> None:
    assert command(program).tell(raised()) == f"{program} cannot be started: {why}"


def dead(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return True
    return status.rsplit(") ", 1)[1][0] == "Z"


def test_a_command_that_does_not_end_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telling, "COMMAND_SECONDS", 0.1)
    program = script(tmp_path, "trap '' TERM INT; sleep 600")
    assert command(program).tell(raised()) == f"{program} had not ended after 0 s and was killed"


def test_what_is_killed_is_all_that_it_started(tmp_path: Path) -> None:
    stop, pids = threading.Event(), tmp_path / "pids"
    program = script(tmp_path, f"sleep 600 & echo $! $$ >{pids}.new; mv {pids}.new {pids}; wait")

    def stop_it() -> None:
        until(pids.exists, "the command")
        stop.set()

    stopping = threading.Thread(target=stop_it)
    stopping.start()
    told = command(program, stop=stop).tell(raised())
    stopping.join()
    assert told == f"{program} was killed, because the daemon ends"
    for pid in map(int, pids.read_text().split()):
        until(partial(dead, pid), "the end of what was started")


# By webhook


class Hook:
    """Answers with these statuses, the last one again and again; keeps what comes."""

    def __init__(self, *statuses: int) -> None:
        self.asked: list[tuple[str, dict[str, str], Any]] = []
        left = list(statuses)

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(handler) -> None:  # noqa: N805 - http.server's names; `self` is Hook
                body = handler.rfile.read(int(handler.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in handler.headers.items()}
                self.asked.append((handler.path, headers, json.loads(body)))
                handler.send_response(left.pop(0) if left[1:] else left[0])
                handler.send_header("Content-Length", "2")
                handler.send_header("Location", "/elsewhere")
                handler.end_headers()
                handler.wfile.write(b"no")

            def log_message(handler, *_: object) -> None:  # noqa: N805 - as above
                """Tests are quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/services/s3cret"


@contextmanager
def hook(*statuses: int) -> Iterator[Hook]:
    made = Hook(*statuses)
    thread = threading.Thread(target=made.server.serve_forever, args=[0.01])
    thread.start()
    try:
        yield made
    finally:
        made.server.shutdown()
        thread.join()
        made.server.server_close()


def webhook(url: str, pauses: list[float] | None = None, *, give_up: bool = False) -> Webhook:
    def pause(seconds: float) -> bool:
        if pauses is not None:
            pauses.append(seconds)
        return give_up

    return Webhook(url, connect=a_connection, host="files", pause=pause)


def test_a_webhook_gets_the_notice_and_no_token() -> None:
    with hook(204) as made:
        assert webhook(made.url).tell(raised()) == ""
    [(path, headers, body)] = made.asked
    assert path == "/services/s3cret"
    assert headers["content-type"] == "application/json"
    assert "authorization" not in headers
    assert body["condition"] == "share_gone"
    assert body["text"].startswith("autoretouch-watcher on files: share_gone")


@pytest.mark.parametrize("statuses", [(503, 200), (429, 500, 408, 201)])
def test_a_webhook_that_is_not_there_yet_is_tried_again(statuses: tuple[int, ...]) -> None:
    pauses: list[float] = []
    with hook(*statuses) as made:
        assert webhook(made.url, pauses).tell(raised()) == ""
    assert pauses == list(PAUSES[: len(statuses) - 1])
    assert all(shorter < longer for shorter, longer in pairwise(PAUSES))


@pytest.mark.parametrize("status", [302, 400, 404, 410])
def test_a_webhook_that_refuses_is_not_bothered_again(status: int) -> None:
    with hook(status) as made:
        trouble = webhook(made.url).tell(raised())
    assert trouble == f"the webhook at 127.0.0.1: it answered {status}"
    assert len(made.asked) == 1


def test_a_webhook_that_stays_away_is_given_up_without_its_path() -> None:
    with hook(503) as made:
        trouble = webhook(made.url).tell(raised())
        assert len(made.asked) == 1 + len(PAUSES)
    assert trouble == "the webhook at 127.0.0.1: it answered 503"
    pauses: list[float] = []
    trouble = webhook(made.url, pauses).tell(raised())  # nobody listens any more
    assert trouble.startswith("the webhook at 127.0.0.1: cannot connect: ")
    assert "s3cret" not in trouble
    assert pauses == list(PAUSES)


def test_the_daemons_end_ends_the_tries() -> None:
    with hook(503) as made:
        assert webhook(made.url, give_up=True).tell(raised())
    assert len(made.asked) == 1


# The whole


def a_notifier(
    log: Log,
    *arguments: str,
    webhook: str = "",
    after: float = 0,
    connect: Callable[[], Connection] = a_connection,
) -> Notifier:
    made = Notifier(environ={"PATH": os.environ["PATH"]}, host="files", log=log.logger)
    made.take_up(command=arguments, webhook=webhook, after_seconds=after, connect=connect)
    return made


def test_both_ways_are_told_in_order(tmp_path: Path) -> None:
    told, log = tmp_path / "told", Log()
    program = script(tmp_path, f"echo $AUTORETOUCH_STATE $AUTORETOUCH_CONDITION >>{told}")
    with hook(200) as made, a_notifier(log, program, webhook=made.url, after=300) as notifier:
        notifier.look((GONE,), 1_299)
        notifier.look((GONE,), 1_300)
        until(lambda: len(made.asked) == 1, "that it is raised")
        notifier.look((), 1_400)
        until(lambda: len(made.asked) == 2, "that it is cleared")
    assert told.read_text() == "raised share_gone\ncleared share_gone\n"
    assert [body["state"] for _, _, body in made.asked] == ["raised", "cleared"]
    assert not log.events


def test_what_went_wrong_is_one_line_of_the_log_and_the_other_way_is_told() -> None:
    log = Log()
    with hook(200) as made, a_notifier(log, "/nonexistent/x", webhook=made.url) as notifier:
        notifier.look((GONE,), 1_000)
        until(lambda: made.asked, "the webhook")
    assert log.entries == [
        {
            "event": "failed",
            "log_level": "error",
            "level": "error",
            "reason": "notify_failed",
            "condition": "share_gone",
            "place": "/srv/photos",
            "state": "raised",
            "found": "/nonexistent/x cannot be started: No such file or directory",
        }
    ]


def test_our_own_mistake_costs_a_line_of_the_log_and_not_the_thread() -> None:
    log = Log()

    def broken() -> Connection:
        raise RuntimeError("a mistake")

    with a_notifier(log, webhook="http://127.0.0.1:1/x", connect=broken) as notifier:
        notifier.look((GONE,), 1_000)
        until(lambda: len(log.events) == 1, "the first")
        notifier.look((), 1_001)
        until(lambda: len(log.events) == 2, "the second")
    assert {event["found"] for event in log.entries} == {"RuntimeError: a mistake"}


def test_a_command_that_hangs_holds_up_nobody_and_is_not_called_for_what_has_passed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notify, "CLOSE_SECONDS", PATIENCE)
    told, goes_on, log = tmp_path / "told", tmp_path / "goes_on", Log()
    os.mkfifo(goes_on)
    program = script(
        tmp_path,
        f'echo "$AUTORETOUCH_STATE $AUTORETOUCH_PLACE" >>{told}\n'
        f"if [ -p {goes_on} ]; then : <{goes_on}; fi",
    )
    with a_notifier(log, program) as notifier:
        notifier.look((GONE,), 1_000)
        until(told.exists, "the command")
        notifier.look((GONE, LOGIN), 1_200)  # this one waits to be told
        for number in range(1_000):
            passing = Condition("share_hung", f"/srv/{number}", "slow", 1_200)
            notifier.look((passing,), 1_200 + number)
        with goes_on.open("wb"):
            goes_on.unlink()
        until(lambda: told.read_text().count("\n") == 2, "what had waited")
        until(notifier._queue.empty, "an empty queue")
        notifier.look((), 3_000)
        until(lambda: told.read_text().count("\n") == 4, "the end of both")
    assert sorted(told.read_text().splitlines()) == [
        "cleared ",
        "cleared /srv/photos",
        "raised ",
        "raised /srv/photos",
    ]


def test_it_ends_with_the_daemon_whatever_it_is_about(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notify, "CLOSE_SECONDS", 0.1)
    started, log = tmp_path / "started", Log()
    program = script(tmp_path, f"echo $$ >{started}.new; mv {started}.new {started}; sleep 600")
    with a_notifier(log, program) as notifier:
        notifier.look((GONE, LOGIN), 2_000)
        until(started.exists, "the command")
    notifier._thread.join(PATIENCE)
    assert dead(int(started.read_text()))
    assert [event["found"] for event in log.entries] == [
        f"{program} was killed, because the daemon ends",
        "there was no time left",
    ]


def told_by(notifier: Notifier, *arguments: str) -> None:
    notifier.take_up(command=arguments, webhook="", after_seconds=0, connect=a_connection)


def test_under_another_configuration_all_is_told_once_and_in_order(tmp_path: Path) -> None:
    told, log = tmp_path / "told", Log()
    go_on = tmp_path / "go on"
    words = f'echo "$AUTORETOUCH_STATE $AUTORETOUCH_CONDITION" >>{told}'
    slow = script(tmp_path, f"while [ ! -e '{go_on}' ]; do sleep 0.05; done\n{words}")
    (tmp_path / "other").mkdir()
    quick = script(tmp_path / "other", words)
    with a_notifier(log, slow) as notifier:
        notifier.look((GONE, LOGIN), 9_000)
        told_by(notifier, quick)
        go_on.touch()
        until(notifier._queue.empty, "an empty queue")
        notifier.look((GONE, LOGIN), 9_001)
        notifier.look((LOGIN,), 9_002)
        until(lambda: told.exists() and told.read_text().count("\n") == 3, "the end of one")
    assert told.read_text().splitlines() == [
        "raised share_gone",
        "raised login_needed",
        "cleared share_gone",
    ]
    assert not log.events


def test_what_nobody_could_be_told_is_told_under_a_configuration_that_works(tmp_path: Path) -> None:
    told, log = tmp_path / "told", Log()
    with a_notifier(log, "/nonexistent/x") as notifier:
        notifier.look((GONE,), 9_000)
        until(lambda: not notifier._in_vain.empty(), "the failure")
        notifier.look((GONE,), 9_001)  # not again and again
        told_by(notifier, script(tmp_path, f"echo $AUTORETOUCH_STATE >>{told}"))
        notifier.look((GONE,), 9_002)
        until(told.exists, "that somebody is told")
    assert told.read_text() == "raised\n"
    assert log.events == ["failed"]


def test_nobody_is_told_if_nobody_is_named() -> None:
    log, before = Log(), threading.active_count()
    with a_notifier(log) as notifier:
        notifier.look((GONE,), 9_999)
        told_by(notifier)
        assert threading.active_count() == before
        assert notifier._queue.empty()
    assert not log.events


def test_the_program_may_be_any() -> None:
    assert (
        command(sys.executable, "-c", "import sys, json; json.load(sys.stdin)").tell(raised()) == ""
    )
