#!/bin/bash
# What must hold before anything is tested: format, lints, scripts, and the licences, bans and sources of every dependency.
. "$(dirname "$0")/common.sh"

scripts() {
  local list file
  mapfile -t list < <(git ls-files --cached --others --exclude-standard -- '*.sh' '.ci/run' 2>/dev/null || find ci tests softhsm-conf .ci -name '*.sh' -o -name run)
  for file in "${list[@]}"; do [ ! -f "$file" ] || bash -n "$file" || return 1; done
  if command -v shellcheck >/dev/null; then
    shellcheck --external-sources --severity=warning "${list[@]}"
  else
    say "shellcheck is not installed: the scripts were only parsed"
  fi
}

# Minutes on two cores, so once for a machine: it stays in ~/.cargo/bin.
install_deny() {
  cargo deny --version >/dev/null 2>&1 && return
  say "installing cargo-deny; this takes some minutes, once"
  CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_TARGET_DIR="$ROOT/target/tools" \
    cargo install --quiet --locked cargo-deny
}

advisories() {
  local out
  out=$(mktemp)
  if timeout 90 cargo deny fetch db >"$out" 2>&1; then
    rm -f "$out"
    cargo deny check --disable-fetch advisories
  else
    say "SKIPPED: the RustSec advisory database cannot be reached from here"
    rm -f "$out"
  fi
}

timed "what the checks need" ci/install.sh check
timed "scripts" scripts
# The fuzzers, the models and what Miri runs are workspaces of their own.
SIDE="fuzz models miri"
format() { local side; cargo fmt --all --check && for side in $SIDE; do cargo fmt --manifest-path "$side/Cargo.toml" --check || return 1; done; }
deny() { local side; cargo deny check licenses bans sources && for side in $SIDE; do cargo deny --manifest-path "$side/Cargo.toml" --config deny.toml check licenses bans sources || return 1; done; }
timed "cargo fmt" format
timed "cargo clippy" cargo clippy --all-targets --locked --quiet -- -D warnings
timed "cargo-deny itself" install_deny
timed "cargo deny" deny
timed "advisories" advisories
timings
