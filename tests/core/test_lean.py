"""What is loaded, and what is not."""

import os
import platform
import subprocess
import sys

import pytest

from watcher.lean import loading_without


def modules_after(code: str) -> set[str]:
    """What a fresh interpreter has loaded once it has run this."""
    code = f"import sys\n{code}\nprint(*sys.modules)"
    return set(subprocess.check_output([sys.executable, "-c", code], text=True).split())


def test_what_is_hidden_is_not_loaded_and_can_be_loaded_afterwards() -> None:
    hidden = (
        "from watcher.lean import loading_without\n"
        "with loading_without('rich', 'pygments'):\n"
        "    import httpx"
    )
    assert not {"rich", "pygments"} & modules_after(hidden)
    assert {"rich.console", "httpx"} <= modules_after(f"{hidden}\nimport rich.console")


def test_what_is_loaded_already_stays() -> None:
    import rich  # noqa: PLC0415 - it is to be loaded already

    with loading_without("rich", "no_such_package"):
        assert sys.modules["rich"] is rich
    assert sys.modules["rich"] is rich
    assert "no_such_package" not in sys.modules


def test_the_daemon_is_loaded_without_what_draws() -> None:
    loaded = modules_after(
        "from watcher.lean import loading_without\n"
        "with loading_without('rich', 'pygments'):\n"
        "    import watcher.wiring\n"
    )
    unneeded = {"rich", "pygments", "segno", "prometheus_client", "h11", "httpcore"}
    assert not unneeded & loaded
    assert "httpx" not in loaded  # the process that has the connections loads it


HEAPS = """
import ctypes, threading
libc = ctypes.CDLL(None)
libc.fdopen.restype = ctypes.c_void_p
together = threading.Barrier(5)
def work():
    buffer = ctypes.create_string_buffer(100_000)
    libc.free(ctypes.c_void_p(libc.malloc(1000)))
    together.wait()
    together.wait()
libc.malloc.restype = ctypes.c_void_p
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
together.wait()
stream = ctypes.c_void_p(libc.fdopen(1, b"w"))
libc.malloc_info(0, stream)
libc.fflush(stream)
together.wait()
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
@pytest.mark.parametrize(("before", "heaps"), [("", 5), ("lean.all_loaded()", 1)])
def test_all_threads_share_one_heap(before: str, heaps: int) -> None:
    code = f"from watcher import lean\n{before}\n{HEAPS}"
    plain = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    told = subprocess.check_output([sys.executable, "-c", code], env=plain, text=True)
    assert told.count("<heap nr=") == heaps
