#!/bin/bash
# nginx whose workers are clients of whole tokens (`[agent] tokens`): neither they nor their master can read the store, the unlock
# key or the device's PIN. Hosts, the agent's worker and the whole agent are killed under load: no handshake fails.
. "$(dirname "$0")/lib.sh"
need nginx openssl curl
engine_conf "$W/openssl.cnf" 1
rsa_port=$(free_port) ec_port=$(free_port) device_port=$(free_port)
export PORTS="$rsa_port $ec_port $device_port"
for key in sw-rsa sw-p256 hsm-p256; do cat "$FIXTURE/keys/$key.crt" "$FIXTURE/ca/sub.pem" >$key.pem; done

# --- a store of the agent's own, and what the clients read --------------------------------------------------------------
mkdir -m 700 private
store=$(sed -nE 's|^url = "sqlite:(.*)"$|\1|p' "$FIXTURE/alikms.toml") unlock=$(sed -nE 's|^path = "(.*)"$|\1|p' "$FIXTURE/alikms.toml")
cp -a "$(dirname "$store")" private/store
cp "$unlock" private/unlock.key
{
  sed -e "s|$store|$W/private/store/$(basename "$store")|; s|$unlock|$W/private/unlock.key|" "$FIXTURE/alikms.toml"
  printf '[agent]\ntokens = true\nsocket = "%s/agent.sock"\n' "$W"
  [ -z "$WORKER" ] || printf 'allow = ["%s"]\n' "$WORKER"
  printf '[audit]\ncrypto = "summary"\n'
} >private/alikms.toml
printf '[client]\nsocket = "%s/agent.sock"\n' "$W" >alikms.toml
chmod 644 alikms.toml
export ALIKMS_CONF=$W/alikms.toml

start_agent() {
  bg "$ALIKMS" agent --config "$W/private/alikms.toml"; agent=$LAST
  for _ in {1..100}; do pt --list-slots >slots 2>&1 && return; sleep 0.1; done
  cat slots; return 1
}
check "the agent starts" start_agent || finish
listed() {
  local name
  pkcs11-tool --module "$MODULE" --token-label "$TOKEN" --login --pin "$PIN" --list-objects --type privkey >listed || return
  for name in sw-rsa sw-p256 hsm-p256; do grep "label: *$name\$" listed || return; done
}
check "a client lists the keys of both levels" listed
if [ -n "$WORKER" ]; then
  closed() { ! setpriv --reuid "$WORKER" --regid "$WORKER" --clear-groups cat "$W/private/alikms.toml"; }
  check "the servers' user cannot read the agent's files" closed
  signed() {
    head -c 32 /dev/zero >digest
    setpriv --reuid "$WORKER" --regid "$WORKER" --clear-groups pkcs11-tool --module "$MODULE" --token-label "$TOKEN" --login --pin "$PIN" \
      --sign --mechanism ECDSA --id "$(cat "$FIXTURE/keys/sw-p256.cka")" --signature-format openssl --input-file digest >signature &&
      plain pkeyutl -verify -pubin -inkey "$FIXTURE/keys/sw-p256.pub" -in digest -sigfile signature
  }
  check "and signs nevertheless" signed
fi

key() { echo "ssl_certificate $W/$1.pem; ssl_certificate_key \"engine:pkcs11:pkcs11:token=$TOKEN;object=$1;type=private\";"; }
nginx_conf 8 "server { listen 127.0.0.1:$rsa_port ssl reuseport; $(key sw-rsa) }
  server { listen 127.0.0.1:$ec_port ssl reuseport; $(key sw-p256) }
  server { listen 127.0.0.1:$device_port ssl reuseport; $(key hsm-p256) }"
nginx_start
check "nginx starts" wait_port "$device_port" || { tail -n 6 error.log; finish; }
check "200 requests by 8 workers" requests 200 answers 16
opened() { local pid; for pid in $MASTER $(workers); do ! find "/proc/$pid/fd" -lname "*/private/*" | grep . || return 1; done; }
check "no process of nginx has the store open" opened
before=$(workers)

worker() { ps -o pid= --ppid "$agent" | tr -d ' '; } # the agent's
hosts() { ps -o pid= --ppid "$(worker)" | tr -d ' '; }
kill_hosts() { for _ in 1 2 3 4 5; do hosts | xargs -r kill -9; sleep 1.5; done; }
check "all hosts killed five times under load, no failed handshake" under_load 100 kill_hosts
kill_worker() { for _ in 1 2 3; do kill -9 "$(worker)"; sleep 1.5; done; }
check "the agent's worker killed three times under load, no failed handshake" under_load 100 kill_worker
restart_agent() { for _ in 1 2; do kill -9 "$agent"; sleep 0.2; start_agent || return 1; sleep 1.5; done; }
check "the agent killed and restarted twice under load, no failed handshake" under_load 100 restart_agent
check "every worker of nginx lived through it" same "$before"
told() { # by the worker's process, program and user, though a host of the agent's wrote it
  alikms audit --config "$W/private/alikms.toml" >audit
  local pid; pid=$(echo "$before" | tr ' ' '\n' | grep -m1 .)
  jq -es --argjson pid "$pid" 'map(select(.action == "AsymmetricSign" and .pid == $pid and (.program | endswith("nginx")))) | length > 0' audit
}
check "the audit trail names nginx's workers" told
kill -TERM "$MASTER"
gone() { for _ in {1..100}; do [ -z "$(hosts)" ] && return; sleep 0.1; done; hosts; return 1; }
check "no host is left when nginx is gone" gone
finish
