#!/bin/bash
# kernel.sh 6.1|6.12|7: a Debian cloud kernel, unpacked into the cache and not installed; prints its folder,
# in which `vmlinuz` is the kernel and `modules` the folder of its modules.
set -euo pipefail
# shellcheck source=cache.sh
. "$(dirname "$(readlink -f "$0")")/cache.sh"
# shellcheck source=suite.sh
. "$HERE/suite.sh"

# unpacked SUITE TARGET
unpacked() {
  # The meta package names the newest; from 7.x the kernel and its modules are packages apart.
  unpack_from "$1" "$2" linux-image-cloud-amd64 'linux-(image|binary|modules|base)-[0-9][^ ]*cloud-amd64'
  cd "$2"
  ln -s "$(find . -name 'vmlinuz*' -type f | sort -V | tail -1)" vmlinuz
  ln -s "$(find . -maxdepth 5 -path '*lib/modules/*cloud-amd64' -type d | sort -V | tail -1)" modules
  [ -e vmlinuz ] && [ -d modules/kernel ]
}

case ${1:-} in
  6.1) suite=bookworm ;;
  6.12) suite=bookworm-backports ;;
  7) suite=trixie-backports ;;
  *) sed -n '2,3p' "$0" >&2; exit 2 ;;
esac
cached "kernel-$1" "$(echo "$(declare -f unpacked unpack_from) $suite" | key_of)" unpacked "$suite"
echo "$CACHE/kernel-$1"
