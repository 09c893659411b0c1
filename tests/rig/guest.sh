#!/bin/bash
# guest.sh [-k 6.1|6.12|7] [-t seconds] [-m MiB] [-c CPUS] [-s MiB] [-o FOLDER] -p PAYLOAD -- 'shell command'
# Boots a Debian kernel with cgroup v2 in an emulated machine, runs the command in a copy of PAYLOAD there and ends
# with its exit code; 125 if the guest did not get that far. Every boot starts from the same image, nothing is kept.
#   -s  megabytes of swap      -o  a folder for what the command leaves in /out
# /scratch is a disk with a file system of its own, for I/O that counts and for containerd's folders.
set -euo pipefail
# shellcheck source=cache.sh
. "$(dirname "$(readlink -f "$0")")/cache.sh"
# shellcheck source=initramfs.sh
. "$HERE/initramfs.sh"

kernel=6.12 timeout=300 memory=1536 cpus=2 swap="" out="" payload=""
while getopts k:t:m:c:s:o:p: option; do
  case $option in
    k) kernel=$OPTARG ;; t) timeout=$OPTARG ;; m) memory=$OPTARG ;; c) cpus=$OPTARG ;;
    s) swap=$OPTARG ;; o) out=$OPTARG ;; p) payload=$OPTARG ;;
    *) sed -n '2,7p' "$0" >&2; exit 2 ;;
  esac
done
shift $((OPTIND - 1))
if [ $# = 0 ] || [ ! -d "$payload" ]; then sed -n '2,7p' "$0" >&2; exit 2; fi

folder=$("$HERE/kernel.sh" "$kernel")
image=$("$HERE/rootfs.sh" guest)
modules="virtio_pci virtio_blk ext4 overlay fuse"
cached "initramfs-$kernel" "$({ echo "$modules $(declare -f module initramfs)"; readlink "$folder/vmlinuz"; cat "$HERE/guest-init"; } | key_of)" \
  initramfs "$folder" "$modules" "$HERE/guest-init"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/payload"
cp -a "$payload/." "$work/payload/"
echo "$*" > "$work/payload/.command"
# The kernel unpacks archives one after the other.
{ cat "$CACHE/initramfs-$kernel"; (cd "$work" && find payload | cpio -o -H newc --quiet); } > "$work/initrd"
rm -rf "$work/payload"

drives=()
# drive NAME FILE OPTIONS
drive() { drives+=(-drive "file=$2,format=raw,if=none,id=$1,cache=unsafe$3" -device "virtio-blk-pci,drive=$1,serial=$1"); }
drive root "$image" ,snapshot=on
truncate -s 2G "$work/scratch"
mke2fs -q -F -t ext4 -O ^has_journal "$work/scratch"
drive scratch "$work/scratch" ""
[ -z "$swap" ] || { truncate -s "${swap}M" "$work/swap"; drive swap "$work/swap" ""; }
[ -z "$out" ] || { truncate -s 64M "$work/out"; drive out "$work/out" ""; }

# boot: one run of the emulator, what it prints in $work/log. QEMU 7.2 emulates cmpxchg16b wrongly: a processor without it.
boot() {
  TMPDIR=$work timeout --foreground -k 5 "$timeout" qemu-system-x86_64 -accel tcg,thread=multi -cpu qemu64,-cx16 \
    -m "$memory" -smp "$cpus" -nodefaults -no-user-config -nographic -no-reboot -serial stdio "${drives[@]}" \
    -kernel "$folder/vmlinuz" -initrd "$work/initrd" \
    -append "console=ttyS0 quiet loglevel=3 panic=-1 reboot=t psi=1 mitigations=off tsc=reliable no_timer_check cryptomgr.notests random.trust_cpu=on" \
    < /dev/null 2>&1 | stdbuf -oL tr -d '\r' | tee "$work/log" |
    sed -un '/^GUEST-START$/,/^GUEST-EXIT:/{/^GUEST-/!p}' || true
}

boot
# Rarely a processor meets an instruction that another one is just patching, which real processors handle and emulated
# ones do not. As long as nothing of the command has run, another try loses nothing.
for _ in 1 2; do
  if grep -q '^GUEST-START' "$work/log" || ! grep -q 'Kernel panic' "$work/log"; then break; fi
  say "kernel $kernel panicked before the command ran, trying again: $(grep -m1 -E 'Oops|Kernel panic' "$work/log")"
  boot
done
code=$(sed -n 's/^GUEST-EXIT:\([0-9]*\)$/\1/p' "$work/log" | tail -1)
[ -n "$code" ] || { say "the guest did not end by itself:"; cat "$work/log" >&2; exit 125; }
[ -z "$out" ] || { mkdir -p "$out"; tar -C "$out" -xf "$work/out"; }
exit "$code"
