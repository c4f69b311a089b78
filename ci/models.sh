#!/bin/bash
# Every order of events in the table of sessions and the pool of a device's sessions, tried by loom: models/.
. "$(dirname "$0")/common.sh"
need_rust
scratch=$(mktemp -d); trap 'rm -rf "$scratch"' EXIT
models() { CARGO_TARGET_DIR=$ROOT/target/models timeout --kill-after=10 900 cargo test --locked --no-fail-fast --manifest-path models/Cargo.toml; }
status=0
timed "models" models 2>&1 | tee "$scratch/log" || status=$?
count() { sed -nE "s/^test result: .* ([0-9]+) $1.*/\\1/p" "$scratch/log" | awk '{sum += $1} END {print sum + 0}'; }
passed=$(count passed) failed=$(count failed)
[ $status = 0 ] || [ "$failed" != 0 ] || failed=1
timings
say "$passed passed, $failed failed"
[ $status = 0 ] && [ "$passed" -gt 0 ]
