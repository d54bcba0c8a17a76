#!/usr/bin/env bash
# Starts all services in the background, once, and waits until they are ready.
set -euo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
conclave=$top/bin/conclave
home=${CONCLAVE_HOME:-${XDG_DATA_HOME:-$HOME/.local/share}/conclave}
if "$conclave" status >/dev/null 2>&1; then
  echo "Conclave runs already:"
  "$conclave" status
  exit 0
fi
mkdir -p "$home"
nohup "$conclave" serve >"$home/serve.log" 2>&1 </dev/null &
pid=$!
echo "$pid" >"$home/serve.pid"
for _ in $(seq 1 300); do
  if "$conclave" status >/dev/null 2>&1; then
    "$conclave" status
    echo
    echo "page    $("$conclave" watch --open)"
    echo "log     $home/serve.log"
    exit 0
  fi
  if ! kill -0 "$pid" 2>/dev/null; then
    tail -n 5 "$home/serve.log" >&2
    exit 1
  fi
  sleep 0.1
done
tail -n 2 "$home/serve.log" >&2
echo "Conclave was not ready within 30 s; see $home/serve.log" >&2
exit 1
