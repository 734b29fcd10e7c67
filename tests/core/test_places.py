"""So many files are sent at once, and what a dead file server holds is given to others."""

import threading

from tests.core.factories import PATIENCE, ended, in_thread
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


def test_who_has_waited_long_enough_goes_on_though_all_are_taken() -> None:
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
