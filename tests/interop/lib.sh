# What every client script shares; sourced, never run.  A script is called as: CLIENT.sh [HSM|SOFTWARE]
#
# The fixture (made once by run.sh, or here when a script runs alone) is a directory with a SoftHSM token, a store, and at
# each level the keys rsa p256 p384 k256 (SIGN/VERIFY; rsa and p256 with certificate and chain) and dec (RSA, ENCRYPT/DECRYPT),
# labelled hsm-rsa … sw-dec.  Beside each: keys/LABEL.pub (from `alikms GetPublicKey`), .crt, .id, .version, .cka (CKA_ID).
#
#   REFERENCE=1     plain SoftHSM2 in place of our module: tells a fault of ours from a fault of a client or of a test
#   MODULE, ALIKMS  other builds than target/release's
#   KEEP=1          keeps the directories
# shellcheck shell=bash
set -uo pipefail
export LC_ALL=C.UTF-8 PATH=$PATH:/usr/sbin:/sbin
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(cd "$HERE/../.." && pwd)
CLIENT=$(basename "$0" .sh)
LEVEL=${1:-HSM}
case $LEVEL in HSM) PREFIX=hsm ;; SOFTWARE) PREFIX=sw ;; *) echo "usage: $CLIENT.sh [HSM|SOFTWARE]" >&2; exit 2 ;; esac
REFERENCE=${REFERENCE:-0}
if [ "$REFERENCE" = 1 ]; then
  TOKEN=alikms-hsm
  MODULE=${MODULE:-/usr/lib/softhsm/libsofthsm2.so}
else
  TOKEN=alikms
  MODULE=${MODULE:-$ROOT/target/release/libalikms_pkcs11.so}
fi
ALIKMS=${ALIKMS:-$ROOT/target/release/alikms}
[ "$(id -u)" = 0 ] && WORKER=www-data || WORKER="" # the user that servers drop to

# --- one place for results ---------------------------------------------------------------------------------------------
GOOD=0 BAD=0
ok() { printf 'ok - %s %s: %s\n' "$CLIENT" "$LEVEL" "$1"; GOOD=$((GOOD + 1)); }
bad() { # NAME [FILE with output]
  printf 'FAIL - %s %s: %s\n' "$CLIENT" "$LEVEL" "$1"; BAD=$((BAD + 1))
  if [ -n "${2:-}" ]; then tail -n "${TAIL:-8}" "$2" | cut -c 1-300 | sed 's/^/    | /'; fi
}
# check NAME COMMAND…: passes when the command succeeds.
check() { local name=$1; shift; if "$@" >"$W/out" 2>&1; then ok "$name"; else bad "$name" "$W/out"; return 1; fi; }
# refused NAME COMMAND…: passes when the command fails by its own decision, neither by a signal nor by running out of time.
refused() {
  local name=$1 status=0; shift
  "$@" >"$W/out" 2>&1 || status=$?
  if [ $status -gt 0 ] && [ $status -lt 124 ]; then ok "$name"; else echo "status $status" >>"$W/out"; bad "$name" "$W/out"; return 1; fi
}
die() { bad "$1" "${2:-}"; finish; }
finish() { [ $BAD = 0 ] && [ $GOOD -gt 0 ]; exit; }
need() { local name; for name in "$@"; do command -v "$name" >/dev/null || die "the program $name is here (ci/install.sh test)"; done; }

# --- processes ---------------------------------------------------------------------------------------------------------
t() { local seconds=$1; shift; timeout --kill-after=3 "$seconds" "$@"; }
STARTED=()
# bg COMMAND…: a server in a process group of its own, so that its children end with it; its pid in LAST.
bg() { setsid "$@" >>"$LOG" 2>&1 </dev/null & LAST=$!; STARTED+=("$LAST"); }
stop_started() {
  local pid
  for pid in ${STARTED[@]+"${STARTED[@]}"}; do kill -- "-$pid" 2>/dev/null; done
  for pid in ${STARTED[@]+"${STARTED[@]}"}; do
    for _ in {1..30}; do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
    kill -9 -- "-$pid" 2>/dev/null
  done
  STARTED=()
}
busy() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
free_port() { local port; while port=$((20000 + RANDOM % 20000)); do busy $port || { echo $port; return; }; done; }
wait_port() { for _ in {1..150}; do busy "$1" && return; sleep 0.1; done; echo "nothing listens on port $1"; return 1; }

