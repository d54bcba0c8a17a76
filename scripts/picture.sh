#!/usr/bin/env bash
# Takes the README's picture: the page in headless Chromium while a real run
# works. FILE is written; docs/images/run.png without one.
set -euo pipefail
cd "$(dirname "$0")/.."
file=$(realpath -m "${1:-docs/images/run.png}")
conclave=$PWD/bin/conclave
dir=$(mktemp -d "${TMPDIR:-/tmp}/conclave-picture.XXXXXX")
export CONCLAVE_HOME=$dir/data CONCLAVE_PORTS=auto CONCLAVE_BRAIN=offline
finish() {
  if [ -f "$CONCLAVE_HOME/serve.pid" ]; then scripts/stop.sh >/dev/null; fi
  rm -rf "$dir"
}
trap finish EXIT
git init -q -b main "$dir/sample"
git -C "$dir/sample" -c user.name=demo -c user.email=demo@example.invalid commit -qm "Start the sample" --allow-empty
scripts/start.sh >/dev/null
run=$("$conclave" run "Create a secure REST API for user management" --repo "$dir/sample" --detach | grep -o 'run-[0-9a-z]*-[0-9a-z]*' | head -n 1)
mkdir -p "$(dirname "$file")"
node web/e2e/picture.mjs "$("$conclave" watch --open)" "$run" "$file"
"$conclave" cancel "$run" >/dev/null
echo "$file"
