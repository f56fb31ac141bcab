#!/usr/bin/env bash
# A cluster of one node in a folder of its own: munged, slurmctld, slurmd, and an sshd in front of them.
# Usage: scripts/slurm/node.sh start|stop FOLDER
# Runs as whoever calls it, root or not; everything it writes is in FOLDER, an existing Slurm or sshd is left alone.
# After start: SLURM_CONF=FOLDER/slurm.conf; ssh with FOLDER/ssh_config, host `cluster`.
set -euo pipefail
templates=$(cd "$(dirname "$0")" && pwd)
action=$1
folder=$2
export PATH=$PATH:/usr/sbin:/sbin

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

fill() {
    sed -e "s|@FOLDER@|$folder|g" -e "s|@HOST@|$(hostname -s)|g" -e "s|@USER@|$(id -un)|g" \
        -e "s|@SSH_PORT@|$ssh_port|g" -e "s|@CONTROLLER_PORT@|$(free_port)|g" -e "s|@NODE_PORT@|$(free_port)|g" \
        "$templates/$1" >"$folder/$1"
}

start() {
    mkdir -p "$folder"/{state,spool,log}
    chmod 700 "$folder"
    ssh_port=$(free_port)
    fill slurm.conf
    fill sshd_config

    (umask 077 && head -c 1024 /dev/urandom >"$folder/munge.key")
    # --force: munged does not like root, nor folders that others can write.
    munged --force --key-file="$folder/munge.key" --socket="$folder/munge.socket" --pid-file="$folder/munged.pid" \
        --log-file="$folder/log/munged.log" --seed-file="$folder/munge.seed" 2>"$folder/log/munged.err"
    export SLURM_CONF=$folder/slurm.conf
    # Jobs take over the priority of slurmd.
    slurmctld -f "$SLURM_CONF"
    slurmd -f "$SLURM_CONF" -N node1

    ssh-keygen -q -t ed25519 -N '' -f "$folder/host_key"
    ssh-keygen -q -t ed25519 -N '' -f "$folder/key"
    echo "[127.0.0.1]:$ssh_port $(cut -d' ' -f1,2 "$folder/host_key.pub")" >"$folder/known_hosts"
    cat >"$folder/ssh_config" <<CONFIG
Host cluster
    HostName 127.0.0.1
    Port $ssh_port
    User $(id -un)
    IdentityFile $folder/key
    IdentitiesOnly yes
    UserKnownHostsFile $folder/known_hosts
CONFIG
    # As root, sshd wants this folder for its unprivileged part.
    [ "$(id -u)" -ne 0 ] || mkdir -p /run/sshd
    "$(command -v sshd)" -f "$folder/sshd_config" -E "$folder/log/sshd.log"

    for _ in $(seq 60); do
        if [ "$(sinfo --noheader --format=%t 2>/dev/null)" = idle ]; then
            ssh -F "$folder/ssh_config" -o BatchMode=yes cluster "sinfo --noheader --format='partition %P %c processors, %t'"
            return
        fi
        sleep 0.5
    done
    echo "node.sh: no idle node within 30 s; see $folder/log" >&2
    exit 1
}

stop() {
    export SLURM_CONF=$folder/slurm.conf
    scancel --user="$(id -un)" 2>/dev/null || true
    for _ in $(seq 20); do
        [ -n "$(squeue --noheader 2>/dev/null)" ] || break
        sleep 0.5
    done
    for name in sshd slurmd slurmctld munged; do
        pid=$(cat "$folder/$name.pid" 2>/dev/null) || continue
        kill "$pid" 2>/dev/null || continue
        for _ in $(seq 20); do
            kill -0 "$pid" 2>/dev/null || break
            sleep 0.5
        done
        kill -9 "$pid" 2>/dev/null || true
    done
}

"$action"
