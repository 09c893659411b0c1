#!/bin/bash
# oci-image.sh OUT.tar NAME ROOTFS COMMAND...: an image of one layer from a folder, as an OCI archive
# that containerd imports. Nothing in it depends on when it was made.
set -euo pipefail

[ $# -ge 4 ] || { sed -n '2,3p' "$0" >&2; exit 2; }
out=$1 name=$2 rootfs=$3
shift 3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
blobs=$work/blobs/sha256
mkdir -p "$blobs"
normal=(--sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner)

# blob FILE: moves it to where its digest says; prints that and its size as a descriptor has them.
blob() {
  local digest size
  digest=$(sha256sum "$1" | cut -d' ' -f1)
  size=$(stat -c %s "$1")
  mv "$1" "$blobs/$digest"
  echo "\"digest\":\"sha256:$digest\",\"size\":$size"
}

words=$(printf '"%s",' "$@")
# A runtime makes the devices.
tar -C "$rootfs" "${normal[@]}" --exclude='./dev/*' -cf "$work/layer" .
layer=$(blob "$work/layer")
digest=${layer#*:\"}
cat > "$work/config" << E
{"architecture":"amd64","os":"linux","config":{"Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],"Cmd":[${words%,}]},"rootfs":{"type":"layers","diff_ids":["${digest%%\"*}"]}}
E
config=$(blob "$work/config")
cat > "$work/manifest" << E
{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json",$config},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar",$layer}]}
E
manifest=$(blob "$work/manifest")
cat > "$work/index.json" << E
{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json",$manifest,"annotations":{"io.containerd.image.name":"$name","org.opencontainers.image.ref.name":"${name##*:}"},"platform":{"architecture":"amd64","os":"linux"}}]}
E
echo '{"imageLayoutVersion":"1.0.0"}' > "$work/oci-layout"
tar -C "$work" "${normal[@]}" -cf "$out" oci-layout index.json blobs
