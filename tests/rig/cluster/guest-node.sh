#!/bin/bash
# guest-node.sh start              runs the emulated machine of node2; in the folder that holds node2/conf and
#                                  in the namespaces of the cluster
# guest-node.sh sh NODE COMMAND    runs a shell command on it, with standard input; in the cluster's network
# guest-node.sh reboot             starts it again, with its disk
set -euo pipefail
# shellcheck source=../cache.sh
. "$(dirname "$(readlink -f "$0")")/../cache.sh"
# shellcheck source=addresses.sh
. "$HERE/cluster/addresses.sh"

node=node2
address=$(address_of $node)

start() {
  local image
  image=$("$HERE/cluster/guest-disk.sh")
  cd $node
  { cat "$image/initramfs"; find conf | cpio -o -H newc --quiet; } > initramfs
  # What it writes is kept for the life of the cluster only.
  qemu-img create -q -f qcow2 -b "$image/disk" -F raw disk
  ip tuntap add dev $node mode tap
  ip address add "$(gateway_of $node)/30" dev $node
  ip link set $node up
  ip route add "$(pods_of $node)" via "$address"
  # QEMU 7.2 emulates cmpxchg16b wrongly: a processor without it.
  exec qemu-system-x86_64 -accel tcg,thread=multi,tb-size=512 -cpu qemu64,-cx16 -m 2048 -smp 2 \
    -nodefaults -no-user-config -display none -serial file:console \
    -drive file=disk,format=qcow2,if=none,id=disk,cache=unsafe -device virtio-blk-pci,drive=disk \
    -netdev tap,id=net,ifname=$node,script=no,downscript=no -device virtio-net-pci,netdev=net,romfile= \
    -device virtio-rng-pci -kernel "$image/vmlinuz" -initrd initramfs \
    -append "console=ttyS0 quiet loglevel=3 panic=1 psi=1 mitigations=off tsc=reliable no_timer_check cryptomgr.notests random.trust_cpu=on apparmor=0"
}

# What the command prints arrives when it has ended. The answer's form is explained in guest-node-shell.
shell() {
  local answer code size begin
  answer=$(mktemp)
  # shellcheck disable=SC2064 # now, while there is a name
  trap "rm -f '$answer'" EXIT
  { base64 -w0 <<< "$*"; echo; cat; } | timeout "${patience:-3600}" busybox nc "$address" 2222 > "$answer" || true
  read -r code size < "$answer" || die "$node does not answer"
  begin=$((${#code} + ${#size} + 2))
  tail -c +$((begin + 1)) "$answer" | head -c "$size" || true
  tail -c +$((begin + size + 1)) "$answer" >&2
  return "$code"
}

boot() { (patience=5 shell 'cat /proc/sys/kernel/random/boot_id' < /dev/null 2> /dev/null) || true; }

# Without goodbye, but with all that was written. The answer may be lost with the connection.
reboot() {
  local before now
  before=$(boot)
  (patience=10 shell 'sync; (sleep 1; echo u > /proc/sysrq-trigger; echo b > /proc/sysrq-trigger) > /dev/null 2>&1 &' < /dev/null) || true
  until now=$(boot) && [ -n "$now" ] && [ "$now" != "$before" ]; do
    [ $SECONDS -lt 300 ] || die "$node does not boot"
    sleep 0.5
  done
}

case ${1:-} in
  start) start ;;
  sh) shift; shell "$@" ;;
  reboot) reboot ;;
  *) sed -n '2,5p' "$0" >&2; exit 2 ;;
esac
