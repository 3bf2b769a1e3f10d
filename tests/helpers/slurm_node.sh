#!/usr/bin/env bash
# A SLURM of one node for tests, without systemd and accounting: munge, slurmctld and slurmd, as root.
#   slurm_node.sh up FOLDER | down FOLDER
# FOLDER/slurm.conf is the configuration: export SLURM_CONF to talk to it. Two fake GPUs stand on terminal devices.
set -euo pipefail
action=$1
folder=$2
host=$(hostname -s)
export SLURM_CONF=$folder/slurm.conf

runs() { [ -s "$1" ] && kill -0 "$(cat "$1")" 2>/dev/null; }

configure() {
    mkdir -p "$folder"/{state,spool,log,run}
    chmod 755 "$folder" "$folder"/*
    # named although unused: without it slurmd looks for a cgroup hierarchy that containers do not have
    printf 'CgroupPlugin=cgroup/v1\nCgroupAutomount=no\n' >"$folder/cgroup.conf"
    echo "NodeName=$host Name=gpu File=/dev/tty[1-2]" >"$folder/gres.conf"
    memory=$(($(awk '/MemTotal/ {print $2}' /proc/meminfo) / 1024 - 512))
    cat >"$folder/slurm.conf" <<CONF
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/run/slurmctld.pid
SlurmdPidFile=$folder/run/slurmd.pid
SlurmctldLogFile=$folder/log/slurmctld.log
SlurmdLogFile=$folder/log/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
AccountingStorageType=accounting_storage/none
MinJobAge=300
GresTypes=gpu
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(getconf _NPROCESSORS_ONLN) RealMemory=$memory Gres=gpu:2 State=UNKNOWN
PartitionName=main Nodes=$host Default=YES MaxTime=INFINITE State=UP
CONF
}

# a job's own commands look here: the plugin hides SLURM's variables from it
link() {
    for name in slurm.conf gres.conf cgroup.conf; do
        if [ -e "/etc/slurm/$name" ] || [ -L "/etc/slurm/$name" ]; then
            echo "/etc/slurm/$name exists: this machine has a SLURM of its own" >&2
            exit 1
        fi
    done
    mkdir -p /etc/slurm
    ln -sf "$folder"/{slurm,gres,cgroup}.conf /etc/slurm/
}

up() {
    configure
    link
    [ -f /etc/munge/munge.key ] || /usr/sbin/mungekey
    mkdir -p /run/munge
    chown munge:munge /run/munge
    if ! runs /run/munge/munged.pid; then
        runuser -u munge -- /usr/sbin/munged
        touch "$folder/run/started-munge"
    fi
    slurmctld -f "$SLURM_CONF"
    slurmd -f "$SLURM_CONF"
    for _ in $(seq 40); do
        sinfo -h -o %T 2>/dev/null | grep -q idle && return
        sleep 0.5
    done
    echo "the node did not become idle; see $folder/log" >&2
    exit 1
}

down() {
    pids=("$folder/run/slurmd.pid" "$folder/run/slurmctld.pid")
    [ -e "$folder/run/started-munge" ] && pids+=(/run/munge/munged.pid)
    for file in "${pids[@]}"; do
        if runs "$file"; then kill "$(cat "$file")"; fi
    done
    for name in slurm gres cgroup; do
        if [ "$(readlink "/etc/slurm/$name.conf")" = "$folder/$name.conf" ]; then rm "/etc/slurm/$name.conf"; fi
    done
}

case $action in
up) up ;;
down) down ;;
*)
    echo "usage: $0 up|down FOLDER" >&2
    exit 2
    ;;
esac
