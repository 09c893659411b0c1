#!/bin/bash
# node-config.sh NODE: writes what a node needs to join the cluster to the folder NODE/conf below the
# working folder, which holds the cluster's CA. A node has it in /run/node, whatever machine it is on.
set -euo pipefail

node=$1
# shellcheck source=addresses.sh
. "$(dirname "$(readlink -f "$0")")/addresses.sh"
conf=$node/conf
mkdir -p "$conf/cni"
cp ca.crt "$conf/"
openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/O=system:nodes/CN=system:node:$node" \
  -keyout "$conf/kubelet.key" -out "$node/kubelet.csr" 2> "$node/openssl.log"
openssl x509 -req -in "$node/kubelet.csr" -CA ca.crt -CAkey ca.key -CAserial "$node/serial" -CAcreateserial \
  -days 30 -out "$conf/kubelet.crt" 2>> "$node/openssl.log" \
  -extfile <(printf 'subjectAltName=DNS:%s,IP:%s\nextendedKeyUsage=serverAuth,clientAuth' "$node" "$(address_of "$node")")

cat > "$conf/env" << E
NODE=$node
ADDRESS=$(address_of "$node")
GATEWAY=$(gateway_of "$node")
E
cat > "$conf/kubeconfig" << E
apiVersion: v1
kind: Config
clusters: [{name: cluster, cluster: {server: "https://$ADDRESS", certificate-authority: /run/node/ca.crt}}]
users: [{name: node, user: {client-certificate: /run/node/kubelet.crt, client-key: /run/node/kubelet.key}}]
contexts: [{name: cluster, context: {cluster: cluster, user: node}}]
current-context: cluster
E
cat > "$conf/cni/10-pods.conflist" << E
{"cniVersion": "1.0.0", "name": "pods", "plugins": [
  {"type": "ptp", "ipMasq": false, "ipam": {"type": "host-local", "dataDir": "/run/ipam",
    "ranges": [[{"subnet": "$(pods_of "$node")"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "loopback"}]}
E
# Not every root may lower the OOM score of a process.
cat > "$conf/containerd.toml" << E
version = 3
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = "127.0.0.1:1/procview-tests/pause:1"
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true
[plugins.'io.containerd.cri.v1.runtime'.cni]
  bin_dirs = ["/usr/lib/cni"]
  conf_dir = "/run/node/cni"
[plugins.'io.containerd.cri.v1.runtime'.containerd]
  default_runtime_name = "runc"
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
  BinaryName = "/run/node/bin/runc"
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.crun]
  runtime_type = "io.containerd.runc.v2"
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.crun.options]
  BinaryName = "/run/node/crun/crun"
E
# On this machine a node takes a group of its own, the second word.
cat > "$conf/kubelet.yaml" << E
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $(address_of "$node")
readOnlyPort: 0
failCgroupV1: false
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
authentication: {anonymous: {enabled: false}, webhook: {enabled: false}, x509: {clientCAFile: /run/node/ca.crt}}
authorization: {mode: AlwaysAllow}
tlsCertFile: /run/node/kubelet.crt
tlsPrivateKeyFile: /run/node/kubelet.key
cgroupDriver: cgroupfs
cgroupRoot: /$([ "$node" != node1 ] || echo "$2")
failSwapOn: false
evictionHard: {memory.available: 10Mi, nodefs.available: 1%, imagefs.available: 1%, nodefs.inodesFree: 1%}
imageGCHighThresholdPercent: 100
resolvConf: /run/node/resolv.conf
clusterDNS: [127.0.0.1]
makeIPTablesUtilChains: false
nodeStatusUpdateFrequency: 4s
syncFrequency: 10s
E
echo nameserver 127.0.0.1 > "$conf/resolv.conf"
install -m 755 "$(dirname "$0")/node-service" "$conf/service"
