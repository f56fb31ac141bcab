# Sourced: what a container engine needs in the environment on some machines.
# Usage: source scripts/container-environment.sh podman|docker

# A root that may not raise limits, as on many virtual machines and CI runners, cannot start a container with podman's
# usual ones.
if [ "$1" = podman ] && [ "$(id -u)" -eq 0 ] && [ -z "${CONTAINERS_CONF:-}" ] && ! (ulimit -n 1048576) 2>/dev/null; then
    export CONTAINERS_CONF=$PWD/containers/restricted-root.conf
    echo "limits cannot be raised here: CONTAINERS_CONF=containers/restricted-root.conf"
fi
