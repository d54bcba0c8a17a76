#!/usr/bin/env bash
# Measures this tree's program and prints the figures beside their limits.
set -euo pipefail
cd "$(dirname "$0")/.."
make --no-print-directory bin/conclave
exec "${GO:-go}" run ./scripts/bench "$@"
