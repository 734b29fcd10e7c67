"""Where what is installed lies, and how a unit file reads."""

from pathlib import Path

SOURCE = Path(__file__).parents[2]
DEPLOY, UNITS = SOURCE / "deploy", SOURCE / "systemd"
SERVICE, VERIFY = "autoretouch-watcher.service", "autoretouch-watcher-verify.service"

Unit = dict[str, list[str]]


def unit(path: Path) -> Unit:
    """The values of each `[Section] Key`, in their order."""
    found: Unit = {}
    section = ""
    for line in map(str.strip, path.read_text().splitlines()):
        if line.startswith("["):
            section = line
        elif line and line[0] not in "#;":
            key, equals, value = line.partition("=")
            assert equals, f"{path.name}: {line}"
            assert section, f"{path.name}: {line} stands before any section"
            found.setdefault(f"{section} {key}", []).append(value)
    return found


def of_service(name: str) -> Unit:
    """What stands under [Service] in one of the units."""
    whole = unit(UNITS / name)
    return {
        key.removeprefix("[Service] "): v for key, v in whole.items() if key.startswith("[Service]")
    }
