#!/usr/bin/env bash
# Builds the image of containers/Containerfile.
# Usage: scripts/build-image.sh podman|docker [IMAGE]      (IMAGE: localhost/aiida-dmi:latest)
# The base image is pulled; where no registry can be reached it is made from Debian packages (mmdebstrap, as root).
set -euo pipefail
cd "$(dirname "$0")/.."

engine=${1:?usage: scripts/build-image.sh podman|docker [IMAGE]}
image=${2:-localhost/aiida-dmi:latest}
base=docker.io/library/debian:bookworm-slim
python=${PYTHON:-python3}
scratch=()
trap 'rm -rf "${scratch[@]}"' EXIT

command -v "$engine" >/dev/null 2>&1 || {
    echo "build-image: $engine is not installed" >&2
    exit 1
}

if ! "$engine" image inspect "$base" >/dev/null 2>&1 && ! timeout 60 "$engine" pull --quiet "$base" 2>/dev/null; then
    command -v mmdebstrap >/dev/null 2>&1 || {
        echo "build-image: $base cannot be pulled; install mmdebstrap to make it from Debian packages" >&2
        exit 1
    }
    echo "no registry: making $base from Debian packages"
    root=$(mktemp -d)
    scratch+=("$root")
    mmdebstrap --quiet --variant=minbase bookworm "$root/base.tar"
    "$engine" import "$root/base.tar" "$base" >/dev/null
fi

# With the wheels beside it, the build needs no package index: here pip has its settings, in the build it has none.
wheels=containers/wheels
if [ ! -e "$wheels/.complete" ] || [ containers/requirements.txt -nt "$wheels/.complete" ]; then
    rm -rf "$wheels"
    mkdir -p "$wheels"
    machine=$(uname -m)
    "$python" -m pip --disable-pip-version-check download --quiet --no-deps --only-binary=:all: \
        --python-version 3.11 --implementation cp --abi cp311 --abi abi3 --abi none \
        --platform "manylinux_2_28_$machine" --platform "manylinux2014_$machine" --platform any \
        --dest "$wheels" --requirement containers/requirements.txt
    touch "$wheels/.complete"
fi

# Only what the recipe copies, so that neither .venv nor scratch is sent to docker's daemon.
context=$(mktemp -d)
scratch+=("$context")
tar --exclude=__pycache__ -c pyproject.toml README.md LICENSE aiida_dmi containers | tar -x -C "$context"
options=(--network=host --file "$context/containers/Containerfile" --tag "$image")
[ "$engine" != podman ] || options+=(--pull=never)
"$engine" build "${options[@]}" "$context"
"$engine" image inspect --format "$image {{.Id}}" "$image"
