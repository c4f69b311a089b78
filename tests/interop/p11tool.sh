#!/bin/bash
# GnuTLS: p11tool lists, exports and signs; certtool makes a request; gnutls-serv serves.
. "$(dirname "$0")/lib.sh"
need p11tool certtool gnutls-serv openssl
export GNUTLS_PIN=$PIN
tool() { t 30 p11tool --provider "$MODULE" "$@"; }
shows() { "${@:2}" >shown 2>&1; cat shown; grep -qE -- "$1" shown; }

check "--list-tokens" shows "URL: pkcs11:.*token=$TOKEN(;|\$)" tool --list-tokens
check "--list-mechanisms" shows CKM_RSA_PKCS_PSS tool --list-mechanisms "pkcs11:token=$TOKEN"
for key in rsa p256 p384; do check "--list-privkeys $key" shows "Label: $(label $key)\$" tool --login --list-privkeys "pkcs11:token=$TOKEN"; done
check "--list-all-certs" shows "Label: $(label rsa)\$" tool --list-all-certs "pkcs11:token=$TOKEN"
der() { plain pkey -pubin -in "$1" -outform DER; }
export_public() { tool --login --export-pubkey "$(uri "$1")" --outfile public.pem && der public.pem >a.der && der "$(of "$1" pub)" >b.der && cmp a.der b.der; }
for key in rsa p256 p384; do check "--export-pubkey $key" export_public $key; done
export_certificate() { tool --export "pkcs11:token=$TOKEN;object=$(label "$1");type=cert" --outfile leaf.pem && plain x509 -in leaf.pem -outform DER -out a.der && plain x509 -in "$(of "$1" crt)" -outform DER -out b.der && cmp a.der b.der; }
for key in rsa p256; do check "--export certificate $key" export_certificate $key; done
check "--list-all-certs shows the chain" shows 'Label: (Throw-away issuer@[0-9a-f]{8}|issuer)$' tool --list-all-certs "pkcs11:token=$TOKEN"
for key in rsa p256 p384; do check "--test-sign $key" tool --login --test-sign "$(uri $key)"; done
check "--test-sign RSA-PSS" tool --login --test-sign --sign-params RSA-PSS "$(uri rsa)"
check "--test-sign by id" tool --login --test-sign "$(uri_by_id p256)"
random() { tool --generate-random 32 "pkcs11:token=$TOKEN" --outfile random && [ -s random ]; }
check "--generate-random" random

printf 'cn = gnutls\norganization = alikms tests\ntls_www_server\nsigning_key\n' >template
request() {
  t 30 certtool --provider "$MODULE" --generate-request --load-privkey "$(uri "$1")" --load-pubkey "$(uri "$1" | sed 's/private/public/')" --template template --outfile csr.pem &&
    plain req -in csr.pem -noout -verify && plain req -in csr.pem -noout -pubkey >a.pem && der a.pem >a.der && der "$(of "$1" pub)" >b.der && cmp a.der b.der
}
for key in rsa p256; do check "certtool --generate-request $key" request $key; done

for key in rsa p256; do
  port=$(free_port)
  cat "$(of $key crt)" "$FIXTURE/ca/sub.pem" >server.pem
  bg gnutls-serv --provider "$MODULE" --http --port "$port" --x509certfile server.pem --x509keyfile "$(uri $key)"
  check "gnutls-serv $key starts" wait_port "$port" || { tail -n 5 "$LOG"; continue; }
  check "gnutls-serv $key TLS 1.3" tls_ok "$port" -tls1_3
  check "gnutls-serv $key TLS 1.2" tls_ok "$port" -tls1_2
  stop_started
done
finish
