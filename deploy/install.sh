#!/bin/sh
# Installs the daemon as a service, or upgrades it. See --help.
set -eu
umask 022
source=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=deploy/wheel.sh
. "$source/deploy/wheel.sh"

name=autoretouch-watcher
base=/opt/$name
config=/etc/$name/config.toml
state=/var/lib/$name
units=/usr/local/lib/systemd/system
# Drop-ins for all units whose names begin so: the service and the weekly verify.
dropins=/etc/systemd/system/autoretouch-.service.d
command=/usr/local/bin/$name

usage() {
    cat <<'TEXT'
Usage: sh deploy/install.sh [OPTION]...      (as root)

Installs autoretouch-watcher as a systemd service, or upgrades it: its own user,
a virtual environment in /opt/autoretouch-watcher, the unit, a configuration in
/etc/autoretouch-watcher (never overwritten), the command in /usr/local/bin.

  --share PATH      a share to watch, for the first configuration; repeatable
  --group GROUP     a group to let the service's user into, so that it may read
                    the images and write beside them; repeatable
  --offline DIR     take all from DIR, which deploy/wheelhouse.sh made
  --python PROGRAM  the Python to use (3.11 or newer)
  --no-start        neither enable nor start the service
  --uninstall       remove all but the configuration, the login and the records
  -h, --help        this text
TEXT
}

fail() {
    for line; do
        echo "install.sh: $line" >&2
    done
    exit 1
}

misused() {
    echo "install.sh: $1" >&2
    echo "See: sh deploy/install.sh --help" >&2
    exit 2
}

main() {
    read_arguments "$@"
    [ "$(id -u)" = 0 ] || fail "must be run by root: sudo sh deploy/install.sh"
    if [ -n "$uninstall" ]; then
        uninstall
        exit 0
    fi
    look_first
    previous=$(readlink "$base/current" 2>/dev/null || true)
    build
    make_user
    make_config
    try_config
    echo "Installing the service ..." >&2
    switch_to "$new"
    start
    forget_old_versions
    say_what_is_next
}

read_arguments() {
    shares='' groups='' offline='' python='' start=yes uninstall=''
    while [ $# -gt 0 ]; do
        case $1 in
        -h | --help)
            usage
            exit 0
            ;;
        --no-start) start= ;;
        --uninstall) uninstall=yes ;;
        --share | --group | --offline | --python)
            [ $# -gt 1 ] && [ -n "$2" ] || misused "$1 needs a value."
            case $1 in
            --share) shares="$shares$(plain_path "$2")$newline" || exit 2 ;;
            --group) groups="$groups$2 " ;;
            --offline) offline=$2 ;;
            --python) python=$2 ;;
            esac
            shift
            ;;
        -*) misused "there is no option $1." ;;
        *) misused "what is $1? A share is named so: --share $1" ;;
        esac
        shift
    done
}

newline='
'

