#!/bin/bash
# Builds the devices that tests use and no Debian package has: kryoptic, into target/devices. Seconds when it is there already.
. "$(dirname "$0")/common.sh"
need_rust
# Tests that run side by side may all want it.
mkdir -p target
exec 9>target/devices.lock
flock 9
cargo build --release --locked --quiet --manifest-path ci/kryoptic/Cargo.toml --target-dir target/devices
