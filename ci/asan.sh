# How the library and the fuzzers are built with AddressSanitizer: sourced by ci/fuzz.sh and ci/sanitize.sh, so that both use
# one build. Stable Rust has the sanitizer's runtime; RUSTC_BOOTSTRAP opens the option. The counters for the fuzzer do nothing
# in the library.
# shellcheck shell=bash
ASAN_TARGET=$(rustc -vV | sed -n 's/^host: //p')
ASAN_DIR=$ROOT/target/fuzz
# shellcheck disable=SC2034 # for those who source this
ASAN_BUILD=$ASAN_DIR/$ASAN_TARGET/debug
asan_cargo() {
  local flags="-Zsanitizer=address -Cpasses=sancov-module"
  flags+=" -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters"
  flags+=" -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares"
  RUSTC_BOOTSTRAP=1 RUSTFLAGS=$flags CARGO_TARGET_DIR=$ASAN_DIR cargo "$@" --locked --manifest-path fuzz/Cargo.toml --target "$ASAN_TARGET"
}
