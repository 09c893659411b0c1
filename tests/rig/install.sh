#!/bin/bash
# install.sh: installs the Debian packages that the rig and the tests need, only those that are missing.
set -euo pipefail

PACKAGES=(
  buildah busybox-static containerd containernetworking-plugins cpio crun docker.io e2fsprogs g++ iproute2
  libseccomp-dev lxcfs mmdebstrap openssl patchelf pkg-config python3-venv qemu-system-x86
  qemu-utils runc shellcheck strace util-linux xz-utils zstd
)

missing=()
for package in "${PACKAGES[@]}"; do
  # Not every status line is an installed package: removed ones keep theirs.
  dpkg-query -W -f '${db:Status-Status}' "$package" 2> /dev/null | grep -qx installed || missing+=("$package")
done
[ "${#missing[@]}" -gt 0 ] || exit 0
[ "$(id -u)" = 0 ] || { echo "install.sh: needs root to install ${missing[*]}" >&2; exit 1; }

echo "install.sh: installing ${missing[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
# Services of these packages must not start on the machine that runs the tests.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' > "$policy"
  chmod +x "$policy"
  trap 'rm -f "$policy"' EXIT
fi
apt-get update -q
apt-get install -y -q --no-install-recommends "${missing[@]}"
