# shellcheck shell=bash
# Sourced: what a guest's kernel starts from.

# module FOLDER NAME: the module of the kernel in FOLDER and before it those that it depends on, into
# ./modules; nothing if it is built in.
module() {
  local file depends dependency
  grep -qx "$2" modules/order && return
  file=$(find "$1/modules/" -name "$2.ko*" -o -name "${2//_/-}.ko*" | head -1)
  [ -n "$file" ] || return 0
  case $file in *.xz) xz -dc "$file" ;; *.zst) zstd -qdc "$file" ;; *) cat "$file" ;; esac > "modules/$2.ko"
  depends=$(tr '\0' '\n' < "modules/$2.ko" | sed -n 's/^depends=//p' | tr ',' ' ')
  for dependency in $depends; do module "$1" "${dependency//-/_}"; done
  echo "$2" >> modules/order
}

# initramfs FOLDER MODULES INIT TARGET: busybox, modules of the kernel in FOLDER, and the first
# process. Not compressed: that is slower under emulation.
initramfs() {
  local tree=$4.d name
  mkdir -p "$tree"/{bin,dev,sys,proc,modules,payload}
  cp "$(command -v busybox)" "$tree/bin/busybox"
  install -m 755 "$3" "$tree/init"
  cd "$tree" || return
  : > modules/order
  for name in $2; do module "$1" "$name"; done
  find . | cpio -o -H newc --quiet > "$4"
  rm -rf "$tree"
}
