#!/bin/bash
# kernel.sh 6.1|6.12|7: a Debian cloud kernel, unpacked into the cache and not installed; prints its folder,
# in which `vmlinuz` is the kernel and `modules` the folder of its modules.
set -euo pipefail
# shellcheck source=cache.sh
. "$(dirname "$(readlink -f "$0")")/cache.sh"

# unpacked SUITE TARGET. apt works in a folder of its own: the system's lists stay as they are.
unpacked() {
  local suite=$1 target=$2 apt=$2.apt packages
  mkdir -p "$target" "$apt"/lists/partial "$apt"/cache/archives/partial
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $(mirror) $suite main" > "$apt/sources.list"
  cat > "$apt/apt.conf" << E
Dir::Etc::sourcelist "$apt/sources.list"; Dir::Etc::sourceparts "-"; Dir::State::lists "$apt/lists";
Dir::State::status "/dev/null"; Dir::Cache "$apt/cache"; APT::Sandbox::User "root"; Acquire::Languages "none";
E
  export APT_CONFIG=$apt/apt.conf
  cd "$apt"
  apt-get -qq update
  # The meta package names the newest; from 7.x the kernel and its modules are packages apart.
  packages=$(apt-cache depends --recurse --important "linux-image-cloud-amd64/$suite" 2> /dev/null |
    grep -oE '^linux-(image|binary|modules|base)-[0-9][^ ]*cloud-amd64$' | sort -u)
  # shellcheck disable=SC2086 # one word each
  apt-get -qq download $packages
  for deb in *.deb; do dpkg-deb -x "$deb" "$target"; done
  rm -rf "$apt"
  cd "$target"
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
cached "kernel-$1" "$(echo "$(declare -f unpacked) $suite" | key_of)" unpacked "$suite"
echo "$CACHE/kernel-$1"
