#!/bin/bash
# nginx: keys loaded by the master, used by four workers after the fork, as www-data when the test runs as root.
# RSA and EC side by side, TLS 1.2 and 1.3, reloads under load, a killed worker, and a key that is disabled and enabled again.
. "$(dirname "$0")/lib.sh"
need nginx openssl curl
engine_conf "$W/openssl.cnf" 1
rsa_port=$(free_port) ec_port=$(free_port) both_port=$(free_port)
for key in rsa p256; do cat "$(of $key crt)" "$FIXTURE/ca/sub.pem" >$key.pem; done
key() { echo "ssl_certificate $W/$1.pem; ssl_certificate_key \"engine:pkcs11:$(uri "$1")\";"; }
nginx_conf 4 "server { listen 127.0.0.1:$rsa_port ssl; $(key rsa) }
  server { listen 127.0.0.1:$ec_port ssl; $(key p256) }
  server { listen 127.0.0.1:$both_port ssl; $(key rsa) $(key p256) }" "\$pid \$ssl_protocol \$ssl_cipher \$status"
check "nginx -t" nginx_test "$W/error.log" || finish
nginx_start
check "nginx starts" wait_port "$both_port" || { tail -n 6 error.log; finish; }

for version in tls1_3 tls1_2; do
  check "RSA, $version" tls_ok "$rsa_port" -$version
  check "EC, $version" tls_ok "$ec_port" -$version
done
check "RSA of the pair" tls_ok "$both_port" -tls1_2 -cipher ECDHE-RSA-AES128-GCM-SHA256
check "EC of the pair" tls_ok "$both_port" -tls1_2 -cipher ECDHE-ECDSA-AES128-GCM-SHA256
check "RSA of the pair, TLS 1.3" tls_ok "$both_port" -tls1_3 -sigalgs rsa_pss_rsae_sha256
check "EC of the pair, TLS 1.3" tls_ok "$both_port" -tls1_3 -sigalgs ecdsa_secp256r1_sha256

export PORTS="$rsa_port $ec_port $both_port"
check "200 requests" requests 200 answers
spread() { local n; n=$(awk '{print $1}' access.log | sort -u | wc -l); echo "$n workers served"; [ "$n" -ge 2 ]; }
check "several workers served" spread
if [ -n "$WORKER" ]; then
  dropped() { ps -o user= --ppid "$MASTER" | sort | uniq -c | tee shown; [ "$(awk '{print $1 $2}' shown | tr '\n' ' ')" = "4$WORKER " ]; }
  check "the workers are $WORKER" dropped
fi

reload_under_load() { # requests run all the while; three reloads in the middle of them
  local load
  requests 400 loaded >load.out 2>&1 & load=$!
  for _ in 1 2 3; do nginx_reload 4 || { kill $load; return 1; }; done
  wait $load; local status=$?
  cat load.out
  ! grep -E '\[(emerg|alert)\]' error.log || return 1
  return $status
}
check "three reloads under load, no failed handshake" reload_under_load
check "40 requests after the reloads" requests 40 answers
killed() { local one; one=$(workers | awk '{print $1}'); kill -9 "$one" && sleep 0.3 && requests 60 answers && [ "$(workers | wc -w)" = 4 ]; }
check "a killed worker is replaced, no failed handshake" killed
grep -E '\[(emerg|alert|crit)\]' error.log | grep -v 'exited on signal 9' >wrong
quiet() { cat wrong; [ ! -s wrong ]; }
check "nothing worse than an error in the log" quiet

if [ "$REFERENCE" != 1 ]; then
  # More handshakes than workers, so that each of them has to notice.
  all_fail() { for _ in {1..12}; do ! tls_ok "$1" -tls1_3 || return 1; done; }
  all_work() { for _ in {1..12}; do tls_ok "$1" -tls1_3 || return 1; done; }
  for key in rsa:$rsa_port:$ec_port p256:$ec_port:$rsa_port; do
    IFS=: read -r name port other <<<"$key"
    check "DisableKey $name" alikms DisableKey --KeyId "$(cat "$(of "$name" id)")"
    check "the next handshakes with $name fail" all_fail "$port"
    check "those with the other key go on" all_work "$other"
    check "EnableKey $name" alikms EnableKey --KeyId "$(cat "$(of "$name" id)")"
    check "the next handshakes with $name succeed" all_work "$port"
  done
fi
ends() { kill -QUIT "$MASTER"; for _ in {1..100}; do kill -0 "$MASTER" 2>/dev/null || return 0; sleep 0.1; done; echo "still there"; return 1; }
check "nginx ends when asked" ends
finish
