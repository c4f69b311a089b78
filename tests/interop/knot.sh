#!/bin/bash
# Knot DNS signs a zone: with keys that exist (keymgr import-pkcs11) and with keys that it makes on the token (keymgr generate).
. "$(dirname "$0")/lib.sh"
need keymgr kzonesign openssl
token_at_level "$LEVEL"

zone() { # NAME
  printf '%s\n' "\$ORIGIN $1." '$TTL 300' '@ SOA ns hostmaster 1 3600 900 604800 300' '@ NS ns' 'ns A 192.0.2.1' 'www A 192.0.2.2' 'www AAAA 2001:db8::2' 'mail TXT "signed by alikms"' >"$1.zone"
}
configure() { # ZONE ALGORITHM single-type|manual
  zone "$1"; mkdir -p kasp signed
  cat >knot.conf <<CONF
server:
    rundir: $W
database:
    storage: $W/kasp
log:
  - target: stderr
    any: warning
keystore:
  - id: token
    backend: pkcs11
    config: "pkcs11:token=$TOKEN;pin-value=$PIN $MODULE"
policy:
  - id: one
    keystore: token
    algorithm: $2
    manual: $3
    nsec3: on
    single-type-signing: on
template:
  - id: default
    storage: $W
    dnssec-signing: on
    dnssec-policy: one
zone:
  - domain: $1
    file: $W/$1.zone
CONF
}
manage() { t 60 keymgr -c knot.conf "$@"; }
signed() { # ZONE: kzonesign, and its own verification of what came out
  rm -f "signed/$1.zone"
  t 60 kzonesign -c knot.conf -o signed "$1" && [ "$(grep -c RRSIG "signed/$1.zone")" -ge 8 ] && cp "signed/$1.zone" "$1.zone" && t 60 kzonesign -c knot.conf -v "$1"
}
for row in rsa:rsasha256:2048 p256:ecdsap256sha256:256 p384:ecdsap384sha384:384; do
  IFS=: read -r key algorithm size <<<"$row"
  configure "$key.example" "$algorithm" on
  import() { manage "$key.example" import-pkcs11 "$(cat "$(of "$key" cka)")" algorithm="$algorithm" size="$size" ksk=yes zsk=yes; }
  check "keymgr import-pkcs11 $key" import || continue
  check "kzonesign with $key" signed "$key.example"
done

at_end() { local key; for key in $MADE; do pt --login --pin "$PIN" --delete-object --type privkey --id "$key" >/dev/null 2>&1; done; }
MADE=""
for row in ecdsap256sha256:256 rsasha256:2048; do
  IFS=: read -r algorithm size <<<"$row"
  configure "$algorithm.example" "$algorithm" on
  generate() { id=$(manage "$algorithm.example" generate algorithm="$algorithm" size="$size" ksk=yes zsk=yes); echo "$id"; id=$(tail -n 1 <<<"$id"); [ ${#id} = 40 ]; }
  check "keymgr generate $algorithm" generate || continue
  MADE+=" $id"
  known() { pt --login --pin "$PIN" -O --type privkey 2>/dev/null | tee shown | grep -q "ID: *$id\$"; }
  check "the key is on the token under Knot's ID, $algorithm" known
  check "kzonesign with the key that Knot made, $algorithm" signed "$algorithm.example"
done
configure automatic.example ecdsap256sha256 off
check "kzonesign makes its own keys" signed automatic.example
MADE+=" $(manage automatic.example list 2>/dev/null | awk '{print $1}' | tr '\n' ' ')"
finish
