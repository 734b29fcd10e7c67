# shellcheck shell=sh disable=SC2154
# Sourced by install.sh and wheelhouse.sh, which set $source, the directory above deploy/: what both
# need to know of Pythons and wheels.

# Prints the first Python that is new enough, or says what is missing and fails. $1: "" or the one to
# take.
find_python() {
    found=
    for candidate in ${1:-python3 python3.14 python3.13 python3.12 python3.11}; do
        command -v "$candidate" >/dev/null || continue
        found="$("$candidate" -c 'import sys; print("%d.%d" % sys.version_info[:2])')" || continue
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
            if ! "$candidate" -c 'import ensurepip, venv' 2>/dev/null; then
                echo "Python's venv module is missing: apt install python$found-venv" >&2
                return 1
            fi
            command -v "$candidate"
            return
        fi
    done
    if [ -n "$found" ]; then
        echo "Python 3.11 or newer is needed, this is $found. Debian 12 and Ubuntu 24.04 bring one." >&2
        echo "If there is another one here, name it: --python /path/to/python3" >&2
    elif [ -n "${1:-}" ]; then
        echo "$1 is no Python that can be run. Name another one with --python." >&2
    else
        echo "python3 is not installed: apt install python3 python3-venv" >&2
    fi
    return 1
}

# The version of the source beside deploy/.
source_version() {
    sed -n 's/^__version__ = "\(.*\)"$/\1/p' "$source/watcher/__init__.py"
}

# Makes the project's own wheel in the directory $2 with the Python $1 (of a virtual environment), by
# tools that are locked with hashes like all else. The source is not written to.
build_wheel() {
    "$1" -m pip install --quiet --disable-pip-version-check --no-input --only-binary :all: \
        --require-hashes --requirement "$source/deploy/requirements-build.lock" --target "$2/tools" &&
        PYTHONPATH="$2/tools" "$1" -m pip wheel --quiet --disable-pip-version-check --no-deps \
            --no-build-isolation --wheel-dir "$2" "$source"
}
