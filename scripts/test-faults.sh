#!/usr/bin/env bash
# Kills, fills, damages and takes away what a run needs (tests/faults), and writes the table of docs/reliability.md.
# Usage: scripts/test-faults.sh [PYTEST ARGUMENTS]
# As root it mounts two small disks (tmpfs) to fill; without, or where mounting is forbidden, these tests are skipped.
set -euo pipefail
cd "$(dirname "$0")/.."

table=$(mktemp)
trap 'rm -f "$table"' EXIT
AIIDA_DMI_TEST_FAULTS=$table python -m pytest tests/faults -v --durations=0 --disable-warnings "$@" || {
    code=$?
    trap - EXIT
    echo "rows of the tests that passed: $table" >&2
    exit "$code"
}
# A part of the tests makes a part of the table: only the whole suite's is kept.
if [ $# -eq 0 ]; then
    cp "$table" docs/reliability-results.inc
    echo "docs/reliability-results.inc"
fi
