#!/bin/sh
# autoretouch-watcher at a terminal, as the service has it: the same program and state directory and,
# called by root, the service's user with its groups and its one capability. So `check` sees what the
# service sees, `login` leaves a token that it can read, and nothing works on a share as root.
set -eu
program=/opt/autoretouch-watcher/current/bin/autoretouch-watcher
user=autoretouch-watcher
STATE_DIRECTORY=${STATE_DIRECTORY:-/var/lib/autoretouch-watcher}
export STATE_DIRECTORY
if [ "$(id -u)" != 0 ]; then
    exec "$program" "$@"
fi
export HOME=/var/lib/autoretouch-watcher
# As many open files as the unit allows; where that cannot be, `check` says so.
# shellcheck disable=SC3045 # POSIX knows no -n; dash, bash and BusyBox all do
ulimit -n 16384 2>/dev/null || true
exec setpriv --reuid="$user" --regid="$user" --init-groups --no-new-privs \
    --inh-caps=-all,+lease --ambient-caps=-all,+lease --bounding-set=-all,+lease "$program" "$@"
