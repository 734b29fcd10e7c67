"""What else one could do: the shell, the documentation's script, and the limit of this machine.

All of them find the service's token in `$TOKEN`.
"""

import hashlib
import os
import shutil
import ssl
import sys
from pathlib import Path
from time import perf_counter, process_time

import httpx

SHELL = r"""
find "$1" -name 'IMG_*' ! -name '*.sha256' -print0 | xargs -0 -P 4 -n 1 sh -c '
    sha256=$(sha256sum "$1") && sha256=${sha256%% *}
    with="Authorization: Bearer $TOKEN" to=$0/upload
    status=$(curl -s -o /dev/null -w "%{http_code}" -H "$with" -I "$to?contentHash=$sha256")
    size=$(stat -c %s "$1")
    [ "$status" = 200 ] || curl -s -H "$with" -F filesize=$size -F "file=@$1" "$to"
' "$2"
"""

# The files are dealt out to one chain a core. `Expect:` spares curl a wait for each large body.
LIMIT = r"""
find "$1" -name 'IMG_*' ! -name '*.sha256' | sort > "$3/all"
core=0
while [ $core -lt "$4" ]; do
    awk "NR % $4 == $core" "$3/all" | tr '\n' '\0' |
    xargs -0 openssl dgst -sha256 -r | awk -v url="$2" '{
        path = substr($0, index($0, " *") + 2)
        each = "next\nsilent\noutput = /dev/null\nheader = \"Authorization: Bearer "
        each = each ENVIRON["TOKEN"] "\"\nurl = \"" url "/upload"
        print each "?contentHash=" $1 "\"\nhead"
        print each "\"\nheader = \"Expect:\"\nform = \"file=@" path "\""
    }' | curl --config - &
    core=$((core + 1))
done
wait
"""


def shell(folder: Path, url: str) -> list[str]:
    """`sha256sum` and `curl`, four at a time."""
    return ["sh", "-c", SHELL, "sh", str(folder), url]


def limit(folder: Path, url: str) -> list[str]:
    """`openssl` hashes, then one `curl` process a core asks and sends, on a kept-alive connection;
    no checks, no records, whatever the answer."""
    cores = len(os.sched_getaffinity(0))
    return ["sh", "-c", LIMIT, "sh", str(folder), url, str(folder.parent), str(cores)]


def missing(*programs: str) -> str:
    """Those that are not installed here."""
    return ", ".join(program for program in programs if shutil.which(program) is None)


def script(folder: Path, url: str) -> list[str]:
    """The documentation's example, one file after the other; see `main`."""
    return [sys.executable, "-m", "tests.bench.peers", str(folder), url]


def raw_sha256(paths: list[Path]) -> tuple[float, float]:
    """Wall and processor seconds of hashing the same bytes in one thread."""
    started, computed = perf_counter(), process_time()
    for path in paths:
        with path.open("rb") as file:
            hashlib.file_digest(file, "sha256")
    return perf_counter() - started, process_time() - computed


def main(folder: Path, url: str) -> None:
    """As the vendor's page on images shows it, with HEAD before POST; without checks or records.

    A connection for each request, as there; but one set of certificates for all, because httpx
    would load them each time, and the library of that page does not.
    """
    certificates = ssl.create_default_context()
    token = {"Authorization": f"Bearer {os.environ['TOKEN']}"}
    for path in sorted(folder.rglob("IMG_*")):
        if path.suffix == ".sha256":
            continue
        content = path.read_bytes()
        asked = {"contentHash": hashlib.sha256(content).hexdigest()}
        answer = httpx.head(
            f"{url}/upload",
            params=asked,
            headers=token,
            trust_env=False,
            verify=certificates,
            timeout=60,
        )
        if answer.status_code != 200:
            httpx.post(
                f"{url}/upload",
                headers=token,
                data={"filesize": len(content)},
                files={"file": (path.name, content)},
                trust_env=False,
                verify=certificates,
                timeout=60,
            )


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
