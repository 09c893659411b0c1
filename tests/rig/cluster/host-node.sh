#!/bin/bash
# host-node.sh mounts            makes the mount namespace it is called in that of a node on this machine
# host-node.sh start|reboot      starts what runs on the node; and before ends all of it, and its mounts
# In the cluster's namespaces, in the folder that holds node1/conf. The node's paths are those of any
# node, in folders of its own; its cgroups are below a group of its own.
set -euo pipefail

service=/run/node/service

# A runtime on a hybrid host would take the v2 tree for a half of what it needs.
v1_only() {
  local tree target
  [ ! -e /sys/fs/cgroup/cgroup.controllers ] || return 0
  tree=$(mktemp -d -p "$PWD/node1")
  mount -t tmpfs -o mode=755 cgroup "$tree"
  findmnt -n -l -t cgroup -o TARGET | while read -r target; do
    mkdir "$tree/${target##*/}"
    mount --bind "$target" "$tree/${target##*/}"
  done
  # The names of single controllers where two share a mount.
  find /sys/fs/cgroup -maxdepth 1 -type l -exec cp -P {} "$tree/" \;
  umount -R /sys/fs/cgroup
  mount --move "$tree" /sys/fs/cgroup
}

# $1: the folder of the programs, $2: that of crun.
mounts() {
  v1_only
  mkdir -p node1/lib node1/log node1/run
  mount -t tmpfs -o mode=755 run node1/run
  mkdir -p node1/run/node/{bin,crun} node1/run/lock
  cp -a node1/conf/. node1/run/node/
  touch node1/run/node/shared
  mount --bind "$1" node1/run/node/bin
  mount --bind "$2" node1/run/node/crun
  # Not canonical: from the second on the folder's own path may lead elsewhere.
  mount -nc --bind node1/log /var/log
  mount -nc --bind node1/lib /var/lib
  mount -nc --move node1/run /run
  # As systemd has it, mounts reach containers and back.
  mount -n --make-rshared /
  awk '{print $1}' /proc/self/mountinfo > /run/node/mounts
}

# The node's group in each tree.
groups() {
  local group trees=(/sys/fs/cgroup/*)
  [ ! -e /sys/fs/cgroup/cgroup.controllers ] || trees=(/sys/fs/cgroup)
  group=$(sed -n 's/^cgroupRoot: //p' /run/node/kubelet.yaml)
  printf "%s$group\n" "${trees[@]}"
}

start() {
  local file image group
  groups | xargs mkdir -p
  # On v1 a group has no CPUs of itself.
  group=$(groups | grep -x '/sys/fs/cgroup/cpuset/.*') &&
    for file in cpuset.cpus cpuset.mems; do cat "/sys/fs/cgroup/cpuset/$file" > "$group/$file"; done
  $service start containerd
  # Imported once, they stay.
  [ -e /var/lib/containerd/imported ] || {
    for image; do ctr -n k8s.io image import "$image" > /dev/null; done
    touch /var/lib/containerd/imported
  }
  $service start kubelet
}

# Everything that runs below the node's group, and the shims.
processes() {
  groups | while read -r group; do find "$group" -name cgroup.procs -exec cat {} +; done
  grep -lsx containerd-shim /proc/[0-9]*/comm | cut -d/ -f3 || true
}

stop() {
  local process id target group
  $service stop kubelet
  $service stop containerd
  while processes > /run/node/left && [ -s /run/node/left ]; do
    while read -r process; do kill -KILL "$process" 2> /dev/null || true; done < /run/node/left
    sleep 0.1
  done
  # What was mounted last is unmounted first; a mount that is gone with another is no matter.
  tac /proc/self/mountinfo | while read -r id _ _ _ target _; do
    grep -qx "$id" /run/node/mounts || umount -l "$(printf %b "$target")" 2> /dev/null || true
  done
  find /run -mindepth 1 -maxdepth 1 -not -name node -exec rm -rf {} +
  groups | while read -r group; do find "$group" -mindepth 1 -depth -type d -exec rmdir {} +; done
}

case ${1:-} in
  mounts) mounts "$2" "$3" ;;
  start) shift; start "$@" ;;
  reboot) stop; start ;;
  *) sed -n '2,5p' "$0" >&2; exit 2 ;;
esac
