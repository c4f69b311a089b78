#!/bin/bash
# Counts the instructions of some operations (benches/count.rs) and compares with benches/count.txt: 3 % more or less is an
# error, so that nothing gets dearer unnoticed.  ALIKMS_BLESS=1 writes the file anew.
#
# And the module's size: at most 6.45 MB (docs/performance.md).
#
# The counts are the same on every machine with AVX2: valgrind shows programs a CPU of its own making. They are those of one
# compiler; with another one than the file names, a tenth more or less is an error.
. "$(dirname "$0")/common.sh"
timed "what counting needs" ci/install.sh test count
grep -qw avx2 /proc/cpuinfo || { say "SKIPPED: this CPU has no AVX2; the counts are those of one that has"; exit 0; }
cargo build --release --locked --quiet
module=$ROOT/target/release/libalikms_pkcs11.so
size=$(stat --format=%s "$module")
say "$(basename "$module") has $size bytes"
[ "$size" -le 6450000 ] || die "the module is larger than 6.45 MB."
# Unoptimised, for it is built anyway for the tests: what is counted is in the module.
program=$(cargo build --locked --bench count --message-format=json 2>/dev/null | sed -nE 's/.*"executable":"([^"]*\/count-[^"]*)".*/\1/p' | tail -n 1)
[ -x "$program" ] || die "cargo built no benches/count.rs."
scratch=$(mktemp -d); trap 'rm -rf "$scratch"' EXIT
valgrind --tool=callgrind --callgrind-out-file="$scratch/out" --collect-atstart=no --toggle-collect='C_*' \
  "$program" "$module" >"$scratch/said" 2>&1 || { tail -n 20 "$scratch/said" >&2; die "callgrind did not run $program."; }
# It grumbles about a file without lines of source.
callgrind_annotate --inclusive=yes --threshold=100 "$scratch/out" >"$scratch/table" 2>/dev/null
times=$(sed -nE 's/^const TIMES: usize = ([0-9]+);$/\1/p' benches/count.rs)
# The functions of an operation, and its name in count.txt.
awk -v times="$times" 'BEGIN {
  of["C_SignInit"] = of["C_Sign"] = "sign_p256"; of["C_VerifyInit"] = of["C_Verify"] = "verify_p256"
  of["C_EncryptInit"] = of["C_Encrypt"] = "encrypt_gcm_1024"; of["C_GetAttributeValue"] = "get_attribute_value"
  of["C_FindObjectsInit"] = of["C_FindObjects"] = of["C_FindObjectsFinal"] = "find_by_label"
  of["C_OpenSession"] = of["C_CloseSession"] = "open_close_session"; of["C_GetSessionInfo"] = "session_info"
}
# "12,345 (1.2%)  ???:C_Sign [/…/libalikms_pkcs11.so]"
match($0, /:C_[A-Za-z]+/) {
  name = substr($0, RSTART + 1, RLENGTH - 1); gsub(",", "", $1)
  if (name in of && !(name in seen)) sum[of[name]] += $1
  seen[name] = 1
}
END { for (name in sum) printf "%s %d\n", name, sum[name] / times }' "$scratch/table" | sort >"$scratch/counts"
[ "$(wc -l <"$scratch/counts")" = 7 ] || die "callgrind counted something else: $(cat "$scratch/counts")"
compiler=$(rustc --version)
if [ "${ALIKMS_BLESS:-}" = 1 ]; then { echo "# $compiler"; cat "$scratch/counts"; } >benches/count.txt; fi
limit=3
if [ "$(head -n 1 benches/count.txt)" != "# $compiler" ]; then
  limit=10
  say "benches/count.txt was counted with another compiler ($(sed -n '1s/^# //p' benches/count.txt)): $limit % are allowed"
fi
join "$scratch/counts" <(grep -v '^#' benches/count.txt) | awk -v limit=$limit '{
  change = ($2 - $3) / $3 * 100
  printf "%-24s %9d instructions, %9d expected, %+.1f %%\n", $1, $2, $3, change
  if (change > limit || change < -limit) bad = 1; lines++
} END { exit bad || lines != 7 }' || die "a count is off by more than $limit %. If that is as it should be: ALIKMS_BLESS=1 ci/count.sh"
