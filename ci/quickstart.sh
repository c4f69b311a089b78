#!/bin/bash
# From nothing to a web server whose key lives in an HSM:  ci/quickstart.sh [--keep] [DIR]
# Installs what is missing, builds, makes a throw-away SoftHSM token in DIR, creates an HSM key and its certificate, serves
# TLS with nginx through the module, fetches the page and verifies it. Run it again as often as you like: what exists is kept.
#   --keep   leaves nginx running
. "$(dirname "$0")/common.sh"

keep=0 dir=""
for word in "$@"; do
  case $word in
    --keep) keep=1 ;;
    -*) sed -n '2,5s/^# //p' "$0" >&2; exit 2 ;;
    *) dir=$word ;;
  esac
done
export PATH=$PATH:/usr/sbin:/sbin
# As root, nginx's workers drop to www-data, which cannot look into /root; as a user everything stays that user's.
if [ "$(id -u)" = 0 ]; then worker=www-data; else worker=""; fi
if [ -z "$dir" ]; then if [ -n "$worker" ]; then dir=/var/lib/alikms-quickstart; else dir=${XDG_STATE_HOME:-$HOME/.local/state}/alikms-quickstart; fi; fi

step() { printf '\n== %s\n' "$*"; }
show() { printf '   $ %s\n' "$*"; "$@"; }

step "1. What is needed"
ci/install.sh quickstart
cargo build --release --locked
module=$ROOT/target/release/libalikms_pkcs11.so
alikms=$ROOT/target/release/alikms

step "2. A throw-away HSM and a store, in $dir"
umask 027 # from here on there are secrets
mkdir -p "$dir"
softhsm-conf/make-token.sh "$dir" ${worker:+--group "$worker"}
dir=$(cd "$dir" && pwd)
export ALIKMS_CONF=$dir/alikms.toml
show "$alikms" init --pin "file:$dir/pin" --so-pin "file:$dir/so.pin" ${worker:+--group "$worker"}

step "3. A key that is born in the HSM and never leaves it"
if ! key=$("$alikms" DescribeKey --KeyId alias/web --query KeyMetadata.KeyId 2>/dev/null); then
  key=$(show "$alikms" CreateKey --KeySpec RSA_2048 --KeyUsage SIGN/VERIFY --ProtectionLevel HSM --query KeyMetadata.KeyId | tee /dev/stderr | tail -n 1)
  show "$alikms" CreateAlias --AliasName alias/web --KeyId "$key" >/dev/null
fi
say "   alias/web is $key, protection level $("$alikms" DescribeKey --KeyId alias/web --query KeyMetadata.ProtectionLevel)"
# SoftHSM makes each key file readable by its maker alone; the workers need it too.
softhsm-conf/make-token.sh "$dir" ${worker:+--group "$worker"} --share

step "4. Its certificate, from a throw-away CA"
mkdir -p "$dir/ca" "$dir/web"
if [ ! -s "$dir/web/cert.pem" ] || ! openssl x509 -in "$dir/web/cert.pem" -noout -checkend 86400 >/dev/null; then
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$dir/ca/key.pem" -out "$dir/ca/cert.pem" -days 90 \
    -subj "/CN=alikms quickstart CA" -addext keyUsage=critical,keyCertSign,cRLSign 2>/dev/null
  say "   \$ alikms csr --KeyId alias/web --Subject CN=localhost > web.csr"
  "$alikms" csr --KeyId alias/web --Subject CN=localhost >"$dir/web/web.csr"
  openssl req -in "$dir/web/web.csr" -noout -verify
  printf 'basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth,codeSigning,emailProtection\nsubjectAltName=DNS:localhost,IP:127.0.0.1\n' >"$dir/ca/leaf.ext"
  openssl x509 -req -in "$dir/web/web.csr" -CA "$dir/ca/cert.pem" -CAkey "$dir/ca/key.pem" -CAcreateserial -days 60 -sha256 -extfile "$dir/ca/leaf.ext" -out "$dir/web/cert.pem" 2>/dev/null
  show "$alikms" attach-certificate --KeyId alias/web --Certificate-FILE "$dir/web/cert.pem" --CertificateChain-FILE "$dir/ca/cert.pem"
