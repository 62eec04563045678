#!/usr/bin/env bash
# The first process of a node's namespaces (network, mounts, processes); makes the network, and hides
# the folders and the machine-wide settings that kubelet and containerd write to. Everything in them
# ends when its input closes.
#
# Usage: unshare --net --mount --pid --fork --mount-proc holder.sh FOLDER ADDRESS SERVICES
set -euo pipefail
folder=$1 address=$2 services=$3

mount -t tmpfs tmpfs /run
for hidden in /var/lib /var/log; do
  layer=$folder/hidden$hidden
  mkdir -p "$layer/upper" "$layer/work"
  mount -t overlay overlay -o "lowerdir=$hidden,upperdir=$layer/upper,workdir=$layer/work" "$hidden"
done

# Kubelet finds these as it wants them and leaves the machine's own alone.
for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
  kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
  hidden=$folder/hidden/${setting%=*}
  mkdir -p "${hidden%/*}"
  echo "${setting#*=}" >"$hidden"
  mount --bind "$hidden" "/proc/sys/${setting%=*}"
done

ip link set lo up
ip link add node0 type bridge
ip address add "$address/24" dev node0
ip link set node0 up
# Services' addresses are rewritten on their way out, so there must be a way out.
ip route add "$services" dev node0
echo 1 >/proc/sys/net/ipv4/ip_forward

touch "$folder/held"
# A builtin, so that the shell goes on reaping; it ends with whoever started it.
read -r _ || true
