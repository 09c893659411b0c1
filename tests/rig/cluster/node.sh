#!/bin/bash
# node.sh start NODE                  starts a node; in the folder and the namespaces of the cluster
# node.sh sh NODE COMMAND             runs a shell command on it, with standard input
# node.sh load NODE < IMAGE.tar       imports an image into it
# node.sh service NODE start|stop NAME
# node.sh reboot NODE                 ends all that runs on it and starts it again
# All but the first are called from outside, for the cluster with its state in $PROCVIEW_CLUSTER.
set -euo pipefail
# shellcheck source=../cache.sh
. "$(dirname "$(readlink -f "$0")")/../cache.sh"

state=${PROCVIEW_CLUSTER:-/var/tmp/procview-cluster}
command=$1 node=$2
shift 2
case $node in
  node1) script=$HERE/cluster/host-node.sh ;;
  node2) script=$HERE/cluster/guest-node.sh ;;
  *) die "no node $node" ;;
esac

# on_node 'COMMAND'
on_node() {
  local pid
  pid=$(cat "$state/pid")
  case $node in
    node1)
      env -i PATH="/run/node/bin:$PATH" HOME=/root nsenter --mount="/proc/$pid/ns/mnt" --net="/proc/$pid/ns/net" \
        --pid="/proc/$pid/ns/pid_for_children" --wd=/ sh -c "$1"
      ;;
    node2) nsenter --net="/proc/$pid/ns/net" "$script" sh "$1" ;;
  esac
}

heartbeat() { "$HERE/cluster.sh" kubectl get node "$node" -o 'jsonpath={.status.conditions[?(@.type=="Ready")].lastHeartbeatTime} {.status.conditions[?(@.type=="Ready")].status}'; }

case $command in
  start) images=$("$HERE/cluster/build.sh" images); exec "$script" start "$images"/*.tar ;;
  sh) on_node "$*" ;;
  load) on_node "ctr -n k8s.io image import - > /dev/null" ;;
  service) on_node "/run/node/service $*" ;;
  reboot)
    before=$(date -u +%FT%TZ)
    case $node in
      node1) on_node "'$script' reboot" ;;
      node2) nsenter --net="/proc/$(cat "$state/pid")/ns/net" "$script" reboot ;;
    esac
    # Only then is what the API server says of it about the node that has started again.
    until [[ $(heartbeat) > $before && $(heartbeat) == *True ]]; do
      [ $SECONDS -lt 120 ] || die "$node does not come back"
      sleep 0.5
    done
    ;;
  *) sed -n '2,7p' "$0" >&2; exit 2 ;;
esac
