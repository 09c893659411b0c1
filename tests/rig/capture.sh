#!/bin/bash
# capture.sh OUT: writes what the kernel shows of this machine and of a limited container to the folder OUT/<kernel>-<v1|v2>.
# The container is a group at a Kubernetes-like path with limits on three levels, in which a few processes use CPU,
# memory, page cache and disk. Files keep their paths below proc/, cgroup/ and sys/; sys/devices/system/cpu
# has a listing with modes as well. Runs as root on the host (`capture.sh procview/tests/fixtures`) and in guests (capture-all.sh).
set -euo pipefail

[ "$(id -u)" = 0 ] || { echo "capture.sh: needs root" >&2; exit 1; }
root=/sys/fs/cgroup
top=kubepods
pod=$top/burstable/pod3f1c9a52-6d0e-4c11-9a3e-0f6f3c1d2b77
leaf=$pod/9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
inner=$leaf/inner
levels=("$top" "$top/burstable" "$pod" "$leaf" "$inner")
if [ -e $root/cgroup.controllers ]; then version=v2 trees=(.); else version=v1 trees=(cpu cpuacct cpuset memory blkio pids freezer systemd unified); fi
out=$1/$(uname -r | grep -oE '^[0-9]+\.[0-9]+')-$version
rm -rf "$out"
mkdir -p "$out"
data=$(mktemp -p "${CAPTURE_DISK:-/var/tmp}")
pids=()
cleanup() {
  kill "${pids[@]}" 2> /dev/null || true
  wait "${pids[@]}" 2> /dev/null || true
  rm -f "$data"
  for tree in "${trees[@]}"; do
    [ ! -d "$root/$tree/$top" ] || find "$root/$tree/$top" -depth -type d -exec rmdir {} +
  done
}
trap cleanup EXIT

# set_limit TREE GROUP FILE VALUE. A kernel without the file has no such limit.
set_limit() { [ ! -e "$root/$1/$2/$3" ] || echo "$4" > "$root/$1/$2/$3" || echo "capture.sh: $3 refused $4" >&2; }

for tree in "${trees[@]}"; do
  for level in "${levels[@]}"; do
    mkdir -p "$root/$tree/$level"
    case $tree in
      # v1 takes no process before these are set, and none for a group's groups that it has not itself.
      cpuset)
        for f in cpus mems; do cat "$root/cpuset/$level/../cpuset.$f" > "$root/cpuset/$level/cpuset.$f"; done
        [ "$level" != "$leaf" ] || echo 0 > "$root/cpuset/$level/cpuset.cpus"
        ;;
      memory) set_limit memory "$level" memory.use_hierarchy 1 2> /dev/null ;;
      .) [ "$level" = "$inner" ] || sed 's/[^ ]*/+&/g' $root/cgroup.controllers > "$root/$level/cgroup.subtree_control" ;;
    esac
  done
done
MiB=1048576
if [ $version = v2 ]; then
  set_limit . $top memory.max $((900 * MiB))
  set_limit . $pod memory.max $((256 * MiB))
  set_limit . $pod cpu.max "150000 100000"
  set_limit . $leaf memory.max $((200 * MiB))
  set_limit . $leaf memory.swap.max $((64 * MiB))
  set_limit . $leaf cpu.max "50000 100000"
  set_limit . $leaf cpuset.cpus 0
else
  set_limit memory $top memory.limit_in_bytes $((900 * MiB))
  set_limit memory $pod memory.limit_in_bytes $((256 * MiB))
  set_limit memory $leaf memory.limit_in_bytes $((200 * MiB))
  set_limit memory $leaf memory.memsw.limit_in_bytes $((264 * MiB))
  set_limit cpu $pod cpu.cfs_quota_us 150000
  set_limit cpu $leaf cpu.cfs_quota_us 50000
  # v1 counts I/O by group only where a rule throttles it.
  disk=/sys/dev/block/$(stat -c '%Hd:%Ld' "$data")
  [ ! -e "$disk/partition" ] || disk=$disk/..
  for level in "$leaf" "$inner"; do set_limit blkio "$level" blkio.throttle.write_bps_device "$(cat "$disk/dev") 1000000000"; done
