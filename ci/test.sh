#!/bin/bash
# Installs what is missing, builds, and runs every test: cargo's own and the real clients of tests/interop.
#   ALIKMS_RUNNER=cargo   plain `cargo test` even where nextest is installed
# What went wrong is said once more in the end; the last line says how many checks passed and failed. Nothing is left behind but target/.
. "$(dirname "$0")/common.sh"

scratch=$(mktemp -d); trap 'rm -rf "$scratch"' EXIT
export TMPDIR=$scratch
chmod 711 "$scratch" # servers under test drop to another user and must get through
passed=0 failed=0

cargo_tests() {
  if [ "${ALIKMS_RUNNER:-}" != cargo ] && cargo nextest --version >/dev/null 2>&1; then
    timeout --kill-after=30 3000 cargo nextest run --locked --no-fail-fast --color never "$@"
  else
    timeout --kill-after=30 3000 cargo test --locked --no-fail-fast --color never "$@"
  fi
}

# Both runners' closing lines: "Summary [ 3.2s] 9 tests run: 8 passed, 1 failed, …" and "test result: ok. 8 passed; 1 failed; …".
count() { # FILE WORD
  { grep -aE '^( *Summary \[|test result: )' "$1" || true; } | { grep -oE "[0-9]+ (tests? )?$2" || true; } | awk '{sum += $1} END {print sum + 0}'
}

# Where logs are long, and cut, the words of what failed are to be found.
remember() { # FILE
  { grep -aE -A 12 "panicked at |^error(\[|:)|^FAIL - |^not ok" "$1" || true; } | { grep -avE '^ *([0-9]+: |at )' || true; } \
    | head -n 80 >>"$scratch/wrong"
}

run_cargo() {
  local status=0
  cargo_tests "$@" 2>&1 | tee "$scratch/cargo.log" || status=$?
  local good bad
  good=$(count "$scratch/cargo.log" passed) bad=$(count "$scratch/cargo.log" '(failed|timed out)')
  # A build that fails, a test program that dies and a run without any test are failures that no closing line counts.
  if [ $((good + bad)) = 0 ] || { [ $status != 0 ] && [ "$bad" = 0 ]; }; then bad=$((bad + 1)); fi
  passed=$((passed + good)) failed=$((failed + bad))
  [ "$bad" = 0 ] || { remember "$scratch/cargo.log"; return 1; }
}

# The door once more, the token being in a host of the agent's (docs/agent.md): what its answers are made of.
run_clients() {
  local names="attributes:: ciphers:: derivation:: digests:: dual:: messages:: model:: objects:: overlaps:: signatures:: states:: wrapping::"
  # shellcheck disable=SC2086
  ALIKMS_TEST_CLIENT=1 run_cargo --test pkcs11 -- $names
}

# A script whose last line says how many passed and failed.
run_counted() { # SCRIPT…
  local status=0 line
  "$@" 2>&1 | tee "$scratch/counted.log" || status=$?
  line=$(tail -n 1 "$scratch/counted.log")
  if [[ $line =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed$ ]]; then
    passed=$((passed + BASH_REMATCH[1])) failed=$((failed + BASH_REMATCH[2]))
  else
    failed=$((failed + 1))
  fi
  [ $status = 0 ] || { remember "$scratch/counted.log"; return 1; }
}

# One check more: nothing has become dearer.
counted() {
  if ci/count.sh 2>&1 | tee "$scratch/counted.log"; then passed=$((passed + 1)); return; fi
  failed=$((failed + 1))
  remember "$scratch/counted.log"
  return 1
}

timed "what the tests need" ci/install.sh test
timed "devices for the tests" ci/devices.sh
timed "cargo build --release" cargo build --release --locked
timed "cargo's tests" run_cargo || true
timed "the door, by the agent" run_clients || true
timed "real clients" run_counted tests/interop/run.sh || true
timed "counted instructions" counted || true
timed "models of what threads share" run_counted ci/models.sh || true
timed "marshalling under Miri" run_counted ci/miri.sh || true
timed "fuzzers" run_counted ci/fuzz.sh || true
timed "AddressSanitizer" run_counted ci/sanitize.sh || true
timings
[ ! -s "$scratch/wrong" ] || { say "== what went wrong"; cat "$scratch/wrong"; }
say "$passed passed, $failed failed"
[ $failed = 0 ]
