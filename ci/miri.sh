#!/bin/bash
# Miri over the marshalling code (miri/): what reads the pointers of a caller and writes to them. Miri exists for nightly Rust
# only; where that cannot be had, nothing runs, and it says so.
. "$(dirname "$0")/common.sh"
need_rust
scratch=$(mktemp -d); trap 'rm -rf "$scratch"' EXIT
# Loads and stores by the type's alignment, not by where the memory happens to lie.
miri() {
  MIRIFLAGS="-Zmiri-symbolic-alignment-check" CARGO_TARGET_DIR=$ROOT/target/miri \
    timeout --kill-after=10 600 cargo +nightly miri test --locked --no-fail-fast --manifest-path miri/Cargo.toml
}
if ! timed "what Miri needs" timeout 300 ci/install.sh miri; then
  say "Miri was not run: nightly Rust with Miri cannot be installed here"
  say "0 passed, 0 failed"
  exit 0
fi
status=0
timed "Miri" miri 2>&1 | tee "$scratch/log" || status=$?
count() { sed -nE "s/^test result: .* ([0-9]+) $1.*/\\1/p" "$scratch/log" | awk '{sum += $1} END {print sum + 0}'; }
passed=$(count passed) failed=$(count failed)
[ $status = 0 ] || [ "$failed" != 0 ] || failed=1
timings
say "$passed passed, $failed failed"
[ $status = 0 ] && [ "$passed" -gt 0 ]
