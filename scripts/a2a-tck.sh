#!/usr/bin/env bash
# Runs the official A2A Technology Compatibility Kit against
# examples/conformance-agent, directly and through a hub of its own, on loopback,
# and prints the table of docs/a2a-conformance.md. Fails when a test fails that
# scripts/a2a-tck/exceptions.txt does not name.
set -euo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
if [[ ! -f ${A2A_TCK:-}/run_tck.py && ! -f ${A2A_TCK_03:-}/run_tck.py ]]; then
  cat >&2 <<'EOF'
The TCK is missing. Get it, once for each version of the protocol, and say where it is:

  git clone --branch 1.0-dev https://github.com/a2aproject/a2a-tck tck-1.0
  git clone --branch 0.3.x https://github.com/a2aproject/a2a-tck tck-0.3
  make a2a-tck A2A_TCK=tck-1.0 A2A_TCK_03=tck-0.3

One of the two is enough to run that part.
EOF
  exit 2
fi
A2A_TCK=$(realpath -m "${A2A_TCK:-none}") A2A_TCK_03=$(realpath -m "${A2A_TCK_03:-none}")
work=$(mktemp -d)
pids=()
finish() {
  status=$?
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait
  if [ "$status" = 0 ]; then rm -rf "$work"; else echo "what was said is in $work" >&2; fi
}
trap finish EXIT

# What the TCK's own lists of requirements name, for both versions.
python=${XDG_CACHE_HOME:-$HOME/.cache}/conclave/a2a-tck/bin/python
if [ ! -x "$python" ]; then
  python3 -m venv "$(dirname "$(dirname "$python")")"
  "$python" -m pip install --quiet 'pytest>=8' 'pytest-asyncio>=0.23' 'httpx>=0.27' 'grpcio>=1.60' 'grpcio-tools>=1.60' 'protobuf>=4.25' \
    'googleapis-common-protos>=1.62' 'jsonschema>=4.21' 'pytest-html>=4.1' 'gherkin-official>=29.0' 'Jinja2>=3.1' \
    pytest-json-report requests responses deepdiff packaging PyYAML python-dotenv pyOpenSSL
fi
export PATH=${python%/*}:$PATH PYTHONPATH=$top/scripts/a2a-tck PYTEST_PLUGINS=conclave_tck PYTHONDONTWRITEBYTECODE=1

# agent LOG FLAGS... starts the agent on a free port; its address is then in $url.
agent() {
  local log=$work/$1
  shift
  "$work/agent" -listen 127.0.0.1:0 "$@" >"$log" 2>&1 &
  pids+=($!)
  for _ in $(seq 1 100); do
    url=$(sed -n 's/^A2A agent at //p' "$log")
    [ -n "$url" ] && return 0
    kill -0 $! 2>/dev/null || break
    sleep 0.1
  done
  cat "$log" >&2
  return 1
}

# v10 NAME URL and v03 NAME URL run a TCK; failing tests are judged at the end.
v10() {
  [ -f "$A2A_TCK/run_tck.py" ] || return 0
  echo "the TCK of 1.0, $1: some minutes"
  (cd "$A2A_TCK" && A2A_TCK_VERSION=1.0 python -m pytest tests/compatibility -q -p no:cacheprovider --sut-host="$2" --webhook-host=127.0.0.1 \
    --compatibility-report="$work/1.0-$1.json" --junitxml="$work/1.0-$1.xml") >"$work/1.0-$1.log" 2>&1 || true
  tail -n 1 "$work/1.0-$1.log"
}
v03() {
  [ -f "$A2A_TCK_03/run_tck.py" ] || return 0
  for category in mandatory capabilities; do
    echo "the TCK of 0.3, $1: $category"
    (cd "$A2A_TCK_03" && PYTEST_ADDOPTS="-p no:cacheprovider --junitxml=$work/0.3-$1-$category.xml" python run_tck.py --sut-url "$2" --category "$category") >"$work/0.3-$1-$category.log" 2>&1 || true
    tail -n 1 "$work/0.3-$1-$category.log"
  done
}

cd "$top"
"${GO:-go}" build -buildvcs=false -o "$work/conclave" ./cmd/conclave
"${GO:-go}" build -buildvcs=false -o "$work/agent" ./examples/conformance-agent

agent open.log
v10 direct "$url"
token=$(head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \n')
agent closed.log -token "$token"
A2A_TCK_TOKEN=$token v03 direct "$url"

# The hub lets the agent and the TCK's webhook be on this machine.
export CONCLAVE_HOME=$work/home CONCLAVE_PORTS=auto CONCLAVE_AGENT_NETWORKS=127.0.0.1 CONCLAVE_PUSH_NETWORKS=127.0.0.1 CONCLAVE_RATE_CALLER=off CONCLAVE_RATE_ADDRESS=off
mkdir "$CONCLAVE_HOME"
"$work/conclave" serve >"$work/serve.log" 2>&1 &
pids+=($!)
for _ in $(seq 1 300); do
  CONCLAVE_URL=$("$work/conclave" status 2>/dev/null | awk '$1 == "gateway" && $3 == "ready" {print $2}') && [ -n "$CONCLAVE_URL" ] && break
  sleep 0.1
done
export CONCLAVE_URL CONCLAVE_TOKEN
CONCLAVE_TOKEN=$("$work/conclave" token)
export A2A_TCK_TOKEN=$CONCLAVE_TOKEN A2A_TCK_TENANT=agents/conformance
agent registered.log -register
v10 hub "$CONCLAVE_URL/a2a/agents/conformance"
v03 hub "$CONCLAVE_URL/a2a/agents/conformance"

echo
python "$top/scripts/a2a-tck/table.py" "$work" "$top/scripts/a2a-tck/exceptions.txt"
