#!/bin/sh
# Shows all of it, without an account and without leaving this machine.
. "$(dirname "$0")/venv.sh" demo
exec autoretouch-watcher demo
