#!/usr/bin/env bash
# Runs a task on a fresh sample repository, with no key and no network, and
# shows where the result is.
set -euo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
task=${1:-Create a secure REST API for user management}
dir=$(mktemp -d "${TMPDIR:-/tmp}/conclave-demo.XXXXXX")
repo=$dir/sample
mkdir "$repo"
git -C "$repo" init -q -b main
printf '# Sample\n\nA repository for Conclave to work in.\n' > "$repo/README.md"
git -C "$repo" add README.md
git -C "$repo" -c user.name=demo -c user.email=demo@example.invalid commit -qm "Start the sample"
status=0
"$top/bin/conclave" run "$task" --repo "$repo" || status=$?
echo
echo "look    git -C $repo log --graph --oneline --all"
echo "try     git -C $repo worktree add $dir/result \$(git -C $repo for-each-ref --format='%(refname:short)' refs/heads/conclave | tail -n 1) && cd $dir/result && go test ./..."
exit $status
