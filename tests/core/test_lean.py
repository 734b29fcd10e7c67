"""What is loaded, and what is not."""

import subprocess
import sys

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
