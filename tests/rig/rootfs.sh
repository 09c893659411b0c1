#!/bin/bash
# rootfs.sh clients|guest|tools: a Debian root file system in the cache; prints its path.
#   clients  a folder: what runs in containers, the programs that read the view
#   tools    a folder: the small ones of these only, for images and for the node in a guest
#   guest    an ext4 image: the root of the guests, with container runtimes and the small clients
set -euo pipefail
# shellcheck source=cache.sh
. "$(dirname "$(readlink -f "$0")")/cache.sh"

SMALL=(busybox-static iproute2 procps python3 python3-psutil sysstat util-linux)
CLIENTS=("${SMALL[@]}" htop nodejs openjdk-17-jre-headless prometheus-node-exporter stress-ng)
TOOLS=(busybox-static iproute2 libseccomp2 procps util-linux)
GUEST=("${SMALL[@]}" containerd crun e2fsprogs runc)

# debian PACKAGES TARGET
debian() {
  # The JRE's scripts want the folder of manual pages that the exclusions below leave out.
  # shellcheck disable=SC2016 # mmdebstrap expands it
  mmdebstrap --quiet --mode=root --variant=minbase --skip=check/empty \
    --aptopt='Acquire::Languages "none"' --aptopt='APT::Install-Recommends "false"' \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --setup-hook='mkdir -p "$1/usr/share/man/man1"' --include="$1" \
    "$(codename)" "$2" "$(mirror)"
}

# slim PACKAGES TARGET
slim() {
  debian "$1" "$2"
  rm -rf "$2"/var/cache/apt/* "$2"/var/lib/apt/lists/* "$2"/var/log/*
}

# image PACKAGES TARGET
image() {
  local folder=$2.d
  debian "$1" "$folder"
  rm -rf "$folder"/var/cache/apt "$folder"/var/lib/apt/lists
  mkdir -p "$folder"/payload "$folder"/scratch
  truncate -s 2G "$2"
  mke2fs -q -F -t ext4 -O ^has_journal -E root_owner=0:0,lazy_itable_init=1 -d "$folder" "$2"
  rm -rf "$folder"
}

[ "$(id -u)" = 0 ] || die "needs root"
recipe=$(declare -f debian image)
case ${1:-} in
  clients) packages=${CLIENTS[*]} make=debian ;;
  guest) packages=${GUEST[*]} make=image ;;
  tools) packages=${TOOLS[*]} make=slim recipe+=$(declare -f slim) ;;
  *) sed -n '2,5p' "$0" >&2; exit 2 ;;
esac
cached "$1" "$(echo "$recipe $packages $(codename)" | key_of)" "$make" "${packages// /,}"
echo "$CACHE/$1"
