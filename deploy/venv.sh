# shellcheck shell=sh disable=SC2154
# Sourced by the scripts that need the program: makes .venv beside the source, with the extra named
# in $extra, and puts it first on PATH. Needs python3 >= 3.11 with venv, and a package index.
set -eu
cd "$(dirname "$0")/.."

if ! command -v python3 >/dev/null; then
    echo "python3 is not installed. On Debian: apt install python3 python3-venv" >&2
    exit 1
fi
if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "Python 3.11 or newer is needed, this is $(python3 --version)." >&2
    exit 1
fi
if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
    echo "Python's venv module is not installed. On Debian: apt install python3-venv" >&2
    exit 1
fi
if [ ! -x .venv/bin/python ] || ! .venv/bin/python -c 'import pip' 2>/dev/null; then
    echo "Making .venv ..." >&2
    python3 -m venv --clear .venv
fi
echo "Installing into .venv ..." >&2
.venv/bin/python -m pip install --quiet --disable-pip-version-check --editable ".[$extra]"
PATH="$PWD/.venv/bin:$PATH"
