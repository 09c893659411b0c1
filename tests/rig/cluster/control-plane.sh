#!/bin/bash
# control-plane.sh FOLDER [NODE...]: the first process of the cluster's pid namespace, in the folder of
# the cluster's state: runs a control plane and nodes until standard input ends or says something.
# FOLDER is that of the programs. When this ends, the kernel kills all others.
set -euo pipefail
# shellcheck source=../cache.sh
. "$(dirname "$(readlink -f "$0")")/../cache.sh"
# shellcheck source=addresses.sh
. "$HERE/cluster/addresses.sh"

bin=$1
shift
# No proxy knows the way to a namespace.
export NO_PROXY='*' no_proxy='*' KUBECONFIG=kubeconfig KUBECACHEDIR=kubectl KUBERC=off

# Keys and certificates, and a kubeconfig for the administrator.
credentials() {
  local token name curve=(-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes)
  openssl req -x509 "${curve[@]}" -days 30 -subj /CN=cluster-ca -keyout ca.key -out ca.crt
  # The second is what the API server shows to kubelets.
  for name in kube-apiserver kube-apiserver-client; do
    openssl req "${curve[@]}" -subj "/CN=$name" -keyout $name.key -out $name.csr
    openssl x509 -req -in $name.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -out $name.crt \
      -extfile <(printf '%s\n' "subjectAltName=IP:$ADDRESS,IP:$API_SERVICE,DNS:kubernetes.default.svc" extendedKeyUsage=serverAuth,clientAuth)
  done
  openssl ecparam -name prime256v1 -genkey -noout -out service-account.key
  token=$(openssl rand -hex 16)
  echo "$token,admin,admin,system:masters" > tokens.csv
  cat > kubeconfig << E
apiVersion: v1
kind: Config
clusters: [{name: cluster, cluster: {server: "https://$ADDRESS", certificate-authority-data: $(base64 -w0 ca.crt)}}]
users: [{name: admin, user: {token: "$token"}}]
contexts: [{name: cluster, context: {cluster: cluster, user: admin}}]
current-context: cluster
E
}

# await WHAT PROCESS COMMAND...: until the command succeeds, for two minutes and as long as the process lives.
await() {
  local what=$1 process=$2
  shift 2
  until "$@" > /dev/null 2>&1; do
    if [ $SECONDS -ge 120 ] || ! kill -0 "$process" 2> /dev/null; then die "waited $SECONDS s in vain for $what"; fi
    sleep 0.2
  done
}

# ready NODE: waits for that. By watching it: asking costs more than there is to spare.
ready() {
  "$bin/kubectl" wait --for=create --timeout=120s "node/$1" && "$bin/kubectl" wait --for=condition=Ready --timeout=120s "node/$1"
}

# start NAME ARGUMENTS...: a program of the control plane, with its log beside its state.
start() {
  local name=$1
  shift
  "$bin/$name" "$@" > "$name.log" 2>&1 < /dev/null &
}

trap '[ $? = 0 ] || tail -n 12 ./*.log node*/console node*/log/*.log >&2 2> /dev/null' EXIT
peer=http://127.0.0.1:2380 client=http://127.0.0.1:2379
credentials > openssl.log 2>&1
for node; do "$HERE/cluster/node-config.sh" "$node" "$(group_of "$PWD")"; done
# First of all: what is started before would keep the machine's mounts.
case " $* " in *" node1 "*) "$HERE/cluster/host-node.sh" mounts "$bin" "$("$HERE/cluster/build.sh" crun)" ;; esac
start etcd --data-dir etcd --unsafe-no-fsync --log-level warn \
  --listen-client-urls $client --advertise-client-urls $client \
  --listen-peer-urls $peer --initial-advertise-peer-urls $peer --initial-cluster default=$peer
start kube-apiserver --etcd-servers=$client --bind-address=0.0.0.0 --advertise-address="$ADDRESS" \
  --secure-port=443 --tls-cert-file=kube-apiserver.crt --tls-private-key-file=kube-apiserver.key \
  --client-ca-file=ca.crt --kubelet-certificate-authority=ca.crt \
  --kubelet-client-certificate=kube-apiserver-client.crt --kubelet-client-key=kube-apiserver-client.key \
  --kubelet-preferred-address-types=InternalIP \
  --service-cluster-ip-range="$SERVICES" --authorization-mode=Node,RBAC --token-auth-file=tokens.csv \
  --service-account-key-file=service-account.key --service-account-signing-key-file=service-account.key \
  --service-account-issuer=https://kubernetes.default.svc --allow-privileged=true \
  --enable-aggregator-routing=true
apiserver=$!
# Nodes start meanwhile: they wait for the API server, too.
for node; do "$HERE/cluster/node.sh" start "$node" > "$node.log" 2>&1 < /dev/null & done
await "kube-apiserver to be ready" $apiserver "$bin/kubectl" get --raw /readyz
# Only now: it ends if there is no API server for 10 seconds.
start kube-controller-manager --kubeconfig=kubeconfig --bind-address=127.0.0.1 --leader-elect=false \
  --service-account-private-key-file=service-account.key --root-ca-file=ca.crt
controllers=$!
if [ $# -gt 0 ]; then start kube-scheduler --kubeconfig=kubeconfig --bind-address=127.0.0.1 --leader-elect=false; fi
await "a service account" $controllers "$bin/kubectl" get serviceaccount default
if [ $# -gt 0 ]; then
  "$bin/kubectl" apply -f - > /dev/null <<< '{"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "crun"}, "handler": "crun"}'
  for node; do await "$node to be ready" $controllers ready "$node"; done
fi
echo ready
read -r _ || true
