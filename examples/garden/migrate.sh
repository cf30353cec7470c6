#!/bin/sh
# Runs once for each commit, before the services start.
set -eu
echo "preparing $STATE_DIRECTORY for $PIOT_COMMIT"
