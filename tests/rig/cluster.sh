#!/bin/bash
# cluster.sh build        builds a Kubernetes control plane from Go modules into the cache; prints its folder
# cluster.sh run FOLDER   runs one in namespaces of its own, with its state in FOLDER, until standard input
#                         ends; says `ready` when it is. Then all of it is killed and FOLDER removed.
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
  export CGO_ENABLED=0 GOWORK=off
  (cd "$HERE/cluster/etcd" && go build -trimpath -ldflags "-s -w" -o "$out/etcd" .)
  (cd "$HERE/cluster/kubernetes" && go build -trimpath -o "$out/kubernetes" \
    -ldflags "-s -w -X $version.gitVersion=v1.37.2 -X $version.gitMajor=1 -X $version.gitMinor=37" .)
  for name in kube-apiserver kube-controller-manager kubectl; do ln -s kubernetes "$out/$name"; done
}

build() {
  local go
  go=$(go env GOVERSION 2> /dev/null) || die "needs Go $GO_NEEDED or newer: https://go.dev/doc/install"
  [ "$(printf '%s\n' "go$GO_NEEDED" "$go" | sort -V | head -1)" = "go$GO_NEEDED" ] ||
    die "needs Go $GO_NEEDED or newer, this is $go: https://go.dev/doc/install"
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

# Within the namespaces, as their first process: when it ends, the kernel kills all others.
run_inside() {
  local bin=$1 apiserver peer=http://127.0.0.1:2380 client=http://127.0.0.1:2379
  cd "$2"
  # shellcheck disable=SC2046,SC2064 # several words; the folder as it is now
  # (the shell would tell of each that it was killed)
  trap "exec 2> /dev/null; kill -KILL \$(jobs -p); wait; cd /; rm -rf '$2'" EXIT
  ip link set lo up
  ip address add $ADDRESS/32 dev lo
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
  export KUBECONFIG=$PWD/kubeconfig
  until "$bin/kubectl" get --raw /readyz > /dev/null 2>&1; do
    kill -0 $apiserver || { tail -5 etcd.log kube-apiserver.log >&2; die "kube-apiserver ended"; }
    sleep 0.2
  done
  "$bin/kube-controller-manager" --kubeconfig=kubeconfig --bind-address=127.0.0.1 --leader-elect=false \
    --service-account-private-key-file=service-account.key --root-ca-file=ca.crt \
    > kube-controller-manager.log 2>&1 < /dev/null &
  until "$bin/kubectl" get serviceaccount default > /dev/null 2>&1; do sleep 0.2; done
  echo ready
  cat > /dev/null
}

case ${1:-} in
  build) build ;;
  run)
    bin=$(build)
    exec unshare --net --pid --fork --kill-child "$0" run-inside "$bin" "$2"
    ;;
  run-inside) run_inside "$2" "$3" ;;
  *) sed -n '2,9p' "$0" >&2; exit 2 ;;
esac
