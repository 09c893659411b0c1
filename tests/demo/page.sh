# shellcheck shell=bash
# Sourced by demo.sh: how the page looks, and the list of what was wrong.

WIDTH=52
WRONG=()
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
  BOLD=$'\e[1m' DIM=$'\e[2m' GOOD=$'\e[32m' BAD=$'\e[1;31m' PLAIN=$'\e[0m'
else
  BOLD='' DIM='' GOOD='' BAD='' PLAIN=''
fi

die() {
  echo "demo.sh: $*" >&2
  exit 1
}

# What a person at a terminal waits for; nobody else needs to know.
progress() { [ ! -t 2 ] || printf '%s\r' "$DIM$*$PLAIN"$'\e[K' >&2; }

heading() {
  progress ""
  printf '\n%s\n' "$BOLD== $*$PLAIN"
}

titles() { printf '\n%s' "$BOLD"; line "$1" "$2"; printf '%s' "$PLAIN"; }

line() { printf "  %-${WIDTH}s | %s\n" "$1" "$2"; }

# columns COMMAND LEFT RIGHT
columns() {
  local left right index count
  mapfile -t left <<< "$2"
  mapfile -t right <<< "$3"
  printf '%s\n' "$DIM\$ $1$PLAIN"
  count=$((${#left[@]} > ${#right[@]} ? ${#left[@]} : ${#right[@]}))
  for ((index = 0; index < count; index++)); do
    line "${left[index]:-}" "${right[index]:-}"
  done
}

# verdict GOOD BAD TEST...: prints GOOD if TEST holds, or else BAD, which the demo then ends with.
verdict() {
  local good=$1 bad=$2
  shift 2
  if "$@"; then
    echo "$GOOD  ok: $good$PLAIN"
  else
    echo "$BAD  WRONG: $bad$PLAIN"
    WRONG+=("$bad")
  fi
}

# The tests of a verdict. What is not a number is wrong.
is() { [ "$1" = "$2" ]; }
between() { awk -v value="$1" -v least="$2" -v most="$3" 'BEGIN {exit !(value ~ /^[0-9.]+$/ && value + 0 >= least + 0 && value + 0 <= most + 0)}'; }
near() { awk -v value="$1" -v wanted="$2" -v by="$3" 'BEGIN {d = value - wanted; exit !(value ~ /^[0-9.]+$/ && d <= by && -d <= by)}'; }

finish() {
  echo
  if [ "${#WRONG[@]}" -gt 0 ]; then
    printf "$BAD%s$PLAIN\n" "${#WRONG[@]} value(s) with the view are wrong:" "${WRONG[@]/#/  }" >&2
    exit 1
  fi
  echo "${GOOD}All values with the view are the container's own$PLAIN ($SECONDS s)."
}
