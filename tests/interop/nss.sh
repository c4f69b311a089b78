#!/bin/bash
# NSS: modutil, certutil (list, request, key pair and certificate made on the token), cmsutil, a TLS server and a TLS client.
. "$(dirname "$0")/lib.sh"
need modutil certutil cmsutil selfserv tstclnt openssl
token_at_level "$LEVEL"
mkdir db && certutil -N -d sql:db --empty-password >>"$LOG" 2>&1
printf '%s:%s\nNSS Certificate DB:\n' "$TOKEN" "$PIN" >pins
cert() { t 60 certutil "$@" -d sql:db -f pins; }
shows() { "${@:2}" >shown 2>&1; cat shown; grep -qE -- "$1" shown; }

check "modutil -add" t 60 modutil -force -dbdir sql:db -add alikms -libfile "$MODULE" -mechanisms FRIENDLY || finish
check "modutil -list" shows "Token Name: +$TOKEN *\$" t 60 modutil -force -dbdir sql:db -list alikms
cert -A -n root -t CT,, -i "$FIXTURE/ca/root.pem" >>"$LOG" 2>&1
cert -A -n issuer -t ,, -i "$FIXTURE/ca/sub.pem" >>"$LOG" 2>&1
for key in rsa p256; do check "certutil -L shows $(label $key)" shows "^$TOKEN:$(label $key) +u,u,u" cert -L -h "$TOKEN"; done
for key in rsa p256 p384; do check "certutil -K shows $key" shows "$(of $key cka | xargs cut -c 1-32)" cert -K -h "$TOKEN"; done
valid() { cert -V -n "$TOKEN:$(label "$1")" -u "$2" -e; }
for key in rsa p256; do check "certutil -V of $key" valid $key C; done
request() { cert -R -k "$(cat "$(of "$1" cka)")" -h "$TOKEN" -s "CN=nss,O=alikms tests" -a -o csr.pem && plain req -in csr.pem -noout -verify && plain req -in csr.pem -noout -pubkey | plain pkey -pubin -outform DER -out a.der && plain pkey -pubin -in "$(of "$1" pub)" -outform DER -out b.der && cmp a.der b.der; }
for key in rsa p256 p384; do check "certutil -R with $key" request $key; done

# A key pair born on the token, and its certificate stored there.
head -c 64 /dev/urandom >noise
born() { # NICKNAME certutil options
  cert -S -n "$1" -s "CN=$1,O=alikms tests" -x -t ,, -h "$TOKEN" -z noise -m "$RANDOM" "${@:2}" && cert -L -h "$TOKEN" -n "$TOKEN:$1" -a >born.pem && plain x509 -in born.pem -noout -subject && plain verify -CAfile born.pem -check_ss_sig born.pem
}
gone() { cert -F -n "$TOKEN:$1" && ! cert -L -h "$TOKEN" -n "$TOKEN:$1" >/dev/null; }
check "certutil -S makes an RSA pair" born "$PREFIX-nss-rsa" -k rsa -g 2048 -Z SHA256
check "certutil -S makes a P-256 pair" born "$PREFIX-nss-ec" -k ec -q nistp256 -Z SHA256
for kind in rsa ec; do check "certutil -F destroys the $kind pair" gone "$PREFIX-nss-$kind"; done

head -c 3000 /dev/urandom >data
cms() { t 60 cmsutil -S -d sql:db -f pins -N "$TOKEN:$(label "$1")" -Y NONE -G -H SHA256 -i data -o data.cms && plain cms -verify -inform DER -in data.cms -CAfile "$FIXTURE/ca/root.pem" -certfile "$FIXTURE/ca/sub.pem" -purpose any -out opened && cmp data opened; }
for key in rsa p256; do check "cmsutil -S with $key" cms $key; done

for key in rsa p256; do
  port=$(free_port)
  [ $key = rsa ] && name=-n || name=-e
  bg selfserv -d sql:db -f pins $name "$TOKEN:$(label $key)" -p "$port" -V tls1.2:tls1.3 -t 4
  check "selfserv with $key starts" wait_port "$port" || { tail -n 5 "$LOG"; continue; }
  check "selfserv with $key, TLS 1.3" tls_ok "$port" -tls1_3
  check "selfserv with $key, TLS 1.2" tls_ok "$port" -tls1_2
  many() { local good; good=$(seq 20 | xargs -P 4 -I{} sh -c "openssl s_client -connect 127.0.0.1:$port -CAfile '$FIXTURE/ca/root.pem' -verify_return_error </dev/null 2>/dev/null | grep -c 'Verify return code: 0 (ok)'" | grep -c '^[12]'); echo "$good of 20"; [ "$good" = 20 ]; }
  check "selfserv with $key, 20 handshakes" many
  stop_started
done

server_port=$(free_port)
plain req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout other.key -out other.pem -days 5 -subj /CN=localhost -addext subjectAltName=DNS:localhost >>"$LOG" 2>&1
cert -A -n other -t P,, -i other.pem >>"$LOG" 2>&1
bg env OPENSSL_CONF=/etc/ssl/openssl.cnf openssl s_server -accept "127.0.0.1:$server_port" -cert other.pem -key other.key -CAfile "$FIXTURE/ca/root.pem" -Verify 3 -verify_return_error -www
wait_port "$server_port" >>"$LOG"
printf 'GET / HTTP/1.0\r\n\r\n' >request
client() { t 30 tstclnt -4 -A request -h localhost -a localhost -p "$server_port" -d sql:db -n "$TOKEN:$(label "$1")" -w "$PIN" -V "$2:$2" >shown 2>&1; cat shown; grep -q "Client certificate" shown && grep -q "OU *= *$(label "$1")" shown; }
for key in rsa p256; do for version in tls1.2 tls1.3; do check "tstclnt with $key, $version" client $key $version; done; done
finish
