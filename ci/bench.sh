#!/bin/bash
# Measures what the module costs, beside SoftHSM and the bare primitives. Ratios are what counts: the contenders take turns.
#   ci/bench.sh [door] [--rounds N] [OPERATION …]   one operation after the other, on one thread
#   ci/bench.sh threads [--threads N,N…]            work by the number of threads and of processes
#   ci/bench.sh keys [--keys N,N…] [--peer-keys N,N…]  start, search and memory by the number of keys, to a million
#   ci/bench.sh writers                             durable creation by the number of processes
#   ci/bench.sh nginx [--workers N,N…]              CPU of a TLS handshake by where the key is
#   ci/bench.sh all                                 all of it, into docs/performance/, with its plots and the tables of docs/performance.md
#   ci/bench.sh report                              plots and tables of what was measured before
# On a machine that does something else the numbers are rough. A million keys take some ten minutes and 6 GB of /dev/shm.
. "$(dirname "$0")/common.sh"

prepare() { ci/install.sh test >&2; cargo build --release --locked --quiet; }
# In memory, for filling a store of a million keys with an fsync each would take hours on some disks; but durable creation is
# measured on a disk.
scale() { if [ "$1" != writers ] && [ -z "${TMPDIR:-}" ] && [ -w /dev/shm ]; then export TMPDIR=/dev/shm; fi; cargo bench --locked --quiet --bench scale -- "$@"; }
measure() { # WHAT …
  local what=$1
  shift
  case $what in
    door) cargo bench --locked --quiet --bench door -- "$@" ;;
    nginx) benches/nginx.sh "$@" ;;
    *) (scale "$what" "$@") ;;
  esac
}

case ${1:-door} in
  all)
    prepare
    mkdir -p docs/performance
    for what in door threads writers nginx keys; do
      measure $what >"docs/performance/$what.new"
      mv "docs/performance/$what.new" "docs/performance/$what.txt"
    done
    { date --utc '+%F'; sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | sort | uniq -c | sed 's/^ */ /'; rustc --version; git rev-parse --short HEAD; } >docs/performance/machine.txt
    benches/report.sh ;;
  report) benches/report.sh ;;
  door | threads | keys | writers | nginx) prepare; measure "$@" ;;
  *) prepare; measure door "$@" ;;
esac
