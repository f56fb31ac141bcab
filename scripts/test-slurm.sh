#!/usr/bin/env bash
# The main job through Slurm, on a cluster of one node that this script makes of this machine (tests/slurm).
# Usage: scripts/test-slurm.sh [PYTEST ARGUMENTS]
# Installs Slurm, munge and sshd where they are absent (Debian, Ubuntu), starts them in a temporary folder and stops them.
set -euo pipefail
cd "$(dirname "$0")/.."

root=()
if [ "$(id -u)" -ne 0 ]; then root=(sudo); fi
packages=()
need() { PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null 2>&1 || packages+=("${@:2}"); }
need slurmctld slurmctld
need slurmd slurmd
need sbatch slurm-client
need munged munge
need sshd openssh-server
need ssh openssh-client
# Slurm loads PMIx by the name without a version, which comes with the headers.
[ -e "/usr/lib/$(uname -m)-linux-gnu/pmix2/lib/libpmix.so" ] || packages+=(libpmix-dev)
if [ ${#packages[@]} -gt 0 ]; then
    echo "installing ${packages[*]}"
    "${root[@]}" apt-get update -qq
    # No service is to start by itself: the daemons of the tests are their own.
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
        apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
fi

folder=$(mktemp -d)
stop() {
    scripts/slurm/node.sh stop "$folder"
    rm -rf "$folder"
}
trap stop EXIT
nice -n 5 scripts/slurm/node.sh start "$folder"
export SLURM_CONF=$folder/slurm.conf
sbatch --version
AIIDA_DMI_TEST_SLURM=$folder python -m pytest tests/slurm -v --durations=0 --disable-warnings "$@"
