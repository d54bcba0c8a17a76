#!/usr/bin/env bash
# Takes the documents' pictures: every page in headless Chromium while a real run
# works and after it, checked for what they should show. They are written to the
# FOLDER; to docs/images without one.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$(realpath -m "${1:-docs/images}")
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
mkdir -p "$folder"
node web/e2e/picture.mjs "$("$conclave" watch --open)" "$run" "$folder"
# The approval on the page moved the branch: a step of the run does it, so wait for that step's event.
head=$(git -C "$dir/sample" rev-parse "conclave/$run")
for _ in $(seq 1 600); do
  [ "$(git -C "$dir/sample" rev-parse main)" = "$head" ] && { echo "$folder"; exit 0; }
  sleep 0.1
done
echo "main is not at conclave/$run though the merge was approved" >&2
exit 1
