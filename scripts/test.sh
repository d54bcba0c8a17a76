#!/usr/bin/env bash
# Runs all tests and ends with how many ran and how many were skipped, and why.
set -euo pipefail
cd "$(dirname "$0")/.."
out=$(mktemp)
trap 'rm -f "$out"' EXIT
status=0
${GO:-go} test -timeout 20m -json "$@" ./... >"$out" || status=$?
${GO:-go} run ./scripts/summary <"$out" || status=1
exit $status
