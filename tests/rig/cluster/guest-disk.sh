#!/bin/bash
# guest-disk.sh: the disk and the initramfs of a node in an emulated machine, in the cache; prints their
# folder. Every cluster starts from the same disk; its node's identity comes by a second initramfs.
set -euo pipefail
# shellcheck source=../cache.sh
. "$(dirname "$(readlink -f "$0")")/../cache.sh"
# shellcheck source=../initramfs.sh
. "$HERE/initramfs.sh"

MODULES="virtio_pci virtio_blk virtio_net virtio_rng ext4 overlay veth fuse"

# import ROOT WORK: into the containerd of the file system, by the same containerd here: that is ten times
# faster than under emulation.
import() {
  local image process
  cat > "$2/containerd.toml" << E
version = 3
root = "$1/var/lib/containerd"
state = "$2/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime",
  "io.containerd.nri.v1.nri", "io.containerd.internal.v1.opt"]
[grpc]
  address = "$2/socket"
[ttrpc]
  address = "$2/ttrpc"
E
  unshare --mount "$programs/containerd" --config "$2/containerd.toml" > "$2/log" 2>&1 &
  process=$!
  until "$programs/ctr" -a "$2/socket" version > /dev/null 2>&1; do
    kill -0 $process 2> /dev/null || { cat "$2/log" >&2; return 1; }
    sleep 0.1
  done
  for image in "$images"/*.tar; do "$programs/ctr" -a "$2/socket" -n k8s.io image import "$image" > /dev/null; done
  kill $process
  wait $process || true
}

# shellcheck disable=SC2317 # called by name
disk() {
  local root=$1.root name
  mkdir -p "$1" "$1.work"
  cp -a "$tools" "$root"
  mkdir -p "$root"/opt/node/{bin,crun} "$root/usr/lib/cni" "$root/var/lib/containerd"
  cp -aL "$programs"/{containerd,containerd-shim-runc-v2,ctr,runc} "$root/opt/node/bin/"
  cp -L "$programs/kubernetes" "$root/opt/node/bin/kubelet"
  cp -a "$crun/." "$root/opt/node/crun/"
  for name in ptp host-local loopback bridge portmap; do cp "/usr/lib/cni/$name" "$root/usr/lib/cni/"; done
  install -m 755 "$HERE/cluster/guest-node-init" "$root/node-init"
  install -m 755 "$HERE/cluster/guest-node-shell" "$root/usr/local/bin/node-shell"
  import "$root" "$1.work"
  truncate -s 8G "$1/disk"
  # No journal: what the emulator has not written when it ends, nobody wants.
  mke2fs -q -F -t ext4 -O ^has_journal -E root_owner=0:0,lazy_itable_init=1 -d "$root" "$1/disk"
  (initramfs "$kernel" "$MODULES" "$HERE/cluster/guest-node-init" "$1/initramfs")
  cp -L "$kernel/vmlinuz" "$1/vmlinuz"
  rm -rf "$root" "$1.work"
}

kernel=$("$HERE/kernel.sh" 6.12)
tools=$("$HERE/rootfs.sh" tools)
programs=$("$HERE/cluster/build.sh" programs)
crun=$("$HERE/cluster/build.sh" crun)
images=$("$HERE/cluster/build.sh" images)
key=$({ declare -f import disk module initramfs; echo "$MODULES"; readlink "$kernel/vmlinuz"
  cat "$CACHE"/{tools,programs,crun,images}.key "$HERE"/cluster/guest-node-{init,shell}; } | key_of)
cached guest-node "$key" disk
echo "$CACHE/guest-node"
