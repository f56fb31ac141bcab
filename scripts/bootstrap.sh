#!/usr/bin/env bash
# Installs what is absent: pw.x, wannier90.x and mpirun from the distribution's packages, and a virtual environment.
# Usage: scripts/bootstrap.sh [EXTRA ...]   (extras of pyproject.toml: demo, tests, dev)
# CONTAINER=podman|docker in the environment: the programs come from an image and are not installed.
set -euo pipefail
cd "$(dirname "$0")/.."

extras=$(IFS=,; echo "${*:-demo}")
python=${PYTHON:-python3}
root=()
if [ "$(id -u)" -ne 0 ]; then root=(sudo); fi

packages=()
need() { command -v "$1" >/dev/null 2>&1 || packages+=("${@:2}"); }
if [ -n "${CONTAINER:-}" ]; then
    # Everything but Python comes from the image.
    [ "$CONTAINER" != podman ] || need podman podman
else
    need pw.x quantum-espresso
    need pw2wannier90.x quantum-espresso
    need wannier90.x wannier90
    need mpirun openmpi-bin
    # quantum-espresso alone brings the reference BLAS, with which pw.x takes four times as long.
    if command -v apt-get >/dev/null 2>&1; then
        case "$(readlink -f /usr/lib/*/libblas.so.3 2>/dev/null)" in
            "" | */blas/libblas.so.3*) packages+=(libopenblas0-serial) ;;
        esac
    fi
fi
# AiiDA asks ps which jobs run; a machine made of the fewest packages has none.
need ps procps
need "$python" python3
# A Python of the distribution comes without venv and pip.
"$python" -c 'import ensurepip, venv' >/dev/null 2>&1 || packages+=(python3-venv)

if [ ${#packages[@]} -gt 0 ]; then
    command -v apt-get >/dev/null 2>&1 || {
        echo "bootstrap: install ${packages[*]} (no apt-get here), then run make again" >&2
        exit 1
    }
    mapfile -t packages < <(printf '%s\n' "${packages[@]}" | sort -u)
    echo "installing ${packages[*]} (one to two minutes)"
    "${root[@]}" apt-get update -qq
    # What goes wrong is on stderr; stdout would be a line for each of some hundred packages.
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
fi

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "bootstrap: $("$python" --version) was found, Python 3.11 or newer is needed; set PYTHON=/path/to/python3.11" >&2
    exit 1
}

# Made again when pyproject.toml changes or another set of extras is asked for.
stamp=.venv/.aiida-dmi-$(echo "$extras" | tr , -)
if [ ! -e "$stamp" ] || [ pyproject.toml -nt "$stamp" ]; then
    [ -x .venv/bin/python ] || "$python" -m venv .venv
    echo "installing aiida-dmi[$extras] into .venv (two to three minutes)"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --editable ".[$extras]"
    touch "$stamp"
fi
