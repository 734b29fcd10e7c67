"""So many files are sent at once, and what a dead file server holds is given to others."""

import threading

from tests.core.factories import PATIENCE, Clock, ended, in_thread
from watcher.places import Places


def test_no_more_than_there_are_places_for() -> None:
    places, inside, most = Places(2), set[int](), list[int]()
    lock = threading.Lock()

    def send() -> None:
        for _ in range(50):
            with places:
                with lock:
                    inside.add(threading.get_ident())
                    most.append(len(inside))
                with lock:
                    inside.remove(threading.get_ident())

    assert ended(*[in_thread(send) for _ in range(6)])
    assert max(most) <= 2


def test_a_place_that_was_given_up_is_there_for_another_and_not_given_back_twice() -> None:
    places, stuck, free = Places(1), threading.Event(), threading.Event()

    def hang() -> None:
        with places:
            stuck.set()
            free.wait(PATIENCE)

    def send() -> None:
        with places:
            pass

    hung = in_thread(hang)
    assert stuck.wait(PATIENCE)
    waiting = in_thread(send)
    places.abandon(hung)
    assert ended(waiting)
    with places:  # while this one has it, the one that was given up comes back
        free.set()
        assert ended(hung)
        assert not ended_soon(in_thread(send))


def test_one_that_is_abandoned_while_it_waits_gets_none_and_leaves_it_to_others() -> None:
    places, got = Places(1), list[bool]()

    def send() -> None:
        with places as place:
            got.append(place)

    with places:
        waiting = in_thread(send)
        assert not ended_soon(waiting)
        places.abandon(waiting)
        assert ended(waiting)
        assert got == [False]
    assert ended(in_thread(send))
    assert got == [False, True]


def test_who_has_a_place_for_too_long_does_not_count_and_holds_nobody_up_again() -> None:
    clock, patience = Clock(), 3600.0
    places, let_go = Places(1, patience=patience, clock=clock), threading.Event()

    def keep() -> None:
        with places:
            inside.release()
            let_go.wait(PATIENCE)

    def send() -> None:
        with places:
            pass

    inside = threading.Semaphore(0)
    keeping = [in_thread(keep)]
    assert inside.acquire(timeout=PATIENCE)
    waiting = in_thread(send)
    assert not ended_soon(waiting)
    clock.advance(patience)
    for _ in range(3):
        assert ended(in_thread(send))
    assert ended(waiting)
    keeping.append(in_thread(keep))  # this one counts
    assert inside.acquire(timeout=PATIENCE)
    waiting = in_thread(send)
    assert not ended_soon(waiting)
    let_go.set()
    assert ended(waiting, *keeping)


def test_who_waits_goes_on_when_that_time_is_over() -> None:
    places, got = Places(1, patience=0.05), list[bool]()

    def send() -> None:
        with places as place:
            got.append(place)

    with places:
        assert ended(in_thread(send))
    assert got == [True]
    assert ended(in_thread(send))  # and there are as many as before


def ended_soon(thread: threading.Thread) -> bool:
    thread.join(0.1)  # it must not end, so there is nothing to wait for
    return not thread.is_alive()
