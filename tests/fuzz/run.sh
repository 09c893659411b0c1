#!/bin/bash
# run.sh SECONDS: build every fuzz target with coverage instrumentation and run each for SECONDS.
# Takes no nightly compiler: the instrumentation is an LLVM pass, libFuzzer comes with its crate.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")"
seconds=$1
target=$(rustc -vV | sed -n 's/^host: //p')
flags="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4"
flags+=" -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table"
flags+=" -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1"
RUSTFLAGS=$flags cargo build --quiet --release --target "$target" --target-dir "${CARGO_TARGET_DIR:-../../target}/fuzz"
bin=${CARGO_TARGET_DIR:-../../target}/fuzz/$target/release
for source in fuzz_targets/*.rs; do
  name=$(basename "$source" .rs)
  mkdir -p "corpus/$name"
  echo "fuzzing $name for $seconds s"
  "$bin/$name" -max_total_time="$seconds" -max_len=8192 -timeout=10 -rss_limit_mb=2048 \
    -artifact_prefix="corpus/$name-" "corpus/$name" "seeds/$name" 2>&1 | tail -3
done
