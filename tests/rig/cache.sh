# shellcheck shell=bash
# Sourced by the scripts beside it: where the rig keeps what it builds, and when that is still good.

# shellcheck disable=SC2034 # for those who source this
HERE=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
CACHE=${PROCVIEW_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/procview}
mkdir -p "$CACHE"

say() { echo "$(basename "$0"): $*" >&2; }
die() { say "$@"; exit 1; }

# cached NAME KEY COMMAND...: makes $CACHE/NAME by running `COMMAND... TEMPORARY`, unless it was made
# with the same KEY before. One maker at a time; a maker that fails leaves nothing behind.
cached() {
  local out=$CACHE/$1 key=$2 lock failed
  shift 2
  exec {lock}> "$out.lock"
  flock "$lock"
  if [ ! -e "$out" ] || [ "$(cat "$out.key" 2> /dev/null)" != "$key" ]; then
    rm -rf "$out" "$out.key" "$out.new"*
    # Not `make || die`: in a condition the shell would ignore errors within the maker.
    set +e
    (set -e; "$@" "$out.new")
    failed=$?
    set -e
    [ "$failed" = 0 ] || { rm -rf "$out.new"*; die "cannot make $out"; }
    mv "$out.new" "$out"
    echo "$key" > "$out.key"
  fi
  exec {lock}>&-
}

# The text of files and words that decide what is built, as one short word.
key_of() { sha256sum | cut -c1-16; }

# The Debian mirror that apt on this machine uses, and its suite.
mirror() {
  local uri
  # shellcheck disable=SC2016 # apt's own variables
  uri=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' "Codename: $(codename)" | sort -u | head -1)
  uri=${DEBIAN_MIRROR:-$uri}
  [ -n "$uri" ] || die "apt knows no Debian mirror: set DEBIAN_MIRROR"
  echo "$uri"
}
codename() { (. /etc/os-release && echo "$VERSION_CODENAME"); }
