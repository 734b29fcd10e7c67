#!/bin/sh
# Shows all of it, without an account and without leaving this machine.
extra=demo
# shellcheck source=deploy/venv.sh
. "$(dirname "$0")/venv.sh"
exec autoretouch-watcher demo
