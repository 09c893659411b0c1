#!/bin/bash
# capture-all.sh: makes procview/tests/fixtures anew, from this machine and from guests with each kernel.
set -euo pipefail

here=$(dirname "$(readlink -f "$0")")
fixtures=$here/../../procview/tests/fixtures
payload=$(mktemp -d)
trap 'rm -rf "$payload"' EXIT
cp "$here/capture.sh" "$payload"
mkdir -p "$fixtures"
"$here/capture.sh" "$fixtures"
for kernel in 6.1 6.12 7; do
  "$here/guest.sh" -k $kernel -s 256 -o "$fixtures" -p "$payload" -- 'CAPTURE_DISK=/scratch ./capture.sh /out'
done
