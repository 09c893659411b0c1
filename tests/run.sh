#!/bin/bash
# run.sh [PART...]: runs all parts of the tests, or these, one after the other, and prints a line for each at the
# end: units, each of the programs in tests/tests, fuzz. Fails if one does. `make test` calls it with the images built.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."

parts=("$@")
if [ $# = 0 ]; then
  parts=(units)
  for program in tests/tests/*; do
    program=$(basename "$program" .rs)
    parts+=("$program")
  done
  parts+=(fuzz)
fi

part() {
  case $1 in
    units) cargo test --no-fail-fast -p procview -p procview-agent -p procview-webhook && cargo test -p procview-tests --lib --bins ;;
    fuzz) tests/fuzz/run.sh 10 ;;
    # They wait for nodes more than they work.
    kubernetes | nodes) cargo test -p procview-tests --test "$1" -- --test-threads=3 ;;
    # It measures.
    hostile) cargo test -p procview-tests --test hostile -- --test-threads=1 ;;
    *) cargo test -p procview-tests --test "$1" ;;
  esac
}

# One build of all programs, so that none waits for the compiler within its time.
cargo test --workspace --no-run
summary=() failed=0
for name in "${parts[@]}"; do
  echo "=== $name"
  begin=$SECONDS
  if part "$name"; then result=ok; else result=FAILED failed=1; fi
  summary+=("$(printf '%-6s  %-18s %5d s' $result "$name" $((SECONDS - begin)))")
done
printf '%s\n' "" "${summary[@]}"
exit $failed
