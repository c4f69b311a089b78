#!/bin/bash
# nginx with 32 workers, and a device with 4 sessions behind `alikms agent`: no worker loads the device's library; the agent's worker
# and the whole agent are killed, and the library crashes, under load: no handshake fails and no worker of nginx dies.
# The device is tests/hsm/faulty.c over SoftHSM.
. "$(dirname "$0")/lib.sh"
need nginx openssl curl cc
engine_conf "$W/openssl.cnf" 1
rsa_port=$(free_port) ec_port=$(free_port)
export PORTS="$rsa_port $ec_port"
for key in rsa p256; do cat "$(of $key crt)" "$FIXTURE/ca/sub.pem" >$key.pem; done

# --- the device: what it shall do is written into a file (see faulty.c) -------------------------------------------------
cc -shared -fPIC -O1 -fvisibility=hidden -DLIBRARY='"/usr/lib/softhsm/libsofthsm2.so"' -o libfaulty.so "$ROOT/tests/hsm/faulty.c" || die "the faulty device is built"
truncate -s 4096 orders
order() { # FUNCTION FIELD VALUE, both by number
  printf "$(printf '\\x%x' "$3")" | dd of=orders bs=1 seek=$(($1 * 48 + $2 * 8)) conv=notrunc status=none
}
OPEN=2 SIGN=10 LEFT=1 AFTER=2 LIMIT=4
order $OPEN $LIMIT 4
crash_next_signature() { order $SIGN $AFTER 3; order $SIGN $LEFT 1; }

{
  sed -e "s|^library = .*|library = \"$W/libfaulty.so\"\ninit_args = \"$W/orders\"\ndevice_mode = \"agent\"|" "$FIXTURE/alikms.toml"
  printf '[agent]\nsocket = "%s/agent.sock"\n' "$W"
  [ -z "$WORKER" ] || printf 'allow = ["%s"]\n' "$WORKER"
} >alikms.toml
chmod 644 alikms.toml
export ALIKMS_CONF=$W/alikms.toml
start_agent() { bg "$ALIKMS" agent; agent=$LAST; for _ in {1..100}; do alikms status >status 2>&1 && return; sleep 0.1; done; cat status; return 1; }
check "the agent starts" start_agent || finish

key() { echo "ssl_certificate $W/$1.pem; ssl_certificate_key \"engine:pkcs11:$(uri "$1")\";"; }
nginx_conf 32 "server { listen 127.0.0.1:$rsa_port ssl reuseport; $(key rsa) }
  server { listen 127.0.0.1:$ec_port ssl reuseport; $(key p256) }"
nginx_start
check "nginx starts" wait_port "$ec_port" || { tail -n 6 error.log; finish; }
all_there() { for _ in {1..150}; do [ "$(workers | wc -w)" != 32 ] || return 0; sleep 0.1; done; workers; return 1; }
check "32 workers" all_there
before=$(workers)

check "400 requests by 32 workers and 4 sessions" requests 400 answers 32
maps() { local pid; for pid in $MASTER $(workers); do ! grep -E 'softhsm|faulty' "/proc/$pid/maps" || return 1; done; [ "$(workers | wc -w)" = 32 ]; }
check "no process of nginx has the device's library" maps

device() { ps -o pid= --ppid "$agent" | tr -d ' '; } # the agent's worker
renewed() { for _ in {1..100}; do [ -n "$(device)" ] && [ "$(device)" != "$1" ] && return; sleep 0.1; done; echo "no new worker"; return 1; }
kill_workers() { local old; for _ in 1 2 3 4 5; do old=$(device); kill -9 "$old" && renewed "$old" || return 1; sleep 0.7; done; }
check "the agent's worker killed five times under load, no failed handshake" under_load 200 kill_workers
restart_agent() { for _ in 1 2 3; do kill -9 "$agent"; sleep 0.2; start_agent || return 1; sleep 0.7; done; }
check "the agent killed and restarted three times under load, no failed handshake" under_load 200 restart_agent
crashes() { local old; for _ in 1 2 3 4 5; do old=$(device); crash_next_signature; renewed "$old" || return 1; sleep 0.7; done; }
check "the library crashes five times under load, no failed handshake" under_load 200 crashes
check "every worker of nginx lived through it" same "$before"
quiet() { ! grep -E '\[(emerg|alert|crit)\]' error.log; }
check "nothing worse than an error in the log" quiet
finish