# --- the fixture -------------------------------------------------------------------------------------------------------
alikms() { t 60 "$ALIKMS" "$@"; }
pt() { t 60 pkcs11-tool --module "$MODULE" --token-label "$TOKEN" "$@"; }
logged_in() { pt --login --pin "$PIN" "$@"; }
# openssl without any engine: the independent judge of every result.
plain() { OPENSSL_CONF=/etc/ssl/openssl.cnf t 30 openssl "$@"; }

make_authority() { # root and issuing CA in DIR
  local dir=$1
  mkdir -p "$dir"
  plain req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$dir/root.key" -out "$dir/root.pem" -days 30 \
    -subj "/O=alikms tests/CN=Throw-away root" -addext keyUsage=critical,keyCertSign,cRLSign
  plain req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$dir/sub.key" -out "$dir/sub.csr" -subj "/O=alikms tests/CN=Throw-away issuer"
  printf 'basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n' >"$dir/sub.ext"
  plain x509 -req -in "$dir/sub.csr" -CA "$dir/root.pem" -CAkey "$dir/root.key" -CAcreateserial -days 30 -sha256 -extfile "$dir/sub.ext" -out "$dir/sub.pem"
  printf '%s\n' basicConstraints=critical,CA:FALSE keyUsage=critical,digitalSignature subjectKeyIdentifier=hash authorityKeyIdentifier=keyid \
    extendedKeyUsage=serverAuth,clientAuth,codeSigning,emailProtection subjectAltName=DNS:localhost,IP:127.0.0.1,email:signer@example.test >"$dir/leaf.ext"
}
issue() { # CSR CERTIFICATE [openssl x509 options]
  plain x509 -req -in "$1" -CA "$FIXTURE/ca/sub.pem" -CAkey "$FIXTURE/ca/sub.key" -CAcreateserial -days 20 -sha256 -extfile "$FIXTURE/ca/leaf.ext" -out "$2" "${@:3}"
}
text() { [ -s "$1" ] || { echo "$1 is empty" >&2; return 1; }; } # a command that succeeded with nothing to say has failed

make_key() { # LEVEL LABEL SPEC USAGE
  local level=$1 label=$2 at=$FIXTURE/keys/$2
  alikms CreateKey --KeySpec "$3" --KeyUsage "$4" --ProtectionLevel "$level" --query KeyMetadata.KeyId >"$at.id" && text "$at.id" || return 1
  alikms CreateAlias --AliasName "alias/$label" --KeyId "$(cat "$at.id")" >/dev/null || return 1
  alikms ListKeyVersions --KeyId "$(cat "$at.id")" | jq -er '.KeyVersions.KeyVersion[0].KeyVersionId' >"$at.version" || return 1
  tr -d '\n-' <"$at.version" >"$at.cka"
  alikms GetPublicKey --KeyId "$(cat "$at.id")" --KeyVersionId "$(cat "$at.version")" --query PublicKey >"$at.pub" && text "$at.pub"
}
certify() { # LABEL
  local at=$FIXTURE/keys/$1
  alikms csr --KeyId "alias/$1" --Subject "CN=localhost,OU=$1,O=alikms tests,C=CN" >"$at.csr" && text "$at.csr" || return 1
  plain req -in "$at.csr" -noout -verify || return 1
  issue "$at.csr" "$at.crt" || return 1
  alikms attach-certificate --KeyId "alias/$1" --Certificate-FILE "$at.crt" --CertificateChain-FILE "$FIXTURE/ca/sub.pem"
}

