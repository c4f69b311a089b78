#!/bin/bash
# Renewal without an outage: nginx under load while a key gets a new version, a CSR, a certificate, and goes into service by
# `alikms deploy`. Reloads before, during and after: no failed handshake, always a matching pair.
. "$(dirname "$0")/lib.sh"
need nginx openssl curl jq
[ "$REFERENCE" = 1 ] && { ok "renewal is alikms's own"; finish; }
engine_conf "$W/openssl.cnf" 1
port=$(free_port) name=$PREFIX-renewal-$$

check "CreateKey" alikms CreateKey --KeySpec EC_P256 --KeyUsage SIGN/VERIFY --ProtectionLevel "$LEVEL" || finish
key=$(jq -er .KeyMetadata.KeyId <out)
check "CreateAlias" alikms CreateAlias --AliasName "alias/$name" --KeyId "$key"
versions() { alikms ListKeyVersions --KeyId "$key" --PageSize 100 | jq -er '.KeyVersions.KeyVersion[].KeyVersionId'; }
certify_version() { # VERSION CERTIFICATE-FILE [days]
  alikms csr --KeyId "$key" --KeyVersionId "$1" --Subject "CN=localhost,OU=renewal,O=alikms tests,C=CN" >"$2.csr" &&
    issue "$2.csr" "$2" -days "$3" && alikms attach-certificate --KeyId "$key" --Certificate-FILE "$2" --CertificateChain-FILE "$FIXTURE/ca/sub.pem"
}
deploy() { alikms deploy "$W/web" --KeyId "$key" --pin "file:$FIXTURE/pin"; }
first=$(versions)
refused "a key without a certificate is not deployed" deploy
share_keys
check "the first certificate" certify_version "$first" first.pem 10
check "deployed" deploy
served() { [ "$(readlink "$W/web/current")" != "" ] && grep -q "id=" "$W/web/current/nginx.conf"; }
check "what was written" served
again() { deploy >again && grep -q ^kept again; }
check "deploying it again changes nothing" again

nginx_conf 2 "server { listen 127.0.0.1:$port ssl; include $W/web/current/nginx.conf; }"
nginx_start
check "nginx starts" wait_port "$port" || { tail -n 6 error.log; finish; }
check "a handshake" tls_ok "$port" -tls1_3

ROOT_CA=$FIXTURE/ca/root.pem
request() { curl -s --max-time 20 --cacert "$ROOT_CA" "https://localhost:$port/" --resolve "localhost:$port:127.0.0.1" -o /dev/null -w '%{http_code} %{ssl_verify_result} %{exitcode}\n'; }
export -f request; export ROOT_CA port
load() { while [ ! -e "$W/enough" ]; do request; done; }
export -f load; export W
for number in 1 2 3 4; do bash -c load >"$W/load.$number" 2>&1 & done
reload() { nginx_reload 2 && ! grep -E '\[(emerg|alert|crit)\]' "$W/error.log"; }
serial() { plain s_client -connect "127.0.0.1:$port" -servername localhost </dev/null 2>/dev/null | plain x509 -noout -serial; }
serves() { [ "$(serial)" = "$(plain x509 -in "$1" -noout -serial)" ] || { echo "served: $(serial)"; return 1; }; }

check "a reload before" reload
check "a new version" alikms CreateKeyVersion --KeyId "$key"
share_keys
second=$(versions | grep -v "$first")
check "a reload with the new version" reload
check "the first certificate is still served" serves first.pem
# One step: the label, which engines find by, and what is deployed next belong to the new version from now on.
in_service() { alikms uri "$key" | grep -iq "id=%$(tr -d - <<<"$1" | sed 's/../&%/g; s/%$//')"; }
check "the first version is in service" in_service "$first"
check "the second certificate" certify_version "$second" second.pem 20
check "now the second version is in service" in_service "$second"
check "a reload between upload and deployment" reload
check "the first certificate is still served" serves first.pem
check "the second is deployed, and the hook reloads" deploy --hook "kill -HUP $MASTER"
check "a reload during" reload
check "the second certificate is served" serves second.pem

# Switched to and fro while nginx reads its files again and again: never half of one and half of the other.
flips() {
  local turn
  for turn in 1 2 3 4 5 6 7 8; do
    if [ $((turn % 2)) = 1 ]; then alikms promote --KeyId "$key" --KeyVersionId "$first"; else alikms promote --KeyId "$key" --KeyVersionId "$second"; fi && deploy || return 1
  done
  touch "$W/flipped"
}
flips >flips.out 2>&1 &
flipping=$!
matches() {
  local times=0
  while [ ! -e "$W/flipped" ] && kill -0 $flipping 2>/dev/null; do
    nginx_test "$W/test.log" || return 1
    times=$((times + 1))
  done
  wait $flipping || { cat flips.out; return 1; }
  echo "$times times"; [ $times -ge 3 ]
}
check "certificate and key match at every moment" matches
check "a reload after" reload
check "the second certificate is served again" serves second.pem

# The old version works by its explicit name until it is retired.
old="$name@${first:0:8}"
by_old_name() { printf 'message' >message; OPENSSL_CONF=$W/openssl.cnf t 30 openssl dgst -sha256 -engine pkcs11 -keyform engine -sign "pkcs11:token=$TOKEN;object=$old;type=private" -out signature message && [ -s signature ] &&
  plain dgst -sha256 -verify <(plain x509 -in first.pem -noout -pubkey) -signature signature message; }
check "the old version by its explicit name" by_old_name
check "it is retired" alikms retire --KeyId "$key" --KeyVersionId "$first"
refused "and gone from searches" by_old_name
check "a reload at the end" reload

touch enough
# shellcheck disable=SC2046 # a list of process numbers
wait $(jobs -p | grep -v "^$MASTER$") 2>/dev/null
all_served() {
  cat load.? | sort | uniq -c
  [ "$(cat load.? | wc -l)" -ge 100 ] && ! grep -v '^200 0 0$' load.?
}
check "no failed handshake under load" all_served
quiet() { ! grep -E '\[(emerg|alert|crit)\]' error.log; }
check "nothing worse than an error in the log" quiet
finish
