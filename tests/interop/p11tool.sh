#!/bin/bash
# GnuTLS: p11tool lists, exports and signs; certtool makes requests and certificates; gnutls-serv serves, gnutls-cli shows a
# client certificate.
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
# An authority whose key is ours signs: a certificate of its own, another's request.
printf 'cn = alikms authority\nca\ncert_signing_key\ncrl_signing_key\nexpiration_days = 5\nserial = 7\n' >authority.template
printf 'tls_www_server\nsigning_key\nexpiration_days = 5\nserial = 8\n' >leaf.template
plain req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout other.key -out other.csr -subj /CN=localhost >>"$LOG" 2>&1
authority() {
  t 30 certtool --provider "$MODULE" --generate-self-signed --load-privkey "$(uri "$1")" --template authority.template --outfile authority.pem && plain verify -CAfile authority.pem -check_ss_sig authority.pem &&
    t 30 certtool --provider "$MODULE" --generate-certificate --load-request other.csr --load-ca-privkey "$(uri "$1")" --load-ca-certificate authority.pem --template leaf.template --outfile issued.pem &&
    plain verify -CAfile authority.pem issued.pem
}
for key in rsa p256 p384; do check "certtool signs certificates with $key" authority $key; done

# A client certificate of ours.
plain req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout server.key -out self.pem -days 5 -subj /CN=localhost -addext subjectAltName=DNS:localhost >>"$LOG" 2>&1
port=$(free_port)
bg env OPENSSL_CONF=/etc/ssl/openssl.cnf openssl s_server -accept "127.0.0.1:$port" -cert self.pem -key server.key -CAfile "$FIXTURE/ca/root.pem" -Verify 3 -verify_return_error -www
wait_port "$port" >>"$LOG"
client() { # KEY PRIORITY
  cat "$(of "$1" crt)" "$FIXTURE/ca/sub.pem" >client.pem
  printf 'GET / HTTP/1.0\r\n\r\n' | t 30 gnutls-cli --provider "$MODULE" --x509cafile self.pem --x509certfile client.pem --x509keyfile "$(uri "$1")" --priority "$2" --port "$port" --verify-hostname localhost 127.0.0.1 >shown 2>&1
  cat shown; grep -q "OU *= *$(label "$1")" shown
}
for key in rsa p256; do
  check "gnutls-cli with $key, TLS 1.3" client $key NORMAL:-VERS-ALL:+VERS-TLS1.3
  check "gnutls-cli with $key, TLS 1.2" client $key NORMAL:-VERS-ALL:+VERS-TLS1.2
done
stop_started
finish
