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

kubectl() { "$HERE/cluster.sh" kubectl "$@"; }
# When the node last said that it is ready.
ready() { kubectl get node "$node" -o 'jsonpath={range .status.conditions[?(@.type=="Ready")]}{.status} {.lastHeartbeatTime}{end}' | sed -n 's/^True //p'; }
# The containers that the API server takes for running there.
containers() {
  kubectl get pods -A --field-selector "spec.nodeName=$node" \
    -o 'jsonpath={range .items[*].status.containerStatuses[?(@.state.running)]}{.containerID}{"\n"}{end}'
}
# Whether all that the API server says of the node is about the time after the second word, when the
# containers of the first word ended.
is_back() { [[ $(ready) > $2 ]] && ! grep -qxF "$1" <(containers); }

case $command in
  start) images=$("$HERE/cluster/build.sh" images); exec "$script" start "$images"/*.tar ;;
  sh) on_node "$*" ;;
  load) on_node "ctr -n k8s.io image import - > /dev/null" ;;
  service) on_node "/run/node/service $*" ;;
  reboot)
    before=$(containers)
    case $node in
      node1) on_node "'$script' reboot" ;;
      node2) nsenter --net="/proc/$(cat "$state/pid")/ns/net" "$script" reboot ;;
    esac
    now=$(date -u +%FT%TZ)
    until is_back "${before:-none}" "$now"; do
      [ $SECONDS -lt 300 ] || die "$node does not come back"
      sleep 1
    done
    ;;
  *) sed -n '2,7p' "$0" >&2; exit 2 ;;
esac
