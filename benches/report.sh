#!/bin/bash
# From what ci/bench.sh measured (docs/performance/*.txt): the plots beside it, and the tables between the marks of
# docs/performance.md.  report.sh [DIRECTORY PAGE]: of another directory, in another page.
. "$(dirname "$0")/../ci/common.sh"
timed "what plots need" ci/install.sh plot
at=${1:-docs/performance} page=${2:-docs/performance.md}
scratch=$(mktemp -d); trap 'rm -rf "$scratch"' EXIT
plot() { # FILE TITLE X-AXIS Y-AXIS COMMANDS…; reads a gnuplot plot command
  gnuplot -e "set terminal svg size 800,420 dynamic background rgb 'white'; set output '$at/$1.svg'; set title '$2'; set xlabel '$3'; set ylabel '$4';
    set key outside right; set grid; set style data linespoints; $5"
}
# Numbers by x: one file for each line of a plot. series FILE KEY-COLUMNS…
lines() { # MODULE WHAT: keys and value
  awk -F'\t' -v m="$1" -v w="$2" '$1 == m && $3 == w {print $2, $4}' "$at/keys.txt" | sort -n
}
by_threads() { # WORK CONTENDER
  awk -F'\t' -v w="$1" -v c="$2" '$1 == w && $2 == c {print $3, $5}' "$at/threads.txt" | sort -n
}

if [ -s "$at/keys.txt" ]; then
  for who in alikms softhsm kryoptic nss; do
    lines $who "find by label and class, warm, us" >"$scratch/$who.warm"
    lines $who "first find, us" >"$scratch/$who.first"
    lines $who "initialise and random, us" >"$scratch/$who.start"
    lines $who "memory when used, KiB" >"$scratch/$who.memory"
  done
  scale="set logscale xy; set format x '10^{%T}';"
  plot find "Finding a key by its label" "keys in the token" "microseconds" "$scale plot \
    '$scratch/alikms.first' title 'alikms, first', '$scratch/alikms.warm' title 'alikms, again', \
    '$scratch/softhsm.first' title 'SoftHSM, first', '$scratch/softhsm.warm' title 'SoftHSM, again', \
    '$scratch/kryoptic.warm' title 'kryoptic, again', '$scratch/nss.warm' title 'NSS, again'"
  plot start "C_Initialize and the first random byte" "keys in the token" "microseconds" "$scale plot \
    '$scratch/alikms.start' title 'alikms', '$scratch/softhsm.start' title 'SoftHSM', \
    '$scratch/kryoptic.start' title 'kryoptic', '$scratch/nss.start' title 'NSS'"
  plot memory "Memory of a process that found a key and signed" "keys in the token" "KiB" "$scale plot \
    '$scratch/alikms.memory' title 'alikms', '$scratch/softhsm.memory' title 'SoftHSM', \
    '$scratch/kryoptic.memory' title 'kryoptic', '$scratch/nss.memory' title 'NSS'"
fi
if [ -s "$at/threads.txt" ]; then
  commands=""
  while IFS= read -r work; do
    file=$scratch/${work//[^a-z0-9]/_}
    by_threads "$work" alikms >"$file"
    by_threads "$work" bare >"$file.bare"
    commands+="${commands:+, }'$file' title '$work'"
    [ ! -s "$file.bare" ] || commands+=", '$file.bare' title 'bare: $work' dashtype 2"
  done < <(awk -F'\t' 'NR > 1 {print $1}' "$at/threads.txt" | sort -u)
  plot threads "Throughput by threads, times that of one" "threads" "times" "set logscale x 2; set yrange [0:]; plot $commands"
fi

# Tab-separated lines as a table of Markdown; the lines of `door` are columns of fixed width.
table() { # FILE
  case $1 in
    door) sed -E 's/ {2,}/\t/g' "$at/door.txt" ;;
    keys)
      # A row for each thing measured, a column for each module and number of keys.
      awk -F'\t' 'NR > 1 {
        column = $1 " " $2; if (!(column in known)) { known[column] = 1; columns[++n] = column }
        if (!($3 in row)) { row[$3] = 1; rows[++m] = $3 } value[$3, column] = $4
      } END {
        printf "what"; for (c = 1; c <= n; c++) printf "\t%s", columns[c]; print ""
        for (r = 1; r <= m; r++) { printf "%s", rows[r]; for (c = 1; c <= n; c++) printf "\t%s", value[rows[r], columns[c]]; print "" }
      }' "$at/keys.txt" ;;
    machine) echo "measured on"; cat "$at/machine.txt" ;;
    *) cat "$at/$1.txt" ;;
  esac | awk -F'\t' '{ printf "|"; for (i = 1; i <= NF; i++) printf " %s |", $i; print ""
    if (NR == 1) { printf "|"; for (i = 1; i <= NF; i++) printf "---|"; print "" } }'
}
for name in machine door threads writers nginx keys; do
  [ -s "$at/$name.txt" ] || continue
  table $name >"$at/.table"
  awk -v name="$name" -v file="$at/.table" '
    $0 == "<!-- " name " -->" { print; print ""; while ((getline line <file) > 0) print line; print ""; inside = 1; next }
    $0 == "<!-- end -->" { inside = 0 }
    !inside' "$page" >"$at/.page"
  mv "$at/.page" "$page"
done
rm -f "$at/.table"
