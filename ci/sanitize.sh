#!/bin/bash
# The library under AddressSanitizer: the programs of tests/c, which are built with it too, and those tests of tests/pkcs11
# that hand over the strangest arguments. (Not linked.c, which is about RTLD_DEEPBIND, nor dlopen_loop.c, which measures memory:
# the sanitizer has a mind of its own about both. And without the forks of fork.c while other threads work: its own allocator
# does not bear them.) Any access to memory that is not the library's or the caller's ends the program.
. "$(dirname "$0")/common.sh"
. ci/asan.sh
timed "what the sanitizer needs" ci/install.sh fuzz
scratch=$(mktemp -d); trap 'rm -rf "$scratch"' EXIT
export TMPDIR=$scratch
passed=0 failed=0
check() { # NAME COMMAND…
  local name=$1
  shift
  if "$@" >"$scratch/log" 2>&1; then say "ok - $name"; passed=$((passed + 1)); else
    say "not ok - $name"; tail -n 60 "$scratch/log"; failed=$((failed + 1))
  fi
}

timed "building with AddressSanitizer" asan_cargo build --quiet --package alikms-pkcs11-module || { say "0 passed, 1 failed"; exit 1; }
module=$ASAN_BUILD/deps/libalikms_pkcs11.so
[ -s "$module" ] || die "there is no $module"
# Without -q, which would end nm by a broken pipe.
is_checked() { nm -D "$module" | grep ' U __asan_report' >/dev/null; }
check "the library is built with AddressSanitizer" is_checked

timed "the command and the tests" cargo build --quiet --locked --tests --bins || { say "$passed passed, $((failed + 1)) failed"; exit 1; }
# A handler that is gone before the sanitizer's own report would hide it; leaks: the library keeps its runs for ever, by design.
export ASAN_OPTIONS=detect_leaks=0:abort_on_error=1:detect_odr_violation=0:allocator_may_return_null=1
export ALIKMS_TEST_MODULE=$module ALIKMS_TEST_SANITIZE=1

tests() { # NAME: tests of the binary pkcs11 whose path has this in it, with the sanitizer before everything else
  local runner
  runner="CARGO_TARGET_$(printf '%s' "$ASAN_TARGET" | tr 'a-z-' 'A-Z_')_RUNNER"
  env "$runner=env LD_PRELOAD=$(gcc -print-file-name=libasan.so)" timeout --kill-after=10 600 \
    cargo test --quiet --locked --test pkcs11 "$1" -- --test-threads=2
}
# The sanitizer refuses RTLD_DEEPBIND, which keeps devices' libraries to themselves.
export ALIKMS_NO_DEEPBIND=1
program() { timeout --kill-after=10 300 cargo test --quiet --locked --test pkcs11 "c_programs::$1" -- --exact; }
run_all() {
  local name
  for name in exits fork inplace neighbours; do check "tests/c/$name.c" program "$name"; done
  for name in fenced::every overlaps::; do check "$name" tests "$name"; done
}
timed "under AddressSanitizer" run_all
timings
say "$passed passed, $failed failed"
[ $failed = 0 ]
