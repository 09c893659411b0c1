#!/bin/bash
# demo.sh: what procview does, in one minute. Runs two containers with runc that are equal but for one
# thing, the view, and prints what the usual programs say in them, side by side. Also a check: it ends with
# an error if a value with the view is not the container's.
# On a Debian 12 machine as root; installs and builds what is missing. Takes away what it made.
#   PROCVIEW_AGENT=FILE  an agent that is built already
set -euo pipefail

HERE=$(dirname "$(readlink -f "$0")")
ROOT=$HERE/../..
# shellcheck source=page.sh
. "$HERE/page.sh"
# shellcheck source=containers.sh
. "$HERE/containers.sh"

MEMORY=512 QUOTA=1.5
NEW_MEMORY=1024 NEW_QUOTA=1
# For how long each container is put under load, and the last seconds of it, over which `top` compares.
LOAD_SECONDS=22 WINDOW=4

set_up() {
  [ "$(id -u)" = 0 ] || die "run it as root: it makes containers"
  "$ROOT/tests/rig/install.sh" >&2 || die "cannot install the packages"
  ROOTFS=$("$ROOT/tests/rig/rootfs.sh" clients) || die "cannot make the containers' root file system"
  AGENT=${PROCVIEW_AGENT:-}
  if [ -z "$AGENT" ]; then
    command -v cargo > /dev/null || die "no cargo: install a Rust toolchain, https://rustup.rs"
    (cd "$ROOT" && cargo build --quiet --release -p procview-agent) || die "the agent does not build"
    AGENT=${CARGO_TARGET_DIR:-$ROOT/target}/$(rustc -vV | sed -n 's/^host: //p')/release/procview-agent
  fi
  [ -x "$AGENT" ] || die "no agent at $AGENT"
  TMP=$(mktemp -d /tmp/procview-demo.XXXXXX)
  trap clean_up EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
}

describe() {
  echo "host      Linux $(uname -r), $(host_cpus) CPUs, $(host_mebibytes) MiB of memory, cgroup $(cgroup_layout)"
  echo "runtime   $(runc --version | head -1)"
  echo "agent     $("$AGENT" --version), $(stat -c %s "$AGENT" | numfmt --to=iec) on disk"
  echo "limits    memory $MEMORY MiB, CPU $QUOTA, for each of the two containers"
}

# both COMMAND: runs it in both containers at once; their outputs to LEFT and RIGHT.
both() {
  in_container without "$1" > "$TMP/left" &
  local pid=$!
  in_container with "$1" > "$TMP/right" || die "\`$1\` failed in the container with the view"
  wait "$pid" || die "\`$1\` failed in the container without the view"
  LEFT=$(cat "$TMP/left") RIGHT=$(cat "$TMP/right")
}

# shown COMMAND [FILTER]: both, and prints it, cut to the columns by the sed program FILTER.
shown() {
  both "$1"
  columns "$1" "$(sed -E "${2:-}" <<< "$LEFT")" "$(sed -E "${2:-}" <<< "$RIGHT")"
}

# Drops what the demo is not about, so that two columns fit on a screen.
DROP_USERS='s/ +[0-9]+ users?,//; s/^ +//; s/ +/ /g'
TOP_HEAD="1!{3,4!d}; 1s/ [0-9:]+ up/ up/; /^%Cpu/s/ id,.*/ id/; /^MiB/s/ used.*/ used/; $DROP_USERS"
# `top` shows the time since the boot first: its second frame is about the last seconds. The awk program
# prints the last frame's five lines of head.
top_for() {
  # shellcheck disable=SC2028 # for awk
  echo "top -b -n2 -d$1 -w100 | awk '/^top -/ {n = 0; head = \"\"} n++ < 5 {head = head \$0 \"\n\"} END {printf \"%s\", head}'"
}
idle_in() { sed -nE 's/^%Cpu.*[ ,]([0-9.]+) id.*/\1/p' <<< "$1"; }
load_in() { sed -nE '1s/.*load average: ([0-9.]+),.*/\1/p' <<< "$1"; }
total_in() { awk '/^Mem:/ {print $2}' <<< "$1"; }

expected_cpus() { awk -v quota="$1" -v host="$(host_cpus)" 'BEGIN {n = int(quota); n += n < quota; print n < host ? n : host}'; }

