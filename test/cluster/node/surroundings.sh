#!/bin/sh
# Makes the surroundings of a node inside its namespaces: a host name, folders of its own over those of the machine, and
# its cgroups. Everything mounted here goes with the namespace.
#   surroundings.sh NAME FOLDER CGROUP
set -eu
name=$1 folder=$2 cgroup=$3

hostname "$name"
# Volumes of pods are mounted by the kubelet and seen by containerd: mounts travel, inside this namespace only.
mount --make-rshared /

own() {
  mkdir -p "$folder/$1" "$2"
  mount --bind "$folder/$1" "$2"
}
own kubelet /var/lib/kubelet
own containerd /var/lib/containerd
own log-pods /var/log/pods
own log-containers /var/log/containers
own etc-containerd /etc/containerd
own etc-cni /etc/cni/net.d
own var-cni /var/lib/cni
for place in /run/containerd /run/netns /run/xtables; do
  mkdir -p "$place"
  mount -t tmpfs -o mode=755 tmpfs "$place"
done
[ -e /run/xtables.lock ] || : > /run/xtables.lock
mkdir -p /run/xtables && : > /run/xtables/lock
mount --bind /run/xtables/lock /run/xtables.lock
mount --bind "$folder/hosts" /etc/hosts

if [ -f /sys/fs/cgroup/cgroup.controllers ]; then
  for controller in $(cat /sys/fs/cgroup/cgroup.controllers); do
    echo "+$controller" > /sys/fs/cgroup/cgroup.subtree_control 2>/dev/null || true
  done
  mkdir -p "/sys/fs/cgroup$cgroup/system"
else
  # The kubelet wants its root in every hierarchy; a new cpuset has no processors until it is given some.
  for hierarchy in /sys/fs/cgroup/*/; do
    case $hierarchy in */unified/) continue ;; esac
    for group in "$hierarchy$cgroup" "$hierarchy$cgroup/system"; do
      mkdir -p "$group"
      if [ -f "$hierarchy/cpuset.cpus" ]; then
        cat "$hierarchy/cpuset.cpus" > "$group/cpuset.cpus"
        cat "$hierarchy/cpuset.mems" > "$group/cpuset.mems"
      fi
    done
  done
fi
