#!/usr/bin/env bash
# A synthetic campaign through the daemon on SQLite and on PostgreSQL (benchmarks/scale.py), and one table of both.
# Usage: scripts/bench-scale.sh [OPTIONS OF benchmarks/scale.py, such as --candidates 12]
# Installs Debian's PostgreSQL where it is absent; no service is started: the cluster is temporary and its own.
# The numbers stay in RESULTS (default: a temporary folder, named at the end).
set -euo pipefail
cd "$(dirname "$0")/.."

root=()
if [ "$(id -u)" -ne 0 ]; then root=(sudo); fi
packages=()
if ! compgen -G "/usr/lib/postgresql/*/bin/initdb" >/dev/null && ! command -v initdb >/dev/null 2>&1; then
    packages+=(postgresql)
fi
if [ ${#packages[@]} -gt 0 ]; then
    echo "installing ${packages[*]}"
    "${root[@]}" apt-get update -qq
    # No service is to start by itself: the server of the benchmark is its own.
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
        apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
fi

results=${RESULTS:-$(mktemp -d)}
mkdir -p "$results"
status=0
for storage in sqlite postgresql; do
    python benchmarks/scale.py --storage "$storage" --output "$results/$storage.json" "$@" || status=1
done
if [ -e "$results/sqlite.json" ] && [ -e "$results/postgresql.json" ]; then
    python benchmarks/scale.py --table "$results/sqlite.json" "$results/postgresql.json" | tee "$results/table.md"
fi
echo "numbers: $results"
exit "$status"
