# What the scripts of ci/ share; sourced, never run.
# shellcheck shell=bash
set -euo pipefail
export LC_ALL=C.UTF-8
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$ROOT"

say() { printf '%s\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# timed NAME COMMAND…: runs it and says how long it took, whatever came of it.
TIMES=""
timed() {
  local name=$1 start=$SECONDS status=0
  shift
  say "== $name"
  "$@" || status=$?
  TIMES+=$(printf '%6d s  %s%s' $((SECONDS - start)) "$name" "$([ $status = 0 ] || printf '  FAILED')")$'\n'
  return $status
}
timings() { printf '== time\n%s%6d s  together\n' "$TIMES" "$SECONDS"; }

# Rust is the one thing that the scripts do not install: only the user knows how this machine gets its tools.
need_rust() {
  [ -d "$HOME/.cargo/bin" ] && PATH=$PATH:$HOME/.cargo/bin
  command -v cargo >/dev/null || die "cargo is not here. Install Rust 1.95 or newer (https://rustup.rs, then 'rustup toolchain install stable'), and run this again."
  local have
  have=$(rustc --version | awk '{print $2}')
  [ "$(printf '1.95.0\n%s\n' "${have%%-*}" | sort -V | head -n 1)" = 1.95.0 ] \
    || die "Rust $have is too old: 1.95 or newer is needed ('rustup update stable')."
}
