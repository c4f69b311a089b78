#!/bin/bash
# Measures what the module costs, beside SoftHSM and the bare primitives. Ratios are what counts: the contenders take turns.
#   ci/bench.sh [door] [--rounds N] [OPERATION …]      one operation after the other, on one thread (2 minutes)
#   ci/bench.sh threads [--threads N,N…] [--rounds N] [--turn MS]   work by the number of threads and of processes (4 minutes)
#   ci/bench.sh keys [--keys N,N…] [--peer-keys N,N…] [--rounds N]  start, search and memory by the number of keys, to a million
#   ci/bench.sh writers [--rounds N] [--turn MS]       durable creation by the number of processes (1 minute)
#   ci/bench.sh nginx [--workers N,N…] [--rounds N] [--seconds N]   CPU of a TLS handshake by where the key is (10 minutes)
#   ci/bench.sh all       all of it, into docs/performance/, with its plots and the tables of docs/performance.md: some 35
#                         minutes on two idle cores, of which half for a million keys, which want 6 GB of /dev/shm
#   ci/bench.sh quick     the same in a few small rounds, into target/performance/: whether all of it works, no figures to keep
#   ci/bench.sh report    plots and tables of what was measured before
# On a machine that does something else the numbers are rough.
. "$(dirname "$0")/common.sh"

prepare() { ci/install.sh test >&2; ci/devices.sh >&2; cargo build --release --locked --quiet; }
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

# Everything, each part with its OPTIONS.
declare -A OPTIONS=([nginx]="--seconds 2")
everything() { # DIRECTORY PAGE
  local what options began
  prepare
  mkdir -p "$1"
  for what in door threads writers nginx keys; do
    read -ra options <<<"${OPTIONS[$what]:-}"
    began=$SECONDS
    measure $what "${options[@]}" >"$1/$what.new"
    mv "$1/$what.new" "$1/$what.txt"
    say "$what took $((SECONDS - began)) s"
  done
  { date --utc '+%F'; sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | sort | uniq -c | sed 's/^ */ /'; rustc --version; git rev-parse --short HEAD; } >"$1/machine.txt"
  benches/report.sh "$1" "$2"
}

case ${1:-door} in
  all) everything docs/performance docs/performance.md ;;
  quick)
    OPTIONS=(
      [door]="--rounds 1 p256 aes-gcm" [threads]="--rounds 1 --threads 1,2 --turn 50" [writers]="--rounds 1 --turn 300"
      [nginx]="--rounds 1 --seconds 1 --workers 1" [keys]="--rounds 1 --keys 10,1000 --peer-keys 10"
    )
    mkdir -p target/performance
    cp docs/performance.md target/performance/
    everything target/performance target/performance/performance.md ;;
  report) benches/report.sh ;;
  door | threads | keys | writers | nginx) prepare; measure "$@" ;;
  *) prepare; measure door "$@" ;;
esac
