#!/bin/bash
# Apache httpd with mod_ssl: keys by PKCS#11 URI through the engine; event workers and prefork; many requests, a graceful restart.
. "$(dirname "$0")/lib.sh"
need apache2 openssl curl
engine_conf "$W/openssl.cnf" 1
modules=/usr/lib/apache2/modules
for key in rsa p256; do cat "$(of $key crt)" "$FIXTURE/ca/sub.pem" >$key.pem; done
mkdir html; echo served >html/index.html
touch error.log; chmod 666 error.log

configure() { # MPM
  local key
  {
    printf '%s\n' "LoadModule mpm_$1_module $modules/mod_mpm_$1.so" "LoadModule authz_core_module $modules/mod_authz_core.so" "LoadModule ssl_module $modules/mod_ssl.so" \
      "ServerRoot $W" "ServerName localhost" "PidFile $W/apache.pid" "ErrorLog $W/error.log" "LogLevel warn" "DefaultRuntimeDir $W" "DocumentRoot $W/html" "SSLSessionCache none" \
      "SSLProtocol -all +TLSv1.2 +TLSv1.3" "StartServers 2" "SSLSessionTickets off" "<Directory $W/html>" "Require all granted" "</Directory>"
    [ -z "$WORKER" ] || printf '%s\n' "User $WORKER" "Group $WORKER"
    for key in rsa p256; do
      local at=${key}_port
      printf '%s\n' "Listen 127.0.0.1:${!at}" "<VirtualHost 127.0.0.1:${!at}>" "SSLEngine on" "SSLCertificateFile $W/$key.pem" "SSLCertificateKeyFile \"$(with_pin "$(uri $key)")\"" "</VirtualHost>"
    done
  } >apache.conf
}
apache() { t 60 env OPENSSL_CONF="$W/openssl.cnf" apache2 -f "$W/apache.conf" "$@"; }
for mpm in event prefork; do
  rsa_port=$(free_port) p256_port=$(free_port)
  configure $mpm
  check "$mpm: configuration" apache -t || continue
  bg env OPENSSL_CONF="$W/openssl.cnf" apache2 -f "$W/apache.conf" -DFOREGROUND
  check "$mpm: starts" wait_port "$p256_port" || { tail -n 5 error.log; stop_started; continue; }
  for key in rsa p256; do
    at=${key}_port
    check "$mpm: TLS 1.3 with $key" tls_ok "${!at}" -tls1_3
    check "$mpm: TLS 1.2 with $key" tls_ok "${!at}" -tls1_2
    check "$mpm: 50 requests with $key" pages "${!at}" 50 index.html
  done
  graceful() { apache -k graceful && sleep 1 && pages "$rsa_port" 10 index.html && pages "$p256_port" 10 index.html; }
  check "$mpm: a graceful restart" graceful
  stop_started
  # What a worker that could not use its key would say; a crash would be there too.
  healthy() { ! grep -E 'Segmentation|exit signal|core dump|:(error|crit|alert|emerg)\]|PKCS' error.log; }
  check "$mpm: nothing in the error log" healthy
  : >error.log
done
finish