reference_key() { # LABEL TYPE: the same on a plain SoftHSM token
  local at=$FIXTURE/keys/$1 id curve=${2#EC:} point
  id=$(printf %s "$1" | md5sum | cut -c 1-32)
  echo "$id" >"$at.cka"
  point=$(logged_in --keypairgen --key-type "$2" --id "$id" --label "$1" --usage-sign --usage-decrypt | tee "$at.log" | awk '/EC_POINT:/ {print substr($2, 5)}') || return 1
  if [ -z "$point" ]; then
    logged_in --read-object --type pubkey --id "$id" -o "$at.der" || return 1
  else # pkcs11-tool 0.23 exports no P-384 and no secp256k1
    printf '%s\n' asn1=SEQUENCE:key '[key]' algorithm=SEQUENCE:algorithm "point=FORMAT:HEX,BITSTRING:$point" '[algorithm]' kind=OID:id-ecPublicKey "curve=OID:$curve" >"$at.asn1"
    plain asn1parse -genconf "$at.asn1" -noout -out "$at.der" || return 1
  fi
  plain pkey -pubin -inform DER -in "$at.der" -pubout -out "$at.pub"
}
reference_certificate() {
  local at=$FIXTURE/keys/$1
  plain req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$at.none" -subj "/C=CN/O=alikms tests/OU=$1/CN=localhost" -out "$at.csr" &&
    issue "$at.csr" "$at.crt" -force_pubkey "$at.pub" && plain x509 -in "$at.crt" -outform DER -out "$at.der" &&
    logged_in --write-object "$at.der" --type cert --id "$(cat "$at.cka")" --label "$1"
}

fill_fixture() {
  local level prefix row name spec usage
  "$ROOT/softhsm-conf/make-token.sh" "$FIXTURE" ${WORKER:+--group "$WORKER"} || return 1
  mkdir -p "$FIXTURE/keys" && make_authority "$FIXTURE/ca" || return 1
  use_fixture
  [ "$REFERENCE" = 1 ] || alikms init --pin "file:$FIXTURE/pin" --so-pin "file:$FIXTURE/so.pin" ${WORKER:+--group "$WORKER"} || return 1
  for level in HSM SOFTWARE; do
    [ $level = HSM ] && prefix=hsm || prefix=sw
    for row in rsa:RSA_2048:SIGN/VERIFY:rsa:2048 p256:EC_P256:SIGN/VERIFY:EC:prime256v1 p384:EC_P384:SIGN/VERIFY:EC:secp384r1 \
      k256:EC_P256K:SIGN/VERIFY:EC:secp256k1 dec:RSA_2048:ENCRYPT/DECRYPT:rsa:2048; do
      IFS=: read -r name spec usage type <<<"$row"
      if [ "$REFERENCE" = 1 ]; then reference_key "$prefix-$name" "$type" || return 1; else make_key $level "$prefix-$name" "$spec" "$usage" || return 1; fi
    done
    for name in rsa p256; do
      if [ "$REFERENCE" = 1 ]; then reference_certificate "$prefix-$name" || return 1; else certify "$prefix-$name" || return 1; fi
    done
  done
  [ "$REFERENCE" != 1 ] || { plain x509 -in "$FIXTURE/ca/sub.pem" -outform DER -out "$FIXTURE/ca/sub.der" && logged_in --write-object "$FIXTURE/ca/sub.der" --type cert --id ca --label issuer; } || return 1
  share_keys
}
# Keys that root made in SoftHSM are readable by root alone until then.
share_keys() { [ -z "$WORKER" ] || "$ROOT/softhsm-conf/make-token.sh" "$FIXTURE" --group "$WORKER" --share; }

use_fixture() {
  if [ "$REFERENCE" = 1 ]; then
    export SOFTHSM2_CONF=$FIXTURE/softhsm2.conf
    PIN=$(cat "$FIXTURE/device.pin")
  else
    export ALIKMS_CONF=$FIXTURE/alikms.toml # the device's own environment is in its [[device]] table
    unset SOFTHSM2_CONF
    PIN=$(cat "$FIXTURE/pin")
  fi
  export PIN
}
make_fixture() {
  [ -e "$MODULE" ] || { echo "no module at $MODULE: cargo build --release" >&2; return 1; }
  mkdir -p "$FIXTURE" && chmod 755 "$FIXTURE"
  if ! fill_fixture >"$FIXTURE/log" 2>&1; then
    echo "the fixture could not be made:"; tail -n 15 "$FIXTURE/log"
    return 1
  fi
}

# --- names -------------------------------------------------------------------------------------------------------------
label() { echo "$PREFIX-$1"; }
of() { echo "$FIXTURE/keys/$PREFIX-$1.$2"; }              # of rsa pub → the file
uri() { echo "pkcs11:token=$TOKEN;object=$PREFIX-$1;type=private"; }
uri_by_id() { echo "pkcs11:token=$TOKEN;id=$(sed 's/../%&/g' "$(of "$1" cka)");type=private"; }
with_pin() { echo "$1;pin-value=$PIN"; }

# token_at_level LEVEL: keys that generic tools create are at this level from here on.
token_at_level() {
  [ "$REFERENCE" != 1 ] || return 0
  sed -E "s/^(protection_level = )\"HSM\"/\\1\"$1\"/" "$FIXTURE/alikms.toml" >"$W/alikms.toml"
  chmod 644 "$W/alikms.toml"
  export ALIKMS_CONF=$W/alikms.toml
}

# engine_conf FILE: openssl.cnf for libengine-pkcs11-openssl. init = 1 because nginx loads keys without initialising the engine.
engine_conf() {
  cat >"$1" <<CONF
openssl_conf = start
[start]
engines = engines
[engines]
pkcs11 = pkcs11
[pkcs11]
engine_id = pkcs11
MODULE_PATH = $MODULE
PIN = $PIN
init = ${2:-0}
[req]
distinguished_name = name
[name]
CONF
}
# tls_ok PORT [s_client options]: a full handshake, chain and name verified by an openssl that has no engine.
tls_ok() {
  local port=$1; shift
  plain s_client -connect "127.0.0.1:$port" -servername localhost -verify_hostname localhost -CAfile "$FIXTURE/ca/root.pem" -verify_return_error "$@" </dev/null >"$W/tls" 2>&1
  local status=$?
  grep -E 'Verif|Protocol|Cipher' "$W/tls" | sort -u
  [ $status = 0 ] && grep -q 'Verify return code: 0 (ok)' "$W/tls"
}

# request NUMBER: goes through $PORTS and TLS versions. One line "200 0 0" where all is well: status, curl's verdict on the
# chain, curl's exit code. Every request is a full handshake.
request() {
  local limit=(--tlsv1.3) ports port
  read -ra ports <<<"$PORTS"
  port=${ports[$(($1 % ${#ports[@]}))]}
  [ $(($1 / ${#ports[@]} % 2)) = 0 ] || limit=(--tlsv1.2 --tls-max 1.2)
  curl -s --max-time 20 --cacert "$FIXTURE/ca/root.pem" "${limit[@]}" "https://localhost:$port/" --resolve "localhost:$port:127.0.0.1" -o /dev/null -w '%{http_code} %{ssl_verify_result} %{exitcode}\n'
}
requests() { # HOW-MANY FILE [AT-ONCE]
  export -f request; export FIXTURE PORTS
  seq "$1" | xargs -P "${3:-8}" -I{} bash -c 'request {}' >"$2" 2>&1
  local good; good=$(grep -c '^200 0 0$' "$2")
  echo "$good of $1 answered"
  [ "$good" = "$1" ] || { sort "$2" | uniq -c; grep -E 'alert|emerg|crit|SSL' error.log | tail -n 5; return 1; }
}
under_load() { # HOW-MANY COMMAND…: so many requests at a time run again and again until it has ended
  local load status=0 count=$1
  shift
  rm -f ended
  { while [ ! -e ended ]; do requests "$count" loaded 16 || exit 1; done; } >load.out 2>&1 & load=$!
  sleep 0.5
  "$@" || status=1
  touch ended
  wait $load || status=1
  tail -n 3 load.out
  return $status
}
same() { echo "before $1"; echo "now    $(workers)"; [ "$(workers)" = "$1" ]; } # are nginx's workers those that were?

pages() { # PORT HOW-MANY [PAGE]: by 8 clients at once; each page has the word "served"
  local good
  good=$(seq "$2" | xargs -P 8 -I{} curl -s --max-time 20 --cacert "$FIXTURE/ca/root.pem" "https://localhost:$1/${3:-}" --resolve "localhost:$1:127.0.0.1" | grep -c served)
  echo "$good of $2"; [ ! -s error.log ] || tail -n 3 error.log
  [ "$good" = "$2" ]
}

# --- nginx -------------------------------------------------------------------------------------------------------------
# nginx_conf WORKERS SERVERS [LOG-FORMAT]: nginx.conf in W for these server blocks.
nginx_conf() {
  local log="access_log off;"
  [ -z "${3:-}" ] || log="log_format line '$3'; access_log $W/access.log line;"
  mkdir -m 777 tmp; mkdir html; echo "served" >html/index.html
  touch access.log error.log; chmod 666 access.log error.log
  cat >nginx.conf <<CONF
${WORKER:+user $WORKER;}
env OPENSSL_CONF;
env ALIKMS_CONF;
env SOFTHSM2_CONF;
daemon off;
worker_processes $1;
pid $W/nginx.pid;
error_log $W/error.log info;
events { worker_connections 256; }
http {
  $log
  client_body_temp_path $W/tmp/1; proxy_temp_path $W/tmp/2; fastcgi_temp_path $W/tmp/3; uwsgi_temp_path $W/tmp/4; scgi_temp_path $W/tmp/5;
  ssl_protocols TLSv1.2 TLSv1.3;
  ssl_session_cache off;
  ssl_session_tickets off;
  keepalive_timeout 0;
  root $W/html;
  $2
}
CONF
}
nginx_test() { env OPENSSL_CONF="$W/openssl.cnf" timeout 30 nginx -e "$1" -t -c "$W/nginx.conf"; }
# Its pid in MASTER.
nginx_start() { bg env OPENSSL_CONF="$W/openssl.cnf" nginx -e "$W/error.log" -c "$W/nginx.conf"; MASTER=$LAST; }
workers() { ps -o pid= --ppid "$MASTER" | sort -n | tr -s ' \n' ' '; }
# nginx_reload WORKERS: so many workers afterwards, all of them new ones.
nginx_reload() {
  local count=$1 before now pid
  before=$(workers)
  kill -HUP "$MASTER" || return 1
  for _ in {1..200}; do
    now=$(workers)
    # shellcheck disable=SC2086
    set -- $now
    if [ $# = "$count" ]; then
      for pid in $now; do [[ " $before " != *" $pid "* ]] || continue 2; done
      return 0
    fi
    sleep 0.1
  done
  echo "before: $before now: $(workers)"; return 1
}

# --- start -------------------------------------------------------------------------------------------------------------
tidy() {
  trap - EXIT INT TERM
  stop_started
  declare -F at_end >/dev/null && at_end
  if [ "${KEEP:-0}" = 1 ]; then echo "kept $W${OWN_FIXTURE:+ and $FIXTURE}"; else rm -rf "$W" ${OWN_FIXTURE:+"$FIXTURE"}; fi
}
start() {
  W=$(mktemp -d "${TMPDIR:-/tmp}/alikms-$CLIENT.XXXXXX") || exit 1
  chmod 755 "$W"
  LOG=$W/log; : >"$LOG"
  trap tidy EXIT; trap 'exit 130' INT TERM
  if [ -z "${FIXTURE:-}" ]; then
    OWN_FIXTURE=1 FIXTURE=$W.fixture
    make_fixture >"$W/made" 2>&1 || die "fixture" "$W/made"
  else
    use_fixture
  fi
  cd "$W" || exit 1
}
[ "$CLIENT" = run ] || start
