#!/usr/bin/env bash
# Runs all tests, and ends with how many ran and how many were skipped, and why.
set -euo pipefail
cd "$(dirname "$0")/.."
out=$(mktemp)
trap 'rm -f "$out"' EXIT
status=0
if command -v npm >/dev/null; then
  (cd web && { [ -d node_modules ] || npm ci --no-audit --no-fund --loglevel=error; } && npm run --silent test && npm run --silent e2e) || status=1
else
  echo "the page's tests are skipped: npm is not installed"
fi
${GO:-go} test -timeout 25m -json "$@" ./... >"$out" || status=$?
(cd deploy/validate && ${GO:-go} test -count=1 -json ./...) >>"$out" || status=$?
${GO:-go} run ./scripts/summary <"$out" || status=1
exit $status
