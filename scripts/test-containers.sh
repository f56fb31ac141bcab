#!/usr/bin/env bash
# The main job from the image, held against the same job with this machine's programs (tests/containers/test_run.py).
# Usage: scripts/test-containers.sh [podman|docker]
# Installs podman and mmdebstrap where they are absent (Debian, Ubuntu); docker has to be there, its daemon running.
set -euo pipefail
cd "$(dirname "$0")/.."

engine=${1:-podman}
root=()
if [ "$(id -u)" -ne 0 ]; then root=(sudo); fi
packages=()
if [ "$engine" = podman ] && ! command -v podman >/dev/null 2>&1; then packages+=(podman runc uidmap); fi
command -v mmdebstrap >/dev/null 2>&1 || packages+=(mmdebstrap)
if [ ${#packages[@]} -gt 0 ]; then
    echo "installing ${packages[*]}"
    "${root[@]}" apt-get update -qq
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}"
fi

source scripts/container-environment.sh "$engine"
"$engine" --version
scripts/build-image.sh "$engine"
AIIDA_DMI_TEST_ENGINE=$engine python -m pytest tests/containers -v --durations=5 --disable-warnings
