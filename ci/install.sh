#!/bin/bash
# Installs what is missing of the Debian 12 packages that a task needs:
#   ci/install.sh [quickstart|test|check|count|fuzz|miri|plot]…  (default: test)
# `test` also runs ci/clients.sh, for the clients that come from PyPI and npm.
# Quiet, idempotent, and without any use of the network when nothing is missing. Rust itself is not installed.
. "$(dirname "$0")/common.sh"

# One line a package; "a|b" is satisfied by either, and a is what gets installed.
BUILD="gcc libc6-dev"
QUICKSTART="$BUILD softhsm2 libengine-pkcs11-openssl nginx-light|nginx|nginx-full|nginx-extras openssl curl procps"
TEST="$QUICKSTART opensc osslsigncode gnutls-bin openssh-client openssh-server libp11-kit-dev binutils pkg-config|pkgconf
  p11-kit p11-kit-modules libnss3-tools apache2-bin stunnel4 knot knot-dnssecutils python3 python3-venv g++ nodejs
  libclang1-14|clang libclang-common-14-dev|clang libssl-dev libsqlite3-dev
  swtpm tpm2-tools tpm2-abrmd libtss2-tcti-swtpm0 libtss2-tcti-tabrmd0 libtpm2-pkcs11-1 libtpm2-pkcs11-tools dbus|dbus-daemon
  openjdk-17-jdk-headless|openjdk-17-jdk|default-jdk-headless|default-jdk jq xxd util-linux"
CHECK="$BUILD shellcheck"
COUNT="valgrind"
FUZZ="$TEST g++"
PLOT="gnuplot-nox|gnuplot|gnuplot-qt|gnuplot-x11"

installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

missing() { # of the words given, those of which no alternative is installed
  local word name
  for word in "$@"; do
    for name in ${word//|/ }; do installed "$name" && continue 2; done
    printf '%s\n' "${word%%|*}"
  done
}

# A server package starts its server when it is installed; nobody asked for nginx on port 80 or sshd on port 22.
POLICY=/usr/sbin/policy-rc.d
OWN_POLICY=0 LOG=$(mktemp)
tidy() { [ $OWN_POLICY = 0 ] || "${AS_ROOT[@]}" rm -f $POLICY; OWN_POLICY=0; rm -f "$LOG"; }
trap tidy EXIT
no_servers() { [ -e $POLICY ] || { OWN_POLICY=1; printf '#!/bin/sh\nexit 101\n' | "${AS_ROOT[@]}" tee $POLICY >/dev/null; "${AS_ROOT[@]}" chmod 755 $POLICY; }; }
apt_install() { "${AS_ROOT[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@" >"$LOG" 2>&1; }

words=""
for set in "${@:-test}"; do
  case $set in
    quickstart) words+=" $QUICKSTART" ;;
    test) words+=" $TEST" ;;
    check) words+=" $CHECK" ;;
    count) words+=" $COUNT" ;;
    fuzz) words+=" $FUZZ" ;;
    miri) words+=" $BUILD" ;;
    plot) words+=" $PLOT" ;;
    *) die "ci/install.sh knows the sets quickstart, test, check, count, fuzz, miri and plot, not '$set'." ;;
  esac
done
# Debian's nodejs comes without npm and without headers, those of others with both.
[[ $words != *nodejs* ]] || command -v npm >/dev/null || words+=" npm libnode-dev"
need_rust
command -v dpkg-query >/dev/null || die "this is not a Debian system. Install by hand what corresponds to:$(printf ' %s' $words)"

# shellcheck disable=SC2086 # a list of words
mapfile -t want < <(missing $words | sort -u)
if [ ${#want[@]} -gt 0 ]; then
  AS_ROOT=()
  if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || die "these packages are missing, and you are neither root nor is there sudo. Have root run: apt-get install ${want[*]}"
    AS_ROOT=(sudo)
  fi
  say "installing: ${want[*]}"
  no_servers
  # The package lists of a machine may be fresh, old or absent: they are fetched only when installing fails without.
  apt_install "${want[@]}" || { "${AS_ROOT[@]}" apt-get update -q >"$LOG" 2>&1 && apt_install "${want[@]}"; } \
    || { tail -n 15 "$LOG" >&2; die "apt-get could not install: ${want[*]}"; }
fi

case " ${*:-test} " in
  *" check "*)
    for part in fmt:rustfmt clippy:clippy; do
      cargo "${part%%:*}" --version >/dev/null 2>&1 && continue
      if command -v rustup >/dev/null && rustup component add "${part##*:}" >/dev/null 2>&1; then continue; fi
      die "'cargo ${part%%:*}' is not here: run 'rustup component add ${part##*:}'."
    done ;;
esac
case " ${*:-test} " in *" test "*) ci/clients.sh ;; esac

# Miri exists for nightly Rust only. It is used by ci/miri.sh alone.
case " ${*:-test} " in
  *" miri "*)
    if ! cargo +nightly miri --version >/dev/null 2>&1; then
      command -v rustup >/dev/null || die "Miri needs nightly Rust, and there is no rustup to install it with: https://rustup.rs"
      rustup toolchain install nightly --profile minimal --component miri,rust-src >"$LOG" 2>&1 \
        || { tail -n 15 "$LOG" >&2; die "rustup could not install nightly Rust with Miri."; }
    fi ;;
esac