# Only what the configuration and a unit can both hold without escapes.
plain_path() {
    case $1 in
    *[\"\\:%]* | *"$newline"*) misused "--share $1: write a path with such characters into $config yourself." ;;
    /*) echo "$1" ;;
    *) misused "--share $1: must be an absolute path." ;;
    esac
}

# Everything that can be wrong is looked for before anything is changed.
look_first() {
    for tool in systemctl systemd-sysusers setpriv; do
        command -v $tool >/dev/null || fail "$tool is missing: apt install systemd util-linux"
    done
    python=$(find_python "$python") || exit 1
    for group in $groups; do
        getent group "$group" >/dev/null || fail "there is no group $group: groupadd $group"
    done
    if [ -n "$shares" ] && [ -e "$config" ]; then
        fail "$config is there already and is never overwritten." \
            "Add the share to it yourself, a block [[share]] with its path, then: systemctl reload $name" \
            "A share outside of /srv, /mnt and /media needs one line more: see $source/systemd/examples/shares.conf"
    fi
    printf '%s' "$shares" | while IFS= read -r share; do
        [ -d "$share" ] || fail "--share $share: there is no such directory."
    done || exit 1
    [ -z "$offline" ] || look_into_wheelhouse
    [ -d /run/systemd/system ] ||
        fail "this system is not run by systemd. Start \`$name run\` by its own means; README.md says what it needs."
}

look_into_wheelhouse() {
    [ -f "$offline/wheelhouse.txt" ] ||
        fail "$offline holds no wheelhouse. Make one on another machine: sh deploy/wheelhouse.sh DIR"
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    grep -qx "$version $(uname -m)" "$offline/wheelhouse.txt" ||
        fail "$offline is not for Python $version on $(uname -m). Add them on the other machine:" \
            "sh deploy/wheelhouse.sh --python-version $version --machine $(uname -m) DIR"
    [ -f "$offline/autoretouch_watcher-$(source_version)-py3-none-any.whl" ] ||
        fail "$offline holds another version than $source, which is $(source_version). Make it from this source."
    (cd "$offline" && sha256sum --quiet --check SHA256SUMS) ||
        fail "$offline is not as it was made: copy it again."
}

# The new version beside the old one, which runs on meanwhile. Nothing else is touched if it fails.
build() {
    version=$(source_version)
    new=$base/versions/$version-$(date +%Y%m%d%H%M%S)
    work=$(mktemp -d)
    built=
    trap 'rm -rf "$work"; [ -n "$built" ] || rm -rf "$new"' EXIT
    trap 'exit 1' INT TERM HUP
    echo "Making $new ..." >&2
    mkdir -p "$base/versions"
    "$python" -m venv "$new"
    if [ -n "$offline" ]; then
        install_wheels --no-index --find-links "$offline"
        wheel=$offline/autoretouch_watcher-$version-py3-none-any.whl
    else
        install_wheels
        build_wheel "$new/bin/python" "$work" || fail "the project could not be built; pip says above why."
        wheel=$(echo "$work"/autoretouch_watcher-*.whl)
    fi
    "$new/bin/python" -m pip install --quiet --disable-pip-version-check --no-input --no-index \
        --no-deps "$wheel" || fail "the project could not be installed; pip says above why."
    "$new/bin/$name" --version >/dev/null || fail "what was installed does not start."
    mkdir "$new/files"
    cp -R "$source/README.md" "$source/CHANGELOG.md" "$source/config.example.toml" \
        "$source/systemd" "$source/deploy" "$source/docs" "$new/files"
    built=yes
}

install_wheels() {
    "$new/bin/python" -m pip install --quiet --disable-pip-version-check --no-input \
        --only-binary :all: --require-hashes --requirement "$source/deploy/requirements.lock" "$@" ||
        fail "the dependencies could not be installed; pip says above why." \
            "Without a package index: make a wheelhouse with deploy/wheelhouse.sh, then --offline DIR"
}

make_user() {
    install -D -m 644 "$source/systemd/sysusers.d/$name.conf" /etc/sysusers.d/$name.conf
    systemd-sysusers /etc/sysusers.d/$name.conf
    for group in $groups; do
        usermod --append --groups "$group" $name
    done
    install -d -m 700 -o $name -g $name "$state"
}

# The first configuration: the example with the shares named here.
make_config() {
    fresh=
    [ ! -e "$config" ] || return 0
    fresh=yes
    install -d -m 755 "$(dirname "$config")"
    # Not for everybody: the address of a webhook may be a secret.
    install -m 640 -g $name "$source/config.example.toml" "$config.new"
    if [ -n "$shares" ]; then
        printf '%s' "$shares" | "$new/bin/python" -c '
import re, sys
shares = sys.stdin.read().splitlines()
with open(sys.argv[1], encoding="utf-8") as file:
    text = file.read()
text = re.sub("(?m)^path = \"[^\"]*\"", lambda _: f"path = \"{shares[0]}\"", text, count=1)
text += "".join(f"\n[[share]]\npath = \"{share}\"\n" for share in shares[1:])
with open(sys.argv[1], "w", encoding="utf-8") as file:
    file.write(text)
' "$config.new"
        printf '%s' "$shares" | while IFS= read -r share; do
            let_in "$share"
        done
    fi
    mv "$config.new" "$config"
}

# A share where the unit does not look for shares is let into its sandbox.
let_in() {
    real=$(readlink -f "$1")
    case $real/ in
    /srv/* | /mnt/* | /media/*) return ;;
    esac
    mkdir -p "$dropins"
    [ -e "$dropins/shares.conf" ] ||
        printf '# See systemd/examples/shares.conf.\n[Service]\n' >"$dropins/shares.conf"
    case $real/ in
    /home/*) echo "ProtectHome=tmpfs" >>"$dropins/shares.conf" ;;
    esac
    # "-": one share that is away does not keep the others from being served.
    echo "BindPaths=\"-$real\"" >>"$dropins/shares.conf"
}

# A configuration that the new version refuses must not cost the old one its life.
try_config() {
    [ -n "$previous" ] || return 0
    code=0
    as_service "$new/bin/$name" --config "$config" config >"$work/said" 2>&1 || code=$?
    [ "$code" = 78 ] || return 0
    cat "$work/said" >&2
    built=
    fail "the new version cannot take $config as it is, so nothing was changed." \
        "Correct what is said above, then start install.sh again."
}

as_service() {
    STATE_DIRECTORY=$state setpriv --reuid=$name --regid=$name --init-groups --no-new-privs "$@"
}

# Makes the version in $1 the current one, in one step, with the files outside that belong to it.
switch_to() {
    ln -sfn "$1" "$base/current.new"
    mv -T "$base/current.new" "$base/current"
    install -D -m 755 "$1/files/deploy/command.sh" "$command"
    for unit in $name.service $name-verify.service $name-verify.timer; do
        install -D -m 644 "$1/files/systemd/$unit" "$units/$unit"
    done
    complete_in_shells "$1/bin/$name"
    systemctl daemon-reload
}

complete_in_shells() {
    for shell in bash:bash-completion/completions/$name zsh:zsh/site-functions/_$name \
        fish:fish/vendor_completions.d/$name.fish; do
        file=/usr/local/share/${shell#*:}
        mkdir -p "$(dirname "$file")"
        # Nobody's service ends for want of a completion.
        _AUTORETOUCH_WATCHER_COMPLETE=${shell%%:*}_source "$1" >"$file" 2>/dev/null || rm -f "$file"
    done
}

start() {
    if [ -z "$previous" ]; then
        [ -n "$start" ] || return 0
        systemctl enable --quiet $name
    fi
    # One that the administrator has switched off stays off.
    systemctl is-enabled --quiet $name || return 0
    [ -z "$previous" ] || [ -n "$start" ] || return 0
    if systemctl restart $name; then
        return
    fi
    journalctl --no-pager --quiet --lines 20 --unit $name >&2
    if [ -n "$previous" ]; then
        switch_to "$previous"
        built=
        systemctl restart $name || true
        fail "version $version did not start (its last lines are above); back to $(basename "$previous")."
    fi
    fail "installed, but the service did not start; its last lines are above." \
        "Correct what they say, then: systemctl restart $name"
}

# The one before stays, for commands that still run from it.
forget_old_versions() {
    for old in "$base/versions"/*; do
        [ "$old" = "$new" ] || [ "$old" = "$previous" ] || rm -rf "$old"
    done
}

say_what_is_next() {
    if [ -n "$previous" ]; then
        echo "Upgraded to $version."
        systemctl is-active --quiet $name || echo "The service does not run; it is as it was before: systemctl start $name"
        return
    fi
    echo "Installed $name $version. What is left to do:"
    echo
    [ -z "$fresh" ] || [ -n "$shares" ] ||
        echo "  name your shares     in $config, then: systemctl reload $name"
    printf '%s' "$shares" | while IFS= read -r share; do
        as_service test -r "$share" -a -w "$share" -a -x "$share" || say_who_may "$share"
    done
    [ -e "$state/token.json" ] || echo "  sign in              $name login"
    [ -n "$start" ] || echo "  start                systemctl enable --now $name"
    echo "  see if all is well   $name check"
}

say_who_may() {
    group=$(stat -L -c %G "$1")
    echo "  let it into          $1"
    if [ "$group" = root ]; then
        echo "                       chgrp it to a GROUP that may write there, then:"
        group=GROUP
    fi
    echo "                       usermod -aG $group $name"
    [ -z "$start" ] || echo "                       systemctl restart $name"
}

uninstall() {
    systemctl disable --quiet --now $name.service $name-verify.timer 2>/dev/null || true
    systemctl stop $name-verify.service 2>/dev/null || true
    for unit in $name.service $name-verify.service $name-verify.timer; do
        rm -f "$units/$unit"
    done
    systemctl daemon-reload
    systemctl reset-failed $name.service $name-verify.service 2>/dev/null || true
    rm -f "$command" /etc/sysusers.d/$name.conf \
        /usr/local/share/bash-completion/completions/$name \
        /usr/local/share/zsh/site-functions/_$name \
        /usr/local/share/fish/vendor_completions.d/$name.fish
    rm -rf "$base"
    cat <<TEXT
Uninstalled. This is yours and is still there:
  the configuration in /etc/$name
  your drop-ins in /etc/systemd/system/autoretouch-*.d, if you made any
  the login in $state, which still holds at the service
  (to end it, install again and say: $name logout)
  the user $name, who owns the sidecars and notes on the shares

To remove the first three and the user as well:
  rm -rf /etc/$name $state
  rm -rf /etc/systemd/system/autoretouch-*.d
  userdel $name
TEXT
}

main "$@"
