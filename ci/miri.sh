#!/bin/bash
# Miri over the marshalling code (src/abi, src/token/template.rs) and the nouns: its unit tests call no C, so that every access
# to memory is checked by Rust's own rules: bounds, alignment, aliasing, uninitialised bytes. Nightly Rust only.
. "$(dirname "$0")/common.sh"
timed "what Miri needs" ci/install.sh miri || { say "Miri cannot be installed here: the marshalling code was NOT checked"; say "0 passed, 1 failed"; exit 1; }
scratch=$(mktemp -d); trap 'rm -rf "$scratch"' EXIT
host=$(rustc -vV | sed -n 's/^host: //p')
# Nothing is linked, so aws-lc, minutes of C, is not even compiled; what its build script would say stands here.
links=$(sed -n 's/^links = "\(.*\)"/\1/p' ~/.cargo/registry/src/*/aws-lc-sys-"$(sed -n '/^name = "aws-lc-sys"/{n;s/^version = "\(.*\)"/\1/p}' Cargo.lock)"/Cargo.toml | head -n 1)
cat >"$scratch/links.toml" <<EOF
[target.$host.$links]
rustc-cfg = ["${host//-/_}"]
root = "/nowhere"
include = "/nowhere"
libcrypto = "aws_lc"
conf = "OPENSSL_NO_ASYNC"
link_kind = "static"
EOF
miri() {
  CARGO_TARGET_DIR=$ROOT/target/miri CFLAGS="-O0 -DNDEBUG" MIRIFLAGS="-Zmiri-disable-isolation" \
    timeout --kill-after=10 900 cargo +nightly miri test --locked --lib --config "$scratch/links.toml" -- abi:: token::template model::
}
status=0
timed "Miri" miri 2>&1 | tee "$scratch/log" || status=$?
passed=$(sed -nE 's/^test result: .* ([0-9]+) passed.*/\1/p' "$scratch/log")
timings
if [ $status = 0 ] && [ "${passed:-0}" -gt 20 ]; then say "$passed passed, 0 failed"; else say "${passed:-0} passed, 1 failed"; exit 1; fi
