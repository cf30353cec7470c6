#!/bin/sh
# Reads the load as if it were a sensor; `summary` prints what was read last.
set -eu
[ "${1:-}" = summary ] || cut -d ' ' -f 1 /proc/loadavg >"$STATE_DIRECTORY/last"
echo "load is $(cat "$STATE_DIRECTORY/last")"
