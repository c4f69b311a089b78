#!/bin/bash
# The README's five-minute starts, run as they are written: the blocks after <!-- run: NAME -->, after the quickstart's key and certificate.
. "$(dirname "$0")/lib.sh"
need openssl nginx keytool jarsigner jar osslsigncode curl python3
if [ "$REFERENCE" = 1 ]; then echo "ok - readme: not for the reference"; exit; fi

block() { awk -v want="<!-- run: $1 -->" '$0 == want {found = 1; next} found && /^```sh$/ {inside = 1; next} inside && /^```$/ {exit} inside' "$ROOT/README.md"; }

# What ci/quickstart.sh leaves behind: alias/web with a certificate of a CA of one tier.
key=$FIXTURE/keys/web
quickstart() {
  mkdir -p "$FIXTURE/web" "$FIXTURE/one-tier" || return 1
  [ -s "$key.id" ] || make_key "$LEVEL" web RSA_2048 SIGN/VERIFY || return 1
  plain req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$FIXTURE/one-tier/key.pem" -out "$FIXTURE/ca/cert.pem" -days 9 -subj "/CN=readme CA" \
    -addext keyUsage=critical,keyCertSign,cRLSign || return 1
  alikms csr --KeyId alias/web --Subject CN=localhost >"$key.csr" || return 1
  plain x509 -req -in "$key.csr" -CA "$FIXTURE/ca/cert.pem" -CAkey "$FIXTURE/one-tier/key.pem" -CAcreateserial -days 9 -sha256 -extfile "$FIXTURE/ca/leaf.ext" -out "$FIXTURE/web/cert.pem" || return 1
  alikms attach-certificate --KeyId alias/web --Certificate-FILE "$FIXTURE/web/cert.pem" --CertificateChain-FILE "$FIXTURE/ca/cert.pem" || return 1
  share_keys && chmod 644 "$FIXTURE/web/cert.pem" "$FIXTURE/ca/cert.pem"
}
check "the quickstart's key and certificate" quickstart || finish
python3 "$HERE/program.py" program.exe
export DIR=$FIXTURE MODULE
run() { { block setup; echo "PATH=$(dirname "$ALIKMS"):\$PATH"; block "$1"; } >"$1.run"; [ -n "$(block "$1")" ] || { echo "README.md has no block $1"; return 1; }; t 120 env -u OPENSSL_CONF bash -euo pipefail "$1.run"; }
at_end() { local pid; for pid in "$W/nginx.pid" "$W/shop.pid"; do [ ! -s "$pid" ] || kill -QUIT "$(cat "$pid")" 2>/dev/null; done; }
for name in openssl nginx java osslsigncode certificates renewal; do check "README: $name" run $name; done
new_one() { # a reload takes a moment
  for _ in {1..50}; do plain s_client -connect 127.0.0.1:8445 </dev/null 2>/dev/null | plain x509 -outform PEM | cmp - shop.pem && return; sleep 0.1; done; return 1
}
check "README: the renewed certificate is served" new_one
finish
