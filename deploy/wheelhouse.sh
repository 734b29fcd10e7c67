#!/bin/sh
# Fills a directory with all that `install.sh --offline DIR` needs, for a machine without a package
# index. See --help.
set -eu
source=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=deploy/wheel.sh
. "$source/deploy/wheel.sh"

usage() {
    cat <<'TEXT'
Usage: sh deploy/wheelhouse.sh [OPTION]... DIR

Fills DIR with this project and what it needs, as wheels, for
`sh deploy/install.sh --offline DIR` on a machine without a package index.
Start it again with another --python-version or --machine to add those.

  --python-version X.Y   the Python of that machine (Debian 12: 3.11, Ubuntu
                         24.04: 3.12, Debian 13: 3.13); default: this one's
  --machine NAME         x86_64 or aarch64; default: this one's
  --python PROGRAM       the Python to work with here
  -h, --help             this text
TEXT
}

misused() {
    echo "wheelhouse.sh: $1" >&2
    echo "See: sh deploy/wheelhouse.sh --help" >&2
    exit 2
}

target='' machine=$(uname -m) python='' house=''
while [ $# -gt 0 ]; do
    case $1 in
    -h | --help)
        usage
        exit 0
        ;;
    --python-version | --machine | --python)
        [ $# -gt 1 ] || misused "$1 needs a value."
        case $1 in
        --python-version) target=$2 ;;
        --machine) machine=$2 ;;
        --python) python=$2 ;;
        esac
        shift
        ;;
    -*) misused "there is no option $1." ;;
    *)
        [ -z "$house" ] || misused "one directory only, please: $house or $1?"
        house=$1
        ;;
    esac
    shift
done
[ -n "$house" ] || misused "DIR is missing."
case $machine in
x86_64 | aarch64) ;;
*) misused "--machine is x86_64 or aarch64, not $machine." ;;
esac
python=$(find_python "$python") || exit 1
target=${target:-$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')}
case $target in
3.1[1-4]) ;;
*) misused "--python-version is 3.11, 3.12, 3.13 or 3.14, not $target." ;;
esac

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/python"
mkdir -p "$house"

echo "Downloading for Python $target on $machine ..." >&2
"$work/python/bin/python" -m pip download --quiet --disable-pip-version-check --no-input \
    --require-hashes --requirement "$source/deploy/requirements.lock" --only-binary :all: \
    --python-version "$target" --implementation cp --dest "$house" \
    --platform "manylinux_2_34_$machine" --platform "manylinux_2_28_$machine" \
    --platform "manylinux_2_17_$machine" --platform "manylinux2014_$machine"

echo "Building autoretouch-watcher $(source_version) ..." >&2
build_wheel "$work/python/bin/python" "$work"
rm -f "$house"/autoretouch_watcher-*.whl
mv "$work"/autoretouch_watcher-*.whl "$house"

# What install.sh looks at, to say what is missing before it begins.
echo "$target $machine" >>"$house/wheelhouse.txt"
LC_ALL=C sort -u -o "$house/wheelhouse.txt" "$house/wheelhouse.txt"
(cd "$house" && sha256sum -- *.whl >SHA256SUMS)
echo "$house is ready. On the other machine: sh deploy/install.sh --offline $house" >&2
