#!/bin/sh
# Makes the surroundings of a node inside its namespaces: a host name, folders of its own over those of the machine, and
# its cgroups. What is mounted here goes with the namespace, and none of the machine's own files is touched.
#   surroundings.sh NAME FOLDER CGROUP VISIBLE...
# FOLDER is where the node keeps its data; the VISIBLE folders must be seen at their paths, whatever is mounted above them.
set -eu
name=$1 folder=$2 cgroup=$3
shift 3

hostname "$name"

# An open folder can be reached by its descriptor when something hides its path.
number=3
for visible; do
  eval "exec $number< \"\$visible\""
  number=$((number + 1))
done
for place in /run /var/lib /var/log; do
  mount -t tmpfs -o mode=755 tmpfs "$place"
done
number=3
for visible; do
  if [ ! -e "$visible" ]; then
    mkdir -p "$visible"
    mount --no-canonicalize --bind "/proc/self/fd/$number" "$visible"
  fi
  eval "exec $number<&-"
  number=$((number + 1))
done

own() {
  mkdir -p "$folder/$1" "$2"
  mount --bind "$folder/$1" "$2"
}
if [ -f "$folder/disk" ]; then
  # Over the folders of the machine's disk; the loop device goes with its mount.
  mkdir -p /run/disk
  mount -o loop "$folder/disk" /run/disk
  for place in kubelet containerd; do
    mkdir -p "$folder/$place" "/run/disk/$place"
    mount --bind "/run/disk/$place" "$folder/$place"
  done
fi
own kubelet /var/lib/kubelet
own containerd /var/lib/containerd
own log-pods /var/log/pods
own log-containers /var/log/containers
mkdir -p /run/lock /run/netns
mount --bind "$folder/hosts" /etc/hosts
# Volumes of pods are mounted by the kubelet and seen by containerd: mounts travel, inside this namespace only.
mount --make-rshared /

if [ -f /sys/fs/cgroup/cgroup.controllers ]; then
  for controller in $(cat /sys/fs/cgroup/cgroup.controllers); do
    echo "+$controller" > /sys/fs/cgroup/cgroup.subtree_control 2>/dev/null || true
  done
  mkdir -p "/sys/fs/cgroup$cgroup/system"
else
  # The kubelet wants its root in every hierarchy; a new cpuset has no processors until it is given some.
  for hierarchy in /sys/fs/cgroup/*/; do
    case $hierarchy in */unified/) continue ;; esac
    for group in "${hierarchy%/}$cgroup" "${hierarchy%/}$cgroup/system"; do
      mkdir -p "$group"
      if [ -f "$hierarchy/cpuset.cpus" ]; then
        cat "$hierarchy/cpuset.cpus" > "$group/cpuset.cpus"
        cat "$hierarchy/cpuset.mems" > "$group/cpuset.mems"
      fi
    done
  done
fi
