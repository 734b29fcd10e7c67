"""What is loaded, and what is not."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from watcher.lean import loading_lean


def modules_after(code: str) -> set[str]:
    """What a fresh interpreter has loaded once it has run this."""
    code = f"import sys\n{code}\nprint(*sys.modules)"
    return set(subprocess.check_output([sys.executable, "-c", code], text=True).split())


LEAN = "from watcher.lean import loading_lean\nwith loading_lean():\n"


def test_what_is_left_out_is_not_loaded_and_can_be_loaded_afterwards() -> None:
    lean = f"{LEAN}    import structlog, pydantic_settings\n"
    left_out = {"rich", "pygments", "asyncio", "importlib.metadata"}
    assert not left_out & modules_after(lean)
    afterwards = (
        "import rich, pygments, asyncio, importlib.metadata\n"
        "assert importlib.metadata.entry_points() and asyncio.run\n"
    )
    assert left_out <= modules_after(lean + afterwards)


def test_what_is_loaded_already_stays() -> None:
    import rich  # noqa: PLC0415 - it is to be loaded already

    with loading_lean():
        assert sys.modules["rich"] is rich
    assert sys.modules["rich"] is rich


def test_what_is_asked_for_is_loaded_after_all() -> None:
    late = f"{LEAN}    import asyncio\n    assert 'asyncio.events' not in sys.modules\n"
    of_it = "    assert asyncio.run\n    assert sys.modules['asyncio'].run is asyncio.run\n"
    assert "asyncio.events" in modules_after(late + of_it)
    assert "asyncio.events" in modules_after(f"{late}assert asyncio.run\n")
    below = (
        f"{LEAN}    try:\n        import asyncio.events\n    except ImportError:\n        pass\n"
    )
    assert "asyncio.events" not in modules_after(below)  # it would be there twice


LOUD = """
class plugin:
    def new_schema_validator(*_, **__):
        return None, None, None
"""


def test_nobodys_plugins_are_loaded(tmp_path: Path) -> None:
    plugin = tmp_path / "plugin-1.dist-info"
    plugin.mkdir()
    (plugin / "entry_points.txt").write_text("[pydantic]\nplugin = loud_plugin:plugin\n")
    (tmp_path / "loud_plugin.py").write_text(LOUD)
    of_a_model = "class A(pydantic.BaseModel):\n        a: int\n"
    here = f"sys.path.insert(0, {str(tmp_path)!r})\n"
    assert "loud_plugin" in modules_after(f"{here}import pydantic\nif True:\n    {of_a_model}")
    assert "loud_plugin" not in modules_after(f"{here}{LEAN}    import pydantic\n    {of_a_model}")


def test_the_daemon_is_loaded_without_what_it_does_not_use() -> None:
    loaded = modules_after(f"{LEAN}    import watcher.wiring\n")
    drawing = {"rich", "pygments", "segno", "prometheus_client", "h11", "httpcore"}
    assert not (drawing | {"asyncio", "importlib.metadata", "email.utils"}) & loaded
    assert not {"httpx", "ssl"} & loaded  # the process that has the connections loads them


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
