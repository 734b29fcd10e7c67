#!/bin/sh
# Locks what the daemon needs at run time, with the hash of every file that may be installed:
#   requirements.lock        what pyproject.toml lists under `dependencies`, and what that needs
#   requirements-build.lock  what turns the source into a wheel (`build-system.requires`)
# for the Pythons and machines below. Only wheels: nothing is compiled, and no stranger's set-up code
# is run, where the daemon is installed. The files name no package index: pip's own settings say
# where to ask. Run it again after a change of dependencies, or to take newer releases up; it needs
# pip and a package index.
set -eu
cd "$(dirname "$0")"

PYTHONS="3.11 3.12 3.13 3.14"
MACHINES="x86_64 aarch64"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Prints the requirements of one table of pyproject.toml, one a line.
wanted() {
    python3 - "$@" <<'PYTHON'
import sys, tomllib
with open("../pyproject.toml", "rb") as file:
    found = tomllib.load(file)
for key in sys.argv[1:]:
    found = found[key]
print("\n".join(found))
PYTHON
}

# Downloads wheels for one Python on one machine into $work/NAME.
fetch() {
    name=$1 python=$2 machine=$3
    shift 3
    echo "$name for Python $python on $machine ..." >&2
    # From glibc 2.17 to the 2.35 of the oldest system that install.sh takes.
    python3 -m pip download --quiet --disable-pip-version-check --only-binary :all: \
        --dest "$work/$name" --python-version "$python" --implementation cp \
        --platform "manylinux_2_34_$machine" --platform "manylinux_2_28_$machine" \
        --platform "manylinux_2_17_$machine" --platform "manylinux2014_$machine" "$@"
}

# Name and version of each wheel, as requirements write them.
pins() {
    for wheel in "$work/$1"/*.whl; do
        basename "$wheel" | awk -F- '{ gsub("_", "-", $1); print tolower($1) "==" $2 }'
    done | LC_ALL=C sort -u
}

lock() {
    name=$1 into=$2
    # The oldest Python decides on the versions; the others must do with the same ones.
    oldest=${PYTHONS%% *}
    fetch "$name" "$oldest" "${MACHINES%% *}" --requirement "$work/$name.in"
    pins "$name" >"$work/$name.pins"
    for python in $PYTHONS; do
        for machine in $MACHINES; do
            fetch "$name" "$python" "$machine" --requirement "$work/$name.in" \
                --constraint "$work/$name.pins"
        done
    done
    pins "$name" >"$work/$name.all"
    if [ -n "$(sed 's/==.*//' "$work/$name.all" | uniq -d)" ]; then
        echo "Another Python needs another version of:" >&2
        sed 's/==.*//' "$work/$name.all" | uniq -d >&2
        exit 1
    fi
    {
        echo "# Made by deploy/lock.sh; do not edit. For Python $PYTHONS on $MACHINES."
        while read -r pin; do
            printf '%s' "$pin"
            prefix=$(echo "$pin" | sed 's/==/-/; s/[-.]/[-_.]/g')
            (cd "$work/$name" && find . -iname "$prefix-*.whl" -exec sha256sum {} +) |
                LC_ALL=C sort | while read -r hash _; do
                printf ' \\\n    --hash=sha256:%s' "$hash"
            done
            echo
        done <"$work/$name.all"
    } >"$work/$name.lock"
    mv "$work/$name.lock" "$into"
}

wanted project dependencies >"$work/run.in"
wanted build-system requires >"$work/build.in"
lock run requirements.lock
lock build requirements-build.lock