fi

# inside GROUP COMMAND...: in the background, in that group of every tree.
inside() {
  local group=$1
  shift
  ( for tree in "${trees[@]}"; do echo 0 > "$root/$tree/$group/cgroup.procs"; done; exec "$@" ) > /dev/null 2>&1 &
  pids+=($!)
}
# v2 wants processes in the leaves only.
inside "$inner" dd if=/dev/zero of="$data" bs=1M count=48 oflag=direct
wait $! || true
inside "$inner" dd if=/dev/zero of="$data" bs=1M count=24
wait $! || true
# 24 MiB of anonymous memory, held.
inside "$inner" python3 -c 'import mmap,time
m=mmap.mmap(-1,24<<20); m.write(b"x"*(24<<20)); s=mmap.mmap(-1,4<<20,mmap.MAP_SHARED); s.write(b"y"*(4<<20)); time.sleep(600)'
holder=$!
sleep 2
inside "$inner" sh -c "while :; do :; done"
sleep 4
# Some of it goes to swap, where there is swap.
[ $version = v1 ] || echo $((44 * MiB)) > "$root/$leaf/memory.reclaim" || true
sleep 1

# keep PATH DEST: a file's text, if it can be read.
keep() {
  [ -r "$1" ] || return 0
  mkdir -p "${2%/*}"
  cat "$1" > "$2" 2> /dev/null || rm -f "$2"
}

uname -srm > "$out/uname"
for f in meminfo cpuinfo stat vmstat diskstats loadavg uptime swaps slabinfo pressure/cpu pressure/io pressure/memory pressure/irq; do
  keep "/proc/$f" "$out/proc/$f"
done
keep "/proc/$holder/cgroup" "$out/proc/self/cgroup"
keep "/proc/$holder/stat" "$out/proc/self/stat"
keep "/proc/$holder/status" "$out/proc/self/status"
keep "/proc/$holder/mountinfo" "$out/proc/self/mountinfo"
# The machine's own paths and mounts are nobody's business, cgroup mounts are what parsers need.
[ ! -e "$out/proc/self/mountinfo" ] || sed -i -n '/ - cgroup2\? /p' "$out/proc/self/mountinfo"

for tree in "${trees[@]}"; do
  for level in . "${levels[@]}"; do
    for file in "$root/$tree/$level"/*; do
      name=$(basename "$file")
      case $name in
        *.shown_ram_in_bytes | cpuacct.proc_stat | blkio.bfq.*) continue ;; # not in every kernel of that version
        cgroup.stat | cgroup.controllers | cgroup.subtree_control | cgroup.events | cgroup.freeze | cgroup.type) ;;
        cpu.* | cpuacct.* | cpuset.* | memory.* | io.* | pids.* | *.pressure | freezer.state | blkio.throttle.io_*) ;;
        hugetlb.2MB.current | hugetlb.2MB.max) ;;
        *) continue ;;
      esac
      [ ! -f "$file" ] || keep "$file" "$out/cgroup/$tree/$level/$name"
    done
  done
done
# The container's own lists, which are of processes made here.
for tree in "${trees[@]}"; do
  for name in cgroup.procs cgroup.threads tasks; do keep "$root/$tree/$inner/$name" "$out/cgroup/$tree/$inner/$name"; done
done

cpu=/sys/devices/system/cpu
mkdir -p "$out$cpu"
(cd $cpu && find . -printf '%M %y %s %p %l\n' | LC_ALL=C sort -k4) > "$out$cpu.listing"
(cd $cpu && find . -type f -perm -444 -size -64k -not -path './vulnerabilities/*' -printf '%P\n') | while read -r f; do keep "$cpu/$f" "$out$cpu/$f"; done
echo "$out"
