#!/bin/bash
# images.sh FOLDER [REGISTRY]: builds the images of the Dockerfile with buildah, which needs no engine, and writes
# them to FOLDER/procview-agent.tar and -webhook.tar, OCI archives for `ctr -n k8s.io image import`, and the
# programs in them beside. They are named REGISTRY/procview-agent:VERSION and pushed; without REGISTRY
# localhost/..., which no registry is asked for. Nothing is built when nothing they are made of has changed.
set -euo pipefail
# shellcheck source=cache.sh
. "$(dirname "$(readlink -f "$0")")/cache.sh"

MAX_MIB=15
[ $# -ge 1 ] || { sed -n '2,5p' "$0" >&2; exit 2; }
mkdir -p "$1"
out=$(readlink -f "$1")
registry=${2:-}
cd "$HERE/../.."
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
base=$(sed -n 's/^FROM \(.*\) AS build$/\1/p' Dockerfile)
# As in .dockerignore.
inputs=(Dockerfile .dockerignore .cargo Cargo.lock Cargo.toml {agent,procview,webhook}/{Cargo.toml,src} tests/Cargo.toml tests/src/lib.rs)

# A base image like the real one, for where that cannot be had: Debian, a C compiler, this machine's Rust.
make_base() {
  local store=(buildah --storage-driver vfs --root "$1/store" --runroot "$1/run") container root sysroot
  mkdir -p "$1"
  container=$("${store[@]}" from scratch)
  root=$("${store[@]}" mount "$container")
  mmdebstrap --quiet --mode=root --variant=minbase --skip=check/empty --aptopt='APT::Install-Recommends "false"' \
    --include=ca-certificates,gcc,libc6-dev "${base##*-}" "$root" "$(mirror)"
  sysroot=$(rustc --print sysroot)
  mkdir -p "$root"/usr/local/{cargo,rustup}
  cp -a "$sysroot"/bin "$sysroot"/lib "$root/usr/local/rustup"
  ln -s /usr/local/rustup/bin "$root/usr/local/cargo/bin"
  "${store[@]}" config --env PATH=/usr/local/cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    --env CARGO_HOME=/usr/local/cargo "$container"
  "${store[@]}" commit --quiet --rm "$container" "$base" > /dev/null
}

# A part of the build on this machine that buildah does not know of: crates as its cargo has got them, and what an
# earlier build has compiled.
build() {
  local cargo=${CARGO_HOME:-$HOME/.cargo} volumes
  cargo fetch --quiet --locked
  mkdir -p "$out/target"
  volumes=(--volume "$cargo/registry:/usr/local/cargo/registry:ro" --volume "$out/target:/src/target:rw")
  # A configuration may name another registry, and then the crates are found under its name.
  [ ! -e "$cargo/config.toml" ] || volumes+=(--volume "$cargo/config.toml:/usr/local/cargo/config.toml:ro")
  # Reproducible: not when it was built, but when what it is made of was changed.
  "${store[@]}" bud --quiet --isolation chroot --pull-never --layers=false --timestamp "$changed" "${volumes[@]}" \
    --build-arg VERSION="$version" --build-arg REVISION="$revision" --target "$1" --tag "$2" .
}

# unpack IMAGE: writes the program in an archive beside it; prints the uncompressed size of its layers, in bytes.
unpack() {
  python3 - "$out" "procview-$1" << 'P'
import gzip, io, json, os, sys, tarfile
folder, name = sys.argv[1:]
size = 0
with tarfile.open(f"{folder}/{name}.tar") as archive:
    blob = lambda digest: archive.extractfile("blobs/" + digest.replace(":", "/")).read()
    index = json.load(archive.extractfile("index.json"))
    for layer in json.loads(blob(index["manifests"][0]["digest"]))["layers"]:
        layer = blob(layer["digest"])
        layer = gzip.decompress(layer) if layer[:2] == b"\x1f\x8b" else layer
        size += len(layer)
        with tarfile.open(fileobj=io.BytesIO(layer)) as files:
            for member in files:
                if os.path.basename(member.name) == name:
                    with open(f"{folder}/{name}.new", "wb") as program:
                        program.write(files.extractfile(member).read())
os.chmod(f"{folder}/{name}.new", 0o755)
os.rename(f"{folder}/{name}.new", f"{folder}/{name}")
print(size)
P
}

make_images() {
  local name archive
  say "building, which takes some minutes the first time"
  cached base-image "$(echo "$(declare -f make_base) $base $(rustc -vV)" | key_of)" make_base
  store=(buildah --storage-driver vfs --root "$CACHE/base-image/store" --runroot "$CACHE/base-image/run")
  # Always: the one that is there may be ours.
  if "${store[@]}" pull --quiet --policy always "$base" > /dev/null 2>&1; then
    say "on $base"
  else
    say "on an image of this machine's $(rustc --version) and C compiler: no registry gives $base"
  fi
  revision=$(git log -1 --format=%H -- "${inputs[@]}")
  changed=$(git log -1 --format=%ct -- "${inputs[@]}")
  git diff --quiet HEAD -- "${inputs[@]}" || revision+=-modified
  for image in agent webhook; do
    name=${registry:-localhost}/procview-$image:$version
    archive=$out/procview-$image.tar
    build "$image" "$name" > "$out/build.log" 2>&1 || { cat "$out/build.log" >&2; die "cannot build $name"; }
    rm -f "$archive.new"
    # Not compressed: nodes take it sooner, and it is on this machine only.
    "${store[@]}" push --quiet --disable-compression "$name" "oci-archive:$archive.new:$name"
    [ -z "$registry" ] || "${store[@]}" push "$name"
    mv "$archive.new" "$archive"
    "${store[@]}" rmi --force "$name" > /dev/null
  done
}

[ "$(id -u)" = 0 ] || die "needs root"
key=$(find "${inputs[@]}" -type f -print0 | sort -z | xargs -0 sha256sum | cat - <(echo "$registry" && rustc -vV) "$0" | key_of)
# One at a time on one store.
exec {lock}> "$CACHE/base-image.users.lock"
flock "$lock"
# Whoever names a registry wants it to have the images, whatever was built before.
if [ -n "$registry" ] || [ "$(cat "$out/key" 2> /dev/null)" != "$key" ]; then
  rm -f "$out/key"
  make_images
fi
for image in agent webhook; do
  bytes=$(unpack "$image")
  printf '%s/procview-%s:%s: %d.%d MiB, %s\n' "${registry:-localhost}" $image "$version" \
    $((bytes >> 20)) $(((bytes % 1048576) * 10 >> 20)) "$out/procview-$image.tar"
  [ "$bytes" -le $((MAX_MIB << 20)) ] || die "FAIL: procview-$image has more than $MAX_MIB MiB"
done
echo "$key" > "$out/key"
