#!/bin/bash
# stunnel serves TLS with keys of ours through the engine, and curl shows a client certificate whose key is ours.
. "$(dirname "$0")/lib.sh"
need stunnel openssl curl
engine_conf "$W/openssl.cnf"
for key in rsa p256; do cat "$(of $key crt)" "$FIXTURE/ca/sub.pem" >$key.pem; done
plain req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout other.key -out other.pem -days 5 -subj /CN=localhost -addext subjectAltName=DNS:localhost >>"$LOG" 2>&1

# Behind stunnel: the page of an openssl s_server without TLS is not to be had, so Python serves one.
# shellcheck disable=SC2034 # by ${!at}
page_port=$(free_port) rsa_port=$(free_port) p256_port=$(free_port)
mkdir html; echo served >html/index.html
bg python3 -m http.server --bind 127.0.0.1 --directory html "$page_port"
{
  printf '%s\n' "foreground = yes" "pid =" "debug = warning" "engine = pkcs11" "engineCtrl = MODULE_PATH:$MODULE" "engineCtrl = PIN:$PIN" "engineCtrl = INIT"
  for key in rsa p256; do
    at=${key}_port
    printf '%s\n' "[$key]" "accept = 127.0.0.1:${!at}" "connect = 127.0.0.1:$page_port" "cert = $W/$key.pem" "engineNum = 1" "key = $(uri $key)"
  done
} >stunnel.conf
bg env OPENSSL_CONF=/etc/ssl/openssl.cnf stunnel "$W/stunnel.conf"
check "stunnel starts" wait_port "$p256_port" || { tail -n 8 "$LOG"; finish; }
wait_port "$page_port"
for key in rsa p256; do
  at=${key}_port
  check "stunnel with $key, TLS 1.3" tls_ok "${!at}" -tls1_3
  check "stunnel with $key, TLS 1.2" tls_ok "${!at}" -tls1_2
  check "stunnel with $key, 40 requests from 8 clients" pages "${!at}" 40
done
stop_started

port=$(free_port)
bg env OPENSSL_CONF=/etc/ssl/openssl.cnf openssl s_server -accept "127.0.0.1:$port" -cert other.pem -key other.key -CAfile "$FIXTURE/ca/root.pem" -Verify 3 -verify_return_error -www
wait_port "$port"
client() { # KEY curl options: the server's page tells whose certificate it saw
  OPENSSL_CONF=$W/openssl.cnf t 30 curl -sS --max-time 20 --cacert other.pem "https://localhost:$port/" --resolve "localhost:$port:127.0.0.1" --cert "$W/$1.pem" "${@:2}" >shown || return 1
  grep -q "OU *= *$(label "$1")" shown
}
for key in rsa p256; do
  for version in 1.2 1.3; do check "curl --engine pkcs11 with $key, TLS $version" client $key --engine pkcs11 --key-type ENG --key "$(uri $key)" "--tlsv$version" --tls-max $version; done
  check "curl --key pkcs11: with $key" client $key --key "$(with_pin "$(uri $key)")"
done
stranger() { OPENSSL_CONF=$W/openssl.cnf t 30 curl -sS --max-time 20 --cacert other.pem "https://localhost:$port/" --resolve "localhost:$port:127.0.0.1" --cert "$W/rsa.pem" --engine pkcs11 --key-type ENG --key "$(uri p256)"; }
refused "curl with a key that is not the certificate's" stranger
finish
