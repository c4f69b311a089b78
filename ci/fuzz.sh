#!/bin/bash
# Runs every fuzz target under AddressSanitizer: ci/fuzz.sh [SECONDS [TARGET…]]  (default: 20 s for each; two at a time)
# It begins with the corpora in fuzz/corpus, which stay as they are. What is found lies in target/fuzz/found: the input of a
# crash, which becomes a file in fuzz/corpus/TARGET, where `cargo test --test fuzz` runs it for ever after.
. "$(dirname "$0")/common.sh"
. ci/asan.sh

seconds=${1:-20}
shift || true
targets=("$@")
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(basename -s .rs fuzz/fuzz_targets/*.rs)
timed "what the fuzzers need" ci/install.sh fuzz
timed "building the fuzzers" asan_cargo build --quiet || { say "0 passed, ${#targets[@]} failed"; exit 1; }

scratch=$(mktemp -d); trap 'rm -rf "$scratch"' EXIT
found=$ASAN_DIR/found
mkdir -p "$found"

run() { # TARGET
  local name=$1 status=0
  mkdir -p "$scratch/$name"
  # Leaks are looked for at the end only; the library keeps its runs for ever, by design.
  TMPDIR=$scratch ASAN_OPTIONS=detect_leaks=0 timeout --kill-after=10 $((seconds * 2 + 240)) "$ASAN_BUILD/$name" \
    -max_total_time="$seconds" -timeout=120 -rss_limit_mb=4096 -print_final_stats=1 -artifact_prefix="$found/$name-" \
    "$scratch/$name" "fuzz/corpus/$name" >"$scratch/$name.log" 2>&1 || status=$?
  local runs
  runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$scratch/$name.log")
  if [ $status = 0 ] && [ "${runs:-0}" -gt 0 ]; then
    say "ok - $name: $runs inputs"
    touch "$scratch/$name.ok"
  else
    say "not ok - $name: status $status"
    tail -n 60 "$scratch/$name.log"
  fi
}
fuzz() {
  local name
  for name in "${targets[@]}"; do
    run "$name" &
    while [ "$(jobs -rp | wc -l)" -ge 2 ]; do wait -n || true; done
  done
  wait
}
timed "fuzzing" fuzz
passed=$(find "$scratch" -maxdepth 1 -name '*.ok' | wc -l)
timings
say "$passed passed, $((${#targets[@]} - passed)) failed"
[ "$passed" = ${#targets[@]} ]