size() {
  heading "Memory"
  shown 'free -m' 's/^(.{44}).*/\1/'
  verdict "a machine of $MEMORY MiB, not of $(total_in "$LEFT")" \
    "free's total is $(total_in "$RIGHT"), should be $MEMORY" is "$(total_in "$RIGHT")" $MEMORY

  heading "CPUs"
  local cpus
  cpus=$(expected_cpus $QUOTA)
  shown 'lscpu | grep -E "^(On-line )?CPU\(s\)"'
  verdict "lscpu: $QUOTA CPUs are shown as $cpus (the host has $(host_cpus))" \
    "lscpu should say $cpus" is "$(awk '/^CPU/ {print $2}' <<< "$RIGHT")" "$cpus"
  shown 'getconf _NPROCESSORS_ONLN'
  verdict "what thread pools start with" "getconf should say $cpus" is "$RIGHT" "$cpus"
  shown 'grep -c processor /proc/cpuinfo'
  verdict "/proc/cpuinfo agrees" "cpuinfo should have $cpus processors" is "$RIGHT" "$cpus"

  heading "Age"
  shown uptime "$DROP_USERS"
  both 'cat /proc/uptime'
  verdict "the container's age, not the host's" "uptime says ${RIGHT%% *} s, should be $((SECONDS - BORN)) s" \
    near "${RIGHT%% *}" $((SECONDS - BORN)) 1.5
}

# The container NAME works for LOAD_SECONDS while the other one does nothing. Keeps what top says in both:
# in BUSY and IDLE, and in USED the part of its capacity, in percent, that the busy one really used meanwhile.
under_load() {
  local name=$1 before after start end
  progress "$LOAD_SECONDS s of load in the container $name ${2:-}..."
  busy_loops "$name" "$(expected_cpus $QUOTA)"
  sleep $((LOAD_SECONDS - WINDOW))
  before=$(cpu_micros "$name") start=$(date +%s%6N)
  both "$(top_for $WINDOW)"
  after=$(cpu_micros "$name") end=$(date +%s%6N)
  end_busy_loops "$name"
  USED=$(awk -v used=$((after - before)) -v wall=$((end - start)) -v quota=$QUOTA 'BEGIN {print 100 * used / wall / quota}')
}

# The kernel's one-minute load of the busy loops after N of its steps of 5 s.
load_after() { awk -v n="$(expected_cpus $QUOTA)" -v steps="$1" 'BEGIN {printf "%.2f", n * (1 - (1884 / 2048) ^ steps)}'; }

work() {
  local busy_without idle_with idle load least most
  under_load without "procview"
  busy_without=$LEFT idle_with=$RIGHT
  under_load with "procview"

  heading "At work: $(expected_cpus $QUOTA) busy loops for $LOAD_SECONDS s, in one container after the other"
  columns "top" "$(sed -E "$TOP_HEAD" <<< "$busy_without")" "$(sed -E "$TOP_HEAD" <<< "$RIGHT")"
  idle=$(idle_in "$RIGHT")
  # Beside other work on the host the container may not get all of its CPU time: what counts is what it got.
  verdict "at its limit there is nothing left: $idle % idle (without: $(idle_in "$busy_without") %)" \
    "top says $idle % idle, the cgroup used $USED % of its CPU time" near "$idle" "$(awk "BEGIN {print 100 - $USED}")" 5
  least=$(load_after $((LOAD_SECONDS / 5 - 1))) most=$(load_after $((LOAD_SECONDS / 5 + 3)))
  load=$(load_in "$RIGHT")
  verdict "the load is that of its own loops: $load" "the load is $load, should be $least to $most" between "$load" "$least" "$most"

  heading "Doing nothing, while the other container works"
  columns "top" "$(sed -E "$TOP_HEAD" <<< "$LEFT")" "$(sed -E "$TOP_HEAD" <<< "$idle_with")"
  idle=$(idle_in "$idle_with")
  verdict "the neighbour's work is not its own: $idle % idle (without: $(idle_in "$LEFT") %)" \
    "top says $idle % idle, should be about 100" between "$idle" 95 100
  load=$(load_in "$idle_with")
  verdict "and not its load: $load (without: $(load_in "$LEFT"))" "the load is $load, should be 0" between "$load" 0 0.25
}

resize() {
  local name pid cpus
  cpus=$(expected_cpus $NEW_QUOTA)
  heading "Resized while it runs: memory $MEMORY to $NEW_MEMORY MiB, CPU $QUOTA to $NEW_QUOTA"
  pid=$(init_of with)
  for name in without with; do
    resize_container $name $NEW_MEMORY $NEW_QUOTA
  done
  shown 'free -m' 's/^(.{44}).*/\1/'
  verdict "the new memory, at once" "free's total is $(total_in "$RIGHT"), should be $NEW_MEMORY" \
    is "$(total_in "$RIGHT")" $NEW_MEMORY
  shown 'getconf _NPROCESSORS_ONLN; grep -c processor /proc/cpuinfo'
  verdict "the new CPUs" "should be $cpus" is "$RIGHT" "$cpus"$'\n'"$cpus"
  shown 'lscpu | grep -E "^(On-line )?CPU\(s\)"'
  verdict "and the same everywhere" "lscpu should say $cpus" is "$(awk '/^CPU/ {print $2}' <<< "$RIGHT")" "$cpus"
  verdict "nothing was restarted: its first process is still $pid" "it is another process" is "$(init_of with)" "$pid"
}

set_up
describe
start_agent
BORN=$SECONDS
create_container without $MEMORY $QUOTA
create_container with $MEMORY $QUOTA "$TMP/view"
titles "without" "with procview"
size
work
resize
finish
