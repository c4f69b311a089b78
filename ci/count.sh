#!/bin/bash
# Counts the instructions of some operations (benches/count.rs) and compares with what benches/count.txt has: 3 % more or
# less is an error, so that nothing gets dearer unnoticed.  ALIKMS_BLESS=1 writes the file anew.
. "$(dirname "$0")/common.sh"
timed "what counting needs" ci/install.sh test count
scratch=$(mktemp -d); trap 'rm -rf "$scratch"' EXIT
# The line "Executable benches/count.rs (target/release/deps/count-…)" of cargo.
program=$(cargo bench --locked --bench count --no-run 2>&1 | tee /dev/stderr | sed -nE 's/.*Executable benches\/count.rs \((.*)\)$/\1/p')
[ -x "$program" ] || die "cargo built no benches/count.rs."
valgrind --tool=callgrind --callgrind-out-file="$scratch/out" --collect-atstart=no --toggle-collect='counted_*' "$program" >"$scratch/said" 2>&1 \
  || { tail -n 20 "$scratch/said" >&2; die "callgrind did not run $program."; }
callgrind_annotate --inclusive=yes --threshold=100 "$scratch/out" >"$scratch/table"
times=$(sed -nE 's/^const TIMES: usize = ([0-9]+);$/\1/p' benches/count.rs)
# "12,345 (1.2%)  ???:counted_sign_p256 [/…/count-…]" becomes "sign_p256 193".
awk -v times="$times" 'match($0, /counted_[a-z0-9_]+/) {
  name = substr($0, RSTART + 8, RLENGTH - 8); gsub(",", "", $1); if (!(name in seen)) printf "%s %d\n", name, $1 / times; seen[name] = 1
}' "$scratch/table" | sort >"$scratch/counts"
[ "$(wc -l <"$scratch/counts")" = "$(grep -c '^    counted_.*{$' benches/count.rs)" ] || die "callgrind counted something else: $(cat "$scratch/counts")"
if [ "${ALIKMS_BLESS:-}" = 1 ]; then cp "$scratch/counts" benches/count.txt; fi
join "$scratch/counts" benches/count.txt | awk '{
  change = ($2 - $3) / $3 * 100
  printf "%-24s %9d instructions, %9d expected, %+.1f %%\n", $1, $2, $3, change
  if (change > 3 || change < -3) bad = 1
} END { exit bad }' || die "a count is off by more than 3 %. If that is as it should be: ALIKMS_BLESS=1 ci/count.sh"
