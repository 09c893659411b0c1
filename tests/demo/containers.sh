# shellcheck shell=bash
# Sourced by demo.sh: the agent, the containers, their cgroups, and the end of all of them.

CGROUP=/sys/fs/cgroup
GROUP=procview-demo.$$
AGENT_PID='' TMP=''
# A container runtime's ids have 64 digits: by them the agent knows a container from its start.
declare -A IDS=([without]=$(echo "without $$" | sha256sum | cut -c1-64) [with]=$(echo "with $$" | sha256sum | cut -c1-64))

host_cpus() { getconf _NPROCESSORS_ONLN; }
host_mebibytes() { awk '/^MemTotal:/ {print int($2 / 1024)}' /proc/meminfo; }
is_v2() { [ -e "$CGROUP/cgroup.controllers" ]; }
cgroup_layout() {
  if is_v2; then echo v2; elif [ -d "$CGROUP/unified" ]; then echo "v1 (hybrid)"; else echo v1; fi
}

start_agent() {
  mkdir "$TMP/view"
  "$AGENT" serve --view "$TMP/view" 2> "$TMP/agent.log" &
  AGENT_PID=$!
  local tries
  for ((tries = 0; tries < 100; tries++)); do
    [ ! -e "$TMP/view/proc/meminfo" ] || return 0
    kill -0 "$AGENT_PID" 2> /dev/null || break
    sleep 0.1
  done
  die "the agent serves no view"
}

# The files of the view, as mounts of a container.
view_mounts() {
  local view=$1 file
  for file in proc/{cpuinfo,diskstats,loadavg,meminfo,stat,swaps,uptime} sys/devices/system/cpu; do
    [ -e "$view/$file" ] || die "the view has no $file"
    printf ', {"destination": "/%s", "type": "bind", "source": "%s", "options": ["rbind", "ro"]}' "$file" "$view/$file"
  done
}

# create_container NAME MEBIBYTES CPUS [VIEW]
create_container() {
  local name=$1 bundle=$TMP/$1 mounts=''
  [ -z "${4:-}" ] || mounts=$(view_mounts "$4")
  mkdir "$bundle"
  cat > "$bundle/config.json" << E
{
  "ociVersion": "1.0.2",
  "hostname": "$name",
  "root": {"path": "$ROOTFS", "readonly": true},
  "process": {
    "user": {"uid": 0, "gid": 0}, "cwd": "/", "args": ["sleep", "infinity"],
    "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "TERM=dumb", "LC_ALL=C"]
  },
  "mounts": [
    {"destination": "/proc", "type": "proc", "source": "proc"},
    {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755"]},
    {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]}$mounts
  ],
  "linux": {
    "cgroupsPath": "/$GROUP/${IDS[$name]}",
    "resources": {"memory": {"limit": $(($2 << 20))}, "cpu": {"period": 100000, "quota": $(quota "$3")}},
    "namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"}, {"type": "cgroup"}]
  }
}
E
  runc_ run --detach --bundle "$bundle" "${IDS[$name]}" < /dev/null > "$bundle/out" 2>&1 ||
    { cat "$bundle/out" >&2; die "runc cannot run the container $name procview"; }
}

runc_() { runc --root "$TMP/runc" "$@"; }
in_container() { runc_ exec "${IDS[$1]}" sh -c "$2" < /dev/null; }
init_of() { grep -oE '"init_process_pid":[0-9]+' "$TMP/runc/${IDS[$1]}/state.json" | cut -d: -f2; }
quota() { awk "BEGIN {print $1 * 100000}"; }

# resize_container NAME MEBIBYTES CPUS
resize_container() {
  runc_ update --memory $(($2 << 20)) --cpu-period 100000 --cpu-quota "$(quota "$3")" "${IDS[$1]}" || die "runc cannot resize"
}

# busy_loops NAME COUNT
busy_loops() {
  local number
  for ((number = 0; number < $2; number++)); do
    runc_ exec --detach --pid-file "$TMP/$1/loop$number" "${IDS[$1]}" sh -c 'while :; do :; done' < /dev/null > /dev/null ||
      die "cannot start load in the container $1 procview"
  done
}

end_busy_loops() {
  local file
  for file in "$TMP/$1"/loop*; do
    kill -KILL "$(cat "$file")"
    rm "$file"
  done
}

# CPU time that container NAME used, as its cgroup counts it, in microseconds.
cpu_micros() {
  local group=$GROUP/${IDS[$1]}
  if is_v2; then
    awk '/^usage_usec/ {print $2}' "$CGROUP/$group/cpu.stat"
  else
    echo $(($(cat "$CGROUP/cpuacct/$group/cpuacct.usage") / 1000))
  fi
}

clean_up() {
  local status=$? name
  trap '' INT TERM
  progress "" || true
  set +e
  for name in without with; do
    [ ! -d "$TMP/runc/${IDS[$name]}" ] || runc_ delete --force "${IDS[$name]}" 2> /dev/null
  done
  if [ -n "$AGENT_PID" ]; then
    kill -TERM "$AGENT_PID" 2> /dev/null || echo "demo.sh: the agent had ended" >&2
    wait "$AGENT_PID" 2> /dev/null || echo "demo.sh: the agent ended with status $?" >&2
  fi
  [ "$status" != 1 ] || sed 's/^/agent: /' "$TMP/agent.log" 2> /dev/null | tail -20 >&2
  ! mountpoint -q "$TMP/view" || umount -l "$TMP/view"
  find "$CGROUP" -maxdepth 3 -depth -path "*/$GROUP*" -type d -exec rmdir {} + 2> /dev/null
  rm -rf --one-file-system "$TMP"
  exit "$status"
}
