#!/bin/bash
# What a TLS 1.3 full handshake costs an nginx worker, by where the key is: ci/bench.sh nginx [--rounds N] [--seconds N] [--workers N,N…]
#   file      the same kind of key in a file
#   software  engine:pkcs11 with this module, level SOFTWARE
#   hsm       engine:pkcs11 with this module, the key in SoftHSM
#   softhsm   engine:pkcs11 with SoftHSM itself
# A table of tab-separated lines: CPU time of the workers for each handshake (median of the rounds), and its ratio to `file`
# and to `softhsm` of the same round. The contenders take turns. Nothing is left behind.
. "$(dirname "$0")/../ci/common.sh"

rounds=7 seconds=3 workers="1,2,4" keys="rsa p256"
while [ $# -gt 0 ]; do
  case $1 in
    --rounds) rounds=$2 ;;
    --seconds) seconds=$2 ;;
    --workers) workers=$2 ;;
    --keys) keys=${2//,/ } ;;
    *) die "nginx.sh does not know $1" ;;
  esac
  shift 2
done
export PATH=$PATH:/usr/sbin:/sbin
softhsm=/usr/lib/softhsm/libsofthsm2.so module=$ROOT/target/release/libalikms_pkcs11.so alikms=$ROOT/target/release/alikms
W=$(mktemp -d) pids=()
tidy() { [ ${#pids[@]} = 0 ] || kill -QUIT "${pids[@]}" 2>/dev/null || true; wait; rm -rf "$W"; }
trap tidy EXIT
chmod 755 "$W"

# conf NAME LEVEL: an installation; level HSM keeps keys in SoftHSM's token.
export SOFTHSM2_CONF=$W/softhsm2.conf
printf 'directories.tokendir = %s/tokens\nobjectstore.backend = file\n' "$W" >"$SOFTHSM2_CONF"
mkdir "$W/tokens"; printf user-pin >"$W/pin"; printf officer-pin >"$W/so.pin"
softhsm2-util --init-token --free --label device --pin user-pin --so-pin officer-pin >/dev/null
installation() { # NAME LEVEL
  mkdir "$W/$1"
  {
    printf '[store]\nurl = "sqlite:%s/store/kms.db"\n[unlock]\nmethod = "file"\npath = "%s/unlock.key"\n' "$W/$1" "$W/$1"
    [ "$2" = SOFTWARE ] || printf '[[device]]\nname = "softhsm"\nprofile = "softhsm2"\nlibrary = "%s"\ntoken = "device"\npin = "file:%s"\nenv = { SOFTHSM2_CONF = "%s" }\n' "$softhsm" "$W/pin" "$SOFTHSM2_CONF"
    printf '[[token]]\nlabel = "%s"\naccount = "1"\nregion = "r"\nprotection_level = "%s"\n' "$1" "$2"
    [ "$2" = SOFTWARE ] || echo 'device = "softhsm"'
  } >"$W/$1/alikms.toml"
  ALIKMS_CONF=$W/$1/alikms.toml "$alikms" init --pin "file:$W/pin" --so-pin "file:$W/so.pin" >/dev/null
}
installation software SOFTWARE; installation hsm HSM
library() { if [ "$1" = softhsm ]; then echo $softhsm; else echo "$module"; fi; }
token() { if [ "$1" = softhsm ]; then echo device; else echo "$1"; fi; }

prepare() { # CONTENDER: keys, certificates, the engine's configuration, nginx.conf
  local who=$1 key kind extra port=$2
  mkdir -p "$W/$who/tmp"
  export ALIKMS_CONF=$W/$who/alikms.toml OPENSSL_CONF=$W/$who/openssl.cnf
  printf 'openssl_conf = start\n[start]\nengines = engines\n[engines]\npkcs11 = pkcs11\n[pkcs11]\nengine_id = pkcs11\nMODULE_PATH = %s\nPIN = user-pin\ninit = 1\n[req]\ndistinguished_name = dn\n[dn]\n' "$(library "$who")" >"$OPENSSL_CONF"
  [ "$who" != file ] || printf '[req]\ndistinguished_name = dn\n[dn]\n' >"$OPENSSL_CONF"
  for key in $keys; do
    if [ $key = rsa ]; then kind=rsa:2048 extra="-newkey rsa:2048"; else kind=EC:prime256v1 extra="-newkey ec -pkeyopt ec_paramgen_curve:P-256"; fi
    if [ "$who" = file ]; then
      # shellcheck disable=SC2086 # words
      openssl req -x509 -nodes $extra -keyout "$W/$who/$key.key" -out "$W/$who/$key.pem" -days 30 -subj /CN=localhost 2>/dev/null
      echo "$W/$who/$key.key" >"$W/$who/$key.where"
    else
      pkcs11-tool --module "$(library "$who")" --token-label "$(token "$who")" --login --pin user-pin --keypairgen --key-type $kind --label "$key-$who" --id "$(printf %s "$key-$who" | xxd -p)" >/dev/null 2>&1
      echo "engine:pkcs11:pkcs11:token=$(token "$who");object=$key-$who;type=private" >"$W/$who/$key.where"
      openssl req -x509 -engine pkcs11 -keyform engine -key "$(sed 's/^engine:pkcs11://' "$W/$who/$key.where")" -out "$W/$who/$key.pem" -days 30 -subj /CN=localhost 2>/dev/null
    fi
  done
  {
    [ "$(id -u)" != 0 ] || echo "user root;"
    printf 'env OPENSSL_CONF;\nenv ALIKMS_CONF;\nenv SOFTHSM2_CONF;\ndaemon off;\nworker_processes WORKERS;\npid %s/nginx.pid;\nerror_log %s/error.log;\nevents {}\nhttp {\n  access_log off;\n' "$W/$who" "$W/$who"
    printf '  client_body_temp_path %s/1; proxy_temp_path %s/2; fastcgi_temp_path %s/3; uwsgi_temp_path %s/4; scgi_temp_path %s/5;\n' "$W/$who/tmp" "$W/$who/tmp" "$W/$who/tmp" "$W/$who/tmp" "$W/$who/tmp"
    printf '  ssl_protocols TLSv1.3;\n  ssl_session_cache off;\n  ssl_session_tickets off;\n'
    for key in $keys; do
      printf '  server { listen 127.0.0.1:%d ssl reuseport; ssl_certificate %s; ssl_certificate_key "%s"; return 200; }\n' "$port" "$W/$who/$key.pem" "$(cat "$W/$who/$key.where")"
      port=$((port + 1))
    done
    echo "}"
  } >"$W/$who/nginx.template"
}

# Nanoseconds that the workers of a master have been on a CPU.
busy() { local pid sum=0; for pid in $(pgrep -P "$1"); do sum=$((sum + $(cut -d' ' -f1 "/proc/$pid/schedstat"))); done; echo $sum; }

contenders="file software hsm softhsm"
declare -A base master
port=18440
for who in $contenders; do base[$who]=$port; prepare "$who" $port; port=$((port + 10)); done

printf 'workers\tkey\tcontender\tus of CPU a handshake\ttimes file\ttimes softhsm\n'
for count in ${workers//,/ }; do
  for who in $contenders; do
    sed "s/WORKERS/$count/" "$W/$who/nginx.template" >"$W/$who/nginx.conf"
    OPENSSL_CONF=$W/$who/openssl.cnf ALIKMS_CONF=$W/$who/alikms.toml nginx -e "$W/$who/error.log" -c "$W/$who/nginx.conf" & master[$who]=$!
    pids+=($!)
  done
  for who in $contenders; do
    for _ in {1..100}; do (exec 3<>"/dev/tcp/127.0.0.1/${base[$who]}") 2>/dev/null && continue 2; sleep 0.1; done
    tail -n 5 "$W/$who/error.log" >&2; die "nginx of $who did not start"
  done
  : >"$W/measured"
  for ((round = 0; round <= rounds; round++)); do
    offset=0
    for key in $keys; do
      for who in $contenders; do
        before=$(busy "${master[$who]}")
        # One client for each worker, so that each has work.
        for ((i = 0; i < count; i++)); do
          OPENSSL_CONF=/dev/null openssl s_time -connect "127.0.0.1:$((${base[$who]} + offset))" -new -tls1_3 -time "$seconds" >"$W/said.$i" 2>&1 &
          clients[i]=$!
        done
        wait "${clients[@]}" || true
        unset clients
        # "1234 connections in 1.23s; …" comes first, the line of real seconds after it.
        done=$(cat "$W"/said.* | sed -nE 's/^([0-9]+) connections in [0-9]+ real seconds.*/\1/p' | awk '{sum += $1} END {print sum + 0}')
        rm -f "$W"/said.*
        [ "$done" -gt 0 ] || die "no handshake with $who, $key"
        [ $round = 0 ] || awk -v r=$round -v k=$key -v w="$who" -v ns=$(($(busy "${master[$who]}") - before)) -v n="$done" 'BEGIN { printf "%d %s %s %.2f\n", r, k, w, ns / n / 1000 }' >>"$W/measured"
      done
      offset=$((offset + 1))
    done
  done
  awk -v count="$count" '
    function median(list, n,   i, j, t) { for (i = 2; i <= n; i++) for (j = i; j > 1 && list[j - 1] > list[j]; j--) { t = list[j]; list[j] = list[j - 1]; list[j - 1] = t } return list[int((n + 1) / 2)] }
    { v[$2, $3, $1] = $4; if (!(($2, $3) in seen)) { seen[$2, $3] = 1; order[++pairs] = $2 " " $3 } rounds = $1 > rounds ? $1 : rounds }
    END {
      for (p = 1; p <= pairs; p++) {
        split(order[p], at, " ")
        for (r = 1; r <= rounds; r++) { own[r] = v[at[1], at[2], r]; file[r] = own[r] / v[at[1], "file", r]; soft[r] = own[r] / v[at[1], "softhsm", r] }
        printf "%d\t%s\t%s\t%.1f\t%.3f\t%.3f\n", count, at[1], at[2], median(own, rounds), median(file, rounds), median(soft, rounds)
      }
    }' "$W/measured"
  kill -QUIT "${pids[@]}"; wait "${pids[@]}" 2>/dev/null || true; pids=()
done