fi

step "5. nginx, with the key in the HSM"
uri="pkcs11:token=alikms;object=web;type=private"
free_port() { local port=8443; while (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do port=$((port + 1)); done; echo $port; }
stop_nginx() {
  [ -s "$dir/nginx.pid" ] || return 0
  local pid; pid=$(cat "$dir/nginx.pid")
  # A pid in a file may be anybody's by now.
  tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -qF "$dir/nginx.conf" && kill -QUIT "$pid" && for _ in {1..100}; do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
  rm -f "$dir/nginx.pid"
}
stop_nginx # of an earlier --keep
port=$(free_port)
cat >"$dir/openssl.cnf" <<CONF
openssl_conf = start
[start]
engines = engines
[engines]
pkcs11 = pkcs11
[pkcs11]
engine_id = pkcs11
MODULE_PATH = $module
PIN = $(cat "$dir/pin")
init = 1
CONF
mkdir -p "$dir/web/html" "$dir/web/tmp" "$dir/web/log"
say "Hello from nginx. The key of this connection is in an HSM." >"$dir/web/html/index.html"
cat >"$dir/nginx.conf" <<CONF
${worker:+user $worker;}
env OPENSSL_CONF;
env ALIKMS_CONF;
worker_processes 2;
pid $dir/nginx.pid;
error_log $dir/web/log/error.log;
events {}
http {
  access_log $dir/web/log/access.log;
  client_body_temp_path $dir/web/tmp/1; proxy_temp_path $dir/web/tmp/2; fastcgi_temp_path $dir/web/tmp/3; uwsgi_temp_path $dir/web/tmp/4; scgi_temp_path $dir/web/tmp/5;
  server {
    listen 127.0.0.1:$port ssl;
    server_name localhost;
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_certificate $dir/web/cert.pem;
    ssl_certificate_key "engine:pkcs11:$uri";
    root $dir/web/html;
  }
}
CONF
[ -z "$worker" ] || chgrp -R "$worker" "$dir/web" "$dir/openssl.cnf" "$dir/nginx.conf"
say "   ssl_certificate_key \"engine:pkcs11:$uri\";"
OPENSSL_CONF=$dir/openssl.cnf nginx -e "$dir/web/log/error.log" -c "$dir/nginx.conf" || { tail -n 5 "$dir/web/log/error.log" >&2; die "nginx did not start"; }
[ $keep = 1 ] || trap stop_nginx EXIT

step "6. A page, fetched and verified"
for _ in {1..50}; do (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break; sleep 0.1; done
show curl --silent --show-error --fail --cacert "$dir/ca/cert.pem" "https://localhost:$port/" --resolve "localhost:$port:127.0.0.1" \
  || { tail -n 5 "$dir/web/log/error.log" >&2; die "the page could not be fetched"; }
openssl s_client -connect "127.0.0.1:$port" -servername localhost -verify_hostname localhost -CAfile "$dir/ca/cert.pem" -verify_return_error </dev/null 2>&1 \
  | grep -E '^ *(Verify return code|Protocol|New, )' | sort -u | sed 's/^ */   /' | tee "$dir/web/verdict"
grep -q 'Verify return code: 0 (ok)' "$dir/web/verdict" || die "the certificate did not verify"

step "Done"
if [ $keep = 1 ]; then say "nginx is running: https://localhost:$port/ (stop it with: kill -QUIT $(cat "$dir/nginx.pid"))"; else say "nginx has been stopped; --keep leaves it running."; fi
cat <<TEXT
All of it is in $dir; remove that directory and nothing is left.
The HSM is SoftHSM's stand-in: for a real one change [[device]] in alikms.toml (docs/devices.md).

Go on:
   export ALIKMS_CONF=$dir/alikms.toml PATH=\$PATH:$ROOT/target/release
   alikms status                              tokens, devices, keys
   alikms uri alias/web                       the key's URI, and the lines that each client wants
   alikms DisableKey --KeyId $key    the very next handshake fails; EnableKey brings it back
   pkcs11-tool --module $module --login --pin \$(cat $dir/pin) -O
README.md has five-minute starts for openssl, nginx, Java and osslsigncode.
TEXT
