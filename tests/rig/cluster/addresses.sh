# shellcheck shell=bash disable=SC2034
# Sourced: who has which address in the cluster's network. Nothing of it is seen outside.

# The control plane. Endpoints of a Service may not be on loopback: what is to be reached by one listens here.
ADDRESS=10.254.0.1
# The Service of the API server, which has the address itself: there is no kube-proxy.
SERVICES=10.252.0.0/24
API_SERVICE=10.252.0.1

# node1 is in the cluster's network, node2 at the other end of a link of two addresses.
address_of() { case $1 in node1) echo $ADDRESS ;; *) echo 10.254.2.2 ;; esac; }
gateway_of() { case $1 in node1) echo "" ;; *) echo 10.254.2.1 ;; esac; }
pods_of() { echo "10.253.${1#node}.0/24"; }
# The group of node1's own, of every cluster another.
group_of() { echo "procview-$(basename "$1")"; }
