#!/usr/bin/env bash
# Stops what start.sh started.
set -euo pipefail
home=${CONCLAVE_HOME:-${XDG_DATA_HOME:-$HOME/.local/share}/conclave}
pid=$(cat "$home/serve.pid" 2>/dev/null) || { echo "nothing was started here ($home)" >&2; exit 1; }
if kill -TERM "$pid" 2>/dev/null; then
  while kill -0 "$pid" 2>/dev/null; do sleep 0.1; done
  echo "stopped"
else
  echo "it had stopped already"
fi
rm -f "$home/serve.pid"
