#!/bin/bash
# cluster.sh build [NODE...]        builds what a cluster is made of into the cache; prints the programs' folder
# cluster.sh run FOLDER [NODE...]   runs one in namespaces of its own, with its state in FOLDER, until standard
#                                   input ends; says `ready` when it is. Then all that runs in it is killed, and
#                                   FOLDER removed. Its process is in the network, but not in the pid namespace.
# cluster.sh up | down              starts one with both nodes that lives until `down`
# cluster.sh kubectl ARGUMENTS...   runs kubectl for it
# cluster.sh sh NODE COMMAND        runs a shell command on a node, as root
# cluster.sh load IMAGE.tar...      imports images into all nodes
# cluster.sh service NODE start|stop kubelet|containerd
# cluster.sh reboot NODE            ends all that runs on a node and all its mounts; its disk stays
#
# node1 is this machine, in namespaces, with its cgroups; node2 is an emulated one, with cgroup v2. Without
# nodes a cluster is a control plane: pods are stored, and made by what makes pods, but none runs.
# The last six are about the cluster with its state in $PROCVIEW_CLUSTER, /var/tmp/procview-cluster if unset.
set -euo pipefail
# shellcheck source=cache.sh
. "$(dirname "$(readlink -f "$0")")/cache.sh"
# shellcheck source=cluster/addresses.sh
. "$HERE/cluster/addresses.sh"

state=${PROCVIEW_CLUSTER:-/var/tmp/procview-cluster}

build() {
  if [ $# -gt 0 ]; then "$HERE/cluster/build.sh" crun > /dev/null && "$HERE/cluster/build.sh" images > /dev/null; fi
  case " $* " in *" node2 "*) "$HERE/cluster/guest-disk.sh" > /dev/null ;; esac
  "$HERE/cluster/build.sh" programs
}

# What a kubelet sets for its whole machine.
sysctls() { sysctl vm.overcommit_memory vm.panic_on_oom kernel.panic kernel.panic_on_oops kernel.keys.root_maxkeys kernel.keys.root_maxbytes; }

# Within the network namespace: FOLDER PROGRAMS [NODE...]
run() {
  local folder=$1 failed=0 before process group
  shift
  before=$(sysctls)
  ip link set lo up
  ip address add "$ADDRESS/32" dev lo
  ip address add "$API_SERVICE/32" dev lo
  echo 1 > /proc/sys/net/ipv4/ip_forward
  cd "$folder"
  # This process's namespaces are those of the cluster, its pid namespace that of its children.
  (echo $BASHPID > pid; exec unshare --mount --pid --fork --kill-child --mount-proc "$HERE/cluster/control-plane.sh" "$@") || failed=$?
  # What tests have started in this network. This process keeps it, so none that came later has its number.
  for process in /proc/[0-9]*; do
    if [ "$process" = /proc/$$ ] || ! [ "$process/ns/net" -ef /proc/$$/ns/net ]; then continue; fi
    kill -KILL "${process#/proc/}" 2> /dev/null || true
  done
  [ "$before" = "$(sysctls)" ] || sysctl -qp - <<< "$before"
  for group in /sys/fs/cgroup{,/*}"/$(group_of "$folder")"; do
    # The last processes may still be about to end.
    for _ in {1..50}; do
      [ -d "$group" ] || break
      find "$group" -depth -type d -exec rmdir {} + 2> /dev/null || sleep 0.1
    done
  done
  cd /
  rm -rf "$folder"
  return $failed
}

up() {
  local _
  if alive; then say "it is up: $state"; return; fi
  build node1 node2 > /dev/null
  rm -rf "$state"
  mkdir -m 700 "$state"
  mkfifo "$state/stop"
  # Opened for both, it does not end when the last writer does.
  setsid "$0" run "$state" node1 node2 0<> "$state/stop" > "$state/out" 2> "$state/err" &
  until grep -qx ready "$state/out" 2> /dev/null; do
    kill -0 $! 2> /dev/null || { cat "$state/err" >&2 || true; die "it did not start"; }
    sleep 0.2
  done
  say "up after $SECONDS s"
}

down() {
  local process
  if alive; then
    process=$(cat "$state/pid")
    echo > "$state/stop"
    while kill -0 "$process" 2> /dev/null || [ -e "$state" ]; do sleep 0.1; done
  fi
  rm -rf "$state"
}

alive() { [ -e "$state/pid" ] && kill -0 "$(cat "$state/pid")" 2> /dev/null; }
node() { alive || die "no cluster in $state"; "$HERE/cluster/node.sh" "$@"; }

command=${1:-}
shift || true
case $command in
  build) build "$@" ;;
  run)
    folder=$1
    shift
    bin=$(build "$@")
    exec unshare --net "$0" run-in-network "$folder" "$bin" "$@"
    ;;
  run-in-network) run "$@" ;;
  up | down) "$command" ;;
  kubectl)
    alive || die "no cluster in $state"
    KUBECONFIG=$state/kubeconfig KUBECACHEDIR=$state/kubectl KUBERC=off NO_PROXY='*' no_proxy='*' \
      exec nsenter --net="/proc/$(cat "$state/pid")/ns/net" "$(build)/kubectl" "$@"
    ;;
  sh | service | reboot) node "$command" "$@" ;;
  load)
    for image; do
      for node in "$state"/node[0-9]; do node load "${node##*/}" < "$image"; done
    done
    ;;
  *) sed -n '2,12p' "$0" >&2; exit 2 ;;
esac
