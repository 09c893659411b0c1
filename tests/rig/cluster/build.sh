#!/bin/bash
# build.sh programs  builds Kubernetes, etcd, containerd and runc from Go modules; prints their folder
# build.sh crun      prints the folder of a newer crun than this Debian has
# build.sh images    prints the folder of the images that nodes have from the start
# All of it is in the cache and made only when what it is made from has changed. The first build of the
# programs takes 15 minutes of two CPUs and 4 GB of Go's own caches.
set -euo pipefail
# shellcheck source=../cache.sh
. "$(dirname "$(readlink -f "$0")")/../cache.sh"
# shellcheck source=../suite.sh
. "$HERE/suite.sh"

GO_NEEDED=1.26

# go_build FOLDER OUT PACKAGE LINKER_FLAGS [TAGS]
go_build() {
  # As root in another user's checkout git tells no version, and Go takes that for an error.
  (cd "$HERE/cluster/$1" && GOWORK=off GOFLAGS=-buildvcs=false go build -trimpath -tags "${5:-}" -ldflags "-s -w $4" -o "$2" "$3")
}

build_programs() {
  local out=$1 version=k8s.io/component-base/version
  mkdir "$out"
  export CGO_ENABLED=0
  go_build etcd "$out/etcd" . ""
  go_build kubernetes "$out/kubernetes" . \
    "-X $version.gitVersion=v1.37.2 -X $version.gitMajor=1 -X $version.gitMinor=37"
  for name in kube-apiserver kube-controller-manager kube-scheduler kubelet kubectl; do ln -s kubernetes "$out/$name"; done
  go_build runtime "$out/" tool "-X github.com/containerd/containerd/v2/version.Version=v2.4.2" no_btrfs
  CGO_ENABLED=1 go_build runc "$out/runc" github.com/opencontainers/runc "" seccomp
}

programs() {
  local go
  # In there, where a Go that may fetch a newer one does so.
  go=$(cd "$HERE/cluster/kubernetes" && go env GOVERSION 2> /dev/null) || die "needs Go $GO_NEEDED or newer: https://go.dev/doc/install"
  [ "$(printf '%s\n' "go$GO_NEEDED" "$go" | sort -V | head -1)" = "go$GO_NEEDED" ] ||
    die "needs Go $GO_NEEDED or newer, this is $go: https://go.dev/doc/install"
  [ -e "$CACHE/programs" ] || say "building Kubernetes, which takes 15 minutes the first time"
  cached programs "$({ declare -f build_programs go_build; echo "$go"; cat "$HERE"/cluster/*/*; } | key_of)" build_programs
  echo "$CACHE/programs"
}

# Debian 12's crun refuses what containerd 2.4 asks for. A newer one needs its own libc, which nodes
# have in a fixed place: crun starts itself again, so nothing but the file itself may say where.
CRUN_AT=/run/node/crun
build_crun() {
  local all=$1.all library
  unpack_from trixie "$all" crun '(crun|lib.*)'
  mkdir "$1"
  cp "$all/usr/bin/crun" "$1/crun"
  while read -r library; do cp -L "$library" "$1/"; done < <(find "$all/usr/lib" -name '*.so*' -path '*-linux-gnu/*' -not -path '*/gconv/*')
  patchelf --set-interpreter $CRUN_AT/ld-linux-x86-64.so.2 --force-rpath --set-rpath $CRUN_AT "$1/crun"
  rm -rf "$all"
}

crun() {
  cached crun "$({ declare -f build_crun unpack_from; echo $CRUN_AT; } | key_of)" build_crun
  echo "$CACHE/crun"
}

# Names on loopback: a missing image is looked for on this machine only.
build_images() {
  mkdir -p "$1" "$1.pause"
  gcc -Os -static -s -o "$1.pause/pause" "$HERE/cluster/pause.c"
  "$HERE/oci-image.sh" "$1/pause.tar" 127.0.0.1:1/procview-tests/pause:1 "$1.pause" /pause
  "$HERE/oci-image.sh" "$1/tools.tar" 127.0.0.1:1/procview-tests/tools:1 "$2" /bin/bash
  rm -rf "$1.pause"
}
images() {
  local tools
  tools=$("$HERE/rootfs.sh" tools)
  # shellcheck disable=SC2317 # called by name
  with_tools() { build_images "$1" "$tools"; }
  cached images "$({ declare -f build_images; cat "$HERE/oci-image.sh" "$HERE/cluster/pause.c" "$CACHE/tools.key"; } | key_of)" with_tools
  echo "$CACHE/images"
}

case ${1:-} in
  programs | crun | images) "$1" ;;
  *) sed -n '2,4p' "$0" >&2; exit 2 ;;
esac
