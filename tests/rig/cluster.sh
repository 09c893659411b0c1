#!/bin/bash
# cluster.sh build        builds a Kubernetes control plane from Go modules into the cache; prints its folder
# cluster.sh run FOLDER   runs one in namespaces of its own, with its state in FOLDER, until standard input
#                         ends; says `ready` when it is. Then all that runs in its network is killed, and
#                         FOLDER removed. Its process is in the network, but not in the pid namespace.
#
# A control plane is etcd, kube-apiserver and kube-controller-manager: pods are stored, and made by what
# makes pods, but none runs. A node's containerd and kubelet would be more modules beside these.
# The first build takes 10 minutes of two CPUs and 3 GB of Go's own caches.
set -euo pipefail
# shellcheck source=cache.sh
. "$(dirname "$(readlink -f "$0")")/cache.sh"

# Endpoints of a Service may not be on loopback: what is to be reached by one listens here.
ADDRESS=10.254.0.1
GO_NEEDED=1.26

build_all() {
  local out=$1 version=k8s.io/component-base/version
  mkdir "$out"
  # As root in another user's checkout git tells no version, and Go takes that for an error.
  export CGO_ENABLED=0 GOWORK=off GOFLAGS=-buildvcs=false
  (cd "$HERE/cluster/etcd" && go build -trimpath -ldflags "-s -w" -o "$out/etcd" .)
  (cd "$HERE/cluster/kubernetes" && go build -trimpath -o "$out/kubernetes" \
    -ldflags "-s -w -X $version.gitVersion=v1.37.2 -X $version.gitMajor=1 -X $version.gitMinor=37" .)
  for name in kube-apiserver kube-controller-manager kubectl; do ln -s kubernetes "$out/$name"; done
}

build() {
  local go
  # In there, where a Go that may fetch a newer one does so.
  go=$(cd "$HERE/cluster/kubernetes" && go env GOVERSION 2> /dev/null) || die "needs Go $GO_NEEDED or newer: https://go.dev/doc/install"
  [ "$(printf '%s\n' "go$GO_NEEDED" "$go" | sort -V | head -1)" = "go$GO_NEEDED" ] ||
    die "needs Go $GO_NEEDED or newer, this is $go: https://go.dev/doc/install"
  [ -e "$CACHE/cluster" ] || say "building a Kubernetes control plane, which takes 10 minutes the first time"
  cached cluster "$({ declare -f build_all; echo "$go"; cat "$HERE"/cluster/*/*; } | key_of)" build_all
  echo "$CACHE/cluster"
}

# Keys and certificates, and a kubeconfig for the administrator.
credentials() {
  local token curve=(-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes)
  openssl req -x509 "${curve[@]}" -days 30 -subj /CN=cluster-ca -keyout ca.key -out ca.crt
  openssl req "${curve[@]}" -subj /CN=kube-apiserver -keyout apiserver.key -out apiserver.csr
  openssl x509 -req -in apiserver.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -out apiserver.crt \
    -extfile <(echo "subjectAltName=IP:$ADDRESS,IP:10.252.0.1,DNS:kubernetes.default.svc")
  openssl ecparam -name prime256v1 -genkey -noout -out service-account.key
  token=$(openssl rand -hex 16)
  echo "$token,admin,admin,system:masters" > tokens.csv
  cat > kubeconfig << E
apiVersion: v1
kind: Config
clusters: [{name: cluster, cluster: {server: "https://$ADDRESS:6443", certificate-authority: "$PWD/ca.crt"}}]
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

# Within the pid namespace, as its first process: when it ends, the kernel kills all others.
run_inside() {
  local bin=$1 apiserver controllers peer=http://127.0.0.1:2380 client=http://127.0.0.1:2379
  cd "$2"
  # No proxy knows the way to a namespace.
  export NO_PROXY='*' no_proxy='*' KUBECONFIG=$PWD/kubeconfig KUBECACHEDIR=$PWD/kubectl
  trap '[ $? = 0 ] || tail -n 12 ./*.log >&2' EXIT
  credentials > openssl.log 2>&1
  "$bin/etcd" --data-dir etcd --unsafe-no-fsync --log-level warn \
    --listen-client-urls $client --advertise-client-urls $client \
    --listen-peer-urls $peer --initial-advertise-peer-urls $peer --initial-cluster default=$peer \
    > etcd.log 2>&1 < /dev/null &
  "$bin/kube-apiserver" --etcd-servers=$client --bind-address=$ADDRESS --advertise-address=$ADDRESS \
    --secure-port=6443 --tls-cert-file=apiserver.crt --tls-private-key-file=apiserver.key \
    --service-cluster-ip-range=10.252.0.0/24 --authorization-mode=RBAC --token-auth-file=tokens.csv \
    --service-account-key-file=service-account.key --service-account-signing-key-file=service-account.key \
    --service-account-issuer=https://kubernetes.default.svc --allow-privileged=true \
    --enable-aggregator-routing=true > kube-apiserver.log 2>&1 < /dev/null &
  apiserver=$!
  await "kube-apiserver to be ready" $apiserver "$bin/kubectl" get --raw /readyz
  # Only now: it ends if there is no API server for 10 seconds.
  "$bin/kube-controller-manager" --kubeconfig=kubeconfig --bind-address=127.0.0.1 --leader-elect=false \
    --service-account-private-key-file=service-account.key --root-ca-file=ca.crt \
    > kube-controller-manager.log 2>&1 < /dev/null &
  controllers=$!
  await "a service account" $controllers "$bin/kubectl" get serviceaccount default
  echo ready
  cat > /dev/null
}

# Within the network namespace, around that.
run() {
  local failed=0 process
  ip link set lo up
  ip address add $ADDRESS/32 dev lo
  unshare --pid --fork --kill-child "$0" run-inside "$1" "$2" || failed=$?
  # What tests have started in this network. This process keeps it, so none that came later has its number.
  for process in /proc/[0-9]*; do
    if [ "$process" = /proc/$$ ] || ! [ "$process/ns/net" -ef /proc/$$/ns/net ]; then continue; fi
    kill -KILL "${process#/proc/}" 2> /dev/null || true
  done
  rm -rf "$2"
  return $failed
}

case ${1:-} in
  build) build ;;
  run)
    bin=$(build)
    exec unshare --net "$0" run-in-network "$bin" "$2"
    ;;
  run-in-network) run "$2" "$3" ;;
  run-inside) run_inside "$2" "$3" ;;
  *) sed -n '2,10p' "$0" >&2; exit 2 ;;
esac
