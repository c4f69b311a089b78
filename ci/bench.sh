#!/bin/bash
# Measures what the door costs, beside SoftHSM and the bare primitives: ci/bench.sh [--rounds N] [OPERATION …]
# Ratios are what counts: the contenders take turns. On a machine that does something else they are still rough.
. "$(dirname "$0")/common.sh"
timed "what the benchmark needs" ci/install.sh test
exec cargo bench --locked --bench door -- "$@"
